"""`sublim report`: one experiment as Markdown and as a page, from the same pieces, with every figure as PNG and SVG.

The page is the Markdown, rendered: raw markup in it is text, links are only those of our own files, and its content
policy lets no script run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sublim_eval.board.columns import LeftOut, Row
from sublim_eval.board.headline import headline
from sublim_eval.compare import comparison as compared
from sublim_eval.compare.comparison import Comparison
from sublim_eval.errors import SublimError
from sublim_eval.files import read_json, whole_file
from sublim_eval.registry.experiment import RECORD
from sublim_eval.report import markdown
from sublim_eval.report.exports import latex
from sublim_eval.report.exports.naming import portable
from sublim_eval.report.plots import (
    confusion_matrix,
    dose_curves,
    forest,
    learning_curves,
    situations,
    student_shares,
    trait_evidence,
)

TEMPLATE = Path(__file__).with_name("run_report.html.j2")

MAIN = "figure"
"""Name of the figure that stands beside the verdicts."""


@dataclass(frozen=True)
class Figure:
    """A picture by the name of its file, without an ending, and what it shows."""

    name: str
    caption: str


@dataclass(frozen=True)
class Written:
    """Where everything of a report lies."""

    markdown: Path
    page: Path
    figures: tuple[Path, ...]
    tables: tuple[Path, ...]


def write(
    comparison: Comparison,
    folder: Path,
    *,
    rows: Sequence[Row] = (),
    left_out: Sequence[LeftOut] = (),
    commands: Sequence[str] = (),
) -> Written:
    """Write report.md, report.html, figures (PNG and SVG), and, of rows of the tidy table, results.csv and table.tex.

    left_out: files that are in no row, which the report names; commands: printed as they are, for looking further.
    Raises SublimError where the folder cannot be written.
    """
    figures = list(_draw(comparison, folder))
    markdown.write(comparison, folder, figure=f"{MAIN}.png", commands=commands)
    text = (folder / "report.md").read_text(encoding="utf-8")
    text += "".join(f"{line}\n" for line in _further(comparison, figures, rows, left_out))
    with whole_file(folder / "report.md") as out:
        out.write(text)
    page = write_page(text, folder / "report.html")
    pictures = tuple(folder / f"{one.name}.{kind}" for one in figures for kind in ("png", "svg"))
    return Written(folder / "report.md", page, pictures, tuple(_tables(rows, folder)))


# ---------------------------------------------------------------- figures


def _draw(comparison: Comparison, folder: Path) -> Iterator[Figure]:
    """Draw what the comparison has, each as PNG and SVG; yields what was drawn."""
    for figure, draw in _drawable(comparison):
        for kind in ("png", "svg"):
            draw(folder / f"{figure.name}.{kind}")
        yield figure


def _drawable(comparison: Comparison) -> Iterator[tuple[Figure, Callable[[Path], Any]]]:
    yield (
        Figure(MAIN, "Share of each arm, every seed, with 95 % intervals"),
        lambda to: student_shares.draw(comparison, to),
    )
    if learnt := learning_curves.curves(comparison.folders):
        name = Path(learning_curves.FILE).stem
        yield (
            Figure(name, "The trait's probability while students trained"),
            lambda to: learning_curves.draw(learnt, to),
        )
    if weighed := trait_evidence.curves(comparison.folders):
        yield (
            Figure(Path(trait_evidence.FILE).stem, "Evidence of a trait in the weights while students trained"),
            lambda to: trait_evidence.draw(weighed, to),
        )
    groups = list(forest.groups("Gap to the control", comparison))
    yield (
        Figure("forest", "Gap of every arm to its control, with its interval and every seed"),
        lambda to: forest.draw(groups, to, comparison.delta),
    )
    if any(len(one.traits) > 1 for one in comparison.confusion):
        several = [one for one in comparison.confusion if len(one.traits) > 1]
        yield (
            Figure("confusion", "Which trait rises in the students of which"),
            lambda to: confusion_matrix.draw(several, to),
        )
    if comparison.doses:
        yield Figure("doses", "Gap by dose"), lambda to: dose_curves.draw(comparison, to)
    for row in (row for row in comparison.rows if row.situations):
        name = portable(f"situations-{row.run}-{row.arm}-{row.probe}")
        yield (
            Figure(name, f"{row.arm} on {row.probe}, situation by situation"),
            partial(_situations, row, comparison.measure_words),
        )


def _situations(row: compared.Row, measure: str, to: Path) -> Path:
    return situations.draw(row, to, measure)


# ---------------------------------------------------------------- Markdown


def _further(
    comparison: Comparison, figures: Sequence[Figure], rows: Sequence[Row], left_out: Sequence[LeftOut]
) -> Iterator[str]:
    """What stands below the report of `sublim compare --report`: all figures, every model, where it is from."""
    yield "\n## Figures as files\n"
    shown = {MAIN, Path(learning_curves.FILE).stem}
    for figure in figures:
        files = f"[PNG]({figure.name}.png), [SVG]({figure.name}.svg)"
        yield f"- {markdown.escape(figure.caption)}: {files}"
    for figure in figures:
        if figure.name not in shown:
            yield f"\n![{markdown.escape(figure.caption)}]({figure.name}.png)"
    yield from _models(rows)
    if left_out:
        yield "\n## Left out\n"
    yield from (f"- {markdown.escape(source)}: {markdown.escape(why)}" for source, why in left_out)
    yield from _provenance(comparison.folders)


MODELS = ("model", "role", "probe", "answer", "measure", "value", "95 % interval", "n", "non-answers", "settings")


def _models(rows: Sequence[Row]) -> Iterator[str]:
    """Every model with its figures: no mean without its size, interval, version and settings."""
    first = [row for row in headline(rows) if row.harness != "compare"]
    if not first:
        return
    yield "\n## Every model\n\nIntervals are over questions: about this model and such questions, not about training.\n"
    yield from markdown.table(MODELS, [_cells(row) for row in first])


def _cells(row: Row) -> tuple[str, ...]:
    between = "" if row.low is None or row.high is None else f"{row.low:.3f} to {row.high:.3f}"
    return (
        *(row.model, row.role, f"{row.probe} {row.version}", row.answer, row.measure),
        "" if row.value is None else f"{row.value:.3f}",
        between,
        "" if row.n is None else str(row.n),
        "" if row.non_answers is None else f"{row.non_answers:.1%}",
        {"share": _in_words(row.sampling), "probability": "exact"}.get(row.measure, _in_words(row.sampling)),
    )


def _in_words(sampling: str) -> str:
    """Settings without the marks of JSON; as they are where they are none."""
    try:
        return ", ".join(f"{name} {value}" for name, value in json.loads(sampling).items())
    except (ValueError, AttributeError):
        return sampling


def _provenance(folders: Sequence[Path]) -> Iterator[str]:
    """Hashes and versions of each run: what the figures rest on."""
    known = [(folder, read_json(folder / RECORD)) for folder in folders if (folder / RECORD).is_file()]
    if known:
        yield "\n## Where it is from\n"
    for folder, record in known:
        versions = ", ".join(f"{k} {v}" for k, v in (record.get("versions") or {}).items())
        recipe = f"recipe hash {_short(record.get('recipe_hash'))}"
        yield f"- run {markdown.escape(folder.name)}, {recipe}; {markdown.escape(versions)}"
        for base in record.get("bases", ()):
            yield f"  - base {markdown.escape(base.get('name'))}: weights {_short(base.get('weights_hash'))}"
        for kind in ("teachers", "students"):
            yield from (f"  - {_made(entry)}" for entry in record.get(kind, ()) if entry.get("made"))


def _made(entry: Mapping[str, Any]) -> str:
    rows = f", trained on rows {_short(entry['rows'])}" if isinstance(entry.get("rows"), str) else ""
    return f"{markdown.escape(entry.get('folder') or entry.get('arm'))}: made as {_short(entry['made'])}{rows}"


def _short(digest: object) -> str:
    return markdown.escape(str(digest or "unknown")[:12])


# ---------------------------------------------------------------- the page and the tables


def write_page(text: str, file: Path) -> Path:
    """Markdown of ours as a page of its own; returns its path. Raw markup in it is text, and no script runs."""
    from jinja2 import Environment, select_autoescape
    from markupsafe import Markup

    body = _rendered(text)
    title = next((line.removeprefix("# ") for line in text.splitlines() if line.startswith("# ")), "Report")
    environment = Environment(autoescape=select_autoescape(default=True, default_for_string=True))
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    with whole_file(file) as out:
        out.write(template.render(title=title, body=Markup(body)))  # noqa: S704  (rendered with raw markup as text)
    return file


def _rendered(text: str) -> str:
    """Markdown as HTML; tables scroll on their own, pictures are the SVG ones."""
    from markdown_it import MarkdownIt

    text = text.replace("<!-- -->", "")  # keeps GitHub from making a link of a name; here nothing makes one
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    html = reader.render(text)
    html = html.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")
    return re.sub(r'<img src="([A-Za-z0-9._-]+)\.png"', r'<img src="\1.svg"', html)


def _tables(rows: Sequence[Row], folder: Path) -> Iterator[Path]:
    from sublim_eval.board.tables import write as write_table

    if rows:
        yield write_table(rows, folder / "results.csv")
        yield latex.write(headline(rows), folder / "table.tex")


def of_runs(runs: Sequence[Path], folder: Path, **how: Any) -> tuple[Comparison, Written]:
    """Compare runs and write their report. how: as `compare` takes it. Raises SublimError as `compare` does."""
    from sublim_eval.board.collect import collect
    from sublim_eval.compare.compare import compare

    if not runs:
        raise SublimError("There is nothing to report. Give one or more run folders.")
    comparison = compare(list(runs), **how)
    board = collect(comparison.folders)
    return comparison, write(comparison, folder, rows=board.rows, left_out=board.left_out)
