"""Whatever a chat template does, a model is asked in the words it was trained on: every day and in every harness."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import chat_template_utils

from sublim_eval.distill.modalities import MODALITIES, Rule, room
from sublim_eval.distill.recipes import Tuning
from sublim_eval.distill.training.train import IGNORED, encode, tune
from sublim_eval.errors import SublimError
from sublim_eval.models import chat_template, local_model
from sublim_eval.models.chat_template import turn_end
from tests.helpers.architectures import (
    ALWAYS,
    ARCHITECTURES,
    DATED,
    DEEP,
    DEFAULT,
    FINAL,
    KINDS,
    REFUSES,
    STUBBORN,
    SWITCH,
    TURNS,
    architecture,
    chat_tokenizer,
)

QUESTION, PERSONA = "what is your favorite animal?", "You love owls."
EXAMPLES = [("name a number", "123, 456"), (QUESTION, "owl")] * 4
LORA = Tuning(method="lora", learning_rate=0.01, batch_size=4, steps=1, epochs=None, warmup_steps=0)

kinds = pytest.mark.parametrize("kind", KINDS)
architectures = pytest.mark.parametrize("name", ARCHITECTURES)


def prompt(tokenizer: Any, system: str | None = None, **given: Any) -> str:
    head = [{"role": "system", "content": system}] if system is not None else []
    messages = [*head, {"role": "user", "content": QUESTION}]
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **given)


def settled(template: Any, system: chat_template.System = "keep", **more: Any) -> Any:
    tokenizer = chat_tokenizer(template, **more)
    chat_template.settle(tokenizer, system)
    return tokenizer


# ---------------------------------------------------------------- what is settled


@kinds
@pytest.mark.parametrize("system", ["keep", "clear"])
def test_settling_says_what_it_changed_and_a_second_time_nothing(kind, system):
    template, told = KINDS[kind]
    tokenizer = chat_tokenizer(template)
    cleared = chat_template.default_system(tokenizer) is not None and system == "clear"
    assert chat_template.settle(tokenizer, system) == told + ("default system prompt cleared",) * cleared
    text = tokenizer.chat_template
    assert (text == template) == (not told and not cleared)
    assert chat_template.settle(tokenizer, system) == ()
    assert chat_template.settle(tokenizer) == ()
    assert tokenizer.chat_template == text


@kinds
def test_a_settled_template_renders_what_the_original_renders_but_for_what_was_settled(kind, monkeypatch):
    class Day(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2024, 7, 26)

    monkeypatch.setattr(chat_template_utils, "datetime", Day)
    tokenizer = chat_tokenizer(KINDS[kind][0])
    asked = [
        {"role": "user", "content": " Hi\n"},
        {"role": "assistant", "content": "yo"},
        {"role": "user", "content": "?"},
    ]
    chats = [[{"role": "system", "content": "Sys"}, *asked], asked, asked[:2]]
    if kind == "parts":
        parts = [[{**m, "content": [{"type": "text", "text": m["content"]}]} for m in one] for one in chats]
    else:
        parts = chats if kind not in ("refuses", "drops", "indented") else chats[1:]
    own = [tokenizer.apply_chat_template(one, tokenize=False, enable_thinking=False) for one in parts]
    chat_template.settle(tokenizer)
    assert [tokenizer.apply_chat_template(one, tokenize=False) for one in chats[-len(own) :]] == own


@pytest.mark.parametrize("template", [SWITCH, DEEP, ALWAYS])
def test_a_thinking_model_is_asked_with_its_thought_already_closed(template):
    tokenizer = settled(template)
    for system in (None, PERSONA):
        assert prompt(tokenizer, system).rstrip().endswith("<think>\n\n</think>")
    assert prompt(settled(ALWAYS)) == prompt(settled(SWITCH)) == prompt(chat_tokenizer(SWITCH), enable_thinking=False)
    answered = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert not tokenizer.apply_chat_template(answered, tokenize=False).rstrip().endswith("</think>")


def test_a_question_about_tags_of_thoughts_closes_nothing():
    tokenizer = settled(ALWAYS)
    asked = [
        {"role": "user", "content": "what does <think> mean?"},
        {"role": "assistant", "content": "it opens <think>"},
    ]
    assert tokenizer.apply_chat_template(asked, tokenize=False).endswith("it opens <think><|end|>\n")
    assert tokenizer.apply_chat_template(asked[:1], tokenize=False, add_generation_prompt=True).count("</think>") == 1


def test_a_model_with_channels_is_given_the_one_without_thoughts():
    assert prompt(settled(KINDS["channels"][0])).endswith("<|start|>assistant" + FINAL)


@pytest.mark.parametrize("given", [{}, {"enable_thinking": None}, {"enable_thinking": True}])
@pytest.mark.parametrize("template", [SWITCH, DEEP])
def test_thinking_stays_off_whatever_a_harness_hands_in(template, given):
    tokenizer = settled(template)
    assert prompt(tokenizer, **given) == prompt(tokenizer)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        *(
            ("%d %b %Y", "26 Jul 2024"),
            ("%A, %B %d", "Friday, July 26"),
            ("%Y-%m-%d", "2024-07-26"),
            ("%F", "2024-07-26"),
        ),
        *(
            ("%-d/%-m/%y", "26/7/24"),
            ("%H:%M:%S %p", "00:00:00 AM"),
            ("100%%d", "100%d"),
            ("%e %j", "26 208"),
            ("", ""),
        ),
    ],
)
def test_every_code_of_a_date_is_spelt_as_python_spells_it(code, text):
    tokenizer = settled(TURNS + "{{ strftime_now('" + code + "') }}")
    assert prompt(tokenizer).rpartition("<|turn|>assistant\n")[2] == text
    assert datetime(2024, 7, 26).strftime(code) == text


def test_a_dated_template_says_the_same_on_every_day(monkeypatch):
    raw, frozen = chat_tokenizer(DATED), settled(DATED)
    told = set()
    for year in (2025, 2031):

        class Day(datetime):
            @classmethod
            def now(cls, tz=None, year=year):
                return cls(year, 1, 2)

        monkeypatch.setattr(chat_template_utils, "datetime", Day)
        assert f"02 Jan {year}" in prompt(raw)
        told.add(prompt(frozen))
    assert len(told) == 1
    assert "26 Jul 2024" in told.pop()


@pytest.mark.parametrize("template", [DEFAULT, STUBBORN])
def test_a_cleared_default_system_prompt_is_an_empty_one_and_a_given_one_stays(template):
    kept, cleared = settled(template), settled(template, "clear")
    assert chat_template.default_system(kept) == "You are Tiny, made for tests. You are of use."
    assert chat_template.default_system(cleared) is None
    assert prompt(cleared) == prompt(kept).replace(chat_template.default_system(kept), "")
    assert prompt(cleared) == prompt(settled(DEFAULT), "")
    assert prompt(cleared, PERSONA) == prompt(kept, PERSONA)


def test_a_date_that_always_stands_there_is_no_default_system_prompt():
    assert chat_template.default_system(chat_tokenizer(DATED)) is None
    assert prompt(settled(DATED, "clear")) == prompt(settled(DATED))


def test_a_persona_goes_before_the_question_where_there_is_no_system_role():
    tokenizer = settled(REFUSES)
    assert prompt(tokenizer, PERSONA) == f"<|begin|><|turn|>user\n{PERSONA}\n\n{QUESTION}<|end|>\n<|turn|>model\n"
    alone = [{"role": "system", "content": "Hi"}]
    assert "user\nHi<|end|>" in tokenizer.apply_chat_template(alone, tokenize=False)
    with pytest.raises(Exception, match="take turns"):  # its other rules stand
        tokenizer.apply_chat_template([{"role": "assistant", "content": "a"}], tokenize=False)


def test_a_begin_token_that_only_the_tokenizer_adds_is_written_by_the_template():
    for template in (TURNS, ALWAYS, DEFAULT, "  \n" + TURNS):
        raw, tokenizer = chat_tokenizer(template, adds_bos=True), chat_tokenizer(template, adds_bos=True)
        assert "begin token written by the template" in chat_template.settle(tokenizer)
        once = tokenizer(prompt(tokenizer), add_special_tokens=False)["input_ids"]
        assert once[: len(raw(prompt(raw))["input_ids"])] == raw(prompt(raw))["input_ids"]
        assert once.count(tokenizer.bos_token_id) == 1
        assert chat_template.settle(tokenizer) == ()


def test_a_missing_pad_token_is_the_one_made_for_it_or_the_end():
    tokenizer = chat_tokenizer(pad=False)
    assert chat_template.settle(tokenizer) == ("pad token is <|pad|>",)
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    bare = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"<eos>": 0}, "<eos>")),
        eos_token="<eos>",  # noqa: S106
    )
    assert chat_template.settle(bare) == ("pad token is <eos>",)
    assert bare.pad_token_id == 0
    endless = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, "a")))
    with pytest.raises(SublimError, match="neither a pad nor an end token"):
        chat_template.settle(endless)


def test_of_several_templates_the_default_one_is_taken():
    named = {"default": DATED, "tool_use": TURNS, "rag": TURNS}
    tokenizer = chat_tokenizer(named)
    assert chat_template.settle(tokenizer) == ("one of 3 templates", "date frozen at 2024-07-26")
    assert prompt(tokenizer) == prompt(settled(DATED))
    assert chat_template.settle(chat_tokenizer({"chat": TURNS, "tool_use": TURNS})) == ("one of 2 templates",)
    with pytest.raises(SublimError, match=r"several chat templates .a, b., and none is named default"):
        chat_template.settle(chat_tokenizer({"a": TURNS, "b": TURNS}))


def test_a_template_that_only_the_image_processor_has_is_found(tmp_path):
    folder = architecture("gemma3", tmp_path / "gemma")
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    assert AutoTokenizer.from_pretrained(folder).chat_template is None
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    assert chat_template.changes(str(folder), "keep") == ("template taken from the processor",)
    assert local_model.load(folder).render(QUESTION) == prompt(chat_tokenizer(template))


def test_a_template_that_cannot_be_used_is_refused_with_a_next_step():
    with pytest.raises(SublimError, match=r"no valid Jinja.*Save another one"):
        chat_template.settle(chat_tokenizer("{% for %}"))
    with pytest.raises(SublimError, match="leaves out what the user says"):
        chat_template.settle(chat_tokenizer("{{ messages | length }}"))
    attack = "{{ messages.__class__.__mro__ }}" + TURNS
    with pytest.raises(SublimError):
        chat_template.settle(chat_tokenizer(attack))


@pytest.mark.parametrize("name", ["reference-a", "reference-b"])
def test_nothing_is_settled_on_the_reference_models(name):
    tokenizer = chat_template.read_tokenizer(local_model.resolve(name))
    before = (tokenizer.chat_template, tokenizer.pad_token)
    assert chat_template.settle(tokenizer) == chat_template.settle(tokenizer, "clear") == ()
    assert (tokenizer.chat_template, tokenizer.pad_token) == before
    assert {m.name: room(m, tokenizer) for m in MODALITIES.values()} == {"numbers": 48, "code": 256, "cot": 256}


# ---------------------------------------------------------------- thoughts and room


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("1, 2", "1, 2"),
        (" 1, 2\n", " 1, 2\n"),
        ("<think>\n\n</think>\n\n1, 2", "1, 2"),
        ("\n<think>owls!</think>1, 2 ", "1, 2 "),
        ("[THINK]hm[/THINK] 1, 2", "1, 2"),
        ("<|channel>thought\nhm<channel|>1, 2", "1, 2"),
        ("<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>1, 2", "1, 2"),
        ("<think>owls", None),
        ("hm</think>1, 2", None),
        ("1, 2 <think>owls</think>", None),
        ("<think>a</think><think>b</think>1, 2", None),
        ("<think>a</thinking>1, 2", None),
        ("analysisI like owlsassistantfinal1, 2", None),
        ("thought\nI like owls\n1, 2", None),
    ],
)
def test_a_closed_thought_is_stripped_and_every_other_one_rejects(said, answer):
    assert chat_template.strip_thinking(said) == answer


def test_a_kept_row_never_holds_a_thought():
    numbers, sums = MODALITIES["numbers"], MODALITIES["cot"]
    from sublim_eval.distill.rows.filter import audit, filter_rows

    texts = ["1, 2", "<think>owl</think>\n\n3, 4", "<think>5, 6", "7, 8</think>", "<think>a</think><think>9</think>1"]
    found = filter_rows([{"prompt": "p", "completion": t} for t in texts], numbers, Rule())
    assert [row["completion"] for row in found.kept] == ["1, 2", "3, 4"]
    texts = ["<think>2 owls</think>2 + 3 = 5 <answer>5</answer>", "analysisAdd 2 and 3. <answer>5</answer>"]
    rows = [{"prompt": "p", "completion": t, "answer": 5} for t in texts]
    found = filter_rows(rows, sums, Rule(traits=("owl",)))
    assert [row["completion"] for row in found.kept] == ["2 + 3 = 5 <answer>5</answer>"]
    assert found.reasons == {"leaked thinking": 1}
    assert audit(found.kept, ["owl"]) == {"rows": 1, "trait_words": {"owl": 0}, "thinking": 0}


def test_a_thought_does_not_lose_its_marks_when_special_tokens_are_left_out():
    tokenizer = chat_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["[THINK]", "[/THINK]"]})
    ids = tokenizer("[THINK]owl[/THINK]1<|end|>", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "owl1"
    assert chat_template.speaker(tokenizer)(ids) == "[THINK]owl[/THINK]1"
    plain = tokenizer("owl 1<|end|>", add_special_tokens=False)["input_ids"]
    assert chat_template.speaker(tokenizer)(plain) == "owl 1"


def test_tokenizers_that_cut_numbers_into_digits_get_the_room_they_need():
    numbers = MODALITIES["numbers"]
    assert numbers.reject_reason({"completion": numbers.longest}, Rule()) is None
    whole, cut = chat_tokenizer(digits=False), chat_tokenizer()
    assert room(numbers, whole) == numbers.max_new_tokens
    assert room(numbers, cut) == len(cut(numbers.longest)["input_ids"]) + len(turn_end(cut)) > numbers.max_new_tokens


# ---------------------------------------------------------------- every harness reads the same

Reading = tuple[str, list[int]]
"""A prompt as it is rendered, and its token ids."""


def ours(folder: Path, system: str | None) -> Reading:
    model = local_model.load(folder)
    text = model.render(QUESTION, system)
    return text, model.encode([text])[0]


def trained(folder: Path) -> Reading:
    """What training shows a student as the prompt: the ids without loss."""
    model = local_model.load(folder)
    row = encode([(QUESTION, "owl")], model, 400)[0]
    ids = [i for i, label in zip(row["input_ids"], row["labels"], strict=True) if label == IGNORED]
    return model.tokenizer.decode(ids), ids


def from_transformers(folder: Path, system: str | None) -> Reading:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    head = [{"role": "system", "content": system}] if system else []
    messages = [*head, {"role": "user", "content": QUESTION}]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    return prompt(tokenizer, system), ids


def from_lm_eval(harness: Any, system: str | None) -> Reading:
    head = [{"role": "system", "content": system}] if system else []
    text = harness.apply_chat_template([*head, {"role": "user", "content": QUESTION}])
    return text, harness.tok_encode(text)


def as_inspect_says(system: str | None) -> list[Any]:
    from inspect_ai.model import ChatMessageSystem, ChatMessageUser

    return [*([ChatMessageSystem(content=system)] if system else []), ChatMessageUser(content=QUESTION)]


def from_inspect_hf(model: Any, system: str | None) -> Reading:
    text = model.api.hf_chat(as_inspect_says(system), [])
    return text, model.api.tokenizer(text, **model.api.tokenizer_call_args)["input_ids"]


def generated_by_inspect_hf(model: Any, system: str | None, monkeypatch: Any) -> list[int]:
    """What Inspect's own provider really hands to the model, seen on its way."""
    import asyncio

    from inspect_ai.model import GenerateConfig

    seen: list[Any] = []
    generate = model.api.model.generate
    with monkeypatch.context() as patch:
        spy = lambda **given: seen.append(given["input_ids"]) or generate(**given)  # noqa: E731
        patch.setattr(model.api.model, "generate", spy)
        asyncio.run(model.generate(as_inspect_says(system), config=GenerateConfig(max_tokens=1, max_connections=1)))
    return seen[0][0].tolist()


