"""The documentation site: every page is in the navigation, every link leads somewhere. Runs without mkdocs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sublim_eval.maintain import site_pages
from sublim_eval.registry.catalog import registry
from tests.helpers import ROOT

SOURCES = site_pages.sources(ROOT)
MADE = {f"reference/{name}.md" for name in ("traits", "probes", "recipes", "commands")}
"""Pages of the navigation that `docs/site_hooks.py` makes."""


def pages(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    for entry in nav if isinstance(nav, list) else ():
        for below in entry.values():
            yield from pages(below)


def test_every_page_is_in_the_navigation_once_and_nothing_else_is():
    listed = list(pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    tasks = {page for page in SOURCES if page.startswith("tasks/") and page != "tasks/index.md"}
    assert sorted(listed) == sorted((set(SOURCES) - tasks) | MADE), "name the new page in mkdocs.yml"
    assert len(tasks) > 10


def test_every_page_of_docs_is_in_the_list_for_readers_on_github():
    named = {site_pages.led_to(target, "docs/index.md")[0] for target in site_pages.links(_text("docs/index.md"))}
    assert {path for path in SOURCES.values() if path.startswith("docs/")} - {"docs/index.md"} <= named


@pytest.mark.parametrize("source", SOURCES.values())
def test_every_link_of_a_page_leads_somewhere(source: str):
    assert site_pages.broken_links(source, ROOT) == []


def _text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


@pytest.fixture
def house(tmp_path: Path) -> Path:
    (tmp_path / "docs" / "guides").mkdir(parents=True)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.yaml").write_text("a: 1\n")
    (tmp_path / "README.md").write_text("# Top\n\n[a](docs/guides/a.md#its-head-2) [x](https://x.org/y.md)\n")
    (tmp_path / "docs" / "guides" / "a.md").write_text(
        "# A\n\n## Its `head`, 2\n\n[up](../../README.md) [c](../../code)\n"
    )
    return tmp_path


def test_a_broken_link_is_told_with_its_file(house: Path):
    assert site_pages.broken_links("README.md", house) == []
    (house / "README.md").write_text("[a](docs/guides/a.md#head) [b](docs/b.md) [out](../b.md) `[code](gone.md)`\n")
    assert site_pages.broken_links("README.md", house) == [
        "README.md: docs/guides/a.md#head names a heading that is not there",
        "README.md: docs/b.md leads nowhere",
        "README.md: ../b.md leads nowhere",
    ]


def test_links_in_code_are_left_alone():
    text = "[a](b.md)\n```\n[a](c.md)\n~~~\n[a](d.md)\n```\n`[a](e.md)` ![f](f.png) [g](mailto:a@b)\n"
    assert site_pages.links(text) == ["b.md", "f.png"]


def test_links_are_led_to_where_the_page_of_a_file_stands():
    text = "[a](../science.md#x) [b](#y) [c](http://z) `[d](e.md)`\n"
    moved = site_pages.relinked(text, "docs/guides/a.md", lambda path: f"<{path}>")
    assert moved == "[a](<docs/science.md>#x) [b](#y) [c](http://z) `[d](e.md)`\n"


def test_a_file_that_is_no_page_is_shown_by_the_site_until_the_repository_has_an_address(house: Path):
    assert site_pages.place("README.md", "guides/a.md", house) == "../index.md"
    assert site_pages.place("tasks/owl_pref/README.md", "index.md", house, "https://x.org/r") == "tasks/owl_pref.md"
    assert site_pages.place("code", "guides/a.md", house) == "../files/code/index.md"
    assert site_pages.place("code/a.yaml", "a.md", house) == "files/code/a.yaml.md"
    assert site_pages.place("code/a.yaml", "a.md", house, "https://x.org/r/") == "https://x.org/r/blob/HEAD/code/a.yaml"


def test_files_that_a_page_names_get_a_page_and_folders_a_list(house: Path):
    (house / "docs" / "b.md").write_text("[gone](../gone.yaml)\n")
    made = site_pages.named_files(house)
    assert set(made) == {"files/code/index.md", "files/code/a.yaml.md"}
    assert "[a.yaml](a.yaml.md)" in made["files/code/index.md"]
    assert "a: 1" in made["files/code/a.yaml.md"]


def test_the_catalogue_pages_hold_every_entry():
    known = registry()
    for names, page in [
        (known.traits, site_pages.traits_page(known)),
        (known.probes, site_pages.probes_page(known)),
        (site_pages.packaged_recipes(ROOT), site_pages.recipes_page(site_pages.packaged_recipes(ROOT))),
    ]:
        assert all(f"`{name}`" in page for name in names)


def test_a_recipe_of_the_catalogue_links_to_a_page_that_is_made():
    made = site_pages.named_files(ROOT)
    assert all(f"files/distill/recipes/{name}.yaml.md" in made for name in site_pages.packaged_recipes(ROOT))


def test_a_cell_cannot_break_its_table():
    recipe = {"about": "a | b <script>\nc", "base": "x", "seeds": [1], "arms": {}}
    row = site_pages.recipes_page({"r": recipe}).splitlines()[-1]
    assert row == "| [`r`](../files/distill/recipes/r.yaml.md) | a \\| b &lt;script> c | x | 1 | 0 |"


def test_the_python_reference_has_every_module_that_others_may_import():
    packages = site_pages.packages(ROOT)
    assert "sublim_eval.probes.scorers" in packages["sublim_eval.probes"]
    assert "sublim_eval.distill.pipeline" in packages["sublim_eval.distill"]
    assert not any(name.startswith("sublim_eval.cli") for name in packages)
    assert "::: sublim_eval.stats\n" in site_pages.python_page("sublim_eval", packages["sublim_eval"])
