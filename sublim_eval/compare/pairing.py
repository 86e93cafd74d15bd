"""Who is held against whom, and what may not be: every trait arm with its control, base and teachers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sublim_eval.compare.run_folder import TRAINED, RecordedArm, Run, Scores
from sublim_eval.errors import SublimError
from sublim_eval.registry.experiment import CONTROLS
from sublim_eval.scores.probe_scores import ProbeScores
from sublim_eval.stats import ENOUGH_SEEDS

MEASURES = {"probability": "exact first-answer probability", "share": "share of sampled replies"}


@dataclass(frozen=True)
class Case:
    """One arm and trait on one probe, before any statistics: the students, and what they are held against.

    intact, intact_controls: students of the arm of which this one is a variant, and that arm's controls, on this one's
    seeds; empty for others. prompts: whether
    all compared models were asked with the same rendered prompts; examples in context differ by design. unlike: in what
    the students were trained otherwise than their controls, in words. left_out: students that have no partner of their
    seed, where there are pairs enough without them.
    """

    run: Run
    arm: RecordedArm
    trait: str
    students: Mapping[int, ProbeScores]
    controls: Mapping[int, ProbeScores]
    control: str
    untrained: bool
    base: ProbeScores | None
    teachers: Sequence[ProbeScores]
    intact: Mapping[int, ProbeScores] = field(default_factory=dict)
    intact_controls: Mapping[int, ProbeScores] = field(default_factory=dict)
    prompts: bool = True
    unlike: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def failed(self) -> dict[str, str]:
        """Seed and arm -> why there is no student, for this arm and its control."""
        arms = [self.arm.name] if self.untrained else [self.arm.name, self.control]
        return {f"{arm} seed {seed}": why for arm in arms for seed, why in self.run.failed[arm].items()}

    @property
    def teachers_made(self) -> int:
        """How many different teachers taught the students, 0 where that is unknown."""
        if self.arm.taught_by:
            return len(_of_seeds(self.run.students.get(self.arm.taught_by, {}), self.arm))
        return self.run.teachers_made.get((self.arm.trait or "", self.arm.teacher_base or self.run.base), 0)

    @property
    def compared(self) -> list[ProbeScores]:
        """Every model whose figures enter the statistics."""
        return [*self.students.values(), *self.controls.values()]


def cases(run: Run) -> Iterator[Case]:
    """Every arm with a trait on every probe that tells it apart; placebos once for every trait of the trait arms.

    Raises SublimError without a control.
    """
    wanted = tuple(dict.fromkeys(arm.trait for arm in run.arms.values() if arm.role == "trait" and arm.trait))
    for arm in run.arms.values():
        traits = wanted if arm.role == "placebo" else (arm.trait,) if arm.trait else ()
        if arm.role in CONTROLS or not traits:
            continue
        if not run.students[arm.name]:
            if not run.failed[arm.name]:
                continue  # not among the students that were asked for
            raise SublimError(f"No student of arm {arm.name!r} in {run.name} ran. Give the same `sublim run` again.")
        for trait in traits:
            yield from _of_trait(run, arm, trait)


def _of_trait(run: Run, arm: RecordedArm, trait: str) -> Iterator[Case]:
    """One arm with its control on every probe that tells one trait apart."""
    students = run.students[arm.name]
    control, controls = _control(run, arm)
    intact = run.students.get(arm.of or "", {})
    theirs = (_control(run, run.arms[arm.of])[1] or {}) if arm.of and intact else {}
    for probe in _probes(students, trait):
        if controls is not None:
            against = {
                seed: _one(scores, probe, f"control {control!r}, seed {seed}")
                for seed, scores in _of_seeds(controls, arm).items()
            }
        else:
            against = {seed: _one(run.bases[arm.base], probe, f"base {arm.base}") for seed in students}
        yield Case(
            run,
            arm,
            trait,
            {seed: _one(scores, probe, f"arm {arm.name!r}, seed {seed}") for seed, scores in students.items()},
            against,
            f"{arm.base}, untrained" if controls is None else control,
            controls is None,
            None if arm.in_context else run.bases.get(arm.base, {}).get(probe),
            [scores[probe] for scores in _teachers(run, arm) if probe in scores],
            {seed: scores[probe] for seed, scores in _of_seeds(intact, arm).items() if probe in scores},
            {seed: scores[probe] for seed, scores in _of_seeds(theirs, arm).items() if probe in scores},
            not arm.in_context,
            tuple(_unlike(run, arm.name, control)) if controls is not None else (),
        )


def _of_seeds(students: Mapping[int, Scores], arm: RecordedArm) -> Mapping[int, Scores]:
    """The students on the seeds that an arm was planned for: it may have fewer than the recipe."""
    return {seed: scores for seed, scores in students.items() if arm.seeds is None or seed in arm.seeds}


def _teachers(run: Run, arm: RecordedArm) -> Sequence[Scores]:
    """Scores of whoever wrote an arm's rows: trait teachers, or the students of the arm that it is taught by."""
    if arm.taught_by:
        return list(_of_seeds(run.students.get(arm.taught_by, {}), arm).values())
    return run.teachers.get((arm.trait, arm.teacher_base or run.base), ()) if arm.trait else ()


