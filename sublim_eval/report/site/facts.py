"""What the page of one model tells: its figures, seeds, questions, curve, lineage, replies, checks and commands."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from sublim_eval.board.columns import Row
from sublim_eval.errors import SublimError
from sublim_eval.registry.experiment import RECORD
from sublim_eval.report.answer_tables import by_question
from sublim_eval.report.exports.naming import carries, portable
from sublim_eval.report.site import charts, replies
from sublim_eval.report.site.lines import ARM, BESIDE, MODEL, SCOUT, STUDENT, TASK, Line, pooled, rows_of

if TYPE_CHECKING:
    from sublim_eval.board.collect import Board
    from sublim_eval.board.identity import RunFolder

OURS = (ARM, MODEL, BESIDE, STUDENT, TASK)
"""Kinds of lines that have a page of their own."""

LOOKED_INTO = 3
"""Students of an arm of whom replies are shown."""


class Check(NamedTuple):
    """One trap over all its places. findings: (level, where, words) of every place."""

    trap: str
    about: str
    level: str
    findings: Sequence[tuple[str, str, str]]


Checks = Mapping[str, Sequence[Check]]
"""Name of a run, or source of a log or score file -> what every trap check said of it."""


@dataclass(frozen=True)
class Step:
    """One stage of a lineage. hashes: what -> digest; facts: what -> in words; href: the folder, "" without one."""

    what: str
    name: str
    href: str
    hashes: Mapping[str, str]
    facts: Mapping[str, Any]


def page_names(lines: Iterable[Line]) -> dict[str, str]:
    """Model (of a run: <run>/<arm>) -> the file of its page, below the folder of the site."""
    names = dict.fromkeys(home(line) for line in lines if line.kind in OURS)
    return {name: f"models/{portable(name)[:60]}-{_mark(name)}.html" for name in names}


def _mark(name: str) -> str:
    """8 hex digits that tell a name from every other, also from those that only look like it."""
    return hashlib.sha256(name.encode(errors="backslashreplace")).hexdigest()[:8]


def home(line: Line) -> str:
    """The model on whose page a line stands: a student of a run stands on that of its arm."""
    return f"{line.run}/{line.arm}" if line.run and line.arm else line.model


class Viewer(NamedTuple):
    """An `inspect view` of some logs. address: of its page, http or https; folder: whose logs it shows (--log-dir)."""

    address: str
    folder: Path

    def href(self, log: Path) -> str:
        """Where it shows a log; "" for one that lies elsewhere."""
        if not log.resolve().is_relative_to(self.folder.resolve()):
            return ""
        place = log.resolve().relative_to(self.folder.resolve()).as_posix()
        return f"{self.address.rstrip('/')}/#/logs/{quote(place)}"


class Teller:
    """Facts of the models of one board. out: the folder of the site, from which links are told."""

    def __init__(
        self, board: Board, lines: Sequence[Line], checks: Checks, out: Path, viewer: Viewer | None = None
    ) -> None:
        self.board, self.checks, self.out, self.viewer = board, checks, out, viewer
        self._first = pooled(board)
        self._tables: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._lines: dict[str, list[Line]] = {}
        for line in lines:
            if line.kind in OURS:
                self._lines.setdefault(home(line), []).append(line)
        self._rows: dict[str, list[Row]] = {}
        self._alike: dict[tuple[str, ...], list[Row]] = {}
        for row in rows_of(board):
            self._rows.setdefault(home_of(row), []).append(row)
            if row.harness != "compare":
                self._alike.setdefault(_about(row), []).append(row)

    def of(self, model: str) -> dict[str, Any]:
        """Everything that the page of a model tells, as its template wants it."""
        lines, rows = self._lines[model], self._rows.get(model, [])
        first = next((line for line in lines if line.kind != TASK), lines[0])
        questions = list(self._questions(lines))
        return {
            "model": model,
            "line": first,
            "carries": carries(rows[0]) if rows else "",
            "lines": [line for line in lines if line.kind in (ARM, MODEL, BESIDE)],
            "students": [line for line in lines if line.kind == STUDENT],
            "tasks": [line for line in lines if line.kind == TASK and line.harness != SCOUT],
            "scans": [line for line in lines if line.harness == SCOUT],
            "questions": questions,
            "learning": self._learning(first),
            "doses": self._doses(first),
            "lineage": list(self._lineage(first)),
            "replies": list(self._replies(rows)),
            "checks": list(self._checks(first, rows)),
            "commands": list(_commands(rows)),
            "logs": list(self._logs(rows)),
            "log_folders": _log_folders(rows),
        }

    # ------------------------------------------------ answers by question

    def _questions(self, lines: Sequence[Line]) -> Iterator[dict[str, Any]]:
        """For every probe: a row a question, with the students', the control's and the base's share."""
        for line in lines:
            if line.kind in (ARM, MODEL) and line.answer:
                who = self._by_question(line)
                rows = [{"question": q, **{name: held.get(q) for name, held in who.items()}} for q in _order(who)]
                if rows:
                    spec = charts.by_question(rows, list(who))
                    yield {"line": line, "names": list(who), "rows": rows, "chart": spec}

    def shares_by_question(self, line: Line) -> dict[str, float | None]:
        """Question -> share or probability of the line's answer, mean over its students; empty where unknown."""
        if not line.answer:
            return {}
        same = [row for row in self._alike.get(_about(line), ()) if home_of(row) == home(line)]
        return self._means([row for row in same if line.kind == ARM or row.source == line.source], line)

    def _by_question(self, line: Line) -> dict[str, dict[str, float | None]]:
        """Who -> question -> mean over their students."""
        same = self._alike.get(_about(line), [])
        ours = [r for r in same if home_of(r) == home(line) and (line.kind == ARM or r.source == line.source)]
        who = {("students" if line.kind == ARM else "model"): ours}
        if line.control:
            who["control"] = [row for row in same if (row.run, row.arm) == (line.run, line.control)]
        if line.role != "base":
            who["base"] = [row for row in same if row.role == "base" and row.model == line.base][:1]
        made = {name: self._means(rows, line) for name, rows in who.items()}
        return {name: held for name, held in made.items() if held}

    def _means(self, rows: Iterable[Row], line: Line) -> dict[str, float | None]:
        held: dict[str, list[float]] = {}
        for row in rows:
            for told in self._table(row):
                value = told[line.measure].get(line.answer)
                if value is not None:
                    held.setdefault(told["question"], []).append(value)
        return {question: sum(values) / len(values) for question, values in held.items()}

    def _table(self, row: Row) -> list[dict[str, Any]]:
        """Answers by question of the file behind a row, read once; nothing where it says none."""
        key = (row.source, row.probe)
        if key not in self._tables:
            try:
                scores = self.board.scores(row)
            except SublimError:
                scores = None
            self._tables[key] = [] if scores is None else by_question(scores)
        return self._tables[key]

    # ------------------------------------------------ how it was made

    def _runs(self, line: Line) -> list[RunFolder]:
        """The runs behind a line: several where they differ in their seeds alone."""
        return [run for run in self.board.runs if self._first.get(run.name, run.name) == line.run]

    def _learning(self, line: Line) -> charts.Spec | None:
        from sublim_eval.report.plots.learning_curves import curves

        if not line.trait:
            return None
        every = curves([run.folder for run in self._runs(line)])
        arms = {line.arm, line.control}
        return charts.learning(curve for curve in every if curve.arm in arms and curve.trait == line.trait)

    def _doses(self, line: Line) -> list[dict[str, Any]]:
        """What was given more and more of, each with its chart."""
        made = self.board.comparisons.get(line.run)
        if not made or not line.trait:
            return []
        curves = [one for one in made.doses if one.trait == line.trait]
        return [{"axis": one.axis, "chart": charts.dose(one, made.delta)} for one in curves]

    def _lineage(self, line: Line) -> Iterator[Step]:
        """Base, teachers, rows and students of an arm; of another model what is known of it."""
        runs = self._runs(line)
        if not runs:
            yield Step("model", line.model, "", {}, {"base": line.base or "unknown", "role": line.role})
        steps: list[Step] = []
        for run in runs:
            steps += [step for step in self._of_run(line, run.record, run.folder) if step not in steps]
        yield from sorted(steps, key=lambda step: ("base", "teacher", "rows", "student").index(step.what))

    def _of_run(self, line: Line, record: Mapping[str, Any], folder: Path) -> Iterator[Step]:
        arm = (record.get("arms") or {}).get(line.arm, {})
        for base in record.get("bases", ()):
            if base.get("name") == line.base or base.get("name") == arm.get("teacher_base"):
                yield Step("base", str(base["name"]), "", _hashes(base, "weights_hash"), {})
        for teacher in record.get("teachers", ()):
            if arm.get("trait") and teacher.get("trait") == arm["trait"]:
                facts = _facts(teacher, "by", "method", "seed", "examples", "steps", "share")
                yield self._step("teacher", teacher, folder, facts)
        for rows in record.get("rows", ()):
            if arm.get("source") and rows.get("source") == arm["source"]:
                yield self._step("rows", rows, folder, _facts(rows, "source", "seed", "raw", "kept"))
        for student in record.get("students", ()):
            if student.get("arm") == line.arm and not student.get("failed"):
                facts = _facts(student, "seed", "method", "examples", "steps", "effective_batch")
                yield self._step("student", student, folder, facts)

    def _step(self, what: str, entry: Mapping[str, Any], run: Path, facts: Mapping[str, Any]) -> Step:
        place = str(entry.get("folder", ""))
        within = place and (run / place).resolve().is_relative_to(run.resolve())
        names = ("made", "rows", "prompts_hash", "template_hash")
        return Step(
            what, Path(place).name or what, self._href(run / place) if within else "", _hashes(entry, *names), facts
        )

    def _href(self, place: Path) -> str:
        """A relative link to something on this disk; "" where it is not there."""
        try:
            if not place.exists():
                return ""
            return quote(Path(os.path.relpath(place.resolve(), (self.out / "models").resolve())).as_posix())
        except (OSError, ValueError):
            return ""

    # ------------------------------------------------ evidence

    def _replies(self, rows: Iterable[Row]) -> Iterator[replies.Reply]:
        """Replies of a few students, one probe after the other."""
        seen: dict[tuple[str, str], set[str]] = {}
        for row in rows:
            if row.measure != "share" or row.harness == "compare":
                continue
            models = seen.setdefault((row.probe, row.harness), set())
            if row.source in models or len(models) >= LOOKED_INTO:
                continue
            models.add(row.source)
            yield from replies.of_row(self.board, row)

    def _checks(self, line: Line, rows: Sequence[Row]) -> Iterator[tuple[str, Sequence[Check]]]:
        """What was checked -> every trap's verdict; an empty list says that nothing was."""
        places = (
            [run.name for run in self._runs(line)]
            if line.run
            else list(dict.fromkeys(row.source for row in rows if row.ours))
        )
        for place in places:
            yield place, [_nearest_first(check, line.arm) for check in self.checks.get(place, ())]

    def _logs(self, rows: Iterable[Row]) -> Iterator[dict[str, str]]:
        """Every file that a figure of the model was read from, with its hash."""
        seen: set[str] = set()
        for row in rows:
            for source, digest in ((row.source, row.source_hash), (row.log, "")):
                if source and source not in seen:
                    seen.add(source)
                    place = self.board.files.get(source)
                    href, shown = (self._href(place), self._shown(row, source, place)) if place else ("", "")
                    yield {"source": source, "hash": digest, "href": href, "shown": shown}

    def _shown(self, row: Row, source: str, place: Path) -> str:
        """Where Inspect shows a log; "" without a viewer, and for what is no log of its."""
        return self.viewer.href(place) if self.viewer and source in _logs_of(row) else ""


