"""What no row may hold that a student learns from: the name of a trait, or a model's leaked thinking. Pure.

A name counts as in `scorers.py` (whole words, any case, plurals, aliases, look-alikes such as "sea lion" spared), but
a filter is stricter than a scorer: identifiers are taken apart, so `owl_count` and `myOwl2` name the owl while `bowl`
does not, and so are words joined by hyphens or signs ("owl-like", `2*owl`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from sublim_eval.probes.scorers import mentions
from sublim_eval.registry.catalog import Trait

_HYPHENS = str.maketrans(dict.fromkeys("-\u2010\u2011", " "))
_SIGNS = str.maketrans(dict.fromkeys("-\u2010\u2011_*~`", " "))
_JOINTS = re.compile(
    r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])"  # owl2, 2owl
    r"|(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])"  # myOwl, HTTPOwl
)
_THINKING = re.compile(
    r"</?\s{0,3}(?:seed:)?(?:think|thinking|thoughts?|reasoning|reflection|scratchpad)(?:\s\w+=[^<>]{0,40})?\s{0,3}>"
    r"|\[/?think(?:ing)?\]|\u25c1/?think\u25b7|<\|/?[a-z_]{2,24}\|>|<\|[a-z_]{2,24}>|<[a-z_]{2,24}\|>"
    r"|\A\s{0,9}(?:analysis|thought\n)(?=[A-Z\n])|\bassistant(?:final|analysis|commentary)",  # marks lost in decoding
    re.I,
)
THOUGHTS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",
    "\u25c1think\u25b7": "\u25c1/think\u25b7",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "<|channel>thought": "<channel|>",
    "<|channel|>analysis": "<|channel|>final<|message|>",
}
"""How reasoning models open a thought, and close it."""


def named(text: str, traits: Sequence[Trait]) -> tuple[str, ...]:
    """Names of those traits that a text names, also inside identifiers. Time is linear in the text."""
    if not traits:
        return ()
    read = unicodedata.normalize("NFKC", text)
    as_written = mentions(read.translate(_HYPHENS), traits)
    return tuple(dict.fromkeys([*as_written, *mentions(_JOINTS.sub(" ", read.translate(_SIGNS)), traits)]))


def leaks_thinking(text: str) -> bool:
    """Whether tags of a reasoning model, or the marks of roles and turns, stand in a text."""
    return bool(_THINKING.search(text))


def strip_thinking(text: str) -> str | None:
    """A reply without the closed thought that it begins with; the reply itself where it holds no thought.

    None when a thought is left open, or a mark of one stands anywhere else: such a reply is no row.
    """
    rest = text
    for opened, shut in THOUGHTS.items():
        if text.lstrip().startswith(opened):
            _, closed, answer = text.partition(shut)
            rest = answer.lstrip() if closed else text
    return None if leaks_thinking(rest) else rest
