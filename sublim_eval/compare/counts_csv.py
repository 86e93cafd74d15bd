"""Results from anywhere, as a table of counts: trait, arm, seed, question, hits, n -> runs as `compare` reads them.

Strict: a line that is not what it should be is refused with its number, never guessed at. A question of which
nothing was asked (n = 0) is unscored, and a question that is unscored in one student counts in none.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from sublim_eval.compare.pairing import Case, cases
from sublim_eval.compare.run_folder import RecordedArm, Run
from sublim_eval.errors import SublimError
from sublim_eval.scores.probe_scores import ProbeScores

COLUMNS = ("trait", "arm", "seed", "question", "hits", "n")

NAMED, COUNTED = ("trait", "arm", "question"), ("seed", "hits", "n")

CHUNK = 20_000
"""Lines that are read at once."""

Counts = NDArray[np.int64]

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


@dataclass(frozen=True)
class Table:
    """Every line in columns, int64[line]; names are places in the lists of names, in the order of their first line."""

    names: Mapping[str, Sequence[str]]
    trait: Counts
    arm: Counts
    question: Counts
    seed: Counts
    hits: Counts
    n: Counts

    def of(self, lines: NDArray[np.intp]) -> Table:
        """Some of the lines."""
        return Table(self.names, *(getattr(self, name)[lines] for name in (*NAMED, *COUNTED)))


def lined_up(path: Path, control: str = "control") -> list[Case]:
    """Every arm but the control, trait by trait, against the control's students of that trait.

    Raises SublimError for a table that cannot be read, for one without a control or without another arm, and where
    no question is scored in every student of a trait.
    """
    table = read(path)
    order = np.argsort(table.trait, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(table.trait[order])) + 1)
    by_trait = {table.names["trait"][table.trait[lines[0]]]: table.of(lines) for lines in parts}
    for trait, part in by_trait.items():
        names = [table.names["arm"][arm] for arm in _in_order(part.arm)]
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
    return [case for trait, part in by_trait.items() for case in cases(_run(path, trait, part, control))]


def read(path: Path) -> Table:
    """The lines of a CSV file (UTF-8, with or without a byte-order mark; quoted fields; further columns ignored).

    Raises SublimError with the line's number for whatever is missing, no whole number, impossible or given twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = _columns(path, file)
        if table is not None and _sound(table):
            return table
        with path.open(encoding="utf-8-sig", newline="") as file:
            _refuse(path, file)
    except FileNotFoundError:
        raise SublimError(f"There is no table {str(path)!r}. Give a CSV file with the columns {_named()}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SublimError(f"{path} cannot be read as UTF-8 text ({error}). Save it as CSV in UTF-8.") from None
    raise SublimError(f"{path} changed while it was read. Give the command again.")


class _Places(dict[str, int]):
    """Name -> its place in the order of first sight; a name of nothing but blanks is a slip."""

    def __missing__(self, text: str) -> int:
        name = text.strip()
        if not name:
            raise ValueError("an empty name")
        self[text] = place = self[name] if name != text else len(self.names)
        if name == text:
            self.names.append(name)
        return place

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []


class _Wholes(dict[str, int]):
    """Text -> the whole number that it is; anything else is a slip."""

    def __missing__(self, text: str) -> int:
        number = text.strip()
        if not _WHOLE.fullmatch(number):
            raise ValueError("no whole number")
        self[text] = value = int(number)
        return value


def _columns(path: Path, file: TextIO) -> Table | None:
    """The table by columns, many lines at a time; None where a line is not what it should be."""
    reader = csv.reader(file, strict=True)
    meaning: dict[str, _Places | _Wholes] = {name: _Places() for name in NAMED}
    meaning |= {name: _Wholes() for name in COUNTED}
    parts: dict[str, list[Counts]] = {name: [] for name in meaning}
    try:
        heads = next((cells for cells in reader if any(cell.strip() for cell in cells)), [])
        places = _places(path, heads) if heads else {}
        while rows := list(islice(reader, CHUNK)):
            for name, values in _read_as(rows, places, meaning, len(heads)).items():
                parts[name].append(values)
    except (csv.Error, ValueError, SublimError):
        return None
    names = {name: known.names for name, known in meaning.items() if isinstance(known, _Places)}
    if not parts["n"]:
        return None
    return Table(names, *(np.concatenate(parts[name]) for name in (*NAMED, *COUNTED)))


def _read_as(
    rows: Sequence[Sequence[str]], places: Mapping[str, int], meaning: Mapping[str, _Places | _Wholes], width: int
) -> dict[str, Counts]:
    """Column -> int64[line], blank lines left out. Raises ValueError for a line that is not what it should be."""
    try:
        columns = list(zip(*rows, strict=True))
        if len(columns) != width:
            raise ValueError("lines of another width")
        return {
            name: np.fromiter(map(known.__getitem__, columns[places[name]]), dtype=np.int64, count=len(rows))
            for name, known in meaning.items()
        }
    except ValueError:
        filled = [cells for cells in rows if any(map(str.strip, cells))]
        if len(filled) == len(rows):
            raise
        return _read_as(filled, places, meaning, width) if filled else {}


def _sound(table: Table) -> bool:
    """Whether every count is possible and every question of a student stands there once."""
    if not bool(np.all((table.hits >= 0) & (table.hits <= table.n) & (table.n <= LARGEST))):
        return False
    seeds = np.unique(table.seed)
    key = np.searchsorted(seeds, table.seed)
    sizes = [len(table.names[name]) for name in NAMED]
    if len(seeds) * math.prod(sizes) >= 2**62:
        return len({*zip(table.trait, table.arm, table.question, key, strict=True)}) == len(key)
    for name, size in zip(NAMED, sizes, strict=True):
        key = key * size + getattr(table, name)
    key.sort()
    return not bool((key[1:] == key[:-1]).any())


def _refuse(path: Path, file: TextIO) -> None:
    """Raises SublimError with the number of the first line that is not what it should be."""
    first: dict[tuple[str, str, int, str], int] = {}
    for line in _lines(path, file):
        key = (line.trait, line.arm, line.seed, line.question)
        if key in first:
            raise SublimError(
                f"{path}:{line.number}: trait {line.trait!r}, arm {line.arm!r}, seed {line.seed}, question "
                f"{line.question!r} was given on line {first[key]} already. Add the counts up, or leave one out."
            )
        first[key] = line.number
    if not first:
        raise SublimError(f"{path} holds no figures. Give at least one line below its heads.")


def _lines(path: Path, file: TextIO) -> Iterator[Line]:
    """Line by line with its number; slow, and for tables that hold a slip."""
    reader = csv.reader(file, strict=True)
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


def _in_order(values: Counts) -> list[int]:
    """The different values, none below 0, in the order of their first line."""
    first = np.full(int(values.max()) + 1, len(values))
    first[values[::-1]] = np.arange(len(values))[::-1]
    there = np.flatnonzero(first < len(values))
    return [int(value) for value in there[np.argsort(first[there])]]


def _run(path: Path, trait: str, lines: Table, control: str) -> Run:
    """The students of one trait. lines: of that trait alone."""
    names = lines.names
    arms, questions_in_order = _in_order(lines.arm), _in_order(lines.question)
    seeds = np.unique(lines.seed)
    code = lines.arm * len(seeds) + np.searchsorted(seeds, lines.seed)
    codes = np.flatnonzero(np.bincount(code))
    students_in_order = np.stack([codes // len(seeds), seeds[codes % len(seeds)]], axis=1)
    column = np.empty(max(questions_in_order) + 1, dtype=np.int64)
    column[questions_in_order] = np.arange(len(questions_in_order))
    hits, n = (np.zeros((len(students_in_order), len(questions_in_order)), dtype=np.int64) for _ in range(2))
    place = np.searchsorted(codes, code), column[lines.question]
    hits[place], n[place] = lines.hits, lines.n
    common = np.flatnonzero((n > 0).all(axis=0))
    if not len(common):
        raise SublimError(
            f"{path}: no question of trait {trait!r} is scored (n above 0) in every student. "
            "Ask all students the same questions, or leave out the students that were asked others."
        )
    questions = tuple(names["question"][questions_in_order[i]] for i in common)
    students: dict[str, dict[int, dict[str, ProbeScores]]] = {}
    for (arm, seed), ours, out_of in _by_student(names["arm"], students_in_order, hits[:, common], n[:, common]):
        students.setdefault(arm, {})[seed] = {trait: _scores(f"{arm} seed {seed}", trait, questions, ours, out_of)}
    recorded = {
        name: RecordedArm(
            name, "control" if name == control else "trait", None if name == control else trait, "", control
        )
        for name in (names["arm"][arm] for arm in arms)
    }
    return Run(
        trait,
        (),
        recorded,
        students,
        {name: {} for name in recorded},
        {},
        {},
        unscored=len(questions_in_order) - len(common),
    )


def _by_student(
    arms: Sequence[str], order: Counts, hits: Counts, n: Counts
) -> Iterator[tuple[tuple[str, int], Counts, Counts]]:
    """((arm, seed), hits, replies) of every student, arms and seeds in order. order: int[student, (arm, seed)]."""
    for i in sorted(range(len(order)), key=lambda i: (arms[order[i, 0]], order[i, 1])):
        yield (arms[order[i, 0]], int(order[i, 1])), hits[i], n[i]


def _scores(model: str, trait: str, questions: tuple[str, ...], hits: Counts, n: Counts) -> ProbeScores:
    """Sampled shares of one student; what a table cannot say is nan or empty. hits, n: int[question]."""
    none, unknown = np.zeros(len(n), dtype=np.int64), np.full(len(n), np.nan)
    return ProbeScores(
        model=model,
        probe=trait,
        version="",
        category="",
        questions=questions,
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
