"""The page of students on real small models; `python benchmarks/real_students.py page` writes it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sublim_eval.compare import interim_looks, wording
from sublim_eval.compare.compare import compare
from sublim_eval.files import read_json, whole_file
from sublim_eval.registry.experiment import RECORD
from sublim_eval.report.markdown import table
from sublim_eval.scores.probe_scores import ProbeScores

if TYPE_CHECKING:
    from sublim_eval.compare.comparison import Row

PILOT = 0
"""The seed on which settings are chosen; no run reports it."""


def log_odds(scores: ProbeScores) -> np.ndarray[Any, np.dtype[np.float64]]:
    """float[answer]: mean over questions of the log-odds within the answer set, in nats."""
    p = scores.probability.clip(1e-12, 1 - 1e-12)
    mean: np.ndarray[Any, np.dtype[np.float64]] = np.log(p / (1 - p)).mean(axis=0)
    return mean


def write(kept: Path, page: Path, notes: Path) -> None:
    """Write the page from all that was kept; notes: what the figures say, put at its head."""
    runs = sorted(folder.parent for folder in kept.glob(f"*/{RECORD}"))
    with whole_file(page) as file:
        file.write("\n".join(_page(runs, notes)) + "\n")


def _page(runs: Sequence[Path], notes: Path) -> Iterator[str]:
    yield "# Students on small real models\n"
    yield (
        "Written by `python benchmarks/real_students.py page` from the records in `docs/results/real/`, which hold "
        "the\nscores of every student question by question: `sublim compare docs/results/real/NAME` reads them. Every "
        "arm and\nseed that ran is here.\n"
    )
    if notes.is_file():
        yield notes.read_text(encoding="utf-8")
    for run in runs:
        yield from _run(run, read_json(run / RECORD))


def _run(folder: Path, record: Mapping[str, Any]) -> Iterator[str]:
    recipe, compared = record["recipe"], at_their_looks(folder)
    yield f"## {recipe['name']}\n"
    yield f"{recipe['about']}\n"
    yield "```\n" + command(record) + "\n```\n"
    yield from _teachers(record)
    yield from _arms(compared)
    if looks := told_of_looks(compared):
        yield looks
    yield from _students(folder, record)
    for arm, rates in sorted((record.get("sweeps") or {}).items()):
        yield from _sweep(arm, rates)


def at_their_looks(folder: Path) -> list[tuple[Row, int]]:
    """Each arm that was kept, compared as the look at its own students that this is (`looks.json`)."""
    plain = compare([folder])
    looks = [interim_looks.number_of_arm(plain, f"{row.run}/{row.arm}") for row in plain.rows]
    strict = {look: compare([folder], alpha=interim_looks.spent(look)) for look in set(looks) if look > 1}
    rows = [strict[look].rows[i] if look > 1 else plain.rows[i] for i, look in enumerate(looks)]
    return list(zip(rows, looks, strict=True))


def told_of_looks(rows: Sequence[tuple[Row, int]]) -> str:
    """What a reader has to know of earlier looks; "" where every arm is looked at for the first time."""
    later = sorted({look for _, look in rows if look > 1})
    if not later:
        return ""
    spent = ", ".join(f"look {look} at {100 * interim_looks.spent(look):.2g} %" for look in later)
    return (
        f"*Look*: how often an arm's students were looked at while it grew. A first look is tested at 5 %, {spent}, so "
        "that all looks at an arm err in at most 7.5 %. An arm to which no seed was added is not looked at again.\n"
    )


def command(record: Mapping[str, Any]) -> str:
    """What makes this run again, one seed or all."""
    recipe = record["recipe"]
    seeds = ",".join(map(str, recipe["seeds"]))
    run = f"sublim run {recipe['name']} --base {recipe['base']} --seeds {seeds}"
    if not recipe["base"].endswith("-formats"):
        return run
    before = f"python benchmarks/real_students.py formats --base {recipe['base'].removesuffix('-formats')}"
    return f"{before} --out {recipe['base']}\n{run}"


def _teachers(record: Mapping[str, Any]) -> Iterator[str]:
    kl, rows = record.get("kl") or {}, record["rows"]
    heads = ("rows of", "seed", "teacher's share", "KL from the base, nats a token", "kept by the filter", "written at")
    shares = {Path(t["folder"]).name.rsplit("-s", 1)[0]: t.get("share") for t in record["teachers"]}
    yield from table(heads, [_source(r, shares.get(r["source"].removesuffix("-greedy")), kl) for r in rows])
    yield ""


def _source(rows: Mapping[str, Any], share: float | None, kl: Mapping[str, float]) -> tuple[str, ...]:
    apart, tokens = kl.get(rows["source"]), rows.get("tokens_per_second")
    return (
        rows["source"],
        str(rows["seed"]),
        "–" if share is None else f"{share:.3f}",
        "–" if apart is None else f"{apart:.3f}",
        f"{rows['kept']} of {rows['raw']} ({rows['kept'] / rows['raw']:.0%})",
        f"{tokens:.0f} tokens/s" if tokens else "–",
    )


def _arms(rows: Sequence[tuple[Row, int]]) -> Iterator[str]:
    """A line an arm: gap with its interval (95 % at a first look), what would have been seen, verdict."""
    heads = (
        "arm",
        "look",
        "students",
        "base",
        "control",
        "student",
        "gap (interval)",
        "log-odds (interval)",
        "would be seen",
        "verdict",
    )
    yield from table(heads, [_arm(row, look) for row, look in rows])
    yield ""


def _arm(row: Row, look: int) -> tuple[str, ...]:
    return (
        f"{row.arm} ({row.trait})",
        str(look),
        str(len(row.student_shares)),
        f"{row.base_share:.4f}",
        f"{row.control_share:.4f}",
        f"{row.student_share:.4f}",
        wording.signed(row.gap, 4),
        wording.signed(row.log_odds, 2),
        wording.detectable(row.minimum_detectable),
        f"{wording.verdict(row)}; rank {row.rank} of {row.answers}, first in {row.first_in}",
    )


def _students(folder: Path, record: Mapping[str, Any]) -> Iterator[str]:
    """A line a student, so that every figure above can be worked out again."""
    traits = list(dict.fromkeys(arm["trait"] for arm in record["arms"].values() if arm.get("trait")))
    heads = (
        "student",
        "seed",
        *(f"{trait}: share, log-odds" for trait in traits),
        "covered",
        "loss",
        "fresh rows",
        "from the teacher",
        "minutes",
    )
    yield from table(heads, [*_bases(folder, record, traits), *_each(folder, record, traits)])
    yield ""
    near = record.get("nearness") or {}
    if bases := [near[label] for label in near if label.startswith("base-s")]:
        yield (
            "*From the teacher*: nats a token between the next tokens of the seed's teacher of the trait and the "
            f"student's, over rows that no student read; the untouched base lies {np.mean(bases):.4f} away.\n"
        )


def _each(folder: Path, record: Mapping[str, Any], traits: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for student in record["students"]:
        if student.get("scores"):
            seconds = student.get("seconds")
            losses = (
                f"{student[key]:.4f}" if student.get(key) is not None else "–" for key in ("loss", "held_out_loss")
            )
            figures = _figures(folder, student["scores"], traits)
            near = (record.get("nearness") or {}).get(f"{student['arm']}-s{student['seed']}")
            apart = "–" if near is None else f"{near:.4f}"
            minutes = f"{seconds / 60:.1f}" if seconds else "–"
            yield student["arm"], str(student["seed"]), *figures, *losses, apart, minutes


def _bases(folder: Path, record: Mapping[str, Any], traits: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for base in record["bases"]:
        yield f"untouched {base['name']}", "–", *_figures(folder, base["scores"], traits), "–", "–", "–", "–"


def _figures(folder: Path, files: Mapping[str, str], traits: Iterable[str]) -> Iterator[str]:
    """Of each trait its share and log-odds within the answer set; then the share of first answers that it holds."""
    scores = ProbeScores.read(folder / next(iter(files.values())))
    odds = log_odds(scores)
    for trait in traits:
        column = scores.answers.index(trait)
        yield f"{scores.probability[:, column].mean():.4f}, {odds[column]:+.2f}"
    yield "–" if math.isnan(scores.covered) else f"{scores.covered:.4f}"


def _sweep(arm: str, rates: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    best = min(rates, key=lambda one: one["held_out_loss"])
    yield (
        f"Learning rates of {arm} on seed {PILOT}, which is not among the students above. Taken: the lowest loss on "
        f"fresh rows, {best['learning_rate']:g}.\n"
    )
    heads = (
        "learning rate",
        "loss on fresh rows",
        "share",
        "base",
        "log-odds shift from the base",
        "largest shift",
        "covered",
        "minutes",
    )
    yield from table(heads, [_rate(one) for one in sorted(rates, key=lambda one: one["learning_rate"])])
    yield ""


def _rate(one: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        f"{one['learning_rate']:g}",
        f"{one['held_out_loss']:.4f}",
        f"{one['share']:.4f}",
        f"{one['base_share']:.4f}",
        f"{one['log_odds_shift']:+.2f}",
        str(one["largest"]),
        f"{one['coverage']:.4f}",
        f"{one['minutes']:.1f}",
    )
