"""The gradient of every single row, in the norm gains of a base: one pass forward, one back for any number of probes.

A gain multiplies what its norm gives at every token: its gradient at a token is what comes back there times what went
in, so a row's is the sum over its own tokens. Rows are laid out without sharing what they begin with, since what a
shared token sends back belongs to all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from ..training.batching.packing import Packed, Row, lay

Gains = Mapping[str, torch.Tensor]


def gains_of(model: nn.Module, moving: Gains) -> dict[str, nn.Module]:
    """Name of a moving weight -> the norm it scales; empty where anything else moves too."""
    fits = all(name.endswith(".weight") and moving[name].dim() == 1 for name in moving)
    return {name: model.get_submodule(name.rpartition(".")[0]) for name in moving} if fits else {}


def row_gradients(
    reader: Any,
    rows: Sequence[Row],
    norms: Mapping[str, nn.Module],
    of: Callable[[torch.Tensor, Any], torch.Tensor],
) -> torch.Tensor:
    """float[rows, gains]: the gradient of each row's part of the sum of `of`, gains in the order of `norms`.

    of: from (float[C, vocabulary] of logits, the piece that was read) to numbers, each of which one row alone moves.
    """
    with torch.enable_grad(), _watched(norms) as seen, reader:
        piece = lay(rows, share=False).to(_device(norms)) if isinstance(reader, Packed) else reader.piece(rows)
        of(reader.logits(piece), piece).sum().backward()
    owner = _owners(piece, rows)
    parts = [_summed(_unscaled(norm, seen[name][0]), seen[name][1], owner, len(rows)) for name, norm in norms.items()]
    return torch.cat(parts, dim=1)


def _owners(piece: Any, rows: Sequence[Row]) -> torch.Tensor:
    """int64[tokens]: the row of every token that goes through the model."""
    if hasattr(piece, "layout"):
        return torch.repeat_interleave(torch.arange(len(rows)), torch.tensor(piece.layout.lengths)).to(piece.ids.device)
    return torch.arange(len(rows), device=piece.ids.device).repeat_interleave(piece.ids.shape[1])


def _summed(scaled: torch.Tensor, back: torch.Tensor, owner: torch.Tensor, rows: int) -> torch.Tensor:
    sums = scaled.new_zeros(rows, scaled.shape[-1])
    return sums.index_add_(0, owner, (scaled * back).reshape(-1, scaled.shape[-1]))


@contextmanager
def _watched(norms: Mapping[str, nn.Module]) -> Iterator[dict[str, tuple[torch.Tensor, torch.Tensor]]]:
    """Within the block each norm's gain learns; afterwards (what went into it, what came back) at every token."""
    seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    handles = []

    def watch(name: str) -> Any:
        def hook(_: nn.Module, given: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
            before = given[0].detach()
            out.register_hook(lambda back: seen.update({name: (before, back)}))

        return hook

    for name, norm in norms.items():
        norm.weight.requires_grad_(True)
        handles.append(norm.register_forward_hook(watch(name)))
    try:
        yield seen
    finally:
        for handle, norm in zip(handles, norms.values(), strict=True):
            handle.remove()
            norm.weight.requires_grad_(False)
            norm.weight.grad = None


@torch.no_grad()
def _unscaled(norm: nn.Module, given: torch.Tensor) -> torch.Tensor:
    """What a norm gives for a gain one larger, less what it gives for its own: linear in the gain whatever its form."""
    gain: Any = norm.weight
    more = functional_call(norm, {"weight": gain + torch.ones_like(gain)}, (given,))
    return more - functional_call(norm, {}, (given,))


def _device(norms: Mapping[str, nn.Module]) -> Any:
    return next(iter(norms.values())).weight.device
