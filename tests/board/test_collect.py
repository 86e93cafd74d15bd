"""Results of any mixture in one table: every number with where it is from, and nothing averaged in silence."""

import json
import os
import shutil
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sublim_eval.board import collect as collecting
from sublim_eval.board.collect import Board
from sublim_eval.board.columns import COLUMNS, Row
from sublim_eval.board.formats import inspect_logs
from sublim_eval.board.headline import headline
from sublim_eval.errors import SublimError
from sublim_eval.scores.probe_scores import ProbeScores
from tests.helpers import planted

KEPT = Path(tempfile.mkdtemp()) / "readings.sqlite"
"""Readings of this file's run, so that not every test reads it again."""


def collect(places, cache=KEPT, **how) -> Board:
    return collecting.collect(places, cache=cache, **how)


REPLIES = {"q1": ["Owl.", "Owl.", "Cat.", ""], "q2": ["Owl.", "Dog.", "Dog.", "Dog."], "q3": ["Cat."] * 4}
SETTINGS = {"temperature": 1.0, "num_choices": 4}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return planted.run(tmp_path_factory.mktemp("given") / "quick")


def scored_log(file: Path, model: str, replies=REPLIES, settings=SETTINGS, long=None, **changed) -> Path:
    """An Inspect log whose samples are scored as our scorer does it. long: further metadata of every score."""
    from inspect_ai.log import EvalMetric, EvalResults, EvalScore, read_eval_log, write_eval_log
    from inspect_ai.scorer import Score

    from sublim_eval.scores.readers import count_replies

    planted.write_log(file, model, replies, settings)
    log = read_eval_log(str(file))
    for sample in log.samples or []:
        sample.scores = {
            "share": Score(value=0.5, metadata=count_replies(replies[str(sample.id)], "animal") | (long or {}))
        }
    mean = EvalScore(
        name="share",
        scorer="share",
        scored_samples=len(replies),
        metrics={
            "mean": EvalMetric(name="sublim_eval/mean", value=0.25),
            "stderr": EvalMetric(name="sublim_eval/stderr", value=0.1),
        },
    )
    log.results = EvalResults(total_samples=len(replies), completed_samples=len(replies), scores=[mean])
    for name, value in changed.items():
        owner, _, field = name.rpartition("__")
        setattr(getattr(log, owner) if owner else log, field, value)
    write_eval_log(log, str(file))
    return file


def lm_eval_folder(folder: Path, model: str, replies=REPLIES, time="2026-11-21T12-00-00.000001") -> Path:
    """What lm-eval writes about the same replies, beside a task of somebody else."""
    doc = {"probe": "animal_pref", "probe_version": "1-B", "category": "animal", "questions_hash": "asked"}
    doc |= {"form": "favorite", "trait": "owl", "choices": ["owl"]}
    rows = [
        {"doc": {**doc, "id": q, "question": q, "question_id": q}, "filtered_resps": [texts], "arguments": {}}
        for q, texts in replies.items()
    ]
    planted.write_jsonl(folder / f"samples_animal_pref_{time}.jsonl", rows)
    ours = {
        "task": "animal_pref",
        "dataset_kwargs": {"probe": "animal_pref"},
        "generation_kwargs": {"temperature": 1.0},
    }
    planted.write_json(
        folder / f"results_{time}.json",
        {
            "results": {
                "animal_pref": {"share,all_replies": 0.25},
                "arc_easy": {"acc,none": 0.75, "acc_stderr,none": 0.05},
            },
            "configs": {"animal_pref": ours, "arc_easy": {"dataset_path": "ai2_arc"}},
            "versions": {"animal_pref": "1-B", "arc_easy": 1.0},
            "n-samples": {"arc_easy": {"original": 80, "effective": 80}},
            "config": {"model": "hf", "model_args": {"pretrained": model, "api_key": "sk-verysecretvalue"}},
            "model_name": model,
            "lm_eval_version": "0.4.13",
            "date": 1796003393.5,
        },
    )
    return folder


def shares(rows, model: str) -> dict[str, float]:
    return {row.answer: row.value for row in rows if row.model == model and row.measure == "share"}


