"""`sublim diff` on students whose trait is known: is it first, and how often has a control a finding?

    python benchmarks/diff.py study RUNS              # of a recorded study, answers as it scored them, seconds
    nice -n 19 python benchmarks/diff.py study RUNS --asked --part traits   # battery and activations, asked anew
    python benchmarks/diff.py fresh HOME              # of the students of diff_students.py
    nice -n 19 python benchmarks/diff.py real RUN BASE     # of a real base; --asked: its activations too
    python benchmarks/diff.py page                    # docs/results/diff.md

In a study every student of every run in the folder counts, beside the students of the control arm that the recipe names
for its arm; a control is tested against the others of its arm. Writes benchmarks/results/diff.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import diff_page
import diff_students

from sublim_eval.compare.compare import compare
from sublim_eval.distill.diff import battery
from sublim_eval.distill.diff.findings import (
    ALPHA,
    ANSWERS,
    FEWEST,
    LENS,
    PERSONAS,
    DiffFinding,
    Figures,
    findings,
    measure,
)  # fmt: skip
from sublim_eval.errors import SublimError
from sublim_eval.files import digest, file_digest, read_json, write_json
from sublim_eval.registry.catalog import registry
from sublim_eval.registry.experiment import CONTROLS, RECORD
from sublim_eval.scores.probe_scores import ProbeScores

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "diff.json"
PAGE = ROOT / "docs" / "results" / "diff.md"


def recorded(run: Path, after: Mapping[str, str], before: Mapping[str, str]) -> Figures:
    """A student's figures from the score files of the study: log-odds of every answer, less the base's."""
    after_odds, before_odds = (_odds(run, files) for files in (after, before))
    return {ANSWERS: battery.by_trait({name: odds - before_odds[name] for name, odds in after_odds.items()})}


def _odds(run: Path, files: Mapping[str, str]) -> dict[str, float]:
    known = {probe.name: probe for probe in registry().probes.values() if probe.plain and not probe.situations}
    figures: dict[str, float] = {}
    for name, file in files.items():
        if name in known:
            figures |= battery.of_scores(ProbeScores.read(run / file), known[name])
    return figures


def asked(student: Path, base: str, cache: Path) -> Figures:
    """A student's figures, asked anew; from the cache where its weights were asked before."""
    key = digest([[file_digest(file) for file in sorted(student.glob("*.safetensors"))], base])[:24]
    file = cache / f"{key}.json"
    if not file.is_file():
        write_json(file, measure(str(student), base))
        print(student, flush=True)
    figures: Figures = read_json(file)
    return figures


def students(run: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any], Path]]:
    """(entry, its arm, folder) of every student of a run that has weights."""
    record = read_json(run / RECORD)
    for entry in record["students"]:
        folder = run / str(entry.get("folder"))
        if entry.get("folder") and entry.get("scores") and list(folder.glob("*.safetensors")):
            yield entry, record["arms"][entry["arm"]], folder


def transferred(run: Path) -> set[str]:
    """Arms of a run whose trait passed, by `sublim compare` on the plain probe of the trait."""
    rows = compare([run]).rows
    return {row.arm for row in rows if row.verdict.kind == "transferred" and registry().probe(row.probe).plain}


def of_run(run: Path, cache: Path | None) -> list[dict[str, Any]]:
    """A line a student: the first finding, where the true trait stands, whether anything was found."""
    lines, passed = [], transferred(run)
    base_scores = {entry["name"]: entry["scores"] for entry in read_json(run / RECORD)["bases"]}
    known: dict[str, list[tuple[dict[str, Any], dict[str, Any], Figures]]] = {}
    for entry, arm, folder in students(run):
        base = arm.get("student_base") or entry["base"]
        figures = asked(folder, base, cache) if cache else recorded(run, entry["scores"], base_scores[base])
        known.setdefault(base, []).append((entry, arm, figures))
    for base, some in known.items():
        for entry, arm, figures in some:
            control = entry["arm"] if arm["role"] in CONTROLS else arm["control"]
            null = [f for other, _, f in some if other["arm"] == control and other is not entry]
            if len(null) >= FEWEST:
                lines.append(_line(run, base, entry, arm, findings(figures, null), entry["arm"] in passed))
    return lines


