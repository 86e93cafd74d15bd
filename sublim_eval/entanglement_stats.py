"""Which numbers go with which traits: log-odds in, a number x trait table out. Arrays only; knows no files.

Both directions are one measurement. Something is set (a number, or the persona of a trait), the same asks are made
under each setting, and the log-odds of every outcome (a trait, or a number) are read. A shift is what one setting adds
to the mean of the *other* settings at the same ask: whatever every such prompt does, to be a system prompt, to speak
of numbers, to be a persona, stands on both sides and drops out.

The largest of many shifts is above 0 even where nothing is there. The reference for chance is shuffling: the settings
change places within each ask, independently of the other asks, which keeps every value and breaks only what asks have
in common. What holds over the asks is reproducible; how large it is stands in the shift itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from sublim_eval.stats import holm, log_odds

Floats = NDArray[np.float64]
Direction = Literal["number_to_trait", "trait_to_number"]

SHUFFLES = 1999
"""Shuffles that stand for chance; the smallest p is 1 / (SHUFFLES + 1)."""

DRAWS = 2000
"""Resamplings behind the interval of a rank correlation."""

CLIP = 1e-12
"""How near to 0 or 1 a probability may come before its logit is taken."""

TOP = 5
"""How many of a trait's numbers a summary names."""


@dataclass(frozen=True, eq=False)
class Readings:
    """What was read off a model.

    settings: numbers or traits that were set; asks: the prompts made under each; outcomes: traits or numbers read.
    log_odds: float[setting, ask, outcome], every entry known. without: float[ask, outcome], the same asks with
    nothing set (a prompt that is worded alike without a number; no persona); nan where unknown.
    Raises ValueError for other shapes, nan in log_odds, fewer than 2 settings or outcomes, or no ask.
    """

    direction: Direction
    settings: tuple[str, ...]
    asks: tuple[str, ...]
    outcomes: tuple[str, ...]
    log_odds: Floats
    without: Floats

    def __post_init__(self) -> None:
        shape = len(self.settings), len(self.asks), len(self.outcomes)
        if self.log_odds.shape != shape or self.without.shape != shape[1:]:
            raise ValueError(
                f"log-odds must be {shape} and {shape[1:]}, not {self.log_odds.shape}, {self.without.shape}"
            )
        if len(self.settings) < 2 or len(self.outcomes) < 2 or not self.asks:
            raise ValueError(f"settings, asks, outcomes are {shape}; at least 2, 1 and 2 are needed")
        if not np.isfinite(self.log_odds).all():
            raise ValueError("log-odds must be finite numbers")

    @property
    def traits(self) -> tuple[str, ...]:
        """The traits, in order."""
        return self.outcomes if self.direction == "number_to_trait" else self.settings

    @property
    def numbers(self) -> tuple[str, ...]:
        """The numbers, in order."""
        return self.settings if self.direction == "number_to_trait" else self.outcomes

    def trait_first(self, values: Floats) -> Floats:
        """float[..., setting, outcome] turned to float[..., trait, number]."""
        return values.swapaxes(-1, -2) if self.direction == "number_to_trait" else values


@dataclass(frozen=True)
class Summary:
    """What one trait's row of the table comes to. Shifts in nats of log-odds, over the asks' mean.

    largest: the greatest shift upward; number: where; top: the numbers with the greatest, first to fifth.
    chance: what `largest` reaches in 1 of 20 shuffles; p: how often shuffles reach it, Holm-adjusted over traits.
    spread: standard deviation over numbers of the shift.
    reliability: how far the asks agree on which numbers are raised, at most 1, about 0 (or below) where they do not
    (Cronbach's alpha over asks); p_reliability as p. nan with one ask.
    kl, kl_others: Kullback-Leibler divergence in nats of the number distribution under the persona from that without
    one, and from the mean over the other personas; means over asks; nan for number_to_trait.
    """

    trait: str
    largest: float
    number: str
    top: tuple[str, ...]
    chance: float
    p: float
    spread: float
    reliability: float
    p_reliability: float
    kl: float
    kl_others: float


