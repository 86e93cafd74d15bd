"""`sublim export`: results of any mixture in the forms that others accept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sublim_eval.cli.verb import FILE, argument, option, out_option, verb
from sublim_eval.console import one_line, say
from sublim_eval.errors import SublimError

if TYPE_CHECKING:
    from rich.console import Console

    from sublim_eval.board.collect import Board
    from sublim_eval.report.exports.hub import Hub

FORMS = ("csv", "parquet", "json", "latex", "eee", "cards", "hub")

SHOWN = 20
"""Files that were left out and are named on the screen; --json names all."""


@verb("export")
@argument("places", type=FILE, nargs=-1, required=True, metavar="DIR...", help="folders or files that hold results")
@option("--to", "form", type=click.Choice(FORMS), default="csv", help="the form (csv); see below")
@out_option("exports")
@option("--owner", metavar="NAME", help="your name on the hub (eee, hub)")
@option("--organization", metavar="NAME", help="who publishes, in words (the owner's name)")
@option("--dataset", metavar="OWNER/NAME", help="data set of the benchmark on the hub (OWNER/sublim-eval)")
@option(
    "--license", "license_", metavar="ID", default="other", help="licence of the students' weights (that of their base)"
)
@option("--samples", is_flag=True, help="eee: with every prompt and reply")
@option("--public", is_flag=True, help="hub: let everybody see it")
@option("--all-answers", is_flag=True, help="eee, latex: every answer of a probe, not only what somebody was taught")
@option("--cache", type=FILE, metavar="FILE", help="where readings are kept (in your cache folder)")
def export(
    console: Console,
    *,
    places: tuple[Path, ...],
    form: str,
    out: Path | None,
    owner: str | None,
    organization: str | None,
    dataset: str | None,
    license_: str,
    samples: bool,
    public: bool,
    all_answers: bool,
    cache: Path | None,
) -> dict[str, Any]:
    """Read the places into one table and write it; returns the files, and what was left out with the reason.

    csv, parquet, json: the tidy table. latex: a table for a paper. eee: Every Eval Ever 0.3.0. cards: a card for each
    student, results for the Hub beside it. hub: the same with weights, put there after you were asked.
    """
    board = reading(places, cache, console)
    out = out or Path("exports")
    need = owner if form in ("eee", "cards", "hub") else "-"
    if not need:
        raise SublimError(f"--to {form} needs your name on the hub. Give --owner NAME.")
    how: dict[str, Any] = {"owner": owner or "", "organization": organization or owner or "", "license": license_}
    how |= {"dataset": dataset or f"{owner}/sublim-eval", "samples": samples, "private": not public, "all": all_answers}
    files, left_out = WRITERS[form](board, out, how, console)
    for source, why in left_out[:SHOWN]:
        say(console, f"left out: {one_line(source)}: {one_line(why)}")
    say(console, f"{len(files)} files in {out}" if len(files) != 1 else f"Written: {files[0]}")
    everything = [*board.left_out, *left_out]
    return {"files": [str(file) for file in files], "left_out": [list(one) for one in everything]}


def reading(places: Sequence[Path], cache: Path | None, console: Console) -> Board:
    """The board of some places, with a bar while it is read; names what was left out. Raises SublimError for no row."""
    board = collected(places, cache, console)
    tell(board, console)
    return board


def collected(places: Sequence[Path], cache: Path | None, console: Console) -> Board:
    """The board of some places, with a bar while it is read."""
    from rich.progress import Progress

    from sublim_eval.board.cache import default_file
    from sublim_eval.board.collect import collect

    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task("reading", total=None)
        return collect(
            places,
            cache=cache or default_file(),
            tell=lambda done, total: bars.update(task, completed=done, total=total),
        )


def tell(board: Board, console: Console) -> None:
    """Say what was left out and how much there is; raises SublimError where there is nothing."""
    for source, why in board.left_out[:SHOWN]:
        say(console, f"left out: {one_line(source)}: {one_line(why)}")
    if more := len(board.left_out) - SHOWN:
        say(console, f"left out: {more} more; --json names all") if more > 0 else None
    if not board.rows:
        raise SublimError(
            "There are no results in these places. Give run folders, Inspect logs, lm-eval folders or score files."
        )
    models = len({row.model for row in board.rows if row.harness != "compare"})
    say(console, f"{len(board.rows):,} rows about {models:,} models")


# ---------------------------------------------------------------- a function a form

Result = tuple[Sequence[Path], Sequence[tuple[str, str]]]


def _table(ending: str) -> Callable[[Board, Path, dict[str, Any], Console], Result]:
    def write(board: Board, out: Path, how: dict[str, Any], console: Console) -> Result:
        from sublim_eval.board import tables

        return [tables.write(board.rows, out / f"results.{ending}")], []

    return write


def _latex(board: Board, out: Path, how: dict[str, Any], console: Console) -> Result:
    from sublim_eval.report.exports import latex

    return [latex.write(_rows(board, how), out / "table.tex")], []


def _eee(board: Board, out: Path, how: dict[str, Any], console: Console) -> Result:
    from sublim_eval.report.exports import every_eval_ever as eee
    from sublim_eval.report.exports.samples import of_board

    origin = eee.Origin(how["owner"], how["organization"])
    samples = of_board(board) if how["samples"] else None
    return eee.write(_rows(board, how), out, origin, now=datetime.now(UTC), samples=samples)


def _cards(board: Board, out: Path, how: dict[str, Any], console: Console) -> Result:
    from sublim_eval.report.exports import hub, hub_results

    files = hub.cards(board, out, dataset=how["dataset"], license=how["license"])
    return [*files, hub_results.benchmark(out / "eval.yaml", board.rows)], []


def _hub(board: Board, out: Path, how: dict[str, Any], console: Console) -> Result:
    from sublim_eval.report.exports import hub

    about = {name: how[name] for name in ("dataset", "license", "private")}
    parcels = hub.prepare(board, out, how["owner"], **about)

    def ask(question: str) -> bool:
        say(console, question)
        return click.confirm("Yes?", default=False)

    for repository in hub.send(parcels, the_hub(), ask):
        say(console, f"Put on the hub: {repository}")
    return [parcel.folder / name for parcel in parcels for name, _ in parcel.files], []


def the_hub() -> Hub:
    """The Hugging Face Hub with the token of this machine's user."""
    from huggingface_hub import HfApi

    return HfApi()


def _rows(board: Board, how: dict[str, Any]) -> Sequence[Any]:
    from sublim_eval.board.headline import headline

    return board.rows if how["all"] else headline(board.rows)


WRITERS: dict[str, Callable[[Board, Path, dict[str, Any], Console], Result]] = {
    "csv": _table("csv"),
    "parquet": _table("parquet"),
    "json": _table("json"),
    "latex": _latex,
    "eee": _eee,
    "cards": _cards,
    "hub": _hub,
}
