"""Controls that went the same way: a variant is held against an arm that differs from it in the trait alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from sublim_eval.registry.experiment import CONTROLS

from .settings import Arm

WAY = ("writer", "greedy", "banned", "rows", "changes", "soft", "in_context", "student", "student_base", "teacher_base")
"""What an arm and its control share. `clean` is not among them: a control is clean already."""

TRAINING = ("rows", "soft", "in_context", "student", "student_base")
"""Where they may never differ: the drift that training alone makes would pass for a trait."""


def matched(arms: Mapping[str, Arm]) -> dict[str, Arm]:
    """The arms with a control of its own for every variant that has none that was made alike.

    An arm that names an existing control keeps it when both train alike; ValueError when they do not, when a name
    is missing, or when hops go round in a circle.
    """
    made = dict(arms)
    for arm in sorted(arms.values(), key=lambda a: hops(a, arms)):  # a hop's control is taught by the control before it
        if arm.role in ("variant", "trait", "other-base", "placebo"):
            made[arm.name] = replace(arm, control=_control(arm, made), of=_of(arm, arms))
    for arm in made.values():
        _refuse_unlike(arm, made)
    return made


def hops(arm: Arm, arms: Mapping[str, Arm]) -> int:
    """How many models stand between the base and this arm's student: 1 for a teacher's, 2 for its student's student.

    Raises ValueError when an arm on the way is missing, trains no student, or leads back.
    """
    seen = [arm.name]
    while (taught_by := (arms[seen[-1]] if seen[1:] else arm).taught_by) is not None:
        if taught_by in seen or taught_by not in arms or arms[taught_by].in_context:
            why = "leads back to it" if taught_by in seen else "trains no student or is not there"
            raise ValueError(f"arm {arm.name!r} is taught by {taught_by!r}, which {why}")
        seen.append(taught_by)
    return len(seen)


def _of(arm: Arm, arms: Mapping[str, Arm]) -> str | None:
    """The intact arm of a variant: as named, else the trait arm of its trait, if there is one."""
    if arm.of is not None:
        if arm.of not in arms:
            raise ValueError(f"arm {arm.name!r} is of an arm {arm.of!r} that is not there")
        return arm.of
    plain = (a.name for a in arms.values() if a.role == "trait" and a.trait == arm.trait)
    return next(plain, None) if arm.role == "variant" else None


def _control(arm: Arm, arms: dict[str, Arm]) -> str:
    """The name of its control, which is added to `arms` when none was made like it."""
    if arm.control not in arms:
        raise ValueError(f"arm {arm.name!r} names a control arm {arm.control!r} that is not there")
    if arm.role != "variant" or arm.control != "control":
        return arm.control
    teacher = arms[arm.taught_by].control if arm.taught_by else None
    made = replace(arm, role="control", trait=None, clean=0.0, taught_by=teacher, of=None)
    if teacher is None:  # whoever writes for the recipe's control writes for every control of its variants
        made = replace(made, writer=arms[arm.control].writer)
    for other in arms.values():
        if _alike(other, made) and (other.seeds or 10**9) >= (arm.seeds or 10**9):
            return other.name
    name = _control_name(arm, made, arms)
    arms[name] = replace(made, name=name)
    return name


def _control_name(arm: Arm, made: Arm, arms: Mapping[str, Arm]) -> str:
    """A name that reads as what the control shares with its arm; where it is taken, with every setting of training."""
    words = f"hop from {made.taught_by}" if arm.taught_by else replace(arm, name="x", taught_by=None, clean=0.0).change
    names = (_named(words), _named(", ".join([words, *arm.tweaks])))
    free = (name for name in names if name not in arms or _alike(arms[name], made))
    return next(free, f"{names[-1]}-{arm.key}")


def _alike(control: Arm, made: Arm) -> bool:
    """Whether a control went this way, on however many seeds; one made for fewer gives way to a new one."""
    same = all(getattr(control, key) == getattr(made, key) for key in WAY)
    return control.role in CONTROLS and same and control.taught_by == made.taught_by


def _named(words: str) -> str:
    return "control-" + re.sub(r"[^a-z0-9.]+", "-", words.lower()).strip("-")


def _refuse_unlike(arm: Arm, arms: Mapping[str, Arm]) -> None:
    """ValueError when an arm trains otherwise than the control it names."""
    if arm.role in ("variant", "trait"):
        control = arms[arm.control]
        unlike = [key for key in TRAINING if getattr(arm, key) != getattr(control, key)]
        if unlike:
            raise ValueError(
                f"arm {arm.name!r} does not train like its control {control.name!r} ({', '.join(unlike)}); "
                "leave `control` out and one is made"
            )
