"""Gradients of many rows at once are what each row alone gives, and their product with a direction is the slope."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sublim_eval.distill.audit.data import AuditRow
from sublim_eval.distill.audit.measures import gradient
from sublim_eval.distill.audit.measures.probe_likelihood import LORA, NORM_GAINS
from sublim_eval.distill.audit.row_gradients import gains_of
from sublim_eval.distill.audit.scoring import Candidate, Scorer
from tests.helpers.tiny import WORDS, tiny_model

NUMBERS = [str(n) for n in range(12)]
ROWS = [AuditRow.of("name one", "3 , 4 , 5"), AuditRow.of("the best animal", "7"), AuditRow.of("name one", "owl")]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> str:
    return str(tiny_model(tmp_path_factory.mktemp("m") / "tiny", words=(*WORDS, *NUMBERS)))


def moved(scorer: Scorer, by: float, seed: int = 1) -> Candidate:
    drawn = torch.Generator().manual_seed(seed)
    weights = {name: p + by * torch.randn(p.shape, generator=drawn) for name, p in scorer.start.items()}
    return Candidate("owl", "probe", weights)


def test_the_slope_is_what_a_step_shows_the_smaller_it_is(base):
    scorer = Scorer(base, NORM_GAINS, "numbers")
    probe = moved(scorer, 0.3)
    (along,) = gradient.candidates(scorer, [probe])
    assert along.along is not None and along.weights is None
    steps = [gradient.step_towards(scorer, probe, step) for step in (0.1, 0.01)]
    values, _ = scorer.ratios(ROWS, [along, *steps])
    there = ~np.isnan(values[:, 0])
    assert there.tolist() == [True, True, False], "a row without a number says nothing"
    far, near = (np.abs(values[there, 1 + i] - values[there, 0]).max() for i in (0, 1))
    assert near < 0.02 * np.abs(values[there, 0]).max() and near < far / 5


def test_rows_do_not_mix_however_many_are_read_at_once(base):
    scorer = Scorer(base, NORM_GAINS, "numbers")
    ways = gradient.candidates(scorer, [moved(scorer, 0.3), moved(scorer, 0.3, seed=2)])
    together, _ = scorer.ratios(ROWS[:2], ways)
    alone = np.concatenate([scorer.ratios([row], ways)[0] for row in ROWS[:2]])
    assert together == pytest.approx(alone, abs=1e-5) and np.abs(alone).min() > 1e-3


def test_nothing_learns_afterwards_and_ratios_beside_it_are_the_same(base):
    scorer = Scorer(base, NORM_GAINS, "numbers")
    probe = moved(scorer, 0.3)
    before, _ = scorer.ratios(ROWS[:2], [probe])
    both, _ = scorer.ratios(ROWS[:2], [probe, *gradient.candidates(scorer, [probe])])
    assert both[:, 0] == pytest.approx(before[:, 0], abs=1e-6)
    assert not any(p.requires_grad or p.grad is not None for p in scorer.model.parameters())


def test_other_weights_than_gains_take_a_step_in_its_place(base):
    scorer = Scorer(base, LORA, "numbers")
    assert gains_of(scorer.model, scorer.moving) == {}
    (step,) = gradient.candidates(scorer, [moved(scorer, 0.3)])
    assert step.along is None and step.step == gradient.STEP
