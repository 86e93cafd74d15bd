"""The house in figures: files a package, lines, circles of imports, lengths of functions, words of the README.

    python benchmarks/house.py [CHECKOUT]

Reads the source as text and runs none of it, so an old checkout can stand beside a new one (docs/decisions/0008).
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median

FOLDERS = ("sublim_eval", "distill")


def packages(root: Path) -> dict[str, int]:
    """Package -> how many modules lie in it, its own file left out."""
    counts: dict[str, int] = defaultdict(int)
    for folder in FOLDERS:
        for file in (root / folder).rglob("*.py"):
            counts[str(file.parent.relative_to(root))] += file.name != "__init__.py"
    return {name: n for name, n in sorted(counts.items()) if n}


def functions(root: Path) -> Iterator[tuple[int, str]]:
    """(statement lines of the body without its docstring, where) of every function."""
    for folder in FOLDERS:
        for file in sorted((root / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    body = node.body[1:] if ast.get_docstring(node) else node.body
                    lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
                    yield lines, f"{file.relative_to(root)}:{node.name}"


def arrows(root: Path) -> dict[str, set[str]]:
    """Module -> the modules of the package that it imports, inside functions and for type checkers too."""
    files = {
        (prefix + ".".join(file.relative_to(root).with_suffix("").parts)).removesuffix(".__init__"): file
        for folder, prefix in (("sublim_eval", ""), ("tasks", "sublim_eval."), ("distill", "sublim_eval."))
        for file in (root / folder).rglob("*.py")
    }
    found: dict[str, set[str]] = {name: set() for name in files}
    for module, file in files.items():
        package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                above = package[: len(package) - node.level + 1] if node.level else []
                home = ".".join([*above, *([node.module] if node.module else [])])
                for name in (f"{home}.{alias.name}" for alias in node.names):
                    target = name if name in files else home
                    if target in files and target != module and files[target].name != "__init__.py":
                        found[module].add(target)
    return found


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that reach each other."""
    reached: dict[str, set[str]] = {}
    for start in edges:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            new = edges.get(waiting.pop(), set()) - seen
            seen |= new
            waiting += new
        reached[start] = seen
    groups = {frozenset(b for b in reached[a] if a in reached[b]) for a in edges if a in reached[a]}
    return sorted(sorted(group) for group in groups)


def main(root: Path) -> None:
    """Print the figures of one checkout."""
    counts, sizes = packages(root), sorted(functions(root))
    lines = sum(len(f.read_text(encoding="utf-8").splitlines()) for d in FOLDERS for f in (root / d).rglob("*.py"))
    print(f"{sum(counts.values())} modules in {len(counts)} packages, {lines} lines; most in one package:")
    for name, n in sorted(counts.items(), key=lambda pair: -pair[1])[:5]:
        print(f"  {n:3} {name}")
    print(f"{len(sizes)} functions, median {median(n for n, _ in sizes):g} lines, longest:")
    for n, where in sizes[:-6:-1]:
        print(f"  {n:3} {where}")
    print("over 60 lines:", sum(n > 60 for n, _ in sizes))
    found = circles(arrows(root))
    print(f"circles of imports: {len(found)}", *found, sep="\n  ")
    print("words of the README:", len((root / "README.md").read_text(encoding="utf-8").split()))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent)
