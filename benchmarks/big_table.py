"""What a table of a million lines costs `sublim compare --table`: processor time and the largest memory of the process.

    python benchmarks/big_table.py                 # 5 traits, 4 arms, 10 seeds, 5,000 questions: a million lines

Wall time is worth something on an idle machine only; processor time, user and system together, nearly everywhere.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from sublim_eval.files import write_json

RESULT = Path(__file__).resolve().parent / "results" / "big_table.json"
TRAITS, ARMS, SEEDS, REPLIES = 5, 4, 10, 20
SECONDS, MEGABYTES = 5.0, 400.0
"""What it may cost."""


def write_table(file: Path, lines: int) -> int:
    """Write about so many lines; returns how many."""
    questions = max(lines // (TRAITS * ARMS * SEEDS), 1)
    rng = np.random.default_rng(0)
    with file.open("w", encoding="utf-8") as table:
        table.write("trait,arm,seed,question,hits,n\n")
        for trait in range(TRAITS):
            for arm in range(ARMS):
                name = "control" if arm == 0 else f"arm {arm}"
                for seed in range(1, SEEDS + 1):
                    share = 1 / (1 + np.exp(2.2 - 0.4 * arm + 0.3 * rng.normal()))
                    hits = rng.binomial(REPLIES, share, questions).tolist()
                    table.writelines(
                        f"trait {trait},{name},{seed},question number {i},{h},{REPLIES}\n" for i, h in enumerate(hits)
                    )
    return questions * TRAITS * ARMS * SEEDS


def measured(table: Path) -> dict[str, Any]:
    """Cost of one comparison of that table, in a process of its own."""
    command = [sys.executable, "-m", "sublim_eval.cli.main", "compare", "--table", str(table)]
    began = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"the comparison ended with {child.returncode}")
    return {
        "processor_seconds": round(used.ru_utime + used.ru_stime, 2),
        "wall_seconds": round(time.monotonic() - began, 2),
        "megabytes": round(used.ru_maxrss / 1024, 1),
        "load": round(os.getloadavg()[0], 1),
    }


def main() -> int:
    """Measure a few times; 1 where the best of them costs more than it may."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--json", type=Path, default=RESULT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lines = write_table(Path(folder) / "big.csv", options.lines)
        every = [measured(Path(folder) / "big.csv") for _ in range(options.times)]
    best = min(every, key=lambda one: float(one["processor_seconds"]))
    result = {"schema": 1, "lines": lines, "best": best, "every": every, "may_cost": [SECONDS, MEGABYTES]}
    write_json(options.json, result)
    print(json.dumps(result, indent=2))
    return int(best["processor_seconds"] > SECONDS or best["megabytes"] > MEGABYTES)


if __name__ == "__main__":
    sys.exit(main())