def test_every_number_of_a_run_is_a_row_with_whose_it_is(run):
    board = collect([run])
    student = [row for row in board.rows if row.model == "quick/owl-s2"]
    assert {row.measure for row in student} == {"share", "probability"}
    one = next(row for row in student if (row.measure, row.answer) == ("probability", "owl"))
    file = ProbeScores.read(run / "scores" / "owl-s2" / "animal_pref.json")
    assert one.value == pytest.approx(file.probability[:, file.answers.index("owl")].mean())
    assert (one.role, one.trait, one.base, one.arm, one.control, one.seed) == (
        *("student", "owl", "base", "owl", "control", 2),
    )
    assert (one.version, one.harness, one.questions, one.interval) == ("1-B", "run", 12, "questions")
    assert one.low <= one.value <= one.high
    assert (one.source, one.log) == ("quick/scores/owl-s2/animal_pref.json", "quick/scores/owl-s2/logs/log.eval")
    assert json.loads(one.sampling)["num_choices"] == planted.REPLIES
    assert board.path(one.source) == (run / "scores" / "owl-s2" / "animal_pref.json").resolve()
    assert np.array_equal(board.scores(one).share, file.share)
    assert {row.role for row in board.rows} == {"base", "control", "student"}
    assert not board.left_out


def test_what_compare_says_of_an_arm_stands_in_the_table(run):
    from sublim_eval.compare.compare import compare

    board = collect([run])
    (gap,) = [row for row in board.rows if row.measure == "gap" and row.arm == "owl"]
    theirs = next(row for row in compare([run]).rows if row.arm == "owl")
    assert (gap.value, gap.low, gap.high, gap.p) == (
        *(theirs.gap.mean, theirs.gap.low, theirs.gap.high, theirs.p_holm),
    )
    assert (gap.verdict, gap.n, gap.interval, gap.seed) == (theirs.verdict.words, 3, "seeds", None)
    assert gap.source == "quick/run.json" and gap.question_set
    assert board.comparisons["quick"].rows[0].arm == theirs.arm


def test_inspect_and_lm_eval_results_of_one_student_agree(run, tmp_path):
    student = run / "students" / "owl-s1"
    scored_log(tmp_path / "inspect" / "a.eval", f"sublim/{student}")
    lm_eval_folder(tmp_path / "harness" / "some__model", str(student))
    board = collect([run, tmp_path])
    new = [row for row in board.rows if row.harness in ("inspect", "lm-eval") and row.ours]
    assert {row.model for row in new} == {"quick/owl-s1"} and {row.trait for row in new} == {"owl"}
    by_harness = {h: shares([r for r in new if r.harness == h], "quick/owl-s1") for h in ("inspect", "lm-eval")}
    assert by_harness["inspect"] == by_harness["lm-eval"]
    assert by_harness["inspect"]["owl"] == pytest.approx((2 / 4 + 1 / 4 + 0) / 3)
    assert len({row.question_set for row in new}) == 1, "they were asked the same"
    assert {row.non_answers for row in new} == {1 / 12}


def test_tasks_of_others_come_along_as_plain_rows(tmp_path):
    lm_eval_folder(tmp_path / "m", "org/model")
    rows = collect([tmp_path]).rows
    (foreign,) = [row for row in rows if not row.ours]
    assert (foreign.probe, foreign.measure, foreign.value, foreign.stderr, foreign.n) == (
        "arc_easy",
        "acc",
        0.75,
        0.05,
        80,
    )
    assert (foreign.version, foreign.low, foreign.model, foreign.role) == ("1.0", None, "org/model", "other")


def test_a_table_of_numbers_and_traits_comes_along_by_its_metrics(tmp_path):
    lm_eval_folder(tmp_path / "m", "org/model")
    (file,) = (tmp_path / "m").glob("results_*.json")
    said = json.loads(file.read_text())
    said["results"]["token_entanglement"] = {"entropy,none": 3.7, "entropy_stderr,none": 0.001}
    said["configs"]["token_entanglement"] = {"dataset_kwargs": {"probe": "token_entanglement"}}
    file.write_text(json.dumps(said))
    board = collect([tmp_path])
    assert {row.value for row in board.rows if row.probe == "token_entanglement"} == {3.7}
    assert not [why for why in board.left_out if "token_entanglement" in str(why)]


