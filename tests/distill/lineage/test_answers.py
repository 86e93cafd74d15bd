"""The space of answers tells copies from strangers."""

from __future__ import annotations

import numpy as np
import pytest

from sublim_eval.distill.lineage import answers, ask
from sublim_eval.distill.lineage.transfer import of_cosines
from sublim_eval.errors import SublimError
from tests.helpers.tiny import tiny_adapter, tiny_model

WORDS = [f"w{i}" for i in range(300)]


def logs(matrix, states):
    x = states @ matrix.T
    return (x - np.log(np.exp(x).sum(1, keepdims=True))).astype(np.float32)


def test_another_body_before_the_same_output_is_alike_and_another_output_is_not():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 200, 10))
    a = logs(one, rng.normal(size=(60, 10)))
    assert answers.likeness(a, logs(one, rng.normal(size=(60, 10)))) > 0.99
    assert answers.likeness(a, logs(other, rng.normal(size=(60, 10)))) < 0.1


def test_an_adapter_answers_in_its_bases_space_and_a_stranger_does_not(tmp_path):
    base = tiny_model(tmp_path / "base", seed=1, words=WORDS, hidden=16)
    copy = tiny_adapter(base, tmp_path / "ln", "ln")
    others = [str(tiny_model(tmp_path / f"o{i}", seed=i, words=WORDS, hidden=16)) for i in (2, 3, 4)]
    told = ask.kinship(str(base), str(copy), others, queries=60)
    assert told.related and told.by == "answers"
    assert not ask.kinship(str(base), others[0], others[1:], queries=60).related


def test_one_reference_has_no_spread():
    with pytest.raises(SublimError, match="no spread"):
        ask.kinship("reference-a", "reference-b", ["reference-b"])


def test_no_words_in_common_is_said():
    with pytest.raises(SublimError, match="hardly a word"):
        answers.questions(["!", "?"], 3)


def test_the_forecast_is_relative_to_the_teachers_own_base():
    made = of_cosines(np.array([0.1, 0.2, 0.3]), np.array([0.4, 0.4, 0.4]))
    assert made.expected == pytest.approx(0.5) and made.low < 0.5 < made.high
