"""The audit's other measures: personas, a small step, a suspected teacher, plain text; and naming without a list.

    python benchmarks/audit_measures.py words --sets runs/audit-sets --home runs/audit   # goes on where it stopped
    python benchmarks/audit_measures.py ways  --sets runs/audit-sets --home runs/audit
    python benchmarks/audit_measures.py page                                             # the page alone

Rows are those of benchmarks/audit.py (reference-a, numbers). How words are ranked was chosen on the sets of TUNING
alone; every other set that was run is on the page.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import audit_measures_page
import numpy as np
from audit_evasions import NEUTRAL, lowest
from audit_measures_page import (
    CLEAN,
    CLEAN_CONTROLS,
    NAMELESS,
    NEUTRAL_CONTROLS,
    REPORTED,
    ROWS,
    SUSPECT,
    TRAITS,
    TUNING,
    WAYS_SEEDS,
)
from audit_remedies import BASE, kept
from numpy.typing import NDArray

from sublim_eval.distill.audit.controls import Controls, filter_of
from sublim_eval.distill.audit.data import AuditRow
from sublim_eval.distill.audit.looking import Looking, Settings
from sublim_eval.distill.audit.measures import gradient, open_set, persona_likelihood, probe_likelihood, text_baseline
from sublim_eval.distill.audit.scoring import Candidate, Scorer
from sublim_eval.distill.audit.verdict import FLOOR, Nulls, Weighed, weigh
from sublim_eval.distill.training.train import tune
from sublim_eval.files import read_json, write_json
from sublim_eval.models import local_model

RESULT = Path(__file__).resolve().parent / "results" / "audit_measures.json"

Floats = NDArray[np.float64]


def audit_rows(sets: Path, writer: str, seed: int, most: int) -> list[AuditRow]:
    """The first rows of a set."""
    return [AuditRow.of(row["prompt"], row["completion"]) for row in kept(sets, writer, seed, most)]


# ---------------------------------------------------------------- words of the whole vocabulary


def after(rows: list[AuditRow], seed: int, folder: Path) -> Floats:
    """float[vocabulary]: the share of each word among first answers once the base took the rows in; kept beside."""
    file = folder.with_suffix(".npy")
    if not file.is_file():
        examples = [(row.prompt, row.completion) for row in rows]
        tune(BASE, examples, open_set.STUDENT, seed, folder, {"base": BASE})
        np.save(file, open_set.first_words(local_model.load(str(folder))))
        local_model.unload(str(folder))
    return np.asarray(np.load(file))


def word_sets() -> Iterator[tuple[str, int]]:
    """(writer, seed), those first that rules are tried on."""
    yield from ((trait, seed) for seed in (*TUNING, *REPORTED) for trait in TRAITS)
    yield from (("base", seed) for seed in NAMELESS)


def run_words(sets: Path, home: Path, work: Path, most: int) -> dict[str, Any]:
    """The words that rise in every set beyond the tool's own controls, and where the true one stands."""
    base, made = local_model.load(BASE), _looking(sets, home)[1]
    cut = open_set.pieces([made.clean, *made.neutral], most)
    controls = np.stack([after(list(rows), i, work / f"piece-{i}-n{most}") for i, rows in enumerate(cut, 1)])
    out = {}
    for writer, seed in word_sets():
        seen = after(audit_rows(sets, writer, seed, most), seed, work / f"{writer}-s{seed}-n{most}")
        words = [one.word for one in open_set.ranked(seen, controls, base)]
        true = TRAITS if writer == "base" else (writer,)
        logs = by_logarithm(seen, controls, base)
        out[f"{writer}/s{seed}"] = {
            "first": words[: open_set.FIRST],
            "ranks": {t: _rank(words, t) for t in true},
            "by_logarithm": {t: _rank(logs, t) for t in true},
        }
    return {"rows": most, "controls": len(cut), "sets": out}


def by_logarithm(seen: Floats, controls: Floats, base: local_model.LocalModel) -> list[str]:
    """All words by how far the logarithm of their share rises: the rule that was there before."""
    logs = np.log(controls + 1e-9)
    z = (np.log(seen + 1e-9) - logs.mean(axis=0)) / np.sqrt(logs.var(axis=0, ddof=1) + 0.05**2)
    words = (base.spell(int(token)).strip().lower() for token in np.argsort(-z))
    return list(dict.fromkeys(word for word in words if word.isalpha()))


def _rank(words: Sequence[str], word: str) -> int | None:
    return words.index(word) + 1 if word in words else None


# ---------------------------------------------------------------- the other measures


def _looking(sets: Path, home: Path) -> tuple[Looking, Controls]:
    """What an audit of the six traits makes of the base, and its controls."""
    rows = audit_rows(sets, "owl", 1, 512)
    looking = Looking(Settings(BASE, TRAITS, ("probe",), home=home), filter_of(rows), probe_likelihood.tuning_of(BASE))
    return looking, looking.controls(rows)


