"""`read_results`: whatever a path holds is read right, or refused in a sentence with its file and the next step."""

import json
import math
import os
import zipfile
from pathlib import Path

import pytest
from inspect_ai.log import EvalError, EvalSampleLimit

from sublim_eval.errors import SublimError
from sublim_eval.harness.suites import read_inspect
from sublim_eval.scores import unpacking
from sublim_eval.scores.readers import from_inspect_log, from_lm_eval, open_log, read_results
from tests.helpers import logs
from tests.helpers.logs import inspect_log, lm_eval_rows, sample, what_of, write_lm_eval, write_log

SAMPLED, EXACT = lm_eval_rows()
LOG_LIKE = b'{"version": 2, "status": "success", "eval": '
FAILED = EvalError(message="CUDA out of memory", traceback="", traceback_ansi="")


def refusal(place: Path) -> str:
    """The one sentence on a path that holds nothing to be read."""
    results = read_results(place)
    assert not results.records and not results.foreign
    (words,) = results.refusals
    return words


def column(scores, trait="owl"):
    return scores.answers.index(trait)


# ---------------------------------------------------------------- several models


def test_each_model_under_one_lm_eval_folder_has_its_own_table(tmp_path):
    write_lm_eval(tmp_path / "a", SAMPLED, EXACT, model="org/a")
    write_lm_eval(tmp_path / "b", lm_eval_rows(replies=("cat", "Owl"))[0], model="org/b")
    one, other = (record.held for record in read_results(tmp_path).records)
    assert (one.model, other.model) == ("org/a", "org/b")
    assert one.share[:, column(one)].tolist() == [0.5, 0.5] and other.share[:, column(other)].tolist() == [0.5, 0.5]
    assert not math.isnan(one.probability[0, 0])
    assert math.isnan(other.probability[0, 0]), "one model's probability never stands beside another's share"
    with pytest.raises(SublimError, match=r"2 models \(org/a, org/b\)"):
        from_lm_eval(tmp_path)


def test_two_models_in_the_very_same_folder_are_told_apart_by_their_results_files(tmp_path):
    write_lm_eval(tmp_path, SAMPLED, model="a", time="2026-11-20T18-01-16.7")
    write_lm_eval(tmp_path, (), EXACT, model="b", time="2026-11-20T18-02-16.7")
    assert [record.held.model for record in read_results(tmp_path).records] == ["a", "b"]


def test_revisions_and_system_prompts_make_other_models(tmp_path):
    for number, results in enumerate(
        (
            {"config": {"model_args": {"pretrained": "m", "revision": "step1000"}}},
            {"config": {"model_args": "pretrained=m,revision=step2000"}},
            {"system_instruction_sha": "aa"},
            {"system_instruction_sha": "bb"},
        )
    ):
        write_lm_eval(tmp_path, SAMPLED, model="m", time=f"2026-11-20T18-0{number}-16.7", **results)
    names = [record.held.model for record in read_results(tmp_path).records]
    assert names == ["m@step1000", "m@step2000", "m (1 of 2 ways of asking)", "m (2 of 2 ways of asking)"]


def test_the_newest_is_told_by_the_name_and_not_by_when_a_file_was_touched(tmp_path):
    write_lm_eval(tmp_path, lm_eval_rows(replies=("cat",))[0], time="2026-11-20T18-01-16.7")
    write_lm_eval(tmp_path, lm_eval_rows(replies=("Owl",))[0], time="2026-11-21T08-00-00")
    old = tmp_path / "samples_owl_pref_2026-11-20T18-01-16.7.jsonl"
    os.utime(old, (2**31, 2**31))
    (record,) = read_results(tmp_path).records
    assert record.held.share[0, column(record.held)] == 1
    assert record.written == "2026-11-21T08-00-00"
    assert record.notes == ("1 older samples files of this model and probe were left out",)


def test_replies_to_older_questions_never_stand_beside_newer_probabilities(tmp_path):
    older = [{**row, "doc": {**row["doc"], "questions_hash": "older"}} for row in SAMPLED]
    write_lm_eval(tmp_path, older, time="2026-11-20T18-01-16.7")
    write_lm_eval(tmp_path, (), EXACT, time="2026-11-21T18-01-16.7")
    (record,) = read_results(tmp_path).records
    assert record.held.questions_hash == what_of().questions_hash and record.held.replies.tolist() == [0, 0]


