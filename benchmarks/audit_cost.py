"""What an audit costs beside the training that it is to spare: side by side, in one run, on one base.

    python benchmarks/audit_cost.py --sets runs/audit-sets --home runs/audit     # measure, write the results
    python benchmarks/audit_cost.py --rows 100000 --scored 100000                # rows of the long file, rows scored

A student is really trained, an audit really made, wall and processor time taken of both; floating-point operations are
counted by PyTorch in a pass of its own over fewer rows. Files of rows are read as a stream, by `sublim audit` in a
process of its own, whose memory is taken at its peak. `python benchmarks/forecast.py --page` writes the page.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from textwrap import fill
from typing import Any

from torch.utils.flop_counter import FlopCounterMode

from sublim_eval.distill import recipes
from sublim_eval.distill.audit.attribution import write_scores
from sublim_eval.distill.audit.content import kind_of
from sublim_eval.distill.audit.controls import filter_of
from sublim_eval.distill.audit.data import AuditRow
from sublim_eval.distill.audit.looking import Looking, Settings
from sublim_eval.distill.audit.measures.probe_likelihood import folder_of, tuning_of
from sublim_eval.distill.audit.scoring import Candidate, Scorer
from sublim_eval.distill.training.train import tune
from sublim_eval.files import read_json, read_jsonl, write_json

RESULT = Path(__file__).resolve().parent / "results" / "audit_cost.json"

TRAINED, COUNTED = 2000, 128
"""Rows of the student that is timed, and of those whose operations are counted."""

AUDITS = ((False, 512), (True, 512), (True, 256))
"""(fast, rows) of the audits."""

SHORT = 10_000
"""Rows of the shorter file: memory must not grow from it to the long one."""

LEARNT = (
    ("2,500 rows, 1 epoch", 2500),
    ("4,000 rows, 1 epoch (`study-traits`)", 4000),
    ("10,000 rows, 3 epochs", 30_000),
    ("10,000 rows, 10 epochs (the study's)", 100_000),
    ("1,000,000 rows, 1 epoch", 1_000_000),
)
"""Trainings in words -> rows read in all."""


def written(sets: Path, base: str) -> Iterator[dict[str, str]]:
    """Rows of all teachers, file by file; each again once all were read."""
    for file in cycle(sorted((sets / base / "numbers" / "rows").glob("*/kept.jsonl"))):
        yield from ({k: row[k] for k in ("prompt", "completion")} for _, row in read_jsonl(file))


def long_file(sets: Path, base: str, rows: int, folder: Path) -> Path:
    """A file of so many rows."""
    file = folder / f"rows-{rows}.jsonl"
    with file.open("w") as opened:
        opened.writelines(json.dumps(row) + "\n" for row in islice(written(sets, base), rows))
    return file


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """(what the work gives, its wall and processor time in seconds)."""
    wall, processor = time.monotonic(), time.process_time()
    made = work()
    return made, {
        "wall": round(time.monotonic() - wall, 3),
        "processor": round(time.process_time() - processor, 3),
    }


def operations(work: Callable[[], Any]) -> float:
    """Floating-point operations of matrix products and attention."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def training(base: str, sets: Path) -> dict[str, Any]:
    """A student of study-traits, timed and counted."""
    tuning = recipes.load("study-traits").student
    rows = [(row["prompt"], row["completion"]) for row in islice(written(sets, base), TRAINED)]

    def train(many: int) -> Any:
        folder = Path(tempfile.mkdtemp(prefix="audit-cost-"))
        try:
            return tune(base, rows[:many], tuning, 1, folder, {})
        finally:
            shutil.rmtree(folder)

    train(32)
    _, seconds = timed(lambda: train(TRAINED))
    return {"rows": TRAINED, **seconds, "operations_per_row": operations(lambda: train(COUNTED)) / COUNTED}


