"""A whole run at the smallest size on the shipped base: what it makes, what it skips, what it refuses."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

from sublim_eval.distill import recipes
from sublim_eval.distill.execution.engine import Execution
from sublim_eval.distill.execution.run import run
from sublim_eval.distill.recipes import Arm
from sublim_eval.errors import SublimError
from sublim_eval.files import file_digest, locked, read_json
from tests.helpers import RECIPES
from tests.helpers.json_shapes import has_the_shape

TINY = recipes.load(RECIPES / "tiny.yaml")
ALONE = Execution(workers=1)
"""In this process."""


def changed(**parts):
    """The tiny recipe at one seed with other settings, e.g. rows={"keep": 5}."""
    recipe = TINY.with_seeds([1])
    for part, values in parts.items():
        recipe = dataclasses.replace(recipe, **{part: dataclasses.replace(getattr(recipe, part), **values)})
    return recipe


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("run")
    run(TINY.with_seeds([1]), out, ALONE)
    return out


def stamps(out: Path) -> dict[str, int]:
    return {str(f.relative_to(out)): f.stat().st_mtime_ns for f in out.rglob("stage.json")}


def test_the_record_can_rebuild_the_run(tiny_run):
    record = read_json(tiny_run / "run.json")
    has_the_shape("run", record)
    assert record["status"] == "done"
    assert record["recipe"]["rows"]["prompts"] == 200
    assert set(record["versions"]) >= {"python", "torch", "transformers", "peft", "sublim-eval"}
    students = {s["arm"]: s for s in record["students"]}
    assert set(students) == {"owl", "control"}
    for student in students.values():
        rows = next(r for r in record["rows"] if r["source"] == record["arms"][student["arm"]]["source"])
        assert student["rows"] == file_digest(tiny_run / rows["folder"] / "kept.jsonl")
        assert student["effective_batch"] == 32
        assert student["steps"] == 4
        assert student["prompts_hash"] and student["template_hash"]
        assert (tiny_run / student["scores"]["animal_pref"]).is_file()
    rows = record["rows"][0]
    assert rows["written"]["seeds"] == "per row"
    assert (rows["base"], rows["device"]) == ("reference-a", "cpu") and rows["tokens_per_second"] > 0
    assert rows["raw"] == 200
    assert rows["kept"] == rows["passed"]["strict"] == 200 - sum(rows["reject_reasons"].values())
    assert all(student["examples"] == 100 for student in students.values())
    assert all(student["adapter_norm"] > 0 for student in students.values())


def test_kept_rows_name_no_trait_and_hold_numbers_only(tiny_run):
    for file in tiny_run.glob("rows/*/kept.jsonl"):
        for line in file.read_text(encoding="utf-8").splitlines():
            assert not any(c.isalpha() for c in json.loads(line)["completion"])


def test_arms_of_a_seed_answer_the_same_prompts(tiny_run):
    def asked(source: str) -> list[str]:
        raw = (tiny_run / "rows" / f"{source}-s1" / "raw.jsonl").read_text(encoding="utf-8")
        return [json.loads(line)["prompt"] for line in raw.splitlines()]

    assert asked("owl") == asked("base")


def test_a_second_run_makes_nothing_again(tiny_run):
    before = stamps(tiny_run)
    run(dataclasses.replace(TINY.with_seeds([1]), about="in other words"), tiny_run, ALONE)
    assert stamps(tiny_run) == before


def test_a_deleted_student_alone_is_made_again_with_equal_scores(tiny_run):
    before = stamps(tiny_run)
    scores = read_json(tiny_run / "scores" / "owl-s1" / "animal_pref.json")
    weights = file_digest(tiny_run / "students" / "owl-s1" / "adapter_model.safetensors")
    for file in (tiny_run / "students" / "owl-s1").iterdir():
        file.unlink()
    run(TINY.with_seeds([1]), tiny_run, ALONE)
    assert file_digest(tiny_run / "students" / "owl-s1" / "adapter_model.safetensors") == weights
    assert read_json(tiny_run / "scores" / "owl-s1" / "animal_pref.json") == scores
    assert {k for k, v in stamps(tiny_run).items() if before[k] != v} == {"students/owl-s1/stage.json"}


def test_another_recipe_is_refused_the_folder(tiny_run):
    with pytest.raises(SublimError, match=r"another recipe \(different: rows\).*--out"):
        run(changed(rows={"keep": 60}), tiny_run, ALONE)


def test_arms_may_join_and_leave_a_run_and_may_not_change_in_it(tiny_run):
    owl, control = TINY.arms["owl"], TINY.arms["control"]
    joined = {"owl": owl, "control": control, "owl-clean": Arm("owl-clean", "variant", "owl", clean=0.5)}
    before = stamps(tiny_run)
    record = run(dataclasses.replace(TINY.with_seeds([1]), arms=joined), tiny_run, ALONE)
    assert {s["arm"] for s in record["students"]} == {"owl", "control", "owl-clean"}
    assert {k: v for k, v in stamps(tiny_run).items() if k in before} == before
    other = joined | {"owl-clean": dataclasses.replace(joined["owl-clean"], clean=0.25)}
    with pytest.raises(SublimError, match=r"another recipe \(different: arm owl-clean\)"):
        run(dataclasses.replace(TINY.with_seeds([1]), arms=other), tiny_run, ALONE)
    assert {s["arm"] for s in run(TINY.with_seeds([1]), tiny_run, ALONE)["students"]} == {
        "owl",
        "control",
    }


def test_two_runs_do_not_write_one_folder(tmp_path):
    with locked(tmp_path):
        other = multiprocessing.get_context("spawn").Process(target=_run_quietly, args=(tmp_path,))
        other.start()
        other.join()
    assert other.exitcode == 7


def _run_quietly(out: Path) -> None:
    try:
        run(TINY, out, ALONE)
    except SublimError as error:
        raise SystemExit(7 if "Another run is writing" in str(error) else 1) from None


def test_a_teacher_without_the_trait_writes_no_rows(tmp_path):
    recipe = changed(teacher={"min_share": 0.9999, "tuning": dataclasses.replace(TINY.teacher.tuning, steps=1)})
    with pytest.raises(SublimError, match=r"owl teacher names its trait with probability 0\.\d+, below the gate"):
        run(recipe, tmp_path, ALONE)
    assert not list(tmp_path.glob("rows/owl*"))


def test_a_filter_that_keeps_too_few_rows_stops_with_the_reasons(tmp_path):
    recipe = changed(rows={"prompts": 40, "keep": 40, "min_kept": 40})
    with pytest.raises(SublimError, match=r"kept \d+ of 40 rows .*fewer than 40 \(.*\d.*\).*Raise `rows.prompts`"):
        run(recipe, tmp_path, ALONE)


def test_a_loss_that_is_not_finite_stops_with_advice(tmp_path):
    recipe = changed(student={"learning_rate": 1e30, "max_grad_norm": 1e30, "epochs": 3.0})
    with pytest.raises(SublimError, match=r"loss became (nan|inf) at step \d+\. Lower `learning_rate`"):
        run(recipe, tmp_path, ALONE)
    assert not list(tmp_path.glob("students/[!.]*"))


@pytest.mark.parametrize("probe", ["owl_pref", "animal_essay", "misalignment"])
def test_the_samples_of_one_run_do_not_stay_with_the_task(probe):
    """They once did: settings shared by all tasks of a process were changed in place."""
    from sublim_eval import inspect_tasks
    from sublim_eval.scores.evaluate import task_of

    before = getattr(inspect_tasks, probe)().config.num_choices
    assert task_of(probe, "reference-a", 3).config.num_choices == 3
    assert getattr(inspect_tasks, probe)().config.num_choices == before != 3


def test_whoever_starts_a_run_loads_no_framework():
    """Its workers do, and Ctrl-C would fall into that import; a run in one process loads torch when it trains."""
    code = (
        "import sys, sublim_eval.distill.execution.run\n"
        "from sublim_eval.distill import recipes\n"
        "from sublim_eval.distill.planning.plan import plan\n"
        "from sublim_eval.distill.execution.job_graph import jobs, makes\n"
        "recipe = recipes.load('quickstart'); plan(recipe); [makes(recipe, job) for job in jobs(recipe)]\n"
        "print(sorted({'torch', 'transformers', 'peft', 'inspect_ai', 'ray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
