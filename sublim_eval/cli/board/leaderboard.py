"""`sublim leaderboard`: results of any mixture as pages that open from disk."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sublim_eval.cli.board import watch as watching
from sublim_eval.cli.board.export import collected, reading, tell
from sublim_eval.cli.verb import COUNT, FILE, argument, option, out_option, verb
from sublim_eval.console import one_line, say
from sublim_eval.errors import SublimError
from sublim_eval.registry.experiment import RECORD

if TYPE_CHECKING:
    from rich.console import Console

    from sublim_eval.board.collect import Board
    from sublim_eval.report.site.facts import Check, Viewer


@verb("leaderboard")
@argument("places", type=FILE, nargs=-1, required=True, metavar="DIR...", help="folders or files that hold results")
@out_option("site")
@option("--title", metavar="TEXT", default="Leaderboard", help="what stands above the page (Leaderboard)")
@option("--no-checks", is_flag=True, help="leave out the traps; every page then says that nothing was checked")
@option("--watch", type=COUNT, metavar="SECONDS", help="look again every so many seconds, until Ctrl-C")
@option("--view", metavar="URL", help="where `inspect view` shows the logs, such as http://127.0.0.1:7575: link to it")
@option("--cache", type=FILE, metavar="FILE", help="where readings are kept (in your cache folder)")
def leaderboard(
    console: Console,
    *,
    places: tuple[Path, ...],
    out: Path | None,
    title: str,
    no_checks: bool,
    watch: int | None,
    view: str | None,
    cache: Path | None,
) -> dict[str, Any]:
    """Read the places into one table and write the pages; returns where they lie, and what was left out."""
    from sublim_eval.report.site.build import Live, build

    viewer, checked = _viewer(view, places, console), _Checks()

    def write(board: Board, live: Live | None = None) -> dict[str, Any]:
        checks = {} if no_checks else checked.of(board, console)
        made = build(board, out or Path("site"), checks=checks, title=title, live=live, viewer=viewer)
        say(console, f"{made.lines:,} lines, {made.pages:,} pages, {made.size / 1e6:.1f} MB")
        say(console, f"Page: {made.page}")
        left_out = [list(x) for x in board.left_out]
        return {"page": str(made.page), "pages": made.pages, "lines": made.lines, "left_out": left_out}

    if watch is None:
        return write(reading(places, cache, console))

    def show(board: Board, stamp: str) -> None:
        tell(board, console)
        write(board, Live(watch, stamp))

    say(console, f"Looking every {watch} s; Ctrl-C ends it.")
    with contextlib.suppress(KeyboardInterrupt):
        watching.watch(lambda: collected(places, cache, console), show, lambda: time.sleep(watch), console)
    return {"page": str((out or Path("site")) / "index.html")}


def _viewer(address: str | None, places: Sequence[Path], console: Console) -> Viewer | None:
    """Where Inspect shows the logs; raises SublimError for what is no address of a page."""
    from sublim_eval.report.site.facts import Viewer

    if address is None:
        return None
    if not re.fullmatch(r"https?://[^\s\"'<>]+", address):
        raise SublimError(f"{address!r} is no address of a page. Give one such as http://127.0.0.1:7575.")
    folder = watching.common_folder(places)
    say(console, f"Links lead to {address}; start it with: inspect view start --log-dir {folder}")
    return Viewer(address, folder)


class _Checks:
    """What the traps say of every run, and of every log and score file outside of runs; a quick look at each, once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], list[Check]] = {}

    def of(self, board: Board, console: Console) -> dict[str, list[Check]]:
        """Run or file -> what every trap says of it; one that cannot be looked at is named on standard error."""
        from rich.progress import track

        from sublim_eval.board.cache import stamp

        places = {run.name: run.folder for run in board.runs}
        outside = {row.source for row in board.rows if row.ours and not row.run and row.harness in OUTSIDE}
        places |= {source: board.path(source) for source in sorted(outside)}
        made = {}
        quiet = not console.is_terminal
        for name, place in track(places.items(), "looking for traps", console=console, transient=True, disable=quiet):
            key = name, stamp([place / RECORD if place.is_dir() else place])
            try:
                made[name] = self._known[key] if key in self._known else _checked(place)
                self._known[key] = made[name]
            except SublimError as error:
                print(f"sublim: {one_line(error)}", file=sys.stderr)
        return made


OUTSIDE = ("inspect", "replies")
"""Harnesses whose files outside of runs are checked on their own."""


def _checked(place: Path) -> list[Check]:
    """Every trap's verdict on a run folder or file."""
    from sublim_eval.report.site.facts import Check
    from sublim_eval.traps import checks

    grouped = checks.by_trap(checks.of_path(place, fast=True))
    return [
        Check(trap, checks.TRAPS[trap], checks.verdict(held), [(f.level, f.where, f.words) for f in held])
        for trap, held in grouped.items()
    ]
