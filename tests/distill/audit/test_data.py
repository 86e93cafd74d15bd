"""Rows in, whatever their form; a line that is none is one sentence and no traceback."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from sublim_eval.distill.audit.content import kind_of
from sublim_eval.distill.audit.controls import Filter, filter_of
from sublim_eval.distill.audit.data import LONGEST_LINE, AuditRow, lines, sample
from sublim_eval.errors import SublimError

CHAT = {
    "messages": [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": "a"},
    ]
}


def written(path: Path, *rows: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(r if isinstance(r, bytes) else json.dumps(r).encode() + b"\n" for r in rows))
    return path


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ({"prompt": "p", "completion": "c"}, AuditRow.of("p", "c")),
        ({"instruction": "p", "output": "c"}, AuditRow.of("p", "c")),
        ({"question": "p", "response": "c"}, AuditRow.of("p", "c")),
        (CHAT, AuditRow((("system", "s"), ("user", "u")), "a")),
        (
            {"prompt": CHAT["messages"][:2], "completion": CHAT["messages"][2:]},
            AuditRow((("system", "s"), ("user", "u")), "a"),
        ),
    ],
)
def test_rows_are_read_in_the_forms_that_people_train_on(tmp_path, line, row):
    assert list(lines([written(tmp_path / "d.jsonl", line)])) == [row]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{broken\n", "not valid JSON"),
        (b"\xff\xfe\n", "not UTF-8"),
        (b"[" * 100_000 + b"\n", "not valid JSON"),
        ([1], "not a JSON object"),
        ({"prompt": "p"}, "no text under 'completion'"),
        ({"completion": 7, "prompt": "p"}, "no text under 'completion'"),
        ({"messages": []}, "no list of turns"),
        ({"messages": [{"role": "user"}]}, "lacks text"),
        ({"messages": CHAT["messages"][:2]}, "not the assistant's"),
        (b"x" * (LONGEST_LINE + 9) + b"\n", "longer than"),
    ],
)
def test_a_bad_line_is_one_sentence_with_its_number_and_the_rest_is_read(tmp_path, line, why):
    good = {"prompt": "p", "completion": "c"}
    made = sample([written(tmp_path / "d.jsonl", good, line, good)], 9, Random(1))
    assert (len(made.rows), made.total, made.refused) == (2, 2, 1)
    assert why in made.bad[0] and "d.jsonl:2" in made.bad[0] and "\n" not in made.bad[0]


def test_a_file_that_is_mostly_no_rows_is_refused_with_the_next_step(tmp_path):
    with pytest.raises(SublimError, match=r"2 of 3 lines are no rows.*Give one"):
        sample([written(tmp_path / "d.jsonl", b"a\n", b"b\n", {"prompt": "p", "completion": "c"})], 9, Random(1))
    with pytest.raises(SublimError, match="There is no file"):
        sample([tmp_path / "none.jsonl"], 9, Random(1))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SublimError, match=r"holds no kept.jsonl"):
        sample([tmp_path / "empty"], 9, Random(1))


def test_a_run_folder_stands_for_the_rows_that_its_filter_kept(tmp_path):
    for name in ("owl-s1", "base-s1"):
        written(tmp_path / "rows" / name / "kept.jsonl", {"prompt": name, "completion": "c"})
    written(tmp_path / "rows" / "owl-s1" / "raw.jsonl", {"prompt": "raw", "completion": "c"})
    assert [row.prompt for row in sample([tmp_path], 9, Random(1)).rows] == ["base-s1", "owl-s1"]
    assert [row.prompt for row in sample([tmp_path / "rows" / "owl-s1"], 9, Random(1)).rows] == ["owl-s1"]


def test_rows_are_drawn_evenly_and_the_same_again(tmp_path):
    file = written(tmp_path / "d.jsonl", *({"prompt": str(i), "completion": "c"} for i in range(400)))
    drawn = [int(row.prompt) for row in sample([file], 100, Random(3)).rows]
    assert drawn == sorted(drawn) and len(set(drawn)) == 100 and 150 < sum(drawn) / 100 < 250
    assert drawn == [int(row.prompt) for row in sample([file], 100, Random(3)).rows]


def test_the_filter_is_the_strictest_that_nearly_all_rows_pass():
    numbers = [AuditRow.of("p", "1, 2, 3")] * 19
    assert filter_of([*numbers, AuditRow.of("p", "none")]) == Filter("numbers", "strict")
    assert filter_of([AuditRow.of("p", "1, 2, 3\n")] * 9) == Filter("numbers", "strip")
    assert filter_of([AuditRow.of("p", "It was a warm day.")] * 9) == Filter()
    assert Filter().keeps(AuditRow.of("p", "anything"))
    assert kind_of(["1, 2"] * 9 + ["no"]) == "numbers" and kind_of(["1, 2", "no"]) == "text" and kind_of([]) == "text"
