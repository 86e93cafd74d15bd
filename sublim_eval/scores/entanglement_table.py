"""Logs of the entanglement tasks -> the number x trait table. An Inspect log or lm-eval samples, the same table."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sublim_eval.entanglement_stats import Cells, Direction, Link, Table, collect, link, tabulate
from sublim_eval.errors import SublimError
from sublim_eval.files import whole_file, write_json
from sublim_eval.scores import inspect_logs, lm_eval_samples
from sublim_eval.scores.assemble import checked_exact
from sublim_eval.scores.probe_scores import nan_for_none

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog

PROBES = {"subliminal_prompting": "number_to_trait", "token_entanglement": "trait_to_number"}
SEED = 0
"""Of the shuffles and resamplings: the same log gives the same table every time."""

COLUMNS = ("trait", "number", "shift", "against_none", "z", "p")


@dataclass(frozen=True, eq=False)
class Measured:
    """A table with where it comes from.

    trait: the one the run was asked to show first. coverage: mean probability that the outcomes held together.
    left_out: settings that were not asked everything (a limit, unscored samples) and are not in the table.
    source: the log, for people.
    """

    table: Table
    model: str
    probe: str
    version: str
    category: str
    trait: str
    coverage: float
    left_out: tuple[str, ...]
    questions_hash: str
    source: str

    def rows(self) -> Iterator[dict[str, Any]]:
        """One mapping of COLUMNS a cell, trait by trait; nan becomes None."""
        t = self.table
        for k, trait in enumerate(t.traits):
            for n, number in enumerate(t.numbers):
                values = (t.shift[k, n], t.against_none[k, n], t.z[k, n], t.p[k, n])
                yield dict(zip(COLUMNS, (trait, number, *map(_known, values)), strict=True))

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data; nan becomes null."""
        t = self.table
        return {
            "schema": 1,
            "model": self.model,
            "probe": self.probe,
            "version": self.version,
            "category": self.category,
            "trait": self.trait,
            "direction": t.direction,
            "asks": list(t.asks),
            "shuffles": t.shuffles,
            "coverage": _known(self.coverage),
            "recognised": _known(t.recognised),
            "recognised_by_chance": t.recognised_by_chance,
            "left_out": list(self.left_out),
            "questions_hash": self.questions_hash,
            "source": self.source,
            "summaries": [{k: _known(v) for k, v in asdict(s).items()} for s in t.summaries],
            "cells": list(self.rows()),
        }

    def write(self, path: Path) -> Path:
        """Write the table, whole or not at all: .csv holds the cells, .json everything; returns the path.

        Raises SublimError for another ending.
        """
        if path.suffix == ".json":
            write_json(path, self.to_json())
        elif path.suffix == ".csv":
            with whole_file(path) as file:
                writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                writer.writeheader()
                writer.writerows(self.rows())
        else:
            raise SublimError(f"{path.name!r} is neither .csv nor .json. Give one of the two endings.")
        return path


def entanglement_table(source: str | Path | EvalLog, *, probe: str | None = None) -> Measured:
    """The table of a run of `subliminal_prompting` or `token_entanglement`.

    source: an Inspect log (a path or the log itself), an lm-eval samples file, or a folder that lm-eval wrote with
    --log_samples (the newest samples count). probe: needed where a folder holds both.
    Raises SublimError when there is no such run in it, when it did not end well, or when too little was asked.
    """
    if isinstance(source, (str, Path)) and (Path(source).is_dir() or Path(source).suffix == ".jsonl"):
        return _from_lm_eval(Path(source), probe)
    return _from_inspect(source)


def entanglement_link(one: Measured, other: Measured) -> Link:
    """Does the number that a persona raises raise the trait in turn? The two tables in any order.

    Raises SublimError unless they are of both directions, the same model and enough common numbers.
    """
    tables = {m.table.direction: m for m in (one, other)}
    if len(tables) < 2:
        raise SublimError(
            f"Both tables are of {one.probe}. Give one of subliminal_prompting, one of token_entanglement."
        )
    if one.model != other.model:
        raise SublimError(f"The tables are of two models, {one.model} and {other.model}. Give two of one model.")
    try:
        first, second = tables["number_to_trait"].table, tables["trait_to_number"].table
        return link(first, second, np.random.default_rng(SEED))
    except ValueError as error:
        raise SublimError(f"The tables cannot be linked: {error}. Measure both with the same `numbers`.") from None


def links(tables: Iterable[Measured]) -> Iterator[tuple[str, Link]]:
    """(what it is about, link) for every model and category with tables of both directions; the last of each counts.

    Raises SublimError where the two have too little in common.
    """
    sides: dict[tuple[str, str], dict[str, Measured]] = {}
    for held in tables:
        sides.setdefault((held.model, held.category), {})[held.table.direction] = held
    for (model, category), both in sides.items():
        if len(both) == 2:
            yield f"{category}s on {model}", entanglement_link(*both.values())


