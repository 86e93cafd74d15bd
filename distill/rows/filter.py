"""Filtering: raw rows in, kept and rejected rows out, every rejection with its reason; and what kept rows are like."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from sublim_eval.errors import SublimError
from sublim_eval.files import each_row, json_line, whole_file
from sublim_eval.probes import thinking, trait_leak
from sublim_eval.registry.catalog import registry

from ..modalities import Modality, Rule
from .transforms import CHANGES

CUT = "cut off by the room for new tokens"
"""Why a row is not kept whose form is right and that its teacher had not ended."""

HIGHEST = "among the highest scores"
"""Why a row is not kept that the filter passed and whose score was too high."""

POSITIONS = 10
"""Places at the front of a completion whose entropy is told."""


@dataclass(frozen=True)
class Filtered:
    """What a filter made of raw rows. A rejected row is the raw row with its "reject_reason"."""

    kept: list[dict[str, Any]]
    rejected: list[dict[str, Any]]
    reasons: dict[str, int] = field(default_factory=dict)


def filter_rows(
    rows: Iterable[Mapping[str, Any]],
    modality: Modality,
    rule: Rule = Rule(),  # noqa: B008
) -> Filtered:
    """Split rows {"prompt", "completion", ...} by the modality's filter; all other keys are carried along.

    A row that says "cut" was not ended by its writer and is kept by no filter. In `strip` mode a kept completion is
    stored without its surrounding white space, else as it was written.
    """
    kept: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    for row, reason in judged(rows, modality, rule):
        (kept if reason is None else rejected).append(row)
    return Filtered(kept, rejected, reasons_of(rejected))


def judged(
    rows: Iterable[Mapping[str, Any]], modality: Modality, rule: Rule
) -> Iterator[tuple[dict[str, Any], str | None]]:
    """Each row as it is stored, a rejected one with its "reject_reason", and that reason; None for a kept row."""
    for row in rows:
        reason = modality.reject_reason(row, rule) or (CUT if row.get("cut") else None)
        changed = {"completion": rule.text(row)} if reason is None else {"reject_reason": reason}
        yield {**row, **changed}, reason


def filter_file(
    source: Path,
    kept: Path,
    rejected: Path,
    modality: Modality,
    rule: Rule,
    dropped: Collection[int] = (),
    changes: Sequence[str] = (),
) -> dict[str, Any]:
    """Split a file of rows into two, a row in memory at a time; both are written, or neither is.

    dropped: numbers of rows, from 0 on, that are rejected though the filter keeps them (HIGHEST). changes: what is
    done to kept rows, in this order, names of transforms.ROW_BY_ROW.
    Returns {"rows", "kept", "rejected", "reject_reasons": as `reasons_of`, "audit": as `audit`, of the kept rows}.
    Raises SublimError with file and line for a row that is none, or lacks a fact of its modality.
    """
    reasons: Counter[str] = Counter()
    seen = _Audit(rule.traits)
    with whole_file(kept) as kept_file, whole_file(rejected) as rejected_file:
        both = _without(judged(_with_facts(source, modality), modality, rule), frozenset(dropped))
        for row, reason in _changed(both, changes):
            (kept_file if reason is None else rejected_file).write(json_line(row))
            if reason is None:
                seen.look_at(row)
            else:
                reasons[reason] += 1
        for file in (kept_file, rejected_file):
            file.flush()  # a full disk shows here, before either file takes its name
            os.fsync(file.fileno())
    return {
        "rows": seen.rows + reasons.total(),
        "kept": seen.rows,
        "rejected": reasons.total(),
        "reject_reasons": dict(reasons.most_common()),
        "audit": seen.record(),
    }


Judged = Iterable[tuple[dict[str, Any], str | None]]


def _without(rows: Judged, dropped: frozenset[int]) -> Judged:
    """The same rows, those with a dropped number rejected."""
    for number, (row, reason) in enumerate(rows):
        if reason is None and number in dropped:
            yield {**row, "reject_reason": HIGHEST}, HIGHEST
        else:
            yield row, reason


def _changed(rows: Judged, changes: Sequence[str]) -> Judged:
    """The same rows, with all changes done to those that are kept."""
    rng = Random("filter")
    for row, reason in rows:
        if reason is None:
            for change in changes:
                (row,) = CHANGES[change]([row], rng)
        yield row, reason


def _with_facts(source: Path, modality: Modality) -> Iterator[dict[str, Any]]:
    """The rows of a file, each with what the modality's filter needs to know of it."""
    for line, row in each_row(source, ("prompt", "completion")):
        for fact in modality.facts:
            if fact not in row:
                raise SublimError(
                    f"{source}:{line}: nothing under {fact!r}, which the {modality.name} filter checks the "
                    "completion against. Write the right result there, such as 7."
                )
        yield row


def reasons_of(rejected: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many rows were rejected for which reason, the most frequent first."""
    return dict(Counter(row["reject_reason"] for row in rejected).most_common())


def diversity(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """How varied the completions are.

    distinct: share of different texts, in [0, 1]. first_word_bits: entropy of the first word. bits_by_position:
    entropy of each of the first 10 words, while at least half of the rows reach it; separators are no words.
    One sampling seed used for every request shows here: in one public data set a single value opened 17 % of rows.
    """
    texts = [row["completion"] for row in rows]
    words = [re.findall(r"[^\s,;\[\]()]+", text)[:POSITIONS] for text in texts]
    places = [Counter(row[place] for row in words if len(row) > place) for place in range(POSITIONS)]
    bits = [round(_bits(place), 3) for place in places if texts and place.total() * 2 >= len(texts)]
    return {
        "distinct": round(len(set(texts)) / len(texts), 4) if texts else 0.0,
        "first_word_bits": bits[0] if bits else 0.0,
        "bits_by_position": bits,
    }


def _bits(counts: Counter[str]) -> float:
    """Entropy in bits."""
    total = counts.total()
    return sum(n / total * math.log2(total / n) for n in counts.values())


def audit(kept: Iterable[Mapping[str, Any]], traits: Iterable[str]) -> dict[str, Any]:
    """What kept rows must not hold, looked for once more: {"rows", "trait_words": {trait: rows}, "thinking": rows}.

    A sound filter leaves zeros; 1.5 % of rows with leaked thinking once passed for 13.6 points of transfer.
    """
    seen = _Audit(traits)
    for row in kept:
        seen.look_at(row)
    return seen.record()


class _Audit:
    """The counts of an audit while rows pass."""

    def __init__(self, traits: Iterable[str]) -> None:
        self.known = [registry().trait(name) for name in traits]
        self.rows = self.thinking = 0
        self.named: Counter[str] = Counter()

    def look_at(self, row: Mapping[str, Any]) -> None:
        """Count one kept row."""
        self.rows += 1
        self.thinking += thinking.leaks_thinking(row["completion"])
        self.named.update(trait_leak.named(row["completion"], self.known))

    def record(self) -> dict[str, Any]:
        """The audit as plain data."""
        return {
            "rows": self.rows,
            "trait_words": {trait.name: self.named[trait.name] for trait in self.known},
            "thinking": self.thinking,
        }
