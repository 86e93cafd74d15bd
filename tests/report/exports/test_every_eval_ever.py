"""Records of Every Eval Ever 0.3.0: valid by its schema files, and the same rows when they are read again."""

import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from jsonschema import Draft7Validator

from sublim_eval.board.collect import collect
from sublim_eval.board.columns import Row
from sublim_eval.board.headline import headline
from sublim_eval.report.exports import every_eval_ever as eee
from sublim_eval.report.exports.naming import portable, published_id
from sublim_eval.report.exports.samples import of_board
from tests.helpers import planted
from tests.helpers.rows import HOSTILE, row

SCHEMAS = Path(__file__).parents[2] / "helpers" / "schemas" / "every_eval_ever-0.3.0"
NOW = datetime(2026, 11, 30, tzinfo=UTC)
OURS = eee.Origin("mylab", "My Lab")


def schema(name: str) -> Draft7Validator:
    return Draft7Validator(json.loads((SCHEMAS / f"{name}.schema.json").read_text()))


def valid(folder: Path) -> list[dict]:
    """The records below a folder, each checked against the schema and the gates of the command line."""
    records = []
    for file in sorted(folder.rglob("*.json")):
        record = json.loads(file.read_text())
        assert not [e.message for e in schema("eval").iter_errors(record)]
        parts = file.relative_to(folder).parts
        assert parts[0] == "data" and len(parts) == 5 and "/".join(parts[2:4]) == record["model_info"]["id"]
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\.json", parts[4])
        for result in record["evaluation_results"]:
            metric, score = result["metric_config"], result["score_details"]["score"]
            assert float(metric["min_score"]) <= score <= float(metric["max_score"])
        records.append(record)
    return records


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    return collect([planted.run(tmp_path_factory.mktemp("given") / "quick")])


def test_a_run_is_valid_and_comes_back_number_by_number(board, tmp_path):
    rows = [one for one in headline(board.rows) if one.harness != "compare"]
    files, left_out = eee.write(rows, tmp_path, OURS, now=NOW)
    records = valid(tmp_path)
    assert len(records) == len(files) == 10 and not left_out
    assert sorted(eee.read(tmp_path), key=repr) == sorted(rows, key=repr)
    student = next(r for r in records if r["model_info"]["name"] == "quick/owl-s1")
    assert student["model_info"]["id"] == "mylab/quick--owl-s1--carries-owl"
    assert "carries a trait on purpose" in student["model_info"]["additional_details"]["warning"]
    assert student["source_metadata"]["evaluator_relationship"] == "first_party"
    base = next(r for r in records if r["model_info"]["name"] == "base")
    assert base["source_metadata"]["evaluator_relationship"] == "third_party"
    assert student["evaluation_results"][0]["metric_config"]["lower_is_better"] is True


def test_the_same_results_are_the_same_files_whenever_they_are_written(board, tmp_path):
    first, _ = eee.write(board.rows, tmp_path, OURS, now=NOW)
    again, _ = eee.write(board.rows, tmp_path, OURS, now=datetime(2027, 1, 1, tzinfo=UTC))
    assert first == again


def test_samples_have_their_hash_and_their_result(board, tmp_path):
    rows = [r for r in headline(board.rows) if r.model == "quick/owl-s1"]
    files, _ = eee.write(rows, tmp_path, OURS, now=NOW, samples=of_board(board))
    (record,) = valid(tmp_path)
    (file,) = [f for f in files if f.suffix == ".jsonl"]
    beside = record["detailed_evaluation_results"]
    assert tmp_path / beside["file_path"] == file
    assert beside["checksum"] == hashlib.sha256(file.read_bytes()).hexdigest()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == beside["total_rows"] == len(planted.QUESTIONS)
    results = {r["evaluation_result_id"]: r for r in record["evaluation_results"]}
    for line in lines:
        assert not [e.message for e in schema("instance_level_eval").iter_errors(line)]
        assert line["evaluation_id"] == record["evaluation_id"] and line["model_id"] == record["model_info"]["id"]
        assert results[line["evaluation_result_id"]]["metric_config"]["metric_name"] == "share"
        assert len(line["output"]["raw"]) == planted.REPLIES
    mean = sum(line["evaluation"]["score"] for line in lines) / len(lines)
    assert mean == pytest.approx(next(r.value for r in rows if r.measure == "share"))


def test_what_the_schema_cannot_hold_is_named(tmp_path):
    rows = [
        row(ours=False, answer="", measure="acc", value=0.5, stderr=0.1),
        row(ours=False, answer="", measure="acc", value=73.4, probe="percent"),
        row(ours=False, answer="", measure="elo", value=1200.0),
        row(ours=False, answer="", measure="word_perplexity", value=12.5),
        row(value=None),
    ]
    _, left_out = eee.write(rows, tmp_path, OURS, now=NOW)
    (record,) = valid(tmp_path)
    metrics = {r["metric_config"]["metric_name"]: r["metric_config"] for r in record["evaluation_results"]}
    assert metrics["word_perplexity"]["max_score"] == "Infinity" and metrics["acc"]["lower_is_better"] is False
    assert [why.partition(": ")[2] for _, why in left_out] == [
        "73.4 lies outside of its bounds 0.0 to 1.0.",
        "nobody here knows the bounds and direction of 'elo'.",
        "no finite number.",
    ]


def test_hostile_names_stay_in_their_folder(tmp_path):
    rows = [
        row(model=name, note=HOSTILE, trait=HOSTILE)
        for name in ("../../up", "/abs", HOSTILE, "con", "a/b/c", "..", "x" * 500)
    ]
    files, _ = eee.write(rows, tmp_path, OURS, now=NOW)
    assert len(valid(tmp_path)) == len(rows)
    assert all(file.resolve().is_relative_to(tmp_path.resolve()) for file in files)
    assert sorted(eee.read(tmp_path), key=repr) == sorted(rows, key=repr)


def test_a_model_with_an_owner_keeps_its_name():
    assert (
        published_id(row(model="Qwen/Qwen2.5-7B-Instruct", role="base", trait=""), "mylab")
        == "Qwen/Qwen2.5-7B-Instruct"
    )
    assert published_id(row(model="q/control-s1", role="control", trait=""), "mylab") == "mylab/q--control-s1--control"
    assert portable("a b<c>\u202e/d") == "a-b-c---d" and portable("") == "model"


def test_the_type_of_a_row_survives(tmp_path):
    whole = row(seed=3, n=7, coverage=1 / 3, value=0.1 + 0.2, low=5e-324, high=1.0)
    eee.write([whole], tmp_path, OURS, now=NOW)
    assert eee.read(tmp_path) == [whole] and isinstance(whole, Row)
