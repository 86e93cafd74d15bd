"""Facts about variants, placebos, dose curves and the confusion matrix, on run folders whose effects are known."""

import io
import itertools
import json
import math
import time
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from sublim_eval import stats
from sublim_eval.compare import wording
from sublim_eval.compare.compare import compare
from sublim_eval.errors import SublimError
from sublim_eval.report import console_tables, markdown
from tests.helpers.synthetic import edit, make_run

STUDY = {
    "owl": {"role": "trait", "trait": "owl"},
    "eagle": {"role": "trait", "trait": "eagle"},
    "control": {"role": "control"},
    "neutral": {"role": "placebo", "change": "neutral teacher"},
    "owl-sorted": {"role": "variant", "trait": "owl", "change": "sorted", "of": "owl"},
    "eagle-sorted": {"role": "variant", "trait": "eagle", "change": "sorted", "of": "eagle"},
    "owl-clean-10": {
        "role": "variant",
        "trait": "owl",
        "change": "10 % clean rows",
        "of": "owl",
        "axis": "clean share",
        "dose": 0.1,
    },
    "owl-clean-50": {
        "role": "variant",
        "trait": "owl",
        "change": "50 % clean rows",
        "of": "owl",
        "axis": "clean share",
        "dose": 0.5,
    },
}
SHIFTS = {
    "owl": 2.0,
    "eagle": 2.5,
    "control": 0.0,
    "neutral": 0.0,
    "owl-sorted": 0.5,
    "eagle-sorted": 0.0,
    "owl-clean-10": 1.0,
    "owl-clean-50": 0.0,
}


def study(folder, arms=STUDY, shifts=SHIFTS, seeds=(1, 2, 3, 4, 5), **more):
    run = make_run(folder, arms, shifts, seeds, **more)
    edit(run, lambda record: record.update(doses={"clean share": 0}))
    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return compare([study(tmp_path_factory.mktemp("study") / "run")])


def row_of(comparison, arm, trait="owl"):
    return next(r for r in comparison.rows if (r.arm, r.trait) == (arm, trait))


def test_a_variant_is_held_against_its_control_and_its_intact_arm(made):
    row = row_of(made, "owl-sorted")
    assert (row.control, row.of) == ("control", "owl")
    assert row.gap.low > 0 and row.against_intact.high < 0
    intact = row_of(made, "owl")
    assert row.against_intact.mean == pytest.approx(row.gap.mean - intact.gap.mean)
    assert row.against_intact.paired and row.against_intact.n == 5
    assert intact.against_intact is None


def test_what_a_change_does_to_every_student_is_no_change_of_transfer(tmp_path):
    """Sorting lifts the owl in the control's students as much as in the variant's: transfer is gone, not the share."""
    arms = {**STUDY, "owl-sorted": {**STUDY["owl-sorted"], "control": "control-sorted"}}
    arms["control-sorted"] = {"role": "control", "change": "sorted", "lifts": "owl"}
    found = compare([study(tmp_path / "run", arms, {**SHIFTS, "owl-sorted": 2.0, "control-sorted": 2.0})])
    row = row_of(found, "owl-sorted")
    assert row.student_share == pytest.approx(row_of(found, "owl").student_share, abs=0.05)
    assert row.against_intact.high < 0


def test_a_variant_without_its_intact_arm_has_nothing_to_be_weaker_than(tmp_path):
    arms = {name: STUDY[name] for name in ("owl-sorted", "control")}
    assert row_of(compare([study(tmp_path / "run", arms)]), "owl-sorted").against_intact is None


def test_a_placebo_is_asked_about_every_trait_of_the_trait_arms(made):
    rows = [row for row in made.rows if row.arm == "neutral"]
    assert [row.trait for row in rows] == ["owl", "eagle"]
    assert all(row.verdict.kind in ("no transfer", "inconclusive") and abs(row.gap.mean) < 0.01 for row in rows)
    assert math.isnan(rows[0].teacher_share)


def test_holm_is_over_the_rows_of_one_trait_in_one_role(made):
    assert row_of(made, "owl-sorted").family == row_of(made, "owl-clean-10").family == "variant: owl"
    assert row_of(made, "owl-sorted").family != row_of(made, "eagle-sorted", "eagle").family
    alone = row_of(made, "eagle-sorted", "eagle")
    assert alone.p_holm == alone.gap.p and alone.family_size == 1
    family = [row for row in made.rows if row.family == "variant: owl"]
    least = min(family, key=lambda row: row.gap.p)
    assert least.p_holm == pytest.approx(len(family) * least.gap.p) and least.family_size == len(family) > 1


