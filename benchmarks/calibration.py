"""How often the verdict is wrong: simulated nulls and effects, and real students without any trait.

    python benchmarks/calibration.py                         # simulated, 20,000 comparisons a cell: some minutes
    python benchmarks/calibration.py --real --students 80    # 80 controls of the quickstart recipe: about 20 minutes
    python benchmarks/calibration.py --real runs/calibration # students that are there are kept, others are trained

Both write benchmarks/results/calibration.json, docs/results/calibration.md and docs/images/calibration.png; what is
not measured anew stays as it was. Seeds are fixed, every cell is printed, nothing is chosen after looking.

Shares are read by sublim_eval.gap_error, the code that people run, for all repetitions at once. What could err is
measured at length by benchmarks/verdict_errors.py; `--page` writes the page from both files and measures nothing.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from scipy import special

from sublim_eval import stats
from sublim_eval.files import read_json, whole_file, write_json
from sublim_eval.gap_error import GapError, Scatter

Floats = NDArray[np.float64]

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "calibration.json"
ERRORS = ROOT / "benchmarks" / "results" / "verdict_errors.json"
PAGE = ROOT / "docs" / "results" / "calibration.md"
PICTURE = ROOT / "docs" / "images" / "calibration.png"

SEEDS = (3, 5, 10)
SIMULATED = 20_000
FIRST_SEED = 5001
"""Of the real students: used nowhere else in this project."""

REGROUPED = 4_000
BOOTSTRAPS = 200
console = Console(stderr=True)


# ---------------------------------------------------------------- worlds


@dataclass(frozen=True)
class World:
    """Students whose log-odds scatter around an arm's; `shared` of the variance is common to a pair of seeds.

    shift: log-odds of the trait arm above its control. spread, trait_spread: standard deviations in log-odds.
    replies 0: exact probabilities; otherwise that many sampled replies a question. takes_off: this share of the
    students shifts by `shift`, the others not at all (1: all of them).
    """

    base: float
    shift: float = 0.0
    spread: float = 0.3
    trait_spread: float | None = None
    shared: float = 0.5
    replies: int = 0
    questions: int = 20
    takes_off: float = 1.0

    def draw(self, runs: int, seeds: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """(trait, control): float[run, seed], each student's mean share over the questions."""
        level = stats.log_odds(self.base) + 0.5 * special.ndtri((np.arange(self.questions) + 0.5) / self.questions)
        common = rng.normal(0, math.sqrt(self.shared), (runs, seeds))
        arms = []
        for shift, spread in ((self.shift, self.trait_spread or self.spread), (0.0, self.spread)):
            own = common + rng.normal(0, math.sqrt(1 - self.shared), (runs, seeds))
            lifted = shift * (rng.random((runs, seeds)) < self.takes_off)
            p = special.expit(level + (lifted + spread * own)[..., None])
            arms.append((rng.binomial(self.replies, p) / self.replies if self.replies else p).mean(axis=-1))
        return arms[0], arms[1]

    @property
    def clip(self) -> float:
        """As `sublim compare` clips: half a reply, or that of exact probabilities."""
        return 1 / (2 * self.replies * self.questions) if self.replies else stats.CLIP

    def truth(self) -> tuple[float, float, float]:
        """(mean gap in share, mean shift in log-odds, the gap at the mean log-odds of both arms)."""
        trait, control = replace(self, replies=0).draw(1, 60_000, np.random.default_rng(99))
        odds = [float(stats.log_odds(arm).mean()) for arm in (trait, control)]
        return float(trait.mean() - control.mean()), odds[0] - odds[1], float(np.subtract(*special.expit(odds)))


NULLS = {
    "base .10, exact": World(0.10),
    "base .10, noisy students": World(0.10, spread=0.8),
    "base .02, exact": World(0.02, spread=0.5),
    "base .02, 20 replies": World(0.02, spread=0.3, replies=20),
    "base .50, exact": World(0.50, spread=0.5),
    "base .10, exact, nothing shared": World(0.10, shared=0.0),
}
EFFECTS = {
    ".10 to .45, exact": World(0.10, 2.0, 0.05, trait_spread=0.25),
    ".10 to .45, 20 replies": World(0.10, 2.0, 0.05, trait_spread=0.25, replies=20),
    ".05 to .64, students vary widely": World(0.05, 3.6, 0.1, trait_spread=0.6),
    ".10 to .92, students vary widely": World(0.10, 5.0, 0.1, trait_spread=0.8),
    ".02 to .06, exact": World(0.02, 1.0, 0.1, trait_spread=0.4),
    "half take off to .60": World(0.10, 2.7, 0.1, takes_off=0.5),
}


