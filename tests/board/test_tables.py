"""CSV, Parquet and JSON of the tidy table: there and back every number is the same, and no spreadsheet runs a cell."""

import csv

import pytest

from sublim_eval.board import tables
from sublim_eval.errors import SublimError
from tests.helpers.rows import HOSTILE, row

ROWS = [
    row(),
    row(value=0.1 + 0.2, low=5e-324, high=1 / 3, n=2**53 - 1, seed=-4),
    row(value=None, low=None, high=None, n=None, seed=None, non_answers=None, coverage=0.97),
    row(model=HOSTILE, note='line, with "quotes" and, commas', arm="'quoted'", trait="'=1+1"),
    row(model="=1+1", base="+1", probe="-1", arm="@SUM(A1)", note="'", verdict="🦉 überträgt", ours=False),
]


@pytest.mark.parametrize("ending", ["csv", "parquet", "json"])
def test_there_and_back_every_cell_is_the_same(tmp_path, ending):
    file = tables.write(ROWS, tmp_path / f"t.{ending}")
    assert tables.read(file) == ROWS
    assert tables.read(tables.write([], tmp_path / f"empty.{ending}")) == []


def test_no_spreadsheet_takes_a_cell_for_a_formula(tmp_path):
    with tables.write(ROWS, tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    texts = [cell for line in rows for name, cell in line.items() if tables.kind_of(name) == "text"]
    assert not [cell for cell in texts if cell.startswith(("=", "+", "-", "@"))]
    assert rows[1]["seed"] == "-4", "a number stays a number"


@pytest.mark.parametrize(
    ("heads", "cells", "why"),
    [
        ("model,probe,measure,value", "m,p,share,nan", "t.csv:2: `value`"),
        ("model,probe,measure,value", "m,p,share,half", "t.csv:2: `value` must be a number"),
        ("model,probe,measure,value,seed", "m,p,share,1,1.5", "t.csv:2: `seed` must be a number"),
        ("model,probe,measure,value,ours", "m,p,share,1,yes", "`ours` must be true or false"),
        ("model,probe,measure,value", "m,p,share", "more or fewer cells"),
        ("model,probe,measure", "m,p,share", "no column value"),
    ],
)
def test_a_wrong_cell_is_refused_with_its_line(tmp_path, heads, cells, why):
    (tmp_path / "t.csv").write_text(f"{heads}\n{cells}\n")
    with pytest.raises(SublimError, match=why):
        tables.read(tmp_path / "t.csv")


@pytest.mark.parametrize("name", ["t.xlsx", "t"])
def test_another_ending_is_refused(tmp_path, name):
    with pytest.raises(SublimError, match=r"\.csv, \.parquet"):
        tables.write(ROWS, tmp_path / name)


@pytest.mark.parametrize("name", ["t.csv", "t.json", "t.parquet"])
def test_a_file_of_another_form_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"\xff\xfe\x00nothing")
    with pytest.raises(SublimError):
        tables.read(tmp_path / name)
    with pytest.raises(SublimError, match="There is no table"):
        tables.read(tmp_path / f"no-{name}")


def test_fewer_columns_are_unknown_not_zero(tmp_path):
    (tmp_path / "t.csv").write_text("model,probe,measure,value\nm,p,share,0.5\n")
    (one,) = tables.read(tmp_path / "t.csv")
    assert (one.value, one.seed, one.low, one.trait, one.ours) == (0.5, None, None, "", False)
