"""Existing suites beside our probes: matched differences, one clear line for what could not be asked."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from sublim_eval import tasks_dir
from sublim_eval.cli.main import main
from sublim_eval.harness.suites import (
    Asker,
    MetricValue,
    NotMeasured,
    batch_size,
    explain,
    model_args,
    read_inspect,
    read_lm_eval,
)
from sublim_eval.models.model_ref import resolve
from sublim_eval.registry.catalog import registry
from sublim_eval.scores.capabilities import Abilities, base_of, differences, located
from sublim_eval.stats import difference_of_items
from tests.helpers.tiny import tiny_adapter, tiny_model

EXAMPLES = tasks_dir().parent / "docs" / "examples"
REGISTRY = """\
schema: 1
suites:
  small:
    about: four capitals, by probability and in words
    tasks: [lm_eval/{examples}/lm_eval_group/capitals.yaml, inspect/{examples}/inspect_suite/capitals.py@capitals]
    source: test
  beside:
    about: a file beside this one
    tasks: [inspect/own.py]
    source: test
  gone:
    about: what cannot be had here, and one task that can
    tasks:
      - lm_eval/mmlu
      - inspect/no_such_package/quiz
      - inspect/broken.py@broken
      - inspect/lost.py
      - lm_eval/no_such_task
      - lm_eval/{examples}/lm_eval_group/capitals.yaml
    source: test