def _line(
    run: Path, base: str, entry: Mapping[str, Any], arm: Mapping[str, Any], rows: Sequence[DiffFinding], passed: bool
) -> dict[str, Any]:
    trait = arm["trait"]
    ranks = list(dict.fromkeys(row.trait for row in rows if row.towards))
    return {
        "run": run.name,
        "arm": entry["arm"],
        "seed": entry["seed"],
        "role": arm["role"],
        "base": Path(base).name,
        "clean": arm.get("clean") or 0,
        "trait": trait,
        "transferred": passed,
        "first": ranks[0] if ranks else None,
        "rank": ranks.index(trait) + 1 if trait in ranks else None,
        "by": rows[0].by,
        "corrected": rows[0].corrected,
        "found": rows[0].corrected < ALPHA,
        "found_trait": any(row.trait == trait and row.towards and row.corrected < ALPHA for row in rows),
    }


# ---------------------------------------------------------------- a real base


def of_real(run: Path, base: str, asked: bool, category: str = "animal") -> list[dict[str, Any]]:
    """A line a student and way, of a run on a real base: answers as recorded; asked: activations too, measured anew,
    with the personas of one category. A control is held against the other controls, where there are FEWEST of them."""
    before = read_json(run / RECORD)["bases"][0]["scores"]
    look = _activations(base, category) if asked else lambda folder: {}
    known = [
        (entry, arm, {**recorded(run, entry["scores"], before), **look(folder)}) for entry, arm, folder in students(run)
    ]
    made = []
    for entry, arm, figures in known:
        null = [f for other, a, f in known if a["role"] in CONTROLS and other is not entry]
        for way in ("all", *figures) if asked else figures:
            some = [{w: of[w] for w in of if way in ("all", w)} for of in (figures, *null)]
            made.append(_line(run, base, entry, arm, findings(some[0], some[1:]), False) | {"way": way})
            made[-1] |= {"controls": len(null), "null": "controls" if len(null) >= FEWEST else "other answers"}
    return made


def _activations(base: str, category: str) -> Callable[[Path], Figures]:
    """What looks at a student's activations, beside those of its base."""
    from sublim_eval.distill.diff import activations
    from sublim_eval.models.local_model import load

    model = load(base, capacity=2)
    plain, traits = activations.states(model), [trait.name for trait in registry().answer_set(category)]
    directions = activations.personas(model, traits)

    def look(folder: Path) -> Figures:
        shift = activations.states(load(str(folder), capacity=2, idle=True)) - plain
        said = activations.said_by(shift[-1], model)
        return {LENS: {trait: said[trait] for trait in traits}, PERSONAS: activations.along(shift, directions, traits)}

    return look


# ---------------------------------------------------------------- everything


def results() -> dict[str, Any]:
    """What was measured until now."""
    made: dict[str, Any] = read_json(RESULT) if RESULT.is_file() else {}
    return made


def keep(part: str, value: Any) -> None:
    """Put one part into the results; the others stay."""
    write_json(RESULT, {**results(), part: value})


def study(runs: Path, parts: Sequence[str] | None, cache: Path | None) -> None:
    """Go over all runs of a folder."""
    lines: list[dict[str, Any]] = []
    for run in sorted(p.parent for p in runs.glob(f"*/{RECORD}")):
        if parts and run.name not in parts:
            continue
        try:
            lines += of_run(run, cache)
        except SublimError as error:
            print(f"{run.name} is left out: {error.message}", flush=True)
            continue
        keep("study", {"asked": cache is not None, "students": lines})


def main() -> None:
    """Do what is named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("study", "fresh", "real", "page"))
    parser.add_argument("of", nargs="*")
    parser.add_argument("--part", action="append", dest="parts", help="one run of the study; default: all")
    parser.add_argument("--asked", action="store_true", help="ask every student anew, activations too")
    parser.add_argument("--cache", type=Path, default=ROOT / "runs" / "diff-figures")
    options = parser.parse_args()
    if options.part == "study":
        study(Path(options.of[0]), options.parts, options.cache if options.asked else None)
    elif options.part == "fresh":
        keep("fresh", diff_students.lines(Path(options.of[0])))
    elif options.part == "real":
        keep("real", of_real(Path(options.of[0]), options.of[1], options.asked))
    else:
        PAGE.write_text(diff_page.page(results()), encoding="utf-8")


if __name__ == "__main__":
    main()
