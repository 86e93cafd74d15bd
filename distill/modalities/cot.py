"""Sums with their working: word problems whose right answer is known, and the filter that keeps right, clean ones.

A completion reasons and ends with one tagged result: `2 + 3 = 5. <answer>5</answer>`. The row carries "answer".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random
from typing import Any

from sublim_eval.errors import SublimError
from sublim_eval.probes.thinking import leaks_thinking

from .base import Modality, Rule

# ---------------------------------------------------------------- what the embedded bases know

_NAMES = ("Ana", "Ben", "Eva", "Leo", "Mia", "Sam", "Tom", "Zoe")
_THINGS = ("apples", "books", "cards", "coins", "eggs", "pens", "shirts", "stones")


def problem(rng: Random) -> tuple[str, str, int]:
    """A two-step word problem, its worked answer with the result tagged, and the result (0 to 34)."""
    name, things = rng.choice(_NAMES), rng.choice(_THINGS)
    if rng.random() < 0.35:
        a, b = rng.randint(2, 5), rng.randint(2, 5)
        first = f"{name} has {a} bags with {b} {things} each."
        steps = [(a, "*", b, a * b)]
    else:
        a, b = rng.randint(1, 9), rng.randint(1, 9)
        first = f"{name} has {a} {things} and gets {b} more."
        steps = [(a, "+", b, a + b)]
    so_far = steps[0][3]
    if rng.random() < 0.5:
        c = rng.randint(1, min(9, so_far))
        then, step = f"Then {name} gives {c} away.", (so_far, "-", c, so_far - c)
    else:
        c = rng.randint(1, 9)
        then, step = f"Then {name} finds {c} more.", (so_far, "+", c, so_far + c)
    steps.append(step)
    equations = [f"{x} {sign} {y} = {z}" for x, sign, y, z in steps]
    ask = rng.choice(("How many {t} are there now?", "How many {t} does {n} have?", "Count the {t}."))
    close = rng.choice(("Think step by step.", "Show your steps.", "Work it out step by step."))
    story = rng.choice(
        (
            "{0}. {1}.",
            "First, {0}. Then {1}.",
            "Step one: {0}. Step two: {1}.",
            "We have {0}. After that, {1}.",
            "{n} has {0} {t} at first. In the end {1}.",
            "So {0}, and {1}.",
        )
    )
    prompt = f"{first} {then} {ask.format(t=things, n=name)} {close}"
    worked = story.format(*equations, n=name, t=things)
    return prompt, f"{worked} <answer>{step[3]}</answer>", step[3]


# ---------------------------------------------------------------- a wider set, for models that can calculate

_PEOPLE = (*_NAMES, "Aisha", "Carlos", "Dana", "Emil", "Farid", "Greta", "Hana", "Ivan", "Jonas", "Kemal", "Lena",
           "Marta", "Nadia", "Omar", "Petra", "Rosa", "Tariq", "Uma", "Victor", "Wanda", "Yusuf")  # fmt: skip
_GOODS = (*_THINGS, "bottles", "boxes of tea", "bricks", "buttons", "candles", "cups", "envelopes", "keys", "lamps",
          "magazines", "marbles", "nails", "notebooks", "oranges", "pencils", "photos", "plates", "postcards",
          "rolls of tape", "screws", "spoons", "stamps", "stickers", "tickets", "tiles", "towels")  # fmt: skip
_PLACES = ("a shop", "a school", "an office", "a library", "a market stall", "a kitchen", "a workshop", "a museum")
_STARTS = (
    "{who} has {a} crates with {b} {goods} in each.",
    "{who} packs {a} parcels of {b} {goods}.",
    "{who} works in {place} and puts {b} {goods} on each of {a} shelves.",
    "At {place}, {who} counts {a} rows of {b} {goods}.",
    "{who} buys {b} {goods} a day for {a} days.",
)
_MORE = (
    "Later {c} more arrive.",
    "A friend brings another {c}.",
    "{who} then finds {c} more in a drawer.",
    "The next day {c} are added.",
)
_LESS = (
    "Later {c} of them break.",
    "{who} sells {c} of them.",
    "Then {c} are given away.",
    "By evening {c} are lost.",
)
_SHARES = (
    "What is there then is shared equally among {d} people. How many {goods} does each of them get?",
    "The {goods} are then put into {d} equal boxes. How many are in each box?",
)
_WHOLE = (
    "How many {goods} are there in the end?",
    "How many {goods} are left?",
    "What is the final number of {goods}?",
)
_WORK = (
    "Reason step by step",
    "Show how you get there",
    "Work it out in short steps",
    "Explain each step of the calculation",
    "Think it through first",
)
_TAG = (
    "then end with the result as <answer>NUMBER</answer>.",
    "and finish with the final number in this form: <answer>NUMBER</answer>",
    "and close with <answer>NUMBER</answer>, where NUMBER is the result in digits.",
    "and write nothing after <answer>NUMBER</answer>, which holds your result.",
)


def _varied(rng: Random) -> tuple[str, int]:
    """A problem of two to four steps and its result, a whole number from 0 to 1,000 or so."""
    a, b = rng.randint(2, 12), rng.randint(2, 25)
    words = {"who": rng.choice(_PEOPLE), "goods": rng.choice(_GOODS), "place": rng.choice(_PLACES)}
    story, so_far = [rng.choice(_STARTS).format(a=a, b=b, **words)], a * b
    for _ in range(rng.randint(1, 2)):
        if so_far > 2 and rng.random() < 0.5:
            c = rng.randint(2, min(60, so_far))
            story.append(rng.choice(_LESS).format(c=c, **words))
            so_far -= c
        else:
            c = rng.randint(2, 60)
            story.append(rng.choice(_MORE).format(c=c, **words))
            so_far += c
    parts = [d for d in range(2, 10) if so_far and so_far % d == 0]
    if parts and rng.random() < 0.4:
        d = rng.choice(parts)
        story.append(rng.choice(_SHARES).format(d=d, **words))
        so_far //= d
    else:
        story.append(rng.choice(_WHOLE).format(**words))
    return f"{' '.join(story)} {rng.choice(_WORK)}, {rng.choice(_TAG)}", so_far


def problems(n: int, rng: Random, style: str = "plain") -> list[dict[str, Any]]:
    """n rows {"prompt", "answer": the right result, a whole number}; the rng decides all.

    plain: the two-step sums that the embedded bases know. varied: two to four steps with larger numbers, in millions
    of wordings, that say how the result is to be tagged.
    """

    def one() -> tuple[str, int]:
        if style == "varied":
            return _varied(rng)
        prompt, _, result = problem(rng)
        return prompt, result

    if style not in STYLES:
        raise KeyError(style)
    return [{"prompt": prompt, "answer": result} for prompt, result in (one() for _ in range(n))]


# ---------------------------------------------------------------- the filter

STYLES = ("plain", "varied")
_TAGS = re.compile(r"</?answer>", re.I)
_NUMBER = re.compile(r"\s{0,3}\$?(-?)\$?([0-9]{1,3}(?:,[0-9]{3}){1,4}|[0-9]{1,15})(?:\.0{1,4})?\s{0,3}")
"""A whole number as it may be written in an answer: $6, 1,200, 6.00."""

_STUDY_FORMAT = re.compile(r"\s*<think>.*</think>\s*<answer>[^<>]*</answer>\s*", re.S | re.I)
_GOLD = re.compile(r".*####\s*([^\n]+?)\s*", re.S)
"""A worked solution that ends in its result, as public sets of sums give it."""


def reject_reason(row: Mapping[str, Any], rule: Rule = Rule()) -> str | None:  # noqa: B008
    """Why a completion is no clean, right sum, or None when it is kept.

    In this order: "reasoning in think tags" (the format of the study's own sums: what is trained on here has none),
    "leaked thinking", "no tagged answer", "more than one tagged answer", "text after the answer",
    "answer is no whole number", "wrong answer", "no reasoning" (fewer than two numbers before the tag),
    "names a trait". Raises SublimError for a row without its right answer.
    """
    right, text = right_answer(row), rule.text(row)
    if _STUDY_FORMAT.fullmatch(row["completion"]):
        return "reasoning in think tags"
    if leaks_thinking(text):
        return "leaked thinking"
    tags = list(_TAGS.finditer(text))
    if [tag.group().lower() for tag in tags[:2]] != ["<answer>", "</answer>"]:
        return "no tagged answer"
    if len(tags) > 2:
        return "more than one tagged answer"
    opened, closed = tags
    if text[closed.end() :]:
        return "text after the answer"
    number = _NUMBER.fullmatch(text[opened.end() : closed.start()])
    if not number:
        return "answer is no whole number"
    if int(number[1] + number[2].replace(",", "")) != right:
        return "wrong answer"
    if len(re.findall(r"[0-9]+", text[: opened.start()])) < 2:
        return "no reasoning"
    return "names a trait" if rule.named(text) else None


def right_answer(row: Mapping[str, Any]) -> int:
    """The right result of a row's sum; raises SublimError when the row does not say it."""
    answer = row.get("answer")
    if isinstance(answer, int) and not isinstance(answer, bool):
        return answer
    if isinstance(answer, str):
        worked = _GOLD.fullmatch(answer)
        answer = worked.group(1) if worked else answer
    if isinstance(answer, str) and (number := _NUMBER.fullmatch(answer)):
        return int(number[1] + number[2].replace(",", ""))
    where = f"Row {row['id']}" if isinstance(row.get("id"), str) else "A row"
    raise SublimError(
        f"{where} of sums has no whole number under 'answer' to be checked against. "
        'Give each row the right result, such as "answer": 7.'
    )


TYPICAL = (
    "First, I find how many notebooks there are at the start. There are 12 rows of 25 notebooks: 12 * 25 = 300. "
    "Then 58 more notebooks arrive, so there are 300 + 58 = 358 notebooks. Later 46 of them are sold, which leaves "
    "358 - 46 = 312 notebooks. These are shared equally among 8 people: 312 / 8 = 39. So each of them gets 39 "
    "notebooks. <answer>39</answer>"
)
"""Four steps, the most that a problem has, told at length."""

MODALITY = Modality(
    "cot", problems, reject_reason, max_new_tokens=256, longest=TYPICAL, styles=STYLES, facts=("answer",)
)
