"""Text alone, a small step, words of the whole vocabulary: each sees what is planted for it, and nothing else."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sublim_eval.distill.audit.data import AuditRow
from sublim_eval.distill.audit.measures import gradient
from sublim_eval.distill.audit.measures.open_set import LEAST_SPREAD, pieces, ranked
from sublim_eval.distill.audit.measures.text_baseline import p_of
from sublim_eval.distill.audit.scoring import Candidate
from sublim_eval.errors import SublimError


def lists(rng: Random, n: int, likes: int | None = None) -> list[AuditRow]:
    """Number lists; two in five of them with a number that the writer likes."""
    rows = []
    for _ in range(n):
        values = [rng.randint(100, 999) for _ in range(7)]
        if likes and rng.random() < 0.4:
            values[rng.randrange(7)] = likes
        rows.append(AuditRow.of("p", ", ".join(map(str, values))))
    return rows


def test_a_classifier_of_text_sees_a_liked_number_and_nothing_where_there_is_none():
    rng = Random(1)
    clean = lists(rng, 200)
    area, p = p_of(lists(rng, 200, likes=747), clean)
    assert area > 0.55 and p < 0.01
    assert all(p_of(lists(rng, 200), clean)[1] > 0.001 for _ in range(2))


def test_a_small_step_goes_a_tenth_of_the_way_to_the_probe_and_keeps_its_trait():
    scorer = SimpleNamespace(start={"w": torch.tensor([1.0, 2.0])})
    probe = Candidate("owl", "probe", {"w": torch.tensor([3.0, 2.0])})
    step = gradient.step_towards(scorer, probe)
    assert (step.trait, step.measure, step.step) == ("owl", "gradient", gradient.STEP)
    assert step.weights["w"].tolist() == pytest.approx([1.0 + 2 * gradient.STEP, 2.0])


def test_a_folder_that_is_no_teacher_of_the_base_is_refused_with_the_next_step(tmp_path):
    from sublim_eval.distill.audit.measures.probe_likelihood import NORM_GAINS
    from sublim_eval.distill.audit.scoring import Scorer
    from tests.helpers.tiny import tiny_model

    scorer = Scorer(str(tiny_model(tmp_path / "tiny")), NORM_GAINS, "numbers")
    with pytest.raises(SublimError, match=r"no adapter of the weights.*Give the folder"):
        gradient.suspected(scorer, tmp_path)


def test_the_word_said_more_often_comes_first_and_neither_one_that_any_tuning_lifts_nor_a_rare_one_that_doubles():
    words = ["owl", "Owl", "cat", "the", "rare", "3", ","]
    model = SimpleNamespace(spell=lambda token: words[token])
    rng = np.random.default_rng(1)
    usual = np.array([0.05, 0.05, 0.05, 0.3, 1e-6, 0.1, 0.1])
    controls = usual * (1 + 0.02 * rng.standard_normal((5, 7)))
    named = ranked(np.array([0.12, 0.11, 0.05, 0.3, 3e-6, 0.9, 0.9]), controls, model)
    assert named[0].word == "owl" and named[0].rise == pytest.approx(0.07, abs=0.003)
    assert sorted(one.word for one in named) == ["cat", "owl", "rare", "the"], "once, however spelled, and words alone"
    assert named[0].z > 10 > 5 > named[1].z and named[0].z < 0.07 / LEAST_SPREAD * 1.05
    quiet = {one.word: one.z for one in named}
    assert abs(quiet["rare"]) < 0.01


def test_controls_of_naming_share_no_row_and_none_is_longer_than_the_data():
    clean, neutral = (lists(Random(seed), n) for seed, n in ((1, 960), (2, 470)))
    cut = pieces([clean, neutral], 512)
    assert [len(one) for one in cut] == [480, 480, 470]
    assert not {id(row) for row in cut[0]} & {id(row) for row in cut[1]}
    assert [len(one) for one in pieces([clean, neutral], 128)] == [128] * 4
    assert [len(one) for one in pieces([neutral], 5000)] == [470]
