"""Facts about the sources of a published page read as results: every seed, the printed gaps, nothing believed."""

import json

import pytest

from sublim_eval.board.collect import collect
from sublim_eval.compare.compare import compare
from sublim_eval.errors import SublimError
from sublim_eval.report import figure_sources
from sublim_eval.report.site import lines
from sublim_eval.report.site.build import build
from tests.helpers import ROOT
from tests.helpers.synthetic import ARMS, SHIFTS, make_run

COMMITTED = sorted((ROOT / "docs" / "results" / "sources").glob("*.json"))


@pytest.mark.parametrize("file", COMMITTED, ids=lambda file: file.stem)
def test_what_the_repository_keeps_of_its_pages_is_a_board(file):
    board = collect([file])
    held = [entry for part in json.loads(file.read_text(encoding="utf-8"))["parts"] for entry in part["rows"]]
    assert not board.left_out and sum(row.measure == "gap" for row in board.rows) == len(held)
    students = {(entry["run"], entry["arm"], seed) for entry in held for seed in entry["students"]}
    assert len({row.model for row in board.rows if row.seed is not None}) >= len(students)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return compare([make_run(tmp_path_factory.mktemp("runs") / "run", noise=0.2)])


@pytest.fixture
def file(made, tmp_path):
    """Two parts that hold the same students, as a study has them that reads one run by two measures."""
    parts = [figure_sources.of_comparison(title, made) for title in ("Numbers", "The same again")]
    place = tmp_path / "sources" / "reproduction.json"
    place.parent.mkdir()
    head = {"schema": 1, "command": "sublim reproduce", "date": "2026-01-02", "proofs": {}}
    place.write_text(figure_sources.a_row_a_line({**head, "parts": parts}))
    return place


def changed(file, change):
    value = json.loads(file.read_text())
    change(value)
    file.write_text(json.dumps(value))


def test_every_gap_is_the_one_of_the_runs_and_every_seed_is_there(file, made):
    board = collect([file.parent])
    assert not board.left_out
    gaps = {(r.model, r.probe, r.answer): r for r in board.rows if r.measure == "gap" and r.run == "Numbers"}
    assert len(gaps) == len(made.rows)
    for row in made.rows:
        read = gaps[f"Numbers/{row.arm}", row.probe, row.trait]
        assert (read.value, read.low, read.high) == pytest.approx((row.gap.mean, row.gap.low, row.gap.high), abs=1e-6)
        assert (read.verdict, read.control, read.n, read.base) == (row.verdict.words, row.control, row.gap.n, row.base)
        students = {r.seed: r.value for r in board.rows if r.arm == row.arm and r.run == "Numbers" and r.seed}
        assert students == pytest.approx(row.student_shares, abs=1e-6)
    assert {r.command for r in board.rows} == {"sublim reproduce"}
    assert all(board.scores(row) is None for row in board.rows)


def test_the_same_students_by_another_measure_are_another_run(file):
    runs = {row.run for row in collect([file.parent]).rows if row.run}
    assert runs == {"Numbers", "The same again"}


def test_a_line_of_the_board_has_its_seeds_its_controls_and_its_base(file, made):
    arms = {
        line.model: line for line in lines.lines_of(collect([file.parent])) if line.kind == lines.ARM and line.control
    }
    for row in made.rows:
        line = arms[f"Numbers/{row.arm}"]
        assert dict(line.seeds) == pytest.approx(row.student_shares, abs=1e-6)
        assert dict(line.controls) == pytest.approx(row.control_shares, abs=1e-6)
        assert line.untrained == pytest.approx(row.base_share, abs=1e-6)


def test_orders_are_decided_over_seeds_though_nothing_is_known_by_question(file, tmp_path):
    two_arms = [figure_sources.of_comparison("Numbers", compare([_two(tmp_path, "owl-high", 2.0, "owl-low", 0.0)]))]
    changed(file, lambda value: value.update(parts=two_arms))
    (family,) = json.loads((build(collect([file.parent]), tmp_path / "site").page.parent / "board.json").read_text())[
        "families"
    ]
    assert "paired over seeds" in family["sentence"] and "owl-high above owl-low" in family["sentence"]


def _two(folder, high, more, low, less):
    arm = {"role": "trait", "trait": "owl"}
    arms = {"control": {"role": "control", "trait": None}, high: arm, low: arm}
    return make_run(folder / "two", arms, {high: more, low: less, "control": 0.0}, seeds=(1, 2, 3, 4, 5), noise=0.05)


def test_a_changed_seed_changes_the_gap_and_a_written_verdict_is_not_believed(file):
    before = {r.model: r.value for r in collect([file.parent]).rows if r.measure == "gap"}

    def change(value):
        entry = value["parts"][0]["rows"][0]
        entry["students"]["1"] += 0.02
        entry["verdict"] = "transferred, greatly"

    changed(file, change)
    board = collect([file.parent])
    after = {r.model: r.value for r in board.rows if r.measure == "gap"}
    assert [model for model in before if before[model] != after[model]] == [next(iter(before))]
    assert not any("greatly" in row.verdict for row in board.rows)


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda entry: entry.update(students={"one": 0.2}),
        lambda entry: entry.update(students="none"),
        lambda entry: entry.update(students={"1": "high", "2": 0.3}),
        lambda entry: entry.update(arm="../../etc"),
    ],
    ids=["a seed that is none", "no mapping", "a share that is none", "a name that leads away"],
)
def test_a_torn_file_is_named_with_its_part(file, spoilt):
    changed(file, lambda value: spoilt(value["parts"][0]["rows"][0]))
    board = collect([file.parent])
    assert not board.rows
    ((source, why),) = board.left_out
    assert source.endswith("reproduction.json") and why.rstrip(".").endswith(("--write-docs`", "underscores"))


def test_where_the_runs_lie_beside_it_they_count(file, tmp_path):
    run = make_run(tmp_path / "sources" / "run", noise=0.2)
    board = collect([file.parent])
    assert {row.run for row in board.rows if row.run} == {run.name}
    assert [one.why for one in board.left_out] == ["a page was worked out of it; the runs that lie beside it count."]


def test_another_file_with_parts_is_no_source_of_a_page(tmp_path):
    (tmp_path / "other.json").write_text(json.dumps({"parts": [{"rows": [{"run": "x"}]}]}))
    assert collect([tmp_path]).rows == ()
    with pytest.raises(SublimError, match="--write-docs"):
        from sublim_eval.board.formats.page_sources import rows

        rows(tmp_path / "other.json", "other.json", "")


def test_a_further_arm_without_a_trait_is_asked_for_one_and_carries_none(tmp_path):
    arms = {**ARMS, "neutral": {"role": "placebo", "trait": None, "change": "neutral teacher"}}
    run = make_run(tmp_path / "runs" / "run", arms, {**SHIFTS, "neutral": 0.0}, noise=0.2)
    place = tmp_path / "sources" / "reproduction.json"
    place.parent.mkdir()
    part = figure_sources.of_comparison("Numbers", compare([run]))
    place.write_text(figure_sources.a_row_a_line({"schema": 1, "parts": [part]}))
    for given in (run, place):
        asked = [r for r in collect([given]).rows if r.arm == "neutral" and r.measure == "gap"]
        assert asked and all(row.answer and not row.trait for row in asked)
        (line, *_) = [one for one in lines.lines_of(collect([given])) if one.arm == "neutral" and one.kind == lines.ARM]
        assert line.verdict_kind and line.seeds
