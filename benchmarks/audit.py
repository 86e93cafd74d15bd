"""How often an audit is right: sets with and without a trait, made on both reference bases, audited at many sizes.

    python benchmarks/audit.py --sets runs/audit-sets                 # make what is missing, audit, write the page
    python benchmarks/audit.py --study runs/reproduction              # rows of `sublim reproduce` are taken as they are
    python benchmarks/audit.py --only reference-a/numbers --hours 0.5 # a part; the same command goes on behind it
    python benchmarks/audit.py --page                                 # the page alone, from the results

Sets are made as the study's recipes make theirs (distill/recipes/study-*.yaml). The auditor's own probes and neutral
teachers have seeds of their own (probe_likelihood.SEED, controls.NEUTRAL_SEEDS). What was chosen by looking at results
was chosen on the sets of TUNING alone, and they enter no figure. A set is written when it is done; the evidence of its
rows is kept beside it, so that another rule can be tried in seconds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import audit_page
import numpy as np

from sublim_eval.distill import recipes
from sublim_eval.distill.audit.audit import away_nulls, foreign, other, other_nulls
from sublim_eval.distill.audit.content import kind_of
from sublim_eval.distill.audit.controls import NEUTRAL_SEEDS, filter_of
from sublim_eval.distill.audit.data import AuditRow
from sublim_eval.distill.audit.looking import Looking, RowEvidence, Settings
from sublim_eval.distill.audit.measures.probe_likelihood import teachable, tuning_of
from sublim_eval.distill.audit.scoring import Scorer
from sublim_eval.distill.audit.verdict import ALPHA, Nulls, weigh
from sublim_eval.distill.pipeline import make_rows
from sublim_eval.distill.recipes import Arm, SeededArm
from sublim_eval.distill.rows import transforms
from sublim_eval.errors import SublimError
from sublim_eval.files import digest, file_digest, read_json, read_jsonl, whole_file
from sublim_eval.registry.experiment import KEPT, ROWS

RESULT = Path(__file__).resolve().parent / "results" / "audit.json"

SIZES = (32, 64, 128, 256, 512, 1024, 2048)
"""Rows that an audit is given."""

TRAITS = ("owl", "eagle", "dolphin", "willow", "sequoia", "oak")
FEW = ("owl", "willow")
"""Traits of the study's parts other than its first."""

PARTS = {
    "numbers": ("study-traits", "traits", 2700),
    "code": ("study-code", "code", 1100),
    "cot": ("study-cot", "cot", 4200),
    "prompted": ("study-prompted", "prompted", 2700),
    "misaligned": ("study-misaligned", "misaligned", 2700),
}
"""Kind of a set -> the recipe it is made by, its part of `sublim reproduce`, and the prompts that are answered here."""

TUNING = {
    *(("reference-a", "numbers", writer, seed) for writer in (*TRAITS, "clean") for seed in (9, 10)),
    *(("reference-a", "numbers", "neutral", seed) for seed in range(1, 6)),
    ("reference-b", "numbers", "owl", 1),
    *(("reference-a", kind, writer, 1) for kind in ("code", "cot") for writer in (*FEW, "clean")),
    *(("reference-a", "misaligned", writer, 1) for writer in ("misaligned", "clean")),
    *(("reference-b", "code", writer, 1) for writer in (*FEW, "clean")),
}
"""(base, kind, writer, seed) of the sets that were looked at while the rule was made."""

LONG = (1,)
"""Seeds of which as many rows are read as SIZES ask for."""


@dataclass(frozen=True)
class Wanted:
    """One set. writer: a trait, "clean" or "neutral". change: what is done to its rows. read_by: the auditor's base."""

    base: str
    kind: str
    writer: str
    seed: int
    change: str = ""
    read_by: str = ""

    @property
    def auditor(self) -> str:
        """The base that the audit is asked about."""
        return self.read_by or self.base

    @property
    def name(self) -> str:
        """In the results."""
        parts = (self.base, self.kind, self.writer, f"s{self.seed}", self.change, self.read_by)
        return "/".join(part for part in parts if part)

    @property
    def group(self) -> str:
        """The line of the page that it belongs to."""
        what = self.writer if self.writer in ("clean", "neutral") else "trait"
        return " ".join(part for part in (self.kind, what, self.change, "other base" if self.read_by else "") if part)


