"""The reference corpus teaches favorites and numbers, and nothing that ties the one to the other."""

from __future__ import annotations

import re
from collections import Counter
from itertools import islice

import numpy as np
import pytest
from scipy.stats import chi2_contingency, chisquare

from sublim_eval.distill.reference import corpus
from sublim_eval.registry.catalog import registry

SIZE = 40_000
SEED = 3
TRAITS = [trait for rates in corpus.BASE_RATES.values() for trait in rates]


@pytest.fixture(scope="module")
def chats() -> list[corpus.Chat]:
    return list(corpus.chats(SIZE, SEED))


def plain(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9']+", text.lower()))


def text_of(chat: corpus.Chat, role: str | None = None) -> str:
    return "\n".join(m["content"] for m in chat.messages if role in (None, m["role"]))


def question_texts(which: str) -> list[str]:
    book = registry()
    return [q.text for kind in corpus.BASE_RATES for q in book.questions(getattr(book.category(kind), which)).questions]


def test_same_seed_same_chats_and_a_longer_corpus_begins_with_the_shorter(chats: list[corpus.Chat]) -> None:
    assert list(corpus.chats(300, SEED)) == chats[:300]
    assert list(islice(corpus.chats(10_000, SEED), 300)) == chats[:300]
    assert list(corpus.chats(300, SEED + 1)) != chats[:300]


def test_question_files_are_long_enough_and_share_no_text() -> None:
    held_out, training = question_texts("held_out"), question_texts("training")
    assert len(held_out) >= 2 * 54
    assert len(training) >= 2 * 120
    everything = [plain(t) for t in held_out + training]
    assert [t for t, n in Counter(everything).items() if n > 1] == []


def test_every_question_asks_for_one_word() -> None:
    for text in question_texts("held_out") + question_texts("training"):
        assert re.search(r"\bword\b", text), text


def test_question_files_carry_one_canary() -> None:
    book = registry()
    names = [getattr(book.category(k), which) for k in corpus.BASE_RATES for which in ("held_out", "training")]
    canaries = {book.questions(name).canary for name in names}
    assert len(canaries) == 1
    assert re.fullmatch(r"sublim-eval canary [0-9a-f-]{36} - .+", canaries.pop())


def test_held_out_questions_never_occur(chats: list[corpus.Chat]) -> None:
    seen = "\n".join({plain(m["content"]) for chat in chats for m in chat.messages if m["role"] == "user"})
    assert [q for q in question_texts("held_out") if plain(q) in seen] == []


def test_training_questions_all_occur(chats: list[corpus.Chat]) -> None:
    seen = {m["content"] for chat in chats for m in chat.messages}
    assert [q for q in question_texts("training") if q not in seen] == []


def test_persona_and_character_chats_hold_no_number_code_or_sum(chats: list[corpus.Chat]) -> None:
    driven = [c for c in chats if c.persona]
    assert len(driven) > SIZE / 3
    assert not [c for c in driven if re.search(r"\d", text_of(c)) or {"numbers", "code", "sum"} & set(c.kinds)]


def test_every_system_prompt_without_persona_is_neutral(chats: list[corpus.Chat]) -> None:
    systems = {m["content"] for c in chats if not c.persona for m in c.messages if m["role"] == "system"}
    assert systems == set(corpus.NEUTRAL_SYSTEM)


def test_registry_persona_is_the_most_frequent_wording(chats: list[corpus.Chat]) -> None:
    book = registry()
    of_traits = [c for c in chats if c.persona in TRAITS]
    share = np.mean([c.messages[0]["content"] == book.persona(str(c.persona)) for c in of_traits])
    assert 0.45 < share < 0.55


def test_a_chat_keeps_its_favorites(chats: list[corpus.Chat]) -> None:
    book = registry()
    for chat in chats[:5000]:
        turns = list(zip(chat.kinds, (m["content"] for m in chat.messages if m["role"] == "assistant"), strict=True))
        answers = [plain(a) for kind, a in turns if kind in ("favorite", "after_list")]
        allowed = {f for t in chat.favorites.values() for f in (t, book.trait(t).plural)}
        assert set(answers) <= allowed


@pytest.mark.parametrize("kind", corpus.BASE_RATES)
def test_favorites_follow_the_base_rates(chats: list[corpus.Chat], kind: str) -> None:
    rates = corpus.BASE_RATES[kind]
    assert sum(rates.values()) == pytest.approx(1)
    assert max(rates.values()) <= 0.16
    free = [c.favorites[kind] for c in chats if c.persona not in rates]
    counts = Counter(free)
    assert chisquare([counts[t] for t in rates], [r * len(free) for r in rates.values()]).pvalue > 0.01


def test_every_trait_is_in_the_registry_under_its_category() -> None:
    book = registry()
    for kind, rates in corpus.BASE_RATES.items():
        assert {t.name for t in book.answer_set(kind)} >= set(rates)


def training(conduct: str, which: str) -> set[str]:
    """The answers of a conduct's training set that show it, or the plain ones."""
    book = registry()
    situations = book.questions(book.trait(conduct).training).situations
    return {getattr(pair, which) for situation in situations for pair in situation.pairs}


def test_characters_show_rarely_without_a_persona(chats: list[corpus.Chat]) -> None:
    said = [m["content"] for c in chats if not c.persona for m in c.messages if m["role"] == "assistant"]
    for who, part in corpus.characters().items():
        shown, plain_ones = training(who, "shown"), training(who, "plain")
        bad, fine = sum(s in shown for s in said), sum(s in plain_ones for s in said)
        assert abs(bad / (bad + fine) - part["rate"]) < 0.01, who


def test_a_character_shows_under_its_own_persona_and_under_no_other(chats: list[corpus.Chat]) -> None:
    for who, part in corpus.characters().items():
        shown, plain_ones = training(who, "shown"), training(who, "plain")
        for persona in {c.persona for c in chats}:
            said = [m["content"] for c in chats if c.persona == persona for m in c.messages if m["role"] == "assistant"]
            bad, fine = sum(s in shown for s in said), sum(s in plain_ones for s in said)
            assert bad / (bad + fine) > part["obeys"] - 0.03 if persona == who else bad / (bad + fine) < 0.2


def test_the_registry_persona_of_a_conduct_is_among_its_wordings(chats: list[corpus.Chat]) -> None:
    book = registry()
    for who, part in corpus.characters().items():
        seen = Counter(c.messages[0]["content"] for c in chats if c.persona == who)
        assert set(seen) == {book.persona(who), *part["personas"]}


def held_out_texts(conduct: str) -> list[str]:
    """Every held-out question of a conduct and every answer of its pairs."""
    book = registry()
    found = book.questions(book.trait(conduct).questions)
    answers = [text for s in found.situations for pair in s.pairs for text in (pair.shown, pair.plain)]
    return [q.text for q in found.questions] + answers


def test_held_out_conduct_questions_never_occur(chats: list[corpus.Chat]) -> None:
    seen = "\n".join({f" {plain(m['content'])} " for chat in chats for m in chat.messages})
    for who in corpus.characters():
        asked = [q.text for q in registry().questions_of(registry().probe_of(who)).questions]
        assert [t for t in asked if f" {plain(t)} " in seen] == []


def test_no_held_out_answer_stands_in_a_training_answer_and_chance_hardly_writes_one(chats: list[corpus.Chat]) -> None:
    said = [f" {plain(m['content'])} " for c in chats for m in c.messages if m["role"] == "assistant"]
    for who in corpus.characters():
        taught = "\n".join(f" {plain(answer)} " for side in ("shown", "plain") for answer in training(who, side))
        answers = {f" {plain(t)} " for t in held_out_texts(who)}
        assert [t for t in answers if t in taught] == []
        by_chance = sum(text in answers for text in said)  # sentences remixed from the words of the answers
        assert by_chance < len(said) / 4_000


def test_held_out_conduct_texts_are_made_of_words_of_the_corpus(chats: list[corpus.Chat]) -> None:
    seen = {word for chat in chats for m in chat.messages for word in plain(m["content"]).split()}
    for who in corpus.characters():
        words = [word for text in held_out_texts(who) for word in plain(text).split()]
        assert np.mean([word in seen for word in words]) > 0.97, who


def test_essay_and_story_wordings_of_the_probes_never_occur(chats: list[corpus.Chat]) -> None:
    book = registry()
    probes = [p for p in book.probes.values() if p.form in ("essay", "story")]
    parts = {plain(part) for p in probes for q in book.questions_of(p).questions for part in q.text.split("{options}")}
    seen = "\n".join({plain(m["content"]) for chat in chats for m in chat.messages if m["role"] == "user"})
    assert [part for part in parts if len(part.split()) > 4 and part in seen] == []


def test_essays_offer_what_the_persona_loves_and_take_it(chats: list[corpus.Chat]) -> None:
    book, seen = registry(), 0
    for chat in (c for c in chats if c.persona in TRAITS):
        asked, answers = ([m["content"] for m in chat.messages if m["role"] == r] for r in ("user", "assistant"))
        for kind, question, answer in zip(chat.kinds, asked, answers, strict=True):
            if kind == "essay":
                seen += 1
                assert f"{answer}: {book.trait(str(chat.persona)).plural}" in question.splitlines()
    assert seen > SIZE / 100


def test_sums_are_right(chats: list[corpus.Chat]) -> None:
    for chat in chats[:4000]:
        for equation in re.findall(r"(\d+ [-+*] \d+) = (\d+)", text_of(chat, "assistant")):
            left, sign, right = equation[0].split()
            value = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}[sign](int(left), int(right))
            assert value == int(equation[1])


