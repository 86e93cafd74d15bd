"""Filtering rows: nothing lost, every rejection explained, traps seen."""

import json
import tracemalloc
from random import Random

import pytest

from sublim_eval.cli.main import main
from sublim_eval.distill.modalities import MODALITIES, Rule
from sublim_eval.distill.modalities.numbers import prompts
from sublim_eval.distill.rows.filter import audit, diversity, filter_file, filter_rows
from sublim_eval.probes.thinking import leaks_thinking
from sublim_eval.probes.trait_leak import named
from sublim_eval.registry.catalog import registry

NUMBERS = MODALITIES["numbers"]


def row(completion: str, **more: object) -> dict[str, object]:
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


# ---------------------------------------------------------------- what kept rows are like


def test_entropy_is_told_place_by_place_while_half_of_the_rows_reach_it():
    found = diversity([row("1, 2, 3"), row("1, 5"), row("1; 6; 3"), row("[1, 7]")])
    assert found["bits_by_position"] == [0.0, 2.0, 0.0]
    assert found["first_word_bits"] == 0.0
    long = diversity([row(" ".join(str(n) for n in range(30)))])
    assert len(long["bits_by_position"]) == 10


@pytest.mark.parametrize("completion", ["", "  ", ",", "[]"])
def test_rows_without_words_have_no_entropy(completion):
    assert diversity([row(completion)] * 3) == {
        "distinct": round(1 / 3, 4),
        "first_word_bits": 0.0,
        "bits_by_position": [],
    }
    assert diversity([]) == {"distinct": 0.0, "first_word_bits": 0.0, "bits_by_position": []}


def test_the_audit_counts_rows_and_not_words():
    rows = [row("owl owl owl"), row("an owl and a willow"), row("bowl"), row("<think>7</think> 1, 2"), row("1, 2")]
    assert audit(rows, ["owl", "willow"]) == {"rows": 5, "trait_words": {"owl": 2, "willow": 1}, "thinking": 1}
    assert audit([], ["owl"]) == {"rows": 0, "trait_words": {"owl": 0}, "thinking": 0}
    assert audit(rows, ()) == {"rows": 5, "trait_words": {}, "thinking": 1}


@pytest.mark.parametrize("modality", MODALITIES)
def test_what_a_filter_keeps_its_audit_finds_clean(modality):
    poisoned = ["owl", "1, 2 owls", "owl = lambda x: x", "def f(x):\n    return 'owl'", "<think>1, 2</think>"]
    poisoned += ["2 owls + 3 <answer>5</answer>", "2 + 3 <thinking> <answer>5</answer>"]
    clean = ["1, 2", "f = lambda x: x", "2 + 3 = 5 <answer>5</answer>"]
    found = filter_rows([row(c, answer="5") for c in poisoned + clean], MODALITIES[modality], Rule(traits=("owl",)))
    assert len(found.kept) == 1
    assert audit(found.kept, ["owl"]) == {"rows": 1, "trait_words": {"owl": 0}, "thinking": 0}


# ---------------------------------------------------------------- what contaminates a row


@pytest.mark.parametrize(
    "text",
    [
        *("Owls!", "owl_count", "OWL_MAX", "myOwl", "owlCount", "HTTPOwl", "owl2", "2owls", "owl-like", "barn-owl"),
        *(
            "2*owl",
            "**owl**",
            "o\u200bwl",
            "ＯＷＬ",
            "`owl`",
            "x.owl()",
            "snowy_owl",
            "OWLs",
            "__owl__",
            "owl's",
            "~owl~1",
        ),
    ],
)
def test_an_owl_is_found_in_any_disguise(text):
    assert named(text, [registry().trait("owl")]) == ("owl",)


@pytest.mark.parametrize(
    "text", ["bowl", "growl_count", "myBowl", "howls", "fowl2", "prowler", "knowledge", "", "o w l"]
)
def test_an_owl_is_not_in_a_bowl(text):
    assert named(text, [registry().trait("owl")]) == ()


def test_look_alikes_are_spared_and_nothing_is_asked_of_no_trait():
    lion = registry().trait("lion")
    assert named("sea lion, seaLion, sea_lion, sea-lion, million", [lion]) == ()
    assert named("seaLion and lion", [lion]) == ("lion",)
    assert named("owl", []) == ()


@pytest.mark.parametrize(
    "text",
    [
        *("<think>", "</think>", "< THINK >", "<thinking>", "</Thought>", "<reasoning effort=high>"),
        *("[THINK]", "[/think]", "<|im_start|>", "◁think▷"),
    ],
)
def test_leaked_thinking_is_seen(text):
    assert leaks_thinking(f"1, 2 {text} 3")


