"""Who is held against whom, and what may not be: every trait arm with its control, base and teachers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sublim_eval.errors import SublimError
from sublim_eval.results import ProbeScores
from sublim_eval.runs import CONTROLS, Arm, Run, Scores

MEASURES = {"probability": "exact first-answer probability", "share": "share of sampled replies"}


@dataclass(frozen=True)
class Case:
    """One trait arm on one probe, before any statistics: the students, and what they are held against."""

    run: Run
    arm: Arm
    trait: str
    students: Mapping[int, ProbeScores]
    controls: Mapping[int, ProbeScores]
    control: str
    untrained: bool
    base: ProbeScores | None
    teachers: Sequence[ProbeScores]

    @property
    def failed(self) -> dict[str, str]:
        """Seed and arm -> why there is no student, for this arm and its control."""
        arms = [self.arm.name] if self.untrained else [self.arm.name, self.control]
        return {f"{arm} seed {seed}": why for arm in arms for seed, why in self.run.failed[arm].items()}

    @property
    def compared(self) -> list[ProbeScores]:
        """Every model whose figures enter the statistics."""
        return [*self.students.values(), *self.controls.values()]


def cases(run: Run) -> Iterator[Case]:
    """Every trait arm of a run on every probe that tells its trait apart; raises SublimError without a control."""
    for arm in run.arms.values():
        students = run.students[arm.name]
        if arm.role in CONTROLS or arm.trait is None:
            continue
        if not students:
            if not run.failed[arm.name]:
                continue  # not among the students that were asked for
            raise SublimError(f"No student of arm {arm.name!r} in {run.name} ran. Give the same `sublim run` again.")
        control, controls = _control(run, arm)
        untrained = controls is None
        for probe in _probes(students, arm.trait):
            base = run.bases.get(arm.base, {}).get(probe)
            if controls is not None:
                against = {
                    seed: _one(scores, probe, f"control {control!r}, seed {seed}") for seed, scores in controls.items()
                }
            else:
                against = {seed: _one(run.bases[arm.base], probe, f"base {arm.base}") for seed in students}
            yield Case(
                run,
                arm,
                arm.trait,
                {seed: _one(scores, probe, f"arm {arm.name!r}, seed {seed}") for seed, scores in students.items()},
                against,
                f"{arm.base}, untrained" if untrained else control,
                untrained,
                base,
                [scores[probe] for scores in run.teachers.get(arm.trait, ()) if probe in scores],
            )


def _control(run: Run, arm: Arm) -> tuple[str, Mapping[int, Scores] | None]:
    """(name, students) of the control on the arm's own base; None for students: that base itself, untrained."""
    able = [a for a in run.arms.values() if a.role in CONTROLS and a.base == arm.base and run.students[a.name]]
    able.sort(key=lambda a: a.name != arm.control)
    if able:
        return able[0].name, run.students[able[0].name]
    if arm.role != "trait" and arm.base in run.bases:
        return "", None
    raise SublimError(
        f"Arm {arm.name!r} in {run.name} has no control student on {arm.base}, so drift cannot be told from the trait. "
        "Add an arm `control: {role: control}` to the recipe and run it again."
    )


def _probes(students: Mapping[int, Scores], trait: str) -> list[str]:
    """Probes that tell the trait apart, in every student's files or in some."""
    able = dict.fromkeys(p for scores in students.values() for p, s in scores.items() if trait in s.answers)
    if not able:
        raise SublimError(
            f"No probe of these runs tells {trait!r} apart. Add one of its category to `probes` in the recipe."
        )
    return list(able)


def _one(scores: Scores, probe: str, who: str) -> ProbeScores:
    if probe not in scores:
        raise SublimError(f"There is no score of {who} on {probe}. Give the same `sublim run` again to score it.")
    return scores[probe]


def refuse_mixed(cases: Sequence[Case]) -> None:
    """Same version and questions across the comparison, same rendered prompts within a row."""
    first: dict[str, ProbeScores] = {}
    for case in cases:
        models = [*case.compared, *([case.base] if case.base else [])]
        for scores in (*models, *case.teachers):
            known = first.setdefault(scores.probe, scores)
            _same(known, scores, "probe version", "version")
            _same(known, scores, "questions", "questions_hash")
            _same(known, scores, "questions", "questions")
            _same(known, scores, "answer set", "answers")
        known = next((m for m in models if m.prompt_hash), models[0])
        for scores in models:
            if scores.prompt_hash:
                _same(known, scores, "rendered prompts", "prompt_hash")


def _same(one: ProbeScores, other: ProbeScores, what: str, field: str) -> None:
    a, b = getattr(one, field), getattr(other, field)
    if a != b:
        shown = f" ({a} and {b})" if field == "version" else ""
        raise SublimError(
            f"{one.model} and {other.model} were scored on {one.probe} with different {what}{shown}; "
            "the difference would not mean anything. Score both again with the same version."
        )


def measure_of(cases: Sequence[Case], wanted: str) -> str:
    """The measure that every model compared has; teachers are shown, not compared."""
    if wanted not in ("auto", *MEASURES):
        raise SublimError(f"Unknown measure {wanted!r}. Choose auto, {' or '.join(MEASURES)}.")
    for measure in MEASURES if wanted == "auto" else [wanted]:
        lacking = sorted(
            {scores.model for case in cases for scores in case.compared if np.isnan(getattr(scores, measure)).any()}
        )
        if not lacking:
            return measure
    raise SublimError(
        f"There is no {MEASURES[measure]} for every question of {', '.join(lacking[:3])}"
        f"{' and others' if len(lacking) > 3 else ''}. Score them again"
        f"{', or choose another measure' if wanted != 'auto' else ''}."
    )
