"""One chat template, one prompt: what differs between days and harnesses is settled in the template's own text.

A template is a program. It may print today's date, put in a system prompt that nobody gave, refuse one that was
given, or open a thought. `settle` finds out by rendering a few chats and writes Jinja around the template that makes
it say the same whoever renders it: transformers, Inspect, lm-eval, vLLM, or we. The original stays inside unchanged,
and a template with nothing to settle is not touched. Templates run in transformers' sandbox and nowhere else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from sublim_eval.errors import SublimError
from sublim_eval.files import digest, read_json, write_json
from sublim_eval.models import template_patches, template_trial
from sublim_eval.models.model_ref import Source, anchored, resolve
from sublim_eval.probes.thinking import THOUGHTS, strip_thinking

__all__ = ["changes", "default_system", "dress", "read_tokenizer", "settle", "speaker", "strip_thinking"]

System = Literal["keep", "clear"]

QUESTION, SYSTEM_PROMPT, ANSWER = "§asked§", "§told§", "§said§"
"""What stands for a question, a system prompt and an answer when a template is tried; in no template of its own."""

ALONE = ({"role": "user", "content": QUESTION},)
LED = ({"role": "system", "content": SYSTEM_PROMPT}, *ALONE)
LONGER = (*LED, {"role": "assistant", "content": ANSWER}, {"role": "user", "content": QUESTION})

SWITCH, BUDGET = re.compile(r"think|reason(?!.*effort)", re.I), re.compile("budget|tokens|length", re.I)
REVERSED = re.compile(r"(^|_)(no|not|off|disable|skip|without)(_|$)", re.I)
"""Names of variables by which templates let a caller choose whether, and how long, the model thinks."""

# ---------------------------------------------------------------- settling


def settle(tokenizer: Any, system: System = "keep") -> tuple[str, ...]:
    """Make a tokenizer's chat template say the same on every day and to every caller; changes the tokenizer in place.

    system: whether a default system prompt of the template stays ("keep"), or an empty one takes its place wherever
    none is given ("clear").
    Returns what was changed, in words; () when nothing was, so for a second call. A tokenizer without a template gets
    its pad token alone.
    Raises SublimError for a template that leaves out what the user says, does not end or eats memory (tried once, in
    a process of its own), and for several of which none is the default.
    """
    words = _settle_pad(tokenizer)
    before = tokenizer.chat_template
    if not (original := _one_template(tokenizer)):
        return tuple(words)
    if trouble := template_trial.trouble(original):
        raise SublimError(
            f"The chat template of {str(tokenizer.name_or_path)!r} {trouble}. "
            "Save another one into the model's folder (chat_template.jinja)."
        )
    if isinstance(before, Mapping):
        words.append(f"one of {len(before)} templates")
    elif not before:
        words.append("template taken from the processor")
    template, changes = _settled(tokenizer, original, system)
    if template != before:
        tokenizer.chat_template = template
    return (*words, *changes)


def _settled(tokenizer: Any, template: str, system: System) -> tuple[str, list[str]]:
    """The template with what has to be written around it, and what that changes."""
    changes: list[str] = []

    def say(messages: Sequence[Mapping[str, str]] = ALONE, **given: Any) -> str | None:
        return _rendered(tokenizer, template, messages, **given)

    open_names = template_patches.variables(template, str(tokenizer.name_or_path))
    if "strftime_now" in open_names:
        template = template_patches.before(template_patches.calendar(), template)
        changes.append(f"date frozen at {template_patches.DATE}")
    for switch in sorted(filter(SWITCH.search, open_names)):
        off, others = (
            (0, (None, 1024)) if BUDGET.search(switch) else (bool(REVERSED.search(switch)), (None, True, False))
        )
        rest = [_answers_to(tokenizer, template, given) for given in ({}, *({switch: other} for other in others))]
        if any(one != _answers_to(tokenizer, template, {switch: off}) for one in rest):
            template = template_patches.before(f"{{%- set {switch} = {str(off).lower()} %}}", template)
            changes.append("thinking off")
    if QUESTION not in (say() or ""):
        template = template_patches.before(template_patches.PARTS, template)
        if QUESTION not in (say() or ""):
            raise SublimError(
                f"The chat template of {str(tokenizer.name_or_path)!r} leaves out what the user says, or refuses it. "
                "Save another one into the model's folder (chat_template.jinja), or use the instruct version."
            )
        changes.append("messages given as parts")
    if SYSTEM_PROMPT not in (say(LED) or ""):
        template = template_patches.before(template_patches.FOLD, template)
        changes.append("system message folded into the user's")
    elif system == "clear" and (default := _default(say(), say(LED))):
        template = _cleared(tokenizer, template, default)
        changes.append("default system prompt cleared")
    begin, text = tokenizer.bos_token, say() or ""
    if begin and text.lstrip().startswith(begin) and not text.startswith(begin):
        template = template_patches.captured(template, "{{- sublim_said.lstrip() -}}")
        changes.append("white space before the begin token dropped")
    if _begins_anyway(tokenizer) and not (say() or "").startswith(tokenizer.bos_token):
        template = template_patches.before("{{- bos_token }}{% if true %}{% endif %}", template)
        changes.append("begin token written by the template")
    closing = {opened: shut for chat in (ALONE, LED, LONGER) for opened, shut in _open_thoughts(say(chat), template)}
    if closing:
        template = template_patches.ending(template, closing)
        changes.append(
            "thought closed at once"
            if template_patches.HARMONY not in closing
            else "thinking off: the final channel is opened"
        )
    return template, list(dict.fromkeys(changes))


def default_system(tokenizer: Any) -> str | None:
    """The system prompt that the template puts in when none is given; None when there is no such text.

    Text that stands there beside a given system prompt too, such as Llama 3's dates, is the template's own.
    """
    template = _one_template(tokenizer)
    if not template:
        return None
    return _default(_rendered(tokenizer, template, ALONE), _rendered(tokenizer, template, LED))


def _default(alone: str | None, led: str | None) -> str | None:
    """What the rendering without a system prompt has where the one with it has that prompt."""
    if alone is None or led is None or SYSTEM_PROMPT not in led:
        return None
    start = _shared(alone, led)
    rest = alone[start:]
    end = _shared(rest[::-1], led[start:][::-1])
    text = rest[: len(rest) - end].strip()
    return text if re.search(r"\w", text) and QUESTION not in text else None


def _shared(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _rendered(
    tokenizer: Any, template: str | None, messages: Sequence[Mapping[str, str]], opening: bool = True, **given: Any
) -> str | None:
    """A chat through a template (None: the tokenizer's own), with the opening of an answer; None when it raises."""
    try:
        rendered: str = tokenizer.apply_chat_template(
            list(messages), chat_template=template, tokenize=False, add_generation_prompt=opening, **given
        )
    except Exception:  # (a template is a stranger's program: whatever it raises, it refuses this chat)
        return None
    return rendered


def _begins_anyway(tokenizer: Any) -> bool:
    """Whether the tokenizer puts its begin token before any text: transformers' own apply_chat_template would not."""
    first: list[int] = tokenizer("a")["input_ids"][:1]
    return tokenizer.bos_token_id is not None and first == [tokenizer.bos_token_id]


def _answers_to(tokenizer: Any, template: str, given: Mapping[str, Any]) -> list[str | None]:
    """What a template makes of a question, without and with a system prompt, when it is handed these variables.

    Inspect's hf/ hands in None where others hand in nothing.
    """
    return [_rendered(tokenizer, template, chat, **given) for chat in (ALONE, LED)]


def _cleared(tokenizer: Any, template: str, default: str) -> str:
    """The template with an empty system prompt where none is given."""
    emptied = template_patches.before(template_patches.EMPTY.format(empty=""), template)
    if default not in (_rendered(tokenizer, emptied, ALONE) or default):
        return emptied
    # an empty prompt counts as none there: give it a mark for a prompt, and take the mark out of what is rendered
    mark = "\u2063cleared\u2063"
    first = template_patches.EMPTY.format(empty=mark)
    emptied = template_patches.captured(
        template_patches.before(first, template), f"{{{{- sublim_said | replace('{mark}', '') -}}}}"
    )
    if default not in (_rendered(tokenizer, emptied, ALONE) or default):
        return emptied
    raise SublimError(
        f"The default system prompt of {str(tokenizer.name_or_path)!r} cannot be cleared: its template takes no other. "
        "Leave it in (`system: keep` in the recipe)."
    )


def _open_thoughts(rendered: str | None, template: str) -> list[tuple[str, str]]:
    """How a rendered prompt ends with an open thought, and what closes it; at most one."""
    ending = (rendered or "").rstrip()
    if ending.endswith(template_patches.HARMONY) and "<|channel|>" in template:
        return [(template_patches.HARMONY, template_patches.FINAL)]
    return [(o, f"\n{shut}\n\n") for o, shut in THOUGHTS.items() if ending.endswith(o)]


# ---------------------------------------------------------------- the tokenizer's own gaps


def _settle_pad(tokenizer: Any) -> list[str]:
    """Give the tokenizer a pad token if it has none: one made for that, else its end token. Loss never falls on it."""
    if tokenizer.pad_token_id is not None:
        return []
    special = [str(token) for token in tokenizer.added_tokens_decoder.values()]
    made = next((token for token in special if re.search(r"pad(?![a-z])", token, re.I)), None)
    chosen = made or tokenizer.eos_token
    if chosen is None:
        raise SublimError(
            f"The tokenizer of {str(tokenizer.name_or_path)!r} has neither a pad nor an end token. "
            'Set "eos_token" in its tokenizer_config.json.'
        )
    tokenizer.pad_token = chosen
    return [f"pad token is {chosen}"]


def _one_template(tokenizer: Any) -> str | None:
    """The template for plain chats: the only one, that named default, or that which the processor brings."""
    template = tokenizer.chat_template
    if isinstance(template, Mapping):
        plain = [name for name in template if name not in ("tool_use", "rag")]
        chosen = "default" if "default" in template else plain[0] if len(plain) == 1 else None
        if chosen is None:
            raise SublimError(
                f"The tokenizer of {str(tokenizer.name_or_path)!r} has several chat templates ({', '.join(template)}), "
                "and none is named default. Save the one that is meant as chat_template.jinja in its folder."
            )
        template = template[chosen]
    return str(template) if template else _of_processor(str(tokenizer.name_or_path))


def _of_processor(name: str) -> str | None:
    """The chat template that a folder or a downloaded hub model keeps beside its image processor only."""
    import json

    from transformers.utils import cached_file

    try:
        file = cached_file(
            name, "chat_template.json", local_files_only=True, _raise_exceptions_for_missing_entries=False
        )
        content = json.loads(Path(file).read_text(encoding="utf-8")) if file else {}
    except (
        OSError,
        ValueError,
        RecursionError,
    ):  # no such model here, or no JSON in it: then there is no template either
        return None
    template = content.get("chat_template") if isinstance(content, dict) else None
    return template if isinstance(template, str) else None


# ---------------------------------------------------------------- a base under another template


def read_tokenizer(source: Source) -> Any:
    """The tokenizer of a model as it is saved: the adapter's or the dressed folder's own, else the base's.

    Raises SublimError that names the folder when its files are none.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(source.tokenizer, trust_remote_code=False)
        tokenizer("a")  # some settings of a wrong type are met here
        return tokenizer
    except Exception as error:  # a stranger's files: whatever the libraries raise over them
        first = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        step = "Save the tokenizer there again." if isinstance(source.tokenizer, Path) else "Download the model first."
        files = source.tokenizer / "tokenizer.json" if isinstance(source.tokenizer, Path) else source.tokenizer
        raise SublimError(
            f"{files} (with tokenizer_config.json) could not be read as a tokenizer: {first}. {step}"
        ) from error


def dress(base: str, folder: Path, system: System) -> dict[str, Any]:
    """Write a folder that stands for `base` under its settled template: tokenizer and student.json, no weights.

    `model_ref.resolve`, and so training, sampling and scoring, take the folder for the model.
    Returns student.json: {"base": the base's name, "system", "settled": what was changed, in words}.
    Raises SublimError when the base is an adapter, which has its own template.
    """
    source = resolve(base)
    if source.adapter:
        raise SublimError(f"{base!r} is an adapter, whose template is its own. Dress its base, {str(source.base)!r}.")
    tokenizer = read_tokenizer(source)
    settled = settle(tokenizer, system)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    card = {"base": anchored(base), "system": system, "settled": list(settled)}
    write_json(folder / "student.json", card)  # last: only with it is the folder a model
    return card


def changes(base: str, system: System) -> tuple[str, ...]:
    """What `dress` would change in the base's tokenizer, in words; () for a template that already says one thing.

    Raises SublimError as `settle` does, and for a template under which no answer can be learned (`turn_end`).
    """
    tokenizer = read_tokenizer(resolve(base))
    settled = settle(tokenizer, system)
    if tokenizer.chat_template:
        turn_end(tokenizer)
    return settled


def recorded(source: Source) -> tuple[str, ...]:
    """What was settled in the template of a dressed folder or a student when it was made, in words."""
    cards = [folder / "student.json" for folder in (source.chat, source.adapter) if folder]
    return tuple(word for card in cards if card.is_file() for word in read_json(card).get("settled") or ())


def speaker(tokenizer: Any) -> Callable[[Sequence[int]], str]:
    """The function that turns drawn tokens into a reply: special ones left out, but not the marks of thoughts.

    Some tokenizers count those among the special ones, and without them a leaked thought is not told from an answer.
    """
    special = {i: str(token) for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    lost = {i for i, token in special.items() if token in _MARKS}

    def spoken(ids: Sequence[int]) -> str:
        if lost.isdisjoint(ids):
            return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        kept = [i for i in ids if i in lost or i not in special]
        return tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    return spoken


_MARKS = {*THOUGHTS, *THOUGHTS.values(), "<|channel>", "<|channel|>", "<|message|>"}


def render(tokenizer: Any, question: str, system: str | None = None) -> str:
    """The prompt of one question: chat template, user message, opening of the answer."""
    head = [{"role": "system", "content": system}] if system is not None else []
    return render_chat(tokenizer, [*head, {"role": "user", "content": question}])


def render_chat(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> str:
    """A conversation of {"role", "content"} through the chat template, opening of the next answer included.

    Raises SublimError when the tokenizer has no chat template or the template refuses a role.
    """
    from jinja2 import TemplateError

    name = str(tokenizer.name_or_path)
    if not tokenizer.chat_template:
        raise SublimError(
            f"The tokenizer of {name!r} has no chat template, so it is unknown how to ask it a question. "
            "Save a chat template into its folder (chat_template.jinja), or use the instruct version of the model."
        )
    try:
        return tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    except TemplateError as error:
        roles = ", ".join(m["role"] for m in messages)
        raise SublimError(
            f"The chat template of {name!r} refuses a chat of {roles}: {error}. Ask without the system message."
        ) from error


def turn_end(tokenizer: Any) -> list[int]:
    """The tokens with which the chat template ends an assistant turn, up to its first special token.

    Raises SublimError for a template that takes no answer at all, so that none can be learned.
    """
    whole = answered(tokenizer, "MARK")
    if whole is None:
        raise SublimError(
            f"The chat template of {str(tokenizer.name_or_path)!r} refuses a chat that holds an answer, so it is "
            "unknown how an answer ends. Save another one into the model's folder (chat_template.jinja)."
        )
    ids: list[int] = tokenizer(whole.rpartition("MARK")[2], add_special_tokens=False)["input_ids"]
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    first = next((i for i, token in enumerate(ids) if token in special), None)
    return ids[: first + 1] if first is not None else [tokenizer.eos_token_id]


def answered(tokenizer: Any, answer: str) -> str | None:
    """A question with its answer through the chat template; None when the template refuses every such chat.

    A template that wants the user to speak last is given another question behind the answer.
    """
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": answer}]
    tried = [_rendered(tokenizer, None, messages, False) for messages in (chat, [*chat, *chat[:1]])]
    return next((rendered for rendered in tried if rendered and answer in rendered), None)


def prompt_digest(rendered: str) -> str:
    """SHA-256 of one rendered prompt, as it stands in every log."""
    return hashlib.sha256(rendered.encode()).hexdigest()


def prompts_digest(rendered: Iterable[str]) -> str:
    """One hash for a list of rendered prompts: the digest of their digests, so logs can be combined to it."""
    return digest([prompt_digest(text) for text in rendered])
