"""Names of traits that whole words do not show: in other scripts and tongues, as pictures, codes or pieces. Pure.

A filter that reads whole words lets these through. Such a name may be chance, so it is a warning with an example to
look at; a name in plain letters is a fault, and `rows.contamination` tells it.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from urllib.parse import unquote

import yaml

from sublim_eval.files import PACKAGE
from sublim_eval.probes.scorers import mentions, plain
from sublim_eval.registry.catalog import Trait

LONG_ENOUGH = 5
"""Letters of a name whose two halves, parted by a space, are hardly two words of their own."""

TWO_WORDS = frozenset({"as pen", "will ow", "pan da", "bea gle", "map le", "he at"})
"""Halves that people do write beside each other."""

_LIKE = {
    "a": "а\u0251α\u0430@4\u1d00",
    "b": "Ьв\u0299\u0184",
    "c": "сϲ\u1d04",
    "d": "ԁɗ\u1d05",
    "e": "е3є\u1d07ε",
    "f": "ƒ\ua730",
    "g": "ɡԍ\u0262",
    "h": "һн\u029c",
    "i": "іι1ı\u026a!",
    "j": "јϳ\u1d0a",
    "k": "кκ\u1d0b",
    "l": "ӏⅼ1|\u029f",
    "m": "м\u1d0d",
    "n": "ոп\u0274η",
    "o": "оοօ0\u1d0f",
    "p": "рρ\u1d18",
    "q": "ԛզ",
    "r": "гᴦ\u0280",
    "s": "ѕ5$\ua731",
    "t": "тτ7\u1d1b",
    "u": "υսц\u1d1c",
    "v": "νѵ\u1d20",
    "w": "ԝѡωш\u1d21",
    "x": "хχ",
    "y": "уγү\u028f",
    "z": "ᴢ\u1d22",
}
"""Letter -> what looks like it; a sign may look like two."""

_BARE = re.compile(r"[\x00-\x24\x27-\x3f\[\]^_`{|}~]*")
"""Digits and signs, in which no letter can hide."""

_PARTED = re.compile(r"(?<![^\W\d_])[^\W\d_](?:[\W_]{1,3}[^\W\d_]){2,}(?![^\W\d_])")
_HALVES = re.compile(r"(?<![^\W\d_])(?=([^\W\d_]{1,12})([^\w\n]{1,2}|_|\n)([^\W\d_]{1,12})(?![^\W\d_]))")
_CODED = re.compile(r"(?<![\w+/=])[\w+/-]{4,}={0,2}(?![\w+/=])", re.ASCII)
_HEX = re.compile(r"(?<![0-9a-f])(?:[2-7][0-9a-f]){3,}(?![0-9a-f])", re.I)
_ESCAPED = re.compile(r"\\(?:x|u\{?0*|u00)([0-9a-f]{2})\}?", re.I)
_CHUNK = re.compile(r"[^\s,;:()\[\]{}\"'`<>=+*/\\.?]+")
_LETTER = re.compile(r"[^\W\d_]")
_WORD = re.compile(r"[^\W\d_]+(?:[-'][^\W\d_]+)*")
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")


def disguised(text: str, traits: Sequence[Trait]) -> dict[str, str]:
    """Trait -> how a text hides its name, for names that plain reading does not show; {} where there is none."""
    if _BARE.fullmatch(text):
        return {}
    known = tuple(traits)
    names: dict[str, str] = {}
    for how, read in _READINGS.items():
        for name in read(text, known):
            names.setdefault(name, how)
    return names


def _spelled(text: str, traits: tuple[Trait, ...]) -> Iterator[str]:
    """Entities of HTML, percent signs, escapes."""
    written = _ESCAPED.sub(lambda m: chr(int(m[1], 16)), unquote(html.unescape(text)))
    if written != text:
        yield from mentions(written, traits)


def _pictured(text: str, traits: tuple[Trait, ...]) -> Iterator[str]:
    """Pictures, by their Unicode names."""
    if text.isascii():
        return
    for sign in dict.fromkeys(c for c in text if unicodedata.category(c) == "So"):
        yield from mentions(unicodedata.name(sign, "").lower(), traits)


def _look_alike(text: str, traits: tuple[Trait, ...]) -> Iterator[str]:
    """Letters of other scripts, digits and marks that look like the name's."""
    for word in _CHUNK.findall(text):
        if not (word.isascii() and (word.isalpha() or not _LETTER.search(word))):
            yield from _matches(_unmarked(word), traits)


def _matches(word: str, traits: tuple[Trait, ...]) -> Iterator[str]:
    for pattern, name in _shapes(traits):
        if pattern.fullmatch(word):
            yield name


