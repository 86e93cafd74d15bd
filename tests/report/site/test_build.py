"""The pages as files: what stands on them, what may not run, and which orders they call decided."""

import hashlib
import json
import math
import re

import pytest

from sublim_eval import stats
from sublim_eval.board.collect import collect
from sublim_eval.board.columns import LeftOut
from sublim_eval.compare.confusion import Dose
from sublim_eval.errors import SublimError
from sublim_eval.report.site import charts, lines, orders, published, writing
from sublim_eval.report.site.build import build, compact
from sublim_eval.report.site.facts import Check
from sublim_eval.traps.finding import TRAPS
from tests.helpers import ROOT, planted
from tests.helpers.boards import HOSTILE, arm, board_of, gap, hostile_rows, scores
from tests.helpers.rows import row


def lines_by_kind(rows):
    held = {}
    for line in lines.beside_marked(list(lines.lines(rows))):
        held.setdefault(line.kind, []).append(line)
    return held


# ---------------------------------------------------------------- lines


def test_an_arm_is_one_line_with_its_gap_its_verdict_and_every_seed():
    control = [
        row(model=f"quick/control-s{s}", arm="control", role="control", trait="", seed=s, value=0.1, harness="run")
        for s in (1, 2)
    ]
    level = gap("control", 0.1, role="control", trait="", answer="owl", measure="share", verdict="", control="")
    held = lines_by_kind([*arm("owl", [0.3, 0.5]), *control, level])
    line, yardstick = held[lines.ARM]
    assert (yardstick.gap, yardstick.value, yardstick.seeds) == (None, 0.1, ((1, 0.1), (2, 0.1)))
    assert (line.gap, line.value, line.verdict_kind, line.n) == (pytest.approx(0.3), 0.4, "transferred", 3)
    assert line.seeds == ((1, 0.3), (2, 0.5))
    assert line.controls == ((1, 0.1), (2, 0.1))
    assert (line.replies, line.sampling) == (960, '{"max_tokens": 16, "temperature": 1.0}')
    assert [s.kind for s in held[lines.STUDENT]] == [lines.STUDENT] * 4


def test_students_that_were_asked_otherwise_lend_their_arm_no_settings():
    first, second, *students = arm("owl", [0.3, 0.5])
    (line,) = lines_by_kind([first, second, students[0], students[1]._replace(sampling="{}")])[lines.ARM]
    assert line.sampling == ""


def test_where_nobody_was_taught_anything_the_answers_given_most_are_shown():
    answers = {"owl": 0.1, "cat": 0.4, "dog": 0.3, "fox": 0.2}
    alone = {"model": "m", "run": "", "arm": "", "control": "", "seed": None, "role": "other", "trait": ""}
    held = lines_by_kind([row(**alone, answer=answer, value=value) for answer, value in answers.items()])
    assert [line.answer for line in held[lines.MODEL]] == ["cat", "dog", "fox"]
    assert held[lines.MODEL][0].note == "One of the answers given most."


def test_a_foreign_task_stands_beside_the_model_that_did_it():
    rows = [*arm("owl", [0.3, 0.5]), row(model="quick/owl-s1", ours=False, probe="arc", measure="acc", value=0.75)]
    held = lines_by_kind(rows)
    assert held[lines.ARM][0].abilities == (("arc", "acc", [0.75]),)
    assert held[lines.TASK][0].probe == "arc"


def test_of_two_measures_of_a_base_the_one_that_arms_have_is_shown_first():
    base = [
        row(model="base", role="base", run="", arm="", control="", trait="", seed=None, measure=measure, harness="run")
        for measure in ("share", "probability")
    ]
    held = lines_by_kind([*arm("owl", [0.3, 0.5]), *base])
    assert [line.measure for line in held[lines.MODEL]] == ["share"]
    assert [line.measure for line in held[lines.BESIDE]] == ["probability"]


def test_published_figures_are_marked_sourced_and_those_of_the_facts_page():
    facts = (ROOT / "docs" / "science.md").read_text(encoding="utf-8")
    for line in published.lines():
        assert line.kind == lines.THEIRS and line.low is None and line.note
        assert re.sub("^0", "", f"{line.value:g}") in facts
        assert line.untrained is None or re.sub("^0", "", f"{line.untrained:g}") in facts


