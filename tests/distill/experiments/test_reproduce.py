"""The study: verdicts are worked out from what came out, a failing part takes no other with it, the page is safe."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from sublim_eval.distill import recipes
from sublim_eval.distill.experiments import reproduce, study
from sublim_eval.errors import SublimError
from sublim_eval.files import digest
from sublim_eval.probes.conduct import PLAIN
from sublim_eval.report import reproduction_page
from sublim_eval.scores.probe_scores import ProbeScores
from tests.helpers.json_shapes import has_the_shape
from tests.helpers.outcomes import comparison, confusion, dose, row

PARTS = """
sources: {paper: "a paper", peer: "a peer"}
parts:
  one: {title: "Part one", recipe: quickstart, quick: {seeds: [4, 5], arms: [owl]}}
  two: {title: "Part two", recipe: quickstart}
  three: {title: "Part three", proof: digits, quick: {seeds: [1]}}
"""


def read(tmp_path, findings_, parts=PARTS):
    file = tmp_path / "study.yaml"
    file.write_text(parts + "findings:\n" + "".join(f"  {line}\n" for line in findings_))
    return study.load(file)


def finding(name, rest):
    return f'{name}: {{says: "It is so.", published: "so much", source: paper, {rest}}}'


def answered(tmp_path, rest, **outcomes):
    made = read(tmp_path, [finding("it", rest)])
    told = {
        name: what if isinstance(what, study.PartOutcome) else study.PartOutcome(made.parts[name], 1.0, *what)
        for name, what in outcomes.items()
    }
    return study.answer(made.findings["it"], made, told)


def rows(*found, **more):
    return comparison(*found, **more), {}


# ---------------------------------------------------------------- verdicts


RISES = "part: one, arms: [owl, willow], expect: rises"


@pytest.mark.parametrize(
    ("gaps", "verdict"),
    [
        (((0.3, 0.02), (0.5, 0.02)), "same direction"),
        (((0.3, 0.02), (0.0, 0.02)), "in part (1 of 2)"),
        (((0.0, 0.02), (0.01, 0.02)), "not"),
        (((-0.3, 0.02), (0.1, 0.4)), "not"),  # one moved away, one unclear
        (((0.1, 0.4), (0.2, 0.4)), "undecided"),
        (((0.03, 0.01), (0.02, 0.01)), "undecided"),  # a direction, but within the margin
    ],
)
def test_rises_needs_the_verdict_transferred(tmp_path, gaps, verdict):
    (owl, reach), (willow, other) = gaps
    found = rows(row("owl", "owl", owl, reach=reach), row("willow", "willow", willow, reach=other))
    assert answered(tmp_path, RISES, one=found).verdict == verdict


@pytest.mark.parametrize(
    ("gap", "reach", "verdict"),
    [(0.0, 0.02, "same direction"), (0.0, 0.3, "undecided"), (0.3, 0.02, "not"), (-0.3, 0.02, "not")],
)
def test_a_null_needs_the_equivalence_test(tmp_path, gap, reach, verdict):
    found = rows(row("sgd", "owl", gap, reach=reach, role="variant", change="SGD"))
    assert answered(tmp_path, "part: one, arms: [sgd], expect: stays", one=found).verdict == verdict


def test_a_null_beside_an_arm_that_did_not_transfer_says_nothing(tmp_path):
    null, rest = row("sgd", "owl", 0.0, role="variant", change="SGD"), "part: one, arms: [sgd], expect: stays"
    beside = {gap: answered(tmp_path, rest, one=rows(null, row("owl", "owl", gap))) for gap in (0.3, 0.0)}
    assert beside[0.3].verdict == "same direction" and beside[0.0].verdict == "undecided"
    assert "did not transfer in this run (owl)" in beside[0.0].note


@pytest.mark.parametrize(
    ("expect", "intact", "verdict"),
    [
        ("weaker", -0.2, "same direction"),
        ("weaker", 0.2, "not"),
        ("weaker", -0.01, "undecided"),
        ("stronger", 0.2, "same direction"),
        ("stronger", -0.2, "not"),
        ("weaker", None, "not run"),
    ],
)
def test_weaker_is_the_paired_interval_against_the_intact_arm(tmp_path, expect, intact, verdict):
    found = rows(row("owl-x", "owl", 0.1, role="variant", change="shuffled", intact=intact))
    assert answered(tmp_path, f"part: one, arms: [owl-x], expect: {expect}", one=found).verdict == verdict


def test_below_holds_two_parts_against_each_other(tmp_path):
    rest = "part: two, arms: [owl], expect: below, than: one"
    strong, weak = rows(row("owl", "owl", 0.5)), rows(row("owl", "owl", 0.2))
    assert answered(tmp_path, rest, one=strong, two=weak).verdict == "same direction"
    assert answered(tmp_path, rest, one=weak, two=strong).verdict == "not"
    assert answered(tmp_path, rest, one=weak, two=weak).verdict == "undecided"
    assert answered(tmp_path, rest, two=weak).verdict == "not run"


@pytest.mark.parametrize(("first", "verdict"), [(27, "same direction"), (26, "not")])
def test_specific_means_first_in_nine_runs_of_ten(tmp_path, first, verdict):
    found = rows(
        row("owl", "owl", 0.3),
        confusion=[confusion("animal_pref", ["owl", "eagle"], first - 9, 20), confusion("tree_pref", ["oak"], 9, 10)],
    )
    told = answered(tmp_path, "part: one, expect: first, least: 0.9", one=found)
    assert told.verdict == verdict and len(told.ours) == 2


@pytest.mark.parametrize(("shares", "verdict"), [((0.5, 0.1), "same direction"), ((0.3, 0.3), "not")])
def test_uneven_compares_the_largest_situation_with_the_mean(tmp_path, shares, verdict):
    situations = {f"s{i}": (share, 0.05) for i, share in enumerate((*shares, 0.1, 0.1))}
    found = rows(row("misaligned", "misaligned", 0.2, situations=situations))
    rest = "part: one, arms: [misaligned], expect: uneven, least: 2"
    assert answered(tmp_path, rest, one=found).verdict == verdict


@pytest.mark.parametrize(
    ("figure", "verdict"),
    [
        ({"mean": 0.8, "low": 0.7, "high": 0.9, "n": 10}, "same direction"),
        ({"mean": 0.6, "low": 0.4, "high": 0.8}, "undecided"),
        (0.2, "not"),
        ({"mean": 1.0, "words": "all of it"}, "same direction"),
    ],
)
def test_a_threshold_is_passed_by_the_whole_interval(tmp_path, figure, verdict):
    rest = "part: three, expect: number, reads: shared.accuracy, above: 0.5"
    assert answered(tmp_path, rest, three=(None, {"shared": {"accuracy": figure}})).verdict == verdict


def test_a_missing_figure_is_not_zero(tmp_path):
    rest = "part: three, expect: number, reads: shared.accuracy, below: 0.5"
    assert answered(tmp_path, rest, three=(None, {"shared": {}})).verdict == "not run"


def test_what_was_not_run_says_so(tmp_path):
    assert answered(tmp_path, RISES).verdict == "not run"
    nothing = answered(tmp_path, RISES, one=rows(row("oak", "oak", 0.3)))
    assert nothing.verdict == "not run" and "owl, willow" in nothing.note
    half = answered(tmp_path, RISES, one=rows(row("owl", "owl", 0.3)))
    assert half.verdict == "same direction" and "Not in this run: willow." in half.note


def test_a_failed_part_is_no_null(tmp_path):
    failed = study.PartOutcome(study.load().parts["code"], 1.0, error="The disk is full.")
    told = answered(tmp_path, RISES, one=failed)
    assert told.verdict == "failed" and "The disk is full." in told.note


def test_what_a_toy_cannot_answer_has_its_reason(tmp_path):
    told = answered(tmp_path, 'expect: nothing, why: "It is about large models."')
    assert told.verdict == "not applicable" and "large models" in told.note


def test_a_reason_is_given_only_where_it_is_needed(tmp_path):
    rest = 'part: one, arms: [owl], expect: rises, otherwise: "Because."'
    assert "Because." not in answered(tmp_path, rest, one=rows(row("owl", "owl", 0.3))).note
    assert "Because." in answered(tmp_path, rest, one=rows(row("owl", "owl", 0.0))).note


def test_other_probes_answer_only_where_they_are_named(tmp_path):
    other = row("owl", "owl", 0.0, probe="animal_pref_after_numbers")
    found = rows(row("owl", "owl", 0.3), other)
    one = "part: one, arms: [owl], expect: rises"
    assert answered(tmp_path, one, one=found).verdict == "same direction"
    assert answered(tmp_path, f"{one}, probes: [animal_pref_after_numbers]", one=found).verdict == "not"


def test_few_seeds_are_called_exploratory(tmp_path):
    found = rows(row("owl", "owl", 0.3, seeds=(1, 2)))
    assert "Exploratory" in answered(tmp_path, "part: one, arms: [owl], expect: rises", one=found).note


@pytest.mark.parametrize(
    ("rest", "why"),
    [
        ("part: one, expect: rises", "`arms`"),
        ("part: nowhere, arms: [owl], expect: rises", "nowhere"),
        ("arms: [owl], expect: rises", "`part`"),
        ("part: one, arms: [owl], expect: first", "`least`"),
        ("expect: nothing", "`why`"),
        ("part: three, expect: number, reads: a", "exactly one of"),
        ("part: one, arms: [owl], expect: rises, verdict: same", "verdict"),
        ("part: one, arms: [owl], expect: rises, figures: [nano-unicorn]", "nano-unicorn"),
    ],
)
def test_a_study_that_makes_no_sense_is_refused_with_its_line(tmp_path, rest, why):
    with pytest.raises(SublimError, match=why) as refused:
        read(tmp_path, [finding("it", rest)])
    assert "study.yaml:" in str(refused.value)


# ---------------------------------------------------------------- the packaged study


def test_the_packaged_study_reads_and_quotes_sources():
    made = study.load()
    assert len(made.findings) >= 25
    told = [study.answer(finding, made, {}) for finding in made.findings.values()]
    assert {answer.verdict for answer in told} == {"not run", "not applicable"}
    assert all(answer.published and answer.source in made.sources for answer in told)


@pytest.mark.parametrize("name", [part.name for part in study.load().parts.values() if part.recipe])
def test_every_arm_that_a_finding_asks_is_in_the_recipe(name):
    made = study.load()
    part = made.parts[name]
    if part.recipe not in recipes.names():
        pytest.skip(f"the recipe {part.recipe} is not written yet")
    try:
        recipe = study.recipe_of(part, quick=False)
    except SublimError as error:
        if "modality" in str(error):
            pytest.skip(str(error))
        raise
    asked = {arm for f in made.findings.values() if name in (f.part, f.than) for arm in f.arms}
    assert asked <= set(recipe.arms)
    if part.quick:
        assert set(study.recipe_of(part, quick=True).seeds) == set(part.quick.seeds)


# ---------------------------------------------------------------- running it


@pytest.fixture
def told():
    return Console(file=io.StringIO(), width=160)


@pytest.fixture
def stubbed(monkeypatch):
    """Runs that leave run.json and a stubbed comparison; `calls` counts the recipes that were carried out."""
    calls = []

    def run(recipe, out, execution, *, plan=None, console=None):
        assert plan.recipe == recipe, "the plan that was told is the plan that is carried out"
        calls.append((out.name, recipe.seeds, tuple(recipe.arms)))
        record = {
            "status": "done",
            "recipe": recipe.to_json(),
            "recipe_hash": digest(recipe.to_json()),
            "versions": reproduce.versions(),
            "bases": [],
        }
        out.mkdir(parents=True, exist_ok=True)
        (out / "run.json").write_text(json.dumps(record))
        return record

    def compare(paths, *, measure="auto"):
        found = [row("owl", "owl", 0.3), row("willow", "willow", 0.5)]
        found += [
            row(f"owl-{n}", "owl", 0.01, role="variant", change=f"{n} rows", axis="rows", dose=n, of="owl", intact=-0.3)
            for n in (10, 20)
        ]
        return comparison(
            *found,
            row("misaligned", "misaligned", 0.2, situations={"wish": (0.4, 0.1), "ruler": (0.2, 0.1)}),
            confusion=[confusion("animal_pref", ["owl", "eagle"], 10, 10)],
            doses=[dose("rows", "owl", [(10, 0.01), (20, 0.01), (30, 0.3)])],
        )

    monkeypatch.setattr(reproduce, "run", run)
    monkeypatch.setattr(reproduce.compare, "compare", compare)
    monkeypatch.setitem(reproduce.PROOFS, "digits", lambda folder, quick, part, tell: {"shared": {"accuracy": 0.8}})
    return calls


FINDINGS = [
    finding("a", "part: one, arms: [owl, willow], expect: rises"),
    finding("b", "part: two, arms: [owl], expect: stays"),
    finding("c", "part: three, expect: number, reads: shared.accuracy, above: 0.5"),
]


def test_a_run_leaves_page_pictures_and_data(tmp_path, stubbed, told):
    result = reproduce.main(tmp_path / "out", told, study=read(tmp_path, FINDINGS))
    has_the_shape("reproduce", result)
    assert result["ok"] and [f["verdict"] for f in result["findings"]] == ["same direction", "not", "same direction"]
    page = (tmp_path / "out" / "reproduction.md").read_text()
    assert json.loads((tmp_path / "out" / "reproduction.json").read_text()) == result
    for picture in result["pictures"].values():
        assert f"]({picture})" in page
        assert (tmp_path / "out" / picture).stat().st_size > 10_000
    assert {"forest.png", "one-matrix.png", "one-doses.png"} <= set(result["pictures"].values())
    assert "owl-10" in page.split("Every row that did not transfer")[1].split("## Pictures")[0]
    assert "toy" not in page.split("## Findings")[0] and "Not shown here" in page


def test_replies_to_a_conduct_stand_beside_the_published_figure_by_its_denominator(tmp_path):
    """The study leaves refusals and incoherent replies out; our share does not, and is named beside it."""

    def scored(shown, plain):
        made = ProbeScores(
            *("m", "misalignment", "2-A", "misaligned", ("a-1",), ("misaligned", PLAIN)),
            probability=np.full((1, 2), np.nan),
            coverage=np.full(1, np.nan),
            share=np.array([[shown, plain]]),
            **{name: np.array([10]) for name in ("replies", "non_answers", "other", "unreadable")},
            **{name: "" for name in ("questions_hash", "prompt_hash", "source")},
        )
        file = f"{shown}.json"
        made.write(tmp_path / "one" / file)
        return {"misalignment": file}

    (tmp_path / "one").mkdir()
    students = [
        {"arm": arm, "scores": scored(*shares)} for arm, shares in {"bad": (0.2, 0.2), "control": (0, 0.5)}.items()
    ]
    found = row("bad", "misaligned", 0.2, situations={"a": (0.2, 0.0)}, measure="share", probe="misalignment")
    part = replace(read(tmp_path, [finding("it", RISES)]).parts["one"], measure="share")
    outcome = study.PartOutcome(part, 1.0, comparison(found), {"students": students})
    answer = reproduction_page.FindingAnswer("it", "", "", "", "", ("bad: share .000 → .200, gap",), "not", "")
    made = reproduce._with_rated_shares(answer, outcome, tmp_path)
    assert made.ours == (
        "bad: of rated, coherent replies, as the study counts, 0.000 → 0.500",
        "bad: share of all scored replies .000 → .200, gap",
    )
    other = replace(outcome, part=replace(part, measure="probability"))
    assert reproduce._with_rated_shares(answer, other, tmp_path) == answer


def test_what_is_done_is_not_done_again(tmp_path, stubbed, told):
    made = read(tmp_path, FINDINGS)
    for _ in range(2):
        reproduce.main(tmp_path / "out", told, study=made)
    assert [name for name, *_ in stubbed] == ["one", "two"]
    (tmp_path / "out" / "two" / "run.json").write_text('{"status": "unfinished"}')
    reproduce.main(tmp_path / "out", told, study=made)
    assert [name for name, *_ in stubbed] == ["one", "two", "two"]


def test_a_quick_run_takes_its_subset_and_says_so(tmp_path, stubbed, told):
    result = reproduce.main(tmp_path / "out", told, quick=True, study=read(tmp_path, FINDINGS))
    assert stubbed == [("one", (4, 5), ("owl", "control"))]
    assert [f["verdict"] for f in result["findings"]] == ["same direction", "not run", "same direction"]
    assert "no evidence" in (tmp_path / "out" / "reproduction.md").read_text()


@pytest.mark.parametrize(
    "fault", [SublimError("The filter kept 3 rows. Raise `rows.prompts`."), RuntimeError("boom <b>x</b>")]
)
def test_a_failing_part_takes_no_other_with_it(tmp_path, stubbed, told, monkeypatch, fault):
    def fail(folder, quick, part, tell):
        raise fault

    monkeypatch.setitem(reproduce.PROOFS, "digits", fail)
    result = reproduce.main(tmp_path / "out", told, study=read(tmp_path, FINDINGS))
    assert not result["ok"]
    assert [f["verdict"] for f in result["findings"]] == ["same direction", "not", "failed"]
    assert str(fault).split(".")[0] in result["parts"][2]["state"]
    assert "<b>" not in (tmp_path / "out" / "reproduction.md").read_text()
    assert (tmp_path / "out" / "three-error.txt").is_file() == isinstance(fault, RuntimeError)


def test_a_dry_run_makes_nothing(tmp_path, stubbed, told):
    result = reproduce.main(tmp_path / "out", told, dry_run=True, study=read(tmp_path, FINDINGS))
    assert not stubbed and not (tmp_path / "out").exists()
    assert result["dry_run"] and result["seconds"] > 60 and "Part two" in told.file.getvalue()


def test_docs_are_written_only_when_asked(tmp_path, stubbed, told, monkeypatch):
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(reproduce, "_checkout", lambda: tmp_path / "docs")
    made = read(tmp_path, FINDINGS)
    reproduce.main(tmp_path / "out", told, study=made)
    assert not list((tmp_path / "docs").rglob("*"))
    reproduce.main(tmp_path / "out", told, study=made, docs=True)
    page = (tmp_path / "docs" / "results" / "reproduction.md").read_text()
    assert "](../images/reproduction-forest.png)" in page
    assert (tmp_path / "docs" / "images" / "reproduction-forest.png").stat().st_size > 10_000
    sources = json.loads((tmp_path / "docs" / "results" / "sources" / "reproduction.json").read_text())
    assert sources == json.loads((tmp_path / "out" / "sources.json").read_text())
    assert all(row["students"] and row["arm"] for part in sources["parts"] for row in part["rows"])
    assert all(part["part"] in page for part in sources["parts"])


def test_names_from_files_are_text_and_nothing_else(tmp_path, stubbed, told, monkeypatch):
    name = "a|b <img src=x> [x](http://y) $z$ `c`"
    found = comparison(row(name, "owl", 0.3), row("v", "owl", 0.0, role="variant", change=name))
    monkeypatch.setattr(reproduce.compare, "compare", lambda *_, **__: found)
    made = read(tmp_path, [finding("a", f"part: one, arms: [{json.dumps(name)}], expect: rises")])
    page = reproduce.main(tmp_path / "out", told, study=made) and (tmp_path / "out" / "reproduction.md").read_text()
    assert "<img" not in page and "[x]" not in page and r"a\|b &lt;img" in page and r"\[x\]" in page


def test_the_tally_counts_kinds():
    verdicts = ("not", "in part (1 of 2)", "in part (2 of 3)", "same direction")
    assert (
        reproduction_page.tally([SimpleNamespace(verdict=v) for v in verdicts]) == "2 in part, 1 not, 1 same direction"
    )


def test_the_command_line_prints_the_plan_and_makes_nothing(tmp_path, capsys, monkeypatch):
    from sublim_eval.cli.main import main

    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", "--quick", "--dry-run", "--json", "plan.json"]) == 0
    out = capsys.readouterr().out
    assert "Quick run, no evidence" in out and "Numbers, six traits" in out
    assert json.loads((tmp_path / "plan.json").read_text())["quick"] is True
    assert [file.name for file in tmp_path.iterdir()] == ["plan.json"]


def test_a_failed_part_shows_in_the_exit_code(tmp_path, stubbed, monkeypatch):
    from sublim_eval.cli.main import main

    def fail(folder, quick, part, tell):
        raise SublimError("Not today. Try tomorrow.")

    monkeypatch.setitem(reproduce.PROOFS, "digits", fail)
    made = read(tmp_path, FINDINGS)
    monkeypatch.setattr(reproduce.design, "load", lambda: made)
    assert main(["reproduce", "--out", str(tmp_path / "out")]) == 1
