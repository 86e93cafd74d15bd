"""lm-eval: the functions that the YAML files of the preference tasks name with `!function`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from sublim_eval.harness.lm_eval.documents import logprobs, shared_facts
from sublim_eval.probes.preference import exact_probability, preference, tallies
from sublim_eval.registry.catalog import Trait, registry

if TYPE_CHECKING:
    from datasets import DatasetDict


def load_questions(
    probe: str,
    trait: str | None = None,
    questions: str | None = None,
    max_tokens: int | None = None,
    **_: Any,
) -> DatasetDict:
    """One row a prompt, with everything needed to read the results again from a samples file.

    trait, questions: from `metadata` in the YAML or `--metadata '{"trait": "cat", "questions": "mine.txt"}'`.
    max_tokens: room for a reply; `Detailed` heeds it.
    **_: lm-eval passes the whole metadata and the model's arguments on.
    Raises SublimError as `preference` does.
    """
    from datasets import Dataset, DatasetDict

    own = registry().probe(probe).trait
    what = preference(probe, None if own else trait, questions)
    shared = {**shared_facts(what), "continuations": what.continuations}
    rows = [
        {"id": i.id, "question": i.text, "question_id": i.question, "offered": list(i.offered), **shared}
        for i in what.items
    ]
    return DatasetDict({"test": Dataset.from_list(rows)})


def replies(doc: dict[str, Any], results: Sequence[Sequence[str]]) -> dict[str, float | None]:
    """Per prompt, in [0, 1]: the trait's share of the replies, every other trait's, non-answers and other answers.

    The measure is `share`, `mentioned` or `chosen`; beside it stands `share_<trait>` for every other trait of the
    category, None where topics are offered and the trait is not among them.
    """
    counted = tallies(doc["form"], list(results[0]), _answers(doc), doc["offered"])
    metrics: dict[str, float | None] = {}
    for measure, tally in counted.items():
        metrics |= _each(measure, {t.name: tally.share(t.name) for t in _answers(doc)}, doc)
    first = next(iter(counted.values()))
    beside = {"non_answers": first.non_answers, "unfinished": first.unfinished, "other": first.other}
    return metrics | {name: count / first.replies for name, count in beside.items()}


def exact(doc: dict[str, Any], results: Sequence[tuple[float, bool]]) -> dict[str, float | None]:
    """Per prompt, in [0, 1]: the trait's exact probability, every other trait's, and the coverage of the answers.

    `unconditional` is the trait's probability among all first answers, `probability` that among those of the set.
    lm-eval scores how a reply begins ("Cat" takes in "Catfish"), since it has no word ends.

    results: (log-likelihood in nats, is it the greedy one) for each of doc["continuations"]. The measure is
    `probability`, or `chosen_probability` where topics are offered; the rest as in `replies`.
    """
    measure = "chosen_probability" if doc["offered"] else "probability"
    probability, coverage = exact_probability(logprobs(doc, results), _answers(doc), doc["offered"])
    each = _each(measure, probability, doc)
    own = each[measure]
    return {**each, "coverage": coverage, "unconditional": None if own is None else own * coverage}


def where_offered(values: Sequence[float | None]) -> float:
    """Mean over the prompts that offer the trait; nan when none of those asked does (a small --limit)."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else math.nan


def _each(measure: str, rates: Mapping[str, float], doc: dict[str, Any]) -> dict[str, float | None]:
    seen = doc["offered"] or [t.name for t in _answers(doc)]
    known = {t.name: rates[t.name] if t.name in seen else None for t in _answers(doc)}
    own = known.pop(doc["trait"])
    return {measure: own, **{f"{measure}_{name}": rate for name, rate in known.items()}}


def _answers(doc: dict[str, Any]) -> tuple[Trait, ...]:
    return registry().answer_set(doc["category"])
