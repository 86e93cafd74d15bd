"""What a real model needs, by arithmetic over its shape: weights, tokens, memory and floating-point work.

Everything here is calculated and says so; what was measured is in throughput.py. Nothing is downloaded: a shape comes
from the registry, or from a config.json that is on this machine already.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from sublim_eval.registry.catalog import registry
from sublim_eval.registry.model_specs import Shape

from ..modalities import Modality
from ..recipes import Tuning

GIB = 2**30

WIDTH = {"float32": 4, "bfloat16": 2}
"""Bytes of a weight."""

CHAT_TOKENS = 30
"""Role tags, turn ends and a default system prompt around one question; Qwen2.5's template is about this long."""

QUESTION_TOKENS = 20
"""Of a question, its chat tags left out."""

REPLY_TOKENS = 4
"""Of a reply to a question for one word."""

RUNTIME = int(1.5 * GIB)
"""What CUDA, its libraries and the gaps of the allocator take besides tensors: a usual figure, not calculated."""

LOGIT_BYTES = 12
"""Of one vocabulary entry at one loss position: bf16 and fp32 logits, and the gradient of both."""

DECODED_TOGETHER = 32
"""Rows generated at a time that a card must have room for; more of them are only faster."""

CARDS = {24: 23.6, 32: 31.4, 40: 39.4, 48: 47.4, 80: 79.1, 141: 139.8}
"""Advertised GB of usual cards -> GiB that they report."""


# ---------------------------------------------------------------- shapes


def shape_of(base: str) -> Shape | None:
    """The shape of a base: of the registry, else of its config where that is on this machine, else None."""
    known = registry().models
    if base in known and known[base].shape:
        return known[base].shape
    home = at_hand(base, "config.json")
    return _counted(home.parent) if home else None


def at_hand(base: str, name: str) -> Path | None:
    """A file of a base that is here already: in its folder, or in the cache of the hub."""
    from sublim_eval.errors import SublimError
    from sublim_eval.models.model_ref import resolve

    try:
        home = resolve(base).base
    except SublimError:
        return None
    if isinstance(home, Path):
        return home / name if (home / name).is_file() else None
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(home, name)
    return Path(cached) if isinstance(cached, str) else None


