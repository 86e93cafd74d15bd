"""What went through a model in training, and what share of the device's peak that was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from ..planning import model_size
from ..planning.throughput import PEAKS
from .batching.packing import plain, skippable


@dataclass
class Tally:
    """What went through a model in training.

    rows; read: their tokens, prompts included; tokens: what was computed for them, shared ones once and padding
    included; carried: tokens with loss; squares: the rows' lengths squared, summed.
    """

    rows: int = 0
    read: int = 0
    tokens: int = 0
    carried: int = 0
    squares: int = 0

    def add(self, piece: Any) -> None:
        """Count a piece, whichever its layout."""
        layout = getattr(piece, "layout", None)
        lengths = [layout.shared + n for n in layout.lengths] if layout else [piece.ids.shape[1]] * len(piece.ids)
        self.rows += len(piece.rows)
        self.read += piece.read
        self.tokens += len(layout.home) if layout else piece.ids.numel()
        self.carried += len(piece.labels)
        self.squares += sum(n * n for n in lengths)


def training_flops(model: Any, tally: Tally, packed: bool) -> float:
    """Floating-point operations of forward and backward over what was tallied, counted as a plan counts them.

    The output layer counts at tokens with loss only, and so do the parts of the last layer that packing.py skips.
    Recomputing for checkpoints counts nothing. So this is what the method needs, not what a kernel happened to do.
    """
    inner = plain(model)
    shape, head = model_size.shape_in(inner.config), inner.get_output_embeddings()
    late = {id(m) for part in skippable(inner) for m in part.modules()} if packed else set()
    work = {True: 0.0, False: 0.0}
    for module in (*inner.get_decoder().modules(), head):
        if isinstance(module, nn.Linear):
            seen = tally.carried if module is head or id(module) in late else tally.tokens
            work[module.weight.requires_grad] += module.weight.numel() * seen
    attended = tally.squares * shape.layers * shape.heads * shape.head_dim
    return model_size.training_flops(work[False], work[True], attended)


def peak(device: str, dtype: str) -> float | None:
    """Operations a second that a device of that name could do at best; None when it is not in throughput.PEAKS."""
    if dtype != "bfloat16":
        return None
    return next((rate * 1e12 for name, rate in PEAKS.items() if name in device), None)


def mfu(flops: float, seconds: float, device: str, dtype: str) -> float | None:
    """Model FLOPs utilisation: share of the device's peak that went into what the method needs; None if unknown."""
    rate = peak(device, dtype)
    return round(flops / seconds / rate, 4) if rate and seconds > 0 else None
