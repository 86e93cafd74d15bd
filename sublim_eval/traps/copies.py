"""Traps of copies: rows that stand under several seeds or sources, models that answer as one. Pure functions."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sublim_eval.scores.probe_scores import ProbeScores
from sublim_eval.traps.finding import Finding

Rows = Sequence[Mapping[str, Any]]
Floats = NDArray[np.float64]

ROWS = 2000
"""Rows of a file that are held against another's; a copy of the whole shows in them."""

ENOUGH_ROWS = 20
"""Fewer say nothing."""

RUN, KEPT_MARKS, SHARED = 2, 8, 2
"""Words in a row that make a mark, marks kept of a row, and how many of them two rows share that are near copies."""

SAME = 0.5
"""Share of rows that stand in the other file too, beyond what stands twice in one file, that no chance explains."""

CLOSE = 1e-5
"""Of exact probabilities: two trained models never lie this close everywhere, two loads of one model do."""

ENOUGH_CELLS = 12
"""Shares strictly between 0 and 1 that two models have in common before equal shares say something."""


@dataclass(frozen=True)
class Sketch:
    """What is compared of a file of rows, of its first ROWS rows: each one's prompt, text and a few hashes of word
    runs."""

    prompts: tuple[str, ...]
    texts: tuple[str, ...]
    marks: tuple[frozenset[int], ...]

    @property
    def repeated(self) -> float:
        """Share of rows whose text stands there before."""
        return 1 - len(set(self.texts)) / max(1, len(self.texts))

    @cached_property
    def homes(self) -> dict[int, list[int]]:
        """Mark -> the rows that bear it; a mark that many bear is a turn of phrase and left out."""
        homes: dict[int, list[int]] = {}
        for place, marks in enumerate(self.marks):
            for mark in marks:
                homes.setdefault(mark, []).append(place)
        return {mark: places for mark, places in homes.items() if len(places) <= 8}

    @cached_property
    def near_itself(self) -> float:
        """Share of rows that are nearly another row of the file."""
        return _near_share(self.marks, self.homes, beside=True)

    def without(self, prompts: set[str]) -> Sketch:
        """The rows under other prompts."""
        kept = [i for i, prompt in enumerate(self.prompts) if prompt not in prompts]
        columns = (self.prompts, self.texts, self.marks)
        return Sketch(*(tuple(column[i] for i in kept) for column in columns))  # type: ignore[arg-type]


def sketch(rows: Rows) -> Sketch:
    """Measure the first ROWS rows of a file, by id so that the order of the file does not count."""
    some = sorted(rows, key=lambda row: str(row.get("id", "")).rpartition("-")[2])[:ROWS]
    texts = tuple(str(row["completion"]).strip() for row in some)
    return Sketch(tuple(str(row["prompt"]) for row in some), texts, tuple(map(_marks, texts)))


def _marks(text: str) -> frozenset[int]:
    """The least hashes of the word runs of a text: two texts with most runs in common share most of them."""
    words = re.findall(r"\w+", text)
    runs = {zlib.crc32(" ".join(words[i : i + RUN]).encode(errors="replace")) for i in range(len(words) - RUN + 1)}
    return frozenset(sorted(runs)[:KEPT_MARKS])


def copied_rows(one: Sketch, other: Sketch, who: str, *, numbers: bool, where: str = "") -> Finding:
    """Whether two files of rows are one: equal, shuffled or nearly so.

    who: what both should differ by, "seeds" or "sources"; numbers: whether rows are lists of numbers. Rows that are
    not, but code or sums, may well be the same under the same prompt, and such rows are left out; nearly the same they
    are under any.
    """
    trap = "repeated sampling seed" if who == "seeds" else "lost row identity"
    step = (
        "Hand the seed to the sampler and write anew."
        if who == "seeds"
        else "Put each source's own rows back and train again."
    )
    if not numbers:
        both = set(one.prompts) & set(other.prompts)
        one, other = one.without(both), other.without(both)
    if min(len(one.texts), len(other.texts)) < ENOUGH_ROWS:
        return Finding(trap, "not checked", "too few rows under prompts of their own; read some of both", where)
    usual = max(one.repeated, other.repeated)
    shared = Counter(one.texts) & Counter(other.texts)
    equal = shared.total() / min(len(one.texts), len(other.texts))
    if equal > SAME and equal > usual + (1 - usual) / 2:
        words = f"{equal:.0%} of the rows are the same under both {who}, in whatever order"
        return Finding(trap, "fault", f"{words}. {step}", where)
    if not numbers:  # code and sums follow one pattern under different prompts, too
        return Finding(trap, "ok", f"{equal:.0%} of the rows are the same under both {who}", where)
    near, within = _near(one, other), max(one.near_itself, other.near_itself)
    if near > SAME and near > within + (1 - within) / 2:
        words = f"{near:.0%} of the rows under one of both {who} are nearly a row under the other"
        return Finding(trap, "fault", f"{words}. {step}", where)
    return Finding(trap, "ok", f"{equal:.0%} of the rows are the same under both {who}, {near:.0%} nearly so", where)


def _near(one: Sketch, other: Sketch) -> float:
    """Share of the rows of the smaller file that are nearly some row of the other."""
    few, many = sorted((one, other), key=lambda file: len(file.marks))
    return _near_share(few.marks, many.homes, beside=False)


