"""Who may import whom: `sublim_eval` measures, `distill` makes, `tasks` is the doorbell. Runs nothing it reads."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.helpers import ROOT

FRAMEWORKS = {"torch", "transformers", "peft", "tokenizers", "safetensors", "inspect_ai", "lm_eval", "datasets"}

BASIS = {"errors", "files", "console", "strict_yaml", "registry"}
MADE_FROM = BASIS | {"probes", "models", "remote", "scores"}
"""What every room of `distill` may take from the half that measures."""

# room: (rooms it may import, lazily or not; why no others)
ARROWS: dict[str, tuple[set[str], str]] = {
    "sublim_eval": ({"files", "probes", "registry"}, "importing the package must be instant"),
    "__main__": ({"cli"}, "it is the command under another name"),
    "errors": ({"console"}, "everything else stands on it"),
    "console": (set(), "it prints anything and knows nothing"),
    "files": ({"errors"}, "it writes files and does not know what is in them"),
    "strict_yaml": ({"errors"}, "it reads any YAML and knows no catalogue"),
    "gap_error": (set(), "arrays in, error of a gap out; it knows no files and no traits"),
    "detectable": ({"gap_error"}, "it simulates studies from what one study showed"),
    "stats": ({"gap_error", "detectable"}, "arrays in, interval out; it knows no files and no traits"),
    "entanglement_stats": ({"stats"}, "arrays in, table out; it knows no files and no registry"),
    "registry": ({"errors", "files", "strict_yaml"}, "it is what all others ask; asking them would be a circle"),
    "probes": (
        BASIS | {"entanglement_stats"},
        "text in, reading out: pure, so that harnesses, filters and saved replies agree",
    ),
    "models": (BASIS | {"probes"}, "it loads and asks weights at hand; what is asked comes from outside"),
    "remote": (BASIS | {"probes"}, "it asks whoever stands elsewhere and knows no probe's meaning"),
    "harness": (
        BASIS | {"probes", "models", "remote", "entanglement_stats"},
        "it carries probes into frameworks and computes nothing of its own",
    ),
    "tasks": ({"harness"}, "a task folder is a doorbell: no question text, no scoring logic"),
    "inspect_tasks": ({"tasks", "harness"}, "it only names what Inspect finds"),
    "foresight": (
        BASIS | {"models", "distill.audit"},
        "it carries audits of data into frameworks; `scores` needs the probes' tasks, and an audit needs `scores`",
    ),
    "inspect_entry": ({"inspect_tasks", "foresight"}, "it only names what Inspect finds"),
    "scores": (
        BASIS | {"probes", "models", "remote", "harness", "inspect_tasks", "stats", "entanglement_stats"},
        "it evaluates and reads what was evaluated; it compares nobody and makes nothing",
    ),
    "compare": (BASIS | {"scores", "stats"}, "it reads runs, draws nothing and asks no model"),
    "traps": (
        BASIS | {"probes", "scores", "compare", "stats", "models"},
        "it reads what a run left, hears whether an adapter moves a logit, and says what it saw; it makes nothing",
    ),
    "board": (
        BASIS | {"remote", "scores", "compare", "stats"},
        "it brings what others say of models into one table, and neither asks a model nor draws",
    ),
    "report": (
        BASIS | {"scores", "compare", "stats", "entanglement_stats", "board"},
        "it draws, and writes for others, what board, compare and stats say",
    ),
    "maintain": (BASIS | {"inspect_tasks"}, "it writes down what task folders and git say, for those who work on them"),
    "distill": (set(), "the package's own file holds nothing"),
    "distill.devices": (set(), "it knows this machine's devices and nothing that runs on them"),
    "distill.provenance": (set(), "it writes down versions and the machine"),
    "distill.stages": ({"errors", "files"}, "it makes folders whole and does not know what is in them"),
    "distill.modalities": (MADE_FROM, "prompts and a filter; who answers, and what for, is not its business"),
    "distill.recipes": (MADE_FROM | {"distill.modalities"}, "it is read before anything is made"),
    "distill.base_templates": (
        MADE_FROM | {"distill.recipes"},
        "it names bases; whoever starts a run needs no torch for it",
    ),
    "distill.base_models": (
        MADE_FROM | {"distill.devices", "distill.recipes"},
        "it lends bases to whoever trains and does not train",
    ),
    "distill.rows": (
        MADE_FROM | {"distill.modalities", "distill.recipes"},
        "prompts in, filtered rows out; it trains nothing and plans nothing",
    ),
    "distill.planning": (
        MADE_FROM | {"harness", "distill.devices", "distill.modalities", "distill.recipes"},
        "it counts before anything is made, so it may load nothing that makes",
    ),
    "distill.training": (
        MADE_FROM | {"distill.base_models", "distill.devices", "distill.planning", "distill.recipes"},
        "rows in, weights out, whoever wrote the rows",
    ),
    "distill.hosted": (
        MADE_FROM | {"distill.planning", "distill.recipes"},
        "a provider trains; nothing is loaded here",
    ),
    "distill.make_teacher": (
        MADE_FROM
        | {"distill.modalities", "distill.recipes", "distill.rows", "distill.training", "distill.base_models"},
        "it makes one teacher and checks it; the order of a run is the pipeline's",
    ),
    "distill.pipeline": (
        MADE_FROM
        | {"distill.base_templates", "distill.hosted", "distill.modalities", "distill.recipes", "distill.rows"}
        | {"distill.make_teacher", "distill.stages", "distill.training", "distill.audit"},
        "it tells the story; who carries it out, and where, it does not know; no statistic decides what is made, but a "
        "stop rule that the user asked for (audit/stop_rule.py)",
    ),
    "distill.execution": (
        MADE_FROM
        | {"distill.base_templates", "distill.devices", "distill.pipeline", "distill.planning", "distill.provenance"}
        | {"distill.recipes", "distill.stages", "distill.training"},
        "it carries jobs to processes and nodes and looks into none of them",
    ),
    "distill.audit": (
        MADE_FROM
        | {"distill.base_models", "distill.base_templates", "distill.devices", "distill.modalities", "distill.recipes"}
        | {"distill.stages", "distill.training"},
        "rows in, verdict out; it makes its own probes and controls and knows no run",
    ),
    "distill.lineage": (
        MADE_FROM
        | {"distill.base_templates", "distill.modalities", "distill.recipes", "distill.stages", "distill.training"},
        "it looks at two models, or at what a run left; it makes neither",
    ),
    "distill.diff": (
        MADE_FROM | {"distill.lineage", "distill.audit", "distill.training", "stats"},
        "it looks at a student, its base and the base's probes (audit/stop_rule.py) and makes no student",
    ),
    "distill.reference": (
        BASIS | {"probes", "models", "distill.modalities"},
        "what the embedded models are born from holds no teacher and no student",
    ),
}
ARROWS["distill.experiments"] = (
    set(ARROWS) - {"tasks", "__main__", "distill.reference", "traps", "maintain", "foresight", "inspect_entry"},
    "whole studies may use everything; nothing but the command line may use them",
)
ARROWS["cli"] = (set(ARROWS) - {"tasks", "__main__", "inspect_entry"}, "a verb may use everything")

LAZY = {"distill", "foresight", "report", "board", "compare", "scores", "harness", "models", "traps"}
"""What the command line imports inside the function that needs it, so that `sublim --help` stays instant."""

HEAVY_AT_IMPORT = {"models", "harness", "foresight", "tasks", "inspect_tasks", "distill", "scores"}
"""Top rooms whose modules may import a framework at the top; elsewhere only inside a function."""


class Import(NamedTuple):
    """One import: the file and line, the module it stands in, the module it names, inside a function or not."""

    file: Path
    line: int
    module: str
    name: str
    lazy: bool


def modules() -> Iterator[tuple[Path, str]]:
    """(file, dotted name) of every module of the package."""
    for folder, prefix in (("sublim_eval", ""), ("tasks", "sublim_eval."), ("distill", "sublim_eval.")):
        for file in sorted((ROOT / folder).rglob("*.py")):
            name = prefix + ".".join(file.relative_to(ROOT).with_suffix("").parts)
            yield file, name.removesuffix(".__init__")


MODULES = {name: file for file, name in modules()}


def imports() -> Iterator[Import]:
    """Every import of the package, those inside functions and those for type checkers too."""
    for file, module in modules():
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        for node, lazy in walk(ast.parse(file.read_text(encoding="utf-8"))):
            for name in names_of(node, package):
                yield Import(file, node.lineno, module, name, lazy)


def walk(node: ast.AST, lazy: bool = False) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, lazy
        else:
            typed = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            yield from walk(child, lazy or typed or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))


def names_of(node: ast.Import | ast.ImportFrom, package: str) -> list[str]:
    """The dotted names that an import statement inside `package` stands for."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    home = ".".join([*above, *([node.module] if node.module else [])])
    return [f"{home}.{alias.name}" for alias in node.names]


