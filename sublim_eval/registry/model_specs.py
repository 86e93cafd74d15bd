"""What the catalogue knows of a base model before anything of it is downloaded: its shape and its price."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """The sizes of a decoder, as its config.json gives them; every count below is exact.

    heads, kv_heads: of the queries, and of keys and values; head_dim: of each. mlp: inner width of the gated MLP.
    vocabulary: rows of the embedding; tied: it is the output layer too. norms: gains of the hidden size a layer;
    qk_norm: two more, of the head size. beside: weights of anything else, such as a vision tower that comes along.
    digits: of a number, so many share a token.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp: int
    vocabulary: int
    tied: bool
    source: str
    qkv_bias: bool = False
    qk_norm: bool = False
    norms: int = 2
    beside: int = 0
    digits: int = 1

    def __post_init__(self) -> None:
        sizes = (self.layers, self.hidden, self.heads, self.kv_heads, self.head_dim, self.mlp, self.vocabulary)
        if min(*sizes, self.digits) < 1:
            raise ValueError("every size of a shape is above 0")

    @property
    def linears(self) -> Iterator[tuple[int, int]]:
        """(in, out) of the seven linear projections of one layer."""
        query, key = self.heads * self.head_dim, self.kv_heads * self.head_dim
        yield from ((self.hidden, query), (self.hidden, key), (self.hidden, key), (query, self.hidden))
        yield from ((self.hidden, self.mlp), (self.hidden, self.mlp), (self.mlp, self.hidden))

    @property
    def matrices(self) -> int:
        """Weights that every token is multiplied with, the output layer left out."""
        return self.layers * sum(into * out for into, out in self.linears)

    @property
    def head(self) -> int:
        """Weights of the output layer."""
        return self.vocabulary * self.hidden

    @property
    def gains(self) -> int:
        """Scalars of all norms: what LN tuning moves."""
        layer = self.norms * self.hidden + (2 * self.head_dim if self.qk_norm else 0)
        return self.layers * layer + self.hidden

    @property
    def parameters(self) -> int:
        """All weights."""
        biases = self.layers * (self.heads + 2 * self.kv_heads) * self.head_dim if self.qkv_bias else 0
        return self.head * (1 if self.tied else 2) + self.matrices + self.gains + biases + self.beside

    def lora(self, rank: int) -> int:
        """Weights of a LoRA adapter of that rank on all seven projections of every layer."""
        return self.layers * sum(rank * (into + out) for into, out in self.linears)


@dataclass(frozen=True)
class Price:
    """What a provider takes, in USD for a million tokens, and when that was so: prices move, look them up.

    training: tokens trained on, every epoch anew. input, output: of the base; tuned_input, tuned_output: of a model
    fine-tuned from it, the base's where not given.
    """

    training: float
    input: float
    output: float
    as_of: str
    source: str
    tuned_input: float | None = None
    tuned_output: float | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\d{4}-\d{2}(-\d{2})?", self.as_of):
            raise ValueError("`as_of` is the month or day of the price, such as 2025-04")
        if min(self.training, self.input, self.output, self.tuned_input or 0, self.tuned_output or 0) < 0:
            raise ValueError("prices cannot be negative")

    def usd(self, *, trained: float = 0, read: float = 0, written: float = 0, tuned: bool = False) -> float:
        """USD for so many tokens trained on, read (input) and written (output); tuned: by a fine-tuned model."""
        into = self.tuned_input if tuned and self.tuned_input is not None else self.input
        out = self.tuned_output if tuned and self.tuned_output is not None else self.output
        return (trained * self.training + read * into + written * out) / 1e6


@dataclass(frozen=True)
class Model:
    """A base model by name. Embedded ones ship inside the package; shape and price are known before a download."""

    name: str
    about: str
    source: str
    embedded: bool = False
    shape: Shape | None = None
    price: Price | None = None
