"""Tidy rows -> lines of the board: an arm over its seeds, a single model, somebody else's task, a published figure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from sublim_eval.board.columns import RECORDED, Row
from sublim_eval.board.headline import headline
from sublim_eval.board.over_seeds import of_one_recipe
from sublim_eval.stats import KINDS

if TYPE_CHECKING:
    from sublim_eval.board.collect import Board
    from sublim_eval.compare import comparison

ARM, MODEL, BESIDE, STUDENT, TASK, THEIRS = "arm", "model", "beside", "student", "task", "theirs"
"""Kinds of lines: an arm over its seeds; one model; the same model by the measure that the arms beside it do not have;
one student that an arm's line holds already; a task that is not ours; a figure that others published."""

SCOUT = "scout"
"""Harness of what scanners say of logs, which is no ability of a model."""

GAP, LEVELS = "gap", ("probability", "share")

Ability = tuple[str, str, list[float]]
"""Task, metric, a value for every model that stands in the line."""


class Line(NamedTuple):
    """One line. Fields as the columns of the same name; value, low, high are of the share or probability.

    group: under which head it stands. gap, gap_low, gap_high, gap_interval: against its own control, None without one.
    seeds: (seed, share) of every student; controls: the same of the control's. untrained: the base's own share.
    abilities: what the same model can do in tasks that are not ours.
    """

    kind: str
    model: str
    base: str
    role: str = ""
    group: str = ""
    trait: str = ""
    run: str = ""
    arm: str = ""
    control: str = ""
    seed: int | None = None
    probe: str = ""
    version: str = ""
    question_set: str = ""
    questions: int | None = None
    answer: str = ""
    measure: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    interval: str = ""
    gap: float | None = None
    gap_low: float | None = None
    gap_high: float | None = None
    gap_interval: str = ""
    p: float | None = None
    verdict: str = ""
    verdict_kind: str = ""
    seeds: tuple[tuple[int, float], ...] = ()
    controls: tuple[tuple[int, float], ...] = ()
    untrained: float | None = None
    n: int | None = None
    replies: int | None = None
    non_answers: float | None = None
    unreadable: int | None = None
    coverage: float | None = None
    abilities: tuple[Ability, ...] = ()
    sampling: str = ""
    prompt_hash: str = ""
    settled: str = ""
    harness: str = ""
    harness_version: str = ""
    command: str = ""
    date: str = ""
    source: str = ""
    source_hash: str = ""
    log: str = ""
    note: str = ""


SAME = (
    *("model", "base", "role", "trait", "run", "arm", "control", "seed", "probe", "version", "question_set"),
    *("questions", "answer", "measure", "value", "low", "high", "interval", "n", "non_answers", "unreadable"),
    *("coverage", "sampling", "prompt_hash", "settled", "harness", "harness_version", "command", "date"),
    *("source", "source_hash", "log", "note"),
)
"""Columns that a line takes from a row as they are."""


@dataclass(frozen=True)
class _Known:
    """Rows by what a line needs of them."""

    students: Mapping[tuple[str, str, str, str], list[Row]]
    abilities: Mapping[str, list[Row]]
    bases: Mapping[tuple[str, ...], float] = field(default_factory=dict)
    compared: Mapping[tuple[str, str, str, str], comparison.Row] = field(default_factory=dict)


def lines_of(board: Board) -> list[Line]:
    """Every line of a board's rows, in their order."""
    return beside_marked(list(lines(rows_of(board), dict(_compared(board)))))


def pooled(board: Board) -> dict[str, str]:
    """Run -> the run under whose name `compare` speaks of it: the first of those that differ in their seeds alone."""
    groups = [group for group in of_one_recipe(board.runs) if group[0].name in board.comparisons]
    return {run.name: group[0].name for group in groups for run in group}


def rows_of(board: Board) -> list[Row]:
    """The rows of a board, those of pooled runs under the run that stands for them."""
    first = pooled(board)
    return [row._replace(run=first.get(row.run, row.run)) for row in board.rows]