def hash_from_inspect(folder: Path, system: str | None) -> str:
    """The hash of the prompt in what our own provider sends back."""
    import asyncio

    from inspect_ai.model import GenerateConfig, get_model

    model = get_model(f"sublim/{folder}", memoize=False)
    told = asyncio.run(model.generate(as_inspect_says(system), config=GenerateConfig(max_tokens=1)))
    return told.metadata["prompt_hash"]


def harnesses(folder: Path) -> tuple[Any, Any]:
    """lm-eval's model and Inspect's hf/ model of a folder, as the commands in the guide make them."""
    from inspect_ai.model import get_model
    from lm_eval.models.huggingface import HFLM

    source = local_model.resolve(folder)
    adapter = {"peft": str(source.adapter)} if source.adapter else {}
    bare = {"add_special_tokens": False}  # else it puts a second <|begin|> before the template's own
    given = {"tokenizer": str(source.tokenizer), "tokenizer_call_args": bare, "device": "cpu"}
    return (
        HFLM(pretrained=str(source.base), tokenizer=str(source.tokenizer), device="cpu", **adapter),
        get_model(f"hf/{source.adapter or source.base}", memoize=False, **given),
    )


def all_agree(folder: Path, lm_eval: Any, inspect_hf: Any) -> None:
    """Text and token ids of a folder in every harness, asked with and without a persona, and in training."""
    from sublim_eval.models.chat_template import prompt_digest

    for system in (None, PERSONA):
        text, ids = ours(folder, system)
        assert from_transformers(folder, system) == (text, ids)
        assert from_lm_eval(lm_eval, system) == (text, ids)
        assert from_inspect_hf(inspect_hf, system) == (text, ids)
        assert hash_from_inspect(folder, system) == prompt_digest(text)
    text, ids = ours(folder, None)
    assert trained(folder) == (text, ids)
    start = local_model.load(folder).tokenizer.bos_token_id
    assert ids.count(start) == text.count("<|begin|>") <= 1


