"""The gap that a study like this one would find: simulated studies, read by the very rule that reads the real one."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import special

from sublim_eval.gap_error import NEAREST, GapError, Scatter, noise

Floats = NDArray[np.float64]

STUDIES = 800
"""Simulated studies a gap that is tried; the error of their share near .8 is .014."""

STEPS = 12
"""Halvings of the range of gaps: to 1/4096."""

BENT = 16 * math.sqrt(3) / (15 * math.pi)
"""The mean of expit over a normal of mean m and deviation s is about expit(m / sqrt(1 + (BENT s)^2))."""


def detectable(error: GapError, finds: Callable[[GapError], NDArray[np.bool_]], power: float) -> float:
    """The smallest true gap that `finds` in this share of simulated studies; inf where no possible gap is.

    The simulated studies have as many students and replies as `error` and scatter in log-odds as they were seen to,
    which is itself drawn anew for each study, since it is no better known than its students allow.
    """
    low, high = 0.0, 1 - float(error.control.share)
    if not high > 0 or _rate(error, high, finds) < power:
        return math.inf
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if _rate(error, middle, finds) >= power else (middle, high)
    return high


def _rate(error: GapError, gap: float, finds: Callable[[GapError], NDArray[np.bool_]]) -> float:
    return float(np.mean(finds(studies(error, gap, np.random.default_rng(0)))))


def studies(error: GapError, gap: float, rng: np.random.Generator) -> GapError:
    """STUDIES studies at once with a true gap of this size."""
    trait, control = error.trait, error.control
    together = _together(error)
    weight = math.sqrt(abs(together))
    trust, other_trust = _trusts(error, together, rng)
    common = rng.normal(size=(STUDIES, trait.n))
    ours = _students(trait, float(control.share) + gap, trust, math.copysign(weight, together) * common, weight, rng)
    if error.fixed:
        theirs = _replies(np.full((STUDIES, 1), float(control.share)), control, rng)
    else:
        if not error.paired:
            common = rng.normal(size=(STUDIES, control.n))
        theirs = _students(control, float(control.share), other_trust, weight * common, weight, rng)
    pair = _covariance(ours, theirs) if error.paired else 0.0
    return GapError(_summed(ours, trait), _summed(theirs, control), pair, error.paired, error.fixed)


def _trusts(error: GapError, together: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """float[study] for each arm: variance seen over true variance, as chance deals it out; alike in pairs alike."""
    ours, theirs = (rng.normal(size=(STUDIES, max(arm.n - 1, 1))) for arm in (error.trait, error.control))
    if error.paired:
        theirs = together * ours + math.sqrt(1 - together**2) * theirs
    return (ours**2).mean(-1), (theirs**2).mean(-1)


def _together(error: GapError) -> float:
    """How much of the scatter in log-odds the two students of a seed have in common, from -1 to 1."""
    if not error.paired:
        return 0.0
    spread = math.sqrt(float(error.trait.variance * error.control.variance))
    return float(np.clip(error.common / spread, -1, 1)) if spread > 0 else 0.0


def _students(
    arm: Scatter, share: float, trust: Floats, common: Floats, weight: float, rng: np.random.Generator
) -> Floats:
    """float[study, seed]: shares of students whose mean share this is; `weight` of what is `common` is in it."""
    of_replies = 1 / (arm.replies / arm.n * noise(arm.anchor))
    spread = np.sqrt(np.maximum(float(arm.odds_variance) - of_replies, 0) / trust)[:, None]
    drawn = common + math.sqrt(1 - weight**2) * rng.normal(size=common.shape)
    level = float(special.logit(np.clip(share, NEAREST, 1 - NEAREST))) * np.sqrt(1 + (BENT * spread) ** 2)
    return _replies(special.expit(level + spread * drawn), arm, rng)


def _replies(shares: Floats, arm: Scatter, rng: np.random.Generator) -> Floats:
    """Shares as so many replies show them; exact ones stay."""
    each = max(round(arm.replies / arm.n), 1) if np.isfinite(arm.replies) else 0
    return rng.binomial(each, shares) / each if each else shares


def _summed(shares: Floats, arm: Scatter) -> Scatter:
    return Scatter.of(shares, np.full(arm.n, arm.replies / arm.n) if np.isfinite(arm.replies) else None)


def _covariance(ours: Floats, theirs: Floats) -> Floats:
    centred = (ours - ours.mean(-1, keepdims=True)) * (theirs - theirs.mean(-1, keepdims=True))
    return np.asarray(centred.sum(-1) / (ours.shape[-1] - 1))
