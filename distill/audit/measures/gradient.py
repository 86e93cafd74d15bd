"""The first step of a student against the displacement of a probe, or of a suspected teacher.

For a small step from the base towards other weights, the log-likelihood ratio of rows is the inner product of their
gradient with that displacement. A probe's displacement is what tuning made of its own gradients, so this is the
alignment of natural gradients. Where norm gains are tuned, one pass forward and one back give the gradient of every row
(row_gradients.py), and any number of probes costs no more; elsewhere it is measured by a small step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sublim_eval.errors import SublimError

from ..row_gradients import gains_of
from ..scoring import Candidate, Scorer

STEP = 0.1
"""Of the way from the base: far below where the ratio bends, far above rounding."""


def candidates(scorer: Scorer, probes: Sequence[Candidate]) -> list[Candidate]:
    """A candidate a probe: the slope towards it, or a small step."""
    towards = _along if gains_of(scorer.model, scorer.moving) else step_towards
    return [towards(scorer, probe) for probe in probes if probe.weights]


def _along(scorer: Scorer, probe: Candidate) -> Candidate:
    weights = probe.weights or {}
    apart = {name: weights[name] - start for name, start in scorer.start.items()}
    return replace(probe, measure="gradient", weights=None, along=apart)


def step_towards(scorer: Scorer, probe: Candidate, step: float = STEP) -> Candidate:
    """The base a part of the way to a probe, whose ratio over `step` is nearly the slope."""
    weights = probe.weights or {}
    nearer = {name: start + step * (weights[name] - start) for name, start in scorer.start.items()}
    return replace(probe, measure="gradient", weights=nearer, step=step)


def suspected(scorer: Scorer, folder: Path) -> Candidate:
    """A teacher whose checkpoint is at hand, as a candidate under its folder's name.

    Raises SublimError for a folder that is no adapter of the weights that the audit tunes.
    """
    try:
        weights = scorer.read(folder)
    except (OSError, ValueError, RuntimeError) as error:
        raise SublimError(
            f"{folder} is no adapter of the weights that probes of {scorer.chat.label} tune ({type(error).__name__}). "
            "Give the folder of a teacher that `sublim run` made on this base."
        ) from None
    return Candidate(folder.name, "teacher", weights)
