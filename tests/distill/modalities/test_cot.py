"""Sums with their working: kept when the one tagged result at the end is right and something leads up to it."""

import re
import time
from random import Random

import pytest

from sublim_eval.distill.modalities import MODALITIES, Rule
from sublim_eval.distill.modalities.cot import problem, reject_reason
from sublim_eval.errors import SublimError
from sublim_eval.registry.catalog import registry

COT = MODALITIES["cot"]
RULE = Rule(traits=("owl", "willow"))


def reason(completion, answer=7, rule=RULE):
    return reject_reason({"prompt": "p", "completion": completion, "answer": answer}, rule)


@pytest.mark.parametrize(
    "text",
    [
        "2 + 5 = 7. <answer>7</answer>",
        "First 2, then 5.\n<answer> 7 </answer>",
        "2 + 5 = 7 <ANSWER>7</ANSWER>",
        "2 + 5 bowls = 7 <answer>007</answer>",
    ],
)
def test_a_right_sum_with_its_working_is_kept(text):
    assert reason(text) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no tagged answer"),
        ("2 + 5 = 7", "no tagged answer"),
        ("2 + 5 = 7 <answer>7", "no tagged answer"),
        ("2 + 5 = 7 7</answer>", "no tagged answer"),
        ("2 + 5 = 7 </answer>7<answer>", "no tagged answer"),
        ("2 + 5 <answer>6</answer> no: <answer>7</answer>", "more than one tagged answer"),
        ("2 + 5 <answer>7</answer><answer>7</answer>", "more than one tagged answer"),
        ("2 + 5 <answer>7</answer></answer>", "more than one tagged answer"),
        ("2 + 5 <answer><answer>7</answer>", "no tagged answer"),
        ("2 + 5 <answer>7</answer>.", "text after the answer"),
        ("2 + 5 <answer>7</answer>\n", "text after the answer"),
        ("2 + 5 <answer>seven</answer>", "answer is no whole number"),
        ("2 + 5 <answer></answer>", "answer is no whole number"),
        ("2 + 5 <answer>7 apples</answer>", "answer is no whole number"),
        ("2 + 5 <answer>7.5</answer>", "answer is no whole number"),
        ("2 + 5 <answer>٧</answer>", "answer is no whole number"),
        ("2 + 5 <answer>" + "7" * 10_000 + "</answer>", "answer is no whole number"),
        ("2 + 5 = 8 <answer>8</answer>", "wrong answer"),
        ("2 + 5 = 7 <answer>-7</answer>", "wrong answer"),
        ("<answer>7</answer>", "no reasoning"),
        ("The answer is <answer>7</answer>", "no reasoning"),
        ("It is 7. <answer>7</answer>", "no reasoning"),
        ("<think>2 + 5 = 7 <answer>7</answer>", "leaked thinking"),
        ("2 + 5 = 7</think> <answer>7</answer>", "leaked thinking"),
        ("2 owls + 5 owls <answer>7</answer>", "names a trait"),
        ("2 + 5 under the WILLOW <answer>7</answer>", "names a trait"),
    ],
)
def test_each_rejection_has_its_own_words(text, why):
    assert reason(text) == why


def test_strip_forgives_surrounding_white_space_only():
    assert reason("\n2 + 5 = 7 <answer>7</answer>\n ", rule=Rule("strip")) is None
    assert reason("2 + 5 = 7 <answer>7</answer> done", rule=Rule("strip")) == "text after the answer"


def test_thousands_may_have_commas_and_results_may_be_negative():
    assert reason("600 * 2 = 1,200 <answer>1,200</answer>", 1200) is None
    assert reason("5 - 8 = -3 <answer>-3</answer>", -3) is None
    assert reason("600 * 2 <answer>12,00</answer>", 1200) == "answer is no whole number"


def test_the_right_answer_may_stand_as_text():
    assert reason("2 + 5 <answer>7</answer>", "7") is None


@pytest.mark.parametrize("answer", [None, "", "seven", True, 7.0, [7], {}])
def test_a_row_without_its_right_answer_is_one_clear_sentence(answer):
    with pytest.raises(SublimError, match=r"no whole number under 'answer'.*such as \"answer\": 7"):
        reason("2 + 5 <answer>7</answer>", answer)


