"""How long 1,000 Inspect logs take to become one table, the first time and the second, and what memory that needs.

    python benchmarks/board_reading.py LOG.eval [--logs 1000]

LOG: any log of one of our probes; it is copied under as many model names. What must hold: 20 s, 1 s, flat memory.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

HEADS = ("header.json", "_journal/start.json")


def copies(log: Path, folder: Path, count: int) -> None:
    """Write `count` logs, alike but for the name of the model in their heads."""
    from inspect_ai.log import read_eval_log

    name = read_eval_log(str(log), header_only=True).eval.model.encode()
    with ZipFile(log) as packed:
        members = [(info, packed.read(info)) for info in packed.infolist()]
    for number in range(count):
        with ZipFile(folder / f"{number:04d}.eval", "w", ZIP_DEFLATED, compresslevel=1) as out:
            for info, content in members:
                new = content.replace(name, f"org/model-{number}".encode()) if info.filename in HEADS else content
                out.writestr(info.filename, new)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log", type=Path)
    parser.add_argument("--logs", type=int, default=1000)
    given = parser.parse_args()
    from sublim_eval.board.collect import collect

    folder = Path(tempfile.mkdtemp())
    try:
        (folder / "logs").mkdir()
        copies(given.log, folder / "logs", given.logs)
        for what in ("first", "second"):
            began, cpu, before = (
                time.perf_counter(),
                time.process_time(),
                resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
            )
            board = collect([folder / "logs"], cache=folder / "cache.sqlite")
            took, busy, after = (
                time.perf_counter() - began,
                time.process_time() - cpu,
                resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
            )
            rows, models = len(board.rows), len({row.model for row in board.rows})
            print(f"{what}: {took:.2f} s, {busy:.2f} s of them busy, {before >> 10} -> {after >> 10} MiB", end="; ")
            print(f"{rows} rows of {models} models")
            sys.stdout.flush()
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
