"""From figures of one student and of control students to p-values: a moderated t for each, corrected for all of them.

Ten controls know little of the spread of each single figure, and together much of the usual spread: each variance is
drawn towards the usual one, by as much as the variances themselves say (the empirical Bayes of Smyth 2004). The degrees
of freedom stay those of the controls: the unit of evidence is the student, and a restless one moves in all its figures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special
from scipy import stats as scipy_stats

from sublim_eval.stats import holm

Doubles = NDArray[np.float64]

MOST_DF = 1e6
"""Degrees of freedom that stand for "the variances do not differ at all"."""


LEAST = 1e-3
"""The least error of a figure, in its own unit: controls that did not move at all do not make a finding of rounding."""


@dataclass(frozen=True)
class Tested:
    """float[figure] each: student less mean of the controls; t of it; p, two-sided; p corrected for all figures
    (Holm)."""

    excess: Doubles
    t: Doubles
    p: Doubles
    corrected: Doubles


def against_controls(student: Doubles, controls: Doubles) -> Tested:
    """student: float[figure]; controls: float[control, figure], at least 3. Raises ValueError for fewer."""
    count = len(controls)
    if count < 3:
        raise ValueError("fewer than 3 controls say nothing of the spread")
    excess = student - controls.mean(axis=0)
    variance = moderated(controls.var(axis=0, ddof=1), count - 1)
    return _tested(excess, np.sqrt(variance * (1 + 1 / count)), count - 1)


def least_t(controls: int, figures: int, alpha: float) -> float:
    """The |t| above which one of so many figures is a finding, beside so many controls."""
    return float(scipy_stats.t.isf(alpha / (2 * figures), controls - 1))


def against_each_other(student: Doubles) -> Tested:
    """Without controls: each figure beside all the others of the same student, by median and spread about it."""
    excess = student - np.median(student)
    spread = 1.4826 * float(np.median(np.abs(excess))) or float(excess.std()) or 1.0
    return _tested(excess, np.full(len(student), spread), float(max(3, len(student) // 2)))


def _tested(excess: Doubles, error: Doubles, df: float) -> Tested:
    t = excess / np.maximum(error, LEAST)
    p = 2 * scipy_stats.t.sf(np.abs(t), df)
    return Tested(excess, t, p, np.array(holm(p.tolist())))


def moderated(variance: Doubles, df: int) -> Doubles:
    """float[figure]: variances, of `df` degrees of freedom each, drawn towards the usual one."""
    known = variance[variance > 0]
    if len(known) < 2:
        return variance
    logs = np.log(known)
    around = float(logs.var(ddof=1)) - float(special.polygamma(1, df / 2))
    prior_df = _df_of_trigamma(around)
    level = logs.mean() - special.digamma(df / 2) + np.log(df / 2)
    prior = float(np.exp(level + special.digamma(prior_df / 2) - np.log(prior_df / 2)))
    drawn: Doubles = (prior_df * prior + df * variance) / (prior_df + df)
    return drawn


def _df_of_trigamma(value: float) -> float:
    """The degrees of freedom whose logged variances scatter by `value`."""
    if value <= float(special.polygamma(1, MOST_DF / 2)):
        return MOST_DF
    return float(2 * optimize.brentq(lambda x: float(special.polygamma(1, x)) - value, 1e-3, MOST_DF / 2))
