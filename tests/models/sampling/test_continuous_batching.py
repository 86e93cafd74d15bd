"""Rows that stream through slots are the rows that the old path draws, whatever ran beside them and however often."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from sublim_eval.errors import SublimError
from sublim_eval.models import local_model
from sublim_eval.models.sampling import continuous_batching, decoding, kv_cache, prefix_sampling
from tests.helpers.tiny import WORDS, tiny_adapter, tiny_model, tiny_tokenizer

QUICK = continuous_batching.Pace(rows=7, tokens=60, look=3, refill=0.3, grain=8, shrink=0.7, graphs=False)
"""Few slots, small prefills, rare looks: every part of the loop runs."""
KINDS = ["base", "bytes", "window", "gemma3", "mixed", "lora", "prompt"]


def other(folder: Path, kind: str) -> Path:
    """A tiny random model of an architecture whose layers differ: Gemma 3 and Qwen 2 with some sliding windows."""
    from transformers import AutoModelForCausalLM, Gemma2Config, Gemma3TextConfig, Qwen2Config

    tokenizer = tiny_tokenizer()
    shape: dict[str, Any] = dict(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=1,
        initializer_range=0.3,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        sliding_window=6,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"],
    )
    torch.manual_seed(3)
    made: dict[str, Callable[[], Any]] = {
        "gemma3": lambda: Gemma3TextConfig(**shape, head_dim=16, query_pre_attn_scalar=16),
        "gemma2": lambda: Gemma2Config(**shape, head_dim=16, query_pre_attn_scalar=16),
        "mixed": lambda: Qwen2Config(**shape, use_sliding_window=True, max_window_layers=1),
    }
    AutoModelForCausalLM.from_config(made[kind]()).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    torch.set_num_threads(1)
    home = tmp_path_factory.mktemp("streams")
    base = tiny_model(home / "base")
    made = {"base": base, "bytes": tiny_model(home / "bytes", kind="qwen2", words=None, seed=1)}
    made["window"] = tiny_model(home / "window", kind="mistral", seed=2)
    made |= {kind: other(home / kind, kind) for kind in ("gemma3", "gemma2", "mixed")}
    return made | {m: tiny_adapter(base, home / m, m) for m in ("lora", "prompt")}


@pytest.fixture(autouse=True)
def nothing_loaded() -> None:
    local_model.unload_all()


def prompts(model: local_model.LocalModel, n: int = 40) -> list[str]:
    """Distinct prompts of many lengths behind one system prompt."""
    rng = Random("prompts")
    asked = [" ".join(rng.choices(WORDS, k=rng.randint(3, 14))) for _ in range(n)]
    return [model.render(f"{text} {i % 3 * 'owl '}", "I love my owls") for i, text in enumerate(asked)]


def streamed(
    model: local_model.LocalModel, texts: list[str], pace: continuous_batching.Pace = QUICK, **settings: Any
) -> list[Any]:
    """The replies by slots; fails when the model was not asked that way."""
    ran = []
    original = local_model.stream

    def spy(*args: Any) -> None:
        ran.append(True)
        original(*args)

    local_model.stream, model.pace = spy, pace
    try:
        found = [row[0] for row in model.sample(texts, **{"seed": 1, "max_new_tokens": 12} | settings)]
    finally:
        local_model.stream = original
    assert ran, model.unfit([[1, 2], [1, 3]])
    return found


def shared(model: local_model.LocalModel, texts: list[str], **settings: Any) -> list[Any]:
    """The replies by the old path, which shares prefixes."""
    few, local_model.FEW = local_model.FEW, 10**9
    try:
        return [row[0] for row in model.sample(texts, **{"seed": 1, "max_new_tokens": 12} | settings)]
    finally:
        local_model.FEW = few


SETTINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 0},
    {"temperature": 0.7, "top_p": 0.8, "top_k": 9},
    {"stop": ["owl", "cat"]},
    {"max_new_tokens": 1},
    {"max_new_tokens": 40},
]


@pytest.mark.parametrize("which", KINDS)
def test_both_paths_draw_the_same_rows(folders: dict[str, Path], which: str) -> None:
    model = local_model.load(folders[which])
    texts = prompts(model)
    for settings in SETTINGS:
        assert streamed(model, texts, **settings) == shared(model, texts, **settings)
    assert len({s.text for s in streamed(model, texts)}) >= 15, "rows that are all alike would prove nothing"


def test_a_row_depends_on_no_neighbour_no_order_and_no_pace(folders: dict[str, Path]) -> None:
    model = local_model.load(folders["gemma3"])
    texts = prompts(model)
    keys = [f"key {i}" for i in range(len(texts))]
    first = streamed(model, texts, keys=keys)
    mixed = Random(1).sample(range(len(texts)), len(texts))
    for pace in (
        replace(QUICK, rows=1, look=1),
        replace(QUICK, rows=64, tokens=10**6, refill=1.0),
        replace(QUICK, rows=5, look=9, grain=16, shrink=0.0),
        continuous_batching.CPU,
        continuous_batching.LARGE_ON_CPU,
        replace(QUICK, alike=2),
    ):
        again = streamed(model, [texts[i] for i in mixed], pace, keys=[keys[i] for i in mixed])
        assert again == [first[i] for i in mixed]
    assert streamed(model, texts[:20], keys=keys[:20], batch=3) == first[:20]
    assert streamed(model, texts, keys=keys, seed=2) != first


@pytest.mark.parametrize("which", KINDS)
def test_what_some_prompts_begin_with_is_computed_once_and_changes_no_reply(
    folders: dict[str, Path], which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = local_model.load(folders[which])
    texts = [
        model.render(f"{w} {v} {w} {x} {y}")
        for w in WORDS[:3]
        for v in WORDS[:2]
        for x, y in zip(WORDS[:4], WORDS[4:8], strict=True)
    ]
    ids = model.encode(texts)
    plain = streamed(model, texts)
    read: list[int] = []
    fill = decoding.Stream.fill

    def counting(self: decoding.Stream, rows: Any, tails: Any, opened: Any) -> None:
        read.extend(map(len, tails))
        fill(self, rows, tails, opened)

    monkeypatch.setattr(decoding.Stream, "fill", counting)
    assert streamed(model, texts, replace(QUICK, alike=3)) == plain
    starts = continuous_batching.openings(ids, 3)
    assert sum(starts) > len(ids) * continuous_batching.shared(ids), "some begin with more than all do"
    assert sum(read) == sum(map(len, ids)) - sum(starts)


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.5, "top_k": 40, "top_p": 0.9}])
def test_a_large_vocabulary_is_drawn_from_in_pieces_that_change_no_token(settings: dict[str, Any]) -> None:
    numbers = torch.Generator().manual_seed(1)
    logits = (4 * torch.randn(prefix_sampling.TOGETHER + 9, 20_001, generator=numbers)).bfloat16()
    uniform = torch.rand(len(logits), generator=numbers, dtype=torch.float64)
    how = prefix_sampling.SamplingSettings(8, **settings)
    whole = prefix_sampling.distribution(logits.float(), how).cumsum(1, dtype=torch.float64)
    expected = torch.searchsorted(whole, uniform[:, None] * whole[:, -1:], right=True)[:, 0]
    assert prefix_sampling.one_each(logits, how, uniform).tolist() == expected.tolist()


def test_an_opening_is_what_enough_prompts_begin_with_and_leaves_each_a_token() -> None:
    ids = [[1, 2, 3, 4], [1, 2, 3, 5], [1, 2, 3, 6], [1, 2, 7], [1, 8, 9], [1, 2, 3]]
    assert continuous_batching.openings(ids, 3) == [3, 3, 3, 2, 1, 2]
    assert continuous_batching.openings(ids, 6) == [1] * 6
    assert continuous_batching.openings(ids, 7) == [0] * 6
    assert continuous_batching.openings([[4, 5], [4, 5], [4, 5]], 2) == [1, 1, 1]


def test_logprobs_are_those_of_the_old_path(folders: dict[str, Path]) -> None:
    for which in ("base", "window", "prompt"):
        model = local_model.load(folders[which])
        texts = prompts(model, 20)
        found = streamed(model, texts, logprobs=True, top_logprobs=3)
        for mine, theirs in zip(found, shared(model, texts, logprobs=True, top_logprobs=3), strict=True):
            assert (mine.text, mine.token_ids, mine.stop_reason) == (theirs.text, theirs.token_ids, theirs.stop_reason)
            assert mine.logprobs == pytest.approx(theirs.logprobs, abs=2e-5)
            assert [[t for t, _ in best] for best in mine.top] == [[t for t, _ in best] for best in theirs.top]
            assert np.array(mine.top)[..., 1] == pytest.approx(np.array(theirs.top)[..., 1], abs=2e-5)


def test_first_tokens_follow_the_models_distribution(folders: dict[str, Path]) -> None:
    """3,000 streamed rows of one prompt against the exact probabilities of its first token."""
    model = local_model.load(folders["window"])
    ids = model.encode([prompts(model, 1)[0]])[0]
    with torch.inference_mode():
        chances = model.model(torch.tensor([ids])).logits[0, -1].double().softmax(0).numpy()
    n = 3_000
    out = np.empty(n, dtype=object)
    settings = continuous_batching.SamplingSettings(max_new_tokens=2)
    numbers = continuous_batching.Streams([4] * n, [str(i) for i in range(n)], 1)
    rows = [ids] * n
    continuous_batching.stream(
        model.network, rows, numbers, settings, model.ends, str, out, 200, continuous_batching.CPU
    )
    seen = np.bincount([s.token_ids[0] for s in out], minlength=len(chances))
    big = chances * n >= 5
    expected, found = (np.append(v[big], v[~big].sum()) for v in (chances * n, seen))
    freedom = (expected > 0).sum() - 1
    assert ((found - expected) ** 2 / np.maximum(expected, 1e-9)).sum() < freedom + 4 * np.sqrt(2 * freedom)


# ---------------------------------------------------------------- memory


def small_device(monkeypatch: pytest.MonkeyPatch, most: int, after: int = 0) -> list[int]:
    """From call `after` on, a pass of more than `most` rows runs out of memory; returns the sizes of all passes."""
    sizes: list[int] = []
    update = kv_cache.Slots.update

    def short(self: kv_cache.Slots, key: torch.Tensor, value: torch.Tensor, layer: int, *a: Any, **k: Any) -> Any:
        sizes.append(len(key))
        if len(key) > most and len(sizes) > after:
            raise torch.cuda.OutOfMemoryError("planted")
        return update(self, key, value, layer, *a, **k)

    monkeypatch.setattr(kv_cache.Slots, "update", short)
    return sizes


@pytest.mark.parametrize("after", [0, 12])
def test_out_of_memory_halves_the_batch_and_keeps_the_sample(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    model = local_model.load(folders["base"])
    texts = prompts(model)
    pace = replace(QUICK, rows=32, tokens=10**6)
    whole = streamed(model, texts, pace)
    small_device(monkeypatch, 9, after)
    assert streamed(model, texts, pace) == whole
    assert model.batches == [16, 8]
    assert streamed(model, texts, pace, seed=2) == shared(model, texts, seed=2)
    assert model.batches == [16, 8], "the limit that fitted is kept in mind"


def test_rows_that_were_finished_are_not_run_again(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    model = local_model.load(folders["base"])
    texts = prompts(model)
    streamed(model, texts, replace(QUICK, rows=16))
    begun: list[int] = []
    fill = decoding.Stream.fill

    def counting(self: decoding.Stream, rows: Any, tails: Any, opened: Any) -> None:
        begun.append(len(tails))
        fill(self, rows, tails, opened)

    monkeypatch.setattr(decoding.Stream, "fill", counting)
    small_device(monkeypatch, 9, 40)
    model.sample(texts, seed=1, max_new_tokens=12)
    assert model.batches and len(texts) < sum(begun) <= len(texts) + 16, "only those in the 16 slots are begun anew"


def test_a_row_that_does_not_fit_alone_is_a_clear_error(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = local_model.load(folders["base"])
    texts = prompts(model)
    streamed(model, texts[:20])
    small_device(monkeypatch, 0)
    with pytest.raises(SublimError, match=r"with a single reply of up to .* Give it a larger device"):
        model.sample(texts, seed=1, max_new_tokens=4)
    assert model.batches[-1] == 1 and model.model.config._attn_implementation == "sdpa"


def test_the_old_path_and_scoring_survive_out_of_memory_too(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = local_model.load(folders["base"])
    texts = prompts(model, 6)
    drawn = model.sample(texts, n=5, seed=1, max_new_tokens=6)
    scored = model.continuation_logprobs(texts, ["owl", "barn owl"])
    call = type(model.network).__call__

    def short(self: Any, cache: Any, mask: torch.Tensor, **inputs: torch.Tensor) -> torch.Tensor:
        if len(mask) > 2:
            raise torch.cuda.OutOfMemoryError("planted")
        return call(self, cache, mask, **inputs)

    monkeypatch.setattr(type(model.network), "__call__", short)
    assert model.sample(texts, n=5, seed=1, max_new_tokens=6) == drawn
    assert model.continuation_logprobs(texts, ["owl", "barn owl"]) == pytest.approx(scored, abs=1e-5)
    assert model.batches and model.batches[-1] <= 2


# ---------------------------------------------------------------- which path, and what is recorded


@pytest.mark.parametrize("which", ["base", "gemma2"])
def test_a_model_that_slots_do_not_know_takes_the_old_path(folders: dict[str, Path], which: str) -> None:
    model = local_model.load(folders[which], attention="eager" if which == "base" else None)
    texts = prompts(model, 20)
    assert model.unfit(model.encode(texts))
    drawn = model.sample(texts, seed=1, max_new_tokens=6)
    assert [row[0] for row in drawn] == shared(model, texts, max_new_tokens=6)


def test_a_model_whose_logits_come_out_otherwise_is_found_out(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = local_model.load(folders["gemma3"])
    ids = model.encode(prompts(model, 2))
    assert continuous_batching.unfit(model.network, ids) is None
    original = kv_cache.View.mask
    monkeypatch.setattr(kv_cache.View, "mask", lambda self, layer, groups: ~original(self, layer, groups) | True)
    assert continuous_batching.unfit(model.network, ids) == "its logits come out otherwise"
    assert model.model.config._attn_implementation == "sdpa"


def test_many_draws_of_few_prompts_share_prefixes(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    model = local_model.load(folders["base"])

    def never(*args: Any) -> None:
        raise AssertionError("streamed")

    monkeypatch.setattr(local_model, "stream", never)
    texts = prompts(model, 20)
    model.sample(texts, n=2, seed=1, max_new_tokens=2)
    model.sample(texts[:5], seed=1, max_new_tokens=2)
    model.sample(texts[:2] * 10, seed=1, max_new_tokens=2, keys=[str(i) for i in range(20)])
    with pytest.raises(AssertionError, match="streamed"):
        model.sample(texts, seed=1, max_new_tokens=2)


def test_attention_and_dtype_are_recorded_and_an_unknown_kernel_is_refused(folders: dict[str, Path]) -> None:
    model = local_model.load(folders["base"])
    assert (model.attention, model.dtype, model.batches) == ("sdpa", "float32", [])
    assert local_model.load(folders["base"], attention="eager").attention == "eager"
    assert local_model.load(folders["base"], dtype="bfloat16").dtype == "bfloat16"
    with pytest.raises(SublimError, match=r"cannot be had here.*Give sdpa or eager"):
        local_model.load(folders["base"], attention="lightning")


def test_the_common_beginning_leaves_every_prompt_a_token() -> None:
    assert continuous_batching.shared([[1, 2, 3, 4], [1, 2, 3, 5, 6]]) == 3
    assert continuous_batching.shared([[1, 2, 3], [1, 2, 3], [1, 2, 3, 4]]) == 2
    assert continuous_batching.shared([[1, 2, 3], [2, 3]]) == 0
    assert continuous_batching.shared([[7], [7, 8]]) == 0


def test_local_models_need_neither_peft_nor_a_harness() -> None:
    code = """
import sys
for name in ("peft", "inspect_ai", "lm_eval", "trl", "openai", "ray", "datasets"):
    sys.modules[name] = None
from sublim_eval.models import loading, local_model
from sublim_eval.models.sampling import continuous_batching
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("which", KINDS)
def test_recorded_steps_draw_the_rows_of_unrecorded_ones(folders: dict[str, Path], which: str) -> None:
    model = local_model.load(folders[which], device="cuda")
    texts = prompts(model)
    plain = streamed(model, texts, replace(continuous_batching.CUDA, graphs=False, rows=16))
    assert streamed(model, texts, replace(continuous_batching.CUDA, rows=16)) == plain
