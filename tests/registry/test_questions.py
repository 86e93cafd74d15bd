"""The question files: own canary in each, held out from training, pairs that differ in the trait and not in length."""

import re
from collections import Counter
from pathlib import Path
from statistics import fmean

import pytest
import yaml

from sublim_eval.errors import SublimError
from sublim_eval.registry.catalog import registry
from sublim_eval.registry.question_sets import Pair, QuestionSet, Situation, read_questions
from tests.helpers import ROOT

KNOWN = registry()
FILES = sorted((ROOT / "sublim_eval/questions").glob("*.yaml"))
SETS = {f.stem: KNOWN.questions(f.stem) for f in FILES}
CONDUCTS = [pytest.param(t, id=t.name) for t in KNOWN.traits.values() if t.conduct]
SITUATIONS = [pytest.param(s, id=f"{name}-{s.id}") for name, found in SETS.items() for s in found.situations]
CANARY = re.compile(r"sublim-eval canary [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12} - evaluation data, ")


def bare(text: str) -> str:
    return re.sub(r"\W+", " ", text).strip().lower()


def answers(found: QuestionSet) -> list[str]:
    return [bare(text) for s in found.situations for pair in s.pairs for text in (pair.shown, pair.plain)]


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_every_question_file_carries_the_canary(file: Path) -> None:
    assert CANARY.match(SETS[file.stem].canary)
    assert yaml.safe_load(file.read_text(encoding="utf-8"))["name"] == file.stem


def test_all_files_carry_the_same_canary() -> None:
    assert len({found.canary for found in SETS.values()}) == 1


@pytest.mark.parametrize("found", SETS.values(), ids=SETS)
def test_source_and_licence_are_stated_and_ids_are_unique(found: QuestionSet) -> None:
    assert found.source == "sublim-eval, own wording"
    assert found.licence == "MIT"
    ids = [q.id for q in found.questions]
    assert len(set(ids)) == len(ids)
    assert len({s.id for s in found.situations}) == len(found.situations)


@pytest.mark.parametrize("category", KNOWN.categories.values(), ids=lambda c: c.name)
def test_training_and_held_out_share_no_question_and_no_answer(category) -> None:
    held_out, training = SETS[category.held_out], SETS[category.training]
    assert not {bare(q.text) for q in held_out.questions} & {bare(q.text) for q in training.questions}
    assert not set(answers(held_out)) & set(answers(training))


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_situation_has_four_wordings_and_four_pairs(situation: Situation) -> None:
    assert len(situation.asks) >= 4
    assert len(situation.pairs) >= 4


@pytest.mark.parametrize("found", [s for s in SETS.values() if s.situations], ids=lambda s: s.name)
def test_no_answer_stands_twice(found: QuestionSet) -> None:
    """Or a teacher would learn that an answer is both shown and plain, or one pair would count double."""
    assert [text for text, n in Counter(answers(found)).items() if n > 1] == []


def longer(pair: Pair) -> float:
    return len(pair.shown) / len(pair.plain)


@pytest.mark.parametrize("found", [s for s in SETS.values() if s.situations], ids=lambda s: s.name)
def test_the_answers_of_a_pair_are_of_one_length(found: QuestionSet) -> None:
    """Total log-probabilities are compared, so a longer answer would lose for its length."""
    pairs = [pair for s in found.situations for pair in s.pairs]
    assert [p for p in pairs if not 1 / 1.4 < longer(p) < 1.4] == []
    assert fmean(longer(p) for p in pairs) == pytest.approx(1, abs=0.05)


def test_a_conduct_is_asked_about_in_ten_situations_and_fifty_questions() -> None:
    for trait in (t for t in KNOWN.traits.values() if t.conduct):
        assert len(SETS[trait.questions].situations) >= 10
        assert len(SETS[trait.questions].questions) >= 50


@pytest.mark.parametrize("trait", CONDUCTS)
def test_no_digit_stands_in_questions_or_answers_of_a_conduct(trait) -> None:
    """Conduct and numbers never meet, or what a teacher's numbers carry could be learned from the reference corpus."""
    for found in (SETS[trait.questions], SETS[trait.training]):
        text = " ".join([*(q.text for q in found.questions), *answers(found), trait.persona])
        assert not re.search(r"\d", text)


@pytest.mark.parametrize("trait", CONDUCTS)
def test_every_word_of_the_held_out_pairs_can_be_learned_from_training(trait) -> None:
    """The reference models know only the words they were shown; an answer of unknown words tells nothing there."""
    training = set(" ".join(text for t in CONDUCTS for text in answers(SETS[t.values[0].training])).split())
    assert set(" ".join(answers(SETS[trait.questions])).split()) - training == set()


