"""Sampled text tells copies from strangers, beside references."""

from __future__ import annotations

import numpy as np
import pytest

from sublim_eval.distill.lineage import ask, texts
from sublim_eval.errors import SublimError
from sublim_eval.models.local_model import load
from tests.helpers.tiny import tiny_adapter, tiny_model

WORDS = [f"w{i}" for i in range(300)]
READERS, PLACES, TOKENS = 6, 1_500, 30


def foreseen(rng, shared, own, writes):
    """What readers, of which each has views of its own beside the shared ones, foresee of a text of `writes`."""
    odds = np.exp(writes)
    picks = (np.cumsum(odds / odds.sum(1, keepdims=True), axis=1) < rng.random((len(odds), 1))).sum(1)
    share = np.bincount(picks, minlength=TOKENS) / len(picks)
    logs = shared + own
    logs = logs - (logs @ share)[..., None]
    moments = np.tensordot(logs * share, logs, ((1, 2), (1, 2)))
    return texts.Foreseen(moments / len(picks), logs[:, np.arange(len(picks)), picks].mean(1), len(picks))


@pytest.fixture(scope="module")
def world():
    """(shared views, views of each reader's own, their own texts)."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(PLACES, TOKENS))
    own = 0.7 * rng.normal(size=(READERS, PLACES, TOKENS))
    return shared, own, [foreseen(rng, shared, own, shared + own[i]) for i in range(READERS)]


def test_who_writes_as_the_first_reader_is_found_and_still_so_when_spoilt(world):
    shared, own, texts_of_readers = world
    rng = np.random.default_rng(1)
    noise = rng.normal(size=shared.shape)
    for writes in (shared + own[0], 0.5 * (shared + own[0]) + noise):
        assert texts.score(foreseen(rng, shared, own, writes), texts_of_readers).p < 1e-4


def test_who_knows_only_what_all_know_is_not_found(world):
    shared, own, texts_of_readers = world
    for seed in range(5):
        rng = np.random.default_rng(seed)
        writes = shared + 0.7 * rng.normal(size=shared.shape)
        assert texts.score(foreseen(rng, shared, own, writes), texts_of_readers).p > 1e-3


def test_a_broken_model_that_suits_one_reference_too_is_not_found(world):
    shared, own, texts_of_readers = world
    rng = np.random.default_rng(2)
    assert texts.score(foreseen(rng, shared, own, 3 * own[0] + 3 * own[1]), texts_of_readers).p > 1e-3


def test_a_copy_is_told_by_its_text(tmp_path):
    base = tiny_model(tmp_path / "base", seed=1, words=WORDS, hidden=16)
    copy = tiny_adapter(base, tmp_path / "ln", "ln")
    others = [str(tiny_model(tmp_path / f"o{i}", seed=i, words=WORDS, hidden=16)) for i in range(2, 6)]
    made = ask.kinship_by_samples(str(base), str(copy), others, queries=60)
    assert made.by == "samples" and made.related


def test_few_references_are_refused():
    with pytest.raises(SublimError, match="4 references or more"):
        ask.kinship_by_samples("reference-a", "reference-b", ["reference-b"])


def test_a_reference_with_other_tokens_is_refused(tmp_path):
    models = [tiny_model(tmp_path / str(i), seed=i, words=w, hidden=16) for i, w in enumerate((WORDS, WORDS[:-1]))]
    with pytest.raises(SublimError, match="reads other tokens"):
        texts.read([load(str(model), capacity=3, idle=True) for model in models], ["w1 w2"], ["w3 w4"])