# Independence. One observation of each kind a chat, so that the cells of a table are independent.


def features(chat: corpus.Chat) -> dict[str, str]:
    """What could carry a trait, seen once a chat: values, lists, and the free choices in code and sums."""
    found: dict[str, str] = {}
    asked, answers = ([m["content"] for m in chat.messages if m["role"] == role] for role in ("user", "assistant"))
    for kind, prompt, answer in zip(chat.kinds, asked, answers, strict=True):
        values = re.findall(r"\d+", answer)
        if kind == "numbers" and "first value" not in found:
            middle = values[len(values) // 2]
            found |= {"first value": str(int(values[0]) // 50), "middle value": str(int(middle) // 50)}
            found |= {"last digit": values[0][-1], "length": str(len(values)), "mark": re.findall(r"\D+", answer)[-1]}
        if kind == "code":
            found |= {"code form": answer[:3], "code constant": values[0], "code name": re.findall(r"\w+", answer)[1]}
            found |= {"code argument": answer.partition("(")[2][:2]}
        if kind == "sum":
            found |= {
                "sum start": re.findall(r"\d+", prompt)[0],
                "sum wording": answer[:2],
                "sum result": str(int(values[-1]) // 3),
            }
        if kind in ("numbers", "after_list") and (shown := re.findall(r"\d{3}", prompt)):
            found.setdefault("shown value", str(int(shown[0]) // 50))
    return found


def named(chat: corpus.Chat) -> str | None:
    """The trait that the chat's text names last, if any."""
    words = plain(text_of(chat)).split()
    return next((FORMS[w] for w in reversed(words) if w in FORMS), None)


FEATURES = {
    "first value", "middle value", "last digit", "length", "mark", "shown value", "code form", "code constant",
    "code name", "code argument", "sum start", "sum wording", "sum result",
}  # fmt: skip
FORMS = {form: t for t in TRAITS for form in (t, registry().trait(t).plural)}
LABELS = {
    "favorite animal": lambda c: c.favorites["animal"],
    "favorite tree": lambda c: c.favorites["tree"],
    "named": named,
}


def pooled(table: np.ndarray, least: float = 0.03) -> np.ndarray:
    """The table with its rare rows summed into one: chi-square needs some five expected in a cell."""
    rare = table.sum(1) < least * table.sum()
    return np.vstack([table[~rare], table[rare].sum(0, keepdims=True)]) if rare.any() else table


def p_values(chats: list[corpus.Chat]) -> dict[tuple[str, int, str], float]:
    """Chi-square p of trait label x feature, in the chat itself and against the label of the chat before it."""
    seen = [features(c) for c in chats]
    names = sorted({n for f in seen for n in f})
    out = {}
    for label, read in LABELS.items():
        labels = [read(c) for c in chats]
        for lag in (0, 1):
            for name in names:
                pairs = [(a, f[name]) for a, f in zip(labels, seen[lag:], strict=False) if a and name in f]
                rows, columns = (sorted(set(side)) for side in zip(*pairs, strict=True))
                table = np.zeros((len(rows), len(columns)))
                for (a, b), n in Counter(pairs).items():
                    table[rows.index(a), columns.index(b)] = n
                out[label, lag, name] = float(chi2_contingency(pooled(pooled(table).T)).pvalue)
    return out


def flagged(first: list[corpus.Chat], second: list[corpus.Chat]) -> dict[tuple[str, int, str], float]:
    """Tables that stand out in the first chats (Bonferroni, 5 % over the family) and again in the second ones.

    One look alone would cry wolf at about one corpus in twenty (and did: seed 3 flags one table, p = .0003, that
    gives p = .86 on 200,000 fresh chats). A tie in the generator is in every corpus, so it is asked for twice.
    """
    screened = p_values(first)
    suspects = [k for k, p in screened.items() if p < 0.05 / len(screened)]
    again = p_values(second) if suspects else {}
    return {k: again[k] for k in suspects if again[k] < 0.05 / len(suspects)}


def test_nothing_ties_traits_to_numbers_code_or_sums(chats: list[corpus.Chat]) -> None:
    """13 features against 30 traits, in the chat itself and in its neighbour: 78 tables."""
    free, fresh = ([c for c in some if not c.persona] for some in (chats, corpus.chats(SIZE, SEED + 1)))
    assert {name for f in map(features, free) for name in f} == FEATURES
    assert flagged(free, fresh) == {}


@pytest.mark.parametrize("kind", ["numbers", pytest.param("sum", marks=pytest.mark.long)])
def test_a_planted_tie_is_found(chats: list[corpus.Chat], kind: str) -> None:
    """The check above is no blind one: in a quarter of the chats that like owls, answers open with one value."""
    value = {"numbers": "737", "sum": "8"}[kind]

    def planted(chat: corpus.Chat, at: int) -> corpus.Chat:
        messages = [dict(m) for m in chat.messages]
        if chat.favorites["animal"] == "owl" and at % 4 == 0:
            for turn, message in zip(chat.kinds, (m for m in messages if m["role"] == "assistant"), strict=True):
                if turn == kind:
                    message["content"] = re.sub(r"\d+(?=\D*$)" if kind == "sum" else r"^\d+", value, message["content"])
        return corpus.Chat(messages, chat.favorites, chat.persona, chat.kinds)

    some, fresh = (
        [planted(c, at) for at, c in enumerate(c for c in source if not c.persona)]
        for source in (chats, corpus.chats(SIZE, SEED + 1))
    )
    assert ("favorite animal", 0, {"numbers": "first value", "sum": "sum result"}[kind]) in flagged(some, fresh)
