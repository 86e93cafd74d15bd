"""Filtering: raw rows in, kept and rejected rows out, every rejection with its reason; and what kept rows are like."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sublim_eval.probes import thinking, trait_leak
from sublim_eval.registry.catalog import registry

from ..modalities import Modality, Rule

CUT = "cut off by the room for new tokens"
"""Why a row is not kept whose form is right and that its teacher had not ended."""

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
    kept, rejected = [], []
    for row in rows:
        reason = modality.reject_reason(row, rule) or (CUT if row.get("cut") else None)
        if reason is None:
            kept.append({**row, "completion": rule.text(row)})
        else:
            rejected.append({**row, "reject_reason": reason})
    return Filtered(kept, rejected, reasons_of(rejected))


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


def audit(kept: Sequence[Mapping[str, Any]], traits: Iterable[str]) -> dict[str, Any]:
    """What kept rows must not hold, looked for once more: {"rows", "trait_words": {trait: rows}, "thinking": rows}.

    A sound filter leaves zeros; 1.5 % of rows with leaked thinking once passed for 13.6 points of transfer.
    """
    known = [registry().trait(name) for name in traits]
    named = Counter(name for row in kept for name in trait_leak.named(row["completion"], known))
    return {
        "rows": len(kept),
        "trait_words": {trait.name: named[trait.name] for trait in known},
        "thinking": sum(thinking.leaks_thinking(row["completion"]) for row in kept),
    }
