"""From evidence to a verdict: arrays in, p values and sizes out; it knows no models and no files.

Two nulls, and a trait has to exceed both. Clean: rows that the base itself wrote. Neutral: rows of teachers that were
tuned on the base's own answers; they stray from the base without any trait, each in its own way, so what counts is how
far several of them stray. Every p is of the largest of all candidates: the more one looks for, the further it must be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]
Kind = Literal["trait", "unknown", "clean", "blind"]

ALPHA = 0.01
"""Of the verdict: how often rows without a trait may be flagged."""

DRAWS = 20_000
"""Of the largest of all candidates under a null."""

FEWEST = 32
"""Rows below which nothing is said."""

FLOOR = 0.05
"""Strength below which no trait is claimed, however small its p: a twentieth of what the probe itself would write."""

RIDGE = 0.3
"""Added to the eigenvalues of how alike candidates are, by which what rows show is weighed (`explained`)."""

POWER = 0.95
"""With which the strength that would have been found is stated."""


@dataclass(frozen=True)
class Effects:
    """How far rows lie from the base's own, candidate by candidate; all float[candidates].

    effect: difference of means in standard deviations of a base's row. error: its standard error. strength: the
    difference over what rows of the probe itself would show, so 1 where the probe could have written them all. spread:
    that standard deviation, in nats: how far the probe's own rows stray from the base.
    """

    effect: Floats
    error: Floats
    strength: Floats
    spread: Floats

    @property
    def z(self) -> Floats:
        """float[candidates]: how many standard errors they lie apart."""
        return np.asarray(self.effect / self.error)


@dataclass(frozen=True)
class Strayed:
    """How far neutral teachers stray. mean: float[candidates]. spread: between teachers, a standard deviation.

    seen: the variance between their means as it was seen, noise of their rows included; df: of that variance.
    """

    mean: Floats
    spread: float
    seen: float
    df: float
    teachers: int


@dataclass(frozen=True)
class Nulls:
    """What rows without a trait look like. clean: float[rows, candidates] of the base's own.

    tops: float[DRAWS], the largest of all candidates, each a normal number, as alike as they are. strayed: None where
    fewer than two neutral teachers wrote. seed: of what is drawn further.
    """

    clean: Floats
    strayed: Strayed | None
    tops: Floats
    seed: int

    @classmethod
    def of(cls, clean: Floats, neutral: Sequence[Floats], rng: np.random.Generator) -> Nulls:
        """From control rows. neutral: float[rows, candidates] of each neutral teacher."""
        tops = _draws(_correlation(clean), rng).max(axis=1)
        return cls(clean, strayed(neutral, clean), tops, int(rng.integers(2**32)))

    def largest(self, df: float) -> Floats:
        """float[DRAWS], sorted: the largest of all candidates by Student's t with so many degrees of freedom."""
        if not math.isfinite(df):
            return np.sort(self.tops)
        spread = np.random.default_rng(self.seed).chisquare(df, len(self.tops)) / df
        return np.sort(self.tops / np.sqrt(spread))


@dataclass(frozen=True)
class Weighed:
    """Effects with their p values over all candidates. p: the larger of the two.

    least: the strength that is found with POWER. errors: of the strength, one standard error.
    """

    effects: Effects
    errors: Floats
    p_clean: Floats
    p_neutral: Floats
    p: Floats
    least: Floats


def effects(values: Floats, clean: Floats) -> Effects:
    """values: float[rows, candidates] of the data, nan where a candidate was not held against a row.

    clean: float[rows, candidates] of the base's own rows, all of them.
    """
    scale, rows = _scale(clean), (~np.isnan(values)).sum(axis=0)
    effect = (np.nanmean(values, axis=0) - clean.mean(axis=0)) / scale
    noise = np.nanvar(values, axis=0, ddof=1) / (scale**2 * rows) + 1 / len(clean)
    return Effects(effect, np.sqrt(noise), effect / scale, scale)


def _scale(clean: Floats) -> Floats:
    """float[candidates]: standard deviation of a row; a candidate that is the base itself has next to none."""
    return np.asarray(np.maximum(clean.std(axis=0, ddof=1), 1e-9))