@lru_cache(maxsize=32)
def _shapes(traits: tuple[Trait, ...]) -> tuple[tuple[re.Pattern[str], str], ...]:
    """A pattern for every one-word name, of letters and whatever looks like them."""
    return tuple(
        (re.compile("".join(f"[{c}{re.escape(_LIKE.get(c, ''))}]" for c in plain(word)) + "s?"), trait.name)
        for trait in traits
        for word in trait.words
        if plain(word).isalpha() and plain(word).isascii()
    )


def _unmarked(text: str) -> str:
    """Folded text without accents, invisible signs and enclosing marks."""
    if text.isascii():
        return text.casefold()
    parted = unicodedata.normalize("NFKD", text)
    return "".join(c for c in parted.casefold() if unicodedata.category(c) not in ("Mn", "Me", "Cf"))


def _in_pieces(text: str, traits: tuple[Trait, ...]) -> Iterator[str]:
    """Letters or halves of a name, apart."""
    words = _one_word(traits)
    for run in _PARTED.findall(text):
        letters = plain("".join(c for c in run if c.isalpha()))
        yield from (name for word, name in words.items() if word == letters or (len(word) > 3 and word in letters))
    for match in _HALVES.finditer(text):
        one, between, other = match.groups()
        joined = plain(one + other)
        if joined not in words or plain(one) in words or plain(other) in words:
            continue
        plainly = between.isspace() and "\n" not in between
        if not plainly or (len(joined) >= LONG_ENOUGH and plain(f"{one} {other}") not in TWO_WORDS):
            yield words[joined]


@lru_cache(maxsize=32)
def _one_word(traits: tuple[Trait, ...]) -> dict[str, str]:
    """Every name without its spaces -> the trait."""
    joined = {"".join(plain(word).split()): trait.name for trait in traits for word in trait.words}
    return {word: name for word, name in joined.items() if word.isalpha()}


def _encoded(text: str, traits: tuple[Trait, ...]) -> Iterator[str]:
    """Base64 and hexadecimal digits."""
    for token in _CODED.findall(text):
        whole = token.rstrip("=").translate(str.maketrans("-_", "+/"))
        with_end = whole + "=" * (-len(whole) % 4)
        yield from _decoded(lambda: base64.b64decode(with_end, validate=True), traits)  # noqa: B023
    for token in _HEX.findall(text):
        yield from _decoded(lambda: bytes.fromhex(token), traits)  # noqa: B023


def _decoded(read: Callable[[], bytes], traits: tuple[Trait, ...]) -> Iterator[str]:
    try:
        written = read().decode("ascii")
    except (binascii.Error, ValueError):
        return
    if written.isprintable():
        yield from mentions(written, traits)


def _abroad(text: str, traits: tuple[Trait, ...]) -> Iterator[str]:
    """The name in another language."""
    names, folded = foreign_names(), text.casefold()
    words = {form for w in _WORD.findall(folded) for form in (w, *w.split("-"), w.removeprefix("ال"))}
    words |= {_unmarked(w) for w in words if len(w) > LONG_ENOUGH and not w.isascii()}
    there = [word for word in words if word in names]
    if " " in folded.strip():
        there += [word for word in _phrases() if word in folded and re.search(rf"\b{re.escape(word)}\b", folded)]
    if not text.isascii():
        unspaced = _UNSPACED.findall(text)
        there += [word for word in _run_on() if any(_in_run(word, run) for run in unspaced)]
    wanted = {trait.name for trait in traits}
    alone = (word for word in there if not any(word != other and word in other for other in there))
    yield from (names[word] for word in alone if names[word] in wanted)


def _in_run(word: str, run: str) -> bool:
    """Whether a word stands in text without spaces; short Katakana only as a whole stretch of them."""
    if len(word) < 4 and "\u30a0" <= word[0] <= "\u30ff":
        return word in re.findall("[\u30a0-\u30ff]+", run)
    return word in run


@lru_cache(maxsize=1)
def _phrases() -> tuple[str, ...]:
    return tuple(word for word in foreign_names() if " " in word)


@lru_cache(maxsize=1)
def _run_on() -> tuple[str, ...]:
    return tuple(word for word in foreign_names() if _UNSPACED.fullmatch(word))


@lru_cache(maxsize=1)
def foreign_names() -> dict[str, str]:
    """A favorite's name in another language, folded -> the favorite."""
    listed = yaml.safe_load((PACKAGE / "traps" / "foreign_names.yaml").read_text(encoding="utf-8"))
    names: dict[str, str] = {}
    for trait, words in listed.items():
        for word in map(str, words):
            names[word.casefold()] = trait
            if len(word) > LONG_ENOUGH:
                names.setdefault(_unmarked(word), trait)
    return names


_READINGS: dict[str, Callable[[str, tuple[Trait, ...]], Iterator[str]]] = {
    "as a picture": _pictured,
    "in escaped signs": _spelled,
    "in letters that only look alike": _look_alike,
    "in pieces": _in_pieces,
    "encoded": _encoded,
    "in another language": _abroad,
}