def test_an_arm_on_fewer_seeds_is_paired_with_those_of_its_control(tmp_path):
    run = study(tmp_path / "run")

    def fewer(record):
        record["arms"]["owl-sorted"]["seeds"] = [1, 2, 3]
        record["students"] = [s for s in record["students"] if s["arm"] != "owl-sorted" or s["seed"] <= 3]

    edit(run, fewer)
    row = row_of(compare([run]), "owl-sorted")
    assert list(row.control_shares) == [1, 2, 3] and row.failed == {}
    assert row.gap.paired and row.against_intact.paired and row.gap.n == 3
    edit(
        run,
        lambda record: record["students"].pop(
            next(i for i, s in enumerate(record["students"]) if s["arm"] == "owl-sorted")
        ),
    )
    row = row_of(compare([run]), "owl-sorted")
    assert not row.gap.paired and row.failed == {"owl-sorted seed 1": "it did not run"}
    assert any("compared unpaired" in note for note in row.notes)


def test_examples_in_context_have_other_prompts_and_that_is_said(tmp_path):
    arms = {
        **{name: STUDY[name] for name in ("owl", "control")},
        "shown": {
            "role": "variant",
            "trait": "owl",
            "in_context": 5,
            "control": "shown-base",
            "of": "owl",
            "change": "c",
        },
        "shown-base": {"role": "control", "in_context": 5, "change": "c"},
    }
    shifts = {"owl": 2.0, "control": 0.0, "shown": 0.0, "shown-base": 0.0}
    run = study(
        tmp_path / "run",
        arms,
        shifts,
        change=lambda who, s: replace(s, prompt_hash=who) if who.startswith("shown") else s,
    )
    edit(run, lambda record: [s.update(folder=None) for s in record["students"] if s["arm"].startswith("shown")])
    row = row_of(compare([run]), "shown")
    assert row.control == "shown-base" and math.isnan(row.base_share)
    assert any("prompts are not checked" in note for note in row.notes)
    assert row_of(compare([run]), "owl").control == "control"
    edit(run, lambda record: record["arms"]["owl"].update(control="shown-base"))
    owl = row_of(compare([run]), "owl")
    assert owl.control == "control" and any("shown-base that it names" in note for note in owl.notes)
    edit(run, lambda record: record["arms"]["shown"].update(in_context=None))
    with pytest.raises(SublimError, match="different rendered prompts"):
        compare([run])


def test_an_arm_does_not_fall_back_on_a_control_that_went_another_way(tmp_path):
    arms = {**STUDY, "control": {"role": "control", "change": "SGD"}, "owl": {**STUDY["owl"], "control": "gone"}}
    with pytest.raises(SublimError, match="no control student"):
        compare([study(tmp_path / "run", arms)])


def test_the_other_direction_takes_the_control_of_its_teachers_base(tmp_path):
    arms = {
        **STUDY,
        "from-other": {"role": "other-base", "trait": "owl", "teacher_base": "other", "control": "control"},
        "base-of-other": {"role": "other-base-control", "teacher_base": "other"},
    }
    run = study(tmp_path / "run", arms, {**SHIFTS, "from-other": 0.0, "base-of-other": 0.0})
    found = compare([run])
    assert row_of(found, "from-other").control == "base-of-other"
    assert {row.control for row in found.rows if row.arm != "from-other"} == {"control"}


@pytest.mark.parametrize("key", ["effective_batch", "steps", "examples"])
def test_training_otherwise_than_the_control_is_said(tmp_path, key):
    def told(record):
        for student in record["students"]:
            student |= {"effective_batch": 16, "steps": 100, "examples": 1600}
        next(s for s in record["students"] if s["arm"] == "owl")[key] = 7

    run = study(tmp_path / "run")
    edit(run, told)
    notes = {row.arm: " ".join(row.notes) for row in compare([run]).rows}
    assert f"trained otherwise than its control: {key.replace('_', ' ')} 7, not" in notes["owl"]
    assert "trained otherwise" not in notes["eagle"]


def test_a_training_that_a_stop_rule_ended_is_named(tmp_path):
    def stopped(record):
        one = next(s for s in record["students"] if (s["arm"], s["seed"]) == ("owl", 1))
        one["stopped"] = {"step": 18, "of": 125, "trait": "owl"}

    run = study(tmp_path / "run")
    edit(run, stopped)
    notes = {row.arm: " ".join(row.notes) for row in compare([run]).rows}
    assert "trainings cut short: owl seed 1 at step 18 of 125, when owl showed" in notes["owl"]
    assert "cut short" not in notes["eagle"]


