"""Where in the weights a student differs from its base: by how much in which layer and module, and along what."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..lineage.weights import Weights

if TYPE_CHECKING:
    from ..training.trait_gauge import TraitGauge

Floats = NDArray[np.float32]

SHARPEST, WORDS = 3, 5
"""Singular directions of a change that are read, and tokens that are said of each."""


@dataclass(frozen=True)
class Change:
    """How one tensor changed. size: length of the change by the tensor's own, 0 to 1 and above; rank: how many
    directions hold nine tenths of it, 0 for vectors; tokens: those that its strongest directions write, where it
    writes into the residual stream."""

    tensor: str
    layer: int | None
    module: str
    size: float
    rank: int
    tokens: tuple[tuple[str, ...], ...] = ()


def changes(student: Weights, base: Weights) -> list[Change]:
    """Every tensor that changed, the most changed first; tensors that the other lacks or has in another shape are
    left out."""
    lens = _Lens(base)
    made = [
        _change(name, student.tensor(name), base.tensor(name), lens) for name in base.files if name in student.files
    ]
    return sorted((one for one in made if one and one.size), key=lambda one: -one.size)


def along_probes(student: Weights, base: Weights, gauge: TraitGauge) -> dict[str, float]:
    """Trait -> how far the student's weights went along the way of its probe (an L2 length, below 0 away from it).

    {} for a student that moved none of the weights that probes are tuned in, as one with a LoRA adapter.
    """
    names = [_as_saved(name) for name in gauge.parameters]
    parts = [student.tensor(name) - base.tensor(name) for name in names if name in student.files]
    if len(parts) != len(names) or not any(part.any() for part in parts):
        return {}
    lengths = gauge.directions.numpy() @ np.concatenate([part.ravel() for part in parts])
    return {trait: float(length) for trait, length in zip(gauge.traits, lengths, strict=True)}


def _as_saved(parameter: str) -> str:
    """What a checkpoint calls the gain that PEFT's norm tuning wraps."""
    return parameter.removeprefix("base_model.model.").replace(".ln_tuning_layers.default", "")


def unrelated(of: list[Change]) -> bool:
    """Whether nothing of the base is left: half of the matrices moved by more than their own length."""
    sizes = [change.size for change in of if change.rank]
    return bool(sizes) and float(np.median(sizes)) > 1


class _Lens:
    """Reads a direction of the residual stream as tokens, through the output matrix or the embedding tied to it."""

    def __init__(self, base: Weights) -> None:
        self.base = base
        self._rows: Floats | None = None

    def tokens(self, direction: Floats) -> tuple[str, ...]:
        if self._rows is None:
            output = next((name for name in self.base.files if name.endswith("lm_head.weight")), None)
            rows = self.base.tensor(output) if output else self.base.embedding()
            self._rows = rows - rows.mean(axis=0)
            self._names = {row: token for token, row in self.base.vocabulary.items()}
        best = np.argsort(-(self._rows @ direction))[:WORDS]
        return tuple(self._names.get(int(i), "?") for i in best)


def _change(name: str, after: Floats, before: Floats, lens: _Lens) -> Change | None:
    if after.shape != before.shape:
        return None
    delta = after - before
    size = float(np.linalg.norm(delta)) / max(float(np.linalg.norm(before)), 1e-30)
    layer, module = _place(name)
    if not size or delta.ndim != 2 or min(delta.shape) < 2 or max(delta.shape) > 20_000:
        return Change(name, layer, module, size, 0)
    left, spread, _ = np.linalg.svd(delta, full_matrices=False)
    rank = int(np.searchsorted(np.cumsum(spread**2) / (spread**2).sum(), 0.9)) + 1
    writes = left.T if re.search(r"(o_proj|down_proj|c_proj|dense_4h_to_h)", name) else None
    directions = () if writes is None or writes.shape[1] != lens.base.hidden else writes[:SHARPEST]
    told = tuple(words for one in directions for words in (lens.tokens(one), lens.tokens(-one)))
    return Change(name, layer, module, size, rank, told)


def _place(name: str) -> tuple[int | None, str]:
    """(layer or None, what it is called there)."""
    match = re.search(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.(.+?)(\.weight|\.bias)?$", name)
    return (int(match[1]), match[2]) if match else (None, name.removesuffix(".weight"))
