"""Comparisons without runs: rows, matrices and dose curves with the gaps that a test asks for."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from sublim_eval import stats
from sublim_eval.registry.catalog import registry

SEEDS = (1, 2, 3, 4, 5)


def interval(mean, reach=0.02, n=5):
    """A paired interval of that half width; reach nan: one seed, no interval."""
    if math.isnan(reach):
        return stats.point(mean)
    return stats.Interval(mean, mean - reach, mean + reach, n, 0.001, reach / 2.776, n - 1, paired=True)


def row(arm, trait, gap, *, reach=0.02, role="trait", seeds=SEEDS, change="", intact=None, **more):
    """One row; its verdict follows from the gap by the rule in force. intact: gap against the intact arm."""
    made = interval(gap, reach, len(seeds))
    controls = {s: 0.1 + 0.005 * (s % 3) for s in seeds}
    wobble = np.random.default_rng(len(arm)).normal(0, reach if reach == reach else 0.0, len(seeds))
    known = {
        "run": "",
        "arm": arm,
        "role": role,
        "trait": trait,
        "probe": registry().probe_of(trait).name,
        "control": "control",
        "base": "reference-a",
        "version": "2-A",
        "measure": "probability",
        "student_shares": {s: controls[s] + gap + w for s, w in zip(seeds, wobble, strict=True)},
        "control_shares": controls,
        "base_share": 0.1,
        "teacher_share": 0.95,
        "control_share": float(np.mean(list(controls.values()))),
        "student_share": float(np.mean(list(controls.values()))) + gap,
        "gap": made,
        "minimum_detectable": 0.03,
        "verdict": stats.verdict(made),
        "situations": {},
        "notes": (),
        "change": change,
        "family": f"{role} {change}",
        "axis": None,
        "dose": None,
        "of": None,
        "against_intact": None if intact is None else interval(intact, reach, len(seeds)),
        "p_permutation": 0.0625,
        "p_holm": 0.001,
        "over_questions": None,
        "family_size": 1,
        "teachers": len(seeds),
    }
    return SimpleNamespace(**known | more)


def confusion(probe, traits, first, runs=10, gain=3.0):
    answers = tuple(t.name for t in registry().answer_set(registry().probe(probe).category))
    shifts = np.random.default_rng(1).normal(0, 0.4, (len(traits), runs // len(traits), len(answers)))
    for i, trait in enumerate(traits):
        shifts[i, :, answers.index(trait)] += gain
    return SimpleNamespace(
        probe=probe, traits=tuple(traits), answers=answers, shifts=shifts, diagonal_first=first, runs=runs, p=0.0001
    )


def dose(axis, trait, points):
    made = tuple((d, interval(gap, 0.05)) for d, gap in points)
    return SimpleNamespace(axis=axis, trait=trait, probe=registry().probe_of(trait).name, points=made)


def comparison(*rows, confusion=(), doses=()):
    return SimpleNamespace(
        rows=tuple(rows),
        measure="probability",
        measure_words="exact probability of the trait as first answer",
        delta=0.05,
        alpha=0.05,
        looks="",
        folders=(),
        confusion=tuple(confusion),
        doses=tuple(doses),
        to_json=lambda: {"schema": 1, "rows": [r.arm for r in rows]},
    )
