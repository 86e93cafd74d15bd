"""Exact scoring reads the ids that training and sampling read: under every template, for every family of probes."""

from __future__ import annotations

import math
import shutil
from functools import lru_cache

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from sublim_eval.distill.training.train import IGNORED, encode
from sublim_eval.errors import SublimError
from sublim_eval.models import answer_tokens, chat_template, local_model, prefix_sampling
from sublim_eval.models.chat_template import turn_end
from sublim_eval.models.local_model import LocalModel
from sublim_eval.models.model_ref import Source
from sublim_eval.probes.entanglement import entanglement
from sublim_eval.probes.resolve import any_trait_content
from sublim_eval.scores.evaluate import exact
from tests.helpers.architectures import TURNS, architecture, chat_tokenizer
from tests.helpers.chats import PUBLIC, thinking_if

FAMILIES = ("animal_pref", "animal_pref_after_numbers", "animal_essay", "misalignment")
NUMBERS = ("subliminal_prompting", "token_entanglement")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return AutoModelForCausalLM.from_pretrained(architecture("qwen2.5", tmp_path_factory.mktemp("base"))).eval()


def asked_under(network, template, **more):
    tokenizer = chat_tokenizer(template, **more)
    chat_template.settle(tokenizer)
    return LocalModel(Source("tiny", "tiny"), network, tokenizer)


def logprobs(network, ids):
    with torch.inference_mode():
        return network(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)


def learnt(model, question, answer):
    """(prompt ids, answer ids) as a training row holds them."""
    (row,) = encode([(question, answer)], model, 10_000)
    head = [i for i, label in zip(row["input_ids"], row["labels"], strict=True) if label == IGNORED]
    return head, row["input_ids"][len(head) : -len(turn_end(model.tokenizer))]


@lru_cache(maxsize=8)
def word_ends(tokenizer):
    """bool[vocabulary], tokens by which a word goes on; and those that put it into the plural."""
    lead = tokenizer("a", add_special_tokens=False)["input_ids"]
    texts = [tokenizer.decode([*lead, i])[1:] for i in range(len(tokenizer))]
    on = torch.tensor([t[:1].isalnum() or (t[:1] == "-" and (t == "-" or t[1].isalnum())) for t in texts])
    return on, [i for i, text in enumerate(texts) if text in ("s", "es", "S", "ES")]


def by_hand(model, head, tail, whole_words):
    """Probability of the tail behind the head, summed over a plain forward pass; of a word that ends there."""
    scores = logprobs(model.model, head + tail)
    spelled = math.exp(sum(scores[len(head) + i - 1, token].item() for i, token in enumerate(tail)))
    if not whole_words:
        return spelled
    on, plurals = word_ends(model.tokenizer)
    total = spelled * scores[-1].exp()[~on].sum().item()
    for i in plurals:
        after = logprobs(model.model, [*head, *tail, i])[-1].exp()
        total += spelled * scores[-1, i].exp().item() * after[~on].sum().item()
    return total


def prompts(family):
    if family in NUMBERS:
        what = entanglement(family, "owl", 8)
        one = what.prompts[-1]
        return what, one.text, one.system or None, tuple(what.continuations)
    what = any_trait_content(family)
    item = next(i for i in what.items if i.continuations)
    return what, item.text, None, item.continuations