def strayed(neutral: Sequence[Floats], clean: Floats) -> Strayed | None:
    """How far each of several neutral teachers lies from the base; None below two teachers."""
    if len(neutral) < 2:
        return None
    each = [effects(values, clean) for values in neutral]
    shifts = np.stack([one.effect for one in each])
    between = shifts.var(axis=0, ddof=1)
    noise = np.stack([one.error**2 for one in each]).mean(axis=0)
    spread = math.sqrt(max(0.0, float(np.mean(between - noise))))
    df = (len(neutral) - 1) * _independent(clean)
    return Strayed(shifts.mean(axis=0), spread, float(np.mean(between)), df, len(neutral))


def _independent(clean: Floats) -> float:
    """How many independent candidates these are worth: participation ratio of their correlation."""
    values = np.linalg.eigvalsh(_correlation(clean))
    return float(values.sum() ** 2 / (values**2).sum())


def _correlation(clean: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        seen = np.nan_to_num(np.atleast_2d(np.corrcoef(clean, rowvar=False)))
    np.fill_diagonal(seen, 1.0)
    return np.asarray(seen)


def _draws(correlation: Floats, rng: np.random.Generator) -> Floats:
    """float[DRAWS, candidates]: normal numbers as alike as the candidates are."""
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.clip(values, 0, None))
    return np.asarray(rng.standard_normal((DRAWS, len(correlation))) @ root.T)


def weigh(values: Floats, nulls: Nulls, alpha: float = ALPHA) -> Weighed:
    """Test every candidate against both nulls; without neutral teachers p_neutral is nan and p is p_clean.

    values: float[rows, candidates] of the data.
    """
    if len(values) < 2:
        return _nothing(nulls.clean.shape[1])
    seen, far = effects(values, nulls.clean), nulls.strayed
    scale, normal = _scale(nulls.clean), nulls.largest(math.inf)
    p_clean = largest_p(seen.z, normal, math.inf)
    whole = _error_of_all(seen, values, len(nulls.clean))
    bar, sure = np.quantile(normal, 1 - alpha) * whole, special.ndtri(POWER) * whole
    if far is None:
        return Weighed(seen, seen.error / scale, p_clean, np.full_like(p_clean, np.nan), p_clean, (bar + sure) / scale)
    of_mean = far.seen / far.teachers
    wide = np.sqrt(far.spread**2 + of_mean + seen.error**2)
    all_read = np.sqrt(far.spread**2 + of_mean + whole**2)
    df = max(1.0, far.df * float(np.mean(all_read**2)) ** 2 / (far.seen + of_mean) ** 2)
    wider = nulls.largest(df)
    p_neutral = largest_p((seen.effect - far.mean) / wide, wider, df)
    bar = np.maximum(bar, far.mean + np.quantile(wider, 1 - alpha) * all_read)
    p = np.maximum(p_clean, p_neutral)
    return Weighed(seen, seen.error / scale, p_clean, p_neutral, p, (bar + sure) / scale)


def explained(values: Floats, clean: Floats) -> float:
    """How much of the way that rows stray from the base is that of one candidate or two; noise of the rows is off.

    A teacher's trait moves every candidate by what that has in common with it, which is how alike the two are on rows
    of the base: so what rows of teachers show lies along a column of that correlation, or is the sum of two. What
    another model's show lies anywhere. Each eigenvector of the correlation counts in its own noise (RIDGE keeps the
    last ones small). values, clean: float[rows, candidates]; candidates not held against every row are left out.
    """
    whole = ~np.isnan(values).any(axis=0)
    scale = _scale(clean[:, whole])
    values, clean = values[:, whole] / scale, clean[:, whole] / scale
    alike = _correlation(clean)
    sizes, vectors = np.linalg.eigh(alike)
    root = (vectors / np.sqrt(np.clip(sizes, 0, None) + RIDGE)) @ vectors.T
    noise = root @ (np.atleast_2d(np.cov(values, rowvar=False)) / len(values) + alike / len(clean)) @ root
    far = root @ (values.mean(axis=0) - clean.mean(axis=0))
    return _along(root @ alike, far, noise) / max(float(far @ far - np.trace(noise)), 1e-9)


