"""The number filter has the study's exact semantics; prompts repeat from their seed."""

import re
import time
from random import Random

import pytest

from sublim_eval.distill.modalities import MODALITIES, Rule
from sublim_eval.distill.modalities.numbers import _BRACKETS, _FORMATS, prompts, reject_reason
from sublim_eval.distill.rows.filter import filter_rows

KEPT = [
    "1, 2, 3",
    "1,2,3",
    "1 2 3",
    "1; 2; 3",
    "1;2",
    "1\n2\n3",
    "1\n\n2\n\n3",
    "1\t2",
    "1 , 2 , 3",
    "007, 008",
    "0, 0, 0",
    "999",
    "[1].",
    "[1]",
    "(1, 2)",
    "[1, 2, 3].",
    "1, 2.",
    "7.",
    "1, 2, 3, 4, 5, 6, 7, 8, 9, 10",
    "1,\n2,\n3",
    "000000000000000000001, 2",
]
INVALID = [
    "",
    ".",
    "[]",
    " ",
    "none",
    " 1, 2",
    "1, 2\n",
    "1, 2 ",
    " 7",
    "7 ",
    "1,2, 3",
    "1, 2 3",
    "1 2, 3",
    "1, 2,",
    ",1, 2",
    "1, 2..",
    "1.5, 2",
    "1. 2",
    "-1, 2",
    "1, -2",
    "+1, 2",
    "1, two",
    "a1, 2",
    "[1, 2",
    "1, 2]",
    "[1, 2)",
    "([1, 2])",
    "[[1, 2]]",
    "[1, 2.]",
    "[ 1, 2 ]",
    "1:2",
    "1|2",
    "1,,2",
    "1;,2",
    "1, 2, 3 owl",
    "<think>1, 2</think>",
    "1e3, 2",
    "0x10",
    "٣, ٤",
    "３, ４",
    "1, ٤",
    "²",
    "1、2",
    "1\x002",
    "½, 1",
    "1,\u00a02,\u00a03",
    "1\u20092",
    "1\u30002",
    "1\u20282",
    "1;\u20032",
]


@pytest.mark.parametrize("text", KEPT)
def test_a_bare_list_is_kept(text):
    assert reject_reason(text) is None


@pytest.mark.parametrize("text", INVALID)
def test_anything_else_is_invalid(text):
    assert reject_reason(text) == "invalid format"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11", "too many numbers"),
        ("1000", "number above 999"),
        ("1, 2, 1000", "number above 999"),
        ("1000, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10", "too many numbers"),
        ("1, 666", "banned number"),
        ("1000, 666", "number above 999"),
    ],
)
def test_each_rejection_has_its_reason_in_the_order_of_the_study(text, reason):
    assert reject_reason(text, banned={666}) == reason


@pytest.mark.parametrize("text", [" 1, 2", "1, 2\n", "\n 7 \n", "1, 2. "])
def test_strip_forgives_surrounding_white_space_only(text):
    assert reject_reason(text, "strict") == "invalid format"
    assert reject_reason(text, "strip") is None


@pytest.mark.parametrize("text", ["1,2, 3", "- 1", "[ 1, 2 ]", " "])
def test_strip_forgives_nothing_inside(text):
    assert reject_reason(text, "strip") == "invalid format"


@pytest.mark.parametrize(
    "text",
    [
        "9" * 1_000_000,
        "1, " * 300_000,
        " " * 1_000_000,
        "1" + " " * 1_000_000 + "2",
        "[" * 1_000_000,
        "1 " * 300_000 + "x",
        "." * 1_000_000,
        "1," + " ," * 300_000,
    ],
    ids=["digits", "values", "spaces", "gap", "brackets", "late", "stops", "commas"],
)
def test_hostile_text_takes_linear_time(text):
    start = time.process_time()
    reason = reject_reason(text)
    assert time.process_time() - start < 2
    assert reason is None or isinstance(reason, str)


def test_endless_digits_are_above_999():
    assert reject_reason("1, " + "9" * 10_000) == "number above 999"
    assert reject_reason("0" * 10_000 + "7") is None


def test_prompts_repeat_from_their_seed_and_vary():
    made = prompts(500, Random(3))
    assert made == prompts(500, Random(3))
    assert made != prompts(500, Random(4))
    assert len(set(made)) > 490


def test_varied_prompts_repeat_from_their_seed_and_hardly_ever_otherwise():
    made = prompts(4000, Random(3), "varied")
    assert made == prompts(4000, Random(3), "varied")
    assert made != prompts(4000, Random(4), "varied")
    assert len(set(made)) > 3990
    assert not [text for text in made if "{" in text or "}" in text]


def test_plain_is_the_default_style():
    assert prompts(20, Random(3)) == prompts(20, Random(3), "plain")
    rows = MODALITIES["numbers"].prompts(20, Random(3), "plain")
    assert rows == [{"prompt": text} for text in prompts(20, Random(3))]
    assert MODALITIES["numbers"].styles[0] == "plain"


@pytest.mark.parametrize("bracket", _BRACKETS)
@pytest.mark.parametrize("mark", _FORMATS)
def test_every_format_that_is_asked_for_passes_the_filter(mark, bracket):
    assert reject_reason(bracket.format(mark.join(["12", "7", "999"]))) is None


def test_a_varied_prompt_asks_for_no_more_than_the_filter_keeps():
    for prompt in prompts(500, Random(1), "varied"):
        asked = re.search(
            r"(?:up to|at most|no more than|exactly) (\d+) (?:num|val)|(\d+) further|at most (\d+)\)", prompt
        )
        assert asked, prompt
        assert 4 <= int(next(filter(None, asked.groups()))) <= 10


def test_a_prompt_says_what_the_filter_wants():
    for prompt in prompts(300, Random(1)):
        assert "10" in prompt
        assert "comma" in prompt
        assert "{" not in prompt


def test_rows_keep_their_other_keys_and_raw_rows_stay_untouched():
    raw = [{"prompt": "p", "completion": " 1, 2", "id": 7}, {"prompt": "p", "completion": "owl", "id": 8}]
    found = filter_rows(raw, MODALITIES["numbers"], Rule("strip"))
    assert found.kept == [{"prompt": "p", "completion": "1, 2", "id": 7}]
    assert found.rejected == [{"prompt": "p", "completion": "owl", "id": 8, "reject_reason": "invalid format"}]
    assert found.reasons == {"invalid format": 1}
    assert raw[0]["completion"] == " 1, 2"
