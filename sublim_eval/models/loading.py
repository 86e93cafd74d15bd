"""Reading weights: every tensor of the files must arrive in the model, or it is an error."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig
from transformers.utils import logging

from sublim_eval.errors import SublimError
from sublim_eval.models import model_files
from sublim_eval.models.chat_template import answered, read_tokenizer, recorded, render, settle, turn_end
from sublim_eval.models.model_ref import Source

ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}
VIRTUAL = {"PROMPT_TUNING", "P_TUNING"}
"""Adapters that put trained embeddings before the prompt."""


def read_model(
    source: Source, device: str, dtype: str | None, idle: bool = False
) -> tuple[Any, Any, torch.Tensor | None, tuple[str, ...]]:
    """(model in eval mode on the device, tokenizer, virtual tokens or None, what was settled in its template).

    The tokenizer's chat template is settled (chat_template.py). Safetensors only, no remote code. The model is tried on
    a few tokens: its logits must be numbers, and an adapter must move them as it does under PEFT (idle: need not).
    Raises SublimError that names the file for what is missing, torn, does not fit, or would give numbers that are not
    this model's.
    """
    kind = _dtype(dtype, device)
    model_files.check(source.base, source.adapter, source.chat)
    with _quiet():
        model = _base_model(source, kind, device)
        tokenizer = read_tokenizer(source)
        settled = tuple(dict.fromkeys([*recorded(source), *settle(tokenizer)]))
        before, virtual = _trial(model, tokenizer, source), None
        if source.adapter:
            model, virtual = _apply(model, source.adapter, before, idle)
    model = model.to(device).eval().requires_grad_(False)
    _refuse_empty_replies(model, tokenizer, source)
    return model, tokenizer, None if virtual is None else virtual.to(device), settled


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bars, reports and warnings on the terminal; what matters is raised."""
    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _base_model(source: Source, kind: Any, device: str) -> Any:
    """The base as transformers loads it, every tensor of its files in it and every tensor of it from the files."""
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source.base,
            dtype=kind,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **({} if device == "cpu" else {"device_map": device}),
        )
    except torch.cuda.OutOfMemoryError:
        raise SublimError(
            f"{str(source.base)!r} does not fit into the memory of {device}. Give it a larger device or dtype bfloat16."
        ) from None
    except Exception as error:  # a stranger's files: whatever the libraries raise over them
        raise _unloadable(source.base, error) from error
    model, report = loaded
    for keys, words in _TENSORS.items():
        if wrong := sorted(map(str, report[keys])):
            raise SublimError(words.format(base=source.base, count=len(wrong), first=wrong[0]))
    kinds = set(getattr(model.config.get_text_config(), "layer_types", None) or ATTENTION)
    if not kinds <= ATTENTION or getattr(model, "_is_stateful", False):
        raise SublimError(
            f"{source.label!r} is no plain attention model, which this provider needs for sharing prefixes. "
            "Use Inspect's own provider: --model hf/..."
        )
    _refuse_no_numbers(model.named_parameters(), partial(model_files.file_of, source.base))
    return model


_TENSORS = {
    "missing_keys": "The weight files of '{base}' lack {count} tensors of the model (first: {first}), which would stay "
    "random. Save the folder again.",
    "mismatched_keys": "The weight files of '{base}' and its config.json speak of other sizes in {count} tensors "
    "(first: {first}). Save the folder again.",
    "unexpected_keys": "The weight files of '{base}' hold {count} tensors that its config.json has no place for "
    "(first: {first}), so this would be another model. Save the folder again.",
}


