"""Inspect: the preference tasks, their solver, scorers and metrics. Public Inspect API only.

Every scorer reads the log alone, so `inspect score LOG --scorer sublim_eval/share -S trait=cat` counts another
trait without generating again.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from statistics import mean as average
from statistics import stdev
from typing import Any

from inspect_ai import Task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import HeadlineMetric
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, metric, scorer
from inspect_ai.solver import Solver, TaskState, generate

from sublim_eval.harness.inspect.task_common import LOGPROBS, ask, versioned, with_room
from sublim_eval.probes.preference import Preference, exact_probability, plural_probability, preference, tallies
from sublim_eval.probes.prompts import Item
from sublim_eval.registry.catalog import Trait, registry

PINNED = GenerateConfig(temperature=1.0, top_p=1.0, top_k=0, max_tokens=16, num_choices=100)
"""Plain sampling, whatever the model's own generation settings say; 16 tokens hold any one-word answer."""

CONFIGS = {
    "favorite": PINNED,
    "after_numbers": PINNED,
    "story": PINNED.merge(GenerateConfig(max_tokens=200, num_choices=20)),
    "essay": PINNED.merge(GenerateConfig(num_choices=10)),
}
"""How each form of probe is asked: a story needs room, and essay topics come in many prompts."""


def preference_task(
    probe: str, trait: str | None = None, questions: str | None = None, max_tokens: int | None = None
) -> Task:
    """The Inspect task of a preference probe of the registry.

    trait: the answer to count, needed when the probe has none of its own.
    questions: another question set, by name or file.
    max_tokens: room for a reply, its thoughts included, where the form's own is too little.
    Raises SublimError for an unknown or unfitting trait and for an unusable question file.
    """
    what = preference(probe, trait, questions)
    scorers = SCORERS[what.probe.form]
    return Task(
        dataset=MemoryDataset([_sample(item, what.trait) for item in what.items], name=what.question_set.name),
        solver=_asking(what),
        scorer=[scorer(trait=what.trait.name) for scorer in scorers],
        config=with_room(CONFIGS[what.probe.form], max_tokens),
        headline_metric=HeadlineMetric(scorer=scorers[0].__name__, metric="mean"),
        tags=["sublim", "sublim_preference"],
        **versioned(
            what.probe,
            form=what.probe.form,
            trait=what.trait.name,
            category=what.probe.category,
            questions_hash=what.questions_hash,
        ),
    )


def _asking(what: Preference) -> Solver:
    if not what.continuations:
        return generate()
    return ask([*what.continuations, *what.plurals], whole_words=what.whole_words)


def _sample(item: Item, trait: Trait) -> Sample:
    about = {"question": item.question} | ({"offered": list(item.offered)} if item.offered else {})
    return Sample(id=item.id, input=item.text, target=trait.name, metadata=about)


# ---------------------------------------------------------------- from samples to the task's numbers
# Each metric gives several figures: Inspect shows those under their plain names, and a metric under its package's.


@metric(name="of_questions", scores="unreduced")
def over_questions(headline: bool = False) -> Metric:
    """`mean` and `stderr` of the trait's rate over questions, as Inspect's own; each left out where it is unknown.

    headline: the mean stands there as nan all the same, or Inspect would show the next figure as the task's own.
    """

    def compute(scores: list[SampleScore]) -> dict[str, float | None]:
        mean = mean_rate(scores)
        return {"mean": mean if headline else known(mean), "stderr": known(rate_stderr(scores))}

    return compute


@metric(name="answers", scores="unreduced")
def other_answers() -> Metric:
    """The same mean for every other trait of the category, highest first: one run tells all traits."""

    def compute(scores: list[SampleScore]) -> dict[str, float | None]:
        name = _trait(scores)
        names = [t.name for t in registry().answer_set(registry().trait(name).category)] if name else []
        means = {n: average(rates) for n in names if n != name and (rates := _rates(scores, n))}
        shown: dict[str, float | None] = {n: means[n] for n in sorted(means, key=lambda n: -means[n])}
        return shown or {"answers": None}  # Inspect shows nan for an empty mapping, nothing for None

    return compute


