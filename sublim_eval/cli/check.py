"""`sublim check`: the traps that fooled others, looked for in runs, students, rows, scores and logs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sublim_eval.cli.verb import FILE, argument, option, verb
from sublim_eval.console import say, table

if TYPE_CHECKING:
    from rich.console import Console

    from sublim_eval.traps.checks import Finding

SHOWN = 5
"""Places of one trap that are told in full; --json holds all of them."""


@verb("check")
@argument(
    "paths",
    type=FILE,
    nargs=-1,
    required=True,
    metavar="RUN...",
    help="run or student folder, rows, score file or Inspect log",
)
@option("--quick", is_flag=True, help="leave out raw rows, saved replies and huge weight files")
def check(
    console: Console,
    *,
    paths: tuple[Path, ...],
    quick: bool,
) -> dict[str, Any]:
    """Print a table of traps for every path; "ok" is False, and the exit code 1, when one of them holds a fault."""
    from sublim_eval.traps import checks

    checked = []
    for path in paths:
        by_trap = checks.by_trap(checks.of_path(path, fast=quick))
        table(
            console, ("trap", "verdict", "places", "what was seen"), [_row(t, f) for t, f in by_trap.items()], str(path)
        )
        for trap, findings in by_trap.items():
            _tell(trap, findings, console)
        every = [f for findings in by_trap.values() for f in findings]
        checked.append(
            {
                "path": str(path),
                "worst": checks.worst(every),
                "traps": {trap: checks.verdict(findings) for trap, findings in by_trap.items()},
                "findings": [f.to_json() for f in every],
            }
        )
        say(console)
    return {"schema": 1, "ok": all(one["worst"] != "fault" for one in checked), "quick": quick, "checked": checked}


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
