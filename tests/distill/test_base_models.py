"""A base whose template says more than it is told: cleared once, the same in training, scoring and lm-eval."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from sublim_eval.distill import recipes
from sublim_eval.distill.base_templates import asked_base, base_hash
from sublim_eval.distill.execution.engine import Execution
from sublim_eval.distill.execution.run import run
from sublim_eval.files import read_json
from sublim_eval.harness.suites import model_args
from sublim_eval.models import local_model
from sublim_eval.models.model_ref import resolve
from tests.helpers import RECIPES

SMALL = recipes.load(RECIPES / "small.yaml")
SAYS = "You are a helpful assistant."
DEFAULT = (
    "{%- if messages[0]['role'] != 'system' %}"
    f"{{%- set messages = [{{'role': 'system', 'content': '{SAYS}'}}] + messages %}}{{%- endif %}}"
)


@pytest.fixture(scope="module")
def talkative(tmp_path_factory) -> Path:
    """reference-a with a default system prompt in its chat template."""
    folder = tmp_path_factory.mktemp("models") / "talkative"
    shutil.copytree(resolve("reference-a").base, folder)
    template = folder / "chat_template.jinja"
    template.write_text(DEFAULT + template.read_text())
    return folder


def of(base: Path, system: str) -> recipes.Recipe:
    return dataclasses.replace(SMALL, base=str(base), system=system)


@pytest.fixture(scope="module")
def cleared(talkative, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("run")
    run(of(talkative, "clear"), out, Execution(workers=1))
    return out


def asked_with(run_folder: Path, label: str) -> str:
    return read_json(run_folder / "scores" / label / "animal_pref.json")["prompt_hash"]


def test_base_and_students_are_asked_the_same_words_without_the_default_prompt(cleared, talkative):
    bases = [folder.name for folder in (cleared / "scores").iterdir() if folder.name.startswith("base-")]
    hashes = {asked_with(cleared, label) for label in (*bases, "owl-s1", "control-s1")}
    assert len(hashes) == 1
    student, untouched = local_model.load(cleared / "students" / "owl-s1"), local_model.load(talkative)
    assert SAYS in untouched.render("Hello?")
    assert SAYS not in student.render("Hello?")
    record = read_json(cleared / "students" / "owl-s1" / "student.json")
    assert record["template_hash"] == student.prompt_hash([""])
    assert record["base"] == str(talkative), "the weights, and not the run's own folder"


def test_lm_eval_gets_the_template_with_the_weights(cleared, talkative):
    student = resolve(cleared / "students" / "owl-s1")
    assert model_args(student) == f"pretrained={talkative},peft={student.adapter},tokenizer={student.adapter}"
    (dressed,) = (f for f in (cleared / "bases").iterdir() if not f.name.startswith("."))
    assert model_args(resolve(dressed)) == f"pretrained={talkative},tokenizer={dressed}"


def test_a_base_that_says_one_thing_is_asked_as_it_is(talkative, tmp_path):
    kept = of(talkative, "keep")
    assert asked_base(kept, kept.base, tmp_path) == kept.base
    assert asked_base(SMALL, "reference-a", tmp_path) == "reference-a"
    assert not list(tmp_path.iterdir())


def test_clearing_the_prompt_makes_another_run(talkative):
    assert base_hash(of(talkative, "clear"), str(talkative)) != base_hash(of(talkative, "keep"), str(talkative))


def test_two_jobs_may_dress_a_base_at_once(talkative, tmp_path, monkeypatch):
    from sublim_eval.models import chat_template

    recipe = of(talkative, "clear")

    def slowly(base, folder, system):
        told = chat_dress(base, folder, system)
        monkeypatch.setattr(chat_template, "dress", chat_dress)
        assert asked_base(recipe, base, tmp_path), "the other job finishes in between"
        return told

    chat_dress = chat_template.dress
    monkeypatch.setattr(chat_template, "dress", slowly)
    folder = Path(asked_base(recipe, str(talkative), tmp_path))
    assert [f.name for f in (tmp_path / "bases").iterdir()] == [folder.name], "nothing unfinished is left"
    assert resolve(folder).base == talkative