def beside_marked(every: Sequence[Line]) -> list[Line]:
    """The lines, with those of single models marked that repeat one by another measure than the arms' own."""
    measures: dict[tuple[str, str], set[str]] = {}
    for line in every:
        if line.kind == ARM:
            measures.setdefault((line.base, line.probe), set()).add(line.measure)
            measures.setdefault(("", line.probe), set()).add(line.measure)
    there = {(line.model, line.probe, line.answer, line.measure) for line in every}

    def repeats(line: Line) -> bool:
        wanted = measures.get((line.base, line.probe)) or measures.get(("", line.probe), {line.measure})
        others = [(line.model, line.probe, line.answer, measure) for measure in wanted]
        return line.kind == MODEL and line.measure not in wanted and any(other in there for other in others)

    return [line._replace(kind=BESIDE) if repeats(line) else line for line in every]


def lines(
    rows: Sequence[Row], compared: Mapping[tuple[str, str, str, str], comparison.Row] | None = None
) -> Iterator[Line]:
    """Lines of rows; compared: (run, arm, probe, trait) -> what `compare` says of it beside its figures."""
    looked_at = _looked_at(rows)
    known = _Known(_by_arm(looked_at), _by_model(rows), _by_base(looked_at), compared or {})
    levels = {(r.model, r.probe, r.answer): r for r in rows if r.harness == "compare" and r.measure in LEVELS}
    in_arms = {(row.run, row.arm) for row in rows if row.harness == "compare"}
    for row in looked_at:
        if row.harness == "compare" and row.measure == GAP:
            yield _arm(row, levels.get((row.model, row.probe, row.answer)), known)
        elif row.harness == "compare" and row.measure in LEVELS and row.role == "control":
            yield _arm_alone(row, known)
        elif row.harness != "compare":
            student = row.harness in RECORDED and (row.run, row.arm) in in_arms and row.seed is not None
            yield _single(row, STUDENT if student else MODEL if row.ours else TASK, known)


MOST_GIVEN = 3
"""Answers of a model that are shown where nobody was taught any of its probe's."""


def _looked_at(rows: Sequence[Row]) -> list[Row]:
    """The rows of `headline`; of a probe that would not show at all, the answers that each model gives most."""
    chosen = headline(rows)
    probes = {row.probe for row in chosen}
    held: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if row.probe not in probes:
            held.setdefault((row.model, row.probe, row.source, row.measure), []).append(row)
    for several in held.values():
        most = sorted(several, key=lambda row: -(row.value or 0))[:MOST_GIVEN]
        chosen += [row._replace(note=f"{row.note} One of the answers given most.".strip()) for row in most]
    return chosen


def _compared(board: Board) -> Iterator[tuple[tuple[str, str, str, str], comparison.Row]]:
    for run, made in board.comparisons.items():
        for row in made.rows:
            yield (run, row.arm, row.probe, row.trait), row


def _by_arm(rows: Iterable[Row]) -> dict[tuple[str, str, str, str], list[Row]]:
    """(run, arm, probe, measure) -> the rows of its students, by seed."""
    held: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in rows:
        if row.harness in RECORDED and row.seed is not None:
            held.setdefault((row.run, row.arm, row.probe, row.measure), []).append(row)
    return held


def _by_base(rows: Iterable[Row]) -> dict[tuple[str, ...], float]:
    """(base, probe, version, answer, measure) -> the untrained base's own share."""
    return {
        (row.model, row.probe, row.version, row.answer, row.measure): row.value
        for row in rows
        if row.role == "base" and row.value is not None
    }