@metric(name="reply_counts", scores="unreduced")
def reply_counts() -> Metric:
    """How many `replies` were counted over all questions, epochs and choices, and how many of them are what.

    `non_answers` declined or were empty, `unfinished` ones among them left a thought open (more `max_tokens` let it
    end), `other` named nothing of the answer set.
    """

    def compute(scores: list[SampleScore]) -> dict[str, float]:
        return {key: float(sum(_metadata(s).get(key, 0) for s in scores)) for key in REPLY_COUNTS}

    return compute


REPLY_COUNTS = ("replies", "non_answers", "unfinished", "other")


@metric(name="of_first_answers", scores="unreduced")
def first_answers() -> Metric:
    """How far the exact probability may be believed: `coverage` and `unconditional`; left out where unknown."""

    def compute(scores: list[SampleScore]) -> dict[str, float | None]:
        return {"coverage": known(coverage(scores)), "unconditional": known(of_all_answers(scores))}

    return compute


def mean_rate(scores: list[SampleScore]) -> float:
    """Mean over questions of the trait's rate: of replies or of probability, epochs and choices of a question pooled.

    Where topics are offered, only the prompts that offer the trait count. nan where nothing is known.
    """
    rates = _rates(scores, _trait(scores))
    return average(rates) if rates else math.nan


def rate_stderr(scores: list[SampleScore]) -> float:
    """Standard error of `mean_rate` over questions; nan below two. It says nothing about other seeds."""
    rates = _rates(scores, _trait(scores))
    return stdev(rates) / math.sqrt(len(rates)) if len(rates) > 1 else math.nan


def coverage(scores: list[SampleScore]) -> float:
    """Mean over prompts of the share of first answers that the answer set covers; nan where unknown.

    Below scores.probe_scores.COVERED the exact probability speaks of too few of them: go by the share of replies.
    """
    values = [_metadata(s)["coverage"] for s in scores if _metadata(s)]
    return average(values) if values else math.nan


def of_all_answers(scores: list[SampleScore]) -> float:
    """Mean over questions of the trait's probability among all first answers, those outside the answer set included."""
    rates = _rates([s for s in scores if _metadata(s)], _trait(scores), over_all=True)
    return average(rates) if rates else math.nan


def known(value: float) -> float | None:
    """The value; None, which Inspect leaves out, for nan."""
    return None if math.isnan(value) else value


def _metadata(score: SampleScore) -> Mapping[str, Any]:
    return score.score.metadata or {}


def _trait(scores: list[SampleScore]) -> str:
    return next((str(_metadata(s)["trait"]) for s in scores), "")


def _rates(scores: list[SampleScore], trait: str, over_all: bool = False) -> list[float]:
    """The trait's rate in each question: hits / replies, or mean probability; windows that lack it do not count.

    over_all: the probability among all first answers rather than among those of the set.
    """
    pooled: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for score in scores:
        metadata = _metadata(score)
        if trait not in metadata.get("offered", (trait,)):
            continue
        counted = "named" in metadata
        question = pooled[metadata.get("question", str(score.sample_id))]
        question[0] += metadata["named"].get(trait, 0) if counted else _chance(metadata, trait, over_all)
        question[1] += metadata["replies"] if counted else 1
    return [part / whole for part, whole in pooled.values() if whole]  # none scored: unknown, not 0


def _chance(metadata: Mapping[str, Any], trait: str, over_all: bool) -> float:
    chance: float = metadata["answers"][trait]
    return chance * metadata["coverage"] + metadata.get("plurals", {}).get(trait, 0.0) if over_all else chance


def _window(state: TaskState) -> dict[str, Any]:
    """What a window of topics is: the question it counts for and the traits offered; nothing for other prompts."""
    offered = (state.metadata or {}).get("offered")
    return {"question": state.metadata["question"], "offered": offered} if offered else {}


# ---------------------------------------------------------------- sampled replies

COUNTED = [over_questions(headline=True), other_answers(), reply_counts()]
"""What is told of sampled replies."""


