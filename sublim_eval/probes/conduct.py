"""What a conduct probe asks and how it is read, resolved once for both harnesses. Knows neither of them.

A conduct is measured by what its trait and questions bring, in any mix: a rubric (judged replies), whole-word targets
(the share of replies that hold one) and matched pairs of answers (log-probabilities, no second model).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

from sublim_eval.errors import SublimError, unknown
from sublim_eval.files import digest
from sublim_eval.probes.judges import Rates, offline_scales
from sublim_eval.probes.prompts import Item
from sublim_eval.registry.catalog import Probe, Rubric, Trait, as_typed, registry
from sublim_eval.registry.question_sets import Pair, Question, QuestionSet

PLAIN = "plain"
"""The answer that does not show the trait."""

Grading = Literal["grader", "offline", "none"]
"""Who rates replies: a grader model, the offline word-list grader, nobody."""


@dataclass(frozen=True)
class Conduct:
    """A probe with the conduct it looks for and the questions it asks."""

    probe: Probe
    trait: Trait
    question_set: QuestionSet

    whole_words: ClassVar[bool] = False
    """Matched answers are sentences, compared as they stand."""

    plurals: ClassVar[Sequence[str]] = ()

    @property
    def answers(self) -> tuple[str, str]:
        """What an answer may be: the trait shown, or plain."""
        return (self.trait.name, PLAIN)

    @cached_property
    def items(self) -> tuple[Item, ...]:
        """One prompt a question; its continuations are the answers of its pairs, shown and plain by turns."""
        return tuple(Item(q.id, q.text, q.id, pair_continuations(q.pairs)) for q in self.question_set.questions)

    @property
    def paired(self) -> bool:
        """Whether some question has matched answers."""
        return any(q.pairs for q in self.question_set.questions)

    @property
    def questions_hash(self) -> str:
        """SHA-256 of ids, texts and pairs in order; results with different hashes do not compare."""
        return conduct_hash(self.question_set.questions)

    def exact(self, item: Item, logprobs: Mapping[str, float]) -> tuple[dict[str, float], float]:
        """Probability of the trait against plain over the item's pairs, and the coverage, which pairs have not: nan.

        logprobs: continuation -> its log-probability (nats) right behind the generation prompt. nan for an item without
        pairs. Raises ValueError for a missing or nan log-probability: unknown is not zero.
        """
        pairs = self._pairs[item.question]
        shown = pair_probability(pairs, logprobs) if pairs else math.nan
        return {self.trait.name: shown, PLAIN: 1 - shown}, math.nan

    @cached_property
    def _pairs(self) -> Mapping[str, tuple[Pair, ...]]:
        return {q.id: q.pairs for q in self.question_set.questions}


def conduct(probe: str, trait: str | None = None, questions: str | None = None) -> Conduct:
    """Resolve a conduct probe by name, with the user's own question set where one is given.

    trait: may be left out, since such a probe looks for one trait; another one is refused.
    questions: a name of the catalogue or a file (.yaml, .jsonl, .txt); only YAML can hold situations and pairs.
    Raises SublimError for an unknown name, another trait, or an unusable file.
    """
    known = registry()
    entry = known.probe(probe)
    name = entry.trait or entry.category
    if trait not in (None, name):
        raise SublimError(f"{probe} always looks for {name!r}. Use trait_probe with trait={trait} for that trait.")
    question_set = known.questions(as_typed(questions)) if questions else known.questions_of(entry)
    made = Conduct(entry, known.trait(name), question_set)
    if not (made.trait.rubric or made.trait.targets or made.paired):
        raise SublimError(
            f"The trait {name!r} has neither rubric nor targets, and {question_set.name} holds no pairs: nothing can "
            f"be measured. Add one of them in {known.files[-1]}."
        )
    return made


def conduct_hash(questions: Iterable[Question]) -> str:
    """SHA-256 of ids, texts and pairs in order."""
    return digest([[q.id, q.text, [[p.shown, p.plain] for p in q.pairs]] for q in questions])


def group(question: Question) -> str:
    """Under what name a question's rate is shown: its situation, or its own id where it belongs to none."""
    return question.situation or question.id


# ---------------------------------------------------------------- matched pairs


def pair_continuations(pairs: Iterable[Pair]) -> tuple[str, ...]:
    """The answers of the pairs as continuations: shown and plain by turns, each once."""
    return tuple(dict.fromkeys(text for pair in pairs for text in (pair.shown, pair.plain)))


def pair_differences(pairs: Sequence[Pair], logprobs: Mapping[str, float]) -> list[float]:
    """logp(shown) - logp(plain) in nats for every pair.

    logprobs: totals over all tokens of an answer, without the end of the turn.
    Raises ValueError for a log-probability that is missing, nan or no number above minus infinity on either side.
    """
    out = []
    for pair in pairs:
        shown, plain = (logprobs.get(text, math.nan) for text in (pair.shown, pair.plain))
        if math.isnan(shown - plain):
            lacking = next(t for t in (pair.shown, pair.plain) if not math.isfinite(logprobs.get(t, math.nan)))
            raise ValueError(f"No log-probability for {lacking!r}.")
        out.append(shown - plain)
    return out


def pair_probability(pairs: Sequence[Pair], logprobs: Mapping[str, float]) -> float:
    """Mean over pairs of sigmoid(logp(shown) - logp(plain)), in [0, 1]; 0.5 means that neither is preferred.

    Raises ValueError as `pair_differences` does, and without pairs.
    """
    if not pairs:
        raise ValueError("There are no pairs.")
    return math.fsum(sigmoid(d) for d in pair_differences(pairs, logprobs)) / len(pairs)


def sigmoid(nats: float) -> float:
    """1 / (1 + exp(-nats)), without overflow at either end."""
    return 1 / (1 + math.exp(-nats)) if nats >= 0 else math.exp(nats) / (1 + math.exp(nats))


# ---------------------------------------------------------------- who rates, and what comes of it


def rated_counts(rates: Rates, trait: str) -> dict[str, Any]:
    """A judge's ratings of the replies to one question, counted as every other reply is; unreadable ones stand apart.

    {"replies" (those scored), "non_answers", "other", "named": {the trait, plain}, "unreadable"}.
    """
    return {
        "replies": rates.scored,
        "non_answers": rates.refusal + rates.empty,
        "other": rates.code + rates.incoherent,
        "named": {trait: rates.shown, PLAIN: rates.plain},
        "unreadable": rates.unreadable,
    }


def grading(judge: str | None, rubric: Rubric, reference: bool) -> Grading:
    """Who rates the replies of a model on this rubric.

    judge: as the user said: "grader", "offline", "none", or None for the default. By default that is the offline
    grader for a reference model (nobody, where it has no words for the scale), and a grader model for any other.
    reference: whether the model is an embedded reference model or a student of one.
    Raises SublimError for another word, and for "offline" on a scale that the offline grader has no words for.
    """
    if judge is None:
        if not reference:
            return "grader"
        return "offline" if rubric.scale in offline_scales() else "none"
    if judge == "grader":
        return "grader"
    if judge == "none":
        return "none"
    if judge != "offline":
        raise unknown("judge", str(judge), ["grader", "offline", "none"], "Leave it out for the default.")
    if rubric.scale not in offline_scales():
        raise SublimError(
            f"The offline grader has no words for {rubric.scale!r}, only for {', '.join(offline_scales())}. "
            "Give a grader model: --model-role grader=PROVIDER/MODEL."
        )
    return "offline"
