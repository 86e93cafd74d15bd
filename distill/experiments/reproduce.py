"""`sublim reproduce`: the whole design, part by part, then the page that holds it against the published study.

    for part in study.chosen(quick):
        outcome = carry_out(part)          # a recipe and its comparison, or a proof
    answers = answer(every finding, outcomes)
    write(page, pictures, reproduction.json)

A part that fails is told as failed in the page and takes no other with it. Finished stages are kept, so a killed run
goes on where it stopped when the same command is given again.
"""

from __future__ import annotations

import math
import shlex
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from types import ModuleType
from typing import Any

from rich.console import Console

from sublim_eval.compare import compare
from sublim_eval.console import Progress, one_line, progress, say
from sublim_eval.errors import SublimError
from sublim_eval.files import ROOT, digest, file_digest, locked, read_json, whole_file, write_json
from sublim_eval.registry.catalog import registry
from sublim_eval.report import figure_sources, reproduction_page, run_report
from sublim_eval.report.plots import confusion_matrix, dose_curves, forest, situations
from sublim_eval.scores.probe_scores import ProbeScores

from ..base_templates import weights_hash
from ..execution.engine import Execution
from ..execution.run import machine, run, versions
from ..planning.plan import Plan, plan
from ..stages import stage
from . import study as design
from .study import Part, PartOutcome, Study

OUT = Path("runs/reproduction")
QUICK_OUT = Path("runs/reproduction-quick")

PROOF_SECONDS = {"digits": (60.0, 20.0), "theorem": (240.0, 60.0)}
"""The most that a proof may take on two cores, in full and in a quick run; said before it starts."""

PAGE_SECONDS = 15.0
"""Comparing, drawing and writing."""


def main(
    out: Path,
    console: Console,
    *,
    quick: bool = False,
    workers: int | None = None,
    dry_run: bool = False,
    docs: bool = False,
    study: Study | None = None,
) -> dict[str, Any]:
    """Carry out the study in the folder `out` and write its page there; returns reproduction.json, or the plan.

    docs: also write the page and pictures of the checkout's docs/. `ok` is false when a part failed.
    """
    study = study or design.load()
    parts = study.chosen(quick)
    place = _checkout() if docs else None
    foreseen = {part.name: _plan(part, quick, workers) for part in parts}
    for line in _lines(parts, foreseen, quick):
        say(console, line)
    if dry_run:
        return {
            "dry_run": True,
            "quick": quick,
            "seconds": _seconds(parts, foreseen, quick),
            "parts": [
                {"name": p.name, "title": p.title, "plan": f.to_json() if isinstance(f, Plan) else f}
                for p, f in ((p, _again(p) or foreseen[p.name]) for p in parts)
            ],
        }
    with locked(out):
        outcomes = {}
        for i, part in enumerate(parts, 1):
            say(console, f"Part {i} of {len(parts)}: {part.title}")
            outcomes[part.name] = _kept_going(part, foreseen[part.name], quick, out, console)
            say(console, f"  {_state(outcomes[part.name])} ({outcomes[part.name].seconds:.0f} s)")
        page = _page(study, outcomes, out, quick)
        result = _write(page, study, outcomes, out)
        sources = {**_sources(outcomes), "command": page.command, "date": page.date}
        write_json(out / "sources.json", sources)
        if place:
            _write_docs(page, sources, place)
    for answer in page.answers:
        say(console, f"  {answer.verdict:>18}  {answer.says}")
    say(console, f"{reproduction_page.tally(page.answers)}. The page: {out / 'reproduction.html'}")
    return result


# ---------------------------------------------------------------- what it will cost


def _plan(part: Part, quick: bool, workers: int | None) -> Plan | str:
    """What a part's recipe makes, or in words why it makes nothing; "" for a proof."""
    if part.recipe is None:
        return ""
    try:
        return plan(design.recipe_of(part, quick), workers)
    except SublimError as error:
        return one_line(error)


def _again(part: Part) -> str:
    """In words that a part makes nothing of its own, "" for one that does."""
    return f"the run of {part.folder}, read again" if part.recipe and part.folder else ""


def _seconds(parts: Sequence[Part], foreseen: Mapping[str, Plan | str], quick: bool) -> float:
    """Foreseen seconds of all parts together; bases whose cost is not known count as nothing."""
    own = [foreseen[part.name] for part in parts if not _again(part)]
    known = [f.seconds or 0.0 for f in own if isinstance(f, Plan)]
    return sum(known) + sum(PROOF_SECONDS[p.proof][quick] for p in parts if p.proof) + PAGE_SECONDS


