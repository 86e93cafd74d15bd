"""Exact p-values: are the coordinates of two networks in the same place more alike than chance would have it?

A network that starts from weights of its own, and is trained by a rule that treats all coordinates alike (gradient
descent, Adam), is as likely as the same network with its coordinates in any other order. So whatever two networks
learned from one corpus, the score of their coordinates *in place* is one draw among its scores in random orders, and
its rank there is an exact p-value. Nothing is supposed about the data, the training or the distribution of weights; no
further model is needed. The idea is that of independence tests of weights (docs/science.md, lineage; arXiv:2502.12292).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ORDERS = 99_999
"""Random orders at most: the least possible p is 1 / 100,000."""

ENOUGH = 20
"""Orders with a score as high as the one in place, after which no more are drawn."""


FIRST, BATCH = 200, 2_000
"""Orders that are drawn at once: at first, and then."""

SMALL = 64
"""Coordinates up to which orders are kept for the next pair of models."""


@dataclass(frozen=True)
class Test:
    """One test of independence. p: exact; z: how many standard deviations above random orders; seen: coordinates."""

    name: str
    p: float
    z: float
    seen: int


def in_place(name: str, likeness: list[Floats], seed: int = 0) -> Test:
    """The test of coordinates in place. likeness: float[coordinate, coordinate] each, one per set that has an order
    of its own: of a's coordinate (row) to b's (column); the score is the sum of the diagonals.

    p is (1 + orders as good) / (1 + orders) when all are drawn, and ENOUGH / orders when drawing stops early, which
    keeps it exact (Besag and Clifford 1991, Sequential Monte Carlo p-values).
    """
    score = sum(float(np.trace(s)) for s in likeness)
    slack = 1e-9 * sum(float(np.abs(s).max()) * len(s) for s in likeness)
    drawn = as_good = batch = 0
    while drawn < ORDERS:
        count = min(FIRST if batch == 0 else BATCH, ORDERS - drawn)
        scores = np.sum([_in_random_order(s, count, (seed, batch, i)) for i, s in enumerate(likeness)], axis=0)
        good = np.flatnonzero(scores >= score - slack)
        if as_good + len(good) >= ENOUGH:
            drawn += int(good[ENOUGH - as_good - 1]) + 1
            return Test(name, ENOUGH / drawn, _z(score, likeness), _seen(likeness))
        drawn, as_good, batch = drawn + count, as_good + len(good), batch + 1
    return Test(name, (1 + as_good) / (1 + drawn), _z(score, likeness), _seen(likeness))


def _in_random_order(likeness: Floats, count: int, seed: tuple[int, ...]) -> Floats:
    """float[order]: the score in each of so many random orders."""
    size = len(likeness)
    columns = _kept_orders(size, count, seed) if size <= SMALL else _orders(size, count, seed)
    scores: Floats = likeness[np.arange(size), columns].sum(axis=1)
    return scores


def _orders(size: int, count: int, seed: tuple[int, ...]) -> NDArray[np.uint16]:
    """uint16[order, coordinate]: random orders."""
    numbers = np.random.default_rng(seed).random((count, size), dtype=np.float32)
    return numbers.argsort(axis=1).astype(np.uint16)


_kept_orders = lru_cache(maxsize=256)(_orders)


def _z(score: float, likeness: list[Floats]) -> float:
    """The score in place by the mean and standard deviation that it has over all orders (Hoeffding 1951)."""
    mean = sum(float(s.sum()) / len(s) for s in likeness)
    variance = sum(float((_centred(s) ** 2).sum()) / max(1, len(s) - 1) for s in likeness)
    return (score - mean) / variance**0.5 if variance else 0.0


def _centred(s: Floats) -> Floats:
    return s - s.mean(axis=0, keepdims=True) - s.mean(axis=1, keepdims=True) + s.mean()


def _seen(likeness: list[Floats]) -> int:
    return sum(len(s) for s in likeness)
