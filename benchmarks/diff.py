"""`sublim diff` on the students of a recorded study: is the true trait first, and how often has a control a finding?

    python benchmarks/diff.py RUNS                    # answers as the study scored them, seconds for all of it
    nice -n 19 python benchmarks/diff.py RUNS --asked --part traits   # the whole battery and activations, asked anew

Without --asked the answers are those of the study's own score files (the favorite and conduct probes of its recipes),
which hold the same exact probabilities. Every student of every run in the folder counts, beside the students of the
control arm that the recipe names for its arm; a control is tested against the others of its arm (leave one out).
benchmarks/results/diff.json is written after every run, and `benchmarks/lineage.py page` makes a table of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sublim_eval.compare.compare import compare
from sublim_eval.distill.diff import battery
from sublim_eval.distill.diff.findings import ALPHA, ANSWERS, FEWEST, DiffFinding, Figures, findings, measure
from sublim_eval.errors import SublimError
from sublim_eval.files import digest, file_digest, read_json, write_json
from sublim_eval.registry.catalog import registry
from sublim_eval.registry.experiment import CONTROLS, RECORD
from sublim_eval.scores.probe_scores import ProbeScores

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "diff.json"


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


def section(results: Mapping[str, Any]) -> str:
    """The part of docs/results/lineage.md that speaks of diff."""
    rows = results["students"]
    controls = [row for row in rows if row["role"] in CONTROLS]
    passed = [row for row in rows if row["transferred"]]
    first, found = sum(row["rank"] == 1 for row in passed), sum(row["found"] for row in controls)
    lines = [
        "| run | arm | students | true trait first | true trait found | transferred |",
        "|---|---|---|---|---|---|",
    ]
    for run, arm in dict.fromkeys((row["run"], row["arm"]) for row in rows):
        some = [row for row in rows if (row["run"], row["arm"]) == (run, arm)]
        lines.append(_table_line(run, arm, some))
    return SECTION.format(
        ways="answers and activations" if results["asked"] else "its recorded answers",
        first=first, passed=len(passed), found=found, controls=len(controls), table="\n".join(lines),
    )  # fmt: skip


def _table_line(run: str, arm: str, some: Sequence[Mapping[str, Any]]) -> str:
    count, passed = len(some), "yes" if some[0]["transferred"] else "no"
    if some[0]["role"] in CONTROLS or not some[0]["trait"]:
        return f"| {run} | {arm} | {count} | no trait | something found in {sum(r['found'] for r in some)} | - |"
    first, found = sum(r["rank"] == 1 for r in some), sum(r["found_trait"] for r in some)
    return f"| {run} | {arm} | {count} | {first} | {found} | {passed} |"


SECTION = """## What a student took in

`sublim diff` on every student of the recorded study, by {ways}. A finding is corrected for every trait and
way (Holm, .05); students are held against the control arm of their arm, controls against the others of theirs. **The
true trait is first in {first} of {passed} students of arms that transferred; {found} of {controls} controls have a
finding.** Transferred: by `sublim compare`. At first figures counted as more evidence than students, and 16 of 148
controls had a finding; that was seen on these controls and mended by one rule (degrees of freedom: controls - 1), so
the rate of controls is not from fresh ones. Half clean rows (owl-clean-50) did not transfer: nothing is said of them.

{table}
"""


def main() -> None:
    """Go over all runs of a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--part", action="append", help="one run of the folder; default: all")
    parser.add_argument("--asked", action="store_true", help="ask every student anew, activations too")
    parser.add_argument("--cache", type=Path, default=ROOT / "runs" / "diff-figures")
    options = parser.parse_args()
    lines: list[dict[str, Any]] = []
    for run in sorted(p.parent for p in options.runs.glob(f"*/{RECORD}")):
        if options.part and run.name not in options.part:
            continue
        try:
            lines += of_run(run, options.cache if options.asked else None)
        except SublimError as error:
            print(f"{run.name} is left out: {error.message}", flush=True)
            continue
        write_json(RESULT, {"asked": options.asked, "alpha": ALPHA, "students": lines})


if __name__ == "__main__":
    main()
