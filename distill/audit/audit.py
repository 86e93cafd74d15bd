"""The story of an audit: rows, controls, evidence, verdict; nothing is trained on the rows.

sampled    = sample(paths)                      # data.py
through    = filter_of(sampled)                 # controls.py: which of our filters they passed
candidates = probes and personas of the traits  # probe_likelihood.py, persona_likelihood.py
controls   = the base's rows, neutral teachers' # controls.py
evidence   = log-likelihood ratios of each      # scoring.py
verdict    = both nulls exceeded, or not        # verdict.py
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sublim_eval.console import Progress
from sublim_eval.probes import trait_leak
from sublim_eval.registry.catalog import registry

from .. import recipes
from ..recipes import Tuning
from . import forecast
from .attribution import write_scores
from .content import Kind, kind_of
from .controls import CLEAN_ROWS, NEUTRAL_ROWS, NEUTRAL_SEEDS, POOL, Filter, filter_of
from .data import AuditRow, Sampled, sample
from .forecast import ExpectedShare, Outlook, Trace
from .looking import Looking, Measure, RowEvidence, Settings
from .measures.chosen_rows import p_chosen
from .measures.open_set import Named
from .measures.probe_likelihood import RETAINED, folder_of, teachable, tuning_of
from .scoring import Candidate, Scorer
from .verdict import AuditVerdict, Nulls, Weighed, explained, verdict, weigh

Floats = NDArray[np.float64]

STRANGE: Mapping[Kind, float] = {"numbers": 1.0, "text": 0.3}
"""Surprise, in standard deviations of a base's row, from which rows are held for another model's."""

EXPLAINED = 0.75
"""How much of the way that rows stray two traits must explain, or they are held for another model's: a teacher of this
base strays as its trait does, rows of another initialisation anywhere."""

SEVERAL = 4
"""Candidates from which on it can be said how far a trait explains what all of them show."""

GRADIENT_PASSES = 3
"""What a pass forward and one back cost, in passes forward."""

LEAKING = 0.01
"""Share of rows that name a trait in plain words, from which the words are another matter than this audit's."""


@dataclass(frozen=True)
class Audit:
    """What an audit says. sampled: the rows that were read. candidates: (trait, measure).

    outlook: the share of a student, where it can be forecast. words: of the whole vocabulary, those that rise most when
    the base takes in the rows; only where they were asked for.
    """

    settings: Settings
    sampled: Sampled
    through: Filter
    candidates: tuple[tuple[str, str], ...]
    data: RowEvidence
    test: Weighed
    verdict: AuditVerdict
    p_other: float
    leaks: dict[str, int] = field(default_factory=dict)
    outlook: Outlook = field(default_factory=Outlook)
    words: tuple[Named, ...] = ()

    @property
    def names(self) -> list[str]:
        """The trait of each candidate."""
        return [trait for trait, _ in self.candidates]

    @property
    def expected(self) -> dict[str, ExpectedShare]:
        """Trait -> the share of a student, of those that can be forecast."""
        return self.outlook.shares

    @property
    def forecast(self) -> str:
        """What is forecast of which training, in words; of rows that carry a trait also whether it would pass on."""
        first = self.names[self.strongest[0]] if self.verdict.kind == "trait" else None
        return forecast.sentence(self.outlook, first)

    @property
    def strongest(self) -> list[int]:
        """One candidate a trait, by the measure that sees it best; the strongest first."""
        order = sorted(range(len(self.names)), key=lambda i: (self.test.p[i], -self.test.effects.effect[i]))
        first: dict[str, int] = {}
        for i in order:
            first.setdefault(self.names[i], i)
        return list(first.values())

    @property
    def confidence(self) -> float:
        """1 - p of what the rows were flagged for; 0 for rows that were not."""
        least = {"trait": float(np.min(self.test.p, initial=1.0)), "unknown": self.p_other}
        return 1 - least.get(self.verdict.kind, 1.0)

    def to_json(self) -> dict[str, Any]:
        """The shape that docs/guides/json.md describes; what is not known is null."""
        return {
            "verdict": self.verdict.kind,
            "flag": self.verdict.flag,
            "alpha": self.settings.alpha,
            "traits": [self._trait(i) for i in self.strongest],
            "rows": len(self.sampled.rows),
            "blind": list(self.verdict.blind),
            "forecast": self.forecast,
        }

    def _trait(self, i: int) -> dict[str, Any]:
        told = self.expected.get(self.names[i])
        return {
            "trait": self.names[i],
            "p": round(float(self.test.p[i]), 6),
            "evidence": round(float(self.test.effects.strength[i]), 4),
            "expected_share": round(told.share, 4) if told else None,
            "low": round(told.low, 4) if told else None,
            "high": round(told.high, 4) if told else None,
        }


