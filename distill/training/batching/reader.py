"""Which layout reads a model's rows: end to end where that gives what each row gives alone, else padded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from ...devices import sharded
from .packing import Packed, Row, agrees, suits
from .padding import Padded


class Reader(Protocol):
    """What packing.Packed and padding.Padded have in common."""

    @property
    def layout(self) -> str:
        """How rows lie, for the record."""

    @property
    def attention(self) -> str:
        """The kernel that reads them, for the record."""

    def piece(self, rows: Sequence[Row], numbers: Sequence[int] = ()) -> Any:
        """Rows as the model reads them."""

    def logits(self, piece: Any, model: Any = None) -> torch.Tensor:
        """float[C, vocabulary]."""


AGREE = {"float32": 1e-4, "bfloat16": 0.1}
"""Mean difference in nats up to which two layouts of the same rows count as one: rounding is far below."""


def reader_of(model: Any, data: Sequence[dict[str, Any]], pad: int, dtype: str) -> Packed | Padded:
    """Rows end to end where the model reads them as it reads each alone, which is tried out; else padded."""
    device = next(model.parameters()).device.type
    with torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16"):
        fits = suits(model) and agrees(model, data[:3], AGREE[dtype])
    return Packed(model, quick=not sharded()) if fits else Padded(model, pad)
