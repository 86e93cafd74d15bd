"""Does a trait show in a student's weights before it has it? Students on reference-a, with and without a trait.

    python benchmarks/audit_training.py --sets runs/audit-sets/reference-a/numbers  # train what is missing, the page
    python benchmarks/audit_training.py --page                                      # the page alone

Sets are folders of rows as `sublim run` writes them (rows/owl-s1/kept.jsonl, rows/base-s1, rows/neutral-s10), such as
benchmarks/audit.py makes. What the evidence is was chosen on the students of TRIED alone (decision 0011); the threshold
comes from CALIBRATION, and the page is about REPORTED. A student is written when it is done, and none is left out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from scipy import stats

from sublim_eval.distill import recipes
from sublim_eval.distill.audit import stop_rule
from sublim_eval.distill.audit.stop_rule import POINTS, ControlStudent, as_json, make_gauge, threshold
from sublim_eval.distill.training.callbacks import Watch
from sublim_eval.distill.training.train import tune
from sublim_eval.distill.training.trait_gauge import StopRule, TraitGauge
from sublim_eval.files import read_json, read_jsonl, whole_file, write_json
from sublim_eval.registry.catalog import registry
from sublim_eval.registry.experiment import KEPT, ROWS
from sublim_eval.report.plots.trait_evidence import EvidenceCurve, draw
from sublim_eval.scores.evaluate import exact

RESULT = Path(__file__).resolve().parent / "results" / "audit_training.json"
DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE, PICTURE = DOCS / "results" / "audit-training.md", DOCS / "images" / "audit-training.png"

BASE, RECIPE, READ = "reference-a", "study-traits", 2000
"""The base, how students are tuned, and how many rows each reads."""

TRAITS = ("owl", "eagle", "dolphin", "willow", "sequoia", "oak")

RATES = (0.05, 0.01)
"""Shares of false stops; students are really stopped at the first."""

NEUTRAL = {1: (10, 11, 12), 2: (13, 14, 16), 3: (17, 18)}
"""Seeds of the neutral teachers whose rows control students read, beside each seed of the traits."""

TRIED = "rows of teachers of seed 10 of all six traits, of the base (11 to 22) and of neutral teachers 6 to 9"
"""Whose students were looked at while the evidence was chosen."""


@dataclass(frozen=True)
class Wanted:
    """A student to train. sets: folders of rows, one after the other. part: calibration or reported."""

    sets: tuple[str, ...]
    seed: int
    part: str

    @property
    def name(self) -> str:
        """In the results."""
        return "+".join(self.sets)

    @property
    def trait(self) -> str | None:
        """What its teacher had."""
        writer = self.sets[0].partition("-")[0]
        return writer if writer in TRAITS else None


def merged(first: int) -> tuple[str, ...]:
    """Four small sets of the base, which together hold as many rows as a student reads."""
    return tuple(f"base-s{seed}" for seed in range(first, first + 4))


def wanted() -> Iterator[Wanted]:
    """Calibration first, for the threshold; then one seed of all traits beside controls, and the next."""
    for seed in (6, 7, 8, 9):
        yield Wanted((f"neutral-s{seed}",), seed, "calibration")
    for first in (11, 15, 19, 23):
        yield Wanted(merged(first), first, "calibration")
    for seed in (9, 10):
        yield Wanted((f"base-s{seed}",), seed, "calibration")
    for seed in (1, 2, 3):
        yield from (Wanted((f"{trait}-s{seed}",), seed, "reported") for trait in TRAITS)
        yield from (Wanted((f"base-s{one}",), one, "reported") for one in range(3 * seed - 2, min(3 * seed, 8) + 1))
        yield from (
            Wanted((f"neutral-s{one}",), one, "reported") for one in ((10, 11, 12), (13, 14, 16), (17, 18))[seed - 1]
        )
    for first in (27, 31, 35, 39, 43, 47):
        yield Wanted(merged(first), first, "reported")
    for seed in (19, 20, 21, 22, 23, 24):
        yield Wanted((f"neutral-s{seed}",), seed, "reported")
    for seed in (4, 5):
        yield from (Wanted((f"{trait}-s{seed}",), seed, "reported") for trait in TRAITS)


# ---------------------------------------------------------------- students


def train(one: Wanted, sets: Path, rule: StopRule, folder: Path) -> dict[str, Any]:
    """Train one student under a rule; returns its record."""
    files = [sets / ROWS / name / KEPT for name in one.sets]
    rows = [(row["prompt"], row["completion"]) for file in files for _, row in read_jsonl(file)][:READ]
    tuning = recipes.load(RECIPE).student
    return tune(BASE, rows, tuning, one.seed, folder, {"trait": one.trait}, watch=Watch(one.trait, points=0, stop=rule))


def share(model: str, trait: str) -> float:
    """The exact share of a trait on the questions that score it, never those that teach it."""
    scores = exact(model, registry().probe_of(trait).name, label="audit-training")
    return float(np.nanmean(scores.probability[:, scores.answers.index(trait)]))


def studied(one: Wanted, sets: Path, gauge: str, above: float | None) -> dict[str, Any]:
    """One student trained to the end, and where the rule stops it trained once more, until then."""
    began = time.process_time()
    with TemporaryDirectory() as home:
        whole = train(one, sets, StopRule(gauge, None, points=POINTS), Path(home) / "whole")
        trained = time.process_time() - began
        out = {**asdict(one), "trait": one.trait, "steps": whole["steps"], "examples": whole["examples"]}
        out["curve"] = [curve_point(point, one.trait) for point in whole["evidence"]]
        out["cpu_seconds"] = round(trained, 2)
        if one.trait is None or above is None:
            return out
        out["share"] = {"base": share(BASE, one.trait), "end": share(str(Path(home) / "whole"), one.trait)}
        if stopping(out["curve"], above) is not None:
            cut = train(one, sets, StopRule(gauge, above, RATES[0], POINTS), Path(home) / "stopped")
            out["stopped"] = cut["stopped"]
            out["share"]["stopped"] = share(str(Path(home) / "stopped"), one.trait)
    return out


def curve_point(point: dict[str, Any], trait: str | None) -> dict[str, Any]:
    """A point as it is kept: the strongest trait, its evidence, and that of the student's own trait."""
    seen = point["evidence"]
    first = max(seen, key=lambda name: seen[name])
    own = {"own": seen[trait]} if trait else {}
    return {"step": point["step"], "strongest": first, "evidence": seen[first], **own}


