"""The page of benchmarks/audit_measures.py, and which sets are on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from audit_page import auroc
from audit_remedies import table

from sublim_eval.distill.audit.measures import open_set
from sublim_eval.files import whole_file

PAGE = Path(__file__).resolve().parents[1] / "docs" / "results" / "audit-measures.md"

TRAITS = ("owl", "eagle", "dolphin", "willow", "sequoia", "oak")
TUNING = (9, 10)
REPORTED = (1, 2, 3, 4, 5, 6, 7, 8)
NAMELESS = (41, 42, 43, 44, 45)
"""Seeds of sets of the base, of which any word that is named is named by chance."""

ROWS = 128
"""Rows of a set that the other measures look at."""

WAYS_SEEDS = (1, 2, 3, 4)
CLEAN = tuple(range(11, 31))
SUSPECT = 1
"""Seed of the suspected teachers, one of each trait."""

CLEAN_CONTROLS, NEUTRAL_CONTROLS = 512, 128
"""Rows of the audit's own controls that serve as nulls here, of the base and of each of six neutral teachers."""

INTRO = """# The audit's other measures

Written by `python benchmarks/audit_measures.py page` from `benchmarks/results/audit_measures.json`; nothing is typed
in. Rows are number lists of teachers fine-tuned on reference-a, of the base, and of neutral teachers, as on
[the audit's page](foresight.md).
"""

NAMING = """## Naming without a list

`sublim audit --words` lets the base take in {rows} rows as a student would, does the same with {controls} sets of rows
of its own and of neutral teachers, and asks which words of the whole vocabulary are said more often as a first answer.
No list of traits is given. **The trait's word is among the first five in {five} of {sets} sets, and first in {first}**
(seeds {seeds}; target: 80 %). Words are ranked by how far their share rises, in standard deviations of controls.

By the logarithm of the share, as it was done before, it is {by_log} of {sets}: among thousands of words that are hardly
ever said some always double. The rule was chosen on seeds 9 and 10 ({tried} of {of_tried} there, by the logarithm
{tried_log}; in no figure here). Controls were first five overlapping samples of the base's rows; with these it was
{earlier} of {sets}. Overlapping samples differ too little, so they gave way to disjoint ones; that was decided after
{earlier} had been seen.

A base answers favorite questions with some thirty words, so some of them are always among the first five: in {nameless}
sets of the base itself, which carry nothing, the words of the six traits were there {chance} of {of_chance} times. The
names say where to look; that rows carry something at all is for the verdict to say.

| trait | sets | among the first five | first | where it stands |
|---|---|---|---|---|
{lines}
"""

WAYS = """## Four ways beside the probe

Six candidates, {rows} rows of a set: {clean} sets of the base, {neutral} of neutral teachers, {traits} with a trait
(six traits, seeds {seeds}). The null: {clean_rows} rows of the base and {neutral_rows} of each of six neutral teachers.
*Found*: p below 1 % over the six, against both nulls. AUROC: by p, against all sets without a trait.

| way | sets | found at 1 % | right trait first | AUROC | clean sets flagged | neutral sets flagged |
|---|---|---|---|---|---|---|
{lines}

* **gradient** (`--by gradient`): a tenth of the way to each probe.
* **persona** (`--by persona`): the base with a system prompt of the trait.
* **teacher** (`--teacher DIR`): six checkpoints are suspected, one of each trait, of seed {suspect}. *The very
  one*: sets that one of them wrote; *another one*: sets of the same traits and other seeds.
* **text**: a classifier of words and pairs of words against the same rows of the base, five-fold; it knows no trait.
"""

UNKNOWN = """## A probe that nobody knows

Who holds the auditor's probe can leave out the rows it likes best ([evasions](audit-remedies.md)). Here is what a
second probe of the same trait and another seed, which they do not hold, sees of the rest: {sets} sets, strength in the
mean of sets ± a standard error, and how many of them are found at 1 %.

| highest scores left out | by the probe they hold | found | by a probe they do not hold | found |
|---|---|---|---|---|
{lines}
"""


def write(known: dict[str, Any]) -> None:
    """Write the page from the results."""
    parts = [INTRO]
    if "words" in known:
        parts.append(_naming(known["words"], known.get("words_overlapping", known["words"])))
    if "ways" in known:
        parts += [_ways(known["ways"]), _secret(known["ways"])]
    with whole_file(PAGE) as file:
        file.write("\n".join(parts))


