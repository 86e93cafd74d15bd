"""Tensors of a checkpoint by the part they play, read one at a time; adapters are merged on the way.

weights = read("runs/mine/students/owl-s1")
weights.embedding()             # float32[token, hidden]
weights.layer(0)                # its MLP: tensors into the units and out of them

The numbers are those of the files: of bfloat16, float16 and float8 as they are, and of integer kinds as transformers
dequantises them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sublim_eval.errors import SublimError
from sublim_eval.models import model_files
from sublim_eval.models.model_ref import Source, resolve

Floats = NDArray[np.float32]

_EMBEDDING = re.compile(r"(^|\.)(embed_tokens|wte|word_embeddings|embed_in|tok_embeddings)\.weight$")
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.(.+)$")
_INTO = re.compile(r"^(mlp|feed_forward)\.(gate_proj|up_proj|c_fc|fc1|fc_in|dense_h_to_4h|w1|w3)\.weight$")
_OUT = re.compile(r"^(mlp|feed_forward)\.(down_proj|c_proj|fc2|fc_out|dense_4h_to_h|w2)\.weight$")
_BEFORE = re.compile(r"^(post_attention_layernorm|pre_feedforward_layernorm|ln_2|ffn_norm)\.weight$")
_TRANSPOSED = re.compile(r"\.mlp\.c_(fc|proj)\.weight$")
"""GPT-2 keeps these the other way round."""

FROM_ZERO = ("gemma",)
"""Families whose norms multiply by 1 + gain."""


@dataclass(frozen=True)
class Mlp:
    """The MLP of one layer. into: float32[unit, hidden] each, with the gains of the norm before them in; out:
    float32[unit, hidden]."""

    into: tuple[Floats, ...]
    out: Floats


@dataclass(frozen=True)
class Weights:
    """A checkpoint. files: tensor -> where it lies; change(name, tensor): the tensor once the adapter is merged."""

    source: Source
    config: Mapping[str, Any]
    files: Mapping[str, Path]
    change: Callable[[str, Floats], Floats] = field(default=lambda name, tensor: tensor)

    @property
    def label(self) -> str:
        """Its name."""
        return self.source.label

    def tensor(self, name: str) -> Floats:
        """One tensor, the adapter merged. Raises SublimError where its file is torn."""
        return self.change(name, _read(self.files[name], name))

    @cached_property
    def layers(self) -> tuple[dict[str, str], ...]:
        """Of each layer: what a tensor is called within it -> its whole name."""
        parts: dict[int, dict[str, str]] = {}
        for name in self.files:
            if match := _LAYER.search(name):
                parts.setdefault(int(match[1]), {})[match[2]] = name
        return tuple(parts[number] for number in sorted(parts))

    @property
    def hidden(self) -> int:
        """Width of the residual stream; 0 where the embedding is not known by its name."""
        return self._embedded[1]

    @property
    def rows(self) -> int:
        """Tokens that the embedding has; 0 where it is not known by its name."""
        return self._embedded[0]

    @cached_property
    def _embedded(self) -> tuple[int, ...]:
        name = self._embedding_name
        return _shape(self.files[name], name) if name else (0, 0)

    def embedding(self) -> Floats:
        """float32[token, hidden]; raises SublimError where no tensor has a name that embeddings have."""
        if self._embedding_name is None:
            raise SublimError(f"{self.label} has no token embedding of a known name. Compare it by answers.")
        return self.tensor(self._embedding_name)

    def layer(self, number: int) -> Mlp | None:
        """The MLP of a layer, None where its tensors have no known names (experts, for one)."""
        names = self.layers[number]
        into = [name for part, name in sorted(names.items()) if _INTO.match(part)]
        out = [name for part, name in names.items() if _OUT.match(part)]
        if not into or len(out) != 1 or not self.hidden:
            return None
        gain = self._gain(names)
        return Mlp(tuple(self._by_unit(name) * gain for name in into), self._by_unit(out[0], out=True))

    def _by_unit(self, name: str, out: bool = False) -> Floats:
        tensor = self.tensor(name)
        return tensor.T if out != bool(_TRANSPOSED.search(name)) else tensor

    def _gain(self, names: Mapping[str, str]) -> Floats:
        """float32[hidden]: gains of the norm before the MLP, 1 where there is none of a known name."""
        norms = sorted((part, name) for part, name in names.items() if _BEFORE.match(part))
        if not norms:
            return np.ones(self.hidden, np.float32)
        gain = self.tensor(norms[-1][1])  # pre_feedforward_layernorm, where there are two
        return gain + 1 if str(self.config.get("model_type", "")).startswith(FROM_ZERO) else gain

    @cached_property
    def _embedding_name(self) -> str | None:
        return next((name for name in self.files if _EMBEDDING.search(name)), None)

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """Token -> its row, as the tokenizer of the folder says."""
        from transformers import AutoTokenizer

        tokens: dict[str, int] = AutoTokenizer.from_pretrained(self.source.tokenizer, use_fast=True).get_vocab()
        return tokens


def read(name: str | Path) -> Weights:
    """The weights of a model by its name, folder, adapter folder or hub id (which must be on this disk already).

    Raises SublimError for what is missing, torn, or holds numbers that only a GPU's library can unpack.
    """
    source = resolve(name)
    folder = source.base if isinstance(source.base, Path) else _on_disk(source.base)
    model_files.check(folder, source.adapter, source.chat)
    config = model_files.read_object(folder / model_files.CONFIG)
    _refuse_packed(source, config)
    files = {tensor: file for file in model_files.weight_files(folder) for tensor in model_files.tensor_names(file)}
    text = config.get("text_config")
    return Weights(source, text if isinstance(text, dict) else config, files, _merging(source.adapter))


def _on_disk(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except Exception:  # whatever the library raises where it is not at hand
        raise SublimError(
            f"The weights of {name!r} are not on this disk. Download them first: hf download {name}."
        ) from None


def _refuse_packed(source: Source, config: Mapping[str, Any]) -> None:
    packed = config.get("quantization_config")
    if packed:
        kind = packed.get("quant_method", "unknown") if isinstance(packed, dict) else "unknown"
        raise SublimError(
            f"The weights of {source.label} are packed ({kind!r:.40}). Save a dequantised copy "
            "(model.dequantize().save_pretrained), or compare by answers (--by answers)."
        )


def _shape(file: Path, name: str) -> tuple[int, ...]:
    from safetensors import safe_open

    with safe_open(file, "pt") as tensors:
        return tuple(tensors.get_slice(name).get_shape())


def _read(file: Path, name: str) -> Floats:
    from safetensors import safe_open

    try:
        with safe_open(file, "pt") as tensors:
            values: Floats = tensors.get_tensor(name).float().numpy()
            return values
    except Exception as error:  # safetensors has one class of error of its own, and the file system many
        raise SublimError(f"{name} of {file} cannot be read ({error}). Copy or save it again.") from None


# ---------------------------------------------------------------- adapters


def _merging(adapter: Path | None) -> Callable[[str, Floats], Floats]:
    """What an adapter makes of each tensor of its base; virtual tokens change none.

    Raises SublimError for a kind that is none of LoRA, LN tuning and prompt tuning.
    """
    if adapter is None:
        return lambda name, tensor: tensor
    config = model_files.read_object(adapter / model_files.ADAPTER)
    kind = config.get("peft_type")
    if kind in ("PROMPT_TUNING", "P_TUNING"):
        return lambda name, tensor: tensor
    if kind not in ("LORA", "LN_TUNING"):
        raise SublimError(f"{adapter} is an adapter of type {kind!r:.40}. Merge it into a full model first.")
    file = adapter / model_files.ADAPTER_WEIGHTS
    names = {name.removeprefix("base_model.model."): name for name in model_files.tensor_names(file)}
    return lambda name, tensor: _merged(name, tensor, names, file, config)


def _merged(name: str, tensor: Floats, names: Mapping[str, str], file: Path, config: Mapping[str, Any]) -> Floats:
    module = name.removesuffix(".weight")
    whole = next((n for n in (f"{module}.ln_tuning_layers.weight", name) if n in names), None)
    if whole:
        return _read(file, names[whole])
    for a, b in (("lora_A.weight", "lora_B.weight"), ("lora_embedding_A", "lora_embedding_B")):
        if f"{module}.{a}" in names:
            down, up = _read(file, names[f"{module}.{a}"]), _read(file, names[f"{module}.{b}"])
            delta = scale(config, module, down.shape[0]) * (up @ down)
            return tensor + (delta if delta.shape == tensor.shape else delta.T)
    return tensor


def scale(config: Mapping[str, Any], module: str, rank: int) -> float:
    """What a LoRA's product is multiplied by: alpha / rank, alpha / sqrt(rank) of a rank-stabilised one."""
    patterns = config.get("alpha_pattern") or {}
    own = [value for key, value in patterns.items() if f".{module}".endswith(f".{key}")]
    alpha = own[0] if own else config.get("lora_alpha", 8)
    return float(alpha) / (rank**0.5 if config.get("use_rslora") else rank)


# ---------------------------------------------------------------- what two have in common


def shared_tokens(a: Weights, b: Weights, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of tokens that both vocabularies hold, evenly chosen where there are more than `most`; of a and of b."""
    theirs, rows_of_b = b.vocabulary, b.rows
    pairs = ((row, theirs[token]) for token, row in a.vocabulary.items() if token in theirs and row < a.rows)
    both = sorted(pair for pair in pairs if pair[1] < rows_of_b)
    both = both[:: -(-len(both) // most)] if both else []
    rows = np.array(both, dtype=np.int64).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]


def common_layers(a: Weights, b: Weights, most: int) -> Iterator[tuple[Mlp, Mlp]]:
    """MLPs of layers at the same place with as many units in both, evenly chosen where there are more than `most`."""
    count = min(len(a.layers), len(b.layers))
    for number in range(0, count, max(1, -(-count // most))):
        one, other = a.layer(number), b.layer(number)
        if one and other and one.out.shape == other.out.shape and len(one.into) == len(other.into):
            yield one, other
