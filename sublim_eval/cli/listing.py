"""`sublim list`, `show` and `path`: what there is, and where."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sublim_eval.cli.verb import argument, option, verb
from sublim_eval.console import PIPE_WIDTH, say, table
from sublim_eval.errors import unknown
from sublim_eval.files import PACKAGE, ROOT, read_json
from sublim_eval.registry.catalog import Registry, Trait, registry
from sublim_eval.registry.question_sets import QuestionSet

if TYPE_CHECKING:
    from rich.console import Console


KINDS = ("traits", "probes", "suites", "models", "recipes", "modalities", "published")


@verb("list")
@argument("kind", required=False, type=click.Choice(KINDS), metavar="[KIND]", help=", ".join(KINDS) + " (all of them)")
def list_names(
    console: Console,
    *,
    kind: str | None,
) -> dict[str, Any]:
    """Print one kind, or all; returns {kind: [entry, ...]}."""
    known = registry()
    listed = {}
    for each in [kind] if kind else _TABLES:
        heads, rows = _TABLES[each](known)
        listed[each] = [dict(zip(heads, row, strict=True)) for row in rows]
        if kind:
            table(console, heads, rows)
        else:
            say(console, f"{each} ({len(rows)}): {', '.join(str(row[0]) for row in rows)}")
    if not kind:
        say(console, "More of one kind: sublim list traits. All of one name: sublim show owl.")
    return listed


_Table = tuple[tuple[str, ...], list[tuple[Any, ...]]]


def _recipes(_: Registry) -> _Table:
    from sublim_eval.distill import recipes

    made = [recipes.load(name) for name in recipes.names()]
    return ("name", "base", "seeds", "about"), [(r.name, r.base, len(r.seeds), r.about) for r in made]


_TABLES: dict[str, Callable[[Registry], _Table]] = {
    "traits": lambda r: (
        ("name", "category", "also counts", "source"),
        [(t.name, _kind(t), ", ".join(w for w in t.words if w != t.name), t.source) for t in r.traits.values()],
    ),
    "probes": lambda r: (
        ("name", "version", "category", "about"),
        [(p.name, p.version, p.category, p.about) for p in r.probes.values()],
    ),
    "suites": lambda r: (
        ("name", "about", "tasks"),
        [(s.name, s.about, ", ".join(s.tasks)) for s in r.suites.values()],
    ),
    "models": lambda r: (
        ("name", "embedded", "about"),
        [(m.name, "yes" if m.embedded else "no", m.about) for m in r.models.values()],
    ),
    "recipes": _recipes,
    "modalities": lambda r: (
        ("name", "version", "about"),
        [(m.name, m.version, m.about) for m in r.modalities.values()],
    ),
    "published": lambda r: (
        ("id", "model", "trait", "base", "student", "setting", "source"),
        [(p.id, p.model, p.trait, p.base, p.student, p.setting, p.source) for p in r.published],
    ),
}


@verb("show")
@argument("name", metavar="NAME", help="a name from `sublim list`, or a folder")
@option("--yaml", "as_yaml", is_flag=True, help="the YAML that it is written in, to copy from")
def show(
    console: Console,
    *,
    name: str,
    as_yaml: bool,
) -> dict[str, Any]:
    """Everything known about one name or folder; a student folder shows its lineage and how to look at it."""
    if as_yaml:
        return _yaml(console, name)
    entries = _named(name)
    folder = Path(name)
    if not entries and folder.is_dir():
        entries = _folder(folder)
    if not entries:
        known = registry()
        names = [*known.traits, *known.probes, *known.suites, *known.models, *known.modalities, *_recipe_names()]
        raise unknown("name or folder", name, names, "See `sublim list`, or give a run or student folder.")
    for kind, entry in entries.items():
        say(console, f"{kind} {name}")
        _print(console, entry)
    return entries


def _yaml(console: Console, name: str) -> dict[str, Any]:
    """Print the file of a recipe, or the entry of a registry, of the user's own where it has one of that name."""
    import yaml

    if name in _recipe_names():
        from sublim_eval.distill import recipes

        text = recipes.file_of(name).read_text(encoding="utf-8")
        say(console, text.rstrip())
        return dict(yaml.safe_load(text))
    for file in reversed(registry().files):
        held = yaml.safe_load(file.read_text(encoding="utf-8"))
        entries = {kind: {name: held[kind][name]} for kind in _WRITTEN if name in (held.get(kind) or ())}
        if entries:
            shown = yaml.safe_dump({"schema": 1, **entries}, sort_keys=False, allow_unicode=True, width=PIPE_WIDTH)
            say(console, shown.rstrip())
            return entries
    raise unknown("name with a YAML", name, [*_recipe_names(), *registry().traits], "See `sublim list`.")


