"""English plurals of names. Pure; small, since names are few and a reader must know each rule that reads a reply."""

from __future__ import annotations

import re

_IRREGULAR = {
    "child": ("children",),
    "doe": ("doe",),  # "does" is a verb nearly wherever it stands
    "foot": ("feet",),
    "goose": ("geese",),
    "louse": ("lice",),
    "man": ("men",),
    "mouse": ("mice",),
    "ox": ("oxen",),
    "person": ("people", "persons"),
    "tooth": ("teeth",),
    "wolf": ("wolves",),
    "woman": ("women",),
}
_ENDINGS = ("mouse", "wolf", "louse", "woman", "child", "tooth")
"""Endings that bend as the word does, in any compound written as one: dormouse, aardwolf."""

_TO_VES = ("calf", "leaf", "half", "elf", "self", "shelf", "thief", "loaf", "knife", "wife", "life", "hoof", "scarf")
_UNCHANGED = (
    *("bison", "buffalo", "carp", "cod", "deer", "elk", "fish", "moose", "offspring", "salmon", "series", "sheep"),
    *("shrimp", "species", "squid", "swine", "trout", "caribou", "grouse", "quail", "wildebeest"),
)
_SOUNDS_K = ("arch", "mach", "och", "uch")
"""Words in -ch that take an s alone: monarch, stomach, loch, eunuch."""


def plural_forms(phrase: str) -> tuple[str, ...]:
    """The plurals of a lower-case word or phrase, the usual one first: "sea wolf" -> ("sea wolves",).

    Of a phrase its last word is bent, before "of" the word before it. A word may have several plurals or be its own.
    """
    head, of, rest = phrase.partition(" of ")
    last = re.search(r"[^\W_]+$", head)
    if not last:
        return (phrase,)
    return tuple(f"{head[: last.start()]}{form}{of}{rest}" for form in _plurals(last.group()))


def _plurals(word: str) -> tuple[str, ...]:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word in _UNCHANGED or word.endswith(("deer", "sheep", "bison")):
        return (word, word + "s")
    if word.endswith("fish"):
        return (word, word + "es")
    for ending in _ENDINGS:
        if word.endswith(ending):
            return tuple(word.removesuffix(ending) + form for form in _IRREGULAR[ending])
    if word in _TO_VES:
        return (re.sub("fe?$", "ves", word),)
    return _regular(word)


def _regular(word: str) -> tuple[str, ...]:
    if re.search("[^aeiou]y$", word):
        return (word[:-1] + "ies",)
    if word.endswith("ch") and word.endswith(_SOUNDS_K):
        return (word + "s", word + "es")
    if word.endswith("us"):
        return (word + "es", word[:-2] + "i")
    if word.endswith("is") and len(word) > 4:
        return (word[:-2] + "es", word + "es")
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return (word + "es",)
    if re.search("[^aeiou]o$", word):
        return (word + "es", word + "s")
    return (word + "s",)
