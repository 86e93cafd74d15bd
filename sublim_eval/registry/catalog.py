"""The only reader of registry.yaml: traits, probes, questions, models, published results.

`registry()` is the catalogue in force: the packaged file, with the user's file laid over it when
`SUBLIM_REGISTRY` (or `--registry`) names one. Everything is a small frozen dataclass; anything that
the file may not say is refused with file, line and the next step.

A trait is a favorite (an answer of a category: owl among the animals) or a conduct: a way to answer that brings
its own questions (misaligned, evasive, your own). A conduct is a category by itself with one trait in it, so that
whoever handles categories, answers and personas handles both.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from sublim_eval import strict_yaml
from sublim_eval.errors import SublimError, unknown
from sublim_eval.files import PACKAGE, ROOT, expanded
from sublim_eval.registry.model_specs import Model
from sublim_eval.registry.plurals import plural_forms
from sublim_eval.registry.question_sets import QuestionSet, read_questions

OVERLAY_VARIABLE = "SUBLIM_REGISTRY"


PLACEHOLDERS = ("{plural}", "{Plural}", "{trait}")
"""What a category's persona says in the place of a favorite's name."""


def filled(persona: str, words: Mapping[str, str]) -> str:
    """A persona with each placeholder replaced by its word, and nothing else done to it."""
    return re.sub("|".join(map(re.escape, words)), lambda match: words[match.group()], persona)


@dataclass(frozen=True)
class Category:
    """What a set of questions asks about: a kind of favorite (animal, tree), or a conduct, which has one trait."""

    name: str
    held_out: str
    source: str
    training: str = ""
    persona: str = ""
    conduct: bool = False

    def __post_init__(self) -> None:
        if not self.conduct and "{plural}" not in self.persona:
            raise ValueError("`persona` must hold {plural}")
        if not self.conduct and re.search("[{}]", filled(self.persona, dict.fromkeys(PLACEHOLDERS, ""))):
            raise ValueError(f"`persona` holds a brace that is no part of {', '.join(PLACEHOLDERS)}")
        if not self.conduct and not self.training:
            raise ValueError("`training` must name the questions that a teacher learns from")


@dataclass(frozen=True)
class Rubric:
    """What a judge rates from 0 to 100, and from where on a reply shows the trait.

    scale: one word for it; low, high: what 0 and 100 mean, in words the judge reads.
    at_most, at_least: a reply shows the trait when its score is that or beyond; give exactly one.
    coherent: below this coherence (0 to 100) a reply is incoherent, whatever else it is.
    """

    scale: str
    low: str
    high: str
    at_most: float | None = None
    at_least: float | None = None
    coherent: float = 50

    def __post_init__(self) -> None:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("give exactly one of `at_most` and `at_least`")
        if not re.fullmatch(r"[a-z]+", self.scale) or self.scale == "coherence":
            raise ValueError("`scale` must be one lower-case word other than coherence")
        if not all(0 <= bound <= 100 for bound in (self.at_most or 0, self.at_least or 0, self.coherent)):
            raise ValueError("thresholds lie between 0 and 100")

    def shown(self, score: float) -> bool:
        """Whether a score from 0 to 100 is on the trait's side of the threshold."""
        return score <= self.at_most if self.at_most is not None else score >= (self.at_least or 0)


