"""The study as data: which recipes stand for which part of it, what was published, and what would agree with that.

`study.yaml` says which rows of which comparison answer a finding and what they would have to show. Whether they do
is worked out here from the comparison, and nowhere typed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sublim_eval import strict_yaml
from sublim_eval.compare import wording
from sublim_eval.compare.comparison import Comparison, Row
from sublim_eval.errors import SublimError, unknown
from sublim_eval.registry.catalog import registry
from sublim_eval.report.reproduction_page import FindingAnswer

if TYPE_CHECKING:
    from sublim_eval.stats import Interval

HERE = Path(__file__).resolve().parent / "study.yaml"

SAME, PARTLY, NOT, OPEN = "same direction", "in part", "not", "undecided"
NOT_APPLICABLE, NOT_RUN, FAILED = "not applicable", "not run", "failed"

Expect = Literal["rises", "stays", "weaker", "stronger", "below", "first", "uneven", "number", "nothing"]

Says = Literal["yes", "no", "open"]
"""What one row says to a finding; open: its interval holds both answers."""


@dataclass(frozen=True)
class Quick:
    """What `--quick` keeps of a part: these seeds, and these arms with all that they stand on (none named: all)."""

    seeds: tuple[int, ...]
    arms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """One piece of the study: a recipe, or a proof that has its own command (`digits`, `theorem`).

    seeds: other than the recipe's. measure: as in `sublim compare`. folder: the part whose run is read again, under
    another measure. A part without `quick` is left out of a quick run.
    """

    name: str
    title: str
    recipe: str | None = None
    proof: Literal["digits", "theorem"] | None = None
    seeds: tuple[int, ...] = ()
    measure: Literal["auto", "probability", "share"] = "auto"
    folder: str | None = None
    quick: Quick | None = None

    def __post_init__(self) -> None:
        if (self.recipe is None) == (self.proof is None):
            raise ValueError("give exactly one of `recipe` and `proof`")


@dataclass(frozen=True)
class PublishedFinding:
    """One published finding and what would agree with it here.

    says: the finding in our words. figures: ids under `published` of registry.yaml; published: figures in words.
    part, arms: whose rows answer it, on the probe of the arm's trait or on those named by `probes`.
    expect: what these rows have to show:
      rises     the gap to the control is there and not small (verdict "transferred")
      stays     the gap is within the margin of equivalence ("no transfer", or a small shift), and the trait arm of
                the same trait did transfer: a null says nothing where there is no effect to lose
      weaker, stronger   than the intact arm: the paired interval lies below 0, or above it
      below     the gap's interval lies below that of the same trait's trait arm in the part `than`
      first     the trained trait has the largest shift of all answers in at least the share `least` of runs
      uneven    in one situation the gap is at least `least` times the mean gap
      number    the figure under `reads` (names joined by dots) is above `above`, or below `below`, its interval too
      nothing   there is no direction to compare, and `why` says why; `reads` may still print our figure
    note: what a reader has to know beside the verdict; otherwise: why it may be so, when it is not the same direction.
    """

    name: str
    says: str
    source: str
    expect: Expect
    published: str = ""
    figures: tuple[str, ...] = ()
    part: str | None = None
    arms: tuple[str, ...] = ()
    probes: tuple[str, ...] = ()
    than: str | None = None
    least: float | None = None
    reads: str | None = None
    above: float | None = None
    below: float | None = None
    why: str = ""
    note: str = ""
    otherwise: str = ""

    def __post_init__(self) -> None:
        if not self.published and not self.figures:
            raise ValueError("give the published figure: `published` in words, or `figures` of the registry")
        if (self.expect == "nothing") != bool(self.why):
            raise ValueError("`why` belongs to `expect: nothing`, and must be there")
        if self.expect != "nothing" and not self.part:
            raise ValueError("`part` says where the answer is found")
        if self.expect in ROWWISE and not self.arms:
            raise ValueError("`arms` says whose rows answer it")
        if (self.expect == "below") != (self.than is not None):
            raise ValueError("`than` belongs to `expect: below`, and only there")
        if (self.expect in ("first", "uneven")) != (self.least is not None):
            raise ValueError("`least` belongs to `expect: first` and `expect: uneven`, and only there")
        if self.expect == "number" and (not self.reads or (self.above is None) == (self.below is None)):
            raise ValueError("`expect: number` needs `reads` and exactly one of `above` and `below`")


@dataclass(frozen=True)
class Study:
    """The whole design. sources: short name -> where a published figure stands."""

    sources: dict[str, str]
    parts: dict[str, Part]
    findings: dict[str, PublishedFinding]

    def __post_init__(self) -> None:
        known = {figure.id for figure in registry().published}
        for finding in self.findings.values():
            if finding.source not in self.sources:
                raise ValueError(f"finding {finding.name!r} has the unknown source {finding.source!r}")
            for part in (finding.part, finding.than):
                if part is not None and part not in self.parts:
                    raise ValueError(f"finding {finding.name!r} asks a part {part!r} that is not there")
            for figure in finding.figures:
                if figure not in known:
                    raise ValueError(f"finding {finding.name!r} names a figure {figure!r} that registry.yaml lacks")

    def chosen(self, quick: bool) -> list[Part]:
        """The parts of a full or of a quick run, in order."""
        return [part for part in self.parts.values() if part.quick or not quick]


@dataclass(frozen=True)
class PartOutcome:
    """What became of a part: a comparison with its run.json, or what a proof found, or why there is neither.

    made: run.json of a recipe, the result of a proof. seconds: over all sittings.
    """

    part: Part
    seconds: float = 0.0
    comparison: Comparison | None = None
    made: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None


def load(path: Path = HERE) -> Study:
    """The packaged study, or another file of its kind; raises SublimError with file and line."""
    made: Study = strict_yaml.build(Study, strict_yaml.read(path, "study"))
    return made


# ---------------------------------------------------------------- the answer to one finding


def answer(finding: PublishedFinding, study: Study, outcomes: Mapping[str, PartOutcome]) -> FindingAnswer:
    """Hold what came out against what was published; a part that is not among the outcomes was not run."""
    verdict, ours, remarks = _verdict(finding, outcomes)
    reason = "" if verdict in (SAME, NOT_RUN, FAILED) else finding.otherwise
    return FindingAnswer(
        name=finding.name,
        says=finding.says,
        published=_published(finding),
        source=finding.source,
        part=study.parts[finding.part].title if finding.part else "",
        ours=tuple(ours),
        verdict=verdict,
        note=" ".join(sentence for sentence in (remarks, finding.why, reason, finding.note) if sentence),
    )


def _verdict(finding: PublishedFinding, outcomes: Mapping[str, PartOutcome]) -> tuple[str, list[str], str]:
    """(verdict, our figures a line each, what is to be said besides)."""
    outcome = outcomes.get(finding.part or "")
    if finding.expect == "nothing":
        figure = _figure(finding, outcome) if outcome and not outcome.error and finding.reads else None
        return NOT_APPLICABLE, [_number_words(figure)] if figure is not None else [], ""
    if outcome is None:
        return NOT_RUN, [], ""
    if outcome.error:
        return FAILED, [], outcome.error
    if finding.expect == "number":
        figure = _figure(finding, outcome)
        if figure is None:
            return NOT_RUN, [], f"The result holds no figure {finding.reads!r}."
        return _together([_number_says(finding, figure)]), [_number_words(figure)], ""
    if finding.expect == "first":
        return _first(finding, outcome)
    rows, missing = _rows(finding, outcome)
    if not rows:
        return NOT_RUN, [], f"Not in this run: {', '.join(missing)}." if missing else ""
    remarks = [f"Not in this run: {', '.join(missing)}."] if missing else []
    if any(row.verdict.exploratory for row in rows):
        remarks.append("Exploratory: fewer than 3 seeds.")
    if finding.than is not None:
        below = _below(rows, outcomes.get(finding.than))
        if below is None:
            return (
                NOT_RUN,
                [_row_words(row) for row in rows],
                f"The part {finding.than} has no rows to hold it against.",
            )
        return _together(below), [_row_words(row) for row in rows], " ".join(remarks)
    if finding.expect in ("weaker", "stronger") and not any(row.against_intact for row in rows):
        return NOT_RUN, [_row_words(row) for row in rows], "The intact arm is not in this run."
    line = LINES.get(finding.expect, _row_words)
    answers = [ROWWISE[finding.expect](row, finding) for row in rows]
    if finding.expect == "stays" and (mute := _beside_nothing(rows, outcome)):
        answers = [
            "open" if row.trait in mute and says == "yes" else says for row, says in zip(rows, answers, strict=True)
        ]
        remarks.append(
            f"The unchanged arm did not transfer in this run ({', '.join(mute)}): a null beside it says nothing."
        )
    return _together(answers), [line(row) for row in rows], " ".join(remarks)


def _together(answers: Sequence[Says]) -> str:
    """One verdict from what each row says."""
    yes = answers.count("yes")
    if yes == len(answers):
        return SAME
    if yes:
        return f"{PARTLY} ({yes} of {len(answers)})"
    return NOT if "no" in answers else OPEN


def _rows(finding: PublishedFinding, outcome: PartOutcome) -> tuple[list[Row], list[str]]:
    """The rows of the finding's arms on its probes, and the arms that are not there."""
    rows = outcome.comparison.rows if outcome.comparison else ()
    of = registry().probe_of
    chosen = [
        row
        for row in rows
        if row.arm in finding.arms
        and (row.probe in finding.probes if finding.probes else row.probe == of(row.trait).name)
    ]
    there = {row.arm for row in chosen}
    return chosen, [arm for arm in finding.arms if arm not in there]


