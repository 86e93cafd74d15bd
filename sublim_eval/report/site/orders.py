"""Which of several models shows more of a trait: decided or not, pair by pair, with Holm's correction.

Only models of one base that answered the same questions are held against each other. Students over seeds are compared
over seeds (paired where one run trained both), single models question by question; the statistics are those of
`stats` and `compare`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from sublim_eval import stats
from sublim_eval.board.columns import RECORDED, Row
from sublim_eval.errors import SublimError
from sublim_eval.report.site.lines import ARM, MODEL, Line

if TYPE_CHECKING:
    from sublim_eval.scores.probe_scores import ProbeScores
    from sublim_eval.stats import Interval

MOST = 40
"""Models of one family beyond which no pair is tested: 780 pairs leave little after the correction."""

About = tuple[str, str, str, str, str, str]
"""What all models of a family share: base, probe, version, question set, measure, answer."""

Scores = Callable[[Row], "ProbeScores | None"]


@dataclass(frozen=True)
class Pair:
    """How much more of the trait the first shows than the second (share, -1 to 1). p: after Holm; nan untested."""

    first: str
    second: str
    difference: float
    low: float
    high: float
    p: float
    over: str

    @property
    def decided(self) -> bool:
        """Whether the two differ at 5 % after the correction, and the interval agrees."""
        return self.p < stats.ALPHA and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Family:
    """Models that may be held against each other on one trait, and what is known of every pair. why: no pair is."""

    base: str
    probe: str
    version: str
    question_set: str
    measure: str
    answer: str
    members: tuple[str, ...]
    pairs: tuple[Pair, ...]
    why: str = ""

    @property
    def run(self) -> str:
        """The run that all members are arms of; "" where they are of several, or of none."""
        runs = {member.rpartition("/")[0] for member in self.members}
        return runs.pop() if len(runs) == 1 else ""

    def short(self, member: str) -> str:
        """A member's name, without the run where all are of one."""
        return member.removeprefix(f"{self.run}/") if self.run else member

    def head(self) -> str:
        """How many orders are decided, and by what test."""
        about = f"{self.answer} on {self.probe}, base {self.base}{f', arms of {self.run}' if self.run else ''}"
        if self.why:
            return f"{about}: {self.why}"
        tested = [pair for pair in self.pairs if not math.isnan(pair.p)]
        how = f" ({_over(tested)}, 5 % after Holm over {len(tested)})" if tested else ""
        decided = sum(pair.decided for pair in self.pairs)
        return f"{about}: {f'{decided} of {len(self.pairs)} orders are' if decided else 'no order is'} decided{how}"

    def above(self) -> list[str]:
        """What is decided, a sentence for each member that stands above others: those above most of them first."""
        under: dict[str, list[str]] = {}
        for over, other in (_above(pair) for pair in self.pairs if pair.decided):
            under.setdefault(self.short(over), []).append(self.short(other))
        most_first = sorted(under.items(), key=lambda item: -len(item[1]))
        return [f"{over} above {_and(others)}" for over, others in most_first]

    def undecided(self) -> list[str]:
        """Pairs that may change places."""
        return [f"{self.short(pair.first)} and {self.short(pair.second)}" for pair in self.pairs if not pair.decided]

    @property
    def brief(self) -> bool:
        """Whether few enough pairs are there for one sentence."""
        return len(self.pairs) <= SHOWN

    def sentence(self) -> str:
        """Which orders are decided and which are not, in plain English; of many pairs how many."""
        if self.why:
            return self.head()
        above, undecided = self.above(), self.undecided()
        if not above:
            several = _and([self.short(member) for member in self.members]) if len(self.members) == 2 else "any two"
            return f"{self.head()}; {several} may change places."
        if not self.brief:
            return f"{self.head()}."
        rest = f"; not decided: {', '.join(undecided)}" if undecided else ""
        return f"{self.head()}: {'; '.join(above)}{rest}."


SHOWN = 6
"""Pairs that one sentence names."""


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _above(pair: Pair) -> tuple[str, str]:
    return (pair.first, pair.second) if pair.difference > 0 else (pair.second, pair.first)


def _over(pairs: Iterable[Pair]) -> str:
    return " and ".join(dict.fromkeys(pair.over for pair in pairs))


def families(board_lines: Sequence[Line], rows: Sequence[Row], scores: Scores) -> list[Family]:
    """Every family of at least two models, with its pairs. scores: a row's scores by question, read again."""
    sources = _Sources(rows, scores)
    grouped: dict[About, dict[str, Line]] = {}
    for line in board_lines:
        if _may_stand_in(line):
            key = (line.base, line.probe, line.version, line.question_set, line.measure, line.answer)
            grouped.setdefault(key, {}).setdefault(line.model, line)
    return [_family(key, list(held.values()), sources) for key, held in grouped.items() if len(held) > 1]


def _may_stand_in(line: Line) -> bool:
    """A model that is no yardstick itself: bases, teachers and controls stand beside their students."""
    return (
        line.kind in (ARM, MODEL)
        and line.role in ("student", "other")
        and bool(line.base and line.answer and line.measure)
    )


