"""Facts about looks at a growing study: they are remembered, said, and can be paid for."""

import json
from dataclasses import replace

import pytest

from sublim_eval.cli.main import main
from sublim_eval.compare import interim_looks
from sublim_eval.compare.compare import compare
from sublim_eval.errors import SublimError
from tests.helpers.synthetic import edit, make_run


def printed(capsys, *arguments):
    assert main(["compare", *map(str, arguments)]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_all_looks_together_spend_five_percent():
    assert interim_looks.spent(1) == pytest.approx(0.025) and interim_looks.spent(2) == pytest.approx(0.05 / 6)
    assert 0.049 < sum(interim_looks.spent(n) for n in range(1, 200)) < 0.05


def test_seeds_that_are_added_are_a_second_look_and_the_same_students_are_none(tmp_path, capsys):
    first, second = make_run(tmp_path / "a", seeds=(1, 2, 3)), make_run(tmp_path / "b", seeds=(4, 5, 6))
    assert "The first look at these students" in printed(capsys, first)
    assert "The first look" in printed(capsys, first)
    text = printed(capsys, first, second)
    assert "Look 2 at a growing study (3, now 6 seeds an arm), and not corrected for it" in text
    told = json.loads((first / interim_looks.FILE).read_text())["looks"]
    assert [look["seeds"] for look in told] == [3, 6] and {look["alpha"] for look in told} == {0.05}
    assert len(json.loads((second / interim_looks.FILE).read_text())["looks"]) == 1


def test_a_look_that_is_paid_for_is_tested_at_its_level(tmp_path, capsys):
    run = make_run(tmp_path / "a", seeds=(1, 2, 3))
    text = printed(capsys, run, "--look", 1, "--json", tmp_path / "o.json")
    assert "gap (97.5 % interval)" in text and "the 95 % interval lies within" in text
    assert "Look 1 at a growing study: tested at 2.5 %" in text and "err in at most 5 %" in text
    told = json.loads((tmp_path / "o.json").read_text())
    assert told["alpha"] == 0.025 and told["rows"][0]["level"] == 0.975
    plain = compare([run]).rows[0]
    assert told["rows"][0]["low"] < plain.gap.low and told["rows"][0]["high"] > plain.gap.high


def test_looks_that_were_read_at_five_percent_are_not_forgotten(tmp_path, capsys):
    first, second = make_run(tmp_path / "a", seeds=(1, 2, 3)), make_run(tmp_path / "b", seeds=(4, 5, 6))
    printed(capsys, first)
    assert "earlier ones were less strict, so that it is 7.5 %" in printed(capsys, first, second, "--look", 2)


def test_a_look_cannot_be_called_an_earlier_one(tmp_path, capsys):
    first, second = make_run(tmp_path / "a", seeds=(1, 2, 3)), make_run(tmp_path / "b", seeds=(4, 5, 6))
    printed(capsys, first)
    assert main(["compare", str(first), str(second), "--look", "1"]) == 2
    assert "Give --look 2" in capsys.readouterr().err


def test_a_table_says_that_looks_are_not_corrected_and_can_be_told_of_them(tmp_path, capsys):
    lines = [f"owl,{arm},{s},q,{h + s},100" for arm, h in (("control", 10), ("a", 40)) for s in (1, 2, 3)]
    path = tmp_path / "t.csv"
    path.write_text("trait,arm,seed,question,hits,n\n" + "\n".join(lines) + "\n")
    assert "No correction for earlier looks" in printed(capsys, "--table", path)
    assert "Look 3 at a growing study: tested at 0.42 %" in printed(capsys, "--table", path, "--look", 3)


def test_what_is_no_record_of_looks_is_refused_in_words(tmp_path):
    run = make_run(tmp_path / "a")
    arms = json.dumps({"looks": [{"students": "a", "seeds": 3, "alpha": 0.05, "date": "2026", "arms": ["owl"]}]})
    (run / interim_looks.FILE).write_text(arms)
    with pytest.raises(SublimError, match="no record of looks"):
        interim_looks.number(compare([run]))
    (run / interim_looks.FILE).write_text('{"looks": [{"seeds": 3}]}')
    with pytest.raises(SublimError, match="no record of looks"):
        interim_looks.number(compare([run]))


def test_one_teacher_for_all_seeds_is_said(tmp_path, capsys):
    run = make_run(tmp_path / "a")
    edit(run, lambda record: record.update(teachers=[t for t in record["teachers"] if t["seed"] == 1]))
    assert "taught all students of an arm: the intervals are about more students of theirs" in printed(capsys, run)


def test_one_teacher_that_stands_on_every_seed_or_in_two_runs_is_one(tmp_path):
    runs = [make_run(tmp_path / f"r{first}", seeds=(first, first + 1, first + 2)) for first in (1, 4)]
    for run in runs:
        edit(run, lambda record: [t.update(made=t["trait"]) for t in record["teachers"]])
    assert {row.teachers for row in compare(runs).rows if row.role == "trait"} == {1}


def test_two_logs_are_compared_over_questions(tmp_path, capsys):
    run = make_run(tmp_path / "a", replies=50)
    files = [run / "scores" / label / "animal_pref.json" for label in ("owl-s1", "control-s1")]
    text = printed(capsys, "--models", *files, "--trait", "owl", "--measure", "share")
    assert "these two models differ (over questions; one seed says nothing of training)" in text
    assert "It says nothing of what training does" in text
    assert main(["compare", "--models", *map(str, files)]) == 2
    assert "--trait" in capsys.readouterr().err


def test_saved_replies_of_two_models_are_compared(tmp_path, capsys):
    questions = [f"Question {i}?" for i in range(12)]
    for name, owls in (("one", 6), ("other", 1)):
        rows = [
            {"question": q, "response": "Owl" if k < owls + i % 3 else "Cat"}
            for i, q in enumerate(questions)
            for k in range(20)
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    both = [tmp_path / "one.jsonl", tmp_path / "other.jsonl"]
    text = printed(capsys, "--models", *both, "--probe", "owl_pref", "--trait", "owl")
    assert "these two models differ" in text and "+0.250 (over questions" in text


def test_saved_replies_under_other_names_are_compared_first_minus_second(tmp_path, capsys):
    for name, reply in (("base", "Dog"), ("student", "A cat")):
        (tmp_path / f"{name}.csv").write_text("prompt,answer\n" + "".join(f"Question {i}?,{reply}\n" for i in range(6)))
    both = ["--models", tmp_path / "student.csv", tmp_path / "base.csv", "--probe", "animal_pref", "--trait", "cat"]
    fields = ["--question-field", "prompt", "--response-field", "answer"]
    assert "student (cat) 0.000 1.000 +1.000" in printed(capsys, *both, *fields)
    assert main(["compare", *map(str, both)]) == 2 and "--question-field" in capsys.readouterr().err
    assert main(["compare", str(tmp_path), *fields]) == 2 and "--models" in capsys.readouterr().err


def test_an_arm_to_which_no_seed_was_added_is_not_looked_at_again(tmp_path):
    run = make_run(tmp_path / "a", seeds=(1, 2, 3))
    before = compare([run])
    interim_looks.record(before, "2026-01-01")
    (one, other), more = before.rows[:2], {**before.rows[1].student_shares, 4: 0.1}
    grown = replace(before, rows=[one, replace(other, student_shares=more)])
    arms = [f"{row.run}/{row.arm}" for row in (one, other)]
    assert [interim_looks.number_of_arm(before, arm) for arm in arms] == [1, 1]
    assert [interim_looks.number_of_arm(grown, arm) for arm in arms] == [1, 2]
    file = run / interim_looks.FILE
    told = json.loads(file.read_text())
    del told["looks"][0]["arms"]
    file.write_text(json.dumps(told))
    assert interim_looks.number_of_arm(grown, arms[0]) == 2, "a record without arms may be of any"
