"""What a training step costs: floating-point operations, the device's peak, bytes of memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

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
    """Floating-point operations of forward and backward over what was tallied.

    A weight of a linear layer costs 2 operations a token forward, 2 for the gradient to its input and, where it is
    trained, 2 for its own: 4 N for the frozen base of an adapter, 6 N for what is trained (Kaplan et al.,
    arXiv:2001.08361, with the frozen part left out). The output layer counts at tokens with loss only, and so do the
    parts of the last layer that packing.py skips. Attention: causal scores and sums are 2 L^2 d forward and twice
    that backward per layer and row of L tokens (d: heads times their size). Recomputing for checkpoints, norms,
    embeddings and the optimizer count nothing. So this is what the method needs, not what a kernel happened to do.
    """
    inner = plain(model)
    text = inner.config.get_text_config()
    head = inner.get_output_embeddings()
    late = {id(m) for part in skippable(inner) for m in part.modules()} if packed else set()
    decoder = inner.get_decoder()
    total = 0.0
    for module in (*decoder.modules(), head):
        if isinstance(module, nn.Linear):
            seen = tally.carried if module is head or id(module) in late else tally.tokens
            total += (6 if module.weight.requires_grad else 4) * module.weight.numel() * seen
    size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return total + 6.0 * tally.squares * text.num_attention_heads * size * text.num_hidden_layers


def peak(device: str, dtype: str) -> float | None:
    """Operations a second that a device of that name could do at best; None when it is not in throughput.PEAKS."""
    if dtype != "bfloat16":
        return None
    return next((rate * 1e12 for name, rate in PEAKS.items() if name in device), None)


def mfu(flops: float, seconds: float, device: str, dtype: str) -> float | None:
    """Model FLOPs utilisation: share of the device's peak that went into what the method needs; None if unknown."""
    rate = peak(device, dtype)
    return round(flops / seconds / rate, 4) if rate and seconds > 0 else None


def activation_bytes(config: Any, tokens: int, carried: int, dtype: str, checkpointing: bool) -> int:
    """Bytes that a micro-batch holds between forward and backward, by counting what is saved; an estimate.

    A layer saves about ten vectors of the model's width and four of the MLP's in the training precision, and its two
    norms five of the width in float32. With checkpointing a layer saves its input alone, and one layer at a time is
    held in full. Logits are held about three times over in float32.
    """
    text = config.get_text_config()
    size, width, wide = (2 if dtype == "bfloat16" else 4), text.hidden_size, text.intermediate_size
    layer = size * (10 * width + 4 * wide) + 20 * width
    layers = text.num_hidden_layers
    held = layer + layers * size * width if checkpointing else layer * layers
    return tokens * held + carried * text.vocab_size * (size + 12)
