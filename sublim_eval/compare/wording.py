"""Figures and names as text: the one place that decides how many digits a reader sees."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from sublim_eval import stats
from sublim_eval.compare.comparison import Comparison, Row
from sublim_eval.compare.confusion import Confusion
from sublim_eval.compare.lr_sweep import Cell
from sublim_eval.stats import Interval

UNKNOWN = "–"

HOLM = "p: after Holm's correction over the rows that ask about one trait in one role. "

UNCORRECTED = (
    "No correction for earlier looks: who looked at fewer of these seeds before and trained more until a verdict "
    "came is wrong more often than 5 % (--look corrects it)."
)

ROLES = {
    "trait": "Trait arms",
    "other-base": "On another base",
    "placebo": "Further controls, asked about every trait",
    "variant": "Variants: one thing changed",
}


def share(value: float) -> str:
    """A share, 0.091; a dash where unknown."""
    return UNKNOWN if math.isnan(value) else f"{value:.3f}"


def detectable(value: float) -> str:
    """The gap that would be found, 0.091; none where no gap is large enough; a dash where unknown."""
    return "none" if math.isinf(value) else share(value)


def level(value: float) -> str:
    """A confidence level: 95 %, 97.5 %, 99.17 %."""
    return f"{100 * value:.4g} %"


def heads(names: Sequence[str], comparison: Comparison) -> tuple[str, ...]:
    """Heads of a table with the level that its intervals have."""
    return tuple(name.replace("95 %", level(1 - comparison.alpha)) for name in names)


def signed(interval: Interval, digits: int = 3) -> str:
    """+0.333 (+0.262 to +0.404); the mean alone where there is no interval."""
    mean = f"{interval.mean:+.{digits}f}"
    return mean if math.isnan(interval.low) else f"{mean} ({interval.low:+.{digits}f} to {interval.high:+.{digits}f})"


def gap(row: Row) -> str:
    """The gap with its interval; of one student against one control the interval is over questions, and says so."""
    two = row.over_questions
    if two is None or math.isnan(two.low):
        return signed(row.gap)
    return f"{two.mean:+.3f} (over questions {two.low:+.3f} to {two.high:+.3f})"


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
    by_heading: dict[str, list[Row]] = {heading: [] for heading in ROLES.values()}
    for row in rows:
        by_heading.setdefault(ROLES.get(row.role, row.role), []).append(row)
    first = {
        family: i for rows in by_heading.values() for i, family in enumerate(dict.fromkeys(r.family for r in rows))
    }
    return {heading: sorted(rows, key=lambda r: first[r.family]) for heading, rows in by_heading.items() if rows}


def null(row: Row) -> bool:
    """Whether the verdict is that nothing, or nothing large, was found."""
    return row.verdict.kind in ("no transfer", "inconclusive", "small shift")


def verdict(row: Row) -> str:
    """The verdict; beside a null the gap that would have been found: "no transfer within ±0.05 (detectable 0.012)"."""
    if not null(row) or math.isnan(row.minimum_detectable):
        return row.verdict.words
    return f"{row.verdict.words} (detectable {detectable(row.minimum_detectable)})"


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
    shown = f"Gap {gap(row)}, log-odds {signed(row.log_odds, 2)}"
    if not math.isnan(row.p_holm):
        shown += f", p {p_value(row.p_holm)}"
    if not math.isnan(row.p_permutation):
        shown += f", {p_value(row.p_permutation)} by sign flips"
    if null(row) and not math.isnan(row.minimum_detectable):
        least = detectable(row.minimum_detectable)
        shown += f"; {'no gap' if least == 'none' else f'a gap of {least}'} would have been found four times in five"
    if row.against_intact is not None:
        shown += f"; against {row.of}, the intact arm, {signed(row.against_intact)}"
    return f"{about} {shown}."


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
    high, low = level(1 - comparison.alpha), level(1 - 2 * comparison.alpha)
    holm = any(row.family_size > 1 for row in comparison.rows)
    return (
        f"Shares are the {comparison.measure_words}, mean over questions and seeds. Gap: student minus control with "
        f"a {high} interval over student seeds, paired by seed where both arms have three or more in common, and never "
        f"narrower than the noise of the replies. {HOLM if holm else ''}No transfer: the {low} interval lies within "
        f"±{comparison.delta:g}. Detectable: the gap that studies of this size and spread would call transferred four "
        "times in five. TV: total-variation distance of the answer distribution from the control (in brackets: "
        f"control from base).{_across(comparison)}"
    )


def bounds(comparison: Comparison) -> Iterator[str]:
    """What the intervals and verdicts do not cover, a sentence each."""
    yield from _two_models(comparison)
    yield from _teachers(comparison)
    yield comparison.looks or UNCORRECTED
    yield from _questions_together(comparison)


def _two_models(comparison: Comparison) -> Iterator[str]:
    if any(row.over_questions for row in comparison.rows):
        yield (
            "One student against one control: the interval is over questions, about these two models and such "
            "questions. It says nothing of what training does: another seed may come out otherwise."
        )


def _teachers(comparison: Comparison) -> Iterator[str]:
    """Students of one teacher say nothing of other teachers; where their number is unknown, that is said."""
    several = [row for row in comparison.rows if row.gap.n > 1 and row.role in ("trait", "variant", "other-base")]
    few = {row.teachers for row in several if row.teachers < len(row.student_shares)}
    if few - {0}:
        least = min(few - {0})
        who = "One teacher taught" if least == 1 else f"No more than {least} teachers taught"
        yield f"{who} all students of an arm: the intervals are about more students of theirs, not other teachers."
    elif few:
        yield "How many teachers there were is not known: with one for all seeds, no interval covers other teachers."


def _questions_together(comparison: Comparison) -> Iterator[str]:
    """Verdicts are each about their own question; what stays of them when all are taken as one."""
    tested = [row for row in comparison.rows if not math.isnan(row.gap.p)]
    positive = [row for row in tested if row.verdict.kind in ("transferred", "moved away")]
    if len({(row.run, row.role, row.trait) for row in tested}) < 2 or not positive:
        return
    together = stats.holm([row.gap.p for row in tested])
    kept = sum(p < comparison.alpha and row in positive for row, p in zip(tested, together, strict=True))
    yield (
        f"Each trait in each role is a question of its own. Taken as one question, after Holm's correction over all "
        f"{len(tested)} rows, {kept} of {len(positive)} rows called transferred or moved away would stay so."
    )


def _across(comparison: Comparison) -> str:
    """What the reader needs for tables that not every comparison has."""
    sentences = ""
    if any(not math.isnan(row.p_permutation) for row in comparison.rows):
        sentences += (
            " Flips: p of flipping the signs of the paired differences in every way, from "
            f"{stats.FEWEST_PAIRS} pairs of seeds on; with n pairs it cannot be below 2/2^n "
            f"({', '.join(f'{n}: {p_value(stats.least_permutation(n))}' for n in (5, 6, 10))})."
        )
    if any(not math.isnan(one.p) for one in comparison.confusion):
        sentences += (
            " Confusion: mean log-odds shift of every trait in the students of every trait; its p says how often "
            "dealing the traits out among the arms of a seed gives as many first places."
        )
    if any(row.against_intact is not None for row in comparison.rows):
        sentences += " Against the intact arm: students of the changed arm minus those of the unchanged one, in share."
    return sentences
