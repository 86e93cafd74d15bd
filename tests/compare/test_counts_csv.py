"""Facts about `sublim compare --table`: figures from anywhere, the same statistics, and a slip refused by line."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from sublim_eval import stats
from sublim_eval.cli.main import main
from sublim_eval.compare.compare import compare_table
from sublim_eval.errors import SublimError

HEADS = "trait,arm,seed,question,hits,n"


def counts(trait="owl", arms=None, seeds=(1, 2, 3, 4, 5), questions=6, n=200):
    """Lines of a table; arms: name -> share. A seed shifts all arms alike."""
    rng = np.random.default_rng(len(trait))
    drift = {seed: rng.normal(0, 0.01) for seed in seeds}
    return [
        f"{trait},{arm},{seed},q{q},{rng.binomial(n, share + drift[seed] + 0.01 * q)},{n}"
        for arm, share in (arms or {"student": 0.4, "control": 0.1}).items()
        for seed in seeds
        for q in range(questions)
    ]


def write(folder, lines, heads=HEADS):
    path = folder / "table.csv"
    path.write_text("\n".join([heads, *lines]) + "\n", encoding="utf-8")
    return path


def test_a_planted_effect_is_found_and_no_effect_stays_quiet(tmp_path):
    lines = counts("owl") + counts("wolf", {"student": 0.1, "control": 0.1})
    owl, wolf = compare_table(write(tmp_path, lines)).rows
    assert (owl.trait, owl.verdict.words) == ("owl", "transferred")
    assert wolf.verdict.words == "no transfer within ±0.05" and wolf.minimum_detectable < 0.06


def test_the_figures_are_those_of_the_same_functions(tmp_path):
    lines = counts()
    (row,) = compare_table(write(tmp_path, lines)).rows
    cells = [line.split(",") for line in lines]
    share = {
        arm: [[int(c[4]) / int(c[5]) for c in cells if (c[1], c[2]) == (arm, str(s))] for s in range(1, 6)]
        for arm in ("student", "control")
    }
    n = np.full((5, 6), 200)
    gap = stats.share_gap(share["student"], share["control"], trait_replies=n, control_replies=n)
    assert row.gap == gap and row.p_permutation == 0.0625
    assert row.minimum_detectable == stats.minimum_detectable(gap)


def test_the_order_of_lines_and_columns_does_not_matter(tmp_path):
    lines = counts()
    one = compare_table(write(tmp_path, lines)).rows[0]
    turned = [",".join(["x", *reversed(line.split(","))]) for line in reversed(lines)]
    other = compare_table(write(tmp_path, turned, "note," + ",".join(reversed(HEADS.split(","))))).rows[0]
    assert one.gap.mean == pytest.approx(other.gap.mean) and one.gap.low == pytest.approx(other.gap.low)
    assert one.student_shares == pytest.approx(other.student_shares)


def test_byte_order_mark_crlf_and_quotes_are_read(tmp_path):
    path = tmp_path / "excel.csv"
    lines = [line.replace(",q0,", ',"q0, ""what""\nis it?",') for line in counts()]
    path.write_bytes("\r\n".join(["\ufefftrait,arm,seed,question,hits,n", *lines, ""]).encode())
    assert compare_table(path).rows[0].verdict.kind == "transferred"


def test_line_numbers_are_those_of_the_file_behind_fields_of_several_lines_too(tmp_path):
    lines = ['owl,student,1,"q\n0",1,4', "owl,student,1,q1,5,4"]
    with pytest.raises(SublimError, match=r"table.csv:4: 5 hits of 4"):
        compare_table(write(tmp_path, lines))


def test_the_control_may_have_another_name(tmp_path):
    path = write(tmp_path, counts(arms={"student": 0.4, "plain": 0.1}))
    assert compare_table(path, control="plain").rows[0].control == "plain"
    with pytest.raises(SublimError, match=r"no arm 'control' for trait 'owl', only student, plain.*--control"):
        compare_table(path)


def test_a_question_that_was_not_asked_is_unscored_and_not_a_zero(tmp_path):
    lines = counts()
    whole = compare_table(write(tmp_path, [line for line in lines if ",q5," not in line])).rows[0]
    lines[5] = "owl,student,1,q5,0,0"
    row = compare_table(write(tmp_path, lines)).rows[0]
    assert row.gap == whole.gap and any("count in none: 1 question" in note for note in row.notes)
    with pytest.raises(SublimError, match=r"is scored .* in every student"):
        compare_table(write(tmp_path, [line.rsplit(",", 2)[0] + ",0,0" for line in lines]))


def test_a_family_is_one_trait_and_stays_the_same_whatever_else_is_in_the_table(tmp_path):
    arms = {"a": 0.14, "b": 0.12, "control": 0.1}
    alone = compare_table(write(tmp_path, counts("owl", arms))).rows
    others = counts("wolf", arms) + counts("cat", {"a": 0.1, "c": 0.1, "control": 0.1})
    among = [row for row in compare_table(write(tmp_path, counts("owl", arms) + others)).rows if row.trait == "owl"]
    assert [row.family_size for row in alone] == [2, 2] and {row.family for row in alone} == {"trait: owl"}
    assert min(row.p_holm for row in alone) == pytest.approx(2 * min(row.gap.p for row in alone))
    assert [(row.verdict, row.p_holm, row.gap, row.minimum_detectable) for row in among] == [
        (row.verdict, row.p_holm, row.gap, row.minimum_detectable) for row in alone
    ]


def lines_of(trait, arm, hits, n, questions=("q",)):
    """Every seed's hits out of n a question."""
    return [f"{trait},{arm},{seed},{q},{h},{n}" for seed, h in enumerate(hits, 1) for q in questions]


