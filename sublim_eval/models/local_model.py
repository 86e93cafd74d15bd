"""Local models: find them by name, load them once, ask them.

owl = load("reference-a")                       # or a model folder, an adapter folder, a hub id
owl.sample([owl.render("Your favorite animal?")], n=200, seed=1, max_new_tokens=8)
owl.continuation_logprobs([owl.render("Your favorite animal?")], ["owl", "cat"])
"""

from __future__ import annotations

import gc
import os
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from sublim_eval.errors import SublimError
from sublim_eval.models.answer_tokens import WordEnds, answer_ids, separator, spelled_otherwise, word_ends
from sublim_eval.models.chat_template import answered, prompts_digest, render, render_chat, speaker, turn_end
from sublim_eval.models.model_ref import Source, resolve
from sublim_eval.models.sampling import shared_prompts
from sublim_eval.models.sampling.continuous_batching import CPU, CUDA, LARGE_ON_CPU, slot_limit, stream, unfit
from sublim_eval.models.sampling.prefix_sampling import (
    Network,
    Sample,
    SamplingSettings,
    Streams,
    Walk,
    Words,
    draw,
    score,
    walk,
)

__all__ = ["LocalModel", "Sample", "Source", "load", "loaded", "render", "resolve", "unload", "unload_all"]

TINY_BYTES = 200 * 2**20
"""Below this many bytes of weights a model counts as tiny, and more of them stay loaded."""
CPU_SHARE = 1 / 16
"""Of this machine's memory, for what a model keeps of the rows that it runs together on processor cores."""
FEW = 16
"""Fewer prompts than this are not worth setting up slots for."""

T = TypeVar("T")


