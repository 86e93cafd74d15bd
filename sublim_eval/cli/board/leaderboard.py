"""`sublim leaderboard`: results of any mixture as pages that open from disk."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sublim_eval.cli.board.export import reading
from sublim_eval.cli.verb import FILE, argument, option, out_option, verb
from sublim_eval.console import one_line, say
from sublim_eval.errors import SublimError

if TYPE_CHECKING:
    from rich.console import Console

    from sublim_eval.board.collect import Board
    from sublim_eval.report.site.facts import Check


@verb("leaderboard")
@argument("places", type=FILE, nargs=-1, required=True, metavar="DIR...", help="folders or files that hold results")
@out_option("site")
@option("--title", metavar="TEXT", default="Leaderboard", help="what stands above the page (Leaderboard)")
@option("--no-checks", is_flag=True, help="leave out the traps; every page then says that nothing was checked")
@option("--cache", type=FILE, metavar="FILE", help="where readings are kept (in your cache folder)")
def leaderboard(
    console: Console, *, places: tuple[Path, ...], out: Path | None, title: str, no_checks: bool, cache: Path | None
) -> dict[str, Any]:
    """Read the places into one table and write the pages; returns where they lie, and what was left out."""
    from sublim_eval.report.site.build import build

    board = reading(places, cache, console)
    checks = {} if no_checks else dict(_checks(board))
    made = build(board, out or Path("site"), checks=checks, title=title)
    say(console, f"{made.lines:,} lines, {made.pages:,} pages, {made.size / 1e6:.1f} MB")
    say(console, f"Page: {made.page}")
    return {
        "page": str(made.page),
        "pages": made.pages,
        "lines": made.lines,
        "left_out": [list(x) for x in board.left_out],
    }


def _checks(board: Board) -> Iterator[tuple[str, list[Check]]]:
    """What the traps say of every run, and of every log and score file outside of runs; a quick look at each."""
    places = {run.name: run.folder for run in board.runs}
    outside = {row.source for row in board.rows if row.ours and not row.run and row.harness in ("inspect", "replies")}
    for name, place in (places | {source: board.path(source) for source in sorted(outside)}).items():
        try:
            yield name, _checked(place)
        except SublimError as error:
            print(f"sublim: {one_line(error)}", file=sys.stderr)


def _checked(place: Path) -> list[Check]:
    """Every trap's verdict on a run folder or file."""
    from sublim_eval.report.site.facts import Check
    from sublim_eval.traps import checks

    grouped = checks.by_trap(checks.of_path(place, fast=True))
    return [
        Check(trap, checks.TRAPS[trap], checks.verdict(held), [(f.level, f.where, f.words) for f in held])
        for trap, held in grouped.items()
    ]
