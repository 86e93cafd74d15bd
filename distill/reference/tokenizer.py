"""The reference tokenizer: whole words, one token per number from 0 to 999, and exact decoding of any text.

Text is cut into words (with the space before them), numbers, separators and single signs. A piece in the
vocabulary is one token. Any other piece is spelled from what there is: shorter words, letters, or, beyond ASCII,
UTF-8 bytes. The Unigram model does this with scores that always prefer fewer tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import Unigram
from transformers import PreTrainedTokenizerFast

PIECES = Regex(r"</?answer>|[,;] (?=\d)|\d{1,3}| {4}| ?[A-Za-z]+(?:'[a-z]+)?| (?=\d)|\s| ?[^\sA-Za-z\d]")
PAD, END, BEGIN, UNKNOWN = "<|pad|>", "<|end|>", "<|begin|>", "<|unknown|>"
SPECIAL = (PAD, END, BEGIN, UNKNOWN, "<|system|>", "<|user|>", "<|assistant|>")

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('The reference chat has the roles system, user and assistant, not ' + message['role']) }}"
    "{% endif %}"
    "{{ '<|' + message['role'] + '|>' }}"
    "{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def pieces(text: str) -> list[str]:
    """The text cut into the pieces that may become whole tokens; joined, they are the text."""
    return [piece for piece, _ in _splitter().pre_tokenize_str(text)]


def build(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer whose vocabulary holds every piece of the texts; the same texts give the same vocabulary."""
    splitter = _splitter()
    words = {piece for text in texts for piece, _ in splitter.pre_tokenize_str(text)}
    signs = {chr(c) for c in range(32, 127)} | {"\n", "\t", ", ", "; "}
    byte_range = [*range(32), 127, *range(0x80, 0xC0), *range(0xC2, 0xF5)]
    known = dict.fromkeys([*map(str, range(1000)), *sorted({w for w in words if w.isascii()} | signs)])
    vocabulary = [(t, 0.0) for t in SPECIAL] + [(t, -1.0) for t in known] + [(f"<0x{b:02X}>", -9.0) for b in byte_range]
    core = Tokenizer(Unigram(vocabulary, unk_id=SPECIAL.index(UNKNOWN), byte_fallback=True))
    core.pre_tokenizer = splitter
    core.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    core.add_special_tokens(list(SPECIAL))
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=END,
        bos_token=BEGIN,
        unk_token=UNKNOWN,
        additional_special_tokens=list(SPECIAL[4:]),
        chat_template=CHAT_TEMPLATE.replace("{% generation %}", "").replace("{% endgeneration %}", ""),
        clean_up_tokenization_spaces=False,
        padding_side="left",
        model_max_length=2048,
        model_input_names=["input_ids", "attention_mask"],
    )


def turns(messages: Sequence[Mapping[str, str]]) -> Iterable[tuple[str, bool]]:
    """The rendered chat in spans, each with whether the assistant wrote it; joined, they are the template's text."""
    yield BEGIN, False
    for message in messages:
        yield f"<|{message['role']}|>", False
        yield message["content"] + END, message["role"] == "assistant"


def _splitter() -> pre_tokenizers.Split:
    return pre_tokenizers.Split(PIECES, behavior="isolated")
