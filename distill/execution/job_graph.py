"""The graph of a run: its jobs, which waits for which, the folders that each makes and reads, and how one is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from sublim_eval.registry.experiment import ROWS, SCORES, STUDENTS, TEACHERS, seeded

from .. import pipeline
from ..base_templates import base_label
from ..recipes import Arm, Recipe, SeededArm
from ..recipes.seeded_arm import teacher_name

Job = tuple[str, str, int]
"""(kind, name, seed); kinds: "base" (a model, 0), "teacher" (its folder), "rows" (a source) and "student" (an arm)."""


class Executor(Protocol):
    """Whoever does jobs: the processes of this machine, or the nodes of a cluster."""

    def begin(self, job: Job) -> None:
        """Take a job on; every job that it waits for is done."""

    def done(self) -> list[Job]:
        """Jobs that ended since the last call, none after a few seconds of waiting; raises what went wrong in one."""

    def facts(self) -> dict[str, Any]:
        """What run.json says of them under "machine"."""


def in_words(job: Job) -> str:
    """A job in words."""
    return f"{job[0]} {job[1]}" + (f" seed {job[2]}" if job[2] else "")


def jobs(recipe: Recipe) -> dict[Job, set[Job]]:
    """Every job of a run with the jobs that it waits for, in the order in which they are best begun."""
    graph: dict[Job, set[Job]] = {}
    for (*_, seed), arm in recipe.teachers().items():
        graph["teacher", teacher_name(arm, seed), seed] = set()
    for (source, seed), arm in recipe.sources().items():
        needs: set[Job] = set()
        if arm.taught_by:
            needs.add(("student", arm.taught_by, seed))
        elif arm.trait or arm.writer == "neutral":
            needs.add(_teacher(recipe, arm, seed))
        graph["rows", source, seed] = needs
    for arm in recipe.arms.values():
        for seed in recipe.arm_seeds(arm):
            sources = {arm.source} | ({recipe.clean_source(arm).source} if arm.clean else set())
            needs = {("rows", source, seed) for source in sources}
            if arm.soft and (arm.trait or arm.writer == "neutral"):
                needs.add(_teacher(recipe, arm, seed))
            graph["student", arm.name, seed] = needs
    return graph | {("base", base, 0): set() for base in recipe.bases}


def _teacher(recipe: Recipe, arm: Arm, seed: int) -> Job:
    """The job that makes the teacher of an arm's student seed."""
    own = recipe.teacher_seed(seed)
    return "teacher", teacher_name(arm, own), own


def work(recipe: Recipe, out: Path, job: Job) -> None:
    """Do one job; every part of it is a stage that is skipped when it stands."""
    kind, name, seed = job
    if kind == "teacher":
        pipeline.teacher_of(SeededArm(recipe, teacher_arm(recipe, name, seed), seed, out))
    elif kind == "rows":
        pipeline.make_rows(SeededArm(recipe, recipe.sources()[name, seed], seed, out))
    elif kind == "student":
        pipeline.make_student(SeededArm(recipe, recipe.arms[name], seed, out))
    else:
        pipeline.score_base(recipe, name, out)


def makes(recipe: Recipe, job: Job) -> tuple[str, ...]:
    """The stage folders that a job makes, relative to the run folder, in the order in which it makes them."""
    kind, name, seed = job
    if kind == "teacher":
        return (f"{TEACHERS}/{name}",)
    if kind == "rows":
        return (f"{ROWS}/{seeded(name, seed)}",)
    if kind == "base":
        return (f"{SCORES}/{base_label(name)}",)
    trained = () if recipe.arms[name].in_context else (f"{STUDENTS}/{seeded(name, seed)}",)
    return (*trained, f"{SCORES}/{seeded(name, seed)}")


def reads(recipe: Recipe, job: Job) -> tuple[str, ...]:
    """The stage folders that a job reads of those that other jobs made; nobody reads another's scores."""
    needs = sorted(jobs(recipe)[job])
    return tuple(folder for need in needs for folder in makes(recipe, need) if not folder.startswith(f"{SCORES}/"))


def bases(recipe: Recipe, job: Job) -> set[str]:
    """The bases whose weights a job holds in memory; none for one that computes numbers or asks a host."""
    kind, name, seed = job
    if kind == "base":
        held = {name}
    elif kind == "teacher":
        held = {recipe.teacher_base(teacher_arm(recipe, name, seed))}
    elif kind == "student":
        arm = recipe.arms[name]
        held = {recipe.student_base(arm)} | ({recipe.teacher_base(arm)} if arm.soft else set())
    else:
        arm = recipe.sources()[name, seed]
        if arm.writer == "programmatic" or recipe.rows.remote:
            return set()
        held = {recipe.student_base(recipe.arms[arm.taught_by]) if arm.taught_by else recipe.teacher_base(arm)}
    return set() if recipe.host is not None else held


def tunes(recipe: Recipe, job: Job) -> bool:
    """Whether a job trains weights on this machine."""
    kind, name, _ = job
    if kind == "student":
        return recipe.host is None and not recipe.arms[name].in_context
    return kind == "teacher" and recipe.teacher.by == "finetune"


def teacher_arm(recipe: Recipe, name: str, seed: int) -> Arm:
    """An arm whose rows the teacher of that name writes."""
    return next(a for (*_, s), a in recipe.teachers().items() if s == seed and teacher_name(a, s) == name)
