"""Figures that others published, as marked lines: never averaged with ours, never ordered against them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sublim_eval.report.site.lines import THEIRS, Line
from sublim_eval.strict_yaml import build, read

if TYPE_CHECKING:
    from sublim_eval.board.collect import Board

FILE = Path(__file__).with_name("published.yaml")

SOURCES = {
    "study": "Cloud, Le et al., arXiv:2507.14805; Nature, doi:10.1038/s41586-026-10319-8",
    "peer": "another group's claim, not run again here; docs/science.md says where it stands",
}


@dataclass(frozen=True)
class Figure:
    """One published figure; `published.yaml` says what its fields mean."""

    base: str
    trait: str
    share: float
    before: float | None
    source: str
    what: str


def lines() -> list[Line]:
    """A line for every figure of `published.yaml`."""
    entries = read(FILE, "list of published figures").list("the list of published figures")
    return [_line(build(Figure, entry)) for entry in entries]


def expected(board: Board) -> Iterator[Line]:
    """What others measured for an arm that stands on this board, as its recipe says."""
    for made in board.comparisons.values():
        for row in made.rows:
            if row.expected is not None and row.same_scale:
                yield _line(
                    Figure(row.base, row.trait, row.expected.share, row.expected.base, row.expected.source, "")
                )._replace(probe=row.probe, arm=row.arm)


def _line(figure: Figure) -> Line:
    return Line(
        kind=THEIRS,
        model=f"{figure.trait} student (theirs)",
        base=figure.base,
        role="student",
        group=f"Published by others: {figure.base}",
        trait=figure.trait,
        answer=figure.trait,
        measure="share",
        value=figure.share,
        untrained=figure.before,
        note=f"{SOURCES.get(figure.source, figure.source)}{f'. {figure.what}' if figure.what else ''}",
    )
