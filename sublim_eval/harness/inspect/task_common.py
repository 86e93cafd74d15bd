"""Inspect: what tasks of every family share: their version and metadata, and one call with log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inspect_ai.model import GenerateConfig
from inspect_ai.solver import Generate, Solver, TaskState, solver

from sublim_eval.probes.thinking import tokens_of
from sublim_eval.registry.catalog import Probe, registry

OUR_PROVIDER = "sublim"
"""The provider that scores continuations; others would send `extra_body` on to a server."""

LOGPROBS = "continuation_logprobs"
"""Where the output's metadata keeps them: a list from the provider, continuation -> nats behind the solver."""


def versioned(probe: Probe, *, form: str, trait: str, category: str, questions_hash: str) -> dict[str, Any]:
    """`version` and `metadata` of the task of a probe: what a log says of the task that wrote it."""
    number, interface = probe.version.split("-")
    return {
        "version": int(number),
        "metadata": {
            "probe": probe.name,
            "probe_version": probe.version,
            "form": form,
            "trait": trait,
            "category": category,
            "questions_hash": questions_hash,
            "registry_files": [str(file) for file in registry().files],
            "full_task_version": probe.version,
            "task_comparability_version": int(number),
            "task_interface_version": interface,
        },
    }


def with_room(config: GenerateConfig, max_tokens: int | None) -> GenerateConfig:
    """A copy of how a probe samples, with room for this many tokens a reply where a number is given.

    Raises SublimError for anything but a whole number above 0.
    """
    if max_tokens is None:
        return config.model_copy()
    return config.merge(GenerateConfig(max_tokens=tokens_of(max_tokens)))


@solver
def ask(continuations: Sequence[str], floor: float | None = None, whole_words: bool = False) -> Solver:
    """One generate call; with our provider it also brings the log-probability of every continuation.

    floor: those less likely than it are not followed to their end (the provider's own where None).
    whole_words: as words that end there, in the plural or not.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        return await ask_once(state, generate, continuations, floor, whole_words)

    return solve


async def ask_once(
    state: TaskState,
    generate: Generate,
    continuations: Sequence[str],
    floor: float | None = None,
    whole_words: bool = False,
) -> TaskState:
    """The same as a step of another solver; no log-probabilities without continuations, or from another provider."""
    body: dict[str, Any] = {"continuations": list(continuations)}
    body |= ({} if floor is None else {"floor": floor}) | ({"whole_words": True} if whole_words else {})
    ours = continuations and state.model.api == OUR_PROVIDER
    state = await (generate(state, extra_body=body) if ours else generate(state))
    metadata = dict(state.output.metadata or {})
    if continuations and metadata.get(LOGPROBS) is not None:
        # Names come first: a model that knows these alone is believed, and what is missing of them its scorer misses.
        named = dict(zip(continuations, metadata[LOGPROBS], strict=False))
        state.output.metadata = metadata | {LOGPROBS: named}
    return state