def _control(run: Run, arm: RecordedArm) -> tuple[str, Mapping[int, Scores] | None]:
    """(name, students) of the control: the one that the arm names, else a plain one on the same bases.

    None for students: the base itself, untrained.
    """
    able = [a for a in run.arms.values() if a.name != arm.name and _may_control(a, arm) and run.students[a.name]]
    able.sort(key=lambda a: (a.teacher_base != arm.teacher_base, a.name != arm.control))
    if able:
        return able[0].name, run.students[able[0].name]
    if arm.role not in ("trait", "variant") and not arm.in_context and arm.base in run.bases:
        return "", None
    raise SublimError(
        f"Arm {arm.name!r} in {run.name} has no control student on {arm.base}, so drift cannot be told from the trait. "
        "Add an arm `control: {role: control}` to the recipe and run it again."
    )


def _may_control(control: RecordedArm, arm: RecordedArm) -> bool:
    """A control on the student's base that the arm names, or that went the plain way of the arm's own bases."""
    if control.trait is not None or control.base != arm.base or control.in_context != arm.in_context:
        return False
    if control.name == arm.control:
        return arm.role != "other-base" or control.role == "control" or control.teacher_base == arm.teacher_base
    plain = not control.key or control.role == "other-base-control"
    return control.role in CONTROLS and plain and control.teacher_base in (arm.teacher_base, None)


def _unlike(run: Run, arm: str, control: str) -> Iterator[str]:
    """In what the students of an arm were trained otherwise than the controls of their seeds."""
    ours, theirs = run.training.get(arm, {}), run.training.get(control, {})
    for key in TRAINED:
        pairs = [
            (ours[seed][key], theirs[seed][key])
            for seed in ours
            if seed in theirs and key in ours[seed] and key in theirs[seed]
        ]
        unlike = [(a, b) for a, b in pairs if a != b]
        if unlike:
            a, b = unlike[0]
            yield f"{key.replace('_', ' ')} {a}, not {b}, in {len(unlike)} of {len(pairs)} seeds"


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


def pair_up(case: Case) -> Case:
    """The case on the seeds that both arms have, where those are enough; else as it is, to be compared unpaired."""
    common = [seed for seed in case.students if seed in case.controls]
    if list(case.students) == list(case.controls) or len(common) < ENOUGH_SEEDS:
        return case
    arms = ((case.arm.name, case.students), (case.control, case.controls))
    alone = [f"{name} seed {seed}" for name, arm in arms for seed in arm if seed not in common]
    students, controls = ({seed: arm[seed] for seed in common} for _, arm in arms)
    return replace(case, students=students, controls=controls, left_out=tuple(alone))


def refuse_mixed(cases: Sequence[Case]) -> None:
    """Same version and questions across the comparison, same rendered prompts within a row of trained students."""
    first: dict[str, ProbeScores] = {}
    for case in cases:
        models = [*case.compared, *([case.base] if case.base else [])]
        for scores in (*models, *case.teachers, *case.intact.values(), *case.intact_controls.values()):
            known = first.setdefault(scores.probe, scores)
            _same(known, scores, "probe version", "version")
            _same(known, scores, "questions", "questions_hash")
            _same(known, scores, "questions", "questions")
            _same(known, scores, "answer set", "answers")
        known = next((m for m in models if m.prompt_hash), models[0])
        for scores in (*models, *case.intact.values()) if case.prompts else ():
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
    """The measure that every model compared has; teachers are shown, not compared.

    "auto" takes the exact probability, unless the answer set barely covers the first answers of some model and all of
    them have replies to go by.
    """
    if wanted not in ("auto", *MEASURES):
        raise SublimError(f"Unknown measure {wanted!r}. Choose auto, {' or '.join(MEASURES)}.")
    compared = [scores for case in cases for scores in case.compared]
    barely = any(scores.barely_covered for scores in compared)
    by_replies = barely and not any(np.isnan(scores.share).any() for scores in compared)
    order = [*MEASURES][::-1] if by_replies else [*MEASURES]
    for measure in order if wanted == "auto" else [wanted]:
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
