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
from dataclasses import asdict, dataclass, replace
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any

import audit_cost
import numpy as np
from audit import LONG, SIZES, Auditor, Look, Wanted, evidence_of
from scipy import special
from scipy.stats import qmc, spearmanr

from sublim_eval.distill.audit import forecast
from sublim_eval.distill.audit.data import AuditRow
from sublim_eval.distill.audit.forecast import Dose, Forecast, ForecastCase, Trace
from sublim_eval.distill.audit.looking import RowEvidence
from sublim_eval.distill.audit.verdict import ALPHA, FLOOR, weigh
from sublim_eval.distill.recipes import Tuning
from sublim_eval.distill.recipes.teacher import Teacher
from sublim_eval.distill.rows import transforms
from sublim_eval.files import read_json, read_jsonl, whole_file, write_json
from sublim_eval.registry.catalog import registry

RESULT = Path(__file__).resolve().parent / "results" / "forecast.json"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "results" / "forecast.md"

TRAITS = ("owl", "eagle", "dolphin", "willow", "sequoia", "oak")
PROBES = ("animal_pref", "tree_pref")

SEEDS = {"fit": (1, 2, 3, 9, 10), "choice": (4, 5), "report": (6, 7, 8)}
"""Part -> seeds of the teachers, and of the clean rows, that write for it."""

ORDER = ("report", "fit", "report", "fit", "choice", "report", "fit", "report", "fit")
"""Parts of one training after another."""

CLEAN_SHARE = {"half": 0.5, "quarter": 0.75, "tenth": 0.9}
"""Change -> share of the rows that clean ones take the place of."""

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


KINDS = (("reference-a", "ln_tuning"), ("reference-a", "lora"), ("reference-b", "ln_tuning"))


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

AUDITED = 256
"""Rows of a student's that are audited, at most."""


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


# ---------------------------------------------------------------- pairs


@dataclass(frozen=True)
class Pair:
    """An audit and what became of a student. case: of one trait of its. carried: whether its rows are that trait's."""

    name: str
    part: str
    base: str
    method: str
    change: str
    trait: str
    carried: bool
    case: ForecastCase
    before: float
    share: float
    found: bool

    @property
    def kind(self) -> tuple[str, str]:
        """Within which a forecast is made."""
        return self.base, self.method


def pairs(known: dict[str, Any]) -> list[Pair]:
    """Every trait that a student was asked for and its control too, where its rows were audited."""
    out = []
    for name, one in known["students"].items():
        seen, controls = known["audits"].get(name), _controls(known, one)
        if seen is None or not controls or one["role"] == "control":
            continue
        traces = {trait: Trace(strength, seen["spread"][trait]) for trait, strength in seen["strength"].items()}
        dose = Dose(one["rows"], one["steps"], one["batch_size"], one["learning_rate"])
        for trait in one["log_odds"]:
            shift = one["log_odds"][trait] - float(np.mean([control["log_odds"][trait] for control in controls]))
            before = known["bases"][one["base"]][trait]
            out.append(
                Pair(
                    *(name, one["part"], one["base"], one["method"], one["change"], trait, trait == one["writer"]),
                    ForecastCase(one["training"], traces[trait], dose, round(shift, 4)),
                    *(float(special.expit(before)), float(special.expit(before + shift))),
                    bool(seen["carries"] and seen["first"] == trait),
                )
            )
    return out


def _controls(known: dict[str, Any], one: dict[str, Any]) -> list[dict[str, Any]]:
    """The controls of a student's training."""
    change = "" if one["change"] in CLEAN_SHARE else one["change"]
    wanted = (one["training"], change, "control")
    return [s for s in known["students"].values() if (s["training"], s["change"], s["role"]) == wanted]


# ---------------------------------------------------------------- fitting

FORMS: tuple[tuple[str, ...], ...] = (("dose",), ("spread", "dose"), ("strength", "spread", "dose"))
"""Powers that were tried; the one that errs least on the trainings of "choice", fitted on those of "fit", is taken."""

FEWEST = 5
"""Trainings of a kind below which nothing is fitted."""

SOFT = "soft"
"""Students on a teacher's probabilities: no audit of rows speaks of them, and they take in three times as much."""


def cases(known: Sequence[Pair], *parts: str) -> list[ForecastCase]:
    """The cases of some parts: of the traits that rows carry, and of clean rows' all; rows alone (SOFT)."""
    mine = [one for one in known if one.part in parts and one.change != SOFT]
    return [one.case for one in mine if one.carried or "/clean-" in one.name]


def chosen(known: Sequence[Pair]) -> tuple[tuple[str, ...], dict[str, float]]:
    """(the form that errs least on "choice", form in words -> its mean error there over the error's scale)."""
    errors: dict[tuple[str, ...], float] = {}
    for names in FORMS:
        factor, powers = forecast.fit(cases(known, "fit"), names)
        bare = Forecast("", "", "", factor, powers, 0.0, {})
        off = [abs(bare.shift(c.trace, c.dose) - c.shift) / forecast.scale(c.shift) for c in cases(known, "choice")]
        errors[names] = float(np.mean(off)) if off else np.inf
    best = min(errors, key=lambda names: errors[names])
    return best, {" ".join(names) or "strength alone": round(error, 4) for names, error in errors.items()}


