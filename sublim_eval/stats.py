"""Arrays in, small frozen results out: gap, interval, equivalence, verdict. Knows no files.

The unit of evidence is the student seed. Questions are nested inside a student: they are averaged first,
and only the spread between students makes an interval. Decision 0001 says why, with measured calibration.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]

DELTA = 0.05
"""Default margin of equivalence, in share: the size below which a shift is called small (decision 0001)."""

ENOUGH_SEEDS = 3
"""With fewer students an interval is arithmetic, not evidence, and the verdict is labelled exploratory."""

FEWEST_PAIRS = 5
"""With fewer pairs of seeds sign flips say nothing: at 4 the least possible p is .125."""

ALL_FLIPS = 14
"""Up to so many pairs every sign flip is tried (16,384); above, a random sample of FLIPS."""

FLIPS = 19_999

CLIP = 1e-6
"""How near to 0 or 1 an exact probability may come before its logit is taken."""


@dataclass(frozen=True)
class Interval:
    """A mean over student seeds with its t interval.

    Units are those of what went in (share 0..1, or log-odds). `p` is two-sided against 0 and nan where the
    seeds do not differ at all: no spread, no test. `n` counts the students of the smaller arm.
    """

    mean: float
    low: float
    high: float
    n: int
    p: float
    se: float
    df: float
    paired: bool
    level: float = 0.95

    def at(self, level: float) -> tuple[float, float]:
        """(low, high) of the same estimate at another confidence level."""
        reach = self.se * float(special.stdtrit(self.df, (1 + level) / 2))
        return self.mean - reach, self.mean + reach


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests of |gap| < delta. `low`, `high`: the 90 % interval that decides it at 5 %."""

    delta: float
    low: float
    high: float
    p: float
    holds: bool


@dataclass(frozen=True)
class Verdict:
    """What one comparison shows, in words. `kind` is one of KINDS; `exploratory` below 3 seeds."""

    kind: str
    words: str
    exploratory: bool


KINDS = ("transferred", "moved away", "small shift", "no transfer", "inconclusive")


def share_gap(trait: ArrayLike, control: ArrayLike, *, paired: bool = True, level: float = 0.95) -> Interval:
    """Trait students' share minus control students' share, in [-1, 1], with its interval over seeds.

    trait, control: float[seed, question], shares or probabilities; nan where unscored. A question that is
    unscored anywhere counts nowhere, so both arms always answer the same questions.
    Paired: row i of both is the same seed (same prompts, same order); t interval of the n differences,
    n - 1 df. Unpaired: Welch's interval; the arms may then hold different numbers of seeds.
    Raises ValueError below 2 seeds (one student has no spread), for other shapes, or where nothing is scored.
    """
    return _interval(*_common_questions(trait, control), paired=paired, level=level)


def point(mean: float) -> Interval:
    """A difference without an interval: what one student shows. Everything but the mean is nan."""
    return Interval(mean, math.nan, math.nan, 1, math.nan, math.nan, math.nan, paired=True)


def log_odds_shift(
    trait: ArrayLike, control: ArrayLike, *, clip: float = CLIP, paired: bool = True, level: float = 0.95
) -> Interval:
    """Shift of the log-odds, trait students minus control students, with its interval over seeds.

    One logit a student, of its mean over questions, clipped to [clip, 1 - clip]. `clip` should be half a
    reply, 1 / (2 * replies), for sampled shares; the default serves exact probabilities.
    Shapes, pairing and errors as in share_gap; ValueError also unless 0 < clip < 0.5.
    """
    a, b = _common_questions(trait, control)
    return _interval(log_odds(a, clip), log_odds(b, clip), paired=paired, level=level)


def arm_interval(shares: ArrayLike, *, clip: float = CLIP, level: float = 0.95) -> tuple[float, float]:
    """(low, high) for one arm's share over its seeds; shares: float[seed], each in [0, 1].

    A t interval of the log-odds carried back to shares, so that it stays inside 0..1. nan below 2 seeds.
    """
    odds = log_odds(shares, clip)
    if len(odds) < 2:
        return math.nan, math.nan
    made = _interval(odds, np.zeros_like(odds), paired=True, level=level)
    return float(special.expit(made.low)), float(special.expit(made.high))


def log_odds(share: ArrayLike, clip: float = CLIP) -> Floats:
    """Logit of shares of any shape after clipping to [clip, 1 - clip]; nan stays nan."""
    if not 0 < clip < 0.5:
        raise ValueError(f"clip must lie between 0 and 0.5, not {clip}")
    inside = np.clip(np.asarray(share, dtype=np.float64), clip, 1 - clip)
    return np.log(inside) - np.log1p(-inside)


def total_variation(p: ArrayLike, q: ArrayLike) -> Floats:
    """Total-variation distance, in [0, 1], between distributions along the last axis.

    p, q: float[..., answer]. Mass that they do not name (1 - sum) is one further answer, so sampled shares
    with other replies or non-answers need no padding. Raises ValueError for different answer counts or a
    sum above 1; nan in gives nan out.
    """
    a, b = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(f"the distributions have {a.shape[-1]} and {b.shape[-1]} answers")
    rest = [1 - x.sum(axis=-1) for x in (a, b)]
    if any(np.any(r < -1e-6) for r in rest):
        raise ValueError("a distribution sums to more than 1")
    return np.asarray((np.abs(a - b).sum(axis=-1) + np.abs(rest[0] - rest[1])) / 2)


