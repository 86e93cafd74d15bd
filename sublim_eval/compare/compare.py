"""`sublim compare`: scored runs -> one row per trait arm and probe, with the verdict of decision 0001.

What may not be compared is refused: other questions, other rendered prompts, another version of the probe.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sublim_eval import stats
from sublim_eval.compare import caveats, counts_csv, run_folder
from sublim_eval.compare.comparison import Comparison, Row
from sublim_eval.compare.confusion import clip_of, confusions, doses, means, shifts_of
from sublim_eval.compare.lr_sweep import sweep
from sublim_eval.compare.pairing import Case, cases, measure_of, pair_up, refuse_mixed
from sublim_eval.errors import SublimError
from sublim_eval.registry.catalog import registry
from sublim_eval.scores.probe_scores import ProbeScores
from sublim_eval.stats import Interval, Verdict


def compare(
    paths: Sequence[Path], *, delta: float = stats.DELTA, measure: str = "auto", alpha: float = stats.ALPHA
) -> Comparison:
    """Compare every trait arm of these runs with its control.

    delta: margin of equivalence in share, above 0 and at most 1. measure: "probability" (exact), "share"
    (sampled), or "auto": exact when every model compared has it. alpha: the error that each verdict is allowed.
    Raises SublimError when something to compare is missing or may not be compared.
    """
    check_delta(delta)
    loaded = run_folder.load(paths)
    lined_up = [case for run in loaded for case in cases(run)]
    if not lined_up:
        raise SublimError(
            "There is no arm with a trait in these runs. Add one to the recipe: owl: {role: trait, trait: owl}."
        )
    folders = [folder for run in loaded for folder in run.folders]
    return compare_cases(lined_up, measure_of(lined_up, measure), delta, folders, alpha)


def compare_table(
    path: Path, *, control: str = "control", delta: float = stats.DELTA, alpha: float = stats.ALPHA
) -> Comparison:
    """Compare the arms of a CSV table (counts_csv.py) with its control: the same statistics for figures from anywhere.

    Shares are hits / n, mean over questions. What no table says (base, teacher, other answers) is nan or empty.
    Raises SublimError for a table that cannot be read or holds nothing to compare.
    """
    check_delta(delta)
    made = compare_cases(counts_csv.lined_up(path, control), "share", delta, alpha=alpha)
    rows = [replace(row, run="", non_answers=math.nan, control_non_answers=math.nan) for row in made.rows]
    return replace(made, rows=tuple(rows))


def check_delta(delta: float) -> None:
    """Raises SublimError unless delta is a margin in share."""
    if not 0 < delta <= 1:
        raise SublimError(f"delta {delta:g} is no margin in share. Give one above 0 and at most 1, such as 0.05.")


def compare_cases(
    lined_up: Sequence[Case], measure: str, delta: float, folders: Sequence[Path] = (), alpha: float = stats.ALPHA
) -> Comparison:
    """The statistics of lined-up cases, wherever they come from. Raises SublimError for what may not be compared."""
    refuse_mixed(lined_up)
    lined_up = [pair_up(case) for case in lined_up]
    rows = _adjusted([_row(case, measure, delta, alpha) for case in lined_up], delta, alpha)
    matrices = list(confusions(lined_up, measure))
    cells = [cell for run in {id(case.run): case.run for case in lined_up}.values() for cell in sweep(run)]
    swept = {(cell.run, cell.arm) for cell in cells}  # several rates at one rank are no dose curve
    dosed = [(c, row.gap) for c, row in zip(lined_up, rows, strict=True) if (c.run.name, c.arm.name) not in swept]
    curves = list(doses(dosed))
    if len({case.run.name for case in lined_up}) == 1:
        rows = [replace(row, run="") for row in rows]
        matrices, curves = [replace(c, run="") for c in matrices], [replace(d, run="") for d in curves]
        cells = [replace(cell, run="") for cell in cells]
    parts = (tuple(matrices), tuple(curves), tuple(cells))
    return Comparison(tuple(rows), measure, delta, tuple(folders), *parts, alpha=alpha)


# ---------------------------------------------------------------- one row


def _row(case: Case, measure: str, delta: float, alpha: float) -> Row:
    """Everything about one case but the correction for the other rows of its family."""
    sample = next(iter(case.students.values()))
    column, paired = sample.answers.index(case.trait), list(case.students) == list(case.controls)
    values, control_values = _stack(case.students, measure), _stack(case.controls, measure)
    ours, theirs = values[..., column], control_values[..., column]
    clip = clip_of(case, measure)
    mean, control_mean = means(case.students.values(), measure), means(case.controls.values(), measure)
    partner = control_mean if paired else control_mean.mean(axis=0, keepdims=True)
    shifts = shifts_of(case, measure)
    replies = _replies(case.students, measure), _replies(case.controls, measure)
    gap = _gap(ours, theirs, *replies, paired=paired, fixed=case.untrained, level=1 - alpha)
    odds = _log_odds(case, ours, theirs, clip, replies, alpha)
    row = Row(
        run=case.run.name,
        arm=case.arm.name,
        role=case.arm.role,
        family=f"{case.arm.role}: {case.trait}",
        key=case.arm.key,
        change=case.arm.change,
        axis=case.arm.axis,
        dose=case.arm.dose,
        of=case.arm.of,
        trait=case.trait,
        category=sample.category,
        probe=sample.probe,
        version=sample.version,
        measure=measure,
        base=case.arm.base,
        control=case.control,
        student_shares=dict(zip(case.students, map(float, mean[:, column]), strict=True)),
        control_shares={}
        if case.untrained
        else dict(zip(case.controls, map(float, control_mean[:, column]), strict=True)),
        failed=case.failed,
        base_share=_mean([case.base] if case.base else [], measure, column),
        teacher_share=_mean(case.teachers, measure, column),
        control_share=float(control_mean[:, column].mean()),
        gap=gap,
        p_holm=gap.p,
        p_permutation=_sign_flips(ours, theirs, paired),
        against_intact=_against_intact(case, measure, column, 1 - alpha),
        minimum_detectable=math.nan,
        equivalence=stats.equivalence(gap, delta, alpha=alpha),
        log_odds=odds,
        tv=float(np.mean(stats.total_variation(mean, partner))),
        tv_control=_tv_control(case, measure, control_mean),
        non_answers=_non_answers(case.students.values()),
        control_non_answers=_non_answers(case.controls.values()),
        rank=stats.rank_of(shifts.mean(axis=0), column),
        answers=len(sample.answers),
        first_in=sum(stats.rank_of(shift, column) == 1 for shift in shifts),
        largest=sample.answers[int(np.argmax(shifts.mean(axis=0)))],
        situations=_by_situation(sample, ours, theirs),
        verdict=stats.verdict(gap, delta, alpha=alpha),
        notes=(),
        expected=case.arm.expected if _plain_probe(sample.probe) else None,
        over_questions=_over_questions(ours, theirs, replies, 1 - alpha) if gap.n == 1 else None,
        teachers=case.teachers_made,
        coverage=min((s.covered for s in case.compared if not math.isnan(s.covered)), default=math.nan),
    )
    return replace(row, notes=tuple(caveats.of_data(case, row, clip)))


def _plain_probe(name: str) -> bool:
    """Whether a probe asks for a trait as such, which is what figures of others speak of."""
    probe = registry().probes.get(name)
    return probe is not None and probe.plain and not probe.situations


def _by_situation(sample: ProbeScores, ours: stats.Floats, theirs: stats.Floats) -> dict[str, tuple[float, float]]:
    """Means over seeds and wordings; ours, theirs: float[seed, question]."""
    if not sample.conduct:
        return {}
    return {
        name: (float(np.nanmean(ours[:, rows])), float(np.nanmean(theirs[:, rows])))
        for name, rows in sample.situations.items()
    }


def _stack(scores: Mapping[int, ProbeScores], measure: str) -> stats.Floats:
    """float[seed, question, answer]."""
    return np.stack([getattr(s, measure) for s in scores.values()])


def _replies(scores: Mapping[int, ProbeScores], measure: str) -> stats.Floats | None:
    """float[seed, question]: replies behind sampled shares; None for exact probabilities."""
    return np.stack([s.replies for s in scores.values()]).astype(float) if measure == "share" else None


def _gap(
    ours: stats.Floats,
    theirs: stats.Floats,
    our_replies: stats.Floats | None = None,
    their_replies: stats.Floats | None = None,
    *,
    paired: bool,
    fixed: bool,
    level: float,
) -> Interval:
    """share_gap, or the point alone where an arm has one student; ours, theirs: float[seed, question].

    fixed: every row of theirs is the same untrained model, which is asked once.
    """
    if min(len(ours), len(theirs)) < 2:
        return stats.point(float(np.nanmean(ours) - np.nanmean(theirs)))
    if fixed:
        theirs, their_replies = theirs[:1], None if their_replies is None else their_replies[:1]
    counts = {"trait_replies": our_replies, "control_replies": their_replies}
    return stats.share_gap(ours, theirs, **counts, paired=paired, fixed=fixed, level=level)


def _log_odds(
    case: Case,
    ours: stats.Floats,
    theirs: stats.Floats,
    clip: float,
    replies: tuple[stats.Floats | None, stats.Floats | None],
    alpha: float,
) -> Interval:
    """log_odds_shift, or the point alone; an untrained control's replies count once for all seeds."""
    if min(len(ours), len(theirs)) < 2:
        return stats.point(float(np.mean(stats.log_odds(ours.mean(), clip) - stats.log_odds(theirs.mean(), clip))))
    mine, other = replies
    if case.untrained and other is not None:
        other = other / len(other)
    paired = list(case.students) == list(case.controls)
    counts = {"trait_replies": mine, "control_replies": other}
    return stats.log_odds_shift(ours, theirs, clip=clip, **counts, paired=paired, level=1 - alpha)


