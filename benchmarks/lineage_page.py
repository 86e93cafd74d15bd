"""docs/results/lineage.md, written from benchmarks/results/lineage.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

HOME = "reference-a"
LEVEL, ALPHA = 1e-3, 1e-4
"""The level of the issue's question, and that of the verdict."""

SPOILT = 0.5
"""Nats a word that a copy's loss on the corpus lies above its original's from which it counts as spoilt."""


def share(rows: Sequence[Mapping[str, Any]]) -> str:
    """Right verdicts of all, in words."""
    right = sum(row["told"] == row["related"] for row in rows)
    return f"{right:,} of {len(rows):,}"


def by_kind(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table: kind of pair, how many, told right, and the least favourable p."""
    lines = ["| pair | pairs | told right | least favourable p |", "|---|---|---|---|"]
    for kind in dict.fromkeys(row["kind"] for row in rows if row["related"] or row["kind"] == "siblings"):
        some = [row for row in rows if row["kind"] == kind]
        worst = max(row["p"] for row in some) if some[0]["related"] else min(row["p"] for row in some)
        lines.append(f"| {kind} | {len(some):,} | {share(some)} | {worst:.2g} |")
    others = [row for row in rows if not row["related"] and row["kind"] != "siblings"]
    if others:
        lines.append(
            f"| a copy of another sibling | {len(others):,} | {share(others)} | {min(r['p'] for r in others):.2g} |"
        )
    return "\n".join(lines)


def page(results: Mapping[str, Any]) -> str:
    """docs/results/lineage.md."""
    parts = [INTRO, of_weights(results)]
    if answers := results.get("answers"):
        fresh = [row for row in answers["pairs"] if not row["tuned"]]
        parts.append(ANSWERS.format(table=by_kind(fresh), **rates(fresh), queries=2 * answers["queries"]))
    if samples := results.get("samples"):
        parts.append(of_samples(samples["pairs"], results.get("losses", {})))
    if pupils := results.get("pupils"):
        parts.append(PUPILS.format(table=pupil_table(pupils["pairs"]), pairs=len(pupils["pairs"])))
    rows = [row for part, made in results.items() if part.startswith("transfer") for row in made["pairs"]]
    if rows:
        parts.append(TRANSFER.format(table=transfer_table(rows), every=every_pair(rows), **transfer_figures(rows)))
    if made := results.get("real"):
        lines = [real_line(row) for row in made["pairs"]]
        parts.append("\n".join([REALS, "| pair | share a base | told | p |", "|---|---|---|---|", *lines]))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def of_weights(results: Mapping[str, Any]) -> str:
    """The part on weights; distilled models and students of one base count among the pairs."""
    pairs = [row for part, made in results.items() if part.startswith("weights of") for row in made["pairs"]]
    fresh = [row for row in pairs if not row["tuned"]]
    pupils = results.get("pupils", {"pairs": []})["pairs"]
    strangers = [row for row in (*fresh, *pupils) if not row["related"]]
    related = [row for row in (*fresh, *pupils) if row["related"]]
    return WEIGHTS.format(
        table=by_kind(fresh),
        right=share([*fresh, *pupils]),
        every=share([*pairs, *pupils]),
        strangers=len(strangers),
        below=sum(row["p"] < LEVEL for row in strangers),
        related=len(related),
        above=sum(row["p"] >= LEVEL for row in related),
        agree=max((row["tests"].get("units found again", [1, 0])[1] for row in strangers), default=0),
    )


def rates(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Precision and recall of "related"."""
    positive = [row for row in rows if row["told"]]
    related = [row for row in rows if row["related"]]
    return {
        "precision": sum(row["related"] for row in positive) / max(1, len(positive)),
        "recall": sum(row["told"] for row in related) / max(1, len(related)),
    }


def of_samples(rows: Sequence[Mapping[str, Any]], losses: Mapping[str, float]) -> str:
    """The part on sampled text; copies that still know the corpus are counted apart, where that was measured."""
    related = [row for row in rows if row["related"]]
    return SAMPLES.format(
        table=by_kind(rows),
        **rates(rows),
        right=share(related),
        sound=_sound(related, losses) if losses else "",
        strangers=len(rows) - len(related),
        false=sum(row["told"] and not row["related"] for row in rows),
    )


def _sound(related: Sequence[Mapping[str, Any]], losses: Mapping[str, float]) -> str:
    """How many are found of those copies that lost little on the corpus, and of the others."""
    spoilt = {name for name, loss in losses.items() if loss > SPOILT}
    parts = [[row for row in related if (row["pair"][1] in spoilt) == broken] for broken in (False, True)]
    kept, lost = map(share, parts)
    return f"Of those that lost at most {SPOILT} nats a word on the corpus {kept} are found, of the others {lost}."


def pupil_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """What each way says of distilled models and same-base students: how often "related", of how many; and p."""
    lines = ["| pair | share a base | by weights | by log-probabilities | by samples |", "|---|---|---|---|---|"]
    for kind in dict.fromkeys(row["kind"] for row in rows):
        some = [row for row in rows if row["kind"] == kind]
        cells = [_counted([row[way] for row in some]) for way in ("p", "answers", "samples")]
        lines.append(f"| {kind} | {'yes' if some[0]['related'] else 'no'} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _counted(chances: Sequence[float]) -> str:
    """Related in so many of so many, and the p nearest to the level."""
    held = sum(p < ALPHA for p in chances)
    return f"{held} of {len(chances)} (p {max(chances) if held else min(chances):.2g})"


def every_pair(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line a pair of teacher and student's base."""
    lines = [
        "| teacher's rows | the student's base | expected | 90 % interval | realised | inside |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row["base"] != HOME:
            inside = "yes" if row["low"] <= row["realised"] <= row["high"] else "no"
            lines.append(
                f"| {row['rows']} | {row['base']} | {row['expected']:.2f} | {row['low']:.2f} to {row['high']:.2f} | "
                f"{row['realised']:.2f} | {inside} |"
            )
    return "\n".join(lines)


def real_line(row: Mapping[str, Any]) -> str:
    """A line of the table of real bases."""
    p = "-" if row["p"] is None else format(row["p"], ".2g")
    return f"| {row['kind']} | {'yes' if row['related'] else 'no'} | {_told(row)} | {p} |"


def _told(row: Mapping[str, Any]) -> str:
    return "not comparable by weights" if row["told"] is None else "yes" if row["told"] else "no"


def transfer_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Forecast beside what was realised, a line a base, over its students."""
    lines = [
        "| the student's base | expected | 90 % interval | students | mean realised | error of the mean | inside |",
        "|---|---|---|---|---|---|---|",
    ]
    for base in dict.fromkeys(row["base"] for row in rows):
        some = [row for row in rows if row["base"] == base]
        seen, first = np.array([row["realised"] for row in some]), some[0]
        error = f"{seen.std(ddof=1) / len(seen) ** 0.5:.2f}" if base != HOME else "-"
        inside = sum(row["low"] <= row["realised"] <= row["high"] for row in some)
        lines.append(
            f"| {base} | {first['expected']:.2f} | {first['low']:.2f} to {first['high']:.2f} | {len(some)} | "
            f"{seen.mean():.2f} | {error} | {inside} |"
        )
    return "\n".join(lines)


def transfer_figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the page says of the forecast; the base that all is relative to does not count."""
    fresh = [row for row in rows if row["base"] != HOME]
    expected, seen = ([row[key] for row in fresh] for key in ("expected", "realised"))
    bases = dict.fromkeys(row["base"] for row in fresh)
    means = [float(np.mean([row["realised"] for row in fresh if row["base"] == base])) for base in bases]
    hopes = [next(row["expected"] for row in fresh if row["base"] == base) for base in bases]
    return {
        "pairs": len(fresh),
        "bases": len(means),
        "rho": float(stats.spearmanr(expected, seen).statistic),
        "rho_bases": float(stats.spearmanr(hopes, means).statistic),
        "inside": sum(row["low"] <= row["realised"] <= row["high"] for row in fresh),
    }


INTRO = """# Lineage

`benchmarks/lineage.py` writes this page from `benchmarks/results/lineage.json`; the
[guide](../guides/lineage.md) says how to use the verb, [diff](diff.md) is the other half. Settings were chosen on the
first four siblings of each width (from samples: on those that are its references) and are reported on the others.
"""

WEIGHTS = """## From weights

Siblings are Llama models of two layers, hidden 32 or 48, trained on one corpus and different in the seed of their first
weights (half of them read it in an order of their own too): the hard case, for they learned the same. **{right} fresh
pairs are told right**; with the first four siblings {every}. Of {strangers:,} fresh pairs that share no base {below}
have p < .001, where an exact test lets one in a thousand through, and of {related:,} that do, {above} have more; the
verdict asks for p < .0001. Pairs of distilled models and students (below) are counted in; the table is of the others.

{table}

"Units found again" is the one test that is not exact: two models that learned alike find up to {agree:.0%} of their
units in the same two ways with no common start. Beyond 30 % counts as a common base.
"""

ANSWERS = """## From log-probabilities

{queries:,} queries to two models together: next-token log-probabilities behind random words, and the space that they
move in. Precision {precision:.3f}, recall {recall:.3f} over the pairs below. The null is that of the siblings on which
settings were chosen; for models of another family give `--reference`.

{table}
"""

SAMPLES = """## From samples

A provider that gives no log-probabilities: 500 questions of random words to the second model, one sampled answer of 16
tokens to each (temperature 1). The first model and six siblings as references are at hand: what the first foresees of
that text beyond the references is the evidence. **Of {strangers:,} pairs that share no base {false} are called related
(precision {precision:.3f}); of copies {right} are found (recall {recall:.3f})**: 99 % of all copies is not reached.
{sound}

A copy that was trained until it answers at random (the fine-tuned and LoRA ones here, on random words) says nothing
any more of where it came from, and a badly broken one little; log-probabilities, which hold the whole vocabulary, still
do.

{table}
"""

PUPILS = """## Distilled models and students of one base

A distilled model has first weights of its own and learned a sibling: its probabilities over its own text (6,400 rows),
or that text alone. A same-base student is a sibling that went on learning its neighbour's probabilities. Verdicts
"related" of so many pairs, and p; one model of each kind, of width 48.

{table}

Weights tell of first weights alone: a distilled model is a stranger there, and a student is kin to its base. Answers
also tell of a teacher whose probabilities were learned, even on another base; {pairs} pairs do not say how often.
"""

TRANSFER = """## Would a trait pass?

The teacher stands on reference-a and wrote filtered numbers; a student was trained on 1,000 of them from each base
(norm gains, rate .06, one epoch). Realised: log-odds that it moved towards the trait beyond its category's other
answers, by what the student from reference-a on the same rows moved. **Of {pairs} pairs {inside} lie inside of the 90 %
interval; Spearman {rho:.2f} over pairs, {rho_bases:.2f} over the means of {bases} bases.** The interval is that of the
mean over traits of the forecast; it does not hold the noise of a single student, which the table of all pairs shows.
At .35 of the way to reference-b, and after rounding to int4, students took up more than was foreseen.

{table}

### Every pair

{every}
"""

REALS = """## Real bases

SmolLM2-135M-Instruct, the same taught two answer formats (norm gains), students of that, and
Qwen2.5-Coder-0.5B-Instruct; from weights.
"""
