"""`sublim compare`: students against their controls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from sublim_eval.cli.verb import FILE, argument, option, verb
from sublim_eval.console import say
from sublim_eval.errors import SublimError

if TYPE_CHECKING:
    from rich.console import Console


@verb("compare")
@argument("runs", type=FILE, nargs=-1, metavar="[RUN]...", help="run folder, see `sublim run`")
@option("--table", type=FILE, metavar="FILE.csv", help="figures from anywhere: trait, arm, seed, question, hits, n")
@option("--control", metavar="NAME", help="the control arm of that table (control)")
@option("--delta", type=float, default=0.05, metavar="D", help="a gap within ±D is none (0.05)")
@option(
    "--measure", type=click.Choice(("auto", "probability", "share")), default="auto", help="exact or sampled (auto)"
)
@option("--report", type=FILE, metavar="DIR", help="also write report.md and a figure")
def compare(
    console: Console,
    *,
    runs: tuple[Path, ...],
    table: Path | None,
    control: str | None,
    delta: float,
    measure: Literal["auto", "probability", "share"],
    report: Path | None,
) -> Any:
    """Print gaps, intervals and verdicts of one or several runs, or of a table; draw the report when asked to."""
    from sublim_eval.compare import compare as comparing
    from sublim_eval.report import console_tables as report_table

    if bool(runs) == bool(table):
        raise SublimError("Give run folders, or --table FILE.csv with figures from anywhere: one of the two.")
    if table:
        if measure == "probability":
            raise SublimError("A table of hits holds shares of replies. Leave out --measure probability.")
        comparison = comparing.compare_table(table, control=control or "control", delta=delta)
    else:
        if control:
            raise SublimError("The arms of a run name their controls themselves. --control belongs to --table.")
        comparison = comparing.compare(runs, delta=delta, measure=measure)
    report_table.print_comparison(comparison, console)
    if report:
        from sublim_eval.report import markdown
        from sublim_eval.report.plots import learning_curves, student_shares

        student_shares.draw(comparison, report / "figure.png")
        if learnt := learning_curves.curves(comparison.folders):
            learning_curves.draw(learnt, report / learning_curves.FILE)
        markdown.write(comparison, report)
        say(console, f"Report: {report}")
    return comparison.to_json()