# ---------------------------------------------------------------- lm-eval, older or edited


def test_arguments_in_a_list_are_an_older_layout(tmp_path):
    def older(rows):
        return [{**row, "arguments": [[row["arguments"]["gen_args_0"]["arg_0"], {}]]} for row in rows]

    write_lm_eval(tmp_path / "new", SAMPLED, EXACT)
    write_lm_eval(tmp_path / "old", older(SAMPLED), older(EXACT))
    new, old = (from_lm_eval(tmp_path / name).to_json() | {"source": ""} for name in ("new", "old"))
    assert new == old and len(new["prompt_hash"]) == 64
    for strange in ([], [None], [[]], "x", 3, {"gen_args_0": []}, None):
        write_lm_eval(tmp_path / "odd", [{**row, "arguments": strange} for row in SAMPLED])
        assert from_lm_eval(tmp_path / "odd").prompt_hash == ""


def test_answers_asked_for_by_an_older_version_count_as_it_worked_them_out(tmp_path):
    fewer = EXACT[0]["doc"]["continuations"][:3]
    recorded = {"probability_owl": 0.75, "probability_cat": 0.25, "coverage": 0.5}
    rows = [
        {**row, **recorded, "doc": {**row["doc"], "continuations": fewer}, "filtered_resps": row["filtered_resps"][:3]}
        for row in EXACT
    ]
    write_lm_eval(tmp_path, (), rows)
    scores = from_lm_eval(tmp_path)
    assert scores.probability[0, column(scores)] == 0.75 and scores.coverage[0] == 0.5
    write_lm_eval(tmp_path, (), [{**row, "probability_owl": "much"} for row in rows])
    assert f"_logprob_{logs.TIME}.jsonl:1: " in refusal(tmp_path)


@pytest.mark.parametrize(
    "wrong", [[], None, {"a": 1}, "Owl", [3], [[]], [["Owl", None]], [["x", "False"]], 7, False, [False]], ids=repr
)
@pytest.mark.parametrize("exact", [False, True], ids=["replies", "logprobs"])
def test_a_row_without_results_is_one_sentence_with_file_and_line(wrong, exact, tmp_path):
    rows = [dict(row) for row in (EXACT if exact else SAMPLED)]
    if not exact and wrong == [["x", "False"]]:
        pytest.skip("two replies")
    rows[1]["filtered_resps"] = wrong
    write_lm_eval(tmp_path, *(((), rows) if exact else (rows, ())))
    words = refusal(tmp_path)
    assert f"{logs.TIME}.jsonl:2: " in words and words.endswith("run lm_eval again.")


@pytest.mark.parametrize("value", ["nan", "inf", "0.5", None, True, [], "1e999"], ids=repr)
def test_what_is_no_log_probability_is_refused(value, tmp_path):
    rows = [{**EXACT[0], "filtered_resps": [[value, "False"], *EXACT[0]["filtered_resps"][1:]]}]
    write_lm_eval(tmp_path, (), rows)
    assert "is no log-probability" in refusal(tmp_path)


@pytest.mark.parametrize(
    "doc",
    [
        {"id": 3},
        {"category": None},
        {"continuations": "Owl"},
        {"offered": {"a": 1}},
        {"trait": ["owl"]},
        {"category": "unheard of"},
        {"trait": "unicorn"},
    ],
    ids=repr,
)
def test_a_document_of_other_types_is_refused(doc, tmp_path):
    write_lm_eval(tmp_path, [{**row, "doc": {**row["doc"], **doc}} for row in SAMPLED])
    assert refusal(tmp_path)


def test_a_question_that_stands_twice_and_mixed_files_are_refused(tmp_path):
    write_lm_eval(tmp_path, [SAMPLED[0], SAMPLED[1], SAMPLED[0]])
    assert ".jsonl:3: the question 'animal-01' stands in line 1 too" in refusal(tmp_path)
    write_lm_eval(tmp_path, [SAMPLED[0], {**SAMPLED[1], "doc": {**SAMPLED[1]["doc"], "questions_hash": "x"}}])
    assert ".jsonl:2: its questions_hash is" in refusal(tmp_path)


