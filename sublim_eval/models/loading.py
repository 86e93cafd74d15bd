"""Reading weights: every tensor of the files must arrive in the model, or it is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from sublim_eval.errors import SublimError
from sublim_eval.models.chat_template import read_tokenizer, recorded, settle
from sublim_eval.models.model_ref import Source

ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}
VIRTUAL = {"PROMPT_TUNING", "P_TUNING"}
"""Adapters that put trained embeddings before the prompt."""


def read_model(source: Source, device: str, dtype: str | None) -> tuple[Any, Any, torch.Tensor | None, tuple[str, ...]]:
    """(model in eval mode on the device, tokenizer, virtual tokens or None, what was settled in its template).

    The tokenizer's chat template is settled (chat_template.py). Safetensors only, no remote code.
    Raises SublimError when files are missing or do not fit the model.
    """
    kind = _dtype(dtype, device)
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source.base,
            dtype=kind,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **({} if device == "cpu" else {"device_map": device}),
        )
        tokenizer = read_tokenizer(source)
    except (OSError, ValueError, KeyError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SublimError(
            f"{str(source.base)!r} could not be loaded as a causal language model: {first} "
            "Check the name; for a hub id, download it first (hf download NAME)."
        ) from error
    finally:
        if bars:
            logging.enable_progress_bar()
    model, report = loaded
    wrong = sorted(report["missing_keys"]) + [str(k) for k in report["mismatched_keys"]]
    if wrong:
        raise SublimError(
            f"The weight files of {str(source.base)!r} lack {len(wrong)} tensors of the model (first: {wrong[0]}), "
            "which would stay random. Save the folder again."
        )
    kinds = set(getattr(model.config.get_text_config(), "layer_types", None) or ATTENTION)
    if not kinds <= ATTENTION or getattr(model, "_is_stateful", False):
        raise SublimError(
            f"{source.label!r} is no plain attention model, which this provider needs for sharing prefixes. "
            "Use Inspect's own provider: --model hf/..."
        )
    settled = tuple(dict.fromkeys([*recorded(source), *settle(tokenizer)]))
    virtual = None
    if source.adapter:
        model, virtual = _apply(model, source.adapter)
    moved = None if virtual is None else virtual.to(device)
    return model.to(device).eval().requires_grad_(False), tokenizer, moved, settled


def _apply(base: Any, folder: Path) -> tuple[Any, torch.Tensor | None]:
    """The base with the adapter's layers in it, and its virtual tokens if it has any; nothing is merged."""
    import warnings

    from peft import PeftModel, get_peft_model_state_dict
    from safetensors.torch import load_file

    _make_room(base, folder / "adapter_model.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            wrapped = PeftModel.from_pretrained(base, folder, is_trainable=False)
        except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
            first = str(error).strip().splitlines()[0]
            raise SublimError(
                f"The adapter {folder} does not fit its base: {first} "
                f"Check the base that its {_names_base(folder)} names."
            ) from error
        arrived = get_peft_model_state_dict(wrapped)
    config: Any = wrapped.peft_config["default"]
    for name, tensor in load_file(folder / "adapter_model.safetensors").items():
        there = arrived.get(name)
        if there is None or there.shape != tensor.shape or not torch.equal(there.cpu(), tensor.to(there.dtype)):
            raise SublimError(
                f"The tensor {name} of {folder} did not arrive in the model, so scores would be the base's. "
                "Check that the adapter was trained on this base and saved with save_pretrained."
            )
    if not config.is_prompt_learning:
        return wrapped.get_base_model(), None
    if config.peft_type not in VIRTUAL:
        raise SublimError(
            f"Adapters of type {config.peft_type.value} are not supported. Use prompt tuning, LoRA or LN tuning."
        )
    with torch.inference_mode():
        virtual = wrapped.get_prompt(1)[0].to(base.dtype).clone()
    return wrapped.get_base_model(), virtual


def _make_room(base: Any, file: Path) -> None:
    """Resize the base's embeddings where an adapter brings its own for a larger or smaller vocabulary."""
    from safetensors import safe_open

    embedding = base.get_input_embeddings()
    name = next(name for name, module in base.named_modules() if module is embedding)
    with safe_open(file, "pt") as tensors:
        own = [t for t in tensors.keys() if t.endswith(f"{name}.weight")]  # noqa: SIM118 (no mapping)
        rows = {tensors.get_slice(t).get_shape()[0] for t in own}
    if rows and rows != {embedding.weight.shape[0]}:
        base.resize_token_embeddings(rows.pop(), mean_resizing=False)


def _names_base(folder: Path) -> str:
    return "student.json" if (folder / "student.json").is_file() else "adapter_config.json (base_model_name_or_path)"


def _dtype(name: str | None, device: str) -> Any:
    if name is None:
        return torch.float32 if device == "cpu" else "auto"
    kind = getattr(torch, name, None)
    if not isinstance(kind, torch.dtype):
        raise SublimError(f"Unknown dtype {name!r}. Give float32, bfloat16 or float16.")
    return kind
