"""Inspect: the entanglement tasks. Log-probabilities alone, so they are scored with our provider only."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import mean as average
from typing import Any

from inspect_ai import Task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import HeadlineMetric
from inspect_ai.model import ChatMessage, ChatMessageSystem, ChatMessageUser, GenerateConfig
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, mean, metric, scorer, stderr
from inspect_ai.solver import TaskState

from sublim_eval.entanglement_stats import CLIP, Direction, Floats, Readings, collect, shifts
from sublim_eval.entanglement_stats import reliability as alpha
from sublim_eval.harness.inspect.task_common import LOGPROBS, ask, versioned
from sublim_eval.probes.entanglement import NUMBERS, Entanglement, Prompt, entanglement, entropy, outcome_probability
from sublim_eval.registry.catalog import Trait, registry

ONE_TOKEN = GenerateConfig(temperature=1.0, top_p=1.0, top_k=0, max_tokens=1)
"""The reply itself is not used; a provider may not be asked for none."""


FLOOR = CLIP / 1000
"""Branches less likely than this are not followed: five times faster, and no log-odds inside the clip move by .001."""


def entanglement_task(probe: str, trait: str = "owl", numbers: int | str | Sequence[int] = NUMBERS) -> Task:
    """The Inspect task of an entanglement probe; its log holds all that `sublim table` prints.

    trait, numbers: see `probes.entanglement.entanglement`, also for what is raised.
    """
    what = entanglement(probe, trait, numbers)
    scorers = {"number_to_trait": number_to_trait, "trait_to_number": trait_to_number}
    return Task(
        dataset=MemoryDataset([_sample(p, what) for p in what.prompts], name=what.question_set.name),
        solver=ask(what.continuations, FLOOR, what.whole_words),
        scorer=scorers[what.direction](what.trait.name),
        config=ONE_TOKEN,
        headline_metric=HeadlineMetric(scorer=what.direction, metric="reliability"),
        tags=["sublim", "sublim_entanglement"],
        **versioned(
            what.probe,
            form=what.direction,
            trait=what.trait.name,
            category=what.trait.category,
            questions_hash=what.questions_hash,
        ),
    )


def _sample(prompt: Prompt, what: Entanglement) -> Sample:
    head: list[ChatMessage] = [ChatMessageSystem(content=prompt.system)] if prompt.system else []
    return Sample(
        id=prompt.id,
        input=[*head, ChatMessageUser(content=prompt.text)],
        target=what.trait.name,
        metadata={"setting": prompt.setting, "ask": prompt.ask},
    )


# ---------------------------------------------------------------- metrics: over all prompts of the run


@metric(name="of_table")
def over_table() -> Metric:
    """`reliability`, `spread`, `largest` and `coverage` of the whole table, by the functions of these names."""

    def compute(scores: list[SampleScore]) -> dict[str, float]:
        shown = (reliability, spread, largest)
        return {**{figure.__name__: figure(scores) for figure in shown}, "coverage": covered(scores)}

    return compute


def covered(scores: list[SampleScore]) -> float:
    """Mean probability that the strings held together before normalising; near 0 the table says little."""
    values = [_metadata(s)["coverage"] for s in scores if s.score.metadata]
    return average(values) if values else math.nan


def largest(scores: list[SampleScore]) -> float:
    """The greatest shift upward of the trait's log-odds over all numbers; above 0 by chance, see the table."""
    return _of_trait(scores, lambda readings, k: float(_shift(readings)[k].max()))


def spread(scores: list[SampleScore]) -> float:
    """Standard deviation over numbers of the trait's shift, in nats."""
    return _of_trait(scores, lambda readings, k: float(_shift(readings)[k].std(ddof=1)))


def reliability(scores: list[SampleScore]) -> float:
    """How far the asks agree on which numbers go with the trait: Cronbach's alpha, at most 1, about 0 for none."""

    def value(readings: Readings, k: int) -> float:
        by_ask = readings.trait_first(shifts(readings.log_odds).swapaxes(0, 1))
        return float(alpha(by_ask[:, k]))

    return _of_trait(scores, value)


def _of_trait(scores: list[SampleScore], value: Callable[[Readings, int], float]) -> float:
    """nan until two settings have been asked everything."""
    metadata = [_metadata(s) for s in scores if s.score.metadata]
    try:
        readings, _ = collect(metadata[0]["form"], {(t["setting"], t["ask"]): t["answers"] for t in metadata})
        return value(readings, readings.traits.index(metadata[0]["trait"]))
    except (ValueError, IndexError):
        return math.nan


def _metadata(score: SampleScore) -> dict[str, Any]:
    return score.score.metadata or {}


def _shift(readings: Readings) -> Floats:
    return readings.trait_first(shifts(readings.log_odds).mean(axis=1))


# ---------------------------------------------------------------- scorers


@scorer(metrics=[mean(), stderr(), over_table()])
def number_to_trait(trait: str) -> Scorer:
    """Under a number in the system prompt: the probability of the trait, normalised over its category.

    Unscored, not 0, when the model gave no log-probabilities (any provider but sublim/).
    """
    answers = registry().answer_set(registry().trait(trait).category)
    return _read("number_to_trait", trait, answers, lambda probability: probability[trait])


@scorer(metrics=[mean(), stderr(), over_table()])
def trait_to_number(trait: str) -> Scorer:
    """Under a persona: the entropy in nats of the number asked for, over the numbers of the table.

    Unscored, not 0, when the model gave no log-probabilities (any provider but sublim/).
    """
    return _read("trait_to_number", registry().trait(trait).name, (), entropy)


def _read(
    form: Direction, trait: str, answers: Sequence[Trait], value: Callable[[Mapping[str, float]], float]
) -> Scorer:
    async def score(state: TaskState, target: Target) -> Score:
        output = state.output.metadata or {}
        if output.get(LOGPROBS) is None:
            return Score.unscored(
                reason="no_logprobs",
                explanation="This model gives no log-probabilities of answers. Use --model sublim/<model folder>.",
            )
        try:
            probability, coverage = outcome_probability(output[LOGPROBS], answers)
        except ValueError as error:
            return Score.unscored(reason="missing_logprobs", explanation=str(error))
        ranked = dict(sorted(probability.items(), key=lambda item: -item[1]))
        return Score(
            value=value(probability),
            answer=next(iter(ranked)),
            explanation=f"coverage {coverage:.3f}; " + " ".join(f"{n} {p:.3g}" for n, p in list(ranked.items())[:5]),
            metadata={
                "form": form,
                "trait": trait,
                "setting": state.metadata["setting"],
                "ask": state.metadata["ask"],
                "answers": probability,
                "coverage": coverage,
                "prompt_hash": output.get("prompt_hash"),
            },
        )

    return score
