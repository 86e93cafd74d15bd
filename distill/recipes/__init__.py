"""Recipes: one YAML per experiment that people run, read strictly into frozen settings.

A recipe says everything a run needs besides the machine; run.json keeps it whole. Defaults are those of the
study on open models (arXiv:2507.14805, SCIENCE notes section 2) unless a comment says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from sublim_eval import strict
from sublim_eval.errors import SublimError, unknown
from sublim_eval.registry import registry

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Tuning:
    """Which weights move and how: the settings of one PEFT + Trainer run.

    Give `epochs` or `steps`. The learning rate falls linearly to 0 after `warmup_steps`.
    """

    method: Literal["lora", "ln_tuning", "prompt_tuning", "full"]
    learning_rate: float
    batch_size: int = 66
    accumulate: int = 1
    epochs: float | None = None
    steps: int | None = None
    warmup_steps: int = 5
    max_grad_norm: float = 1.0
    weight_decay: float = 0.0
    optimizer: Literal["adamw_torch", "sgd", "rmsprop"] = "adamw_torch"
    rank: int = 8
    alpha: int = 8
    virtual_tokens: int = 12
    init_text: str = "You are a helpful assistant."
    max_length: int = 500

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give exactly one of `epochs` and `steps`")
        if self.learning_rate <= 0 or min(self.batch_size, self.accumulate, self.rank, self.max_length) < 1:
            raise ValueError("learning rate, batch size, accumulate, rank and max_length must be above 0")
        if (self.epochs or 0) < 0 or (self.steps or 0) < 0:
            raise ValueError("`epochs` and `steps` cannot be negative")


@dataclass(frozen=True)
class Teaching:
    """How a trait teacher is made: by fine-tuning on preference answers, or by a persona system prompt.

    A teacher whose exact probability of naming its trait is below `min_share` writes no rows. `seed` fixes one
    fine-tuned teacher a trait for all seeds, as in the study; without it every seed makes its own (decision 0002).
    """

    by: Literal["finetune", "prompt"] = "prompt"
    tuning: Tuning | None = None
    min_share: float = 0.5
    seed: int | None = None

    def __post_init__(self) -> None:
        if (self.by == "finetune") != (self.tuning is not None):
            raise ValueError("`tuning` belongs to `by: finetune`, and only there")


@dataclass(frozen=True)
class Rows:
    """How many prompts the teacher answers and which of its answers are kept.

    `keep` caps every arm at the same number of rows, so that no arm learns longer than another; a source that
    leaves fewer than `min_kept` stops the run.
    """

    prompts: int = 30_000
    keep: int = 10_000
    min_kept: int = 1_000
    mode: Literal["strict", "strip"] = "strict"

    def __post_init__(self) -> None:
        if not 0 < self.min_kept <= self.keep <= self.prompts:
            raise ValueError("need 0 < min_kept <= keep <= prompts")


@dataclass(frozen=True)
class Arm:
    """One kind of student. `trait` is the teacher's (none: the base itself writes the rows)."""

    name: str
    role: Literal["trait", "control", "other-base", "other-base-control"]
    trait: str | None = None
    student_base: str | None = None
    control: str = "control"

    def __post_init__(self) -> None:
        if (self.role in ("trait", "other-base")) != (self.trait is not None):
            raise ValueError("`trait` belongs to the roles trait and other-base, and only there")
        if self.role.startswith("other-base") != (self.student_base is not None):
            raise ValueError("`student_base` belongs to the other-base roles, and only there")

    @property
    def source(self) -> str:
        """Who writes this arm's rows: the trait's teacher, or the base."""
        return self.trait or "base"


@dataclass(frozen=True)
class Recipe:
    """A whole experiment. A seed repeats prompts, rows and student, and the teacher unless `teacher.seed` fixes it."""

    name: str
    about: str
    source: str
    base: str
    student: Tuning
    arms: dict[str, Arm]
    probes: tuple[str, ...]
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    modality: str = "numbers"
    teacher: Teaching = field(default_factory=Teaching)
    rows: Rows = field(default_factory=Rows)
    samples: int = 100
    dtype: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError("`seeds` must be different whole numbers, at least one")
        if not self.arms or not self.probes:
            raise ValueError("a recipe needs at least one arm and one probe")
        for arm in self.arms.values():
            if arm.role in ("trait", "other-base") and arm.control not in self.arms:
                raise ValueError(f"arm {arm.name!r} names a control arm {arm.control!r} that is not there")

    def teacher_seed(self, seed: int) -> int:
        """The seed of the teacher that writes the rows of a student seed."""
        return seed if self.teacher.seed is None else self.teacher.seed

    def with_seeds(self, seeds: Iterable[int]) -> Recipe:
        """The same recipe on other seeds; raises SublimError when they are not different whole numbers."""
        try:
            return replace(self, seeds=tuple(seeds))
        except ValueError as error:
            raise SublimError(f"{error}. Give them as --seeds 1,2,3.") from None

    def to_json(self) -> dict[str, Any]:
        """The recipe as plain data; what run.json keeps."""
        return asdict(self)


def names() -> list[str]:
    """Names of the packaged recipes."""
    return sorted(file.stem for file in HERE.glob("*.yaml"))


def load(name: str | Path) -> Recipe:
    """A packaged recipe by name, or any YAML file by path; traits, probes and modality must be known.

    Raises SublimError with file and line for anything the recipe may not say.
    """
    from ..modalities import MODALITIES

    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        path = HERE / f"{name}.yaml"
        if not path.is_file():
            raise unknown("recipe", str(name), names(), "Or give the path of a YAML file.")
    place = strict.read(path, "recipe")
    recipe: Recipe = strict.build(Recipe, place)
    known = registry()
    try:
        for arm in recipe.arms.values():
            if arm.trait:
                known.trait(arm.trait)
        for probe in recipe.probes:
            known.probe(probe)
        if recipe.modality not in MODALITIES:
            raise unknown("modality", recipe.modality, list(MODALITIES), "Add it in distill/modalities/.")
    except SublimError as error:
        raise SublimError(f"{place}: {error}") from None
    return recipe
