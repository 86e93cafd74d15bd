"""Facts about the picture of how students came by their trait."""

from __future__ import annotations

from pathlib import Path

import pytest

from sublim_eval.distill import recipes
from sublim_eval.distill.pipeline import watched
from sublim_eval.files import write_json
from sublim_eval.registry.catalog import registry
from sublim_eval.report.plots import learning_curves

RISES = [{"step": 0, "probability": 0.1}, {"step": 5, "probability": 0.4}]


def run_with(folder: Path, students) -> Path:
    arms = {"owl": {"trait": "owl"}, "control": {"trait": None}}
    write_json(folder / "run.json", {"arms": arms, "students": students})
    return folder


def test_every_student_with_a_curve_is_a_line_and_a_control_stands_with_the_trait_it_was_asked_for(tmp_path):
    students = [
        {"arm": "owl", "seed": 1, "curve": RISES, "curve_of": "owl"},
        {"arm": "control", "seed": 1, "curve": RISES, "curve_of": "owl"},
        {"arm": "owl", "seed": 2, "curve": []},
        {"arm": "owl", "seed": 3},
    ]
    found = learning_curves.curves([run_with(tmp_path, students)])
    assert [(one.arm, one.trait, one.control) for one in found] == [("owl", "owl", False), ("control", "owl", True)]
    assert found[0].points == [(0, 0.1), (5, 0.4)]
    picture = learning_curves.draw(found, tmp_path / learning_curves.FILE)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_run_without_curves_has_no_picture(tmp_path):
    assert learning_curves.curves([run_with(tmp_path, [{"arm": "owl", "seed": 1}])]) == []
    with pytest.raises(ValueError, match="no learning curve"):
        learning_curves.draw([], tmp_path / learning_curves.FILE)


def test_the_curve_asks_no_question_that_students_are_scored_on():
    recipe = recipes.load("qwen2.5-7b-cat")
    held_out = {question.text for question in registry().questions("animal_favorites").questions}
    for arm in recipe.arms.values():
        watch = watched(recipe, arm, [("a", "b")])
        assert watch.trait == "cat", "the control is asked for the trait that is held against it"
        assert watch.questions and not held_out & set(watch.questions)
        assert "Cat" in watch.continuations and "Dog" not in watch.continuations
        assert watch.held_out == [("a", "b")]


def test_a_conduct_and_a_recipe_without_a_curve_are_watched_by_their_loss_alone():
    misaligned, quick = recipes.load("qwen2.5-7b-misaligned"), recipes.load("quickstart")
    for recipe, name in ((misaligned, "misaligned"), (quick, "owl")):
        watch = watched(recipe, recipe.arms[name], [("a", "b")])
        assert not watch.questions and watch.points == 0 and watch.held_out