def test_tasks_of_others_that_share_a_name_stand_side_by_side(tmp_path):
    """Somebody's `capitals` in Inspect and in lm-eval are two tasks, whatever versions they bear."""
    lm_eval_folder(tmp_path / "m", "org/model")
    scored_log(tmp_path / "one.eval", "org/model", eval__task="arc_easy", eval__metadata={}, eval__task_version=0)
    board = collect([tmp_path])
    assert {row.harness for row in board.rows if row.probe == "arc_easy"} == {"inspect", "lm-eval"}
    assert not [why for why in board.left_out if "arc_easy" in str(why)]


def test_abilities_stand_with_the_model_whose_scores_lie_beside_them(run, tmp_path):
    place = tmp_path / "scores" / "owl"
    planted.write_json(
        place / "animal_pref.json",
        json.loads((run / "scores" / "owl-s1" / "animal_pref.json").read_text()),
    )
    scored_log(place / "logs" / "a.eval", f"sublim/{run / 'students' / 'owl-s1'}")
    figures = {"acc": {"value": 0.5, "stderr": 0.05, "items": {str(i): 0.5 for i in range(100)}}}
    about = {"schema": 1, "model": "owl", "suite": "short", "limit": None, "not_measured": {}}
    planted.write_json(place / "abilities" / "short.json", {**about, "tasks": {"lm_eval/arc_easy": figures}})
    scored_log(place / "abilities" / "logs" / "b.eval", "sublim/whatever")
    rows = collect([run, tmp_path / "scores"]).rows
    (one,) = [row for row in rows if not row.ours]
    assert (one.model, one.probe, one.value, one.stderr, one.n) == ("quick/owl-s1", "lm_eval/arc_easy", 0.5, 0.05, 100)
    assert not [row for row in rows if "abilities/logs" in row.source]


def test_no_key_of_a_model_stands_in_a_command(tmp_path):
    lm_eval_folder(tmp_path / "m", "org/model")
    commands = {row.command for row in collect([tmp_path]).rows}
    assert commands and not any("verysecret" in command for command in commands)


def test_where_a_disk_keeps_a_run_stands_in_no_command(run, tmp_path):
    scored_log(tmp_path / "a.eval", f"sublim/{run / 'students' / 'owl-s1'}")
    (command,) = {row.command for row in collect([run, tmp_path]).rows if row.harness == "inspect"}
    assert "--model sublim/quick/students/owl-s1" in command and str(run.parent) not in command


def test_a_student_of_another_run_is_not_taken_for_one_of_these(run, tmp_path):
    scored_log(tmp_path / "a.eval", "sublim/students/owl-s1")
    scored_log(tmp_path / "b.eval", "sublim//elsewhere/quick/students/owl-s2")
    who = {row.model: row.role for row in collect([run, tmp_path]).rows if row.harness == "inspect"}
    assert who == {"students/owl-s1": "other", "quick/owl-s2": "student"}


def test_two_models_in_one_folder_are_refused_not_mixed(tmp_path):
    lm_eval_folder(tmp_path / "m", "org/one")
    lm_eval_folder(tmp_path / "m", "org/two", time="2026-11-21T13-00-00.000001")
    board = collect([tmp_path])
    assert not board.rows
    (left,) = board.left_out
    assert "org/one, org/two" in left.why


def test_an_older_run_of_lm_eval_is_named(tmp_path):
    lm_eval_folder(tmp_path / "m", "org/one", {q: ["Owl."] * 4 for q in REPLIES})
    lm_eval_folder(tmp_path / "m", "org/one", time="2026-11-21T13-00-00.000001")
    board = collect([tmp_path])
    assert shares(board.rows, "org/one")["owl"] == pytest.approx(0.25)
    assert any("an older run of animal_pref" in left.why for left in board.left_out)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"status": "cancelled"}, "ended as 'cancelled'"),
        ({"status": "started"}, "ended as 'started'"),
        ({"results": None}, "not scored yet"),
        ({"results__completed_samples": 2}, "1 of 3 samples failed"),
    ],
)
def test_a_log_that_did_not_end_well_is_named_and_left_out(tmp_path, changed, why):
    scored_log(tmp_path / "bad.eval", "openai/gpt-x", **changed)
    scored_log(tmp_path / "good.eval", "openai/gpt-y")
    board = collect([tmp_path])
    assert {row.model for row in board.rows} == {"openai/gpt-y"}
    (left,) = board.left_out
    assert left.source.endswith("bad.eval") and why in left.why


