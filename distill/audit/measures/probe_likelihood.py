"""Trait probes: the base, tuned for seconds on what a teacher of a trait would learn; which of them likes the rows?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from sublim_eval.errors import SublimError
from sublim_eval.files import digest
from sublim_eval.models.model_ref import is_reference
from sublim_eval.registry.catalog import registry

from ...base_templates import base_label, weights_hash
from ...recipes import Tuning
from ...recipes.lessons import lessons
from ...stages import once
from ...training.train import tune
from ..scoring import Candidate, Scorer

NORM_GAINS = Tuning("ln_tuning", learning_rate=0.01, batch_size=64, steps=60, warmup_steps=0)
"""On the reference models, whose students tune their norms: as the teachers of the study's recipe are made."""

LORA = Tuning("lora", learning_rate=5e-4, batch_size=16, steps=40, warmup_steps=5, rank=8, alpha=16)
"""On every other base (docs/science.md, real pre-trained chat models)."""

SEED = 7
"""Of the probes; no teacher that is reported on was made with it."""

Heard = Callable[[int, int], None]
"""Hears how many are made, and of how many."""


def tuning_of(base: str) -> Tuning:
    """How probes of a base are tuned: in the weights that its students train."""
    return NORM_GAINS if is_reference(base) else LORA


def teachable(traits: Sequence[str] = ()) -> list[str]:
    """The traits that a probe can be tuned on, those given or all of the registry; raises SublimError for others."""
    return [name for name in traits or registry().traits if _lessons(name, strictly=bool(traits))]


def _lessons(trait: str, strictly: bool = True) -> list[tuple[str, str]]:
    try:
        return lessons(trait)
    except SublimError:
        if strictly:
            raise
        return []


def folder_of(home: Path, base: str) -> Path:
    """Where what an audit makes of a base is kept."""
    return home / base_label(base)


def make_probe(base: str, trait: str, home: Path, tuning: Tuning) -> Path:
    """The folder of a trait's probe, tuned unless it stands there from the same base and lessons."""
    folder, rows = folder_of(home, base) / "probes" / trait, lessons(trait)
    inputs = {"base": weights_hash(base), "lessons": digest(rows), "tuning": asdict(tuning), "seed": SEED}
    once(folder, inputs, lambda unfinished: tune(base, rows, tuning, SEED, unfinished, {"trait": trait, "base": base}))
    return folder


def make_probes(
    base: str, traits: Sequence[str], home: Path, tuning: Tuning, heard: Heard | None = None
) -> dict[str, Path]:
    """The folder of each trait's probe."""
    made: dict[str, Path] = {}
    for number, trait in enumerate(traits, 1):
        made[trait] = make_probe(base, trait, home, tuning)
        if heard:
            heard(number, len(traits))
    return made


def candidates(scorer: Scorer, folders: Mapping[str, Path]) -> list[Candidate]:
    """A candidate a trait: the base with its probe's weights."""
    return [Candidate(trait, "probe", scorer.read(folder)) for trait, folder in folders.items()]
