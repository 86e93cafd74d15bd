"""lm-eval: the functions that the YAML files of the entanglement tasks name with `!function`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sublim_eval.probes.entanglement import NUMBERS, chances, entanglement, entropy
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
    shared = {
        "probe": what.probe.name,
        "probe_version": what.probe.version,
        "form": what.direction,
        "trait": what.trait.name,
        "category": what.trait.category,
        "questions_hash": what.questions_hash,
        "choices": what.strings,
    }
    rows = [
        {"id": p.id, "setting": p.setting, "ask": p.ask, "system": p.system, "question": p.text, **shared}
        for p in what.prompts
    ]
    return DatasetDict({"test": Dataset.from_list(rows)})


def number_to_trait(doc: dict[str, Any], results: Sequence[tuple[float, bool]]) -> dict[str, float]:
    """Per prompt: the trait's probability in [0, 1] and the coverage.

    results: (log-likelihood in nats, is it the greedy one) for each of doc["choices"].
    """
    found, covered = read(doc, results)
    return {"probability": found[doc["trait"]], "coverage": covered}


def trait_to_number(doc: dict[str, Any], results: Sequence[tuple[float, bool]]) -> dict[str, float]:
    """Per prompt: the entropy of the number in nats and the coverage."""
    found, covered = read(doc, results)
    return {"entropy": entropy(found), "coverage": covered}


def read(doc: dict[str, Any], results: Sequence[Sequence[float]]) -> tuple[dict[str, float], float]:
    """Probability of each outcome and the coverage, from one row of a samples file or one document."""
    logprobs = {string: float(result[0]) for string, result in zip(doc["choices"], results, strict=True)}
    numbers = doc["form"] == "trait_to_number"
    return chances(logprobs, () if numbers else registry().answer_set(doc["category"]))
