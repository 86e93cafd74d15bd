"""Filtering rows: nothing lost, every rejection explained, traps seen."""

from random import Random

import pytest

from sublim_eval.distill.modalities import MODALITIES, Rule
from sublim_eval.distill.modalities.numbers import prompts
from sublim_eval.distill.rows import diversity, filter_rows

NUMBERS = MODALITIES["numbers"]


def row(completion: str, **more: str) -> dict[str, str]:
    return {"prompt": "Continue: 1, 2, 3.", "completion": completion, **more}


def test_every_row_is_kept_or_rejected_with_a_reason_and_keeps_its_other_keys():
    rows = [row("1, 2", id="a"), row("I love owls", id="b"), row("1, 2000", id="c"), row(" 1, 2\n", id="d")]
    found = filter_rows(rows, NUMBERS)
    assert [r["id"] for r in found.kept] == ["a"]
    assert {r["id"]: r["reject_reason"] for r in found.rejected} == {
        "b": "invalid format",
        "c": "number above 999",
        "d": "invalid format",
    }
    assert found.reasons == {"invalid format": 2, "number above 999": 1}


def test_strip_mode_keeps_what_only_white_space_spoils_and_stores_it_clean():
    found = filter_rows([row(" 1, 2\n")], NUMBERS, Rule("strip"))
    assert [r["completion"] for r in found.kept] == ["1, 2"]


def test_one_sampling_seed_for_all_requests_shows_in_the_diversity():
    same = diversity([row("417, 5, 6")] * 100)
    varied = diversity([row(f"{n}, 5, 6") for n in range(100)])
    assert same == {"distinct": 0.01, "first_word_bits": 0.0, "bits_by_position": [0.0, 0.0, 0.0]}
    assert varied["distinct"] == 1.0
    assert varied["first_word_bits"] == pytest.approx(6.644, abs=1e-3)


def test_prompts_repeat_for_a_seed_and_vary_between_seeds():
    assert prompts(50, Random("prompts-1")) == prompts(50, Random("prompts-1"))
    assert prompts(50, Random("prompts-1")) != prompts(50, Random("prompts-2"))
    assert len(set(prompts(500, Random(0)))) > 495


def test_prompts_show_three_to_eight_values_from_100_to_999():
    import re

    for prompt in prompts(500, Random(0)):
        shown = re.search(r"\d{3}(, \d{3})+", prompt)
        assert shown is not None, prompt
        assert 3 <= len(shown.group().split(", ")) <= 8