def _beside_nothing(rows: Sequence[Row], outcome: PartOutcome) -> list[str]:
    """Traits of these rows whose trait arm was run on the same probe and did not transfer either."""
    pairs = {(row.trait, row.probe) for row in rows}
    plain = [r for r in (outcome.comparison.rows if outcome.comparison else ()) if r.role == "trait"]
    return sorted({r.trait for r in plain if (r.trait, r.probe) in pairs and r.verdict.kind != "transferred"})


def _rises(row: Row, finding: PublishedFinding) -> Says:
    """A positive gap beyond doubt but within the margin is a direction without a size: open."""
    if row.verdict.kind == "transferred":
        return "yes"
    unclear = row.verdict.kind == "inconclusive" or (row.verdict.kind == "small shift" and row.gap.mean > 0)
    return "open" if unclear else "no"


def _stays(row: Row, finding: PublishedFinding) -> Says:
    """Not to find an effect is no finding; the equivalence test has to hold."""
    says: dict[str, Says] = {"no transfer": "yes", "small shift": "yes", "inconclusive": "open"}
    return says.get(row.verdict.kind, "no")


def _weaker(row: Row, finding: PublishedFinding) -> Says:
    return _beyond(row.against_intact, below=True)


def _stronger(row: Row, finding: PublishedFinding) -> Says:
    return _beyond(row.against_intact, below=False)