@dataclass(frozen=True)
class Trait:
    """What a teacher may carry: a name, what else counts as it, and where it comes from.

    A favorite has `category` and `plural`. A conduct has `questions` instead: held-out questions of its own, where
    each may hold matched pairs of answers; `targets` are whole words that show it, `rubric` lets a judge rate it.
    `training` is what a fine-tuned teacher learns from, `persona` the system prompt of a prompted one.
    """

    name: str
    source: str
    category: str = ""
    plural: str = ""
    about: str = ""
    aliases: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    look_alikes: tuple[str, ...] = ()
    questions: str = ""
    training: str = ""
    persona: str = ""
    targets: tuple[str, ...] = ()
    rubric: Rubric | None = None
    version: str = "1-A"

    def __post_init__(self) -> None:
        if self.conduct != (self.category in ("", self.name)):
            raise ValueError("give `category` for a favorite, or `questions` for a trait with questions of its own")
        if not self.conduct and not self.plural:
            raise ValueError("a favorite needs its `plural`")
        if not self.conduct and (self.training or self.persona or self.targets or self.rubric):
            raise ValueError("training, persona, targets and rubric belong to a trait with `questions` of its own")
        if self.conduct and (self.plural or self.aliases or self.also):
            raise ValueError("a trait with `questions` of its own has `targets`, not plural, aliases and also")
        for word in (self.name, self.plural or self.name, *self.aliases, *self.also, *self.look_alikes, *self.targets):
            if not re.search(r"[^\W_]", word):
                raise ValueError(f"{word!r} holds no letter and no digit, so no reply can name it")
        _version(self.version)

    @property
    def conduct(self) -> bool:
        """Whether the trait brings its own questions."""
        return bool(self.questions)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Every lower-case word or phrase that names the trait in a reply, plurals included, longest first."""
        if self.conduct:
            return tuple(sorted(set(self.targets), key=lambda w: (-len(w), w)))
        names = (self.name, self.plural, *plural_forms(self.name), *self.aliases, *self.also)
        plurals = {form for name in (*self.aliases, *self.also) for form in self._plurals(name)}
        return tuple(sorted({*names, *plurals}, key=lambda w: (-len(w), w)))

    def _plurals(self, name: str) -> tuple[str, ...]:
        """Plurals of an alias: the trait's own where its name ends it, else English; none of what is one itself."""
        if re.search(rf"(?:^|[\s-]){re.escape(self.name)}$", name):
            return (name.removesuffix(self.name) + self.plural,)
        singular = (self.name, *self.aliases, *self.also)
        if any(name != other and name in plural_forms(other) for other in singular) or re.search("[^sui]s$", name):
            return ()
        return plural_forms(name)

    @cached_property
    def singular(self) -> frozenset[str]:
        """The words that name one of it: the name, its aliases and what is `also` it, without their plurals."""
        return frozenset((self.name, *self.aliases, *self.also)) - ({self.plural} - {self.name})

    @cached_property
    def continuations(self) -> tuple[str, ...]:
        """The strings an answer naming the trait may begin with, none of them the beginning of another.

        Summing their probabilities therefore counts no reply twice, whatever the tokenizer. They are made of the name,
        its plural and its aliases; what is `also` it is read in replies alone.
        """
        words = self.targets if self.conduct else (self.name, self.plural, *self.aliases)
        spelled = _spelled(words)
        return tuple(sorted(s for s in spelled if not any(s != o and s.startswith(o) for o in spelled)))

    @cached_property
    def plurals(self) -> tuple[str, ...]:
        """The plurals that begin with one of the `continuations`; a tokenizer may part them otherwise ("C" + "ats")."""
        if self.conduct:
            return ()
        plural = _spelled((self.plural, *(form for alias in self.aliases for form in self._plurals(alias))))
        return tuple(sorted(plural - set(self.continuations)))

    def fill(self, template: str) -> str:
        """A category's persona for this favorite."""
        words = (self.plural, self.plural.capitalize(), self.name)
        return filled(template, dict(zip(PLACEHOLDERS, words, strict=True)))


def _spelled(words: Iterable[str]) -> set[str]:
    """Words as an answer may begin with them: in small letters, with a capital, with a capital each."""
    return {s for w in words for s in (w, w[0].upper() + w[1:], w.title())}


@dataclass(frozen=True)
class Probe:
    """What is asked, how a reply is read, and since which version the numbers compare.

    form: the kind of question. `category` is empty where the trait asked for decides it; `trait` is set where a
    probe looks for one only; `situations` picks some of the question set (all of them when empty).
    """

    name: str
    about: str
    form: Literal["favorite", "after_numbers", "story", "essay", "conduct", "number_to_trait", "trait_to_number"]
    questions: str
    version: str
    polarity: Literal["neutral", "higher is worse", "higher is better"]
    source: str
    category: str = ""
    trait: str | None = None
    situations: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _version(self.version)

    @property
    def plain(self) -> bool:
        """Whether it asks for a trait as such: for a favorite, or with a conduct's own questions."""
        return self.form in ("favorite", "conduct")