class Auditing:
    """An audit of a base whose probes and controls are at hand."""

    def __init__(self, base: str, sets: Path, home: Path, fast: bool, rows: int) -> None:
        self.settings = Settings(base, measures=("probe",), home=home, fast=fast, rows=rows)
        read = islice(written(sets, base), self.settings.rows)
        self.rows = [AuditRow.of(row["prompt"], row["completion"]) for row in read]
        self.tuning = tuning_of(base)
        self.looking = Looking(self.settings, filter_of(self.rows), self.tuning)
        self.scorer = Scorer(base, self.tuning, kind_of(row.completion for row in self.rows))
        probes = self.looking.probes()
        self.candidates: list[Candidate] = self.looking.candidates(self.scorer, probes)
        self.strongest = next(iter(probes.values()))
        self.controls = self.looking.controls(self.rows)
        self.clean, _ = self.looking.read_controls(self.scorer, self.controls, self.candidates)

    def read(self, rows: list[AuditRow]) -> Any:
        """Evidence of rows, as the settings have it; a fast audit also reads what a forecast of one trait needs."""
        seen = self.looking.all_read(self.scorer, rows, self.candidates, self.clean)
        if self.settings.by_slopes:
            self.looking.trace(self.scorer, rows, self.controls.clean, self.strongest)
        return seen

    def cost(self) -> dict[str, Any]:
        """Of reading the rows: seconds and operations."""
        self.read(self.rows[:32])
        _, seconds = timed(lambda: self.read(self.rows))
        return {
            "fast": self.settings.fast,
            "candidates": len(self.candidates),
            "rows": len(self.rows),
            **seconds,
            "operations": operations(lambda: self.read(self.rows)),
        }

    def scored(self, file: Path, rows: int, out: Path) -> dict[str, Any]:
        """Of a score for every row of a file, by one candidate."""
        _, seconds = timed(lambda: write_scores([file], self.scorer, self.candidates[0], out, rows, None))
        return {"rows": rows, **seconds}


