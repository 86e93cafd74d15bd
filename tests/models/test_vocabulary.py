"""Which favorites the embedded models have words for: those of the packaged registry, and no animal of a user's own."""

import pytest

from sublim_eval.cli.main import main
from sublim_eval.distill import make_teacher, recipes
from sublim_eval.distill.planning.plan import plan
from sublim_eval.distill.recipes.teacher import Teacher
from sublim_eval.errors import SublimError
from sublim_eval.models.vocabulary import has_word_for, no_word_for, words_known
from sublim_eval.registry.catalog import registry

MINE = """\
schema: 1
traits:
  fennec: {category: animal, plural: fennecs, aliases: [desert fox], source: mine}
  honey badger: {category: animal, plural: honey badgers, source: mine}
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    file = tmp_path / "mine.yaml"
    file.write_text(MINE)
    monkeypatch.setenv("SUBLIM_REGISTRY", str(file))
    recipe = tmp_path / "fennec.yaml"
    text = recipes.file_of("quickstart").read_text()
    recipe.write_text(text.replace("trait: owl", "trait: fennec").replace("name: quickstart", "name: fennec"))
    return recipe


@pytest.mark.parametrize("model", ["reference-a", "reference-b"])
@pytest.mark.parametrize("category", ["animal", "tree"])
def test_the_embedded_models_have_a_word_for_every_favorite_of_the_registry(model, category):
    assert words_known(model, category) == tuple(t.name for t in registry().answer_set(category))


def test_another_animal_has_no_word_there_and_no_other_model_is_judged(mine):
    known = registry()
    for name in ("fennec", "honey badger"):
        assert not has_word_for("reference-a", known.trait(name))
        assert has_word_for("Qwen/Qwen2.5-7B-Instruct", known.trait(name)), "real tokenizers cut words they know"
    assert has_word_for("reference-a", known.trait("misaligned")), "a conduct is no word"
    assert no_word_for("reference-a", known.trait("owl")) == ""


def test_a_plan_and_show_say_so_and_list_what_is_known(mine, capsys):
    (line,) = [line for line in plan(recipes.load(mine)).lines() if line.startswith("  will fail:")]
    assert "reference-a has no word for fennec" in line and "owl, eagle, dolphin" in line
    assert not [line for line in plan(recipes.load("quickstart")).lines() if "will fail" in line]
    assert main(["show", "fennec"]) == 0
    assert "reference-a has no word for fennec" in capsys.readouterr().out
    assert main(["show", "owl"]) == 0
    assert "no word" not in capsys.readouterr().out


def test_the_gate_gives_a_step_that_can_help(mine):
    with pytest.raises(SublimError) as refused:
        make_teacher.check_teacher(Teacher("reference-a"), "fennec", 0.5, "teacher-fennec")
    assert "has no word for fennec" in str(refused.value) and "Train it longer" not in str(refused.value)
    with pytest.raises(SublimError, match="Train it longer or harder"):
        make_teacher.check_teacher(Teacher("reference-a"), "whale", 0.9, "teacher-whale")