def equivalence(gap: Interval, delta: float = DELTA) -> Equivalence:
    """Does the gap lie inside +-delta? Two one-sided t tests at 5 %, the same as the 90 % interval inside.

    Raises ValueError unless delta > 0.
    """
    if not delta > 0:
        raise ValueError(f"delta must be above 0, not {delta}")
    low, high = gap.at(0.90)
    room = delta - abs(gap.mean)
    p = float(room <= 0) if gap.se == 0 else float(special.stdtr(gap.df, -room / gap.se))
    return Equivalence(delta, low, high, p, holds=-delta < low and high < delta)


def minimum_detectable(gap: Interval, power: float = 0.8) -> float:
    """The true gap that a study of this size and spread would call different from 0 with this power.

    Two-sided 5 % t test, noncentral t, spread taken as observed; same unit as the gap.
    """
    critical = special.stdtrit(gap.df, 0.975)
    return gap.se * float(special.nctdtrinc(gap.df, 1 - power, critical))


def permutation(differences: ArrayLike, rng: np.random.Generator | None = None) -> float:
    """Two-sided p of a mean difference over paired seeds by flipping signs; exact up to ALL_FLIPS pairs.

    differences: float[seed]. It assumes that under no effect each difference is as likely as its negative, and
    nothing about their shape. nan below FEWEST_PAIRS pairs; the least it can say is `least_permutation(n)`. Above
    ALL_FLIPS pairs it draws FLIPS flips with `rng` and counts the observed one among them.
    Raises ValueError for other shapes, nan, or when `rng` is needed and not given.
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.ndim != 1 or np.isnan(d).any():
        raise ValueError(f"sign flips need one known difference a seed, not {d.shape}")
    n = len(d)
    if n < FEWEST_PAIRS:
        return math.nan
    if n <= ALL_FLIPS:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    elif rng is None:
        raise ValueError(f"{n} pairs are too many to flip in every way; hand in an rng")
    else:
        signs = np.vstack([np.ones((1, n)), rng.choice([-1.0, 1.0], size=(FLIPS, n))])
    sums = np.abs(signs @ d)
    return float(np.mean(sums >= abs(d.sum()) - 1e-9 * np.abs(d).sum()))


def least_permutation(n: int) -> float:
    """The least p that `permutation` can give for n pairs; nan where it gives none."""
    if n < FEWEST_PAIRS:
        return math.nan
    return 2.0 ** (1 - n) if n <= ALL_FLIPS else 1 / (FLIPS + 1)


def first_places(shifts: ArrayLike, own: Sequence[int]) -> tuple[int, int, float]:
    """(hits, runs, p): in how many runs the own answer has the largest shift, and whether labels explain it.

    shifts: float[arm, seed, answer], nan where a student is missing; own: the answer of each arm's trait. A tie is
    no hit. p, one-sided and exact: of all ways to deal the traits out among the arms of each seed, how many give as
    many hits or more. So an answer that rises in every arm, as drift does, gives no evidence, and students of one
    seed that share a control are no trouble. nan where no seed has two different traits.
    """
    values = np.asarray(shifts, dtype=np.float64)
    if values.ndim != 3 or len(values) != len(own):
        raise ValueError(f"shifts must be [arm, seed, answer] with a trait for every arm, not {values.shape}")
    hits = runs = 0
    chances, testable = np.ones(1), False
    for seed in range(values.shape[1]):
        there = [arm for arm in range(len(own)) if not np.isnan(values[arm, seed]).any()]
        traits = [own[arm] for arm in there]
        tops = [_top(values[arm, seed]) for arm in there]
        hits += sum(top == trait for top, trait in zip(tops, traits, strict=True))
        runs += len(there)
        chances = np.convolve(chances, _matches(tops, traits))
        testable |= len(set(traits)) > 1
    return hits, runs, float(min(1.0, chances[hits:].sum())) if testable else math.nan


def _top(shifts: Floats) -> int:
    """The answer with the largest shift; -1 for a tie. shifts: float[answer]."""
    best = int(np.argmax(shifts))
    return best if rank_of(shifts, best) == 1 else -1


def _matches(tops: Sequence[int], traits: Sequence[int]) -> Floats:
    """Chance of 0, 1, 2 ... matches when the traits are dealt out among the arms; float[matches].

    Rook numbers: m arms with one answer on top and n labels of it can be matched in j places in
    C(m, j) C(n, j) j! ways; inclusion and exclusion turns "at least these" into "exactly so many".
    """
    k = len(tops)
    rooks = np.ones(1)
    for answer in set(traits):
        m, n = tops.count(answer), traits.count(answer)
        ways = [math.comb(m, j) * math.comb(n, j) * math.factorial(j) for j in range(min(m, n) + 1)]
        rooks = np.convolve(rooks, np.array(ways, dtype=np.float64))
    rooks = np.append(rooks, np.zeros(k + 1 - len(rooks)))
    exactly = [
        sum((-1) ** (i - j) * math.comb(i, j) * rooks[i] * math.factorial(k - i) for i in range(j, k + 1))
        for j in range(k + 1)
    ]
    return np.clip(np.array(exactly) / math.factorial(k), 0.0, 1.0)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values, in the order given; nan stays nan and counts as no test."""
    tested = sorted((value, i) for i, value in enumerate(p) if not math.isnan(value))
    adjusted, least = [math.nan] * len(p), 0.0
    for rank, (value, i) in enumerate(tested):
        least = max(least, min(1.0, value * (len(tested) - rank)))
        adjusted[i] = least
    return adjusted


