"""reproduction.md: every published finding beside ours, the nulls with what they could have seen, the pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sublim_eval.compare import wording
from sublim_eval.compare.comparison import Row
from sublim_eval.files import whole_file
from sublim_eval.report.markdown import escape

FINDINGS = ("finding", "published (theirs)", "ours, with 95 % interval", "verdict", "note")
NULLS = ("part", "arm", "trait", "probe", "gap (95 % interval)", "seeds", "detectable gap", "verdict")
PARTS = ("part", "recipe", "seconds", "state")

SHOWN = (
    "the mechanism, on two models of a few hundred thousand weights and on a small classifier: what rises and what "
    "does not, when one thing at a time is changed, with students made anew for every seed;",
    "the instrument: filters, arms, statistics and checks, on data where every step can be repeated in minutes.",
)
NOT_SHOWN = (
    "how large any effect is in a large model, or whether it is there at all: the published figures come from models "
    "many thousand times larger, other teachers, other questions and other statistics; they stand beside ours for "
    "the direction alone, and no size is compared;",
    "that a null here is a null there: the reference models were chosen because they show transfer with the recipes "
    "at hand, and some ways of tuning that work on large models do not work on them;",
    "anything about findings marked [peer]: they are other groups' claims, which we did not repeat on their models.",
)


@dataclass(frozen=True)
class FindingAnswer:
    """What came out for one finding. ours: our figures, a line each; verdict: in words, worked out, never typed in."""

    name: str
    says: str
    published: str
    source: str
    part: str
    ours: tuple[str, ...]
    verdict: str
    note: str


@dataclass(frozen=True)
class Made:
    """What became of one part. what: its recipe or command; state: done, or why it is not."""

    title: str
    what: str
    seconds: float
    state: str


@dataclass(frozen=True)
class Reproduction:
    """Everything that the page tells.

    nulls: (title of the part, row) for every row that did not transfer. pictures: caption -> file.
    """

    command: str
    date: str
    seconds: float
    quick: bool
    versions: Mapping[str, str]
    machine: Mapping[str, Any]
    parts: tuple[Made, ...]
    answers: tuple[FindingAnswer, ...]
    sources: Mapping[str, str]
    nulls: tuple[tuple[str, Row], ...]
    pictures: Mapping[str, Path]

    def to_json(self) -> dict[str, Any]:
        """Plain data; the comparisons themselves are kept beside it."""
        plain = {k: v for k, v in self.__dict__.items() if k not in ("parts", "answers", "nulls", "pictures")}
        return {
            "schema": 1,
            **plain,
            "versions": dict(self.versions),
            "machine": dict(self.machine),
            "sources": dict(self.sources),
            "parts": [asdict(part) for part in self.parts],
            "findings": [{**asdict(answer), "ours": list(answer.ours)} for answer in self.answers],
            "nulls": [
                {
                    "part": part,
                    "arm": row.arm,
                    "trait": row.trait,
                    "probe": row.probe,
                    "gap": row.gap.mean,
                    "low": _known(row.gap.low),
                    "high": _known(row.gap.high),
                    "minimum_detectable": _known(row.minimum_detectable),
                    "verdict": row.verdict.words,
                }
                for part, row in self.nulls
            ],
            "pictures": {caption: path.name for caption, path in self.pictures.items()},
        }


def write(page: Reproduction, path: Path, pictures: Mapping[str, str]) -> Path:
    """Write the page, whole or not at all; returns its path. pictures: caption -> the link as the page needs it."""
    with whole_file(path) as file:
        file.write("\n".join(_lines(page, pictures)) + "\n")
    return path


def tally(answers: Sequence[FindingAnswer]) -> str:
    """12 same direction, 3 not, 2 not run: how many findings have which verdict, the most frequent first."""
    kinds = [answer.verdict.split(" (")[0] for answer in answers]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds), key=lambda k: (-kinds.count(k), k)))


def _lines(page: Reproduction, pictures: Mapping[str, str]) -> Iterator[str]:
    yield "# The study on the reference models\n"
    yield f"`{page.command.replace('`', '')}` wrote this page on {escape(page.date)}"
    yield f"in {_minutes(page.seconds)} on {_machine(page.machine)}"
    yield f"({', '.join(f'{escape(k)} {escape(v)}' for k, v in page.versions.items())}).\n"
    if page.quick:
        yield "**A quick run**: a few arms and seeds, to see that everything works. It is no evidence.\n"
    yield f"Of {len(page.answers)} published findings: {escape(tally(page.answers))}.\n"
    yield "## What is shown here, and what is claimed elsewhere\n"
    yield "Shown here:\n"
    yield from (f"- {line}" for line in SHOWN)
    yield "\nNot shown here:\n"
    yield from (f"- {line}" for line in NOT_SHOWN)
    yield "\n## Findings\n"
    yield from _sources(page)
    yield (
        "\nThe verdict is worked out from the comparison. *Same direction*: every row shows it. *In part*: some rows "
        "do. *Not*: no row does, and at least one shows the contrary. *Undecided*: the intervals hold both answers. "
        "Where the published figure is a null, the same direction needs an equivalence test to hold.\n"
    )
    yield from _table(FINDINGS, (_finding(answer) for answer in page.answers))
    yield "\n## Every row that did not transfer\n"
    yield (
        "A null says as much as the study could have seen: the detectable gap would have been found four times in "
        "five with this spread and number of seeds.\n"
    )
    yield from _table(NULLS, (map(escape, _null(part, row)) for part, row in page.nulls))
    yield "\n## Pictures\n"
    for caption, link in pictures.items():
        yield f"![{escape(caption)}]({link})\n\n*{escape(caption)}*\n"
    yield "## What was run\n"
    yield from _table(PARTS, (map(escape, (p.title, p.what, f"{p.seconds:.0f}", p.state)) for p in page.parts))
    yield (
        "\nEach part's folder holds run.json with every seed, setting, version and hash; `sublim compare` on it prints "
        "the whole table. The method is docs/decisions/0001-verdicts.md."
    )


def _sources(page: Reproduction) -> Iterator[str]:
    for name, what in page.sources.items():
        yield f"- [{escape(name)}]: {escape(what)}"


def _finding(answer: FindingAnswer) -> Iterator[str]:
    source = f"[{escape(answer.source)}]"
    where = f" *{escape(answer.part)}*" if answer.part else ""
    yield f"{escape(answer.says)}{where}"
    yield f"{escape(answer.published)} {source}"
    yield "<br>".join(map(escape, answer.ours)) or wording.UNKNOWN
    yield f"**{escape(answer.verdict)}**"
    yield escape(answer.note)


def _null(part: str, row: Row) -> tuple[str, ...]:
    shown = wording.detectable(row.minimum_detectable)
    seeds = str(len(row.student_shares))
    return part, row.arm, row.trait, row.probe, wording.signed(row.gap), seeds, shown, row.verdict.words


def _table(heads: Sequence[str], rows: Any) -> Iterator[str]:
    """A table of cells that are escaped already."""
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"


def _machine(machine: Mapping[str, Any]) -> str:
    kind = ", ".join(escape(machine[key]) for key in ("system", "processor") if machine.get(key))
    return f"{machine.get('cores', '?')} cores ({kind})"


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
