"""Micro-batches padded on the right, for models whose attention packing.py does not know.

A causal model never looks right, so no mask is needed and its own attention stays as fast as it is. Logits are
computed at the positions that carry loss, as in packing.py, and everything has the same names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import torch
from torch import nn

from .packing import IGNORED, Row, plain, virtual_before


@dataclass(frozen=True)
class PaddedPiece:
    """Some rows of a batch. ids: int64[rows, longest]; labels, owner: int64[C]; carried: bool[rows, longest].

    read: tokens of the rows, padding not counted.
    """

    ids: torch.Tensor
    labels: torch.Tensor
    owner: torch.Tensor
    carried: torch.Tensor
    rows: tuple[int, ...]
    read: int

    @property
    def tokens(self) -> int:
        """Places that go through the model, padding included."""
        return self.ids.numel()

    def to(self, device: Any) -> PaddedPiece:
        """The same on a device."""
        moved = {name: getattr(self, name).to(device) for name in ("ids", "labels", "owner", "carried")}
        return replace(self, **moved)


class Padded:
    """Within the block a model reads padded pieces.

    virtual: float[tokens, hidden] before every row, or those of the model's own prompt-tuning adapter.
    """

    layout = "padded"

    def __init__(self, model: Any, pad: int, virtual: torch.Tensor | None = None) -> None:
        self.model, self.inner, self.pad, self.given = model, plain(model), pad, virtual

    def __enter__(self) -> Padded:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing to undo: such a model runs as it is."""

    @property
    def attention(self) -> str:
        """The kernel's name, for the record."""
        return str(self.inner.config._attn_implementation)

    def piece(self, rows: Sequence[Row], numbers: Sequence[int] = ()) -> PaddedPiece:
        """Rows as this model reads them, on its device; see packing.lay."""
        width = max(len(row["input_ids"]) for row in rows) - 1

        def padded(key: str, part: slice, fill: int) -> torch.Tensor:
            own = [row[key][part] for row in rows]
            return torch.tensor([one + [fill] * (width - len(one)) for one in own], dtype=torch.long)

        ids, labels = padded("input_ids", slice(None, -1), self.pad), padded("labels", slice(1, None), IGNORED)
        carried = labels != IGNORED
        owner = carried.nonzero()[:, 0]
        read = sum(len(row["input_ids"]) for row in rows)
        laid = PaddedPiece(ids, labels[carried], owner, carried, tuple(numbers or range(len(rows))), read)
        return laid.to(next(self.inner.parameters()).device)

    def logits(self, piece: PaddedPiece, model: Any = None) -> torch.Tensor:
        """float[C, vocabulary]: next-token logits wherever the piece carries loss, row by row."""
        with logits_only_at(self.inner, piece.carried):
            return self._run(piece, model)

    def _run(self, piece: PaddedPiece, model: Any) -> torch.Tensor:
        before = virtual_before(self.model, self.given)
        if before is None:
            output = (model or self.model)(input_ids=piece.ids, use_cache=False)
        else:
            embedded = self.inner.get_input_embeddings()(piece.ids)
            lines = before[None].expand(len(embedded), -1, -1).to(embedded.dtype)
            output = self.inner(inputs_embeds=torch.cat([lines, embedded], 1), use_cache=False)
        logits: torch.Tensor = output.logits
        return logits


@contextmanager
def logits_only_at(model: Any, carries: torch.Tensor) -> Iterator[None]:
    """Within the block the output layer sees only the positions that carry loss, whatever the architecture.

    carries: bool[row, position]. Logits come out as float[positions that carry, vocabulary], in row order. Virtual
    tokens of a prompt-tuning adapter stand before the row's own and carry nothing.
    """

    def pick(_: nn.Module, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        hidden, *rest = arguments
        return (hidden[:, hidden.shape[1] - carries.shape[1] :][carries], *rest)

    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    handle = inner.get_output_embeddings().register_forward_pre_hook(pick)
    try:
        yield
    finally:
        handle.remove()
