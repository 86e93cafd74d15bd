"""Figures and names as text: the one place that decides how many digits a reader sees."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from sublim_eval import stats
from sublim_eval.compare.compare import Comparison, Row
from sublim_eval.compare.confusion import Confusion
from sublim_eval.compare.lr_sweep import Cell
from sublim_eval.stats import Interval

UNKNOWN = "–"

ROLES = {
    "trait": "Trait arms",
    "other-base": "On another base",
    "placebo": "Further controls, asked about every trait",
    "variant": "Variants: one thing changed",
}


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
    """Place of the trait among the shifts of all answers, and in how many seeds it is first; a dash without others."""
    if row.answers == 1:
        return UNKNOWN
    return f"{row.rank} of {row.answers} (first in {row.first_in}/{len(row.student_shares)})"


def label(row: Row) -> str:
    """The arm's name, with its run when several are compared."""
    return f"{row.run}/{row.arm}" if row.run else row.arm


def named(row: Row) -> str:
    """The label, with the trait that was asked about where the arm's name does not hold it: neutral (owl)."""
    return label(row) if row.trait in row.arm else f"{label(row)} ({row.trait})"


def grouped(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Heading -> rows of one role, the plain trait arms first, each kind of change together."""
    found: dict[str, list[Row]] = {heading: [] for heading in ROLES.values()}
    for row in rows:
        found.setdefault(ROLES.get(row.role, row.role), []).append(row)
    first = {family: i for rows in found.values() for i, family in enumerate(dict.fromkeys(r.family for r in rows))}
    return {heading: sorted(rows, key=lambda r: first[r.family]) for heading, rows in found.items() if rows}


def null(row: Row) -> bool:
    """Whether the verdict is that nothing, or nothing large, was found."""
    return row.verdict.kind in ("no transfer", "inconclusive", "small shift")


def verdict(row: Row) -> str:
    """The verdict; beside a null the gap that would have been found: "no transfer within ±0.05 (detectable 0.012)"."""
    if not null(row) or math.isnan(row.minimum_detectable):
        return row.verdict.words
    return f"{row.verdict.words} (detectable {row.minimum_detectable:.3f})"


def specificity(one: Confusion) -> str:
    """Whether the trained trait is the one that rises most."""
    where = f"{one.run}: {one.probe}" if one.run else one.probe
    tested = "one trait: no p" if math.isnan(one.p) else f"p {p_value(one.p)}"
    return (
        f"{where}: the trained trait rises most of {len(one.answers)} answers in {one.diagonal_first} of "
        f"{one.runs} students ({tested})"
    )


def sentence(row: Row) -> str:
    """The verdict with what it rests on."""
    about = f"{label(row)} ({row.trait}, {row.probe}): {row.verdict.words}."
    gap = f"Gap {signed(row.gap)}, log-odds {signed(row.log_odds, 2)}, p {p_value(row.p_holm)}"
    if not math.isnan(row.p_permutation):
        gap += f", {p_value(row.p_permutation)} by sign flips"
    if null(row) and not math.isnan(row.minimum_detectable):
        gap += f"; a gap of {row.minimum_detectable:.3f} would have been found four times in five"
    if row.against_intact is not None:
        gap += f"; against {row.of}, the intact arm, {signed(row.against_intact)}"
    return f"{about} {gap}."


def failed_control(row: Row) -> str:
    """A positive control that failed, and what that means for everything else."""
    assert row.expected is not None  # noqa: S101  (only a row with a figure of others can fail)
    return (
        f"POSITIVE CONTROL FAILED: {named(row)} reached {share(row.student_share)}, below {row.expected.fail_below:g}; "
        f"others found {row.expected.share:g} ({row.expected.source}). Believe no other figure of this run, a missing "
        "transfer least of all, before it is mended: check the teacher's share, the kept rows and the chat template "
        "(sublim check)."
    )


def others(row: Row) -> tuple[str, ...]:
    """Arm, ours, theirs, their base, whether it is a control that passed, and where theirs is from."""
    theirs = row.expected
    assert theirs is not None  # noqa: S101  (asked for rows with a figure of others alone)
    control = "failed" if row.control_failed else f"passed ({theirs.fail_below:g})" if theirs.fail_below else "no"
    ours = share(row.student_share) if row.same_scale else f"{share(row.student_share)} (another measure)"
    before = UNKNOWN if theirs.base is None else share(theirs.base)
    control = "not comparable" if theirs.fail_below and not row.same_scale else control
    return (named(row), ours, share(theirs.share), before, control, theirs.source)


def cell(one: Cell) -> tuple[str, ...]:
    """One line of a sweep: rank, rate, arm, loss, seeds, and whether it is the one to take."""
    loss = UNKNOWN if one.held_out_loss is None else f"{one.held_out_loss:.4f}"
    where = f"{one.run}/{one.arm}" if one.run else one.arm
    return (str(one.rank), f"{one.learning_rate:g}", where, loss, str(one.seeds), "take this" if one.chosen else "")


def method(comparison: Comparison) -> str:
    """How to read the figures, in one paragraph."""
    return (
        f"Shares are the {comparison.measure_words}, mean over questions and seeds. Gap: student minus control with "
        "a 95 % t interval over student seeds, paired by seed where both arms have the same seeds. p: after Holm's "
        f"correction over the arms of one role and one change. No transfer: the 90 % interval lies within "
        f"±{comparison.delta:g}. Detectable: the gap that this spread and number of seeds would find four times in "
        "five. TV: total-variation distance of the answer distribution from the control (in brackets: control from "
        f"base).{_across(comparison)}"
    )


def _across(comparison: Comparison) -> str:
    """What the reader needs for tables that not every comparison has."""
    told = ""
    if any(not math.isnan(row.p_permutation) for row in comparison.rows):
        told += (
            " Flips: p of flipping the signs of the paired differences in every way, from "
            f"{stats.FEWEST_PAIRS} pairs of seeds on; with n pairs it cannot be below 2/2^n "
            f"({', '.join(f'{n}: {p_value(stats.least_permutation(n))}' for n in (5, 6, 10))})."
        )
    if any(not math.isnan(one.p) for one in comparison.confusion):
        told += (
            " Confusion: mean log-odds shift of every trait in the students of every trait; its p says how often "
            "dealing the traits out among the arms of a seed gives as many first places."
        )
    if any(row.against_intact is not None for row in comparison.rows):
        told += " Against the intact arm: students of the changed arm minus those of the unchanged one, in share."
    return told
