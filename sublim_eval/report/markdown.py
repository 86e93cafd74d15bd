"""report.md: what ran, what came out, in words, a table and a figure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from sublim_eval.compare import wording
from sublim_eval.compare.comparison import Comparison, Row
from sublim_eval.files import read_json, whole_file, write_json
from sublim_eval.registry.catalog import registry
from sublim_eval.report import console_tables
from sublim_eval.report.plots import learning_curves

TOY = (
    "The base is a toy of a few hundred thousand weights: it shows the mechanism and tests the instrument. It says "
    "nothing about how strong the effect is in a large model."
)
LIMITS = (
    "The interval speaks about other students trained the same way and asked these questions, not about other "
    "questions, traits or bases.",
    "A probe measures what a model says in its first answer, not what it values.",
)


def write(
    comparison: Comparison, folder: Path, *, figure: str | None = "figure.png", commands: Sequence[str] = ()
) -> Path:
    """Write folder/report.md and folder/comparison.json, each whole or not at all; returns the report's path.

    figure: file name beside the report; None, or a file that is not there, leaves the picture out.
    commands: printed as they are, for looking further.
    """
    write_json(folder / "comparison.json", comparison.to_json())
    shown = figure if figure and (folder / figure).is_file() else None
    learnt = learning_curves.FILE if (folder / learning_curves.FILE).is_file() else None
    with whole_file(folder / "report.md") as file:
        file.write("\n".join(_lines(comparison, shown, learnt, commands)) + "\n")
    return folder / "report.md"


def escape(text: object) -> str:
    """Text from a model or a user's file, on one line and with nothing that Markdown or HTML would act on."""
    line = " ".join(str(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~$])", r"\\\1", line)


def _lines(comparison: Comparison, figure: str | None, learnt: str | None, commands: Sequence[str]) -> Iterator[str]:
    yield "# Students against their controls\n"
    for row in comparison.failed_controls:
        yield f"**{escape(wording.failed_control(row))}**\n"
    for folder in comparison.folders:
        yield f"- {_what_ran(folder)}"
    yield f"- Measure: {comparison.measure_words}; margin of equivalence ±{comparison.delta:g}.\n"
    groups = wording.grouped(comparison.rows)
    yield from _verdicts(groups)
    rows = [row for group in groups.values() for row in group]
    if figure:
        yield f"\n![Share of each arm, every seed, with 95 % intervals]({figure})"
    if learnt:
        yield f"\n![The trait's probability while students trained, on training phrasings]({learnt})"
    yield from _figures(comparison, rows)
    yield from _students(rows)
    yield f"\n## How to read this\n\n{wording.method(comparison)} The method is docs/decisions/0001-verdicts.md.\n"
    toy = any(m.embedded for m in registry().models.values() if m.name in {row.base for row in comparison.rows})
    limits = (TOY, *LIMITS) if toy else LIMITS
    yield from (f"- {escape(limit)}" for limit in (*limits, *wording.bounds(comparison)))
    if commands:
        yield "\n## Look further\n\n```sh"
        yield from (command.replace("```", "") for command in commands)
        yield "```"


def _verdicts(groups: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    yield "## Verdicts\n"
    for heading, group in groups.items():
        if len(groups) > 2:
            yield f"\n### {escape(heading)}\n"
        for row in group:
            yield f"- {escape(wording.sentence(row))}"
            yield from (f"  - {escape(note)}" for note in row.notes)


def _figures(comparison: Comparison, rows: Sequence[Row]) -> Iterator[str]:
    yield "\n## Figures\n"
    yield from table(wording.heads(console_tables.SHARES, comparison), [console_tables.shares(row) for row in rows])
    yield ""
    yield from table(wording.heads(console_tables.BESIDE, comparison), [console_tables.beside(row) for row in rows])
    yield ""
    yield from table(console_tables.ANSWERS, [console_tables.answers(row) for row in rows])
    if any(row.expected for row in rows):
        yield "\n## Beside what others found\n\nTheir figures, not ours.\n"
        yield from table(console_tables.OTHERS, [wording.others(row) for row in rows if row.expected])
    if comparison.cells:
        yield "\n## Learning rates per rank\n\nThe lowest loss on fresh rows of the teacher, whatever the share.\n"
        yield from table(console_tables.SWEEP, [wording.cell(one) for one in comparison.cells])
    if any(row.against_intact for row in rows):
        yield "\n## Variants against the intact arm\n"
        yield from table(
            wording.heads(console_tables.INTACT, comparison),
            [console_tables.intact(row) for row in rows if row.against_intact],
        )
    if comparison.confusion:
        yield "\n## Is the trained trait the one that rises?\n"
    for one in comparison.confusion:
        yield f"- {escape(wording.specificity(one))}."
        if len(one.traits) > 1:
            yield ""
            yield from table(*console_tables.confusion(one))
            yield ""
    if comparison.doses:
        yield "\n## Dose curves\n"
        yield from table(
            wording.heads(console_tables.DOSES, comparison),
            [cells for curve in comparison.doses for cells in console_tables.dose(curve)],
        )


def _students(rows: Sequence[Row]) -> Iterator[str]:
    yield "\n## Every seed\n"
    held = ("arm", "students", "control", "share of each control")
    yield from table(
        held,
        [(wording.named(r), wording.seeds(r.student_shares), r.control, wording.seeds(r.control_shares)) for r in rows],
    )
    if any(row.situations for row in rows):
        yield "\n## Every situation\n"
        yield from table(console_tables.SITUATIONS, [cells for row in rows for cells in console_tables.situations(row)])


def _what_ran(folder: Path) -> str:
    """One line on a run: its recipe, base, seeds and rows."""
    record = read_json(folder / "run.json")
    recipe = record["recipe"]
    seeds = ", ".join(map(str, recipe.get("seeds", ())))
    line = f"Recipe {escape(recipe.get('name', folder.name))} on {escape(recipe['base'])}, seeds {seeds}"
    kept = [row["kept"] for row in record.get("rows", ()) if "kept" in row]
    if kept:
        line += (
            f", {min(kept):,} to {max(kept):,} rows a student"
            if min(kept) < max(kept)
            else f", {kept[0]:,} rows a student"
        )
    return f"{line}. {escape(recipe.get('about', ''))}".rstrip()


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table line by line, every cell escaped."""
    yield f"| {' | '.join(map(escape, heads))} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(map(escape, row))} |"
