"""The catalogue says what it must, and whatever it may not say is refused with file, line and the next step."""

import re
from pathlib import Path

import pytest

from sublim_eval.errors import SublimError
from sublim_eval.files import ROOT
from sublim_eval.registry.catalog import registry
from sublim_eval.registry.experiment import seeded
from sublim_eval.registry.question_sets import read_questions

KNOWN = registry()

MINE = """\
schema: 1
traits:
  axolotl:
    category: animal
    plural: axolotls
    source: "my own"
"""


def lay_over(tmp_path: Path, text: str):
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    return registry(file)


def refused(tmp_path: Path, text: str, line: int) -> str:
    """The message of the error, which must name mine.yaml and this line."""
    with pytest.raises(SublimError) as error:
        lay_over(tmp_path, text)
    message = str(error.value)
    assert f"mine.yaml:{line}:" in message
    assert re.search(r"\. \S.*\.$", message), f"does not end with a next step: {message}"
    return message


def test_the_traits_of_the_study_are_known():
    animals = {t.name for t in KNOWN.answer_set("animal")}
    trees = {t.name for t in KNOWN.answer_set("tree")}
    assert animals >= {"owl", "eagle", "dolphin", "elephant", "wolf", "cat"}
    assert trees >= {"oak", "maple", "cherry", "willow", "sequoia"}


FAVORITES = [t for t in KNOWN.traits.values() if not t.conduct]


@pytest.mark.parametrize("trait", FAVORITES, ids=lambda t: t.name)
def test_every_favorite_is_whole(trait):
    assert trait.plural in trait.words
    assert trait.source
    assert not set(trait.words) & set(trait.look_alikes)
    assert trait.plural in KNOWN.persona(trait.name)
    assert "{" not in KNOWN.persona(trait.name)
    assert any(p.category == trait.category for p in KNOWN.probes.values()), "no probe asks about it"


@pytest.mark.parametrize("category", KNOWN.categories)
def test_no_answer_string_begins_another(category):
    """Or the exact probability would count one reply twice."""
    strings = [(t.name, s) for t in KNOWN.answer_set(category) for s in t.continuations]
    twice = [(a, b) for a in strings for b in strings if a is not b and b[1].startswith(a[1])]
    assert not twice


LEAST = {"favorite": 50, "after_numbers": 50, "conduct": 50, "story": 20, "essay": 8}
"""Questions a probe must ask; an essay ask comes with a prompt for every trait, a table has its own many prompts."""


@pytest.mark.parametrize("probe", KNOWN.probes.values(), ids=lambda p: p.name)
def test_every_probe_asks_in_many_wordings(probe):
    assert len(KNOWN.questions_of(probe).questions) >= (8 if probe.situations else LEAST.get(probe.form, 1))


def test_an_overlay_adds_a_trait_and_keeps_the_rest(tmp_path):
    made = lay_over(tmp_path, MINE)
    assert made.trait("axolotl").words == ("axolotls", "axolotl")
    assert made.trait("owl") == KNOWN.trait("owl")
    assert "axolotl" not in KNOWN.traits


