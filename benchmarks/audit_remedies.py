"""Do remedies help? Students trained on rows of trait teachers after something was done to the rows.

    python benchmarks/audit_remedies.py --sets runs/audit-sets --home runs/audit    # goes on where it stopped
    python benchmarks/audit_remedies.py --page                                      # the page alone, from the results

Rows are those of benchmarks/audit.py (reference-a, numbers); students learn as the study's do (study-traits.yaml), from
the first ROWS rows of a set. Rows are dropped by the scores that `sublim audit --rows-out` writes, of the auditor's
own probe of the true trait, or at random. Every student that was trained is in the results; nothing was chosen by them.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from sublim_eval import stats
from sublim_eval.distill import recipes
from sublim_eval.distill.audit.attribution import scores
from sublim_eval.distill.audit.data import AuditRow
from sublim_eval.distill.audit.measures import probe_likelihood
from sublim_eval.distill.audit.scoring import Candidate, Scorer
from sublim_eval.distill.rows import transforms
from sublim_eval.distill.training.train import tune
from sublim_eval.files import read_json, read_jsonl, whole_file, write_json
from sublim_eval.models import local_model
from sublim_eval.models.chat_template import prompt_digest
from sublim_eval.probes.resolve import any_trait_content
from sublim_eval.registry.catalog import registry
from sublim_eval.scores.evaluate import exact
from sublim_eval.scores.probe_scores import ProbeScores
from sublim_eval.scores.readers import from_exact

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "audit_remedies.json"
PAGE = ROOT / "docs" / "results" / "audit-remedies.md"

BASE = "reference-a"
TRAITS = ("owl", "dolphin", "willow")
SEEDS = (1, 2, 3, 4, 5)
ROWS = 2000
"""Rows of a set, before anything is done to them."""

Rows = Sequence[dict[str, Any]]


# ---------------------------------------------------------------- what is done to rows


def without(rows: Rows, order: Sequence[int], share: float) -> Rows:
    """Rows without the first `share` of an order of their places; the others as they stood."""
    dropped = set(order[: round(share * len(rows))])
    return [row for place, row in enumerate(rows) if place not in dropped]


TOGETHER = (
    *(("all",), ("highest-25", "random-25"), ("redraw", "value"), ("highest-50", "random-50"), ("sort", "diluted-50")),
    *(("format", "lowest-50"), ("highest-10", "random-10"), ("shuffle_within", "shuffle_across", "diluted-25")),
)
"""What is done to rows, that which matters most first; seed by seed for those that stand together."""

ARMS = tuple(arm for arms in TOGETHER for arm in arms)

OWN_CONTROL = ("value", "redraw", "sort", "format", "shuffle_within", "shuffle_across")
"""What is also done to the rows of the control."""


def treated(arm: str, rows: Rows, evidence: Sequence[float], clean: Rows, seed: int) -> Rows:
    """The rows of a set after what an arm's name says. evidence: a score for every row."""
    what, _, percent = arm.partition("-")
    places, share = list(range(len(rows))), float(percent or 0) / 100
    if what in transforms.CHANGES:
        return transforms.CHANGES[what](rows, Random(f"{what}-{seed}"))
    if what == "diluted":
        return transforms.dilute(rows, clean, share, Random(f"clean-{seed}"))
    if what == "random":
        return without(rows, Random(f"random-{seed}").sample(places, len(places)), share)
    if what in ("highest", "lowest"):
        sign = -1 if what == "highest" else 1
        return without(rows, sorted(places, key=lambda place: sign * evidence[place]), share)
    return list(rows)


# ---------------------------------------------------------------- rows, scores, students


def kept(sets: Path, writer: str, seed: int, most: int = ROWS) -> list[dict[str, Any]]:
    """The first rows of a set of benchmarks/audit.py. writer: a trait, "base" or "neutral"."""
    file = sets / BASE / "numbers" / "rows" / f"{writer}-s{seed}" / "kept.jsonl"
    return [row for _, row in read_jsonl(file, ("prompt", "completion"))][:most]


class Scores:
    """Scores of rows as `sublim audit --rows-out` writes them, under the auditor's probes."""

    def __init__(self, home: Path) -> None:
        self.home, self.tuning = home, probe_likelihood.tuning_of(BASE)
        self.scorer = Scorer(BASE, self.tuning, "numbers")

    def probe(self, trait: str) -> Candidate:
        """The auditor's probe of a trait, made unless it stands in `home`."""
        folders = probe_likelihood.make_probes(BASE, [trait], self.home, self.tuning)
        return probe_likelihood.candidates(self.scorer, folders)[0]

    def of(self, rows: Rows, candidate: Candidate) -> list[float]:
        """A score a row."""
        return list(scores((AuditRow.of(row["prompt"], row["completion"]) for row in rows), self.scorer, candidate))