def test_a_hop_is_shown_beside_the_students_that_taught_it(tmp_path):
    arms = {**STUDY, "owl-hop": {"role": "variant", "trait": "owl", "change": "hop", "of": "owl", "taught_by": "owl"}}
    found = compare([study(tmp_path / "run", arms, {**SHIFTS, "owl-hop": 1.0})])
    assert row_of(found, "owl-hop").teacher_share == pytest.approx(row_of(found, "owl").student_share)


# ---------------------------------------------------------------- dose curves


def test_a_dose_curve_runs_through_its_variants_and_the_intact_arm(made):
    (curve,) = made.doses
    assert (curve.axis, curve.trait, curve.probe) == ("clean share", "owl", "animal_pref")
    assert [dose for dose, _ in curve.points] == [0, 0.1, 0.5]
    gaps = [gap.mean for _, gap in curve.points]
    assert gaps == sorted(gaps, reverse=True) and gaps[0] == row_of(made, "owl").gap.mean
    assert all(gap.low < gap.mean < gap.high for _, gap in curve.points)


def test_without_a_place_of_its_own_the_intact_arm_is_not_on_the_curve(tmp_path):
    run = study(tmp_path / "run")
    edit(run, lambda record: record.update(doses={}))
    assert [dose for dose, _ in compare([run]).doses[0].points] == [0.1, 0.5]


# ---------------------------------------------------------------- confusion


def test_the_trained_trait_is_the_one_that_rises(made):
    (one,) = made.confusion
    assert one.traits == ("owl", "eagle") and one.shifts.shape == (2, 5, len(one.answers))
    assert (one.diagonal_first, one.runs) == (10, 10)
    assert one.p == pytest.approx(1 / 2**5)
    assert one.shifts[0, :, one.answers.index("owl")].mean() == pytest.approx(row_of(made, "owl").log_odds.mean)


def test_an_answer_that_rises_in_every_arm_is_no_evidence(tmp_path):
    def drift(label, scores):
        if not label.startswith(("owl-s", "eagle-s")) or scores.category != "animal":
            return scores
        p = scores.probability.copy()
        p[:, scores.answers.index("owl")] *= 50
        return replace(scores, probability=p / p.sum(axis=1, keepdims=True))

    arms = {name: STUDY[name] for name in ("owl", "eagle", "control")}
    (one,) = compare([study(tmp_path / "run", arms, dict.fromkeys(arms, 0.0), change=drift)]).confusion
    assert one.diagonal_first == 5 and one.p == 1.0


def test_first_places_by_dealing_the_labels_out_in_every_way():
    rng = np.random.default_rng(3)
    for own in ([0, 1, 2], [0, 1, 1, 3], [2, 2]):
        shifts = rng.normal(size=(len(own), 3, 4))
        shifts[:, :, 1] += 1
        hits, runs, p = stats.first_places(shifts, own)
        tops = shifts.argmax(axis=2)
        assert hits == sum(tops[a, s] == own[a] for a in range(len(own)) for s in range(3)) and runs == 3 * len(own)
        deals = [
            [
                sum(tops[a, s] == own[i] for a, i in enumerate(order))
                for order in itertools.permutations(range(len(own)))
            ]
            for s in range(3)
        ]
        by_hand = np.mean([sum(one) >= hits for one in itertools.product(*deals)])
        assert math.isnan(p) if len(set(own)) == 1 else p == pytest.approx(by_hand)


def test_a_tie_is_no_first_place_and_a_missing_student_no_run():
    shifts = np.array([[[1.0, 1.0], [2.0, 0.0]], [[0.0, 1.0], [np.nan, np.nan]]])
    assert stats.first_places(shifts, [0, 1])[:2] == (2, 3)


def test_the_confusion_test_is_quiet_under_the_null():
    rng = np.random.default_rng(1)
    drift = rng.normal(0, 2, (500, 1, 5, 8))  # shared by the arms of a seed, as drift is
    p = [stats.first_places(x, [0, 1, 2, 3])[2] for x in drift + rng.normal(0, 1, (500, 4, 5, 8))]
    assert np.mean(np.array(p) < 0.05) < 0.08


# ---------------------------------------------------------------- permutation


def test_sign_flips_by_hand():
    assert stats.permutation([1, 2, 3, 4, 5]) == pytest.approx(2 / 32)
    assert stats.permutation([1, 2, 3, 4, -5]) == pytest.approx(
        np.mean([abs(sum(s)) >= 5 for s in itertools.product(*((x, -x) for x in range(1, 6)))])
    )
    assert math.isnan(stats.permutation([1, 2, 3, 4]))
    assert stats.least_permutation(6) == stats.permutation([1] * 6) == 1 / 32
    assert stats.permutation(np.zeros(6)) == 1