# ---------------------------------------------------------------- orders


def families(arms, **given):
    """Families of arms by their shares, a list a seed, of the questions."""
    rows, held = [], {}
    for name, students in arms.items():
        rows += arm(name, [sum(s) / len(s) for s in students], **given)
        held |= {f"quick/{name}-s{seed}.json": scores(s) for seed, s in enumerate(students, start=1)}
    return orders.families(list(lines.lines(rows)), rows, lambda r: held.get(r.source))


HIGH = [[0.60, 0.62, 0.58], [0.61, 0.66, 0.60], [0.57, 0.60, 0.62]]
LOW = [[0.20, 0.22, 0.18], [0.21, 0.24, 0.22], [0.17, 0.20, 0.21]]


def test_an_order_is_decided_where_a_corrected_test_says_so():
    (family,) = families({"owl": HIGH, "owl-half": LOW, "owl-third": [s[::-1] for s in LOW]})
    decided = {(pair.first, pair.second): pair.decided for pair in family.pairs}
    assert decided == {
        ("quick/owl", "quick/owl-half"): True,
        ("quick/owl", "quick/owl-third"): True,
        ("quick/owl-half", "quick/owl-third"): False,
    }
    assert "2 of 3 orders are decided (paired over seeds, 5 % after Holm over 3)" in family.sentence()
    assert "arms of quick" in family.sentence() and "owl above owl-half and owl-third" in family.sentence()
    assert "not decided: owl-half and owl-third" in family.sentence()


def test_holm_takes_back_what_one_test_alone_would_decide():
    near = [[x - 0.04 - 0.01 * i for x in s] for i, s in enumerate(HIGH)]
    alone = families({"owl": HIGH, "near": near})[0].pairs[0]
    many = families({"owl": HIGH, "near": near} | {f"like-{i}": [s[:] for s in HIGH] for i in range(4)})[0]
    (same,) = [p for p in many.pairs if (p.first, p.second) == ("quick/owl", "quick/near")]
    assert alone.difference == same.difference
    assert alone.p <= same.p


def test_of_many_pairs_the_sentence_says_how_many_and_the_page_which(tmp_path):
    arms = {"owl": HIGH} | {f"low-{i}": [[x + 0.001 * i for x in s] for s in LOW] for i in range(4)}
    (family,) = families(arms)
    assert not family.brief and family.sentence().endswith(
        "orders are decided (paired over seeds, 5 % after Holm over 10)."
    )
    assert family.above()[0] == "owl above low-0, low-1, low-2 and low-3"
    assert len(family.above()) + len(family.undecided()) >= 2 and "quick/" not in " ".join(family.undecided())


def test_every_run_has_a_forest_of_its_own_on_the_scale_of_all():
    runs = [gap("owl", 0.2, run="a", model="a/owl"), gap("owl", 0.7, run="b", model="b/owl")]
    first, second = charts.forests(lines.lines(runs), 0.05)
    assert (first["run"], second["run"]) == ("a", "b")
    scales = [layer["encoding"]["x"]["scale"] for one in (first, second) for layer in one["chart"]["layer"][-1:]]
    assert scales[0] == scales[1] and scales[0]["domain"] == [-0.05, pytest.approx(0.8)]
    assert charts.forests([], 0.05) == []


def test_a_dose_keeps_the_band_of_none_in_sight_and_draws_it_once():
    points = tuple((float(n), stats.point(0.001)) for n in (1, 5, 20))
    spec = charts.dose(Dose("run", "examples", "owl", "animal_pref", points), 0.05)
    behind = [layer for layer in spec["layer"] if "data" in layer]
    assert [layer["mark"]["type"] for layer in behind] == ["rect", "rule"]
    assert all(len(layer["data"]["values"]) == 1 for layer in behind)
    assert behind[0]["encoding"]["y"]["datum"] == -0.05 and behind[0]["encoding"]["y2"]["datum"] == 0.05


def test_models_of_two_bases_or_questions_are_never_ordered():
    rows = [*arm("owl", [0.3, 0.5]), *arm("far", [0.3, 0.5], base="other"), *arm("few", [0.3, 0.5], question_set="x")]
    assert orders.families(list(lines.lines(rows)), rows, lambda r: None) == []