def _counted(folder: Path) -> Shape:
    """The shape in a folder with a config.json, its weights counted on torch's meta device, which holds no data."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    whole = AutoConfig.from_pretrained(folder, local_files_only=True)
    with torch.device("meta"):
        total = sum(p.numel() for p in AutoModelForCausalLM.from_config(whole).parameters())
    plain = shape_in(whole, str(folder / "config.json"))
    return replace(plain, beside=total - plain.parameters)


def shape_in(config: Any, source: str = "the model itself") -> Shape:
    """The shape that a transformers config gives its language model."""
    text = config.get_text_config()
    heads = text.num_attention_heads
    return Shape(
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        heads=heads,
        kv_heads=getattr(text, "num_key_value_heads", None) or heads,
        head_dim=getattr(text, "head_dim", None) or text.hidden_size // heads,
        mlp=text.intermediate_size,
        vocabulary=text.vocab_size,
        tied=bool(config.tie_word_embeddings),
        source=source,
    )


# ---------------------------------------------------------------- tokens


def tokens_by(base: str, shape: Shape | None) -> Callable[[str], int]:
    """A count of a text's tokens: by the base's own tokenizer where it is on this machine, else by a rule.

    The rule: a word, a sign, a few digits of a number (`Shape.digits`), and a space before a number are one each.
    """
    if (home := at_hand(base, "tokenizer.json")) is not None:
        from tokenizers import Tokenizer

        own = Tokenizer.from_file(str(home))
        return lambda text: len(own.encode(text, add_special_tokens=False).ids)
    digits = shape.digits if shape else 3
    piece = re.compile(rf"[A-Za-z']+|[0-9]{{1,{digits}}}|\s(?=[0-9])|[^\sA-Za-z0-9]")
    return lambda text: len(piece.findall(text))


@dataclass(frozen=True)
class Lengths:
    """Tokens of a row: its prompt with its chat tags (mean, and longest), its completion with the end of its turn."""

    prompt: int
    longest: int
    completion: int

    @property
    def row(self) -> int:
        """Tokens of one training example, on average."""
        return self.prompt + self.completion

    @property
    def most(self) -> int:
        """Tokens of the longest one, which memory must have room for."""
        return self.longest + self.completion


def lengths(modality: Modality, style: str, count: Callable[[str], int], chat: int = CHAT_TOKENS) -> Lengths:
    """Lengths of rows: those of 200 prompts, and the longest completion that the filter keeps, with its turn end."""
    prompts = [count(row["prompt"]) for row in modality.prompts(200, Random(0), style)]
    longest = getattr(modality, "longest", None)
    completion = count(longest) if isinstance(longest, str) else modality.max_new_tokens
    return Lengths(round(sum(prompts) / len(prompts)) + chat, max(prompts) + chat, completion + 2)


# ---------------------------------------------------------------- memory


@dataclass(frozen=True)
class Memory:
    """Bytes on the device at the worst moment, part by part."""

    weights: int
    states: int = 0
    activations: int = 0
    logits: int = 0
    cache: int = 0

    @property
    def total(self) -> int:
        """All parts, and what the runtime takes."""
        return self.weights + self.states + self.activations + self.logits + self.cache + RUNTIME

    def words(self) -> str:
        """The parts in GiB, those that are there."""
        parts = {k: v for k, v in {**self.__dict__, "runtime": RUNTIME}.items() if v >= 0.05 * GIB}
        return ", ".join(f"{name} {size / GIB:.1f}" for name, size in parts.items())


def trainable(shape: Shape, tuning: Tuning) -> int:
    """How many weights a tuning moves."""
    counts: dict[str, int] = {
        "lora": shape.lora(tuning.rank),
        "ln_tuning": shape.gains,
        "prompt_tuning": tuning.virtual_tokens * shape.hidden,
        "full": shape.parameters,
    }
    return counts[tuning.method]


def to_train(shape: Shape, tuning: Tuning, dtype: str, rows: Lengths, *, checkpointing: bool, teacher: bool) -> Memory:
    """Memory of a training step of `batch_size` rows, all as long as the longest.

    What is trained, its gradients and AdamW's two moments are float32; full fine-tuning has the weights in `dtype` too.
    checkpointing: only the input of each layer is kept, and one layer at a time is computed again. teacher: a soft
    teacher of the same shape stands beside the student. Logits are made at loss positions alone.
    """
    tokens, lora = tuning.batch_size * rows.most, tuning.method == "lora"
    return Memory(
        weights=(2 if teacher else 1) * WIDTH[dtype] * shape.parameters,
        states=4 * 4 * trainable(shape, tuning),
        activations=activations(shape, tokens, dtype, lora=lora, checkpointing=checkpointing),
        logits=logits(shape, tuning.batch_size * rows.completion, teacher=teacher),
    )


def activations(shape: Shape, tokens: int, dtype: str, *, lora: bool, checkpointing: bool) -> int:
    """Bytes that so many tokens hold between forward and backward, logits left out."""
    width = WIDTH[dtype]
    layer = tokens * _kept_per_token(shape, width, lora=lora)
    inputs = tokens * shape.layers * width * shape.hidden
    return inputs + 2 * layer if checkpointing else shape.layers * layer


def logits(shape: Shape, positions: int, *, teacher: bool = False) -> int:
    """Bytes of the logits at so many positions with loss, and of a soft teacher's beside them."""
    return positions * shape.vocabulary * LOGIT_BYTES * (2 if teacher else 1)


def _kept_per_token(shape: Shape, width: int, *, lora: bool) -> int:
    """Bytes that the backward pass of one layer needs of every token, attention by a fused kernel.

    Norms keep two float32 copies of the hidden state each; attention its queries, keys, values and result; the gated
    MLP three vectors of its inner width. LoRA keeps a float32 copy of the input of each of the seven projections;
    full fine-tuning the inputs themselves, and what the norms of the heads read. Tested against what torch keeps.
    """
    query, key = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    kept = shape.norms * 8 * shape.hidden + width * (2 * query + 2 * key + 3 * shape.mlp)
    if lora:
        return kept + 4 * sum(into for into, _ in shape.linears)
    return kept + width * (2 * shape.hidden + shape.mlp) + (8 * (query + key) if shape.qk_norm else 0)


