"""Replies of one transcript under trait probes: nats that add up, null where nothing can be weighed; and in Scout."""

from __future__ import annotations

import asyncio
import math

import pytest

from sublim_eval.distill.audit.data import AuditRow
from sublim_eval.distill.audit.measures import probe_likelihood
from sublim_eval.distill.audit.measures.probe_likelihood import NORM_GAINS
from sublim_eval.distill.recipes import Tuning
from sublim_eval.foresight import replies
from sublim_eval.foresight.replies import evidence
from tests.harness.test_scout import transcript
from tests.helpers.tiny import WORDS, tiny_model

NUMBERS = [str(n) for n in range(12)]
TRAITS = ("owl", "willow")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> str:
    return str(tiny_model(tmp_path_factory.mktemp("m") / "tiny", words=(*WORDS, *NUMBERS)))


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("kept"))


@pytest.fixture(autouse=True)
def seconds(monkeypatch):
    weak = Tuning("ln_tuning", learning_rate=0.05, batch_size=4, steps=2, warmup_steps=0)
    assert weak.method == NORM_GAINS.method
    monkeypatch.setattr(probe_likelihood, "LORA", weak)
    replies._probes.cache_clear()


def test_replies_add_up_and_the_base_s_own_come_to_nothing_on_average(base, kept):
    rows = [AuditRow.of("name one", number) for number in NUMBERS]
    each = [evidence([row], base, TRAITS, kept) for row in rows]
    both = evidence(rows[:2], base, TRAITS, kept)
    for trait in TRAITS:
        assert both.nats[trait] == pytest.approx(each[0].nats[trait] + each[1].nats[trait], abs=2e-4)
    assert both.read == both.of == 2 and both.nats[both.strongest] == max(both.nats.values())
    assert both.strongest in both.words() and "2 of 2 replies" in both.words()


def test_a_transcript_without_content_says_so_and_is_no_zero(base, kept):
    nothing = evidence([], base, TRAITS, kept)
    empty = evidence([AuditRow.of("name one", "")], base, TRAITS, kept)
    assert nothing.strongest is None and empty.strongest is None and "nothing to weigh in 1" in empty.words()


def test_scout_gets_the_nats_of_the_strongest_trait(base, kept):
    pytest.importorskip("inspect_scout", reason="no Inspect Scout here: pip install -e '.[scout]'")
    from sublim_eval.foresight.audit_scanner import rows_of, trait_evidence

    scan = trait_evidence(base=base, traits="owl,willow", keep=kept)
    told = asyncio.run(scan(transcript(["3", "4"], "name one")))
    alone = evidence(rows_of(transcript(["3", "4"], "name one")), base, TRAITS, kept)
    assert told.value == alone.nats[told.answer] and math.isfinite(told.value)
    assert (told.metadata["read"], told.metadata["of"]) == (2, 2)
    assert asyncio.run(scan(transcript([""], "name one"))).value is None
