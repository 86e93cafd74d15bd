"""Two models on the same questions, without seeds: their difference over questions, which says nothing of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sublim_eval import stats
from sublim_eval.compare.compare import check_delta, compare_cases
from sublim_eval.compare.comparison import Comparison
from sublim_eval.compare.pairing import cases, measure_of
from sublim_eval.compare.run_folder import RecordedArm, Run
from sublim_eval.errors import SublimError
from sublim_eval.registry.catalog import registry
from sublim_eval.scores.probe_scores import ProbeScores


def compare_models(
    one: Sequence[ProbeScores],
    other: Sequence[ProbeScores],
    *,
    trait: str | None = None,
    delta: float = stats.DELTA,
    measure: str = "auto",
    alpha: float = stats.ALPHA,
) -> Comparison:
    """The first model against the second on every probe that both were asked, paired question by question.

    trait: whose share is compared; the probe's own where it has one. Raises SublimError where they share no probe,
    where no trait is named, and for whatever may not be compared.
    """
    check_delta(delta)
    ours, theirs = ({scores.probe: scores for scores in model} for model in (one, other))
    common = [probe for probe in ours if probe in theirs]
    if not common:
        raise SublimError(
            f"The two have no probe in common: {', '.join(ours)} and {', '.join(theirs)}. Ask both the same questions."
        )
    runs = [_run(probe, ours[probe], theirs[probe], trait or _own(probe)) for probe in common]
    lined_up = [case for run in runs for case in cases(run)]
    return compare_cases(lined_up, measure_of(lined_up, measure), delta, alpha=alpha)


def _own(probe: str) -> str:
    known = registry().probes.get(probe)
    if known is None or known.trait is None:
        raise SublimError(f"{probe} asks for no one trait. Name the one to compare with --trait.")
    return known.trait


def _run(probe: str, ours: ProbeScores, theirs: ProbeScores, trait: str) -> Run:
    names = (ours.model or "first", theirs.model or "second")
    first, second = names if names[0] != names[1] else (f"{names[0]} (first)", f"{names[1]} (second)")
    arms = {first: RecordedArm(first, "trait", trait, "", second), second: RecordedArm(second, "control", None, "", "")}
    students: Mapping[str, Mapping[int, Mapping[str, ProbeScores]]] = {
        first: {1: {probe: ours}},
        second: {1: {probe: theirs}},
    }
    return Run(probe, (), arms, students, {name: {} for name in arms}, {}, {})