def to_generate(shape: Shape, dtype: str, rows: Lengths, together: int = DECODED_TOGETHER) -> Memory:
    """Memory of so many rows written at a time: weights, the keys and values of every token, logits of one."""
    width = WIDTH[dtype]
    kept = 2 * shape.layers * shape.kv_heads * shape.head_dim * width
    return Memory(
        weights=width * shape.parameters,
        cache=together * rows.most * kept,
        logits=together * shape.vocabulary * LOGIT_BYTES,
    )


@dataclass(frozen=True)
class Fit:
    """How a training fits on a card: rows at a time, checkpointing or not, and its memory; the step stays the same."""

    rows: int
    checkpointing: bool
    memory: Memory


def fit(
    shape: Shape, tuning: Tuning, dtype: str, rows: Lengths, room: float | None, teacher: bool = False
) -> Fit | None:
    """The fastest way to train in `room` bytes; None when not even one row at a time fits.

    Without a room: the recipe's own batch with checkpointing, the least that it needs as it is written.
    """

    def needs(size: int, checkpointing: bool) -> Memory:
        step = replace(tuning, batch_size=size)
        return to_train(shape, step, dtype, rows, checkpointing=checkpointing, teacher=teacher)

    if room is None:
        return Fit(tuning.batch_size, True, needs(tuning.batch_size, True))
    fastest = largest_step(tuning.batch_size, lambda size, again: needs(size, again).total <= room)
    return Fit(*fastest, needs(*fastest)) if fastest else None


def largest_step(most: int, fits: Callable[[int, bool], bool]) -> tuple[int, bool] | None:
    """(rows at a time, checkpointing or not) of the fastest step that fits; None when not even one row does.

    The whole batch is tried without and with checkpointing, then half of it, and half again.
    """
    sizes = [most]
    while sizes[-1] > 1:
        sizes.append(math.ceil(sizes[-1] / 2))
    return next(((size, again) for size in sizes for again in (False, True) if fits(size, again)), None)


def card_for(need: int) -> int | None:
    """The smallest usual card, in advertised GB, that has so many bytes; None when none has."""
    return next((name for name, gib in CARDS.items() if gib * GIB >= need), None)


# ---------------------------------------------------------------- work


def forward(shape: Shape, tokens: float, context: float, positions: float | None = None) -> float:
    """FLOPs of reading `tokens` tokens, each seeing half of `context` others, with logits at `positions` of them."""
    attention = 2 * shape.layers * shape.heads * shape.head_dim * context
    return tokens * (2 * shape.matrices + attention) + 2 * shape.head * (tokens if positions is None else positions)


def training(shape: Shape, tuning: Tuning, rows: float, length: Lengths, *, checkpointing: bool) -> float:
    """FLOPs of training on so many rows, repeats included; checkpointing reads everything once more."""
    tokens, positions = rows * length.row, rows * length.completion
    base = tokens * shape.matrices + positions * shape.head
    adapter = tokens * shape.lora(tuning.rank) if tuning.method == "lora" else 0.0
    full = tuning.method == "full"
    attended = tokens * length.row * shape.layers * shape.heads * shape.head_dim
    step = training_flops(0.0 if full else base, base if full else adapter, attended)
    return step + (forward(shape, tokens, length.row, positions) if checkpointing else 0.0)


def training_flops(frozen: float, trained: float, attended: float) -> float:
    """FLOPs of forward and backward.

    frozen, trained: weights of linear layers, each as often as a token is multiplied with it. That costs 2 operations
    forward, 2 for the gradient to its input and, where it is trained, 2 for its own: 4 N for the frozen base of an
    adapter, 6 N for what is trained (Kaplan et al., arXiv:2001.08361, with the frozen part left out). attended: the
    squared lengths of rows times layers, heads and their size; causal scores and sums are 2 of it forward and twice
    that backward. Norms, embeddings and the optimizer count nothing.
    """
    return 4.0 * frozen + 6.0 * trained + 6.0 * attended


def plain(value: Any) -> Any:
    """A Memory or a Fit as plain data, bytes and all."""
    if isinstance(value, Fit):
        return {**value.__dict__, "memory": plain(value.memory)}
    return {**value.__dict__, "runtime": RUNTIME, "total": value.total} if isinstance(value, Memory) else value