def _lines(parts: Sequence[Part], foreseen: Mapping[str, Plan | str], quick: bool) -> Iterator[str]:
    """The plan in words: a line a part, then the whole."""
    workers = next((f.workers for f in foreseen.values() if isinstance(f, Plan)), 1)
    for i, part in enumerate(parts, 1):
        making = _again(part) or foreseen[part.name]
        if isinstance(making, Plan):
            recipe = making.recipe
            what = f"recipe {recipe.name}, {len(recipe.arms)} arms, {making.students} students"
            what += "" if making.seconds is None else f", about {making.seconds:.0f} s"
        else:
            what = making or f"sublim {part.proof}, at most {PROOF_SECONDS[part.proof or 'digits'][quick]:.0f} s"
        yield f"{i:3}. {part.title}: {what}"
    minutes = _seconds(parts, foreseen, quick) / 60
    what = "Quick run, no evidence" if quick else "The whole study"
    yield (
        f"{what}: {len(parts)} parts, about {minutes:.0f} minutes on "
        f"{workers} process{'es' if workers > 1 else ''}; parts that are done already take seconds."
    )


# ---------------------------------------------------------------- one part


def _kept_going(part: Part, foreseen: Plan | str, quick: bool, out: Path, console: Console) -> PartOutcome:
    """The outcome of a part, whatever happens in it; its time over all sittings is kept in seconds.json."""
    began = time.monotonic()
    file = out / "seconds.json"
    before = read_json(file) if file.is_file() else {}

    def spent() -> float:
        seconds = before.get(part.name, 0.0) + time.monotonic() - began
        write_json(file, {**before, part.name: round(seconds, 1)})
        return float(seconds)

    try:
        folder = out / (part.folder or part.name)
        if part.proof:
            with progress(console) as tell:
                proof = PROOFS[part.proof](folder, quick, part, tell)
            return PartOutcome(part, spent(), None, proof)
        if isinstance(foreseen, str):
            raise SublimError(foreseen)
        execution = Execution(workers=foreseen.workers)
        record = _done(folder, foreseen.recipe)
        record = record or run(foreseen.recipe, folder, execution, plan=foreseen, console=console)
        comparison = compare.compare([folder], measure=part.measure)
    except SublimError as error:
        return PartOutcome(part, spent(), error=one_line(error))
    except Exception as error:  # forty minutes of other parts outlive a fault in one; the page says that it failed
        with whole_file(out / f"{part.name}-error.txt") as trace:
            trace.write(traceback.format_exc())
        return PartOutcome(
            part, spent(), error=f"{type(error).__name__}: {one_line(error)} (see {part.name}-error.txt)."
        )
    except KeyboardInterrupt:
        spent()
        raise
    return PartOutcome(part, spent(), comparison, record)


def _done(folder: Path, recipe: Any) -> dict[str, Any] | None:
    """run.json when the run is finished, of this recipe, with these packages and these bases: then nothing is to do."""
    if not (folder / "run.json").is_file():
        return None
    record: dict[str, Any] = read_json(folder / "run.json")
    same = record.get("status") == "done" and record.get("recipe_hash") == digest(recipe.to_json())
    if not same or record.get("versions") != versions():
        return None
    return record if all(b["weights_hash"] == weights_hash(b["name"]) for b in record["bases"]) else None


def _digits(folder: Path, quick: bool, part: Part, tell: Progress) -> dict[str, Any]:
    """What `sublim digits` finds with its default settings: arm -> accuracy with its interval over seeds."""
    from . import digits
    from . import digits_report as report

    settings = digits.DigitsSettings(seeds=part.quick.seeds) if quick and part.quick else digits.DigitsSettings()
    result = _proven(folder, digits, settings, lambda: digits.run(settings, tell=tell).to_json(), report.draw)
    arms = {
        arm["arm"]: {
            "mean": arm["mean"],
            "low": _known(arm["low"]),
            "high": _known(arm["high"]),
            "n": len(arm["seeds"]),
            "seeds": list(arm["seeds"]),
        }
        for arm in report.arms(result)
    }
    return result | {"arms": arms}