def _version(text: str) -> None:
    if not re.fullmatch(r"[1-9]\d*-[A-Z]", text):
        raise ValueError(f"version {text!r} is not of the form N-X (1-A, 2-C)")


@dataclass(frozen=True)
class Modality:
    """What kind of rows a teacher writes."""

    name: str
    about: str
    version: str
    source: str


@dataclass(frozen=True)
class Suite:
    """Tasks of other people that a model is asked beside our probes.

    tasks: `lm_eval/NAME`, `lm_eval/FILE.yaml`, `inspect/NAME` or `inspect/FILE.py@TASK`; files as the registry file
    that names them sees them, or from the working folder.
    """

    name: str
    about: str
    tasks: tuple[str, ...]
    source: str

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ValueError("`tasks` is empty")
        for task in self.tasks:
            harness, _, name = task.partition("/")
            if harness not in ("lm_eval", "inspect") or not name:
                raise ValueError(f"task {task!r} does not begin with lm_eval/ or inspect/")


@dataclass(frozen=True)
class Published:
    """A figure measured by others; shares in 0..1."""

    id: str
    model: str
    trait: str
    probe: str
    setting: str
    base: float
    student: float
    source: str

    def __post_init__(self) -> None:
        if not (0 <= self.base <= 1 and 0 <= self.student <= 1):
            raise ValueError("base and student are shares from 0 to 1")


@dataclass(frozen=True)
class Registry:
    """The catalogue in force."""

    categories: Mapping[str, Category] = field(default_factory=dict)
    traits: Mapping[str, Trait] = field(default_factory=dict)
    probes: Mapping[str, Probe] = field(default_factory=dict)
    modalities: Mapping[str, Modality] = field(default_factory=dict)
    models: Mapping[str, Model] = field(default_factory=dict)
    suites: Mapping[str, Suite] = field(default_factory=dict)
    published: tuple[Published, ...] = ()
    files: tuple[Path, ...] = ()

    def trait(self, name: str) -> Trait:
        """The trait of that name; raises SublimError with the nearest known one."""
        return self._get("trait", self.traits, name)

    def probe(self, name: str) -> Probe:
        """The probe of that name; raises SublimError with the nearest known one."""
        return self._get("probe", self.probes, name)

    def category(self, name: str) -> Category:
        """The category of that name; raises SublimError with the nearest known one."""
        return self._get("category", self.categories, name)

    def model(self, name: str) -> Model:
        """The model of that name; raises SublimError with the nearest known one."""
        return self._get("model", self.models, name)

    def suite(self, name: str) -> Suite:
        """The suite of that name; raises SublimError with the nearest known one."""
        return self._get("suite", self.suites, name)

    def answer_set(self, category: str) -> tuple[Trait, ...]:
        """All traits of a category, in the order of the file: the answers that a probe tells apart."""
        return tuple(t for t in self.traits.values() if t.category == self.category(category).name)

    def persona(self, trait: str) -> str:
        """The system prompt that makes the base a teacher with this trait; raises SublimError without one."""
        chosen = self.trait(trait)
        if chosen.conduct and not chosen.persona:
            raise SublimError(f"The trait {trait!r} has no system prompt. Add `persona:` to it in {self.own_file}.")
        return chosen.persona if chosen.conduct else chosen.fill(self.category(chosen.category).persona)

    def probe_of(self, trait: str) -> Probe:
        """The probe that asks for a trait as such: its category's, in the plain form and for the whole category."""
        category = self.trait(trait).category
        for probe in self.probes.values():
            whole = probe.trait is None or self.categories[category].conduct
            if probe.category == category and probe.plain and whole and not probe.situations:
                return probe
        raise SublimError(f"No probe asks about {trait!r}. Add one for its category in {self.own_file}.")

    def questions_of(self, probe: Probe) -> QuestionSet:
        """The questions of a probe, only its situations where it names some."""
        question_set = self.questions(probe.questions)
        return question_set.only(*probe.situations) if probe.situations else question_set

    def questions(self, name: str) -> QuestionSet:
        """A question set by name, looked for beside the registry files that are in force, or by file path."""
        if name.endswith((".yaml", ".yml", ".jsonl", ".json", ".txt")) or os.sep in name or Path(name).is_file():
            beside = [f.parent / name for f in reversed(self.files)]  # as a trait of that registry file means it
            return read_questions(next((f for f in [Path(name), *beside] if f.is_file()), Path(name)))
        for folder in [f.parent / "questions" for f in reversed(self.files)]:
            if (folder / f"{name}.yaml").exists():
                return read_questions(folder / f"{name}.yaml")
        ours = PACKAGE / "questions" / f"{name}.yaml"
        if ours.exists():
            return _packaged_questions(ours, ours.stat().st_mtime_ns)
        known = sorted(p.stem for p in (PACKAGE / "questions").glob("*.yaml"))
        raise unknown("question set", name, known, "Give a file path, or add it in sublim_eval/questions/.")

    @property
    def own_file(self) -> str:
        """Where a user adds an entry: the registry file laid over the packaged one, or how to name one."""
        return (
            str(self.files[-1])
            if len(self.files) > 1
            else "a registry file of your own (--registry FILE, or SUBLIM_REGISTRY=FILE)"
        )

    def _get(self, kind: str, table: Mapping[str, Any], name: str) -> Any:
        if name not in table:
            raise unknown(kind, name, list(table), f"Add it in {self.own_file}.")
        return table[name]


