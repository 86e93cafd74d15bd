"""Facts about the sources of a page: the figures that are worked out of them are those that were printed."""

import dataclasses
import json
import re

import pytest

from sublim_eval.compare import wording
from sublim_eval.compare.compare import compare
from sublim_eval.report import figure_sources
from tests.helpers import ROOT
from tests.helpers.synthetic import ARMS, SHIFTS, make_run

ARMS_HERE = {
    **ARMS,
    "owl-half": {"role": "variant", "trait": "owl", "of": "owl", "clean": 0.5, "change": "half clean"},
}
PAGES = sorted((ROOT / "docs" / "results" / "sources").glob("*.json"))


@pytest.mark.parametrize("replies", [0, 40], ids=["exact", "sampled"])
@pytest.mark.parametrize("seeds", [(1,), (1, 2, 3, 4)])
def test_every_printed_figure_is_worked_out_again(replies, seeds, tmp_path):
    shifts, measure = {**SHIFTS, "owl-half": 0.2}, "share" if replies else "probability"
    made = compare(
        [make_run(tmp_path / "run", ARMS_HERE, shifts, seeds=seeds, noise=0.3, replies=replies)], measure=measure
    )
    text = figure_sources.a_row_a_line({"schema": 1, "parts": [figure_sources.of_comparison("part", made)]})
    (part,) = json.loads(text)["parts"]
    assert len(text.splitlines()) == len(made.rows) + 4, "a line a row"
    again = figure_sources.worked_out(part)
    assert [(f.arm, f.gap) for f in again] == [(r.arm, wording.signed(r.gap)) for r in made.rows]
    if len(seeds) == 1:
        return
    for figures, row in zip(again, made.rows, strict=True):
        assert figures.verdict == row.verdict.words
        assert figures.detectable == wording.detectable(row.minimum_detectable)
        assert figures.against_intact == (wording.signed(row.against_intact) if row.against_intact else "")
    assert any(f.against_intact for f in again) and {r.gap.paired for r in made.rows} >= {True}


def test_a_changed_seed_changes_the_figures(tmp_path):
    made = compare([make_run(tmp_path / "run")])
    part = figure_sources.of_comparison("part", made)
    before = figure_sources.worked_out(part)
    part["rows"][0]["students"]["1"] += 0.02
    after = figure_sources.worked_out(part)
    assert before[0].gap != after[0].gap and before[1:] == after[1:]


def printed(page: str) -> str:
    """A page without the signs that keep its text from being read as Markdown."""
    return page.replace("\\", "").replace("@<!-- -->", "@")


@pytest.mark.parametrize("source", PAGES, ids=lambda file: file.stem)
def test_what_the_page_prints_comes_from_its_source(source):
    page = printed((ROOT / "docs" / "results" / f"{source.stem}.md").read_text(encoding="utf-8"))
    held = json.loads(source.read_text(encoding="utf-8"))
    rows = {
        (part["part"], f.arm, f.trait, f.probe): f for part in held["parts"] for f in figure_sources.worked_out(part)
    }
    nulls = page.partition("## Every row that did not transfer")[2].partition("## Pictures")[0]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in nulls.splitlines() if line[:1] == "|"]
    assert len(lines) > 2
    for part, arm, trait, probe, *cells in lines[2:]:
        figures = rows[part, arm, trait, probe]
        assert cells == [figures.gap, str(figures.seeds), figures.detectable, figures.verdict]
    known = {value for f in rows.values() for value in dataclasses.astuple(f) if isinstance(value, str)}
    findings = page.partition("## Findings")[2].partition("## Every row")[0]
    for gap in wording_of_gaps(findings):
        assert gap in known, gap


def wording_of_gaps(text: str) -> list[str]:
    """Every "+0.333 (+0.262 to +0.404)" of a text."""
    return re.findall(r"(?:gap|against the intact arm) ([+-]\d\.\d{3} \([+-]\d\.\d{3} to [+-]\d\.\d{3}\))", text)


@pytest.mark.parametrize(
    ("page", "begins", "ends"),
    [
        ("docs/results/reference-models.md", "## The whole study", "## Limits"),
        ("README.md", "* On the embedded model, ten seeds", "* The trained trait"),
        ("docs/decisions/0001-verdicts.md", "## Verdicts that moved", "## Where it breaks"),
    ],
)
def test_what_other_pages_say_of_the_study_comes_from_its_source(page, begins, ends):
    held = json.loads((ROOT / "docs" / "results" / "sources" / "reproduction.json").read_text(encoding="utf-8"))
    known = {f.gap.replace("0.", ".") for part in held["parts"] for f in figure_sources.worked_out(part)}
    text = (ROOT / page).read_text(encoding="utf-8").partition(begins)[2].partition(ends)[0]
    gaps = re.findall(r"([+-]\.\d{3}) [\[(]([+-]\.\d{3})(?:,| to) ([+-]\.\d{3})[\])]", text)
    assert gaps
    for gap, low, high in gaps:
        assert f"{gap} ({low} to {high})" in known