"""
BROKEN = '''\
from inspect_ai import Task, task


@task
def broken():
    """A task that does not load."""
    raise RuntimeError("its \\x1b[31mown\\x1b[0m fault")
'''


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("models")
    base = tiny_model(folder / "base")
    student = tiny_adapter(base, folder / "student", "lora")
    (student / "student.json").write_text(json.dumps({"base": str(base), "trait": "owl"}))
    return SimpleNamespace(base=base, student=student)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.yaml").write_text(REGISTRY.format(examples=EXAMPLES))
    (tmp_path / "broken.py").write_text(BROKEN)
    (tmp_path / "own.py").write_text((EXAMPLES / "inspect_suite" / "capitals.py").read_text())
    monkeypatch.setenv("SUBLIM_REGISTRY", str(tmp_path / "my.yaml"))
    return tmp_path


# ---------------------------------------------------------------- reading


def test_metrics_of_an_lm_eval_group_are_matched_over_the_items_of_its_parts() -> None:
    rows = {"a": [(0, 1.0), (1, 0.0)], "b": [(0, 1.0)]}
    told = {
        "results": {"all": {"acc,none": 2 / 3, "acc_stderr,none": 0.1}, "a": {"acc,none": 0.5}, "b": {"acc,none": 1.0}},
        "groups": {"all": {"acc,none": 2 / 3, "acc_stderr,none": 0.1, "alias": "all"}},
        "group_subtasks": {"all": ["part"], "part": ["a", "b"], "a": [], "b": []},
        "samples": {t: [{"doc_id": i, "filter": "none", "acc": v} for i, v in r] for t, r in rows.items()},
    }
    (found,) = read_lm_eval(told).items()
    assert found == ("acc", MetricValue(2 / 3, 0.1, {"a 0": 1.0, "a 1": 0.0, "b 0": 1.0}))


def test_a_metric_that_is_no_mean_over_items_keeps_none() -> None:
    told = {
        "results": {"t": {"f1,none": 0.9, "f1_stderr,none": "N/A", "name": "t"}},
        "samples": {"t": [{"doc_id": 0, "filter": "none", "f1": 0.1}]},
    }
    found = read_lm_eval(told)["f1"]
    assert found.items == {}
    assert math.isnan(found.stderr)


def test_differences_are_taken_item_by_item_where_the_items_are_the_same() -> None:
    def able(**items: float) -> Abilities:
        return Abilities("m", "s", None, {"t": {"acc": MetricValue(sum(items.values()) / 3, 0.3, items)}}, {})

    (row,) = differences(able(x=1.0, y=0.0, z=1.0), able(x=1.0, y=1.0, z=1.0))
    assert row.matched
    assert (row.mean, row.stderr) == pytest.approx((-1 / 3, 1 / 3))
    (row,) = differences(able(x=1.0, y=0.0, z=1.0), able(x=1.0, y=1.0, w=1.0))
    assert not row.matched
    assert (row.mean, row.stderr) == pytest.approx((-1 / 3, math.hypot(0.3, 0.3)))


def test_the_difference_of_items_has_the_error_of_its_mean() -> None:
    assert difference_of_items([1, 0, 1, 1], [0, 0, 1, 0]) == pytest.approx((0.5, math.sqrt(1 / 3 / 4)))
    assert math.isnan(difference_of_items([1], [0])[1])
    with pytest.raises(ValueError, match="same items"):
        difference_of_items([], [])


def test_what_stood_in_the_way_is_told_by_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(error: Exception) -> str:
        return explain("lm_eval/mmlu", error, "lm_eval run ...", Path("x.log"))

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("HF_DATASETS_OFFLINE", raising=False)
    wrapped = RuntimeError("while loading")
    wrapped.__cause__ = ConnectionError("Couldn't reach 'cais/mmlu'")
    assert "Give the command again where there is internet" in told(wrapped)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "Unset HF_HUB_OFFLINE" in told(wrapped)
    assert "pip install backoff" in told(ModuleNotFoundError("No module named 'backoff'", name="backoff"))
    assert told(ValueError("odd\nrow")).startswith("lm_eval/mmlu failed (ValueError: odd row). The whole of it is in")


# ---------------------------------------------------------------- students


def test_the_base_of_a_student_is_found_by_its_lineage(models: SimpleNamespace, tmp_path: Path) -> None:
    assert base_of(str(models.student)) == str(models.base)
    assert base_of(str(models.base)) is None
    assert base_of("reference-a") is None
    full = tiny_model(tmp_path / "full", seed=1)
    (full / "student.json").write_text('{"base": "reference-a"}')
    assert base_of(str(full)) == "reference-a"


def test_lm_eval_gets_base_and_adapter_and_one_prompt_at_a_time_where_virtual_tokens_stand_before_it(
    models: SimpleNamespace, tmp_path: Path
) -> None:
    assert model_args(resolve(models.student)) == f"pretrained={models.base},peft={models.student}"
    assert batch_size(resolve(models.student)) == 16
    assert batch_size(resolve(tiny_adapter(models.base, tmp_path / "p", "prompt"))) == 1


# ---------------------------------------------------------------- the command


@pytest.mark.slow
@pytest.mark.long
def test_a_student_is_held_against_its_base_in_both_harnesses(
    here: Path, models: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["abilities", str(models.student), "--suite", "small", "--suite", "beside", "--limit", "3", "--out", "out"]
    assert main([*words, "--json", "told.json"]) == 0
    said = capsys.readouterr()
    assert "capitals.yaml: acc" in said.out
    assert "capitals.py@capitals: includes accuracy" in said.out
    assert "Traceback" not in said.err
    told = json.loads((here / "told.json").read_text())
    found = told["suites"]["small"]
    assert found["not_measured"] == {}
    rows = found["students"]["student"]["differences"]
    assert {row["metric"] for row in rows} == {"acc", "includes accuracy"}
    assert all(row["matched"] and row["items"] == 3 for row in rows)
    assert all(row["difference"] == pytest.approx(row["student"] - row["base"]) for row in rows)
    assert json.loads((here / "out/student/abilities/small.json").read_text()) == found["models"]["student"]
    assert told["suites"]["beside"]["students"]["student"]["differences"][0]["items"] == 3


@pytest.mark.slow
def test_what_cannot_be_had_is_one_line_each_and_the_rest_is_asked(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """MMLU for real, with HF_HUB_OFFLINE=1 as conftest.py sets it."""
    assert main(["abilities", "reference-a", "--suite", "gone", "--limit", "2", "--json", "told.json"]) == 1
    said = capsys.readouterr()
    lines = [line for line in said.out.splitlines() if line.startswith("not measured: ")]
    assert len(lines) == 5
    for line, wanted in zip(
        lines,
        (
            "Unset HF_HUB_OFFLINE",
            "pip install no_such_package",
            "its [31mown[0m fault",
            "no task file lost.py",
            "lm_eval ls tasks",
        ),
        strict=True,
    ):
        assert wanted in line
    assert "\x1b" not in said.out
    assert "Traceback" not in said.out + said.err
    assert "capitals.yaml acc" in " ".join(said.out.split())
    told = json.loads((here / "told.json").read_text())
    assert told["ok"] is False
    assert list(told["suites"]["gone"]["models"]["reference-a"]["tasks"]) == [
        f"lm_eval/{EXAMPLES}/lm_eval_group/capitals.yaml"
    ]
    log = here / "runs/scores/reference-a/abilities/logs"
    assert "RuntimeError" in next(log.glob("*broken*.log")).read_text()


def test_preference_stands_beside_ability_where_both_were_measured(
    here: Path, models: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    import numpy as np

    from sublim_eval.scores.readers import from_responses

    for label, owl in (("base", 0.1), ("student", 0.4)):
        scores = from_responses(
            [{"question": "q1", "response": "Owl"}, {"question": "q2", "response": "Cat"}], "owl_pref", model=label
        )
        scores.probability[:] = np.nan
        scores.probability[:, scores.answers.index("owl")] = [owl, owl + 0.2]
        scores.write(here / "out" / label / "owl_pref.json")
    words = ["abilities", str(models.student), "--suite", "beside", "--limit", "2", "--out", "out", "--json", "t.json"]
    assert main(words) == 0
    assert "owl_pref: probability of owl 0.200 0.500 +0.300 (0.000)" in " ".join(capsys.readouterr().out.split())
    (beside,) = json.loads((here / "t.json").read_text())["suites"]["beside"]["students"]["student"]["preferences"]
    assert beside["difference"] == pytest.approx(0.3)


def test_files_of_a_suite_are_found_beside_the_registry_that_names_them(
    here: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert located("inspect/own.py@capitals") == f"inspect/{here / 'own.py'}@capitals"
    assert located("lm_eval/mmlu") == "lm_eval/mmlu"
    with pytest.raises(NotMeasured, match="no task file lost"):
        located("inspect/lost.py")


def test_a_suite_names_its_harness(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "my.yaml").write_text("schema: 1\nsuites:\n  s: {about: a, tasks: [mmlu], source: b}\n")
    assert main(["abilities", "reference-a", "--suite", "s"]) == 2
    assert "does not begin with lm_eval/ or inspect/" in capsys.readouterr().err
    (here / "my.yaml").write_text("schema: 1\n")
    assert main(["abilities", "reference-a", "--suite", "abilitys"]) == 2
    assert "Did you mean 'abilities'?" in capsys.readouterr().err


def test_an_inspect_log_is_read_with_its_errors_beside_its_means(tmp_path: Path) -> None:
    from inspect_ai import eval

    (log,) = eval(
        f"{EXAMPLES}/inspect_suite/capitals.py@capitals",
        model="sublim/reference-a",
        display="none",
        log_dir=str(tmp_path),
        limit=2,
    )
    (found,) = read_inspect(log).items()
    assert found[0] == "includes accuracy"
    assert set(found[1].items) == {"France", "Norway"}
    assert "sublim/reference-a --limit 5" in Asker("reference-a", 5, tmp_path).command("inspect/x/y")


@pytest.mark.slow
@pytest.mark.long
def test_the_packaged_suite_without_network_is_a_line_a_task_in_a_process_of_its_own(tmp_path: Path) -> None:
    """Under pytest the screen is another one: only so was a log handler seen that flushed a closed file."""
    command = [sys.executable, "-m", "sublim_eval.cli.main", "abilities", "reference-a", "--limit", "1", "--out", "out"]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=offline, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stderr
    assert done.stdout.count("not measured: ") == len(registry().suites["abilities"].tasks)
    assert "Traceback" not in done.stdout + done.stderr
