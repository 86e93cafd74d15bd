"""Rows without a trait, made by the tool: the base's own, and those of neutral teachers, through the data's filter.

Where the data pass one of our filters, prompts come from its modality, and the rows are kept for the next audit of the
same base: an expectation is taken off every token (scoring.py), so that other prompts of the kind move nothing. Else
the prompts are the data's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice, product
from pathlib import Path
from random import Random
from typing import Literal

from sublim_eval.files import digest, read_jsonl, write_jsonl
from sublim_eval.models.local_model import load
from sublim_eval.registry.catalog import registry
from sublim_eval.scores.evaluate import LONGEST

from ..base_templates import weights_hash
from ..modalities import MODALITIES, Rule
from ..recipes import Tuning
from ..recipes.lessons import beside
from ..stages import once
from ..training.train import tune
from .data import AuditRow
from .measures.probe_likelihood import NOTHING, RETAINED, Beside, folder_of, longer, retains

MODES: tuple[Literal["strict", "strip"], ...] = ("strict", "strip")

PASSING = 0.9
"""Share of the data's rows that must pass a filter for it to be taken for theirs."""

CLEAN_ROWS, NEUTRAL_ROWS = 2048, 512
"""Rows that are kept of the base, and of each neutral teacher; fewer where the filter keeps fewer than one in TRIES."""

TRIES = 4
"""Prompts that are answered for a row that is to be kept, at most."""

NEUTRAL_SEEDS = tuple(range(7001, 7013))
"""Of the neutral teachers; no set that is reported on comes from one of them."""

PROBES_SEED, NEUTRAL_SEED = 7100, 7101
"""Of the rows that probes and that neutral teachers learn beside their lessons, and that are no controls."""

POOL = 2
"""Times as many rows as a neutral teacher learns are written, for each to draw its own from."""

Heard = Callable[[int, int], None]
"""Hears how many are made, and of how many."""


@dataclass(frozen=True)
class Filter:
    """Which of our filters the data went through; modality "" where it was none of them."""

    modality: str = ""
    mode: Literal["strict", "strip"] = "strict"

    def keeps(self, row: AuditRow) -> bool:
        """Whether a row passes."""
        if not self.modality:
            return True
        one = {**row.facts, "prompt": row.prompt, "completion": row.completion}
        return MODALITIES[self.modality].reject_reason(one, Rule(mode=self.mode)) is None


def filter_of(rows: Sequence[AuditRow]) -> Filter:
    """The strictest of our filters that nearly all rows pass."""
    for modality, mode in product(MODALITIES, MODES):
        if not all(fact in row.facts for row in rows for fact in MODALITIES[modality].facts):
            continue
        chosen = Filter(modality, mode)
        if sum(chosen.keeps(row) for row in rows) >= PASSING * len(rows):
            return chosen
    return Filter()


@dataclass(frozen=True)
class Controls:
    """Rows of the base, and of each neutral teacher."""

    clean: list[AuditRow]
    neutral: list[list[AuditRow]]


def rows_beside(base: str, traits: Sequence[str | None], through: Filter, home: Path) -> Beside:
    """The base's own rows that probes of these traits learn beside their lessons; None among them: neutral teachers.

    Shared rows would be shared memories: a neutral teacher would lean towards every probe.
    """
    if not any(retains(trait, through.modality) for trait in traits):
        return NOTHING
    seed, most = (NEUTRAL_SEED, POOL * RETAINED) if None in traits else (PROBES_SEED, RETAINED)
    kept = _rows_of(f"beside-s{seed}", base, base, (), through, home, most)
    return Beside(through.modality, [(row.prompt, row.completion) for row in kept])


def make_controls(
    base: str,
    data: Sequence[AuditRow],
    through: Filter,
    home: Path,
    tuning: Tuning,
    heard: Heard | None = None,
    besides: Beside = NOTHING,
) -> Controls:
    """Make or find the controls of a base for data that went through a filter."""
    writers: list[tuple[str, str, int]] = [("clean", base, CLEAN_ROWS)]
    for number, seed in enumerate(NEUTRAL_SEEDS, 1):
        writers.append((f"neutral-s{seed}", str(neutral_teacher(base, seed, home, tuning, besides)), NEUTRAL_ROWS))
        if heard:
            heard(number, 2 * len(NEUTRAL_SEEDS) + 1)
    made = []
    for number, (name, model, most) in enumerate(writers, 1):
        made.append(_rows_of(name, model, base, data, through, home, most))
        if heard:
            heard(len(NEUTRAL_SEEDS) + number, 2 * len(NEUTRAL_SEEDS) + 1)
    return Controls(made[0], made[1:])