def _logs_of(row: Row) -> tuple[str, ...]:
    """The Inspect logs behind a row."""
    return tuple(filter(None, (row.log, row.source if row.harness == "inspect" else "")))


def _log_folders(rows: Iterable[Row]) -> list[str]:
    """The folders of the Inspect logs of a model, for `inspect view`."""
    return list(dict.fromkeys(log.rpartition("/")[0] or "." for row in rows for log in _logs_of(row)))


def _nearest_first(check: Check, arm: str) -> Check:
    """The check with what decides its verdict first, and of that what speaks of this arm."""

    def place(finding: tuple[str, str, str]) -> tuple[bool, bool]:
        level, where, _ = finding
        return level != check.level, not re.search(rf"(^|[/ ]){re.escape(arm)}(-s\d+)?($|[, ])", where)

    return check._replace(findings=sorted(check.findings, key=place))


def home_of(row: Row) -> str:
    """The model on whose page a row stands."""
    return f"{row.run}/{row.arm}" if row.run and row.arm else row.model


def _about(one: Row | Line) -> tuple[str, ...]:
    """What must be the same of two figures that stand side by side, question by question."""
    return one.probe, one.version, one.question_set, one.answer, one.measure


def _order(who: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(question for held in who.values() for question in held))


def _hashes(entry: Mapping[str, Any], *names: str) -> dict[str, str]:
    return {name.removesuffix("_hash"): str(entry[name]) for name in names if entry.get(name)}


def _facts(entry: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name.replace("_", " "): entry[name] for name in names if entry.get(name) is not None}


def _commands(rows: Sequence[Row]) -> Iterator[str]:
    """Commands that make the figures again, each once."""
    yield from dict.fromkeys(row.command for row in rows if row.command)
    records = [row.source for row in rows if row.harness == "compare" and row.source.endswith(f"/{RECORD}")]
    yield from dict.fromkeys(f"sublim check {source.rpartition('/')[0]}" for source in records)