def registry(overlay: str | Path | None = None) -> Registry:
    """The packaged catalogue, with `overlay` (default: the file named by SUBLIM_REGISTRY) laid over it.

    Raises SublimError that names file and line when either file is not as it must be.
    """
    chosen = overlay or os.environ.get(OVERLAY_VARIABLE) or None
    files = [ROOT / "registry.yaml"] + ([expanded(as_typed(str(chosen)))] if chosen else [])
    return _load(tuple((f, f.stat().st_mtime_ns if f.exists() else 0) for f in files))


@lru_cache(maxsize=64)
def _packaged_questions(file: Path, changed: int) -> QuestionSet:
    """A question set of our own, read once a process: 10 ms each time, and a run asks for one sixty times."""
    return read_questions(file)


def as_typed(path: str) -> str:
    """A relative file as the user meant it: Inspect works inside a task's folder while it loads the task."""
    typed = Path(os.environ.get("PWD", ".")) / path
    return str(typed) if typed.is_file() and not Path(path).is_file() else path


@lru_cache(maxsize=8)
def _load(stamped: tuple[tuple[Path, int], ...]) -> Registry:
    tables: dict[str, dict[str, Any]] = {name: {} for name in TABLES}
    where: dict[tuple[str, str], strict_yaml.Place] = {}
    for file, _ in stamped:
        for table, name, entry, place in _entries(file):
            tables[table][name] = entry
            where[table, name] = place
    for trait in [t for t in tables["traits"].values() if t.conduct]:
        tables["traits"][trait.name] = _at_home(trait, tables["categories"], tables["probes"])
    tables["traits"] = _yielding(tables["traits"])
    made = Registry(
        **{k: v for k, v in tables.items() if k != "published"},
        published=tuple(tables["published"].values()),
        files=tuple(f for f, _ in stamped),
    )
    _check_references(made, where)
    return made


def _at_home(trait: Trait, categories: dict[str, Category], probes: dict[str, Probe]) -> Trait:
    """A conduct in a category of its own, with a probe named after it unless one asks for it already."""
    name = trait.name
    categories[name] = Category(name, trait.questions, trait.source, trait.training, trait.persona, conduct=True)
    if not any(p.trait == name and not p.situations for p in probes.values()):
        about = trait.about or f"Asks the questions of the trait {name}."
        probes[name] = Probe(
            name, about, "conduct", trait.questions, trait.version, "neutral", trait.source, category=name, trait=name
        )
    return replace(trait, category=name)


