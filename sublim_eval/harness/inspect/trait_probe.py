"""Inspect: the generic task, which asks about any trait of the registry in the way that fits its kind."""

from __future__ import annotations

from inspect_ai import Task

from sublim_eval.errors import SublimError
from sublim_eval.harness.inspect.conduct import conduct_task
from sublim_eval.harness.inspect.preference import preference_task
from sublim_eval.registry.catalog import registry


def trait_task(
    trait: str, questions: str | None = None, judge: str | None = None, max_tokens: int | None = None
) -> Task:
    """The task of the probe that asks about a trait as such: a favorite's, or the trait's own questions.

    questions: another question set, by name or file. judge, max_tokens: as in `conduct_task`; a favorite takes no
    judge.
    Raises SublimError for an unknown trait, an unusable question file, or a judge where there is nothing to rate.
    """
    known = registry()
    probe = known.probe_of(trait).name
    if known.trait(trait).conduct:
        made = conduct_task(probe, trait, questions, judge, max_tokens=max_tokens)
    elif judge not in (None, "none"):
        raise SublimError(f"{trait!r} is a favorite, which is counted and not rated. Leave out -T judge={judge}.")
    else:
        made = preference_task(probe, trait, questions, max_tokens)
    made.tags = ["sublim"]
    return made
