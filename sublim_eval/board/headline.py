"""Which rows a reader looks at first: of the answers of a probe those that somebody was taught."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sublim_eval.board.columns import Row
from sublim_eval.registry.catalog import registry


def headline(rows: Sequence[Row]) -> list[Row]:
    """Rows about a trait that some model of the table was taught, else about a probe's own; foreign tasks stay.

    Of a student only its own trait counts; of bases, controls and others every trait that somebody was taught.
    """
    taught = {row.trait for row in rows if row.trait}
    return [row for row in rows if _looked_at(row, taught)]


def _looked_at(row: Row, taught: set[str]) -> bool:
    if not row.ours or not row.answer or row.harness == "compare":
        return True
    if row.trait:
        return row.answer == row.trait
    probe = registry().probes.get(row.probe)
    own = probe.trait if probe else None
    return row.answer in taught or row.answer == own


def taught(rows: Iterable[Row]) -> list[str]:
    """The traits of a table, in the order of their first row."""
    return list(dict.fromkeys(row.trait for row in rows if row.trait))
