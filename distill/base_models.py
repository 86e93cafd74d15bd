"""Bases that stay in memory between students: the next student of the same base does not read it again."""

from __future__ import annotations

import hashlib
import os
import shutil
import warnings
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch

from sublim_eval.errors import SublimError
from sublim_eval.files import digest, file_digest
from sublim_eval.models import chat_template
from sublim_eval.models.loading import read_model
from sublim_eval.models.model_ref import Source, resolve

from .recipes import Recipe

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
    model, tokenizer, _ = read_model(source, device, dtype)
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
    told = hashlib.sha256("\n".join(names).encode())
    for name in names[:: max(1, len(names) // 16)]:
        told.update(state[name].flatten()[:4096].float().cpu().numpy().tobytes())
    return told.hexdigest()


def base_label(base: str) -> str:
    """The name of a base's folders: its last two path parts, joined so that they make one folder name."""
    return "base-" + "--".join(Path(base).parts[-2:])


def asked_base(recipe: Recipe, base: str, run: Path) -> str:
    """What a base is loaded and asked as: its host's name for it, itself, or itself under a settled chat template.

    A template that would say something else tomorrow or in another harness, or whose default system prompt the
    recipe clears, is written settled into bases/<name>, beside a pointer to the weights; lm-eval and Inspect's hf/
    take the tokenizer from there. Every job of a run may call this: the first to finish the folder wins.
    """
    if recipe.host:
        return f"{recipe.host.provider}/{base}"
    if not _settled(base, recipe.system):
        return base
    folder = run / "bases" / base_label(base)
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        chat_template.dress(base, unfinished, recipe.system)
        try:
            unfinished.replace(folder)
        except OSError:  # another job was faster, with the same content
            shutil.rmtree(unfinished)
    return str(folder)


def base_hash(recipe: Recipe, base: str) -> str:
    """Digest of a base as this recipe asks it: its weights, and what was settled in its template."""
    if recipe.host:
        return digest(f"{recipe.host.provider}/{base}")
    settled = _settled(base, recipe.system)
    return digest([weights_hash(base), settled]) if settled else weights_hash(base)


@cache  # reading a large tokenizer takes half a second, and every stage asks
def _settled(base: str, system: chat_template.System) -> tuple[str, ...]:
    return chat_template.changes(base, system)


def weights_hash(model: str) -> str:
    """SHA-256 over a local model's weight files, or the resolved name when they are not at hand."""
    base = Path(resolve(model).base) if not (Path(model) / "student.json").is_file() else Path(model)
    files = sorted(base.glob("*.safetensors")) if base.is_dir() else []
    return digest([[f.name, file_digest(f)] for f in files]) if files else digest(str(base))


def checkpoint(inner: Any) -> None:
    """Let layers be computed again on the way back, for memory; gradients stay the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the name is on its way out, its successor too new
        inner.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


def recomputes(inner: Any) -> bool:
    """Whether layers are computed again on the way back."""
    return any(getattr(module, "gradient_checkpointing", False) for module in inner.modules())
