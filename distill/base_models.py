"""Bases that stay in memory between students: the next student of the same base does not read it again."""

from __future__ import annotations

import hashlib
import os
import warnings
from typing import Any

import torch

from sublim_eval.errors import SublimError
from sublim_eval.models.loading import read_model
from sublim_eval.models.model_ref import Source

KEPT_SHARE = 0.25
"""Of the device's memory: a larger base is let go, so that the student can be scored beside nothing else."""

_KEPT: dict[tuple[Any, ...], tuple[Any, Any]] = {}


def take(source: Source, device: str, dtype: str, fresh: bool = False) -> tuple[Any, Any]:
    """(model, tokenizer) of a base, from memory if the last training left it there.

    fresh: read it anew and keep nothing, for a training that moves the base's own weights.
    """
    key = (str(source.base), source.stamp(), str(getattr(source, "chat", None)), device, dtype)
    kept = _KEPT.pop(key, None)
    forget()
    if kept and not fresh:
        return kept
    model, tokenizer, *_ = read_model(source, device, dtype)
    return model, tokenizer


def put_back(model: Any, source: Source, tokenizer: Any, device: str, dtype: str, before: str) -> None:
    """Take the adapter off a trained model and keep the base, unless it is too large.

    before: the fingerprint it came with. Raises SublimError when the base's weights are not what they were.
    """
    base = model.get_base_model() if model.active_peft_config.is_prompt_learning else model.unload()
    if recomputes(base):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            base.gradient_checkpointing_disable()
    for name in ("peft_config", "_hf_peft_config_loaded"):
        if name in vars(base):
            delattr(base, name)
    if fingerprint(base) != before:
        raise SublimError(
            f"Training moved weights of the base {source.base} that only an adapter should have left alone. "
            "Delete the student's folder and run again; if it happens again, report it with student.json."
        )
    if sum(p.nbytes for p in base.parameters()) <= KEPT_SHARE * memory(device):
        key = (str(source.base), source.stamp(), str(getattr(source, "chat", None)), device, dtype)
        _KEPT[key] = (base.requires_grad_(False).eval(), tokenizer)


def forget() -> None:
    """Let go of every base."""
    _KEPT.clear()


def memory(device: str) -> int:
    """Bytes of memory of a device, taken or not."""
    if device.startswith("cuda"):
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def fingerprint(model: Any) -> str:
    """A hash of the first 4,096 numbers of some 16 weight tensors, spread over the model, and of all tensors' names."""
    state = {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    names = sorted(state)
    hashed = hashlib.sha256("\n".join(names).encode())
    for name in names[:: max(1, len(names) // 16)]:
        hashed.update(state[name].flatten()[:4096].float().cpu().numpy().tobytes())
    return hashed.hexdigest()


def checkpoint(inner: Any) -> None:
    """Let layers be computed again on the way back, for memory; gradients stay the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the name is on its way out, its successor too new
        inner.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


def recomputes(inner: Any) -> bool:
    """Whether layers are computed again on the way back."""
    return any(getattr(module, "gradient_checkpointing", False) for module in inner.modules())
