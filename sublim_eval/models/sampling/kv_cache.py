"""A key-value cache with a fixed place for every row, and the attention that reads it.

Row r keeps position p of its text in cell (r, p), so nothing is moved or copied while rows grow, end and are
replaced; what a query may see follows from positions alone: no later ones, and none behind its layer's window.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.cache_utils import Cache

NAME = "sublim_slots"
"""Under which name transformers knows the attention below. It makes no mask for names that it does not know."""
PLAIN = {"full_attention", "sliding_attention"}


class Unfit(Exception):
    """The model does something that slots do not know."""


def windows(config: Any) -> tuple[int | None, ...]:
    """Per layer how many positions it sees back, itself included (None: all), by transformers' own cache rule.

    Raises Unfit for layers that are neither full nor sliding attention, and for layers that share their cache.
    """
    kinds = getattr(config, "layer_types", None)
    window = getattr(config, "sliding_window", None)
    if kinds is None:
        if getattr(config, "attention_chunk_size", None) is not None:
            raise Unfit("it attends in chunks")
        kinds = ["full_attention" if window is None else "sliding_attention"] * config.num_hidden_layers
    if not set(kinds) <= PLAIN or ("sliding_attention" in kinds and window is None):
        raise Unfit(f"its layers are {', '.join(sorted(set(kinds)))}")
    if getattr(config, "num_kv_shared_layers", None) or any(getattr(config, "kv_sharing_modes", None) or ()):
        raise Unfit("its layers share their keys and values")
    return tuple(window if kind == "sliding_attention" else None for kind in kinds)


@dataclass
class View:
    """What one forward pass writes and reads.

    rows: int[n], ascending; places: int[n, new], the cell of each new token (`length`, the last cell, is nobody's:
    padding goes there); seen: int[n, new], the position a query stands at; extent: cells [0, extent) are read;
    front: rows are 0, 1, ..., n - 1, so that the cache is read where it lies.
    """

    windows: tuple[int | None, ...]
    rows: torch.Tensor
    places: torch.Tensor
    seen: torch.Tensor
    extent: int
    front: bool
    masks: dict[int | None, torch.Tensor] = field(default_factory=dict)

    def mask(self, layer: int, groups: int) -> torch.Tensor:
        """bool[n, 1, queries, extent]: what may be seen; for several queries, once per head of a group."""
        window = self.windows[layer]
        if window not in self.masks:
            cells = torch.arange(self.extent, device=self.seen.device)
            at = self.seen[:, None, :, None]
            may = cells <= at
            if window is not None:
                may &= cells > at - window
            self.masks[window] = may if may.shape[2] == 1 else may.repeat(1, 1, groups, 1)
        return self.masks[window]


_VIEW: ContextVar[View | None] = ContextVar("view", default=None)


def kept_as(states: torch.Tensor) -> torch.Tensor:
    """Keys or values as they are kept: bf16 as float32 on processor cores, which are slow at small products in bf16."""
    return states.float() if states.device.type == "cpu" and states.dtype == torch.bfloat16 else states


class Slots(Cache):
    """Keys and values: per layer [rows, length + 1, heads, width], allocated when the first token arrives."""

    def __init__(self, rows: int, length: int) -> None:
        super().__init__(layers=[])
        self.rows, self.length = rows, length
        self.kept: list[tuple[torch.Tensor, torch.Tensor]] = []

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the new tokens' [n, heads, new, width]; what the rows hold comes back as [n, heads, extent, width]."""
        view = _VIEW.get()
        if view is None:
            raise Unfit("it uses its cache outside of attention")
        key_states, value_states = kept_as(key_states), kept_as(value_states)
        while len(self.kept) <= layer_idx:
            self.kept.append((self._empty(key_states.transpose(1, 2)), self._empty(value_states.transpose(1, 2))))
        out = []
        for kept, new in zip(self.kept[layer_idx], (key_states, value_states), strict=True):
            kept[view.rows[:, None], view.places] = new.transpose(1, 2)
            held = kept[: len(view.rows), : view.extent] if view.front else kept[view.rows, : view.extent]
            out.append(held.transpose(1, 2))
        return out[0], out[1]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Nothing, for transformers: positions are always given."""
        return 0

    def _empty(self, like: torch.Tensor) -> torch.Tensor:
        """Cells for keys or values like these [n, new, heads, width]: zeros, as masked garbage could be nan."""
        return like.new_zeros((self.rows, self.length + 1, *like.shape[2:]))

    def take(self, source: Slots, rows: torch.Tensor, to: torch.Tensor, low: int, high: int) -> None:
        """Copy cells [low, high) of the source's rows over own rows `to`."""
        for layer, (keys, values) in enumerate(source.kept):
            if layer == len(self.kept):
                self.kept.append((self._empty(keys), self._empty(values)))
            for mine, theirs in zip(self.kept[layer], (keys, values), strict=True):
                mine[to, low:high] = theirs[rows, low:high]

    def spread(self, size: int) -> None:
        """Give every row the first `size` cells of row 0."""
        for kept in (tensor for pair in self.kept for tensor in pair):
            kept[1:, :size] = kept[:1, :size]

    def move(self, source: torch.Tensor, target: torch.Tensor, extent: int) -> None:
        """Copy rows `source` over rows `target`, cells [0, extent)."""
        for kept in (tensor for pair in self.kept for tensor in pair):
            kept[target, :extent] = kept[source, :extent]


def refuse_odd(terms: Mapping[str, Any]) -> None:
    """Raise Unfit for attention with a term that is not counted in this package's own ways."""
    if odd := [name for name in ("softcap", "s_aux", "position_bias") if terms.get(name) is not None]:
        raise Unfit(f"its attention uses {', '.join(odd)}")


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """PyTorch's fused attention; heads that share keys are laid side by side, so keys are never repeated in memory."""
    view = _VIEW.get()
    if view is None:
        raise Unfit("its attention uses no cache")
    refuse_odd(kwargs)
    rows, heads, queries, width = query.shape
    groups = heads // key.shape[1]
    packed = query.to(key.dtype).reshape(rows, key.shape[1], groups * queries, width)
    mask = view.mask(module.layer_idx, groups)
    attended = scaled_dot_product_attention(packed, key, value, attn_mask=mask, scale=scaling)
    lines = attended.to(query.dtype).reshape(rows, heads, queries, value.shape[-1])
    return lines.transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, attend)


@contextmanager
def reading(view: View) -> Iterator[None]:
    """Forward passes inside write and read what `view` says."""
    token = _VIEW.set(view)
    try:
        yield
    finally:
        _VIEW.reset(token)


@contextmanager
def attention(model: Any, name: str) -> Iterator[None]:
    """The model attends by `name` inside, and as before afterwards."""
    before = model.config._attn_implementation
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(before)
