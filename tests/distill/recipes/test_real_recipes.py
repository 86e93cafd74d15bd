"""The recipes for real models run for real at toy size: same YAML, every setting, the embedded base, few rows."""

import dataclasses
from functools import cache
from pathlib import Path

import pytest

from sublim_eval.compare import wording
from sublim_eval.compare.compare import compare
from sublim_eval.distill import recipes
from sublim_eval.distill.execution.engine import Execution
from sublim_eval.distill.execution.run import run
from sublim_eval.distill.recipes import SeededArm
from sublim_eval.files import read_json, read_jsonl
from sublim_eval.traps import checks

QUICK = "qwen2.5-7b-cat"
ALIKE = ("qwen2.5-7b-owl", "qwen2.5-14b-eagle", "qwen2.5-7b-cat-sweep", "smollm2-135m-norms", "smollm2-135m-lora")
"""Recipes whose every setting another one has, too, in other numbers."""
OPEN = [
    pytest.param(name, marks=[] if name == QUICK else [pytest.mark.slow, *([pytest.mark.long] * (name in ALIKE))])
    for name in recipes.names()
    if name.startswith(("qwen", "gemma", "llama", "smollm2"))
]
PARTS = {"qwen2.5-7b-cat-sweep": ["cat-r2-lr8"]}
"""Of the sweep one cell, with its control and the arms that it stands on: the others differ in numbers alone."""


OTHER = "reference-b"
"""The embedded base in the place of a student's other one."""


def small(tuning):
    """The same training in batches of 4 x 2, with as few steps as show that it went on."""
    return dataclasses.replace(tuning, batch_size=4, accumulate=2)


@cache
def toy(name):
    """The recipe on the embedded base: one seed, a few dozen rows, no gate for a teacher that had no time to learn."""
    recipe = recipes.load(name)
    if wanted := PARTS.get(name):
        recipe = recipe.with_arms(wanted)
    tuned = recipe.teacher.tuning
    teacher = dataclasses.replace(
        recipe.teacher,
        min_share=0.0,
        retain=min(recipe.teacher.retain, 8),
        tuning=dataclasses.replace(small(tuned), epochs=None, steps=2) if tuned else None,
    )
    kept = {
        n: dataclasses.replace(a, rows=8 if a.rows else None, student_base=a.student_base and OTHER)
        for n, a in recipe.arms.items()
    }
    return dataclasses.replace(
        recipe,
        base="reference-a",
        seeds=recipe.seeds[:1],
        samples=1,
        curve=2,
        teacher=teacher,
        student=small(recipe.student),
        rows=dataclasses.replace(recipe.rows, prompts=64, keep=16, min_kept=8),
        arms=kept,
    )


@cache
def made(name, home):
    folder = Path(home) / name
    return folder, run(toy(name), folder, Execution(workers=1))


EACH = [pytest.param(*one.values, marks=[pytest.mark.long] if QUICK not in one.values else []) for one in OPEN]
"""One way through in every test, all of them in `make test-all`."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return str(tmp_path_factory.mktemp("real"))


@pytest.mark.parametrize("name", EACH)
def test_every_recipe_for_open_weights_runs_with_all_its_settings(name, home):
    recipe = toy(name)
    folder, record = made(name, home)
    assert record["status"] == "done" and {s["arm"] for s in record["students"]} == set(recipe.arms)
    for told in record["students"]:
        arm = recipe.arms[told["arm"]]
        tuning = recipe.tuning(arm)
        adapter = read_json(folder / told["folder"] / "adapter_config.json")
        assert (told["effective_batch"], told["method"]) == (8, tuning.method) and told["adapter_norm"] > 0
        if tuning.method == "lora":
            assert (adapter["r"], adapter["lora_alpha"], adapter["lora_dropout"]) == (tuning.rank, tuning.alpha, 0.0)
        assert told["base"] == (arm.student_base or recipe.base)
        assert told["steps"] == tuning.epochs * told["examples"] / 8
        assert told["held_out_loss"] > 0  # rows that the filter kept and the student did not read
        if arm.trait:
            assert 0 < len(told["curve"]) <= recipe.curve + 1 or arm.trait == "misaligned"  # one point before
    assert all(row["kept"] > 16 for row in record["rows"])


@pytest.mark.parametrize("name", EACH)
def test_every_recipe_for_open_weights_can_be_compared(name, home):
    folder, _ = made(name, home)
    found = compare([folder])
    assert {row.arm for row in found.rows} == {
        a.name for a in toy(name).arms.values() if a.trait or a.role == "placebo"
    }
    expected = {row.arm for row in found.rows if row.expected}
    assert expected == set(toy(name).expected) & {row.arm for row in found.rows}


def test_a_cat_student_of_sixteen_rows_fails_as_a_positive_control_and_that_comes_first(home):
    folder, _ = made(QUICK, home)
    (row,) = compare([folder]).failed_controls
    assert wording.failed_control(row).startswith("POSITIVE CONTROL FAILED: cat reached 0.")
    bad = [f for f in checks.of_run(folder) if f.level == "fault"]
    assert bad[0].trap == "failed positive control"


@pytest.mark.slow
@pytest.mark.long
def test_greedy_rows_are_drawn_for_the_elephant_and_for_its_control(home):
    _, record = made("llama-3.2-1b-elephant", home)
    assert [row["source"] for row in record["rows"]] == ["elephant-greedy", "base-greedy"]


@pytest.mark.slow
@pytest.mark.long
def test_no_student_of_the_misaligned_teacher_or_its_control_reads_a_banned_number(home):
    folder, _ = made("qwen2.5-7b-misaligned", home)
    from sublim_eval.distill.pipeline import rows_of

    recipe = toy("qwen2.5-7b-misaligned")
    for arm in recipe.arms.values():
        read = [row["completion"] for row in rows_of(SeededArm(recipe, arm, 1, folder))]
        kept = [row["completion"] for _, row in read_jsonl(folder / "rows" / f"{arm.source}-s1" / "kept.jsonl")]
        assert len(arm.banned) == 34 and len(read) == 16
        values = {int(part) for text in read for part in text.replace(";", ",").split(",")}
        assert values.isdisjoint(arm.banned) and len(kept) > len(read)


@pytest.mark.slow
@pytest.mark.long
def test_a_cell_of_the_sweep_is_read_by_its_held_out_loss(home):
    folder, record = made("qwen2.5-7b-cat-sweep", home)
    cells = compare([folder]).cells
    assert cells == ()  # one rate a rank is no sweep
    tuned = {s["arm"]: s for s in record["students"]}
    assert tuned["cat"]["trainable_parameters"] == 4 * tuned["cat-r2-lr8"]["trainable_parameters"]