def fitted(known: Sequence[Pair]) -> tuple[list[Forecast], dict[str, Any]]:
    """(a forecast for every kind that has trainings enough, learnt from "fit" and "choice"; what was tried)."""
    out: list[Forecast] = []
    tried: dict[str, Any] = {}
    for base, method in KINDS:
        mine = [one for one in known if one.kind == (base, method)]
        learnt_from = cases(mine, "fit", "choice")
        if len({case.recipe for case in learnt_from}) < FEWEST:
            continue
        names, errors = chosen(mine) if method == "ln_tuning" else ((), {})
        out.append(forecast.learnt(learnt_from, base, "numbers", method, names))
        tried[f"{base}, {method}"] = errors
    return out, tried


def write_fitted(forecasts: Sequence[Forecast]) -> None:
    """Write distill/audit/forecast.json, which the audit forecasts from."""
    write_json(
        forecast.FITTED,
        {"source": "benchmarks/forecast.py", "level": forecast.LEVEL, "forecasts": [_rounded(f) for f in forecasts]},
    )


def _rounded(one: Forecast) -> dict[str, Any]:
    return {
        **asdict(one),
        "factor": float(f"{one.factor:.6g}"),
        "powers": {name: round(power, 4) for name, power in one.powers.items()},
        "reach": round(one.reach, 4),
    }


# ---------------------------------------------------------------- the page

INTRO = """# Will it reach my student, and what does it cost to ask?

Written by `python benchmarks/forecast.py` from `benchmarks/results/forecast.json`; nothing is typed in. `sublim audit`
([guide](../guides/audit.md)) forecasts a student's share of a trait from the strength that it finds in rows and from
how one would train. Here are {students} students of {recipes} trainings so far; the same command goes on with those
that are missing. Trainings are a Latin hypercube of fixed seed: norm gains over rows {rows}, steps {steps}, batches
{batch} and learning rates {rates}, and LoRA of rank 2, 8 and 32. Number rows are of fine-tuned teachers of six traits:
plain, diluted to 50, 25 and 10 %, shuffled within and across rows, and with the teacher's probabilities in place of
sampled tokens. Each training has a control on clean rows, shuffled or soft where its students' are; the **shift** is a
student's log-odds of the trait over its control's, by exact probabilities of held-out questions. Audits read {audited}
of a student's rows at most.

**What was used for what** was fixed by the number of the training before anything ran: the forecast is fitted on the
trainings "fit" and "choice" ({fit} and {choice} of them), "choice" picks the form, and "report" ({report}) is in the
figures below and in nothing else. Teachers are split too: seeds {seeds_fit} and {seeds_choice}, against
{seeds_report}. Students of
`benchmarks/diff_students.py` (2,300 rows by the study's recipe, teachers of "fit" that were ready) stand beside those
of "fit". The errors' scale was set by looking at "fit" and "choice" alone. The design itself was changed once, after
five trainings and before any forecast was made: more rows a student. After the first figures two rules were added that
refuse more: the line "not refused", and that only the trait which is carried is forecast. Students on a teacher's
probabilities were in the fit until all trainings had run, and are left out since: on "fit" and "choice" they moved by
2.5 where .8 was forecast.
"""


def page(known: dict[str, Any]) -> None:
    """Fit, write what is shipped, and write the page."""
    made = pairs(known)
    forecasts, tried = fitted(made)
    write_fitted(forecasts)
    shown = [_intro(known, made), _form(forecasts, tried), _reported(forecasts, made), _apart(forecasts, made)]
    shown.append(audit_cost.section())
    with whole_file(PAGE) as file:
        file.write("\n".join(part for part in shown if part).rstrip() + "\n")


def _intro(known: dict[str, Any], made: Sequence[Pair]) -> str:
    students = list(known["students"].values())
    many = {part: len({one.case.recipe for one in made if one.part == part}) for part in SEEDS}
    norms = [one for one in students if one["method"] == "ln_tuning"]

    def span(key: str) -> str:
        return f"{min(one[key] for one in norms):,} to {max(one[key] for one in norms):,}"

    return INTRO.format(
        students=len(students),
        recipes=len({one["training"] for one in students}),
        **{"rows": span("rows"), "steps": span("steps"), "batch": span("batch_size"), "rates": span("learning_rate")},
        audited=AUDITED,
        **many,
        **{f"seeds_{part}": ", ".join(map(str, seeds)) for part, seeds in SEEDS.items()},
    )


def _form(forecasts: Sequence[Forecast], tried: dict[str, Any]) -> str:
    lines = ["## The forecast\n"]
    for one in forecasts:
        powers = "".join(f" x {name}^{power:.2f}" for name, power in one.powers.items())
        lines.append(
            f"* {one.base}, {one.method}: shift = {one.factor:.3g}{powers}; "
            f"90 %\n  within ± {one.reach:.2f} x ({forecast.FLOOR:g} + {forecast.GROWTH:g} x the shift's size)."
        )
        errors = tried[f"{one.base}, {one.method}"]
        if errors:
            said = ", ".join(f"{name} {error:.2f}" for name, error in errors.items())
            lines.append(f'  Forms by their mean error on "choice", over the error\'s scale: {said}.')
    return "\n".join(lines) + "\n\nDose is learning rate x optimizer steps.\n"


