"""What Inspect tells us while it runs: which epoch is asked, and that a local folder needs no second load."""

from __future__ import annotations

from collections import Counter
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inspect_ai.hooks import Hooks, SampleAttemptStart, TaskStart, hooks
from inspect_ai.model import ModelInfo, set_model_info


@dataclass
class Attempt:
    """One attempt at one sample: its eval, its epoch (from 1), and how often each question was asked in it."""

    eval_id: str
    epoch: int
    times: Counter[Any] = field(default_factory=Counter)


ATTEMPT: ContextVar[Attempt | None] = ContextVar("sublim_attempt", default=None)
"""The attempt in whose course we are called; None outside an eval."""


@hooks(name="sublim", description="New draws in every epoch; a local hf/ folder is loaded once")
class SublimHooks(Hooks):
    """One hook for both, since Inspect prints a line for each."""

    async def on_sample_attempt_start(self, data: SampleAttemptStart) -> None:
        """Note eval and epoch: epochs of a question must not repeat each other's draws, but a second run must."""
        ATTEMPT.set(Attempt(data.eval_id, data.summary.epoch))

    async def on_task_start(self, data: TaskStart) -> None:
        """Register the name of a model that is a local hf/ folder; every other model is left alone.

        Inspect 0.3.285 constructs a model that it has no information on a second time, only to ask its name:
        twice the memory, twice the loading. Telling it the name beforehand avoids this.
        """
        provider, _, folder = data.spec.model.partition("/")
        if provider == "hf" and Path(folder).is_dir():
            set_model_info(data.spec.model, ModelInfo(organization="local", model=data.spec.model))
