"""What a task folder says about itself, read without running it: its function, its README, its lm-eval files."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sublim_eval.errors import SublimError, unknown
from sublim_eval.files import ROOT

LOG_PROBABILITIES = ("multiple_choice", "loglikelihood")
"""Output types of lm-eval that read probabilities and generate nothing."""


@dataclass(frozen=True)
class Argument:
    """An argument of a task (or a model role, which has no default): `default` as it stands in the source."""

    name: str
    meaning: str
    default: str = ""


@dataclass(frozen=True)
class LmEvalTask:
    """One lm-eval task of the folder, its includes laid under it.

    repeats, max_tokens: of sampled replies; loader: dotted name of the function that makes its rows.
    """

    name: str
    output_type: str
    tags: tuple[str, ...]
    version: str
    repeats: int = 1
    max_tokens: int = 0
    loader: str = ""

    @property
    def generates(self) -> bool:
        """Whether it takes sampled replies; if not, it reads log-probabilities."""
        return self.output_type not in LOG_PROBABILITIES


@dataclass(frozen=True)
class TaskFacts:
    """A task folder: name, first line of the docstring, arguments, @task attributes, lm-eval tasks."""

    name: str
    file: Path
    about: str
    arguments: tuple[Argument, ...] = ()
    roles: tuple[Argument, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    lm_eval: tuple[LmEvalTask, ...] = ()

    @property
    def folder(self) -> Path:
        """The task's folder."""
        return self.file.parent

    @property
    def path(self) -> str:
        """The task file as seen from the repository: tasks/owl_pref/owl_pref.py."""
        return f"tasks/{self.name}/{self.file.name}"


def names(tasks: Path = ROOT / "tasks") -> tuple[str, ...]:
    """The names of all task folders, sorted."""
    return tuple(sorted(f.parent.name for f in tasks.glob("*/*.py") if f.stem == f.parent.name))


def read(name: str, tasks: Path = ROOT / "tasks") -> TaskFacts:
    """What the folder tasks/<name> says.

    Raises SublimError for an unknown name, and for a file without a function `@task def <name>` with a docstring.
    """
    file = tasks / name / f"{name}.py"
    if name not in names(tasks):
        raise unknown("task", name, list(names(tasks)), "Task folders are in `sublim path tasks`.")
    tree = ast.parse(file.read_text(encoding="utf-8"), str(file))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    attributes = next((a for node in functions for d in node.decorator_list if (a := _attributes(d)) is not None), None)
    doc = ast.get_docstring(functions[0]) if functions else None
    if attributes is None or not doc:
        raise SublimError(f"{file} holds no `@task def {name}` with a docstring. Write one; Inspect looks for it.")
    meanings = _section(doc, "Args")
    arguments = tuple(Argument(a, meanings.get(a, ""), d) for a, d in _signature(functions[0]))
    for argument in arguments:
        if not argument.meaning:
            raise SublimError(f"{file}: {argument.name!r} is not under `Args:` of the docstring. Say what it means.")
    roles = tuple(Argument(role, meaning) for role, meaning in _section(doc, "Model Roles").items())
    about = " ".join(doc.split("\n\n")[0].split())
    return TaskFacts(name, file, about, arguments, roles, attributes, tuple(_lm_eval(file.parent)))


def _attributes(decorator: ast.expr) -> dict[str, Any] | None:
    """The keyword arguments of `@task(...)`; None for any other decorator."""
    call = decorator.func if isinstance(decorator, ast.Call) else decorator
    if not (isinstance(call, ast.Name) and call.id == "task"):
        return None
    given = decorator.keywords if isinstance(decorator, ast.Call) else []
    return {keyword.arg: ast.literal_eval(keyword.value) for keyword in given if keyword.arg}


def _signature(function: ast.FunctionDef) -> Iterator[tuple[str, str]]:
    """(argument, default as written; empty when there is none)."""
    spec = function.args
    defaults: list[ast.expr | None] = [None] * (len(spec.args) - len(spec.defaults)) + list(spec.defaults)
    pairs = [*zip(spec.args, defaults, strict=True), *zip(spec.kwonlyargs, spec.kw_defaults, strict=True)]
    yield from ((argument.arg, ast.unparse(default) if default else "") for argument, default in pairs)


def _section(docstring: str, title: str) -> dict[str, str]:
    """name -> text of one `Title:` section of a docstring; continued lines are joined."""
    body = re.search(rf"^{title}:\n((?:[ \t]+.*\n?|\n)*)", docstring, re.M)
    sections: dict[str, str] = {}
    for line in body.group(1).splitlines() if body else []:
        if head := re.match(r"    (\w+)(?: \([^)]*\))?: (.*)", line):
            sections[head[1]] = head[2].strip()
        elif line.strip() and sections:
            sections[next(reversed(sections))] += f" {line.strip()}"
    return sections


def _lm_eval(folder: Path) -> Iterator[LmEvalTask]:
    for file in sorted(folder.glob("*.yaml")):
        config = _with_includes(file)
        if "task" in config and isinstance(config["task"], str):
            yield LmEvalTask(
                config["task"],
                str(config.get("output_type", "generate_until")),
                tuple(_listed(config.get("tag", ()))),
                str(config.get("metadata", {}).get("version", "")),
                int(config.get("repeats", 1)),
                int(config.get("generation_kwargs", {}).get("max_gen_toks", 0)),
                str(config.get("custom_dataset", "")),
            )


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


class _Plain(yaml.SafeLoader):
    """YAML with lm-eval's `!function name` read as the name."""


_Plain.add_constructor("!function", lambda loader, node: str(node.value))


def _with_includes(file: Path) -> dict[str, Any]:
    """One lm-eval file with what it includes laid under it, as lm-eval does."""
    config = yaml.load(file.read_text(encoding="utf-8"), _Plain) or {}  # noqa: S506 - a SafeLoader
    below: dict[str, Any] = {}
    for name in _listed(config.pop("include", ())):
        below |= _with_includes(file.parent / name)
    return below | config
