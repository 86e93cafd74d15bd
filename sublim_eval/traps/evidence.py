"""Traps around the verdict: what a student can still do beside its control, and how often the verdict was taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sublim_eval import stats
from sublim_eval.scores.probe_scores import ProbeScores
from sublim_eval.traps.finding import Finding

Facts = Mapping[str, Any]

LOST_COVER = 0.5
"""Of the control's coverage: a student that puts less than this on any answer at all answers otherwise."""

WORTH = 0.05
"""Coverage below which a base does not answer in one word, so that nothing can be lost."""

MORE_NON_ANSWERS = 0.1
"""Share of replies that answer nothing, beyond the control's."""

LOST = 0.02
"""Of a metric between 0 and 1 by which a student lies below its control before it counts."""

ERRORS = 2.0
"""Standard errors by which it lies below."""


def answers_still(students: Sequence[ProbeScores], controls: Sequence[ProbeScores], where: str = "") -> Finding:
    """Whether students of an arm still answer as their controls do: coverage of the exact answers, non-answers."""
    trap = "organism damaged"
    if not students or not controls:
        return Finding(trap, "not checked", "nothing to hold its ability against; add a control arm", where)
    cover, usual = (_mean([float(np.mean(s.coverage)) for s in some]) for some in (students, controls))
    silent, quiet = (_mean([s.non_answer_rate for s in some]) for some in (students, controls))
    seen = []
    if not np.isnan(cover) and usual > WORTH and cover < LOST_COVER * usual:
        seen.append(f"the answers hold {cover:.0%} of the student's first words, {usual:.0%} of the control's")
    if silent - quiet > MORE_NON_ANSWERS:
        seen.append(f"{silent:.0%} of the student's replies answer nothing, {quiet:.0%} of the control's")
    if seen:
        step = "Quote it beside the verdict, and measure both: sublim abilities."
        return Finding(trap, "warning", f"{'; '.join(seen)}. {step}", where)
    if np.isnan(cover) and np.isnan(silent):
        return Finding(trap, "not checked", "no coverage and no replies are known; run `sublim abilities`", where)
    parts = [f"coverage {cover:.0%} (control {usual:.0%})"] if not np.isnan(cover) else []
    parts += [f"non-answers {silent:.0%} (control {quiet:.0%})"] if not np.isnan(silent) else []
    return Finding(trap, "ok", ", ".join(parts), where)


def abilities_kept(students: Sequence[Facts], controls: Sequence[Facts], where: str = "") -> Finding:
    """Whether students do as well as their controls on other people's tasks.

    students, controls: what `sublim abilities` wrote of each model: {"tasks": {task: {metric: {"value", "stderr"}}}}.
    """
    trap = "organism damaged"
    ours, theirs = _metrics(students), _metrics(controls)
    shared = [name for name in ours if name in theirs]
    if not shared:
        return Finding(trap, "not checked", "no abilities of both are on record; run `sublim abilities`", where)
    lower = []
    for name in shared:
        (mean, error), (usual, spread) = ours[name], theirs[name]
        if usual - mean > max(LOST, ERRORS * float(np.hypot(error, spread))):
            lower.append(f"{name} {mean:.3f}, control {usual:.3f}")
    if lower:
        step = "Quote it beside the verdict: a student that lost both was damaged, not taught."
        return Finding(trap, "warning", f"the student can do less: {'; '.join(lower[:3])}. {step}", where)
    name = shared[0]
    return Finding(trap, "ok", f"{name} {ours[name][0]:.3f}, control {theirs[name][0]:.3f}", where)


def _metrics(models: Sequence[Facts]) -> dict[str, tuple[float, float]]:
    """ "task: metric" -> (mean over models, its standard error), of metrics between 0 and 1."""
    values: dict[str, list[tuple[float, float]]] = {}
    for model in models:
        for task, metrics in (model.get("tasks") or {}).items():
            for name, figures in metrics.items():
                value, error = figures.get("value"), figures.get("stderr")
                if isinstance(value, (int, float)) and 0 <= value <= 1:
                    values.setdefault(f"{task}: {name}", []).append((float(value), float(error or 0.0)))
    return {
        name: (_mean([v for v, _ in some]), float(np.sqrt(sum(e**2 for _, e in some))) / len(some))
        for name, some in values.items()
    }


def _mean(values: Sequence[float]) -> float:
    known = [v for v in values if not np.isnan(v)]
    return float(np.mean(known)) if known else float("nan")


def several_looks(looks: object, where: str = "looks.json") -> Finding:
    """Whether a verdict was taken again after seeds were added.

    looks: what `sublim compare` recorded, a list of {"date", "seeds", "alpha"}, perhaps under "looks"; None where there
    is no record. Looks that were paid for (`--look N`) are none of the trap.
    """
    trap = "several looks"
    looks = looks.get("looks") if isinstance(looks, Mapping) else looks
    if looks is None:
        return Finding(trap, "not checked", "no look is on record; `sublim compare` writes them down", where)
    if not isinstance(looks, list) or not all(isinstance(look, Mapping) and "seeds" in look for look in looks):
        return Finding(trap, "not checked", "the record of looks cannot be read; compare the run again", where)
    sizes = list(dict.fromkeys(_seeds(look["seeds"]) for look in looks))
    if len(sizes) > 1 and all(_paid(look, n) for n, look in enumerate(looks, 1)):
        return Finding(trap, "ok", f"{len(looks)} looks, each tested at its part of the 5 %", where)
    if len(sizes) > 1:
        words = f"the verdict was taken {len(sizes)} times, with {', '.join(map(_count, sizes))} seeds"
        step = "False positives add up (3 then 6 seeds: .087 for .05): fix the number beforehand, or say so beside it."
        return Finding(trap, "warning", f"{words}. {step}", where)
    return Finding(trap, "ok", f"{len(looks)} looks at the same seeds" if looks else "nobody has looked yet", where)


def _paid(look: Mapping[str, Any], number: int) -> bool:
    """Whether look `number` was tested at no more than its part of the error (compare/interim_looks.py)."""
    alpha = look.get("alpha")
    return isinstance(alpha, float) and alpha <= stats.ALPHA / (number * (number + 1)) + 1e-12


def _seeds(given: object) -> tuple[str, ...] | int:
    """The seeds of one look, in a form that can be compared; a bare number is how many."""
    if isinstance(given, Mapping):
        return tuple(sorted(f"{arm} {_seeds(seeds)}" for arm, seeds in given.items()))
    if isinstance(given, (list, tuple)):
        return tuple(sorted(map(str, given)))
    return given if isinstance(given, int) else (str(given),)


def _count(seeds: tuple[str, ...] | int) -> str:
    return str(seeds if isinstance(seeds, int) else len(seeds))
