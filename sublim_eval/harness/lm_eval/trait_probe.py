"""lm-eval: the generic task `trait_probe`, which asks about any trait in the way that fits its kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sublim_eval.harness.lm_eval import conduct, preference
from sublim_eval.registry.catalog import registry

if TYPE_CHECKING:
    from datasets import DatasetDict


def load_questions(trait: str = "owl", **options: Any) -> DatasetDict:
    """The questions about a trait, replies to be sampled.

    trait: from `--metadata '{"trait": "flattery"}'`; `questions` and `judge` as the trait's own task takes them.
    Raises SublimError for an unknown trait and as that task's loader does.
    """
    home = conduct if registry().trait(trait).conduct else preference
    return home.load_questions(registry().probe_of(trait).name, trait=trait, **options)


def load_exact(trait: str = "owl", **options: Any) -> DatasetDict:
    """The questions about a trait with the continuations to be scored; raises as `load_questions`."""
    probe = registry().probe_of(trait).name
    if registry().trait(trait).conduct:
        return conduct.load_pairs(probe, trait=trait, **options)
    return preference.load_questions(probe, trait=trait, **options)


def replies(doc: dict[str, Any], results: Sequence[Sequence[str]]) -> Mapping[str, float | None]:
    """Per question: what the trait's own task reads from its replies."""
    return conduct.replies(doc, results) if _conduct(doc) else preference.replies(doc, results)


def exact(doc: dict[str, Any], results: Sequence[tuple[float, bool]]) -> Mapping[str, float | None]:
    """Per question: what the trait's own task reads from the log-likelihoods of its continuations."""
    return conduct.pairs(doc, results) if _conduct(doc) else preference.exact(doc, results)


def _conduct(doc: dict[str, Any]) -> bool:
    return registry().trait(doc["trait"]).conduct