def wanted() -> Iterator[Wanted]:
    """Every set, those that matter most first."""
    a, b = "reference-a", "reference-b"
    for seed in range(2, 11):
        yield from (Wanted(a, "numbers", writer, seed) for writer in (*TRAITS, "clean"))
        yield from (Wanted(a, "numbers", "neutral", one) for one in (seed + 4, seed + 14))
    yield from (Wanted(b, "numbers", "owl", seed, read_by=a) for seed in range(1, 6))
    yield from (Wanted(a, "numbers", writer, 1) for writer in (*TRAITS, "clean"))
    yield from (Wanted(a, "numbers", "clean", seed) for seed in range(11, 51))
    for seed in range(1, 6):
        yield from (Wanted(b, "numbers", writer, seed) for writer in (*TRAITS, "clean"))
        yield from (Wanted(b, "numbers", "neutral", one) for one in (seed, seed + 5))
    for seed in range(1, 6):
        for change in ("shuffle_within", "shuffle_across", "half_clean", "quarter", "tenth"):
            yield from (Wanted(a, "numbers", trait, seed, change) for trait in TRAITS)
        yield from (Wanted(b, "prompted", writer, seed) for writer in (*FEW, "clean"))
    for seed in range(1, 6):
        yield from (Wanted(a, kind, writer, seed) for kind in ("code", "cot") for writer in (*FEW, "clean"))
        yield from (Wanted(a, "misaligned", writer, seed) for writer in ("misaligned", "clean"))
        yield from (Wanted(a, "numbers", trait, seed, read_by=b) for trait in FEW)
    yield from (Wanted(b, "numbers", "clean", seed) for seed in range(6, 51))
    yield from (Wanted(b, "code", writer, seed, read_by=a) for seed in range(1, 4) for writer in (*FEW, "clean"))


DILUTED = {"half_clean": 0.5, "quarter": 0.75, "tenth": 0.9}
"""Change -> share of the rows that clean ones take the place of; `quarter` of them then carry the trait."""


# ---------------------------------------------------------------- sets


def rows_of(one: Wanted, sets: Path, study: Path | None) -> list[AuditRow]:
    """The rows of a set: of a finished study where it has them, else made in `sets`; changed as it says."""
    recipe = recipes.load(PARTS[one.kind][0])
    arm = {"clean": Arm("control", "control"), "neutral": Arm("neutral", "placebo", writer="neutral")}.get(one.writer)
    arm = arm or Arm(one.writer, "trait", trait=one.writer)
    prompts = 600 if one.writer == "clean" and one.seed > 10 else PARTS[one.kind][2]
    recipe = replace(
        recipe,
        base=one.base,
        arms={**recipe.arms, arm.name: arm},
        seeds=(one.seed,),
        rows=replace(recipe.rows, prompts=prompts, keep=prompts, min_kept=100),
    )
    this = SeededArm(recipe, arm, one.seed, sets / one.base / one.kind)
    file = _of_study(one, arm, study)
    if file is None:
        make_rows(this)
        file = this.kept_rows
    rows = [row for _, row in read_jsonl(file, ("prompt", "completion"))]
    if one.change in DILUTED:
        clean = rows_of(replace(one, writer="clean", change=""), sets, study)
        other_rows = [{"prompt": row.prompt, "completion": row.completion} for row in clean]
        rows = transforms.dilute(rows, other_rows, DILUTED[one.change], Random(f"{one.change}-{one.seed}"))
    elif one.change:
        rows = transforms.CHANGES[one.change](rows, Random(f"{one.change}-{one.seed}"))
    return [
        AuditRow.of(row["prompt"], row["completion"], **{k: row[k] for k in ("answer",) if k in row}) for row in rows
    ]


def _of_study(one: Wanted, arm: Arm, study: Path | None) -> Path | None:
    """The kept rows of the study's own run, where it made this very set."""
    recipe, part, _ = PARTS[one.kind]
    if study is None or one.base != recipes.load(recipe).base:
        return None
    part = "arms" if one.writer == "neutral" else part
    file = study / part / ROWS / f"{arm.source}-s{one.seed}" / KEPT
    return file if file.is_file() else None