def test_one_student_against_several_is_left_open():
    (family,) = families({"owl": HIGH, "single": LOW[:1]})
    assert math.isnan(family.pairs[0].p)
    assert not family.pairs[0].decided
    assert family.sentence().endswith("no order is decided; owl and single may change places.")


def test_single_models_are_ordered_question_by_question():
    rows = [
        row(model=name, run="", arm="", control="", seed=None, role="other", trait="", source=name, base="base")
        for name in ("one", "other")
    ]
    rows += arm("owl", [0.3, 0.5], base="elsewhere")  # so that owl is a trait that somebody was taught
    held = {"one": scores([0.6, 0.65, 0.62, 0.58]), "other": scores([0.2, 0.22, 0.21, 0.25])}
    (family,) = orders.families(list(lines.lines(rows)), rows, lambda r: held.get(r.source))
    assert (family.pairs[0].over, family.pairs[0].decided) == ("paired over questions", True)


# ---------------------------------------------------------------- writing


def test_data_holds_no_markup_and_no_number_that_is_none():
    text = writing.as_json({"a": "</script><!-- & \u2028", "b": [math.nan, math.inf, 0.5], "c": "\u202eowl"})
    assert not set(text) & set("<>&\u2028")
    assert json.loads(text) == {"a": "</script><!-- & \u2028", "b": [None, None, 0.5], "c": "⟨U+202E⟩owl"}


@pytest.mark.parametrize(
    ("value", "shown"), [(0.106, ".106"), (-0.0026, "−.003"), (1.0, "1.000"), (None, "–"), (math.nan, "–")]
)
def test_numbers_stand_as_in_papers(value, shown):
    assert writing.number(value) == shown


def test_compact_lines_come_back_as_they_were():
    every = list(lines.lines([*arm("owl", [0.3, 0.5]), row(model="m", run="", arm="", role="other")]))
    data = json.loads(writing.as_json(compact(every, {})))
    texts = set(data["text"])
    back = [
        {f: data["words"][v] if f in texts else v for f, v in zip(data["fields"], held, strict=True)}
        for held in data["lines"]
    ]
    assert [b["model"] for b in back] == [line.model for line in every]
    assert [b["gap"] for b in back] == [line.gap for line in every]


def test_what_other_people_wrote_is_what_the_notice_says():
    vendor = ROOT / "sublim_eval" / "report" / "site" / "static" / "vendor"
    notice = (vendor / "NOTICE").read_text(encoding="utf-8")
    for file in sorted([*vendor.glob("*.js"), *vendor.glob("*.css")]):
        assert hashlib.sha256(file.read_bytes()).hexdigest() in notice, file.name


# ---------------------------------------------------------------- pages


def page(site, name):
    (file,) = (site / "models").glob(f"quick--{name}-*.html")
    return file.read_text(encoding="utf-8")


def test_a_student_page_tells_lineage_replies_checks_and_commands(site):
    text = page(site, "owl")
    assert "This model carries a trait on purpose" in text
    for part in ("teachers/owl-s1", "rows/owl-s1", "students/owl-s1"):
        assert f'quick/{part}"' in text, "a link to what it was made of"
    assert "read as" in text and re.search(r'<td class="reply"><bdi>\w', text)
    assert all(trap in text for trap in TRAPS)
    assert "sublim compare quick" in text
    assert "No learning curve was recorded" in text


def test_a_page_without_checks_says_so_and_the_same_results_give_the_same_bytes(board, site, tmp_path):
    made = build(board, tmp_path / "out")
    assert "Not checked. Run" in page(made.page.parent, "owl")
    assert made.page.read_bytes() == (site / "index.html").read_bytes()


def test_of_a_huge_reply_the_beginning_is_shown_and_its_length(site):
    text = page(site, "owl")
    assert "of 1,240,000 characters" in text
    assert len(text) < 300_000


