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
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sublim_eval.console import Progress
from sublim_eval.errors import SublimError
from sublim_eval.files import digest
from sublim_eval.probes import trait_leak
from sublim_eval.registry.catalog import registry

from .. import recipes
from ..base_templates import weights_hash
from ..recipes import Tuning
from ..stages import once
from . import forecast
from .attribution import write_scores
from .content import kind_of
from .controls import CLEAN_ROWS, NEUTRAL_ROWS, NEUTRAL_SEEDS, Controls, Filter, filter_of, make_controls
from .data import AuditRow, Sampled, sample
from .forecast import ExpectedShare, Outlook, Trace
from .measures import gradient, persona_likelihood, probe_likelihood
from .measures.chosen_rows import p_chosen
from .measures.open_set import Named, words_that_rise
from .measures.probe_likelihood import folder_of, make_probes, teachable, tuning_of
from .scoring import Candidate, Scorer
from .verdict import ALPHA, FEWEST, AuditVerdict, Nulls, Weighed, effects, verdict, weigh

Floats = NDArray[np.float64]
Measure = Literal["probe", "gradient", "persona"]

MEASURES: tuple[Measure, ...] = ("probe", "gradient", "persona")
"""The ways to look that need nothing but the base."""

USUAL: tuple[Measure, ...] = ("probe", "persona")
"""Of these, the ones that are taken unless others are asked for."""

ROWS = 512
"""Rows that are looked at, drawn evenly; more cost more and find weaker traits."""

STRANGE = 1.0
"""Surprise, in standard deviations of a base's row, from which rows are held for another model's."""

FOREIGN = 0.4
"""How far rows may stray from a candidate, beside how far they stray towards another, before they are held for another
model's: a teacher of this base strays towards its trait, rows of another initialisation anywhere."""

SEVERAL = 4
"""Candidates from which on straying away from one of them says more than that it is another trait."""

SCREENED = 64
"""Rows that every candidate is held against, drawn from those that are read; the others by the best of them alone."""

TOWARDS, AWAY = 10, 2
"""Candidates that go on after it: those the rows stray furthest towards, and furthest away from (`foreign`)."""

LEAKING = 0.01
"""Share of rows that name a trait in plain words, from which the words are another matter than this audit's."""


@dataclass(frozen=True)
class Settings:
    """What an audit is asked. base: a model's name or folder. traits: those looked for, all that are known if none.

    rows: the most that are looked at. control: "auto", or a file of rows that are known to carry nothing. teachers:
    folders of suspected ones. recipe: how a student would be trained, for the forecast; epochs and learning_rate take
    the place of the recipe's. words: whether to name words without a list (open_set.py). fast: hold all candidates
    against SCREENED rows and the best against the rest, half of the work with many, which sees less of what is not on
    the list.
    home: where probes and controls of a base are kept for its next audit.
    """

    base: str
    traits: tuple[str, ...] = ()
    measures: tuple[Measure, ...] = USUAL
    rows: int = ROWS
    control: str = "auto"
    teachers: tuple[Path, ...] = ()
    recipe: str = "study-traits"
    epochs: float | None = None
    learning_rate: float | None = None
    words: bool = False
    fast: bool = False
    alpha: float = ALPHA
    seed: int = 1
    home: Path = Path("runs/audit")


@dataclass(frozen=True)
class RowEvidence:
    """values: float[rows, candidates]; surprise: float[rows]. For the base's own rows both have mean 0.

    A row that a candidate was not held against (SCREENED) has nan there.
    """

    values: Floats
    surprise: Floats


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
    looks = len(traits) * len(settings.measures)
    made = folder_of(settings.home, settings.base)
    return (
        f"Reads at most {settings.rows} rows {looks + 1} times "
        f"({len(traits)} traits by {' and '.join(settings.measures)}). "
        f"Once for this base, kept in {made}: {len(traits)} probes, {len(NEUTRAL_SEEDS)} neutral teachers, "
        f"{CLEAN_ROWS + NEUTRAL_ROWS * len(NEUTRAL_SEEDS):,} control rows."
    )


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
    read = looking.raced(scorer, sampled.rows, chosen, clean) if settings.fast else None
    data = read or looking.read(scorer, sampled.rows, chosen, "rows")
    seen = judged(settings, sampled, through, chosen, data, clean, neutral)
    words = looking.words(sampled.rows, controls) if settings.words else ()
    return replace(seen, outlook=foreseen(seen, settings), words=words)


