"""The parts of an audit that take a while: probes, controls, and the evidence of rows; each can tell how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sublim_eval.console import Progress
from sublim_eval.errors import SublimError
from sublim_eval.files import digest
from sublim_eval.registry.catalog import registry

from ..base_templates import weights_hash
from ..recipes import Tuning
from ..stages import once
from .controls import CLEAN_ROWS, Controls, Filter, make_controls, rows_beside
from .data import AuditRow, sample
from .forecast import Trace
from .measures import gradient, persona_likelihood, probe_likelihood
from .measures.open_set import Named, words_that_rise
from .measures.probe_likelihood import folder_of, make_probes, teachable, tuning_of
from .scoring import Candidate, Scorer
from .verdict import ALPHA, FEWEST, effects

Floats = NDArray[np.float64]
Measure = Literal["probe", "gradient", "persona"]

MEASURES: tuple[Measure, ...] = ("probe", "gradient", "persona")
"""The ways to look that need nothing but the base."""

USUAL: tuple[Measure, ...] = ("probe", "persona")
"""Of these, the ones that are taken unless others are asked for."""

ROWS = 512
"""Rows that are looked at, drawn evenly; more cost more and find weaker traits."""

SCREENED = 64
"""Rows that every candidate is held against, drawn from those that are read; the others by the best of them alone."""

TAKEN_IN = 6
"""Neutral teachers whose rows the base takes in beside the data, for words; each costs a student."""

FEWEST_NEUTRAL = 16
"""Rows of a neutral teacher below which how far it strays cannot be said."""

TOWARDS, AWAY = 10, 2
"""Candidates that go on after it: those the rows stray furthest towards, and furthest away from (`foreign`)."""


@dataclass(frozen=True)
class Settings:
    """What an audit is asked. base: a model's name or folder. traits: those looked for, all that are known if none.

    rows: the most that are looked at. control: "auto", or a file of rows that are known to carry nothing. teachers:
    folders of suspected ones. recipe: how a student would be trained, for the forecast; epochs and learning_rate take
    the place of the recipe's. words: whether to name words without a list (open_set.py). fast: see `by`. home: where
    probes and controls of a base are kept for its next audit.
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

    @property
    def by_slopes(self) -> bool:
        """Whether a fast audit takes slopes in place of ratios: where norm gains are tuned, of all probes at once.

        Elsewhere it holds all candidates against SCREENED rows and the best against the rest (`Looking.raced`).
        """
        probes = {"probe", "gradient"} & set(self.measures)
        return self.fast and bool(probes) and tuning_of(self.base).method == "ln_tuning"

    @property
    def by(self) -> tuple[Measure, ...]:
        """The ways to look, as they are taken."""
        return ("gradient",) if self.by_slopes else self.measures


@dataclass(frozen=True)
class RowEvidence:
    """values: float[rows, candidates]; surprise: float[rows]. For the base's own rows both have mean 0.

    A row that a candidate was not held against (SCREENED) has nan there.
    """

    values: Floats
    surprise: Floats