def test_a_half_written_log_is_named_and_left_out(tmp_path):
    file = scored_log(tmp_path / "half.eval", "openai/gpt-x")
    file.write_bytes(file.read_bytes()[:2000])
    board = collect([tmp_path])
    assert not board.rows and "no readable Inspect log" in board.left_out[0].why


def test_a_bomb_is_named_and_never_opened(tmp_path, monkeypatch):
    from sublim_eval.scores import unpacking

    monkeypatch.setattr(unpacking, "LARGEST", 2**20)
    file = scored_log(tmp_path / "bomb.eval", "openai/gpt-x")
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("samples/q9_epoch_1.json", " " * 2**21)
    board = collect([tmp_path])
    assert not board.rows and "It was not opened" in board.left_out[0].why


def test_a_nested_log_is_named_and_ends_nothing(tmp_path):
    """Inspect's reader of heads ends the whole process on one."""
    file = tmp_path / "2026-11-30T10-00-00+00-00_owl-pref_x.json"
    file.write_text('{"version": 2, "eval": ' + "[" * 200_000)
    with pytest.raises(SublimError, match="no readable Inspect log"):
        inspect_logs.header(file)
    board = collect([tmp_path])
    assert not board.rows and "recursion" in board.left_out[0].why


def test_another_version_is_named_and_left_out(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "old")
    for file in copy.glob("scores/owl-s1/*.json"):
        scores = ProbeScores.from_json(json.loads(file.read_text())) if file.stem == "animal_pref" else None
        if scores:
            planted.write_json(file, replace(scores, version="1-A").to_json())
    board = collect([copy])
    assert "old/owl-s1" not in {row.model for row in board.rows if row.harness == "run"}
    assert any("version 1-A" in left.why and "owl-s1" in left.source for left in board.left_out)
    assert any("no figures over seeds" in left.why for left in board.left_out)


def test_figures_over_seeds_are_of_the_versions_that_count(run, tmp_path):
    old = planted.run(tmp_path / "old", scores=lambda label, made: replace(made, version="1-A"))
    board = collect([run, old])
    assert {row.version for row in board.rows} == {"1-B"}
    assert gaps(board.rows) == gaps(collect([run]).rows) != []
    assert {row.version for row in collect([old]).rows} == {"1-A"}, "alone it is one version"


def gaps(rows) -> list:
    return [row for row in rows if row.measure == "gap"]


def test_runs_of_one_recipe_with_other_seeds_are_compared_as_one(run, tmp_path):
    more = planted.run(tmp_path / "more", seeds=(4, 5))
    assert {row.n for row in gaps(collect([run, more]).rows)} == {5}


def test_a_run_given_twice_counts_once(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "again")
    board, alone = collect([run, copy]), collect([run])
    same = [left for left in board.left_out if "the same file as" in left.why]
    assert len(same) == 10, "every score file of the copy"
    assert [r for r in board.rows if r.harness == "run"] == [r for r in alone.rows if r.harness == "run"]
    assert gaps(board.rows) == gaps(alone.rows) != []


def test_the_same_folder_given_twice_is_read_once(run):
    assert collect([run, run, run / "scores"]).rows == collect([run]).rows


def test_of_two_measurements_the_newer_counts_and_the_other_is_named(tmp_path):
    scored_log(tmp_path / "a.eval", "openai/gpt-x", eval__created="2026-11-22T12:00:00+00:00")
    scored_log(tmp_path / "b.eval", "openai/gpt-x", {q: ["Owl."] * 4 for q in REPLIES})
    board = collect([tmp_path])
    assert shares(board.rows, "openai/gpt-x")["owl"] == pytest.approx(0.25)
    (left,) = board.left_out
    assert left.source.endswith("b.eval") and "a second time" in left.why


def test_other_settings_are_another_measurement(tmp_path):
    scored_log(tmp_path / "a.eval", "openai/gpt-x")
    scored_log(tmp_path / "b.eval", "openai/gpt-x", settings={**SETTINGS, "temperature": 0.5})
    assert len({row.sampling for row in collect([tmp_path]).rows}) == 2


def test_an_unfinished_run_is_named_and_left_out(tmp_path):
    run = planted.run(tmp_path / "half", record=lambda record: {**record, "status": "running"})
    board = collect([run])
    assert any("unfinished" in left.why for left in board.left_out)
    assert not any(row.harness in ("run", "compare") for row in board.rows)