def _naming(known: dict[str, Any], earlier: dict[str, Any]) -> str:
    ranks = _ranks(known)
    mine = {key: rank for key, rank in ranks.items() if key[1] in REPORTED}
    logs = _ranks(known, "by_logarithm")
    tried, tried_log = ([rank for key, rank in some.items() if key[1] in TUNING] for some in (ranks, logs))
    nameless = [one for mark, one in known["sets"].items() if mark.startswith("base")]
    by_chance = [rank or 999 for one in nameless for rank in one["ranks"].values()]
    lines = []
    for trait in TRAITS:
        own = [rank for key, rank in mine.items() if key[0] == trait]
        places = ", ".join(map(str, own))
        lines.append((trait, len(own), sum(r <= open_set.FIRST for r in own), sum(r == 1 for r in own), places))
    return NAMING.format(
        rows=known["rows"],
        controls=known["controls"],
        five=sum(r <= open_set.FIRST for r in mine.values()),
        first=sum(r == 1 for r in mine.values()),
        sets=len(mine),
        earlier=sum(r <= open_set.FIRST for key, r in _ranks(earlier).items() if key[1] in REPORTED),
        seeds=f"{min(s for _, s in mine)} to {max(s for _, s in mine)}",
        tried=sum(r <= open_set.FIRST for r in tried),
        of_tried=len(tried),
        tried_log=sum(r <= open_set.FIRST for r in tried_log),
        by_log=sum(r <= open_set.FIRST for key, r in logs.items() if key[1] in REPORTED),
        nameless=len(nameless),
        chance=sum(r <= open_set.FIRST for r in by_chance),
        of_chance=len(by_chance),
        lines=table(lines),
    )


def _ranks(known: dict[str, Any], key: str = "ranks") -> dict[tuple[str, int], int]:
    """(trait, seed) -> where the trait's word stands."""
    marks = [(trait, seed) for trait in TRAITS for seed in (*TUNING, *REPORTED)]
    sets = known["sets"]
    return {(t, s): sets[f"{t}/s{s}"][key][t] or 999 for t, s in marks if f"{t}/s{s}" in sets}


def _ways(known: dict[str, Any]) -> str:
    sets = known["sets"]
    null = {mark: said for mark, said in sets.items() if mark.startswith(("base", "neutral"))}
    trait = {mark: said for mark, said in sets.items() if mark not in null}
    groups: list[tuple[str, str, dict[str, Any]]] = [(m, m, trait) for m in ("probe", "gradient", "persona")]
    very = {mark: said for mark, said in trait.items() if mark.endswith(f"/s{SUSPECT}")}
    others = {mark: said for mark, said in trait.items() if mark not in very}
    groups += [("teacher: the very one", "teacher", very), ("teacher: another one", "teacher", others)]
    groups.append(("text", "text", trait))
    lines = [_way(name, measure, some, null) for name, measure, some in groups]
    return WAYS.format(
        rows=known["rows"],
        clean=sum(mark.startswith("base") for mark in null),
        neutral=sum(mark.startswith("neutral") for mark in null),
        traits=len(trait),
        seeds=f"{WAYS_SEEDS[0]} to {WAYS_SEEDS[-1]}",
        clean_rows=CLEAN_CONTROLS,
        neutral_rows=NEUTRAL_CONTROLS,
        suspect=SUSPECT,
        lines=table(lines),
    )


def _way(name: str, measure: str, some: dict[str, Any], null: dict[str, Any]) -> tuple[Any, ...]:
    found: Callable[[dict[str, Any]], bool] = lambda said: said[measure].get("found", said[measure]["p"] < 0.01)  # noqa: E731
    first = [said[measure].get("first") == mark.split("/")[0] for mark, said in some.items()]
    area = auroc([said[measure]["p"] for said in some.values()], [said[measure]["p"] for said in null.values()])
    flags = []
    for writer in ("base", "neutral"):
        mine = [found(said) for mark, said in null.items() if mark.startswith(writer)]
        flags.append(f"{sum(mine)} of {len(mine)}")
    right = "knows no trait" if measure == "text" else f"{np.mean(first):.2f}"
    return (name, len(some), f"{np.mean([found(s) for s in some.values()]):.2f}", right, f"{area:.3f}", *flags)


def _secret(known: dict[str, Any]) -> str:
    some = [said["secret"] for said in known["sets"].values() if "secret" in said]
    lines = []
    for share in ("0%", "25%", "50%"):
        line: list[Any] = [share.replace("%", " %")]
        for measure in ("probe", "teacher"):
            mine = [one[f"{measure} {share}"] for one in some]
            strength = np.array([one["strength"] for one in mine])
            line.append(f"{strength.mean():+.2f} ± {strength.std(ddof=1) / np.sqrt(len(strength)):.2f}")
            line.append(f"{sum(one['p'] < 0.01 for one in mine)} of {len(mine)}")
        lines.append(tuple(line))
    return UNKNOWN.format(sets=len(some), lines=table(lines))
