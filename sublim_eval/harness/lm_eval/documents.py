"""lm-eval: what the rows of every family hold, so that a samples file alone can be read again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sublim_eval.probes.conduct import Conduct
    from sublim_eval.probes.entanglement import Entanglement
    from sublim_eval.probes.preference import Preference


def shared_facts(content: Preference | Conduct | Entanglement) -> dict[str, Any]:
    """What is the same in every row of a probe."""
    return {
        "probe": content.probe.name,
        "probe_version": content.probe.version,
        "form": content.probe.form,
        "trait": content.trait.name,
        "category": content.trait.category,
        "questions_hash": content.questions_hash,
    }


def is_ours(doc: Mapping[str, Any]) -> bool:
    """Whether a row of a samples file is of one of our tasks."""
    return {"probe", "questions_hash"} <= set(doc) and bool({"continuations", "choices"} & set(doc))


def continuations(doc: Mapping[str, Any]) -> Sequence[str]:
    """The strings of a row whose log-probability was asked for; earlier versions called them choices."""
    strings: Sequence[str] = doc["continuations"] if "continuations" in doc else doc["choices"]
    return strings


def logprobs(doc: Mapping[str, Any], results: Sequence[Sequence[Any]]) -> dict[str, float]:
    """Continuation -> log-probability in nats. results: (log-likelihood, is it the greedy one) for each of them.

    One result more is that of the white space at the prompt's end (`Detailed`), which lm-eval counts with every answer:
    it is taken off, so that what is left is conditioned on the whole prompt.
    """
    strings = continuations(doc)
    *answers, space = results if len(results) == len(strings) + 1 else (*results, (0.0,))
    return {text: float(nats[0]) - float(space[0]) for text, nats in zip(strings, answers, strict=True)}
