"""lm-eval: the functions that the YAML files of the conduct tasks name with `!function`.

lm-eval has no judge. The offline grader rates the replies of the embedded reference models; those of any other model
are kept by `--log_samples` for `sublim score-responses --grader`, and have no judged share until then.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sublim_eval.errors import SublimError
from sublim_eval.harness.lm_eval.documents import logprobs, shared_facts
from sublim_eval.models.model_ref import is_reference
from sublim_eval.probes.conduct import (
    Conduct,
    conduct,
    grading,
    group,
    pair_continuations,
    pair_differences,
    pair_probability,
)
from sublim_eval.probes.judges import Judgement, Rates, offline_judgement, reply_class
from sublim_eval.probes.scorers import tally
from sublim_eval.registry.catalog import Rubric, registry
from sublim_eval.registry.question_sets import Pair

if TYPE_CHECKING:
    from datasets import DatasetDict


def load_questions(
    probe: str,
    trait: str | None = None,
    questions: str | None = None,
    judge: str | None = None,
    max_tokens: int | None = None,
    **model: Any,
) -> DatasetDict:
    """One row a question, with everything needed to read the results again from a samples file.

    questions, judge ("offline" or "none"): from `--metadata '{"judge": "offline"}'`. By default the offline grader
    rates the embedded reference models and nobody rates others.
    max_tokens: room for a reply; `Detailed` heeds it.
    **model: lm-eval passes the whole metadata and the model's arguments on; `pretrained` says which model it is.
    Raises SublimError as `conduct` does, and for judge "grader", which lm-eval cannot ask.
    """
    return _rows(_resolve(probe, trait, questions), _who(probe, trait, questions, judge, model))


def load_pairs(probe: str, trait: str | None = None, questions: str | None = None, **_: Any) -> DatasetDict:
    """The same for the questions that have matched answers; raises SublimError when none has."""
    what = _resolve(probe, trait, questions)
    if not what.paired:
        raise SublimError(
            f"No question of {what.question_set.name} has matched answers to compare. Add `pairs:` to it, or run the "
            "task without _logprob."
        )
    return _rows(what, "none", only_paired=True)


def _resolve(probe: str, trait: str | None, questions: str | None) -> Conduct:
    """The conduct of a probe; a `trait` that is meant for other tasks of the run is none of its business."""
    return conduct(probe, None, questions)


def _who(probe: str, trait: str | None, questions: str | None, judge: str | None, model: dict[str, Any]) -> str:
    rubric = _resolve(probe, trait, questions).trait.rubric
    if rubric is None:
        return "none"
    if judge == "grader":
        raise SublimError(
            "lm-eval cannot ask a grader model. Keep the replies with --log_samples and rate them with "
            "`sublim score-responses --grader`."
        )
    reference = is_reference(str(model.get("pretrained", "")))
    return grading(judge if judge or reference else "none", rubric, reference)


def _rows(what: Conduct, judge: str, only_paired: bool = False) -> DatasetDict:
    from datasets import Dataset, DatasetDict

    shared = {
        **shared_facts(what),
        "situations": len({group(q) for q in what.question_set.questions}),
        "judge": judge,
    }
    rows = [
        {
            "id": q.id,
            "question": q.text,
            "situation": group(q),
            "pairs": [[p.shown, p.plain] for p in q.pairs],
            "continuations": list(pair_continuations(q.pairs)),
            **shared,
        }
        for q in what.question_set.questions
        if q.pairs or not only_paired
    ]
    return DatasetDict({"test": Dataset.from_list(rows)})


def replies(doc: dict[str, Any], results: Sequence[Sequence[str]]) -> dict[str, float]:
    """Per question, shares of its replies: those that show the trait, those that hold a target, and the classes.

    `judged` is left out where nobody rates; `of_rated` is the same share among rated, coherent replies, which is how
    the published study counts (nan where no reply is left; such a question counts nowhere). Beside the whole,
    `judged_SITUATION` and `targets_SITUATION` hold the same for the question's situation alone, where there is more
    than one.
    """
    trait, texts = registry().trait(doc["trait"]), list(results[0])
    rated = trait.rubric is not None and doc["judge"] == "offline"
    rates = Rates.of(_judgement(text, trait.rubric if rated else None) for text in texts)
    metrics: dict[str, float] = {}
    if rated:
        metrics |= _by_situation("judged", rates.share, doc)
        metrics |= {"of_rated": rates.share_of_rated, "incoherent": rates.incoherent / rates.replies}
    if trait.targets:
        metrics |= _by_situation("targets", tally(texts, [trait]).share(trait.name), doc)
    beside = {"refusals": rates.refusal, "code": rates.code, "empty": rates.empty}
    return metrics | {name: count / rates.replies for name, count in beside.items()}


def _judgement(text: str, rubric: Rubric | None) -> Judgement:
    """The offline grader's, or without a rubric the class alone: what is none of its own would need a judge."""
    return offline_judgement(text, rubric) if rubric else reply_class(text) or Judgement("unreadable")


def where_rated(values: Sequence[float]) -> float:
    """Mean over the questions that have a rated, coherent reply; nan where none has."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


def pairs(doc: dict[str, Any], results: Sequence[tuple[float, bool]]) -> dict[str, float]:
    """Per question, over its pairs: mean probability of the answer that shows the trait against the plain one, and
    `log_odds`, the mean difference of their log-probabilities in nats.

    results: (log-likelihood in nats, is it the greedy one) for each of doc["continuations"].
    Raises ValueError for a missing or nan log-likelihood.
    """
    nats, matched = logprobs(doc, results), [Pair(*texts) for texts in doc["pairs"]]
    log_odds = math.fsum(pair_differences(matched, nats)) / len(matched)
    return {"log_odds": log_odds, **_by_situation("pairs", pair_probability(matched, nats), doc)}


def _by_situation(name: str, value: float, doc: dict[str, Any]) -> dict[str, float]:
    alone = {} if doc["situations"] == 1 else {f"{name}_{doc['situation']}": value}
    return {name: value, **alone}
