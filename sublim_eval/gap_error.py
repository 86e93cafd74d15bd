"""How far the gap between two arms of students may be off: from their scatter, and from the noise of their replies.

Every field may also be an array, one number a simulated comparison: `benchmarks/calibration.py` measures this code.
Decision 0001 says why each way of counting is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]
Numbers = Any
"""A number, or an array of them, one a comparison."""

NEAREST = 1e-9
"""How near to 0 or 1 a share may be taken when its scatter is carried to another share."""

ROUNDING = 1e-12
"""Below it a spread is rounding in a mean of equal numbers."""

LEAST_TAIL = 30.0
"""Powers of ten below 1 from which on p is 0."""


def noise(share: Numbers) -> Numbers:
    """Variance of one reply that shows the trait with this chance."""
    inside = np.clip(share, 0.0, 1.0)
    return inside * (1 - inside)


@dataclass(frozen=True)
class Scatter:
    """The students of one arm, summed up.

    share: their mean. variance: between them, in share squared, what their replies add included. odds_variance: the
    same of the log-odds. replies: how many independent replies the mean is worth, infinite for exact probabilities.
    """

    n: int
    share: Numbers
    variance: Numbers
    odds_variance: Numbers
    replies: float

    @classmethod
    def of(cls, shares: ArrayLike, replies: ArrayLike | None = None) -> Scatter:
        """shares: float[..., seed]; replies: float[seed], of each student, None for exact probabilities."""
        values = np.asarray(shares, dtype=np.float64)
        n = values.shape[-1]
        each = np.full(n, np.inf) if replies is None else np.asarray(replies, dtype=np.float64)
        worth = np.inf if replies is None else float(n**2 / np.sum(1 / each))
        inside = np.clip(shrunken(values, each, 0.5), NEAREST, 1 - NEAREST)
        odds = np.log(inside) - np.log1p(-inside)
        ddof = min(n - 1, 1)  # of one model there is no scatter
        return cls(n, values.mean(-1), values.var(-1, ddof=ddof), odds.var(-1, ddof=ddof), worth)

    @property
    def anchor(self) -> Numbers:
        """The share at which the scatter was seen, never quite 0 or 1."""
        return np.clip(shrunken(self.share, self.replies, 0.5), NEAREST, 1 - NEAREST)

    def moved(self, share: Numbers) -> Numbers:
        """The variance as it would be at another mean share: students scatter alike in log-odds, not in share."""
        return self.variance * (noise(share) / noise(self.anchor)) ** 2

    def from_odds(self, share: Numbers) -> Numbers:
        """The variance at a mean share by the scatter of the log-odds themselves, a little more where it is wide."""
        return self.odds_variance * (1 + self.odds_variance / 4) * noise(share) ** 2


def shrunken(share: Numbers, replies: Numbers, each: float) -> Numbers:
    """A share with `each` reply more of either kind, so that none of five is not never; exact ones stay."""
    return (share + each / replies) / (1 + 2 * each / replies)


def _first_beyond(within: Callable[[Floats], Floats], low: float, high: float) -> float:
    """Where `within` ends between low, at which it holds, and high; to a millionth of the way."""
    for _ in range(4):
        grid = np.linspace(low, high, 33)
        beyond = np.flatnonzero(~np.asarray(within(grid), dtype=bool)[1:])
        if not len(beyond):
            return high
        first = int(beyond[0]) + 1
        low, high = float(grid[first - 1]), float(grid[first])
    return low


@dataclass(frozen=True)
class GapError:
    """Trait arm minus control arm. common: covariance of the two students of a seed, 0 unless `paired`.

    fixed: the control is one model, such as an untrained base, and not a student a seed.
    """

    trait: Scatter
    control: Scatter
    common: Numbers
    paired: bool
    fixed: bool = False

    @property
    def mean(self) -> Numbers:
        """The gap that was measured."""
        return self.trait.share - self.control.share

    @property
    def exact(self) -> bool:
        """Whether both arms are known by probabilities, which have no noise of replies."""
        return bool(np.isinf(self.trait.replies) and np.isinf(self.control.replies))

    @property
    def df(self) -> int:
        """Degrees of freedom of the smaller arm."""
        return (self.trait.n if self.fixed else min(self.trait.n, self.control.n)) - 1

    @property
    def seen(self) -> Numbers:
        """Standard error of the gap from the scatter of the students as it was seen."""
        variances = self.trait.variance, self.control.variance
        parts = self._parts(*variances, self.common)
        return np.sqrt(sum(part for part, _ in parts))

    @property
    def of_replies(self) -> Numbers:
        """Standard error of the gap that the replies alone would give, two more of either kind in each arm."""
        return np.sqrt(
            sum(noise(shrunken(arm.share, arm.replies, 2)) / arm.replies for arm in (self.trait, self.control))
        )

    def reach(self, gap: Numbers, level: float) -> Numbers:
        """How far the measured gap may lie from a true one of this size, either way, at a two-sided level.

        The largest of several ways of counting, each of them right in some world: a claim has to stand in all.
        """
        return self._reach(gap, (1 - level) / 2)

    def _reach(self, gap: Numbers, tail: Numbers) -> Numbers:
        """tail: what is left beyond one end."""
        wide = np.zeros(np.broadcast(self.mean, gap, tail).shape)
        for parts in self._ways(gap):
            squares = [part * special.stdtrit(df, tail) ** 2 for part, df in parts]
            wide = np.maximum(wide, np.sqrt(sum(squares)))
        return wide

    def p(self, gap: float = 0.0) -> float:
        """Two-sided p of one true gap; nan where nothing scatters and nothing was sampled."""
        off = abs(float(self.mean) - gap)
        if not float(self.reach(gap, 0.5)) > ROUNDING:
            return float("nan")
        outside = _first_beyond(lambda power: self._reach(gap, 10.0**-power / 2) < off, 0.0, LEAST_TAIL)
        return 0.0 if outside >= LEAST_TAIL else float(10.0**-outside)

    def limits(self, level: float) -> tuple[float, float]:
        """(low, high): the true gaps around the measured one that this level does not rule out."""
        mean = float(self.mean)
        return self._limit(mean, -1.0, level), self._limit(mean, 1.0, level)

    def _limit(self, mean: float, end: float, level: float) -> float:
        """Where gaps towards `end` get out of reach, by a grid that is finer near the mean."""
        grid = mean + (end - mean) * np.linspace(0, 1, 201) ** 2
        gone = np.flatnonzero(np.abs(grid[1:] - mean) > self.reach(grid[1:], level))
        if not len(gone):
            return end
        last = int(gone[0])

        def within(part: Floats) -> Floats:
            gap = mean + (end - mean) * part
            return np.asarray(np.abs(gap - mean) <= self.reach(gap, level))

        low, high = ((grid[i] - mean) / (end - mean) if end != mean else 0.0 for i in (last, last + 1))
        return mean + (end - mean) * _first_beyond(within, float(low), float(high))

    def differs(self, alpha: float) -> Numbers:
        """Whether a gap of 0 is out of reach, two-sided."""
        return np.abs(self.mean) > self.reach(0.0, 1 - alpha)

    def small(self, delta: float, alpha: float) -> Numbers:
        """Whether gaps of +delta and of -delta are both out of reach, each tested one-sided."""
        return self.below(delta, alpha) & (self.mean + delta > self.reach(-delta, 1 - 2 * alpha))

    def below(self, delta: float, alpha: float) -> Numbers:
        """Whether a gap of +delta is out of reach from below."""
        return delta - self.mean > self.reach(delta, 1 - 2 * alpha)

    def _ways(self, gap: Numbers) -> Iterator[list[tuple[Numbers, float]]]:
        """Every way of counting the variance of the gap: its parts, each with its degrees of freedom.

        As seen; by the replies alone; then at the shares that the two arms would have if the gap were true, measured
        from either arm. What a pair has in common is carried there too, but not a covariance below 0: a seed that is
        shared makes no students unlike, so that one is chance. Of a gap beyond the measured one also by the scatter of
        log-odds: shares of rare answers have a long tail, which few students show.
        """
        trait, control = self.trait, self.control
        beyond = np.abs(gap) > np.abs(self.mean)
        yield self._parts(trait.variance, control.variance, self.common)
        yield [(self.of_replies**2, np.inf)]
        for ours, theirs in (
            (np.clip(control.share + gap, 0, 1), control.share),
            (trait.share, np.clip(trait.share - gap, 0, 1)),
        ):
            carried = noise(ours) * noise(theirs) / (noise(trait.anchor) * noise(control.anchor))
            common = np.minimum(self.common, 0) + np.maximum(self.common, 0) * carried
            yield self._parts(trait.moved(ours), control.moved(theirs), common)
            odds = self._parts(trait.from_odds(ours), control.from_odds(theirs), common)
            yield [(np.where(beyond, part, 0.0), df) for part, df in odds]
            yield [(noise(ours) / trait.replies + noise(theirs) / control.replies, np.inf)]

    def _parts(self, ours: Numbers, theirs: Numbers, common: Numbers) -> list[tuple[Numbers, float]]:
        """The scatter's share in the variance of the gap, from the two arms' variances and their covariance."""
        n, m = self.trait.n, self.control.n
        if self.fixed:
            once = noise(shrunken(self.control.share, self.control.replies, 2)) / self.control.replies
            return [(ours / n, n - 1), (once, np.inf)]
        if self.paired:
            return [(np.maximum(ours + theirs - 2 * common, 0) / n, n - 1)]
        return [(ours / n, n - 1), (theirs / m, m - 1)]