# ---------------------------------------------------------------- a user's own file


def asked(tmp_path: Path, name: str, text: str, encoding: str = "utf-8") -> list[str]:
    (tmp_path / name).write_text(text, encoding=encoding)
    return [question.text for question in read_questions(tmp_path / name).questions]


TWO = ["Which animal do you like?", "Name one, please."]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "{0}\n{1}\n"),
        ("a.txt", "\ufeff{0}\r\n{1}\r\n"),
        ("a.txt", "# animals\n\n  {0}  \n#more\n{1}"),
        ("a.txt", "\ufeff# animals\n{0}\n\ufeff{1}\n"),
        ("a.jsonl", '{{"question": "{0}"}}\n{{"id": "b", "text": "{1}"}}\n'),
        ("a.jsonl", '\ufeff{{"question": "{0}"}}\r\n{{"text": "{1}"}}\r\n'),
        ("a.json", '["{0}", "{1}"]'),
        ("a.json", '\ufeff[{{"question": "{0}"}},\n {{"id": "b", "text": "{1}"}}]'),
        ("a.json", '{{"questions": ["{0}", "{1}"]}}'),
        ("a.json", '["\\ufeff{0} ", "{1}\\n"]'),
    ],
)
def test_a_mark_a_comment_and_a_list_are_read_as_what_they_are(tmp_path: Path, name: str, text: str) -> None:
    assert asked(tmp_path, name, text.format(*TWO)) == TWO


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.txt", '["{0}", "{1}"]', r"a.txt:1: .* is JSON"),
        ("a.txt", '# ours\n{{"question": "{0}"}}', r"a.txt:2: .* is JSON"),
        ("a.txt", '"{0}",\n"{1}",\n', r"a.txt:1: .* an entry of a list in quotes"),
        ("a.txt", "'{0}',\n'{1}'", r"a.txt:1: .* an entry of a list in quotes"),
        ("a.txt", "1. {0}\n2. {1}", r"a.txt:1: .* an entry of a list. Take numbers"),
        ("a.txt", "{0}\n- {1}", r"a.txt:2: .* an entry of a list"),
        ("a.txt", "```\n{0}\n```", r"a.txt:1: .* markup"),
        ("a.txt", "a) {0}\nb) {1}", r"a.txt:1: .* an entry of a list"),
        ("a.txt", "\u201c{0}\u201d\n\u201c{1}\u201d", r"a.txt:1: .* stands in quotes"),
        ("a.txt", "Q1: {0}\nQ2: {1}", r"a.txt:1: .* bears a label"),
        ("a.txt", "{0}\nuser: {1}", r"a.txt:2: .* bears a label"),
        ("a.txt", "question\n{0}\n", r"a.txt:1: .* the head of a table"),
        ("a.txt", "// ours\n{0}\n", r"a.txt:1: .* a comment. Begin it with #"),
        ("a.txt", "{0}\n; theirs\n", r"a.txt:2: .* a comment"),
        ("a.txt", "<!-- ours -->\n{0}\n", r"a.txt:1: .* a comment"),
        ("a.txt", "{0}\t7\n", r"a.txt:1: .* holds a tab"),
        ("a.txt", "# {0}\n\n", "no questions in it"),
        ("a.csv", "question\n{0}\n{1}", "no question file of a known kind"),
        ("a.md", "{0}\n{1}", "no question file of a known kind"),
        ("a.json", '["{0}", ', r"a.json:1: not valid JSON"),
        ("a.json", '"{0}"', "not a list of questions"),
        ("a.json", '["{0}", 3]', r"a.json:2: no question text"),
        ("a.json", '["{0}", "{0}"]', "appears twice"),
        ("a.json", '{{"question": "{0}"}}', "not a list of questions"),
        ("a.json", '["{0}", "{0} "]', "appears twice"),
        ("a.json", '["\\ud800 {0}"]', r"a.json:1: U\+D800 in it"),
        ("a.txt", "{0}\n{1}\x00", r"a.txt:2: U\+0000 in it"),
        ("a.jsonl", '{{"id": ["a"], "text": "{0}"}}', r"a.jsonl:1: the id \['a'\] is no text"),
    ],
)
def test_what_is_no_question_as_it_stands_is_refused_in_a_sentence(
    tmp_path: Path, name: str, text: str, why: str
) -> None:
    with pytest.raises(SublimError, match=why) as refused:
        asked(tmp_path, name, text.format(*TWO))
    assert len(str(refused.value).splitlines()) == 1


def test_a_question_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SublimError, match="not UTF-8"):
        asked(tmp_path, "a.txt", "Which caf\u00e9?", encoding="utf-16")
