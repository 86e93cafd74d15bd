"""docs/results/diff.md, written from benchmarks/results/diff.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from diff_students import BASE, CHOSEN_NULL, EACH_OTHER, ROWS, TRAITS, WAYS

from sublim_eval.registry.experiment import CONTROLS
from sublim_eval.stats import mean_difference

Rows = Sequence[Mapping[str, Any]]
FEWEST_SEEDS = 3
"""Students below which no interval is given."""


def page(results: Mapping[str, Any]) -> str:
    """The page, of whatever was measured."""
    parts = [INTRO]
    if rows := results.get("fresh"):
        parts.append(of_fresh(rows))
    if rows := results.get("real"):
        parts.append(of_real(rows))
    if study := results.get("study"):
        parts.append(of_study(study))
    return "\n\n".join(part.strip() for part in parts) + "\n"


# ---------------------------------------------------------------- fresh students


def of_fresh(rows: Rows) -> str:
    """Students trained for this page."""
    fresh = [row for row in rows if not row["choosing"]]
    taught = {half: [row for row in fresh if row["trait"] and row["half"] == half] for half in (False, True)}
    controls = [row for row in fresh if not row["trait"]]
    null = {against: [row for row in controls if row["against"] == against] for against in (CHOSEN_NULL, EACH_OTHER)}
    return FRESH.format(
        base=BASE,
        rows=ROWS,
        first=first(taught[False]),
        first_half=first(taught[True]),
        controls=len(null[CHOSEN_NULL]),
        beside=null[EACH_OTHER][0]["controls"] if null[EACH_OTHER] else 0,
        flagged=_of(null[CHOSEN_NULL], lambda row: row["all"]["found"]),
        flagged_other=_of(null[EACH_OTHER], lambda row: row["all"]["found"]),
        ways=ways_table(taught, null[CHOSEN_NULL]),
        traits=trait_table(taught),
        seeds=", ".join(str(seed) for seed in sorted({row["seed"] for row in taught[False]})),
        choosing=ways_line([row for row in rows if row["choosing"] and row["trait"]]),
    )


def _of(rows: Rows, held: Any) -> str:
    return f"{sum(map(held, rows))} of {len(rows)}"


def first(rows: Rows, way: str = "all") -> str:
    """In how many the true trait is the first that the student moved towards."""
    return _of(rows, lambda row: row[way]["rank"] == 1)


def ways_line(rows: Rows) -> str:
    """First by each way, in words."""
    return "; ".join(f"{way} {first(rows, way)}" for way in WAYS)


def ways_table(taught: Mapping[bool, Rows], controls: Rows) -> str:
    """A line a way to look."""
    lines = [
        "| seen by | true trait first | half clean | true trait found | half clean | controls with a finding |",
        "|---|---|---|---|---|---|",
    ]
    for way in WAYS:
        cells = [first(taught[half], way) for half in (False, True)]
        cells += [_of(taught[half], lambda row, w=way: row[w]["found_trait"]) for half in (False, True)]
        lines.append(f"| {way} | {' | '.join(cells)} | {_of(controls, lambda row, w=way: row[w]['found'])} |")
    return "\n".join(lines)


def trait_table(taught: Mapping[bool, Rows]) -> str:
    """A line a trait and dilution: how far students moved, with a 95 % interval over seeds, and what diff says."""
    lines = [
        "| trait | rows | students | moved, log-odds | transferred | true trait first | found |",
        "|---|---|---|---|---|---|---|",
    ]
    for half, trait in ((half, trait) for half in (False, True) for trait in TRAITS):
        some = [row for row in taught[half] if row["trait"] == trait]
        if some:
            lines.append(_trait_line(trait, half, some))
    for half in (False, True):
        lines.append(_trait_line("all", half, taught[half]))
    return "\n".join(lines)


def _trait_line(trait: str, half: bool, some: Rows) -> str:
    moves = [row["moved"] for row in some]
    shift, passed = f"{np.mean(moves):+.2f}", "too few seeds"
    if len(some) >= FEWEST_SEEDS:
        moved = mean_difference(moves, np.zeros(len(some)))
        shift, passed = f"{moved.mean:+.2f} ({moved.low:+.2f} to {moved.high:+.2f})", "yes" if moved.low > 0 else "no"
    found = _of(some, lambda row: row["all"]["found_trait"])
    kind = "half clean" if half else "all its own"
    return f"| {trait} | {kind} | {len(some)} | {shift} | {passed} | {first(some)} | {found} |"


# ---------------------------------------------------------------- a real base


def of_real(rows: Rows) -> str:
    """Students of a real base."""
    lines = [
        "| student | seen by | null | first | true trait's rank | least p, corrected |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        rank = row["rank"] or "-" if row["trait"] else "no trait"
        null = f"{row['controls']} controls" if row["null"] == "controls" else row["null"]
        name, least = f"{row['arm']}-s{row['seed']}", f"{row['corrected']:.2g}"
        lines.append(f"| {name} | {row['way']} | {null} | {row['first']} | {rank} | {least} |")
    seen = {row["way"] for row in rows} > {"answers"}
    looked = "activations were measured anew" if seen else "activations were not looked at"
    taught = [row for row in rows if row["trait"] and row["way"] in ("all", "answers")]
    held = sum(row["found"] for row in taught)
    return REAL.format(table="\n".join(lines), looked=looked, first=first_of(taught), taught=len(taught), held=held)


def first_of(rows: Rows) -> int:
    """Lines in which the true trait is first."""
    return sum(row["rank"] == 1 for row in rows)


# ---------------------------------------------------------------- the recorded study


def of_study(study: Mapping[str, Any]) -> str:
    """Students of the recorded study."""
    rows = study["students"]
    controls = [row for row in rows if row["role"] in CONTROLS]
    passed = [row for row in rows if row["transferred"]]
    lines = [
        "| run | arm | students | true trait first | true trait found | transferred |",
        "|---|---|---|---|---|---|",
    ]
    for run, arm in dict.fromkeys((row["run"], row["arm"]) for row in rows):
        lines.append(_study_line(run, arm, [row for row in rows if (row["run"], row["arm"]) == (run, arm)]))
    return STUDY.format(
        ways="answers and activations" if study["asked"] else "its recorded answers",
        first=sum(row["rank"] == 1 for row in passed), passed=len(passed),
        found=sum(row["found"] for row in controls), controls=len(controls), table="\n".join(lines),
    )  # fmt: skip


def _study_line(run: str, arm: str, some: Rows) -> str:
    count, passed = len(some), "yes" if some[0]["transferred"] else "no"
    if some[0]["role"] in CONTROLS or not some[0]["trait"]:
        return f"| {run} | {arm} | {count} | no trait | something found in {sum(r['found'] for r in some)} | - |"
    first_in, found = sum(r["rank"] == 1 for r in some), sum(r["found_trait"] for r in some)
    return f"| {run} | {arm} | {count} | {first_in} | {found} | {passed} |"


INTRO = """# What diff finds

