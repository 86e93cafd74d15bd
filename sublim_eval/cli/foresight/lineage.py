"""`sublim lineage`: do two checkpoints share a base, would a trait pass between them, what did a run come from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sublim_eval.cli.verb import FILE, argument, option, verb
from sublim_eval.console import say, table
from sublim_eval.errors import SublimError

if TYPE_CHECKING:
    from rich.console import Console

    from sublim_eval.distill.lineage.run_lineage import Graph
    from sublim_eval.distill.lineage.transfer import TransferForecast
    from sublim_eval.distill.lineage.verdict import Kinship

UNKNOWN = {"expected": None, "low": None, "high": None}
"""A forecast that could not be made."""


@verb("lineage", epilog="Exit codes: 0 done; 1 a file of the run is not as the run left it.")
@argument("models", nargs=-1, required=True, metavar="A B | RUN")
@option(
    "--by",
    type=click.Choice(("weights", "answers", "samples")),
    help="how it is told (weights, and answers where they cannot be compared; samples: B may be hosted)",
)
@option(
    "--reference", "references", multiple=True, metavar="MODEL", help="one that shares no base with either, as null"
)
@option("--transfer/--no-transfer", default=True, help="whether a trait would pass from A to B")
@option("--draw", type=FILE, metavar="FILE", help="of a run: draw it as .svg or .mmd (Mermaid)")
def lineage(
    console: Console,
    *,
    models: tuple[str, ...],
    by: str | None,
    references: tuple[str, ...],
    transfer: bool,
    draw: Path | None,
) -> dict[str, Any]:
    """Print whether two models share a base, or where everything in a run folder comes from."""
    if len(models) == 1:
        return _of_run(Path(models[0]), draw, console)
    if len(models) != 2:
        raise SublimError("Lineage is told of two models, or of one run folder. Give A B, or RUN.")
    kinship = _kinship(*models, by, references)
    say(console, kinship.words)
    rows = [(t.name, f"{t.p:.2g}", f"{t.z:.1f}", t.seen) for t in kinship.tests]
    table(console, ("evidence", "p", "z or share", "looked at"), rows)
    say(console, f"related: {'yes' if kinship.related else 'no'} (p {kinship.p:.2g}, by {kinship.by})")
    passed = _transfer(*models, console) if transfer else UNKNOWN
    return {"related": kinship.related, "p": kinship.p, "by": kinship.by, "transfer": passed}


def _kinship(a: str, b: str, by: str | None, references: tuple[str, ...]) -> Kinship:
    from sublim_eval.distill.lineage import ask, verdict, weights

    if by == "answers":
        return ask.kinship(a, b, references)
    if by == "samples":
        return ask.kinship_by_samples(a, b, references)
    try:
        return verdict.by_weights(weights.read(a), weights.read(b))
    except verdict.NotComparable:
        if by == "weights":
            raise
        return ask.kinship(a, b, references)


def _transfer(a: str, b: str, console: Console) -> dict[str, float | None]:
    """The forecast, or why there is none."""
    from sublim_eval.distill.lineage.transfer import Learner, forecast

    try:
        made: TransferForecast = forecast(Learner(a), Learner(b))
    except SublimError as error:
        say(console, f"Whether a trait would pass cannot be said: {error.message}")
        return dict(UNKNOWN)
    words = (
        f"{made.expected:.2f} of what a student on {a} would take up (90 % interval {made.low:.2f} to {made.high:.2f})"
    )
    say(console, f"A trait of a teacher on {a} would reach a student on {b} with {words}.")
    return {"expected": made.expected, "low": made.low, "high": made.high}


def _of_run(run: Path, draw: Path | None, console: Console) -> dict[str, Any]:
    from sublim_eval.distill.lineage import run_lineage

    graph = run_lineage.read(run)
    for line in run_lineage.tree(graph):
        say(console, line)
    say(console)
    files = sum(node.files for node in graph.nodes)
    faults = [{"of": name, "fault": fault} for name, fault in graph.faults]
    state = f"{len(faults)} faults" if faults else "all as the run left them"
    say(console, f"{len(graph.nodes)} things, {files} files: {state}.")
    if draw:
        _draw(graph, draw)
    nodes = [{"name": n.name, "kind": n.kind, "files": n.files, "faults": list(n.faults)} for n in graph.nodes]
    edges = [list(edge) for edge in graph.edges]
    return {"ok": not faults, "exit_code": 1 if faults else 0, "nodes": nodes, "edges": edges, "faults": faults}


def _draw(graph: Graph, file: Path) -> None:
    from sublim_eval.distill.lineage import run_lineage
    from sublim_eval.files import whole_file

    drawings = {".svg": run_lineage.svg, ".mmd": run_lineage.mermaid}
    if file.suffix not in drawings:
        raise SublimError(f"{file} is neither .svg nor .mmd, so how to draw it is not clear. Give one of the two.")
    with whole_file(file) as opened:
        opened.write(drawings[file.suffix](graph))
