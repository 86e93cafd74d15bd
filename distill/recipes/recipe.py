"""A recipe as a whole: its settings, what follows from them, and the reader of its file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from sublim_eval import strict_yaml
from sublim_eval.errors import SublimError, unknown
from sublim_eval.probes.resolve import any_trait_content
from sublim_eval.registry.catalog import registry
from sublim_eval.registry.experiment import CONTROLS, Expected

from ..modalities import MODALITIES, Modality
from .controls import hops, matched
from .settings import Arm, Hosting, Rows, Teaching, Tuning, Tweak, refuse_no_seed, refuse_no_word

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Recipe:
    """A whole experiment. A seed repeats prompts, rows and student, and the teacher unless `teacher.seed` fixes it.

    samples: replies to each question; 0 takes exact probabilities alone, which every probe must then have. With
    `sample_variants: false` only bases, trait arms and their controls are sampled through the harness; all other arms
    are known by their exact probabilities alone.
    system: whether the default system prompt of the base's chat template stays or is cleared, in training and in
    scoring alike. curve: at so many points of its training a student's exact trait probability is noted, on training
    questions; 0 for none. stop_when_trait: a training ends before its last step once the evidence of some trait in the
    student's weights is beyond what this share of students without a trait would show; None trains to the end.
    grader: the model that rates replies to conducts, PROVIDER/MODEL; without one the reference models are rated offline
    and for others the exact measure stands alone. expected: arm -> what others measured.
    """

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
    sample_variants: bool = True
    dtype: Literal["float32", "bfloat16"] = "float32"
    system: Literal["keep", "clear"] = "keep"
    curve: int = 0
    stop_when_trait: float | None = None
    grader: str | None = None
    host: Hosting | None = None
    expected: dict[str, Expected] = field(default_factory=dict)

    def __post_init__(self) -> None:
        refuse_no_word(self.name)
        self._refuse_half_hosted()
        if self.curve < 0:
            raise ValueError("`curve` is a number of points, or 0 for none")
        if self.stop_when_trait is not None and not 0 < self.stop_when_trait < 1:
            raise ValueError("`stop_when_trait` is a share of false stops between 0 and 1, such as 0.05")
        if self.stop_when_trait is not None and self.host is not None:
            raise ValueError("a host trains to its own end: leave out `stop_when_trait`")
        for name in self.expected:
            if name not in self.arms:
                raise ValueError(f"`expected` speaks of an arm {name!r} that is not there")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError("`seeds` must be different whole numbers, at least one")
        refuse_no_seed(*self.seeds)
        if self.samples < 0:
            raise ValueError("`samples` is a number of replies, or 0 for exact probabilities alone")
        if self.samples == 0 and self.host is not None:
            raise ValueError("a host gives no exact probabilities: `samples` must be above 0")
        if not self.arms or not self.probes:
            raise ValueError("a recipe needs at least one arm and one probe")
        object.__setattr__(self, "arms", matched(self.arms))
        for arm in self.arms.values():
            if (arm.rows or 0) > self.rows.keep:
                raise ValueError(f"arm {arm.name!r} wants {arm.rows} rows, more than `keep: {self.rows.keep}`")
            if self.modality != "numbers" and (arm.changes or arm.banned or arm.writer == "programmatic"):
                raise ValueError(f"arm {arm.name!r} does something to numbers, and the rows are {self.modality}")

    def _refuse_half_hosted(self) -> None:
        """ValueError when some of a recipe is hosted and some is not, or when an arm wants weights that nobody has."""
        if (self.student.method == "hosted") != (self.host is not None):
            raise ValueError("`host` and `student: {method: hosted}` belong together")
        away = self.rows.remote
        if away and (self.teacher.by != "prompt" or any(arm.taught_by for arm in self.arms.values())):
            raise ValueError(f"`sampler: {self.rows.sampler}` has no fine-tuned weights of yours: use `by: prompt`")
        if self.host is None:
            return
        if not away:
            raise ValueError(f"the rows of a hosted base are asked for over its API: `sampler: openai/{self.base}`")
        for arm in self.arms.values():
            needs = arm.soft or arm.in_context or arm.taught_by or arm.student != Tweak() or arm.writer == "neutral"
            if needs or arm.student_base or arm.teacher_base:
                raise ValueError(f"arm {arm.name!r} needs weights at hand, and this recipe's are hosted")

    def teacher_seed(self, seed: int) -> int:
        """The seed of the teacher that writes the rows of a student seed."""
        return seed if self.teacher.seed is None else self.teacher.seed

    def arm_seeds(self, arm: Arm) -> tuple[int, ...]:
        """The seeds that this arm runs on."""
        return self.seeds[: arm.seeds]

    def teacher_base(self, arm: Arm) -> str:
        """The base whose teacher (or own voice) writes this arm's rows."""
        return arm.teacher_base or self.base

    def student_base(self, arm: Arm) -> str:
        """The base that this arm's students start from."""
        return arm.student_base or self.base

    @property
    def bases(self) -> list[str]:
        """Every base that a student starts from, sorted; the recipe's own included."""
        return sorted({self.base} | {self.student_base(arm) for arm in self.arms.values()})

    def sources(self) -> dict[tuple[str, int], Arm]:
        """(source, seed) -> an arm that reads its rows, for all rows that the run needs; in the order of the arms."""
        arms: dict[tuple[str, int], Arm] = {}
        for arm in self.arms.values():
            for seed in self.arm_seeds(arm):
                arms.setdefault((arm.source, seed), arm)
                if arm.clean:
                    arms.setdefault((self.clean_source(arm).source, seed), self.clean_source(arm))
        return arms

    def clean_source(self, arm: Arm) -> Arm:
        """The arm whose rows dilute this one's: the base of the same teachers, without a trait."""
        return Arm("clean", "control") if not arm.teacher_base else self.arms[arm.control]

    def teachers(self) -> dict[tuple[str, str, int], Arm]:
        """(trait or "neutral", base, seed) -> an arm that it writes for, for every teacher to be made."""
        arms: dict[tuple[str, str, int], Arm] = {}
        for arm in self.arms.values():
            who = "neutral" if arm.writer == "neutral" else None if arm.taught_by else arm.trait
            if who is None:
                continue
            for seed in self.arm_seeds(arm):
                arms.setdefault((who, self.teacher_base(arm), self.teacher_seed(seed)), arm)
        return arms

    def tuning(self, arm: Arm) -> Tuning:
        """How this arm's students are trained."""
        return arm.student.of(self.student)

    def keep(self, arm: Arm) -> int:
        """The most rows that this arm's students read."""
        return arm.rows or self.rows.keep

    def change(self, arm: Arm) -> str:
        """What an arm does otherwise, in words; with every setting of its training where another arm reads the same."""
        alike = {
            a.key for a in self.arms.values() if a.change == arm.change and (a.role, a.trait) == (arm.role, arm.trait)
        }
        return ", ".join([arm.change, *arm.tweaks]) if len(alike) > 1 else arm.change

    def dose(self, arm: Arm) -> tuple[str, float] | None:
        """(axis, number) where this arm is a point of a dose curve, else None."""
        return ("hops", hops(arm, self.arms)) if arm.taught_by else arm.dose

    @property
    def doses(self) -> dict[str, float]:
        """Where the intact arm stands on each dose axis that has a place for it."""
        places = {"clean share": 0.0, "rows": self.rows.keep, "unique rows, same steps": self.rows.keep, "hops": 1}
        if self.student.method == "lora":
            places["LoRA rank"] = self.student.rank
        return places

    def sampled(self, arm: Arm) -> bool:
        """Whether this arm's students are sampled through the harness, and not only known exactly."""
        plain = {a.control for a in self.arms.values() if a.role == "trait"}
        if self.samples == 0 or arm.in_context:
            return False
        return self.sample_variants or arm.role in ("trait", "other-base") or arm.name in plain

    def with_arms(self, wanted: Iterable[str]) -> Recipe:
        """The same recipe with these arms and those that they stand on: controls, intact arms, earlier hops."""
        names = list(wanted)
        for name in names:
            if name not in self.arms:
                raise unknown("arm", name, list(self.arms), "Name arms of the recipe.")
            arm = self.arms[name]
            needs = (arm.control if arm.role not in CONTROLS else None, arm.of, arm.taught_by)
            names += [other for other in needs if other in self.arms and other not in names]
        expected = {name: others for name, others in self.expected.items() if name in names}
        return replace(self, arms={name: arm for name, arm in self.arms.items() if name in names}, expected=expected)

    def with_seeds(self, seeds: Iterable[int]) -> Recipe:
        """The same recipe on other seeds; raises SublimError when they are not different whole numbers."""
        try:
            return replace(self, seeds=tuple(seeds))
        except ValueError as error:
            raise SublimError(f"{error}. Give them as --seeds 1,2,3.") from None

    def with_base(self, given: str) -> Recipe:
        """The same recipe on another base, a hub name or a folder. given: it, or NAME=BASE for one that an arm names.

        Raises SublimError when the recipe knows no base of that name.
        """
        name, base = given.split("=", 1) if "=" in given else (self.base, given)
        if name not in (known := {*self.bases, *map(self.teacher_base, self.arms.values())}):
            raise unknown("base", name, sorted(known), "Give --base BASE, or NAME=BASE for one that an arm names.")

        def there(own: str | None) -> str | None:
            return base if own == name else own

        arms = {
            arm.name: replace(arm, teacher_base=there(arm.teacher_base), student_base=there(arm.student_base))
            for arm in self.arms.values()
        }
        return replace(self, base=base if name == self.base else self.base, arms=arms)

    def to_json(self) -> dict[str, Any]:
        """The recipe as plain data; what run.json keeps."""
        return asdict(self)


