"""Ready for suites: one set of tags and attributes in both harnesses, our tasks beside a user's own in one command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sublim_eval import inspect_tasks, tasks_dir
from sublim_eval.maintain import task_facts
from sublim_eval.registry.catalog import registry
from tests.helpers.suites import command, lm_eval

ROOT = tasks_dir().parent
EXAMPLES = ROOT / "docs" / "examples"
TASKS = [pytest.param(task_facts.read(name), id=name) for name in task_facts.names()]
FAMILIES = {"preference", "misalignment", "entanglement", "generic"}


def family_tags(facts: task_facts.TaskFacts) -> list[str]:
    family = facts.attributes["family"]
    return ["sublim"] if family == "generic" else ["sublim", f"sublim_{family}"]


@pytest.mark.parametrize("facts", TASKS)
def test_a_task_has_its_attributes(facts: task_facts.TaskFacts) -> None:
    told = facts.attributes
    assert told["family"] in FAMILIES
    assert isinstance(told["needs_grader"], bool)
    assert "category" in told or "target" in told or told["family"] == "entanglement", "say what it looks at"
    probe = registry().probes.get(facts.name)
    if probe and probe.category:
        assert told["category"] == probe.category
    if probe and probe.trait:
        assert told["target"] == probe.trait


@pytest.mark.parametrize("facts", TASKS)
def test_a_task_has_the_same_tags_in_both_harnesses(facts: task_facts.TaskFacts) -> None:
    assert getattr(inspect_tasks, facts.name)().tags == family_tags(facts)
    assert facts.lm_eval, "no lm-eval file"
    for there in facts.lm_eval:
        assert list(there.tags) == family_tags(facts)
        assert there.name in (facts.name, f"{facts.name}_logprob")


@pytest.mark.parametrize("facts", TASKS)
def test_a_task_has_one_version_everywhere(facts: task_facts.TaskFacts) -> None:
    probe = registry().probes.get(facts.name)
    if probe:
        assert {there.version for there in facts.lm_eval} == {probe.version}
        assert getattr(inspect_tasks, facts.name)().metadata["full_task_version"] == probe.version


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_inspect_lists_a_family_by_its_attribute(family: str) -> None:
    """What `inspect list tasks` calls; tests/harness/test_tasks.py gives the command itself for one family."""
    from inspect_ai import list_tasks

    listed = list_tasks("tasks", filter=lambda task: task.attribs.get("family") == family, root_dir=ROOT)
    wanted = {f.values[0].name for f in TASKS if f.values[0].attributes["family"] == family}  # type: ignore[attr-defined]
    assert {task.name for task in listed} == wanted


def test_lm_eval_knows_every_tag() -> None:
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(tasks_dir()), include_defaults=False)
    names = {f.values[0].name: f.values[0] for f in TASKS}  # type: ignore[attr-defined]
    for tag in {t for facts in names.values() for t in family_tags(facts)}:
        wanted = {there.name for facts in names.values() if tag in family_tags(facts) for there in facts.lm_eval}
        assert set(manager.load([tag])["tasks"]) == wanted


# ---------------------------------------------------------------- beside a user's own, as docs/guides/suites.md has it


@pytest.mark.slow
@pytest.mark.long
def test_one_eval_set_holds_a_users_task_and_ours(tmp_path: Path) -> None:
    mine = "docs/examples/inspect_suite/capitals.py"
    ours = ("sublim_eval/owl_pref", "sublim_eval/husband")
    words = ["eval-set", mine, *ours, "--model", "sublim/reference-a", "--limit", "2", "--num-choices", "3"]
    command("inspect", *words, "--log-dir", str(tmp_path / "logs"))
    from inspect_ai.log import list_eval_logs, read_eval_log

    logs = [read_eval_log(info, header_only=True) for info in list_eval_logs(str(tmp_path / "logs"))]
    assert {log.eval.task for log in logs} == {"capitals", *ours}
    assert {log.status for log in logs} == {"success"}


@pytest.mark.slow
@pytest.mark.long
def test_a_python_suite_of_a_users_task_and_ours(tmp_path: Path) -> None:
    line = [sys.executable, str(EXAMPLES / "inspect_suite" / "suite.py"), str(tmp_path / "logs")]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr[-2000:]
    told = [line.split() for line in done.stdout.splitlines() if line.endswith("success")]
    assert {words[0] for words in told} == {"capitals", "sublim_eval/owl_pref", "sublim_eval/husband"}


@pytest.mark.slow
@pytest.mark.long
def test_a_users_lm_eval_group_holds_one_of_our_tasks_and_one_of_our_tags(tmp_path: Path) -> None:
    words = ["--config", "docs/examples/lm_eval_group/run.yaml", "--tasks", "house_suite"]
    command("lm_eval", "run", *words, "--output_path", str(tmp_path))
    found = lm_eval_results(tmp_path)
    facts = [f.values[0] for f in TASKS]
    tagged = {there.name for f in facts for there in f.lm_eval if "sublim_entanglement" in there.tags}  # type: ignore[attr-defined]
    assert tagged
    assert set(found["results"]) >= {"capitals", "owl_pref_logprob", *tagged}
    assert found["group_subtasks"]["house_suite"]


def test_an_lm_eval_run_file_names_a_users_task_and_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = yaml.safe_load((EXAMPLES / "lm_eval_group" / "run.yaml").read_text())
    assert "owl_pref_logprob" in told["tasks"]
    lm_eval(monkeypatch, "run", "--config", "docs/examples/lm_eval_group/run.yaml", "--output_path", str(tmp_path))
    assert set(lm_eval_results(tmp_path)["results"]) == {"capitals", "owl_pref_logprob"}


def test_lm_eval_in_python_mixes_a_users_folder_and_ours() -> None:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    folders: Any = [str(EXAMPLES / "lm_eval_group"), str(tasks_dir())]
    found = simple_evaluate(
        model="dummy",
        tasks=["capitals", "cat_pref_logprob"],
        task_manager=TaskManager(include_path=folders, include_defaults=False),
        limit=2,
        bootstrap_iters=0,
    )
    assert set(found["results"]) == {"capitals", "cat_pref_logprob"}


def lm_eval_results(folder: Path) -> dict[str, Any]:
    (file,) = folder.rglob("results_*.json")
    return json.loads(file.read_text())


@pytest.mark.slow
def test_the_example_of_a_users_own_suite_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sublim_eval.cli.main import main

    monkeypatch.setenv("SUBLIM_REGISTRY", "")
    words = ["abilities", "reference-a", "--registry", str(EXAMPLES / "my_suites.yaml"), "--suite", "mine"]
    assert main([*words, "--out", str(tmp_path)]) == 0
    told = json.loads((tmp_path / "reference-a" / "abilities" / "mine.json").read_text())
    assert len(told["tasks"]) == 2
    assert told["not_measured"] == {}


def test_the_guide_shows_the_examples_as_they_are() -> None:
    guide = (ROOT / "docs" / "guides" / "suites.md").read_text()
    shown = [block for block in guide.split("```yaml\n")[1:]]
    group, suites = (yaml.safe_load(block.split("```")[0]) for block in shown)
    assert group == {k: v for k, v in load(EXAMPLES / "lm_eval_group" / "house_suite.yaml").items() if k != "metadata"}
    assert suites["suites"]["mine"]["tasks"] == load(EXAMPLES / "my_suites.yaml")["suites"]["mine"]["tasks"]


def load(file: Path) -> dict[str, Any]:
    return yaml.safe_load(file.read_text())
