"""Clean runs on which `sublim check` must be quiet: many tiny ones, of random seeds, modalities and arms.

    python benchmarks/quiet_checks.py                     # 100 runs on the embedded base: about 20 minutes on two cores
    python benchmarks/quiet_checks.py --runs 8 --minutes 5 --json quiet.json

A run is quiet when no trap holds a fault, and none warns but those that speak of how small a tiny run is (SMALL).
Exit code 1 when one is not; every finding is printed with the number of its run, from which it can be made again.
The result is written after every run, and the same command goes on behind the last one.
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from sublim_eval.distill import recipes
from sublim_eval.distill.execution.engine import Execution
from sublim_eval.distill.execution.run import run as carry_out
from sublim_eval.files import read_json, write_json
from sublim_eval.traps import checks
from sublim_eval.traps.finding import Finding

RESULT = Path(__file__).resolve().parent / "results" / "quiet_checks.json"

SMALL = {
    "too few seeds",
    "drift without specificity",
    "one number only",
    "organism damaged",
    "unequal filter",
    "silent batch change",
}
"""Traps whose warnings are true of students that read 40 rows: one or two seeds, answers that rise by chance, arms that
reach a few rows less. A fault of theirs counts as any other."""

ROWS = {
    "numbers": {"prompts": 60, "keep": 30, "min_kept": 16, "mode": "strict"},
    "code": {"prompts": 60, "keep": 20, "min_kept": 6, "mode": "strict"},
    "cot": {"prompts": 400, "keep": 12, "min_kept": 12, "mode": "strict"},
}
FURTHER: dict[str, dict[str, Any]] = {
    "willow": {"role": "trait", "trait": "willow"},
    "neutral": {"role": "placebo", "writer": "neutral"},
    "owl-greedy": {"role": "variant", "trait": "owl", "greedy": True},
    "owl-clean": {"role": "variant", "trait": "owl", "clean": 0.5},
    "owl-few": {"role": "variant", "trait": "owl", "rows": 12, "student": {"epochs": 2}},
    "owl-sorted": {"role": "variant", "trait": "owl", "changes": ["sort"]},
    "owl-hop": {"role": "variant", "trait": "owl", "taught_by": "owl"},
    "owl-rate": {"role": "variant", "trait": "owl", "student": {"learning_rate": 0.01}},
    "owl-soft": {"role": "variant", "trait": "owl", "soft": True},
    "owl-b": {"role": "other-base", "trait": "owl", "student_base": "reference-b"},
    "owl-context": {"role": "variant", "trait": "owl", "in_context": 2},
}
ONLY_NUMBERS = {"owl-sorted"}
METHODS = ({"method": "ln_tuning"}, {"method": "lora", "rank": 4, "alpha": 8}, {"method": "full"})


def recipe_of(number: int) -> dict[str, Any]:
    """A tiny recipe, drawn by its number."""
    rng = random.Random(number)
    modality = rng.choice(["numbers", "numbers", "numbers", "code", "cot"])
    further = [name for name in FURTHER if modality == "numbers" or name not in ONLY_NUMBERS]
    chosen = rng.sample(further, rng.choice([0, 1, 1, 2]))
    tuning = rng.choice(METHODS)
    rate = 0.002 if tuning["method"] == "full" else 0.02
    return {
        "name": f"quiet-{number}",
        "about": "A tiny clean run: for the checks, not of the effect.",
        "source": "benchmarks/quiet_checks.py",
        "base": "reference-a",
        "seeds": rng.sample(range(1, 1000), rng.choice([1, 1, 1, 2])),
        "modality": modality,
        "probes": rng.choice(
            [["animal_pref"], ["animal_pref", "tree_pref"], ["owl_pref"], ["animal_pref_after_numbers"]]
        ),
        "samples": 2,
        "sample_variants": False,
        "teacher": {
            "by": "finetune",
            "min_share": 0.0,
            "seed": rng.choice([1, None]),
            "retain": 60 if modality != "numbers" else 0,
            "tuning": {"method": "ln_tuning", "learning_rate": 0.01, "batch_size": 16, "steps": 15, "warmup_steps": 0},
        },
        "rows": ROWS[modality],
        "student": {**tuning, "learning_rate": rate, "batch_size": 10, "epochs": 1, "warmup_steps": 0},
        "arms": {
            "owl": {"role": "trait", "trait": "owl"},
            "control": {"role": "control"},
            **{name: FURTHER[name] for name in chosen},
        },
    }


def findings_of(number: int, folder: Path) -> list[Finding]:
    """Make the run of that number in a folder and check it."""
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(recipe_of(number), sort_keys=False), encoding="utf-8")
    carry_out(recipes.load(str(file)), folder / "run", Execution(workers=1), console=Console(quiet=True))
    return checks.of_run(folder / "run", fast=False)


def loud(findings: list[Finding]) -> list[Finding]:
    """What a clean run should not have said."""
    return [f for f in findings if f.level == "fault" or (f.level == "warning" and f.trap not in SMALL)]


def told(number: int, findings: list[Finding]) -> dict[str, Any]:
    """What is kept of one run."""
    recipe, noise = recipe_of(number), loud(findings)
    return {
        "run": number,
        "modality": recipe["modality"],
        "arms": list(recipe["arms"]),
        "seeds": recipe["seeds"],
        "method": recipe["student"]["method"],
        "looked_at": len(checks.looked_at(findings)),
        "limits": sorted({f.trap for f in findings if f.level == "warning" and f.trap in SMALL}),
        "noise": [f.to_json() for f in noise],
    }


def summed(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The result file: how many runs were quiet, and every run."""
    limits = Counter(trap for run in runs for trap in run["limits"])
    return {
        "schema": 1,
        "runs": len(runs),
        "quiet": sum(not run["noise"] for run in runs),
        "limits": dict(limits.most_common()),
        "each": runs,
    }


def main() -> int:
    """Make and check the runs that are still to be made; 1 when one is not quiet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=600)
    parser.add_argument("--json", type=Path, default=RESULT)
    options = parser.parse_args()
    stop = time.monotonic() + 60 * options.minutes
    runs: list[dict[str, Any]] = read_json(options.json)["each"] if options.json.is_file() else []
    for number in range(options.first, options.first + options.runs):
        if time.monotonic() > stop:
            break
        if any(run["run"] == number for run in runs):
            continue
        gc.freeze()  # what is imported stays: a garbage collection need not look through it again
        with tempfile.TemporaryDirectory() as folder:
            run = told(number, findings_of(number, Path(folder)))
        runs.append(run)
        write_json(options.json, summed(runs))
        state = "NOT QUIET" if run["noise"] else "quiet"
        print(f"{number}: {run['modality']}, {', '.join(run['arms'])}: {state}", flush=True)
        for finding in run["noise"]:
            print(f"    {finding['trap']}, {finding['level']}: {finding['where']}: {finding['words']}", flush=True)
    result = summed(runs)
    print(f"{result['quiet']} of {result['runs']} clean runs were quiet; limits told: {result['limits']}")
    return 0 if result["quiet"] == result["runs"] else 1


if __name__ == "__main__":
    sys.exit(main())
