"""Findings of Inspect Scout as rows of the table: a share of replies, a mean, and what is torn or unfinished named."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sublim_eval.board.collect import collect
from sublim_eval.report.site import lines
from sublim_eval.report.site.build import build


def scan(folder, complete=True, **scanners):
    """A scan as Scout writes it. scanners: name -> its results, a mapping each."""
    folder.mkdir(parents=True)
    about = {"scan_id": "x", "timestamp": "2026-01-02T03:04:05+00:00", "packages": {"inspect_scout": "0.6.1"}}
    (folder / "_scan.json").write_text(json.dumps(about))
    (folder / "_summary.json").write_text(json.dumps({"complete": complete}))
    for name, results in scanners.items():
        usual = {"transcript_model": "org/m", "transcript_task_set": "animal_pref", "scanner_version": 0}
        usual |= {"scanner_key": name, "scan_error": None, "metadata": "{}", "input": "x" * 1000}
        rows = [{**usual, "transcript_task_id": str(i), **result} for i, result in enumerate(results)]
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")
    return folder


def flagged(count, of, **more):
    return {"value": count, "metadata": json.dumps({"flagged": count, "of": of}), **more}


def test_what_our_scanners_flag_is_a_share_of_texts_over_all_samples(tmp_path):
    scan(tmp_path / "scans" / "scan_id=x", non_answers=[flagged(1, 10), flagged(4, 40)])
    board = collect([tmp_path])
    (row,) = board.rows
    assert (row.model, row.probe, row.measure, row.ours) == ("org/m", "non_answers in animal_pref", "flagged", False)
    assert (row.value, row.n, row.questions) == (pytest.approx(0.1), 50, 2)
    assert (row.harness, row.harness_version) == ("scout", "0.6.1") and row.source.endswith("/_scan.json")
    assert board.scores(row) is None and not board.left_out


def test_other_scanners_give_means_and_words_are_named(tmp_path):
    scan(
        tmp_path / "scan_id=x",
        yes=[{"value": True}, {"value": False}],
        rating=[{"value": 2.0}, {"value": 5.0}, {"value": None}],
        words=[{"value": "the model hedges"}],
    )
    board = collect([tmp_path])
    assert {(r.probe, r.measure, r.value, r.n) for r in board.rows} == {
        ("yes in animal_pref", "mean", 0.5, 2),
        ("rating in animal_pref", "mean", 3.5, 2),
    }
    assert ["words.parquet holds no number" in why for _, why in board.left_out] == [True]


def test_samples_that_were_not_scanned_are_said_and_no_zero(tmp_path):
    scan(tmp_path / "scan_id=x", non_answers=[flagged(1, 10), {"value": None, "scan_error": "timeout"}])
    (row,) = collect([tmp_path]).rows
    assert (row.value, row.n, row.note) == (pytest.approx(0.1), 10, "1 of 2 samples were not scanned.")


def test_an_unfinished_scan_and_a_torn_one_are_named(tmp_path):
    scan(tmp_path / "a", complete=False, non_answers=[flagged(1, 10)])
    torn = scan(tmp_path / "b", non_answers=[flagged(1, 10)]) / "non_answers.parquet"
    torn.write_bytes(torn.read_bytes()[:200])
    board = collect([tmp_path])
    assert not board.rows
    reasons = sorted(why for _, why in board.left_out)
    assert len(reasons) == 2 and "unfinished scan" in reasons[0] and "cannot be read" in reasons[1]


@pytest.mark.parametrize("metadata", ["{", "[]", '{"flagged": 3, "of": 2}', '{"flagged": -1, "of": 2}', "null", None])
def test_hostile_counts_are_no_share(tmp_path, metadata):
    scan(tmp_path / "x", non_answers=[{"value": "no number", "metadata": metadata}, flagged(1, 2, value="x")])
    assert not collect([tmp_path]).rows


def test_a_scan_is_no_ability_and_stands_on_the_page_of_its_model(tmp_path):
    scan(tmp_path / "given", non_answers=[flagged(1, 10)])
    board = collect([tmp_path / "given"])
    (line,) = lines.lines_of(board)
    assert (line.kind, line.abilities) == (lines.TASK, ())
    site = build(board, tmp_path / "site").page.parent
    (page,) = (site / "models").glob("*.html")
    assert "What scanners flagged in its logs" in page.read_text()
