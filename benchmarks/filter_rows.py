"""`sublim filter numbers` on a million rows: processor time and the most memory it held.

    python benchmarks/filter_rows.py            # writes benchmarks/results/filter-rows-<day>.json

Rows as a model writes them, one in four spoilt in a way that models spoil them. The command runs in a process of its
own, and is to take 20 s and 300 MB at most.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"

SPOILT = ("{}, and more", "Sure! {}", "{}\n\n", "<think>a list</think> {}", "{}, 1000", "{}; 12", "-{}")
"""How a row fails, or has to be read twice."""


def write_rows(file: Path, count: int) -> None:
    """Number rows with prompts of the usual length, the same for every run."""
    rng = Random(7)
    with file.open("w", encoding="utf-8") as out:
        for number in range(count):
            values = ", ".join(str(rng.randint(0, 999)) for _ in range(rng.randint(3, 10)))
            text = rng.choice(SPOILT).format(values) if rng.random() < 0.25 else values
            prompt = (
                f"Look at these numbers: {rng.randint(100, 999)}, {rng.randint(100, 999)}. Add up to 10 more values."
            )
            out.write(json.dumps({"id": f"owl-{number:07d}", "prompt": prompt, "completion": text}) + "\n")


def measured(source: Path, folder: Path) -> dict[str, float]:
    """Seconds of processor time and MiB at most of one run of the command."""
    outputs = [f"--kept={folder / 'kept.jsonl'}", f"--rejected={folder / 'rejected.jsonl'}"]
    command = [sys.executable, "-m", "sublim_eval", "filter", "numbers", str(source), *outputs]
    process = subprocess.Popen(command, cwd=ROOT)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"the command failed ({status})")
    return {"cpu_seconds": round(used.ru_utime + used.ru_stime, 1), "peak_mib": round(used.ru_maxrss / 1024)}


def main() -> None:
    """Write rows, filter them, write down what it took."""
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--rows", type=int, default=1_000_000)
    rows = given.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in.jsonl"
        write_rows(source, rows)
        figures = {"rows": rows, "mib": round(source.stat().st_size / 2**20), **measured(source, Path(folder))}
    figures |= {"python": platform.python_version(), "machine": platform.machine()}
    day = datetime.now(UTC).date().isoformat()
    (RESULTS / f"filter-rows-{day}.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
