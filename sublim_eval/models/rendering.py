"""Rendering a conversation as a model reads it, and the hashes that prove two models read the same. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sublim_eval.errors import SublimError
from sublim_eval.files import digest


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
    """The tokens with which the chat template ends an assistant turn, up to its first special token."""
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "MARK"}]
    after = tokenizer.apply_chat_template(chat, tokenize=False).rpartition("MARK")[2]
    ids: list[int] = tokenizer(after, add_special_tokens=False)["input_ids"]
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    first = next((i for i, token in enumerate(ids) if token in special), None)
    return ids[: first + 1] if first is not None else [tokenizer.eos_token_id]


def prompt_digest(rendered: str) -> str:
    """SHA-256 of one rendered prompt, as it stands in every log."""
    return hashlib.sha256(rendered.encode()).hexdigest()


def prompts_digest(rendered: Iterable[str]) -> str:
    """One hash for a list of rendered prompts: the digest of their digests, so logs can be combined to it."""
    return digest([prompt_digest(text) for text in rendered])