@dataclass(frozen=True, eq=False)
class Table:
    """Shift of the log-odds for every number and trait.

    shift: float[trait, number], mean over asks, against the other settings. against_none: the same against nothing
    set, nan where unknown. z: shift over its standard error (residual spread over asks, pooled over settings).
    p: how often the largest |z| of a shuffled table reaches this |z|: adjusted for all cells at once. nan with one ask.
    recognised: share of (setting, ask) in which the profile of outcomes is nearest to that setting's own profile in
    the other asks; by chance `recognised_by_chance`. nan with one ask.
    """

    direction: Direction
    traits: tuple[str, ...]
    numbers: tuple[str, ...]
    asks: tuple[str, ...]
    shift: Floats
    against_none: Floats
    z: Floats
    p: Floats
    summaries: tuple[Summary, ...]
    recognised: float
    recognised_by_chance: float
    shuffles: int

    def of(self, trait: str) -> Summary:
        """The summary of one trait; raises KeyError where it is not in the table."""
        return {s.trait: s for s in self.summaries}[trait]


Cells = Mapping[tuple[str, str], Mapping[str, float]]
"""(setting, ask) -> {outcome: probability}; the setting "" is nothing set."""


def collect(direction: Direction, cells: Cells) -> tuple[Readings, tuple[str, ...]]:
    """Single measurements -> (Readings, settings that were left out because an ask or an outcome is missing).

    Log-odds of probabilities, clipped to [CLIP, 1 - CLIP]. Everything is put in alphabetical order, so that the same
    measurements give the same table whatever the order of the log. `without` is nan where an ask under nothing set is
    missing.
    Raises ValueError where fewer than 2 settings are complete.
    """
    asks = tuple(sorted({ask for setting, ask in cells if setting}))
    outcomes = tuple(sorted({o for (setting, _), cell in cells.items() if setting for o in cell}))

    def row(setting: str) -> Floats:
        got = [[cells.get((setting, ask), {}).get(o, np.nan) for o in outcomes] for ask in asks]
        return log_odds(np.array(got, dtype=np.float64).reshape(len(asks), len(outcomes)), CLIP)

    rows = {setting: row(setting) for setting in sorted({setting for setting, _ in cells}) if setting}
    whole = [setting for setting, values in rows.items() if np.isfinite(values).all()]
    if len(whole) < 2:
        raise ValueError(f"{len(whole)} of {len(rows)} settings were asked everything; at least 2 are needed")
    return (
        Readings(direction, tuple(whole), asks, outcomes, np.stack([rows[s] for s in whole]), row("")),
        tuple(setting for setting in rows if setting not in whole),
    )


def shifts(values: ArrayLike) -> Floats:
    """float[setting, ask, outcome]: each value minus the mean of the other settings at the same ask and outcome."""
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    return (x - x.mean(axis=0)) * (n / (n - 1))


def reliability(profiles: ArrayLike) -> Floats:
    """Cronbach's alpha: float[..., ask, number] -> float[...], how far the asks agree on which numbers are raised.

    1: the same profile in every ask; 0: no more agreement than by chance; below 0: less. It is the expected
    correlation of the mean profile with that of as many further asks of the kind. nan with one ask or no spread.
    """
    x = np.asarray(profiles, dtype=np.float64)
    return _alpha(x.var(axis=-1).sum(axis=-1), x.sum(axis=-2).var(axis=-1), x.shape[-2])