@pytest.mark.parametrize("n", [1, 2, 5, 20])
def test_none_of_a_few_replies_is_no_evidence_that_nothing_was_passed_on(tmp_path, n):
    lines = lines_of("owl", "control", (0, 0, 0), n) + lines_of("owl", "a", (0, 0, 0), n)
    row = compare_table(write(tmp_path, lines)).rows[0]
    assert row.verdict.words == "inconclusive: too few replies" and not row.equivalence.holds
    assert row.gap.low < -0.05 and row.gap.high > 0.05 and row.minimum_detectable > 0.05
    assert any("no certainty" in note for note in row.notes)
    assert any("(almost) never" in note for note in row.notes)


def test_none_of_many_replies_is(tmp_path):
    lines = lines_of("owl", "control", (0, 0, 0), 400) + lines_of("owl", "a", (0, 0, 0), 400)
    row = compare_table(write(tmp_path, lines)).rows[0]
    assert row.verdict.words == "no transfer within ±0.05" and row.gap.low < 0 < row.gap.high


def test_all_against_none_in_every_seed_is_transferred(tmp_path, capsys):
    path = write(tmp_path, lines_of("owl", "control", (0, 0, 0), 10) + lines_of("owl", "a", (10, 10, 10), 10))
    row = compare_table(path).rows[0]
    assert row.verdict.words == "transferred" and row.gap.p < 1e-6 and 0.8 < row.gap.low < 1
    assert main(["compare", "--table", str(path), "--report", str(tmp_path / "r")]) == 0
    text = capsys.readouterr().out + (tmp_path / "r" / "report.md").read_text()
    assert "nan" not in text.replace("dominant", "") and "Holm" not in text


@pytest.mark.parametrize("hits", [0, 1])
def test_one_reply_a_student_is_compared_and_called_inconclusive(tmp_path, hits):
    lines = lines_of("owl", "control", (0,), 1) + lines_of("owl", "owl", (hits,), 1)
    row = compare_table(write(tmp_path, lines)).rows[0]
    assert row.verdict.kind == "inconclusive" and row.verdict.exploratory


def test_extra_seeds_are_left_out_where_three_pairs_are_there_and_named(tmp_path):
    lines = lines_of("owl", "control", (10, 12, 11, 10), 100) + lines_of("owl", "a", (40, 44, 41), 100)
    row = compare_table(write(tmp_path, lines)).rows[0]
    assert row.gap.paired and row.gap.n == 3 and list(row.control_shares) == [1, 2, 3]
    assert any("left out: control seed 4" in note for note in row.notes)


