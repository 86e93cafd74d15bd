"""`sublim report`: one experiment as Markdown and as a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from sublim_eval.cli.verb import FILE, argument, option, out_option, verb
from sublim_eval.console import say

if TYPE_CHECKING:
    from rich.console import Console


@verb("report")
@argument("runs", type=FILE, nargs=-1, required=True, metavar="RUN...", help="run folder, see `sublim run`")
@out_option("report, in the first run's folder")
@option("--delta", type=float, default=0.05, metavar="D", help="a gap within ±D is none (0.05)")
@option(
    "--measure", type=click.Choice(("auto", "probability", "share")), default="auto", help="exact or sampled (auto)"
)
def report(
    console: Console,
    *,
    runs: tuple[Path, ...],
    out: Path | None,
    delta: float,
    measure: Literal["auto", "probability", "share"],
) -> dict[str, Any]:
    """Write the report; returns where its parts lie, with the verdicts."""
    from sublim_eval.compare import wording
    from sublim_eval.report import run_report

    comparison, written = run_report.of_runs(runs, out or runs[0] / "report", delta=delta, measure=measure)
    for row in comparison.rows:
        say(console, wording.sentence(row))
    say(console, f"Figures (PNG and SVG): {len(written.figures) // 2}. Tables: {', '.join(map(str, written.tables))}.")
    say(console, f"Report: {written.markdown}")
    say(console, f"Page: {written.page}")
    return {
        "page": str(written.page),
        "markdown": str(written.markdown),
        "figures": [str(file) for file in written.figures],
        "tables": [str(file) for file in written.tables],
        "comparison": comparison.to_json(),
    }
