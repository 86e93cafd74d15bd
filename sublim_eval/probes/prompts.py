"""One prompt of a probe, as both harnesses ask it. Knows neither of them.

The words, from here to the score file: a probe tells its *answers* apart (the traits of a category, or a conduct's
trait and "plain"). Each answer has *continuations*, the strings that a reply giving it may begin with; a *logprob* is
the natural logarithm of the probability that a reply begins with one of them, and the *probability* of an answer is
made of those. A *reply* is what a model was sampled to say, and a tally counts the answers that replies name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sublim_eval.errors import SublimError
from sublim_eval.files import digest
from sublim_eval.probes.scorers import LETTERS
from sublim_eval.registry.catalog import Trait
from sublim_eval.registry.question_sets import Question


@dataclass(frozen=True)
class Item:
    """One prompt.

    id: unique within a probe; it names the sample in a log.
    question: id of the question that the item counts for; several items may count for one (the essay windows).
    continuations: strings whose log-probability the exact measure needs; empty where there is none.
    offered: the traits behind the letters A, B, C, where the prompt offers a choice.
    """

    id: str
    text: str
    question: str
    continuations: tuple[str, ...] = ()
    offered: tuple[str, ...] = ()


def questions_hash(prompts: Iterable[Item | Question]) -> str:
    """SHA-256 of ids and texts in order; results with different hashes do not compare."""
    return digest([[one.id, one.text] for one in prompts])


LISTED = range(5, 9)
"""How many numbers stand before a question."""

VALUES = range(100, 1000)
"""Which numbers: three digits each, as in the rows of the study."""


def behind_numbers(question: Question, leads: Sequence[Question]) -> str:
    """The question with a number list before it; lead, length and values follow from the question's id.

    leads: wordings that hold {numbers} and {question}. Raises SublimError for one that does not.
    """
    lead = leads[_hashed(question.id, "lead") % len(leads)]
    length = LISTED[_hashed(question.id, "length") % len(LISTED)]
    numbers = [VALUES[_hashed(question.id, n) % len(VALUES)] for n in range(length)]
    return _fill(lead, numbers=", ".join(map(str, numbers)), question=question.text)


def about(prompt: Question, category: str) -> str:
    """A story prompt for a category: {kind}, {a_kind} and {kinds} stand for animal, an animal and animals."""
    article = "an" if category[0] in "aeiou" else "a"
    words = {"kind": category, "a_kind": f"{article} {category}", "kinds": f"{category}s"}
    return _fill(prompt, **{name: word for name, word in words.items() if f"{{{name}}}" in prompt.text})


def windows(ask: Question, answers: Sequence[Trait]) -> list[Item]:
    """One choice of three for every answer: neighbours in an order of the ask's own, the last beside the first.

    Each answer is thus offered once as A, once as B and once as C.
    Raises SublimError for an ask without {options} or fewer answers than letters.
    """
    if len(answers) < len(LETTERS):
        raise SublimError(
            f"Only {len(answers)} traits to choose from, {len(LETTERS)} are needed. Add some to registry.yaml."
        )
    order = sorted(answers, key=lambda trait: _hashed(ask.id, trait.name))
    made = []
    for first in range(len(order)):
        offered = [order[(first + place) % len(order)] for place in range(len(LETTERS))]
        options = "\n".join(f"{letter}: {t.plural}" for letter, t in zip(LETTERS, offered, strict=True))
        names = tuple(t.name for t in offered)
        made.append(Item(f"{ask.id}/w{first + 1:02d}", _fill(ask, options=options), ask.id, LETTERS, names))
    return made


def _fill(template: Question, /, **words: str) -> str:
    """Each {name} replaced by its word; raises SublimError for one that the template does not hold."""
    for name in words:
        if f"{{{name}}}" not in template.text:
            raise SublimError(
                f"The question {template.id!r} does not say where {{{name}}} goes. Write {{{name}}} in it."
            )
    marks = "|".join(words) or "(?!)"
    return re.sub(f"{{({marks})}}", lambda mark: words[mark[1]], template.text)


def _hashed(*what: object) -> int:
    return int.from_bytes(hashlib.sha256("\0".join(map(str, what)).encode()).digest()[:8], "big")
