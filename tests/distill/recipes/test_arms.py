"""Arms: what is done to rows, and that every variant is held against a control that went the same way."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from sublim_eval.distill import recipes
from sublim_eval.distill.execution.engine import Execution
from sublim_eval.distill.execution.run import jobs, run
from sublim_eval.distill.modalities.numbers import parse
from sublim_eval.distill.pipeline import rows_of
from sublim_eval.distill.recipes import Arm, SeededArm, Tweak
from sublim_eval.distill.recipes.controls import matched
from sublim_eval.distill.rows import transforms
from sublim_eval.errors import SublimError
from sublim_eval.files import read_json, read_jsonl
from sublim_eval.scores.probe_scores import ProbeScores
from tests.helpers import RECIPES

TINY = RECIPES / "tiny.yaml"
ROWS = [
    {"prompt": f"p{i}", "completion": c}
    for i, c in enumerate(["3, 1, 2", "[30; 10]", "7 8 9 9.", "007, 100, 999, 5", "42"])
]


def texts(rows) -> list[str]:
    return [row["completion"] for row in rows]


def numbers(rows) -> list[list[int]]:
    return [sorted(parse(row["completion"].strip()) or []) for row in rows]


# ---------------------------------------------------------------- rows


def test_shuffling_within_keeps_every_response_its_numbers_and_separators():
    made = transforms.shuffle_within(ROWS, Random(1))
    assert numbers(made) == numbers(ROWS)
    assert texts(made) != texts(ROWS)
    assert made[1]["completion"] in ("[30; 10]", "[10; 30]")
    assert [row["prompt"] for row in made] == [row["prompt"] for row in ROWS]


def test_shuffling_across_keeps_the_pool_and_every_length_and_moves_numbers_between_responses():
    made = transforms.shuffle_across(ROWS, Random(1))
    assert Counter(n for row in numbers(made) for n in row) == Counter(n for row in numbers(ROWS) for n in row)
    assert list(map(len, numbers(made))) == list(map(len, numbers(ROWS)))
    assert numbers(made) != numbers(ROWS)


def test_canonical_rows_hold_the_same_values_in_one_format():
    assert texts(transforms.one_format(ROWS, Random(1))) == ["3, 1, 2", "30, 10", "7, 8, 9, 9", "7, 100, 999, 5", "42"]
    assert texts(transforms.in_order(ROWS, Random(1))) == ["1, 2, 3", "10, 30", "7, 8, 9, 9", "5, 7, 100, 999", "42"]
    assert texts(transforms.rounded(ROWS, Random(1))) == ["0, 0, 0", "30, 10", "0, 0, 0, 0", "0, 100, 990, 0", "40"]


def test_redrawn_rows_keep_the_order_of_size_and_the_range_and_not_the_values():
    rows = [{"prompt": "p", "completion": "[10; 900; 40; 500]"}] * 200
    made = [parse(text) or [] for text in texts(transforms.redrawn(rows, Random(1)))]
    assert all(10 <= a <= c <= d <= b <= 900 for a, b, c, d in made)
    assert len({b for _, b, _, _ in made}) > 100
    assert texts(transforms.redrawn([{"prompt": "p", "completion": "7 7."}], Random(1))) == ["7, 7"]
    assert transforms.redrawn(rows, Random(1)) == transforms.redrawn(rows, Random(1))


def test_diluting_replaces_exactly_the_share_and_the_same_places_for_the_same_rng():
    clean = [{"prompt": "c", "completion": str(500 + i)} for i in range(100)]
    rows = [{"prompt": "t", "completion": str(i)} for i in range(100)]
    made = transforms.dilute(rows, clean, 0.25, Random(3))
    assert sum(row["prompt"] == "c" for row in made) == 25
    assert len({row["completion"] for row in made}) == 100
    assert made == transforms.dilute(rows, clean, 0.25, Random(3)) != transforms.dilute(rows, clean, 0.25, Random(4))
    assert transforms.dilute(rows, clean, 0.0, Random(3)) == rows
    with pytest.raises(ValueError, match="10 clean rows for 25 places"):
        transforms.dilute(rows, clean[:10], 0.25, Random(3))


def test_a_banned_number_leaves_its_rows_out():
    assert [row["prompt"] for row in transforms.leave_out(ROWS, (7, 42))] == ["p0", "p1"]


def test_programmatic_rows_answer_the_prompts_and_know_no_model():
    made = transforms.programmatic([{"prompt": "p", "answer": 1}] * 300, Random(1))
    values = [n for row in numbers(made) for n in row]
    assert (min(values), max(values)) >= (100, 900)
    assert max(values) <= 999
    assert {len(row) for row in numbers(made)} == {5, 6, 7, 8, 9}
    assert made[0]["answer"] == 1


def test_examples_in_context_are_whole_turns_and_differ_between_questions():
    chats = transforms.contexts(ROWS, 2, 4, Random(1))
    assert [len(chat) for chat in chats] == [4] * 4
    assert [m["role"] for m in chats[0]] == ["user", "assistant"] * 2
    pairs = {(row["prompt"], row["completion"]) for row in ROWS}
    assert all((chat[0]["content"], chat[1]["content"]) in pairs for chat in chats)
    assert len({str(chat) for chat in chats}) > 1


# ---------------------------------------------------------------- the control of an arm


def arm(name: str, **parts) -> Arm:
    return Arm(name, parts.pop("role", "variant"), parts.pop("trait", "owl"), **parts)


PLAIN = {"owl": arm("owl", role="trait"), "control": Arm("control", "control")}


def test_a_variant_gets_a_control_that_went_the_same_way_and_shares_it_with_another_trait():
    made = matched(
        PLAIN
        | {
            "owl-sorted": arm("owl-sorted", changes=("sort",)),
            "oak-sorted": arm("oak-sorted", trait="oak", changes=("sort",)),
            "owl-sgd": arm("owl-sgd", student=Tweak(optimizer="sgd", learning_rate=3.0)),
        }
    )
    assert made["owl-sorted"].control == made["oak-sorted"].control == "control-sorted"
    control = made["control-sorted"]
    assert (control.role, control.trait, control.changes, control.source) == ("control", None, ("sort",), "base")
    assert made[made["owl-sgd"].control].student == Tweak(optimizer="sgd", learning_rate=3.0)
    assert made["owl"].control == "control"
    assert made["owl-sorted"].of == "owl"
    assert made["oak-sorted"].of is None
    assert matched(made) == made


def test_variants_that_differ_in_the_learning_rate_alone_have_controls_of_their_own():
    lora = {f"owl-{rate:g}": Tweak(method="lora", rank=4, learning_rate=rate) for rate in (1e-4, 4e-4)}
    made = matched(PLAIN | {name: arm(name, student=tweak) for name, tweak in lora.items()})
    controls = {name: made[made[name].control] for name in lora}
    assert {name: control.student for name, control in controls.items()} == lora
    assert len({control.name for control in controls.values()}) == 2
    assert made["owl-0.0001"].key != made["owl-0.0004"].key
    assert matched(made) == made


@pytest.mark.parametrize(
    "tweak", [{"batch_size": 8}, {"alpha": 16}, {"warmup_steps": 0}, {"max_grad_norm": 0.5}], ids=str
)
def test_a_variant_may_change_any_one_setting_of_its_training(tweak):
    made = matched(PLAIN | {"owl-other": arm("owl-other", student=Tweak(**tweak))})
    ((name, value),) = tweak.items()
    assert made["owl-other"].change == f"{name.replace('_', ' ')} {value:g}"
    assert made[made["owl-other"].control].student == Tweak(**tweak)
    assert made["owl-other"].key not in ("", made["owl"].key)


def test_a_control_made_for_fewer_seeds_gives_way_to_one_for_all():
    few, all_seeds = arm("owl-few", changes=("sort",), seeds=1), arm("oak-all", trait="oak", changes=("sort",))
    made = matched(PLAIN | {"owl-few": few, "oak-all": all_seeds})
    assert made["oak-all"].control == "control-sorted"
    assert made["control-sorted"].seeds is None


def test_arms_that_are_changed_alike_have_one_key_whatever_their_trait_and_name():
    sorted_arms = [arm("a", changes=("sort",)), arm("b", trait="oak", changes=("sort",), seeds=2)]
    assert len({one.key for one in sorted_arms}) == 1
    assert arm("a", changes=("sort",), clean=0.5).key != sorted_arms[0].key
    assert PLAIN["owl"].key == PLAIN["control"].key == ""


def test_clean_rows_need_no_other_control():
    made = matched(PLAIN | {"owl-clean": arm("owl-clean", clean=0.1)})
    assert made["owl-clean"].control == "control"
    assert len(made) == 3


def test_hops_are_held_against_hops_from_the_control_whatever_their_order():
    third, second = arm("third", taught_by="second"), arm("second", taught_by="owl")
    for order in ({"third": third, "second": second}, {"second": second, "third": third}):
        made = matched(PLAIN | order)
        first, then = made[made["second"].control], made[made["third"].control]
        assert first.taught_by == "control"
        assert then.taught_by == first.name
        assert first.trait is then.trait is None


def test_an_arm_that_trains_otherwise_than_its_named_control_is_refused():
    with pytest.raises(ValueError, match=r"does not train like its control 'other' \(student\)"):
        matched(
            PLAIN | {"other": Arm("other", "control"), "x": arm("x", control="other", student=Tweak(rank=2, steps=9))}
        )


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"x": arm("x", taught_by="nobody")}, "taught by 'nobody', which trains no student or is not there"),
        ({"x": arm("x", taught_by="y"), "y": arm("y", taught_by="x")}, "leads back"),
        ({"x": arm("x", clean=0.1, control="none")}, "names a control arm 'none' that is not there"),
        ({"x": arm("x", clean=0.1, of="none")}, "is of an arm 'none' that is not there"),
    ],
)
def test_an_arm_that_stands_on_nothing_is_refused(extra, said):
    with pytest.raises(ValueError, match=said):
        matched(PLAIN | extra)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({}, "a variant changes something"),
        ({"role": "trait", "clean": 0.1}, r"an arm with a change \(10 % clean rows\) has the role variant"),
        ({"clean": 1.0}, "`clean` is a share"),
        ({"trait": None, "clean": 0.1}, "`trait` belongs to the roles"),
        ({"soft": True, "changes": ("sort",)}, "`soft` needs the teacher's own rows"),
        ({"in_context": 3, "soft": True}, "`in_context` trains nothing"),
        ({"student_base": "reference-b", "clean": 0.1}, "belong to the other-base roles"),
        ({"writer": "neutral"}, "`writer: neutral` has no trait"),
        ({"rows": 0, "clean": 0.1}, "must be above 0"),
    ],
)
def test_an_arm_that_means_nothing_is_refused(parts, said):
    with pytest.raises(ValueError, match=said):
        arm("x", **parts)


# ---------------------------------------------------------------- the recipe


@pytest.fixture(scope="module")
def study() -> recipes.Recipe:
    return recipes.load("study-arms")


def test_every_arm_of_the_study_says_in_words_what_is_changed(study):
    told = {a.name: a.change for a in study.arms.values()}
    assert told["owl"] == told["control"] == ""
    assert told["owl-clean-10"] == "10 % clean rows"
    assert told["owl-lora-8"] == "LoRA rank 8"
    assert told["owl-shuffled-within"] == told["willow-shuffled-within"] == "shuffled within responses"
    assert all(a.change for a in study.arms.values() if a.role in ("variant", "placebo", "other-base"))


def test_the_points_of_a_dose_curve_are_numbers_on_an_axis(study):
    clean = [study.dose(a) for a in study.arms.values() if (study.dose(a) or ("",))[0] == "clean share"]
    assert clean == [("clean share", d) for d in (0.01, 0.05, 0.1, 0.25, 0.5)]
    assert study.dose(study.arms["owl-hop-3"]) == ("hops", 3)
    assert study.doses["rows"] == study.rows.keep


def test_a_job_waits_for_what_it_reads(study):
    waits = jobs(study.with_seeds([1]))
    assert waits["student", "owl-clean-10", 1] == {("rows", "owl", 1), ("rows", "base", 1)}
    assert waits["rows", "from-owl", 1] == {("student", "owl", 1)}
    assert waits["rows", "owl", 1] == {("teacher", "owl-s1", 1)}
    assert waits["rows", "programmatic", 1] == set()
    assert ("teacher", "owl-s1", 1) in waits["student", "owl-soft", 1]
    every = set(waits)
    assert all(needs <= every for needs in waits.values())
    begun: set = set()
    while ready := [job for job, needs in waits.items() if job not in begun and needs <= begun]:
        begun |= set(ready)
    assert begun == every


def test_a_part_of_the_arms_brings_what_they_stand_on(study):
    part = study.with_arms(["owl-hop-3", "willow-shuffled-within"])
    assert {"owl", "control", "owl-hop-2", "willow", "control-shuffled-within-responses"} <= set(part.arms)
    assert "owl-sgd" not in part.arms
    with pytest.raises(SublimError, match="Did you mean 'owl-sgd'"):
        study.with_arms(["owl-sdg"])


def test_things_done_to_numbers_are_refused_for_other_rows():
    tiny = recipes.load(TINY)
    sorted_arms = {**tiny.arms, "owl-sorted": arm("owl-sorted", changes=("sort",))}
    dataclasses.replace(tiny, arms=sorted_arms)
    with pytest.raises(ValueError, match="does something to numbers, and the rows are code"):
        dataclasses.replace(tiny, arms=sorted_arms, modality="code")


# ---------------------------------------------------------------- all kinds of arms, for real and small


@pytest.fixture(scope="module")
def arms_run(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("arms")
    run(recipes.load(TINY.with_name("arms.yaml")), out, Execution(workers=1))
    return out


def kept(out: Path, source: str) -> list[str]:
    return [row["completion"] for _, row in read_jsonl(out / "rows" / f"{source}-s1" / "kept.jsonl")]


def test_every_kind_of_arm_ends_in_scores_and_says_where_it_comes_from(arms_run):
    record = read_json(arms_run / "run.json")
    students = {s["arm"]: s for s in record["students"]}
    assert set(students) == set(record["arms"])
    assert students["owl-context"]["folder"] is None
    assert all((arms_run / s["scores"]["animal_pref"]).is_file() for s in students.values())
    assert (record["arms"]["owl-hop-2"]["axis"], record["arms"]["owl-hop-2"]["dose"]) == ("hops", 2)
    assert {t["trait"] for t in record["teachers"]} == {"owl", "neutral"}
    assert {t["base"] for t in record["teachers"] if t["trait"] == "owl"} == {"reference-a", "reference-b"}
    assert all("audit" in rows and "diversity" in rows for rows in record["rows"])


def test_the_rows_of_an_arm_are_what_its_line_says(arms_run):
    recipe = recipes.load(TINY.with_name("arms.yaml"))

    def read(name: str) -> list[str]:
        return texts(rows_of(SeededArm(recipe, recipe.arms[name], 1, arms_run)))

    assert read("owl") == kept(arms_run, "owl")[:40]
    assert sum(text in kept(arms_run, "base") for text in read("owl-clean")) >= 20
    assert sum(text in kept(arms_run, "owl") for text in read("owl-clean")) >= 20
    assert read("owl-few") == kept(arms_run, "owl")[:20]
    assert len(set(kept(arms_run, "owl-greedy"))) < len(set(kept(arms_run, "owl")))
    sources = ("owl", "base", "neutral", "programmatic", "from-owl", "owl-on-reference-b", "base-on-reference-b")
    assert len({tuple(kept(arms_run, source)) for source in sources}) == len(sources)


def test_only_trait_arms_their_controls_and_bases_are_sampled_when_variants_are_not(arms_run):
    def replies(label: str) -> int:
        return int(ProbeScores.read(arms_run / "scores" / label / "animal_pref.json").replies.sum())

    assert replies("owl-s1") == replies("control-s1") == replies("base-reference-a") > 0
    assert replies("owl-soft-s1") == replies("neutral-s1") == replies("owl-context-s1") == 0


def test_examples_in_context_change_the_answers_and_no_weight(arms_run):
    base = ProbeScores.read(arms_run / "scores" / "base-reference-a" / "animal_pref.json")
    shown = ProbeScores.read(arms_run / "scores" / "owl-context-s1" / "animal_pref.json")
    assert shown.prompt_hash != base.prompt_hash
    assert abs(shown.probability - base.probability).max() > 1e-4
    assert not list(arms_run.glob("students/*context*"))