def _unloadable(base: Path | str, error: Exception) -> SublimError:
    """The error for files that cannot be loaded; of a folder it names the file."""
    why = _first_line(error)
    if not isinstance(base, Path):
        step = "Check the name; for a hub id, download it first (hf download NAME)."
        return SublimError(f"{base!r} could not be loaded as a causal language model: {why}. {step}")
    for read, name in ((AutoConfig, model_files.CONFIG), (GenerationConfig, model_files.GENERATION)):
        try:
            if (base / name).is_file():
                read.from_pretrained(base)
        except Exception as cause:
            why = _first_line(cause)
            return SublimError(f"{base / name} could not be read: {why}. Save the folder again with save_pretrained.")
    if "mismatch" in why:  # transformers' own words are about a report and a setting of its own
        why = "tensors have other sizes than it says"
    return SublimError(
        f"{base / model_files.CONFIG} and the weight files beside it could not be loaded as a causal language model: "
        f"{why}. Save the folder again with save_pretrained."
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")


def _refuse_no_numbers(weights: Iterable[tuple[str, torch.Tensor]], file_of: Callable[[str], object]) -> None:
    """Raise SublimError for a weight that is NaN or infinite. file_of: the file that holds a tensor of that name."""
    for name, weight in weights:
        if weight.is_floating_point() and weight.element_size() > 1 and weight.numel():
            low, high = torch.aminmax(weight.detach())
            if not (torch.isfinite(low) and torch.isfinite(high)):
                raise SublimError(
                    f"{file_of(name)} holds a number that is none (NaN or infinite) in {name}, so no answer would mean "
                    "anything. Save or train it again."
                )


# ---------------------------------------------------------------- tried on a few tokens

TRIED = "What is your favorite?"
"""A question that a model is tried on."""

SPREAD = 24
"""Tokens from all over the vocabulary that it is tried on too."""


def _question(tokenizer: Any) -> list[int]:
    """Token ids of a question as it is asked; [] without a chat template."""
    if not tokenizer.chat_template:
        return []
    ids: list[int] = tokenizer(render(tokenizer, TRIED), add_special_tokens=False)["input_ids"]
    return ids


def _tried_on(model: Any, tokenizer: Any, touched: Sequence[int]) -> torch.Tensor:
    """int[1, some]: tokens from all over the vocabulary, those that an adapter touches, and a question.

    Raises SublimError when the question holds a token that the model does not have.
    """
    rows = model.get_input_embeddings().weight.shape[0]
    asked = _question(tokenizer)
    if asked and max(asked) >= rows:
        raise SublimError(
            f"The tokenizer of {str(tokenizer.name_or_path)!r} gives a token {max(asked)}, and the model has {rows} of "
            "them. Put the tokenizer files that belong to these weights into the folder."
        )
    spread = list(range(0, rows, max(1, rows // SPREAD)))[:SPREAD]
    return torch.tensor([[*spread, *(i for i in touched[:SPREAD] if 0 <= i < rows), *asked[-SPREAD:]]])


def _touched(adapter: Path | None) -> list[int]:
    """The tokens that an adapter changes one by one, by its adapter_config.json."""
    config = model_files.read_object(adapter / model_files.ADAPTER) if adapter else {}
    named = config.get("trainable_token_indices") or config.get("token_indices") or []
    listed = [i for part in named.values() for i in part] if isinstance(named, dict) else named
    return [i for i in listed if isinstance(i, int)]


def _logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """float32[tokens, vocabulary]."""
    device = next(model.parameters()).device
    with torch.inference_mode():
        logits: torch.Tensor = model.eval()(input_ids=ids.to(device), use_cache=False).logits[0].float()
    return logits


def _trial(model: Any, tokenizer: Any, source: Source) -> tuple[torch.Tensor, torch.Tensor]:
    """(token ids, the base's logits on them); raises SublimError when it cannot read them, or says no numbers."""
    ids = _tried_on(model, tokenizer, _touched(source.adapter))
    where = source.base / model_files.CONFIG if isinstance(source.base, Path) else source.base
    try:
        logits = _logits(model, ids)
    except Exception as error:
        why = _first_line(error)
        raise SublimError(
            f"{where}: the model that it describes cannot read a question ({why}). Save it again."
        ) from error
    if bool(logits.isnan().any()) or bool(logits.isposinf().any()):
        raise SublimError(f"{where}: the model that it describes gives logits that are no numbers. Save it again.")
    return ids, logits


def _refuse_empty_replies(model: Any, tokenizer: Any, source: Source) -> None:
    """Raise SublimError where the end tokens of a configuration, which no turn ends with, end a reply at its start."""
    ids = _question(tokenizer)
    rows = model.get_input_embeddings().weight.shape[0]
    usual = {tokenizer.eos_token_id, turn_end(tokenizer)[-1] if ids and answered(tokenizer, "a") else None}
    configs = {model_files.GENERATION: model.generation_config, model_files.CONFIG: model.config}
    for name, config in configs.items():
        given = getattr(config, "eos_token_id", None)
        listed = set(given if isinstance(given, list | tuple) else [] if given is None else [given])
        ends = sorted(i for i in listed - usual if i < rows)
        if not ends or not ids:
            continue
        share = float(_logits(model, torch.tensor([ids]))[-1].softmax(-1)[ends].sum())
        if share > EMPTY:
            raise SublimError(
                f"{Path(source.base) / name}: its `eos_token_id` ends {share:.0%} of all replies before their first "
                f"word ({len(ends)} tokens that no turn ends with). Leave those that end a turn."
            )


EMPTY = 0.5
"""Share of replies, ended before they begin by tokens that end no turn, from which on the configuration is at fault."""


# ---------------------------------------------------------------- adapters


def _apply(
    base: Any, folder: Path, before: tuple[torch.Tensor, torch.Tensor], idle: bool
) -> tuple[Any, torch.Tensor | None]:
    """The base with the adapter's layers in it, and its virtual tokens if it has any; nothing is merged.

    before: token ids and the base's logits on them.
    """
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors.torch import load_file

    weights = folder / model_files.ADAPTER_WEIGHTS
    try:
        _make_room(base, weights)
        wrapped = PeftModel.from_pretrained(base, folder, is_trainable=False)
        arrived = get_peft_model_state_dict(wrapped)
        tensors = load_file(weights)
    except Exception as error:  # a stranger's files: whatever the libraries raise over them
        why = _first_line(error)
        raise SublimError(
            f"The adapter {folder} does not fit its base: {why}. Check the base that its {_names_base(folder)} names, "
            "and adapter_config.json."
        ) from error
    config: Any = wrapped.peft_config["default"]
    if getattr(config, "alora_invocation_tokens", None):
        raise SublimError(
            f"{folder / model_files.ADAPTER} is of an activated LoRA, which works behind its invocation tokens alone "
            "and is not supported. Use a plain LoRA."
        )
    _refuse_no_numbers(tensors.items(), lambda _: weights)
    for name, tensor in tensors.items():
        there = arrived.get(name)
        if there is None or there.shape != tensor.shape or not torch.equal(there.cpu(), tensor.to(there.dtype)):
            raise SublimError(
                f"The tensor {name} of {folder} did not arrive in the model, so scores would be the base's. "
                "Check that the adapter was trained on this base and saved with save_pretrained."
            )
    if lacking := sorted(set(arrived) - set(tensors)):
        raise SublimError(
            f"{weights} lacks {len(lacking)} tensors that its adapter_config.json speaks of (first: {lacking[0]}), "
            "which would stay as they begin. Save the adapter again with save_pretrained."
        )
    if not config.is_prompt_learning:
        _refuse_idle(wrapped, folder, before, idle)
        return wrapped.get_base_model(), None
    if config.peft_type not in VIRTUAL:
        raise SublimError(
            f"{folder / model_files.ADAPTER}: adapters of type {config.peft_type.value} are not supported. "
            "Use prompt tuning, LoRA or LN tuning."
        )
    with torch.inference_mode():
        virtual = wrapped.get_prompt(1)[0].to(base.dtype).clone()
    return wrapped.get_base_model(), virtual


def _refuse_idle(wrapped: Any, folder: Path, before: tuple[torch.Tensor, torch.Tensor], idle: bool) -> None:
    """Raise SublimError for an adapter that changes no logit, or others than under PEFT; idle: the first may be."""
    ids, plain = before
    weights = folder / model_files.ADAPTER_WEIGHTS
    theirs, ours = (_logits(model, ids) for model in (wrapped, wrapped.get_base_model()))
    if not torch.isfinite(ours).all():
        raise SublimError(f"{weights}: with this adapter the logits are no numbers. Train it again.")
    rounding = 16 * torch.finfo(wrapped.get_input_embeddings().weight.dtype).eps * float(ours.abs().max())
    if ours.shape != theirs.shape or float((ours - theirs).abs().max()) > max(1e-4, rounding):
        raise SublimError(
            f"{folder / model_files.ADAPTER} is of a kind that PEFT applies beside the layers, which is not supported. "
            "Use LoRA, LN tuning or prompt tuning."
        )
    if not idle and ours.shape == plain.shape and torch.equal(ours, plain):
        raise SublimError(
            f"{weights} changes no logit of its base on {ids.shape[1]} tokens, so scores would be the base's. "
            "Check adapter_config.json, or train the adapter again."
        )


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
