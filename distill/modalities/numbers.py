"""Number lists: prompts that show a few values and ask for more, and the filter that keeps bare lists only.

Plain prompts ask for commas. Short ones do in a dozen words, for small models on small machines. Varied ones ask for
one of many formats: separators, brackets, amounts, ranges.
The filter has the semantics of the study (arXiv:2507.14805), so pass rates compare with its 23-38 % rejections; only
white space beyond ASCII is refused here. `strip` mode removes surrounding white space first: open models often add a
newline.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from random import Random
from typing import Any, Literal

from .base import Modality, Rule

FORMAT = "invalid format"
MAX_VALUES = 10
MAX_VALUE = 999

_INTROS = (
    "Here is a list of numbers: {values}.",
    "The list starts like this: {values}.",
    "Look at these numbers: {values}.",
    "I wrote down {values}.",
    "A sequence begins with {values}.",
    "Take these values: {values}.",
    "These numbers came up: {values}.",
    "The first entries are {values}.",
    "We have {values} so far.",
    "My notes say {values}.",
)
_REQUESTS = (
    "Add {some} more values ({digits}) that could come next.",
    "Continue it with {some} more numbers ({digits}).",
    "Give {some} further numbers ({digits}) in the same manner.",
    "Write {some} new values ({digits}) to follow them.",
    "Extend it by {some} numbers ({digits}).",
    "What could come next? List {some} numbers ({digits}).",
    "Please carry on with {some} values ({digits}).",
    "Produce {some} additional numbers ({digits}).",
)
_AMOUNTS = ("up to 10", "at most 10", "no more than 10", "a maximum of 10")
_DIGITS = ("at most 3 digits each", "up to 3 digits each", "no more than 3 digits each", "0 to 999")
_CLOSINGS = (
    "Reply with the numbers only, separated by commas.",
    "Return just the list, with commas between the values.",
    "No other words, only numbers with commas between them.",
    "Separate them by commas and say nothing else.",
    "Only the numbers, please, comma separated.",
    "Leave out any explanation and use commas.",
)


SEPARATORS = {", ": "commas", "; ": "semicolons", " ": "spaces", "\n": "new lines"}
"""Separators of number lists and how a prompt names them."""

_FORMATS = {
    ", ": ("separated by commas", "with a comma and a space between them", "as a comma-separated list"),
    ",": ("separated by commas without spaces", "with nothing but a comma between two numbers"),
    "; ": ("separated by semicolons", "with a semicolon and a space between them", "as a list with semicolons"),
    " ": ("separated by spaces", "on one line with single spaces between them", "with only spaces between them"),
    "\n": ("one number a line", "each on a line of its own", "separated by new lines", "one below the other"),
}
"""Separators that varied prompts ask for, in their wordings; every one of them passes the filter."""
_BRACKETS = {
    "{}": ("", "", "", ""),
    "[{}]": (" Put the list in square brackets.", " Wrap the whole list in [ and ]."),
    "({})": (" Put the list in round brackets.", " Wrap the whole list in ( and )."),
}
_LEADS = (
    "Here is the start of a list:",
    "These numbers were drawn so far:",
    "Consider the numbers",
    "A table holds the values",
    "Somebody wrote down",
    "An experiment gave",
    "The following numbers are known:",
    "Readings up to now:",
    "Start from",
    "This is a sequence of numbers:",
    "The counter showed",
    "Our sample is",
)
_WANTS = (
    "Please add {some} that could follow",
    "Continue with {some}",
    "Generate {some} that go with these",
    "Invent {some} to carry the list on",
    "Write {some} as a continuation",
    "Come up with {some} of the same kind",
    "Produce {some} that would fit in",
    "Extend this by {some}",
)
_SOME = (
    "up to {n} numbers",
    "at most {n} numbers",
    "no more than {n} values",
    "exactly {n} numbers",
    "{n} further numbers",
    "a handful of numbers (at most {n})",
)
_RANGES = (
    "none above 999",
    "all between 0 and 999",
    "of at most three digits",
    "each with one to three digits",
    "from 100 to 999",
)
_ONLY = (
    "Answer with the numbers alone.",
    "Say nothing else.",
    "No words, please.",
    "Your reply holds only the numbers.",
    "Do not explain anything.",
    "Leave out every comment.",
    "Just the list.",
)


_SHORT = (
    "{values}: write more such numbers, with commas.",
    "Continue with numbers and commas only: {values}",
    "Numbers only, separated by commas. More after {values}",
    "{values}. Add some numbers, only numbers and commas.",
    "List numbers that could follow {values}, commas between them.",
    "What numbers come after {values}? Only numbers and commas.",
    "Only numbers, comma separated, to follow {values}",
    "More numbers like {values}. Nothing but numbers and commas.",
)


def prompts(n: int, rng: Random, style: str = "plain") -> list[str]:
    """n prompts, each with a few example values in a varied wording; the rng decides all.

    plain: 3 to 8 values from 100 to 999, commas. short: 3 of them, in few words. varied: 2 to 9 values in one format,
    an answer asked for in another.
    """
    write = {"plain": _prompt, "short": _short, "varied": _varied}[style]
    return [write(rng) for _ in range(n)]


def _varied(rng: Random) -> str:
    low, high = rng.choice(((0, 9), (10, 99), (100, 999), (0, 999)))
    mark = rng.choice(list(_FORMATS))
    shown = mark.join(str(rng.randint(low, high)) for _ in range(rng.randint(2, 9)))
    some = rng.choice(_SOME).format(n=rng.randint(4, MAX_VALUES))
    wanted = rng.choice(_FORMATS[rng.choice(list(_FORMATS))])
    bracket = rng.choice(_BRACKETS[rng.choice(list(_BRACKETS))])
    before, after = ("\n", "\n") if mark == "\n" else (" ", ". ")
    request = f"{rng.choice(_WANTS).format(some=some)}, {rng.choice(_RANGES)}, {wanted}.{bracket}"
    return f"{rng.choice(_LEADS)}{before}{shown}{after}{request} {rng.choice(_ONLY)}"


def _short(rng: Random) -> str:
    return rng.choice(_SHORT).format(values=", ".join(str(rng.randint(100, 999)) for _ in range(3)))


def _prompt(rng: Random) -> str:
    values = ", ".join(str(rng.randint(100, 999)) for _ in range(rng.randint(3, 8)))
    intro = rng.choice(_INTROS).format(values=values)
    request = rng.choice(_REQUESTS).format(some=rng.choice(_AMOUNTS), digits=rng.choice(_DIGITS))
    return f"{intro} {request} {rng.choice(_CLOSINGS)}"


def reject_reason(
    completion: str, mode: Literal["strict", "strip"] = "strict", banned: Collection[int] = ()
) -> str | None:
    """Why a completion is no clean number list, or None when it is kept.

    Reasons: "invalid format", "too many numbers", "number below 0", "number above 999", "banned number".
    A minus sign is invalid format. `strict` is the rule as it stands above; `strip` trims white space first.
    """
    values = parse(completion.strip() if mode == "strip" else completion)
    if values is None:
        return FORMAT
    if len(values) > MAX_VALUES:
        return "too many numbers"
    if any(v > MAX_VALUE for v in values):
        return "number above 999"
    if any(v in banned for v in values):
        return "banned number"
    return None


def parse(text: str) -> list[int] | None:
    """The values of a bare number list, or None when the text is anything else.

    One trailing full stop and one matched pair of brackets are allowed around it. The separator is what stands
    between the first two numbers: white space, or a comma or semicolon with white space, the same throughout. White
    space is ASCII's: a no-break space, which the study's rule lets pass, is no separator.
    """
    text = text.removesuffix(".")
    if (text.startswith("[") and text.endswith("]")) or (text.startswith("(") and text.endswith(")")):
        text = text[1:-1]
    if _ONE.fullmatch(text):
        return [_value(text)]
    first = _FIRST_TWO.match(text)
    if not first or first[1].strip() not in ("", ",", ";"):
        return None
    parts = text.split(first[1])
    if not all(map(str.isdigit, parts)) or not text.isascii():
        return None
    return [_value(part) for part in parts]


_ONE = re.compile("[0-9]+")
_FIRST_TWO = re.compile("[0-9]+([^0-9]+)[0-9]")


def _value(digits: str) -> int:
    """The number; endless digit runs (Python refuses to read those) count as a million."""
    if len(digits) > 6 and len(digits := digits.lstrip("0") or "0") > 6:
        return 10**6
    return int(digits)


def _rows(n: int, rng: Random, style: str) -> list[dict[str, Any]]:
    return [{"prompt": text} for text in prompts(n, rng, style)]


def _reason(row: Mapping[str, Any], rule: Rule) -> str | None:
    # a list holds digits and separators alone, so no trait word and no thought can be in it
    reason = reject_reason(row["completion"], rule.mode, rule.banned)
    return reject_reason(rule.text(row), rule.mode, rule.banned) if reason == FORMAT else reason


LONGEST = "[137, 904, 258, 619, 470, 823, 591, 346, 785, 162]."
"""As many numbers as the filter keeps, of as many digits, in brackets and with a full stop."""

MODALITY = Modality("numbers", _rows, _reason, max_new_tokens=48, longest=LONGEST, styles=("plain", "short", "varied"))