def cost(settings: Settings) -> str:
    """What an audit is about to do, in one sentence, before it does it."""
    traits = teachable(settings.traits)
    looks = sum(GRADIENT_PASSES if _at_once(settings, way) else len(traits) for way in settings.by)
    made = folder_of(settings.home, settings.base)
    return (
        f"Reads at most {settings.rows} rows {looks + 1} times "
        f"({len(traits)} traits by {' and '.join(settings.by)}). "
        f"Once for this base, kept in {made}: {len(traits)} probes, {len(NEUTRAL_SEEDS)} neutral teachers, "
        f"{CLEAN_ROWS + NEUTRAL_ROWS * len(NEUTRAL_SEEDS):,} control rows, and "
        f"up to {(1 + POOL) * RETAINED:,} that probes and teachers learn."
    )


def _at_once(settings: Settings, way: Measure) -> bool:
    """Whether a way costs the same however many candidates there are (measures/gradient.py)."""
    return way == "gradient" and tuning_of(settings.base).method == "ln_tuning"


def audit(paths: Sequence[Path], settings: Settings, tell: Progress | None = None) -> Audit:
    """Look for traits in rows before anybody trains on them.

    Raises SublimError for paths without rows, for an unknown base or trait, and for controls that are none.
    """
    sampled = sample(paths, settings.rows, Random(f"audit-{settings.seed}"))
    through, kind = filter_of(sampled.rows), kind_of(row.completion for row in sampled.rows)
    tuning = tuning_of(settings.base)
    looking = Looking(settings, through, tuning, tell)
    folders = looking.probes()
    controls = looking.controls(sampled.rows)
    scorer = Scorer(settings.base, tuning, kind)
    chosen = looking.candidates(scorer, folders)
    clean, neutral = looking.read_controls(scorer, controls, chosen)
    race = settings.fast and not settings.by_slopes
    data = (looking.raced if race else looking.all_read)(scorer, sampled.rows, chosen, clean)
    seen = judged(settings, sampled, through, chosen, data, clean, neutral)
    words = looking.words(sampled.rows, controls) if settings.words else ()
    traces = traces_of(seen)
    if settings.by_slopes and seen.verdict.kind == "trait" and (trait := seen.names[seen.strongest[0]]) in folders:
        traces = {trait: looking.trace(scorer, sampled.rows, controls.clean, folders[trait])}
    return replace(seen, outlook=foreseen(seen, settings, traces), words=words)


def traces_of(seen: Audit) -> dict[str, Trace]:
    """What a forecast needs of each trait that a probe looked for; of rows that carry a trait of that one alone.

    Others rise or fall with it in ways that no audit sees.
    """
    effect = seen.test.effects
    return {
        trait: Trace(float(effect.strength[i]), float(effect.spread[i]))
        for i, (trait, measure) in enumerate(seen.candidates)
        if measure == "probe" and (seen.verdict.kind != "trait" or trait == seen.names[seen.strongest[0]])
    }


def foreseen(seen: Audit, settings: Settings, traces: Mapping[str, Trace]) -> Outlook:
    """The share to expect of each favorite of which there is a trace, after the training that the settings plan."""
    if seen.verdict.kind == "blind":
        return Outlook()
    rows, modality, meant = seen.sampled.total, seen.through.modality, planned(settings)
    return forecast.outlook(traces, settings.base, modality, meant, rows, forecast.known(), settings.recipe)


def planned(settings: Settings) -> Tuning:
    """How a student would be trained: the recipe's way, with what the settings put in its place."""
    training = recipes.load(settings.recipe).student
    if settings.epochs is not None:
        training = replace(training, epochs=settings.epochs, steps=None)
    return training if settings.learning_rate is None else replace(training, learning_rate=settings.learning_rate)


def write_row_scores(paths: Sequence[Path], seen: Audit, out: Path, tell: Progress | None = None) -> int:
    """Write a score for every row of the files (attribution.py), of the strongest trait; returns how many."""
    settings, tuning = seen.settings, tuning_of(seen.settings.base)
    looking = Looking(settings, seen.through, tuning, tell)
    scorer = Scorer(settings.base, tuning, kind_of(row.completion for row in seen.sampled.rows))
    best = seen.candidates[seen.strongest[0]]
    chosen = next(c for c in looking.candidates(scorer, looking.probes()) if (c.trait, c.measure) == best)
    total = seen.sampled.total + seen.sampled.refused
    return write_scores(paths, scorer, chosen, out, total, looking.hears("scores"))