# ---------------------------------------------------------------- many intervals at once


@dataclass(frozen=True)
class Intervals:
    """The t intervals of many comparisons: float[run] each."""

    mean: Floats
    se: Floats
    n: int

    @property
    def reach(self) -> Floats:
        """Half the width at 95 %."""
        return self.se * float(special.stdtrit(self.n - 1, 0.975))

    @property
    def differs(self) -> NDArray[np.bool_]:
        """Whether the interval excludes 0, which is p < .05."""
        return np.abs(self.mean) > self.reach

    @property
    def p(self) -> Floats:
        """Two-sided p against 0."""
        return np.asarray(2 * special.stdtr(self.n - 1, -np.abs(self.mean) / self.se))

    def small(self, delta: float = stats.DELTA) -> NDArray[np.bool_]:
        """Whether the 90 % interval lies inside +-delta."""
        return np.abs(self.mean) + self.se * float(special.stdtrit(self.n - 1, 0.95)) < delta

    def covers(self, truth: float) -> NDArray[np.bool_]:
        """Whether the 95 % interval holds the truth."""
        return np.abs(self.mean - truth) <= self.reach

    def found(self) -> NDArray[np.bool_]:
        """Verdict "transferred" or "moved away"."""
        return self.differs & ~self.small()


def intervals(differences: Floats) -> Intervals:
    """differences: float[run, seed], trait minus control of each pair."""
    n = differences.shape[-1]
    return Intervals(differences.mean(axis=-1), differences.std(axis=-1, ddof=1) / math.sqrt(n), n)


def shares_at_once(trait: Floats, control: Floats, worth: int = 0) -> GapError:
    """What sublim_eval.stats works with, of many comparisons; worth: replies behind each student's share, 0: exact."""
    each = np.full(trait.shape[-1], worth) if worth else None
    centred = (trait - trait.mean(-1, keepdims=True)) * (control - control.mean(-1, keepdims=True))
    common = centred.sum(-1) / (trait.shape[-1] - 1)
    return GapError(Scatter.of(trait, each), Scatter.of(control, each), common, paired=True)


def called(made: GapError, alpha: float = stats.ALPHA) -> NDArray[np.bool_]:
    """Verdict "transferred" or "moved away"."""
    return np.asarray(made.differs(alpha) & ~made.small(stats.DELTA, alpha))


def rate(hits: NDArray[np.bool_]) -> dict[str, float]:
    """A rate with its Monte-Carlo standard error."""
    p, n = float(hits.mean()), hits.size
    return {"rate": round(p, 5), "error": round(math.sqrt(max(p * (1 - p), 1 / n) / n), 5)}


# ---------------------------------------------------------------- simulated


def simulate(runs: int) -> dict[str, Any]:
    """Every simulated figure; `runs` comparisons a cell."""
    return {
        "runs": runs,
        "nulls": [one_null(n, w, s, runs) for n, w in track(NULLS.items(), "nulls", console=console) for s in SEEDS],
        "effects": [
            one_effect(n, w, s, runs) for n, w in track(EFFECTS.items(), "effects", console=console) for s in SEEDS
        ],
        "power": power(runs),
        "permutation": [permuted(s, min(runs, 4000)) for s in (5, 6, 10)],
        "confusion": [confused(s, drift, min(runs, 4000)) for s in SEEDS for drift in (0.0, 1.0)],
    }


def generator(*what: object) -> np.random.Generator:
    """Randomness of one cell, the same whatever else is run."""
    return np.random.default_rng(list("|".join(map(str, what)).encode()))


def one_null(name: str, world: World, seeds: int, runs: int) -> dict[str, Any]:
    """False positives of one world without an effect."""
    trait, control = world.draw(runs, seeds, generator("null", name, seeds))
    share = shares_at_once(trait, control, world.replies * world.questions)
    odds = intervals(stats.log_odds(trait, world.clip) - stats.log_odds(control, world.clip))
    differs, small = share.differs(stats.ALPHA), share.small(stats.DELTA, stats.ALPHA)
    return {
        "world": name,
        "seeds": seeds,
        "share": rate(differs),
        "log_odds": rate(odds.differs),
        "verdict": rate(called(share)),
        "called_none": rate(small & ~differs),
    }