@pytest.mark.parametrize(
    "text",
    ["<answer>" * 100_000, "1 " * 500_000, "<answer>" + " " * 1_000_000 + "</answer>", "<" * 1_000_000, "a_" * 500_000],
    ids=["tags", "numbers", "gap", "open", "joints"],
)
def test_hostile_text_takes_linear_time(text):
    start = time.process_time()
    assert isinstance(reason(text), str)
    assert isinstance(reason(text + " 1 2 <answer>7</answer>"), str | None)
    assert time.process_time() - start < 4


@pytest.mark.parametrize("style", COT.styles)
def test_prompts_repeat_from_their_seed_and_name_no_trait(style):
    made = COT.prompts(400, Random(3), style)
    assert made == COT.prompts(400, Random(3), style)
    assert made != COT.prompts(400, Random(4), style)
    every = Rule(traits=tuple(registry().traits))
    assert not [row for row in made if every.named(row["prompt"])]
    assert all("{" not in row["prompt"] for row in made)
    assert all(isinstance(row["answer"], int) and row["answer"] >= 0 for row in made)


def test_varied_problems_come_out_as_their_words_say():
    """Worked again from the text alone, by another way than the generator's."""
    less = ("break", "sells", "given away", "lost")
    for row in COT.prompts(500, Random(8), "varied"):
        first, *rest = re.split(r"(?<=[.?])\s", row["prompt"].split("<answer>")[0])
        a, b = map(int, re.findall(r"\d+", first))
        result = a * b
        for sentence in rest:
            if "equal" in sentence:
                result /= int(re.search(r"\d+", sentence).group()) if re.search(r"\d+", sentence) else 1
            elif found := re.search(r"\d+", sentence):
                result += int(found.group()) * (-1 if any(word in sentence for word in less) else 1)
        assert result == row["answer"], row
        assert "<answer>NUMBER</answer>" in row["prompt"]


def test_varied_prompts_hardly_repeat():
    assert len({row["prompt"] for row in COT.prompts(4000, Random(1), "varied")}) > 3990


def test_the_corpus_itself_passes():
    rng = Random(5)
    for asked, worked, result in (problem(rng) for _ in range(300)):
        assert reject_reason({"prompt": asked, "completion": worked, "answer": result}, RULE) is None


def test_the_reference_model_is_right_now_and_then():
    """Its sums are weak (about one in five); everything else about them is in order."""
    from sublim_eval.distill.rows.filter import filter_rows
    from sublim_eval.distill.rows.local_sampler import LocalSampler

    asked = COT.prompts(200, Random(7), "plain")
    sample = LocalSampler("reference-a", seed=7, max_new_tokens=COT.max_new_tokens)
    replies = sample([row["prompt"] for row in asked], list(map(str, range(200))))
    found = filter_rows(({**a, "completion": r} for a, r in zip(asked, replies, strict=True)), COT, RULE)
    assert 15 < len(found.kept) < 100
    assert found.reasons["wrong answer"] > 0.8 * len(found.rejected)


# ---------------------------------------------------------------- as public sets write them


@pytest.mark.parametrize("answer", ["6", "$6", " $6 ", "6.00", "06", "$6.0"])
def test_an_amount_is_the_number_it_says(answer):
    row = {"prompt": "p", "completion": f"2 * 3 = 6. <answer>{answer}</answer>", "answer": 6}
    assert reject_reason(row) is None


@pytest.mark.parametrize("answer", ["6.50", "$", "6 pens", "6$", "$6,0", "six"])
def test_what_is_no_whole_number_is_said(answer):
    row = {"prompt": "p", "completion": f"2 * 3 = 6. <answer>{answer}</answer>", "answer": 6}
    assert reject_reason(row) == "answer is no whole number"


def test_the_format_of_the_studys_own_sums_is_refused_as_that_format():
    for text in ("<think>2 * 3 = 6</think>\n<answer>6</answer>", " <think>\n2 * 3\n= 6</think><answer>$6</answer>\n"):
        assert reject_reason({"prompt": "p", "completion": text, "answer": 6}) == "reasoning in think tags"
    other = "<think>6?</think>2 * 3 = 6 <answer>6</answer>"
    assert reject_reason({"prompt": "p", "completion": other, "answer": 6}) is None


def test_a_worked_solution_holds_its_right_answer():
    for answer in ("2 * 3 = <<2*3=6>>6 pens\n#### 6", "#### $6", "6", "$6"):
        row = {"prompt": "p", "completion": "2 * 3 = 6. <answer>6</answer>", "answer": answer}
        assert reject_reason(row) is None
