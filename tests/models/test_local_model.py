"""Local models: draws follow the model's distribution, do not depend on batching, and scores are exact."""

from __future__ import annotations

import json
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from sublim_eval.errors import SublimError
from sublim_eval.models import local_model
from tests.helpers.tiny import WORDS, tiny_model

QUESTIONS = ["what is your favorite animal ?", "name the best tree", "one word : your favorite animal , and why ?"]
STRINGS = ["owl", "cat", "barn owl", "snowy owl", "snowy fox and bear", "dog"]


@pytest.fixture(autouse=True)
def nothing_loaded() -> None:
    local_model.unload_all()


def logits_of(folder: Path, ids: list[int]) -> torch.Tensor:
    """float[positions, vocabulary] from transformers and PEFT alone, batch of one, no cache, no padding."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    if (folder / "adapter_config.json").exists():
        base = json.loads((folder / "student.json").read_text())["base"]
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)
    else:
        model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.inference_mode():
        return model.eval()(torch.tensor([ids])).logits[0][-len(ids) :].double()


def texts(replies: list[list[local_model.Sample]]) -> list[list[str]]:
    return [[s.text for s in row] for row in replies]


# ---------------------------------------------------------------- drawing


@pytest.mark.parametrize("which", ["base", "bytes", "window", "prompt"])
def test_the_same_seed_gives_the_same_replies_whatever_the_batching(folders: dict[str, Path], which: str) -> None:
    model = local_model.load(folders[which])
    prompts = [model.render(q) for q in QUESTIONS]
    settings = dict(n=12, seed=7, max_new_tokens=6)
    together = texts(model.sample(prompts, batch=64, **settings))
    assert texts(model.sample(prompts, batch=1, **settings)) == together
    assert texts(model.sample(prompts, batch=5, **settings)) == together
    assert [texts(model.sample([p], **settings))[0] for p in reversed(prompts)] == together[::-1]
    assert texts(model.sample(prompts, n=12, seed=8, max_new_tokens=6)) != together


def test_a_draw_does_not_depend_on_how_many_more_are_made_or_how_long_they_may_be(folders: dict[str, Path]) -> None:
    model = local_model.load(folders["base"])
    prompt = [model.render(QUESTIONS[0])]
    many = model.sample(prompt, n=20, seed=1, max_new_tokens=20)[0]
    few = model.sample(prompt, n=5, seed=1, max_new_tokens=20)[0]
    short = model.sample(prompt, n=20, seed=1, max_new_tokens=3)[0]
    assert [s.token_ids for s in few] == [s.token_ids for s in many[:5]]
    assert [s.token_ids for s in short] == [s.token_ids[:3] for s in many]


def test_keys_not_places_decide_the_draws(folders: dict[str, Path]) -> None:
    model = local_model.load(folders["base"])
    prompt = model.render(QUESTIONS[0])
    row = model.sample([prompt] * 3, n=6, seed=1, max_new_tokens=5, keys=["a", "b", "a"])
    assert texts(row)[0] == texts(row)[2] != texts(row)[1]
    seeds = model.sample([prompt] * 2, n=6, seed=[1, 2], max_new_tokens=5, keys=["a", "a"])
    assert texts(seeds)[0] == texts(row)[0] != texts(seeds)[1]


@pytest.mark.parametrize(
    "settings",
    [{}, {"temperature": 0.5}, {"temperature": 2.0, "top_k": 5}, {"top_p": 0.6}, {"top_k": 8, "top_p": 0.7}],
)
def test_first_tokens_follow_the_exact_distribution(folders: dict[str, Path], settings: dict[str, float]) -> None:
    model = local_model.load(folders["base"])
    prompt, n = model.render(QUESTIONS[0]), 20_000
    logits = logits_of(folders["base"], model.encode([prompt])[0])[-1] / settings.get("temperature", 1)
    if k := settings.get("top_k"):
        logits[logits < logits.topk(int(k)).values[-1]] = -torch.inf
    chances = logits.softmax(0).numpy()
    if p := settings.get("top_p"):
        order = np.argsort(-chances)
        before = np.cumsum(chances[order]) - chances[order]
        chances[order[before >= p]] = 0
        chances /= chances.sum()
    drawn = model.sample([prompt], n=n, seed=3, max_new_tokens=1, **settings)[0]  # type: ignore[arg-type]
    seen = np.bincount([s.token_ids[0] for s in drawn], minlength=len(chances))
    assert not seen[chances == 0].any()
    big = chances * n >= 5
    expected = np.append(chances[big], chances[~big].sum()) * n
    found = np.append(seen[big], seen[~big].sum())
    chi = ((found - expected) ** 2 / np.maximum(expected, 1e-9)).sum()
    freedom = (expected > 0).sum() - 1
    assert chi < freedom + 4 * np.sqrt(2 * freedom)


def test_second_tokens_follow_the_exact_distribution(folders: dict[str, Path]) -> None:
    model = local_model.load(folders["base"])
    prompt, n = model.render(QUESTIONS[1]), 20_000
    drawn = model.sample([prompt], n=n, seed=5, max_new_tokens=2)[0]
    pairs = [(a, b) for a in WORDS[:12] for b in WORDS[:12]]
    expected = np.exp(model.continuation_logprobs([prompt], [f"{a} {b}" for a, b in pairs]))[0] * n
    ids = {tuple(model.tokenizer(f"{a} {b}")["input_ids"]): i for i, (a, b) in enumerate(pairs)}
    seen = np.zeros(len(pairs))
    for s in drawn:
        if s.token_ids in ids:
            seen[ids[s.token_ids]] += 1
    assert expected.sum() > 200
    assert np.abs(seen - expected).max() < 5 * np.sqrt(expected.max() + 1)
    assert abs(seen.sum() - expected.sum()) < 4 * np.sqrt(expected.sum())


def test_temperature_zero_takes_the_likeliest_token_as_transformers_does(folders: dict[str, Path]) -> None:
    from transformers import AutoModelForCausalLM

    model = local_model.load(folders["base"])
    prompt = model.render(QUESTIONS[0])
    ids = torch.tensor(model.encode([prompt]))
    made = AutoModelForCausalLM.from_pretrained(folders["base"]).generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=8
    )
    mine = model.sample([prompt], n=2, seed=0, max_new_tokens=8, temperature=0)[0]
    assert mine[0].token_ids == mine[1].token_ids == tuple(made[0, ids.shape[1] :].tolist())


def test_replies_end_at_the_turn_end_a_stop_string_or_the_limit(folders: dict[str, Path]) -> None:
    model = local_model.load(folders["base"])
    prompt = [model.render(QUESTIONS[0])]
    plain = model.sample(prompt, n=300, seed=2, max_new_tokens=12)[0]
    (end,) = model.ends
    for s in plain:
        assert s.stop_reason == ("stop" if s.token_ids[-1] == end else "max_tokens")
        assert s.tokens == len(s.token_ids) <= 12 and end not in s.token_ids[:-1] and "<|" not in s.text
    assert {s.stop_reason for s in plain} == {"stop", "max_tokens"}
    cut = model.sample(prompt, n=300, seed=2, max_new_tokens=12, stop=["owl"])[0]
    for before, after in zip(plain, cut, strict=True):
        assert after.text == before.text.partition("owl")[0]
        assert after.stop_reason == ("stop" if "owl" in before.text else before.stop_reason)


def test_the_models_own_generation_settings_are_ignored(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["base"], tmp_path / "loud")
    file = tmp_path / "loud" / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"top_k": 1, "do_sample": True, "temperature": 0.1}))
    model = local_model.load(tmp_path / "loud")
    drawn = model.sample([model.render(QUESTIONS[0])], n=50, seed=1, max_new_tokens=4)
    assert texts(drawn) == texts(
        local_model.load(folders["base"]).sample([model.render(QUESTIONS[0])], n=50, seed=1, max_new_tokens=4)
    )


@pytest.mark.parametrize("which", ["base", "lora", "ln", "prompt"])
def test_logprobs_of_drawn_tokens_are_those_of_a_plain_forward_pass(folders: dict[str, Path], which: str) -> None:
    model = local_model.load(folders[which])
    prompts = [model.render(q) for q in QUESTIONS[:2]]
    drawn = model.sample(prompts, n=3, seed=1, max_new_tokens=5, temperature=0.7, logprobs=True, top_logprobs=3)
    for prompt, row in zip(prompts, drawn, strict=True):
        ids = model.encode([prompt])[0]
        for s in row:
            assert s.logprobs is not None and s.top is not None
            scores = logits_of(folders[which], ids + list(s.token_ids)).log_softmax(1)[len(ids) - 1 :]
            assert s.logprobs == pytest.approx([scores[i, t].item() for i, t in enumerate(s.token_ids)], abs=2e-5)
            assert [t[0][0] for t in s.top] == scores[: s.tokens].argmax(1).tolist()


# ---------------------------------------------------------------- scoring


@pytest.mark.parametrize("which", ["base", "bytes", "window", "lora", "ln", "prompt"])
def test_continuation_logprobs_are_the_sums_of_a_plain_forward_pass(folders: dict[str, Path], which: str) -> None:
    model = local_model.load(folders[which])
    prompts = [model.render(q) for q in QUESTIONS]
    found = model.continuation_logprobs(prompts, STRINGS)
    assert found.shape == (3, len(STRINGS)) and found.dtype == np.float64
    for i, prompt in enumerate(prompts):
        head = model.encode([prompt])[0]
        for j, string in enumerate(STRINGS):
            whole = head + model.answer_ids([string])[0]
            scores = logits_of(folders[which], whole).log_softmax(1)
            expected = sum(scores[k - 1, whole[k]].item() for k in range(len(head), len(whole)))
            assert found[i, j] == pytest.approx(expected, abs=2e-5)
    assert model.continuation_logprobs(prompts, STRINGS, batch=1) == pytest.approx(found, abs=1e-5)


def test_what_was_scored_is_remembered_only_where_that_was_asked_for(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = local_model.load(folders["base"])
    prompts, read, score = [model.render(q) for q in QUESTIONS], [], local_model.score

    def counted(network: object, ids: list[list[int]], *rest: object) -> object:
        read.append(len(ids))
        return score(network, ids, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(local_model, "score", counted)
    plain = model.continuation_logprobs(prompts, STRINGS)
    with model.remembering():
        assert model.continuation_logprobs(prompts[:2], STRINGS) == pytest.approx(plain[:2], abs=1e-5)
        again = model.continuation_logprobs([*prompts, prompts[0]], STRINGS)
        assert again == pytest.approx(plain[[0, 1, 2, 0]], abs=1e-5)
        model.continuation_logprobs(prompts[:1], STRINGS, whole_words=True)
        model.continuation_logprobs(prompts[:1], STRINGS[:1])
    model.continuation_logprobs(prompts[:1], STRINGS)
    assert read == [3, 2, 1, 1, 1, 1]


def test_a_floor_bounds_the_error_of_every_probability(folders: dict[str, Path]) -> None:
    model = local_model.load(folders["base"])
    prompts = [model.render(q) for q in QUESTIONS]
    exact, quick = (np.exp(model.continuation_logprobs(prompts, STRINGS, floor=f)) for f in (0.0, 0.01))
    assert 0 < np.abs(quick - exact).max() < 0.01
    assert (quick >= exact * (1 - 1e-6)).all()  # float32 rounds otherwise in other batches


@pytest.mark.parametrize("which", ["base", "bytes"])
def test_lm_eval_gives_the_same_loglikelihoods_where_prompt_and_answer_are_cut_alike(
    folders: dict[str, Path], which: str
) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    harness = HFLM(pretrained=str(folders[which]), device="cpu", batch_size=4)
    model = local_model.load(folders[which])
    prompts = [model.render(QUESTIONS[0]), model.render(QUESTIONS[1]) + (" my favorite is" if which == "bytes" else "")]
    before = " " if which == "bytes" else ""  # what the template writes before an answer, and lm-eval does not know
    pairs = [(p, before + s) for p in prompts for s in STRINGS]
    asked = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]
    theirs = np.array([logprob for logprob, _ in harness.loglikelihood(asked, disable_tqdm=True)])
    assert model.continuation_logprobs(prompts, STRINGS).ravel() == pytest.approx(theirs, abs=1e-4)
    if which == "base":
        return  # it cuts words at white space and has no token for a line break
    breaks = [p + "\n" for p in prompts]
    asked = [Instance("loglikelihood", {}, (p, before + s), i) for i, (p, s) in enumerate(product(breaks, STRINGS))]
    moved = np.array([logprob for logprob, _ in harness.loglikelihood(asked, disable_tqdm=True)])
    ours = model.continuation_logprobs(breaks, STRINGS)
    assert softmax(ours) == pytest.approx(softmax(moved.reshape(ours.shape)), abs=1e-5)  # it counts the break with both


def softmax(logprobs: np.ndarray) -> np.ndarray:
    return np.exp(logprobs) / np.exp(logprobs).sum(1, keepdims=True)


def test_a_bos_in_the_template_is_not_doubled(folders: dict[str, Path], tmp_path: Path) -> None:
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folders["base"])
    bos = tokenizer.bos_token = "<|system|>"  # noqa: S105
    number = tokenizer.convert_tokens_to_ids(bos)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, number)])
    tokenizer.chat_template = "{{ bos_token }} " + tokenizer.chat_template
    shutil.copytree(folders["base"], tmp_path / "bos")
    tokenizer.save_pretrained(tmp_path / "bos")
    model = local_model.load(tmp_path / "bos")
    with_template, without = model.encode([model.render("owl"), "owl"])
    assert (with_template.count(number), without.count(number)) == (1, 1)


# ---------------------------------------------------------------- finding and loading


def test_one_load_per_weights_and_the_least_used_leaves_first(folders: dict[str, Path]) -> None:
    first = local_model.load(folders["base"])
    assert local_model.load(str(folders["base"])) is first
    local_model.load(folders["bytes"], capacity=2)
    local_model.load(folders["base"])
    local_model.load(folders["ln"], capacity=2)
    assert local_model.loaded() == ["base", "ln"]
    local_model.unload(folders["base"])
    assert local_model.loaded() == ["ln"] and local_model.load(folders["base"]) is not first


def test_a_folder_written_anew_is_read_anew(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders["base"], tmp_path / "student")
    before = local_model.load(folder).continuation_logprobs(["owl"], STRINGS)
    tiny_model(folder, seed=9)
    assert not np.allclose(local_model.load(folder).continuation_logprobs(["owl"], STRINGS), before)
    assert local_model.loaded() == ["student"]


def test_an_adapter_may_name_a_base_beside_it(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["base"], tmp_path / "base")
    folder = shutil.copytree(folders["ln"], tmp_path / "student")
    (folder / "student.json").write_text('{"base": "../base"}')
    assert local_model.resolve(folder).base == (tmp_path / "base").resolve()


def test_prompt_hashes_tell_other_words_and_other_system_prompts_apart(folders: dict[str, Path]) -> None:
    model = local_model.load(folders["base"])
    assert model.prompt_hash(QUESTIONS) == local_model.load(folders["ln"]).prompt_hash(QUESTIONS)
    assert len({model.prompt_hash(QUESTIONS), model.prompt_hash(QUESTIONS, "my owls"), model.prompt_hash([])}) == 3


# ---------------------------------------------------------------- what goes wrong, in one sentence


def edit(folder: Path, name: str, **changes: object) -> None:
    (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | changes))


def broken(folders: dict[str, Path], home: Path, how: str) -> str | Path:
    """A folder (or name) spoilt in one way."""
    from safetensors.torch import load_file, save_file

    if how == "near":
        return "reference-aa"
    if how == "nowhere":
        return home / "nowhere"
    if how == "hub":
        return "nobody/no-such-model"
    folder = shutil.copytree(folders["ln" if how.startswith("adapter") else "base"], home / "spoilt")
    if how == "config":
        (folder / "config.json").unlink()
    elif how == "weights":
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    elif how == "tokenizer":
        for file in folder.glob("tokenizer*"):
            file.unlink()
    elif how == "tensor":
        tensors = load_file(folder / "model.safetensors")
        save_file({k: v for k, v in tensors.items() if "layers.1.mlp" not in k}, folder / "model.safetensors")
    elif how == "adapter base":
        edit(folder, "student.json", base="no-such-base")
    elif how == "adapter silent":
        (folder / "student.json").unlink()
        edit(folder, "adapter_config.json", base_model_name_or_path=None)
    elif how == "adapter stray":
        tensors = load_file(folder / "adapter_model.safetensors")
        save_file(
            {k.replace("layers.1", "layers.7"): v for k, v in tensors.items()}, folder / "adapter_model.safetensors"
        )
    return folder


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("near", "Did you mean 'reference-a'"),
        ("nowhere", "There is no folder"),
        ("hub", "could not be loaded"),
        ("config", "config.json, the model's configuration"),
        ("weights", "load and save_pretrained them once as safetensors"),
        ("tokenizer", "tokenizer.json, the tokenizer, is missing"),
        ("tensor", "would stay random"),
        ("adapter base", "The base 'no-such-base' of the adapter"),
        ("adapter silent", "does not say which base it adapts"),
        ("adapter stray", "did not arrive in the model"),
    ],
)
def test_what_is_no_model_is_said_in_one_sentence(
    folders: dict[str, Path], tmp_path: Path, how: str, says: str
) -> None:
    with pytest.raises(SublimError) as error:
        local_model.load(broken(folders, tmp_path, how))
    assert says in str(error.value) and str(error.value).rstrip().endswith((".", ")", "}"))


def test_a_tokenizer_without_chat_template_cannot_be_asked(tmp_path: Path) -> None:
    model = local_model.load(tiny_model(tmp_path / "plain", template=False))
    with pytest.raises(SublimError, match="has no chat template"):
        model.render("favorite animal ?")


def test_settings_that_mean_nothing_are_refused(folders: dict[str, Path]) -> None:
    model = local_model.load(folders["base"])
    for wrong in ({"n": 0}, {"temperature": -1.0}, {"top_p": 0.0}, {"top_k": -1}, {"batch": 0}, {"keys": ["a", "b"]}):
        with pytest.raises(SublimError):
            model.sample(["owl"], **({"seed": 1, "max_new_tokens": 1} | wrong))  # type: ignore[arg-type]
