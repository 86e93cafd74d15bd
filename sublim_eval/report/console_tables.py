"""The comparison on a terminal; plain aligned text in a pipe."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from sublim_eval.compare import wording
from sublim_eval.compare.comparison import Comparison, Row
from sublim_eval.compare.confusion import Confusion, Dose
from sublim_eval.console import say, table

if TYPE_CHECKING:
    from rich.console import Console

SHARES = ("arm", "control", "students", "gap (95 % interval)", "verdict")
BESIDE = ("arm", "base", "teacher", "log-odds (95 % interval)", "p", "p (flips)", "detectable")
ANSWERS = ("arm", "TV (control)", "non-answers", "place of the trait")
INTACT = ("arm", "change", "intact arm", "against it (95 % interval)")
DOSES = ("axis", "trait", "dose", "gap (95 % interval)", "seeds")
OTHERS = ("arm", "students here", "others", "others' base", "positive control", "others' source")
SWEEP = ("rank", "learning rate", "arm", "held-out loss", "seeds", "by held-out loss")
SITUATIONS = ("arm", "probe", "situation", "students", "control", "gap")


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print shares, gaps and verdicts, what stands beside them, every seed, and what a reader has to know."""
    for row in comparison.failed_controls:
        say(console, f"\n{wording.failed_control(row)}")
    say(console, f"\nStudents against their controls: {comparison.measure_words}")
    groups = wording.grouped(comparison.rows)
    rows = [row for group in groups.values() for row in group]
    titled = len(groups) > 2
    for heading, group in groups.items() if titled else [("", rows)]:
        if titled:
            say(console, f"\n{heading}")
        table(console, wording.heads(SHARES, comparison), [shares(row) for row in group])
    say(console)
    table(console, wording.heads(BESIDE, comparison), [beside(row) for row in rows])
    say(console)
    table(console, ANSWERS, [answers(row) for row in rows])
    if any(row.expected for row in rows):
        say(console, "\nBeside what others found: their figures, not ours")
        table(console, OTHERS, [wording.others(row) for row in rows if row.expected])
    if comparison.cells:
        say(console, "\nLearning rates per rank: the lowest loss on fresh rows of the teacher, whatever the share")
        table(console, SWEEP, [wording.cell(one) for one in comparison.cells])
    if any(row.against_intact for row in rows):
        say(console, "\nVariants against the intact arm")
        table(console, wording.heads(INTACT, comparison), [intact(row) for row in rows if row.against_intact])
    if comparison.confusion:
        say(console, "\nIs the trained trait the one that rises?")
    for one in comparison.confusion:
        say(console, f"  {wording.specificity(one)}")
        if len(one.traits) > 1:
            table(console, *confusion(one))
    if comparison.doses:
        say(console, "\nDose curves")
        table(console, wording.heads(DOSES, comparison), [cells for one in comparison.doses for cells in dose(one)])
    say(console, "\nEvery seed")
    for row in rows:
        say(console, f"  {wording.named(row)}: {wording.seeds(row.student_shares)}")
        if row.control_shares:
            say(console, f"    control arm {row.control}: {wording.seeds(row.control_shares)}")
        for note in row.notes:
            say(console, f"    note: {note}")
    if any(row.situations for row in rows):
        say(console, "\nEvery situation, mean over seeds and wordings")
        table(console, SITUATIONS, [cells for row in rows for cells in situations(row)])
    say(console, f"\n{wording.method(comparison)}")
    for sentence in wording.bounds(comparison):
        say(console, sentence)


def shares(row: Row) -> tuple[str, ...]:
    """The cells under SHARES."""
    given = (row.control_share, row.student_share)
    return (wording.named(row), *map(wording.share, given), wording.gap(row), row.verdict.words)


def intact(row: Row) -> tuple[str, ...]:
    """The cells under INTACT."""
    against = wording.signed(row.against_intact) if row.against_intact else wording.UNKNOWN
    return (wording.named(row), row.change, row.of or wording.UNKNOWN, against)


def confusion(one: Confusion) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """(heads, rows): mean shift of every arm's trait in the students of every arm, and the largest of the others."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an arm without students is a line of dashes
        means = np.nanmean(one.shifts, axis=1)
    traits = list(dict.fromkeys(one.traits))
    rest = [i for i, answer in enumerate(one.answers) if answer not in traits]
    lines = []
    for arm, shift in zip(one.arms, means, strict=True):
        cells = [f"{shift[one.answers.index(trait)]:+.2f}" for trait in traits]
        most = max(rest, key=lambda i: shift[i], default=None)
        other = wording.UNKNOWN if most is None else f"{one.answers[most]} {shift[most]:+.2f}"
        lines.append((arm, *cells, other))
    return ("students of", *traits, "largest other"), lines


def dose(one: Dose) -> list[tuple[str, ...]]:
    """The cells under DOSES, a line each."""
    return [(one.axis, one.trait, f"{at:g}", wording.signed(gap), str(gap.n)) for at, gap in one.points]


def situations(row: Row) -> list[tuple[str, ...]]:
    """The cells under SITUATIONS, a line each; none for a favorite."""
    return [
        (wording.named(row), row.probe, name, wording.share(ours), wording.share(theirs), f"{ours - theirs:+.3f}")
        for name, (ours, theirs) in row.situations.items()
    ]


def beside(row: Row) -> tuple[str, ...]:
    """The cells under BESIDE."""
    return (
        wording.named(row),
        wording.share(row.base_share),
        wording.share(row.teacher_share),
        wording.signed(row.log_odds, 2),
        wording.p_value(row.p_holm),
        wording.p_value(row.p_permutation),
        wording.detectable(row.minimum_detectable),
    )


def answers(row: Row) -> tuple[str, ...]:
    """The cells under ANSWERS."""
    tv = f"{wording.share(row.tv)} ({wording.share(row.tv_control)})"
    return (wording.named(row), tv, wording.percent(row.non_answers), wording.place(row))
