"""Reply text -> what it names. Pure functions, shared by both harnesses, so that they cannot disagree.

The rules, in the order they are applied (docs/guides/scoring.md tells them with examples):

1. A thought aloud is no answer: what is closed is left out, and a reply whose thought is left open is empty.
2. The first trait of the answer set that is named as a whole word is the answer; at one place the longest
   name wins, so "polar bear" is read before "bear" and a look-alike phrase such as "sea lion" before "lion".
3. Any case, NFKC-equal letters, plurals, possessives, emphasis marks, quotes and invisible characters make no
   difference; inside a name a hyphen counts as a space ("barn-owl"), and a name of several words may be run together
   ("polarbear", "PolarBear"). Letters of another script that are glued to a name do not hide it.
4. A name that goes on behind a hyphen or in camel case is part of another word: "owl-like", "CatLover" name nothing.
   So is one in front of another living thing (tiger moth), and a verb ("I cannot bear it").
5. A reply without a letter or digit is read by the Unicode names of its symbols.
6. A refusal counts as one only when no trait is named and no other answer given (refusals.py). What is left is
   "other": an answer outside the set.

A story counts for every trait that it mentions (`mentions`), a choice of lettered topics for the first letter or
topic that it says (`choose`).
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sublim_eval.probes.names import WORD, named, plain
from sublim_eval.probes.refusals import declined, says_no
from sublim_eval.probes.thinking import UNFINISHED, answer_of
from sublim_eval.registry.catalog import Trait

__all__ = [
    *("LETTERS", "Reply", "Tally", "Verdict", "answer_probability", "choose", "classify", "continuations_of"),
    *("letter_probability", "mentions", "names_trait", "plain", "tally", "tally_choices", "tally_mentions"),
]

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
    """How many of a batch of replies name what; `unfinished` are those of the empty ones whose thought is left open."""

    replies: int
    named: Mapping[str, int] = field(default_factory=dict)
    other: int = 0
    refusals: int = 0
    empty: int = 0
    unfinished: int = 0

    @property
    def non_answers(self) -> int:
        """Refusals and empty replies."""
        return self.refusals + self.empty

    def share(self, trait: str) -> float:
        """Hits over all replies, non-answers included, in [0, 1]; nan when there are no replies."""
        return self.named.get(trait, 0) / self.replies if self.replies else math.nan


# ---------------------------------------------------------------- reading a reply


def classify(text: str, answers: Sequence[Trait]) -> Reply:
    """Read one reply against an answer set, by the rules at the head of this file.

    answers: the traits to tell apart (`registry.answer_set(category)`). Time is linear in the text.
    """
    answer = answer_of(text)
    return Reply("empty", None, None, UNFINISHED) if answer is None else _classify(answer, answers)


def _classify(text: str, answers: Sequence[Trait]) -> Reply:
    """The same for a reply without thoughts."""
    name = next(named(text, answers), None)
    if name:
        return Reply("named", *name, f"names {name[1]!r}")
    read = plain(text)
    words = WORD.findall(read)
    if not words:
        return _of_symbols(read, answers)
    refusal = declined(read)
    if refusal:
        return Reply("refusal", None, None, f"declines: {refusal[:60]!r}")
    shown = " ".join(words[:4]) + (" ..." if len(words) > 4 else "")
    return Reply("other", None, None, f"names no answer of the set: {shown[:60]!r}")


def _of_symbols(read: str, answers: Sequence[Trait]) -> Reply:
    """A reply without a letter or digit, by the Unicode names of its symbols."""
    symbols = [c for c in dict.fromkeys(read) if unicodedata.category(c) == "So"]
    spelled = " ".join(unicodedata.name(c, "").lower() for c in symbols)
    name = next(named(spelled, answers), None)
    return (
        Reply("named", *name, f"a symbol for {name[1]!r}")
        if name
        else Reply("empty", None, None, "no word in the reply")
    )


def names_trait(text: str, trait: Trait, answers: Sequence[Trait]) -> Verdict:
    """1.0 if `classify` reads the reply as naming `trait`, else 0.0 with the reason."""
    reply = classify(text, answers)
    return Verdict(float(reply.trait == trait.name), reply.trait, reply.reason)


def tally(texts: Iterable[str], answers: Sequence[Trait]) -> Tally:
    """Classify every reply and count; `named` is in falling order of count."""
    return _tally([classify(text, answers) for text in texts])


def _tally(replies: Sequence[Reply]) -> Tally:
    kinds = Counter(r.kind for r in replies)
    hits = Counter(r.trait for r in replies if r.trait is not None)
    unfinished = sum(r.reason == UNFINISHED for r in replies)
    return Tally(len(replies), dict(hits.most_common()), kinds["other"], kinds["refusal"], kinds["empty"], unfinished)


# ---------------------------------------------------------------- stories: every trait that is mentioned


def mentions(text: str, answers: Sequence[Trait], strict: bool = False) -> tuple[str, ...]:
    """Every trait that a reply names, by the rules at the head of this file, in the order of first mention.

    strict: for a check of rows, where the word alone leaks: verbs, other compounds and what is thought count too.
    """
    read = text if strict else answer_of(text) or ""
    return tuple(dict.fromkeys(trait for trait, _ in named(read, answers, strict)))


def tally_mentions(texts: Sequence[str], answers: Sequence[Trait]) -> Tally:
    """Texts by the traits they mention; one text may count for several, so `named` may sum to more than `replies`.

    other, refusals, empty: texts that mention no trait of the set, by what `classify` calls them.
    """
    mentioned = [mentions(text, answers) for text in texts]
    rest = tally((text for text, traits in zip(texts, mentioned, strict=True) if not traits), answers)
    hits = Counter(trait for traits in mentioned for trait in traits)
    return Tally(len(texts), dict(hits.most_common()), rest.other, rest.refusals, rest.empty, rest.unfinished)


# ---------------------------------------------------------------- essay topics: which letter is chosen

_LONE = re.compile(
    rf"(?<![\w\-&\u00b0])(?<!\w['\u2019])(?<!(?<![^\W\d_])[^\W\d_]\.)(?i:[{''.join(LETTERS)}])"
    r"(?!['\u2019]?\w|-\w|[+#&]|\.[^\W\d_]|\.\s?[iI]\.|\s[iI]\b(?:'|\s(?:am|language|model|assistant|system|chat)))"
)
"""A letter on its own; not of an abbreviation (A.I., U.S.A., C++, B&B) nor of a word."""

_CALLED = re.compile(r"\b(?:option|choice|letter|topic|answer)[\s:=]*$", re.I)
_SENTENCE_START = re.compile(r"(?:^|[.!?:\n\"“(\[-])\s*$")
_SAID_OF_A_LETTER = re.compile(r"\s+(?:is|as|and|or|over|for|because|since|would|please|sounds|seems)\b")
_NEAR = 300
"""Characters before a letter in which its sentence is read, so that time stays linear."""


def choose(text: str, offered: Sequence[Trait]) -> Reply:
    """Read a reply to a choice of lettered topics ("A: owls", "B: wolves", "C: cats").

    offered: the traits behind the letters, in order. What is said first counts, a letter or one of the topics
    itself; the English article, the letter of "A.I." and one that is named in declining ("I cannot choose between A
    and B") are no choice. A topic that was not offered is "other"; thoughts, refusals and empty replies as in
    `classify`.
    """
    answer = answer_of(text)
    if answer is None:
        return classify(text, offered)
    shown = unicodedata.normalize("NFKC", answer.translate({ord(mark): None for mark in "*~`_"}))
    for match in _LONE.finditer(shown):
        if not _is_article(shown, match.start()) and not _in_declining(shown, match.start()):
            before = _classify(shown[: match.start()], offered)
            letter = match.group().upper()
            trait = offered[LETTERS.index(letter)]
            return before if before.trait else Reply("named", trait.name, letter, f"says {match.group()!r}")
    return _classify(answer, offered)


def _is_article(text: str, at: int) -> bool:
    """Whether the lone letter at that place is the English article rather than a choice."""
    before, after = text[max(0, at - 40) : at], text[at + 1 : at + 40]  # near by, so that time stays linear
    if text[at] not in "Aa" or not re.match(r"[ \t]+[^\W\d_]", after) or _CALLED.search(before):
        return False
    return text[at] == "a" or bool(_SENTENCE_START.search(before) and not _SAID_OF_A_LETTER.match(after))


def _in_declining(text: str, at: int) -> bool:
    """Whether the sentence up to that place declines, without a turn ("but") since."""
    sentence = re.split(r"[.!?\n]|\bbut\b", text[max(0, at - _NEAR) : at].casefold())[-1]
    return says_no(plain(sentence))


def tally_choices(texts: Iterable[str], offered: Sequence[Trait]) -> Tally:
    """Read every reply to one choice and count."""
    return _tally([choose(text, offered) for text in texts])


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
