"""lm-eval: the functions that the YAML files of the entanglement tasks name with `!function`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sublim_eval.harness.lm_eval.documents import logprobs, shared_facts
from sublim_eval.probes.entanglement import NUMBERS, entanglement, entropy, outcome_probability
from sublim_eval.registry.catalog import registry

if TYPE_CHECKING:
    from datasets import DatasetDict


def load_prompts(probe: str, trait: str = "owl", numbers: int | str | Sequence[int] = NUMBERS, **_: Any) -> DatasetDict:
    """One row a prompt, with everything needed to make the table from a samples file.

    trait, numbers: from `--metadata '{"trait": "oak", "numbers": 900}'`.
    **_: lm-eval passes the whole metadata and the model's arguments on.
    Raises SublimError as `entanglement` does.
    """
    from datasets import Dataset, DatasetDict

    what = entanglement(probe, trait, numbers)
    shared = {**shared_facts(what), "continuations": what.continuations}
    rows = [
        {"id": p.id, "setting": p.setting, "ask": p.ask, "system": p.system, "question": p.text, **shared}
        for p in what.prompts
    ]
    return DatasetDict({"test": Dataset.from_list(rows)})


def number_to_trait(doc: dict[str, Any], results: Sequence[tuple[float, bool]]) -> dict[str, float]:
    """Per prompt: the trait's probability in [0, 1] and the coverage.

    results: (log-likelihood in nats, is it the greedy one) for each of doc["continuations"].
    """
    probability, coverage = read(doc, results)
    return {"probability": probability[doc["trait"]], "coverage": coverage}


def trait_to_number(doc: dict[str, Any], results: Sequence[tuple[float, bool]]) -> dict[str, float]:
    """Per prompt: the entropy of the number in nats and the coverage."""
    probability, coverage = read(doc, results)
    return {"entropy": entropy(probability), "coverage": coverage}


def read(doc: dict[str, Any], results: Sequence[Sequence[float]]) -> tuple[dict[str, float], float]:
    """Probability of each outcome and the coverage, from one row of a samples file or one document."""
    numbers = doc["form"] == "trait_to_number"
    return outcome_probability(logprobs(doc, results), () if numbers else registry().answer_set(doc["category"]))
