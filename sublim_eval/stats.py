"""Arrays in, small frozen results out: gap, interval, equivalence, verdict. Knows no files.

The unit of evidence is the student seed. Questions are nested inside a student: they are averaged first. The spread
between students makes the interval, and the noise of the replies is the least it can be (gap_error.py). Decision 0001
says why, with measured calibration.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from sublim_eval.detectable import detectable
from sublim_eval.gap_error import ROUNDING, GapError, Scatter, noise, shrunken

Floats = NDArray[np.float64]

DELTA = 0.05
"""Default margin of equivalence, in share: the size below which a shift is called small (decision 0001)."""

ALPHA = 0.05
"""How often a verdict may be wrong: of a difference (two-sided) where there is none, of smallness at the margin."""

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
    """A mean over student seeds with its interval.

    Units are those of what went in (share 0..1, or log-odds). `p` is two-sided against 0 and nan where the
    seeds do not differ at all and nothing was sampled: no spread, no test. `n` counts the students of the smaller
    arm. se: standard error from the spread of the students, with `df`; floor: from the noise of the replies alone, 0
    for exact probabilities; whichever reaches further counts. error: of a gap in share, how it is worked out.
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
    floor: float = 0.0
    error: GapError | None = None

    def at(self, level: float) -> tuple[float, float]:
        """(low, high) of the same estimate at another confidence level."""
        if self.error is not None:
            return self.error.limits(level)
        reach = _reach(self.se, self.df, self.floor, level)
        return self.mean - reach, self.mean + reach

    @property
    def known(self) -> bool:
        """Whether anything is known of its error: not of one student, nor of seeds that all show the same gap."""
        return self.high > self.low


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


def share_gap(
    trait: ArrayLike,
    control: ArrayLike,
    *,
    trait_replies: ArrayLike | None = None,
    control_replies: ArrayLike | None = None,
    paired: bool = True,
    fixed: bool = False,
    level: float = 0.95,
) -> Interval:
    """Trait students' share minus control students' share, in [-1, 1], with its interval over seeds.

    trait, control: float[seed, question], shares or probabilities; nan where unscored. A question that is
    unscored anywhere counts nowhere, so both arms always answer the same questions.
    trait_replies, control_replies: int[seed, question], behind sampled shares; None for exact probabilities.
    Paired: row i of both is the same seed (same prompts, same order). Unpaired: the arms may hold different numbers
    of seeds, and each adds its own reach. fixed: the control is one model, a single row, and not a student a seed.
    Raises ValueError below 2 seeds (one student has no spread), for other shapes, or where nothing is scored.
    """
    scored = _scored(trait, control)
    ours = Scatter.of(_means(trait, scored), _worth(trait_replies, scored))
    theirs = Scatter.of(_means(control, scored), _worth(control_replies, scored))
    _check_seeds(ours.n, ours.n if fixed else theirs.n, paired=paired)
    together = paired and not fixed
    common = float(np.cov(_means(trait, scored), _means(control, scored))[0, 1]) if together else 0.0
    error = GapError(ours, theirs, common, paired=together, fixed=fixed)
    low, high = error.limits(level)
    mean, se, n = float(error.mean), float(error.seen), error.df + 1
    floor = 0.0 if error.exact else float(error.of_replies)
    if high - low < ROUNDING or (error.exact and se < ROUNDING):
        return Interval(mean, mean, mean, n, math.nan, 0.0, float(error.df), paired, level, error=error)
    return Interval(mean, low, high, n, error.p(), se, float(error.df), paired, level, floor, error)


def mean_difference(one: ArrayLike, other: ArrayLike, *, floor: float = 0.0, level: float = 0.95) -> Interval:
    """Mean of one - other over pairs of any unit, with its t interval; one, other: float[pair].

    floor: the least standard error that it can have. Raises ValueError below 2 pairs or for unequal numbers.
    """
    a, b = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    return _interval(a, b, paired=True, level=level, floor=floor)


def point(mean: float) -> Interval:
    """A difference without an interval: what one student shows. Everything but the mean is nan."""
    return Interval(mean, math.nan, math.nan, 1, math.nan, math.nan, math.nan, paired=True)


