"""Results from anywhere, as a table of counts: trait, arm, seed, question, hits, n -> runs as `compare` reads them.

Strict: a line that is not what it should be is refused with its number, never guessed at. A question of which
nothing was asked (n = 0) is unscored, and a question that is unscored in one student counts in none.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sublim_eval.compare.pairing import Case, cases
from sublim_eval.compare.run_folder import RecordedArm, Run
from sublim_eval.errors import SublimError
from sublim_eval.scores.probe_scores import ProbeScores

COLUMNS = ("trait", "arm", "seed", "question", "hits", "n")

LARGEST = 10**12
"""A count above it is no count of replies but a slip."""

_WHOLE = re.compile(r"-?[0-9]{1,15}")


@dataclass(frozen=True)
class Line:
    """One line of the table: `hits` of `n` replies of one student to one question showed the trait."""

    number: int
    trait: str
    arm: str
    seed: int
    question: str
    hits: int
    n: int


def lined_up(path: Path, control: str = "control") -> list[Case]:
    """Every arm but the control, trait by trait, against the control's students of that trait.

    Raises SublimError for a table that cannot be read, for one without a control or without another arm, and where
    no question is scored in every student of a trait.
    """
    by_trait: dict[str, list[Line]] = {}
    for line in read(path):
        by_trait.setdefault(line.trait, []).append(line)
    arms = {trait: list(dict.fromkeys(line.arm for line in lines)) for trait, lines in by_trait.items()}
    for trait, names in arms.items():
        if control not in names:
            raise SublimError(
                f"{path}: there is no arm {control!r} for trait {trait!r}, only {', '.join(names[:5])}; drift cannot "
                "be told from the trait. Add its lines, or name the control with --control."
            )
        if len(names) == 1:
            raise SublimError(
                f"{path}: trait {trait!r} has no arm beside {control!r}, so there is nothing to compare. "
                "Add the lines of the students that were to learn it."
            )
    return [case for trait, lines in by_trait.items() for case in cases(_run(path, trait, lines, control))]


def read(path: Path) -> list[Line]:
    """The lines of a CSV file (UTF-8, with or without a byte-order mark; quoted fields; further columns ignored).

    Raises SublimError with the line's number for whatever is missing, no whole number, impossible or given twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            text = file.read()
    except FileNotFoundError:
        raise SublimError(f"There is no table {str(path)!r}. Give a CSV file with the columns {_named()}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SublimError(f"{path} cannot be read as UTF-8 text ({error}). Save it as CSV in UTF-8.") from None
    found = list(_lines(path, text))
    if not found:
        raise SublimError(f"{path} holds no figures. Give at least one line below its heads.")
    first: dict[tuple[str, str, int, str], int] = {}
    for line in found:
        key = (line.trait, line.arm, line.seed, line.question)
        if key in first:
            raise SublimError(
                f"{path}:{line.number}: trait {line.trait!r}, arm {line.arm!r}, seed {line.seed}, question "
                f"{line.question!r} was given on line {first[key]} already. Add the counts up, or leave one out."
            )
        first[key] = line.number
    return found


def _lines(path: Path, text: str) -> Iterator[Line]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    places: dict[str, int] | None = None
    number = 0
    try:
        for cells in reader:
            number, end = number + 1, reader.line_num
            if not any(cell.strip() for cell in cells):
                number = end
                continue
            if places is None:
                places, heads = _places(path, cells), len(cells)
            elif len(cells) != heads:
                raise SublimError(f"{path}:{number}: {len(cells)} fields under {heads} heads. Mend that line.")
            else:
                yield _line(path, number, {name: cells[place].strip() for name, place in places.items()})
            number = end  # a quoted field may hold line breaks
    except csv.Error as error:
        raise SublimError(f"{path}:{reader.line_num}: not valid CSV ({error}). Mend that line.") from None
    if places is None:
        raise SublimError(f"{path} is empty. Give a CSV file with the columns {_named()}.")


def _places(path: Path, heads: Sequence[str]) -> dict[str, int]:
    """Column name -> where it stands; further columns are nobody's business."""
    names = [head.strip().lower() for head in heads]
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise SublimError(
            f"{path}:1: no column {', '.join(missing)}. The first line names the columns, with commas: {_named()}."
        )
    if twice := [name for name in COLUMNS if names.count(name) > 1]:
        raise SublimError(f"{path}:1: column {twice[0]!r} is there twice. Leave one out.")
    return {name: names.index(name) for name in COLUMNS}


def _line(path: Path, number: int, cells: Mapping[str, str]) -> Line:
    for name in ("trait", "arm", "question"):
        if not cells[name]:
            raise SublimError(f"{path}:{number}: `{name}` is empty. Mend that line.")
    counts = {name: _whole(path, number, name, cells[name]) for name in ("seed", "hits", "n")}
    hits, n = counts["hits"], counts["n"]
    if not 0 <= hits <= n <= LARGEST:
        raise SublimError(f"{path}:{number}: {hits} hits of {n} replies cannot be. Mend that line: 0 <= hits <= n.")
    return Line(number, cells["trait"], cells["arm"], counts["seed"], cells["question"], hits, n)


def _whole(path: Path, number: int, name: str, text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise SublimError(f"{path}:{number}: `{name}` must be a whole number, not {text[:40]!r}. Mend that line.")
    return int(text)


def _named() -> str:
    return ", ".join(COLUMNS)


# ---------------------------------------------------------------- from lines to what compare reads


def _run(path: Path, trait: str, lines: Sequence[Line], control: str) -> Run:
    """The students of one trait."""
    counts: dict[tuple[str, int], dict[str, tuple[int, int]]] = {}
    for line in lines:
        counts.setdefault((line.arm, line.seed), {})[line.question] = (line.hits, line.n)
    asked = dict.fromkeys(line.question for line in lines)
    common = [q for q in asked if all(answers.get(q, (0, 0))[1] for answers in counts.values())]
    if not common:
        raise SublimError(
            f"{path}: no question of trait {trait!r} is scored (n above 0) in every student. "
            "Ask all students the same questions, or leave out the students that were asked others."
        )
    students: dict[str, dict[int, dict[str, ProbeScores]]] = {}
    for (arm, seed), answers in sorted(counts.items()):
        scored = _scores(f"{arm} seed {seed}", trait, [(q, *answers[q]) for q in common])
        students.setdefault(arm, {})[seed] = {trait: scored}
    arms = {
        name: RecordedArm(
            name,
            "control" if name == control else "trait",
            None if name == control else trait,
            "",
            control,
        )
        for name in dict.fromkeys(line.arm for line in lines)
    }
    return Run(trait, (), arms, students, {name: {} for name in arms}, {}, {}, unscored=len(asked) - len(common))


def _scores(model: str, trait: str, answers: Sequence[tuple[str, int, int]]) -> ProbeScores:
    """Sampled shares of one student; what a table cannot say is nan or empty."""
    hits, n = (np.array([answer[i] for answer in answers], dtype=np.int64) for i in (1, 2))
    none, unknown = np.zeros(len(answers), dtype=np.int64), np.full(len(answers), np.nan)
    return ProbeScores(
        model=model,
        probe=trait,
        version="",
        category="",
        questions=tuple(answer[0] for answer in answers),
        answers=(trait,),
        probability=unknown[:, None],
        coverage=unknown,
        share=(hits / n)[:, None],
        replies=n,
        non_answers=none,
        other=n - hits,
        unreadable=none,
        questions_hash="",
        prompt_hash="",
        source="table",
    )