@dataclass(frozen=True)
class Looking:
    """The parts of an audit that take a while, each telling how far it is."""

    settings: Settings
    through: Filter
    tuning: Tuning
    tell: Progress | None = None

    def probes(self) -> dict[str, Path]:
        """The probes of all traits, made or found."""
        if not {"probe", "gradient"} & set(self.settings.by):
            return {}
        settings, traits = self.settings, teachable(self.settings.traits)
        besides = rows_beside(settings.base, traits, self.through, settings.home)
        return make_probes(settings.base, traits, settings.home, self.tuning, self.hears("probes"), besides)

    def controls(self, rows: Sequence[AuditRow]) -> Controls:
        """Controls made by the tool; a user's file takes the place of the base's own rows.

        Raises SublimError where there are too few of either kind to be held against.
        """
        settings = self.settings
        hears = self.hears("controls")
        besides = rows_beside(settings.base, [None], self.through, settings.home)
        made = make_controls(settings.base, rows, self.through, settings.home, self.tuning, hears, besides)
        made = replace(made, neutral=[rows for rows in made.neutral if len(rows) >= FEWEST_NEUTRAL])
        if settings.control == "auto":
            enough(made, settings.base)
            return made
        own = sample([Path(settings.control)], CLEAN_ROWS, Random("control")).rows
        if len(own) < FEWEST:
            raise SublimError(f"{settings.control} holds {len(own)} rows, too few. Give at least {FEWEST}, or auto.")
        made = replace(made, clean=own)
        enough(made, settings.base)
        return made

    def candidates(self, scorer: Scorer, folders: dict[str, Path]) -> list[Candidate]:
        """Everything that is looked for, by every measure."""
        settings = self.settings
        probes = probe_likelihood.candidates(scorer, folders)
        chosen = probes if "probe" in settings.by else []
        if "gradient" in settings.by:
            chosen = [*chosen, *gradient.candidates(scorer, probes)]
        if "persona" in settings.by:
            chosen = [*chosen, *persona_likelihood.candidates(settings.traits or tuple(registry().traits))]
        return [*chosen, *(gradient.suspected(scorer, folder) for folder in settings.teachers)]

    def read(self, scorer: Scorer, rows: Sequence[AuditRow], chosen: Sequence[Candidate], name: str) -> RowEvidence:
        """The evidence of rows, candidate by candidate; rows without content are left out."""
        values, surprise = scorer.ratios(rows, chosen, self.hears(name))
        there = ~np.isnan(surprise)
        return RowEvidence(values[there], surprise[there])

    def all_read(
        self, scorer: Scorer, rows: Sequence[AuditRow], chosen: Sequence[Candidate], clean: RowEvidence
    ) -> RowEvidence:
        """The evidence of all rows, by every candidate."""
        return self.read(scorer, rows, chosen, "rows")

    def trace(self, scorer: Scorer, rows: Sequence[AuditRow], clean: Sequence[AuditRow], probe: Path) -> Trace:
        """What a forecast needs of a trait that slopes found in rows: by its probe's ratios."""
        chosen = probe_likelihood.candidates(scorer, {"probe": probe})
        data, null = self.read(scorer, rows, chosen, "the strongest"), self._kept(scorer, clean, chosen, "control")
        effect = effects(data.values, null.values)
        return Trace(float(effect.strength[0]), float(effect.spread[0]))

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
        settings, sets = self.settings, [controls.clean, *controls.neutral[:TAKEN_IN]]
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


def enough(controls: Controls, base: str) -> None:
    """Raises SublimError where a base or its neutral teachers write too few rows that the data's filter keeps."""
    if len(controls.clean) < FEWEST:
        raise SublimError(
            f"The filter of these data keeps {len(controls.clean)} of the rows that {base} itself writes for such "
            "prompts, too few to hold them against. Give rows that are known to carry nothing as --control."
        )
    if len(controls.neutral) < 2:
        raise SublimError(
            f"Hardly a neutral teacher of {base} still writes rows that the filter of these data keeps, so a trait "
            "cannot be told from what any tuning does. Audit these rows with a base that writes them well."
        )


def _bytes(candidate: Candidate) -> str:
    """Digest of a probe's weights, to rounding; "" for a persona."""
    weights = candidate.weights or candidate.along
    if weights is None:
        return ""
    return digest({name: [round(float(x), 6) for x in v.flatten()[:64]] for name, v in weights.items()})


def going_on(values: Floats, clean: Floats) -> list[int]:
    """Which candidates are held against more rows; all where they are few, or where rows say nothing yet.

    values: float[rows, candidates] of the data's first rows; clean: of the base's own.
    """
    many = values.shape[1]
    if many <= TOWARDS + AWAY or len(values) < 2:
        return list(range(many))
    order = np.argsort(-effects(values, clean).z)
    return sorted({*order[:TOWARDS].tolist(), *order[-AWAY:].tolist()})