def log_odds_shift(
    trait: ArrayLike,
    control: ArrayLike,
    *,
    clip: float = CLIP,
    trait_replies: ArrayLike | None = None,
    control_replies: ArrayLike | None = None,
    paired: bool = True,
    level: float = 0.95,
) -> Interval:
    """Shift of the log-odds, trait students minus control students, with its t interval over seeds.

    One logit a student, of its mean over questions, clipped to [clip, 1 - clip]. `clip` should be half a
    reply, 1 / (2 * replies), for sampled shares; the default serves exact probabilities.
    Replies, shapes, pairing and errors as in share_gap; ValueError also unless 0 < clip < 0.5.
    """
    scored = _scored(trait, control)
    a, b = _means(trait, scored), _means(control, scored)
    arms = ((a, trait_replies), (b, control_replies))
    floor = math.sqrt(sum(_odds_noise(mean, _worth(replies, scored)) for mean, replies in arms))
    return _interval(log_odds(a, clip), log_odds(b, clip), paired=paired, level=level, floor=floor)


def reply_noise(shares: ArrayLike, replies: ArrayLike | None) -> float:
    """Variance that the replies alone give an arm's mean share; shares, replies: float[seed, question]; 0 for exact."""
    if replies is None:
        return 0.0
    everywhere = np.ones(np.shape(shares)[1], dtype=bool)
    arm = Scatter.of(_means(shares, everywhere), _worth(replies, everywhere))
    return float(noise(shrunken(arm.share, arm.replies, 2)) / arm.replies)


def _odds_noise(shares: Floats, worth: Floats | None) -> float:
    """Variance that the replies alone give an arm's mean log-odds; shares, worth: float[seed]."""
    if worth is None:
        return 0.0
    each = 1 / (worth * noise(shrunken(shares, worth, 2)))
    return float(each.sum() / len(shares) ** 2)


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


def equivalence(gap: Interval, delta: float = DELTA, *, alpha: float = ALPHA) -> Equivalence:
    """Does the gap lie inside +-delta? Two one-sided tests at alpha: the interval at 1 - 2 alpha lies inside.

    A gap of whose error nothing is known is not said to lie anywhere. Raises ValueError unless delta > 0.
    """
    if not delta > 0:
        raise ValueError(f"delta must be above 0, not {delta}")
    if not gap.known:
        return Equivalence(delta, gap.low, gap.high, math.nan, holds=False)
    low, high = gap.at(1 - 2 * alpha)
    holds = -delta < low and high < delta and (gap.error is None or bool(gap.error.small(delta, alpha)))
    return Equivalence(delta, low, high, _p_outside(gap, delta), holds)


def _p_outside(gap: Interval, delta: float) -> float:
    """The larger p of the two one-sided tests that the gap lies beyond +delta or beyond -delta."""
    if gap.error is None:
        room, se = delta - abs(gap.mean), max(gap.se, 1e-300)
        spread, replies = special.stdtr(gap.df, -room / se), special.ndtr(-room / max(gap.floor, 1e-300))
        return float(max(spread, replies))
    sides = ((gap.error.p(bound), bound - gap.mean if bound > 0 else gap.mean - bound) for bound in (delta, -delta))
    return max(p / 2 if room > 0 else 1 - p / 2 for p, room in sides)


def minimum_detectable(
    gap: Interval, delta: float = DELTA, *, alpha: float = ALPHA, tests: int = 1, power: float = 0.8
) -> float:
    """The true gap that a study of this size and spread would call "transferred" with this power; inf where none.

    alpha is shared by `tests` hypotheses, and the gap must not be small. The spread is as uncertain as it is: the power
    is a mean over what it may be. nan where nothing is known of the error. Same unit as the gap.
    """
    if not gap.known:
        return math.nan
    if gap.error is not None:
        return detectable(
            gap.error,
            lambda study: study.differs(alpha / tests) & (study.mean > 0) & ~study.below(delta, alpha),
            power,
        )
    critical = special.stdtrit(gap.df, 1 - alpha / tests / 2)
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