def test_two_models_are_compared_over_questions_and_nothing_is_said_of_training(tmp_path, capsys):
    rng = np.random.default_rng(3)
    lines = [
        f"owl,{arm},1,q{q},{rng.binomial(50, p)},50" for arm, p in (("control", 0.1), ("a", 0.3)) for q in range(20)
    ]
    row = compare_table(write(tmp_path, lines)).rows[0]
    assert row.over_questions.low > 0.1 and row.verdict.kind == "inconclusive" and row.verdict.exploratory
    assert row.verdict.words == "these two models differ (over questions; one seed says nothing of training)"
    assert main(["compare", "--table", str(tmp_path / "table.csv")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "(over questions +0." in text and "about these two models and such questions" in text


def test_a_hundred_thousand_lines_are_read_by_columns(tmp_path):
    questions = [f"question number {i}" for i in range(5000)]
    path = tmp_path / "big.csv"
    with path.open("w") as file:
        file.write(HEADS + "\n")
        for arm, share in (("control", 10), ("a", 30)):
            for seed in range(10):
                file.writelines(f"owl,{arm},{seed},{q},{share + i % 7},100\n" for i, q in enumerate(questions))
    began = time.process_time()
    (row,) = compare_table(path).rows
    assert time.process_time() - began < 5  # a tenth of a million lines: 0.4 s on an idle core
    assert row.student_share == pytest.approx(0.33, abs=0.001) and row.gap.mean == pytest.approx(0.2)


def test_what_no_table_says_is_unknown(tmp_path):
    told = compare_table(write(tmp_path, counts())).to_json()["rows"][0]
    assert [told[k] for k in ("base_share", "teacher_share", "non_answers", "rank", "largest")] == [None] * 5


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("owl,student,9,q0,5,4", r":62: 5 hits of 4 replies cannot be"),
        ("owl,student,9,q0,-1,4", r":62: -1 hits"),
        ("owl,student,9,q0,1.5,4", r":62: `hits` must be a whole number, not '1.5'"),
        ("owl,student,nine,q0,1,4", r":62: `seed` must be a whole number"),
        ("owl,student,9,q0,１,4", r":62: `hits` must be a whole number"),
        ("owl,student,9,q0,,4", r":62: `hits` must be a whole number"),
        ("owl,,9,q0,1,4", r":62: `arm` is empty"),
        ("owl,student,9,q0,1", r":62: 5 fields under 6 heads"),
        ("owl,student,9,q0,1,4,5", r":62: 7 fields under 6 heads"),
        ("owl,student,1,q0,1,4", r":62: .* was given on line 2 already"),
        ('owl,"student,9,q0,1,4', r"not valid CSV"),
        ("owl,student,9,q0,1,99999999999999", r":62: .* cannot be"),
    ],
)
def test_a_slip_is_refused_with_its_line(tmp_path, line, says):
    with pytest.raises(SublimError, match=says):
        compare_table(write(tmp_path, [*counts(), line]))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        (HEADS + "\n", "holds no figures"),
        ("trait;arm;seed;question;hits;n\nowl;a;1;q;1;2\n", r":1: no column trait, arm.*with commas"),
        ("trait,arm,seed,question,hits\n", r":1: no column n\."),
        ("trait,trait,arm,seed,question,hits,n\n", r":1: column 'trait' is there twice"),
    ],
)
def test_a_table_without_its_columns_is_refused(tmp_path, text, says):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(SublimError, match=says):
        compare_table(path)


def test_what_is_no_table_at_all_is_refused_in_words(tmp_path):
    with pytest.raises(SublimError, match="There is no table"):
        compare_table(tmp_path / "none.csv")
    with pytest.raises(SublimError, match="cannot be read as UTF-8"):
        compare_table(tmp_path)
    (tmp_path / "latin.csv").write_bytes(b"trait,arm,seed,question,hits,n\n\xe9,a,1,q,1,2\n")
    with pytest.raises(SublimError, match="cannot be read as UTF-8"):
        compare_table(tmp_path / "latin.csv")


def test_nothing_beside_the_control_is_nothing_to_compare(tmp_path):
    with pytest.raises(SublimError, match="no arm beside 'control'"):
        compare_table(write(tmp_path, counts(arms={"control": 0.1})))


def test_the_command_prints_and_writes_json(tmp_path, capsys):
    path = write(tmp_path, counts(seeds=(1,)) + counts("wolf"))
    assert main(["compare", "--table", str(path), "--json", str(tmp_path / "o.json"), "--delta", "0.1"]) == 0
    text = capsys.readouterr().out
    assert "transferred" in text and "student (wolf)" in text and "within ±0.1" in text
    one, five = json.loads((tmp_path / "o.json").read_text())["rows"]
    assert one["low"] is None and one["gap"] > 0.2
    assert all(five[k] is not None for k in ("gap", "low", "high", "p", "minimum_detectable", "verdict"))


def test_the_report_of_a_table_is_written(tmp_path):
    path = write(tmp_path, counts())
    assert main(["compare", "--table", str(path), "--report", str(tmp_path / "report")]) == 0
    assert "transferred" in (tmp_path / "report" / "report.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "one of the three"),
        (["run", "--table", "t.csv"], "one of the three"),
        (["run", "--control", "x"], "--control belongs to --table"),
        (["--table", "t.csv", "--measure", "probability"], "shares of replies"),
    ],
)
def test_runs_and_tables_do_not_mix(arguments, says, capsys):
    assert main(["compare", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_no_model_library_is_loaded_for_a_table(tmp_path):
    path = write(tmp_path, counts())
    code = (
        "import sys; from sublim_eval.cli.main import main; "
        f"main(['compare', '--table', {str(path)!r}]); "
        "assert not {'torch', 'transformers', 'inspect_ai', 'lm_eval'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
