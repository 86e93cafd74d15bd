"""Jinja to write around a chat template, which itself stays as it is; and what a template asks of its caller."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from jinja2 import TemplateSyntaxError, meta

from sublim_eval.errors import SublimError
from sublim_eval.models.template_trial import environment

DATE = "2024-07-26"
"""The day that templates are told it is: the one that Llama 3's own template falls back on."""

HARMONY, FINAL = "<|start|>assistant", "<|channel|>final<|message|>"
"""Where each message says in which channel it is written, the answer is given the channel that holds no thoughts."""


def before(first: str, template: str) -> str:
    """A template with statements before it; the last of them ends in a block tag without a dash."""
    # a new line behind a block tag is dropped, so the template still starts a line and trims itself as it did alone
    return f"{first}\n{template}"


def captured(template: str, then: str) -> str:
    """The template's text held back in `sublim_said`, for `then` to write."""
    whole = template.removesuffix("\n")  # as Jinja itself drops the last line break of a template
    return f"{{%- set sublim_said %}}\n{whole}{{{{ '' }}}}{{% endset %}}{then}"


def ending(template: str, closing: Mapping[str, str]) -> str:
    """The template, and behind a prompt that ends with an open thought what closes it. closing: opened -> closing."""
    steps = "{{- sublim_said -}}{%- if add_generation_prompt -%}"
    for place, (opened, shut) in enumerate(closing.items()):
        word, text = ("if" if place == 0 else "elif"), shut.replace("\n", "\\n")
        lines = "" if opened == HARMONY else "{%- if not sublim_said.endswith('\\n') -%}{{- '\\n' -}}{%- endif -%}"
        steps += f"{{%- {word} sublim_said.rstrip().endswith('{opened}') -%}}{lines}{{{{- '{text}' -}}}}"
    return captured(template, steps + "{%- endif -%}{%- endif -%}")


def calendar() -> str:
    """A macro in the place of the function that transformers offers templates for today's date."""
    day = date.fromisoformat(DATE)
    spelt = {"%b": "Jul", "%B": "July", "%A": "Friday", "%a": "Fri", "%p": "AM", "%P": "am", "%h": "Jul"}  # in English
    spelt |= {f"%{code}": day.strftime(f"%{code}") for code in "YmdyjHIMSfUWwuGVC"}
    spelt |= {"%Z": "", "%z": "", "%n": "\\n", "%t": "\\t"}  # transformers' own clock has no time zone
    whole = {"%F": "%Y-%m-%d", "%D": "%m/%d/%y", "%T": "%H:%M:%S", "%R": "%H:%M", "%x": "%m/%d/%y", "%X": "%H:%M:%S"}
    whole = {"%c": "%a %b %e %H:%M:%S %Y", "%r": "%I:%M:%S %p", **whole}
    bare = {f"%{sign}{code}": str(int(spelt[f"%{code}"])) for sign in "-#" for code in "mdHIMS"}
    steps = {"%%": "\u2063"} | whole | {"%e": "26", "%k": " 0", "%l": "12"} | bare | spelt | {"\u2063": "%"}
    chain = "".join(f" | replace('{code}', '{text}')" for code, text in steps.items())
    return f"{{%- macro strftime_now(format) -%}}{{{{- format{chain} -}}}}{{%- endmacro %}}"


# The messages as a template is to get them: a system message in front of the first question, ...
_TEXT = "{m} if {m} is string else ({m} | map(attribute='text') | join(''))"
FOLD = (
    "{%- if messages and messages[0]['role'] == 'system' -%}"
    "{%- set sublim_told = messages[0]['content'] -%}"
    f"{{%- set sublim_told = {_TEXT.format(m='sublim_told')} -%}}"
    "{%- if messages | length > 1 and messages[1]['role'] == 'user' -%}"
    "{%- set sublim_asked = messages[1]['content'] -%}"
    "{%- if sublim_asked is string -%}{%- set sublim_asked = sublim_told + '\\n\\n' + sublim_asked -%}"
    "{%- else -%}{%- set sublim_asked = [{'type': 'text', 'text': sublim_told + '\\n\\n'}] + sublim_asked -%}"
    "{%- endif -%}"
    "{%- set messages = [{'role': 'user', 'content': sublim_asked}] + messages[2:] -%}"
    "{%- else -%}"
    "{%- set messages = [{'role': 'user', 'content': sublim_told}] + messages[1:] -%}"
    "{%- endif -%}"
    "{%- endif %}"
)
# ... plain text as the one part of a message, ...
PARTS = (
    "{%- set sublim_chat = namespace(messages=[]) -%}"
    "{%- for m in messages -%}"
    "{%- if m['content'] is string -%}"
    "{%- set m = dict(m, content=[{'type': 'text', 'text': m['content']}]) -%}"
    "{%- endif -%}"
    "{%- set sublim_chat.messages = sublim_chat.messages + [m] -%}"
    "{%- endfor -%}"
    "{%- set messages = sublim_chat.messages %}"
)
# ... an {empty} system message where there is none.
EMPTY = (
    "{{%- if not messages or messages[0]['role'] not in ['system', 'developer'] -%}}"
    "{{%- set messages = [{{'role': 'system', 'content': '{empty}'}}] + messages -%}}"
    "{{%- endif %}}"
)


def variables(template: str, whose: str) -> frozenset[str]:
    """Names that a template uses and does not set itself, strftime_now among them. whose: the model, for errors."""
    try:
        return frozenset(meta.find_undeclared_variables(environment().parse(template)))
    except (TemplateSyntaxError, RecursionError) as error:
        raise SublimError(
            f"The chat template of {whose!r} is no valid Jinja: {error}. "
            "Save another one as chat_template.jinja in its folder."
        ) from None
