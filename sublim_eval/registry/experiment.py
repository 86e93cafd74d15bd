"""The words of an experiment: roles of arms, what tells one arm from another, what others measured, where files lie.

A run folder holds, whoever made it:

    run.json                                the record
    teachers/<trait>[-on-<base>]-s<seed>/   a teacher
    rows/<source>-s<seed>/kept.jsonl        what a teacher wrote and the filter kept
    students/<arm>-s<seed>/                 a student
    scores/<student, teacher or base>/      what a model answered, a file a probe
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sublim_eval.errors import SublimError
from sublim_eval.files import digest

Role = Literal["trait", "control", "other-base", "other-base-control", "variant", "placebo"]
"""Part of an arm in an experiment. variant: a trait arm with something changed. placebo: a further arm without a trait,
held against the control on every trait of the run."""

CONTROLS = ("control", "other-base-control")
"""Roles of arms that went through the same pipeline without a trait."""

RECORD, KEPT = "run.json", "kept.jsonl"
TEACHERS, ROWS, STUDENTS, SCORES = "teachers", "rows", "students", "scores"
"""Folders of a run."""


def seeded(name: str, seed: int) -> str:
    """The name of what was made of a teacher, source or arm with one seed: its folder, and its label in logs.

    Raises SublimError for a name that would lead out of the folder it is put in.
    """
    label = f"{name}-s{seed}"
    if not name or name.startswith(".") or "/" in label or "\\" in label or "\0" in label:
        raise SublimError(f"{name!r} cannot name a folder of a run. Use letters, digits, dots, dashes and underscores.")
    return label


def run_of_student(folder: Path) -> Path | None:
    """The run folder that a student's folder lies in, None for a student outside of any."""
    return folder.parent.parent if folder.parent.name == STUDENTS else None


CHANGING = (
    *("writer", "taught_by", "greedy", "banned", "rows", "clean", "changes"),
    *("soft", "in_context", "student", "student_base", "teacher_base"),
)
"""Settings of an arm that make it another arm than the plain one of its trait. Name, trait and seeds do not."""


def arm_key(arm: Mapping[str, Any]) -> str:
    """What is done otherwise in an arm, as a digest of its settings: 12 hex digits, "" for the plain arm of a trait.

    arm: its settings as run.json keeps them. Two arms of two traits have one key when they are changed alike; what
    they are called, and how their change reads in words, does not count.
    """
    return digest(changed)[:12] if (changed := changes_of(arm)) else ""


def changes_of(arm: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an arm that differ from those of a plain one; of its training those that are given."""
    changed: dict[str, Any] = {}
    for name in CHANGING:
        value = arm.get(name)
        if isinstance(value, Mapping):
            value = {key: given for key, given in value.items() if given is not None}
        if value and (name, value) != ("writer", "model"):
            changed[name] = list(value) if isinstance(value, tuple) else value
    return changed


@dataclass(frozen=True)
class Expected:
    """What others measured for an arm, theirs and not ours: mean share of its trait after and, where told, before.

    fail_below: makes the arm a positive control: with a mean share below it the run as a whole has failed, and that
    is said before any other result is shown.
    """

    share: float
    source: str
    base: float | None = None
    fail_below: float | None = None

    def __post_init__(self) -> None:
        if not all(0 <= x <= 1 for x in (self.share, self.base or 0, self.fail_below or 0)):
            raise ValueError("`share`, `base` and `fail_below` are shares from 0 to 1")
