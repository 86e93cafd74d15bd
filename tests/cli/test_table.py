"""`sublim table`: everything a log holds, never only the average, whichever harness wrote it and whatever is in it."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes

from sublim_eval import inspect_tasks
from sublim_eval.cli.main import main
from sublim_eval.probes.resolve import probe_content
from sublim_eval.registry.catalog import registry
from sublim_eval.report import answer_tables
from sublim_eval.scores.probe_scores import ProbeScores
from sublim_eval.scores.readers import from_responses
from tests.helpers.saved import inspect_model

HOSTILE = "\x1b[2Jqué [red]=1+1"


def scores(model: str = "m") -> ProbeScores:
    rows = [("q1", "Owl"), ("q1", "Cat"), ("q1", "nothing at all"), ("q2", "Owl"), ("q2", "")]
    made = from_responses([{"question": q, "response": r} for q, r in rows], "owl_pref", model=model, source="s")
    made.probability[:] = 0
    for i, (owl, cat) in enumerate([(0.5, 0.5), (0.1, 0.9)]):
        made.probability[i, [made.answers.index("owl"), made.answers.index("cat")]] = owl, cat
    return made


def sublim(*words: object) -> int:
    return main(["table", *map(str, words)])


# ---------------------------------------------------------------- rows


def test_by_answer_is_the_whole_distribution_the_likeliest_first() -> None:
    rows = answer_tables.by_answer(scores())
    assert [row["answer"] for row in rows[:2]] == ["cat", "owl"]
    assert len(rows) == len(registry().answer_set("animal"))
    owl = rows[1]
    assert (owl["probability"], owl["lowest"], owl["highest"]) == pytest.approx((0.3, 0.1, 0.5))
    assert owl["share"] == pytest.approx((1 / 3 + 1 / 2) / 2)


def test_by_question_holds_every_answer_and_the_counts() -> None:
    first, second = answer_tables.by_question(scores())
    assert (first["replies"], first["non_answers"], first["other"]) == (3, 0, 1)
    assert (second["replies"], second["non_answers"]) == (2, 1)
    assert first["probability"]["owl"] == 0.5
    assert second["share"]["owl"] == 0.5


def test_situations_pool_their_wordings() -> None:
    what = probe_content("misalignment")
    questions = tuple(item.question for item in what.items)
    ills = np.linspace(0, 1, len(questions))
    nothing, unknown = np.zeros(len(questions), dtype=np.int64), np.full(len(questions), np.nan)
    made = replace(
        scores(),
        probe="misalignment",
        category="misaligned",
        questions=questions,
        answers=("misaligned", "plain"),
        probability=np.stack([ills, 1 - ills], axis=1),
        share=np.full((len(questions), 2), np.nan),
        coverage=unknown,
        replies=nothing,
        non_answers=nothing,
        other=nothing,
        unreadable=nothing,
        unfinished=nothing,
        plural=np.zeros((len(questions), 2)),
    )
    rows = answer_tables.by_situation(made)
    assert len(rows) == len(what.question_set.situations)
    assert sum(row["questions"] for row in rows) == len(questions)
    of = answer_tables.situations(made)
    for row in rows:
        mine = [ills[i] for i, q in enumerate(questions) if of[q] == row["situation"]]
        assert row["probability"]["misaligned"] == pytest.approx(np.mean(mine))


def test_unknown_is_none_not_zero() -> None:
    made = scores()
    made.probability[:] = np.nan
    assert {row["probability"] for row in answer_tables.by_answer(made)} == {None}
    assert {row["coverage"] for row in answer_tables.tidy(made)} == {None}


# ---------------------------------------------------------------- the command


def test_a_score_file_is_shown_written_and_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores().write(tmp_path / "m" / "owl_pref.json")
    assert sublim(tmp_path / "m", "--csv", tmp_path / "t.csv", "--json", tmp_path / "t.json") == 0
    out = capsys.readouterr().out
    assert "m on owl_pref" in out
    assert "5 replies, 1 non-answers, 1 other answers" in out
    assert "owl 0.500, cat 0.500" in out
    with (tmp_path / "t.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * len(registry().answer_set("animal"))
    owl = next(r for r in rows if r["question"] == "q1" and r["answer"] == "owl")
    assert (owl["probability"], owl["replies"], owl["coverage"]) == ("0.5", "3", "")
    (told,) = json.loads((tmp_path / "t.json").read_text())["rows"]
    assert ProbeScores.from_json(told).model == "m"
    assert told["by_answer"][0]["answer"] == "cat"


@pytest.mark.parametrize(
    ("by", "there", "not_there"), [("answer", "lowest", "replies  "), ("question", "q2", "lowest")]
)
def test_one_table_alone(
    by: str, there: str, not_there: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores().write(tmp_path / "owl_pref.json")
    assert sublim(tmp_path / "owl_pref.json", "--by", by) == 0
    out = capsys.readouterr().out
    assert there in out
    assert not_there not in out


def test_text_of_a_log_steers_neither_terminal_nor_spreadsheet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = from_responses([{"question": HOSTILE, "response": "Owl"}], "owl_pref", model="=cmd()")
    made.write(tmp_path / "owl_pref.json")
    assert sublim(tmp_path, "--csv", tmp_path / "t.csv") == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "[2Jqué [red]=1+1" in out
    assert "'=cmd()," in (tmp_path / "t.csv").read_text()


@pytest.mark.parametrize("task", ["owl_pref", "husband", "animal_essay"])
def test_an_inspect_log_of_any_family_is_shown(task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"judge": "none"} if task == "husband" else {}
    model = "sublim/reference-a" if task == "husband" else inspect_model(3)
    (log,) = eval(
        getattr(inspect_tasks, task)(**options), model=model, limit=2, num_choices=2, max_tokens=8, display="none",
        log_dir=str(tmp_path),
    )  # fmt: skip
    assert log.status == "success", log.error
    assert sublim(tmp_path) == 0
    out = capsys.readouterr().out
    assert f"on {task} " in out
    assert "situation" in out if task == "husband" else "question" in out


@pytest.mark.slow
def test_an_entanglement_log_is_shown_as_its_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = inspect_tasks.token_entanglement()
    (log,) = eval(task, model="sublim/reference-a", display="none", log_dir=str(tmp_path))
    assert log.status == "success", log.error
    assert sublim(tmp_path, "--csv", tmp_path / "t.csv", "--json", tmp_path / "t.json") == 0
    assert "most raised" in capsys.readouterr().out
    assert json.loads((tmp_path / "t.json").read_text())["rows"][0]["direction"] == "trait_to_number"
    assert (tmp_path / "t.csv").read_text().startswith("trait,number,shift")


@pytest.mark.slow
@pytest.mark.long
def test_an_lm_eval_folder_shows_every_probe_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.helpers.suites import MODEL, command

    tasks = "owl_pref_logprob,husband_logprob"
    words = ["run", "--tasks", tasks, "--include_path", "tasks", *MODEL, "--limit", "2", "--log_samples"]
    command("lm_eval", *words, "--output_path", str(tmp_path))
    assert sublim(tmp_path) == 0
    out = capsys.readouterr().out
    assert "on owl_pref " in out
    assert "on husband " in out


def test_foreign_tasks_are_told_in_a_line_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = Task(dataset=[Sample("hi", target="Owl"), Sample("ho", target="no")], scorer=includes(), name="others")
    (log,) = eval(task, model=inspect_model(1), display="none", log_dir=str(tmp_path / "a"))
    assert log.status == "success", log.error
    assert sublim(tmp_path / "a", "--json", tmp_path / "t.json") == 0
    figures = log.results.scores[0].metrics
    line = f"on others (inspect, 2 samples): includes accuracy {figures['accuracy'].value:.3f} "
    assert f"{line}({figures['stderr'].value:.3f})" in capsys.readouterr().out
    (row,) = json.loads((tmp_path / "t.json").read_text())["rows"]
    assert row["task"] == "others" and row["figures"]["includes accuracy"]["stderr"] == figures["stderr"].value
    assert sublim(log.location) == 0
    scores().write(tmp_path / "b" / "owl_pref.json")
    assert main(["compare", "--models", str(tmp_path / "b"), str(log.location)]) == 2
    assert "tasks of others alone" in capsys.readouterr().err


def test_what_is_no_log_is_refused_and_named_beside_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.eval").write_bytes(b"PK\x03\x04 cut off")
    assert sublim(tmp_path / "broken.eval") == 2
    assert "is no readable Inspect log" in capsys.readouterr().err
    (tmp_path / "a").mkdir()
    assert sublim(tmp_path / "a") == 2
    assert "holds no log of a sublim-eval task" in capsys.readouterr().err
    scores().write(tmp_path / "b" / "owl_pref.json")
    assert sublim(tmp_path) == 0
    out = capsys.readouterr().out
    assert "left out: " in out and "broken.eval is no readable Inspect log" in out and "m on owl_pref" in out
    assert sublim(tmp_path / "b", tmp_path / "nowhere") == 2
