"""How much more likely replies are under each trait's probe than under the base: one transcript at a time, in nats.

The expectation under the base is taken off (distill/audit/scoring.py), so replies of the base itself come to 0 on
average. A single transcript says next to nothing; what counts is the sum over many of one writer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sublim_eval.distill.audit.data import AuditRow
    from sublim_eval.distill.audit.scoring import Candidate, Scorer


@dataclass(frozen=True)
class ReplyEvidence:
    """nats: trait -> log-likelihood ratio of all replies together, the largest first. read: replies with content."""

    nats: dict[str, float]
    read: int
    of: int

    @property
    def strongest(self) -> str | None:
        """The trait whose probe likes the replies best; None where no reply has content."""
        return next(iter(self.nats), None) if self.read else None

    def words(self) -> str:
        """The first three traits, and how much was read."""
        if not self.read:
            return f"nothing to weigh in {self.of} replies"
        first = ", ".join(f"{trait} {value:+.2f} nats" for trait, value in list(self.nats.items())[:3])
        return f"{first}; {self.read} of {self.of} replies weighed"


def evidence(rows: Sequence[AuditRow], base: str, traits: tuple[str, ...], keep: str) -> ReplyEvidence:
    """The evidence of one transcript's replies. keep: where the base's probes are kept; missing ones are tuned.

    Raises SublimError for an unknown base or trait.
    """
    from sublim_eval.distill.audit.content import kind_of

    if not rows:
        return ReplyEvidence({}, 0, 0)
    scorer, chosen = _probes(base, traits, keep, kind_of(row.completion for row in rows))
    values, surprise = scorer.ratios(rows, chosen)
    there = ~np.isnan(surprise)
    sums = values[there].sum(axis=0)
    order = np.argsort(-sums)
    return ReplyEvidence({chosen[i].trait: round(float(sums[i]), 4) for i in order}, int(there.sum()), len(rows))


@lru_cache(maxsize=4)
def _probes(base: str, traits: tuple[str, ...], keep: str, kind: str) -> tuple[Scorer, list[Candidate]]:
    """A base that wears its probes, loaded once a process."""
    from sublim_eval.distill.audit.measures.probe_likelihood import candidates, make_probes, teachable, tuning_of
    from sublim_eval.distill.audit.scoring import Scorer

    tuning = tuning_of(base)
    folders = make_probes(base, teachable(traits), Path(keep), tuning)
    scorer = Scorer(base, tuning, "numbers" if kind == "numbers" else "text")
    return scorer, candidates(scorer, folders)
