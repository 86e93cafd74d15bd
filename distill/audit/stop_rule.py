"""When to stop a student: the evidence of a trait in its weights (training/trait_gauge.py), against control students.

Directions: the probes of every trait that is known, as an audit of the base makes them. Threshold: how far the
strongest of all traits came in students that read rows without any, the base's own and those of neutral teachers, at
their highest point; the rule stops above what one more such student would exceed with a stated chance. It is known
where control students were trained (STUDENTS), and refused elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from sublim_eval.errors import SublimError
from sublim_eval.files import digest, file_digest, locked, read_json

from ..base_templates import weights_hash
from ..recipes import Recipe
from ..stages import once
from ..training.trait_gauge import StopRule, write_gauge

STUDENTS = Path(__file__).with_name("stop_rule.json")
"""The control students that thresholds come from: benchmarks/audit_training.py wrote it."""

POINTS = 20
"""How often a training is looked at."""

FEWEST = 6
"""Control students below which no threshold is stated."""

HOME = Path("runs/audit")
"""Where probes of a base are kept, by audits too."""


@dataclass(frozen=True)
class ControlStudent:
    """A student that read rows without a trait, and the highest evidence of any trait on its way."""

    base: str
    method: str
    rows: str
    seed: int
    learning_rate: float
    steps: int
    highest: float


def make_gauge(base: str, home: Path = HOME) -> Path:
    """The gauge of a base for all traits that a probe can be tuned on; found or made, by one process at a time.

    Raises SublimError for an unknown base, and for a home that cannot be written.
    """
    from .measures.probe_likelihood import folder_of, make_probes, teachable, tuning_of
    from .scoring import Scorer

    tuning, traits = tuning_of(base), teachable()
    folder = folder_of(home, base)
    with locked(folder, wait=True):  # students that train side by side ask at the same time
        probes = make_probes(base, traits, home, tuning)
        files = {name: file_digest(probe / "adapter_model.safetensors") for name, probe in probes.items()}
        inputs = {"base": weights_hash(base), "probes": digest(files)}

        def make(unfinished: Path) -> dict[str, Any]:
            scorer = Scorer(base, tuning, "text")
            ways = {name: scorer.read(probe) for name, probe in probes.items()}
            write_gauge(unfinished / "gauge.safetensors", scorer.start, ways)
            return {"traits": list(ways)}

        once(folder / "gauge", inputs, make)
    return folder / "gauge" / "gauge.safetensors"


def threshold(students: Sequence[ControlStudent], false_stops: float) -> float:
    """What one more control student exceeds with this chance: Student's t for its highest evidence.

    Raises SublimError for fewer than FEWEST students.
    """
    highest = np.array([student.highest for student in students])
    if len(highest) < FEWEST:
        raise SublimError(
            f"{len(highest)} control students are too few for a stop rule. Train at least {FEWEST} without a trait."
        )
    reach = float(special.stdtrit(len(highest) - 1, 1 - false_stops)) * math.sqrt(1 + 1 / len(highest))
    return float(highest.mean() + reach * highest.std(ddof=1))


def known(file: Path = STUDENTS) -> list[ControlStudent]:
    """The packaged control students; [] where there are none."""
    return [ControlStudent(**one) for one in read_json(file)["students"]] if file.is_file() else []


def threshold_for(base: str, method: str, false_stops: float) -> float:
    """The threshold for students of a base that train by a method; raises SublimError where none is known."""
    like = [one for one in known() if (one.base, one.method) == (base, method)]
    if len(like) < FEWEST:
        there = ", ".join(sorted({f"{one.base} by {one.method}" for one in known()})) or "nothing"
        raise SublimError(
            f"No control students of {base} by {method} are known, so no stop rule can be stated (known: {there}). "
            f"Leave out `stop_when_trait`, and audit the rows before: sublim audit ROWS --model {base}."
        )
    return round(threshold(like, false_stops), 4)


def rule_for(base: str, method: str, false_stops: float, home: Path = HOME) -> StopRule:
    """The stop rule for students of a base that train by a method, at a stated share of false stops.

    Tunes the base's probes where they are missing. Raises SublimError where no control students like these are known.
    """
    above = threshold_for(base, method, false_stops)
    return StopRule(str(make_gauge(base, home).resolve()), above, false_stops, POINTS)


def check_rule(recipe: Recipe) -> None:
    """Raises SublimError where a recipe wants a stop rule for students of whom no threshold is known."""
    if recipe.stop_when_trait is None:
        return
    for arm in recipe.arms.values():
        if not arm.in_context:
            method = arm.student.of(recipe.student).method
            threshold_for(recipe.student_base(arm), method, recipe.stop_when_trait)


def as_json(students: Sequence[ControlStudent]) -> dict[str, Any]:
    """What STUDENTS holds."""
    return {"students": [asdict(student) for student in students]}
