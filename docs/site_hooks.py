"""What mkdocs is told while it builds the site: pages made on the spot, and where links lead."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from sublim_eval.cli.main import VERBS, sublim
from sublim_eval.maintain import site_pages
from sublim_eval.registry.catalog import registry

ROOT = Path(__file__).resolve().parent.parent
SOURCES = site_pages.sources(ROOT)
PACKAGES = site_pages.packages(ROOT)
REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"].get(
    "Repository", ""
)
BUILT = ROOT / "build" / "site-source"
"""A folder in which the package lies as it is imported, for the reader of docstrings."""


@event_priority(100)
def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Lay the package out, and put the pages that follow from its files into the navigation."""
    _lay_out(BUILT)
    tasks = [page for page in SOURCES if page.startswith("tasks/") and page != "tasks/index.md"]
    _fill(config.nav, "Every task", [{Path(page).stem: page} for page in tasks])
    _fill(config.nav, "Python", [{name: f"reference/python/{name}.md"} for name in PACKAGES])
    return config


def _fill(nav: Any, title: str, pages: list[dict[str, str]]) -> None:
    for entry in nav if isinstance(nav, list) else []:
        for name, below in entry.items() if isinstance(entry, dict) else ():
            if name == title:
                below.extend(pages)
            _fill(below, title, pages)


def _lay_out(folder: Path) -> None:
    package = folder / "sublim_eval"
    package.mkdir(parents=True, exist_ok=True)
    for file in [*(ROOT / "sublim_eval").glob("*"), ROOT / "distill"]:
        if file.name != "__pycache__":
            link = package / file.name
            link.unlink(missing_ok=True)
            link.symlink_to(file)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Every page that does not lie in docs/ under its own name."""
    for page, text in _made():
        if there := files.get_file_from_path(page):
            files.remove(there)
        files.append(File.generated(config, page, content=text))
    return files


def _made() -> Iterator[tuple[str, str]]:
    for page, source in SOURCES.items():
        if source != f"docs/{page}":
            yield page, (ROOT / source).read_text(encoding="utf-8")
    known = registry()
    yield "reference/traits.md", site_pages.traits_page(known)
    yield "reference/probes.md", site_pages.probes_page(known)
    yield "reference/recipes.md", site_pages.recipes_page(site_pages.packaged_recipes(ROOT))
    yield "reference/commands.md", _commands()
    for package, modules in PACKAGES.items():
        yield f"reference/python/{package}.md", site_pages.python_page(package, modules)
    yield from site_pages.named_files(ROOT).items()


def _commands() -> str:
    parts = ["# Commands\n"]
    for verb in VERBS:
        context = click.Context(sublim, info_name="sublim")
        command: Any = sublim.get_command(context, verb)
        text = command.get_help(click.Context(command, info_name=verb, parent=context, max_content_width=100))
        parts.append(f"## sublim {verb}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead each link of a written page to a page of the site, or to the repository where it has a public address."""
    uri = page.file.src_uri
    source = SOURCES.get(uri)
    if source is None:
        return markdown
    return site_pages.relinked(markdown, source, lambda path: site_pages.place(path, uri, ROOT, REPOSITORY))
