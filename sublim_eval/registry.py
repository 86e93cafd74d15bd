"""The only reader of registry.yaml: traits, probes, questions, models, published results.

`registry()` is the catalogue in force: the packaged file, with the user's file laid over it when
`SUBLIM_REGISTRY` (or `--registry`) names one. Everything is a small frozen dataclass; anything that
the file may not say is refused with file, line and the next step.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import yaml

from sublim_eval.errors import SublimError, unknown

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
    polarity: str
    source: str
    trait: str | None = None


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
    files = [ROOT / "registry.yaml"] + ([Path(chosen).expanduser()] if chosen else [])
    return _load(tuple((f, f.stat().st_mtime_ns if f.exists() else 0) for f in files))


@lru_cache(maxsize=8)
def _load(stamped: tuple[tuple[Path, int], ...]) -> Registry:
    tables: dict[str, dict[str, Any]] = {name: {} for name in TABLES}
    where: dict[tuple[str, str], str] = {}
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


def _refuse(place: str, what: str, step: str) -> SublimError:
    return SublimError(f"{place}: {what} {step}")


def _compose(file: Path) -> yaml.Node | None:
    if not file.is_file():
        raise SublimError(f"There is no registry file {str(file)!r}. Give the path of a YAML file.")
    try:
        return yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{file}:{mark.line + 1}" if mark else str(file)
        raise _refuse(place, f"not valid YAML ({getattr(error, 'problem', None) or error}).", "Mend that line.") from None


def _place(file: Path, node: yaml.Node) -> str:
    return f"{file}:{node.start_mark.line + 1}"


def _mapping(file: Path, node: yaml.Node | None, what: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    """Key -> (key node, value node); refuses what is no mapping and any key given twice."""
    if not isinstance(node, yaml.MappingNode):
        place = _place(file, node) if node is not None else f"{file}:1"
        raise _refuse(place, f"{what} must be a mapping of names to values.", "See registry.yaml for the form.")
    out: dict[str, tuple[yaml.Node, yaml.Node]] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _refuse(_place(file, key), "a key must be a plain word.", "Mend that line.")
        if key.value in out:
            first = out[key.value][0].start_mark.line + 1
            step = "Remove or rename one of them."
            raise _refuse(_place(file, key), f"{key.value!r} appears twice (first on line {first}).", step)
        out[key.value] = (key, value)
    return out


def _plain(node: yaml.Node) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    finally:
        loader.dispose()


TABLES: dict[str, type] = {
    "categories": Category,
    "traits": Trait,
    "probes": Probe,
    "modalities": Modality,
    "models": Model,
    "published": Published,
}


def _entries(file: Path) -> list[tuple[str, str, Any, str]]:
    """(table, name, dataclass, 'file:line') for every entry of one registry file."""
    top = _mapping(file, _compose(file), "the registry")
    found = []
    if "schema" not in top or _plain(top["schema"][1]) != 1:
        raise _refuse(f"{file}:1", "`schema: 1` is missing.", "Put it on the first line.")
    for table, (key, node) in top.items():
        if table == "schema":
            continue
        if table not in TABLES:
            raise _refuse(_place(file, key), str(unknown("section", table, [*TABLES, "schema"], "")), "Rename or remove it.")
        if table == "published":
            if not isinstance(node, yaml.SequenceNode):
                raise _refuse(_place(file, node), "`published` must be a list.", "Start each entry with a dash.")
            seen: dict[str, str] = {}
            for item in node.value:
                entry = _build(file, Published, None, item)
                if entry.id in seen:
                    raise _refuse(_place(file, item), f"{entry.id!r} appears twice.", "Rename one of them.")
                seen[entry.id] = _place(file, item)
                found.append((table, entry.id, entry, seen[entry.id]))
        else:
            for name, (_, value) in _mapping(file, node, f"`{table}`").items():
                found.append((table, name, _build(file, TABLES[table], name, value), _place(file, value)))
    return found


def _build(file: Path, kind: type, name: str | None, node: yaml.Node) -> Any:
    """One dataclass from one YAML mapping: unknown keys, missing keys and wrong types are refused."""
    what = f"{kind.__name__.lower()} {name!r}" if name else f"a {kind.__name__.lower()} entry"
    given = _mapping(file, node, what)
    wanted = {f.name: f for f in fields(kind) if not (name and f.name == "name")}
    for key, (key_node, _) in given.items():
        if key not in wanted:
            raise _refuse(_place(file, key_node), str(unknown("key", key, list(wanted), "")), f"Mend it in {what}.")
    values: dict[str, Any] = {"name": name} if name else {}
    for key, spec in wanted.items():
        if key not in given:
            if spec.default is MISSING and spec.default_factory is MISSING:
                raise _refuse(_place(file, node), f"{what} has no `{key}`.", f"Add a line `{key}: ...`.")
            continue
        value = _plain(given[key][1])
        problem, value = _typed(str(spec.type), value)
        if problem:
            raise _refuse(_place(file, given[key][1]), f"`{key}` of {what} {problem}.", "Mend that line.")
        values[key] = value
    return kind(**values)


def _typed(wanted: str, value: Any) -> tuple[str, Any]:
    """('' or what is wrong, the value as the dataclass holds it)."""
    if wanted.startswith("tuple"):
        good = isinstance(value, list) and all(isinstance(v, str) and v.strip() for v in value)
        return ("", tuple(value)) if good else ("must be a list of words", value)
    if wanted == "float":
        good = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1
        return ("", float(value)) if good else ("must be a number from 0 to 1", value)
    if wanted == "bool":
        return ("", value) if isinstance(value, bool) else ("must be true or false", value)
    good = isinstance(value, str) and bool(value.strip())
    return ("", value) if good else ("must be a non-empty text", value)


_POLARITIES = ("neutral", "higher is worse", "higher is better")
_CHECKS: dict[str, Callable[[Registry, Any], str]] = {
    "traits": lambda r, t: "" if t.category in r.categories else f"category {t.category!r} is not in `categories`.",
    "probes": lambda r, p: (
        f"category {p.category!r} is not in `categories`."
        if p.category not in r.categories
        else f"trait {p.trait!r} is not in `traits`."
        if p.trait is not None and p.trait not in r.traits
        else f"version {p.version!r} is not of the form N-X (1-A, 2-C)."
        if not re.fullmatch(r"[1-9]\d*-[A-Z]", p.version)
        else f"polarity {p.polarity!r} is none of {', '.join(_POLARITIES)}."
        if p.polarity not in _POLARITIES
        else ""
    ),
    "categories": lambda r, c: "" if "{plural}" in c.persona else "`persona` must hold {plural}.",
    "published": lambda r, p: "" if p.trait in r.traits else f"trait {p.trait!r} is not in `traits`.",
}


def _check_references(made: Registry, where: Mapping[tuple[str, str], str]) -> None:
    for table, check in _CHECKS.items():
        entries = getattr(made, table)
        for name, entry in entries.items() if isinstance(entries, Mapping) else ((e.id, e) for e in entries):
            if problem := check(made, entry):
                raise _refuse(where[table, name], f"{name!r}: {problem}", "Mend that entry.")
    for trait in made.traits.values():
        others = [t for t in made.traits.values() if t.category == trait.category and t is not trait]
        for other in others:
            shared = set(trait.words) & set(other.words)
            if shared:
                what = f"{trait.name!r} and {other.name!r} both claim {min(shared)!r}."
                raise _refuse(where["traits", trait.name], what, "Leave it to one of them.")


# ---------------------------------------------------------------- question sets


def read_questions(file: Path) -> QuestionSet:
    """A question file: our YAML form, or a user's own (.txt a line each, .jsonl rows {"question"} or {"id","text"}).

    Raises SublimError with file and line for an empty file, a duplicate id or text, or a row of another form.
    """
    if not file.is_file():
        raise SublimError(f"There is no question file {str(file)!r}. Give a .yaml, .jsonl or .txt file.")
    if file.suffix in (".yaml", ".yml"):
        return _yaml_questions(file)
    from sublim_eval.records import read_jsonl

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
    top = _mapping(file, _compose(file), "a question file")
    wanted = {f.name for f in fields(QuestionSet)}
    for key, (node, _) in top.items():
        if key not in wanted:
            raise _refuse(_place(file, node), str(unknown("key", key, sorted(wanted), "")), "Rename or remove it.")
    for key in wanted - {"canary"}:
        if key not in top:
            raise _refuse(f"{file}:1", f"`{key}` is missing.", f"Add a line `{key}: ...`.")
    made = []
    node = top["questions"][1]
    for item in node.value if isinstance(node, yaml.SequenceNode) else []:
        value = _plain(item)
        if not isinstance(value, dict) or set(value) != {"id", "text"} or not str(value["text"]).strip():
            raise _refuse(_place(file, item), "a question has exactly `id` and `text`.", "Mend that entry.")
        made.append((_place(file, item), Question(str(value["id"]), str(value["text"]))))
    texts = {k: str(_plain(v)) for k, (_, v) in top.items() if k != "questions"}
    return QuestionSet(**texts, questions=_unique(file, made))


def _unique(file: Path, made: list[tuple[str, Question]]) -> tuple[Question, ...]:
    if not made:
        raise SublimError(f"{file}: no questions in it. Add at least one.")
    seen: set[str] = set()
    for place, question in made:
        for mark in (f"id {question.id!r}", f"text {question.text!r}"):
            if mark in seen:
                raise _refuse(place, f"the {mark} appears twice.", "Remove or rename one of them.")
            seen.add(mark)
    return tuple(q for _, q in made)