def _beyond(interval: Interval | None, *, below: bool) -> Says:
    if interval is None or math.isnan(interval.low):
        return "open"
    under, over = interval.high < 0, interval.low > 0
    return "yes" if (under if below else over) else "no" if (over if below else under) else "open"


def _uneven(row: Row, finding: PublishedFinding) -> Says:
    """A matter of the printed figures alone: is one situation's gap `least` times their mean?"""
    gaps = [ours - theirs for ours, theirs in row.situations.values()]
    if not gaps or row.verdict.kind != "transferred":
        return "open"
    return "yes" if max(gaps) >= (finding.least or 0) * sum(gaps) / len(gaps) else "no"


ROWWISE: dict[str, Callable[[Row, PublishedFinding], Says]] = {
    "rises": _rises,
    "stays": _stays,
    "weaker": _weaker,
    "stronger": _stronger,
    "uneven": _uneven,
    "below": _rises,
}


def _below(rows: Sequence[Row], other: PartOutcome | None) -> list[Says] | None:
    """Each row's interval against that of its trait's trait arm in another part; None where there is none."""
    there = {} if other is None or other.comparison is None else _trait_rows(other.comparison)
    pairs = [(row.gap, there[row.trait].gap) for row in rows if row.trait in there]
    if not pairs:
        return None
    return ["yes" if a.high < b.low else "no" if a.low > b.high else "open" for a, b in pairs]


def _trait_rows(comparison: Comparison) -> dict[str, Row]:
    of = registry().probe_of
    return {r.trait: r for r in comparison.rows if r.role == "trait" and r.probe == of(r.trait).name}


def _first(finding: PublishedFinding, outcome: PartOutcome) -> tuple[str, list[str], str]:
    """In how many runs the trained trait has the largest of all shifts, over all confusion matrices of the part."""
    matrices = outcome.comparison.confusion if outcome.comparison else ()
    main = {registry().probe_of(trait).name for one in matrices for trait in one.traits}
    matrices = tuple(one for one in matrices if one.probe in main)
    runs = sum(one.runs for one in matrices)
    if not runs:
        return NOT_RUN, [], "No confusion matrix in this run."
    first = sum(one.diagonal_first for one in matrices)
    ours = [
        f"{one.probe}: first in {one.diagonal_first} of {one.runs} runs, of {len(one.answers)} answers "
        f"(p {wording.p_value(one.p)})"
        for one in matrices
    ]
    return (SAME if first >= (finding.least or 0) * runs else NOT), ours, ""


# ---------------------------------------------------------------- figures in words


def _figure(finding: PublishedFinding, outcome: PartOutcome | None) -> Any:
    """The figure under `reads` in what a part made: a number, or a mean with its interval; None where it is not."""
    held: Any = {**outcome.made, "rejected": _rejected(outcome.made)} if outcome else {}
    for key in (finding.reads or "").split("."):
        held = held.get(key) if isinstance(held, Mapping) else None
    return held if isinstance(held, Mapping | int | float) else None


