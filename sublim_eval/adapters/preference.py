"""What a preference probe asks and counts, resolved once for both harnesses. Knows neither of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from sublim_eval.errors import SublimError
from sublim_eval.records import digest
from sublim_eval.registry import Probe, Question, QuestionSet, Trait, as_typed, registry
from sublim_eval.scorers import answer_strings


@dataclass(frozen=True)
class Preference:
    """A probe with the trait it looks for, the answers it tells apart and the questions it asks."""

    probe: Probe
    trait: Trait
    answers: tuple[Trait, ...]
    asked: QuestionSet

    @cached_property
    def strings(self) -> list[str]:
        """The answer strings whose probability the exact measure needs."""
        return answer_strings(self.answers)

    @property
    def questions_hash(self) -> str:
        """SHA-256 of the questions asked."""
        return questions_hash(self.asked.questions)


def questions_hash(questions: Iterable[Question]) -> str:
    """SHA-256 of ids and texts in order; results with different hashes do not compare."""
    return digest([[q.id, q.text] for q in questions])


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
