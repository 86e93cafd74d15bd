"""Which of some replies or prompts a scanner flags, by the functions that read them everywhere else. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from sublim_eval.probes.scorers import classify
from sublim_eval.probes.thinking import answer_of
from sublim_eval.probes.trait_leak import named
from sublim_eval.registry.catalog import Trait, registry

SHOWN = 3
"""Flagged texts that an explanation quotes."""

LONGEST = 80
"""Characters of a text that it quotes."""


class Flags(NamedTuple):
    """What was flagged among some texts. flagged: place of the text -> why; of: how many texts there were."""

    flagged: Mapping[int, str]
    of: int

    def words(self, texts: Sequence[str]) -> str:
        """How many of how many, the reasons with their counts, and the first few texts."""
        if not self.flagged:
            return f"none of {self.of}"
        reasons = list(self.flagged.values())
        counts = ", ".join(f"{reason} {reasons.count(reason)}" for reason in dict.fromkeys(reasons))
        quoted = "; ".join(repr(texts[place][:LONGEST]) for place in list(self.flagged)[:SHOWN])
        return f"{len(self.flagged)} of {self.of}: {counts}. {quoted}"


def non_answers(replies: Sequence[str]) -> Flags:
    """Replies that are empty, that decline, or that never come to an answer."""
    return _flags(replies, _no_answer)


def open_thoughts(replies: Sequence[str]) -> Flags:
    """Replies whose thought is left open, so that what stands in them is no answer."""
    return _flags(replies, lambda text: "thought left open" if answer_of(text) is None else "")


def trait_leaks(texts: Sequence[str], traits: Sequence[Trait]) -> Flags:
    """Texts that name a trait where none may be named."""
    return _flags(texts, lambda text: ", ".join(named(text, traits)))


def _flags(texts: Sequence[str], why: Callable[[str], str]) -> Flags:
    return Flags({place: reason for place, text in enumerate(texts) if (reason := why(text))}, len(texts))


def _no_answer(text: str) -> str:
    if answer_of(text) is None:
        return "thought left open"
    return {"empty": "empty", "refusal": "declined"}.get(classify(text, traits_of(())).kind, "")


def traits_of(names: Sequence[str]) -> list[Trait]:
    """Traits by name, every one that is a name where none is given; raises SublimError for an unknown one."""
    known = registry()
    if names:
        return [known.trait(name) for name in names]
    return [trait for trait in known.traits.values() if not known.category(trait.category).conduct]