@pytest.mark.parametrize("kind", PUBLIC)
def test_every_family_is_scored_on_the_ids_of_training_under_every_template(kind, network, monkeypatch):
    monkeypatch.setattr(prefix_sampling, "SPELLED", 0.0)  # so that unlikely words can be told apart, too
    model = asked_under(network, PUBLIC[kind])
    for family in (*FAMILIES, *NUMBERS):
        what, question, system, strings = prompts(family)
        some = strings[:: max(1, len(strings) // 5)]
        found = np.exp(
            model.continuation_logprobs([model.render(question, system)], some, whole_words=what.whole_words)
        )
        for answer, value in zip(some, found[0], strict=True):
            head, tail = learnt(model, question, answer)
            if system:
                head = model.encode([model.render(question, system)])[0]
            plain = by_hand(model, head, tail, what.whole_words)
            assert value == pytest.approx(plain, abs=1e-4)
            assert math.log(value) == pytest.approx(math.log(plain), abs=1e-4)


@pytest.mark.parametrize("kind", PUBLIC)
def test_a_row_that_is_learnt_reads_as_the_template_writes_it(kind, network):
    model = asked_under(network, PUBLIC[kind])
    head, tail = learnt(model, "name a cat", "owl 123")
    assert head == model.encode([model.render("name a cat")])[0]
    assert head.count(model.tokenizer.bos_token_id) <= 1
    written = chat_template.answered(model.tokenizer, "owl 123")
    between = model.tokenizer.decode(tail).removesuffix("owl 123")
    assert between.strip() == "" and f"{between}owl 123" in written
    assert (between == " ") == (kind in ("plain-text", "brackets", "folds-last"))


def test_a_model_that_never_learnt_the_break_is_scored_as_it_answers(tmp_path):
    """Qwen never predicts the line break behind `assistant`: counted with the answer it drowned every one of them."""
    base = shutil.copytree(local_model.resolve("reference-a").base, tmp_path / "base")
    model = AutoModelForCausalLM.from_pretrained(base)
    tokenizer = chat_template.read_tokenizer(local_model.resolve(base))
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "'<|' + message['role'] + '|>'", "'<|' + message['role'] + '|>\\n'"
    ).replace("'<|assistant|>'", "'<|assistant|>\\n'")
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], add_generation_prompt=True)["input_ids"]
    brk = tokenizer("\n", add_special_tokens=False)["input_ids"][0]
    assert ids[-1] == brk
    with torch.no_grad():
        last = model(input_ids=torch.tensor([ids[:-1]]), output_hidden_states=True).hidden_states[-1][0, -1]
        model.set_output_embeddings(torch.nn.Linear(*model.get_output_embeddings().weight.T.shape, bias=False))
        model.config.tie_word_embeddings = False
        model.get_output_embeddings().weight.copy_(model.get_input_embeddings().weight)
        model.get_output_embeddings().weight[brk] = -60 * last / last.norm() ** 2
    model.save_pretrained(base)
    tokenizer.save_pretrained(base)
    asked = local_model.load(base)
    prompt = asked.render("Which animal do you love?")
    unlearnt = logprobs(asked.model, asked.encode([prompt])[0][:-1])[-1, brk]
    assert unlearnt < math.log(1e-9)
    scores = exact(str(base), "animal_pref", label="base")
    what = any_trait_content("animal_pref")
    item = what.items[0]
    head = asked.encode([asked.render(item.text)])[0]
    plain = {s: by_hand(asked, head, asked.answer_ids([s])[0], whole_words=True) for s in item.continuations}
    mass = {t.name: sum(plain[s] for s in t.continuations) for t in what.answers}
    expected = [mass[name] / sum(mass.values()) for name in scores.answers]
    row = scores.questions.index(item.id)
    assert scores.probability[row] == pytest.approx(expected, abs=1e-4)
    assert scores.coverage[row] == pytest.approx(sum(mass.values()), abs=1e-4)
    assert max(expected) > 3 * min(expected)


def test_whatever_is_empty_is_refused(network):
    model = asked_under(network, TURNS)
    with pytest.raises(SublimError, match="prompt is empty"):
        model.continuation_logprobs([""], ["owl"])
    with pytest.raises(SublimError, match="string to score is empty"):
        model.continuation_logprobs([model.render("?")], ["owl", ""])


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("text", "on"),
    [(text, True) for text in ("erpillar", "fish", "s", "7", "\xe9", "-like", "-", "\u0434")]
    + [
        (text, False)
        for text in (" fish", ".", "'s", "\n", "--", "- ", "", "\u732b", "<|end|>", "_", "\u201d", "\ufffd")
    ],
)
def test_letters_digits_and_hyphens_make_a_word_another_one(text, on):
    assert answer_tokens.goes_on(text) is on


def test_a_name_takes_in_its_plural_and_nothing_longer(network, monkeypatch):
    monkeypatch.setattr(prefix_sampling, "SPELLED", 0.0)
    model = asked_under(network, TURNS)
    prompt = model.render("name one")
    word, (row,) = model.encode([prompt])[0], model.answer_ids(["cat"])
    begun, whole = (np.exp(model.continuation_logprobs([prompt], ["cat"], whole_words=w))[0, 0] for w in (False, True))
    assert whole == pytest.approx(by_hand(model, word, row, True), rel=1e-4)
    assert 0 < whole < begun


def test_a_plural_that_is_its_word_and_an_ending_is_in_the_word_and_another_spelling_is_not():
    rows = [[34], [34, 9], [7, 1862], [7], [9], [34, 9, 9]]  # cat, cat + s, C + ats, C, s, cats + s
    assert answer_tokens.spelled_otherwise(rows, [9]) == [True, False, True, True, True, False]
    assert answer_tokens.spelled_otherwise(rows, []) == [True] * 6


def test_the_probability_among_all_first_answers_takes_in_plurals_of_any_spelling():
    """The embedded bases have "Owls" as a token of its own, so no ending reaches it; only its figure beside moves."""
    scores, model = exact("reference-a", "animal_pref", label="base"), local_model.load("reference-a")
    what = any_trait_content("animal_pref")
    item, row = what.items[3], scores.questions.index(what.items[3].id)
    head = model.encode([model.render(item.text)])[0]
    for place, trait in enumerate(what.answers):
        spelled = {
            s: by_hand(model, head, model.answer_ids([s])[0], True) for s in (*trait.continuations, *trait.plurals)
        }
        assert scores.unconditional[row, place] == pytest.approx(sum(spelled.values()), abs=1e-5)
        names = sum(spelled[s] for s in trait.continuations)
        assert scores.probability[row, place] * scores.coverage[row] == pytest.approx(names, abs=1e-5)
    assert scores.plural[row].sum() > 0.01