def _over_questions(
    ours: stats.Floats, theirs: stats.Floats, replies: tuple[stats.Floats | None, stats.Floats | None], level: float
) -> Interval | None:
    """The difference of two models question by question; None below two. ours, theirs: float[seed, question]."""
    if ours.shape[1] < 2:
        return None
    arms = zip((ours, theirs), replies, strict=True)
    floor = math.sqrt(sum(stats.reply_noise(shares, counts) for shares, counts in arms))
    return stats.mean_difference(ours.mean(axis=0), theirs.mean(axis=0), floor=floor, level=level)


def _sign_flips(ours: stats.Floats, theirs: stats.Floats, paired: bool) -> float:
    """The permutation p of the paired gaps; nan where seeds are not paired. The draw, if any, is always the same."""
    if not paired:
        return math.nan
    return stats.permutation(np.nanmean(ours, axis=1) - np.nanmean(theirs, axis=1), np.random.default_rng(0))


def _against_intact(case: Case, measure: str, column: int, level: float) -> Interval | None:
    """The gap of a variant minus the gap of its intact arm, each to its own control; None without an intact arm.

    What the change does to any student, trait or none, is in both of the variant's arms and so in neither gap. Where
    seeds are missing somewhere the students alone are compared, unpaired.
    """
    if not case.intact:
        return None
    arms = (case.students, case.controls, case.intact, case.intact_controls)
    seeds = [] if case.untrained else [seed for seed in case.students if all(seed in arm for arm in arms)]
    whole = seeds == list(case.students) == list(case.intact)
    if seeds and (whole or len(seeds) >= stats.ENOUGH_SEEDS):
        ours, controls, theirs, their_controls = (
            _stack({seed: arm[seed] for seed in seeds}, measure)[..., column].mean(axis=1) for arm in arms
        )
        change = (ours - controls) - (theirs - their_controls)
        if len(seeds) < 2:
            return stats.point(float(change.mean()))
        floor = _noise_of(arms, seeds, measure, column)
        return stats.mean_difference(change, np.zeros_like(change), floor=floor, level=level)
    ours, theirs = (_stack(arm, measure)[..., column] for arm in (case.students, case.intact))
    replies = _replies(case.students, measure), _replies(case.intact, measure)
    return _gap(ours, theirs, *replies, paired=False, fixed=False, level=level)


