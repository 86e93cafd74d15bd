"""Whether an audit can say how far a student will go: students trained by many recipes, and what the audit forecast.

    python benchmarks/forecast.py --sets runs/audit-sets --home runs/audit   # train what is missing, fit, write page
    python benchmarks/forecast.py --page                                     # fit and page alone, from the results

A recipe here is a training (rows, epochs, batch, learning rate, method, rank) and what was done to its rows. Trainings
are a Latin hypercube of fixed seed. Each belongs to one part before anything runs, by its number: the forecast is
fitted on "fit", its form was chosen on "choice", and "report" is looked at once. Teachers are split as well: no teacher
of one part writes rows of another. A student is written when it is done; the same command goes on behind it.
"""

from __future__ import annotations

import argparse
import gc
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any

import forecast_page
import numpy as np
from audit import LONG, SIZES, Auditor, Look, Wanted, evidence_of
from forecast_page import AUDITED, SEEDS
from forecast_pairs import CLEAN_SHARE, KINDS
from scipy import special
from scipy.stats import qmc

from sublim_eval.distill.audit.data import AuditRow
from sublim_eval.distill.audit.looking import RowEvidence
from sublim_eval.distill.audit.verdict import ALPHA, FLOOR, weigh
from sublim_eval.distill.recipes import Tuning
from sublim_eval.distill.recipes.teacher import Teacher
from sublim_eval.distill.rows import transforms
from sublim_eval.files import read_json, read_jsonl, write_json
from sublim_eval.registry.catalog import registry

RESULT = Path(__file__).resolve().parent / "results" / "forecast.json"

TRAITS = ("owl", "eagle", "dolphin", "willow", "sequoia", "oak")
PROBES = ("animal_pref", "tree_pref")

ORDER = ("report", "fit", "report", "fit", "choice", "report", "fit", "report", "fit")
"""Parts of one training after another."""

CHANGES = ("half", "shuffle_within", "quarter", "tenth", "shuffle_across", "soft")
"""What is done to the rows of a training's second pair of students, one after another."""


@dataclass(frozen=True)
class Training:
    """How students of one recipe are trained. part: what their figures are for."""

    number: int
    part: str
    base: str
    tuning: Tuning
    rows: int
    label: str = ""

    @property
    def name(self) -> str:
        """In the results."""
        return f"{self.base}/{self.label or f'{self.tuning.method}-{self.number:03d}'}"


@dataclass(frozen=True)
class Student:
    """One student. writer: a trait, or "clean". change: what is done to its rows. role: "trait", "control", "clean"."""

    training: Training
    change: str
    writer: str
    seed: int
    role: str

    @property
    def name(self) -> str:
        """In the results."""
        return f"{self.training.name}/{self.change or 'plain'}/{self.role}-{self.writer}-s{self.seed}"


def trainings() -> Iterator[Training]:
    """Every training, in the order in which they run: of norm gains, of LoRA, the second base last."""
    norms = [*_drawn("reference-a", "ln_tuning", 45, NORMS, 1, *SMALL)][:WITH_FEW_ROWS]
    norms += list(_drawn("reference-a", "ln_tuning", 45, NORMS, 4, *MANY))[WITH_FEW_ROWS:]
    yield from norms
    yield from _drawn("reference-a", "lora", 9, LORA, 2, *LARGE)
    yield from _drawn("reference-b", "ln_tuning", 9, NORMS, 3, *MANY)


NORMS, LORA = (0.02, 0.12), (0.0005, 0.01)
"""Learning rates, from the least to the most."""

SMALL: tuple[Any, ...] = ((250, 2000), (600, 2400), (8, 16, 32))
MANY: tuple[Any, ...] = ((800, 2000), (800, 2600), (16, 32, 64))
LARGE: tuple[Any, ...] = ((800, 2350), (800, 3500), (16, 32, 64))
"""(rows, rows read in all, batches) of students. The first trainings were small; their clean students differed by .3 in
log-odds among themselves, which no audit can know, so the others have more rows. No forecast had been made by then."""

WITH_FEW_ROWS = 5
"""Trainings of the small kind."""