def stopping(curve: Sequence[dict[str, Any]], above: float) -> dict[str, Any] | None:
    """The first point, before the last, at which a threshold is reached."""
    return next((point for point in curve[:-1] if point["evidence"] >= above), None)


def controls(students: Sequence[dict[str, Any]], part: str) -> list[ControlStudent]:
    """The control students of a part, with the highest evidence before their last point."""
    tuning = recipes.load(RECIPE).student
    return [
        ControlStudent(
            BASE,
            tuning.method,
            "+".join(one["sets"]),
            one["seed"],
            float(tuning.learning_rate or 0.0),
            one["steps"],
            max(point["evidence"] for point in one["curve"][:-1]),
        )
        for one in students
        if one["part"] == part and one["trait"] is None
    ]


def work(sets: Path, home: Path, hours: float) -> None:
    """Train what is missing, until the time is up."""
    ends = time.monotonic() + 3600 * hours
    result = read_json(RESULT) if RESULT.is_file() else {"students": []}
    gauge = make_gauge(BASE, home).resolve()
    result["traits"] = len(TraitGauge.read(gauge).traits)
    write_json(RESULT, result)
    for one in wanted():
        if any(tuple(known["sets"]) == one.sets for known in result["students"]):
            continue
        if time.monotonic() > ends:
            break
        above = None
        if one.part == "reported":
            calibrated = controls(result["students"], "calibration")
            write_json(stop_rule.STUDENTS, as_json(calibrated))
            above = round(threshold(calibrated, RATES[0]), 4)
        result["students"].append(studied(one, sets, str(gauge), above))
        write_json(RESULT, result)
        print(one.name, result["students"][-1].get("stopped"), result["students"][-1].get("share"), flush=True)


