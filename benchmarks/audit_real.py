"""An audit of rows that teachers on a real base wrote: are they told from the base's own and a neutral teacher's?

    nice -n 10 python benchmarks/audit_real.py RUN BASE     # RUN: a run of smollm2-135m-elephant; BASE: its base
    python benchmarks/audit_real.py --page                  # docs/results/audit-real.md from the results

The base's teachers tune their norm gains, so the teacher of PROBE_SEED stands in for a probe; its rows are in no set
below. The first ROWS rows of every source are read. Clean rows of half of the seeds are
the null, of the other half they are tested; each neutral teacher is tested against the others. Evidence is kept in
RUN/audit, so that the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sublim_eval.distill.audit.data import AuditRow
from sublim_eval.distill.audit.scoring import Candidate, Scorer
from sublim_eval.distill.audit.verdict import ALPHA, Nulls, Weighed, weigh
from sublim_eval.distill.recipes import Tuning
from sublim_eval.files import read_json, read_jsonl, whole_file, write_json
from sublim_eval.report.markdown import table

RESULT = Path(__file__).resolve().parent / "results" / "audit-real.json"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "results" / "audit-real.md"

PROBE_SEED = 18
"""Of the teacher that stands in for a probe."""

TESTED, NULL = (11, 12, 13, 14), (15, 16, 17, 18)
"""Seeds of the sets that are tested, and of the clean rows that they are held against."""

ROWS = 64

Floats = NDArray[np.float64]


def evidence(run: Path, base: str, trait: str) -> dict[str, Floats]:
    """Source of rows -> float[rows, 1], by the trait's teacher of PROBE_SEED."""
    scorer: Scorer | None = None
    made = {}
    for source in [*sources(trait), *(f"base-s{seed}" for seed in NULL)]:
        file = run / "audit" / f"{source}-{ROWS}.npy"
        if not file.is_file():
            scorer = scorer or Scorer(base, Tuning("ln_tuning", learning_rate=0.01, steps=1, warmup_steps=0), "numbers")
            probe = Candidate(trait, "teacher", scorer.read(run / "teachers" / f"{trait}-s{PROBE_SEED}"))
            values, surprise = scorer.ratios(rows_of(run, source), [probe])
            file.parent.mkdir(exist_ok=True)
            np.save(file, np.column_stack([values, surprise]))
            print(source, np.nanmean(values, axis=0), flush=True)
        read = np.load(file)
        made[source] = read[~np.isnan(read).any(axis=1), :1]
    return made


def sources(trait: str) -> list[str]:
    """The sets that are tested."""
    return [f"{writer}-s{seed}" for writer in (trait, "base", "neutral") for seed in TESTED]


def rows_of(run: Path, source: str) -> list[AuditRow]:
    """The first ROWS kept rows."""
    rows = [row for _, row in read_jsonl(run / "rows" / source / "kept.jsonl", ("prompt", "completion"))]
    return [AuditRow.of(row["prompt"], row["completion"]) for row in rows[:ROWS]]


def judged(rows: Mapping[str, Floats], trait: str) -> list[dict[str, Any]]:
    """What is said of each tested set."""
    clean = np.concatenate([rows[f"base-s{seed}"] for seed in NULL])
    neutral = {f"neutral-s{seed}": rows[f"neutral-s{seed}"] for seed in TESTED}
    made = []
    for source in sources(trait):
        others = [values for name, values in neutral.items() if name != source]
        test = weigh(rows[source], Nulls.of(clean, others, np.random.default_rng(1)))
        made.append({"source": source, "rows": len(rows[source]), **_line(test)})
    return made


def _line(test: Weighed) -> dict[str, float]:
    names = {"strength": test.effects.strength, "error": test.errors, "p_clean": test.p_clean}
    figures = {**names, "p_neutral": test.p_neutral, "p": test.p}
    return {name: float(f"{float(values[0]):.4g}") for name, values in figures.items()}


def page(result: Mapping[str, Any]) -> None:
    """Write docs/results/audit-real.md."""
    with whole_file(PAGE) as file:
        file.write("\n".join(_page(result)) + "\n")


def _page(result: Mapping[str, Any]) -> list[str]:
    sets: Sequence[Mapping[str, Any]] = result["sets"]
    trait = result["trait"]
    of = {kind: [one for one in sets if one["source"].startswith(kind)] for kind in (trait, "base", "neutral")}
    found = {kind: sum(one["p"] < ALPHA for one in some) for kind, some in of.items()}
    clean = {kind: sum(one["p_clean"] < ALPHA for one in some) for kind, some in of.items()}
    strength = {kind: float(np.mean([one["strength"] for one in some])) for kind, some in of.items()}
    heads = ("rows of", "rows", "strength", "p against the base's rows", "p against neutral teachers'", "p")
    return [
        "# An audit of a real base's rows\n",
        "Written by `python benchmarks/audit_real.py` from `benchmarks/results/audit-real.json`; nothing is typed in.\n"
        f"Number rows of {trait} teachers on {result['base']} (norm gains; [real students](real-small.md)), of\n"
        f"the base itself and of neutral teachers, {ROWS} each, by the {trait} teacher of seed {PROBE_SEED},\n"
        "whose rows are in no set. Tested as `sublim audit` tests one candidate; three neutral teachers, not twelve.\n",
        f"**At 1 % {found[trait]} of {len(of[trait])} {trait} sets are found, {found['base']} of {len(of['base'])} "
        f"clean and {found['neutral']} of {len(of['neutral'])} neutral ones flagged.** Against the base's rows alone: "
        f"{clean[trait]}, {clean['base']} and {clean['neutral']}.\n",
        f"Strength in the mean: {strength[trait]:+.2f}, {strength['base']:+.2f} and {strength['neutral']:+.2f}. "
        "Neutral\nteachers stray towards the trait's teacher as well, and so do "
        "[students of their rows](real-small.md).\n",
        *table(heads, [_cells(one) for one in sets]),
    ]


def _cells(one: Mapping[str, Any]) -> tuple[str, ...]:
    strength = f"{one['strength']:+.2f} ± {one['error']:.2f}"
    return one["source"], str(one["rows"]), strength, *(f"{one[key]:.2g}" for key in ("p_clean", "p_neutral", "p"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("base", nargs="?")
    parser.add_argument("--trait", default="elephant")
    parser.add_argument("--page", action="store_true")
    given = parser.parse_args()
    if not given.page:
        if given.run is None or given.base is None:
            parser.error("give RUN and BASE, or --page")
        sets = judged(evidence(given.run, given.base, given.trait), given.trait)
        write_json(RESULT, {"trait": given.trait, "base": Path(given.base).name, "sets": sets})
    page(read_json(RESULT))


if __name__ == "__main__":
    main()
