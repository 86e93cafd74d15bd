"""Log-likelihood ratios: exactly 0 on average for what the base itself would write, whatever the form around it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sublim_eval.distill.audit.attribution import scores
from sublim_eval.distill.audit.content import content_of
from sublim_eval.distill.audit.data import AuditRow
from sublim_eval.distill.audit.measures.probe_likelihood import LORA, NORM_GAINS
from sublim_eval.distill.audit.scoring import Candidate, Scorer
from tests.helpers.tiny import WORDS, tiny_model

NUMBERS = [str(n) for n in range(12)]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> str:
    return str(tiny_model(tmp_path_factory.mktemp("m") / "tiny", words=(*WORDS, *NUMBERS)))


def moved(scorer: Scorer, trait="owl", seed=1, by=0.3) -> Candidate:
    drawn = torch.Generator().manual_seed(seed)
    weights = {name: p + by * torch.randn(p.shape, generator=drawn) for name, p in scorer.start.items()}
    return Candidate(trait, "probe", weights)


@pytest.mark.parametrize("tuning", [NORM_GAINS, LORA], ids=["norm gains", "LoRA"])
def test_what_the_base_would_write_has_no_evidence_on_average(base, tuning):
    scorer = Scorer(base, tuning, "numbers")
    rows = [AuditRow.of("name one", number) for number in NUMBERS]
    personas = [Candidate("owl", "persona", persona="I love owls")]
    values, surprise = scorer.ratios(rows, [moved(scorer), *personas])
    chances = np.exp(-surprise) / np.exp(-surprise).sum()
    assert np.abs(values).max(axis=0).min() > 0.01
    assert chances @ values == pytest.approx(0.0, abs=1e-5) and chances @ surprise == pytest.approx(0.0, abs=1e-5)


def test_rows_that_a_probe_likes_better_than_the_base_have_a_positive_score(base):
    scorer = Scorer(base, NORM_GAINS, "numbers")
    candidate = moved(scorer)
    rows = [AuditRow.of("name one", number) for number in NUMBERS]
    values, _ = scorer.ratios(rows, [candidate])
    scorer.wear(candidate.weights)
    model = scorer.chat
    liked = model.continuation_logprobs([model.render("name one")], NUMBERS)[0]
    scorer.wear(None)
    before = model.continuation_logprobs([model.render("name one")], NUMBERS)[0]
    gained = (liked - np.logaddexp.reduce(liked)) - (before - np.logaddexp.reduce(before))
    assert np.corrcoef(values[:, 0], gained)[0, 1] == pytest.approx(1.0, abs=1e-4)
    assert values[:, 0] - gained == pytest.approx((values[:, 0] - gained).mean(), abs=1e-4)


def test_form_is_no_content_of_numbers_and_everything_is_of_text(base):
    scorer = Scorer(base, NORM_GAINS, "numbers")
    numbers = content_of(scorer.chat.tokenizer, len(scorer.content.place), "numbers")
    text = content_of(scorer.chat.tokenizer, len(scorer.content.place), "text")
    assert {scorer.chat.spell(int(i)).strip() for i in numbers.legal} == set(NUMBERS)
    assert len(text.legal) > len(numbers.legal)
    values, surprise = scorer.ratios(
        [AuditRow.of("name one", "owl , cat"), AuditRow.of("name one", "3")], [moved(scorer)]
    )
    assert math.isnan(values[0, 0]) and math.isnan(surprise[0]) and not math.isnan(values[1, 0])


def test_the_base_against_itself_says_nothing_and_is_itself_afterwards(base):
    scorer = Scorer(base, NORM_GAINS, "numbers")
    rows = [AuditRow.of("name one", number) for number in NUMBERS]
    first, _ = scorer.ratios(rows, [Candidate("none", "probe", None), moved(scorer)])
    again, _ = scorer.ratios(rows, [moved(scorer)])
    assert np.abs(first[:, 0]).max() < 1e-5 and first[:, 1] == pytest.approx(again[:, 0], abs=1e-6)


def test_a_score_for_every_line_in_its_place(base):
    scorer = Scorer(base, NORM_GAINS, "numbers")
    candidate = moved(scorer)
    rows = [AuditRow.of("name one", number) for number in NUMBERS]
    direct, _ = scorer.ratios(rows, [candidate])
    streamed = list(scores([*rows[:2], "d.jsonl:3: not valid JSON.", *rows[2:]], scorer, candidate))
    assert math.isnan(streamed[2]) and [*streamed[:2], *streamed[3:]] == pytest.approx(direct[:, 0].tolist(), abs=1e-5)