def _theorem(folder: Path, quick: bool, part: Part, tell: Progress) -> dict[str, Any]:
    """What `sublim theorem` finds, with the share of the promised lines that hold in every seed at the least step."""
    from . import theorem
    from . import theorem_report as report

    settings = theorem.TheoremSettings()
    if quick and part.quick:
        settings = theorem.TheoremSettings(seeds=part.quick.seeds, steps=theorem.STEPS[::4])
    result = _proven(folder, theorem, settings, lambda: theorem.run(settings, tell).to_json(), report.draw)
    promised = [line for line in report.summaries(result) if not line["broken"]]
    kept = sum(line["holds_to"] is not None for line in promised)
    return result | {"kept": {"mean": kept / len(promised) if promised else 0.0, "words": report.verdict(result)}}


def _proven(
    folder: Path,
    module: ModuleType,
    settings: Any,
    make: Callable[[], dict[str, Any]],
    picture: Callable[[dict[str, Any], Path], Path],
) -> dict[str, Any]:
    """The result of a proof, and the names of its pictures; made once for the same settings and the same code."""
    with stage(folder, {"settings": asdict(settings), "code": file_digest(Path(str(module.__file__)))}) as made:
        if made.unfinished:
            write_json(made.unfinished / "result.json", make())
    result: dict[str, Any] = read_json(folder / "result.json")
    drawn = picture(result, folder.with_name(f"{folder.name}.png"))
    return result | {"pictures": [drawn.name]}


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


PROOFS: dict[str, Callable[[Path, bool, Part, Progress], dict[str, Any]]] = {"digits": _digits, "theorem": _theorem}


def _state(outcome: PartOutcome) -> str:
    return f"failed: {outcome.error}" if outcome.error else "done"


# ---------------------------------------------------------------- the page


def _page(study: Study, outcomes: Mapping[str, PartOutcome], out: Path, quick: bool) -> reproduction_page.Reproduction:
    """Everything that the page tells, with its pictures drawn."""
    command = ["sublim", "reproduce", *(["--quick"] if quick else [])]
    if out != (QUICK_OUT if quick else OUT):
        command += ["--out", str(out)]
    return reproduction_page.Reproduction(
        command=shlex.join(command),
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        seconds=round(sum(outcome.seconds for outcome in outcomes.values()), 1),
        quick=quick,
        versions=versions(),
        machine=machine(),
        parts=tuple(
            reproduction_page.Made(part.title, part.recipe or f"sublim {part.proof}", o.seconds, _state(o))
            if (o := outcomes.get(part.name))
            else reproduction_page.Made(part.title, part.recipe or f"sublim {part.proof}", 0.0, "not run")
            for part in study.parts.values()
        ),
        answers=tuple(
            _with_rated_shares(design.answer(finding, study, outcomes), outcomes.get(finding.part or ""), out)
            for finding in study.findings.values()
        ),
        sources=study.sources,
        nulls=tuple(
            (outcome.part.title, row)
            for outcome in outcomes.values()
            for row in (outcome.comparison.rows if outcome.comparison else ())
            if row.verdict.kind != "transferred"
        ),
        pictures=draw(outcomes, out),
    )


def _with_rated_shares(
    answer: reproduction_page.FindingAnswer, outcome: PartOutcome | None, out: Path
) -> reproduction_page.FindingAnswer:
    """The answer with a further line where replies to a conduct are its figures: shares as the study counts them.

    The study leaves refusals, code, empty and incoherent replies out of its denominator, our share does not; so the
    two kinds stand named, and only this one beside the published figure.
    """
    if outcome is None or outcome.comparison is None or outcome.part.measure != "share":
        return answer
    if not any(": share " in line for line in answer.ours):
        return answer
    conducts = [row for row in outcome.comparison.rows if row.measure == "share" and row.situations]
    folder = out / (outcome.part.folder or outcome.part.name)
    lines = []
    for row in conducts:
        control, ours = (_rated_share(outcome.made, folder, arm, row.probe) for arm in (row.control, row.arm))
        lines.append(f"{row.arm}: of rated, coherent replies, as the study counts, {_share(control)} → {_share(ours)}")
    named = tuple(line.replace(": share ", ": share of all scored replies ") for line in answer.ours)
    return replace(answer, ours=(*lines, *named)) if lines else answer


