"""Looks at a growing study: who trains more seeds until a verdict comes is wrong more often than the verdict says.

Each run folder remembers in looks.json which students `sublim compare` read, so that the next look knows its number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sublim_eval.compare.comparison import Comparison
from sublim_eval.errors import SublimError
from sublim_eval.files import digest, read_json, write_json
from sublim_eval.stats import ALPHA

FILE = "looks.json"


@dataclass(frozen=True)
class Look:
    """One set of students that was read. seeds: of the arm with the most; alpha: the error that was allowed.

    arms: the digest of each arm's own students; empty in records that do not know it.
    """

    students: str
    seeds: int
    alpha: float
    date: str
    arms: Mapping[str, str] = field(default_factory=dict)


def spent(number: int) -> float:
    """The error allowed to look number 1, 2, 3 ...: 2.5 %, 0.83 %, 0.42 % ..., together 5 % however many they are."""
    return ALPHA / (number * (number + 1))


def earlier(comparison: Comparison) -> list[Look]:
    """The looks at these run folders that were recorded, the oldest first, each set of students once."""
    looks: dict[str, Look] = {}
    for look in sorted((one for folder in comparison.folders for one in _read(folder)), key=lambda one: one.date):
        looks.setdefault(look.students, look)
    return list(looks.values())


def number(comparison: Comparison) -> int:
    """Which look this one is; students that were read before are no new look."""
    known = [look.students for look in earlier(comparison)]
    students = _students(comparison)
    return known.index(students) + 1 if students in known else len(known) + 1


def number_of_arm(comparison: Comparison, arm: str) -> int:
    """Which look at one arm's own students this is: an arm to which no seed was added is not looked at again.

    A look that does not know its arms counts as one at each of them.
    """
    own = _by_arm(comparison)[arm]
    before = [look for look in earlier(comparison) if look.students != _students(comparison)]
    known = dict.fromkeys(look.arms.get(arm) if look.arms else look.students for look in before)
    seen = [students for students in known if students is not None]
    return seen.index(own) + 1 if own in seen else len(seen) + 1


def record(comparison: Comparison, date: str) -> None:
    """Write this look into every run folder that it read, unless it is there. date: when, ISO 8601.

    Raises SublimError for a folder that cannot be written and for a file that is no record of looks.
    """
    now = Look(_students(comparison), _most(comparison), comparison.alpha, date, _by_arm(comparison))
    for folder in comparison.folders:
        looks = _read(folder)
        if now.students not in {look.students for look in looks}:
            write_json(folder / FILE, {"schema": 1, "looks": [asdict(look) for look in (*looks, now)]})


def sentence(comparison: Comparison, at: int | None) -> str:
    """What a reader has to know of looks. at: the look as which the figures are corrected, None for not at all."""
    before = [look for look in earlier(comparison) if look.students != _students(comparison)]
    if at is not None:
        return _corrected(comparison, before[: at - 1], at)
    if not before:
        return (
            "The first look at these students, and not corrected for further ones: who trains more seeds until a "
            "verdict comes is wrong more often than 5 %. Give --look 1 now and --look 2 then."
        )
    seeds = ", ".join(str(look.seeds) for look in before)
    which = number(comparison)
    return (
        f"Look {which} at a growing study ({seeds}, now {_most(comparison)} seeds an arm), and not corrected for it: a "
        f"verdict that was waited for is wrong more often than 5 %. Give --look {which}."
    )


def _corrected(comparison: Comparison, before: Iterable[Look], at: int) -> str:
    words = f"Look {at} at a growing study: tested at {100 * comparison.alpha:.2g} %, so that all looks, however many, "
    more = sum(max(look.alpha - spent(i), 0) for i, look in enumerate(before, 1))
    if more < 1e-9:
        return words + "err in at most 5 %."
    return (
        f"{words}would err in at most 5 %; earlier ones were less strict, so that it is {100 * (ALPHA + more):.2g} %."
    )


def _students(comparison: Comparison) -> str:
    return digest(_seeds(comparison))


def _by_arm(comparison: Comparison) -> dict[str, str]:
    return {arm: digest(seeds) for arm, seeds in _seeds(comparison).items()}


def _seeds(comparison: Comparison) -> dict[str, list[int]]:
    """Run and arm -> the seeds of its students."""
    seeds: dict[str, set[int]] = {}
    for row in comparison.rows:
        seeds.setdefault(f"{row.run}/{row.arm}", set()).update(row.student_shares)
    return {arm: sorted(some) for arm, some in seeds.items()}


def _most(comparison: Comparison) -> int:
    return max(len(row.student_shares) for row in comparison.rows)


def _read(folder: Path) -> list[Look]:
    path = folder / FILE
    if not path.is_file():
        return []
    value = read_json(path)
    try:
        return [_look(one) for one in value["looks"]]
    except (KeyError, TypeError, ValueError) as error:
        raise SublimError(f"{path} is no record of looks ({type(error).__name__}). Remove it.") from None


def _look(value: Mapping[str, object]) -> Look:
    arms = value.get("arms") or {}
    if not isinstance(arms, Mapping):
        raise TypeError("arms are no mapping")
    by_arm = {str(arm): str(students) for arm, students in arms.items()}
    return Look(
        str(value["students"]), int(str(value["seeds"])), float(str(value["alpha"])), str(value["date"]), by_arm
    )