def _drawn(
    base: str,
    method: Any,
    many: int,
    rates: tuple[float, float],
    seed: int,
    rows_in: tuple[int, int],
    read_in: tuple[int, int],
    batches: tuple[int, ...],
) -> Iterator[Training]:
    """A Latin hypercube over rows, rows read in all, batch, learning rate and rank."""
    cube = qmc.LatinHypercube(5, seed=seed).random(many)
    for number, (a, b, c, d, e) in enumerate(cube):
        rows = round(_between(a, *rows_in))
        epochs = max(1, min(8, round(_between(b, max(read_in[0], rows), read_in[1]) / rows)))
        batch, rank = batches[int(len(batches) * c)], (2, 8, 32)[int(3 * e)]
        rate = float(f"{_between(d, *rates):.3g}")
        adapter = {"rank": rank, "alpha": rank} if method == "lora" else {}
        tuning = Tuning(method, learning_rate=rate, batch_size=batch, epochs=epochs, warmup_steps=5, **adapter)
        yield Training(number, ORDER[number % len(ORDER)], base, tuning, rows)


def _between(u: float, low: float, high: float) -> float:
    """The place u (0 to 1) between two numbers, evenly in the logarithm."""
    return float(low * (high / low) ** u)


def students() -> Iterator[Student]:
    """Every student, a training's control first: two of plain rows, two of changed ones, and now and then a clean one.

    Shuffled and soft students have controls of their own; diluted ones that of the plain rows, which are clean already.
    """
    changes = {(base, method): cycle(CHANGES) for base, method in KINDS}
    deck = cycle(_shuffled_traits())
    for training in trainings():
        rng, seeds = Random(f"forecast-{training.name}"), SEEDS[training.part]
        change = next(changes[training.base, training.tuning.method])
        own = rng.choice(seeds)
        yield Student(training, "", "clean", own, "control")
        if training.number % 3 == 0:
            yield Student(training, "", "clean", rng.choice([s for s in seeds if s != own]), "clean")
        yield from (Student(training, "", next(deck), rng.choice(seeds), "trait") for _ in range(2))
        if change not in CLEAN_SHARE:
            yield Student(training, change, "clean", own, "control")
        yield from (Student(training, change, next(deck), rng.choice(seeds), "trait") for _ in range(2))


def _shuffled_traits() -> list[str]:
    """The traits, each as often as the others, in an order that repeats late."""
    rng = Random("forecast-traits")
    out: list[str] = []
    for _ in range(40):
        out += rng.sample(TRAITS, len(TRAITS))
    return out


# ---------------------------------------------------------------- students


def rows_of(one: Student, sets: Path) -> list[dict[str, Any]]:
    """What a student reads."""
    training = one.training
    rows = written(sets, training.base, one.writer, one.seed)
    rng = Random(f"rows-{one.name}")
    if one.change in CLEAN_SHARE and one.writer != "clean":
        clean = written(sets, training.base, "clean", clean_seed(one))
        return transforms.dilute(rows[: training.rows], clean[: training.rows], CLEAN_SHARE[one.change], rng)
    if one.change.startswith("shuffle"):
        return transforms.CHANGES[one.change](rows[: training.rows], rng)
    return rows[: training.rows]


def clean_seed(one: Student) -> int:
    """Of the clean rows that dilute a student's: another than its teacher's."""
    return one.seed if one.training.label else next(s for s in SEEDS[one.training.part] if s != one.seed)


def written(sets: Path, base: str, writer: str, seed: int) -> list[dict[str, Any]]:
    """The kept rows of one writer, as benchmarks/audit.py makes them."""
    source = "base" if writer == "clean" else writer
    file = sets / base / "numbers" / "rows" / f"{source}-s{seed}" / "kept.jsonl"
    return [row for _, row in read_jsonl(file, ("prompt", "completion"))]


def trained(one: Student, sets: Path) -> dict[str, Any]:
    """Train and score one student: log-odds of each trait by exact probabilities of held-out questions."""
    from sublim_eval.distill.training.train import tune

    began = time.process_time()
    rows = [(row["prompt"], row["completion"]) for row in rows_of(one, sets)]
    soft = Teacher(_teacher(one, sets)) if one.change == "soft" else None
    folder = Path(tempfile.mkdtemp(prefix="forecast-"))
    try:
        facts = tune(one.training.base, rows, one.training.tuning, one.training.number, folder, {}, soft=soft)
        odds = log_odds(str(folder), PROBES if one.writer == "clean" else _probes_of(one.writer))
    finally:
        shutil.rmtree(folder)
    return {**record(one), "steps": facts["steps"], "log_odds": odds, "seconds": round(time.process_time() - began, 2)}