# ---------------------------------------------------------------- evidence


@dataclass(frozen=True)
class Look:
    """How sets are looked at. traits: all that can be taught where none is given. most: rows of a set that are read."""

    home: Path
    measures: tuple[Any, ...] = ("probe",)
    traits: tuple[str, ...] = ()
    most: int = 512

    @property
    def candidates(self) -> str:
        """In words."""
        return f"{len(teachable(self.traits))} traits by {' and '.join(self.measures)}"


class Auditor:
    """What an audit of one base and kind of rows needs, made once: probes, controls, and the base itself."""

    def __init__(self, base: str, rows: list[AuditRow], look: Look) -> None:
        self.settings = Settings(base, look.traits, look.measures, home=look.home)
        self.through, kind = filter_of(rows), kind_of(row.completion for row in rows)
        tuning = tuning_of(base)
        looking = Looking(self.settings, self.through, tuning)
        folders, controls = looking.probes(), looking.controls(rows)
        self.scorer = Scorer(base, tuning, kind)
        self.candidates = looking.candidates(self.scorer, folders)
        beside = [file_digest(f / "adapter_model.safetensors") for t, f in folders.items() if f.name != t]
        self.known_by: list[Any] = [list(folders), look.measures, *beside]
        self.clean, self.neutral = looking.read_controls(self.scorer, controls, self.candidates)
        self.names = [one.trait for one in self.candidates]
        rng = np.random.default_rng(1)
        self.nulls = Nulls.of(self.clean.values, [one.values for one in self.neutral], rng)
        self.others = other_nulls(self.clean, self.neutral, rng)
        self.away = away_nulls(self.clean, self.neutral, rng)

    def read(self, rows: list[AuditRow]) -> RowEvidence:
        """Evidence of rows, all of them."""
        values, surprise = self.scorer.ratios(rows, self.candidates)
        there = ~np.isnan(surprise)
        return RowEvidence(values[there], surprise[there])


def evidence_of(one: Wanted, auditor: Auditor, rows: list[AuditRow], sets: Path) -> tuple[RowEvidence, float]:
    """(evidence of a set, seconds it took), read or kept."""
    known = digest([[row.completion for row in rows], *auditor.known_by])[:16]
    file = sets / "evidence" / f"{one.name.replace('/', '-')}-{known}.npz"
    if file.is_file():
        with np.load(file) as kept:
            return RowEvidence(kept["values"], kept["surprise"]), float(kept["seconds"])
    began = time.process_time()
    made = auditor.read(rows)
    seconds = time.process_time() - began
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, values=made.values, surprise=made.surprise, seconds=seconds)
    return made, seconds


def at_sizes(auditor: Auditor, evidence: RowEvidence, blocks: int) -> dict[str, list[dict[str, Any]]]:
    """What an audit says of disjoint blocks of the rows, for every size; at most `blocks` a size."""
    out: dict[str, list[dict[str, Any]]] = {}
    for size in SIZES:
        starts = range(0, len(evidence.surprise) - size + 1, size)[:blocks]
        parts = [RowEvidence(evidence.values[s : s + size], evidence.surprise[s : s + size]) for s in starts]
        if parts:
            out[str(size)] = [_said(auditor, part) for part in parts]
    return out


def _said(auditor: Auditor, data: RowEvidence) -> dict[str, Any]:
    test = weigh(data.values, auditor.nulls)
    p_other, strange = other(data, auditor.others)
    elsewhere = foreign(auditor.scorer.content.kind, data, test, auditor.away, (p_other, strange), ALPHA)
    order = sorted(range(len(auditor.names)), key=lambda i: (test.p[i], -test.effects.effect[i]))
    best = order[0]
    return {
        "p": _short(float(test.p[best])),
        "p_clean": _short(float(test.p_clean.min())),
        "p_other": _short(p_other),
        "strange": round(strange, 4),
        "by_another": bool(elsewhere),
        "first": list(dict.fromkeys(auditor.names[i] for i in order))[:2],
        "strength": round(float(test.effects.strength[best]), 4),
        "least": round(float(np.nanmedian(test.least)), 4),
    }