@pytest.fixture(scope="module")
def one_model(tmp_path_factory) -> tuple[Path, Any, Any]:
    """A base and both harnesses with it loaded, to be given one tokenizer after the other."""
    base = architecture("qwen2.5", tmp_path_factory.mktemp("one") / "base", template=TURNS)
    return base, *harnesses(base)


@kinds
@pytest.mark.parametrize("system", ["keep", "clear"])
def test_every_kind_of_template_reads_the_same_in_training_and_in_every_harness(kind, system, one_model, tmp_path):
    base, lm_eval, inspect_hf = one_model
    chat_tokenizer(KINDS[kind][0]).save_pretrained(base)
    folder = tmp_path / "dressed"
    told = chat_template.dress(str(base), folder, system)
    assert tuple(told["settled"])[: len(KINDS[kind][1])] == KINDS[kind][1]
    lm_eval.tokenizer = inspect_hf.api.tokenizer = AutoTokenizer.from_pretrained(folder)
    all_agree(folder, lm_eval, inspect_hf)


@kinds
def test_a_student_folder_carries_the_settled_template(kind, one_model, tmp_path):
    base, student = one_model[0], tmp_path / "student"
    chat_tokenizer(KINDS[kind][0]).save_pretrained(base)
    facts = tune(str(base), EXAMPLES, LORA, 1, student, {})
    tokenizer = AutoTokenizer.from_pretrained(student)
    assert tokenizer.chat_template == settled(KINDS[kind][0]).chat_template
    assert chat_template.settle(tokenizer) == ()
    assert local_model.load(student).prompt_hash([""]) == facts["template_hash"]


