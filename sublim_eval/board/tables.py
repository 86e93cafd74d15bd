"""The tidy table as a file and back: CSV, Parquet and JSON, every number the same after the way there and back.

CSV is for spreadsheets too: text that one would run as a formula gets a quotation mark before it, which reading takes
off again.
"""

from __future__ import annotations

import csv
import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from sublim_eval.board.columns import COLUMNS, Row, kind_of
from sublim_eval.errors import SublimError
from sublim_eval.files import read_json, whole_file

SCHEMA = 1

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""

LEAST = frozenset({"model", "probe", "measure", "value"})
"""Columns without which a table is not this one; others may be missing and are then unknown."""


def write(rows: Iterable[Row], file: Path) -> Path:
    """Write the table as its ending says (.csv, .parquet, .json), whole or not at all; returns the path.

    Raises SublimError for another ending.
    """
    writers: dict[str, Callable[[Iterable[Row], Path], None]] = {
        ".csv": _write_csv,
        ".parquet": _write_parquet,
        ".json": _write_json,
    }
    _one_of(writers, file)(rows, file)
    return file


def read(file: Path) -> list[Row]:
    """The rows of a file that `write` wrote, or of another of that form.

    Raises SublimError with file and line for a cell that is not what its column holds, and for a missing column.
    """
    readers: dict[str, Callable[[Path], list[Row]]] = {
        ".csv": _read_csv,
        ".parquet": _read_parquet,
        ".json": _read_json,
    }
    if not file.is_file():
        raise SublimError(f"There is no table {file}. Give a .csv, .parquet or .json file of a tidy table.")
    return _one_of(readers, file)(file)


def _one_of(by_ending: Mapping[str, Any], file: Path) -> Any:
    if file.suffix.lower() not in by_ending:
        raise SublimError(f"{file.name!r} ends neither in .csv, .parquet nor .json. Give one of these endings.")
    return by_ending[file.suffix.lower()]


# ---------------------------------------------------------------- CSV


def inert(text: str) -> str:
    """Text as a cell that no spreadsheet runs; `_live` takes the mark off. A quotation mark at the front is doubled.

    Half a surrogate pair, which UTF-8 cannot hold, becomes the sign of a lost character.
    """
    whole = re.sub("[\ud800-\udfff]", "\ufffd", text)
    return f"'{whole}" if whole.startswith((*FORMULA, "'")) else whole


def _live(text: str) -> str:
    return text[1:] if text.startswith("'") and text[1:].startswith((*FORMULA, "'")) else text


def _write_csv(rows: Iterable[Row], file: Path) -> None:
    with whole_file(file) as out:
        csv_lines(rows, out)


def csv_lines(rows: Iterable[Row], out: IO[str]) -> None:
    """Heads and rows as CSV: an empty cell where unknown, flags `true` or `false`, numbers as short as is exact."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_cell(value) for value in row] for row in rows)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return inert(value) if isinstance(value, str) else repr(value)


def _read_csv(file: Path) -> list[Row]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.DictReader(opened, strict=True)
            _refuse_lacking(reader.fieldnames or (), file)
            return [_row(_texts(cells, file, reader.line_num), f"{file}:{reader.line_num}") for cells in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise SublimError(f"{file} is not valid CSV in UTF-8 ({error}). Mend it.") from None


def _texts(cells: Mapping[Any, Any], file: Path, line: int) -> dict[str, Any]:
    """Cells as values of their columns; raises SublimError where one is not."""
    if None in cells or None in cells.values():
        raise SublimError(f"{file}:{line}: more or fewer cells than heads. Mend that line.")
    try:
        return {name: _value(name, text) for name, text in cells.items() if name in COLUMNS}
    except ValueError as error:
        raise SublimError(f"{file}:{line}: {error}. Mend that line.") from None


def _value(name: str, text: str) -> Any:
    kind = kind_of(name)
    if kind == "text":
        return _live(text)
    if kind == "flag":
        if text not in ("true", "false"):
            raise ValueError(f"`{name}` must be true or false, not {text[:40]!r}")
        return text == "true"
    if text == "":
        return None
    try:
        return int(text) if kind == "whole" else float(text)
    except ValueError:
        raise ValueError(f"`{name}` must be a number, not {text[:40]!r}") from None


# ---------------------------------------------------------------- Parquet


def _write_parquet(rows: Iterable[Row], file: Path) -> None:
    pa, parquet = _pyarrow()
    kinds = {"text": pa.string(), "whole": pa.int64(), "number": pa.float64(), "flag": pa.bool_()}
    schema = pa.schema([(name, kinds[kind_of(name)]) for name in COLUMNS], metadata={"sublim_eval.tidy": str(SCHEMA)})
    columns = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
    table = pa.table([pa.array(c, type=f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
    with whole_file(file, "wb") as out:
        parquet.write_table(table, out, compression="zstd")


def _read_parquet(file: Path) -> list[Row]:
    pa, parquet = _pyarrow()
    try:
        table = parquet.read_table(file)
        names, rows = table.column_names, table.to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise SublimError(f"{file} is no readable Parquet file ({type(error).__name__}). Export it again.") from None
    _refuse_lacking(names, file)
    return [_row(row, str(file)) for row in rows]


def _pyarrow() -> tuple[Any, Any]:
    """pyarrow, which comes with `datasets`; raises SublimError where it was taken out."""
    if find_spec("pyarrow") is None:
        raise SublimError("Parquet needs pyarrow. Install it with `pip install pyarrow`, or write .csv.")
    import pyarrow as pa
    from pyarrow import parquet

    return pa, parquet


# ---------------------------------------------------------------- JSON


def _write_json(rows: Iterable[Row], file: Path) -> None:
    with whole_file(file) as out:
        json.dump({"schema": SCHEMA, "columns": COLUMNS, "rows": [list(row) for row in rows]}, out, allow_nan=False)


def _read_json(file: Path) -> list[Row]:
    value = read_json(file)
    if not isinstance(value, dict) or not isinstance(value.get("columns"), list) or "rows" not in value:
        raise SublimError(f"{file} is no tidy table. Export it again.")
    _refuse_lacking(value["columns"], file)
    return [_row(dict(zip(value["columns"], row, strict=False)), str(file)) for row in value["rows"]]


# ---------------------------------------------------------------- a row


def _refuse_lacking(heads: Sequence[str], file: Path) -> None:
    if lacking := sorted(LEAST - set(heads)):
        raise SublimError(
            f"{file}: no column {', '.join(lacking)}. A tidy table has {', '.join(COLUMNS[:4])} and more."
        )


def _row(given: Mapping[str, Any], place: str) -> Row:
    """A row from values by column; what is not given is unknown. Raises SublimError for a value of another kind."""
    return Row(**dict(_checked(given, place)))


def _checked(given: Mapping[str, Any], place: str) -> Iterator[tuple[str, Any]]:
    for name in COLUMNS:
        kind, value = kind_of(name), given.get(name)
        if kind == "number" and type(value) is int:
            value = float(value)
        if value is None:
            value = {"text": "", "flag": False}.get(kind)
        elif not _fits(kind, value):
            raise SublimError(f"{place}: `{name}` holds {str(value)[:40]!r}, which is no {kind}. Mend that line.")
        yield name, value


def _fits(kind: str, value: Any) -> bool:
    kinds = {"text": str, "whole": int, "number": float, "flag": bool}
    return type(value) is kinds[kind] and not (isinstance(value, float) and not math.isfinite(value))