def _noise_of(arms: Sequence[Mapping[int, ProbeScores]], seeds: Sequence[int], measure: str, column: int) -> float:
    """Standard error that the replies alone give a sum or difference of these arms' shares; 0 for exact ones."""
    parts = [{seed: arm[seed] for seed in seeds} for arm in arms]
    shares = [_stack(part, measure)[..., column] for part in parts]
    counts = [_replies(part, measure) for part in parts]
    return math.sqrt(sum(stats.reply_noise(s, n) for s, n in zip(shares, counts, strict=True)))


def _mean(scores: Sequence[ProbeScores], measure: str, column: int) -> float:
    """Mean over models and questions; nan where nothing is scored."""
    known = [getattr(s, measure)[:, column] for s in scores]
    return float(np.mean(known)) if known else math.nan


def _tv_control(case: Case, measure: str, control_mean: stats.Floats) -> float:
    if case.untrained or case.base is None:
        return math.nan
    return float(np.mean(stats.total_variation(control_mean, getattr(case.base, measure).mean(axis=0))))


def _non_answers(scores: Iterable[ProbeScores]) -> float:
    """Non-answers over all replies of these models, in [0, 1]; nan without replies."""
    known = list(scores)
    replies = sum(int(s.replies.sum()) for s in known)
    return sum(int(s.non_answers.sum()) for s in known) / replies if replies else math.nan


def _adjusted(rows: Sequence[Row], delta: float, alpha: float) -> list[Row]:
    """The rows with Holm-adjusted p, and what follows from it; a family is one trait asked in one role of one run."""
    made = list(rows)
    for name in {(row.run, row.role, row.trait) for row in rows}:
        family = [i for i, row in enumerate(rows) if (row.run, row.role, row.trait) == name]
        tests = sum(not math.isnan(rows[i].gap.p) for i in family)
        for i, p in zip(family, stats.holm([rows[i].gap.p for i in family]), strict=True):
            gap = rows[i].gap
            row = replace(
                rows[i],
                p_holm=p,
                family_size=max(tests, 1),
                minimum_detectable=stats.minimum_detectable(gap, delta, alpha=alpha, tests=max(tests, 1)),
                verdict=_verdict(rows[i], delta, p, alpha),
            )
            made[i] = replace(row, notes=(*row.notes, *caveats.of_figures(row)))
    return made


def _verdict(row: Row, delta: float, p: float, alpha: float) -> Verdict:
    """The verdict on the arm; of one student against one control, what their difference over questions says as well."""
    made = stats.verdict(row.gap, delta, p=p, alpha=alpha)
    if row.over_questions is None:
        return made
    two = stats.verdict(replace(row.over_questions, n=stats.ENOUGH_SEEDS), delta, alpha=alpha)
    words = {
        "no transfer": f"these two models are alike within ±{delta:g}",
        "small shift": f"these two models differ, within ±{delta:g}",
        "inconclusive": "inconclusive about these two models",
    }.get(two.kind, "these two models differ")
    return replace(made, words=f"{words} (over questions; one seed says nothing of training)")