def _alpha(single: Floats, total: Floats, asks: int) -> Floats:
    """single: sum over asks of the variance over numbers; total: variance of the sum over asks."""
    if asks < 2:
        return np.full(np.shape(single), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        raw = asks / (asks - 1) * (1 - single / total)
    return np.where(total > 1e-20, raw, np.nan)


# Longer than 60 lines: the shuffles and the table they are held against share a dozen arrays, named once here.
def tabulate(readings: Readings, rng: np.random.Generator, *, shuffles: int = SHUFFLES) -> Table:
    """The table of a measurement, with shuffles as reference for chance.

    Every p counts how often shuffled settings reach what was found. One ask has nothing to agree with: shifts are
    given, everything about chance is nan.
    """
    x = shifts(readings.log_odds)
    mean = x.mean(axis=1)
    asks, many = x.shape[1], x.shape[1] > 1
    square = (x**2).sum(axis=(0, 1))
    turned, by_number = readings.trait_first, readings.direction == "number_to_trait"

    def z_of(means: Floats) -> Floats:
        left = (len(x) - 1) * (asks - 1)
        rest = np.maximum(square - asks * (means**2).sum(axis=0), 1e-24)
        return means / np.sqrt(rest / left / asks) if many else np.full(means.shape, np.nan)

    shift = turned(mean)
    profiles = np.moveaxis(turned(x.swapaxes(0, 1)), 0, 1)  # [trait, ask, number]
    single = profiles.var(axis=-1)  # [trait, ask]
    largest, alpha, z = shift.max(axis=1), reliability(profiles), z_of(mean)

    count = shuffles if many else 0
    top_null, alpha_null = np.full((count, len(shift)), np.nan), np.full((count, len(shift)), np.nan)
    z_null = np.full(count, np.nan)
    column = np.arange(asks)[:, None]
    for i in range(count):
        order = rng.random((asks, len(x))).argsort(axis=1)  # [ask, setting]
        means = x[order, column].mean(axis=0)
        kept = single.sum(axis=1) if by_number else single[order, column].sum(axis=0)
        by_trait = turned(means)
        top_null[i] = by_trait.max(axis=1)
        alpha_null[i] = _alpha(kept, (asks * by_trait).var(axis=1), asks)
        z_null[i] = np.abs(z_of(means)).max()

    p_largest = holm(_reached(largest, top_null))
    p_alpha = holm(_reached(alpha, alpha_null))
    divergence = _divergences(readings)
    order = np.argsort(-shift, axis=1, kind="stable")
    return Table(
        direction=readings.direction,
        traits=readings.traits,
        numbers=readings.numbers,
        asks=readings.asks,
        shift=shift,
        against_none=turned((readings.log_odds - readings.without).mean(axis=1)),
        z=turned(z),
        p=turned(_reached_by_any(z, z_null)),
        summaries=tuple(
            Summary(
                trait=trait,
                largest=float(largest[k]),
                number=readings.numbers[order[k, 0]],
                top=tuple(readings.numbers[n] for n in order[k, :TOP]),
                chance=float(np.quantile(top_null[:, k], 0.95)) if count else np.nan,
                p=p_largest[k],
                spread=float(shift[k].std(ddof=1)),
                reliability=float(alpha[k]),
                p_reliability=p_alpha[k],
                kl=float(divergence[0][k]),
                kl_others=float(divergence[1][k]),
            )
            for k, trait in enumerate(readings.traits)
        ),
        recognised=_recognised(x),
        recognised_by_chance=1 / len(x),
        shuffles=count,
    )


def _reached(values: Floats, null: Floats) -> list[float]:
    """p of each value against its own column of float[shuffle, value]; nan where there is nothing to compare."""
    if not len(null):
        return [float("nan")] * len(values)
    times = (np.nan_to_num(null, nan=-np.inf) >= values - 1e-12).sum(axis=0)
    p = (1 + times) / (len(null) + 1)
    return [float(v) for v in np.where(np.isnan(values), np.nan, p)]


def _reached_by_any(z: Floats, null: Floats) -> Floats:
    """p of each |z| against the largest |z| of each shuffled table."""
    if not len(null):
        return np.full(z.shape, np.nan)
    below = np.searchsorted(np.sort(null), np.abs(z) - 1e-12)
    return (1 + len(null) - below) / (len(null) + 1)


def _divergences(readings: Readings) -> tuple[Floats, Floats]:
    """Per persona, mean over asks: KL from the distribution without one, and from the mean of the other personas."""
    if readings.direction == "number_to_trait":
        nothing = np.full(len(readings.traits), np.nan)
        return nothing, nothing
    p = special.expit(readings.log_odds)
    p /= p.sum(axis=-1, keepdims=True)
    none = special.expit(readings.without)
    none = none / none.sum(axis=-1, keepdims=True)
    others = (p.sum(axis=0) - p) / (len(p) - 1)
    kl = [special.rel_entr(p, q).sum(axis=-1).mean(axis=-1) for q in (none, others)]
    return kl[0], kl[1]


def _recognised(x: Floats) -> float:
    """Share of (setting, ask) whose profile correlates best with the same setting's mean over the other asks."""
    if x.shape[1] < 2:
        return float("nan")
    hits = [
        np.argmax(_unit(x[:, a]) @ _unit(np.delete(x, a, axis=1).mean(axis=1)).T, axis=1) == np.arange(len(x))
        for a in range(x.shape[1])
    ]
    return float(np.mean(hits))


def _unit(rows: Floats) -> Floats:
    """Rows without their mean, of length 1; a row without spread stays 0."""
    rows = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)


