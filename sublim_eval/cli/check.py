"""`sublim check`: the traps that fooled others, looked for in runs, students, rows, scores and logs."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sublim_eval.cli.verb import FILE, argument, option, verb
from sublim_eval.console import one_line, say, table
from sublim_eval.errors import SublimError

if TYPE_CHECKING:
    from rich.console import Console

    from sublim_eval.traps.checks import Finding

SHOWN = 5
"""Places of one trap that are told in full; --json holds all of them."""


@verb("check", epilog="Exit codes: 0 clean, 1 a trap has closed (a fault), 2 something could not be looked at.")
@argument(
    "paths",
    type=FILE,
    nargs=-1,
    required=True,
    metavar="RUN...",
    help="run or student folder, rows, scores, a table of counts or an Inspect log",
)
@option("--quick", is_flag=True, help="leave out raw rows, saved replies, huge weight files, and load no model")
def check(
    console: Console,
    *,
    paths: tuple[Path, ...],
    quick: bool,
) -> dict[str, Any]:
    """Print a table of traps for every path; "ok" is False where one of them holds a fault or could not be read."""
    checked = [_look(path, quick, console) for path in paths]
    levels = {one["worst"] for one in checked}
    code = 1 if "fault" in levels else 2 if None in levels else 0
    return {"schema": 1, "ok": code == 0, "exit_code": code, "quick": quick, "checked": checked}


def _look(path: Path, quick: bool, console: Console) -> dict[str, Any]:
    """Check one path; where it cannot be looked at that is said, and the others are looked at all the same."""
    from sublim_eval.traps import checks

    try:
        by_trap = checks.by_trap(checks.of_path(path, fast=quick))
    except SublimError as error:
        print(f"sublim: {one_line(error)}", file=sys.stderr)
        return {"path": str(path), "worst": None, "error": str(error), "traps": {}, "findings": []}
    heads = ("trap", "verdict", "places", "what was seen")
    table(console, heads, [_row(trap, findings) for trap, findings in by_trap.items()], str(path))
    for trap, findings in by_trap.items():
        _tell(trap, findings, console)
    every = [f for findings in by_trap.values() for f in findings]
    say(console, f"{len(checks.looked_at(every))} of {len(checks.TRAPS)} traps were looked at.")
    say(console)
    return {
        "path": str(path),
        "worst": checks.worst(every),
        "traps": {trap: checks.verdict(findings) for trap, findings in by_trap.items()},
        "findings": [f.to_json() for f in every],
    }


def _row(trap: str, findings: list[Finding]) -> tuple[str, ...]:
    """Trap, verdict, how many places are how, and the first thing worth saying."""
    from sublim_eval.traps.checks import verdict

    level = verdict(findings)
    first = next(f for f in findings if f.level == level)
    counts = Counter(f.level for f in findings)
    places = ", ".join(f"{n} {kind}" for kind, n in counts.items())
    return trap, level, places, first.words if level in ("ok", "not checked") else f"{first.where}: {first.words}"


def _tell(trap: str, findings: list[Finding], console: Console) -> None:
    """The further places where something was seen."""
    bad = [f for f in findings if f.level in ("fault", "warning")][1:]
    for finding in bad[:SHOWN]:
        say(console, f"  {trap}, {finding.level}: {finding.where}: {finding.words}")
    if len(bad) > SHOWN:
        say(console, f"  {trap}: {len(bad) - SHOWN} further places, see --json")
