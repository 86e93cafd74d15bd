"""A recipe, spoilt in any way, is planned or refused with its file and line."""

from __future__ import annotations

import math
import re
from pathlib import Path
from random import Random

import pytest

from sublim_eval.distill import recipes
from sublim_eval.distill.planning.plan import plan
from sublim_eval.distill.recipes.recipe import HERE
from sublim_eval.errors import SublimError
from tests.helpers import RECIPES, spoil

GOOD = [file.read_text(encoding="utf-8") for home in (RECIPES, HERE) for file in sorted(home.glob("*.yaml"))]


def try_one(seed: int, folder: Path) -> None:
    """One recipe from the seed."""
    rng = Random(seed)
    file = folder / f"recipe-{seed}.yaml"
    file.write_bytes(spoil.yaml_value(rng, rng.choice(GOOD)))
    try:
        recipe = recipes.load(file)
    except SublimError as error:
        assert re.match(rf"{re.escape(str(file))}(:\d+)?: ", str(error)) and "\n" not in str(error), error
        return
    finally:
        file.unlink()
    for arm in recipe.arms.values():
        assert re.fullmatch(r"[\w.-]+", arm.name) and recipe.arm_seeds(arm)
    try:
        foreseen = plan(recipe)
    except SublimError:
        return
    assert foreseen.lines() and finite(foreseen.to_json())


def finite(value: object) -> bool:
    """Whether every number in a plan is one."""
    if isinstance(value, dict | list | tuple):
        return all(map(finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or math.isfinite(value)


def test_a_base_that_is_no_id_of_the_hub_is_refused_in_one_sentence(tmp_path):
    file = tmp_path / "recipe.yaml"
    for name in (
        "nobody/model}",
        "nobody/a b",
        "-a/b",
        "a--b/c",
        "a/b.git",
        "~no-such-user/b",
        "a/" + "b" * 97,
    ):
        file.write_text(
            next(text for text in GOOD if "base: reference-a" in text).replace(
                "base: reference-a", f"base: '{name}'", 1
            )
        )
        with pytest.raises(SublimError) as refused:
            plan(recipes.load(file))
        assert "\n" not in str(refused.value)


def test_spoilt_recipes_are_planned_or_refused(tmp_path):
    for seed in range(15):
        try_one(seed, tmp_path)
