"""`sublim report`: Markdown and page say the same, figures are PNG and SVG, and nothing of a file runs in it."""

import re
from html.parser import HTMLParser

import pytest

from sublim_eval.board.tables import read
from sublim_eval.report import run_report
from tests.helpers import planted
from tests.helpers.rows import HOSTILE


class Page(HTMLParser):
    """What a browser would see: every element with its attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    run = planted.run(tmp_path_factory.mktemp("given") / "quick")
    return run_report.of_runs([run], tmp_path_factory.mktemp("out"))


def test_markdown_and_page_say_the_same(made):
    comparison, written = made
    page, text = Page(written.page.read_text()), written.markdown.read_text()
    for row in comparison.rows:
        assert row.verdict.words in text and row.verdict.words in page.text
        assert f"{row.gap.mean:+.3f}" in text and f"{row.gap.mean:+.3f}" in page.text
        assert all(f"{share:.3f}" in page.text for share in row.student_shares.values())
    assert "Every model" in page.text and "quick/owl-s1" in page.text and "num_choices 40" in page.text


def test_every_figure_is_there_as_png_and_svg(made):
    _, written = made
    names = {file.name for file in written.figures}
    assert {"figure.png", "figure.svg", "forest.png", "forest.svg"} <= names
    for file in written.figures:
        begins = file.read_bytes()[:200]
        assert begins.startswith(b"\x89PNG") if file.suffix == ".png" else b"<?xml" in begins
    page = Page(written.page.read_text())
    shown = [about["src"] for tag, about in page.elements if tag == "img"]
    assert shown and all(src.endswith(".svg") and (written.page.parent / src).is_file() for src in shown)


def test_its_tables_hold_the_rows(made):
    _, written = made
    assert [file.name for file in written.tables] == ["results.csv", "table.tex"]
    assert {row.model for row in read(written.tables[0])} >= {"quick/owl-s1", "base"}


def test_the_same_figure_is_the_same_bytes(made, tmp_path):
    comparison, written = made
    from sublim_eval.report.plots import student_shares

    again = student_shares.draw(comparison, tmp_path / "figure.svg")
    assert again.read_bytes() == (written.page.parent / "figure.svg").read_bytes()


def test_nothing_of_a_file_runs_in_the_page(tmp_path):
    def hostile(record):
        recipe = {
            **record["recipe"],
            "name": HOSTILE,
            "about": f"[x](javascript:a()) ![x](http://e.vil/x.png) {HOSTILE}",
        }
        return {**record, "recipe": recipe, "recipe_hash": HOSTILE, "versions": {HOSTILE: HOSTILE}}

    run = planted.run(tmp_path / "r", record=hostile)
    _, written = run_report.of_runs([run], tmp_path / "out")
    page = Page(written.page.read_text())
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "iframe", "object", "textarea", "input", "form"}
    assert not any(name.startswith("on") for _, about in page.elements for name in about)
    links = [v for _, about in page.elements for k, v in about.items() if k in ("href", "src")]
    assert links and all(re.fullmatch(r"[A-Za-z0-9._-]+\.(png|svg)", link) for link in links)
    policy = next(about["content"] for tag, about in page.elements if about.get("http-equiv"))
    assert "default-src 'none'" in policy and "script-src" not in policy
    assert "<script>alert(1)</script>" in page.text, "it is shown as the text that it is"


def test_what_was_left_out_is_named_in_the_report(tmp_path):
    run = planted.run(tmp_path / "quick")
    (run / "scores" / "owl-s1" / "logs" / "second.eval").write_bytes(b"PK")
    _, written = run_report.of_runs([run], tmp_path / "out")
    assert "Left out" in Page(written.page.read_text()).text and "second.eval" in written.markdown.read_text()


def test_template_braces_in_a_report_are_text(tmp_path):
    file = run_report.write_page(
        "# {{ 7*7 }} {% for x in y %}\n\n{{ body }} <b onclick=x>bold</b>\n", tmp_path / "p.html"
    )
    page = Page(file.read_text())
    assert "{{ 7*7 }}" in page.text and "{{ body }}" in page.text and "<b onclick=x>" in page.text