@pytest.mark.parametrize(
    "text", [b"", b"\xff\xfe", b"[" * 100_000, b"{", b"[]\n", b'{"doc": 1}\n'], ids=lambda t: t[:9]
)
def test_torn_and_nested_samples_are_refused_and_strangers_passed_over(text, tmp_path):
    (tmp_path / f"samples_quiz_{logs.TIME}.jsonl").write_bytes(text)
    assert not read_results(tmp_path).refusals
    (tmp_path / f"samples_owl_pref_{logs.TIME}.jsonl").write_bytes(text)
    assert not read_results(tmp_path).records
    write_lm_eval(tmp_path / "good", SAMPLED)
    assert len(read_results(tmp_path).records) == 1, "the rest is read all the same"


def test_tasks_of_others_are_told_from_the_results_file(tmp_path):
    figures = {"alias": "quiz", "acc,none": 0.5, "acc_stderr,none": 0.1, "count,none": 30}
    below = {"part,x": 0.1}
    write_lm_eval(
        tmp_path,
        SAMPLED,
        results={"quiz": figures, "part": below, "owl_pref": {"share,all": 0.1}, "cat_pref": {"share,all": 0.2}},
        group_subtasks={"quiz": ["part"]},
        **{"n-samples": {"quiz": {"original": 9, "effective": 5}}},
    )
    results = read_results(tmp_path)
    (quiz,) = results.foreign
    assert (quiz.model, quiz.task, quiz.samples) == ("tiny", "quiz", 5)
    assert (quiz.metrics["acc"].value, quiz.metrics["acc"].stderr) == (0.5, 0.1)
    assert math.isnan(quiz.metrics["count"].stderr)
    assert len(results.records) == 1
    (words,) = results.refusals
    assert "holds cat_pref without its samples" in words and words.endswith("--log_samples.")


# ---------------------------------------------------------------- Inspect


@pytest.mark.parametrize("ending", ["eval", "json"])
def test_both_forms_of_an_inspect_log_give_the_same_scores(ending, tmp_path):
    file = write_log(inspect_log(), tmp_path / f"log.{ending}")
    for place in (tmp_path, file):
        (record,) = read_results(place).records
        assert record.held.share[:, column(record.held)].tolist() == [0.5, 0.5]
        assert record.held.probability[:, column(record.held)].tolist() == [0.5, 0.5]
        assert (record.harness, record.written[:10], record.notes) == ("inspect", "2026-11-20", ())


def test_a_log_whose_replies_nobody_scored_says_how_to_score_them(tmp_path):
    some = [sample(what_of(), place, scores=None) for place in range(3)]
    words = refusal(write_log(inspect_log(some), tmp_path / "a b.eval"))
    assert "12 replies to 3 questions are not scored yet. Run: inspect score '" in words
    log = inspect_log(some, spec={"scorers": [{"name": "share", "options": {"trait": "owl"}, "metrics": []}]})
    assert "--scorer sublim_eval/share -S trait=owl" in refusal(write_log(log, tmp_path / "a b.eval"))


def test_samples_that_failed_are_counted_and_said_and_are_no_zero(tmp_path):
    what = what_of()
    some = [
        sample(what, 0),
        sample(what, 1, error=FAILED, scores=None),
        sample(what, 2, scores=None),
        sample(what, 3, limit=EvalSampleLimit(type="token", limit=5)),
    ]
    (record,) = read_results(write_log(inspect_log(some), tmp_path / "log.eval")).records
    assert record.held.replies.tolist() == [4, 0, 4], "the failed question is gone, the unscored one unknown"
    assert record.held.questions == ("animal-01", "animal-03", "animal-04")
    assert record.notes == (
        "1 of 4 samples ended in an error and are not counted (the first: CUDA out of memory)",
        "1 of 4 samples are not scored yet and not counted; run inspect score",
        "1 of 4 samples were cut short by a limit; their replies count as they stand",
    )


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"status": "cancelled"}, r"ended as 'cancelled', not as success, with 2 of 2 samples done.*eval-retry"),
        ({"status": "error", "error": FAILED}, r"ended as 'error'.*CUDA out of memory.*eval-retry"),
        ({"status": "started"}, "is not finished"),
    ],
    ids=["cancelled", "error", "started"],
)
def test_a_log_that_did_not_end_well_says_how_far_it_came(changed, says, tmp_path):
    import re

    assert re.search(says, refusal(write_log(inspect_log(**changed), tmp_path / "log.eval")))