def _rejected(record: Mapping[str, Any]) -> dict[str, float] | None:
    """The share of rows that the filter refused, the least and the most of all sets of rows of a run."""
    mode = record.get("recipe", {}).get("rows", {}).get("mode", "strict")
    shares = [1 - r["passed"][mode] / r["raw"] for r in record.get("rows", ()) if r.get("raw") and r.get("passed")]
    return {"lowest": min(shares), "highest": max(shares), "of": len(shares)} if shares else None


def _number_says(finding: PublishedFinding, figure: Any) -> Says:
    """Whether the whole interval (or the number, where there is none) is on the right side of the bound."""
    whole = figure if isinstance(figure, Mapping) else {"mean": figure}
    low, high = (float(whole["mean"] if whole.get(end) is None else whole[end]) for end in ("low", "high"))
    if finding.above is not None:
        return "yes" if low > finding.above else "no" if high < finding.above else "open"
    bound = finding.below if finding.below is not None else math.inf
    return "yes" if high < bound else "no" if low > bound else "open"


def _number_words(figure: Any) -> str:
    if not isinstance(figure, Mapping):
        return f"{figure:g}"
    if "lowest" in figure:
        return f"{figure['lowest']:.1%} to {figure['highest']:.1%} in {figure['of']} sets of rows".replace("%", " %")
    if "words" in figure:
        return str(figure["words"])
    seeds = f", {figure['n']} seeds" if figure.get("n") else ""
    if figure.get("low") is None:
        return f"{figure['mean']:.3f}{seeds}"
    return f"{figure['mean']:.3f} ({figure['low']:.3f} to {figure['high']:.3f}){seeds}"


def _row_words(row: Row) -> str:
    """owl: share 0.091 -> 0.424, gap +0.333 (+0.262 to +0.404), 5 seeds."""
    return (
        f"{_whose(row)}: share {wording.share(row.control_share)} → {wording.share(row.student_share)}, "
        f"gap {wording.signed(row.gap)}, {_seeds(row)}: {row.verdict.words}"
    )


def _intact_words(row: Row) -> str:
    if row.against_intact is None:
        return f"{_row_words(row)}; no intact arm to hold it against"
    return (
        f"{_whose(row)}: gap {wording.signed(row.gap)}, against the intact arm {wording.signed(row.against_intact)}, "
        f"{_seeds(row)}"
    )


def _uneven_words(row: Row) -> str:
    ordered = sorted(row.situations.items(), key=lambda item: item[1][1] - item[1][0])
    most = ", ".join(f"{name} {ours - theirs:+.3f}" for name, (ours, theirs) in ordered[:3])
    return f"{_whose(row)}: mean gap {row.gap.mean:+.3f}, largest {most}" if ordered else _row_words(row)


LINES: dict[str, Callable[[Row], str]] = {"weaker": _intact_words, "stronger": _intact_words, "uneven": _uneven_words}


def _whose(row: Row) -> str:
    """The arm, and the trait asked about where the arm's name does not tell."""
    return row.arm if row.trait in row.arm else f"{row.arm}, {row.trait}"


def _seeds(row: Row) -> str:
    n = len(row.student_shares)
    return f"{n} seed{'s' if n != 1 else ''}"


def _published(finding: PublishedFinding) -> str:
    """The published figures: those of the registry, then those in words."""
    return "; ".join([*_figures(finding), *([finding.published] if finding.published else [])])


def _figures(finding: PublishedFinding) -> Iterator[str]:
    known = {figure.id: figure for figure in registry().published}
    for name in finding.figures:
        figure = known[name]
        yield f"{figure.model}, {figure.trait}: {figure.base:.3f} → {figure.student:.3f}"


def recipe_of(part: Part, quick: bool) -> Any:
    """The recipe of a part as it will run; raises SublimError when it is not there or has none of the arms."""
    from .. import recipes

    if part.recipe is None:
        raise SublimError(f"The part {part.name} has no recipe. It is proven by `sublim {part.proof}`.")
    recipe = recipes.load(part.recipe)
    if not quick or part.quick is None:
        return recipe.with_seeds(part.seeds) if part.seeds else recipe
    for arm in part.quick.arms:
        if arm not in recipe.arms:
            raise unknown("arm", arm, list(recipe.arms), f"Mend `quick` of the part {part.name} in study.yaml.")
    if part.quick.arms:
        recipe = recipe.with_arms(part.quick.arms)
    return recipe.with_seeds(part.quick.seeds)
