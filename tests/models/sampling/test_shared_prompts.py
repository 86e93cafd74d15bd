"""Rows kept apart from their prompts give what the plain way gives, in fewer and fuller passes."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from sublim_eval.models import local_model
from sublim_eval.models.sampling import prefix_sampling, shared_prompts
from tests.helpers.tiny import WORDS

STRINGS = ["owl", "cat", "barn owl", "snowy owl", "snowy fox and bear", "dog"]


@pytest.fixture(autouse=True)
def nothing_loaded() -> None:
    local_model.unload_all()


def prompts(model: local_model.LocalModel, n: int = 5) -> list[str]:
    """Prompts of many lengths behind one system prompt."""
    rng = Random("prompts")
    return [model.render(" ".join(rng.choices(WORDS, k=rng.randint(1, 9))), "I love my owls") for _ in range(n)]


def ways(monkeypatch: pytest.MonkeyPatch, model: local_model.LocalModel, ask: Any) -> list[Any]:
    """What `ask` gives by the plain way, and with rows apart from their prompts."""
    by: list[Any] = [prefix_sampling.walk, shared_prompts.walk]
    results = []
    for walk in by:
        monkeypatch.setattr(local_model.LocalModel, "_walk", lambda self, ids, longest, walk=walk: walk)
        results.append(ask(model))
    return results


SETTINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 0},
    {"temperature": 0.7, "top_p": 0.8, "top_k": 9, "logprobs": True, "top_logprobs": 2},
    {"stop": ["owl", "cat"], "batch": 3},
]


@pytest.mark.parametrize("which", ["base", "bytes", "lora", "prompt"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_both_ways_draw_the_same_replies(
    folders: dict[str, Path], which: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = local_model.load(folders[which])

    def ask(model: local_model.LocalModel) -> Any:
        return model.sample(prompts(model), n=20, seed=3, max_new_tokens=9, **settings)

    plain, apart = ways(monkeypatch, model, ask)
    for mine, theirs in zip(chain(*apart), chain(*plain), strict=True):
        assert (mine.text, mine.token_ids, mine.stop_reason) == (theirs.text, theirs.token_ids, theirs.stop_reason)
        assert mine.logprobs == (theirs.logprobs and pytest.approx(theirs.logprobs, abs=2e-5))


@pytest.mark.parametrize("which", ["base", "bytes", "lora", "prompt"])
@pytest.mark.parametrize("settings", [{}, {"floor": 1e-3}, {"whole_words": True}, {"batch": 2}])
def test_both_ways_give_the_same_logprobs(
    folders: dict[str, Path], which: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = local_model.load(folders[which])
    plain, apart = ways(monkeypatch, model, lambda m: m.continuation_logprobs(prompts(m), STRINGS, **settings))
    assert apart == pytest.approx(plain, abs=2e-5)


def test_little_memory_changes_no_reply_and_holds_few_rows(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = local_model.load(folders["base"])
    free = model.sample(prompts(model), n=20, seed=3, max_new_tokens=9)
    held: list[int] = []
    take = shared_prompts.Waiting.take

    def watched(self: shared_prompts.Waiting) -> Any:
        held.append(self.held())
        return take(self)

    monkeypatch.setattr(shared_prompts.Waiting, "take", watched)
    monkeypatch.setattr(local_model.LocalModel, "_walk", lambda *_: shared_prompts.walk)
    object.__setattr__(model.network, "memory", 40 * model.network.cell_bytes)
    assert model.sample(prompts(model), n=20, seed=3, max_new_tokens=9, batch=4) == free
    assert len(held) > 20 and max(held) < 2 * model.network.memory


def test_rows_of_one_depth_run_together_whichever_prompt_they_continue(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = local_model.load(folders["base"])
    passes: list[list[int]] = [[], []]
    forward = model.model.forward

    def counted(*args: Any, **kwargs: Any) -> Any:
        passes[len(done)].append(kwargs["input_ids"].numel())
        return forward(*args, **kwargs)

    done: list[Any] = []
    monkeypatch.setattr(model.model, "forward", counted)

    def ask(model: local_model.LocalModel) -> None:
        model.sample(prompts(model), n=40, seed=3, max_new_tokens=9, batch=16)
        done.append(None)

    monkeypatch.setattr(model, "network", prefix_sampling.Network(model.model, model.device))
    object.__setattr__(model.network, "keeps", False)
    done.clear()
    ways(monkeypatch, model, ask)
    plain, apart = passes
    assert len(apart) < len(plain) and sum(apart) <= sum(plain)


def test_a_model_with_a_shorter_window_goes_the_plain_way(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_model, "TINY_BYTES", 0)
    model, other = local_model.load(folders["window"]), local_model.load(folders["base"], capacity=2)
    ids = model.encode(prompts(model))
    assert model._walk(ids, 60) is prefix_sampling.walk
    assert other._walk(other.encode(prompts(other)), 60) is shared_prompts.walk


def test_lines_hold_every_row_beside_its_prompt() -> None:
    rng = np.random.default_rng(0)
    for prompt in (np.zeros(7, dtype=int), np.arange(5), rng.integers(0, 4, 33), np.array([2] * 9 + [0])):
        laid = shared_prompts.lines(prompt, torch.device("cpu"))
        assert len(laid.place) == len(laid.prompt) * laid.width <= 2 * len(prompt) + laid.width
        assert (laid.prompt[laid.home // laid.width].numpy() == prompt).all()
        assert (laid.place[laid.home].numpy() == np.arange(len(prompt))).all()


@pytest.mark.parametrize("size", [16_385, 49_152])
def test_a_large_vocabulary_is_drawn_from_by_blocks_as_from_its_whole_sum(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    logits = torch.from_numpy(rng.normal(0, 3, (40, size)).astype(np.float32))
    logits[:, 100:9000] = -torch.inf
    rows = np.sort(np.concatenate([np.arange(40), rng.integers(0, 40, 400)]))
    uniform = rng.random(len(rows))
    uniform[:3] = 0.0, 1 - 2**-53, 0.5
    for settings in ({}, {"top_k": 5}, {"top_p": 0.5, "temperature": 0.7}):
        how = prefix_sampling.SamplingSettings(8, **settings)
        by_blocks = prefix_sampling.drawn(logits, how, rows, uniform)
        chances = prefix_sampling.distribution(logits, how)
        with monkeypatch.context() as whole:
            whole.setattr(prefix_sampling, "WHOLE", size)
            assert (by_blocks == prefix_sampling.pick(chances, rows, uniform)).mean() > 0.995
        assert (chances[rows, by_blocks] > 0).all()
        one = prefix_sampling.invert(chances[rows], torch.from_numpy(uniform)).numpy()
        assert (one == by_blocks).all()