# ---------------------------------------------------------------- the link between both directions


@dataclass(frozen=True)
class Pairing:
    """Does the number that a persona raises raise the trait in turn? Spearman's rank correlation over numbers.

    low, high: 95 % interval, blocks of numbers resampled.
    place: the rank of the trait among all traits by how close their shifts are to what its persona raises; 1 is first.
    """

    trait: str
    correlation: float
    low: float
    high: float
    place: int


@dataclass(frozen=True)
class Link:
    """Both directions side by side, over the numbers and traits that both tables hold.

    mean: mean correlation of the traits with themselves, low and high its interval.
    others: mean correlation of a trait with the other traits' personas: what all share. p: how often a random
    assignment of personas to traits reaches `mean`, so it is about the trait and not about what all have in common.
    """

    pairings: tuple[Pairing, ...]
    numbers: int
    mean: float
    low: float
    high: float
    others: float
    p: float


def link(prompting: Table, raised: Table, rng: np.random.Generator, *, draws: int = DRAWS) -> Link:
    """Correlate what numbers do to traits with what personas do to numbers.

    prompting: a number_to_trait table; raised: a trait_to_number table. Values are ranked once over all numbers. The
    intervals resample numbers in blocks of neighbours, sqrt(numbers) long, because numbers near each other may behave
    alike; `p` deals personas to traits and does not lean on that. An unreliable table can only show a correlation
    near 0. Raises ValueError for tables of other directions, or with fewer than 2 traits or 4 numbers in common.
    """
    if (prompting.direction, raised.direction) != ("number_to_trait", "trait_to_number"):
        raise ValueError(f"tables are {prompting.direction} and {raised.direction}, in that order both are needed")
    traits = [t for t in prompting.traits if t in raised.traits]
    numbers = [n for n in prompting.numbers if n in raised.numbers]
    if len(traits) < 2 or len(numbers) < 4:
        raise ValueError(f"the tables share {len(traits)} traits and {len(numbers)} numbers; 2 and 4 are needed")
    one, other = (_ranks(_select(t, traits, numbers)) for t in (prompting, raised))
    cross = _unit(one) @ _unit(other).T  # [trait prompted, persona]
    drawn = np.empty((draws, len(traits)))
    block = np.arange(round(len(numbers) ** 0.5))
    for i in range(draws):
        starts = rng.integers(0, len(numbers), (-(-len(numbers) // len(block)), 1))
        pick = ((starts + block) % len(numbers)).ravel()[: len(numbers)]
        drawn[i] = (_unit(one[:, pick]) * _unit(other[:, pick])).sum(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    mean_low, mean_high = np.quantile(drawn.mean(axis=1), [0.025, 0.975])
    own, size = cross.diagonal(), len(traits)
    dealt = np.array([cross[np.arange(size), rng.permutation(size)].mean() for _ in range(draws)])
    ahead = (cross > own).sum(axis=0)
    return Link(
        pairings=tuple(
            Pairing(trait, float(own[k]), float(low[k]), float(high[k]), 1 + int(ahead[k]))
            for k, trait in enumerate(traits)
        ),
        numbers=len(numbers),
        mean=float(own.mean()),
        low=float(mean_low),
        high=float(mean_high),
        others=float((cross.sum() - own.sum()) / (size * (size - 1))),
        p=float((1 + (dealt >= own.mean() - 1e-12).sum()) / (draws + 1)),
    )


def _select(table: Table, traits: Sequence[str], numbers: Sequence[str]) -> Floats:
    rows, columns = [table.traits.index(t) for t in traits], [table.numbers.index(n) for n in numbers]
    return table.shift[np.ix_(rows, columns)]


def _ranks(values: Floats) -> Floats:
    """Ranks along the last axis, equal values sharing their mean rank."""
    from scipy.stats import rankdata

    ranked: Any = rankdata(values, axis=-1)
    return ranked