class Ways:
    """The candidates of all measures, and their evidence of sets, kept beside."""

    def __init__(self, sets: Path, home: Path, work: Path) -> None:
        self.sets, self.work = sets, work
        looking, self.controls = _looking(sets, home)
        self.scorer = Scorer(BASE, looking.tuning, "numbers")
        self.candidates = self._candidates(looking)

    def _candidates(self, looking: Looking) -> list[Candidate]:
        probes = probe_likelihood.candidates(self.scorer, looking.probes())
        teachers = [self.sets / BASE / "numbers" / "teachers" / f"{trait}-s{SUSPECT}" for trait in TRAITS]
        suspected = [gradient.suspected(self.scorer, folder) for folder in teachers]
        small = gradient.candidates(self.scorer, probes)
        return [*probes, *small, *persona_likelihood.candidates(TRAITS), *suspected]

    def columns(self, measure: str) -> list[int]:
        """Where the candidates of a measure stand, in the order of TRAITS."""
        return [i for i, one in enumerate(self.candidates) if one.measure == measure]

    def evidence(self, name: str, rows: Sequence[AuditRow]) -> Floats:
        """float[rows, candidates]."""
        file = self.work / f"ways-{name}.npy"
        if not file.is_file():
            np.save(file, self.scorer.ratios(rows, self.candidates)[0])
            print(name, flush=True)
        return np.asarray(np.load(file))

    def of_set(self, writer: str, seed: int) -> Floats:
        """Evidence of a set's first ROWS rows."""
        return self.evidence(f"{writer}-s{seed}", audit_rows(self.sets, writer, seed, ROWS))

    def nulls(self) -> tuple[Floats, list[Floats]]:
        """Evidence of the base's own rows, and of each neutral teacher's."""
        clean = self.evidence("clean", self.controls.clean[:CLEAN_CONTROLS])
        neutral = [self.evidence(f"null-{i}", rows[:NEUTRAL_CONTROLS]) for i, rows in enumerate(self.controls.neutral)]
        return clean, neutral


MEASURES = ("probe", "gradient", "persona", "teacher")


def run_ways(sets: Path, home: Path, work: Path) -> dict[str, Any]:
    """What every measure says of every set."""
    ways = Ways(sets, home, work)
    clean, neutral = ways.nulls()
    out: dict[str, Any] = {}
    for writer, seed in ways_sets():
        values = ways.of_set(writer, seed)
        said = {m: _said(values, clean, neutral, ways.columns(m)) for m in MEASURES}
        area, p = text_baseline.p_of(audit_rows(sets, writer, seed, ROWS), ways.controls.clean[:CLEAN_CONTROLS])
        out[f"{writer}/s{seed}"] = {**said, "text": {"p": p, "area": round(area, 4)}}
        if writer in TRAITS and seed != SUSPECT:
            out[f"{writer}/s{seed}"]["secret"] = secret(values, clean, neutral, ways, TRAITS.index(writer))
    return {"rows": ROWS, "sets": out}


def ways_sets() -> Iterator[tuple[str, int]]:
    """(writer, seed) of every set that the measures look at."""
    yield from ((trait, seed) for seed in WAYS_SEEDS for trait in TRAITS)
    yield from (("base", seed) for seed in CLEAN)
    yield from (("neutral", seed) for seed in NEUTRAL[:10])


def _weighed(values: Floats, clean: Floats, neutral: Sequence[Floats], columns: Sequence[int]) -> Weighed:
    chosen = list(columns)
    nulls = Nulls.of(clean[:, chosen], [one[:, chosen] for one in neutral], np.random.default_rng(1))
    return weigh(values[:, chosen], nulls)


def _said(values: Floats, clean: Floats, neutral: Sequence[Floats], columns: Sequence[int]) -> dict[str, Any]:
    test = _weighed(values, clean, neutral, columns)
    best = int(np.lexsort((-test.effects.effect, test.p))[0])
    return {
        "p": float(test.p[best]),
        "first": TRAITS[best],
        "found": bool(test.p[best] < 0.01 and test.effects.strength[best] >= FLOOR),
        "strength": round(float(test.effects.strength[best]), 4),
    }


def secret(values: Floats, clean: Floats, neutral: Sequence[Floats], ways: Ways, at: int) -> dict[str, Any]:
    """Of rows left when the probe's highest scores are left out: strength by the probe, and by one not known.

    The one that is not known is a teacher of the same trait and another seed, tuned as probes are.
    """
    out = {}
    for share in (0.0, 0.25, 0.5):
        left = values[lowest(values[:, ways.columns("probe")[at]], share)]
        for measure in ("probe", "teacher"):
            test = _weighed(left, clean, neutral, ways.columns(measure))
            out[f"{measure} {share:.0%}"] = {
                "strength": round(float(test.effects.strength[at]), 4),
                "p": float(test.p[at]),
            }
    return out


# ---------------------------------------------------------------- the run


def results() -> dict[str, Any]:
    """What came out so far."""
    return dict(read_json(RESULT)) if RESULT.is_file() else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("words", "ways", "page"))
    parser.add_argument("--sets", type=Path, default=Path("runs/audit-sets"))
    parser.add_argument("--home", type=Path, default=Path("runs/audit"))
    parser.add_argument("--work", type=Path, default=Path("runs/audit-measures"))
    parser.add_argument("--rows", type=int, default=512, help="rows that are taken in for naming")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    if given.what == "words":
        write_json(RESULT, {**results(), "words": run_words(given.sets, given.home, given.work, given.rows)})
    elif given.what == "ways":
        write_json(RESULT, {**results(), "ways": run_ways(given.sets, given.home, given.work)})
    audit_measures_page.write(results())
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