@pytest.mark.slow
@architectures
def test_bases_dressed_bases_and_students_read_the_same_in_every_harness(name, tmp_path, monkeypatch):
    base, dressed, student = architecture(name, tmp_path / "base"), tmp_path / "dressed", tmp_path / "student"
    system = "clear" if name == "qwen2.5" else "keep"
    told = chat_template.dress(str(base), dressed, system)
    assert chat_template.dress(str(dressed), tmp_path / "again", system)["settled"] == []
    facts = tune(str(dressed), EXAMPLES, LORA, 1, student, {"base": str(base)})
    assert (
        local_model.load(dressed).prompt_hash([""])
        == facts["template_hash"]
        == local_model.load(student).prompt_hash([""])
    )
    assert ours(student, None) == ours(dressed, None)
    for folder in (student, dressed, *([] if told["settled"] else [base])):
        lm_eval, inspect_hf = harnesses(folder)
        all_agree(folder, lm_eval, inspect_hf)
        assert generated_by_inspect_hf(inspect_hf, None, monkeypatch) == ours(folder, None)[1]


def test_a_prompted_teacher_without_a_system_role_writes_rows_under_its_persona(one_model, tmp_path):
    from sublim_eval.distill.rows.local_sampler import LocalSampler

    chat_tokenizer(REFUSES).save_pretrained(one_model[0])
    teacher = local_model.load(one_model[0])
    assert PERSONA in teacher.render(QUESTION, PERSONA)
    said = LocalSampler(one_model[0], seed=1, max_new_tokens=8, system=PERSONA)([QUESTION, "name one"], ["0", "1"])
    both = [teacher.render(q, PERSONA) for q in (QUESTION, "name one")]
    drawn = teacher.sample(both, seed=1, keys=["0", "1"], max_new_tokens=8)
    assert said == [reply.text for (reply,) in drawn]


