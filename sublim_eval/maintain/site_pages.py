"""The documentation site: which file becomes which page, what is made while it is built, and every link between them.

`make docs` builds it; `docs/site_hooks.py` hands what stands here to mkdocs. Nothing is imported that a page is about:
sources are read as text.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from sublim_eval.registry.catalog import Registry

PAGES = {
    "README.md": "index.md",
    "docs/index.md": "contents.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "tasks/README.md": "tasks/index.md",
}
"""Files of the repository that become a page under another name. The rest of docs/ keeps its place."""

IN_DOCS_ALONE = ("docs/examples/",)
"""Folders of docs/ that hold no pages: their files are shown when a page names them."""

LINK = re.compile(r"`+[^`]*`+|(?<=\]\()(?P<target>[^)\s]+)(?=\))")
"""A code span, which is left alone, or the target of a link or an image."""

SHOWN = {".py": "python", ".yaml": "yaml", ".json": "json", ".md": "markdown"}
"""Endings of files that can be shown, with the name of their language."""


# ---------------------------------------------------------------- which file is which page


def page_of(path: str) -> str | None:
    """The page (or picture) of the site that a file of the repository becomes; None for one that becomes none."""
    if path in PAGES:
        return PAGES[path]
    if task := re.fullmatch(r"tasks/(\w+)/README\.md", path):
        return f"tasks/{task[1]}.md"
    if path.startswith("docs/") and not path.startswith(IN_DOCS_ALONE) and path.endswith((".md", ".png")):
        return path.removeprefix("docs/")
    return None


def sources(root: Path) -> dict[str, str]:
    """Page -> the file of the repository whose text it is, for every page that a person wrote."""
    files = [*root.glob("*.md"), *root.glob("tasks/**/README.md"), *root.glob("docs/**/*.md")]
    paths = sorted(file.relative_to(root).as_posix() for file in files)
    return {page: path for path in paths if (page := page_of(path))}


# ---------------------------------------------------------------- links


def _prose(text: str) -> Iterator[tuple[bool, str]]:
    """(whether it is prose, line) of a Markdown text; lines in code fences are no prose."""
    fence = ""
    for line in text.splitlines(keepends=True):
        mark = re.match(r"\s*(```+|~~~+)", line)
        inside = bool(fence)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence):
            fence = ""
        yield not (inside or mark), line


def _inside(target: str) -> bool:
    return not re.match(r"[a-z][a-z0-9+.-]*:", target, re.I)


def links(text: str) -> list[str]:
    """The targets of every link and image that leads to a place of the repository, in their order."""
    found = (m["target"] for prose, line in _prose(text) if prose for m in LINK.finditer(line))
    return [target for target in found if target and _inside(target)]


def led_to(target: str, source: str) -> tuple[str, str]:
    """(path in the repository, anchor) of a target as it stands in the file `source`."""
    path, _, anchor = target.partition("#")
    return (posixpath.normpath(posixpath.join(posixpath.dirname(source), path)) if path else source), anchor


def relinked(text: str, source: str, place: Callable[[str], str]) -> str:
    """The text with each link of the file `source` led to where `place` puts the path that it names."""

    def moved(match: re.Match[str]) -> str:
        target = match["target"]
        if not target or not _inside(target) or target.startswith("#"):
            return match[0]
        path, anchor = led_to(target, source)
        return place(path) + (f"#{anchor}" if anchor else "")

    return "".join(LINK.sub(moved, line) if prose else line for prose, line in _prose(text))


def anchors(text: str) -> set[str]:
    """What a link may name after `#`: every heading, as GitHub shortens it."""
    heads = (re.match(r"#+ +(.*)", line) for prose, line in _prose(text) if prose)
    return {re.sub(r"[^\w\- ]", "", head[1].strip().lower()).replace(" ", "-") for head in heads if head}


def broken_links(source: str, root: Path) -> list[str]:
    """What the links of one file name and the repository lacks: paths, and headings of Markdown files."""
    wrong = []
    for target in links((root / source).read_text(encoding="utf-8")):
        path, anchor = led_to(target, source)
        file = root / path
        if path.startswith("..") or not file.exists():
            wrong.append(f"{source}: {target} leads nowhere")
        elif anchor and anchor not in anchors(file.read_text(encoding="utf-8")):
            wrong.append(f"{source}: {target} names a heading that is not there")
    return wrong


# ---------------------------------------------------------------- files that are shown because a page names them


def file_page(path: str, root: Path) -> str:
    """The page that shows a file, or lists a folder, of the repository."""
    return f"files/{path}/index.md" if (root / path).is_dir() else f"files/{path}.md"


def place(path: str, page: str, root: Path, repository: str = "") -> str:
    """Where a link of `page` to a file of the repository leads: to its page, or to the repository's public address."""
    target = page_of(path)
    if target is None and repository:
        return f"{repository.rstrip('/')}/blob/HEAD/{path}"
    return posixpath.relpath(target or file_page(path, root), posixpath.dirname(page) or ".")


