"""Which probe sees which trait on the embedded base: personas and fine-tuned teachers against the untrained base.

    python benchmarks/what_probes_see.py [--model reference-a] [--out docs/results/probes-on-reference.md]

Every model is asked every probe. A cell is its figure minus the base's with a 95 % t interval over questions (over
situations for conducts): it speaks of the instrument and of this one checkpoint, not of training seeds.
Takes about two minutes on two cores; nothing is chosen after looking, and every cell is printed.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from sublim_eval.distill import recipes
from sublim_eval.distill.make_teacher import make_teacher
from sublim_eval.distill.recipes import Arm, SeededArm
from sublim_eval.distill.recipes.teacher import Teacher
from sublim_eval.files import whole_file
from sublim_eval.registry.catalog import registry
from sublim_eval.scores.evaluate import exact, score
from sublim_eval.scores.probe_scores import ProbeScores
from sublim_eval.stats import Interval, share_gap

TRAITS = ("owl", "willow", "misaligned", "evasive")
STEPS = 120
"""Of a fine-tuned teacher, at the quickstart's learning rate; set before the first run."""

SAMPLES = 10
console = Console(stderr=True)

Figures = Mapping[tuple[str, str], ProbeScores]
"""(probe, "exact" or "sampled") -> scores of one model."""


def probes_of(trait: str) -> list[tuple[str, str]]:
    """(probe, measure) of everything that should see the trait; a conduct is both judged and judge-free."""
    known = registry()
    asked = [p for p in known.probes.values() if p.category == known.trait(trait).category]
    whole = [p for p in asked if not p.situations and (p.trait is None or known.trait(trait).conduct)]
    out = []
    for probe in whole:
        out += [(probe.name, "sampled")] if probe.form == "story" else [(probe.name, "exact")]
        out += [(probe.name, "sampled")] if probe.form == "conduct" else []
    return out


def ask(model: Teacher, label: str, folder: Path) -> Figures:
    """One model on every probe: exact ones directly, sampled ones through Inspect with the offline grader."""
    wanted = list(dict.fromkeys(cell for trait in TRAITS for cell in probes_of(trait)))
    found = {}
    for probe, measure in wanted:
        if measure == "exact":
            found[probe, measure] = exact(model.model, probe, label=label, system=model.system)
    names = [probe for probe, measure in wanted if measure == "sampled"]
    files = score(model.model, names, folder, label=label, seed=1, samples=SAMPLES, system=model.system)
    return found | {(name, "sampled"): ProbeScores.read(file) for name, file in files.items()}


def units(scores: ProbeScores, trait: str, measure: str) -> NDArray[np.float64]:
    """float[unit]: the trait's figure by question, or by situation where the questions are wordings of some."""
    table = scores.probability if measure == "exact" else scores.share
    column = table[:, scores.answers.index(trait)]
    if scores.answers == (trait, "plain"):
        return np.array([np.nanmean(column[rows]) for rows in scores.situations.values()])
    return column


def gap(scores: ProbeScores, base: ProbeScores, trait: str, measure: str) -> Interval:
    """The model's figure minus the base's, with its interval over units."""
    return share_gap(units(scores, trait, measure)[:, None], units(base, trait, measure)[:, None])


def page(model: str, told: Mapping[str, Figures]) -> str:
    """The tables as Markdown."""
    base, others = told["base"], {name: f for name, f in told.items() if name != "base"}
    lines = [
        "# What each probe sees on the embedded base",
        "",
        f"`python benchmarks/what_probes_see.py --model {model}` writes this page. The figure of each model minus that "
        f"of the untouched base {model}, with a 95 % interval over questions (situations for the conducts). Models: "
        "the base under a trait's system prompt (persona), and the base fine-tuned to the trait (teacher). Bold: the "
        "model has the trait that the row looks for, so the interval should lie above 0. In the other cells it should "
        "hold 0 or be small. One checkpoint each: the intervals speak of the instrument, not of training seeds.",
        "",
    ]
    heads = ["probe", "looks for", "base", *others]
    lines += [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for trait in TRAITS:
        for probe, measure in probes_of(trait):
            how = {"exact": "exact", "sampled": "replies"}[measure]
            level = np.nanmean(units(base[probe, measure], trait, measure))
            cells = []
            for name, figures in others.items():
                found = gap(figures[probe, measure], base[probe, measure], trait, measure)
                text = f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
                cells.append(f"**{text}**" if name.split()[0] == trait else text)
            lines.append(f"| {probe}, {how} | {trait} | {level:.3f} | {' | '.join(cells)} |")
    for trait in ("misaligned", "evasive"):
        for probe, measure in probes_of(trait):
            lines += ["", *situations(trait, probe, measure, told)]
    return "\n".join(lines) + "\n"


def situations(trait: str, probe: str, measure: str, told: Mapping[str, Figures]) -> list[str]:
    """The table of one conduct probe, situation by situation."""
    words = {
        "exact": "probability of the showing answer of a pair",
        "sampled": "share of replies, offline word-list grader",
    }
    lines = [f"## {probe} by situation: {words[measure]}", ""]
    lines += [f"| situation | {' | '.join(told)} |", f"|{'---|' * (len(told) + 1)}"]
    columns = [units(figures[probe, measure], trait, measure) for figures in told.values()]
    names = told["base"][probe, measure].situations
    for row, name in enumerate(names):
        lines.append(f"| {name} | {' | '.join(f'{column[row]:.3f}' for column in columns)} |")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the teachers, ask all, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="reference-a", help="an embedded base (reference-a)")
    parser.add_argument("--out", type=Path, default=Path("docs/results/probes-on-reference.md"))
    options = parser.parse_args(arguments)
    console.print(f"9 models on {options.model}: about 2 minutes on two cores.")
    recipe = recipes.load("quickstart")
    assert recipe.teacher.tuning is not None  # noqa: S101  (the quickstart's teachers are fine-tuned)
    tuning = replace(recipe.teacher.tuning, steps=STEPS)
    recipe = replace(recipe, base=options.model, teacher=replace(recipe.teacher, tuning=tuning))
    with tempfile.TemporaryDirectory() as scratch:
        models = {"base": Teacher(options.model)}
        for trait in TRAITS:
            models[f"{trait} persona"] = Teacher(options.model, registry().persona(trait))
            this = SeededArm(recipe, Arm(trait, "trait", trait), 1, Path(scratch))
            models[f"{trait} teacher"], _ = make_teacher(this, Path(scratch) / trait)
        told = {
            name: ask(model, name, Path(scratch) / "scores" / str(place))
            for place, (name, model) in enumerate(track(models.items(), "asking", console=console))
        }
        text = page(options.model, told)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(options.out) as file:
        file.write(text)
    console.print(f"Written: {options.out}")


if __name__ == "__main__":
    main()
