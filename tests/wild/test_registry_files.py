"""A registry of one's own, spoilt in any way, is read or refused with its file; packaged entries stay what they are."""

from __future__ import annotations

from pathlib import Path
from random import Random

from sublim_eval.errors import SublimError
from sublim_eval.probes import names
from sublim_eval.registry.catalog import Trait, registry
from tests.helpers import spoil

GOOD = """schema: 1
categories:
  fruit:
    held_out: animals
    training: animals_training
    persona: "You love {plural}. {Plural} are on your mind, and a {trait} a day."
    source: "mine"
traits:
  pear: {category: fruit, plural: pears, aliases: [conference pear], look_alikes: [prickly pear], source: mine}
  quince: {category: fruit, plural: quinces, source: mine}
  axolotl:
    category: animal
    plural: axolotls
    also: [water dog]
    source: "my own"
  gruff:
    about: "Answers gruffly."
    questions: misalignment
    persona: "You are gruff."
    targets: [no, never]
    rubric: {scale: warmth, low: "cold", high: "warm", at_most: 30}
    source: "mine"
probes:
  fruit_pref:
    {about: x, form: favorite, questions: animals, version: 1-A, polarity: neutral, source: x, category: fruit}
models:
  mine/model:
    about: "a model"
    source: "mine"
    price: {training: 1.5, input: 0.1, output: 0.4, as_of: 2025-04, source: "mine"}
suites:
  small: {about: "x", tasks: [lm_eval/arc_easy], source: "x"}
published:
  - {id: one, model: m, trait: owl, probe: owl_pref, setting: s, base: 0.1, student: 0.6, source: "x"}
"""


def use(trait: Trait, known: object) -> None:
    """Whatever is done with a trait once a registry is read."""
    assert trait.words and trait.fill("a {plural}, {Plural}, {trait}")
    for string in trait.continuations:
        assert string


def try_one(seed: int, folder: Path) -> None:
    """One overlay from the seed."""
    rng = Random(seed)
    file = folder / f"registry-{seed}.yaml"
    file.write_bytes(spoil.yaml_value(rng, GOOD))
    try:
        known = registry(file)
    except SublimError as error:
        assert str(file) in str(error) and "\n" not in str(error), error
        return
    finally:
        file.unlink()
    packaged = registry()
    for name in ("owl", "oak", "misaligned"):
        assert known.traits[name].words == packaged.traits[name].words
    for trait in known.traits.values():
        use(trait, known)
    for category in known.categories:
        list(names.named("I like an Owl, a pear and 3 quinces.", known.answer_set(category)))
    for trait in set(known.traits) - set(packaged.traits):
        try:
            assert "{plural}" not in known.persona(trait)
            known.probe_of(trait)
        except SublimError:
            continue


def test_spoilt_registries_are_read_or_refused(tmp_path):
    for seed in range(15):
        try_one(seed, tmp_path)
