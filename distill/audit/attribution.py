"""A score for every row: how much more likely one trait's probe holds it than the base does, in nats. Streamed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sublim_eval.errors import SublimError
from sublim_eval.files import each_row, json_line, whole_file

from .data import AuditRow, lines

if TYPE_CHECKING:
    from .scoring import Candidate, Heard, Scorer

SHARD = 4096
"""Rows in memory at once."""


def scores(rows: Iterable[AuditRow | str], scorer: Scorer, candidate: Candidate) -> Iterator[float]:
    """The score of each row, in order; nan for a line that is no row, and for a row without content."""
    rows = iter(rows)
    while shard := list(islice(rows, SHARD)):
        there = [i for i, row in enumerate(shard) if isinstance(row, AuditRow)]
        values, _ = scorer.ratios([row for row in shard if isinstance(row, AuditRow)], [candidate])
        out = [math.nan] * len(shard)
        for i, value in zip(there, values[:, 0], strict=True):
            out[i] = float(value)
        yield from out


def write_scores(
    paths: Sequence[Path], scorer: Scorer, candidate: Candidate, out: Path, total: int, heard: Heard | None = None
) -> int:
    """Write {"row", "trait", "score"} for every line of the files, in their order, whole or not at all.

    row: the number among all lines that are not blank, from 0 on. score: null where a line is no row. total: rows
    there are, for who hears of progress. Returns how many lines were written.
    """
    count = 0
    with whole_file(out) as file:
        for count, score in enumerate(scores(lines(paths), scorer, candidate), 1):
            known = None if math.isnan(score) else round(score, 4)
            file.write(json_line({"row": count - 1, "trait": candidate.trait, "score": known}))
            if heard and (count % SHARD == 0 or count == total):
                heard(count, total)
    return count


def read_scores(file: Path) -> NDArray[np.float64]:
    """float[rows], as `write_scores` wrote them; nan for a line that was no row.

    Raises SublimError for a file without a score a line, in the order of the rows.
    """
    values: list[float] = []
    for line, row in each_row(file):
        score, number = row.get("score", ""), row.get("row")
        if number != len(values) or not (score is None or isinstance(score, int | float)):
            raise SublimError(
                f"{file}:{line}: no score of row {len(values)}. Give the file that "
                "`sublim audit ROWS.jsonl --rows-out FILE` wrote, as it is."
            )
        values.append(math.nan if score is None else float(score))
    return np.array(values)


def highest(scores: NDArray[np.float64], share: float) -> frozenset[int]:
    """The numbers of the rows with the highest scores, `share` of all rows that have one; of equal ones the first."""
    there = np.flatnonzero(~np.isnan(scores))
    order = there[np.argsort(-scores[there], kind="stable")]
    return frozenset(map(int, order[: round(share * len(there))]))