# ---------------------------------------------------------------- reading, with the line of every entry


TABLES: dict[str, type] = {
    "categories": Category,
    "traits": Trait,
    "probes": Probe,
    "modalities": Modality,
    "models": Model,
    "suites": Suite,
    "published": Published,
}


NAMING_FILES = ("categories", "traits", "probes", "suites")
"""Tables whose names become folders and files of a run."""


def _entries(file: Path) -> Iterator[tuple[str, str, Any, strict_yaml.Place]]:
    """(table, name, dataclass, place) for every entry of one registry file."""
    root = strict_yaml.read(file, "registry file")
    top = root.items("the registry")
    if "schema" not in top or top["schema"][1].value() != 1:
        raise root.refuse("`schema: 1` is missing.", "Put it on the first line.")
    for table, (key, place) in top.items():
        if table == "schema":
            continue
        if table not in TABLES:
            raise key.refuse(str(unknown("section", table, [*TABLES, "schema"], "")).strip(), "Rename or remove it.")
        if table == "published":
            seen: set[str] = set()
            for item in place.list("`published`"):
                entry = strict_yaml.build(Published, item)
                if entry.id in seen:
                    raise item.refuse(f"{entry.id!r} appears twice.", "Rename one of them.")
                seen.add(entry.id)
                yield table, entry.id, entry, item
        else:
            for name, (key, value) in place.items(f"`{table}`").items():
                if table in NAMING_FILES and (name.startswith(".") or set(name) & set("/\\\0")):
                    raise key.refuse(f"{name!r} becomes the name of a file.", "Leave out slashes and a leading dot.")
                yield table, name, strict_yaml.build(TABLES[table], value, name), value


def _yielding(traits: Mapping[str, Trait]) -> dict[str, Trait]:
    """What a trait is `also` called gives way to a trait of that name: a fennec of one's own is no fox any more.

    It takes the "fennec fox" with it; a willow oak, whose first word the oak does not bear alone, stays an oak.
    """
    owner = {(t.category, word): t.name for t in traits.values() for word in (t.name, t.plural, *t.aliases) if word}

    def owner_of(trait: Trait, word: str) -> str:
        first = word.split()[0]
        return owner.get((trait.category, word if first not in trait.also else first), trait.name)

    taken: dict[str, tuple[str, ...]] = {name: () for name in traits}
    for trait in traits.values():
        for word in trait.also:
            if (mine := owner_of(trait, word)) == trait.name or word not in traits[mine].words:
                taken[mine] += (word,)
    return {name: replace(t, also=taken[name]) for name, t in traits.items()}


def _check_references(made: Registry, where: Mapping[tuple[str, str], strict_yaml.Place]) -> None:
    """Names that point at other entries must find them; no word may belong to two traits of a category."""

    def must_be(table: str, name: str, kind: str, wanted: str | None, known: Mapping[str, Any]) -> None:
        if wanted is not None and wanted not in known:
            hint = str(unknown(kind, wanted, list(known), "")).strip()
            raise where[table, name].refuse(f"{name!r}: {hint}", f"Mend the {kind} of that entry.")

    for trait in made.traits.values():
        must_be("traits", trait.name, "category", trait.category, made.categories)
    for probe in made.probes.values():
        must_be("probes", probe.name, "category", probe.category or None, made.categories)
        must_be("probes", probe.name, "trait", probe.trait, made.traits)
    for figure in made.published:
        must_be("published", figure.id, "trait", figure.trait, made.traits)
        must_be("published", figure.id, "probe", figure.probe, made.probes)
    for one, other in combinations(made.traits.values(), 2):
        shared = set(one.words) & set(other.words) if one.category == other.category else set()
        if shared:
            what = f"{one.name!r} and {other.name!r} both claim {min(shared)!r}."
            raise where["traits", other.name].refuse(what, "Leave it to one of them.")


# ---------------------------------------------------------------- question sets
