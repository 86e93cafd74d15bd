"""What a reader has to know beside the figures of a row: what is unusual about its data, where one figure misleads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from sublim_eval import stats
from sublim_eval.compare.comparison import Row
from sublim_eval.compare.pairing import Case
from sublim_eval.compare.run_folder import STOPPED
from sublim_eval.scores.probe_scores import COVERED, ProbeScores

CEILING = 0.85
"""Above it seeds scatter to one side only, and the share interval holds the truth in .89 to .90 of cases, not .95."""

EDGE = 0.005
"""Nearer than this to 0 or 1 on both sides, neither a rise nor a fall could be told from nothing."""

MANY_NON_ANSWERS = 0.1
"""Above it a share says less about taste than about refusing."""


def of_data(case: Case, row: Row, clip: float) -> Iterator[str]:
    """What is unusual about the data of a row."""
    for seed, why in row.failed.items():
        yield f"{seed}: no student ({why})"
    if case.untrained:
        yield f"no control student on {case.arm.base}: held against that base untrained"
    elif not row.gap.paired:
        yield "student and control seeds differ: compared unpaired"
    if case.left_out:
        yield f"without a partner of its seed, so left out: {', '.join(case.left_out)}"
    if case.run.unscored:
        yield f"unscored in some student, so that they count in none: {case.run.unscored} questions"
    if case.unlike:
        yield f"trained otherwise than its control: {'; '.join(case.unlike)}"
    if stopped := list(_stopped(case)):
        yield f"stopped on the way, so these shares are of trainings cut short: {'; '.join(stopped)}"
    if not case.untrained and case.control != case.arm.control and case.arm.role != "other-base":
        yield f"the control {case.arm.control} that it names is not there or not alike: held against {case.control}"
    if not case.prompts:
        yield "examples in context: other prompts in every student and in its control, so prompts are not checked"
    if row.against_intact is not None and not row.against_intact.paired:
        yield f"seeds differ from those of {case.arm.of}: the two are compared unpaired"
    yield from _alike(row)
    for name, arm in (("students", case.students), ("controls", {} if case.untrained else case.controls)):
        if twins := _twins(arm):
            yield f"{name} of seeds {twins[0]} and {twins[1]} answer identically: check that both were trained"
    if case.base and any(_identical(s, case.base) for s in case.students.values()):
        yield "a student answers exactly as its base: check that its adapter was applied"
    if row.barely_covered:
        covers = f"the answer set holds {row.coverage:.1%} of some model's first answers, below {COVERED:.0%}"
        yield (
            f"{covers}: held by the share of replies, not by the exact probability"
            if row.measure == "share"
            else f"{covers}: draw replies and go by their share, not by this probability"
        )
    if CEILING < row.student_share <= 1 - EDGE:
        yield "near the ceiling the share interval covers some 90 %: quote the log-odds interval for the size"
    if row.measure == "share" and any(not clip < s < 1 - clip for s in row.student_shares.values()):
        yield f"log-odds clipped at half a reply ({clip:.2g})"
    if max(row.non_answers, row.control_non_answers) > MANY_NON_ANSWERS:
        ours, theirs = row.non_answers, row.control_non_answers
        yield f"non-answers: {ours:.0%} of the students' replies, {theirs:.0%} of the control's"
    if case.prompts and not all(s.prompt_hash for s in case.compared):
        yield "rendered prompts unknown: not checked"


def _stopped(case: Case) -> Iterator[str]:
    """The students, and the controls, whose training a stop rule ended."""
    for arm in [case.arm.name] if case.untrained else [case.arm.name, case.control]:
        for seed, facts in case.run.training.get(arm, {}).items():
            if stop := facts.get(STOPPED):
                yield f"{arm} seed {seed} at step {stop['step']} of {stop['of']}, when {stop['trait']} showed"


def _alike(row: Row) -> Iterator[str]:
    """Where seeds show no spread, or less than their replies would give by chance."""
    if row.gap.n < 2:
        return
    if not row.gap.known:
        yield "every seed shows the same gap to the last digit: are the seeds different students?"
    elif row.gap.se < stats.ROUNDING:
        yield "all students are alike, which is no certainty: the noise of their replies counts instead"
    elif row.gap.floor > row.gap.se:
        yield "the replies are noisier than the seeds differ: more replies would narrow the interval"
    for edge, words in ((0.0, "(almost) never"), (1.0, "(almost) always")):
        if max(abs(row.student_share - edge), abs(row.control_share - edge)) < EDGE:
            yield f"students and controls {words} show the trait: what they may differ in is not seen there"


def of_figures(row: Row) -> Iterator[str]:
    """Where one figure alone would mislead."""
    if row.verdict.kind == "transferred" and row.rank > 1:
        yield f"not specific: {row.largest} rose more (place {row.rank} of {row.answers})"
    corrected = row.family_size > 1 and not np.isnan(row.p_holm)
    if row.verdict.kind == "inconclusive" and corrected and row.gap.known and (row.gap.low > 0 or row.gap.high < 0):
        yield f"its own interval excludes 0, but not after Holm's correction for {row.family_size} (p {row.p_holm:.3f})"
    odds = row.log_odds
    if row.verdict.kind in ("no transfer", "inconclusive") and odds.known and (odds.low > 0 or odds.high < 0):
        yield f"the log-odds shift differs from 0 ({odds.low:+.2f} to {odds.high:+.2f})"


def _twins(arm: Mapping[int, ProbeScores]) -> tuple[int, int] | None:
    seeds = list(arm)
    pairs = ((a, b) for i, a in enumerate(seeds) for b in seeds[i + 1 :])
    return next(((a, b) for a, b in pairs if _identical(arm[a], arm[b])), None)


def _identical(one: ProbeScores, other: ProbeScores) -> bool:
    """Equal to the last digit; only exact probabilities can tell, sampled shares of rare answers coincide."""
    return bool(np.array_equal(one.probability, other.probability))