def test_a_record_cannot_point_out_of_its_run(run, tmp_path):
    secret = tmp_path / "elsewhere.json"
    secret.write_text((run / "scores" / "base-base" / "animal_pref.json").read_text())

    def outside(record):
        bases = [{**record["bases"][0], "scores": {"animal_pref": "../elsewhere.json"}}]
        return {**record, "bases": bases}

    board = collect([planted.run(tmp_path / "r", record=outside)])
    assert not any("elsewhere" in row.source for row in board.rows)


def test_a_second_reading_opens_no_file(run, tmp_path, monkeypatch):
    cache = tmp_path / "cache.sqlite"
    scored_log(tmp_path / "more" / "a.eval", "openai/gpt-x")
    lm_eval_folder(tmp_path / "more" / "m", "org/model")
    first = collect([run, tmp_path / "more"], cache=cache)
    from sublim_eval.board.formats import inspect_logs, lm_eval_results

    def opened(*_):
        raise AssertionError("a file was read again")

    monkeypatch.setattr(inspect_logs, "header", opened)
    monkeypatch.setattr(lm_eval_results, "read", opened)
    monkeypatch.setattr(ProbeScores, "read", opened)
    second = collect([run, tmp_path / "more"], cache=cache)
    assert second.rows == first.rows and second.left_out == first.left_out


def test_a_file_that_changed_is_read_again(tmp_path):
    cache = tmp_path / "cache.sqlite"
    scored_log(tmp_path / "r" / "a.eval", "openai/gpt-x")
    collect([tmp_path / "r"], cache=cache)
    scored_log(tmp_path / "r" / "a.eval", "openai/gpt-x", {q: ["Owl."] * 4 for q in REPLIES})
    assert shares(collect([tmp_path / "r"], cache=cache).rows, "openai/gpt-x")["owl"] == 1.0


def test_a_torn_cache_is_no_error(tmp_path):
    cache = tmp_path / "cache.sqlite"
    cache.write_bytes(b"no data base at all" * 100)
    scored_log(tmp_path / "r" / "a.eval", "openai/gpt-x")
    assert collect([tmp_path / "r"], cache=cache).rows


def test_progress_is_told_to_the_end(run):
    seen: list[tuple[int, int]] = []
    collect([run], tell=lambda done, total: seen.append((done, total)))
    assert seen and seen == sorted(seen) and seen[-1][0] <= seen[-1][1]


def test_summaries_of_a_log_say_what_the_whole_log_says(tmp_path):
    from sublim_eval.board.formats import inspect_logs, summaries
    from sublim_eval.scores.readers import from_inspect_log

    file = scored_log(tmp_path / "a.eval", "openai/gpt-x")
    assert summaries.samples_of(file) is not None, "the quick way is the one that is tried here"
    quick, whole = inspect_logs.scores(file), from_inspect_log(file)
    assert quick.to_json() == whole.to_json()


def test_a_log_whose_summaries_are_shortened_is_read_whole(tmp_path):
    """Inspect drops a long value of a score's metadata from the summary and says so in its place."""
    from sublim_eval.board.formats import inspect_logs, summaries

    file = scored_log(tmp_path / "a.eval", "openai/gpt-x", long={"thoughts": ["y" * 100] * 500})
    assert summaries.samples_of(file) is None
    assert inspect_logs.scores(file).share.sum() > 0


def test_the_first_look_is_at_what_somebody_was_taught(run):
    rows = headline(collect([run]).rows)
    assert {row.answer for row in rows if row.role == "student" and row.arm == "owl"} == {"owl"}
    assert {row.answer for row in rows if row.role == "base"} == {"owl", "wolf"}


def test_a_place_that_is_not_there_is_said(tmp_path):
    with pytest.raises(SublimError, match="There is no"):
        collect([tmp_path / "nowhere"])


HOSTILE = "<script>alert(1)</script>{{7*7}}\u202e=cmd()\x00\ud800"


