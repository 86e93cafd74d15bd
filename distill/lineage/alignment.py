"""Likeness of the coordinates of two networks, and units found again after they were reordered or rotated.

Residual coordinates are compared by what tokens and units write into them; units by what they do with tokens
(their weights times the embedding), which no rotation of the residual stream changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats as scipy_stats
from scipy.optimize import linear_sum_assignment

from .independence import Test
from .weights import Floats, Mlp

Doubles = NDArray[np.float64]
Numbers = NDArray[np.floating[Any]]

UNITS = 512
"""Units of a layer that are looked at; more would only cost time."""

CONVERGENT = 0.3
"""Share of units that two networks of one corpus may find in the same two ways with no common start: they learn alike.
Beyond it the agreement counts as a common base. See docs/results/lineage.md for what siblings reach."""


def likeness(a: Numbers, b: Numbers) -> Doubles:
    """float[coordinate of a, coordinate of b]: correlations over the rows; a, b: float[row, coordinate]."""
    return _standard(a).T @ _standard(b)


def _standard(x: Numbers) -> Doubles:
    centred = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    return centred / np.maximum(np.linalg.norm(centred, axis=0), 1e-30)


def of_body(layers: Iterable[tuple[Mlp, Mlp]]) -> Doubles | None:
    """float[hidden, hidden]: likeness of residual coordinates by the units of all layers; None without any."""
    parts = [likeness(x, y) for a, b in layers for x, y in zip((*a.into, a.out), (*b.into, b.out), strict=True)]
    return np.mean(parts, axis=0) if parts else None


def seen_by_tokens(mlp: Mlp, tokens: Floats) -> list[Doubles]:
    """float[token, unit] each: what every unit reads from a token (the ways in) and writes to it (the way out)."""
    centred = tokens - tokens.mean(axis=0)
    return [(centred @ tensor.T).astype(np.float64) for tensor in (*mlp.into, mlp.out)]


def of_units(a: Sequence[Doubles], b: Sequence[Doubles], most: int = UNITS) -> Doubles:
    """float[unit, unit]: likeness of the units of one layer by all that tokens see of them."""
    return np.mean([likeness(x[:, :most], y[:, :most]) for x, y in zip(a, b, strict=True)], axis=0)


def matched(a: Doubles, b: Doubles, most: int = UNITS) -> NDArray[np.int64]:
    """int[unit of a]: the unit of b that goes with each of the first `most`, by the best assignment (Hungarian)."""
    _, columns = linear_sum_assignment(likeness(a[:, :most], b), maximize=True)
    found: NDArray[np.int64] = np.asarray(columns, dtype=np.int64)
    return found


def found_again(layers: Iterable[tuple[Sequence[Doubles], Sequence[Doubles]]]) -> tuple[int, int]:
    """(units whose partner is the same by ways in as by the way out, units looked at)."""
    agree = count = 0
    for a, b in layers:
        ways_in = matched(np.concatenate(a[:-1]), np.concatenate(b[:-1]))
        agree += int((ways_in == matched(a[-1], b[-1])).sum())
        count += len(ways_in)
    return agree, count


def aligned(agree: int, count: int) -> Test:
    """The test of units found again: chance of so many if no more than CONVERGENT of them agreed by learning alike.

    It is no exact test: how far learning alike goes was measured at siblings and is supposed here.
    """
    p = float(scipy_stats.binom.sf(agree - 1, count, CONVERGENT)) if count else 1.0
    return Test("units found again", p, agree / count if count else 0.0, count)
