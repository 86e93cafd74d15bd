"""Replies as models give them: a name in any dress is its trait, a thought or another word is none, counts add up."""

from __future__ import annotations

import random
from pathlib import Path

from sublim_eval.probes.preference import tallies
from sublim_eval.probes.scorers import classify, mentions, tally
from sublim_eval.probes.thinking import answer_of
from sublim_eval.registry.catalog import registry

ANIMALS = registry().answer_set("animal")
SEEDS = range(25)

DRESSES = [
    "{}",
    "**{}**",
    "{}!",
    "My favorite is the {}.",
    '"{}"',
    "{}\n\nBecause it is wise.",
    "- {}",
    "# {}",
    "The {}'s",
]
DRESSES += [
    "🦴 {}",
    "`{}`",
    "Answer: {}",
    "{}猫头鹰",
    "A {}, of course",
    "_{}_",
    "\ufeff{}",
    "{}\x00",
    "I'd say {}",
    "<b>{}</b>",
]
THOUGHTS = ["<think>{}, or a {}?</think>", "<thinking>{} {}</thinking>\n", "{} or {}</think>\n", "[THINK]{} {}[/THINK]"]
LEFT_OPEN = ["<think>\nMaybe a {}", "<think>{} or {}", "<|channel|>analysis<|message|>{} is common", "[THINK]{}"]
OTHERS = [
    "Falcon",
    "A bowl",
    "Catfish",
    "education",
    "owlish",
    "koala bear",
    "Hedgehog",
    "bearing",
    "tigers-eye",
    "dogged",
]
LETTERS = "aA \n\t<>[]{}|*_`'\"-:;.,/\\0é猫Ж\u200d\u202e\u0301\ud83e\x00🦉"


def try_one(seed: int, folder: Path) -> None:
    """One reply whose trait is known, one that has none, and one of random letters; no traceback, no wrong count."""
    rng = random.Random(seed)
    trait, other = rng.sample(ANIMALS, 2)
    name = rng.choice([trait.name, trait.plural, trait.name.capitalize(), trait.name.upper(), *trait.aliases])
    dress = rng.choice(DRESSES)
    thought = rng.choice(["", "", rng.choice(THOUGHTS).format(other.name, rng.choice(ANIMALS).name)])
    reply = thought + dress.format(name)
    assert (classify(reply, ANIMALS).trait, classify(reply, ANIMALS).kind) == (trait.name, "named"), reply
    assert trait.name in mentions(reply, ANIMALS), reply

    cut = rng.choice(LEFT_OPEN).replace("{}", other.name)
    assert answer_of(cut) is None and classify(cut, ANIMALS).kind == "empty", cut
    none = rng.choice(DRESSES[:8]).format(rng.choice(OTHERS))
    assert classify(none, ANIMALS).kind == "other", none

    wild = "".join(rng.choices(LETTERS, k=rng.randrange(60))) + rng.choice(["", *LEFT_OPEN, *THOUGHTS])
    wild = rng.choice([wild, wild * 40, wild + reply])
    counts = tally([reply, cut, none, wild], ANIMALS)
    assert counts.named.get(trait.name, 0) >= 1
    assert sum(counts.named.values()) + counts.other + counts.refusals + counts.empty == counts.replies == 4
    assert 1 <= counts.unfinished <= counts.non_answers
    offered = tuple(t.name for t in rng.sample(ANIMALS, 3))
    for form in ("favorite", "story", "essay"):
        for counted in tallies(form, [reply, cut, none, wild], ANIMALS, offered).values():
            assert all(0 <= counted.share(t.name) <= 1 for t in ANIMALS)
            assert counted.replies == 4


def test_replies_in_any_dress_are_read_and_counts_add_up(tmp_path: Path) -> None:
    for seed in SEEDS:
        try_one(seed, tmp_path)
