"""Who may import whom: `sublim_eval` measures, `distill` makes, `tasks` is the doorbell. Runs nothing it reads."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.helpers import ROOT

FRAMEWORKS = {"torch", "transformers", "peft", "tokenizers", "safetensors", "inspect_ai", "lm_eval", "datasets"}

BASIS = {"errors", "models", "records", "registry", "strict"}
# room: (rooms it may import, why no others)
ARROWS: dict[str, tuple[set[str], str]] = {
    "errors": (set(), "everything stands on it"),
    "strict": ({"errors"}, "it reads any YAML and knows no catalogue"),
    "records": ({"errors"}, "it writes files and does not know what is in them"),
    "models": (set(), "sizes and prices of models: numbers in, numbers out"),
    "registry": ({"errors", "records", "strict", "models"}, "it is what all others ask; asking them would be a circle"),
    "terminal": (set(), "it prints anything and knows nothing"),
    "scorers": ({"registry"}, "text in, verdict out: pure, so that both harnesses agree"),
    "judges": (
        {"errors", "registry", "strict", "scorers"},
        "question and reply in, rating out: pure, so that harnesses and `sublim score` agree",
    ),
    "contamination": ({"registry", "scorers"}, "text in, what it names out: pure, for filters and audits alike"),
    "stats": (set(), "arrays in, interval out; it knows no files and no traits"),
    "entanglement": ({"stats"}, "arrays in, table out; it knows no files and no registry"),
    "adapters": (
        BASIS | {"scorers", "judges", "entanglement", "contamination"},
        "they carry scorers into frameworks and compute nothing of their own",
    ),
    "results": (BASIS | {"scorers", "judges", "adapters"}, "it reads what harnesses wrote"),
    "tables": (BASIS | {"adapters", "entanglement"}, "it reads what harnesses wrote about numbers and traits"),
    "responses": (BASIS | {"adapters", "judges", "scorers"}, "it reads replies and ratings, and asks a judge once"),
    "runs": (BASIS | {"results"}, "it reads run folders and computes nothing"),
    "cases": (BASIS | {"results", "runs"}, "it lines scores up for compare"),
    "across": (BASIS | {"results", "runs", "cases", "stats"}, "it sees several arms at once, for compare"),
    "outside": (BASIS | {"results", "runs", "cases"}, "it reads figures from anywhere and computes nothing"),
    "sweep": (BASIS | {"runs"}, "it picks a learning rate by loss and may not see a share"),
    "compare": (
        BASIS | {"results", "runs", "cases", "across", "outside", "stats", "sweep"},
        "it draws nothing and asks no model",
    ),
    "traps": (
        BASIS | {"results", "runs", "scorers", "stats"},
        "it reads what a run left, asks no model, and says what it saw",
    ),
    "report": (
        BASIS
        | {"results", "runs", "cases", "across", "compare", "stats", "sweep", "terminal", "entanglement", "tables"},
        "it draws what compare and stats say",
    ),
    "task_facts": (BASIS, "it reads task folders as text and runs none of them"),
    "readmes": (BASIS | {"task_facts", "_registry"}, "it writes down what the tasks are, as the harnesses see them"),
    "register": (BASIS | {"task_facts"}, "it writes down what a task folder and git say"),
    "abilities": (BASIS | {"adapters", "results", "stats"}, "it holds a student against its base and draws nothing"),
    "tasks": ({"adapters"}, "a task folder is a doorbell: no question text, no scoring logic"),
    "_registry": ({"tasks", "adapters"}, "it only names what Inspect finds"),
    "distill": (
        BASIS
        | {"adapters", "scorers", "contamination", "judges", "results", "compare", "report", "terminal"}
        | {"_registry", "sublim_eval"},
        "it reaches tasks by name, through Inspect, and no statistic decides what is made",
    ),
    "sublim_eval": ({"registry"}, "importing the package must be instant"),
    "cli": ({"errors", "records", "terminal", "commands"}, "every verb is a call"),
}
ARROWS["commands"] = (set(ARROWS) - {"cli", "tasks"}, "a verb may use everything but the command itself")

LAZY = {"tasks", "distill", "report", "compare", "results", "abilities"}
"""Rooms that commands import inside the function that needs them, so that `sublim --help` stays instant."""
HEAVY_AT_IMPORT = {"adapters", "tasks", "distill", "_registry"}
"""Rooms whose modules may import a framework at the top; elsewhere only inside a function."""


class Import(NamedTuple):
    """One import statement: where, the room it is in, the dotted name, inside a function or not."""

    file: Path
    line: int
    room: str
    name: str
    lazy: bool


def modules() -> Iterator[tuple[Path, str]]:
    """(file, dotted name) of every module of the package."""
    for folder, prefix in (("sublim_eval", ""), ("tasks", "sublim_eval."), ("distill", "sublim_eval.")):
        for file in sorted((ROOT / folder).rglob("*.py")):
            yield file, prefix + ".".join(file.relative_to(ROOT).with_suffix("").parts)


def imports() -> Iterator[Import]:
    """Every import statement of the package; those for type checkers only are left out."""
    for file, module in modules():
        package = module.removesuffix(".__init__") if file.name == "__init__.py" else module.rpartition(".")[0]
        parts = module.removesuffix(".__init__").split(".")
        room = parts[1] if len(parts) > 1 else "sublim_eval"
        for node, lazy in walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
                home = ".".join([*above, *([node.module] if node.module else [])])
                names = [f"{home}.{alias.name}" for alias in node.names]
            yield from (Import(file, node.lineno, room, name, lazy) for name in names)


def walk(node: ast.AST, lazy: bool = False) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, lazy
        elif not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield from walk(child, lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))


def room_of(name: str) -> str | None:
    """The room a dotted name lives in, None outside the package."""
    first, *rest = name.split(".")
    if first != "sublim_eval":
        return None
    return rest[0] if rest and rest[0] in ARROWS else "sublim_eval"


ALL = list(imports())


def test_the_walk_sees_the_house():
    assert {i.room for i in ALL} >= {"registry", "adapters", "tasks", "distill", "commands"}
    assert any(i.name == "sublim_eval.distill.modalities.numbers" for i in ALL), "relative imports are resolved"


def test_every_room_is_in_the_table():
    rooms = {name.split(".")[1] for _, name in modules() if name.count(".")} - {"__init__"}
    assert not rooms - set(ARROWS), "say in ARROWS who the new room may import, and why"


@pytest.mark.parametrize("room", ARROWS)
def test_a_room_imports_only_what_it_may(room):
    may, why = ARROWS[room]
    wrong = [i for i in ALL if i.room == room and (to := room_of(i.name)) and to != room and to not in may]
    told = [f"{i.file.relative_to(ROOT)}:{i.line} imports {i.name}" for i in wrong]
    assert not wrong, f"{'; '.join(told)}. {room} may not: {why}."


@pytest.mark.parametrize("room", ARROWS)
def test_frameworks_are_loaded_where_they_are_at_home(room):
    loose = [
        f"{i.file.relative_to(ROOT)}:{i.line} imports {i.name}"
        for i in ALL
        if i.room == room and i.name.split(".")[0] in FRAMEWORKS and not (i.lazy or room in HEAVY_AT_IMPORT)
    ]
    assert not loose, f"{'; '.join(loose)} at the top. Import it inside the function that needs it."


def test_commands_import_the_slow_rooms_inside_functions():
    early = [i for i in ALL if i.room in ("cli", "commands") and room_of(i.name) in LAZY and not i.lazy]
    assert not early, [f"{i.file.relative_to(ROOT)}:{i.line} imports {i.name}" for i in early]


def test_nobody_imports_a_mapped_folder_by_its_checkout_name():
    """`import distill` works in a checkout and nowhere else."""
    wrong = [i for i in ALL if i.name.split(".")[0] in ("tasks", "distill", "tests", "benchmarks")]
    assert not wrong, [f"{i.file.relative_to(ROOT)}:{i.line} imports {i.name}" for i in wrong]