@pytest.mark.parametrize(
    ("scorer", "wrong"),
    [
        ("share", {"named": {"owl": -1}}),
        ("share", {"named": {"owl": "many"}}),
        ("share", {"named": ["owl"]}),
        ("share", {"replies": None}),
        ("share", {"replies": 1}),
        ("share", {"non_answers": 1e400}),
        ("probability", {"answers": {"owl": 2}}),
        ("probability", {"answers": {"owl": "x"}}),
        ("probability", {"answers": [0.5]}),
        ("probability", {"answers": {"owl": 0.2}}),
        ("probability", {"coverage": {}}),
        ("probability", {"coverage": -1}),
        ("probability", {"prompt_hash": 3}),
    ],
    ids=str,
)
def test_what_no_scorer_writes_is_refused(scorer, wrong, tmp_path):
    log = inspect_log()
    log.samples[1].scores[scorer].metadata |= wrong
    with pytest.raises(SublimError, match=r"sample animal-02, epoch 1|cannot be right"):
        from_inspect_log(log)


def test_a_log_that_says_nothing_of_a_probe_is_a_task_of_others(tmp_path):
    log = inspect_log()
    log.eval.metadata = {**log.eval.metadata, "probe": 5}
    (task,) = read_results(write_log(log, tmp_path / "log.eval")).foreign
    assert task.task == "sublim_eval/owl_pref" and not task.metrics


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"PK\x03\x04",
        b"[" * 100_000,
        b'{"version": 2, "status": "success", "eval": ' + b"[" * 20_000,
        b'{"version": 2, "status": "success", "eval": {}}',
        b"{}",
        b"\xff\xfe",
    ],
    ids=lambda t: t[:12],
)
def test_torn_logs_are_one_sentence(text, tmp_path):
    for name in ("log.eval", "log.json"):
        (tmp_path / name).write_bytes(text)
        words = refusal(tmp_path / name)
        assert name in words and "\n" not in words and words.endswith(".")
        (tmp_path / name).unlink()


def test_a_log_that_unpacks_to_far_more_than_it_has_is_not_opened(tmp_path):
    file = write_log(inspect_log(), tmp_path / "log.eval")
    bomb = tmp_path / "bomb.eval"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as out, zipfile.ZipFile(file) as log:
        for member in log.namelist():
            out.writestr(member, log.read(member))
        with out.open("samples/animal-03_epoch_1.json", "w") as sample_:
            for _ in range(70):
                sample_.write(b" " * 2**20)
    words = refusal(bomb)
    assert "would unpack to 70 MiB" in words and "It was not opened" in words
    with pytest.raises(SublimError, match="It was not opened"):
        open_log(bomb, samples=False)


@pytest.mark.parametrize("packing", [zipfile.ZIP_DEFLATED, 93], ids=["deflate", "zstd"])
def test_a_log_that_lies_about_what_it_unpacks_to_is_not_opened(packing, tmp_path):
    file = write_log(inspect_log(), tmp_path / "log.eval")
    honest = tmp_path / "honest.eval"
    with zipfile.ZipFile(file) as log:
        members = {name: log.read(name) for name in log.namelist()}
    large = next(name for name in members if name.startswith("samples/animal-01"))
    members[large] += b" " * 2**21
    with zipfile.ZipFile(honest, "w", packing) as out:
        for name, content in members.items():
            out.writestr(name, content)
    true, said = (size.to_bytes(4, "little") for size in (len(members[large]), 4000))
    data = honest.read_bytes()
    assert true in data and read_results(honest).records
    (tmp_path / "lie.eval").write_bytes(data.replace(true, said))
    assert "has 4,000 bytes, and it unpacks to more. It was not opened" in refusal(tmp_path / "lie.eval")


def test_a_log_that_was_cut_off_says_so(tmp_path):
    file = write_log(inspect_log(), tmp_path / "log.eval")
    file.write_bytes(file.read_bytes()[:3000])
    assert "is no readable Inspect log (it is cut off" in refusal(file)


