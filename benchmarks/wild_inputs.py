"""Every reader against inputs made from seeds: `python benchmarks/wild_inputs.py [READER ...] [--times 1000]`.

Each tests/wild/test_READER.py has a `try_one(seed, folder)` that fails on a traceback or a wrong number. A line a
reader, and exit code 1 when one failed; the tests run the first seeds only.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHOWN = 3
"""Failed seeds of a reader whose traceback is printed."""


def readers(wanted: list[str]) -> Iterator[str]:
    """The readers that have generated inputs, or those of them that are wanted."""
    names = (file.stem.removeprefix("test_") for file in sorted((ROOT / "tests" / "wild").glob("test_*.py")))
    yield from (name for name in names if not wanted or name in wanted)


def failures(name: str, times: int) -> dict[int, str]:
    """Seed -> traceback, of every input that a reader did not take rightly."""
    try_one = importlib.import_module(f"tests.wild.test_{name}").try_one
    failed = {}
    for seed in range(times):
        with tempfile.TemporaryDirectory() as folder:
            try:
                try_one(seed, Path(folder))
            except Exception:  # whatever it is, the other seeds are tried
                failed[seed] = traceback.format_exc()
    return failed


def main() -> int:
    """Print a line a reader; 1 when an input failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reader", nargs="*", help="all of tests/wild unless named")
    parser.add_argument("--times", type=int, default=1000, help="inputs a reader (1000)")
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    broken = False
    for name in readers(given.reader):
        began = time.monotonic()
        failed = failures(name, given.times)
        broken |= bool(failed)
        seeds = f", seeds {', '.join(map(str, list(failed)[:10]))}" if failed else ""
        print(
            f"{name}: {given.times} inputs, {len(failed)} failed{seeds}, {time.monotonic() - began:.0f} s", flush=True
        )
        for trace in list(failed.values())[:SHOWN]:
            print(trace, file=sys.stderr)
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
