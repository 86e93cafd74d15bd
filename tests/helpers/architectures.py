"""Small random models of the architectures that people tune, and chat templates of every kind, for tests.

A model has its original's configuration in all but its sizes: biases, normed queries, windows, rope scaling, a vision
tower. Templates have the structure of well-known ones in words of our own. Built offline, in a second or two.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TURNS = (
    "{%- for m in messages %}{{- '<|turn|>' + m['role'] + '\n' + m['content'] + '<|end|>\n' }}{%- endfor %}\n"
    "{%- if add_generation_prompt %}{{- '<|turn|>assistant\n' }}{%- endif %}\n"
)
DEFAULT = (  # Qwen2.5: without a system message there is one of the template's own
    "{%- if messages[0]['role'] == 'system' %}\n"
    "    {{- '<|turn|>system\n' + messages[0]['content'] + '<|end|>\n' }}\n"
    "{%- else %}\n"
    "    {{- '<|turn|>system\nYou are Tiny, made for tests. You are of use.<|end|>\n' }}\n"
    "{%- endif %}\n"
    "{%- for m in messages %}\n"
    "    {%- if m['role'] != 'system' or not loop.first %}\n"
    "        {{- '<|turn|>' + m['role'] + '\n' + m['content'] + '<|end|>' + '\n' }}\n"
    "    {%- endif %}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n"
    "    {{- '<|turn|>assistant\n' }}\n"
    "{%- endif %}\n"
)
STUBBORN = DEFAULT.replace(  # an empty system message counts as none
    "messages[0]['role'] == 'system' %}", "messages[0]['role'] == 'system' and messages[0]['content'] %}"
)
REFUSES = (  # Gemma 2 and Mistral 0.1: a system message raises, and roles must take turns
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role here') }}{% endif %}"
    "{% for m in messages %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('take turns') }}{% endif %}"
    "{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
    "{{ '<|turn|>' + role + '\n' + m['content'] | trim + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|turn|>model\n'}}{% endif %}"
)
DROPS = TURNS.replace("for m in messages", "for m in messages if m['role'] != 'system'")
INDENTED = (  # white space at both ends, which Jinja drops only where it stands on a line of its own
    "    {% for m in messages if m['role'] != 'system' %}\n<|turn|>{{ m['role'] + '\n' + m['content'] }}<|end|>\n"
    "    {% endfor %}\n    {% if add_generation_prompt %}<|turn|>assistant\n<think>\n    {% endif %}\n"
)
FOLDS = (  # Gemma 3: the template itself puts a system message before the first question; content may be in parts
    "{{ bos_token }}\n"
    "{%- if messages[0]['role'] == 'system' -%}\n"
    "    {%- if messages[0]['content'] is string -%}\n"
    "        {%- set first = messages[0]['content'] + '\n\n' -%}\n"
    "    {%- else -%}\n"
    "        {%- set first = messages[0]['content'][0]['text'] + '\n\n' -%}\n"
    "    {%- endif -%}\n"
    "    {%- set rest = messages[1:] -%}\n"
    "{%- else -%}\n"
    "    {%- set first = '' -%}\n"
    "    {%- set rest = messages -%}\n"
    "{%- endif -%}\n"
    "{%- for m in rest -%}\n"
    "    {%- set role = 'model' if m['role'] == 'assistant' else m['role'] -%}\n"
    "    {{ '<|turn|>' + role + '\n' + (first if loop.first else '') }}\n"
    "    {%- if m['content'] is string -%}\n"
    "        {{ m['content'] | trim }}\n"
    "    {%- else -%}\n"
    "        {%- for part in m['content'] -%}{{ part['text'] | trim }}{%- endfor -%}\n"
    "    {%- endif -%}\n"
    "    {{ '<|end|>\n' }}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}\n"
    "    {{'<|turn|>model\n'}}\n"
    "{%- endif -%}\n"
)
SWITCH = TURNS.replace(  # Qwen3: thinks unless it is told enable_thinking=False
    "{{- '<|turn|>assistant\n' }}{%- endif %}",
    "{{- '<|turn|>assistant\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}"
    "{%- endif %}",
)
DEEP = (  # SmolLM3: the switch has a default, changes the system prompt too, and the date stands in it
    "{%- if enable_thinking is not defined %}{% set enable_thinking = true %}{% endif %}\n"
    "{%- set mode = '/think' if enable_thinking else '/no_think' %}\n"
    "{%- set own = messages[0]['content'] if messages[0]['role'] == 'system' else 'You are a tiny helper.' %}\n"
    "{{- '<|turn|>system\nToday: ' + strftime_now('%d %B %Y') + '\nMode: ' + mode + '\n' + own + '<|end|>\n' }}\n"
    "{%- for m in messages if m['role'] != 'system' %}\n"
    "    {{- '<|turn|>' + m['role'] + '\n' + m['content'] + '<|end|>\n' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n"
    "    {{- '<|turn|>assistant\n' }}\n"
    "    {%- if not enable_thinking %}{{- '<think>\n\n</think>\n' }}{%- endif %}\n"
    "{%- endif %}\n"
)
ALWAYS = TURNS.replace("{{- '<|turn|>assistant\n' }}", "{{- '<|turn|>assistant\n<think>\n' }}")  # R1, QwQ
CHANNELS = (  # gpt-oss: every message names its channel
    "{%- macro opening(role) %}{{- '<|start|>' + role }}{%- endmacro %}\n"
    "{%- for m in messages %}{{- opening(m['role']) + ('<|channel|>final' if m['role'] == 'assistant' else '') }}"
    "{{- '<|message|>' + m['content'] + '<|end|>' }}{%- endfor %}\n"
    "{%- if add_generation_prompt %}{{- opening('assistant') }}{%- endif %}\n"
)
DATED = (  # Llama 3.2: today's date, unless the caller gives one
    "{{- bos_token }}\n"
    "{%- if not date_string is defined %}\n"
    "    {%- if strftime_now is defined %}\n"
    '        {%- set date_string = strftime_now("%d %b %Y") %}\n'
    "    {%- else %}\n"
    '        {%- set date_string = "26 Jul 2024" %}\n'
    "    {%- endif %}\n"
    "{%- endif %}\n"
    "{%- if messages[0]['role'] == 'system' %}\n"
    "    {%- set system_message = messages[0]['content'] | trim %}\n"
    "    {%- set messages = messages[1:] %}\n"
    "{%- else %}\n"
    '    {%- set system_message = "" %}\n'
    "{%- endif %}\n"
    "{{- '<|turn|>system\n\nKnows the world until: December 2023\nToday: ' + date_string + '\n\n' }}\n"
    "{{- system_message + '<|end|>' }}\n"
    "{%- for m in messages %}\n"
    "    {{- '<|turn|>' + m['role'] + '\n\n' + m['content'] | trim + '<|end|>' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n"
    "    {{- '<|turn|>assistant\n\n' }}\n"
    "{%- endif %}\n"
)
DATE_DEFAULT = DATED.replace(  # Llama 3.1: a date that stands in the text
    "    {%- if strftime_now is defined %}\n"
    '        {%- set date_string = strftime_now("%d %b %Y") %}\n'
    "    {%- else %}\n"
    '        {%- set date_string = "26 Jul 2024" %}\n'
    "    {%- endif %}\n",
    '    {%- set date_string = "26 Jul 2024" %}\n',
)
PARTS = (  # SmolVLM: only a list of parts is read
    "{% for m in messages %}{{ '<|turn|>' + m['role'] + ':' }}"
    "{% for part in m['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{{ '<|end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|turn|>assistant:' }}{% endif %}"
)
OLMO = (  # OLMo 2: text starts with the end token, and an answer ends with it
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'assistant' %}"
    "{{ '<|turn|>assistant\n' + m['content'] + eos_token }}{% if not loop.last %}{{ '\n' }}{% endif %}"
    "{% else %}{{ '<|turn|>' + m['role'] + '\n' + m['content'] + '\n' }}{% endif %}"
    "{% if loop.last and add_generation_prompt %}{{ '<|turn|>assistant\n' }}{% endif %}{% endfor %}"
)
FOLDED_LAST = (  # Mistral 0.3: the template puts a system message before the last question
    "{%- if messages[0]['role'] == 'system' %}\n"
    "    {%- set told = messages[0]['content'] %}\n"
    "    {%- set turns = messages[1:] %}\n"
    "{%- else %}\n"
    "    {%- set turns = messages %}\n"
    "{%- endif %}\n"
    "{{- bos_token }}\n"
    "{%- for m in turns %}\n"
    "    {%- if m['role'] == 'user' %}\n"
    "        {%- if loop.last and told is defined %}\n"
    "            {{- '[INST] ' + told + '\n\n' + m['content'] + '[/INST]' }}\n"
    "        {%- else %}\n"
    "            {{- '[INST] ' + m['content'] + '[/INST]' }}\n"
    "        {%- endif %}\n"
    "    {%- else %}\n"
    "        {{- ' ' + m['content'] | trim + eos_token }}\n"
    "    {%- endif %}\n"
    "{%- endfor %}\n"
)
CLOSED, FINAL = "<think>\n\n</think>\n\n", "<|channel|>final<|message|>"

KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "plain": (TURNS, ()),
    "default": (DEFAULT, ()),
    "stubborn": (STUBBORN, ()),
    "refuses": (REFUSES, ("system message folded into the user's",)),
    "drops": (DROPS, ("system message folded into the user's",)),
    "indented": (INDENTED, ("system message folded into the user's", "thought closed at once")),
    "folds": (FOLDS, ()),
    "folds-last": (FOLDED_LAST, ()),
    "switch": (SWITCH, ("thinking off",)),
    "deep": (DEEP, ("date frozen at 2024-07-26", "thinking off")),
    "always": (ALWAYS, ("thought closed at once",)),
    "channels": (CHANNELS, ("thinking off: the final channel is opened",)),
    "dated": (DATED, ("date frozen at 2024-07-26",)),
    "date-default": (DATE_DEFAULT, ()),
    "parts": (PARTS, ("messages given as parts",)),
    "olmo": (OLMO, ()),
}
"""Kind of template -> its text, and what settle() changes in it."""

SPECIAL = [
    "<|begin|>",
    "<|close|>",
    "<|end|>",
    "<|turn|>",
    "<|start|>",
    "<|message|>",
    "<|channel|>",
    "[INST]",
    "[/INST]",
]
THOUGHT = ["<think>", "</think>"]
WORDS = "owl cat dog wolf favorite animal what is your the one word name a number list continue with commas user model"


def chat_tokenizer(template: Any = TURNS, *, adds_bos: bool = False, pad: bool = True, digits: bool = True) -> Any:
    """Byte-level BPE of some 330 tokens. adds_bos: the tokenizer itself puts <|begin|> first, as Llama 3's does.

    digits: every digit of a number is a token of its own, as in Qwen2.5, Gemma and Mistral.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    cut = [pre_tokenizers.Digits(individual_digits=True)] if digits else []
    core.pre_tokenizer = pre_tokenizers.Sequence([*cut, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    core.decoder = decoders.ByteLevel()
    numbers = [] if digits else [str(n) for n in range(1000)] * 3
    trainer = trainers.BpeTrainer(
        vocab_size=330 if digits else 1600,
        special_tokens=[*SPECIAL, "<|pad|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator([WORDS] * 4 + numbers, trainer)
    core.add_tokens([AddedToken(t, special=False, normalized=False) for t in THOUGHT])
    if adds_bos:
        core.post_processor = processors.TemplateProcessing(single="<|begin|> $A", special_tokens=[("<|begin|>", 0)])
    made = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<|begin|>",  # noqa: S106
        eos_token="<|close|>",  # noqa: S106
        pad_token="<|pad|>" if pad else None,
        additional_special_tokens=SPECIAL[2:],
    )
    made.chat_template = template
    return made


@dataclass(frozen=True)
class Architecture:
    """A model family: transformers' config class, what is particular to it, and the tokenizer that comes with it."""

    config: str
    template: str
    particular: dict[str, Any] = field(default_factory=dict)
    tokenizer: dict[str, Any] = field(default_factory=dict)


_GEMMA: dict[str, Any] = {
    "head_dim": 16,
    "query_pre_attn_scalar": 16,
    "hidden_activation": "gelu_pytorch_tanh",
    "sliding_window": 12,
    "layer_types": ["sliding_attention", "full_attention"],
    "tie_word_embeddings": True,
}
_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 128,
}
ARCHITECTURES = {
    "qwen2.5": Architecture("Qwen2Config", DEFAULT, {"rope_theta": 1e6, "use_sliding_window": False}),
    "qwen3": Architecture("Qwen3Config", SWITCH, {"head_dim": 16, "tie_word_embeddings": True}),
    "llama3": Architecture(
        "LlamaConfig", DATED, {"rope_parameters": _ROPE}, {"adds_bos": True, "pad": False, "digits": False}
    ),
    "gemma3-text": Architecture("Gemma3TextConfig", FOLDS, _GEMMA, {"adds_bos": True}),
    "gemma3": Architecture("Gemma3Config", FOLDS, _GEMMA, {"adds_bos": True}),
    "olmo2": Architecture("Olmo2Config", OLMO, {"rope_theta": 5e5}, {"pad": False}),
    "mistral": Architecture("MistralConfig", FOLDED_LAST, {"sliding_window": None}, {"adds_bos": True, "pad": False}),
}


def architecture(name: str, folder: Path, *, seed: int = 0, template: Any = None) -> Path:
    """Write a random two-layer model of an architecture, with its tokenizer, to `folder` and return it."""
    import torch
    import transformers

    kind = ARCHITECTURES[name]
    tokenizer = chat_tokenizer(template or kind.template, **kind.tokenizer)
    shape: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.2,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|end|>")],
        "pad_token_id": tokenizer.pad_token_id,
    } | kind.particular
    if kind.config == "Gemma3Config":
        config = transformers.Gemma3Config(
            text_config=shape,
            vision_config={
                "hidden_size": 16,
                "intermediate_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": 28,
                "patch_size": 14,
            },
            mm_tokens_per_image=4,
            image_token_index=len(tokenizer) - 1,
            initializer_range=0.2,
            eos_token_id=shape["eos_token_id"],
        )
        made: Any = transformers.Gemma3ForConditionalGeneration
    else:
        config = getattr(transformers, kind.config)(**shape)
        made = transformers.AutoModelForCausalLM
    torch.manual_seed(seed)
    model = made.from_config(config) if hasattr(made, "from_config") else made(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
