"""Which files below some folders hold results, and of what kind: run records, score files, logs, lm-eval folders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sublim_eval.board.formats.lm_eval_results import RESULTS, SAMPLES, is_results
from sublim_eval.board.formats.page_sources import is_page_sources
from sublim_eval.board.formats.reading import clean
from sublim_eval.board.formats.scout_scans import SCAN
from sublim_eval.board.identity import run_names
from sublim_eval.errors import SublimError
from sublim_eval.files import digest, read_json
from sublim_eval.registry.experiment import RECORD, ROWS, STUDENTS, TEACHERS

LARGE = 64 * 2**20
"""Bytes of a JSON file from which on only its beginning is looked at."""

NO_RESULTS = (".git", ".venv", "node_modules", "__pycache__")

INSPECT_JSON = re.compile(rb'\A\s*\{\s*"version"\s*:\s*\d+\s*,\s*"status"\s*:')


@dataclass
class Found:
    """Files by kind, each once and in the order of the folders that were given; sources: file -> its name in rows.

    unsure: JSON files of which only their content says what they are.
    """

    sources: dict[Path, str] = field(default_factory=dict)
    records: list[Path] = field(default_factory=list)
    logs: list[Path] = field(default_factory=list)
    unsure: list[Path] = field(default_factory=list)
    lm_eval: dict[Path, list[Path]] = field(default_factory=dict)
    scans: list[Path] = field(default_factory=list)
    _taken: set[str] = field(default_factory=set)

    def name(self, file: Path, wanted: str) -> None:
        """Give a file its name in rows: clean text that no other file has."""
        text = clean(wanted)
        if text in self._taken:
            text = f"{text} ({digest(os.fsencode(file).hex())[:8]})"
        self._taken.add(text)
        self.sources[file] = text


def find(places: Iterable[Path]) -> Found:
    """Every file that may hold results. Raises SublimError for a place that is not there."""
    found = Found()
    given = list(dict.fromkeys(Path(place) for place in places))
    for place in given:
        if not place.exists():
            raise SublimError(f"There is no {place}. Give folders or files that hold results.")
    names = run_names(given)
    for place in given:
        for file in [place] if place.is_file() else _below(place):
            whole = file.resolve()
            if whole not in found.sources:
                tail = "" if place.is_file() else f"/{file.relative_to(place).as_posix()}"
                found.name(whole, f"{names[place]}{tail}")
                _sort_in(found, whole)
    return found


def _below(folder: Path) -> Iterator[Path]:
    """Files below a folder in a fixed order; what a run made of weights and rows is passed over."""
    for here, folders, files in os.walk(folder):
        run = RECORD in files
        passed = {*NO_RESULTS, *((STUDENTS, TEACHERS, ROWS) if run else ())}
        folders[:] = sorted(name for name in folders if name not in passed)
        weights = any(name.endswith((".safetensors", ".bin", ".gguf")) for name in files)
        for name in sorted(files):
            if not (weights and name.endswith(".json")):
                yield Path(here) / name


def _sort_in(found: Found, file: Path) -> None:
    if file.name == RECORD:
        found.records.append(file)
    elif file.suffix == ".eval":
        found.logs.append(file)
    elif file.name == SCAN:
        found.scans.append(file)
    elif SAMPLES.fullmatch(file.name) or RESULTS.fullmatch(file.name):
        found.lm_eval.setdefault(file.parent, []).append(file)
    elif file.suffix == ".json":
        found.unsure.append(file)


def kind_of(file: Path) -> str:
    """What a JSON file is: "log", "scores", "abilities", "page" (sources of one), or "" for anything else.

    Raises SublimError for one that is neither readable nor plainly something else.
    """
    try:
        with file.open("rb") as opened:
            head = opened.read(400)
        if INSPECT_JSON.match(head):
            return "log"
        if file.stat().st_size > LARGE:
            return ""
    except OSError as error:
        raise SublimError(f"{file} cannot be read ({error.strerror or error}). Check its rights.") from None
    return _by_keys(read_json(file))


def _by_keys(value: Any) -> str:
    if not isinstance(value, dict) or is_results(value):
        return ""
    if {"probe", "questions", "answers", "share"} <= set(value):
        return "scores"
    if {"suite", "tasks", "not_measured"} <= set(value):
        return "abilities"
    if is_page_sources(value):
        return "page"
    return "log" if {"eval", "status"} <= set(value) else ""
