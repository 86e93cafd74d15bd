"""What a check says: which trap, how bad, what was seen and what to do next, and where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["ok", "not checked", "warning", "fault"]
LEVELS: tuple[Level, ...] = ("ok", "not checked", "warning", "fault")
"""From harmless to worst. A fault makes the figures mean something else than they say; a warning limits them."""

TRAPS = {
    "failed positive control": "an arm that has to show the effect, and does not",
    "edited afterwards": "files or records that are not what the run wrote",
    "wrong lineage": "a student of another base, trait or arm than the record says",
    "dropped students": "students that were to run or were scored, and are not in the record",
    "repeated sampling seed": "rows or replies drawn from one random stream again and again",
    "contamination": "kept rows that name a trait or hold leaked thinking",
    "lost row identity": "kept rows that cannot be traced to what the teacher wrote",
    "unequal filter": "arms whose rows went through different filters, or lost very different parts",
    "truncated sampling": "replies not drawn at temperature 1 from the whole distribution",
    "prompt mismatch": "students trained and asked under different renderings of the chat",
    "barely covered": "an answer set that holds few of a model's first answers, so that their probability misleads",
    "substring scoring": "shares that whole words do not give",
    "non-answers": "replies that answer nothing",
    "silent batch change": "an arm that learned otherwise than its control or the recipe",
    "adapter not applied": "a student that is its base, or whose weights are not those that were scored",
    "adapter silently not applied": "a student whose logits are its base's, whatever its files say",
    "organism damaged": "a student that can do less than its control, so that a gap is more than a trait",
    "same student twice": "two students that answer identically",
    "peak checkpoint": "anything but the final weights scored",
    "pseudo-replication": "seeds that are not independent students",
    "too few seeds": "fewer students than an interval needs",
    "several looks": "a verdict taken again and again while seeds were added",
    "drift without specificity": "a rise of the trait that other answers or the control share",
    "one number only": "a share that stands still while the distribution of answers moves",
}
"""Name -> what it is; first what no figure stands without, then in the order of a run: rows, replies, training,
evidence."""


@dataclass(frozen=True)
class Finding:
    """One check of one place. `words` ends with the next step unless the level is ok."""

    trap: str
    level: Level
    words: str
    where: str = ""

    def __post_init__(self) -> None:
        if self.trap not in TRAPS or self.level not in LEVELS:
            raise ValueError(f"no trap or level of that name: {self.trap!r}, {self.level!r}")

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"trap": self.trap, "level": self.level, "words": self.words, "where": self.where}


def worst(findings: Iterable[Finding]) -> Level:
    """The worst level among them; "not checked" when there is none."""
    return max((f.level for f in findings), key=LEVELS.index, default="not checked")


def verdict(findings: Iterable[Finding]) -> Level:
    """The level of one trap over all its places: the worst that was seen, "ok" only where something was looked at."""
    seen = {f.level for f in findings}
    return next((level for level in ("fault", "warning", "ok") if level in seen), "not checked")


def looked_at(findings: Iterable[Finding]) -> list[str]:
    """The traps of which at least one place was looked at, in the order of TRAPS."""
    seen = {f.trap for f in findings if f.level != "not checked"}
    return [trap for trap in TRAPS if trap in seen]


def by_trap(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    """Trap -> its findings, the worst first; every trap has an entry, an empty one becomes "not checked"."""
    none = "nothing of the kind is here; check the run that it belongs to"
    grouped: dict[str, list[Finding]] = {}
    for trap in TRAPS:
        here = [f for f in findings if f.trap == trap] or [Finding(trap, "not checked", none)]
        grouped[trap] = sorted(here, key=lambda f: -LEVELS.index(f.level))
    return grouped
