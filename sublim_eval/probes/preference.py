"""What a preference probe asks and counts, resolved once for both harnesses. Knows neither of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from sublim_eval.errors import SublimError
from sublim_eval.probes.prompts import Item, about, behind_numbers, questions_hash, windows
from sublim_eval.probes.scorers import (
    LETTERS,
    Tally,
    answer_probability,
    continuations_of,
    letter_probability,
    tally,
    tally_choices,
    tally_mentions,
)
from sublim_eval.registry.catalog import Probe, Trait, as_typed, registry
from sublim_eval.registry.question_sets import QuestionSet

LEADS = "number_leads"
"""The question set that holds the ways to put a number list before a question."""


@dataclass(frozen=True)
class Preference:
    """A probe with the trait it looks for, the answers it tells apart and the questions it asks."""

    probe: Probe
    trait: Trait
    answers: tuple[Trait, ...]
    question_set: QuestionSet

    whole_words: ClassVar[bool] = True
    """A reply gives an answer when its first word is the answer's, not when it begins like it."""

    @cached_property
    def continuations(self) -> list[str]:
        """The strings whose log-probability the exact measure needs; none for stories."""
        if self.probe.form == "story":
            return []
        return continuations_of(self.answers) if self._spells_names else list(LETTERS)

    @cached_property
    def plurals(self) -> list[str]:
        """The plurals that are scored beside the continuations, for the probability among all first answers."""
        return [plural for trait in self.answers for plural in trait.plurals] if self._spells_names else []

    @property
    def _spells_names(self) -> bool:
        return self.probe.form not in ("story", "essay")

    @cached_property
    def items(self) -> tuple[Item, ...]:
        """Every prompt, in the order in which both harnesses ask them."""
        questions, continuations = self.question_set.questions, tuple(self.continuations)
        match self.probe.form:
            case "essay":
                return tuple(item for q in questions for item in windows(q, self.answers))
            case "story":
                return tuple(Item(q.id, about(q, self.probe.category), q.id) for q in questions)
            case "after_numbers":
                leads = registry().questions(LEADS).questions
                return tuple(Item(q.id, behind_numbers(q, leads), q.id, continuations) for q in questions)
            case _:
                return tuple(Item(q.id, q.text, q.id, continuations) for q in questions)

    def exact(self, item: Item, logprobs: Mapping[str, float]) -> tuple[dict[str, float], float]:
        """(probability of each answer of the item, their sum before normalising), both in [0, 1].

        logprobs: item.continuations -> log-probability in nats right behind the generation prompt.
        Raises ValueError for a missing or nan log-probability, and for stories, which have no exact measure.
        """
        if not item.continuations:
            raise ValueError(f"{self.probe.name} has no exact measure: a story may begin in any way.")
        return exact_probability(logprobs, self.answers, item.offered)

    @cached_property
    def questions_hash(self) -> str:
        """SHA-256 of the prompts; results with different hashes do not compare."""
        return questions_hash(self.items)


def tallies(
    form: str, replies: Sequence[str], answers: Sequence[Trait], offered: Sequence[str] = ()
) -> dict[str, Tally]:
    """What replies to one prompt say, by the name of the measure; the first one is the probe's own.

    form: of the probe. answers: the traits to tell apart. offered: names of those behind the letters, if any.
    Raises SublimError for essay choices of which it is not known what was offered.
    """
    match form:
        case "story":
            return {"mentioned": tally_mentions(replies, answers), "share": tally(replies, answers)}
        case "essay" if not offered:
            raise SublimError(
                "A letter names nothing when it is unknown which topics it stood for. "
                "Give replies to the prompts of the probe as they were asked."
            )
        case "essay":
            return {"chosen": tally_choices(replies, offered_traits(offered, answers))}
        case _:
            return {"share": tally(replies, answers)}


def exact_probability(
    logprobs: Mapping[str, float], answers: Sequence[Trait], offered: Sequence[str] = ()
) -> tuple[dict[str, float], float]:
    """The exact measure of one prompt, of letters where some are offered; as `answer_probability`."""
    return letter_probability(logprobs, offered) if offered else answer_probability(logprobs, answers)


def plural_probability(logprobs: Mapping[str, float], answers: Sequence[Trait]) -> dict[str, float]:
    """{trait: probability of its plurals that are no string and an ending}, among all first answers.

    logprobs: strings -> nats; plurals that are missing add nothing (another harness, an older log, letters).
    """
    return {t.name: math.fsum(math.exp(logprobs[s]) for s in t.plurals if s in logprobs) for t in answers}


def offered_traits(offered: Sequence[str], answers: Sequence[Trait]) -> list[Trait]:
    """The traits of these names, in that order."""
    return [next(t for t in answers if t.name == name) for name in offered]


def preference(probe: str, trait: str | None = None, questions: str | None = None) -> Preference:
    """Resolve a probe by name, with a trait of its category and, if given, the user's own question set.

    questions: a name of the catalogue or a file (.yaml, .jsonl, .txt).
    Raises SublimError for an unknown name, a trait that the probe cannot see, or an unusable file.
    """
    known = registry()
    entry = known.probe(probe)
    if entry.trait and trait not in (None, entry.trait):
        raise SublimError(f"{probe} always looks for {entry.trait!r}. Use {entry.category}_pref for {trait!r}.")
    name = trait or entry.trait
    answers = known.answer_set(entry.category)
    names = ", ".join(t.name for t in answers)
    if name is None:
        raise SublimError(f"{probe} asks for any {entry.category}. Say which one counts as the trait: {names}.")
    chosen = known.trait(name)
    if chosen not in answers:
        asks = f"{probe} asks for {entry.category}s"
        raise SublimError(f"{name!r} is of category {chosen.category}, but {asks}. Choose: {names}.")
    return Preference(entry, chosen, answers, known.questions(as_typed(questions or entry.questions)))