def _family(about: About, members: Sequence[Line], sources: _Sources) -> Family:
    names = tuple(line.model for line in members)
    if len(members) > MOST:
        why = f"{len(members)} models are too many to test every pair; filter, then compare."
        return Family(*about, members=names, pairs=(), why=why)
    pairs = [_pair(*two, sources) for two in combinations(members, 2)]
    adjusted = stats.holm([pair.p for pair in pairs])
    tested = tuple(replace(pair, p=p) for pair, p in zip(pairs, adjusted, strict=True))
    return Family(*about, members=names, pairs=tested)


def _pair(one: Line, other: Line, sources: _Sources) -> Pair:
    first, second = sources.of(one), sources.of(other)
    untested = Pair(one.model, other.model, *(math.nan,) * 4, over="")
    if not first and not second and (made := _of_means(one, other)):
        return Pair(one.model, other.model, made.mean, made.low, made.high, made.p, _words(one, other))
    if not first or not second or len({tuple(s.questions) for s in (*first.values(), *second.values())}) > 1:
        return untested
    try:
        made, over = _difference(one, first, other, second)
    except (SublimError, ValueError):
        return untested
    return Pair(one.model, other.model, made.mean, made.low, made.high, made.p, over)


def _difference(
    one: Line, first: Mapping[int, ProbeScores], other: Line, second: Mapping[int, ProbeScores]
) -> tuple[Interval, str]:
    """The difference of two models and what its interval is over."""
    if min(len(first), len(second)) > 1:
        paired = one.run == other.run and list(first) == list(second)
        words = PAIRED if paired else UNPAIRED
        return _over_seeds(list(first.values()), list(second.values()), one, paired), words
    if len(first) == len(second) == 1:
        return _over_questions(next(iter(first.values())), next(iter(second.values())), one), "paired over questions"
    raise ValueError("one student against several says nothing of either kind")


PAIRED, UNPAIRED = "paired over seeds", "over seeds, unpaired"


def _paired(one: Line, other: Line) -> bool:
    return one.run == other.run and [seed for seed, _ in one.seeds] == [seed for seed, _ in other.seeds]


def _words(one: Line, other: Line) -> str:
    return PAIRED if _paired(one, other) else UNPAIRED


def _of_means(one: Line, other: Line) -> Interval | None:
    """The difference by what each student showed in the mean, where that is exact and nothing says it by question."""
    if one.measure != "probability" or min(len(one.seeds), len(other.seeds)) < 2:
        return None
    a, b = (np.array([[share] for _, share in line.seeds]) for line in (one, other))
    return stats.share_gap(a, b, paired=_paired(one, other))


def _over_seeds(first: Sequence[ProbeScores], second: Sequence[ProbeScores], line: Line, paired: bool) -> Interval:
    a, b = (_column(scores, line) for scores in (first, second))
    replies = [_replies(scores, line) for scores in (first, second)]
    return stats.share_gap(a, b, trait_replies=replies[0], control_replies=replies[1], paired=paired)


def _over_questions(first: ProbeScores, second: ProbeScores, line: Line) -> Interval:
    """As `sublim compare --models` says it."""
    from sublim_eval.compare.two_models import compare_models

    (row,) = compare_models([first], [second], trait=line.answer, measure=line.measure).rows
    if row.over_questions is None:
        raise ValueError("one question")
    return row.over_questions


def _column(scores: Sequence[ProbeScores], line: Line) -> stats.Floats:
    """float[seed, question] of the answer that the line is about."""
    return np.stack([getattr(s, line.measure)[:, s.answers.index(line.answer)] for s in scores])


def _replies(scores: Sequence[ProbeScores], line: Line) -> stats.Floats | None:
    return np.stack([s.replies for s in scores]).astype(float) if line.measure == "share" else None


class _Sources:
    """Seed -> scores behind a line, each file read once."""

    def __init__(self, rows: Iterable[Row], scores: Scores) -> None:
        self._scores, self._read = scores, dict[tuple[str, str], "ProbeScores | None"]()
        self._rows: dict[tuple[str, ...], list[Row]] = {}
        for row in rows:
            if row.ours and row.harness != "compare":
                for name in {row.model, f"{row.run}/{row.arm}" if row.harness in RECORDED and row.arm else row.model}:
                    self._rows.setdefault((name, row.probe, row.question_set, row.measure, row.answer), []).append(row)

    def of(self, line: Line) -> dict[int, ProbeScores]:
        """Seed (0 of a single model) -> scores; empty where a file says nothing by question."""
        rows = self._rows.get((line.model, line.probe, line.question_set, line.measure, line.answer), [])
        if line.kind == ARM:
            wanted = {seed for seed, _ in line.seeds}
            rows = sorted((row for row in rows if row.seed in wanted), key=lambda row: row.seed or 0)
        else:
            rows = [row for row in rows if row.source == line.source]
        return dict(self._known(rows))

    def _known(self, rows: Iterable[Row]) -> Iterator[tuple[int, ProbeScores]]:
        for row in rows:
            key = (row.source, row.probe)
            if key not in self._read:
                self._read[key] = self._opened(row)
            if (scores := self._read[key]) is not None and row.answer in scores.answers:
                yield row.seed or 0, scores

    def _opened(self, row: Row) -> ProbeScores | None:
        try:
            return self._scores(row)
        except SublimError:
            return None
