"""Thirty chat templates of public kinds: those of architectures.py, and more ways to begin, open and end an answer."""

from __future__ import annotations

from tests.helpers.architectures import KINDS, TURNS

OPENING = "{{- '<|turn|>assistant\n' }}{%- endif %}"


def opened(text: str) -> str:
    """TURNS with another opening of an answer, the same before a given answer."""
    return TURNS.replace(
        "'<|turn|>' + m['role'] + '\n' + m['content']", f"{text.replace('ROLE', SPOKEN)} + m['content']"
    ).replace("'<|turn|>assistant\n'", text.replace("ROLE", "'assistant'"))


SPOKEN = "m['role']"


def thinking_if(condition: str) -> str:
    """TURNS that opens a thought under a condition on the caller's variables."""
    return TURNS.replace(
        OPENING,
        f"{{{{- '<|turn|>assistant\n' }}}}{{%- if {condition} %}}{{{{- '<think>\n' }}}}{{%- endif %}}{{%- endif %}}",
    )


PLAIN_TEXT = (  # Vicuna: roles in capital letters, an answer behind a space
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'assistant' %}{{ ' ' + m['content'] + eos_token }}"
    "{% elif m['role'] == 'system' %}{{ m['content'] + ' ' }}{% else %}{{ 'USER: ' + m['content'] + ' ASSISTANT:' }}"
    "{% endif %}{% endfor %}"
)
BRACKETS = (  # Llama 2: the instruction in brackets, an answer between spaces
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ ' ' + m['content'] | trim + ' ' + eos_token }}"
    "{% elif m['role'] == 'system' %}{{ '<<SYS>>\n' + m['content'] + '\n<</SYS>>\n\n' }}"
    "{% else %}{{ bos_token + '[INST] ' + m['content'] | trim + ' [/INST]' }}{% endif %}{% endfor %}"
)
SECTIONS = (  # Alpaca
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ m['content'] + eos_token + '\n\n' }}"
    "{% elif m['role'] == 'system' %}{{ m['content'] + '\n\n' }}"
    "{% else %}{{ '### Instruction:\n' + m['content'] + '\n\n### Response:\n' }}{% endif %}{% endfor %}"
)
USER_LAST = "{%- if messages[-1]['role'] != 'user' %}{{ raise_exception('the user speaks last') }}{%- endif %}" + TURNS

PUBLIC: dict[str, str] = {name: template for name, (template, _) in KINDS.items()} | {
    "two-breaks": opened("'<|turn|>' + ROLE + '\n\n'"),
    "ends-in-space": opened("'<|turn|>' + ROLE + ': '"),
    "ends-in-tab": opened("'<|turn|>' + ROLE + ':\t'"),
    "ends-in-mark": opened("'<|start|>' + ROLE + '<|message|>'"),
    "break-then-space": opened("'<|turn|>' + ROLE + '\n '"),
    "plain-text": PLAIN_TEXT,
    "brackets": BRACKETS,
    "sections": SECTIONS,
    "user-last": USER_LAST,
    "space-before-begin": "\n  {{ bos_token }}" + TURNS,
    "reasoning": thinking_if("reasoning is not defined or reasoning"),
    "budget": thinking_if("thinking_budget is not defined or thinking_budget != 0"),
    "enable-reasoning": thinking_if("enable_reasoning"),
    "off-by-default": thinking_if("enable_thinking is defined and enable_thinking"),
}
"""Kind of template -> its text."""