def named_files(root: Path) -> dict[str, str]:
    """Page -> Markdown of every file and folder that a page links to and that is no page itself.

    What is not there gets no page: `broken_links` and the strict build name it.
    """
    named = {
        path
        for source in sources(root).values()
        for target in links((root / source).read_text(encoding="utf-8"))
        if page_of(path := led_to(target, source)[0]) is None and (root / path).exists()
    }
    inside = {file.relative_to(root).as_posix() for path in named for file in _shown_in(root / path)}
    return {file_page(path, root): _shown(path, root) for path in sorted(named | inside)}


def _shown_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix in SHOWN and file.is_file())


def _shown(path: str, root: Path) -> str:
    head = f"---\nsearch:\n  exclude: true\n---\n# {posixpath.basename(path)}\n\n`{path}`\n\n"
    if (root / path).is_dir():
        names = [file.relative_to(root / path).as_posix() for file in _shown_in(root / path)]
        return head + "".join(f"* [{name}]({name}.md)\n" for name in names)
    text = (root / path).read_text(encoding="utf-8")
    return f"{head}~~~~~~{SHOWN.get(Path(path).suffix, 'text')}\n{text.rstrip()}\n~~~~~~\n"


# ---------------------------------------------------------------- what the registry and the recipes hold


def _table(heads: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def traits_page(known: Registry) -> str:
    """Every trait: favorites by category with the words that count, then the ways to answer."""
    parts = [
        "# Traits\n\nWhat a teacher may carry, from `registry.yaml`. [A trait of your own](../guides/own-traits.md).\n"
    ]
    favorites = [trait for trait in known.traits.values() if not trait.conduct]
    for category in dict.fromkeys(trait.category for trait in favorites):
        rows = [
            (f"`{t.name}`", ", ".join((*t.aliases, *t.also)), ", ".join(t.look_alikes), t.source)
            for t in favorites
            if t.category == category
        ]
        parts.append(f"## Favorite {category}\n\n" + _table(("trait", "also counts", "never counts", "source"), rows))
    conducts = [(f"`{t.name}`", t.about, t.version, t.source) for t in known.traits.values() if t.conduct]
    parts.append("## Ways to answer\n\n" + _table(("trait", "is", "version", "source"), conducts))
    return "\n".join(parts)


def probes_page(known: Registry) -> str:
    """Every probe: what it asks, how many questions, its version."""
    rows = [
        (f"`{p.name}`", p.about, len(known.questions_of(p).questions), p.polarity, p.version, p.source)
        for p in known.probes.values()
    ]
    head = "# Probes\n\nWhat is asked, from `registry.yaml`. Two results compare when their versions are the same.\n\n"
    return head + _table(("probe", "asks", "questions", "a higher number is", "version", "source"), rows)


def recipes_page(recipes: Mapping[str, Mapping[str, Any]]) -> str:
    """Every packaged recipe (name -> its YAML): base, seeds, arms."""
    head = "# Packaged recipes\n\nEach is an experiment: `sublim run NAME --dry-run` says what it makes and costs. "
    head += "[What a recipe may say](../guides/recipes.md).\n\n"
    rows = [
        (f"[`{name}`](../files/distill/recipes/{name}.yaml.md)", r["about"], r["base"], len(r["seeds"]), len(r["arms"]))
        for name, r in recipes.items()
    ]
    return head + _table(("recipe", "what it is", "base", "seeds", "arms"), rows)


def packaged_recipes(root: Path) -> dict[str, Mapping[str, Any]]:
    """Name -> content of each packaged recipe, in the order of the alphabet."""
    files = sorted((root / "distill" / "recipes").glob("*.yaml"))
    return {file.stem: yaml.safe_load(file.read_text(encoding="utf-8")) for file in files}


# ---------------------------------------------------------------- the Python reference

UNSHOWN = ("sublim_eval.cli", "sublim_eval.maintain")
"""Packages that nobody imports: the commands and the upkeep of this repository."""


def packages(root: Path) -> dict[str, list[str]]:
    """Package -> its public modules with a docstring, as one imports them, for all that others may import."""
    by_package: dict[str, list[str]] = {}
    for folder, prefix in (("sublim_eval", ""), ("distill", "sublim_eval.")):
        for file in sorted((root / folder).rglob("*.py")):
            name = (prefix + ".".join(file.relative_to(root).with_suffix("").parts)).removesuffix(".__init__")
            package = name if file.stem == "__init__" else name.rpartition(".")[0]
            hidden = package.startswith(UNSHOWN) or name.rpartition(".")[2].startswith("_")
            if not hidden and ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))):
                by_package.setdefault(package, []).append(name)
    return {package: sorted(modules) for package, modules in sorted(by_package.items())}


def python_page(package: str, modules: Iterable[str]) -> str:
    """The page of one package, for mkdocstrings: each module with its docstrings."""
    return f"# {package}\n\n" + "".join(f"::: {module}\n\n" for module in modules)