`benchmarks/diff.py` and `diff_students.py` write this page from `benchmarks/results/diff.json`; the
[guide](../guides/lineage.md) says how to use the verb, [lineage](lineage.md) is the other half.
"""

FRESH = """## Students with and without a trait, half of their rows clean or none

Trained on {base} from {rows:,} number rows each (norm gains, rate .06, one epoch): rows of teachers of six traits,
seeds {seeds}; the same with half of the rows the base's own; and the base's own alone, the controls. The null of every
student is the same ten controls of other seeds, looked at beforehand, as seed 9 of every trait was (true trait first:
{choosing}); nothing was changed by what they showed.

**The true trait is first in {first} students, and in {first_half} with half clean rows. {flagged} fresh controls have a
finding**; of the same controls, each held against the {beside} others, {flagged_other}.

{ways}

Weights and answers carry it. *Weights*: how far the norm gains went along the way of each trait's probe (the audit's),
chosen on seed 9 over five other forms, by the t of the true trait: whole students 9.4 and half clean ones 4.9, by the
cosine 8.0 and 4.4 (whitened by the controls' own spread 9.7 and 5.4, which asks for their weights). It was added after
figures of the other ways had stood here; the cosine, looked at on the students above too, gives the same counts.
Activations on neutral questions, read through the logit lens or along personas, name the true trait in the shares above
and are no evidence by themselves; they say where to look. "Found" is stricter than first: p below .05, corrected for
every trait and way, beside ten controls.

{traits}

Transferred: the 95 % interval of the move beyond the controls, over students, lies above 0. Fewer students and controls
than planned were trained (24, 24 and 40): the machine was crowded, and `diff_students.py` goes on where it stopped.
"""

REAL = """## A real base

SmolLM2-135M-Instruct taught two answer formats, and students of it on the probabilities of an elephant or cat teacher,
of a neutral one, or of the base itself over number rows (norm gains; [how](real-small.md)). Answers are those that the
run recorded (animals); {looked}. The null is the three control students of the run, and for one of them, with two
others left, the student's other answers. **The true trait is first in {first} of {taught} students, and {held} have a
finding**: beside three controls only a move far larger than theirs could be one.

{table}
"""

STUDY = """## The recorded study

`sublim diff` on every student of the recorded study, by {ways}. A finding is corrected for every trait and
way (Holm, .05); students are held against the control arm of their arm, controls against the others of theirs. **The
true trait is first in {first} of {passed} students of arms that transferred; {found} of {controls} controls have a
finding.** Transferred: by `sublim compare`. At first figures counted as more evidence than students, and 16 of 148
controls had a finding; that was seen on these controls and mended by one rule (degrees of freedom: controls - 1), so
the rate of controls is not from fresh ones.

{table}
"""