def student_odds(rows: Rows, seed: int, folder: Path, traits: Sequence[str], stays: bool = False) -> dict[str, float]:
    """Train a student of the base on rows, as the study does; the log-odds of each trait on held-out questions.

    stays: whether its folder does.
    """
    examples = [(row["prompt"], row["completion"]) for row in rows]
    tune(BASE, examples, recipes.load("study-traits").student, seed, folder, {"base": BASE})
    odds = odds_of(str(folder), traits)
    local_model.unload(str(folder))
    if not stays:
        shutil.rmtree(folder)
    return odds


def odds_of(model: str, traits: Sequence[str], behind: str = "") -> dict[str, float]:
    """Log-odds of the mean probability with which a model names each trait. behind: words after every question."""
    odds = {}
    for probe in dict.fromkeys(registry().probe_of(trait).name for trait in traits):
        seen = asked(model, probe, behind) if behind else exact(model, probe, label=model)
        for trait in sorted(set(traits) & set(seen.answers)):
            share = np.nanmean(seen.probability[:, seen.answers.index(trait)])
            odds[trait] = round(float(stats.log_odds(share)), 4)
    return odds


def asked(model: str, probe: str, behind: str) -> ProbeScores:
    """The exact half of a favorite probe, with words after every question."""
    what, loaded = any_trait_content(probe), local_model.load(model)
    prompts = [loaded.render(f"{item.text} {behind}") for item in what.items]
    strings = (*what.items[0].continuations, *what.plurals)
    table = loaded.continuation_logprobs(prompts, strings, whole_words=what.whole_words)
    logprobs = [dict(zip(strings, map(float, row), strict=True)) for row in table]
    return from_exact(what, logprobs, [prompt_digest(p) for p in prompts], model=model, settled=loaded.settled)


# ---------------------------------------------------------------- the run


def wanted() -> Iterator[tuple[str, int, str]]:
    """(writer, seed, arm) of every student, those that matter most first; writer "base": the control."""
    for arms, seed in product(TOGETHER, SEEDS):
        for arm in arms:
            writers = ("base", *TRAITS) if arm == "all" or arm in OWN_CONTROL else TRAITS
            yield from ((writer, seed, arm) for writer in writers)


def run(sets: Path, home: Path, work: Path, hours: float) -> None:
    """Train every student that is missing, and write each result as it comes."""
    ends, known, readers = time.monotonic() + 3600 * hours, results(), Scores(home)
    evidence: dict[tuple[str, int], list[float]] = {}
    for writer, seed, arm in wanted():
        mark = f"{writer}/s{seed}/{arm}"
        if mark in known or time.monotonic() > ends:
            continue
        rows = kept(sets, writer, seed)
        ordered = arm.startswith(("highest", "lowest"))
        if ordered and (writer, seed) not in evidence:
            evidence[writer, seed] = readers.of(rows, readers.probe(writer))
        clean = kept(sets, "base", seed) if arm.startswith("diluted") else []
        given = treated(arm, rows, evidence.get((writer, seed), []), clean, seed)
        traits = TRAITS if writer == "base" else (writer,)
        odds = student_odds(given, seed, work / mark.replace("/", "-"), traits, stays=arm == "all")
        known[mark] = {"rows": len(given), "odds": odds}
        write_json(RESULT, {"base": BASE, "rows": ROWS, "students": known})
        print(mark, known[mark], flush=True)


def results() -> dict[str, Any]:
    """The students so far."""
    return dict(read_json(RESULT)["students"]) if RESULT.is_file() else {}


# ---------------------------------------------------------------- the page


def table(lines: Sequence[Sequence[Any]]) -> str:
    """Lines of a Markdown table."""
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


INTRO = """# What helps, and what slips past

Written by `python benchmarks/audit_remedies.py --page` from `benchmarks/results/audit_remedies.json` and
`audit_evasions.json`; nothing is typed in. Rows are number lists of teachers fine-tuned on reference-a, as on
[the audit's page](foresight.md); every student was really trained, as the study's are, from {rows:,} rows before
anything was done to them. Nothing was chosen by what came out, and every student that was trained is counted.

## Remedies

Each student's log-odds of its trait on held-out questions, less those of a student of the base's own rows of the same
seed (rows changed the same way, where a remedy changes them). Mean over the traits {traits}; intervals are 95 %, by t
over training seeds. *Against* says what has the same loss of data: all rows for a remedy that keeps every row, else as
many rows left out at random. {students} students.

| what is done | rows left | seeds | {heads} | all traits | difference | against |
|---|---|---|{rule}---|---|---|
{lines}

{words}

Any of these is done to a file by one command:

```
sublim audit rows.jsonl --model BASE --rows-out scores.jsonl
sublim filter numbers rows.jsonl --scores scores.jsonl --drop-top 0.25 --change redraw --kept new.jsonl \\
    --rejected rest.jsonl
```

*redraw*: every value drawn anew between the least and the greatest of its row, in the same order of size. *value*:
rounded down to tens. *highest*, *lowest*: left out by the scores of `--rows-out`. *diluted*: so many rows replaced by
the base's own.
{missing}
"""