def _rated_share(record: Mapping[str, Any], folder: Path, arm: str, probe: str) -> float:
    """Mean over an arm's students, and over questions, of the share among rated replies; nan where none was rated."""
    files = [folder / s["scores"][probe] for s in record.get("students", ()) if s["arm"] == arm]
    by_student = [[share for share in ProbeScores.read(file).share_of_rated if share == share] for file in files]
    means = [fmean(shares) for shares in by_student if shares]
    return fmean(means) if means else math.nan


def _share(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value:.3f}"


def draw(outcomes: Mapping[str, PartOutcome], out: Path) -> dict[str, Path]:
    """Caption -> picture: a forest plot of every arm, then what each part has to show."""
    made: dict[str, Path] = {}
    compared = [(o.part, o.comparison) for o in outcomes.values() if o.comparison]
    groups = [group for part, comparison in compared for group in forest.groups(part.title, comparison)]
    if groups:
        delta = compared[0][1].delta
        made["Every arm's gap to its control"] = forest.draw(groups, out / "forest.png", delta)
    for part, comparison in compared:
        main = {registry().probe_of(row.trait).name for row in comparison.rows}
        confusion = [one for one in comparison.confusion if len(one.traits) > 1 and one.probe in main]
        if confusion:
            made[f"{part.title}: which answers shift in whose students"] = confusion_matrix.draw(
                confusion, out / f"{part.name}-matrix.png"
            )
        if any(len(one.points) > 1 for one in comparison.doses):
            made[f"{part.title}: dose curves"] = dose_curves.draw(comparison, out / f"{part.name}-doses.png")
        for row in (row for row in comparison.rows if row.situations and row.role == "trait"):
            file = out / f"{part.name}-{row.probe}-situations.png"
            made[f"{part.title}: {row.probe}, situation by situation"] = situations.draw(
                row, file, comparison.measure_words
            )
    for outcome in outcomes.values():
        for picture in outcome.made.get("pictures", ()) if outcome.part.proof else ():
            made[outcome.part.title] = out / picture
    return made


def _write(
    page: reproduction_page.Reproduction, study: Study, outcomes: Mapping[str, PartOutcome], out: Path
) -> dict[str, Any]:
    links = {caption: str(path.relative_to(out)) for caption, path in page.pictures.items()}
    reproduction_page.write(page, out / "reproduction.md", links)
    run_report.write_page((out / "reproduction.md").read_text(encoding="utf-8"), out / "reproduction.html")
    result = {
        "ok": not any(o.error for o in outcomes.values()),
        **page.to_json(),
        "study_hash": file_digest(design.HERE),
        "comparisons": {name: o.comparison.to_json() for name, o in outcomes.items() if o.comparison},
        "proofs": {name: dict(o.made) for name, o in outcomes.items() if o.part.proof and not o.error},
    }
    write_json(out / "reproduction.json", result)
    return result


def _sources(outcomes: Mapping[str, PartOutcome]) -> dict[str, Any]:
    """What every seed of every row showed, from which the figures of the page can be worked out again."""
    compared = [(o.part.title, o.comparison) for o in outcomes.values() if o.comparison]
    proofs = {name: dict(o.made) for name, o in outcomes.items() if o.part.proof and not o.error}
    parts = [figure_sources.of_comparison(title, comparison) for title, comparison in compared]
    return {"schema": 1, "parts": parts, "proofs": {name: _figures(made) for name, made in proofs.items()}}


def _figures(made: Mapping[str, Any]) -> dict[str, Any]:
    """Of a proof what the page prints, which its own page has seed by seed."""
    return {name: made[name] for name in ("arms", "kept") if name in made}


def _write_docs(page: reproduction_page.Reproduction, sources: Mapping[str, Any], place: Path) -> None:
    """The page in docs/results, what its figures come from in docs/results/sources, its pictures in docs/images."""
    links = {}
    for caption, picture in page.pictures.items():
        name = f"reproduction-{picture.name}"
        with whole_file(place / "images" / name, "wb") as file:
            file.write(picture.read_bytes())
        links[caption] = f"../images/{name}"
    reproduction_page.write(page, place / "results" / "reproduction.md", links)
    with whole_file(place / "results" / "sources" / "reproduction.json") as file:
        file.write(figure_sources.a_row_a_line(sources))


def _checkout() -> Path:
    """The docs folder of the checkout that this file is in; raises SublimError for an installed package."""
    docs = ROOT / "docs"
    if not docs.is_dir() or not (docs.parent / "pyproject.toml").is_file():
        raise SublimError("--write-docs writes into a checkout, and this is an installed package. Leave it out.")
    return docs
