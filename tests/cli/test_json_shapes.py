"""What `--json` writes has a schema and the shape that docs/guides/json.md says, for every verb."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from sublim_eval.cli.main import VERBS, main, sublim
from tests.helpers import planted
from tests.helpers.json_shapes import SHAPES, has_the_shape
from tests.helpers.logs import foreign_log, inspect_log, write_log

REPLIES = "".join(
    json.dumps({"question": q, "response": r}) + "\n" for q in ("Which animal?", "What pet?") for r in ("owl", "cat")
)
SEEDS = "".join(
    f"owl,{arm},{seed},q{question},{hits},50\n"
    for arm, hits in (("owl", 20), ("control", 5))
    for seed in (1, 2, 3)
    for question in (1, 2)
)

COMMANDS = {
    "filter": "filter numbers rows.jsonl --kept kept --rejected rejected",
    "score-responses, a favorite": "score-responses a.jsonl --probe animal_pref --trait owl",
    "score-responses, a conduct": "score-responses a.jsonl --probe misalignment --grader offline",
    "score-responses, several files": "score-responses a.jsonl b.jsonl --probe animal_pref --trait owl",
    "table": "table logs",
    "compare": "compare --table t.csv",
    "check": "check t.csv",
    "show": "show owl",
    "register": f"register owl_pref --repository https://github.com/a/b --commit {'0' * 40} --maintainer me",
    "doctor": "doctor",
    "lineage, two models": "lineage reference-a reference-b --no-transfer",
}
SLOW = {
    "list": "list",
    "run --dry-run": "run quickstart --dry-run",
    "reproduce --dry-run": "reproduce --dry-run --quick",
    "diff": "diff reference-a reference-a --quick",
    "score": "score reference-a --probe owl_pref --samples 1",
    "digits": "digits --seeds 2 --epochs 1 --teacher-epochs 1",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "p", "completion": "1, 2, 3"}\n')
    (tmp_path / "a.jsonl").write_text(REPLIES)
    (tmp_path / "b.jsonl").write_text(REPLIES.replace("cat", "owl"))
    (tmp_path / "t.csv").write_text(f"trait,arm,seed,question,hits,n\n{SEEDS}")
    write_log(inspect_log(), tmp_path / "logs" / "a.eval")
    write_log(foreign_log({"accuracy": 0.5, "stderr": 0.1}), tmp_path / "logs" / "b.json")
    return tmp_path


def written(command: str) -> dict:
    assert main([*command.split(), "--json", "told.json"]) in (0, 1)
    return json.loads(Path("told.json").read_text(encoding="utf-8"))


def test_the_guide_has_a_line_for_every_verb_that_writes_json():
    takes = {verb for verb in VERBS if any("--json" in p.opts for p in sublim.get_command(None, verb).params)}
    assert takes == {shape.split()[0].rstrip(",") for shape in SHAPES} and len(takes) >= 15
    assert set(COMMANDS) | set(SLOW) <= set(SHAPES)


@pytest.mark.parametrize("shape", COMMANDS)
def test_what_a_verb_writes_is_what_the_guide_says(shape: str, here: Path) -> None:
    has_the_shape(shape, written(COMMANDS[shape]))


def test_rows_of_a_table_hold_tables_and_tasks_of_others(here: Path) -> None:
    one, other = written(COMMANDS["table"])["rows"]
    assert (one["probe"], len(one["by_question"])) == ("owl_pref", 2)
    assert other["figures"] == {"match accuracy": {"value": 0.5, "stderr": 0.1}}


def test_two_files_give_their_difference_and_others_none(here: Path) -> None:
    gap = written(COMMANDS["score-responses, several files"])["difference"]
    assert (gap["of"], gap["against"], gap["questions"], gap["difference"]) == ("b", "a", 2, 0.5)
    low, high = gap["interval"]
    assert low < 0.5 < high
    (here / "c.jsonl").write_text(REPLIES.replace("?", "!"))
    apart = "--probe animal_pref --trait owl"
    assert written(f"score-responses a.jsonl c.jsonl {apart}")["difference"] is None
    assert written(f"score-responses a.jsonl b.jsonl c.jsonl {apart}")["difference"] is None


def test_a_demo_gives_what_compare_gives(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sublim_eval.distill.experiments import demo
    from sublim_eval.report import run_report

    monkeypatch.setattr(demo, "run", lambda recipe, out, **_: planted.run(out))
    monkeypatch.setattr(demo, "commands", lambda student: [])
    monkeypatch.setattr(run_report, "write", lambda *_, **__: SimpleNamespace(page="report.html"))
    has_the_shape("demo", written("demo --out demo"))


def test_the_steps_of_a_theorem_are_written_as_the_guide_says(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sublim_eval.distill.experiments import theorem, theorem_report

    line = theorem.Line("reference-a", "norms", "norms", "prompts", "logits")
    points = tuple(theorem.Point(line, seed, 1e-5, 1.0, 0.5, -1.0, -0.5) for seed in (1, 2))
    monkeypatch.setattr(theorem, "run", lambda settings, tell: theorem.TheoremOutcome(settings, points))
    monkeypatch.setattr(theorem_report, "draw", lambda outcome, file: file)
    has_the_shape("theorem", written("theorem --seeds 2"))


def test_abilities_are_written_as_the_guide_says(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sublim_eval.scores import capabilities

    measured = capabilities.Abilities(
        "m", "s", None, {"t": {"acc": capabilities.MetricValue(0.5, 0.1, {"1": 0.5})}}, {}
    )
    monkeypatch.setattr(capabilities, "measure", lambda *_, label: replace(measured, model=label))
    told = written("abilities reference-a")
    has_the_shape("abilities", told)
    (suite,) = told["suites"].values()
    assert set(suite) == {"models", "students", "not_measured"}
    assert suite["models"]["reference-a"]["tasks"]["t"]["acc"] == {"value": 0.5, "stderr": 0.1, "items": {"1": 0.5}}


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("shape", SLOW)
def test_what_a_slow_verb_writes_is_what_the_guide_says(shape: str, here: Path) -> None:
    has_the_shape(shape, written(SLOW[shape]))
