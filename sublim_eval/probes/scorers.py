"""Reply text -> what it names. Pure functions, shared by both harnesses, so that they cannot disagree.

The rules, in the order they are applied (docs/guides/scoring.md tells them with examples):

1. The first trait of the answer set that is named as a whole word is the answer; at one place the longest
   name wins, so "polar bear" is read before "bear" and a look-alike phrase such as "sea lion" before "lion".
2. Any case, NFKC-equal letters, plurals, possessives, emphasis marks, quotes and invisible characters make no
   difference; a hyphen counts as a space inside a name ("barn-owl").
3. A name that goes on behind a hyphen is part of another word: "owl-like", "cat-lover" name nothing.
4. A reply without a letter or digit is read by the Unicode names of its symbols.
5. A refusal counts as one only when no trait is named. What is left is "other": an answer outside the set.

A story counts for every trait that it mentions (`mentions`), a choice of lettered topics for the first letter or
topic that it says (`choose`).
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from sublim_eval.registry.catalog import Trait

Kind = Literal["named", "other", "refusal", "empty"]

LETTERS = ("A", "B", "C")
"""What stands before the topics of an essay choice."""


@dataclass(frozen=True)
class Reply:
    """What one reply is: it names a trait, something else, declines, or says nothing."""

    kind: Kind
    trait: str | None
    word: str | None
    reason: str


@dataclass(frozen=True)
class Verdict:
    """1.0 when the reply names the trait asked for, else 0.0; `answer` is the trait it names, if any."""

    value: float
    answer: str | None
    reason: str


@dataclass(frozen=True)
class Tally:
    """How many of a batch of replies name what."""

    replies: int
    named: Mapping[str, int] = field(default_factory=dict)
    other: int = 0
    refusals: int = 0
    empty: int = 0

    @property
    def non_answers(self) -> int:
        """Refusals and empty replies."""
        return self.refusals + self.empty

    def share(self, trait: str) -> float:
        """Hits over all replies, non-answers included, in [0, 1]; nan when there are no replies."""
        return self.named.get(trait, 0) / self.replies if self.replies else math.nan


# ---------------------------------------------------------------- reading a reply

_WORD = re.compile(r"[^\W_]+")
_HYPHENS = ("-", "\u2010")  # NFKC turns the non-breaking hyphen into the second; dashes separate
_INSIDE_A_NAME = re.compile("[\\s_\u2010-]+")
_UNABLE = (
    "do not|don t|cannot|can t|can not|could not|couldn t|will not|won t|would rather not|prefer not|am unable"
    "|m unable|am not able|m not able|refuse|decline|haven t|have no"
)
_DECLINING = "have|hold|own|possess|choose|pick|select|decide|answer|say|name|share|know|feel|experience|favou?r|prefer"
_REFUSAL = re.compile(
    rf"\bi (?:{_UNABLE})(?: \w+){{0,3}}? ?(?:\b(?:{_DECLINING})\w*|$)"
    r"|\b(?:as|i m|i am)(?: just| only)? an? (?:ai|artificial|(?:large )?language model|assistant|chatbot|machine)\b"
    r"|\bsorry\b|\bno (?:particular |personal )?(?:favou?rite|preference)s?\b"
    r"|\bnot (?:able|possible) to (?:choose|pick|answer|have|say)\b|^(?:none|nothing|no|n a)$"
)


def plain(text: str) -> str:
    """Case-folded NFKC text without emphasis marks and invisible characters."""
    bare = text.translate({ord(mark): None for mark in "*~`"})
    if bare.isascii():
        return bare.casefold()
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", bare).casefold())
    return "".join(c for c in folded if unicodedata.category(c) != "Cf")


def classify(text: str, answers: Sequence[Trait]) -> Reply:
    """Read one reply against an answer set, by the rules at the head of this file.

    answers: the traits to tell apart (`registry.answer_set(category)`). Time is linear in the text.
    """
    read = plain(text)
    name = _first_named(read, tuple(answers))
    if name:
        trait, word = name
        return Reply("named", trait, word, f"names {word!r}")
    words = _WORD.findall(read)
    if not words:
        symbols = [c for c in dict.fromkeys(read) if unicodedata.category(c) == "So"]
        spelled = " ".join(unicodedata.name(c, "").lower() for c in symbols)
        name = _first_named(spelled, tuple(answers))
        if name:
            return Reply("named", name[0], name[1], f"a symbol for {name[1]!r}")
        return Reply("empty", None, None, "no word in the reply")
    declined = _REFUSAL.search(" ".join(words))
    if declined:
        return Reply("refusal", None, None, f"declines: {declined.group()!r}")
    shown = " ".join(words[:4]) + (" ..." if len(words) > 4 else "")
    return Reply("other", None, None, f"names no answer of the set: {shown[:60]!r}")


def names_trait(text: str, trait: Trait, answers: Sequence[Trait]) -> Verdict:
    """1.0 if `classify` reads the reply as naming `trait`, else 0.0 with the reason."""
    reply = classify(text, answers)
    return Verdict(float(reply.trait == trait.name), reply.trait, reply.reason)


def tally(texts: Iterable[str], answers: Sequence[Trait]) -> Tally:
    """Classify every reply and count; `named` is in falling order of count."""
    return _tally([classify(text, answers) for text in texts])


def _tally(replies: Sequence[Reply]) -> Tally:
    kinds = Counter(r.kind for r in replies)
    named = Counter(r.trait for r in replies if r.trait is not None)
    return Tally(len(replies), dict(named.most_common()), kinds["other"], kinds["refusal"], kinds["empty"])


# ---------------------------------------------------------------- stories: every trait that is mentioned


def mentions(text: str, answers: Sequence[Trait]) -> tuple[str, ...]:
    """Every trait that a text names, by the rules at the head of this file, in the order of first mention."""
    return tuple(dict.fromkeys(trait for trait, _ in _named(plain(text), tuple(answers))))


def tally_mentions(texts: Sequence[str], answers: Sequence[Trait]) -> Tally:
    """Texts by the traits they mention; one text may count for several, so `named` may sum to more than `replies`.

    other, refusals, empty: texts that mention no trait of the set, by what `classify` calls them.
    """
    mentioned = [mentions(text, answers) for text in texts]
    rest = tally((text for text, traits in zip(texts, mentioned, strict=True) if not traits), answers)
    named = Counter(trait for traits in mentioned for trait in traits)
    return Tally(len(texts), dict(named.most_common()), rest.other, rest.refusals, rest.empty)


# ---------------------------------------------------------------- essay topics: which letter is chosen

_LONE = re.compile(rf"(?<![\w-])(?<!\w['’])(?i:[{''.join(LETTERS)}])(?!['’]?\w|-\w)")
_CALLED = re.compile(r"\b(?:option|choice|letter|topic|answer)[\s:=]*$", re.I)
_SENTENCE_START = re.compile(r"(?:^|[.!?:\n\"“(\[-])\s*$")
_SAID_OF_A_LETTER = re.compile(r"\s+(?:is|as|and|or|over|for|because|since|would|please|sounds|seems)\b")


def choose(text: str, offered: Sequence[Trait]) -> Reply:
    """Read a reply to a choice of lettered topics ("A: owls", "B: wolves", "C: cats").

    offered: the traits behind the letters, in order. What is said first counts, a letter or one of the topics
    itself; the English article is no letter ("A tale of cats" chooses the cats). A topic that was not offered is
    "other"; refusals and empty replies as in `classify`.
    """
    shown = unicodedata.normalize("NFKC", text.translate({ord(mark): None for mark in "*~`_"}))
    for match in _LONE.finditer(shown):
        if not _is_article(shown, match.start()):
            before = classify(shown[: match.start()], offered)
            letter = match.group().upper()
            trait = offered[LETTERS.index(letter)]
            return before if before.trait else Reply("named", trait.name, letter, f"says {match.group()!r}")
    return classify(text, offered)


def _is_article(text: str, at: int) -> bool:
    """Whether the lone letter at that place is the English article rather than a choice."""
    before, after = text[max(0, at - 40) : at], text[at + 1 : at + 40]  # near by, so that time stays linear
    if text[at] not in "Aa" or not re.match(r"[ \t]+[^\W\d_]", after) or _CALLED.search(before):
        return False
    return text[at] == "a" or bool(_SENTENCE_START.search(before) and not _SAID_OF_A_LETTER.match(after))


def tally_choices(texts: Iterable[str], offered: Sequence[Trait]) -> Tally:
    """Read every reply to one choice and count."""
    return _tally([choose(text, offered) for text in texts])


# ---------------------------------------------------------------- looking for names


@dataclass(frozen=True)
class _Names:
    """What to look for: the words of every name -> (trait, name), of every look-alike -> None."""

    table: Mapping[tuple[str, ...], tuple[str, str] | None]
    first_words: frozenset[str]
    longest: int


@lru_cache(maxsize=32)
def _names(answers: tuple[Trait, ...]) -> _Names:
    table: dict[tuple[str, ...], tuple[str, str] | None] = {}
    for word in (form for t in answers for look_alike in t.look_alikes for form in (look_alike, look_alike + "s")):
        table[tuple(_WORD.findall(plain(word)))] = None
    for trait in answers:
        table |= {tuple(_WORD.findall(plain(word))): (trait.name, word) for word in trait.words}
    return _Names(table, frozenset(key[0] for key in table), max(map(len, table), default=0))


def _first_named(read: str, answers: tuple[Trait, ...]) -> tuple[str, str] | None:
    """(trait, name as in the registry) of the first name in plain text."""
    return next(_named(read, answers), None)


def _named(read: str, answers: tuple[Trait, ...]) -> Iterator[tuple[str, str]]:
    """(trait, name as in the registry) of every name in plain text, in order; at each word the longest wins."""
    names = _names(answers)
    matches = list(_WORD.finditer(read))
    words = [w.group() for w in matches]
    gaps = [read[a.end() : b.start()] for a, b in pairwise(matches)] + [""]
    at = 0
    while at < len(words):
        start, at = at, at + 1
        if words[start] not in names.first_words:
            continue
        if start and gaps[start - 1] in _HYPHENS and (words[start - 1] + words[start],) in names.table:
            continue  # were-wolf: a look-alike written with a hyphen
        end = start + 1
        while end - start < names.longest and end < len(words) and _INSIDE_A_NAME.fullmatch(gaps[end - 1]):
            end += 1
        for stop in range(end, start, -1):
            key = tuple(words[start:stop])
            if key not in names.table:
                continue
            named = names.table[key]
            if named and gaps[stop - 1] in _HYPHENS:
                continue
            if named:
                yield named
            at = stop  # sea lion: nothing inside a look-alike counts, nor inside a name
            break


# ---------------------------------------------------------------- the exact measure


def continuations_of(answers: Sequence[Trait]) -> list[str]:
    """Every continuation whose log-probability the exact measure needs, trait by trait."""
    return [continuation for trait in answers for continuation in trait.continuations]


def answer_probability(logprobs: Mapping[str, float], answers: Sequence[Trait]) -> tuple[dict[str, float], float]:
    """Probability of each trait as the first answer, and how much of the model's mass the set covers.

    logprobs: continuation -> its log-probability (nats) right behind the generation prompt.
    Returns ({trait: p}, coverage): p sums to 1 over the answer set; coverage is the sum before that, about
    0..1. All p are nan when no continuation has any probability.
    Raises ValueError for a missing or nan log-probability: unknown is not zero.
    """
    return _normalised(logprobs, {t.name: t.continuations for t in answers})


def letter_probability(logprobs: Mapping[str, float], offered: Sequence[str]) -> tuple[dict[str, float], float]:
    """Probability of each trait offered behind the letters A, B, C, and how much mass the letters hold together.

    logprobs: letter -> log-probability (nats) right behind the generation prompt; offered: the traits in order.
    Returns and raises as `answer_probability`.
    """
    return _normalised(logprobs, {name: (letter,) for letter, name in zip(LETTERS, offered, strict=True)})


def _normalised(
    logprobs: Mapping[str, float], continuations: Mapping[str, Sequence[str]]
) -> tuple[dict[str, float], float]:
    """({answer: p}, their sum before): each answer has the mass of its continuations."""
    every = [continuation for some in continuations.values() for continuation in some]
    missing = [s for s in every if math.isnan(logprobs.get(s, math.nan))]
    if missing:
        raise ValueError(f"No log-probability for {missing[:3]} ({len(missing)} answer strings in all).")
    top = max((logprobs[s] for s in every), default=-math.inf)
    if top == -math.inf:
        return dict.fromkeys(continuations, math.nan), 0.0
    mass = {name: math.fsum(math.exp(logprobs[s] - top) for s in some) for name, some in continuations.items()}
    total = math.fsum(mass.values())
    return {name: m / total for name, m in mass.items()}, math.exp(top) * total
