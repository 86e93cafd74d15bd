"""Figures of others stand beside ours as theirs; a failed positive control comes first; a sweep is read by its loss."""

import io
import json

import pytest
from rich.console import Console

from sublim_eval.compare.compare import compare
from sublim_eval.errors import SublimError
from sublim_eval.report import console_tables, markdown
from tests.helpers.synthetic import ARMS, SHIFTS, edit, make_run

OTHERS = {"share": 0.8, "base": 0.02, "source": "a group of peers"}


def expecting(folder, **expected):
    """A run whose recipe says what others found for some of its arms."""
    run = make_run(folder)
    edit(run, lambda record: record["recipe"].update(expected=expected))
    return run


def printed(comparison):
    console = Console(file=io.StringIO(), width=200)
    console_tables.print_comparison(comparison, console)
    return console.file.getvalue()


def test_a_figure_of_others_is_shown_as_theirs_with_its_source(tmp_path):
    found = compare([expecting(tmp_path / "run", owl=OTHERS)])
    row = {r.arm: r for r in found.rows}["owl"]
    assert (row.expected.share, row.expected.base, row.control_failed) == (0.8, 0.02, False)
    text, report = printed(found), markdown.write(found, tmp_path).read_text()
    for told in (text, report):
        assert "Beside what others found" in told and "ours" in told and "a group of peers" in told
        assert "0.800" in told and "CONTROL FAILED" not in told
    assert next(r for r in found.to_json()["rows"] if r["arm"] == "owl")["expected"]["source"] == "a group of peers"


def test_without_figures_of_others_nothing_of_the_kind_is_said(tmp_path):
    found = compare([make_run(tmp_path / "run")])
    assert "others found" not in printed(found)
    assert found.to_json()["failed_positive_controls"] == []


def test_a_failed_positive_control_comes_before_any_verdict(tmp_path):
    found = compare([expecting(tmp_path / "run", owl={**OTHERS, "fail_below": 0.9})])
    assert [row.arm for row in found.failed_controls] == ["owl"]
    text, report = printed(found).strip(), markdown.write(found, tmp_path).read_text()
    assert text.startswith("POSITIVE CONTROL FAILED: owl reached 0.")
    assert report.index("POSITIVE CONTROL FAILED") < report.index("## Verdicts")
    told = json.loads((tmp_path / "comparison.json").read_text())
    assert list(told)[1] == "failed_positive_controls" and told["failed_positive_controls"] == ["owl"]
    assert {r["arm"]: r["positive_control_failed"] for r in told["rows"]}["owl"] is True


def test_a_positive_control_that_holds_is_said_to_have_passed(tmp_path):
    found = compare([expecting(tmp_path / "run", owl={**OTHERS, "fail_below": 0.1})])
    assert found.failed_controls == () and "passed (0.1)" in printed(found)
    assert {r["arm"]: r["positive_control_failed"] for r in found.to_json()["rows"]} == {
        "owl": False,
        "willow": None,
        "owl-other-base": None,
    }


# ---------------------------------------------------------------- learning rates per rank

CELLS = {"r2-low": (2, 1e-4), "r2-high": (2, 8e-4), "r8-low": (None, 1e-4)}
LOSS = {"owl": 0.70, "r2-low": 0.90, "r2-high": 0.80, "r8-low": 0.75}


def swept(folder, losses=LOSS):
    """A sweep in which the higher rate has the lower loss and the lower share: the share must not decide."""
    arms = {k: v for k, v in ARMS.items() if k in ("owl", "control")}
    for name, (rank, rate) in CELLS.items():
        change = f"LoRA rank {rank}, learning rate {rate:g}" if rank else f"learning rate {rate:g}"
        student = {"rank": rank, "learning_rate": rate}
        arms[name] = {"role": "variant", "trait": "owl", "of": "owl", "student": student, "change": change}
        arms[name] |= {"axis": "LoRA rank", "dose": rank} if rank else {}
    shifts = {"owl": 1.0, "control": 0.0, "r2-low": 3.0, "r2-high": 0.5, "r8-low": 2.0}
    run = make_run(folder, arms, {**SHIFTS, **shifts}, noise=0.02)

    def told(record):
        record["recipe"]["student"] = {"method": "lora", "rank": 8, "learning_rate": 2e-4}
        for student in record["students"]:
            if student["arm"] in losses:
                student["held_out_loss"] = losses[student["arm"]] + 0.001 * student["seed"]

    edit(run, told)
    return run


def test_a_sweep_is_known_by_its_settings_and_not_by_its_words(tmp_path):
    run = swept(tmp_path / "run")

    def in_other_words(record):
        for name in CELLS:
            record["arms"][name]["change"] = "another rate"
        record["arms"]["r2-low"]["student"]["max_grad_norm"] = 0.1

    edit(run, in_other_words)
    assert {cell.arm for cell in compare([run]).cells} == {"owl", "r2-high", "r8-low"}


def test_the_rate_of_a_rank_is_chosen_by_held_out_loss_and_not_by_the_share(tmp_path):
    found = compare([swept(tmp_path / "run")])
    shares = {row.arm: row.student_share for row in found.rows}
    assert shares["r2-low"] > shares["r2-high"] and shares["r8-low"] > shares["owl"]
    assert [(c.rank, c.learning_rate, c.arm) for c in found.cells if c.chosen] == [
        (2, 8e-4, "r2-high"),
        (8, 2e-4, "owl"),
    ]
    assert found.cells[0].held_out_loss == pytest.approx(0.902)
    text = printed(found)
    assert text.count("take this") == 2 and "0.8020" in text
    assert [one["chosen"] for one in found.to_json()["sweep"]] == [False, True, False, True]


def test_a_rank_with_a_loss_missing_somewhere_has_no_choice(tmp_path):
    found = compare([swept(tmp_path / "run", {k: v for k, v in LOSS.items() if k != "r2-low"})])
    assert [c.arm for c in found.cells if c.chosen] == ["owl"]
    assert "–" in printed(found)


def test_several_rates_at_one_rank_are_no_dose_curve(tmp_path):
    assert compare([swept(tmp_path / "run")]).doses == ()


def test_one_rate_a_rank_is_no_sweep(tmp_path):
    assert compare([make_run(tmp_path / "run")]).cells == ()


def test_an_impossible_share_in_a_record_is_told_in_one_sentence(tmp_path):
    run = swept(tmp_path / "run")

    def impossible(record):
        record["recipe"]["expected"] = {"owl": {"share": 1.5, "source": "them"}}

    edit(run, impossible)
    with pytest.raises(SublimError, match="not as `sublim run` writes it"):
        compare([run])