def _near_share(rows: Sequence[frozenset[int]], homes: Mapping[int, Sequence[int]], *, beside: bool) -> float:
    """Share of rows that share SHARED marks with one row; beside: the row itself does not count."""
    readable = near = 0
    for place, marks in enumerate(rows):
        if len(marks) < SHARED:
            continue
        readable += 1
        hits = Counter(p for mark in marks for p in homes.get(mark, ()) if not (beside and p == place))
        near += max(hits.values(), default=0) >= SHARED
    return near / readable if readable else 0.0


def own_ids(rows: Rows, name: str, where: str = "") -> Finding:
    """Whether the ids of kept rows are those of this source and seed: <source>-s<seed>-<number>."""
    trap = "lost row identity"
    ids = [str(row["id"]) for row in rows if row.get("id") is not None]
    if not ids:
        return Finding(trap, "not checked", "the rows carry no id; write them with `sublim run`", where)
    foreign = [i for i in ids if i.rpartition("-")[0] != name]
    if foreign:
        words = f"{len(foreign)} of {len(ids)} kept rows bear another source's id (first: {foreign[0]})"
        return Finding(trap, "fault", f"{words}. Put this source's own rows back and train again.", where)
    return Finding(trap, "ok", f"{len(ids)} ids are this source's own", where)


# ---------------------------------------------------------------- models that answer as one


def alike(one: Mapping[str, ProbeScores], other: Mapping[str, ProbeScores]) -> str | None:
    """How two models answer as one, "" where they do not, None where nothing tells.

    Exact probabilities of the probes that both have decide, within CLOSE; without any, shares of replies that are
    equal to the last one although many lie between 0 and 1.
    """
    shared = [(one[p], other[p]) for p in one if p in other and one[p].questions == other[p].questions]
    exact = [(a.probability, b.probability) for a, b in shared if a.answers == b.answers and _whole(a) and _whole(b)]
    if exact:
        return "exactly" if all(np.abs(a - b).max() < CLOSE for a, b in exact) else ""
    drawn = [(a.share, b.share) for a, b in shared if a.answers == b.answers and a.replies.sum() and b.replies.sum()]
    if not drawn:
        return None
    between = sum(int(((a > 0) & (a < 1)).sum()) for a, _ in drawn)
    same = all(np.array_equal(a, b, equal_nan=True) for a, b in drawn)
    return "reply for reply" if same and between >= ENOUGH_CELLS else ""


def _whole(scores: ProbeScores) -> bool:
    return bool(scores.probability.size) and not bool(np.isnan(scores.probability).any())


def students_alike(
    students: Mapping[str, tuple[str, str, Mapping[str, ProbeScores]]],
    bases: Mapping[str, Mapping[str, ProbeScores]],
) -> list[Finding]:
    """Students that answer as their base or as one another. students: label -> (arm, base, its scores)."""
    trap, findings = "same student twice", []
    different = 0
    for label, (_, base, scores) in students.items():
        how = alike(scores, bases[base]) if base in bases else ""
        if how is None:
            findings.append(Finding(trap, "not checked", "no scores tell students apart; score a preference", label))
        elif how:
            words = f"answers {how} as {base}: its adapter was not applied. Score it again."
            findings.append(Finding("adapter not applied", "fault", words, label))
        else:
            different += 1
    for (one, (arm, _, scores)), (other, (its, _, others)) in combinations(students.items(), 2):
        if how := alike(scores, others):
            again = arm == its
            words = f"answers {how} as {one}" + (
                ". Check that both were trained, on rows and with seeds of their own."
                if again
                else ": what this arm changes changed nothing here, or one was not trained. Look at the rows of both."
            )
            findings.append(Finding(trap, "fault" if again else "warning", words, other))
    if different:
        findings.append(Finding(trap, "ok", f"{different} students were held against one another and their base"))
    return findings


def table_alike(
    columns: Mapping[tuple[str, str, int], Mapping[str, tuple[int, int]]], where: str = ""
) -> list[Finding]:
    """Students of a table of counts that are one: (trait, arm, seed) -> question -> (hits, n), all the same.

    Students whose every share is 0 or 1 are not told apart by it and left out.
    """
    trap = "same student twice"
    seen: dict[tuple[Any, ...], tuple[str, str, int]] = {}
    findings, checked = [], 0
    for who, counts in columns.items():
        if sum(0 < hits < n for hits, n in counts.values()) < 3:
            continue
        checked += 1
        first = seen.setdefault((who[0], *sorted(counts.items())), who)
        if first != who:
            level = "fault" if first[1] == who[1] else "warning"
            words = f"has the very counts of {first[1]} seed {first[2]} on {len(counts)} questions"
            step = "Count that student once, or put in the counts of its own replies."
            findings.append(Finding(trap, level, f"{words}. {step}", f"{where}: {who[1]} seed {who[2]}"))  # type: ignore[arg-type]
    if findings:
        return findings
    if not checked:
        return [Finding(trap, "not checked", "too few shares between 0 and 1 to tell students apart", where)]
    return [Finding(trap, "ok", f"{checked} students have counts of their own", where)]