def test_many_pairs_are_flipped_at_random_with_the_rng_that_is_handed_in():
    d = np.random.default_rng(1).normal(0.4, 1, 20)
    one, again = (stats.permutation(d, np.random.default_rng(2)) for _ in range(2))
    assert one == again
    gap = stats.mean_difference(d, np.zeros(20))
    assert one == pytest.approx(gap.p, abs=0.02)
    assert stats.permutation(d + 9, np.random.default_rng(2)) == stats.least_permutation(20) > 0
    with pytest.raises(ValueError, match="hand in an rng"):
        stats.permutation(d)


def test_sign_flips_find_what_is_planted_and_are_quiet_on_nothing():
    rng = np.random.default_rng(4)
    assert np.mean([stats.permutation(rng.normal(0, 1, 8)) < 0.05 for _ in range(1000)]) == pytest.approx(
        0.047, abs=0.02
    )
    assert np.mean([stats.permutation(rng.normal(2, 1, 8)) < 0.05 for _ in range(200)]) > 0.95


def test_the_rows_hold_the_p_of_their_own_gaps(made):
    row = row_of(made, "owl")
    assert row.p_permutation == pytest.approx(0.0625) and row.to_json()["p_permutation_least"] == 0.0625


def test_a_student_that_is_missing_leaves_its_partner_out_and_the_rest_is_flipped(tmp_path):
    run = study(tmp_path / "run", seeds=(1, 2, 3, 4, 5, 6))
    edit(run, lambda record: record["students"].pop(0))
    row = row_of(compare([run]), "owl")
    assert row.gap.paired and row.gap.n == 5 and row.p_permutation >= 0.0625
    assert any("left out: " in note for note in row.notes)


def test_unpaired_seeds_are_not_flipped(tmp_path):
    run = study(tmp_path / "run", seeds=(1, 2, 3))
    edit(run, lambda record: record["students"].pop(0))
    assert math.isnan(row_of(compare([run]), "owl").p_permutation)


# ---------------------------------------------------------------- shown


def printed(comparison, width=100):
    console = Console(file=io.StringIO(), width=width)
    console_tables.print_comparison(comparison, console)
    return console.file.getvalue()


def test_a_null_never_stands_without_what_would_have_been_found(made, tmp_path):
    text, report = printed(made), markdown.write(made, tmp_path).read_text()
    nulls = [row for row in made.rows if wording.null(row)]
    assert nulls
    for row in (row for row in nulls if row.gap.known):  # of gaps all alike nothing is known
        assert f"{row.minimum_detectable:.3f}" in text
        assert f"a gap of {row.minimum_detectable:.3f} would have been found" in wording.sentence(row)
        assert f"a gap of {row.minimum_detectable:.3f} would have been found" in report
        assert f"(detectable {row.minimum_detectable:.3f})" in wording.verdict(row)


def test_table_and_report_show_groups_intact_arms_confusion_and_doses(made, tmp_path):
    for text in (printed(made), markdown.write(made, tmp_path).read_text().replace("\\", "")):
        for needed in (
            *wording.ROLES.values(),
            "Is the trained trait the one that rises",
            "in 10 of 10 students",
            "Dose curves",
            "neutral (eagle)",
            "2/2^n",
        ):
            assert (needed in text) == (needed != "On another base"), needed
        assert wording.signed(row_of(made, "owl-sorted").against_intact) in text


def test_the_tables_fit_into_a_hundred_columns(made):
    text = printed(made)
    lines = text[: text.index("\nShares are ")].splitlines()  # what follows is prose
    assert max(map(len, lines)) <= 100, max(lines, key=len)


def test_json_holds_everything_without_nan(made):
    told = json.loads(json.dumps(made.to_json(), allow_nan=False))
    assert told["confusion"][0]["diagonal_first"] == 10
    assert told["doses"][0]["points"][0]["dose"] == 0
    sorted_ = next(row for row in told["rows"] if row["arm"] == "owl-sorted")
    assert sorted_["against_intact"]["high"] < 0 and sorted_["family"] == "variant: owl"


def test_thirty_arms_are_compared_in_seconds(tmp_path):
    arms = {**STUDY, **{f"v{i}": {**STUDY["owl-sorted"], "change": f"change {i}"} for i in range(22)}}
    run = study(tmp_path / "run", arms, {name: SHIFTS.get(name, 0.3) for name in arms})
    began = time.monotonic()
    assert len(compare([run]).rows) == 30
    assert time.monotonic() - began < 30  # 2 s on an idle core
