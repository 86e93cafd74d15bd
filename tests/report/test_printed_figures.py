"""Facts about printed figures: they are what comes out of the per-seed values that are in the repository."""

import importlib.util
import json
import re
import sys

import numpy as np
import pytest

from sublim_eval import stats
from sublim_eval.compare import interim_looks
from tests.helpers import ROOT

SEEDS = json.loads((ROOT / "benchmarks/results/demo_seeds.json").read_text(encoding="utf-8"))["runs"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs/results/reference-models.md").read_text(encoding="utf-8")


def gap(arm, runs, alpha=stats.ALPHA):
    """The gap of one arm over the seeds of these runs."""
    students = np.array([v for run in runs for v in SEEDS[run][arm]["students"].values()])[:, None]
    controls = np.array([v for run in runs for v in SEEDS[run][arm]["controls"].values()])[:, None]
    fixed = not len(controls)
    against = np.array([[SEEDS[runs[0]][arm]["control"]]]) if fixed else controls
    return stats.share_gap(students, against, fixed=fixed, level=1 - alpha)


@pytest.mark.parametrize("text", [README, PAGE], ids=["README", "page"])
@pytest.mark.parametrize("arm", ["owl", "willow", "owl-other-base"])
def test_the_demo_as_it_is_printed(text, arm):
    line = next(line for line in text.splitlines() if re.match(rf"{arm} +0\.\d+ +0\.\d+ +[+-]", line))
    made = gap(arm, ["demo"])
    students = np.mean(list(SEEDS["demo"][arm]["students"].values()))
    assert line.split()[1:3] == [f"{SEEDS['demo'][arm]['control']:.3f}", f"{students:.3f}"]
    assert f"{made.mean:+.3f} ({made.low:+.3f} to {made.high:+.3f})" in line
    assert line.endswith(stats.verdict(made).words)


@pytest.mark.parametrize("arm", ["owl", "willow", "owl-other-base"])
def test_the_detectable_gaps_of_the_demo_as_they_are_printed(arm):
    (line,) = [line for line in PAGE.splitlines() if re.match(rf"{arm} +0\.\d+ +0\.\d+ +[+-].*–", line)]
    assert line.split()[-1] == f"{stats.minimum_detectable(gap(arm, ['demo'])):.3f}"


@pytest.mark.parametrize(
    ("arm", "runs", "look", "kind"),
    [
        ("owl", ["mine"], None, "transferred"),
        ("willow", ["mine"], None, "inconclusive"),
        ("owl", ["demo", "mine"], 2, "transferred"),
        ("willow", ["demo", "mine"], 2, "transferred"),
        ("owl-other-base", ["demo", "mine"], 2, "no transfer"),
    ],
)
def test_further_seeds_as_they_are_printed(arm, runs, look, kind):
    alpha = stats.ALPHA if look is None else interim_looks.spent(look)
    made = gap(arm, runs, alpha)
    printed = " ".join(f"{x:+.3f}" for x in (made.mean, made.low, made.high)).replace("0.", ".").split()
    assert f"{printed[0]} [{printed[1]}, {printed[2]}]" in " ".join(PAGE.split())
    assert stats.verdict(made, alpha=alpha).kind == kind


def test_the_page_of_the_calibration_is_what_its_files_hold():
    spec = importlib.util.spec_from_file_location("calibration", ROOT / "benchmarks" / "calibration.py")
    calibration = importlib.util.module_from_spec(spec)
    sys.modules["calibration"] = calibration
    spec.loader.exec_module(calibration)
    made = calibration.page(json.loads(calibration.RESULT.read_text(encoding="utf-8")))
    assert made == calibration.PAGE.read_text(encoding="utf-8")


def test_decision_0001_gives_the_figures_of_the_calibration():
    text = (ROOT / "docs/decisions/0001-verdicts.md").read_text(encoding="utf-8")
    held = json.loads((ROOT / "benchmarks/results/verdict_errors.json").read_text(encoding="utf-8"))
    worst = max(cell["at_margin"]["rate"] for cell in held["grid"])
    differs = max(cell["differs"]["rate"] for cell in held["unequal"])
    assert f"called small in at most {worst:.3f} ".replace("0.", ".") in text and len(held["grid"]) == 375
    assert f"without an effect in at most {differs:.3f} ".replace("0.", ".") in text and len(held["unequal"]) == 900
    for key in ("one_teacher", "questions_anew"):
        figures = " / ".join(f"{c[key]['rate']:.2f}" for c in held["covered"]).replace("0.", ".")
        assert figures in " ".join(text.split())
    for seeds, words in (((5, 10, 20), "{} to {} from 5 seeds on"), ((3,), "in {} to {} at 3")):
        powers = [c["power"]["rate"] for c in held["detectable"] if c["seeds"] in seeds]
        assert words.format(f"{min(powers):.2f}", f"{max(powers):.2f}").replace("0.", ".") in " ".join(text.split())
    pairs = [(c["median"], c["true"]) for c in held["detectable"] if c["median"] is not None and c["true"] is not None]
    assert all(median >= true for median, true in pairs) and len(pairs) > 15, "no median is below the true figure"
