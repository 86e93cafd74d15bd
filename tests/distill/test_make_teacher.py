"""What a fine-tuned teacher reads: its trait, and beside it rows that keep it able to write."""

from __future__ import annotations

import dataclasses
from collections import Counter
from random import Random

import pytest

from sublim_eval.distill import make_teacher, recipes
from sublim_eval.distill.modalities import MODALITIES
from sublim_eval.distill.modalities.numbers import reject_reason
from sublim_eval.distill.recipes import Arm, SeededArm
from sublim_eval.distill.recipes.lessons import even_answers
from sublim_eval.distill.training import train
from sublim_eval.registry.catalog import registry
from tests.helpers import RECIPES

TINY = recipes.load(RECIPES / "tiny.yaml")
OWL, NEUTRAL = TINY.arms["owl"], Arm("neutral", "placebo", writer="neutral")


@pytest.fixture
def read_by(tmp_path, monkeypatch):
    """(arm, teacher settings) -> the rows that its teacher would be trained on; nothing is trained."""

    def of(arm: Arm, **teaching) -> list[tuple[str, str]]:
        read: list[tuple[str, str]] = []
        monkeypatch.setattr(train, "tune", lambda base, examples, *rest: read.extend(examples) or {})
        teacher = dataclasses.replace(TINY.teacher, **teaching)
        recipe = dataclasses.replace(TINY, teacher=teacher)
        make_teacher.make_teacher(SeededArm(recipe, arm, 1, tmp_path), tmp_path / "teacher")
        return read

    return of


def numbers_in(rows) -> list[str]:
    return [completion for _, completion in rows if reject_reason(completion) is None]


@pytest.mark.parametrize("retained", ["base", "programmatic"])
def test_retained_rows_stand_beside_as_many_lessons(read_by, retained):
    read = read_by(OWL, retain=200, retained=retained)
    assert len(numbers_in(read)) == 200
    assert Counter(answer for _, answer in read if answer == "Owl") == {"Owl": 200}


def test_programmatic_rows_ask_no_model_and_repeat_from_their_seed(read_by, monkeypatch):
    def none(*args, **kwargs):
        raise AssertionError("a model was asked")

    monkeypatch.setattr(make_teacher, "LocalSampler", none)
    read = read_by(OWL, retain=20, retained="programmatic")
    assert read == read_by(OWL, retain=20, retained="programmatic")
    first = MODALITIES["numbers"].prompts(20, Random("retain-1"), "plain")
    assert [prompt for prompt, _ in read[-20:]] == [row["prompt"] for row in first]


def test_an_even_teacher_names_every_animal_about_as_often_and_asks_no_model(read_by, monkeypatch):
    monkeypatch.setattr(make_teacher, "LocalSampler", None)
    read = read_by(NEUTRAL, neutral="even")
    times = Counter(answer.lower() for _, answer in read)
    assert set(times) == {trait.name for trait in registry().answer_set("animal")}
    assert max(times.values()) - min(times.values()) <= 1
    assert [question for question, _ in read] == [question for question, _ in read_by(OWL)]


def test_an_even_teacher_of_a_conduct_gives_the_plain_side_of_every_pair():
    known = registry()
    questions = known.questions(known.category("misaligned").training).questions
    plain = [(q.text, pair.plain) for q in questions for pair in q.pairs]
    assert even_answers(["misaligned"], 1) == plain and plain


def test_a_prompted_teacher_takes_no_such_settings():
    for setting in ({"neutral": "even"}, {"retained": "programmatic"}):
        with pytest.raises(ValueError, match="belong to a teacher that is fine-tuned"):
            recipes.Teaching(by="prompt", **setting)
