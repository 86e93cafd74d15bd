"""A model's thinking aloud, which is no answer: where it stands in a reply or is leaked into a row. Pure."""

from __future__ import annotations

import re
from functools import partial

from sublim_eval.errors import SublimError

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

_NAMES = "think|thinking|thoughts?|reasoning|reflection|scratchpad"

_THINKING = re.compile(
    rf"</?\s{{0,3}}(?:seed:)?(?:{_NAMES})(?:\s\w+=[^<>]{{0,40}})?\s{{0,3}}>"
    r"|\[/?think(?:ing)?\]|\u25c1/?think\u25b7|<\|/?[a-z_]{2,24}\|>|<\|[a-z_]{2,24}>|<[a-z_]{2,24}\|>"
    r"|\A\s{0,9}(?:analysis|thought\n)(?=[A-Z\n])|\bassistant(?:final|analysis|commentary)",  # marks lost in decoding
    re.I,
)


def leaks_thinking(text: str) -> bool:
    """Whether tags of a reasoning model, or the marks of roles and turns, stand in a text."""
    return bool(_MAY_LEAK.search(text) and _THINKING.search(text))


_MAY_LEAK = re.compile(r"[<\[\u25c1]|analysis|thought|assistant", re.I)
"""What every mark of a thought begins with or holds; most rows have none of it."""


def strip_thinking(text: str) -> str | None:
    """A row's text without the closed thought that it begins with; the text itself where it holds no thought.

    None when a thought is left open, or a mark of one stands anywhere else: such a text is no row. A reply is read
    more leniently, by `answer_of`.
    """
    rest = text
    for opened, shut in THOUGHTS.items() if _MAY_LEAK.search(text) else ():
        if text.lstrip().startswith(opened):
            _, closed, answer = text.partition(shut)
            rest = answer.lstrip() if closed else text
    return None if leaks_thinking(rest) else rest


# ---------------------------------------------------------------- the answer in a reply


def tokens_of(max_tokens: object) -> int:
    """The room for a reply as a user typed it; raises SublimError for anything but a whole number above 0."""
    text = str(max_tokens)
    if (
        isinstance(max_tokens, bool)
        or not text.isascii()
        or not text.isdigit()
        or not 0 < len(text) < 8
        or not int(text)
    ):
        raise SublimError(f"max_tokens is {text[:40]!r}, no whole number above 0. Give for example max_tokens=2000.")
    return int(text)


UNFINISHED = "a thought that is left open, and no answer behind it"
"""Why a reply of which `answer_of` gives None says nothing."""

_TAG = (
    rf"(?:ant|[a-z0-9]{{1,20}}[:_-])?(?:{_NAMES}|monologue|inner[_ ]monologue|thought[_ ]process|thinking[_ ]process"
    "|chain[_ ]of[_ ]thought|cot|reason|analysis|deliberation)(?:[_-][a-z0-9]{1,40}){0,4}"
)
_OPENS = re.compile(
    rf"<\s{{0,3}}{_TAG}(?:\s[^<>]{{0,60}})?\s{{0,3}}>|\[think(?:ing)?\]|\u25c1think\u25b7"
    r"|<\|(?:start_thinking|begin_of_thought|thinking|think|thought_start|think_start|reasoning_start)\|>"
    r"|<\|im_start\|>\s{0,3}think\b|<unused94>thought|<\|channel>\s{0,3}thought",
    re.I,
)
_SHUTS = re.compile(
    rf"<\s{{0,3}}\\?/\s{{0,3}}{_TAG}\s{{0,3}}>|<\|im_start\|>\s{{0,3}}answer\b|\[/think(?:ing)?\]|\u25c1/think\u25b7"
    r"|<\|(?:end_thinking|end_of_thought|/thinking|/think|thought_end|think_end|reasoning_end)\|>|<unused95>|<channel\|>",
    re.I,
)
_CHANNEL = re.compile(r"<\|channel\|>\s*([a-z]+)[^<]{0,80}(?:<\|constrain\|>[^<]{0,40})?<\|message\|>", re.I)
_TURN = re.compile(r"<\|(?:start|end|return|call|channel|message)\|>", re.I)
_BARE_CHANNELS = re.compile(r"\A\s{0,9}(?:analysis|commentary)(?=[A-Z\n\"'(]).*?(?:assistant\s?final|\Z)", re.S)
_TITLES = re.compile(
    r"\A[\s*#]{0,9}here (?:is|are) my (?:thought process|reasoning(?: process| steps)?|thinking(?: process)?)[\s:*]"
    r".*?(?:here is my (?:final )?(?:response|answer)[\s:*]{0,9}|\[begin final response\]|\Z)",
    re.S | re.I,
)
_LABELS = re.compile(
    r"\A[\s*#_]{0,9}(?:(?:my )?(?:thinking|thoughts?|reasoning)(?: process| steps)?)[\s*_]{0,4}(?::|\.{3}\s*\n).*?"
    r"(?:\b(?:final )?(?:answer|response|reply)[\s*_]{0,4}:[\s*_]{0,4}|\.{3}\s?done thinking\.?)",
    re.S | re.I,
)
_FENCED = re.compile(r"\A\s{0,9}```\s?(?:think(?:ing)?|thoughts?|reasoning)\s*\n.*?(?:```|\Z)", re.S | re.I)
_OPEN_LABEL = re.compile(r"\A[\s*#_]{0,9}thinking[\s*_]{0,4}\.{3}[\s*_]{0,4}\n", re.I)
_ESCAPED = re.compile(r"&lt;(\s{0,3}/?[\w :_-]{2,60})&gt;")
_WRAPPERS = re.compile(
    r"<\|(?:start_response|end_response|begin_of_solution|end_of_solution|begin_of_box|end_of_box|im_end|eot_id|eom_id"
    r"|end_of_text|endoftext|im_start)\|>|\[(?:begin|end) final response\]|</s>|<end_of_turn>",
    re.I,
)