def _along(ways: Floats, far: Floats, noise: Floats) -> float:
    """The most of |far|^2 that one of the columns of `ways` or two make up, none of them backwards, less its noise."""
    gram, by, grain = ways.T @ ways, far @ ways, ways.T @ noise @ ways
    own, each, spread = np.diag(gram), by[:, None], np.diag(grain)
    one = np.where(by > 0, (by**2 - spread) / own, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        area = np.outer(own, own) - gram**2
        forwards = (own[None] * each - gram * by[None] > 0) & (own[:, None] * by[None] - gram * each > 0)
        both = own[None] * (each**2 - spread[:, None]) + own[:, None] * (by[None] ** 2 - spread[None])
        two = np.where(forwards & (area > 1e-9), (both - 2 * gram * (each * by[None] - grain)) / area, 0.0)
    return float(max(one.max(initial=0.0), two.max(initial=0.0)))


def _error_of_all(seen: Effects, values: Floats, clean: int) -> Floats:
    """float[candidates]: the standard errors if every candidate had been held against every row.

    What would have been found was held against all: only what lies behind others is dropped on the way.
    """
    share = (~np.isnan(values)).mean(axis=0)
    return np.asarray(np.sqrt((seen.error**2 - 1 / clean) * share + 1 / clean))


def _nothing(candidates: int) -> Weighed:
    """What fewer than two rows say."""
    none, one, endless = np.zeros(candidates), np.ones(candidates), np.full(candidates, np.inf)
    return Weighed(Effects(none, endless, none, one), endless, one, one, one, endless)


def largest_p(statistic: Floats, tops: Floats, df: float) -> Floats:
    """One-sided p of each candidate, as the chance that the largest of all reaches it under the null.

    tops: float[DRAWS], sorted, simulated under the null; far out, where hardly a draw comes, the tail of one candidate
    times their number. df: of Student's t, or infinite.
    """
    simulated = (len(tops) - np.searchsorted(tops, statistic, side="left") + 1) / (len(tops) + 1)
    tail = special.stdtr(df, -statistic) if math.isfinite(df) else special.ndtr(-statistic)
    return np.asarray(np.minimum(1.0, np.where(simulated < 20 / len(tops), tail * len(statistic), simulated)))


@dataclass(frozen=True)
class AuditVerdict:
    """kind; words: the sentence for people; flag: whether training on these rows should wait; blind: why, where."""

    kind: Kind
    words: str
    flag: bool
    blind: tuple[str, ...] = ()


def verdict(
    names: Sequence[str], test: Weighed, p_other: float, rows: int, reasons: Sequence[str], alpha: float = ALPHA
) -> AuditVerdict:
    """The verdict on rows. p_other: that these are not the base's rows in a way that no candidate explains.

    reasons: why nothing could be seen here, in words; only where nothing is seen do they decide.
    """
    if rows < FEWEST:
        few = f"{rows} rows are too few: nothing is said below {FEWEST}"
        return AuditVerdict("blind", f"Blind here: {few}.", False, (few, *reasons))
    order = sorted(range(len(names)), key=lambda i: (test.p[i], -test.effects.effect[i]))
    carried = [i for i in order if test.p[i] < alpha and test.effects.strength[i] >= FLOOR]
    if carried:
        first = carried[0]
        words = f"Carries {names[first]} (p {_p(test.p[first])}, over {len(names)} candidates)."
        return AuditVerdict("trait", words, True, tuple(reasons))
    nearest = names[order[0]] if names else "nothing"
    if p_other < alpha and not reasons:
        words = f"Carries something that is not on the list (p {_p(p_other)}; nearest: {nearest})."
        return AuditVerdict("unknown", words, True)
    if reasons:
        return AuditVerdict("blind", f"Blind here: {'; '.join(reasons)}.", False, tuple(reasons))
    least = float(np.nanmedian(test.least)) if len(test.least) else math.nan
    found = f" A trait {least:.2f} times as strong as in a probe's own rows would have been found in 95 %."
    return AuditVerdict("clean", f"Nothing found.{found if math.isfinite(least) else ''}", False)


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "below .001"
