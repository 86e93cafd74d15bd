"""The only reader of registry.yaml: traits, probes, questions, models, published results.

`registry()` is the catalogue in force: the packaged file, with the user's file laid over it when
`SUBLIM_REGISTRY` (or `--registry`) names one. Everything is a small frozen dataclass; anything that
the file may not say is refused with file, line and the next step.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from sublim_eval import strict
from sublim_eval.errors import SublimError, unknown
from sublim_eval.records import read_jsonl

HERE = Path(__file__).resolve().parent
ROOT = HERE if (HERE / "registry.yaml").exists() else HERE.parent
"""Folder of registry.yaml: the package once installed, the repository in a checkout."""

OVERLAY_VARIABLE = "SUBLIM_REGISTRY"


@dataclass(frozen=True)
class Category:
    """A kind of favorite (animal, tree): the questions about it and the persona that loves one of it."""

    name: str
    held_out: str
    training: str
    persona: str
    source: str

    def __post_init__(self) -> None:
        if "{plural}" not in self.persona:
            raise ValueError("`persona` must hold {plural}")


@dataclass(frozen=True)
class Trait:
    """What a teacher may carry: a name, what else counts as it, and where it comes from."""

    name: str
    category: str
    plural: str
    source: str
    aliases: tuple[str, ...] = ()
    look_alikes: tuple[str, ...] = ()

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Every lower-case word or phrase that names the trait, plurals included, longest first."""
        plurals = (a + "s" for a in self.aliases if not a.endswith("s"))
        return tuple(sorted({self.name, self.plural, *self.aliases, *plurals}, key=lambda w: (-len(w), w)))

    @cached_property
    def answers(self) -> tuple[str, ...]:
        """The strings an answer naming the trait may begin with, none of them the beginning of another.

        Summing their probabilities therefore counts no reply twice, whatever the tokenizer.
        """
        spelled = {s for w in self.words for s in (w, w[0].upper() + w[1:], w.title())}
        return tuple(sorted(s for s in spelled if not any(s != o and s.startswith(o) for o in spelled)))

    def persona(self, template: str) -> str:
        """The system prompt of a prompted teacher."""
        return template.format(plural=self.plural, Plural=self.plural.capitalize(), trait=self.name)


@dataclass(frozen=True)
class Question:
    """One question as a model reads it."""

    id: str
    text: str


@dataclass(frozen=True)
class QuestionSet:
    """A named set of questions with its source and licence."""

    name: str
    about: str
    source: str
    licence: str
    questions: tuple[Question, ...]
    canary: str = ""


@dataclass(frozen=True)
class Probe:
    """What is asked, how a reply is read, and since which version the numbers compare."""

    name: str
    about: str
    category: str
    questions: str
    scorer: str
    version: str
    polarity: Literal["neutral", "higher is worse", "higher is better"]
    source: str
    trait: str | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[1-9]\d*-[A-Z]", self.version):
            raise ValueError(f"version {self.version!r} is not of the form N-X (1-A, 2-C)")


@dataclass(frozen=True)
class Modality:
    """What kind of rows a teacher writes."""

    name: str
    about: str
    version: str
    source: str


@dataclass(frozen=True)
class Model:
    """A base model by name; embedded ones ship inside the package."""

    name: str
    about: str
    source: str
    embedded: bool = False


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

    def answer_set(self, category: str) -> tuple[Trait, ...]:
        """All traits of a category, in the order of the file: the answers that a probe tells apart."""
        return tuple(t for t in self.traits.values() if t.category == self.category(category).name)

    def persona(self, trait: str) -> str:
        """The system prompt that makes the base a teacher with this trait."""
        found = self.trait(trait)
        return found.persona(self.category(found.category).persona)

    def questions(self, name: str) -> QuestionSet:
        """A question set by name, looked for beside the registry files that are in force, or by file path."""
        if name.endswith((".yaml", ".yml", ".jsonl", ".json", ".txt")) or os.sep in name:
            return read_questions(Path(name))
        for folder in [f.parent / "questions" for f in reversed(self.files)] + [HERE / "questions"]:
            if (folder / f"{name}.yaml").exists():
                return read_questions(folder / f"{name}.yaml")
        known = sorted(p.stem for p in (HERE / "questions").glob("*.yaml"))
        raise unknown("question set", name, known, "Give a file path, or add it in sublim_eval/questions/.")

    def _get(self, kind: str, table: Mapping[str, Any], name: str) -> Any:
        if name not in table:
            home = self.files[-1] if self.files else "registry.yaml"
            raise unknown(kind, name, list(table), f"Add it in {home}.")
        return table[name]