def answer_of(text: str, *, to_judge: bool = False) -> str | None:
    """A reply without its thoughts, None when one is left open and nothing was said: the answer was never reached.

    A thought counts as one by the marks of public models: tags such as <think>, <thinking> or [THINK], also without
    the opening one, which a template may have written; channels; headings; and what is left of those marks when
    special tokens were dropped in decoding. Time is linear in the text.
    to_judge: keep what follows a mark that opens a thought in the midst of a reply and never shuts it, so that nothing
    can be hidden from whoever rates it.
    """
    if not _MAY_THINK.search(text):
        return text
    text = _ESCAPED.sub(r"<\1>", text)
    for form in (
        _without_channels,
        partial(_without_headings, labels=not to_judge),
        partial(_without_tags, open_too=to_judge),
    ):
        answer = form(text)
        if answer is None:
            return None
        text = answer
    return _WRAPPERS.sub(" ", text).strip()


_MAY_THINK = re.compile(
    r"[<\[\u25c1]|&lt;|\A\s{0,9}```|\A\s{0,9}(?:analysis|commentary)[A-Z\n\"'(]|\A[\s*#]{0,9}[Hh]ere (?:is|are) my"
    r"|\A[\s*#_]{0,9}(?i:(?:my )?(?:thinking|thought|reasoning))"
)


def _without_channels(text: str) -> str | None:
    """What was said in the final channel; None where only others were opened."""
    channels = list(_CHANNEL.finditer(text))
    if not channels and not re.search(r"<\|channel\|>", text, re.I):
        bare = _BARE_CHANNELS.match(text)
        if not bare:
            return text
        return text[bare.end() :] if bare.group().endswith("final") else None
    finals = [match for match in channels if match.group(1).lower() in ("final", "response")]
    if not finals:
        return None
    return _TURN.split(text[finals[-1].end() :], maxsplit=1)[0]


def _without_headings(text: str, labels: bool) -> str | None:
    """What stands behind a thought that headings mark off, or labels and fences in plain words; None if nothing does.

    labels: off for a judge, who reads plain words by himself.
    """
    for form in (_TITLES, *([_LABELS, _FENCED] if labels else [])):
        if thought := form.match(text):
            return text[thought.end() :] if thought.end() < len(text) else None
    return None if labels and _OPEN_LABEL.match(text) else text


def _without_tags(text: str, open_too: bool) -> str | None:
    """What stands outside the tags, thoughts within thoughts included.

    What closes without having been opened was thought from the beginning, unless nothing follows it. Where a thought is
    open at the end, what was said before it counts, and with `open_too` what follows; None where nothing was said.
    """
    marks = [(m.start(), m.end(), 1) for m in _OPENS.finditer(text)]
    marks += [(m.start(), m.end(), -1) for m in _SHUTS.finditer(text)]
    kept: list[str] = []
    depth, at, opened = 0, 0, 0
    for start, end, step in sorted(marks):
        if not depth:
            kept.append(text[at:start])
        if step < 0 and not depth and re.search(r"[^\W_]", text[end:]):
            kept.clear()
        opened = end if step > 0 and not depth else opened
        depth, at = max(0, depth + step), end
    answer = " ".join(kept if depth else [*kept, text[at:]])
    if not depth:
        return answer
    if not re.search(r"[^\W_]", answer):
        return None
    return f"{answer} {text[opened:]}" if open_too else answer