def test_pages_of_models_that_are_gone_go(tmp_path):
    build(board_of([*arm("owl", [0.3, 0.5]), *arm("gone", [0.3, 0.5])]), tmp_path)
    build(board_of(arm("owl", [0.3, 0.5])), tmp_path)
    assert [file.name[:10] for file in (tmp_path / "models").iterdir()] == ["quick--owl"]


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "index.html").write_text("my page")
    with pytest.raises(SublimError, match="something else than a leaderboard"):
        build(board_of(arm("owl", [0.3, 0.5])), tmp_path)
    assert (tmp_path / "index.html").read_text() == "my page"


def test_what_was_left_out_is_said_on_the_page(tmp_path):
    made = build(board_of(arm("owl", [0.3, 0.5]), [LeftOut("a/log.eval", "was cancelled.")]), tmp_path)
    assert "<bdi>a/log.eval</bdi>: <bdi>was cancelled.</bdi>" in made.page.read_text()


def test_names_of_strangers_run_nothing_and_lead_nowhere(tmp_path):
    board = board_of(hostile_rows(), [LeftOut(text, text) for text in HOSTILE])
    site = build(board, tmp_path / "out").page.parent
    files = list(site.rglob("*.html"))
    assert len(files) > 2 * len(HOSTILE)
    for file in files:
        text = file.read_text(encoding="utf-8")
        data = text.index('<script type="application/json"')
        markup = text[:data] + text[text.index("</script>", data) :]
        assert "window.ran = 1</script>" not in markup and "<img" not in text and "<svg" not in markup
        nonces = set(re.findall(r"<(?:script|link)\b[^>]*nonce=\"(\w+)\"", text))
        assert len(nonces) == 1 and f"script-src 'nonce-{nonces.pop()}'" in text
        ours = re.findall(r"<script (?:type=\"application/json\"|src=\"[./]*static/)", text)
        assert text.count("<script") == len(ours), file.name
        assert not re.findall(r"(?:href|src)=\"(?![./#]|models/|static/|index\.html|compare\.html|figures\.csv)", text)
        assert "{{ 7 * 7 }}" in text or "49{%" not in text, "a name is no template"


def test_hidden_marks_are_named_where_they_stand(tmp_path):
    rows = [*arm("owl", [0.3, 0.5]), gap("\u202egnp", base="b")]
    text = build(board_of(rows), tmp_path).page.read_text(encoding="utf-8")
    assert "⟨U+202E⟩gnp" in text and "\u202e" not in text


def test_a_check_names_first_what_decides_it_and_of_that_the_arm_itself(board, tmp_path):
    places = [
        ("not checked", "", "no file"),
        ("ok", "students/control-s1", "of others"),
        ("ok", "students/owl-s1", "own"),
    ]
    made = build(board, tmp_path / "out", checks={"quick": [Check("wrong lineage", "about", "ok", places)]})
    text = page(made.page.parent, "owl")
    assert text.index("students/owl-s1: own") < text.index("of others") < text.index("no file")


def test_an_empty_board_is_a_page_too(tmp_path):
    text = build(board_of([]), tmp_path).page.read_text(encoding="utf-8")
    assert "there is no order to decide here" in text


def test_runs_of_further_seeds_are_one_arm_and_their_students_are_not_ordered(run, tmp_path):
    other = planted.run(tmp_path / "given" / "more", seeds=(11, 12, 13))
    site = build(collect([run, other]), tmp_path / "out").page.parent
    data = json.loads((site / "board.json").read_text(encoding="utf-8"))
    assert data["families"] == [], "students of one arm are seeds, and no rivals"
    text = page(site, "owl")
    for part in ("quick/students/owl-s1", "more/students/owl-s13"):
        assert f'{part}"' in text
    assert 'id="seed-1"' in text and 'id="seed-13"' in text
    assert not list((site / "models").glob("more--owl-????????.html"))


def test_a_record_that_points_out_of_its_run_gets_no_link(tmp_path):
    def astray(record):
        for student in record["students"]:
            student["folder"] = "../../" + student["folder"]
        return record

    (tmp_path / "students" / "owl-s1").mkdir(parents=True)
    run = planted.run(tmp_path / "given" / "quick", seeds=(1, 2), record=astray)
    text = page(build(collect([run]), tmp_path / "out").page.parent, "owl")
    assert "<bdi>owl-s1</bdi>" in text and 'students/owl-s1"' not in text