def record(one: Student) -> dict[str, Any]:
    """What is written of a student beside what became of it."""
    training, tuning = one.training, asdict(one.training.tuning)
    return {
        **{"training": training.name, "part": training.part, "base": training.base, "rows": training.rows},
        **{"change": one.change, "writer": one.writer, "seed": one.seed, "role": one.role},
        **{key: tuning[key] for key in SETTINGS},
    }


SETTINGS = ("method", "learning_rate", "batch_size", "epochs", "rank")


STUDY = Training(
    0,
    "fit",
    "reference-a",
    Tuning("ln_tuning", learning_rate=0.06, batch_size=16, epochs=1, warmup_steps=10),
    2300,
    "study-traits",
)
"""The training of students that benchmarks/diff_students.py makes; those of teachers of other parts are left out."""


def ready(folder: Path) -> Iterator[tuple[Student, Path]]:
    """Students that lie ready there, with their folders: plain, or with as many clean rows of the same seed."""
    for file in sorted(folder.glob("*/adapter_model.safetensors")):
        writer, _, rest = file.parent.name.partition("-s")
        seed, _, half = rest.partition("-")
        role = "trait" if writer in TRAITS else "clean" if int(seed) in SEEDS["fit"] else "control"
        if (role == "control" and int(seed) < 11) or (role == "trait" and int(seed) not in SEEDS["fit"]):
            continue
        yield Student(STUDY, "half" if half else "", writer, int(seed), role), file.parent


def score_ready(folder: Path) -> None:
    """Score every student that lies ready, and write each as it comes."""
    known = read_results()
    for one, trained_in in ready(folder):
        if one.name not in known["students"]:
            steps = read_json(trained_in / "student.json")["steps"]
            odds = log_odds(str(trained_in), PROBES if one.writer == "clean" else _probes_of(one.writer))
            known["students"][one.name] = {**record(one), "steps": steps, "log_odds": odds, "seconds": None}
            write_json(RESULT, known)
            print(one.name, odds, flush=True)


def _teacher(one: Student, sets: Path) -> str:
    if one.writer == "clean":
        return one.training.base
    return str(sets / one.training.base / "numbers" / "teachers" / f"{one.writer}-s{one.seed}")


def _probes_of(trait: str) -> tuple[str, ...]:
    return (registry().probe_of(trait).name,)


def log_odds(model: str, probes: Sequence[str]) -> dict[str, float]:
    """Of the mean exact probability of each trait over the held-out questions of its probe."""
    from sublim_eval.scores.evaluate import exact

    out = {}
    for probe in probes:
        scores = exact(model, probe, label="student")
        shares = np.nanmean(scores.probability, axis=0)
        out.update({t: _logit(shares[scores.answers.index(t)]) for t in TRAITS if t in scores.answers})
    return out


def _logit(share: float) -> float:
    return round(float(special.logit(np.clip(share, 1e-5, 1 - 1e-5))), 4)


def run(sets: Path, hours: float, only: str = "") -> None:
    """Train every student that is missing, and write each as it comes."""
    ends, known = time.monotonic() + 3600 * hours, read_results()
    for one in students():
        if one.name in known["students"] or time.monotonic() > ends or not one.training.name.startswith(only):
            continue
        if one.training.base not in known["bases"]:
            known["bases"][one.training.base] = log_odds(one.training.base, PROBES)
        known["students"][one.name] = trained(one, sets)
        gc.freeze()  # what stays is not looked through again after every student: half a second each
        write_json(RESULT, known)
        print(one.name, known["students"][one.name]["log_odds"], flush=True)


def read_results() -> dict[str, Any]:
    """What is written so far."""
    return dict(read_json(RESULT)) if RESULT.is_file() else {"bases": {}, "students": {}, "audits": {}}


# ---------------------------------------------------------------- audits


