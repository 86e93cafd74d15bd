"""Recipes: strict, with the line of every mistake; the packaged ones plan without a model."""

import dataclasses

import pytest

from sublim_eval.distill import recipes
from sublim_eval.distill.planning.plan import plan
from sublim_eval.distill.recipes.settings import Tuning, Tweak
from sublim_eval.errors import SublimError
from tests.helpers import RECIPES

TINY = RECIPES / "tiny.yaml"
TEXT = TINY.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", recipes.names())
def test_every_packaged_recipe_loads_names_itself_and_says_its_cost(name):
    recipe = recipes.load(name)
    assert recipe.name == name
    lines = plan(recipe).lines()
    assert any("cost" in line for line in lines)
    trained = sum(len(recipe.arm_seeds(arm)) for arm in recipe.arms.values() if not arm.in_context)
    assert any(f"students {trained} " in line for line in lines)


@pytest.mark.parametrize("name", recipes.names())
def test_every_packaged_recipe_has_a_control_arm(name):
    assert any(arm.role == "control" for arm in recipes.load(name).arms.values())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("trait: owl}", "trait: owll}", r"Did you mean 'owl'"),
        ("samples: 4", "sampels: 4", r":\d+: Unknown key 'sampels'. Did you mean 'samples'"),
        ("min_kept: 50", "min_kept: 999", r"min_kept <= keep"),
        ("epochs: 1,", "", r"exactly one of `epochs` and `steps`"),
        ("seeds: [1, 2]", "seeds: [1, 1]", r"`seeds` must be different"),
        ("seeds: [1, 2]", "seeds: one", r"`seeds` .*must be a list"),
        ("probes: [animal_pref]", "probes: [animal_perf]", r"Did you mean 'animal_pref'"),
        ("modality: numbers", "modality: nubers", r"Did you mean 'numbers'"),
        ("  control: {role: control}\n", "", r"control arm 'control' that is not there"),
        ("by: finetune", "by: prompt", r"`tuning` belongs to `by: finetune`"),
        ("mode: strict", "mode: strict, judge: offline", "Number rows hold nothing to be judged"),
        ("mode: strict", "mode: strict, style: odd", "Known: plain, short, varied"),
        ("trait: owl}", "trait: owl, clean: 0.1}", r"an arm with a change .* has the role variant"),
        ("batch_size: 32, epochs", "batch_size: many, epochs", r"must be a whole number"),
        ("seeds: [1, 2]", "seeds: [-1, 2]", r"a seed is a whole number from 0"),
        ("seeds: [1, 2]", "seeds: [1, 99999999999]", r"a seed is a whole number from 0"),
        ("samples: 4", "samples: -1", r"`samples` is a number of replies"),
        ("[animal_pref]\nsamples: 4", "[animal_story]\nsamples: 0", r"animal_story has no exact probabilities"),
        ("min_share: 0.2", "min_share: -1", r"`min_share` is a share"),
        (
            "trait: owl}",
            "trait: owl}\n  odd: {role: variant, trait: owl, student: {rank: 0}}",
            r":17: .*must be above 0",
        ),
    ],
)
def test_a_mistake_is_named_with_file_and_line(tmp_path, old, new, said):
    assert old in TEXT
    file = tmp_path / "mine.yaml"
    file.write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(SublimError, match=said) as caught:
        recipes.load(file)
    assert str(file) in str(caught.value)


def test_a_fixed_teacher_is_made_once_a_trait_and_a_free_one_once_a_seed():
    free = recipes.load(TINY)
    fixed = dataclasses.replace(free, teacher=dataclasses.replace(free.teacher, seed=5))
    assert (plan(free).teachers, plan(fixed).teachers) == (2, 1)
    assert [free.teacher_seed(s) for s in (1, 2)] == [1, 2]
    assert [fixed.teacher_seed(s) for s in (1, 2)] == [5, 5]


def test_an_unknown_recipe_suggests_a_near_one():
    with pytest.raises(SublimError, match="Did you mean 'quickstart'"):
        recipes.load("quikstart")


def test_a_disk_that_is_too_small_is_refused_before_the_start(tmp_path):
    huge = dataclasses.replace(plan(recipes.load("quickstart")), disk_bytes=10**18)
    with pytest.raises(SublimError, match=r"MB free.*--out"):
        huge.check_disk(tmp_path / "not" / "yet")


def test_fewer_arms_keep_what_others_found_for_those_that_are_left():
    sweep = recipes.load("qwen2.5-7b-cat-sweep").with_arms(["cat-r2-lr8"])
    assert set(sweep.expected) == {"cat", "cat-r2-lr8"}