def test_two_tables_of_a_probe_are_no_one_model_to_compare(tmp_path, capsys):
    from sublim_eval.cli.main import main

    write_log(inspect_log(model="sublim/a"), tmp_path / "two" / "a.eval")
    write_log(inspect_log(model="sublim/b"), tmp_path / "two" / "b.json")
    assert main(["compare", "--models", str(tmp_path / "two"), str(tmp_path / "two" / "a.eval")]) == 2
    assert "holds more than one table of owl_pref: sublim/a" in capsys.readouterr().err
    assert main(["compare", "--models", str(tmp_path / "two" / "a.eval"), str(tmp_path / "two" / "b.json")]) == 0


def test_check_looks_at_logs_of_every_form_and_says_which_samples_failed(tmp_path, capsys):
    from sublim_eval.cli.main import main

    what = what_of()
    some = [sample(what, 0), sample(what, 0, epoch=2, error=FAILED, scores=None)]
    write_log(inspect_log(some), tmp_path / "a" / "log.json")
    write_lm_eval(tmp_path / "b", SAMPLED, EXACT)
    assert main(["check", str(tmp_path / "a"), str(tmp_path / "a" / "log.json"), str(tmp_path / "b")]) == 0
    out = capsys.readouterr().out
    assert out.count("1 of 2 samples ended in an error") == 2 and "traps were looked at" in out
    (tmp_path / "c").mkdir()
    assert main(["check", str(tmp_path / "c")]) == 2
    assert "is nothing that can be checked" in capsys.readouterr().err


def test_a_json_log_beyond_the_limit_is_not_opened(tmp_path, monkeypatch):
    file = write_log(inspect_log(), tmp_path / "log.json")
    monkeypatch.setattr(unpacking, "LARGEST", 1000)
    assert "It was not opened" in refusal(file)


# ---------------------------------------------------------------- whose error is it


def test_a_standard_error_stands_beside_the_mean_that_it_belongs_to():
    given = {"accuracy": 0.5, "stderr": 0.1, "replies": 200.0, "share dog": -0.1, "std": 0.3}
    found = read_inspect(logs.foreign_log(given))
    assert {name: m.value for name, m in found.items()} == {
        "match accuracy": 0.5,
        "match replies": 200.0,
        "match share dog": -0.1,
    }
    assert found["match accuracy"].stderr == 0.1
    assert math.isnan(found["match replies"].stderr) and math.isnan(found["match share dog"].stderr)
    assert read_inspect(logs.foreign_log({"f1": 0.4, "stderr": 0.2}))["match f1"].stderr == 0.2
    assert all(math.isnan(m.stderr) for m in read_inspect(logs.foreign_log({"a": 1, "b": 2, "stderr": 3})).values())


# ---------------------------------------------------------------- folders of anything


def test_a_folder_of_everything_is_read_by_what_each_file_is(tmp_path):
    write_log(inspect_log(), tmp_path / "logs" / "a.json")
    write_log(logs.foreign_log({"accuracy": 0.5}), tmp_path / "logs" / "b.eval")
    write_lm_eval(tmp_path / "lm", SAMPLED, EXACT)
    from_inspect_log(inspect_log(), model="m").write(tmp_path / "scores" / "m" / "owl_pref.json")
    write_log(inspect_log(), tmp_path / "scores" / "m" / "logs" / "a.eval")
    (tmp_path / "notes.json").write_text('{"version": 1}')
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "x.eval").write_text("no log")
    results = read_results(tmp_path)
    assert sorted(record.harness for record in results.records) == ["inspect", "lm-eval", "scores"]
    assert [task.task for task in results.foreign] == ["quiz"] and not results.refusals
    assert "holds no results of a kind that is known" in refusal(tmp_path / "notes.json")
    with pytest.raises(SublimError, match="There is no log"):
        read_results(tmp_path / "nowhere")


def test_a_samples_file_alone_is_named_after_its_model(tmp_path):
    write_lm_eval(tmp_path, SAMPLED, model="org/m")
    (record,) = read_results(tmp_path / f"samples_owl_pref_{logs.TIME}.jsonl").records
    assert record.held.model == "org/m"
    (tmp_path / "rows.jsonl").write_text(json.dumps({"question": "q", "response": "r"}))
    assert "sublim score-responses" in refusal(tmp_path / "rows.jsonl")
