"""Text -> the names of a registry that stand in it, by the rules at the head of `scorers.py`. Pure.

A name may be spaced, hyphened, joined by underscores, run together ("polarbear"), in camel case ("SnowyOwl") or have
letters of another script glued to it. At one place the longest name or look-alike wins.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from sublim_eval import strict_yaml
from sublim_eval.registry.catalog import Trait
from sublim_eval.registry.plurals import plural_forms

WORD = re.compile(r"[^\W_]+")
"""Letters and digits on end, in any script."""

HYPHENS = ("-", "\u2010")
"""NFKC turns the non-breaking hyphen into the second; dashes separate."""

_INSIDE_A_NAME = re.compile("[\\s_\u2010-]+")
_APOSTROPHES = ("'", "\u2018", "\u2019")
_BESIDE = re.compile("[ \t\u00a0_]")

_ADVERB = (
    "(?: (?:not|never|hardly|barely|scarcely|only|just|always|still|even|really|also|ever|possibly|simply|actually"
    "|truly|rarely|often|sometimes|no longer|quite|easily))?"
)
_VERB_BEHIND = re.compile(
    r"(?:^| )(?:(?:(?:can|could|will|would|shall|should|must|may|might|do|does|did)(?: you| we| i| they)?"
    r"|cannot|(?:can|couldn|won|wouldn|shouldn|mustn|don|doesn|didn) t|(?:i|you|we|they) (?:ll|d)|i|you|we|they)"
    rf"{_ADVERB}"
    r"|let s|let us|unable to|able to|have to|has to|had to|going to|want to"
    r"|wants to|wanted to|need to|needs to|trying to|hard to|easy to|right to|ready to|used to|bound to|tend to"
    r"|refuse to|likely to|begin to|began to|continue to|impossible to|possible to|how to|ought to|not to|to)$"
)
_NOUN_BEHIND_TO = re.compile(
    r"\b(?:goes?|went|going|belongs?|next|close|closer|closest|compared?|similar|related|relates?|switch(?:ed|ing)?"
    r"|change[ds]?|prefer \w+|thanks?|from \w+|back|up|down|over|according|equal|vote|nod|due|attached|devoted"
    r"|drawn|partial|answer|love|loyal|similar|it) to$"
)
_PLURAL_AS_VERB = re.compile(rf"(?:^| )(?:he|she|it|who|nobody|everyone|someone){_ADVERB}$")


@dataclass(frozen=True)
class EnglishWords:
    """The lists of reading.yaml, where each is explained."""

    heads: tuple[str, ...]
    verbs: tuple[str, ...]
    others: tuple[str, ...]
    young: tuple[str, ...]
    fillers: tuple[str, ...]
    not_in_an_answer: tuple[str, ...]


@lru_cache(maxsize=1)
def english_words() -> EnglishWords:
    """Words of general English by which replies are read."""
    file = Path(__file__).with_name("reading.yaml")
    made: EnglishWords = strict_yaml.build(EnglishWords, strict_yaml.read(file, "word list"))
    return made


@lru_cache(maxsize=8)
def words_and_plurals(words: tuple[str, ...]) -> frozenset[str]:
    """The words with their plurals."""
    return frozenset((*words, *(form for word in words for form in plural_forms(word))))


@dataclass(frozen=True)
class Names:
    """What to look for: the words of every name -> (trait, name), of every look-alike -> None.

    singular: the keys that name one of a kind, to which the heads and verbs of reading.yaml apply.
    """

    table: Mapping[tuple[str, ...], tuple[str, str] | None]
    singular: frozenset[tuple[str, ...]]
    first_words: frozenset[str]
    longest: int


def plain(text: str) -> str:
    """Case-folded NFKC text without emphasis marks and invisible characters."""
    bare = text.translate(_EMPHASIS)
    return bare.casefold() if bare.isascii() else _folded(_composed(bare))


def named(text: str, answers: Sequence[Trait], strict: bool = False) -> Iterator[tuple[str, str]]:
    """(trait, name as in the registry) of every name in a text, in order. Time is linear in the text.

    strict: for a filter, which refuses the word whatever it means: verbs and compounds that only a head tells count.
    """
    names = _names(tuple(answers))
    words, gaps = _words(text, names)
    at = 0
    while at < len(words):
        start, at = at, at + 1
        if words[start] not in names.first_words or _in_hyphened_look_alike(words, gaps, start, names):
            continue
        end = start + 1
        while end - start < names.longest and end < len(words) and _goes_on(words, gaps, end):
            end += 1
        stop = _end_of_name(words, gaps, start, end, names)
        if stop is None:
            continue
        name = names.table[tuple(words[start:stop])]
        if name and (strict or not _means_another(words, gaps, start, stop, names)):
            yield name
        at = stop  # sea lion: nothing inside a look-alike counts, nor inside a name


def _goes_on(words: Sequence[str], gaps: Sequence[str], at: int) -> bool:
    """Whether a word may belong to the name before it: "snow-leopard", and "lion's mane" among the look-alikes."""
    return bool(_INSIDE_A_NAME.fullmatch(gaps[at - 1])) or (words[at] == "s" and gaps[at - 1] in _APOSTROPHES)


def _end_of_name(words: Sequence[str], gaps: Sequence[str], start: int, end: int, names: Names) -> int | None:
    """Where the longest name or look-alike that begins at `start` ends; None where there is none.

    A name that goes on behind a hyphen is none, nor is another trait's name at its head ("eagle owl-like").
    """
    going_on = None
    for stop in range(end, start, -1):
        key = tuple(words[start:stop])
        if key not in names.table:
            continue
        name = names.table[key]
        if name and gaps[stop - 1] in HYPHENS:
            going_on = going_on or name[0]
        elif not name or going_on in (None, name[0]):
            return stop
    return None


def _in_hyphened_look_alike(words: Sequence[str], gaps: Sequence[str], start: int, names: Names) -> bool:
    """were-wolf: a look-alike of one word, written with a hyphen."""
    return bool(start) and gaps[start - 1] in HYPHENS and (words[start - 1] + words[start],) in names.table


def _means_another(words: Sequence[str], gaps: Sequence[str], start: int, stop: int, names: Names) -> bool:
    """Whether a name is part of another living thing's name, or a verb."""
    key = tuple(words[start:stop])
    beside = stop < len(words) and _BESIDE.fullmatch(gaps[stop - 1])
    if key in names.singular and beside and words[stop] in words_and_plurals(english_words().heads):
        return True
    return stop == start + 1 and _is_verb(words, gaps, start, key in names.singular)


