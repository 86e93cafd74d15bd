"""The audit's other measures: personas, a small step, a suspected teacher, plain text; and naming without a list.

    python benchmarks/audit_measures.py words --sets runs/audit-sets --home runs/audit   # goes on where it stopped
    python benchmarks/audit_measures.py ways  --sets runs/audit-sets --home runs/audit
    python benchmarks/audit_measures.py page                                             # the page alone

Rows are those of benchmarks/audit.py (reference-a, numbers). How words are ranked was chosen on sets of TUNING alone;
every other set that was run is on the page.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from audit_remedies import BASE, kept
from numpy.typing import NDArray

from sublim_eval.distill.audit.data import AuditRow
from sublim_eval.distill.audit.measures import open_set
from sublim_eval.distill.training.train import tune
from sublim_eval.files import read_json, write_json
from sublim_eval.models import local_model

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "audit_measures.json"
PAGE = ROOT / "docs" / "results" / "audit-measures.md"

TRAITS = ("owl", "eagle", "dolphin", "willow", "sequoia", "oak")
TUNING = (9, 10)
REPORTED = (1, 2, 3, 4, 5, 6, 7, 8)
CONTROLS = (41, 42, 43, 44, 45)
"""Seeds of sets of the base, which are taken in as the controls of naming."""

Floats = NDArray[np.float64]


def audit_rows(sets: Path, writer: str, seed: int, most: int) -> list[AuditRow]:
    """The first rows of a set."""
    return [AuditRow.of(row["prompt"], row["completion"]) for row in kept(sets, writer, seed, most)]


# ---------------------------------------------------------------- words of the whole vocabulary


def after(rows: list[AuditRow], seed: int, folder: Path) -> Floats:
    """float[vocabulary]: the share of each word among first answers once the base took the rows in; kept beside."""
    file = folder.with_suffix(".npy")
    if not file.is_file():
        examples = [(row.prompt, row.completion) for row in rows]
        tune(BASE, examples, open_set.STUDENT, seed, folder, {"base": BASE})
        np.save(file, open_set.first_words(local_model.load(str(folder))))
        local_model.unload(str(folder))
    return np.asarray(np.load(file))


def word_sets() -> Iterator[tuple[str, int]]:
    """(writer, seed), the controls first, then those that rules are tried on."""
    yield from (("base", seed) for seed in CONTROLS)
    yield from ((trait, seed) for seed in (*TUNING, *REPORTED) for trait in TRAITS)


def run_words(sets: Path, work: Path, most: int, ends: float) -> None:
    for writer, seed in word_sets():
        if time.monotonic() < ends:
            began = time.process_time()
            after(audit_rows(sets, writer, seed, most), seed, work / f"{writer}-s{seed}-n{most}")
            print(writer, seed, most, round(time.process_time() - began, 1), flush=True)


def results() -> dict[str, Any]:
    return dict(read_json(RESULT)) if RESULT.is_file() else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("words", "ways", "page"))
    parser.add_argument("--sets", type=Path, default=Path("runs/audit-sets"))
    parser.add_argument("--home", type=Path, default=Path("runs/audit"))
    parser.add_argument("--work", type=Path, default=Path("runs/audit-measures"))
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--hours", type=float, default=24.0)
    given = parser.parse_args()
    ends = time.monotonic() + 3600 * given.hours
    given.work.mkdir(parents=True, exist_ok=True)
    if given.what == "words":
        run_words(given.sets, given.work, given.rows, ends)
    write_json


if __name__ == "__main__":
    main()
