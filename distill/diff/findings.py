"""What a student took in, unasked: its answers and activations less its base's, ranked, with control students as null.

No judge and no list of suspects: every answer of the registry is a candidate, and every p is corrected for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sublim_eval.errors import SublimError
from sublim_eval.files import read_json
from sublim_eval.models.model_ref import resolve
from sublim_eval.registry.catalog import registry
from sublim_eval.registry.experiment import CONTROLS, RECORD, run_of_student
from sublim_eval.stats import holm

from ..audit.stop_rule import HOME
from . import battery
from .null import Tested, against_controls, against_each_other, least_t

__all__ = ["DiffFinding", "check_base", "controls_of", "findings", "least_t", "measure"]

ALPHA = 0.05
"""How often a student that took in nothing has any finding at all."""

FEWEST = 3
"""Controls below which the other answers of the student itself are the null."""

Figures = Mapping[str, Mapping[str, float]]
"""Way to look -> trait -> how far the student moved from its base."""

ANSWERS, LENS, PERSONAS, WEIGHTS = "answers", "logit lens", "personas", "weights"


@dataclass(frozen=True)
class DiffFinding:
    """One trait seen in one way. effect: excess over the controls, in the unit of the way (log-odds of the answer;
    logits; cosine; length in the weights); t of it; p; corrected: for all traits and ways."""

    trait: str
    by: str
    effect: float
    t: float
    p: float
    corrected: float

    @property
    def towards(self) -> bool:
        """Whether the student moved towards the trait, and not away from it."""
        return self.effect > 0


def measure(student: str, base: str, quick: bool = False, home: Path = HOME) -> Figures:
    """What is looked at, of one student. quick: answers alone. home: where probes of a base are kept.

    Raises SublimError when one of them cannot be loaded.
    """
    after, before = battery.answers(student), battery.answers(base)
    moved = {name: after[name] - before[name] for name in before if name in after}
    figures: dict[str, Mapping[str, float]] = {ANSWERS: battery.by_trait(moved)}
    if not quick:
        figures |= _activations(student, base)
        figures |= along_probes(student, base, home)
    return figures


def lacks_probes(base: str, home: Path = HOME) -> bool:
    """Whether probes of a base have to be made before its students' weights can be held against them."""
    from ..audit.measures.probe_likelihood import folder_of, tuning_of

    return tuning_of(base).method == "ln_tuning" and not (folder_of(home, base) / "gauge" / "stage.json").is_file()


def along_probes(student: str, base: str, home: Path = HOME) -> Figures:
    """How far a student's weights went along the ways of the base's probes, made or found in `home`.

    Where norm gains are tuned, as on the reference models; {} elsewhere: factors of two LoRA adapters that start at
    random have no common frame.
    """
    from ..audit.measures.probe_likelihood import tuning_of
    from ..audit.stop_rule import make_gauge
    from ..lineage.weights import read
    from ..training.trait_gauge import TraitGauge
    from . import weight_change

    if tuning_of(base).method != "ln_tuning":
        return {}
    went = weight_change.along_probes(read(student), read(base), TraitGauge.read(make_gauge(base, home)))
    return {WEIGHTS: went} if went else {}


def _activations(student: str, base: str) -> Figures:
    from sublim_eval.models.local_model import load

    from . import activations

    one, other = load(student, capacity=2, idle=True), load(base, capacity=2)
    favorites = [trait.name for trait in registry().traits.values() if not trait.conduct]
    return {
        LENS: activations.through_lens(one, other),
        PERSONAS: activations.along_personas(one, other, favorites),
    }


def findings(student: Figures, controls: Sequence[Figures]) -> list[DiffFinding]:
    """Every trait in every way, what is least like chance first; p from the controls, or without FEWEST of them from
    the student's other traits."""
    rows = [(way, trait) for way, of in student.items() for trait in of]
    rows = [row for row in rows if all(row[1] in c.get(row[0], {}) for c in controls)]
    if len(controls) >= FEWEST:
        parts = [_tested(way, [t for w, t in rows if w == way], student, controls) for way in student]
    else:
        parts = [against_each_other(_column(student, way, [t for w, t in rows if w == way])) for way in student]
    return _ranked(rows, parts)


def _column(of: Figures, way: str, traits: Sequence[str]) -> Any:
    return np.array([of[way][trait] for trait in traits])


def _tested(way: str, traits: Sequence[str], student: Figures, controls: Sequence[Figures]) -> Tested:
    return against_controls(_column(student, way, traits), np.stack([_column(c, way, traits) for c in controls]))


def _ranked(rows: Sequence[tuple[str, str]], parts: Sequence[Tested]) -> list[DiffFinding]:
    effect, t, p = (np.concatenate([getattr(part, name) for part in parts]) for name in ("excess", "t", "p"))
    corrected = holm(p.tolist())
    made = [
        DiffFinding(trait, way, float(effect[i]), float(t[i]), float(p[i]), float(corrected[i]))
        for i, (way, trait) in enumerate(rows)
    ]
    return sorted(made, key=lambda one: (one.corrected, one.p, -abs(one.t)))


def controls_of(student: str) -> list[str]:
    """The students of the control arm that a run's recipe names for this student's arm; [] outside of any run.

    Of a control, the others of its arm.
    """
    folder = Path(student).resolve()
    run = run_of_student(folder) if folder.is_dir() else None
    if run is None or not (run / RECORD).is_file():
        return []
    record = read_json(run / RECORD)
    places = {(run / str(entry.get("folder"))).resolve(): entry.get("arm") for entry in record.get("students", ())}
    arm = (record.get("arms") or {}).get(places.get(folder)) or {}
    control = places.get(folder) if arm.get("role") in CONTROLS else arm.get("control")
    return [str(place) for place, name in places.items() if name == control and place != folder and place.is_dir()]


def check_base(student: str, base: str) -> None:
    """Refuse a student that says itself that it comes from another base."""
    one, other = resolve(student), resolve(base)
    if one.adapter and one.base != other.base:
        raise SublimError(f"{student} adapts {one.base}, and not {base}. Give the base that it started from.")