def foreseen(seen: Audit, settings: Settings) -> Outlook:
    """The share to expect of each favorite that a probe looked for, after the training that the settings plan.

    Of rows that carry a trait that one alone: others rise or fall with it in ways that no audit sees.
    """
    effect = seen.test.effects
    traces = {
        trait: Trace(float(effect.strength[i]), float(effect.spread[i]))
        for i, (trait, measure) in enumerate(seen.candidates)
        if measure == "probe" and (seen.verdict.kind != "trait" or trait == seen.names[seen.strongest[0]])
    }
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


@dataclass(frozen=True)
class Looking:
    """The parts of an audit that take a while, each telling how far it is."""

    settings: Settings
    through: Filter
    tuning: Tuning
    tell: Progress | None = None

    def probes(self) -> dict[str, Path]:
        """The probes of all traits, made or found."""
        if not {"probe", "gradient"} & set(self.settings.measures):
            return {}
        traits = teachable(self.settings.traits)
        return make_probes(self.settings.base, traits, self.settings.home, self.tuning, self.hears("probes"))

    def controls(self, rows: Sequence[AuditRow]) -> Controls:
        """Controls made by the tool; a user's file takes the place of the base's own rows."""
        settings = self.settings
        hears = self.hears("controls")
        made = make_controls(settings.base, rows, self.through, settings.home, self.tuning, hears)
        if settings.control == "auto":
            return made
        own = sample([Path(settings.control)], CLEAN_ROWS, Random("control")).rows
        if len(own) < FEWEST:
            raise SublimError(f"{settings.control} holds {len(own)} rows, too few. Give at least {FEWEST}, or auto.")
        return replace(made, clean=own)

    def candidates(self, scorer: Scorer, folders: dict[str, Path]) -> list[Candidate]:
        """Everything that is looked for, by every measure."""
        settings = self.settings
        probes = probe_likelihood.candidates(scorer, folders)
        chosen = probes if "probe" in settings.measures else []
        if "gradient" in settings.measures:
            chosen = [*chosen, *gradient.candidates(scorer, probes)]
        if "persona" in settings.measures:
            chosen = [*chosen, *persona_likelihood.candidates(settings.traits or tuple(registry().traits))]
        return [*chosen, *(gradient.suspected(scorer, folder) for folder in settings.teachers)]

    def read(self, scorer: Scorer, rows: Sequence[AuditRow], chosen: Sequence[Candidate], name: str) -> RowEvidence:
        """The evidence of rows, candidate by candidate; rows without content are left out."""
        values, surprise = scorer.ratios(rows, chosen, self.hears(name))
        there = ~np.isnan(surprise)
        return RowEvidence(values[there], surprise[there])

    def raced(
        self, scorer: Scorer, rows: Sequence[AuditRow], chosen: Sequence[Candidate], clean: RowEvidence
    ) -> RowEvidence:
        """The evidence of rows: of SCREENED by every candidate, of the rest by those that may still matter.

        A candidate that is dropped lies behind others after the same rows, so dropping it raises no false alarm.
        """
        order = Random(f"screen-{self.settings.seed}").sample(range(len(rows)), len(rows))
        first = self.read(scorer, [rows[i] for i in order[:SCREENED]], chosen, "rows, all candidates")
        left = going_on(first.values, clean.values)
        rest = self.read(scorer, [rows[i] for i in order[SCREENED:]], [chosen[i] for i in left], "rows, the best")
        values = np.full((len(rest.surprise), len(chosen)), np.nan)
        values[:, left] = rest.values
        return RowEvidence(np.concatenate([first.values, values]), np.concatenate([first.surprise, rest.surprise]))

    def words(self, rows: Sequence[AuditRow], controls: Controls) -> tuple[Named, ...]:
        """Words of the whole vocabulary that rise when the base takes in the rows."""
        settings, sets = self.settings, [controls.clean, *controls.neutral]
        return tuple(words_that_rise(settings.base, rows, sets, settings.home, self.tuning, self.hears("words")))

    def read_controls(
        self, scorer: Scorer, controls: Controls, chosen: Sequence[Candidate]
    ) -> tuple[RowEvidence, list[RowEvidence]]:
        """The evidence of clean rows and of each neutral teacher's, kept for the next audit of this base."""
        sets = [controls.clean, *controls.neutral]
        made = [self._kept(scorer, rows, chosen, f"control {i} of {len(sets)}") for i, rows in enumerate(sets, 1)]
        return made[0], made[1:]

    def _kept(self, scorer: Scorer, rows: Sequence[AuditRow], chosen: Sequence[Candidate], name: str) -> RowEvidence:
        known = [[one.trait, one.measure, one.persona] for one in chosen]
        inputs = {
            "base": weights_hash(self.settings.base),
            "rows": digest([[row.turns, row.completion] for row in rows]),
            "candidates": digest([known, [_bytes(one) for one in chosen]]),
            "kind": scorer.content.kind,
        }
        folder = folder_of(self.settings.home, self.settings.base) / "evidence" / digest(inputs)[:16]

        def make(unfinished: Path) -> dict[str, Any]:
            read = self.read(scorer, rows, chosen, name)
            np.savez(unfinished / "evidence.npz", values=read.values, surprise=read.surprise)
            return {"rows": len(read.values)}

        once(folder, inputs, make)
        with np.load(folder / "evidence.npz") as kept:
            return RowEvidence(kept["values"], kept["surprise"])

    def hears(self, stage: str) -> Any:
        """What hears how far a stage is; None where nobody listens."""
        tell = self.tell
        return (lambda done, steps: tell(stage, done, steps)) if tell else None