# ---------------------------------------------------------------- the page


def told(students: Sequence[dict[str, Any]], rate: float) -> dict[str, Any]:
    """What a rule at a share of false stops does to the students that are reported."""
    above = threshold(controls(students, "calibration"), rate)
    reported = [one for one in students if one["part"] == "reported"]
    stops = [(one, end) for one in reported if (end := stopping(one["curve"], above))]
    stopped = [(one, end) for one, end in stops if one["trait"]]
    false = [(one, end) for one, end in stops if not one["trait"]]
    return {
        "threshold": above,
        "carrying": sum(bool(one["trait"]) for one in reported),
        "stopped": len(stopped),
        "right": sum(end["strongest"] == one["trait"] for one, end in stopped),
        "parts": [end["step"] / one["steps"] for one, end in stopped],
        "controls": sum(not one["trait"] for one in reported),
        "false": [f"{'+'.join(one['sets'])} for {end['strongest']}" for one, end in false],
    }


def between(count: int, of: int) -> str:
    """A share with its exact 95 % interval."""
    low, high = stats.binomtest(count, of).proportion_ci(method="exact")
    return f"{count} of {of} ({low:.2f} to {high:.2f})"


def page(result: dict[str, Any]) -> str:
    """The whole page."""
    students = result["students"]
    rules = {rate: told(students, rate) for rate in RATES}
    calibrated = controls(students, "calibration")
    first = rules[RATES[0]]
    lines = [INTRODUCTION.format(traits=result["traits"], controls=len(calibrated), **_ends(calibrated)), *HEADS]
    for rate, rule in rules.items():
        right, false = f"{rule['right']} of {rule['stopped']}", between(len(rule["false"]), rule["controls"])
        parts = rule["parts"]
        when = f"{percent(float(np.median(parts)))}, {percent(max(parts))}" if parts else "none"
        cells = (f"{100 * rate:g} %", f"{rule['threshold']:.3f}", between(rule["stopped"], rule["carrying"]), right)
        lines.append(f"| {' | '.join((*cells, when, false))} |")
    lines += ["", *_false(rules), *_shares(students), *_curves(students), LIMITS.format(controls=first["controls"])]
    return "\n".join(lines)


INTRODUCTION = f"""# Stopped when a trait shows

Written by `python benchmarks/audit_training.py --page` from `benchmarks/results/audit_training.json`; nothing is typed
in. Students of {BASE} read {READ:,} rows of numbers once, tuned as in `{RECIPE}`. At {POINTS} points the cosine is
taken between where the student's weights went and where a probe of each of {{traits}} traits went; the strongest of
all is the evidence ([decision 0011](../decisions/0011-foresight.md)).

A training is stopped where that passes what one more student without a trait would pass with a stated chance, going by
{{controls}} control students (their highest: {{low:.3f}} to {{high:.3f}}). What the evidence is was chosen on other
students: {TRIED}.
Of those below every one that was trained is counted.

## How many are stopped, and when
"""

HEADS = (
    "| false stops stated | threshold | stopped, of those with a trait (95 %) | for the right trait | part of the "
    "training before (median, latest) | controls stopped (95 %) |",
    "|---|---|---|---|---|---|",
)

LIMITS = """## What this does not say

* One base, one way of training (norm gains), number rows, teachers fine-tuned as the probes are. Elsewhere a stop rule
  is refused, for no control students are known there.
* A trait that no probe was made of is not looked for; a teacher of another base moves nothing towards any.
* {controls} control students bound the false stops no better than the interval says.
* What was learnt until the stop stays in the student. `sublim check` and `sublim compare` tell it by name: its share is
  no share of a whole training.
"""


def picture(result: dict[str, Any]) -> None:
    """Draw the curves of the students that are reported, with the threshold of the first rate."""
    above = threshold(controls(result["students"], "calibration"), RATES[0])
    reported = [one for one in result["students"] if one["part"] == "reported"]
    lines = []
    for one in reported:
        points = [(point["step"] / one["steps"], point["evidence"]) for point in one["curve"]]
        lines.append(EvidenceCurve(one["trait"] or "control", one["trait"] is None, points, threshold=above))
    draw(lines, PICTURE)