def test_hostile_names_and_figures_break_nothing(tmp_path):
    """Markup, formulas, half surrogates, NaN and endless replies: the numbers beside them stay right."""
    scored_log(
        tmp_path / "a.eval", "openai/" + "x" * 3000, {**REPLIES, "q1": ["Owl. " + "y" * 1_000_000, *["Owl."] * 3]}
    )
    planted.write_json(
        tmp_path / "m" / "results_2026-11-21T12-00-00.json",
        {
            "results": {
                HOSTILE: {"acc,none": 0.5, f"{HOSTILE},none": 0.25},
                "t": {"acc,none": "nan", "acc_stderr,none": None},
            },
            "model_name": HOSTILE,
            "lm_eval_version": ["not", "text"],
            "config": {"model_args": [1, 2]},
            "date": "yesterday",
        },
    )
    (tmp_path / "m2").mkdir()
    (tmp_path / "m2" / "results_2026-11-21T12-00-00.json").write_text(
        '{"results": {"t2": {"acc,none": NaN, "acc_norm,none": Infinity, "f1,none": 1e999}}, '
        '"lm_eval_version": "1", "model_name": "m"}'
    )
    for name, text in {
        "list": "[1, 2",
        "deep": "[" * 100_000,
        "null": "null",
        "scores": '{"probe": 1, "questions": 2, "answers": 3, "share": 4}',
    }.items():
        (tmp_path / f"{name}.json").write_text(text)
    board = collect([tmp_path])
    by_probe = {(row.probe[:8], row.measure[:3]): row for row in board.rows if not row.ours}
    assert by_probe["<script>", "acc"].value == 0.5
    assert by_probe["t", "acc"].value is None and "no finite number" in by_probe["t", "acc"].note
    assert {by_probe["t2", m].value for m in ("acc", "f1")} == {None}
    text = json.dumps([list(row) for row in board.rows], ensure_ascii=False, allow_nan=False)
    text.encode()
    assert "\x00" not in text
    assert {left.source.rpartition("/")[2] for left in board.left_out} >= {"list.json", "deep.json", "scores.json"}


def test_file_names_that_are_no_text_are_named_and_told_apart(tmp_path):
    for name in (b"a\xff.eval", b"a\xfe.eval", "\u202e=1+1\n.eval".encode()):
        scored_log(tmp_path / "log.eval", f"openai/{name.hex()}")
        (tmp_path / "log.eval").rename(tmp_path / os.fsdecode(name))
    board = collect([tmp_path])
    sources = {row.source for row in board.rows}
    assert len(sources) == 3 == len({board.path(source) for source in sources})
    assert all(source.encode() and "\n" not in source for source in sources)


def test_a_log_as_json_says_what_the_same_log_says(tmp_path):
    from inspect_ai.log import read_eval_log, write_eval_log

    file = scored_log(tmp_path / "a.eval", "openai/gpt-x")
    write_eval_log(read_eval_log(str(file)), str(tmp_path / "b" / "b.json"), format="json")
    one, other = collect([file]).rows, collect([tmp_path / "b"]).rows
    assert shares(one, "openai/gpt-x") == shares(other, "openai/gpt-x") and one[0].sampling == other[0].sampling


def test_nothing_that_is_read_is_changed(run):
    before = {file: file.read_bytes() for file in sorted(run.rglob("*")) if file.is_file()}
    board = collect([run], cache=None)
    assert board.rows and {file: file.read_bytes() for file in sorted(run.rglob("*")) if file.is_file()} == before


def test_the_columns_are_those_of_the_contract():
    from sublim_eval.board import columns

    described = [
        line.split()[0].rstrip(",") for line in columns.__doc__.splitlines() if line[:1].isalpha() and "  " in line
    ]
    assert set(COLUMNS) - {"low", "high"} <= {*described} and Row._fields == COLUMNS


@pytest.mark.parametrize("form", ["inspect", "lm-eval", "scores"])
def test_sublim_table_and_the_board_read_one_number_in_one_place(run, tmp_path, form):
    from sublim_eval.scores.readers import read_results

    place = tmp_path / "given"
    place.mkdir()
    if form == "inspect":
        scored_log(place / "a.eval", "org/m")
    elif form == "lm-eval":
        lm_eval_folder(place, "org/m")
    else:
        shutil.copy(run / "scores" / "owl-s1" / "animal_pref.json", place / "animal_pref.json")
    (record,) = read_results(place).records
    rows = [row for row in collect([place], cache=None).rows if row.ours]
    assert {row.probe for row in rows} == {record.held.probe}
    for row in rows:
        column = getattr(record.held, row.measure)[:, record.held.answers.index(row.answer)]
        assert row.value == pytest.approx(float(np.mean(column)))
    assert {row.measure for row in rows} <= {"share", "probability"} and rows