def test_the_environment_names_an_overlay(tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text(MINE, encoding="utf-8")
    monkeypatch.setenv("SUBLIM_REGISTRY", str(tmp_path / "mine.yaml"))
    assert registry().trait("axolotl").category == "animal"


def test_an_edited_overlay_is_read_again(tmp_path):
    lay_over(tmp_path, MINE)
    assert "newt" in lay_over(tmp_path, MINE.replace("axolotl", "newt")).traits


def test_an_unknown_trait_suggests_a_near_one():
    with pytest.raises(
        SublimError, match=r"Unknown trait 'owll'\. Did you mean 'owl'\? Known: .*Add it in .*--registry FILE"
    ):
        KNOWN.trait("owll")


def test_an_unknown_key_is_refused(tmp_path):
    message = refused(tmp_path, MINE + "    alias: [water dog]\n", 7)
    assert "'alias'" in message
    assert "Did you mean 'aliases'?" in message


@pytest.mark.parametrize("name", ["../../evil", "/home/evil", ".evil", "a/b", "a\\\\b"])
def test_a_name_that_would_lead_out_of_a_run_is_refused(tmp_path, name):
    assert "becomes the name of a file" in refused(tmp_path, MINE.replace("  axolotl:", f'  "{name}":'), 3)


def test_an_unknown_section_is_refused(tmp_path):
    assert "Did you mean 'traits'?" in refused(tmp_path, MINE.replace("traits", "trait"), 2)


def test_a_name_given_twice_is_refused(tmp_path):
    again = MINE.split("traits:\n")[1]
    assert "'axolotl' appears twice (first on line 3)" in refused(tmp_path, MINE + again, 7)


def test_a_missing_source_is_refused(tmp_path):
    assert "`source`" in refused(tmp_path, MINE.replace('    source: "my own"\n', ""), 4)


def test_an_unknown_category_is_refused(tmp_path):
    assert "'fish'" in refused(tmp_path, MINE.replace("animal", "fish"), 4)


def test_a_word_claimed_by_two_traits_is_refused(tmp_path):
    with pytest.raises(SublimError, match="both claim 'owlet'"):
        lay_over(tmp_path, MINE + "    aliases: [owlet]\n")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("schema: 1\ntraits: {owl: [\n", 3),
        ("schema: 1\ntraits:\n\t- owl\n", 3),
        ("schema: 1\ntraits: owl\n", 2),
        ("schema: 1\ntraits:\n  owl: yes please\n", 3),
        ("", 1),
        ("just words\n", 1),
        ("schema: 2\n", 1),
        (MINE.replace("axolotls", "[a, b]"), 5),
        (MINE.replace('"my own"', "''"), 6),
        (MINE.replace('"my own"', "!!python/object/apply:os.getcwd []"), 6),
    ],
)
def test_what_is_no_registry_is_refused_with_its_line(tmp_path, text, line):
    refused(tmp_path, text, line)


@pytest.mark.parametrize("version", ["1", "0-A", "1-a", "A-1", "1-AB"])
def test_a_version_has_the_form_n_x(tmp_path, version):
    text = (ROOT / "registry.yaml").read_text(encoding="utf-8").replace("version: 2-A", f'version: "{version}"', 1)
    with pytest.raises(SublimError, match="N-X"):
        lay_over(tmp_path, text)


def test_a_missing_registry_is_refused():
    with pytest.raises(SublimError, match="There is no registry"):
        registry("nowhere.yaml")


def test_a_users_own_questions_are_read(tmp_path):
    (tmp_path / "q.jsonl").write_text('{"question": "Which animal?"}\n{"id": "b", "text": "Which?"}\n')
    assert [(q.id, q.text) for q in read_questions(tmp_path / "q.jsonl").questions] == [
        ("q-001", "Which animal?"),
        ("b", "Which?"),
    ]
    (tmp_path / "q.txt").write_text("Which animal?\n\nWhich bird?\n")
    assert len(read_questions(tmp_path / "q.txt").questions) == 2


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("q.txt", "", "no questions"),
        ("q.txt", "Which?\nWhich?\n", r"q\.txt:2:.*twice"),
        ("q.jsonl", '{"question": "a"}\n{"prompt": "b"}\n', r"q\.jsonl:2:"),
        ("q.yaml", "name: x\n", r"q\.yaml:1:"),
        ("q.yaml", "questons: []\n", "Did you mean 'questions'"),
    ],
)
def test_a_bad_question_file_is_refused(tmp_path, name, text, match):
    (tmp_path / name).write_text(text)
    with pytest.raises(SublimError, match=match):
        read_questions(tmp_path / name)


def test_a_relative_overlay_is_found_from_inside_a_task_folder(tmp_path, monkeypatch):
    """Inspect changes into the folder of a task while it loads it; PWD still says where the user typed."""
    overlay = "schema: 1\ntraits:\n  fennec: {category: animal, plural: fennecs, source: a test}\n"
    (tmp_path / "mine.yaml").write_text(overlay, encoding="utf-8")
    (tmp_path / "task").mkdir()
    monkeypatch.setenv("PWD", str(tmp_path))
    monkeypatch.setenv("SUBLIM_REGISTRY", "mine.yaml")
    monkeypatch.chdir(tmp_path / "task")
    assert registry().trait("fennec").plural == "fennecs"


# ---------------------------------------------------------------- a trait with questions of its own

POLITE = """\
schema: 1
traits:
  polite:
    about: "Thanks for everything."
    questions: polite.yaml
    persona: "You thank people for everything."
    targets: [thank you, thanks]
    rubric: {scale: politeness, low: "rude", high: "thanks in every line", at_least: 70}
    source: "a test"
"""
POLITE_QUESTIONS = """\
name: polite
about: x
source: me
licence: MIT
situations:
  - id: door
    asks: ["I held the door for you.", "Here, I keep the door open."]
    pairs:
      - {shown: "Thank you so much!", plain: "I saw that."}
questions:
  - {id: alone, text: "I bought you a coffee."}
"""