def module_of(name: str) -> str | None:
    """The module that holds a dotted name, None outside the package."""
    while name.startswith("sublim_eval"):
        if name in MODULES:
            return name
        name = name.rpartition(".")[0]
    return None


def room_of(module: str) -> str:
    """The room of a module: its package under `sublim_eval`, or under `sublim_eval.distill`."""
    parts = module.split(".")[1:]
    return ".".join(parts[: 2 if parts[:1] == ["distill"] else 1]) or "sublim_eval"


def circles(arrows: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups that reach each other and themselves again, in the order in which they import."""
    reached: dict[str, set[str]] = {}
    for start in arrows:
        seen, waiting = set(), [start]
        while waiting:
            new = arrows.get(waiting.pop(), set()) - seen
            seen |= new
            waiting += new
        reached[start] = seen
    groups = {frozenset(b for b in reached[a] if a in reached.get(b, ())) for a in arrows if a in reached[a]}
    return sorted(sorted(group) for group in groups)


@cache
def everything() -> list[Import]:
    """Every import, read when the first test asks: each of pytest's processes loads this file, and one runs it."""
    return list(imports())


@cache
def ours() -> list[tuple[Import, str]]:
    """Every import of a module of the package by another one, with the module that it leads to."""
    return [(i, to) for i in everything() if (to := module_of(i.name)) and to != i.module]


def test_the_walk_sees_the_house():
    assert {room_of(i.module) for i in everything()} >= {"registry", "harness", "tasks", "distill.rows", "cli"}
    assert any(to == "sublim_eval.distill.modalities.numbers" for _, to in ours()), "relative imports are resolved"
    assert any(i.lazy for i, _ in ours()), "imports inside functions count"


def test_every_room_is_in_the_table():
    rooms = {room_of(name) for name in MODULES}
    assert not rooms - set(ARROWS), "say in ARROWS who the new room may import, and why"
    assert not set(ARROWS) - rooms, "the table speaks of rooms that are gone"


@pytest.mark.parametrize("room", ARROWS)
def test_a_room_imports_only_what_it_may(room):
    may, why = ARROWS[room]
    wrong = [(i, to) for i, to in ours() if room_of(i.module) == room and room_of(to) not in may | {room}]
    lines = [f"{i.file.relative_to(ROOT)}:{i.line} imports {i.name}" for i, _ in wrong]
    assert not wrong, f"{'; '.join(lines)}. {room} may not: {why}."


def test_no_files_import_each_other_in_a_circle():
    arrows: dict[str, set[str]] = {}
    for i, to in ours():
        if MODULES[to].name != "__init__.py":  # a package's own file gathers what its modules hold
            arrows.setdefault(i.module, set()).add(to)
    assert not circles(arrows), f"lazy imports count too: {circles(arrows)}"


def test_no_rooms_import_each_other_in_a_circle():
    arrows: dict[str, set[str]] = {}
    for i, to in ours():
        if room_of(i.module) != room_of(to):
            arrows.setdefault(room_of(i.module), set()).add(room_of(to))
    assert not circles(arrows), f"lazy imports count too: {circles(arrows)}"


def test_a_planted_circle_is_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles({"a": {"b"}, "b": {"c"}, "d": {"a"}}) == []


@pytest.mark.parametrize(
    "folder", sorted({file.parent for file in MODULES.values()}), ids=lambda f: str(f.relative_to(ROOT))
)
def test_a_package_is_seen_at_a_glance(folder):
    files = [file for file in folder.glob("*.py") if file.name != "__init__.py"]
    assert len(files) <= 12, f"{len(files)} files lie flat in {folder.relative_to(ROOT)}: make a room in it"


@pytest.mark.parametrize("room", ARROWS)
def test_frameworks_are_loaded_where_they_are_at_home(room):
    loose = [
        f"{i.file.relative_to(ROOT)}:{i.line} imports {i.name}"
        for i in everything()
        if room_of(i.module) == room
        and i.name.split(".")[0] in FRAMEWORKS
        and not (i.lazy or room.split(".")[0] in HEAVY_AT_IMPORT)
    ]
    assert not loose, f"{'; '.join(loose)} at the top. Import it inside the function that needs it."


def test_the_command_line_imports_the_slow_rooms_inside_functions():
    early = [i for i, to in ours() if room_of(i.module) == "cli" and room_of(to).split(".")[0] in LAZY and not i.lazy]
    assert not early, [f"{i.file.relative_to(ROOT)}:{i.line} imports {i.name}" for i in early]


def test_nobody_imports_a_mapped_folder_by_its_checkout_name():
    """`import distill` works in a checkout and nowhere else."""
    wrong = [i for i in everything() if i.name.split(".")[0] in ("tasks", "distill", "tests", "benchmarks")]
    assert not wrong, [f"{i.file.relative_to(ROOT)}:{i.line} imports {i.name}" for i in wrong]
