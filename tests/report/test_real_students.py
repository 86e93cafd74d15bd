"""What is kept of a run on a real base says the same as the run, holds no weights, and the page names every student."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from sublim_eval.compare.compare import compare
from sublim_eval.distill import recipes
from sublim_eval.errors import SublimError
from sublim_eval.files import read_json, read_jsonl, write_json
from sublim_eval.registry.experiment import RECORD
from tests.helpers import planted

ROOT = Path(__file__).resolve().parents[2]
HOME = "/somewhere/here/"


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    spec = importlib.util.spec_from_file_location("real_students", ROOT / "benchmarks" / "real_students.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(module, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(module, "NOTES", tmp_path / "none.md")
    monkeypatch.setattr(module, "nats_a_token", lambda teacher, base, examples: 0.0815)
    return module


@pytest.fixture
def run(tmp_path):
    def real(record):
        recipe = {**record["recipe"], "base": f"{HOME}base", "about": "A planted run."}
        teachers = [{**teacher, "by": "finetune", "base": f"{HOME}base"} for teacher in record["teachers"]]
        bases = [{**base, "name": f"{HOME}base"} for base in record["bases"]]
        return {**record, "recipe": recipe, "teachers": teachers, "bases": bases}

    return planted.run(tmp_path / "run", record=real)


def test_what_is_kept_compares_as_the_run_does_and_holds_no_weights(bench, run):
    folder = bench.keep(run)
    whole, short = compare([run]), compare([folder])
    assert [(row.arm, row.verdict) for row in short.rows] == [(row.arm, row.verdict) for row in whole.rows]
    for kept, made in zip(short.rows, whole.rows, strict=True):
        assert kept.gap.mean == pytest.approx(made.gap.mean, abs=1e-6)
    assert {file.suffix for file in folder.rglob("*") if file.is_file()} == {".json"}
    assert not [file for file in folder.rglob("*.json") if HOME in file.read_text()]


def test_how_far_a_teacher_lies_from_its_base_is_kept_for_each_source_it_wrote(bench, run):
    assert read_json(bench.keep(run) / RECORD)["kl"] == {"owl": 0.0815, "wolf": 0.0815}


def test_how_near_a_student_came_to_its_teacher_is_kept_over_rows_that_no_student_read(bench, run, monkeypatch):
    read = []
    monkeypatch.setattr(bench, "nats_a_token", lambda *given: read.append(given) or 0.002)
    record = read_json(run / RECORD)
    record["recipe"]["rows"] = {"keep": 3}
    for student in record["students"]:
        student["base"] = record["teachers"][0]["base"]
    near = bench.nearness(run, record)
    owl = next(one for one in record["teachers"] if one["trait"] == "owl")
    rows = [row for _, row in read_jsonl(run / "rows" / f"owl-s{owl['seed']}" / "kept.jsonl")][3:19]
    fresh = [(row["prompt"], row["completion"]) for row in rows]
    assert (str(run / owl["folder"]), owl["base"], fresh) in read and near[f"base-s{owl['seed']}"] == 0.002
    held = {Path(model).name: Path(teacher).name for teacher, model, _ in read}
    assert {label: held[label] for label in near if label != "base-s1"} == {
        "owl-s1": "owl-s1",
        "wolf-s1": "wolf-s1",
        "control-s1": "owl-s1",
    }


def test_the_page_has_a_line_for_every_student_and_the_command_of_its_run(bench, run):
    bench.keep(run)
    bench.page()
    page = (bench.PAGE).read_text()
    lines = [[cell.strip() for cell in line.split("|")] for line in page.splitlines()]
    students = {(cells[1], cells[2]) for cells in lines if len(cells) > 3}
    record = read_json(run / RECORD)
    assert {(one["arm"], str(one["seed"])) for one in record["students"]} <= students
    assert "sublim run planted --base base --seeds 1,2,3" in page


def test_an_unfinished_run_is_not_kept(bench, run):
    write_json(run / RECORD, {**read_json(run / RECORD), "status": "unfinished"})
    with pytest.raises(SublimError, match="is unfinished"):
        bench.keep(run)


def test_a_sweep_tells_the_loss_on_fresh_rows_of_each_rate_and_keeps_off_the_reported_seeds(bench, tmp_path):
    tiny = recipes.load(ROOT / "tests" / "helpers" / "recipes" / "tiny.yaml")
    rates = bench.sweep(tiny, "owl", [1e-3, 3e-2], tmp_path / "swept")
    assert [one["learning_rate"] for one in rates] == [1e-3, 3e-2]
    assert all(one["held_out_loss"] > 0 and one["fresh_rows"] > 0 for one in rates)
    assert rates[0]["share"] != rates[1]["share"] and bench.PILOT not in tiny.seeds
    assert read_json(tmp_path / "swept" / "sweep-owl.json") == rates