@scorer(metrics=COUNTED)
def share(trait: str) -> Scorer:
    """The share of a question's replies that name the trait first, in [0, 1]; non-answers are counted beside it.

    trait: a name of the registry; replies are told apart over all traits of its category.
    """
    return _counting(trait, "favorite")


@scorer(metrics=COUNTED)
def mentioned(trait: str) -> Scorer:
    """The share of a prompt's stories that mention the trait anywhere, in [0, 1].

    trait: a name of the registry; a story counts for every trait of the category that it mentions.
    """
    return _counting(trait, "story")


@scorer(metrics=COUNTED)
def chosen(trait: str) -> Scorer:
    """The share of replies that choose the trait's letter, in [0, 1]; 0 where it is not offered.

    trait: a name of the registry. The mean is over the prompts that offer it, so chance is one in three.
    """
    return _counting(trait, "essay")


def _counting(trait: str, form: str) -> Scorer:
    answers = registry().answer_set(registry().trait(trait).category)

    async def score(state: TaskState, target: Target) -> Score:
        window = _window(state)
        texts = [choice.message.text for choice in state.output.choices]
        counts = next(iter(tallies(form, texts, answers, window.get("offered", ())).values()))
        named = " ".join(f"{name} {n}" for name, n in counts.named.items())
        return Score(
            value=counts.share(trait),
            answer=next(iter(counts.named), None),
            explanation=f"{counts.replies} replies: {named or 'no answer of the set'}; "
            f"other {counts.other}, refusals {counts.refusals}, empty {counts.empty}"
            + (f" ({counts.unfinished} with a thought left open: give more max_tokens)" if counts.unfinished else ""),
            metadata={
                "trait": trait,
                "replies": counts.replies,
                "hits": counts.named.get(trait, 0),
                "non_answers": counts.non_answers,
                "other": counts.other,
                "unfinished": counts.unfinished,
                "named": dict(counts.named),
                **window,
            },
        )

    return score


# ---------------------------------------------------------------- exact probabilities

EXACT = [over_questions(), first_answers(), other_answers()]
"""What is told of log-probabilities."""


@scorer(metrics=EXACT)
def probability(trait: str) -> Scorer:
    """The exact probability of the trait as first answer, normalised over the answers of its category.

    Unscored, not 0, when the model gave no log-probabilities (any provider but sublim/) or none for some answer.
    """
    return _exactly(trait)


@scorer(metrics=EXACT)
def chosen_probability(trait: str) -> Scorer:
    """The exact probability of the trait's letter, normalised over A, B and C; 0 where it is not offered.

    The mean is over the prompts that offer it, so chance is one in three. Unscored as in `probability`.
    """
    return _exactly(trait)


def _exactly(trait: str) -> Scorer:
    answers = registry().answer_set(registry().trait(trait).category)

    async def score(state: TaskState, target: Target) -> Score:
        logprobs = (state.output.metadata or {}).get(LOGPROBS)
        if logprobs is None:
            return Score.unscored(
                reason="no_logprobs",
                explanation="This model gives no log-probabilities of answers. Use --model sublim/<model folder>.",
            )
        window = _window(state)
        try:
            probability, coverage = exact_probability(logprobs, answers, window.get("offered", ()))
        except ValueError as error:
            return Score.unscored(reason="missing_logprobs", explanation=str(error))
        ranked = dict(sorted(probability.items(), key=lambda item: -item[1]))
        return Score(
            value=probability.get(trait, 0.0),
            answer=next(iter(ranked)),
            explanation=f"coverage {coverage:.3f}; " + " ".join(f"{n} {p:.3f}" for n, p in list(ranked.items())[:5]),
            metadata={
                "trait": trait,
                "answers": ranked,
                "coverage": coverage,
                "plurals": {} if window else plural_probability(logprobs, answers),
                "prompt_hash": (state.output.metadata or {}).get("prompt_hash"),
                **window,
            },
        )

    return score


SCORERS = {
    "favorite": (share, probability),
    "after_numbers": (share, probability),
    "story": (mentioned, share),
    "essay": (chosen, chosen_probability),
}
"""The scorers of each form; the first one gives the task's headline."""