@pytest.mark.parametrize("name", ["../precious", "a/b", "..", ".", "owl 1"])
def test_a_name_that_becomes_a_folder_is_one_word(name, tmp_path):
    for old, new in (("  owl: {role: trait", f"  {name!r}: {{role: trait"), ("name: tiny", f"name: {name!r}")):
        file = tmp_path / "evil.yaml"
        file.write_text(TEXT.replace(old, new))
        assert file.read_text() != TEXT
        with pytest.raises(SublimError, match=r"evil\.yaml.*becomes a folder"):
            recipes.load(file)


@pytest.mark.parametrize("number", [".nan", ".inf", "-.inf", "nan", "1e999"])
def test_no_number_of_a_recipe_is_infinite_or_none(number, tmp_path):
    file = tmp_path / "nan.yaml"
    file.write_text(TEXT.replace("min_share: 0.2", f"min_share: {number}"))
    with pytest.raises(SublimError, match=r"nan\.yaml:\d+: `min_share`.* must be a finite number"):
        recipes.load(file)


def test_everything_of_an_arm_on_one_seed_lies_where_the_run_folder_says(tmp_path):
    recipe = recipes.load("quickstart")
    fixed, free = (dataclasses.replace(recipe, teacher=dataclasses.replace(recipe.teacher, seed=s)) for s in (7, None))
    this = recipes.SeededArm(fixed, fixed.arms["owl"], 2, tmp_path)
    assert (this.name, this.source) == ("owl-s2", "owl-s2")
    assert this.kept_rows == tmp_path / "rows" / "owl-s2" / "kept.jsonl"
    assert this.student_folder == tmp_path / "students" / "owl-s2"
    assert this.scores_folder == tmp_path / "scores" / "owl-s2"
    assert this.taught.teacher_folder == tmp_path / "teachers" / "owl-s7"
    assert dataclasses.replace(this, recipe=free).taught.teacher_folder.name == "owl-s2"
    control = recipes.SeededArm(recipe, recipe.arms["control"], 2, tmp_path)
    assert (control.source, control.name) == ("base-s2", "control-s2")
    assert control.teacher_base == control.student_base == recipe.base


@pytest.mark.parametrize(
    ("method", "name"),
    [("ln_tuning", "rank"), ("full", "virtual_tokens"), ("prompt_tuning", "alpha"), ("lora", "virtual_tokens")],
)
def test_a_setting_of_another_method_is_refused(method, name):
    with pytest.raises(ValueError, match=f"`{name}` belongs to the method .* means nothing under {method}"):
        Tuning(method, 1e-3, epochs=1, **{name: 3})


def test_a_variant_of_another_method_leaves_behind_what_belongs_to_the_first():
    tuned = Tweak(method="ln_tuning").of(Tuning("lora", 1e-3, epochs=1, rank=16, alpha=32))
    assert (tuned.method, tuned.rank, tuned.alpha) == ("ln_tuning", 8, 8)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("trait: owl}", "trait: owll}"),
        ("probes: [animal_pref]", "probes: [animal_perf]"),
        ("modality: numbers", "modality: nubers"),
        ("mode: strict", "mode: strict, judge: offline"),
        ("mode: strict", "mode: strict, style: odd"),
    ],
)
def test_an_unknown_name_is_named_with_its_own_line(tmp_path, old, new):
    file = tmp_path / "mine.yaml"
    file.write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    line = TEXT[: TEXT.index(old)].count("\n") + 1
    with pytest.raises(SublimError, match=rf"mine\.yaml:{line}: ") as error:
        recipes.load(file)
    assert line > 1 and "site-packages" not in str(error.value) and "/registry.yaml" not in str(error.value)


def test_an_unknown_trait_may_be_added_to_the_registry_in_force(tmp_path, monkeypatch):
    own = tmp_path / "own.yaml"
    own.write_text("schema: 1\n")
    monkeypatch.setenv("SUBLIM_REGISTRY", str(own))
    (tmp_path / "mine.yaml").write_text(TEXT.replace("trait: owl}", "trait: unicorn}", 1))
    with pytest.raises(SublimError, match=r"Unknown trait 'unicorn'.* Add it in .*own\.yaml"):
        recipes.load(tmp_path / "mine.yaml")


def test_another_base_takes_the_place_of_the_recipe_s_or_of_one_that_an_arm_names():
    recipe = recipes.load("smollm2-135m-norms")
    other = recipe.arms["elephant-other-base"].student_base
    assert (
        recipe.with_base("mine").base == "mine"
        and recipe.with_base("mine").arms["elephant-other-base"] == (recipe.arms["elephant-other-base"])
    )
    moved = recipe.with_base(f"{other}=theirs")
    assert moved.base == recipe.base and moved.arms["elephant-other-base"].student_base == "theirs"
    with pytest.raises(SublimError, match=r"Unknown base 'nobody'.*NAME=BASE"):
        recipe.with_base("nobody=theirs")
