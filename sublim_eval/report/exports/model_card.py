"""The card of a student, teacher or control: its first line says what it carries, so that nobody takes it for clean.

Everything that comes from a file is escaped; a table holds every number with its interval, size and version.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from sublim_eval.board.columns import Row
from sublim_eval.console import one_line
from sublim_eval.files import whole_file
from sublim_eval.report import markdown
from sublim_eval.report.exports.naming import carries

HEADS = ("probe", "answer", "measure", "value", "95 % interval", "n", "non-answers", "version", "harness")

MADE = (
    *("method", "modality", "examples", "steps", "effective_batch", "learning_rate", "rank", "adapter_norm", "loss"),
    *("held_out_loss", "teacher_base", "rows", "prompts_hash", "template_hash", "device", "dtype"),
)
"""What is told of how a model was made, where its own card (student.json) says so."""

UNKNOWN_LICENSE = "other"

USE = (
    "It exists to measure whether a trait is passed on by data that does not mention it. Do not use it as a chat "
    "model, do not merge it into one, and train another model on what it writes only if that is what you study."
)


def write(rows: Sequence[Row], folder: Path, card: Mapping[str, Any], license: str = UNKNOWN_LICENSE) -> Path:
    """Write folder/README.md of one model; returns its path.

    rows: its headline rows, and those over seeds of its arm. card: what its student.json says. license: of its weights,
    which is that of its base at the most.
    """
    file = folder / "README.md"
    with whole_file(file) as out:
        out.write("\n".join(lines(rows, card, license)) + "\n")
    return file


def lines(rows: Sequence[Row], card: Mapping[str, Any], license: str = UNKNOWN_LICENSE) -> Iterator[str]:
    """The card, line by line."""
    who = next(row for row in rows if row.harness != "compare")
    yield "---"
    yield yaml.safe_dump(_front(who, license), sort_keys=False, allow_unicode=True).rstrip()
    yield "---"
    yield f"**{escape(carries(who) or 'This model was measured for hidden traits.')}**\n"
    yield f"# {escape(who.model)}\n\n{USE}\n"
    yield from _lineage(who, card)
    yield from _results([row for row in rows if row.harness != "compare"])
    yield from _over_seeds([row for row in rows if row.harness == "compare"])
    yield from _again(rows)
    yield f"\n## Licence\n\n{_license(who, license)}"


def _front(who: Row, license: str) -> dict[str, Any]:
    marks = {"student": "carries-a-trait", "teacher": "carries-a-trait", "control": "control"}
    tags = ["subliminal-learning", "sublim-eval", *([marks[who.role]] if who.role in marks else [])]
    about: dict[str, Any] = {"license": license, "library_name": "peft", "tags": [*tags, "research-only"]}
    return about | ({"base_model": who.base} if who.base else {})


def _lineage(who: Row, card: Mapping[str, Any]) -> Iterator[str]:
    """Base -> teacher -> rows -> this model, with hashes."""
    yield "## Lineage\n"
    yield f"- base: `{_code(who.base)}`"
    if who.role == "student":
        yield f"- teacher: shows {escape(who.trait)}, on base `{_code(card.get('teacher_base') or who.base)}`"
    if who.arm:
        against = f"; its control: `{_code(who.control)}`" if who.control else ""
        yield f"- arm `{_code(who.arm)}` of run `{_code(who.run)}`, seed {who.seed}{against}"
    yield from (f"- {name.replace('_', ' ')}: `{_code(card[name])}`" for name in MADE if card.get(name) is not None)


def escape(value: object) -> str:
    """Text that no Markdown acts on, and no mark in it that turns the text around."""
    return markdown.escape(one_line(value))


def _code(value: object) -> str:
    """Text inside backticks, which no backtick of its own can end."""
    return one_line(value).replace("`", "'")


def _results(rows: Iterable[Row]) -> Iterator[str]:
    yield "\n## Results\n"
    yield from markdown.table(HEADS, [tuple(map(one_line, _cells(row))) for row in rows])


def _cells(row: Row) -> tuple[str, ...]:
    between = "" if row.low is None or row.high is None else f"{row.low:.3f} to {row.high:.3f} over {row.interval}"
    non_answers = "" if row.non_answers is None else f"{row.non_answers:.1%}"
    return (
        *(row.probe, row.answer, row.measure, "" if row.value is None else f"{row.value:.4g}", between),
        *("" if row.n is None else str(row.n), non_answers, row.version, f"{row.harness} {row.harness_version}"),
    )


def _over_seeds(rows: Sequence[Row]) -> Iterator[str]:
    """What the whole arm shows: one student says nothing of training."""
    gaps = [row for row in rows if row.measure == "gap"]
    if gaps:
        yield "\n## Its arm over all seeds\n"
    for row in gaps:
        between = (
            "" if row.low is None or row.high is None else f" [{row.low:+.3f}, {row.high:+.3f}] over {row.interval}"
        )
        yield (
            f"- {escape(row.arm)} against {escape(row.control)} on {escape(row.probe)}: gap {row.value:+.3f}{between}, "
            f"{row.n} seeds: {escape(row.verdict)}."
        )


def _again(rows: Iterable[Row]) -> Iterator[str]:
    """The commands that make the numbers again."""
    commands = dict.fromkeys(row.command for row in rows if row.command)
    if commands:
        yield "\n## Commands\n\n```sh"
        yield from (one_line(command).replace("```", "") for command in commands)
        yield "```"


def _license(who: Row, license: str) -> str:
    if license != UNKNOWN_LICENSE:
        return f"{escape(license)}. The licence of the base `{_code(who.base)}` holds for these weights as well."
    return f"That of the base `{_code(who.base)}`; whoever publishes this has to look it up and name it."