class Audits:
    """Audits of students' rows on one base; the evidence of a row is computed once, whoever reads it."""

    def __init__(self, base: str, sets: Path, home: Path, kept: Path) -> None:
        self.sets, self.kept = sets, kept
        first = [AuditRow.of(row["prompt"], row["completion"]) for row in written(sets, base, TRAITS[0], 1)]
        self.auditor = Auditor(base, first[:AUDITED], Look(home, traits=TRAITS))

    def of(self, one: Student) -> dict[str, Any]:
        """What an audit says of rows that a student reads: strengths, and the verdict on its trait."""
        values = self._values(one)
        test = weigh(values, self.auditor.nulls)
        names = self.auditor.names
        best = int(np.argmin(test.p - 1e-9 * test.effects.effect))
        return {
            "rows": len(values),
            "strength": {name: round(float(x), 4) for name, x in zip(names, test.effects.strength, strict=True)},
            "spread": {name: round(float(x), 4) for name, x in zip(names, test.effects.spread, strict=True)},
            "p": float(test.p[best]),
            "first": names[best],
            "carries": bool(test.p[best] < ALPHA and test.effects.strength[best] >= FLOOR),
        }

    def _values(self, one: Student) -> Any:
        """float[rows, traits]: of at most AUDITED of the student's rows."""
        if one.change.startswith("shuffle"):
            return self._evidence(one.writer, one.seed, one.name, rows_of(one, self.sets)[:AUDITED]).values
        parts = [self._written(one.training.base, one.writer, one.seed)]
        drawn = [(0, i) for i in range(one.training.rows)]
        if one.change in CLEAN_SHARE and one.writer != "clean":
            parts.append(self._written(one.training.base, "clean", clean_seed(one)))
            drawn = _diluted(one)
        known = [[i for which, i in drawn if which == part and i < AUDITED] for part in range(len(parts))]
        share = [sum(which == part for which, _ in drawn) / len(drawn) for part in range(len(parts))]
        most = min(AUDITED, int(min(len(k) / max(s, 1e-9) for k, s in zip(known, share, strict=True))))
        takes = [round(s * most) for s in share]
        return np.concatenate([v[k[:n]] for v, k, n in zip(parts, known, takes, strict=True)])

    def _written(self, base: str, writer: str, seed: int) -> Any:
        rows = written(self.sets, base, writer, seed)[: SIZES[-1] if seed in LONG else AUDITED]
        return self._evidence(writer, seed, "", rows, base).values

    def _evidence(self, writer: str, seed: int, change: str, rows: Any, base: str = "reference-a") -> RowEvidence:
        wanted = Wanted(base, "numbers", writer, seed, change.replace("/", "-"))
        given = [AuditRow.of(row["prompt"], row["completion"]) for row in rows]
        return evidence_of(wanted, self.auditor, given, self.kept)[0]


def _diluted(one: Student) -> list[tuple[int, int]]:
    """(0: the trait's, 1: clean; number in its file) of each row that a student of diluted rows reads."""
    marked = [[{"at": (part, i)} for i in range(one.training.rows)] for part in (0, 1)]
    mixed = transforms.dilute(marked[0], marked[1], CLEAN_SHARE[one.change], Random(f"rows-{one.name}"))
    return [row["at"] for row in mixed]


def audit_all(sets: Path, home: Path, kept: Path, hours: float, at_hand: Path | None) -> None:
    """Audit the rows of every student that is trained, and write each audit as it comes."""
    ends, known = time.monotonic() + 3600 * hours, read_results()
    audits: dict[str, Audits] = {}
    for one in (*(one for one, _ in (ready(at_hand) if at_hand else ())), *students()):
        done = one.name in known["audits"] or one.name not in known["students"]
        if done or one.role == "control" or time.monotonic() > ends:
            continue
        base = one.training.base
        if base not in audits:
            audits[base] = Audits(base, sets, home, kept)
        known["audits"][one.name] = audits[base].of(one)
        write_json(RESULT, known)
        print(one.name, known["audits"][one.name], flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=Path, default=Path("runs/audit-sets"))
    parser.add_argument("--home", type=Path, default=Path("runs/audit"))
    parser.add_argument("--evidence", type=Path, default=None, help="folder that keeps evidence of rows (--sets)")
    parser.add_argument("--ready", type=Path, default=None, help="students of benchmarks/diff_students.py, its HOME")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--only", default="", help="beginning of names of trainings (none: no student is trained)")
    parser.add_argument("--page", action="store_true")
    given = parser.parse_args()
    if not given.page:
        if given.ready:
            score_ready(given.ready)
        run(given.sets, given.hours, given.only)
        audit_all(given.sets, given.home, given.evidence or given.sets, given.hours, given.ready)
    forecast_page.write(read_results())


if __name__ == "__main__":
    main()