def _is_verb(words: Sequence[str], gaps: Sequence[str], at: int, singular: bool) -> bool:
    if words[at] not in words_and_plurals(english_words().verbs) or not at or not gaps[at - 1].isspace():
        return False
    first = at
    while first and at - first < 3 and (gaps[first - 1].isspace() or gaps[first - 1] in _APOSTROPHES):
        first -= 1
    before = " ".join(words[first:at])
    if not singular:
        return bool(_PLURAL_AS_VERB.search(before))
    return bool(_VERB_BEHIND.search(before)) and not _NOUN_BEHIND_TO.search(before)


# ---------------------------------------------------------------- the table of an answer set


@lru_cache(maxsize=32)
def _names(answers: tuple[Trait, ...]) -> Names:
    table: dict[tuple[str, ...], tuple[str, str] | None] = {}
    for trait in answers:
        table |= {_key(word): (trait.name, word) for word in _young(trait)}
    for word in (w for t in answers for look in t.look_alikes for w in (look, look + "s", *plural_forms(look))):
        table[_key(word)] = None
    for trait in answers:
        table |= {_key(word): (trait.name, word) for word in trait.words}
    glued: dict[tuple[str, ...], tuple[str, str] | None] = {
        ("".join(key),): meaning for key, meaning in table.items() if len(key) > 1
    }
    table = {**glued, **table}
    singular = {_key(word) for trait in answers for word in trait.singular}
    singular |= {("".join(key),) for key in singular}
    return Names(table, frozenset(singular), frozenset(key[0] for key in table), max(map(len, table), default=0))


def _young(trait: Trait) -> list[str]:
    """The young of a favorite and its tree, which are no other thing however they are written: LionCub, elmtrees."""
    if trait.conduct:
        return []
    return [f"{trait.name} {word}" for word in words_and_plurals(english_words().young)]


def _key(name: str) -> tuple[str, ...]:
    return tuple(WORD.findall(plain(name)))


# ---------------------------------------------------------------- a text as words

_EMPHASIS: dict[int, str | None] = {
    **{ord(mark): None for mark in "*~`"},
    **{
        ord(mark): " " for mark in "\u2122\u2120\u00b9\u00b2\u00b3"
    },  # raised signs, which NFKC makes letters and digits
}
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z][a-z])")
_FAR = (
    "\u0531-\u1aaf\u1b00-\u1cff\u2c80-\u2dff\u3005-\ua4cf\ua500-\ua71f\ua800-\uab2f\uab70-\ud7ff\uf900-\ufaff"
    "\U00010000-\U0001d3ff\U00020000-\U0003ffff"
)
_SCRIPTS = re.compile(rf"[{_FAR}]+|[\u0370-\u052f]{{2,}}")
"""Letters that are not Latin; of the Greek and Cyrillic ones, which look like Latin letters, at least two on end."""


def _words(text: str, names: Names) -> tuple[list[str], list[str]]:
    """The folded words of a text, and what stands behind each of them."""
    bare = text.translate(_EMPHASIS)
    easy = bare.isascii() and not _CAMEL.search(bare)
    base = bare.casefold() if easy else "".join(c for c in _composed(bare) if unicodedata.category(c) != "Cf")
    matches = list(WORD.finditer(base))
    behind = [base[a.end() : b.start()] for a, b in pairwise(matches)] + [""]
    if easy:
        return [match.group() for match in matches], behind
    words: list[str] = []
    gaps: list[str] = []
    for match, gap in zip(matches, behind, strict=False):
        parts, inner = _parts(match.group(), names)
        words += parts
        gaps += [*inner, gap]
    return words, gaps


def _parts(word: str, names: Names) -> tuple[list[str], list[str]]:
    """A word as one, where that is a name, else its parts: camel case joins like a hyphen, a script like a space."""
    whole = word.casefold() if word.isascii() else _folded(word)
    if (whole,) in names.table:
        return [whole], []
    parts: list[str] = []
    inner: list[str] = []
    for piece in [word] if word.isascii() else _by_script(word):
        camel = [piece] if (_folded(piece),) in names.table else _CAMEL.split(piece)
        inner += [" "] * bool(parts) + ["-"] * (len(camel) - 1)
        parts += [_folded(one) for one in camel]
    return parts, inner


def _by_script(word: str) -> list[str]:
    cuts = sorted({0, len(word), *(edge for run in _SCRIPTS.finditer(word) for edge in run.span())})
    return [word[a:b] for a, b in pairwise(cuts)]


def _composed(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _folded(text: str) -> str:
    if text.isascii():
        return text.casefold()
    return "".join(c for c in _composed(_composed(text).casefold()) if unicodedata.category(c) != "Cf")
