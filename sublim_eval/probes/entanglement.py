"""What the two entanglement probes ask and how a reading becomes probabilities, once for both harnesses.

number_to_trait: a system prompt puts a number into the model's mind, then the category's held-out questions are asked.
trait_to_number: a trait's persona is the system prompt, then numbers are asked for; the reply's first one counts.

Only numbers of three digits, 100 to 999, are used. Where a tokenizer cuts numbers into digits, "8" begins "87" and
"873", and its probability would hold theirs; among strings of one length none begins another, so the probabilities
are those of different replies under any tokenizer, with no end of turn to be guessed. In a system prompt they are
equally long, too: no number stands out by its number of tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from random import Random

from sublim_eval.entanglement_stats import Direction
from sublim_eval.errors import SublimError
from sublim_eval.files import digest
from sublim_eval.probes.scorers import answer_probability, continuations_of
from sublim_eval.registry.catalog import Probe, Trait, registry
from sublim_eval.registry.question_sets import Question, QuestionSet

LOW, HIGH = 100, 999
"""The numbers: all that have three digits."""

NUMBERS = 40
"""How many numbers unless told otherwise: a first look within seconds."""

SEED = 2507
"""Draws the numbers; one seed for all, so that the same count means the same numbers everywhere."""

NOTHING = ""
"""The setting under which nothing is set."""


@dataclass(frozen=True)
class Prompt:
    """One prompt: `ask` under `setting`, with the log-probabilities of the same continuations each time.

    setting: a number, a trait, or NOTHING. system: the system prompt; '' sends none.
    """

    id: str
    setting: str
    ask: str
    system: str
    text: str


@dataclass(frozen=True)
class Entanglement:
    """A probe with the trait it shows first, the traits and the numbers of the table, and what it asks."""

    probe: Probe
    trait: Trait
    answers: tuple[Trait, ...]
    numbers: tuple[int, ...]
    question_set: QuestionSet

    @property
    def direction(self) -> Direction:
        """Which of both is set and which is read."""
        return "number_to_trait" if self.probe.form == "number_to_trait" else "trait_to_number"

    @property
    def whole_words(self) -> bool:
        """Whether a continuation is a word that ends there: a name is; three digits may begin a longer number."""
        return self.direction == "number_to_trait"

    @cached_property
    def prompts(self) -> tuple[Prompt, ...]:
        """Every ask with nothing set, then under one setting after the other, so that any limit cuts whole settings."""
        return tuple(self._with_number() if self.direction == "number_to_trait" else self._with_persona())

    @cached_property
    def continuations(self) -> list[str]:
        """The strings whose log-probability is needed, the same for every prompt; none begins another."""
        return continuations_of(self.answers) if self.direction == "number_to_trait" else [str(n) for n in self.numbers]

    @property
    def questions_hash(self) -> str:
        """SHA-256 over all prompts, system prompts included."""
        return digest([[p.id, p.system, p.text] for p in self.prompts])

    def exact(self, logprobs: Mapping[str, float]) -> tuple[dict[str, float], float]:
        """See `outcome_probability`."""
        return outcome_probability(logprobs, self.answers if self.direction == "number_to_trait" else ())

    def _with_number(self) -> list[Prompt]:
        """Each system prompt with one held-out question: an ask differs from the next in both."""
        questions = held_out(self.answers, len(self.question_set.questions))
        pairs = list(zip(self.question_set.questions, questions, strict=True))
        plain = [Prompt(f"none-{w.id}-{q.id}", NOTHING, f"{w.id}-{q.id}", w.pairs[0].plain, q.text) for w, q in pairs]
        return plain + [
            Prompt(f"{n}-{w.id}-{q.id}", str(n), f"{w.id}-{q.id}", w.pairs[0].shown.replace("{number}", str(n)), q.text)
            for n in self.numbers
            for w, q in pairs
        ]

    def _with_persona(self) -> list[Prompt]:
        known = registry()
        settings = [(NOTHING, "")] + [(t.name, known.persona(t.name)) for t in self.answers]
        return [
            Prompt(f"{name or 'none'}-{q.id}", name, q.id, system, q.text)
            for name, system in settings
            for q in self.question_set.questions
        ]


def entanglement(probe: str, trait: str = "owl", numbers: int | str | Sequence[int] = NUMBERS) -> Entanglement:
    """Resolve a probe by name.

    trait: decides the category, all of whose traits are measured, and is the one shown first.
    numbers: how many, drawn evenly from 100 to 999 by a fixed seed; or the numbers themselves ([487, 612], "487,612").
    Raises SublimError for an unknown probe or trait, a trait that is no favorite, or numbers that cannot be.
    """
    known = registry()
    entry, chosen = known.probe(probe), known.trait(trait)
    if entry.form not in ("number_to_trait", "trait_to_number"):
        raise SublimError(f"{probe} puts no number beside a trait. Give subliminal_prompting or token_entanglement.")
    answers = known.answer_set(chosen.category)
    if chosen.conduct or len(answers) < 2:
        names = ", ".join(t.name for t in known.traits.values() if not t.conduct)
        raise SublimError(f"{probe} tells favorites of one category apart, and {trait!r} is none. Choose: {names}.")
    return Entanglement(entry, chosen, answers, chosen_numbers(numbers), known.questions(entry.questions))


def outcome_probability(logprobs: Mapping[str, float], answers: Sequence[Trait]) -> tuple[dict[str, float], float]:
    """Probability of each outcome, normalised over them, and what they covered before that.

    logprobs: continuation -> nats. answers: the traits to read off; empty where each is a number of its own.
    All nan when no continuation has any probability. Raises ValueError for a missing or nan log-probability.
    """
    if answers:
        return answer_probability(logprobs, answers)
    missing = [number for number, value in logprobs.items() if math.isnan(value)]
    if missing or not logprobs:
        raise ValueError(f"No log-probability for {missing[:3]} ({len(missing)} numbers in all).")
    top = max(logprobs.values())
    if top == -math.inf:
        return dict.fromkeys(logprobs, math.nan), 0.0
    mass = {number: math.exp(value - top) for number, value in logprobs.items()}
    total = math.fsum(mass.values())
    return {number: m / total for number, m in mass.items()}, math.exp(top) * total


def entropy(probability: Mapping[str, float]) -> float:
    """Entropy in nats of probabilities that sum to 1; nan stays nan."""
    return -math.fsum(p * math.log(p) if p != 0 else 0.0 for p in probability.values())


def held_out(answers: Sequence[Trait], count: int) -> list[Question]:
    """`count` held-out questions of the traits' category, spread evenly over the set: always the same ones."""
    questions = registry().questions(registry().category(answers[0].category).held_out).questions
    return [questions[i * len(questions) // count] for i in range(count)]


def chosen_numbers(numbers: int | str | Sequence[int]) -> tuple[int, ...]:
    """The numbers in rising order: one drawn from each of `numbers` equal stretches of 100..999, or those given.

    Raises SublimError for a count that cannot be, a number without three digits, one given twice, or text.
    """
    size = HIGH - LOW + 1
    if isinstance(numbers, str):
        try:
            listed = [int(part) for part in numbers.split(",")]
        except ValueError:
            raise SublimError(
                f"{numbers!r} is no number. Give a count such as 40, or numbers such as 487,612."
            ) from None
        numbers = listed[0] if len(listed) == 1 else listed
    if isinstance(numbers, int):
        if not 2 <= numbers <= size:
            raise SublimError(f"{numbers} numbers cannot be compared. Give a count from 2 to {size}, or 487,612,...")
        rng = Random(SEED)
        edges = [LOW + size * i // numbers for i in range(numbers + 1)]
        return tuple(rng.randrange(low, high) for low, high in pairwise(edges))
    if any(not isinstance(n, int) or not LOW <= n <= HIGH for n in numbers):
        short = next(n for n in numbers if not isinstance(n, int) or not LOW <= n <= HIGH)
        raise SublimError(f"{short!r} is no number of three digits. Give numbers from {LOW} to {HIGH}.")
    if len(set(numbers)) < len(numbers) or len(numbers) < 2:
        raise SublimError("The numbers are fewer than 2 or hold one twice. Give different numbers, such as 487,612.")
    return tuple(sorted(numbers))
