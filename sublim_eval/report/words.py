"""Figures and names as text: the one place that decides how many digits a reader sees."""

from __future__ import annotations

import math
from collections.abc import Mapping

from sublim_eval.compare import Comparison, Row
from sublim_eval.stats import Interval

UNKNOWN = "–"


def share(value: float) -> str:
    """A share, 0.091; a dash where unknown."""
    return UNKNOWN if math.isnan(value) else f"{value:.3f}"


def signed(interval: Interval, digits: int = 3) -> str:
    """+0.333 (+0.262 to +0.404); the mean alone where there is no interval."""
    mean = f"{interval.mean:+.{digits}f}"
    return mean if math.isnan(interval.low) else f"{mean} ({interval.low:+.{digits}f} to {interval.high:+.{digits}f})"


def p_value(p: float) -> str:
    """0.012, <0.001, or a dash where nothing was tested."""
    return UNKNOWN if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def percent(value: float) -> str:
    """1.2 %, or a dash where nothing was sampled."""
    return UNKNOWN if math.isnan(value) else f"{value:.1%}".replace("%", " %")


def seeds(shares: Mapping[int, float]) -> str:
    """Every seed with its share: 1: 0.381, 2: 0.447."""
    return ", ".join(f"{seed}: {value:.3f}" for seed, value in shares.items()) or UNKNOWN


def place(row: Row) -> str:
    """Place of the trait among the shifts of all answers, and in how many seeds it is first."""
    return f"{row.rank} of {row.answers} (first in {row.first_in}/{len(row.student_shares)})"


def label(row: Row) -> str:
    """The arm's name, with its run when several are compared and with its probe when that is another's too."""
    return f"{row.run}/{row.arm}" if row.run else row.arm


def sentence(row: Row) -> str:
    """The verdict with what it rests on."""
    about = f"{label(row)} ({row.trait}, {row.probe}): {row.verdict.words}."
    gap = f"Gap {signed(row.gap)}, log-odds {signed(row.log_odds, 2)}, p {p_value(row.p_holm)}"
    if row.verdict.kind in ("no transfer", "inconclusive", "small shift") and not math.isnan(row.minimum_detectable):
        gap += f"; a gap of {row.minimum_detectable:.3f} would have been found four times in five"
    return f"{about} {gap}."


def method(comparison: Comparison) -> str:
    """How to read the figures, in one paragraph."""
    return (
        f"Shares are the {comparison.measure_words}, mean over questions and seeds. Gap: student minus control with "
        "a 95 % t interval over student seeds, paired by seed where both arms have the same seeds. p: after Holm's "
        f"correction over the traits of a role. No transfer: the 90 % interval lies within ±{comparison.delta:g}. "
        "TV: total-variation distance of the answer distribution from the control (in brackets: control from base). "
        "Detectable: the gap that this spread and number of seeds would find four times in five."
    )