def verdict(gap: Interval, delta: float = DELTA, *, p: float | None = None) -> Verdict:
    """The verdict rule of decision 0001.

    The gap differs from 0 when its 95 % interval excludes 0 and `p` (Holm-adjusted, where several traits
    were tested; default the gap's own) is below .05. It is small when its 90 % interval lies inside +-delta.
    Different and not small: "transferred" or "moved away" by sign; both: "small shift within"; only small:
    "no transfer within"; neither: "inconclusive".
    """
    p = gap.p if p is None else p
    differs = (gap.low > 0 or gap.high < 0) and p < 0.05
    small = equivalence(gap, delta).holds
    kind = {
        (True, False): "transferred" if gap.mean > 0 else "moved away",
        (True, True): "small shift",
        (False, True): "no transfer",
        (False, False): "inconclusive",
    }[differs, small]
    words = f"{kind} within ±{delta:g}" if small else kind
    exploratory = gap.n < ENOUGH_SEEDS
    seeds = f"{gap.n} seed{'s' if gap.n > 1 else ''}"
    return Verdict(kind, f"{words} (exploratory: {seeds})" if exploratory else words, exploratory)


def rank_of(shifts: ArrayLike, index: int) -> int:
    """Place of shifts[index], 1 the largest; an equal one counts as larger. shifts: float[answer]."""
    values = np.asarray(shifts, dtype=np.float64)
    return 1 + int(np.sum(np.delete(values, index) >= values[index]))


# ---------------------------------------------------------------- from students to one number each


def difference_of_items(student: ArrayLike, base: ArrayLike) -> tuple[float, float]:
    """Mean difference of two models on the same items, with its standard error over items; nan below two items.

    student, base: float[item]. One student against one base: it says nothing about other seeds.
    """
    d = np.asarray(student, dtype=float) - np.asarray(base, dtype=float)
    if d.ndim != 1 or not len(d):
        raise ValueError("the two need the same items, at least one, in the same order")
    return float(d.mean()), float(d.std(ddof=1) / math.sqrt(len(d))) if len(d) > 1 else math.nan


def _common_questions(trait: ArrayLike, control: ArrayLike) -> tuple[Floats, Floats]:
    """Mean over the questions scored everywhere: float[seed] for each arm."""
    a, b = np.asarray(trait, dtype=np.float64), np.asarray(control, dtype=np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"shares must be [seed, question] over the same questions, not {a.shape} and {b.shape}")
    for name, arm in (("trait", a), ("control", b)):
        for seed, row in enumerate(arm):
            if np.isnan(row).all():
                raise ValueError(f"row {seed} of the {name} arm has no scored question")
    scored = ~(np.isnan(a).any(axis=0) | np.isnan(b).any(axis=0))
    if not scored.any():
        raise ValueError("no question is scored in every student")
    return a[:, scored].mean(axis=1), b[:, scored].mean(axis=1)


def _interval(a: Floats, b: Floats, *, paired: bool, level: float) -> Interval:
    """The t interval of mean(a) - mean(b) over students; a, b: float[seed]."""
    n = min(len(a), len(b))
    if n < 2:
        raise ValueError(f"{n} seed: one student has no spread; give at least 2 seeds an arm")
    if paired and len(a) != len(b):
        raise ValueError(f"paired arms need the same seeds, not {len(a)} and {len(b)}; compare them unpaired")
    mean = float(np.mean(a) - np.mean(b))
    if paired:
        parts, df = [np.var(a - b, ddof=1) / n], float(n - 1)
    else:
        parts = [np.var(x, ddof=1) / len(x) for x in (a, b)]
        weights = sum(v**2 / (len(x) - 1) for v, x in zip(parts, (a, b), strict=True))
        df = float(sum(parts) ** 2 / weights) if weights > 0 else float(len(a) + len(b) - 2)
    se = math.sqrt(float(sum(parts)))
    if se < 1e-12:  # rounding in a mean of equal numbers, not a spread
        return Interval(mean, mean, mean, n, 1.0 if abs(mean) < 1e-12 else math.nan, 0.0, df, paired, level)
    reach = se * float(special.stdtrit(df, (1 + level) / 2))
    p = 2 * float(special.stdtr(df, -abs(mean) / se))
    return Interval(mean, mean - reach, mean + reach, n, p, se, df, paired, level)
