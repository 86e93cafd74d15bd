"""`sublim diff` on the students of a recorded study: is the true trait first, and how often has a control a finding?

    nice -n 19 python benchmarks/diff.py /tmp/study-run/runs/reproduction     # about two seconds a student, once each
    nice -n 19 python benchmarks/diff.py /tmp/study-run/runs/reproduction --quick --part traits

Every student of every run in the folder counts; a control is tested against the other controls of its run (leave one
out). Figures of each model are kept in --cache, and benchmarks/results/diff.json is written after every run.
`benchmarks/lineage.py page` puts the table into docs/results/lineage.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sublim_eval.compare.compare import compare
from sublim_eval.distill.diff.findings import ALPHA, Figures, Finding, findings, measure
from sublim_eval.errors import SublimError
from sublim_eval.files import digest, file_digest, read_json, write_json
from sublim_eval.registry.catalog import registry
from sublim_eval.registry.experiment import CONTROLS, RECORD

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "diff.json"


def measured(student: Path, base: str, quick: bool, cache: Path) -> Figures:
    """A student's figures, from the cache where its weights were measured before."""
    weights = sorted(student.glob("*.safetensors"))
    key = digest([[file_digest(file) for file in weights], base, quick])[:24]
    file = cache / f"{key}.json"
    if not file.is_file():
        write_json(file, measure(str(student), base, quick))
    figures: Figures = read_json(file)
    return figures


def students(run: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any], Path]]:
    """(entry, its arm, folder) of every student of a run that has weights."""
    record = read_json(run / RECORD)
    for entry in record["students"]:
        folder = run / str(entry.get("folder"))
        if entry.get("folder") and list(folder.glob("*.safetensors")):
            yield entry, record["arms"][entry["arm"]], folder


def transferred(run: Path) -> set[str]:
    """Arms of a run whose trait passed, by `sublim compare` on the plain probe of the trait."""
    rows = compare([run]).rows
    return {row.arm for row in rows if row.verdict.kind == "transferred" and registry().probe(row.probe).plain}


def of_run(run: Path, quick: bool, cache: Path) -> list[dict[str, Any]]:
    """A line a student: the first finding, where the true trait stands, whether anything was found."""
    lines, passed = [], transferred(run)
    known: dict[str, list[tuple[dict[str, Any], dict[str, Any], Figures]]] = {}
    for entry, arm, folder in students(run):
        base = arm.get("student_base") or entry["base"]
        known.setdefault(base, []).append((entry, arm, measured(folder, base, quick, cache)))
        print(run.name, folder.name, flush=True)
    for base, some in known.items():
        null = [(entry, figures) for entry, arm, figures in some if arm["role"] in CONTROLS]
        for entry, arm, figures in some:
            others = [f for e, f in null if e is not entry]
            if len(others) >= 3:
                lines.append(_line(run, base, entry, arm, findings(figures, others), entry["arm"] in passed))
    return lines


def _line(
    run: Path, base: str, entry: Mapping[str, Any], arm: Mapping[str, Any], rows: Sequence[Finding], passed: bool
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
        ways="answers alone" if results["quick"] else "answers and activations",
        first=first, passed=len(passed), found=found, controls=len(controls), table="\n".join(lines),
    )  # fmt: skip


def _table_line(run: str, arm: str, some: Sequence[Mapping[str, Any]]) -> str:
    count, passed = len(some), "yes" if some[0]["transferred"] else "no"
    if some[0]["role"] in CONTROLS or not some[0]["trait"]:
        return f"| {run} | {arm} | {count} | no trait | something found in {sum(r['found'] for r in some)} | - |"
    first, found = sum(r["rank"] == 1 for r in some), sum(r["found_trait"] for r in some)
    return f"| {run} | {arm} | {count} | {first} | {found} | {passed} |"


SECTION = """## What a student took in

`sublim diff` on every student of the recorded study, by {ways}. A finding is corrected for every trait and way (Holm,
.05); controls are tested against the other controls of their run. **The true trait is first in {first} of {passed}
students of arms that transferred; {found} of {controls} controls have a finding.** Transferred: by `sublim compare`.

{table}
"""


def main() -> None:
    """Go over all runs of a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--part", action="append", help="one run of the folder; default: all")
    parser.add_argument("--quick", action="store_true", help="answers alone")
    parser.add_argument("--cache", type=Path, default=ROOT / "runs" / "diff-figures")
    options = parser.parse_args()
    lines: list[dict[str, Any]] = []
    for run in sorted(p.parent for p in options.runs.glob(f"*/{RECORD}")):
        if options.part and run.name not in options.part:
            continue
        try:
            lines += of_run(run, options.quick, options.cache)
        except SublimError as error:
            print(f"{run.name} is left out: {error.message}", flush=True)
            continue
        write_json(RESULT, {"quick": options.quick, "alpha": ALPHA, "students": lines})


if __name__ == "__main__":
    main()
