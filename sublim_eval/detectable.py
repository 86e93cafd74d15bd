"""The gap that a study like this one would find: simulated studies, read by the very rule that reads the real one."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import special

from sublim_eval.gap_error import NEAREST, GapError, Scatter, noise

Floats = NDArray[np.float64]
Finds = Callable[[GapError], NDArray[np.bool_]]

STUDIES = 400
"""Simulated studies for each gap and spread that is tried."""

GAPS = np.geomspace(0.003, 1, 24)
"""Gaps that are tried, as parts of the largest possible one: each a little more than a quarter above the last."""

SPREADS = np.geomspace(0.15, 6, 7)
"""Spreads that are tried, as multiples of the one that was seen."""

CHANCES = (np.arange(31) + 0.5) / 31

ODDS = np.linspace(-21, 21, 421)
NORMAL = special.ndtri((np.arange(64) + 0.5) / 64)
"""Log-odds and standard normal draws from which a mean share is worked out."""


def detectable(error: GapError, finds: Finds, power: float) -> float:
    """The true gap that `finds` in this share of studies; inf where no possible gap is found so often.

    Had the spread been seen exactly, it would be the gap that is found so often at that spread. It was seen in a few
    students, and a spread that came out small by chance promises too much. So the spread is taken larger, by the one
    factor with which such promises, made by all studies of this size, are kept on average.
    """
    largest = 1 - float(error.control.share)
    if not largest > 0:
        return math.inf
    gaps = largest * GAPS
    rates = np.array([_rates(error, gaps, spread, finds) for spread in (*SPREADS, 1.0)])
    needed = np.array([_crossing(gaps, found, power) for found in rates])
    factor = _caution(gaps, rates[-1], needed[:-1], _seen(error), power)
    return float(_at(np.array([factor]), needed[:-1])[0])


def _caution(gaps: Floats, share_found: Floats, needed: Floats, seen: Floats, power: float) -> float:
    """The factor on the spread with which the gaps that are promised are found as often as promised."""
    reading = special.ndtri(np.clip(share_found, 1e-3, 1 - 1e-3))
    for factor in np.geomspace(1, 16, 81):
        promised = _at(factor * seen, needed)
        made = promised[np.isfinite(promised)]
        if not len(made) or special.ndtr(np.interp(made, gaps, reading)).mean() >= power:
            return float(factor)
    return 16.0


def _at(spreads: Floats, needed: Floats) -> Floats:
    """The gaps needed at spreads between those that were tried; inf beyond one where no gap is enough."""
    gaps = np.interp(np.log(spreads), np.log(SPREADS), needed)
    return np.where(np.isnan(gaps), np.inf, gaps)


def _crossing(gaps: Floats, share_found: Floats, power: float) -> float:
    """The least gap from which on it is found so often; inf where it never is."""
    enough = np.flatnonzero(share_found >= power)
    if not len(enough):
        return math.inf
    last = int(enough[0])
    low, high = (0.0, 0.0) if last == 0 else (float(share_found[last - 1]), float(gaps[last - 1]))
    a, b, c = (float(special.ndtri(np.clip(x, 1e-3, 1 - 1e-3))) for x in (low, float(share_found[last]), power))
    part = min((c - a) / (b - a), 1.0) if b > a else 1.0
    return high + part * (float(gaps[last]) - high)


def _seen(error: GapError) -> Floats:
    """Spreads that studies of this size see, as multiples of the true one, each as likely as the other.

    What two students of a seed have in common is as little known as their spreads are, so that the two arms together
    say no more of the spread of their difference than its own degrees of freedom.
    """
    return np.asarray(np.sqrt(special.gammaincinv(error.df / 2, CHANCES) * 2 / error.df))


def _rates(error: GapError, gaps: Floats, spread: float, finds: Finds) -> Floats:
    """Share of studies in which each gap is found, when students scatter so many times as widely as was seen."""
    return np.asarray(finds(studies(error, gaps, spread, np.random.default_rng(0))).mean(axis=-1))


def studies(error: GapError, gaps: Floats, spread: float, rng: np.random.Generator) -> GapError:
    """STUDIES studies of every gap at once: arrays of [gap, study]."""
    trait, control = error.trait, error.control
    weight, common = math.sqrt(abs(_together(error))), rng.normal(size=(STUDIES, trait.n))
    sign = math.copysign(1.0, _together(error))
    ours = _students(trait, float(control.share) + gaps, spread, sign * weight * common, weight, rng)
    if error.fixed:
        theirs = _replies(np.full((1, STUDIES, 1), float(control.share)), control, rng)
    else:
        common = common if error.paired else np.zeros((STUDIES, control.n))
        theirs = _students(control, np.array([float(control.share)]), spread, weight * common, weight, rng)
    pair = _covariance(ours, theirs) if error.paired else 0.0
    return GapError(_summed(ours, trait), _summed(theirs, control), pair, error.paired, error.fixed)


def _together(error: GapError) -> float:
    """How much of the scatter the two students of a seed have in common, from -1 to 1."""
    both = float(error.trait.variance * error.control.variance)
    return float(np.clip(error.common / math.sqrt(both), -1, 1)) if error.paired and both > 0 else 0.0


def _students(
    arm: Scatter, levels: Floats, spread: float, common: Floats, weight: float, rng: np.random.Generator
) -> Floats:
    """float[level, study, seed]: shares of students of these mean shares; `weight` of what is `common` is in it."""
    of_replies = 1 / (arm.replies / arm.n * noise(arm.anchor))
    wide = spread * math.sqrt(max(float(arm.odds_variance) - float(of_replies), 0.0))
    drawn = common + math.sqrt(1 - weight**2) * rng.normal(size=common.shape)
    return _replies(special.expit(_middle(levels, wide)[:, None, None] + wide * drawn), arm, rng)


def _middle(levels: Floats, wide: float) -> Floats:
    """float[level]: the mean log-odds of students who scatter so widely and whose mean shares are these."""
    shares = special.expit(ODDS[:, None] + wide * NORMAL).mean(axis=1)
    return np.asarray(np.interp(np.clip(levels, NEAREST, 1 - NEAREST), shares, ODDS))


def _replies(shares: Floats, arm: Scatter, rng: np.random.Generator) -> Floats:
    """Shares as so many replies show them; exact ones stay."""
    each = max(round(arm.replies / arm.n), 1) if np.isfinite(arm.replies) else 0
    return rng.binomial(each, shares) / each if each else shares


def _summed(shares: Floats, arm: Scatter) -> Scatter:
    return Scatter.of(shares, np.full(arm.n, arm.replies / arm.n) if np.isfinite(arm.replies) else None)


def _covariance(ours: Floats, theirs: Floats) -> Floats:
    centred = (ours - ours.mean(-1, keepdims=True)) * (theirs - theirs.mean(-1, keepdims=True))
    return np.asarray(centred.sum(-1) / (ours.shape[-1] - 1))
