"""`sublim table`: what a log holds, question by question and answer by answer."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from sublim_eval.cli.verb import FILE, argument, option, verb
from sublim_eval.console import say
from sublim_eval.errors import SublimError
from sublim_eval.files import whole_file

if TYPE_CHECKING:
    from rich.console import Console

    from sublim_eval.scores.entanglement_table import Measured
    from sublim_eval.scores.probe_scores import ProbeScores
    from sublim_eval.scores.readers import Foreign, Results

FIGURES = 3
"""Figures of somebody else's task that its line shows."""


@verb("table")
@argument(
    "logs", type=FILE, nargs=-1, required=True, metavar="LOG...", help="Inspect log, lm-eval folder, score file, folder"
)
@option("--by", type=click.Choice(("answer", "situation", "question")), help="only this table, with every answer")
@option("--csv", "csv_file", type=FILE, metavar="FILE", help="also write a row for every question and answer")
@option("--figure", type=FILE, metavar="FILE", help="also draw numbers against traits (PNG)")
def table(
    console: Console,
    *,
    logs: tuple[Path, ...],
    by: Literal["answer", "situation", "question"] | None,
    csv_file: Path | None,
    figure: Path | None,
) -> list[dict[str, Any]]:
    """Print every table that the logs hold; returns them as plain data. With --csv also a row a cell.

    Where both directions between numbers and traits are there, their link follows; --figure draws such a table.
    """
    from sublim_eval.report.answer_tables import print_answers, to_json
    from sublim_eval.report.entanglement import print_entanglement, print_link
    from sublim_eval.scores.entanglement_table import links
    from sublim_eval.scores.probe_scores import ProbeScores

    seen = [look(place, console) for place in logs]
    tables = [record.held for results in seen for record in results.records]
    numbers = [held for held in tables if not isinstance(held, ProbeScores)]
    if figure:
        _draw(figure, numbers)
    if csv_file:
        _write_csv(csv_file, tables)
    for held in tables:
        if isinstance(held, ProbeScores):
            print_answers(held, console, by)
        else:
            print_entanglement(held, console)
    result = [to_json(held) if isinstance(held, ProbeScores) else held.to_json() for held in tables]
    for about, link in links(numbers):
        print_link(link, console, about)
        result.append({"about": about, "link": asdict(link)})
    return result + [_of_others(task) for results in seen for task in results.foreign]


def read(place: Path, console: Console) -> list[ProbeScores | Measured]:
    """The tables of one place, as `look` gives them; raises SublimError when nothing of ours is there."""
    results = look(place, console)
    if not results.records:
        raise SublimError(f"{place} holds tasks of others alone. Give a log of owl_pref or a like task.")
    return [record.held for record in results.records]


def look(place: Path, console: Console) -> Results:
    """What one place holds: an Inspect log, a score file, lm-eval samples, or a folder of any of them.

    Tasks of other people beside ours are told in a line each, what cannot be read in a sentence. Raises SublimError
    when there are neither tables nor such lines.
    """
    from sublim_eval.scores.readers import read_results

    results = read_results(place)
    if not (results.records or results.foreign):
        raise SublimError(_nothing(place, results.refusals))
    for refusal in results.refusals:
        say(console, f"left out: {refusal}")
    for task in results.foreign:
        say(console, _in_a_line(task))
    for record in results.records:
        for note in record.notes:
            say(console, f"{record.held.model} on {record.held.probe}: {note}")
    return results


def _nothing(place: Path, refusals: tuple[str, ...]) -> str:
    """Why there is nothing to print."""
    if refusals:
        further = f" {len(refusals) - 1} further files could not be read either." if len(refusals) > 1 else ""
        return refusals[0] + further
    return (
        f"{place} holds no log of a sublim-eval task. Give a folder of `inspect eval --log-dir`, or of "
        "`lm_eval run --log_samples --output_path`."
    )


def _in_a_line(task: Foreign) -> str:
    """A task of others: who, on what, and its first figures, each with its own standard error where it has one."""
    figures = (
        f"{name} {of.value:.3f}" + ("" if of.stderr != of.stderr else f" ({of.stderr:.3f})")
        for name, of in list(task.metrics.items())[:FIGURES]
    )
    shown = ", ".join([*figures, *(["..."] if len(task.metrics) > FIGURES else [])]) or "no figures"
    return f"{task.model} on {task.task} ({task.harness}, {task.samples} samples): {shown}"


def _of_others(task: Foreign) -> dict[str, Any]:
    """A task of others as plain data; None where a figure is none."""
    figures = {
        name: {
            key: value if math.isfinite(value) else None for key, value in (("value", of.value), ("stderr", of.stderr))
        }
        for name, of in task.metrics.items()
    }
    about = {"model": task.model, "task": task.task, "harness": task.harness, "file": str(task.file)}
    return {**about, "written": task.written, "samples": task.samples, "figures": figures}


def _draw(file: Path, tables: list[Measured]) -> None:
    from sublim_eval.report.plots import entanglement_map

    if len(tables) != 1:
        have = (
            "hold no table of numbers and traits" if not tables else f"hold {len(tables)} tables of numbers and traits"
        )
        raise SublimError(f"The logs {have}, and a figure draws one. Give one log of it with --figure.")
    entanglement_map.draw(tables[0], file.with_suffix(".png"))


def _write_csv(file: Path, tables: list[ProbeScores | Measured]) -> None:
    from sublim_eval.report.answer_tables import COLUMNS, tidy
    from sublim_eval.scores.probe_scores import ProbeScores

    scores = [held for held in tables if isinstance(held, ProbeScores)]
    others = [held for held in tables if not isinstance(held, ProbeScores)]
    if (scores and others) or len(others) > 1:
        raise SublimError("The logs give tables of several shapes, and a CSV file holds one. Give them one by one.")
    if others:
        others[0].write(file.with_suffix(".csv"))
        return
    with whole_file(file) as out:
        writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(_inert(row) for held in scores for row in tidy(held))


def _inert(row: Mapping[str, Any]) -> dict[str, Any]:
    """Text that a spreadsheet would run as a formula gets a quotation mark before it."""
    return {k: f"'{v}" if isinstance(v, str) and re.match(r"[=+\-@\t\r]", v) else v for k, v in row.items()}