def one_effect(name: str, world: World, seeds: int, runs: int) -> dict[str, Any]:
    """Coverage of one planted effect on both scales, how wide the interval is beside Student's, and the verdict."""
    trait, control = world.draw(runs, seeds, generator("effect", name, seeds))
    gap, shift, _ = world.truth()
    share, plain = shares_at_once(trait, control, world.replies * world.questions), intervals(trait - control)
    odds = intervals(stats.log_odds(trait, world.clip) - stats.log_odds(control, world.clip))
    reach = share.reach(gap, 0.95)
    found, small = called(share), share.small(stats.DELTA, stats.ALPHA)
    return {
        "world": name,
        "seeds": seeds,
        "gap": round(gap, 4),
        "share": rate(np.abs(share.mean - gap) <= reach),
        "student": rate(plain.covers(gap)),
        "wider": round(float(np.median(reach / np.maximum(plain.reach, 1e-300))), 3),
        "log_odds": rate(odds.covers(shift)),
        "transferred": rate(found & (share.mean > 0)),
        "small": rate(share.differs(stats.ALPHA) & small),
    }


def power(runs: int) -> list[dict[str, Any]]:
    """How often a true gap on a base of .10 is called "transferred"; students scatter by .3 in log-odds."""
    points = []
    for seeds in SEEDS:
        for shift in np.arange(0, 2.01, 0.125):
            world = World(0.10, float(shift))
            trait, control = world.draw(runs, seeds, generator("power", shift, seeds))
            share = shares_at_once(trait, control)
            points.append(
                {
                    "seeds": seeds,
                    "gap": round(world.truth()[0], 4),
                    "transferred": rate(called(share) & (share.mean > 0)),
                    "differs": rate(share.differs(stats.ALPHA) & (share.mean > 0)),
                }
            )
    return points


def permuted(seeds: int, runs: int) -> dict[str, Any]:
    """Exact sign flips under the null of noisy students; at 5 pairs the least p is .0625, so nothing is found."""
    trait, control = NULLS["base .10, noisy students"].draw(runs, seeds, generator("permutation", seeds))
    p = np.array([stats.permutation(d) for d in trait - control])
    return {"seeds": seeds, "false_positives": rate(p < 0.05), "least_p": stats.least_permutation(seeds), "runs": runs}


def confused(seeds: int, drift: float, runs: int, traits: int = 4, answers: int = 22) -> dict[str, Any]:
    """The diagonal test where no arm moves its own trait; drift: log-odds by which one answer rises in every arm."""
    rng = generator("confusion", seeds, drift)
    own = list(range(traits))
    p = np.empty(runs)
    for i in range(runs):
        shifts = rng.normal(0, 0.3, (traits, seeds, answers)) - rng.normal(0, 0.3, (1, seeds, answers))
        shifts[..., 0] += drift
        p[i] = stats.first_places(shifts, own)[2]
    return {"seeds": seeds, "drift": drift, "false_positives": rate(p < 0.05), "runs": runs}


# ---------------------------------------------------------------- real students without a trait


def train_controls(folder: Path, recipe_name: str, students: int, workers: int | None) -> None:
    """Control students of a recipe on fresh seeds, known by their exact probabilities; resumes where it stopped."""
    from sublim_eval.distill import recipes
    from sublim_eval.distill.execution.engine import Execution
    from sublim_eval.distill.execution.run import run
    from sublim_eval.distill.recipes import Arm

    recipe = recipes.load(recipe_name)
    seeds = tuple(range(FIRST_SEED, FIRST_SEED + students))
    control = replace(recipe, name="calibration", arms={"control": Arm("control", "control")}, seeds=seeds)
    run(replace(control, sample_variants=False, samples=1), folder, Execution(workers=workers), console=console)


def shares_of(folder: Path) -> tuple[Floats, list[str]]:
    """(float[student, answer], answers): every control student's exact mean probability of every answer."""
    from sublim_eval.scores.probe_scores import ProbeScores

    record = read_json(folder / "run.json")
    rows, names = [], []
    for student in (s for s in record["students"] if s["arm"] == "control" and not s.get("failed")):
        scores = [ProbeScores.read(folder / file) for file in student["scores"].values()]
        rows.append(np.concatenate([s.probability.mean(axis=0) for s in scores]))
        names = [answer for s in scores for answer in s.answers]
    return np.array(rows), names


