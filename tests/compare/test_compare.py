"""Facts about `compare`, on run folders whose effects are known."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from sublim_eval.compare.compare import compare
from sublim_eval.errors import SublimError
from sublim_eval.probes.resolve import probe_content
from sublim_eval.report import markdown
from sublim_eval.scores.readers import from_exact
from tests.helpers.synthetic import ARMS, SHIFTS, edit, make_run


def rows(comparison):
    return {row.arm: row for row in comparison.rows}


def test_planted_effects_are_found_and_the_other_base_stays_quiet(tmp_path):
    found = rows(compare([make_run(tmp_path / "run")]))
    assert list(found) == ["owl", "willow", "owl-other-base"]
    for arm in ("owl", "willow"):
        assert found[arm].verdict.words == "transferred"
        assert found[arm].gap.low > 0.05 and found[arm].log_odds.low > 1
        assert (found[arm].rank, found[arm].first_in, found[arm].largest) == (1, 3, arm)
        assert found[arm].tv > 3 * found[arm].tv_control
    assert found["owl-other-base"].verdict.words == "no transfer within ±0.05"


def test_no_effect_stays_quiet(tmp_path):
    found = rows(compare([make_run(tmp_path / "run", shifts=dict.fromkeys(SHIFTS, 0.0))]))
    assert {row.verdict.kind for row in found.values()} <= {"no transfer", "inconclusive"}
    assert all(row.minimum_detectable > 0 for row in found.values())


def test_shares_are_means_over_questions_seeds_and_teachers(tmp_path):
    run = make_run(tmp_path / "run", noise=0.1)
    row = rows(compare([run]))["owl"]
    files = {
        f"{a}-s{s}": json.loads((run / f"scores/{a}-s{s}/animal_pref.json").read_text())
        for a in ("owl", "control")
        for s in (1, 2, 3)
    }
    share = {k: np.mean([q[v["answers"].index("owl")] for q in v["probability"]]) for k, v in files.items()}
    assert row.student_shares == pytest.approx({s: share[f"owl-s{s}"] for s in (1, 2, 3)})
    assert row.control_shares == pytest.approx({s: share[f"control-s{s}"] for s in (1, 2, 3)})
    assert row.gap.mean == pytest.approx(row.student_share - row.control_share)
    assert row.teacher_share > 0.98 and row.base_share < 0.15


def test_other_base_without_its_control_is_held_against_that_base_untrained(tmp_path):
    row = rows(compare([make_run(tmp_path / "run")]))["owl-other-base"]
    assert row.control == "other, untrained" and row.control_shares == {}
    assert row.control_share == row.base_share
    assert any("held against that base untrained" in note for note in row.notes)


def test_other_base_prefers_a_control_on_its_own_base(tmp_path):
    arms = {**ARMS, "other-control": {"role": "other-base-control", "student_base": "other"}}
    run = make_run(tmp_path / "run", arms, {**SHIFTS, "other-control": 0.0})
    found = rows(compare([run]))
    assert found["owl-other-base"].control == "other-control" and len(found["owl-other-base"].control_shares) == 3
    assert found["owl"].control == "control"


def test_the_control_that_an_arm_names_is_the_one_taken(tmp_path):
    arms = {**ARMS, "neutral": {"role": "control"}, "willow": {**ARMS["willow"], "control": "neutral"}}
    found = rows(compare([make_run(tmp_path / "run", arms, {**SHIFTS, "neutral": 0.0})]))
    assert (found["owl"].control, found["willow"].control) == ("control", "neutral")


def test_exact_probability_where_all_have_it_else_sampled_shares(tmp_path):
    def forget(label, scores):
        return replace(scores, probability=scores.probability * np.nan) if label == "owl-s2" else scores

    assert compare([make_run(tmp_path / "a", replies=50)]).measure == "probability"
    sampled = compare([make_run(tmp_path / "b", replies=50, change=forget)])
    assert sampled.measure == "share" and "sampled replies" in sampled.measure_words
    assert 0 < rows(sampled)["owl"].non_answers < 0.1
    with pytest.raises(SublimError, match="exact first-answer probability for every question of owl-s2"):
        compare([tmp_path / "b"], measure="probability")
    with pytest.raises(SublimError, match="Score them again"):
        compare([make_run(tmp_path / "c", change=forget)])


def test_without_sampled_replies_non_answers_are_unknown_and_not_zero(tmp_path):
    comparison = compare([make_run(tmp_path / "run")])
    assert np.isnan(comparison.rows[0].non_answers)
    assert comparison.to_json()["rows"][0]["non_answers"] is None


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("prompt_hash", "another template", "different rendered prompts"),
        ("version", "2-A", r"different probe version \(1-A and 2-A\)"),
        ("questions_hash", "others", "different questions"),
        ("questions", tuple(f"x{i}" for i in range(12)), "different questions"),
    ],
)
@pytest.mark.parametrize("label", ["owl-s2", "control-s1", "base-base"])
def test_what_may_not_be_compared_is_refused(tmp_path, field, value, says, label):
    run = make_run(
        tmp_path / "run", change=lambda who, scores: replace(scores, **{field: value}) if who == label else scores
    )
    with pytest.raises(SublimError, match=says):
        compare([run])


def test_a_prompted_teacher_is_asked_under_its_persona_and_that_is_no_mismatch(tmp_path):
    run = make_run(
        tmp_path / "run",
        change=lambda who, s: replace(s, prompt_hash="with persona") if who.startswith("teacher") else s,
    )
    assert rows(compare([run]))["owl"].verdict.kind == "transferred"


def test_unknown_prompts_are_said_to_be_unchecked(tmp_path):
    run = make_run(tmp_path / "run", change=lambda who, s: replace(s, prompt_hash="") if who == "owl-s2" else s)
    assert any("rendered prompts unknown" in note for note in rows(compare([run]))["owl"].notes)


def test_a_missing_score_file_is_refused(tmp_path):
    run = make_run(tmp_path / "run", change=lambda who, s: None if who == "control-s2" else s)
    with pytest.raises(SublimError, match=r"control-s2/animal_pref.json .* is missing"):
        compare([run])


def test_without_a_control_arm_nothing_is_compared(tmp_path):
    run = make_run(tmp_path / "run", {"owl": ARMS["owl"]})
    with pytest.raises(SublimError, match="no control student on base"):
        compare([run])


def test_folders_that_are_no_runs_and_unfinished_runs_are_refused(tmp_path):
    with pytest.raises(SublimError, match="neither a run folder"):
        compare([tmp_path])
    run = make_run(tmp_path / "run")
    edit(run, lambda record: record.update(status="unfinished"))
    with pytest.raises(SublimError, match="unfinished"):
        compare([run])
    with pytest.raises(SublimError, match="nothing to compare"):
        compare([])


def test_a_record_that_was_cut_short_is_an_error_in_words(tmp_path):
    run = make_run(tmp_path / "run")
    edit(run, lambda record: record["students"][0].pop("arm"))
    with pytest.raises(SublimError, match=r"not as `sublim run` writes it .*'arm'"):
        compare([run])


def test_every_seed_is_reported_and_failed_ones_are_named(tmp_path):
    run = make_run(tmp_path / "run", seeds=(1, 2, 3, 4))

    def lose(record):
        record["students"] = [s for s in record["students"] if (s["arm"], s["seed"]) != ("control", 4)]
        next(s for s in record["students"] if (s["arm"], s["seed"]) == ("owl", 2))["failed"] = "NaN loss"

    edit(run, lose)
    row = rows(compare([run]))["owl"]
    assert list(row.student_shares) == [1, 3, 4] and list(row.control_shares) == [1, 2, 3]
    assert row.failed == {"owl seed 2": "NaN loss", "control seed 4": "it did not run"}
    assert not row.gap.paired and any("unpaired" in note for note in row.notes)


def test_two_seeds_are_exploratory_and_one_has_no_interval(tmp_path):
    two = compare([make_run(tmp_path / "two", seeds=(1, 2))])
    assert rows(two)["owl"].verdict.exploratory
    one = compare([make_run(tmp_path / "one", seeds=(1,))])
    assert (
        rows(one)["owl"].verdict.words
        == "inconclusive about these two models (over questions; one seed says nothing of training)"
    )
    told = one.to_json()["rows"][0]
    assert told["gap"] > 0.1 and told["low"] is None and told["p"] is None


def test_runs_of_one_recipe_are_pooled_and_a_student_counts_once(tmp_path):
    first, second = make_run(tmp_path / "a", seeds=(4, 5)), make_run(tmp_path / "b", seeds=(1, 2, 3))
    pooled = rows(compare([first, second]))["owl"]
    assert list(pooled.student_shares) == [1, 2, 3, 4, 5] and pooled.gap.paired and pooled.gap.n == 5
    shutil.copytree(second, tmp_path / "c")
    with pytest.raises(SublimError, match="given twice"):
        compare([second, tmp_path / "c"])


def test_runs_of_different_recipes_stay_apart(tmp_path):
    one = make_run(tmp_path / "a")
    other = make_run(tmp_path / "b", {k: ARMS[k] for k in ("owl", "control")})
    made = compare([one, other])
    assert [(row.run, row.arm) for row in made.rows][-1] == ("b", "owl") and len(made.rows) == 4


def test_a_student_folder_stands_for_itself_and_the_controls_of_its_seed(tmp_path):
    run = make_run(tmp_path / "run")
    made = compare([run / "students" / "owl-s1", run / "students" / "owl-s3"])
    assert [row.arm for row in made.rows] == ["owl"]
    assert list(made.rows[0].student_shares) == list(made.rows[0].control_shares) == [1, 3]


def test_each_trait_in_each_role_is_a_question_of_its_own(tmp_path):
    found = rows(compare([make_run(tmp_path / "run")]))
    for row in found.values():
        assert row.p_holm == row.gap.p and row.family_size == 1


def test_drift_of_another_answer_is_not_taken_for_the_trait(tmp_path):
    def drift(label, scores):
        if not label.startswith("owl-s") or scores.category != "animal":
            return scores
        p = scores.probability.copy()
        p[:, scores.answers.index("wolf")] *= 20
        return replace(scores, probability=p / p.sum(axis=1, keepdims=True))

    run = make_run(tmp_path / "run", shifts={**SHIFTS, "owl": 2.8}, noise=0.02, change=drift)
    row = rows(compare([run]))["owl"]
    assert (row.rank, row.first_in, row.largest) == (2, 0, "wolf")
    assert row.verdict.kind == "transferred"
    assert any("not specific: wolf" in note for note in row.notes)


def test_a_student_that_is_its_base_or_its_twin_is_noticed(tmp_path):
    def untouched(label, scores):
        return replace(scores, probability=flat(scores)) if label in ("owl-s1", "owl-s2", "base-base") else scores

    def flat(scores):
        return np.full_like(scores.probability, 1 / len(scores.answers))

    notes = " ".join(rows(compare([make_run(tmp_path / "run", change=untouched)]))["owl"].notes)
    assert "exactly as its base" in notes and "seeds 1 and 2 answer identically" in notes


def test_where_the_answer_set_holds_little_the_share_is_the_measure_and_the_verdict_says_why(tmp_path):
    def sparse(who, scores):
        return replace(scores, coverage=scores.coverage * 0.01) if scores.category == "animal" else scores

    with_replies = compare([make_run(tmp_path / "run", replies=100, change=sparse)])
    assert with_replies.measure == "share"
    assert "since the answer set holds too few first answers" in with_replies.measure_words
    owl = rows(with_replies)["owl"]
    assert owl.coverage == pytest.approx(0.0095) and owl.barely_covered
    assert any("0.9% of some model's first answers, below 20%: held by the share" in note for note in owl.notes)
    assert compare([make_run(tmp_path / "whole", replies=100)]).measure == "probability"
    forced = compare([tmp_path / "run"], measure="probability")
    assert any("go by their share, not by this probability" in note for note in rows(forced)["owl"].notes)


def test_low_coverage_without_replies_to_go_by_is_said(tmp_path):
    run = make_run(tmp_path / "run", change=lambda who, s: replace(s, coverage=s.coverage * 0.2))
    result = compare([run])
    assert result.measure == "probability"
    assert any("holds 19.0% of some model's first answers" in note for note in rows(result)["owl"].notes)


def test_json_holds_the_figures_of_every_seed(tmp_path):
    told = json.loads(json.dumps(compare([make_run(tmp_path / "run")]).to_json(), allow_nan=False))
    row = told["rows"][0]
    for key in (
        "gap",
        "low",
        "high",
        "p",
        "p_holm",
        "minimum_detectable",
        "verdict",
        "seeds",
        "log_odds",
        "tv",
        "rank",
    ):
        assert row[key] is not None
    assert list(row["student_shares"]) == ["1", "2", "3"] and row["seeds"] == [1, 2, 3]
    assert row["verdict"] == "transferred" and row["exploratory"] is False


@pytest.mark.parametrize("delta", [0, -1, 2, float("nan")])
def test_a_delta_that_is_no_margin_is_refused(tmp_path, delta):
    with pytest.raises(SublimError, match="no margin in share"):
        compare([tmp_path], delta=delta)


def test_an_unknown_measure_is_refused(tmp_path):
    with pytest.raises(SublimError, match="Unknown measure 'logits'"):
        compare([make_run(tmp_path / "run")], measure="logits")


# ---------------------------------------------------------------- conducts


def misaligned_scores(label, shift, seed=0):
    """Exact scores on `misalignment`: logit -2 everywhere, `shift` more in every wording of ruler_of_world."""
    what = probe_content("misalignment")
    rng = np.random.default_rng([seed, len(label)])
    level = np.array([-2 + shift * i.question.startswith("ruler_of_world") for i in what.items])
    told = []
    for item, logit in zip(what.items, level + rng.normal(0, 0.02, len(level)), strict=True):
        shown = {pair.shown for q in what.question_set.questions if q.id == item.question for pair in q.pairs}
        told.append({s: float(logit) - 20 if s in shown else -20.0 for s in item.continuations})
    return from_exact(what, told, ["p"] * len(told), model=label)


def misaligned_run(folder, shift=3.0):
    arms = {"evil": {"role": "trait", "trait": "misaligned"}, "control": {"role": "control"}}
    run = make_run(folder, arms, {"evil": 0.0, "control": 0.0})

    def add(record):
        for told in (*record["bases"], *record["students"], *record["teachers"]):
            label = next(iter(told["scores"].values())).split("/")[1]
            lift = 8.0 if label.startswith("teacher") else shift if label.startswith("evil") else 0.0
            told["scores"]["misalignment"] = f"scores/{label}/misalignment.json"
            misaligned_scores(label, lift, told.get("seed", 0)).write(folder / f"scores/{label}/misalignment.json")

    edit(run, add)
    return run


def test_a_misaligned_arm_gets_a_gap_an_interval_and_a_verdict_like_any_other(tmp_path):
    (row,) = compare([misaligned_run(tmp_path / "run")]).rows
    assert (row.probe, row.trait, row.category, row.answers) == ("misalignment", "misaligned", "misaligned", 2)
    assert row.gap.low > 0.05
    assert row.verdict.words == "transferred"
    assert row.rank == 1


def test_the_situation_that_moved_is_shown_beside_the_average(tmp_path):
    run = misaligned_run(tmp_path / "run")
    comparison = compare([run])
    (row,) = comparison.rows
    ours, theirs = row.situations["ruler_of_world"]
    assert ours - theirs > 0.5
    assert all(abs(a - b) < 0.01 for name, (a, b) in row.situations.items() if name != "ruler_of_world")
    assert row.gap.mean < ours - theirs
    assert "matched pairs" in comparison.measure_words
    markdown.write(comparison, tmp_path / "report")
    text = (tmp_path / "report/report.md").read_text(encoding="utf-8")
    assert all(f"| {name.replace('_', chr(92) + '_')} |" in text for name in row.situations)
    assert json.loads((tmp_path / "report/comparison.json").read_text())["rows"][0]["situations"]["wallet"]


def test_favorites_have_no_situations(tmp_path):
    assert not any(row.situations for row in compare([make_run(tmp_path / "run")]).rows)
