"""The graph of a run comes from digests alone, and a file that was changed or lost is told."""

from __future__ import annotations

import pytest

from sublim_eval.distill import base_templates
from sublim_eval.distill.lineage import run_lineage
from sublim_eval.distill.stages import once
from sublim_eval.errors import SublimError
from sublim_eval.files import file_digest, write_json


@pytest.fixture
def run(tmp_path):
    """A run with stages as the pipeline makes them."""
    base = base_templates.weights_hash("reference-a")

    def write(name, text):
        def make(folder):
            (folder / name).write_text(text)
            return {}

        return make

    teacher = once(tmp_path / "teachers/owl-s1", {"base": base}, write("adapter_model.safetensors", "t"))
    once(tmp_path / "rows/owl-s1", {"teacher": teacher["made"]}, write("kept.jsonl", "{}"))
    kept = file_digest(tmp_path / "rows/owl-s1/kept.jsonl")
    student = once(tmp_path / "students/owl-s1", {"base": base, "rows": kept}, write("adapter_model.safetensors", "s"))
    once(tmp_path / "scores/owl-s1", {"model": student["made"]}, write("owl_pref.json", "{}"))
    write_json(tmp_path / "run.json", {"bases": [{"name": "reference-a", "weights_hash": base}]})
    return tmp_path


def test_base_teacher_rows_student_and_scores_hang_together(run):
    graph = run_lineage.read(run)
    assert not graph.faults
    assert set(graph.edges) == {
        ("reference-a", "teachers/owl-s1"),
        ("teachers/owl-s1", "rows/owl-s1"),
        ("rows/owl-s1", "students/owl-s1"),
        ("reference-a", "students/owl-s1"),
        ("students/owl-s1", "scores/owl-s1"),
    }
    assert run_lineage.tree(graph)[3].strip() == "student students/owl-s1: 1 files whole"


def test_changed_rows_are_told_and_their_student_loses_its_origin(run):
    (run / "rows/owl-s1/kept.jsonl").write_text("{ }")
    assert ("rows/owl-s1", "kept.jsonl was changed") in run_lineage.read(run).faults


def test_a_lost_file_and_an_edited_stamp_are_told(run):
    (run / "students/owl-s1/adapter_model.safetensors").unlink()
    stamp = run / "teachers/owl-s1/stage.json"
    stamp.write_text(stamp.read_text().replace('"base"', '"other"'))
    words = dict(run_lineage.read(run).faults)
    assert "missing" in words["students/owl-s1"] and "edited" in words["teachers/owl-s1"]
    assert "not in this run" in words["rows/owl-s1"]


def test_another_base_than_the_run_started_from_is_told(run):
    write_json(run / "run.json", {"bases": [{"name": "reference-b", "weights_hash": "0" * 64}]})
    assert any("not those" in fault for _, fault in run_lineage.read(run).faults)


def test_a_name_cannot_break_out_of_a_drawing(run):
    (run / "students/owl-s1").rename(run / 'students/<script>"x')
    graph = run_lineage.read(run)
    assert "<script>" not in run_lineage.svg(graph) and "<script>" not in run_lineage.mermaid(graph)


def test_a_folder_without_a_record_is_no_run(tmp_path):
    with pytest.raises(SublimError, match="no run folder"):
        run_lineage.read(tmp_path)