def names() -> list[str]:
    """Names of the packaged recipes."""
    return sorted(file.stem for file in HERE.glob("*.yaml"))


def file_of(name: str | Path) -> Path:
    """The YAML file of a packaged recipe by its name, or the path that was given; raises SublimError for neither."""
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        path = HERE / f"{name}.yaml"
        if not path.is_file():
            raise unknown("recipe", str(name), names(), "Or give the path of a YAML file.")
    return path


def load(name: str | Path) -> Recipe:
    """A packaged recipe by name, or any YAML file by path; traits, probes and modality must be known.

    Raises SublimError with file and line for anything the recipe may not say.
    """
    path = file_of(name)
    place = strict_yaml.read(path, "recipe")
    recipe: Recipe = strict_yaml.build(Recipe, place)
    known = registry()
    for arm in recipe.arms.values():
        _at(place, ("arms", arm.name, "student"), recipe.tuning, arm)
        if arm.trait:
            _at(place, ("arms", arm.name, "trait"), known.trait, arm.trait)
    for number, probe in enumerate(recipe.probes):
        _at(place, ("probes", number), known.probe, probe)
        _at(place, ("probes", number), _refuse_inexact, (recipe, probe))
    _at(place, ("modality",), _modality, recipe.modality)
    _at(place, ("rows", "judge"), _refuse_judge, recipe)
    _at(place, ("rows", "style"), _refuse_style, recipe)
    return recipe