def streamed(file: Path, rows: int, base: str, home: Path) -> dict[str, Any]:
    """Of `sublim audit` over a file, in a process of its own: six traits by probes. peak: of its memory, in bytes."""
    command = [sys.executable, "-m", "sublim_eval", "audit", str(file), "--model", base, "--by", "probe"]
    command += ["--trait", "owl,eagle,dolphin,willow,sequoia,oak", "--keep", str(home)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    seconds = {"wall": round(time.monotonic() - wall, 3), "processor": round(processor, 3)}
    return {"rows": rows, **seconds, "peak": after.ru_maxrss * 1024}


def once_for_a_base(base: str, home: Path) -> dict[str, int]:
    """How many probes and neutral teachers an audit of a base tunes once, and over how many rows in all."""
    folder, tuning = folder_of(home, base), tuning_of(base)
    tuned = len([*folder.glob("probes/*/stage.json"), *folder.glob("neutral/*/stage.json")])
    return {"tuned": tuned, "rows": tuned * (tuning.steps or 0) * tuning.batch_size}


def measure(base: str, sets: Path, home: Path, rows: int, scored: int) -> dict[str, Any]:
    """Everything, side by side."""
    made: dict[str, Any] = {"base": base, "machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    made["training"] = training(base, sets)
    audits = [Auditing(base, sets, home, fast, rows) for fast, rows in AUDITS]
    made["audits"] = [one.cost() for one in audits]
    made["training_again"] = training(base, sets)
    made["once"] = once_for_a_base(base, home)
    with tempfile.TemporaryDirectory(prefix="audit-cost-") as folder:
        files = {many: long_file(sets, base, many, Path(folder)) for many in sorted({SHORT, rows, scored})}
        made["streamed"] = [streamed(files[many], many, base, home) for many in sorted({SHORT, rows})]
        made["scored"] = audits[0].scored(files[scored], scored, Path(folder) / "scores.jsonl")
    return made


# ---------------------------------------------------------------- the page


def section(file: Path = RESULT) -> str:
    """The part of docs/results/forecast.md that tells the cost; "" where it was not measured."""
    if not file.is_file():
        return ""
    made = read_json(file)
    trained = [made["training"], made["training_again"]]
    per_row = {key: sum(one[key] for one in trained) / sum(one["rows"] for one in trained) for key in SECONDS}
    flops = trained[0]["operations_per_row"]
    heads = ("a student that trains on", *(_name(one) for one in made["audits"]))
    lines = [heads, ("---",) * len(heads)]
    for words, read in LEARNT:
        ratios = (
            f"{one['operations'] / (flops * read):.3f} / {one['processor'] / (per_row['processor'] * read):.3f}"
            f" / {one['wall'] / (per_row['wall'] * read):.3f}"
            for one in made["audits"]
        )
        lines.append((words, *ratios))
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    about = {"base": made["base"], "machine": made["machine"], "streamed": _wrapped(_streamed(made, per_row))}
    about["tenth"] = _wrapped(_tenth(made, flops))
    return COST.format(table=table, measured=_wrapped(_measured(made, per_row, flops)), **about)


SECONDS = ("wall", "processor")

COST = """## What an audit costs

By `python benchmarks/audit_cost.py` ({base}, {machine}), in one run: a student was trained, the audits made,
and a student trained again. Cost of an audit over that of one student: **operations / processor time / wall time**.

{table}

{tenth}

{measured}

{streamed}
"""


def _name(one: dict[str, Any]) -> str:
    how = "`--fast`" if one["fast"] else "audit"
    return f"{how}: {one['rows']} rows, {one['candidates']} probes"


def _measured(made: dict[str, Any], per_row: dict[str, float], flops: float) -> str:
    audits = "; ".join(
        f"{_name(one)}: {one['processor']:.1f} s of processor time, {one['wall']:.1f} s of wall time, "
        f"{one['operations'] / 1e9:.1f} GFLOP"
        for one in made["audits"]
    )
    once = made["once"]
    return (
        f"Measured: training {1000 * per_row['processor']:.2f} ms of processor time, {1000 * per_row['wall']:.2f} ms "
        f"of wall time and {flops / 1e6:.1f} MFLOP a row and epoch; {audits}. An audit reads as many rows however many "
        "there are, so its part falls with the student's rows and epochs; personas (`--by probe,persona`) double it. "
        f"Not counted, because it is done once for a base and kept: {once['tuned']} probes and neutral teachers were "
        f"tuned, over {once['rows']:,} short rows in all. The machine did other work at the same time: operations are "
        "exact, wall time is not."
    )


def _wrapped(text: str) -> str:
    return fill(text, 118, break_on_hyphens=False, break_long_words=False)


def _tenth(made: dict[str, Any], flops: float) -> str:
    """From which student on an audit costs a tenth."""
    from_on = " and ".join(f"{one['operations'] / flops / 0.1:,.0f} rows ({_name(one)})" for one in made["audits"])
    return f"By operations an audit costs at most a tenth of a student that reads, over all epochs, {from_on}."


def _streamed(made: dict[str, Any], per_row: dict[str, float]) -> str:
    short, long = made["streamed"][0], made["streamed"][-1]
    a_row = (long["processor"] - short["processor"]) / max(1, long["rows"] - short["rows"])
    scored = made["scored"]
    per_scored = scored["processor"] / scored["rows"]
    return (
        f"Streamed: `sublim audit` over {short['rows']:,} rows took {short['processor']:.1f} s of processor time and "
        f"{short['peak'] / 2**20:,.0f} MiB at its peak, over {long['rows']:,} rows {long['processor']:.1f} s and "
        f"{long['peak'] / 2**20:,.0f} MiB. Extrapolated, 1,000,000 rows take "
        f"{long['processor'] + a_row * (1_000_000 - long['rows']):.0f} s. A score for every row (`--rows-out`) took "
        f"{1000 * per_scored:.2f} ms of processor time a row over {scored['rows']:,} rows; extrapolated, 1,000,000 "
        f"rows take {per_scored * 1_000_000 / 60:.0f} minutes. That is {per_scored / per_row['processor']:.2f} of an "
        "epoch of training, so a tenth only beside students of several epochs."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="reference-a")
    parser.add_argument("--sets", type=Path, default=Path("runs/audit-sets"))
    parser.add_argument("--home", type=Path, default=Path("runs/audit"))
    parser.add_argument("--rows", type=int, default=100_000, help="of the long file")
    parser.add_argument("--scored", type=int, default=100_000, help="rows that get a score each")
    given = parser.parse_args()
    write_json(RESULT, measure(given.base, given.sets, given.home, given.rows, given.scored))


if __name__ == "__main__":
    main()
