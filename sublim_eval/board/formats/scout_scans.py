"""Scans of Inspect Scout -> readings: of every scanner, model and task what was flagged, read without Scout.

A scan is a folder with `_scan.json` and a Parquet file a scanner, a row a result. Of our scanners
(harness/scout/scanners.py) a reading is the share of texts that are flagged; of others the mean of what is a number or
a yes and no.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sublim_eval.board.formats.reading import Reading, clean, fingerprint, of_metrics, settings
from sublim_eval.errors import SublimError
from sublim_eval.files import read_json

SCAN, SUMMARY = "_scan.json", "_summary.json"

NEEDED = ("transcript_model", "transcript_task_set", "value", "metadata", "scan_error")

BESIDE = ("transcript_task_id", "scanner_key", "scanner_version", "scanner_params")
"""Columns that are read where they are there; inputs and events, which are large, never are."""


def files_of(folder: Path) -> list[Path]:
    """What a scan is read from."""
    return [file for file in (folder / SCAN, folder / SUMMARY, *sorted(folder.glob("*.parquet"))) if file.is_file()]


def read(folder: Path) -> tuple[list[Reading], list[str]]:
    """Readings of a scan, and why a scanner gave none; raises SublimError for a scan that is unfinished or torn."""
    scan, summary = read_json(folder / SCAN), read_json(folder / SUMMARY) if (folder / SUMMARY).is_file() else {}
    if isinstance(summary, dict) and summary.get("complete") is False:
        raise SublimError(f"{folder} is an unfinished scan. Run `scout scan resume {folder.name}`.")
    about = _about(scan if isinstance(scan, dict) else {})
    readings: list[Reading] = []
    left_out = []
    for file in sorted(folder.glob("*.parquet")):
        made = list(_of_scanner(file, about))
        readings += made
        if not made:
            left_out.append(f"{file.name} holds no number of a model: what its scanner found is words.")
    if not readings and not left_out:
        left_out.append(f"{folder} holds no results. Run `scout scan` again.")
    return readings, left_out


def _about(scan: Mapping[str, Any]) -> dict[str, Any]:
    packages = scan.get("packages")
    versions = {str(name): str(value) for name, value in packages.items()} if isinstance(packages, dict) else {}
    return {
        "harness": "scout",
        "harness_version": clean(versions.get("inspect_scout", "")),
        "versions": settings(versions),
        "date": clean(scan.get("timestamp")),
    }


def _of_scanner(file: Path, about: Mapping[str, Any]) -> Iterator[Reading]:
    """A reading for every model and task that a scanner looked at."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in _rows(file):
        groups.setdefault((clean(row["transcript_model"]), clean(row["transcript_task_set"])), []).append(row)
    for (model, task), rows in groups.items():
        figure = _flagged(rows) or _mean(rows)
        if figure is None:
            continue
        first = rows[0]
        failed = sum(row["scan_error"] is not None for row in rows)
        reading = of_metrics(
            [figure],
            model=model,
            probe=f"{clean(first.get('scanner_key') or file.stem)} in {task}",
            version=clean(first.get("scanner_version")),
            question_set=fingerprint(task, first.get("scanner_params"), *sorted(str(r.get(BESIDE[0])) for r in rows)),
            questions=len(rows),
            **about,
        )
        yield reading if not failed else reading._replace(note=f"{failed} of {len(rows)} samples were not scanned.")


def _rows(file: Path) -> list[dict[str, Any]]:
    """The results of a scanner; raises SublimError for a file that holds none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = pq.read_schema(file).names
        if lacking := [name for name in NEEDED if name not in columns]:
            raise SublimError(f"{file} has no column {lacking[0]}. Scan again with a present Inspect Scout.")
        wanted = [name for name in (*NEEDED, *BESIDE) if name in columns]
        rows: list[dict[str, Any]] = pq.read_table(file, columns=wanted).to_pylist()
        return rows
    except (pa.ArrowException, OSError) as error:
        raise SublimError(f"{file} cannot be read ({type(error).__name__}). Scan again.") from error


def _flagged(rows: Sequence[Mapping[str, Any]]) -> tuple[str, float, None, int] | None:
    """Share of texts that our scanners flagged; None of results of others."""
    counts = [_counts(row["metadata"]) for row in rows if row["scan_error"] is None]
    known = [count for count in counts if count is not None]
    if not known or len(known) < len(counts) or not sum(of for _, of in known):
        return None
    flagged, of = (sum(column) for column in zip(*known, strict=True))
    return "flagged", flagged / of, None, of


def _counts(metadata: Any) -> tuple[int, int] | None:
    try:
        held = json.loads(metadata) if isinstance(metadata, str) else metadata
        flagged, of = held["flagged"], held["of"]
    except (TypeError, ValueError, KeyError, RecursionError):
        return None
    whole = all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 2**53 for n in (flagged, of))
    return (flagged, of) if whole and flagged <= of else None


def _mean(rows: Sequence[Mapping[str, Any]]) -> tuple[str, float, None, int] | None:
    """Mean of numbers and of yes and no; None where a value is neither."""
    values = [_number(row["value"]) for row in rows if row["scan_error"] is None and row["value"] is not None]
    known = [value for value in values if value is not None]
    return ("mean", sum(known) / len(known), None, len(known)) if known and len(known) == len(values) else None


def _number(value: Any) -> float | None:
    """A number, or a yes and no, which a column of mixed values holds as text."""
    words = {"true": 1.0, "false": 0.0}
    try:
        number = words[value.lower()] if isinstance(value, str) and value.lower() in words else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