def _from_inspect(log: str | Path | EvalLog) -> Measured:
    log = inspect_logs.open_log(log) if isinstance(log, (str, Path)) else log
    place = Path(log.location or log.eval.task).name
    if (log.eval.metadata or {}).get("form") not in PROBES.values():
        raise SublimError(f"{place} holds no table. Give a log of {' or '.join(PROBES)}.")
    about = inspect_logs.about(log)
    inspect_logs.check_ended(log)
    cells: dict[tuple[str, str], Mapping[str, float]] = {}
    coverage: list[float] = []
    for sample in log.samples or []:
        score = (sample.scores or {}).get(about["form"])
        try:
            key = _cell(sample.metadata)
            cells.setdefault(key, {})
            if score is not None and "answers" in (score.metadata or {}):
                cells[key] = _probabilities(checked_exact(score.metadata or {}))
                coverage.append(nan_for_none((score.metadata or {}).get("coverage")))
        except ValueError as error:
            raise SublimError(
                f"{place}: sample {sample.id}: {error}. The log was edited or cut; repeat that evaluation."
            ) from None
    return _measured(about, cells, coverage, model=log.eval.model, source=f"inspect {place}")


def _cell(of: Mapping[str, Any]) -> tuple[str, str]:
    """The setting and the ask that a sample or document says; raises ValueError where it does not."""
    if not isinstance(of.get("setting"), str) or not isinstance(of.get("ask"), str):
        raise ValueError(f"`setting` is {of.get('setting')!r:.40} and `ask` {of.get('ask')!r:.40}, not texts")
    return of["setting"], of["ask"]


def _probabilities(written: Mapping[str, Any]) -> dict[str, float]:
    return {str(name): nan_for_none(value) for name, value in written["answers"].items()}


def _from_lm_eval(place: Path, probe: str | None) -> Measured:
    if not place.exists():
        raise SublimError(f"There is no {place}. Check the path.")
    ours, refusals = lm_eval_samples.ours_of(lm_eval_samples.samples_files(place))
    tables = [one for one in ours if one.form in PROBES.values()]
    probes = sorted({one.probe for one in tables})
    if probe is None and len(probes) > 1:
        raise SublimError(f"{place} holds {' and '.join(probes)}. Say which one, or give its samples file.")
    chosen = [one for one in tables if one.probe == (probe or probes[0])] if tables else []
    if not chosen:
        wanted = probe or " or ".join(PROBES)
        raise SublimError(
            refusals[0] if refusals else f"{place} holds no samples of {wanted}. Run lm_eval with --log_samples."
        )
    if len(models := {one.asked for one in chosen}) > 1:
        names = ", ".join(sorted(one.label for one in models))
        raise SublimError(f"{place} holds results of {len(models)} models ({names}). Give the folder of one.")
    return from_samples(chosen[-1].file, chosen[-1].asked.label)


def from_samples(file: Path, model: str) -> Measured:
    """The table of one lm-eval samples file; raises SublimError with file and line for a row without results."""
    from sublim_eval.harness.lm_eval.entanglement import read

    rows = lm_eval_samples.read_rows(file)
    if rows[0][1]["doc"].get("form") not in PROBES.values():
        raise SublimError(f"{file} holds no table. Give the samples of {' or '.join(PROBES)}.")
    cells: dict[tuple[str, str], Mapping[str, float]] = {}
    coverage: list[float] = []
    for line, row in rows:
        try:
            lm_eval_samples.nats_of(row)
            cells[_cell(row["doc"])], covered = read(row["doc"], row["filtered_resps"])
        except ValueError as error:
            raise SublimError(f"{file}:{line}: {error}. The file was edited or cut; run lm_eval again.") from None
        coverage.append(covered)
    return _measured(rows[0][1]["doc"], cells, coverage, model=model, source=f"lm-eval {file.name}")


def _measured(about: Mapping[str, Any], cells: Cells, coverage: list[float], *, model: str, source: str) -> Measured:
    direction: Direction = about["form"]
    if not coverage:
        raise SublimError(
            f"{source} has no log-probabilities. Run it with --model sublim/<model folder>, or in lm-eval."
        )
    try:
        readings, left_out = collect(direction, cells)
    except ValueError as error:
        raise SublimError(f"{source} is too little for a table: {error}. Run it again with a larger --limit.") from None
    return Measured(
        table=tabulate(readings, np.random.default_rng(SEED)),
        model=model,
        probe=about["probe"],
        version=about["probe_version"],
        category=about["category"],
        trait=about["trait"],
        coverage=float(np.mean(coverage)),
        left_out=left_out,
        questions_hash=about["questions_hash"],
        source=source,
    )


def _known(value: Any) -> Any:
    """A plain number, text or list; None where unknown."""
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, str):
        return value
    return None if value != value else float(value)
