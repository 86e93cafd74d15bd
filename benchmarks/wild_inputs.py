"""Every reader against inputs made from seeds: `python benchmarks/wild_inputs.py [READER ...] [--times 1000]`.

Each tests/wild/test_READER.py has a `try_one(seed, folder)` that fails on a traceback or a wrong number. A line a
reader, and exit code 1 when one failed; the tests run the first seeds only. `--out FILE` keeps what was tried as it
comes, and goes on from there: reader -> times, failures (seed -> last line of its traceback), seconds of processor
time, date.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SHOWN = 3
"""Failed seeds of a reader whose traceback is printed."""

EVERY = 20
"""Inputs after which the progress is told and kept."""


def readers(wanted: list[str]) -> Iterator[str]:
    """The readers that have generated inputs, or those of them that are wanted."""
    names = (file.stem.removeprefix("test_") for file in sorted((ROOT / "tests" / "wild").glob("test_*.py")))
    yield from (name for name in names if not wanted or name in wanted)


def failure(name: str, seed: int) -> str:
    """The traceback of an input that a reader did not take rightly, "" for one that it did."""
    try_one = importlib.import_module(f"tests.wild.test_{name}").try_one
    with tempfile.TemporaryDirectory() as folder:
        try:
            try_one(seed, Path(folder))
        except Exception:  # whatever it is, the other seeds are tried
            return traceback.format_exc()
    return ""


def tried(name: str, times: int, kept: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What came of a reader's inputs so far, after every few of them.

    kept: of an earlier call; it goes on from there, and tries what failed then once more.
    """
    record = {"times": 0, "failures": {}, "seconds": 0.0, **kept}
    again = sorted(map(int, record["failures"]))
    record["failures"] = {}
    shown = 0
    for seed in (*again, *range(record["times"], times)):
        began = time.process_time()
        if failed := failure(name, seed):
            record["failures"][str(seed)] = failed.strip().splitlines()[-1][:200]
            shown += 1
            if shown <= SHOWN:
                print(failed, file=sys.stderr, flush=True)
        record["times"] = max(record["times"], seed + 1)
        record["seconds"] += time.process_time() - began
        record["date"] = date.today().isoformat()
        if record["times"] % EVERY == 0 or seed in again or record["times"] == times:
            yield {**record, "seconds": round(record["seconds"], 2)}


def main() -> int:
    """Print a line a reader; 1 when an input failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reader", nargs="*", help="all of tests/wild unless named")
    parser.add_argument("--times", type=int, default=1000, help="inputs a reader (1000)")
    parser.add_argument("--out", type=Path, help="a JSON file that keeps what was tried, as it comes")
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from sublim_eval.files import write_json

    results = json.loads(given.out.read_text()) if given.out and given.out.is_file() else {}
    for name in readers(given.reader):
        for record in tried(name, given.times, results.get(name, {})):
            results[name] = record
            print(f"{name}: {record['times']} of {given.times}", end="\r", file=sys.stderr, flush=True)
            if given.out:
                write_json(given.out, results)
        record = results.get(name, {"times": 0, "failures": {}, "seconds": 0})
        seeds = f", seeds {', '.join(list(record['failures'])[:10])}" if record["failures"] else ""
        print(
            f"{name}: {record['times']} inputs, {len(record['failures'])} failed{seeds}, {record['seconds']:.0f} s",
            flush=True,
        )
    return int(any(results[name]["failures"] for name in readers(given.reader) if name in results))


if __name__ == "__main__":
    sys.exit(main())