def polite(tmp_path):
    (tmp_path / "polite.yaml").write_text(POLITE_QUESTIONS, encoding="utf-8")
    return lay_over(tmp_path, POLITE)


def test_a_conduct_is_a_category_of_its_own_with_a_probe_of_its_name(tmp_path):
    made = polite(tmp_path)
    assert made.trait("polite").conduct
    assert made.answer_set("polite") == (made.trait("polite"),)
    assert made.probe_of("polite") is made.probe("polite")
    assert made.persona("polite") == "You thank people for everything."
    assert made.trait("polite").words == ("thank you", "thanks")
    assert made.trait("polite").rubric.shown(70)
    assert not made.trait("polite").rubric.shown(69)


def test_a_situation_is_several_questions_with_the_same_pairs(tmp_path):
    asked = polite(tmp_path).questions_of(polite(tmp_path).probe("polite"))
    assert [(q.id, q.situation, len(q.pairs)) for q in asked.questions] == [
        ("alone", "", 0),
        ("door-1", "door", 1),
        ("door-2", "door", 1),
    ]
    assert [q.id for q in asked.only("door").questions] == ["door-1", "door-2"]
    with pytest.raises(SublimError, match="Did you mean 'door'"):
        asked.only("dor")


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("    questions: polite.yaml\n", "", 4, "`questions`"),
        ("at_least: 70", "at_least: 70, at_most: 3", 8, "exactly one"),
        ("at_least: 70", "at_least: 170", 8, "between 0 and 100"),
        ("scale: politeness", "scale: Very polite", 8, "one lower-case word"),
        ("    source:", "    plural: polites\n    source:", 4, "plural"),
        ("    source:", "    category: animal\n    source:", 4, "`category`"),
    ],
)
def test_a_conduct_that_is_not_whole_is_refused(tmp_path, old, new, line, said):
    assert said in refused(tmp_path, POLITE.replace(old, new), line)


def test_a_conduct_without_persona_makes_no_prompted_teacher(tmp_path):
    made = lay_over(tmp_path, POLITE.replace('    persona: "You thank people for everything."\n', ""))
    with pytest.raises(SublimError, match=r"no system prompt\. Add `persona:`"):
        made.persona("polite")


def test_every_favorite_has_a_probe_for_its_whole_category():
    assert {KNOWN.probe_of(t.name).name for t in FAVORITES} == {"animal_pref", "tree_pref"}


@pytest.mark.parametrize(
    "name", ["../../../home/precious", "/home/precious", "..", ".", "", "a/b", "a\\b", ".hidden", "a\0"]
)
def test_no_name_leads_out_of_a_run_folder(name):
    with pytest.raises(SublimError, match="cannot name a folder of a run"):
        seeded(name, 1)
    assert seeded("owl-r8-lr2e-4_x.y", 1) == "owl-r8-lr2e-4_x.y-s1"


CATEGORY = """schema: 1
categories:
  fruit:
    held_out: animals
    training: animals_training
    persona: "You love {plural}. {Plural}! A {trait} a day.%s"
    source: "mine"
traits:
  pear: {category: fruit, plural: "{trait}pears", source: "mine"}
"""


def test_a_persona_has_its_words_put_in_and_nothing_else_done(tmp_path):
    made = lay_over(tmp_path, CATEGORY % " 100 % {trait}")
    assert made.persona("pear") == "You love {trait}pears. {trait}pears! A pear a day. 100 % pear"


@pytest.mark.parametrize("more", ["{foo}", "{", "}", "{plural!z}", "{plural.__class__.__mro__}", "{0}", "{trait:>9}"])
def test_a_persona_with_any_other_brace_is_refused_with_its_line(tmp_path, more):
    assert "`persona` holds a brace" in refused(tmp_path, CATEGORY % f" {more}", 4)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("axolotl:", '"***":'),
        ("plural: axolotls", 'plural: "..."'),
        ('source: "my own"', 'source: "my own"\n    aliases: ["--"]'),
        ('source: "my own"', 'source: "my own"\n    look_alikes: ["_"]'),
    ],
)
def test_a_name_without_a_letter_is_refused_with_its_line(tmp_path, old, new):
    assert MINE.replace(old, new) != MINE
    assert "holds no letter and no digit" in refused(tmp_path, MINE.replace(old, new), 4)