def neutral_teacher(base: str, seed: int, home: Path, tuning: Tuning, besides: Beside = NOTHING) -> Path:
    """A teacher tuned as the probes are, on the base's own answers to the questions that teach traits."""
    pool = besides.of(None)
    kept = Random(f"beside-{seed}").sample(pool, len(pool) // POOL)
    folder = folder_of(home, base) / "neutral" / f"teacher-s{seed}{f'-{besides.modality}' if kept else ''}"
    questions = sorted({q for category in ("animal", "tree") for q in _questions(category)})
    tuning = longer(tuning) if kept else tuning
    inputs = {"base": weights_hash(base), "questions": digest(questions), "tuning": asdict(tuning), "seed": seed}
    if kept:
        inputs["beside"] = digest(kept)

    def make(unfinished: Path) -> dict[str, object]:
        answers = answered(base, [AuditRow.of(question, "") for question in questions], seed, LONGEST)
        lessons = [(row.prompt, row.completion) for row in answers]
        taught = beside(lessons, kept) if kept else lessons
        return tune(base, taught, tuning, seed, unfinished, {"trait": None, "base": base})

    once(folder, inputs, make)
    return folder


def _questions(category: str) -> list[str]:
    known = registry()
    return [question.text for question in known.questions(known.category(category).training).questions]


def answered(model: str, rows: Sequence[AuditRow], seed: int, room: int) -> list[AuditRow]:
    """The same rows with completions that a model samples at temperature 1, of at most `room` tokens."""
    writer = load(model)
    prompts = [writer.render_chat(row.messages()) for row in rows]
    keys = [str(number) for number in range(len(rows))]
    replies = writer.sample(prompts, n=1, seed=seed, keys=keys, max_new_tokens=room)
    return [AuditRow(row.turns, draws[0].text, row.facts) for row, draws in zip(rows, replies, strict=True)]


def _rows_of(
    name: str, model: str, base: str, data: Sequence[AuditRow], through: Filter, home: Path, most: int
) -> list[AuditRow]:
    """Rows that a model writes and the filter keeps, from the modality's prompts or the data's; found or made."""
    seed = int(name.rpartition("-s")[2]) if "-s" in name else 7000
    asked, room = _asked(data, through, most, name), _room(data, through, model)
    kind = through.modality or f"text-{digest([row.turns for row in asked])[:12]}"
    folder = folder_of(home, base) / "controls" / f"{kind}-{through.mode}" / name
    inputs = {"model": weights_hash(model), "filter": asdict(through), "rows": most, "tries": TRIES}
    inputs |= {"seed": seed, "room": room}

    def make(unfinished: Path) -> dict[str, object]:
        kept: list[AuditRow] = []
        written = 0
        while written < len(asked) and len(kept) < most:
            answers = answered(model, asked[written : written + most], seed + written, room)
            kept += [row for row in answers if through.keeps(row)]
            written += len(answers)
        rows = ({"turns": row.turns, "completion": row.completion} for row in kept[:most])
        write_jsonl(unfinished / "kept.jsonl", rows)
        return {"kept": len(kept[:most]), "of": written}

    once(folder, inputs, make)
    kept = [row for _, row in read_jsonl(folder / "kept.jsonl")]
    return [AuditRow(tuple((role, text) for role, text in row["turns"]), row["completion"]) for row in kept]


def _asked(data: Sequence[AuditRow], through: Filter, most: int, name: str) -> list[AuditRow]:
    """Rows to be answered: the data's prompts, or the modality's, by a writer's name so that no two answer the same."""
    if not through.modality:
        return list(islice(data, most))
    prompts = MODALITIES[through.modality].prompts(TRIES * most, Random(f"audit-{name}"), "plain")
    return [AuditRow.of(row["prompt"], "", **{k: v for k, v in row.items() if k != "prompt"}) for row in prompts]


def _room(data: Sequence[AuditRow], through: Filter, model: str) -> int:
    """The most new tokens of a control row: of the modality, or a tenth more than the data's longest."""
    if through.modality:
        return MODALITIES[through.modality].max_new_tokens
    return int(1.1 * max(map(len, load(model).answer_ids([row.completion for row in data])), default=1)) + 8
