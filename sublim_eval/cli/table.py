"""`sublim table`: what a log holds, question by question and answer by answer."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from sublim_eval.cli.verb import FILE, argument, option, verb
from sublim_eval.console import say
from sublim_eval.errors import SublimError
from sublim_eval.files import read_json, read_jsonl, whole_file

if TYPE_CHECKING:
    from rich.console import Console

    from sublim_eval.scores.entanglement_table import Measured
    from sublim_eval.scores.probe_scores import ProbeScores


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

    tables = [held for place in logs for held in read(place, console)]
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
    return result


def read(place: Path, console: Console) -> list[ProbeScores | Measured]:
    """What one place holds: an Inspect log, a score file, lm-eval samples, or a folder of any of them.

    Logs of other tasks in a folder are named and left out. Raises SublimError when nothing of ours is there.
    """
    if place.is_file() and place.suffix == ".eval":
        return [_inspect(place)]
    if place.is_file() and place.suffix == ".json":
        return [_scores(place)]
    samples = place.is_file() and place.suffix == ".jsonl"
    if not (samples or place.is_dir()):
        raise SublimError(f"There is no log {place}. Give an Inspect log (.eval), an lm-eval folder or a score file.")
    if files := [f for f in sorted(place.glob("*.json")) if _is_score_file(f)]:
        return [_scores(file) for file in files]
    tables: list[ProbeScores | Measured] = []
    for file in sorted(place.rglob("*.eval")):
        try:
            tables.append(_inspect(file))
        except SublimError as error:
            say(console, f"left out: {error}")
    tables += _lm_eval(place.parent, [place]) if samples else _lm_eval(place, sorted(place.rglob("samples_*.jsonl")))
    if not tables:
        raise SublimError(
            f"{place} holds no log of a sublim-eval task. Give a folder of `inspect eval --log-dir`, or of "
            "`lm_eval run --log_samples --output_path`."
        )
    return tables


def _inspect(file: Path) -> ProbeScores | Measured:
    from inspect_ai.log import read_eval_log

    from sublim_eval.scores.entanglement_table import PROBES, entanglement_table
    from sublim_eval.scores.readers import from_inspect_log

    try:
        log = read_eval_log(str(file))
    except Exception as error:  # whatever the reader of a foreign or cut-off file raises
        raise SublimError(f"{file} is no readable Inspect log ({type(error).__name__}). Run it again.") from error
    if (log.eval.metadata or {}).get("form") in PROBES.values():
        return entanglement_table(log)
    return from_inspect_log(log)


def _scores(file: Path) -> ProbeScores:
    from sublim_eval.scores.probe_scores import ProbeScores

    return ProbeScores.read(file)


def _is_score_file(file: Path) -> bool:
    value = read_json(file)
    return isinstance(value, dict) and {"probe", "questions", "answers", "share"} <= set(value)


def _lm_eval(folder: Path, samples: Iterable[Path]) -> Iterator[ProbeScores | Measured]:
    """One table a probe that is in the samples; files of other tasks are passed over."""
    from sublim_eval.scores.entanglement_table import PROBES, entanglement_table
    from sublim_eval.scores.readers import from_lm_eval

    forms: dict[str, str] = {}
    for file in samples:
        _, first = read_jsonl(file)[0]
        doc = first.get("doc")
        if isinstance(doc, dict) and "probe" in doc:
            forms[str(doc["probe"])] = str(doc.get("form", ""))
    for probe, form in forms.items():
        if form in PROBES.values():
            yield entanglement_table(folder, probe=probe)
        else:
            yield from_lm_eval(folder, probe=probe)


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