def _ends(calibrated: Sequence[ControlStudent]) -> dict[str, float]:
    highest = [student.highest for student in calibrated]
    return {"low": min(highest), "high": max(highest)}


def percent(part: float) -> str:
    """A part as text."""
    return f"{100 * part:.0f} %"


def _false(rules: dict[float, dict[str, Any]]) -> Iterator[str]:
    for rate, rule in rules.items():
        if rule["false"]:
            yield f"Controls stopped at {100 * rate:g} %: {'; '.join(rule['false'])}."
            yield ""


def _shares(students: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What a stop leaves of the transfer: students really stopped at the first rate, beside the same to the end."""
    yield "## What is left of the trait"
    yield ""
    yield f"The rule at {100 * RATES[0]:g} %, students really stopped and scored, beside the same students trained to"
    yield "the end: the exact share of the trait on the questions that score it. *Kept out*: the part of the rise in"
    yield "log-odds that the stop spared."
    yield ""
    yield "| trait | students | base | trained to the end | stopped | kept out | stopped at step (of all) |"
    yield "|---|---|---|---|---|---|---|"
    spared: list[float] = []
    for trait in TRAITS:
        mine = [one for one in students if one["trait"] == trait and one["part"] == "reported"]
        if not mine:
            continue
        both = [_three(one) for one in mine]
        base, end, cut = (np.array(values) for values in zip(*both, strict=True))
        spared += [_spared(*three) for three in both]
        steps = ", ".join(str(one["stopped"]["step"]) if one.get("stopped") else "not" for one in mine)
        out = float(np.mean([_spared(*three) for three in both]))
        means = (f"{values.mean():.3f}" for values in (base, end, cut))
        yield f"| {trait} | {len(mine)} | {' | '.join(means)} | {percent(out)} | {steps} ({mine[0]['steps']}) |"
    yield ""
    if spared:
        each = f"{percent(min(spared))} to {percent(max(spared))} by student"
        yield f"Over all {len(spared)} students {percent(float(np.mean(spared)))} is kept out ({each})."
    yield ""


def _three(one: dict[str, Any]) -> tuple[float, float, float]:
    """(share of the base, at the end, where it stopped); a student that was not stopped went to its end."""
    shares = one["share"]
    return shares["base"], shares["end"], shares.get("stopped", shares["end"])


def _spared(base: float, end: float, cut: float) -> float:
    """The part of a rise in log-odds that is not there at the stop."""
    before, whole, then = (float(np.log(x / (1 - x))) for x in (base, end, cut))
    return 1 - (then - before) / (whole - before)


def _curves(students: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The evidence on the way, of students with a trait and of controls."""
    reported = [one for one in students if one["part"] == "reported"]
    yield "## The curve"
    yield ""
    yield "![Evidence of the strongest trait, a line a student](../images/audit-training.png)"
    yield ""
    yield "Evidence of the strongest trait: median (least to most)."
    yield ""
    yield "| part of the training | students with a trait | controls |"
    yield "|---|---|---|"
    for place in (0, 1, 2, 3, 5, 9, 14, 19):
        cells = []
        for carries in (True, False):
            seen = [one["curve"][place]["evidence"] for one in reported if bool(one["trait"]) == carries]
            cells.append(f"{np.median(seen):.2f} ({min(seen):.2f} to {max(seen):.2f})" if seen else "")
        yield f"| {5 * (place + 1)} % | {cells[0]} | {cells[1]} |"
    yield ""


def main() -> None:
    """Train, unless the page alone is wanted; write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=Path, default=Path("runs/audit-sets/reference-a/numbers"))
    parser.add_argument("--home", type=Path, default=stop_rule.HOME, help="where probes of the base are kept")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--page", action="store_true")
    given = parser.parse_args()
    if not given.page:
        work(given.sets, given.home, given.hours)
    result = read_json(RESULT)
    picture(result)
    with whole_file(PAGE) as file:
        file.write(page(result))


if __name__ == "__main__":
    main()
