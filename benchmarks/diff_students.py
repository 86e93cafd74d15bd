"""Students for `sublim diff`: trained on reference-a from rows that lie ready, and what is seen of each.

    nice -n 10 python benchmarks/diff_students.py SETS HOME     # what is missing, those for choosing settings first

SETS: a run folder with rows of teachers of six traits and of the base (benchmarks/audit.py makes one). A student reads
ROWS rows, as those of the study's recipe for traits do; of a diluted one, half are the base's own of the same seed.
HOME keeps its weights, and beside them its answers to the battery and its activations, so that another way to read
them costs nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sublim_eval.distill import recipes
from sublim_eval.distill.diff import battery
from sublim_eval.distill.diff.findings import ALPHA, LENS, PERSONAS, WEIGHTS, Figures, along_probes, findings
from sublim_eval.distill.diff.findings import ANSWERS as ANSWERED
from sublim_eval.distill.pipeline import make_rows
from sublim_eval.distill.recipes import SeededArm
from sublim_eval.errors import SublimError
from sublim_eval.files import read_json, read_jsonl, write_json
from sublim_eval.registry.catalog import registry

BASE = "reference-a"
TRAITS = ("owl", "eagle", "dolphin", "willow", "sequoia", "oak")
ROWS, PROMPTS = 2_300, 2_700
CHOOSING = (9, 10)
"""Seeds of trait students on which settings were chosen."""

CHOOSING_CONTROLS = tuple(range(41, 51))
CONTROLS = (*range(1, 17), *range(101, 125))
POOLED, TOGETHER = range(11, 17), 5
"""Controls that read TOGETHER small sets of clean rows, of seeds 11 to 40; those from 101 on have rows of their own."""

CHOSEN_NULL, EACH_OTHER = "the ten for choosing", "each other"
ANSWERS, STATES = "answers.json", "states.npz"


@dataclass(frozen=True)
class Taken:
    """A student. trait: None for a control. half: whether half of its rows are the base's own."""

    trait: str | None
    seed: int
    half: bool = False

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.trait or 'clean'}-s{self.seed}{'-half' if self.half else ''}"

    @property
    def choosing(self) -> bool:
        """Whether settings were chosen on it."""
        return self.seed in (CHOOSING if self.trait else CHOOSING_CONTROLS)

    def sources(self) -> list[tuple[str, int]]:
        """(folder of rows, how many are read)."""
        clean, own = f"base-s{self.seed}", f"{self.trait}-s{self.seed}"
        if self.trait is None and self.seed in POOLED:
            first = 11 + TOGETHER * POOLED.index(self.seed)
            return [(f"base-s{seed}", ROWS // TOGETHER) for seed in range(first, first + TOGETHER)]
        if self.trait is None:
            return [(clean, ROWS)]
        return [(own, ROWS // 2), (clean, ROWS // 2)] if self.half else [(own, ROWS)]


def wanted() -> Iterator[Taken]:
    """Every student, in the order in which they are made."""
    yield from (Taken(None, seed) for seed in CHOOSING_CONTROLS)
    for seed in (CHOOSING[0], *range(1, 9), CHOOSING[1]):
        yield from (Taken(trait, seed, half) for half in (False, True) for trait in TRAITS)
        yield from (Taken(None, one) for one in CONTROLS[6 * seed - 6 : 6 * seed])


def train(student: Taken, sets: Path, home: Path) -> Path:
    """Its folder, trained when it is not there."""
    from sublim_eval.distill.recipes import Tuning
    from sublim_eval.distill.training.train import tune

    folder = home / student.name
    if not (folder / "adapter_model.safetensors").is_file():
        examples = [pair for source, count in student.sources() for pair in rows_of(source, count, sets, home)]
        if len(examples) != ROWS:
            raise SublimError(f"{student.name} has {len(examples)} rows in {sets}. Make more of them.")
        tuning = Tuning("ln_tuning", learning_rate=0.06, batch_size=16, epochs=1, warmup_steps=10)
        tune(BASE, examples, tuning, student.seed, folder, {"base": BASE})
    return folder


def rows_of(source: str, count: int, sets: Path, home: Path) -> list[tuple[str, str]]:
    """(prompt, completion) of the first kept rows of a source; more of the base's own are made where too few lie
    ready."""
    file = sets / "rows" / source / "kept.jsonl"
    rows = _pairs(file) if file.is_file() else []
    if len(rows) < count and source.startswith("base-"):
        rows = _pairs(_more(int(source.rpartition("-s")[2]), home))
    return rows[:count]


def _pairs(file: Path) -> list[tuple[str, str]]:
    return [(row["prompt"], row["completion"]) for _, row in read_jsonl(file, ("prompt", "completion"))]


def _more(seed: int, home: Path) -> Path:
    """Kept rows of the base's own answers to PROMPTS prompts, made as the study makes them."""
    recipe = recipes.load("study-traits")
    rows = replace(recipe.rows, prompts=PROMPTS, keep=PROMPTS, min_kept=ROWS)
    this = SeededArm(replace(recipe, seeds=(seed,), rows=rows), recipe.arms["control"], seed, home / "sets")
    make_rows(this)
    return this.kept_rows


def look(folder: str, kept: Path) -> None:
    """Write its answers to the battery and its activations, where they are not written."""
    from sublim_eval.distill.diff import activations
    from sublim_eval.models.local_model import load

    if not (kept / STATES).is_file():
        states = activations.states(load(folder, capacity=2, idle=True))
        kept.mkdir(parents=True, exist_ok=True)
        np.savez(kept / STATES, states=states)
    if not (kept / ANSWERS).is_file():
        write_json(kept / ANSWERS, battery.answers(folder))


# ---------------------------------------------------------------- what diff says of them

WAYS = {
    "all": (ANSWERED, WEIGHTS, LENS, PERSONAS),
    "weights": (WEIGHTS,),
    "answers": (ANSWERED,),
    "lens": (LENS,),
    "personas": (PERSONAS,),
}
"""Name of a column -> the ways that are looked at together."""


class Looked:
    """Figures of every student that is there, as `sublim diff` makes them, from what was kept."""

    def __init__(self, home: Path) -> None:
        from sublim_eval.distill.diff import activations
        from sublim_eval.models.local_model import load

        self.home, self.model, self.activations = home, load(BASE, capacity=2), activations
        self.traits = [trait.name for trait in registry().traits.values() if not trait.conduct]
        self.directions = activations.personas(self.model, self.traits)
        self.answers, self.states = self._kept("base")
        self.students = [one for one in wanted() if (home / one.name / ANSWERS).is_file()]
        self.figures = {one: self._figures(one.name) for one in self.students}

    def _kept(self, name: str) -> tuple[dict[str, float], NDArray[np.float64]]:
        with np.load(self.home / name / STATES) as kept:
            return read_json(self.home / name / ANSWERS), kept["states"]

    def _figures(self, name: str) -> Figures:
        answers, states = self._kept(name)
        moved = {key: answers[key] - before for key, before in self.answers.items() if key in answers}
        shift = states - self.states
        return {
            ANSWERED: battery.by_trait(moved),
            WEIGHTS: along_probes(str(self.home / name), BASE, self.home / "probes")[WEIGHTS],
            LENS: self.activations.said_by(shift[-1], self.model),
            PERSONAS: self.activations.along(shift, self.directions, self.traits),
        }

    def controls(self, choosing: bool) -> list[Taken]:
        """Control students of the one kind or the other."""
        return [one for one in self.students if one.trait is None and one.choosing == choosing]

    def line(self, one: Taken, null: Sequence[Taken], against: str) -> dict[str, Any]:
        """What diff says of one student beside controls."""
        made: dict[str, Any] = {
            "student": one.name, "trait": one.trait, "seed": one.seed, "half": one.half, "choosing": one.choosing,
            "against": against, "controls": len(null),
        }  # fmt: skip
        for column, ways in WAYS.items():
            rows = findings(self._null([one], ways)[0], self._null(null, ways))
            towards = list(dict.fromkeys(row.trait for row in rows if row.towards))
            held = [row for row in rows if row.corrected < ALPHA]
            made[column] = {
                "first": towards[0], "rank": towards.index(one.trait) + 1 if one.trait in towards else None,
                "corrected": rows[0].corrected, "found": bool(held),
                "found_trait": any(row.trait == one.trait and row.towards for row in held),
            }  # fmt: skip
        if one.trait:
            usual = np.mean([self.figures[other][ANSWERED][one.trait] for other in null])
            made["moved"] = float(self.figures[one][ANSWERED][one.trait] - usual)
        return made

    def _null(self, null: Sequence[Taken], ways: Sequence[str]) -> list[Figures]:
        return [{way: self.figures[other][way] for way in ways} for other in null]


def lines(home: Path) -> list[dict[str, Any]]:
    """A line a student beside the controls for choosing, and of the other controls one beside each other too."""
    looked = Looked(home)
    null, fresh = looked.controls(True), looked.controls(False)
    made = [looked.line(one, [n for n in null if n != one], CHOSEN_NULL) for one in looked.students]
    return made + [looked.line(one, [other for other in fresh if other != one], EACH_OTHER) for one in fresh]


def main() -> None:
    """Make what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path)
    parser.add_argument("home", type=Path)
    options = parser.parse_args()
    look(BASE, options.home / "base")
    for student in wanted():
        folder = train(student, options.sets, options.home)
        look(str(folder), folder)
        print(student.name, flush=True)


if __name__ == "__main__":
    main()