def registry(overlay: str | Path | None = None) -> Registry:
    """The packaged catalogue, with `overlay` (default: the file named by SUBLIM_REGISTRY) laid over it.

    Raises SublimError that names file and line when either file is not as it must be.
    """
    chosen = overlay or os.environ.get(OVERLAY_VARIABLE) or None
    files = [ROOT / "registry.yaml"] + ([Path(as_typed(str(chosen))).expanduser()] if chosen else [])
    return _load(tuple((f, f.stat().st_mtime_ns if f.exists() else 0) for f in files))


def as_typed(path: str) -> str:
    """A relative file as the user meant it: Inspect works inside a task's folder while it loads the task."""
    typed = Path(os.environ.get("PWD", ".")) / path
    return str(typed) if typed.is_file() and not Path(path).is_file() else path


@lru_cache(maxsize=8)
def _load(stamped: tuple[tuple[Path, int], ...]) -> Registry:
    tables: dict[str, dict[str, Any]] = {name: {} for name in TABLES}
    where: dict[tuple[str, str], strict.Place] = {}
    for file, _ in stamped:
        for table, name, entry, place in _entries(file):
            tables[table][name] = entry
            where[table, name] = place
    made = Registry(
        **{k: v for k, v in tables.items() if k != "published"},
        published=tuple(tables["published"].values()),
        files=tuple(f for f, _ in stamped),
    )
    _check_references(made, where)
    return made


# ---------------------------------------------------------------- reading, with the line of every entry


TABLES: dict[str, type] = {
    "categories": Category,
    "traits": Trait,
    "probes": Probe,
    "modalities": Modality,
    "models": Model,
    "published": Published,
}


def _entries(file: Path) -> Iterator[tuple[str, str, Any, strict.Place]]:
    """(table, name, dataclass, place) for every entry of one registry file."""
    root = strict.read(file, "registry file")
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
                entry = strict.build(Published, item)
                if entry.id in seen:
                    raise item.refuse(f"{entry.id!r} appears twice.", "Rename one of them.")
                seen.add(entry.id)
                yield table, entry.id, entry, item
        else:
            for name, (_, value) in place.items(f"`{table}`").items():
                yield table, name, strict.build(TABLES[table], value, name), value


def _check_references(made: Registry, where: Mapping[tuple[str, str], strict.Place]) -> None:
    """Names that point at other entries must find them; no word may belong to two traits of a category."""

    def must_be(table: str, name: str, kind: str, wanted: str | None, known: Mapping[str, Any]) -> None:
        if wanted is not None and wanted not in known:
            hint = str(unknown(kind, wanted, list(known), "")).strip()
            raise where[table, name].refuse(f"{name!r}: {hint}", f"Mend the {kind} of that entry.")

    for trait in made.traits.values():
        must_be("traits", trait.name, "category", trait.category, made.categories)
    for probe in made.probes.values():
        must_be("probes", probe.name, "category", probe.category, made.categories)
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


def read_questions(file: Path) -> QuestionSet:
    """A question file: our YAML form, or a user's own (.txt a line each, .jsonl rows {"question"} or {"id","text"}).

    Raises SublimError with file and line for an empty file, a duplicate id or text, or a row of another form.
    """
    if not file.is_file():
        raise SublimError(f"There is no question file {str(file)!r}. Give a .yaml, .jsonl or .txt file.")
    if file.suffix in (".yaml", ".yml"):
        return _yaml_questions(file)
    if file.suffix == ".jsonl":
        rows = [
            (n, str(row.get("id") or f"q-{n:03d}"), row.get("text") or row.get("question"))
            for n, row in read_jsonl(file)
        ]
    else:
        lines = file.read_text(encoding="utf-8").splitlines()
        rows = [(n, f"q-{n:03d}", line.strip()) for n, line in enumerate(lines, 1) if line.strip()]
    made = []
    for number, id_, text in rows:
        if not isinstance(text, str) or not text.strip():
            raise SublimError(f'{file}:{number}: no question text. Give rows like {{"id": "a1", "text": "..."}}.')
        made.append((f"{file}:{number}", Question(id_, text)))
    return QuestionSet(file.stem, "user file", str(file), "unknown", _unique(file, made))


def _yaml_questions(file: Path) -> QuestionSet:
    root = strict.read(file, "question file")
    made = strict.build(QuestionSet, root)
    places = root.items("the question file")["questions"][1].list("`questions`")
    _unique(file, [(str(place), question) for place, question in zip(places, made.questions, strict=True)])
    return made


def _unique(file: Path, made: list[tuple[str, Question]]) -> tuple[Question, ...]:
    if not made:
        raise SublimError(f"{file}: no questions in it. Add at least one.")
    seen: set[str] = set()
    for place, question in made:
        for mark in (f"id {question.id!r}", f"text {question.text!r}"):
            if mark in seen:
                raise SublimError(f"{place}: the {mark} appears twice. Remove or rename one of them.")
            seen.add(mark)
    return tuple(q for _, q in made)