def real(shares: Floats, answers: Sequence[str], told: Mapping[str, Any]) -> dict[str, Any]:
    """Control against control: how often the rule finds what is not there.

    shares: float[student, answer]. Two students make a pair; n pairs a comparison; 2n different students each. The
    pairs as they were trained (1 with 2, 3 with 4, ...) give groups that share nothing; the rate over all ways to
    form groups is steadier, but groups then share students, and the answers of one student are correlated, so its
    error comes from a bootstrap over students and not from the number of comparisons.
    """
    students = len(shares)
    found: dict[str, Any] = {
        **told,
        "students": students,
        "pairs": students // 2,
        "answers": list(answers),
        "by_seeds": [],
    }
    odds = stats.log_odds(shares)
    for n in SEEDS:
        if 2 * n > students:
            continue
        here: dict[str, Any] = {"seeds": n, "groups_that_share_nothing": students // (2 * n)}
        for scale, values in (("share", shares), ("log_odds", odds)):
            rng = generator("real", scale, n)
            fixed = [np.arange(i * 2 * n, (i + 1) * 2 * n) for i in range(students // (2 * n))]
            here[scale] = {
                "disjoint": _rates(_compared(values, np.array(fixed), interleaved=True)),
                "all": _rates(_compared(values, _groups(np.ones(students), n, REGROUPED, rng))),
                "error": _bootstrap(values, n, rng),
            }
        here["permutation"] = _permuted(shares, n) if n >= stats.FEWEST_PAIRS else None
        found["by_seeds"].append(here)
    d = shares[0 : students // 2 * 2 : 2] - shares[1 : students // 2 * 2 : 2]
    centred = d / d.std(axis=0)
    found["spread_of_gaps"] = {a: round(float(s), 5) for a, s in zip(answers, d.std(axis=0, ddof=1), strict=True)}
    found["kurtosis"] = round(float((centred**4).mean()), 3)
    return found


def _groups(weights: Floats, n: int, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """int[group, 2n]: different students a group, drawn with these weights (Gumbel's top-k)."""
    with np.errstate(divide="ignore"):
        keys = np.log(weights) + rng.gumbel(size=(count, len(weights)))
    return np.argpartition(-keys, 2 * n - 1, axis=1)[:, : 2 * n] if 2 * n < len(weights) else np.argsort(-keys, axis=1)


def _compared(values: Floats, groups: NDArray[np.intp], interleaved: bool = False) -> Intervals:
    """Intervals of every group and answer, float[group, answer]: half of its students against the other half."""
    ours, theirs = (groups[:, ::2], groups[:, 1::2]) if interleaved else np.split(groups, 2, axis=1)
    return intervals(np.moveaxis(values[ours] - values[theirs], 1, -1))


def _rates(found: Intervals) -> dict[str, float]:
    """False positives, coverage of the true gap of 0, and findings by the whole rule."""
    return {
        "false_positives": round(float(found.differs.mean()), 5),
        "coverage": round(float(found.covers(0.0).mean()), 5),
        "verdict": round(float(found.found().mean()), 5),
        "comparisons": int(found.mean.size),
    }


def _bootstrap(values: Floats, n: int, rng: np.random.Generator) -> float | None:
    """Standard error of the false-positive rate, students redrawn; a group never holds one student twice.

    None where redrawing leaves too few different students for a group.
    """
    rates = []
    for _ in range(BOOTSTRAPS):
        weights = np.bincount(rng.integers(0, len(values), len(values)), minlength=len(values)).astype(float)
        if np.count_nonzero(weights) >= 2 * n:
            rates.append(_compared(values, _groups(weights, n, 400, rng)).differs.mean())
    return round(float(np.std(rates, ddof=1)), 5) if len(rates) > BOOTSTRAPS / 2 else None


def _permuted(shares: Floats, n: int) -> dict[str, float]:
    """False positives of exact sign flips over 200 groupings, every answer."""
    rng = generator("real permutation", n)
    groups = _groups(np.ones(len(shares)), n, 200, rng)
    d = shares[groups[:, :n]] - shares[groups[:, n:]]
    p = np.array([[stats.permutation(d[g, :, a]) for a in range(d.shape[2])] for g in range(len(d))])
    return {"false_positives": round(float((p < 0.05).mean()), 5), "least_p": stats.least_permutation(n)}


# ---------------------------------------------------------------- what is written


def figure(cell: Mapping[str, float]) -> str:
    """A rate to three places."""
    return f"{cell['rate']:.3f}"


def three(rows: Sequence[Mapping[str, Any]], world: str, key: str) -> str:
    """3 / 5 / 10 seeds of one cell of the tables."""
    return " / ".join(figure(row[key]) for row in rows if row["world"] == world)


def page(result: Mapping[str, Any]) -> str:
    """docs/results/calibration.md."""
    lines = [
        "# How often the verdict is wrong",
        "",
        "Calibration of decision [0001](../decisions/0001-verdicts.md), measured. A verdict that is called wrongly in",
        "5 % of comparisons without an effect, and a 95 % interval that holds the truth in 95 %, are what is promised.",
        "Written by `python benchmarks/calibration.py` (simulated) and `--real` (students); figures, with errors, in",
        "`benchmarks/results/calibration.json`.",
        "",
        "![False positives, coverage and power](../images/calibration.png)",
        "",
    ]
    if sim := result.get("simulated"):
        lines += _simulated_lines(sim)
    if ERRORS.is_file():
        lines += error_lines(read_json(ERRORS))
    lines += _real_lines(result.get("real"))
    return "\n".join(lines) + "\n"


def _simulated_lines(sim: Mapping[str, Any]) -> list[str]:
    nulls, effects = sim["nulls"], sim["effects"]
    error = max(c["share"]["error"] for c in nulls)
    lines = [
        "## Simulated",
        "",
        f"{sim['runs']:,} comparisons a cell; Monte-Carlo standard error of a rate near .05: {error:.4f}. Students",
        "scatter normally in log-odds, half of the variance shared by a pair of seeds; 20 questions. Cells are",
        "3 / 5 / 10 seeds.",
        "",
        "| no effect | false positives, share | false positives, log-odds | called transferred or moved away |",
        "|---|---|---|---|",
    ]
    for name in NULLS:
        cells = " | ".join(three(nulls, name, key) for key in ("share", "log_odds", "verdict"))
        lines.append(f"| {name} | {cells} |")
    lines += [
        "",
        "| planted effect | coverage, share | Student's t alone | wider than it, times | coverage, log-odds | "
        "called transferred |",
        "|---|---|---|---|---|---|",
    ]
    for name in EFFECTS:
        figures = [three(effects, name, key) for key in ("share", "student", "log_odds", "transferred")]
        figures.insert(2, " / ".join(f"{c['wider']:.2f}" for c in effects if c["world"] == name))
        lines.append(f"| {name} | {' | '.join(figures)} |")
    lines += [
        "",
        "| test | 3 seeds | 5 seeds | 10 seeds |",
        "|---|---|---|---|",
        "| diagonal of the confusion matrix, no effect | "
        + _by_seeds([c for c in sim["confusion"] if not c["drift"]], "false_positives")
        + " |",
        "| the same, one answer rising in every arm | "
        + _by_seeds([c for c in sim["confusion"] if c["drift"]], "false_positives")
        + " |",
        "",
        "Exact sign flips find nothing at 5 pairs, whose least p is .0625; "
        + ", ".join(f"{figure(c['false_positives'])} at {c['seeds']}" for c in sim["permutation"] if c["seeds"] > 5)
        + " pairs. Flips and the diagonal have p values in whole steps, so they stay below 5 %.",
        "",
    ]
    return lines


def error_lines(result: Mapping[str, Any]) -> list[str]:
    """The tables of benchmarks/verdict_errors.py."""
    grid, unequal = result["grid"], result["unequal"]
    worst = max(grid, key=lambda c: c["at_margin"]["rate"])
    lines = [
        "## A true gap of exactly δ",
        "",
        f"Students are drawn whose mean share differs from the control's by exactly .05, {result['runs']:,}",
        "comparisons a cell, each cell the worst of a gap up or down and of none or half of the variance shared by a",
        'pair. Called small ("no transfer" or "small shift") in at most 5 % is right. Largest of',
        f"{len(grid)} cells: {worst['at_margin']['rate']:.3f} ± {worst['at_margin']['error']:.3f}. Each line below is",
        "the largest over bases .02 to .5 and spreads .1 to 1 in log-odds; in brackets how often a true gap of 0 is",
        "called so, least to most.",
        "",
        "| replies a student | " + " | ".join(f"{n} seeds" for n in sorted({c["seeds"] for c in grid})) + " |",
        "|---|" + "---|" * len({c["seeds"] for c in grid}),
    ]
    for replies in sorted({c["replies"] for c in grid}, key=lambda n: n or math.inf):
        lines.append(f"| {replies or 'exact'} | " + " | ".join(_grid_cells(grid, replies)) + " |")
    lines += [
        "",
        "## Unequal scatter and unequal seeds",
        "",
        "Equal mean shares, no effect. *Differs* in at most 5 % is right. Largest over bases .05 to .9, and over 20,",
        "100 and endless replies; spreads in log-odds.",
        "",
        "| spreads | paired, 2 to 20 seeds | 2 and 20, not paired | 3 and 20 | 5 and 20 | 3 and 5 | 5 and 10 |",
        "|---|---|---|---|---|---|---|",
    ]
    for spreads in ([0.8, 0.1], [0.1, 0.8], [0.3, 0.3], [0.8, 0.8]):
        lines.append(f"| {spreads[0]:g} and {spreads[1]:g} | " + " | ".join(_unequal_cells(unequal, spreads)) + " |")
    lines += [
        "",
        "## Families",
        "",
        "Twelve null arms and one control (base .10, spread .8), their traits split in several ways: at least one",
        "called transferred, 3 / 5 / 10 seeds. A question is one trait asked in one role and its verdict depends on",
        "nothing else, so many questions have many chances; the printed result says how many rows stay when all are",
        "taken as one.",
        "",
        "| arms of each trait | in one question | in any question | after Holm over all twelve |",
        "|---|---|---|---|",
    ]
    for split in dict.fromkeys(tuple(c["split"]) for c in result["families"]):
        cells = [c for c in result["families"] if tuple(c["split"]) == split]
        keys = ("one_question", "any_question", "taken_as_one")
        shown = (" / ".join(figure(c[key]) for c in cells) for key in keys)
        lines.append(f"| {len(split)} × {split[0]} | {' | '.join(shown)} |")
    lines += [
        "",
        "## Looks",
        "",
        "No effect, base .5, spread .3: at least one look says that it differs.",
        "",
        "| seeds at each look | uncorrected | with --look |",
        "|---|---|---|",
    ]
    lines += [f"| {c['looks']} | {figure(c['uncorrected'])} | {figure(c['corrected'])} |" for c in result["looks"]]
    lines += [
        "",
        "## What the interval does not cover",
        "",
        "A 95 % interval over seeds, held against the gap over all teachers (which vary as seeds do) or over all",
        "questions (twenty drawn anew, levels and lifts each scattered by .5 in log-odds), .10 to about .45.",
        "",
        "| seeds | one teacher for all | a teacher for each seed | questions drawn anew |",
        "|---|---|---|---|",
    ]
    keys = ("one_teacher", "own_teacher", "questions_anew")
    lines += [f"| {c['seeds']} | {' | '.join(figure(c[key]) for key in keys)} |" for c in result["covered"]]
    lines += [
        "",
        "## The gap that would have been found",
        "",
        "Null studies say what they could have found; new studies with just that gap find it so often (.80 is right;",
        "of those that name a gap). The true figure is that of a study whose spread is known. The rule was chosen on",
        "other seeds than these.",
        "",
        "| world | seeds | found | name none | median said | true |",
        "|---|---|---|---|---|---|",
    ]
    return lines + [_detectable_line(c) for c in result.get("detectable", ())] + [""]


def _grid_cells(grid: Sequence[Mapping[str, Any]], replies: int) -> Iterator[str]:
    for seeds in sorted({c["seeds"] for c in grid}):
        cells = [c for c in grid if (c["replies"], c["seeds"]) == (replies, seeds)]
        nulls = [c["no_effect"]["rate"] for c in cells]
        yield f"{max(c['at_margin']['rate'] for c in cells):.3f} ({min(nulls):.2f} to {max(nulls):.2f})"


def _unequal_cells(cells: Sequence[Mapping[str, Any]], spreads: Sequence[float]) -> Iterator[str]:
    mine = [c for c in cells if c["spreads"] == list(spreads)]
    yield f"{max(c['differs']['rate'] for c in mine if c['paired']):.3f}"
    for sizes in ((2, 20), (3, 20), (5, 20), (3, 5), (5, 10)):
        some = [c for c in mine if not c["paired"] and sorted(c["seeds"]) == list(sizes)]
        yield f"{max(c['differs']['rate'] for c in some):.3f}"


def _detectable_line(c: Mapping[str, Any]) -> str:
    world = f"base {c['base']:g}, spread {c['spread']:g}, {c['replies'] or 'no'} replies, {c['tests']} in the family"
    world = world.replace("no replies", "exact")
    found = f"{c['power']['rate']:.3f} ± {c['power']['error']:.3f}" if c.get("power") else "–"
    median, true = ("none" if c[key] is None else f"{c[key]:.3f}" for key in ("median", "true"))
    return f"| {world} | {c['seeds']} | {found} | {c['none']:.2f} | {median} | {true} |"


def _by_seeds(cells: Sequence[Mapping[str, Any]], key: str) -> str:
    return " | ".join(f"{figure(c[key])} ± {c[key]['error']:.3f}" for c in cells)


def _real_lines(found: Mapping[str, Any] | None) -> list[str]:
    if not found:
        return ["## Real students", "", "Not measured yet: `python benchmarks/calibration.py --real`."]
    lines = [
        "## Real students without a trait",
        "",
        f"{found['students']} control students of `{found['recipe']}` on seeds used nowhere else make {found['pairs']}",
        f"pairs that share nothing; each is asked for {len(found['answers'])} answers. The true gap of any answer",
        "between two of them is 0, so what is found is false. Groups of n pairs are formed in two ways:",
        "*as trained* (1 with 2, 3 with 4; groups share no student, and there are few), and *in all ways*",
        f"({REGROUPED:,} random groups, which do share students). The answers of one student sum to 1 a set and are",
        "correlated, so the errors are a bootstrap over students, not over comparisons. The two of a pair have",
        "different seeds, so this says nothing of what a shared seed saves (the simulated tables do). Measured with",
        "Student's t of before; the interval in use is nowhere narrower, so its rates are at most these.",
        "",
        "| pairs | groups as trained | false positives as trained | in all ways | coverage of 0 | log-odds | "
        "called transferred or moved away |",
        "|---|---|---|---|---|---|---|",
    ]
    for cell in found["by_seeds"]:
        share, odds = cell["share"], cell["log_odds"]
        lines.append(
            f"| {cell['seeds']} | {cell['groups_that_share_nothing']} | {share['disjoint']['false_positives']:.3f} | "
            f"{_with_error(share)} | {share['all']['coverage']:.3f} | "
            f"{_with_error(odds)} | {share['all']['verdict']:.3f} |"
        )
    spread = found["spread_of_gaps"]
    widest = max(spread, key=lambda a: float(spread[a]))
    lines += [
        "",
        f"The gap of one pair scatters by {min(spread.values()):.4f} to {spread[widest]:.4f} in share ({widest}); "
        f"kurtosis {found['kurtosis']:.2f} (normal: 3).",
    ]
    return lines


def _with_error(cell: Mapping[str, Any]) -> str:
    error = "?" if cell["error"] is None else f"{cell['error']:.3f}"
    return f"{cell['all']['false_positives']:.3f} ± {error}"


def draw(result: Mapping[str, Any], path: Path) -> None:
    """False positives, coverage and power side by side."""
    from sublim_eval.report.plots.style import FAINT, GREY, INKS, drawing

    with drawing(path, 10.6, 4.0) as canvas:
        first, second, third = canvas.subplots(1, 3, gridspec_kw={"width_ratios": (1, 1, 1.1)})
        for axes, target, title, band in (
            (first, 0.05, "False positives of p < .05", None),
            (second, 0.95, "Coverage of the 95 % interval", (0.93, 0.97)),
        ):
            axes.axvline(target, color=GREY, linewidth=0.9, zorder=1)
            if band:
                axes.axvspan(*band, color=FAINT, zorder=0)
            axes.set_title(title, fontsize=9, loc="left")
            axes.set_xlabel("mark: share scale, bar: ± 2 standard errors", fontsize=7.5)
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize=7)
        sim, found = result.get("simulated"), result.get("real")
        rows = [(f"{w}", [c for c in sim["nulls"] if c["world"] == w]) for w in NULLS] if sim else []
        _dots(first, [(n, [(c["seeds"], c["share"]["rate"], c["share"]["error"]) for c in cells]) for n, cells in rows])
        if found:
            cells = [
                (c["seeds"], c["share"]["all"]["false_positives"], c["share"]["error"] or 0.0)
                for c in found["by_seeds"]
            ]
            _dots(first, [("real control students", cells)], len(rows))
        _labels(first, [n for n, _ in rows] + (["real control students"] if found else []))
        first.set_xlim(0, 0.1)
        if sim:
            effects = [(w, [c for c in sim["effects"] if c["world"] == w]) for w in EFFECTS]
            shown = [
                (n, [(c["seeds"], c["share"]["rate"], c["share"]["error"]) for c in cells]) for n, cells in effects
            ]
            _dots(second, shown)
            _labels(second, [n for n, _ in effects])
            second.set_xlim(0.7, 1.0)
            for (colour, shape), seeds in zip(INKS, SEEDS, strict=False):
                points = [c for c in sim["power"] if c["seeds"] == seeds]
                third.plot(
                    [c["gap"] for c in points],
                    [c["transferred"]["rate"] for c in points],
                    color=colour,
                    marker=shape,
                    markersize=3.5,
                    linewidth=1,
                    label=f"{seeds} seeds",
                )
        third.axvspan(0, stats.DELTA, color=FAINT, zorder=0)
        third.set_title("Called transferred", fontsize=9, loc="left")
        third.set_xlabel("true gap in share (base .10; grey: ±δ)", fontsize=7.5)
        third.spines[["top", "right"]].set_visible(False)
        third.tick_params(labelsize=7)
        third.legend(frameon=False, fontsize=7.5, loc="lower right")
        third.set_xlim(0, None)
        third.set_ylim(0, 1.02)


def _dots(axes: Any, rows: Sequence[tuple[str, Sequence[tuple[int, float, float]]]], start: int = 0) -> None:
    """A line of the plot for every world: one mark for each number of seeds, with two standard errors."""
    from sublim_eval.report.plots.style import INKS

    marks = dict(zip(SEEDS, INKS, strict=False))
    for line, (_, cells) in enumerate(rows, start):
        for seeds, value, error in cells:
            colour, shape = marks[seeds]
            height = line + 0.22 * (SEEDS.index(seeds) - 1)
            axes.errorbar(
                value, height, xerr=2 * error, fmt=shape, color=colour, markersize=4, elinewidth=1, capsize=0, zorder=3
            )


def _labels(axes: Any, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_ylim(len(names) - 0.5, -0.5)


def main() -> None:
    """Measure what was asked for, keep the rest, write page and picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--simulated", type=int, metavar="N", help=f"comparisons a cell ({SIMULATED:,})")
    parser.add_argument("--real", nargs="?", const="runs/calibration", metavar="DIR", help="train and compare controls")
    parser.add_argument("--recipe", default="quickstart", help="whose controls (quickstart)")
    parser.add_argument("--students", type=int, default=80, metavar="N", help="control students, two a pair (80)")
    parser.add_argument("--workers", type=int, metavar="N", help="students at once (one per core)")
    parser.add_argument("--page", action="store_true", help="measure nothing, write page and picture")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write the three files here instead of docs/")
    args = parser.parse_args()
    places = (RESULT, PAGE, PICTURE) if args.out is None else tuple(args.out / p.name for p in (RESULT, PAGE, PICTURE))
    result: dict[str, Any] = {"schema": 1}
    if places[0].is_file():
        result |= read_json(places[0])
    if args.simulated or not (args.real or args.page):
        result["simulated"] = simulate(args.simulated or SIMULATED)
    if args.real:
        folder = Path(args.real)
        train_controls(folder, args.recipe, args.students, args.workers)
        shares, answers = shares_of(folder)
        told = {"recipe": args.recipe, "first_seed": FIRST_SEED}
        result["real"] = real(shares, answers, told)
    write_json(places[0], result)
    with whole_file(places[1]) as file:
        file.write(page(result))
    draw(result, places[2])
    console.print(f"Written: {', '.join(map(str, places))}")


if __name__ == "__main__":
    main()