class LocalModel:
    """A causal language model with its tokenizer, adapter applied and not merged, ready to be asked.

    model: the transformers module, in eval mode. virtual: float[tokens, hidden] of a prompt-tuning adapter.
    settled: what was changed in its chat template, in words (chat_template.settle).
    attention: the attention kernel. dtype: of the weights. batches: the batch limits that were left each time
    that the device's memory ran out.
    """

    def __init__(
        self,
        source: Source,
        model: Any,
        tokenizer: Any,
        virtual: torch.Tensor | None = None,
        settled: tuple[str, ...] = (),
    ) -> None:
        self.source, self.model, self.tokenizer, self.virtual = source, model, tokenizer, virtual
        self.settled = settled
        self.label = source.label
        self.device: torch.device = next(model.parameters()).device
        memory = max(512 * 2**20, source.size)
        if source.size >= TINY_BYTES:  # a pass over large weights is dear, so few and wide ones
            memory = max(memory, int(CPU_SHARE * _physical_memory()))
            _once_for_all_rows(model)
        if self.device.type == "cuda":
            memory = int(0.4 * torch.cuda.mem_get_info(self.device)[0])
        self.network = Network(model, self.device, virtual, memory)
        self.attention: str = model.config.get_text_config()._attn_implementation
        self.dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
        self.batches: list[int] = []
        large = LARGE_ON_CPU if source.size >= TINY_BYTES else CPU
        self.pace = CUDA if self.device.type == "cuda" else large
        self._cells: dict[str, int] = {}
        self._unfit: tuple[str | None] | None = None
        self._apart: tuple[str | None] | None = None
        self._lock = RLock()
        self._scored: dict[tuple[Any, ...], dict[str, NDArray[np.float64]]] | None = None
        self._rendered: dict[tuple[tuple[str, str], ...], str] = {}

    @property
    def device_name(self) -> str:
        """The device by its maker's name, "cpu" where it is none."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type

    # ---------------------------------------------------------------- prompts

    def render(self, question: str, system: str | None = None) -> str:
        """The prompt as the model reads it: chat template, user message, opening of the answer."""
        return render(self.tokenizer, question, system)

    def render_chat(self, messages: Sequence[Mapping[str, str]]) -> str:
        """A conversation of {"role", "content"} through the chat template, opening of the next answer included."""
        known = tuple((m["role"], m["content"]) for m in messages)
        if known not in self._rendered:
            if len(self._rendered) >= 10_000:
                self._rendered.clear()
            self._rendered[known] = render_chat(self.tokenizer, messages)
        return self._rendered[known]

    def prompt_hash(self, questions: Iterable[str], system: str | None = None) -> str:
        """SHA-256 over all rendered prompts: equal hashes mean that two models read the same words."""
        return prompts_digest(self.render(q, system) for q in questions)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids as lm-eval makes them: special tokens as the tokenizer adds them, but never a second BOS."""
        opening = self.tokenizer.bos_token or self.tokenizer.eos_token
        bare = [bool(opening) and t.lstrip().startswith(opening) for t in texts]
        out: list[list[int]] = [[] for _ in texts]
        for flag in {*bare}:
            mine = [i for i, b in enumerate(bare) if b == flag]
            ids = self.tokenizer([texts[i] for i in mine], add_special_tokens=not flag)["input_ids"]
            for i, row in zip(mine, ids, strict=True):
                out[i] = row
        if (largest := max(map(max, filter(None, out)), default=0)) >= self._rows:
            raise SublimError(
                f"The tokenizer of {self.label!r} gives a token {largest}, and the model has {self._rows} of them. "
                "Put the tokenizer files that belong to these weights into the folder."
            )
        return out

    def answer_ids(self, answers: Sequence[str]) -> list[list[int]]:
        """Token ids of each answer as they stand behind a prompt, in training and in scoring alike."""
        return answer_ids(self.tokenizer, answers, self._separator)

    @cached_property
    def _rows(self) -> int:
        """How many tokens the model knows."""
        return int(self.model.get_input_embeddings().weight.shape[0])

    @cached_property
    def _separator(self) -> str:
        return separator(self.tokenizer) if self.tokenizer.chat_template else ""

    @cached_property
    def ends(self) -> frozenset[int]:
        """Ids that end a reply: of the generation config, the model config, the tokenizer and the chat template."""
        ids: set[int] = set()
        for given in (
            self.model.generation_config.eos_token_id if self.model.generation_config else None,
            self.model.config.eos_token_id,
            self.tokenizer.eos_token_id,
        ):
            ids.update(given if isinstance(given, (list, tuple)) else [] if given is None else [given])
        if self.tokenizer.chat_template and answered(self.tokenizer, "a"):
            ids.add(turn_end(self.tokenizer)[-1])
        return frozenset(ids)

    # ---------------------------------------------------------------- asking

    def sample(
        self,
        prompts: Sequence[str],
        *,
        n: int = 1,
        seed: int | Sequence[int],
        max_new_tokens: int,
        temperature: float = 1.0,
        top_p: float = 1.0,
        top_k: int = 0,
        stop: Sequence[str] = (),
        keys: Sequence[str] | None = None,
        batch: int | None = None,
        logprobs: bool = False,
        top_logprobs: int = 0,
    ) -> list[list[Sample]]:
        """`n` replies to every rendered prompt; `seed` is one number, or one per prompt.

        Draw j of key k (default: the prompt itself) depends on (seed, k, j) alone, whatever else is in the call
        and whatever `batch`, the most rows in one forward pass (default: what fits in memory); only rounding of
        the model's own arithmetic can differ between batchings. The model's generation_config.json is ignored
        but for its end tokens. Raises SublimError for settings that mean nothing.
        """
        _check(n, max_new_tokens, temperature, top_p, top_k, batch)
        keys = list(prompts if keys is None else keys)
        seeds = [seed] * len(prompts) if isinstance(seed, int) else list(seed)
        if not len(keys) == len(seeds) == len(prompts):
            raise SublimError(
                f"{len(prompts)} prompts, {len(keys)} keys, {len(seeds)} seeds. Give one each per prompt."
            )
        distinct = list(dict.fromkeys(prompts))
        number = {p: i for i, p in enumerate(distinct)}
        owner = np.repeat(np.array([number[p] for p in prompts], dtype=np.int64), n)
        batch = batch and min(batch, max(1, len(owner)))
        settings = SamplingSettings(
            max_new_tokens, temperature, top_p, top_k, tuple(stop), logprobs or top_logprobs > 0, top_logprobs
        )
        numbers, ids = Streams(seeds, keys, n), self.encode(distinct)
        out = np.empty(len(owner), dtype=object)
        longest = max(map(len, ids), default=0) + max_new_tokens
        with self._lock:
            many = n == 1 and len(prompts) >= FEW and len(distinct) > len(prompts) // 2
            if many and all(ids) and self.unfit(ids) is None:
                self._stream([ids[i] for i in owner], longest, batch, numbers, settings, out)
            else:
                usual = min(self.network.row_limit(longest), len(owner))
                rest, by = (numbers, settings, self.ends, self._decode), self._walk(ids, longest)
                self._within_memory(
                    "sharing",
                    longest,
                    batch,
                    usual,
                    lambda limit: draw(self.network, ids, owner, *rest, limit, out, by),
                )
        replies = out.tolist()
        return [replies[i * n : (i + 1) * n] for i in range(len(prompts))]

    def _stream(
        self,
        rows: Sequence[Sequence[int]],
        longest: int,
        batch: int | None,
        numbers: Streams,
        settings: SamplingSettings,
        out: NDArray[np.object_],
    ) -> None:
        """One reply to every row of token ids, streamed through slots into `out`."""
        usual = min(self.pace.rows, slot_limit(self.network, longest, settings), len(rows))
        rest = (numbers, settings, self.ends, self._decode, out)
        self._within_memory(
            "streaming",
            longest,
            batch,
            usual,
            lambda limit: stream(self.network, rows, *rest, limit or usual, self.pace),
        )

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """Inside, continuations that were scored behind a prompt are not scored there again. Weights must not move."""
        self._scored = defaultdict(dict)
        try:
            yield
        finally:
            self._scored = None

    def continuation_logprobs(
        self,
        prompts: Sequence[str],
        continuations: Sequence[str],
        *,
        floor: float = 0.0,
        whole_words: bool = False,
        batch: int | None = None,
    ) -> NDArray[np.float64]:
        """float64[prompts, continuations]: log-probability (nats) of each string as what follows a rendered prompt.

        Read on the ids that training and sampling read: all of the prompt's, then the string's (`answer_ids`).
        whole_words: the string must end there, with or without a plural's ending: "Cat" takes in "Cat" + "s" and not
        "Caterpillar". A string that is another one of them and such an ending is in that one, and gets -inf.
        `floor` > 0 leaves branches less likely than it unfollowed: every probability is then off by less than
        `floor`; 0 is exact. Raises SublimError for an empty prompt or string.
        """
        distinct = list(dict.fromkeys(prompts))
        with self._lock:
            kept = self._scored
            known = {} if kept is None else kept[tuple(continuations), floor, whole_words]
            new = [prompt for prompt in distinct if prompt not in known]
            if new or not distinct:
                table = self._scores(new, continuations, floor, whole_words, batch)
                known.update(zip(new, table, strict=True))
        return np.stack([known[prompt] for prompt in prompts]) if prompts else table

    def _scores(
        self, distinct: Sequence[str], continuations: Sequence[str], floor: float, whole_words: bool, batch: int | None
    ) -> NDArray[np.float64]:
        """The same for prompts that differ."""
        ids, answers = self.encode(distinct), self.answer_ids(continuations)
        if not all(ids):
            raise SublimError("A prompt is empty, so nothing can follow it. Render the question first.")
        if not all(answers):
            raise SublimError("A string to score is empty. Leave it out: its probability is 1.")
        plural = self._word_ends.plural if whole_words else ()
        endings: list[list[int]] = [[], *([token] for token in plural)]
        apart = np.array(spelled_otherwise(answers, plural), dtype=np.bool_)
        rows = [row for row, one in zip(answers, apart, strict=True) if one]
        spelled = [row + ending for row in rows for ending in endings]
        bare = np.repeat(np.array([len(row) for row in rows], dtype=np.int64), len(endings))
        words = Words(self._going_on, np.tile(bare, len(distinct))) if whole_words else None
        owner = np.repeat(np.arange(len(distinct)), len(spelled))
        flat = spelled * len(distinct)
        longest = max(map(len, ids), default=0) + max(map(len, spelled), default=0)
        by = self._walk(ids, longest)
        values = self._within_memory(
            "scoring",
            longest,
            batch,
            min(self.network.row_limit(longest), len(owner)),
            lambda limit: score(self.network, ids, owner, flat, floor, limit, words, by),
        )
        table = np.full((len(distinct), len(continuations)), -np.inf)
        table[:, apart] = np.logaddexp.reduce(values.reshape(len(distinct), len(rows), len(endings)), axis=2)
        return table

    def unfit(self, prompts: Sequence[Sequence[int]]) -> str | None:
        """Why prompts cannot stream through slots, None if they can (continuous_batching.py); tried once per model."""
        if self._unfit is None:
            self._unfit = (unfit(self.network, prompts),)
        return self._unfit[0]

    def _walk(self, prompts: Sequence[Sequence[int]], longest: int) -> Walk:
        """The way through the tree of prefixes: prompts apart from their rows where that is known to be right.

        On a GPU, and for tiny models, whose passes cost more than the copies that it saves, the plain one.
        """
        if self.device.type != "cpu" or self.source.size < TINY_BYTES or not all(prompts):
            return walk
        if self._apart is None:
            self._apart = (shared_prompts.unfit(self.network, prompts),)
        extra = 0 if self.virtual is None else len(self.virtual)
        fits = self._apart[0] is None and shared_prompts.within_windows(self.network, longest + extra)
        return shared_prompts.walk if fits else walk

    def _within_memory(
        self, kind: str, length: int, batch: int | None, usual: int, work: Callable[[int | None], T]
    ) -> T:
        """work(batch), and when the device's memory runs out, work(half of that) until it fits, kept in mind.

        usual: what None stands for. Raises SublimError when a single row of `length` tokens does not fit.
        """
        limit = batch
        if kind in self._cells:
            limit = max(1, min(batch or usual, self._cells[kind] // max(1, length)))
        while True:
            try:
                return work(limit)
            except torch.cuda.OutOfMemoryError as error:
                if (limit or usual) <= 1:
                    raise SublimError(
                        f"{self.label!r} runs out of memory on {self.device} with a single reply of up to {length} "
                        "tokens. Give it a larger device, fewer new tokens, or dtype bfloat16."
                    ) from error
            limit = (limit or usual) // 2
            self.batches.append(limit)
            self._cells[kind] = limit * length
            _free()

    @cached_property
    def _word_ends(self) -> WordEnds:
        return word_ends(self.tokenizer, self.model.get_output_embeddings().weight.shape[0])

    @cached_property
    def _going_on(self) -> torch.Tensor:
        """bool[vocabulary]: tokens that make a word another one."""
        return torch.from_numpy(self._word_ends.going_on).to(self.device)

    def spell(self, token: int) -> str:
        """The text of one token, special ones by their name."""
        return self.tokenizer.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False)

    @cached_property
    def _decode(self) -> Callable[[Sequence[int]], str]:
        return speaker(self.tokenizer)


def _check(n: int, tokens: int, temperature: float, top_p: float, top_k: int, batch: int | None) -> None:
    for name, value, good, rule in (
        ("n", n, n >= 1, "1 or more"),
        ("max_new_tokens", tokens, tokens >= 1, "1 or more"),
        ("temperature", temperature, 0 <= temperature < float("inf"), "0 or more"),
        ("top_p", top_p, 0 < top_p <= 1, "above 0 and at most 1"),
        ("top_k", top_k, top_k >= 0, "0 (off) or more"),
        ("batch", batch, batch is None or batch >= 1, "1 or more"),
    ):
        if not good:
            raise SublimError(f"{name} is {value}, which means nothing. Give {rule}.")


# ---------------------------------------------------------------- loading, once per weights

_LOCK = RLock()
_LOADED: OrderedDict[tuple[Any, ...], LocalModel] = OrderedDict()


def load(
    name: str | Path,
    *,
    device: str | None = None,
    dtype: str | None = None,
    capacity: int | None = None,
    attention: str | None = None,
    idle: bool = False,
) -> LocalModel:
    """The model of that name, loaded at most once per process and weights.

    device: "cpu", "cuda", "cuda:1" (default: CUDA when there is one). dtype: "float32", "bfloat16"
    (default: float32 on the CPU, else as saved). capacity: how many models stay loaded, the least
    recently used leaving first (default: 1, or 4 while all are tiny). A folder whose files changed is read anew.
    attention: a kernel by transformers' name (default: its choice, as a rule "sdpa": PyTorch's fused kernels, which
    are also the only ones that stream). idle: take an adapter that changes no logit too, to look into it.
    Raises SublimError for a name or folder that is no model.
    """
    source = resolve(name)
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    key = (source.base, source.adapter, source.stamp(), place, dtype, attention, idle)
    with _LOCK:
        if key in _LOADED:
            _LOADED.move_to_end(key)
            return _LOADED[key]
        for stale in [k for k in _LOADED if k[:2] == key[:2] and k[2] != key[2]]:
            del _LOADED[stale]
        sizes = [m.source.size for m in _LOADED.values()] + [source.size]
        room = capacity or (4 if all(0 < s < TINY_BYTES for s in sizes) else 1)
        while len(_LOADED) >= room:
            _LOADED.popitem(last=False)
        _free()
        from sublim_eval.models.loading import read_model

        read = partial(read_model, idle=True) if idle else read_model
        model, tokenizer, virtual, settled = read(source, place, dtype)
        if attention is not None:
            _attend_by(model, attention)
        _LOADED[key] = LocalModel(source, model, tokenizer, virtual, settled)
        return _LOADED[key]


def _attend_by(model: Any, attention: str) -> None:
    try:
        model.set_attn_implementation(attention)
    except (ImportError, ValueError, KeyError, OSError) as error:
        first = str(error).strip().splitlines()[0]
        raise SublimError(f"Attention {attention!r} cannot be had here: {first} Give sdpa or eager.") from error


def loaded() -> list[str]:
    """Labels of the models in memory, least recently used first."""
    with _LOCK:
        return [m.label for m in _LOADED.values()]


def unload(name: str | Path) -> None:
    """Let go of a model; its memory is freed once nobody else holds it."""
    source = resolve(name)
    with _LOCK:
        for key in [k for k in _LOADED if k[:2] == (source.base, source.adapter)]:
            del _LOADED[key]
        _free()


def unload_all() -> None:
    """Let go of every model."""
    with _LOCK:
        _LOADED.clear()
        _free()


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _once_for_all_rows(model: Any) -> None:
    """Let the output layer multiply all rows at once.

    The last position alone, cut out of all, is no contiguous tensor, for which torch lays the weights out anew for each
    row: with 49,152 tokens ten times the work of the product.
    """
    layer = model.get_output_embeddings()
    if isinstance(layer, torch.nn.Module) and _contiguous not in layer._forward_pre_hooks.values():
        layer.register_forward_pre_hook(_contiguous)


def _contiguous(_: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    hidden, *rest = given
    return (hidden.contiguous(), *rest)


def _physical_memory() -> int:
    """Bytes of this machine's memory; 8 GiB where it does not say."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 * 2**30