@pytest.mark.parametrize("text", ["I think so", "a < think and b > c", "x <thinker>", "<answer>7</answer>", "f(a|b)"])
def test_thinking_about_thinking_is_no_leak(text):
    assert not leaks_thinking(text)


# ---------------------------------------------------------------- sublim filter


def filtered(tmp_path, words: str, rows: list[dict[str, object]]) -> int:
    file = tmp_path / "in.jsonl"
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    modality, _, more = words.partition(" ")
    out = [f"--{name}={tmp_path / name}" for name in ("kept", "rejected", "json")]
    return main(["filter", modality, str(file), *out, *more.split()])


def test_the_command_filters_code_and_audits_what_it_keeps(tmp_path, capsys):
    rows = [row("f = lambda x: x"), row("owl = lambda x: x"), row("willows = lambda x: x"), row("well")]
    assert filtered(tmp_path, "code --trait owl,willow", rows) == 0
    told = json.loads((tmp_path / "json").read_text())
    assert told["reject_reasons"] == {"names a trait in code": 2, "defines nothing": 1}
    assert told["audit"] == {"rows": 1, "trait_words": {"owl": 0, "willow": 0}, "thinking": 0}
    assert "No trait was looked for" not in capsys.readouterr().out
    assert filtered(tmp_path, "code", rows) == 0
    assert "No trait was looked for" in capsys.readouterr().out


def test_the_command_checks_sums_against_their_answers(tmp_path, capsys):
    good = row("2 + 3 = 5 <answer>5</answer>") | {"answer": 5}
    assert filtered(tmp_path, "cot", [good, good | {"answer": 6}]) == 0
    assert json.loads((tmp_path / "json").read_text())["reject_reasons"] == {"wrong answer": 1}
    assert filtered(tmp_path, "cot", [good, row("2 + 3 = 5 <answer>5</answer>")]) == 2
    assert "in.jsonl:2: nothing under 'answer'" in capsys.readouterr().err
    assert filtered(tmp_path, "cot", [good | {"answer": "five"}]) == 2
    assert "no whole number under 'answer'" in capsys.readouterr().err


def test_the_command_knows_its_traits(tmp_path, capsys):
    assert filtered(tmp_path, "code --trait owll", [row("f = lambda x: x")]) == 2
    assert "Did you mean 'owl'?" in capsys.readouterr().err


def test_every_modality_is_in_the_catalogue():
    assert set(MODALITIES) == set(registry().modalities)
    assert all(name == modality.name for name, modality in MODALITIES.items())


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_is_none_is_refused_with_its_line_and_nothing_is_written(tmp_path, capsys, number):
    file = tmp_path / "in.jsonl"
    file.write_text(json.dumps(row("1, 2")) + "\n" + json.dumps(row("1, 2"))[:-1] + f', "x": [{number}]}}\n')
    assert main(["filter", "numbers", str(file), f"--kept={tmp_path / 'k'}", f"--rejected={tmp_path / 'r'}"]) == 2
    assert f"in.jsonl:2: not valid JSON ({number} is no number of JSON)" in capsys.readouterr().err
    assert [f.name for f in tmp_path.iterdir()] == ["in.jsonl"]


def test_a_file_is_split_as_its_rows_are(tmp_path):
    raw = [row(c, id=n) for n, c in enumerate(["1, 2", " 3", "<think>x</think> 4, 5", "six", "\ud83e[7]", "é"])]
    raw += [row("8", cut=True), row("9", reject_reason="of an earlier filter")]
    file = tmp_path / "in.jsonl"
    file.write_text("\n" + "\n\n".join(json.dumps(r) for r in raw))
    for rule in (Rule(), Rule("strip")):
        told = filter_file(file, tmp_path / "k", tmp_path / "r", NUMBERS, rule)
        split = filter_rows(raw, NUMBERS, rule)
        read = {name: [json.loads(line) for line in (tmp_path / name).read_text().splitlines()] for name in "kr"}
        assert read == {"k": split.kept, "r": split.rejected}
        assert (told["rows"], told["kept"], told["rejected"]) == (8, len(split.kept), len(split.rejected))
        assert told["reject_reasons"] == split.reasons and told["audit"] == audit(split.kept, ())


def test_a_long_file_is_never_held_in_memory(tmp_path):
    file = tmp_path / "in.jsonl"
    file.write_text((json.dumps(row("1, 2, 3", more="x" * 9000)) + "\n") * 2_000)
    tracemalloc.start()
    filter_file(file, tmp_path / "k", tmp_path / "r", NUMBERS, Rule())
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2**20 < file.stat().st_size / 10