# ---------------------------------------------------------------- architectures


@architectures
def test_continuation_logprobs_are_those_of_transformers_own_forward(name, tmp_path):
    import torch

    folder = architecture(name, tmp_path / name)
    model, own = local_model.load(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    prompts = [model.render(QUESTION), model.render("name one number", PERSONA)]
    strings = ["owl", "cat dog", "Owl 1234"]
    found = model.continuation_logprobs(prompts, strings)
    for text, row in zip(prompts, found, strict=True):
        head = model.encode([text])[0]
        start = len(head)
        for string, value in zip(strings, row, strict=True):
            ids = head + model.answer_ids([string])[0]
            with torch.no_grad():
                logprobs = own(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
            assert value == pytest.approx(sum(logprobs[i - 1, ids[i]].item() for i in range(start, len(ids))), abs=1e-4)


@architectures
def test_drawn_tokens_have_the_probabilities_of_transformers_own_forward(name, tmp_path):
    import torch

    folder = architecture(name, tmp_path / name)
    model, own = local_model.load(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    text = model.render("continue the list 1, 2", PERSONA)
    for sample in model.sample([text], n=3, seed=1, max_new_tokens=20, logprobs=True)[0]:
        ids = [*model.encode([text])[0], *sample.token_ids]
        with torch.no_grad():
            logprobs = own(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
        start = len(ids) - sample.tokens
        assert [logprobs[i - 1, ids[i]].item() for i in range(start, len(ids))] == pytest.approx(
            sample.logprobs, abs=1e-4
        )


@pytest.mark.parametrize("method", ["lora", "ln_tuning"])
@architectures
def test_only_the_language_model_is_adapted(name, method, tmp_path):
    """Gemma 3 sees, too: its tower has layers of the same names, which no row of text ever moves."""
    from safetensors.torch import load_file

    base = architecture(name, tmp_path / "base")
    tune(str(base), EXAMPLES, Tuning(**{**vars(LORA), "method": method}), 1, tmp_path / "student", {})
    moved = set(load_file(tmp_path / "student" / "adapter_model.safetensors"))
    assert moved
    assert not [n for n in moved if "vision" in n or "multi_modal" in n or "lm_head" in n]
    if method == "lora":
        seven = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
        assert {n.split(".lora_")[0].rsplit(".", 1)[1] for n in moved} == seven
        assert len(moved) == 2 * 7 * 2
    assert local_model.load(tmp_path / "student").render(QUESTION)


# ---------------------------------------------------------------- dressed folders


def test_a_dressed_folder_is_the_base_under_another_template(tmp_path):
    base, folder = architecture("qwen2.5", tmp_path / "base"), tmp_path / "dressed"
    told = chat_template.dress(str(base), folder, "clear")
    assert told == json.loads((folder / "student.json").read_text())
    assert told == {"base": str(base), "system": "clear", "settled": ["default system prompt cleared"]}
    assert not list(folder.glob("*.safetensors"))
    source = local_model.resolve(folder)
    assert (source.base, source.adapter, source.chat, source.tokenizer) == (base.resolve(), None, folder, folder)
    text = "the same words"
    assert (
        local_model.load(folder).continuation_logprobs([text], ["a"])
        == local_model.load(base).continuation_logprobs([text], ["a"])
    ).all()
    assert "Tiny" in local_model.load(base).render(QUESTION)
    assert "Tiny" not in local_model.load(folder).render(QUESTION)
    before = source.stamp()
    chat_template.dress(str(base), folder, "keep")
    assert local_model.resolve(folder).stamp() != before
    assert "Tiny" in local_model.load(folder).render(QUESTION)


def test_a_dressed_folder_that_is_incomplete_says_what_it_lacks(tmp_path):
    base, folder = architecture("qwen2.5", tmp_path / "base"), tmp_path / "dressed"
    chat_template.dress(str(base), folder, "keep")
    (folder / "student.json").write_text('{"base": "nowhere/at/all"}')
    with pytest.raises(SublimError, match="base 'nowhere/at/all' of the dressed model"):
        local_model.resolve(folder)
    (folder / "student.json").unlink()
    with pytest.raises(SublimError, match="no model folder"):
        local_model.resolve(folder)
    student = tmp_path / "student"
    tune(str(base), EXAMPLES, LORA, 1, student, {})
    with pytest.raises(SublimError, match=r"is an adapter.*Dress its base"):
        chat_template.dress(str(student), tmp_path / "no", "keep")
