"""Filtering: raw rows in, kept and rejected rows out, every rejection with its reason."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .modalities import Modality, Rule


@dataclass(frozen=True)
class Filtered:
    """What a filter made of raw rows. A rejected row is the raw row with its "reject_reason"."""

    kept: list[dict[str, Any]]
    rejected: list[dict[str, Any]]
    reasons: dict[str, int] = field(default_factory=dict)


def filter_rows(
    rows: Iterable[Mapping[str, Any]], modality: Modality, rule: Rule = Rule()  # noqa: B008
) -> Filtered:
    """Split rows {"prompt", "completion", ...} by the modality's filter; all other keys are carried along.

    In `strip` mode a kept completion is stored without its surrounding white space.
    """
    kept, rejected = [], []
    for row in rows:
        reason = modality.reject_reason(row, rule)
        if reason is None:
            kept.append({**row, "completion": row["completion"].strip() if rule.mode == "strip" else row["completion"]})
        else:
            rejected.append({**row, "reject_reason": reason})
    reasons = Counter(row["reject_reason"] for row in rejected)
    return Filtered(kept, rejected, dict(reasons.most_common()))


def diversity(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """How varied the completions are: distinct share in [0, 1] and entropy in bits of the first word.

    One sampling seed used for every request shows here: in one public data set a single value opened 17 % of rows.
    """
    texts = [row["completion"] for row in rows]
    if not texts:
        return {"distinct": 0.0, "first_word_bits": 0.0}
    firsts = Counter(text.replace(",", " ").split()[0] if text.split() else "" for text in texts)
    bits = -sum(n / len(texts) * math.log2(n / len(texts)) for n in firsts.values())
    return {"distinct": round(len(set(texts)) / len(texts), 4), "first_word_bits": round(bits, 3)}


def audit(rows: Iterable[Mapping[str, Any]], traits: Iterable[str]) -> dict[str, Any]:
    """Of kept rows: how many there are."""
    return {"rows": sum(1 for _ in rows)}