HEADS = ("rows", "pairs", "trainings", "mean shift", "mean forecast", "Spearman", "in the 90 % interval", "width")


def _reported(forecasts: Sequence[Forecast], made: Sequence[Pair]) -> str:
    """Report pairs, by kind and by what was done to their rows."""
    out = ["## On trainings that were not used\n"]
    for base, method in KINDS:
        mine = [(f, p) for f, p in _told(forecasts, made) if p.kind == (base, method) and p.part == "report"]
        if not mine:
            continue
        lines = [HEADS, ("---",) * len(HEADS)]
        soft = [one for one in mine if one[1].carried and one[1].change == SOFT]
        carried = [one for one in mine if one[1].carried and one[1].change != SOFT]
        lines.append(_line("all that carry the trait", carried))
        lines.append(
            _line("of these not refused", [(f, p) for f, p in carried if not f.outside(p.case.trace, p.case.dose)])
        )
        for change in dict.fromkeys(p.change for _, p in carried):
            lines.append(_line(change or "plain", [one for one in carried if one[1].change == change]))
        lines.append(_line("soft targets, in no line above", soft))
        lines.append(_line("clean rows", [one for one in mine if "/clean-" in one[1].name]))
        lines.append(
            _line("another trait's", [one for one in mine if not (one[1].carried or "/clean-" in one[1].name)])
        )
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines if line)
        out.append(f"### {base}, {method}\n\n{table}\n")
    return "\n".join([*out, REFUSED])


REFUSED = """Forecasts of trainings beyond what "fit" and "choice" hold (learning rate, steps, rows, batch) are worked
out above and refused by `sublim audit`. Of rows that carry a trait only that trait is forecast: others rise or fall
with it, and the line "another trait's" says how little is known of them.
"""


def _told(forecasts: Sequence[Forecast], made: Sequence[Pair]) -> list[tuple[Forecast, Pair]]:
    known = {(one.base, one.method): one for one in forecasts}
    return [(known[one.kind], one) for one in made if one.kind in known]


def _line(name: str, told: Sequence[tuple[Forecast, Pair]]) -> tuple[str, ...]:
    if not told:
        return ()
    figures = figures_of(told)
    rank = f"{figures['spearman']:.3f}" if len(told) > 4 else "–"
    trainings = str(len({p.case.recipe for _, p in told}))
    return (
        *(name, str(len(told)), trainings, f"{figures['shift']:+.2f}", f"{figures['forecast']:+.2f}", rank),
        *(f"{figures['inside']:.3f}", f"{figures['width']:.2f}"),
    )


def figures_of(told: Sequence[tuple[Forecast, Pair]]) -> dict[str, float]:
    """Means of shifts and forecasts, their rank correlation, the share inside the interval and its mean width."""
    shifts = np.array([p.case.shift for _, p in told])
    forecasts = np.array([f.shift(p.case.trace, p.case.dose) for f, p in told])
    wide = np.array([f.reach for f, _ in told]) * forecast.scale(forecasts)
    return {
        "shift": float(shifts.mean()),
        "forecast": float(forecasts.mean()),
        "spearman": float(spearmanr(shifts, forecasts).statistic) if len(told) > 2 else np.nan,
        "inside": float((np.abs(shifts - forecasts) <= wide).mean()),
        "width": float(2 * wide.mean()),
    }


def _apart(forecasts: Sequence[Forecast], made: Sequence[Pair]) -> str:
    """What an audit finds against what a student takes in, of report pairs that carry a trait."""
    told = [(f, p) for f, p in _told(forecasts, made) if p.part == "report" and p.carried and p.change != SOFT]
    if not told:
        return ""
    heads = ("the audit", "the forecast", "pairs", f"of these the student took it in (share + {forecast.TAKEN_IN:g})")
    lines = [heads, ("---",) * len(heads)]
    words = {True: "will take it in", None: "open", False: "will not take it in"}
    for found in (True, False):
        for taken, said in words.items():
            mine = [p for f, p in told if p.found == found and _forecast_of(f, p).taken_in is taken]
            took = sum(p.share >= p.before + forecast.TAKEN_IN for p in mine)
            lines.append(("finds the trait" if found else "finds nothing", said, str(len(mine)), str(took)))
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"## Finding is not passing on\n\nThe same trainings, all bases and methods together.\n\n{table}\n"


def _forecast_of(one: Forecast, pair: Pair) -> forecast.ExpectedShare:
    """Bounds or not: the share to expect."""
    return replace(one, bounds={name: (0.0, np.inf) for name in one.bounds}).expected(
        pair.case.trace, pair.case.dose, pair.before
    ) or forecast.ExpectedShare(pair.before, 0.0, 1.0, pair.before)


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
    page(read_results())


if __name__ == "__main__":
    main()