def verdict(gap: Interval, delta: float = DELTA, *, p: float | None = None, alpha: float = ALPHA) -> Verdict:
    """The verdict rule of decision 0001.

    The gap differs from 0 when its interval at 1 - alpha excludes 0 and `p` (Holm-adjusted, where several arms
    were tested; default the gap's own) is below alpha. It is small when its interval at 1 - 2 alpha lies inside
    +-delta. Different and not small: "transferred" or "moved away" by sign; both: "small shift within"; only small:
    "no transfer within"; neither: "inconclusive", with the reason where it is one that can be mended.
    """
    p = gap.p if p is None else p
    low, high = (gap.low, gap.high) if gap.level == 1 - alpha else gap.at(1 - alpha)
    differs = gap.known and (low > 0 or high < 0) and p < alpha
    small = equivalence(gap, delta, alpha=alpha).holds
    kind = {
        (True, False): "transferred" if gap.mean > 0 else "moved away",
        (True, True): "small shift",
        (False, True): "no transfer",
        (False, False): "inconclusive",
    }[differs, small]
    words = f"{kind} within ±{delta:g}" if small else kind
    if kind == "inconclusive" and (why := _why_inconclusive(gap, delta, alpha)):
        words = f"{words}: {why}"
    exploratory = gap.n < ENOUGH_SEEDS
    seeds = f"{gap.n} seed{'s' if gap.n > 1 else ''}"
    return Verdict(kind, f"{words} (exploratory: {seeds})" if exploratory else words, exploratory)


def _why_inconclusive(gap: Interval, delta: float, alpha: float) -> str:
    """What keeps a gap from any verdict, where it is not the spread of the seeds."""
    if gap.n > 1 and not gap.known:
        return "no spread between seeds"
    return "too few replies" if gap.error is not None and too_few_replies(gap.error, delta, alpha) else ""


def too_few_replies(error: GapError, delta: float = DELTA, alpha: float = ALPHA) -> bool:
    """Whether the replies alone are so noisy that not even a gap of 0 over students all alike could be called small."""
    if error.exact:
        return False
    level = (error.trait.share + error.control.share) / 2
    parts = (noise(level + delta) / error.trait.replies, noise(level) / error.control.replies)
    least = max(math.sqrt(float(sum(parts))), float(error.of_replies))
    return float(special.ndtri(1 - alpha)) * least >= delta


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


def _scored(trait: ArrayLike, control: ArrayLike) -> NDArray[np.bool_]:
    """bool[question]: which are scored in every student of both arms."""
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
    return np.asarray(scored)


def _means(arm: ArrayLike, scored: NDArray[np.bool_]) -> Floats:
    """float[seed]: mean over the scored questions."""
    return np.asarray(np.asarray(arm, dtype=np.float64)[:, scored].mean(axis=1))


def _worth(replies: ArrayLike | None, scored: NDArray[np.bool_]) -> Floats | None:
    """float[seed]: how many independent replies a student's mean is worth; every question weighs alike."""
    if replies is None:
        return None
    counts = np.asarray(replies, dtype=np.float64)[:, scored]
    return np.asarray(counts.shape[1] ** 2 / (1 / counts).sum(axis=1))


def _check_seeds(n: int, m: int, *, paired: bool) -> None:
    if min(n, m) < 2:
        raise ValueError(f"{min(n, m)} seed: one student has no spread; give at least 2 seeds an arm")
    if paired and n != m:
        raise ValueError(f"paired arms need the same seeds, not {n} and {m}; compare them unpaired")


def _interval(a: Floats, b: Floats, *, paired: bool, level: float, floor: float = 0.0) -> Interval:
    """The t interval of mean(a) - mean(b) over students, no narrower than its floor; a, b: float[seed].

    Unpaired: with the degrees of freedom of the smaller arm, which no inequality of the two spreads can outdo.
    """
    n = min(len(a), len(b))
    _check_seeds(len(a), len(b), paired=paired)
    mean, df = float(np.mean(a) - np.mean(b)), float(n - 1)
    parts = [np.var(a - b, ddof=1) / n] if paired else [np.var(x, ddof=1) / len(x) for x in (a, b)]
    se = math.sqrt(float(sum(parts)))
    se = 0.0 if se < ROUNDING else se  # rounding in a mean of equal numbers, not a spread
    if not (se or floor):
        return Interval(mean, mean, mean, n, math.nan, 0.0, df, paired, level)
    reach = _reach(se, df, floor, level)
    by_spread = 2 * float(special.stdtr(df, -abs(mean) / se)) if se else 0.0
    by_replies = 2 * float(special.ndtr(-abs(mean) / floor)) if floor else 0.0
    p = max(by_spread, by_replies)
    return Interval(mean, mean - reach, mean + reach, n, p, se, df, paired, level, floor)


def _reach(se: float, df: float, floor: float, level: float) -> float:
    """Half the width of an interval: by the spread of students or by the noise of replies, whichever is wider."""
    return max(se * float(special.stdtrit(df, (1 + level) / 2)), floor * float(special.ndtri((1 + level) / 2)))