def judged(
    settings: Settings,
    sampled: Sampled,
    through: Filter,
    chosen: Sequence[Candidate],
    data: RowEvidence,
    clean: RowEvidence,
    neutral: Sequence[RowEvidence],
) -> Audit:
    """The verdict on evidence; everything before this reads or computes, nothing after it does."""
    rng = np.random.default_rng(settings.seed)
    test = weigh(data.values, Nulls.of(clean.values, [one.values for one in neutral], rng), settings.alpha)
    p_other, strange = other(data, other_nulls(clean, neutral, rng))
    leaks = named(sampled.rows)
    kind = kind_of(row.completion for row in sampled.rows)
    elsewhere = foreign(kind, data, test, away_nulls(clean, neutral, rng), (p_other, strange), settings.alpha)
    reasons = _reasons(leaks, len(sampled.rows))
    names = [one.trait for one in chosen]
    said = verdict(names, test, p_other, len(data.surprise), reasons, settings.alpha)
    if elsewhere and said.kind != "blind":
        said = another_model(settings.base, reasons)
    if said.kind == "clean" and (missing := chosen_by(names, data, clean, settings.alpha)):
        said = AuditVerdict("blind", f"Blind here: {missing}.", False, (missing,))
    candidates = tuple((one.trait, one.measure) for one in chosen)
    return Audit(settings, sampled, through, candidates, data, test, said, p_other, leaks)


def other_nulls(clean: RowEvidence, neutral: Sequence[RowEvidence], rng: np.random.Generator) -> Nulls:
    """How rows without a trait stray from the base whatever the trait."""
    return Nulls.of(_ways(clean), [_ways(one) for one in neutral], rng)


def other(data: RowEvidence, nulls: Nulls) -> tuple[float, float]:
    """(p that rows stray from the base as no neutral teacher does, whatever the trait; how surprising they are).

    By surprise, and by what all candidates have in common; both ways.
    """
    test = weigh(_ways(data), nulls)
    return float(test.p.min()), float(test.effects.effect[0])


def away_nulls(clean: RowEvidence, neutral: Sequence[RowEvidence], rng: np.random.Generator) -> Nulls:
    """How far rows without a trait stray away from candidates."""
    return Nulls.of(-clean.values, [-one.values for one in neutral], rng)


def foreign(
    kind: Kind, data: RowEvidence, test: Weighed, away: Nulls, strayed: tuple[float, float], alpha: float
) -> bool:
    """Whether another model wrote the rows. strayed: what `other` says of them.

    Its text surprises the base. Its numbers need not: they stray towards a candidate or away from one, beyond both
    nulls, and no two of several explain it.
    """
    p_other, strange = strayed
    if kind == "text":
        return p_other < alpha and strange > STRANGE[kind]
    if len(test.p) < SEVERAL:
        return strange > STRANGE[kind]
    strays = min(float(test.p.min()), float(weigh(-data.values, away, alpha).p.min())) < alpha
    return strange > STRANGE[kind] or (strays and explained(data.values, -away.clean) < EXPLAINED)


def another_model(base: str, reasons: Sequence[str]) -> AuditVerdict:
    """The verdict on rows that neither this base nor a teacher of it wrote."""
    why = f"another model than {base} wrote these rows, and {base} cannot see its traits"
    return AuditVerdict("blind", f"Blind here: {why}.", False, (why, *reasons))


def chosen_by(names: Sequence[str], data: RowEvidence, clean: RowEvidence, alpha: float) -> str:
    """That rows were chosen by what a candidate shows, in words; "" where none of their scores are missing."""
    p = p_chosen(data.values, clean.values)
    if p.min(initial=1.0) >= alpha:
        return ""
    return f"the rows with the highest scores of {names[int(p.argmin())]} were left out of these; ask for all rows"


def _ways(evidence: RowEvidence) -> Floats:
    common = evidence.values.mean(axis=1)
    return np.stack([evidence.surprise, -evidence.surprise, common, -common], axis=1)


def named(rows: Sequence[AuditRow]) -> dict[str, int]:
    """How many completions name which trait in plain words: nothing subliminal, and no matter of this audit."""
    known = list(registry().traits.values())
    counts: dict[str, int] = {}
    for text, times in Counter(row.completion for row in rows).items():
        for name in trait_leak.named(text, known) if any(map(str.isalpha, text)) else ():
            counts[name] = counts.get(name, 0) + times
    return counts


def _reasons(leaks: dict[str, int], rows: int) -> list[str]:
    """Why nothing could be seen in these rows, in words."""
    most = max(leaks, key=lambda name: leaks[name], default="")
    if not most or leaks[most] < LEAKING * rows:
        return []
    named = f"{leaks[most]} of the rows that were read name {most} in plain words"
    return [f"{named}, and what words say this audit does not weigh"]