def _by_model(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Model, and run/arm of students -> their rows on tasks that are not ours."""
    held: dict[str, list[Row]] = {}
    for row in rows:
        if not row.ours and row.harness != SCOUT:
            for name in {row.model, f"{row.run}/{row.arm}" if row.arm else row.model}:
                held.setdefault(name, []).append(row)
    return held


# ---------------------------------------------------------------- a line each


def _arm(gap: Row, level: Row | None, known: _Known) -> Line:
    """An arm against its control; level: its share over the same seeds."""
    made = known.compared.get((gap.run, gap.arm, gap.probe, gap.answer))
    held = {} if made is None else _beside(made)
    measure = level.measure if level else held.get("measure", "")
    students = _students(known, gap, gap.arm, measure)
    line = _from(level or gap._replace(measure="", value=None, low=None, high=None, interval=""), ARM, known)
    line = line._replace(
        **_evidence(students, _students(known, gap, gap.arm, "share")),
        gap=gap.value,
        gap_low=gap.low,
        gap_high=gap.high,
        gap_interval=gap.interval,
        p=gap.p,
        verdict=gap.verdict,
        verdict_kind=next((kind for kind in KINDS if gap.verdict.startswith(kind)), ""),
        control=gap.control,
        n=gap.n,
        non_answers=gap.non_answers,
        note=gap.note,
        coverage=gap.coverage,
        seeds=_shares(students),
        controls=_shares(_students(known, gap, gap.control, measure)),
        untrained=known.bases.get((gap.base, gap.probe, gap.version, gap.answer, measure)),
    )
    return line._replace(**held)


def _beside(made: comparison.Row) -> dict[str, Any]:
    """What the comparison itself holds: every seed, also of runs that were pooled, and the untrained base."""
    return {
        "measure": "probability" if made.measure == "probability" else "share",
        "seeds": tuple((int(seed), float(share)) for seed, share in made.student_shares.items()),
        "controls": tuple((int(seed), float(share)) for seed, share in made.control_shares.items()),
        "untrained": float(made.base_share) if math.isfinite(made.base_share) else None,
        "verdict_kind": made.verdict.kind,
    }


def _arm_alone(row: Row, known: _Known) -> Line:
    """A control arm: its share over seeds, held against nobody."""
    students = _students(known, row, row.arm, row.measure)
    return _from(row, ARM, known)._replace(
        **_evidence(students, _students(known, row, row.arm, "share")), seeds=_shares(students)
    )


def _single(row: Row, kind: str, known: _Known) -> Line:
    replies = row.n if row.measure == "share" else None
    return _from(row, kind, known)._replace(replies=replies)


def _from(row: Row, kind: str, known: _Known) -> Line:
    given = {name: getattr(row, name) for name in SAME}
    abilities = () if kind == TASK else tuple(_abilities(known.abilities.get(row.model, ())))
    return Line(kind=kind, group=row.base, abilities=abilities, **given)


def _abilities(rows: Iterable[Row]) -> Iterator[Ability]:
    """Metrics of other people's tasks, each with a value for every model."""
    held: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row.value is not None:
            held.setdefault((row.probe, row.measure), []).append(row.value)
    for (task, metric), values in held.items():
        yield task, metric, values


def _students(known: _Known, of: Row, arm: str, measure: str) -> list[Row]:
    """The rows of an arm's students that are about the same answer."""
    rows = known.students.get((of.run, arm, of.probe, measure), ())
    return sorted((row for row in rows if row.answer == of.answer), key=lambda row: row.seed or 0)


def _shares(students: Iterable[Row]) -> tuple[tuple[int, float], ...]:
    return tuple((row.seed, row.value) for row in students if row.seed is not None and row.value is not None)


def _evidence(students: Sequence[Row], sampled: Sequence[Row]) -> dict[str, Any]:
    """How the students of an arm were asked, as far as they were asked alike; their replies together.

    sampled: their rows of sampled shares, which count replies.
    """
    if not students:
        return {}
    names = ("sampling", "settled", "question_set", "questions", "version", "date")
    alike = {n: getattr(students[0], n) if len({getattr(row, n) for row in students}) == 1 else None for n in names}
    prompts = {row.prompt_hash for row in students if row.prompt_hash}
    counted = [row.n for row in sampled if row.n is not None]
    return {
        **{name: "" if value is None and name != "questions" else value for name, value in alike.items()},
        "prompt_hash": next(iter(prompts)) if len(prompts) == 1 else "",
        "replies": sum(counted) or None,
        "unreadable": sum(row.unreadable or 0 for row in students),
    }