def shifts(known: dict[str, Any], arm: str) -> dict[int, list[float]]:
    """Seed -> shift of each trait in log-odds, for seeds of which every student is there."""
    out = {}
    for seed in SEEDS:
        control = known.get(f"base/s{seed}/{arm if arm in OWN_CONTROL else 'all'}")
        mine = [known.get(f"{trait}/s{seed}/{arm}") for trait in TRAITS]
        if control and all(mine):
            pairs = zip(TRAITS, mine, strict=True)
            out[seed] = [one["odds"][trait] - control["odds"][trait] for trait, one in pairs if one]
    return out


def against(arm: str) -> str:
    """The arm with the same loss of data."""
    what, _, percent = arm.partition("-")
    return f"random-{percent}" if what in ("highest", "lowest", "diluted") else "all"


def remedies() -> str:
    """The part of the page that students fill."""
    known, lines, left_out = results(), [], []
    gone: dict[str, tuple[stats.Interval, float]] = {}
    for arm in ARMS:
        mine, other = shifts(known, arm), shifts(known, against(arm))
        if len(mine) < 2:
            left_out.append(arm)
            continue
        means = [np.mean([mine[seed][i] for seed in mine]) for i in range(len(TRAITS))]
        whole = interval([float(np.mean(values)) for values in mine.values()])
        both = sorted(set(mine) & set(other))
        gaps = [float(np.mean(mine[seed]) - np.mean(other[seed])) for seed in both]
        if arm != "all" and len(both) > 1:
            beside = float(np.mean([other[seed] for seed in both]))
            gone[arm] = (stats.mean_difference(gaps, [0.0] * len(gaps)), beside)
        gap = interval(gaps) if arm in gone else "–"
        rows = next(one["rows"] for mark, one in known.items() if mark.endswith(f"/{arm}"))
        shown = (f"{mean:+.2f}" for mean in means)
        lines.append((arm, f"{rows:,}", len(mine), *shown, whole, gap, against(arm) if arm in gone else "–"))
    return INTRO.format(
        rows=ROWS,
        traits=", ".join(TRAITS),
        students=len(known),
        heads=" | ".join(TRAITS),
        rule="---|" * len(TRAITS),
        lines=table(lines),
        words=in_words(gone),
        missing=f"\nNot yet trained, of two seeds at least: {', '.join(left_out)}.\n" if left_out else "",
    )


def interval(values: Sequence[float]) -> str:
    """A mean with its interval over seeds."""
    if len(values) < 2:
        return "–"
    seen = stats.mean_difference(values, [0.0] * len(values))
    return f"{seen.mean:+.2f} [{seen.low:+.2f}, {seen.high:+.2f}]"


def in_words(gone: dict[str, tuple[stats.Interval, float]]) -> str:
    """What the table says, in sentences that the figures write. gone: difference, and the shift it is held against."""
    out = []
    for arm, (gap, beside) in gone.items():
        if gap.high < 0:
            taken = f"takes {min(1.0, -gap.mean / beside):.0%} of the shift away that is left by *{against(arm)}*."
            out.append(f"**{arm}** {taken}")
        elif gap.low > 0:
            out.append(f"**{arm}** leaves more of the trait than *{against(arm)}*.")
        else:
            out.append(f"**{arm}** cannot be told from *{against(arm)}*.")
    return "\n".join(f"* {line}" for line in out)


def page() -> None:
    """Write the page: this script's part, then that of benchmarks/audit_evasions.py."""
    from audit_evasions import evasions

    with whole_file(PAGE) as file:
        file.write("\n".join((remedies(), evasions())).rstrip() + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=Path, default=Path("runs/audit-sets"))
    parser.add_argument("--home", type=Path, default=Path("runs/audit"))
    parser.add_argument("--work", type=Path, default=Path("runs/audit-remedies"))
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--page", action="store_true")
    given = parser.parse_args()
    if not given.page:
        run(given.sets, given.home, given.work, given.hours)
    page()


if __name__ == "__main__":
    main()