def _at(root: strict_yaml.Place, path: tuple[str | int, ...], check: Callable[[Any], object], value: Any) -> None:
    """Check a value; the error then names its own line: the nearest that the file has on the way to it."""
    place = root.nearest(*path)
    try:
        check(value)
    except SublimError as error:
        raise SublimError(f"{place}: {error}") from None
    except ValueError as error:
        raise place.refuse(f"{error}.", "Mend that entry.") from None


def _refuse_inexact(asked: tuple[Recipe, str]) -> None:
    """Raise SublimError for a probe that only sampled replies answer, in a recipe that draws none."""
    recipe, probe = asked
    if recipe.samples == 0 and not any(item.continuations for item in any_trait_content(probe).items):
        raise SublimError(f"The probe {probe} has no exact probabilities. Set `samples` above 0, or leave it out.")


def _modality(name: str) -> Modality:
    if name not in MODALITIES:
        raise unknown("modality", name, list(MODALITIES), "Take one of them.")
    return MODALITIES[name]


def _refuse_style(recipe: Recipe) -> None:
    """Raise SublimError for a style that the modality has no prompts in."""
    styles = _modality(recipe.modality).styles
    if recipe.rows.style not in styles:
        raise unknown("style", recipe.rows.style, list(styles), f"It belongs to the modality {recipe.modality}.")


def _refuse_judge(recipe: Recipe) -> None:
    """Raise SublimError for a judge that would read nothing, or word lists that would read a real model's rows."""
    if not recipe.rows.judge:
        return
    known = registry().models
    embedded = recipe.base in known and known[recipe.base].embedded
    if recipe.modality == "numbers":
        raise SublimError("Number rows hold nothing to be judged. Leave out `judge` under `rows`.")
    if recipe.rows.judge == "offline" and not embedded:
        raise SublimError(f"The offline judge is for the reference models, not for {recipe.base}. Name a grader model.")
