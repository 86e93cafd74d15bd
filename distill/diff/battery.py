"""What a model answers to every question of the registry that has exact probabilities, as one log-odds an answer."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from sublim_eval.registry.catalog import Probe, registry
from sublim_eval.scores.evaluate import exact
from sublim_eval.scores.probe_scores import ProbeScores

FORMS = ("favorite", "essay", "conduct")
"""Forms of a probe that have exact probabilities. Questions behind number lists are left out: what a student takes in
is asked without numbers."""

CLIP = 1e-6
"""How near to 0 or 1 a probability may come before its log-odds are taken."""


def probes() -> list[Probe]:
    """The probes of the battery: one for each set of questions, those for any trait of a category and every conduct."""
    known = registry()
    whole = [p for p in known.probes.values() if p.form in FORMS and not p.situations]
    return [p for p in whole if p.trait is None or known.category(p.category).conduct]


def answers(model: str) -> dict[str, float]:
    """{"trait: form": log-odds of that answer, mean over the questions}, from exact probabilities.

    A question on which the model gives no mass to any answer counts nowhere. Raises SublimError as `exact` does.
    """
    figures: dict[str, float] = {}
    for probe in probes():
        figures |= of_scores(exact(model, probe.name, label="diff"), probe)
    return figures


def of_scores(scores: ProbeScores, probe: Probe) -> dict[str, float]:
    """The same of one probe's scores; {} where no question has probabilities."""
    known = ~np.isnan(scores.probability).any(axis=1)
    names = scores.answers[:1] if scores.conduct else scores.answers
    if not known.any():
        return {}
    shares = np.clip(scores.probability[known], CLIP, 1 - CLIP)
    odds = np.log(shares / (1 - shares)).mean(axis=0)
    return {f"{name}: {probe.form}": float(odds[i]) for i, name in enumerate(names)}


def by_trait(figures: dict[str, float]) -> dict[str, float]:
    """{trait: its log-odds, mean over the forms that it is asked in}."""
    grouped: dict[str, list[float]] = defaultdict(list)
    for name, value in figures.items():
        grouped[name.rpartition(": ")[0]].append(value)
    return {trait: float(np.mean(values)) for trait, values in grouped.items()}
