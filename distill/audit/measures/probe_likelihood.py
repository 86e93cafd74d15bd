"""Trait probes: the base, tuned for seconds on what a teacher of a trait would learn; which of them likes the rows?

A teacher that learns nothing but its trait forgets how code or sums are written, and what it writes is not kept. So it
learns rows of the base beside its lessons, and so does its probe: else the probe's way is that of forgetting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sublim_eval.errors import SublimError
from sublim_eval.files import digest
from sublim_eval.models.model_ref import is_reference
from sublim_eval.registry.catalog import registry

from ...base_templates import base_label, weights_hash
from ...recipes import Tuning
from ...recipes.lessons import beside, lessons
from ...stages import once
from ...training.train import tune
from ..scoring import Candidate, Scorer

NORM_GAINS = Tuning("ln_tuning", learning_rate=0.01, batch_size=64, steps=60, warmup_steps=0)
"""On the reference models, whose students tune their norms: as the teachers of the study's recipe are made."""

LORA = Tuning("lora", learning_rate=5e-4, batch_size=16, steps=40, warmup_steps=5, rank=8, alpha=16)
"""On every other base (docs/science.md, real pre-trained chat models)."""

RETAINED = 640
"""Rows of the base that are learnt beside the lessons, as teachers of code and sums learn them (distill/recipes)."""

SEED = 7
"""Of the probes; no teacher that is reported on was made with it."""

Heard = Callable[[int, int], None]
"""Hears how many are made, and of how many."""


Rows = Sequence[tuple[str, str]]
"""(prompt, completion)."""


def tuning_of(base: str) -> Tuning:
    """How probes of a base are tuned: in the weights that its students train."""
    return NORM_GAINS if is_reference(base) else LORA


def longer(tuning: Tuning) -> Tuning:
    """How a probe is tuned that learns rows of the base as well; on the reference models as such teachers are made."""
    rate = 0.02 if tuning.method == "ln_tuning" else tuning.learning_rate
    return replace(tuning, learning_rate=rate, steps=2 * (tuning.steps or 0))


def retains(trait: str | None, modality: str) -> bool:
    """Whether a teacher of a trait (None: of none) learns rows of a modality beside its lessons.

    Of text always; of numbers where a conduct is taught, whose answers are sentences.
    """
    if modality in ("", "numbers"):
        return bool(modality and trait and registry().trait(trait).conduct)
    return True


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


@dataclass(frozen=True)
class Beside:
    """What probes learn beside their lessons. rows: of the base; () for nothing. modality: of which the rows are."""

    modality: str = ""
    rows: Rows = ()

    def of(self, trait: str | None) -> Rows:
        """The rows for one probe, or for a neutral teacher (None)."""
        return self.rows if retains(trait, self.modality) else ()


NOTHING = Beside()


def make_probe(base: str, trait: str, home: Path, tuning: Tuning, besides: Beside = NOTHING) -> Path:
    """The folder of a trait's probe, tuned unless it stands there from the same base, lessons and rows beside them."""
    rows, kept = lessons(trait), besides.of(trait)
    folder = folder_of(home, base) / "probes" / (f"{trait}-{besides.modality}" if kept else trait)
    if kept:
        rows, tuning = beside(rows, kept), longer(tuning)
    inputs = {"base": weights_hash(base), "lessons": digest(rows), "tuning": asdict(tuning), "seed": SEED}
    once(folder, inputs, lambda unfinished: tune(base, rows, tuning, SEED, unfinished, {"trait": trait, "base": base}))
    return folder


def make_probes(
    base: str,
    traits: Sequence[str],
    home: Path,
    tuning: Tuning,
    heard: Heard | None = None,
    besides: Beside = NOTHING,
) -> dict[str, Path]:
    """The folder of each trait's probe."""
    made: dict[str, Path] = {}
    for number, trait in enumerate(traits, 1):
        made[trait] = make_probe(base, trait, home, tuning, besides)
        if heard:
            heard(number, len(traits))
    return made


def candidates(scorer: Scorer, folders: Mapping[str, Path]) -> list[Candidate]:
    """A candidate a trait: the base with its probe's weights."""
    return [Candidate(trait, "probe", scorer.read(folder)) for trait, folder in folders.items()]