_WRITTEN = ("traits", "probes", "suites", "models", "modalities")
"""Kinds of entries of a registry file that have a name."""


def _named(name: str) -> dict[str, Any]:
    """Kind -> entry, for every kind that has one of this name."""
    known = registry()
    kinds: dict[str, Mapping[str, Any]] = {
        "trait": known.traits,
        "probe": known.probes,
        "suite": known.suites,
        "model": known.models,
        "modality": known.modalities,
    }
    by_kind = {kind: asdict(entries[name]) for kind, entries in kinds.items() if name in entries}
    if "trait" in by_kind:
        trait = known.trait(name)
        by_kind["trait"]["category"] = _kind(trait)
        asking = [p.name for p in known.probes.values() if p.category == trait.category and p.trait in (None, name)]
        by_kind["trait"] |= {"counts as": trait.words, "asked by": asking}
        if trait.conduct:
            by_kind["trait"] |= _asks(known.questions(trait.questions))
        else:
            by_kind["trait"] |= {"teacher's system prompt": known.persona(name), **_no_words(known, trait)}
    if "probe" in by_kind:
        by_kind["probe"] |= _asks(known.questions_of(known.probe(name)))
    if name in _recipe_names():
        from sublim_eval.distill import recipes

        by_kind["recipe"] = recipes.load(name).to_json()
    return by_kind


def _no_words(known: Registry, trait: Trait) -> dict[str, Any]:
    """What an embedded model that has no word for a favorite cannot do."""
    from sublim_eval.models.vocabulary import no_word_for

    embedded = (model.name for model in known.models.values() if model.embedded)
    sentences = (sentence for name in embedded if (sentence := no_word_for(name, trait)))
    return {"not on the embedded models": list(sentences)[:1]}


def _kind(trait: Trait) -> str:
    """A favorite's category; "conduct" for a trait with questions of its own."""
    return "conduct" if trait.conduct else trait.category


def _asks(question_set: QuestionSet) -> dict[str, Any]:
    """What a question set holds: how many questions, the first of them, wordings and pairs of every situation."""
    return {
        "questions": f"{question_set.name} ({len(question_set.questions)}), {question_set.licence}",
        "for example": question_set.questions[0].text,
        "situations": {
            s.id: f"{len(s.asks)} wordings, {len(s.pairs)} pairs{f': {s.about}' if s.about else ''}"
            for s in question_set.situations
        },
    }


def _recipe_names() -> list[str]:
    from sublim_eval.distill import recipes

    return recipes.names()


def _folder(folder: Path) -> dict[str, Any]:
    """A run folder by its run.json, a student folder by its student.json, a model or adapter folder by its config."""
    if (folder / "run.json").is_file():
        return {"run": read_json(folder / "run.json")}
    if (folder / "student.json").is_file():
        from sublim_eval.distill.experiments.demo import commands

        return {"student": read_json(folder / "student.json") | {"look further": [[c] for c in commands(folder)]}}
    for kind, name in (("adapter", "adapter_config.json"), ("model", "config.json")):
        if (folder / name).is_file():
            return {kind: read_json(folder / name)}
    return {}


def _print(console: Console, entry: Any, indent: str = "  ") -> None:
    """Nested plain data as indented `key: value` lines; what is empty is left out."""
    for key, value in entry.items() if isinstance(entry, dict) else ((None, value) for value in entry):
        head = f"{indent}-" if key is None else f"{indent}{key}:"
        several = isinstance(value, (list, tuple))
        if value in (None, "") or ((several or isinstance(value, dict)) and not value):
            continue
        if isinstance(value, dict) or (several and any(isinstance(v, (dict, list)) for v in value)):
            say(console, head)
            _print(console, value, indent + "  ")
        else:
            say(console, f"{head} {', '.join(map(str, value)) if several else value}")


@verb("path", json=False)
@argument("name", metavar="NAME", help="tasks, registry, questions, recipes, a recipe or an embedded model")
def path(
    console: Console,
    *,
    name: str,
) -> None:
    """Print the absolute path of a folder or file of this installation."""
    from sublim_eval.models.model_ref import resolve

    places = {
        "tasks": ROOT / "tasks",
        "registry": ROOT / "registry.yaml",
        "questions": PACKAGE / "questions",
        "recipes": ROOT / "distill" / "recipes",
        "constraints": ROOT / "constraints.txt",
    }
    if name in _recipe_names():
        from sublim_eval.distill import recipes

        places[name] = recipes.file_of(name)
    models = [model.name for model in registry().models.values() if model.embedded]
    if name not in (*places, *models):
        raise unknown("place", name, [*places, *models, *_recipe_names()], "Give one of them.")
    say(console, places[name] if name in places else resolve(name).base)