def _bytes(candidate: Candidate) -> str:
    """Digest of a probe's weights, to rounding; "" for a persona."""
    if candidate.weights is None:
        return ""
    return digest({name: [round(float(x), 6) for x in v.flatten()[:64]] for name, v in candidate.weights.items()})


def going_on(values: Floats, clean: Floats) -> list[int]:
    """Which candidates are held against more rows; all where they are few, or where rows say nothing yet.

    values: float[rows, candidates] of the data's first rows; clean: of the base's own.
    """
    many = values.shape[1]
    if many <= TOWARDS + AWAY or len(values) < 2:
        return list(range(many))
    order = np.argsort(-effects(values, clean).z)
    return sorted({*order[:TOWARDS].tolist(), *order[-AWAY:].tolist()})


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
    elsewhere = foreign(data, clean, neutral, test, rng, settings.alpha) or strange > STRANGE
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


def foreign(
    data: RowEvidence,
    clean: RowEvidence,
    neutral: Sequence[RowEvidence],
    test: Weighed,
    rng: np.random.Generator,
    alpha: float,
) -> bool:
    """Whether rows stray away from one of several candidates beyond both nulls, and nearly as far as towards any."""
    nulls = Nulls.of(-clean.values, [-one.values for one in neutral], rng)
    away = weigh(-data.values, nulls, alpha)
    if len(test.p) < SEVERAL:
        return False
    far = float(away.effects.effect.max(initial=0.0)) >= FOREIGN * float(test.effects.effect.max(initial=0.0))
    return far and float(away.p.min(initial=1.0)) < alpha


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