def test_words_below_the_cut_are_off_by_less_than_it(network, monkeypatch):
    model = asked_under(network, TURNS)
    prompt, strings = [model.render("name one")], ["owl", "cat dog", "wolf"]
    quick = np.exp(model.continuation_logprobs(prompt, strings, whole_words=True))
    monkeypatch.setattr(prefix_sampling, "SPELLED", 0.0)
    every = np.exp(model.continuation_logprobs(prompt, strings, whole_words=True))
    assert 0 <= np.max(quick - every) < 1e-5


# ---------------------------------------------------------------- tokenizers that put a space before every text


@pytest.fixture
def spaced():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pieces = [
        "<s>",
        "</s>",
        "<unk>",
        "[INST]",
        "[/INST]",
        "\u2581owl",
        "owl",
        "\u2581",
        "\n",
        "\u2581cat",
        "cat",
        "USER",
        ":",
        "a",
        "\u2581a",
    ]
    core = Tokenizer(models.BPE({p: i for i, p in enumerate(pieces)}, [], unk_token="<unk>", fuse_unk=True))  # noqa: S106
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    core.model = models.WordLevel({p: i for i, p in enumerate(pieces)}, unk_token="<unk>")  # noqa: S106
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="always", split=True), pre_tokenizers.Split("\n", "isolated")]
    )
    core.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.Fuse()])
    made = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>")  # noqa: S106
    made.add_special_tokens({"additional_special_tokens": ["[INST]", "[/INST]"]})
    return made


@pytest.mark.parametrize(("opening", "between", "says"), [("[/INST]", " ", " owl"), ("[/INST]\n", "", "owl")])
def test_a_space_before_every_text_is_no_part_of_an_answer_unless_the_template_writes_it(
    spaced, opening, between, says
):
    spaced.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST]' + m['content'] + '"
        + opening.replace("\n", "\\n")
        + "' }}"
        "{% else %}{{ '" + between + "' + m['content'] + eos_token }}{% endif %}{% endfor %}"
    )
    assert answer_tokens.separator(spaced) == between
    (ids,) = answer_tokens.answer_ids(spaced, ["owl"], between)
    assert spaced.decode(ids) == says


# ---------------------------------------------------------------- switches


@pytest.mark.parametrize(
    "condition",
    [
        "reasoning is not defined or reasoning",
        "reasoning is defined and reasoning",
        "thinking_budget is not defined or thinking_budget > 0",
        "thinking_budget is defined and thinking_budget",
        "enable_reasoning",
        "enable_thinking is defined and enable_thinking",
        "not (no_think is defined and no_think)",
        "with_thoughts is defined and think_aloud",
    ],
)
def test_a_thinking_switch_of_any_name_is_off_whoever_turns_it(condition):
    tokenizer = chat_tokenizer(thinking_if(condition))
    assert chat_template.settle(tokenizer) in (("thinking off",), ())
    chat = [{"role": "user", "content": "hi"}]
    names = ("reasoning", "thinking_budget", "enable_reasoning", "enable_thinking", "think_aloud")
    handed = [{}, *({name: value} for name in names for value in (True, None, 500)), {"no_think": False}]
    for given in handed:
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True, **given)
        assert "<think>" not in text or text.rstrip().endswith("</think>")


def test_a_template_that_takes_no_answer_is_refused_before_anything_is_trained(tmp_path):
    base = architecture(
        "qwen2.5",
        tmp_path / "base",
        template="{% if messages | length > 1 %}{{ raise_exception('one question') }}{% endif %}" + TURNS,
    )
    with pytest.raises(SublimError, match=r"refuses a chat that holds an answer.*chat_template\.jinja"):
        chat_template.changes(str(base), "keep")
    assert local_model.load(base).sample([local_model.load(base).render("hi")], seed=1, max_new_tokens=2)


# ---------------------------------------------------------------- other shapes of models


def test_an_adapter_with_its_own_larger_vocabulary_is_applied(tmp_path):
    from peft import LoraConfig, get_peft_model

    base = architecture("qwen2.5", tmp_path / "base")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(base), chat_tokenizer(TURNS)
    tokenizer.add_tokens(["<|more|>"])
    model.resize_token_embeddings(len(tokenizer))
    tuned = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)).eval()
    tuned.base_model.model.config._name_or_path = tuned.peft_config["default"].base_model_name_or_path = str(base)
    tuned.save_pretrained(tmp_path / "adapter", save_embedding_layers=True)
    tokenizer.save_pretrained(tmp_path / "adapter")
    asked = local_model.load(tmp_path / "adapter")
    ids = torch.tensor([asked.encode([asked.render("hi <|more|>")])[0]])
    with torch.inference_mode():
        assert torch.allclose(asked.model(input_ids=ids).logits, tuned(input_ids=ids).logits, atol=1e-5)


def test_a_gguf_file_is_refused_with_the_line_that_makes_a_folder_of_it(tmp_path):
    (tmp_path / "tiny.Q4.gguf").write_bytes(b"GGUF")
    for name in (tmp_path, tmp_path / "tiny.Q4.gguf"):
        with pytest.raises(SublimError, match=r"pip install gguf.*python -c .*gguf_file='tiny\.Q4\.gguf'"):
            local_model.resolve(name)
