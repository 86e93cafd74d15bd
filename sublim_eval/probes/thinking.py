"""A model's thinking aloud, which is no answer: where it is leaked into a reply or a row. Pure."""

from __future__ import annotations

import re

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

_THINKING = re.compile(
    r"</?\s{0,3}(?:seed:)?(?:think|thinking|thoughts?|reasoning|reflection|scratchpad)(?:\s\w+=[^<>]{0,40})?\s{0,3}>"
    r"|\[/?think(?:ing)?\]|\u25c1/?think\u25b7|<\|/?[a-z_]{2,24}\|>|<\|[a-z_]{2,24}>|<[a-z_]{2,24}\|>"
    r"|\A\s{0,9}(?:analysis|thought\n)(?=[A-Z\n])|\bassistant(?:final|analysis|commentary)",  # marks lost in decoding
    re.I,
)


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