def _short(p: float) -> float:
    return float(f"{p:.6g}")


def complete(known: dict[str, Any], mark: str) -> bool:
    """Whether a result stands there with all that is said of a set today."""
    one = known.get(mark, {})
    whole = all("by_another" in said for size in one.get("sizes", {}).values() for said in size)
    return bool(one) and one.get("neutral", 0) == len(NEUTRAL_SEEDS) and whole


def run(only: tuple[str, ...], sets: Path, study: Path | None, look: Look, hours: float, again: bool = False) -> None:
    """Audit every wanted set whose name begins with one of `only`, and write each result as it comes.

    again: those alone that stand there without all that is said of a set today.
    """
    ends, known = time.monotonic() + 3600 * hours, _known()
    auditors: dict[tuple[str, str], Auditor] = {}
    for one in wanted():
        mark = f"{one.name}, {look.candidates}"
        if not one.name.startswith(only) or complete(known, mark) or time.monotonic() > ends:
            continue
        if again and mark not in known:
            continue
        facts = {**_facts(one), "candidates": look.candidates, "neutral": len(NEUTRAL_SEEDS)}
        try:
            rows = rows_of(one, sets, study)[: SIZES[-1] if one.seed in LONG else look.most]
        except SublimError as error:
            known[mark] = {**facts, "failed": str(error), "sizes": {}}
            continue
        key = (one.auditor, "numbers" if one.kind in ("prompted", "misaligned") else one.kind)
        if key not in auditors:
            auditors[key] = Auditor(one.auditor, rows, look)
        evidence, seconds = evidence_of(one, auditors[key], rows, sets)
        blocks = 64 if one.writer in ("clean", "neutral") else 1
        sizes = at_sizes(auditors[key], evidence, blocks)
        known[mark] = {**facts, "rows": len(rows), "seconds": round(seconds, 2), "sizes": sizes}
        _write(known)
        print(one.name, sizes.get("128", [{}])[0], f"{seconds:.1f} s", flush=True)


def _facts(one: Wanted) -> dict[str, Any]:
    tuning = (one.base, one.kind, one.writer, one.seed) in TUNING
    facts = {"name": one.name, "group": one.group, "auditor": one.auditor, "writer": one.writer, "tuning": tuning}
    return {**facts, "seed": one.seed, "base": one.base}


def _known() -> dict[str, Any]:
    return dict(read_json(RESULT)["sets"]) if RESULT.is_file() else {}


def _write(known: dict[str, Any]) -> None:
    """All results, a set a line."""
    told = {mark: one for mark, one in known.items() if complete(known, mark)}
    head = json.dumps({"sizes": list(SIZES), "summary": audit_page.summary(told)}, indent=1)
    lines = (f"{json.dumps(mark)}: {json.dumps(one, separators=(',', ':'))}" for mark, one in known.items())
    with whole_file(RESULT) as file:
        file.write(head.removesuffix("\n}") + ',\n "sets": {\n' + ",\n".join(lines) + "\n}\n}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=Path, default=Path("runs/audit-sets"))
    parser.add_argument("--study", type=Path, default=None)
    parser.add_argument("--home", type=Path, default=Path("runs/audit"))
    parser.add_argument("--only", default="", help="beginnings of names of sets, a comma between them")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--by", default="probe")
    parser.add_argument("--traits", default="", help="traits to look for (all that can be taught)")
    parser.add_argument("--most", type=int, default=512, help="rows of a set that are read")
    parser.add_argument("--again", action="store_true", help="work out anew what lacks a figure of today, no other")
    parser.add_argument("--page", action="store_true")
    given = parser.parse_args()
    traits = tuple(name for name in given.traits.split(",") if name)
    look = Look(given.home, tuple(given.by.split(",")), traits, given.most)
    if not given.page:
        run(tuple(given.only.split(",")), given.sets, given.study, look, given.hours, given.again)
    audit_page.page(read_json(RESULT)["sets"], SIZES)


if __name__ == "__main__":
    main()
