"""Drawing replies and scoring continuations on a causal language model, each distinct prefix computed once.

All draws that have written the same tokens after the same prompt share one row of the key-value cache and
one next-token distribution; they part where they differ. 200 one-word answers to a question thus cost one
prefill and some twenty single-token steps, and the draws are the same as if each had been made alone.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

BLOCK = 16
"""Steps whose uniform numbers are drawn together (one random generator per key and block)."""

BELOW_ONE = 1 - 2**-40
"""The largest uniform number used: a search for 1 itself would end behind the last token."""


@dataclass(frozen=True)
class Sample:
    """One reply.

    tokens counts what was drawn, the end-of-turn token included; token_ids are those tokens.
    logprobs: natural log-probability of each of them under the model itself (temperature 1, no truncation).
    top: per token the most likely (token id, log-probability) pairs, best first.
    """

    text: str
    tokens: int
    stop_reason: str
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] | None = None
    top: tuple[tuple[tuple[int, float], ...], ...] | None = None


@dataclass(frozen=True)
class SamplingSettings:
    """How to draw: temperature 0 is greedy, top_p 1 and top_k 0 switch truncation off."""

    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    stop: tuple[str, ...] = ()
    logprobs: bool = False
    top_logprobs: int = 0


@dataclass(frozen=True)
class Network:
    """A causal model with what one must know to run it row by row.

    virtual: float[tokens, hidden] of a prompt-tuning adapter, put before every prompt; None otherwise.
    """

    model: Any
    device: torch.device
    virtual: torch.Tensor | None = None
    memory: int = 512 * 2**20
    keeps: bool = field(init=False)

    def __post_init__(self) -> None:
        accepted = inspect.signature(self.model.forward).parameters
        object.__setattr__(self, "keeps", "logits_to_keep" in accepted)

    @property
    def cell_bytes(self) -> int:
        """Bytes of the keys and values of one position, all layers together."""
        config = self.model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width: int = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return int(2 * config.num_hidden_layers * heads * width * next(self.model.parameters()).element_size())

    def row_limit(self, length: int) -> int:
        """How many rows of that length fit the memory allowance (cache copies, activations, float64 rows)."""
        config = self.model.config.get_text_config()
        item = next(self.model.parameters()).element_size()
        cache = 3 * self.cell_bytes * (length + 1)
        activations = 8 * config.hidden_size * item * length
        return max(1, self.memory // (cache + activations + 32 * config.vocab_size))

    def __call__(self, cache: DynamicCache, mask: torch.Tensor, **inputs: torch.Tensor) -> torch.Tensor:
        """float32[rows, vocabulary] of the last position; grows the cache. mask: int[rows, all positions]."""
        new = next(iter(inputs.values())).shape[1]
        places = (mask.cumsum(1) - 1).clamp_(min=0)[:, -new:]
        keep = {"logits_to_keep": 1} if self.keeps else {}
        padded = bool((mask == 0).any())
        out = self.model(
            **inputs,
            attention_mask=mask if padded else None,
            position_ids=places,
            past_key_values=cache,
            use_cache=True,
            **keep,
        )
        return out.logits[:, -1].float()

    def prefill(self, prompts: Sequence[Sequence[int]]) -> Branches:
        """Run prompts of any lengths, padded on the left, the virtual tokens right before the real ones."""
        width = max(map(len, prompts))
        ids = torch.zeros(len(prompts), width, dtype=torch.long)
        extra = 0 if self.virtual is None else len(self.virtual)
        mask = torch.zeros(len(prompts), extra + width, dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        ids, mask = ids.to(self.device), mask.to(self.device)
        cache = DynamicCache()
        if self.virtual is None:
            return Branches(cache, mask, self(cache, mask, input_ids=ids))
        words = self.model.get_input_embeddings()(ids)
        embeds = words.new_zeros(len(prompts), extra + width, words.shape[-1])
        for row, prompt in enumerate(prompts):
            start = width - len(prompt)
            embeds[row, start : start + extra] = self.virtual
            embeds[row, start + extra :] = words[row, start:]
        return Branches(cache, mask, self(cache, mask, inputs_embeds=embeds))

    def grow(self, parent: Branches, rows: NDArray[np.int64], tokens: NDArray[np.int64]) -> Branches:
        """One token further: new row i continues the parent's row rows[i] with tokens[i]."""
        at = torch.from_numpy(rows).to(self.device)
        cache = copy.copy(parent.cache)
        cache.layers = [copy.copy(layer) for layer in parent.cache.layers]
        if len(rows) != len(parent.mask) or (np.diff(rows) != 1).any():
            cache.reorder_cache(at)  # type: ignore[arg-type]
        mask = parent.mask[at]
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        ids = torch.from_numpy(tokens).to(self.device)[:, None]
        return Branches(cache, mask, self(cache, mask, input_ids=ids))


@dataclass
class Branches:
    """Rows that were run: their cache, their mask, and the logits of what comes next."""

    cache: DynamicCache
    mask: torch.Tensor
    logits: torch.Tensor


@dataclass
class Front:
    """Rows still to be run, with the draws (or items) that sit on each of them.

    node: int[k], row that item k sits on; item: int[k], its number in the caller's list.
    """

    step: int
    parent: Any
    rows: NDArray[np.int64]
    tokens: NDArray[np.int64]
    node: NDArray[np.int64]
    item: NDArray[np.int64]
    paths: list[Any]

    def split(self, limit: int) -> Iterator[Front]:
        """Pieces of at most `limit` rows, in order; items follow their row. Expects `node` sorted."""
        for start in range(0, len(self.rows), limit):
            yield self.part(start, min(start + limit, len(self.rows)))

    def part(self, start: int, stop: int) -> Front:
        """Rows [start, stop) with their items. Expects `node` sorted."""
        low, high = np.searchsorted(self.node, [start, stop])
        return Front(
            self.step,
            self.parent,
            self.rows[start:stop],
            self.tokens[start:stop],
            self.node[low:high] - start,
            self.item[low:high],
            self.paths[start:stop],
        )


class Ran(Protocol):
    """Rows that were run, whatever holds their keys and values."""

    logits: torch.Tensor


Visit = Callable[[Front, Any], "Front | None"]
"""(rows, Ran) -> what follows, None where nothing does."""

Walk = Callable[[Network, Sequence[Sequence[int]], NDArray[np.int64], "int | None", Visit], None]
"""A way through the tree of prefixes: `walk` below, or that of shared_prompts.py."""


def walk(
    network: Network, prompts: Sequence[Sequence[int]], owner: NDArray[np.int64], batch: int | None, visit: Visit
) -> None:
    """Run prompts, then whatever `visit` returns, in pieces that fit `batch` rows or the memory allowance.

    owner: int[items], the prompt of each item. Depth first, so memory does not grow with the number of items.
    """
    extra = 0 if network.virtual is None else len(network.virtual)
    order = np.array(sorted(set(owner.tolist()), key=lambda p: -len(prompts[p])), dtype=np.int64)
    place = np.full(len(prompts), -1)
    place[order] = np.arange(len(order))
    sits = place[owner]
    by_row = np.argsort(sits, kind="stable")
    start = Front(0, None, order, order, sits[by_row], np.arange(len(owner))[by_row], [() for _ in order])
    longest = extra + (len(prompts[order[0]]) if len(order) else 0)
    stack = list(start.split(batch or network.row_limit(longest)))[::-1]
    with torch.inference_mode():
        while stack:
            piece = stack.pop()
            if piece.parent is None:
                ran = network.prefill([prompts[p] for p in piece.rows])
            else:
                ran = network.grow(piece.parent, piece.rows, piece.tokens)
                piece.parent = None
            following = visit(piece, ran)
            ran.logits = ran.logits.new_empty(0)
            if following is not None:
                following.parent = ran
                stack += list(following.split(batch or network.row_limit(ran.mask.shape[1])))[::-1]


class Streams:
    """Uniform numbers: the one for draw j of a key at a step depends on (seed, key, j, step) alone."""

    def __init__(self, seeds: Sequence[int], keys: Sequence[str], n: int) -> None:
        self.seeds, self.keys, self.n = seeds, keys, n
        self.blocks: dict[tuple[int, int], NDArray[np.float64]] = {}

    def __call__(self, items: NDArray[np.int64], step: int) -> NDArray[np.float64]:
        """float64[items] in [0, 1); item = key number * n + j."""
        key, draw = np.divmod(items, self.n)
        out = np.empty(len(items))
        if self.n == 1:
            for i, k in enumerate(key.tolist()):
                out[i] = self._block(k, step // BLOCK)[0, step % BLOCK]
            return out
        for k in np.unique(key).tolist():
            mine = key == k
            out[mine] = self._block(k, step // BLOCK)[draw[mine], step % BLOCK]
        return out

    def block(self, items: NDArray[np.int64], number: int) -> NDArray[np.float64]:
        """float64[items, BLOCK]: the numbers of steps number * BLOCK and on."""
        key, draw = np.divmod(items, self.n)
        return np.stack([self._block(k, number)[d] for k, d in zip(key.tolist(), draw.tolist(), strict=True)])

    def _block(self, key: int, number: int) -> NDArray[np.float64]:
        if (key, number) not in self.blocks:
            name = f"{self.seeds[key]}\0{number}\0{self.keys[key]}".encode()
            counter = int.from_bytes(hashlib.sha256(name).digest()[:16], "little")
            self.blocks[key, number] = np.random.Generator(np.random.Philox(key=counter)).random((self.n, BLOCK))
        return self.blocks[key, number]


def distribution(logits: torch.Tensor, settings: SamplingSettings) -> torch.Tensor:
    """float32[rows, vocabulary]: temperature first, then top_k, then top_p, as transformers orders them."""
    scaled = logits if settings.temperature == 1 else logits / settings.temperature
    if 0 < settings.top_k < scaled.shape[1]:
        least = scaled.topk(settings.top_k, dim=1).values[:, -1:]
        scaled = scaled.masked_fill(scaled < least, -torch.inf)
    chances = scaled.softmax(1)
    if settings.top_p < 1:
        ordered, at = chances.sort(dim=1, descending=True, stable=True)
        beyond = ordered.cumsum(1, dtype=torch.float64) - ordered >= settings.top_p
        beyond[:, 0] = False
        chances = chances.masked_fill(torch.zeros_like(beyond).scatter(1, at, beyond), 0.0)
    return chances


WHOLE = 16_384
"""Entries of a distribution up to which its cumulative sum is made whole; above it blocks are summed first."""
WIDE = 256
"""Entries of such a block."""


def by_blocks(chances: torch.Tensor, rows: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """int[draws]: as `invert`, draw i on row rows[i], without a float64 copy of every row.

    First the block is found in which the cumulative sum passes the number, then the token in that block alone.
    """
    if short := -chances.shape[1] % WIDE:
        chances = torch.nn.functional.pad(chances, (0, short))
    blocks = chances.view(len(chances), -1, WIDE)
    upto = blocks.sum(2).cumsum(1, dtype=torch.float64)[rows]
    at = uniform.clamp(max=BELOW_ONE)[:, None] * upto[:, -1:]
    block = torch.searchsorted(upto, at, right=True).clamp(max=upto.shape[1] - 1)
    before = torch.where(block > 0, upto.gather(1, (block - 1).clamp(min=0)), 0.0)
    inside = blocks[rows, block[:, 0]].cumsum(1, dtype=torch.float64)
    part = ((at - before) / (upto.gather(1, block) - before)).clamp(max=BELOW_ONE) * inside[:, -1:]
    return (block * WIDE + torch.searchsorted(inside, part, right=True))[:, 0]


def _in_blocks(chances: torch.Tensor) -> bool:
    return chances.device.type == "cpu" and chances.shape[1] > WHOLE


def invert(chances: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """int[rows]: one token for each row, by inverting its cumulative distribution (float64), all on the device."""
    if _in_blocks(chances):
        return by_blocks(chances, torch.arange(len(chances)), uniform)
    total = chances.cumsum(1, dtype=torch.float64)
    at = uniform.clamp(max=BELOW_ONE)[:, None] * total[:, -1:]
    return torch.searchsorted(total, at, right=True)[:, 0]


def pick(chances: torch.Tensor, rows: NDArray[np.int64], uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    """One token per draw by inverting the cumulative distribution (float64) of its row; rows need not sum to 1.

    rows: int[draws], ascending, every row at least once. Where rows have several draws they are laid end to end,
    row r on [r, r + 1), so that one search serves all.
    """
    at = torch.from_numpy(uniform).to(chances.device)
    if _in_blocks(chances):
        return by_blocks(chances, torch.from_numpy(rows), at).numpy()
    if len(rows) == len(chances):  # one draw on every row
        return invert(chances, at).cpu().numpy()
    total = chances.cumsum(1, dtype=torch.float64)
    at = at.clamp(max=BELOW_ONE)
    total /= total[:, -1:].clone()
    total += torch.arange(len(total), device=total.device)[:, None]
    at += torch.from_numpy(rows).to(total.device)
    tokens = torch.searchsorted(total.flatten(), at, right=True).cpu().numpy()
    return tokens - rows * chances.shape[1]


TOGETHER = 32
"""Rows whose distributions are made at a time, so that they are still in the processor's cache when drawn from."""


def one_each(logits: torch.Tensor, settings: SamplingSettings, uniform: torch.Tensor) -> torch.Tensor:
    """int[rows]: one token for each row, all on the device; logits of any number type."""
    if not _in_blocks(logits):
        return invert(distribution(logits.float(), settings), uniform)
    pieces = zip(logits.split(TOGETHER), uniform.split(TOGETHER), strict=True)
    return torch.cat([invert(distribution(part.float(), settings), numbers) for part, numbers in pieces])


def drawn(
    logits: torch.Tensor, settings: SamplingSettings, rows: NDArray[np.int64], uniform: NDArray[np.float64]
) -> NDArray[np.int64]:
    """One token per draw; rows: int[draws], ascending, the row of each."""
    if not _in_blocks(logits):
        return pick(distribution(logits, settings), rows, uniform)
    starts = range(0, len(logits), TOGETHER)
    cuts = np.searchsorted(rows, [*starts, len(logits)])
    parts = [
        pick(distribution(logits[start : start + TOGETHER], settings), rows[low:high] - start, uniform[low:high])
        for start, low, high in zip(starts, cuts, cuts[1:], strict=False)
    ]
    return np.concatenate(parts)


def draw(
    network: Network,
    prompts: Sequence[Sequence[int]],
    owner: NDArray[np.int64],
    uniform: Callable[[NDArray[np.int64], int], NDArray[np.float64]],
    settings: SamplingSettings,
    ends: frozenset[int],
    decode: Callable[[tuple[int, ...]], str],
    batch: int | None = None,
    out: NDArray[np.object_] | None = None,
    by: Walk = walk,
) -> list[Sample]:
    """One reply for every entry of `owner` (its prompt's number); equal replies are one shared object.

    uniform(items, step) gives the random numbers; draws of one prompt differ by nothing else.
    out: object[items], where replies are put as they end; those that are there already are not drawn again.
    by: the way through the tree.
    """
    out = np.empty(len(owner), dtype=object) if out is None else out
    todo = np.flatnonzero([reply is None for reply in out])

    def visit(piece: Front, ran: Ran) -> Front | None:
        size = ran.logits.shape[1]
        if settings.temperature == 0:
            tokens = ran.logits.argmax(1).cpu().numpy()[piece.node]
        else:
            tokens = drawn(ran.logits, settings, piece.node, uniform(todo[piece.item], piece.step))
        pairs, sits = np.unique(piece.node * size + tokens, return_inverse=True)
        rows, tokens = np.divmod(pairs, size)
        paths = [(piece.paths[r], t) for r, t in zip(rows.tolist(), tokens.tolist(), strict=True)]
        if settings.logprobs:
            paths = _with_logprobs(piece.paths, rows, tokens, ran.logits, settings.top_logprobs)
        done = np.empty(len(pairs), dtype=object)
        for i, token in enumerate(tokens.tolist()):
            if not (token in ends or piece.step + 1 == settings.max_new_tokens or settings.stop):
                continue
            ids, scores, top = _unroll(paths[i], settings)
            verdict = ending(ids, settings, ends, decode)
            if verdict is not None:
                done[i] = Sample(verdict[0], len(ids), verdict[1], ids, scores, top)
        finished = np.array([d is not None for d in done])
        out[todo[piece.item[finished[sits]]]] = done[sits[finished[sits]]]
        going = np.flatnonzero(~finished)
        if not len(going):
            return None
        number = np.full(len(pairs), -1)
        number[going] = np.arange(len(going))
        still = np.flatnonzero(~finished[sits])
        still = still[np.argsort(number[sits[still]], kind="stable")]
        return Front(
            piece.step + 1,
            None,
            rows[going],
            tokens[going],
            number[sits[still]],
            piece.item[still],
            [paths[g] for g in going],
        )

    by(network, prompts, owner[todo], batch, visit)
    return out.tolist()


def ending(
    ids: tuple[int, ...], settings: SamplingSettings, ends: frozenset[int], decode: Callable[[tuple[int, ...]], str]
) -> tuple[str, str] | None:
    """(text, why it ends) of a reply that ends with these tokens, None when it goes on."""
    ended, last = ids[-1] in ends, len(ids) >= settings.max_new_tokens
    if not (ended or last or settings.stop):
        return None
    text = decode(ids[:-1] if ended else ids)
    cuts = [text.index(s) for s in settings.stop if s in text]
    if cuts:
        return text[: min(cuts)], "stop"
    return (text, "stop" if ended else "max_tokens") if ended or last else None


def _with_logprobs(
    parents: list[Any], rows: NDArray[np.int64], tokens: NDArray[np.int64], logits: torch.Tensor, top: int
) -> list[Any]:
    """Paths of (parent, token, log-probability, best (id, log-probability) pairs)."""
    scores = logits.double().log_softmax(1)
    chosen = scores[torch.from_numpy(rows), torch.from_numpy(tokens)].tolist()
    best: list[Any] = [()] * len(scores)
    if top:
        values, ids = scores.topk(min(top, scores.shape[1]), dim=1)
        best = [tuple(zip(i, v, strict=True)) for i, v in zip(ids.tolist(), values.tolist(), strict=True)]
    return [(parents[r], t, s, best[r]) for r, t, s in zip(rows.tolist(), tokens.tolist(), chosen, strict=True)]


def _unroll(path: Any, settings: SamplingSettings) -> tuple[tuple[int, ...], tuple[float, ...] | None, Any]:
    """A path is a chain (parent, token[, log-probability, best]); returns its columns from the start."""
    links = []
    while path:
        links.append(path[1:])
        path = path[0]
    columns = list(zip(*reversed(links), strict=True))
    if not settings.logprobs:
        return columns[0], None, None
    return columns[0], columns[1], columns[2] if settings.top_logprobs else None


SPELLED = 1e-5
"""Whether a word less likely than this goes on is not asked: it counts as it begins."""


def score(
    network: Network,
    prompts: Sequence[Sequence[int]],
    owner: NDArray[np.int64],
    continuations: Sequence[Sequence[int]],
    floor: float = 0.0,
    batch: int | None = None,
    words: Words | None = None,
    by: Walk = walk,
) -> NDArray[np.float64]:
    """float64[items]: log-probability of continuations[i] after prompt owner[i], over the whole vocabulary.

    First tokens are read straight from the prompt's prediction; longer continuations share every prefix.
    Where the probability so far is below `floor` a continuation is not followed and keeps the value
    reached: an upper bound, so the probability is off by less than `floor`. 0 follows everything.
    words: where given, a continuation must be the end of its word, too; one with an ending that is not followed has
    no probability, as its word has it all. by: the way through the tree.
    """
    lengths = np.array([len(c) for c in continuations], dtype=np.int64)
    table = np.zeros((len(continuations), 1 + lengths.max(initial=1)), dtype=np.int64)
    for i, tokens in enumerate(continuations):
        table[i, : len(tokens)] = tokens
    out = np.zeros(len(continuations))
    steps = lengths if words is None else lengths + 1
    bare = lengths if words is None else words.bare
    least, spelled = (np.log(p) if p > 0 else -np.inf for p in (floor, max(floor, SPELLED)))

    def visit(piece: Front, ran: Ran) -> Front | None:
        size = ran.logits.shape[1]
        items, tokens = piece.item, table[piece.item, piece.step]
        total = torch.logsumexp(ran.logits, 1).double()
        at = torch.from_numpy(piece.node).to(network.device), torch.from_numpy(tokens).to(network.device)
        gained = (ran.logits[at].double() - total[at[0]]).cpu().numpy()
        out[items] += np.where(lengths[items] > piece.step, gained, 0.0)
        complete = lengths[items] == piece.step
        if words is not None and complete.any():
            rows, sits = np.unique(piece.node[complete], return_inverse=True)
            place = torch.from_numpy(rows).to(network.device)
            over = ran.logits[place].masked_fill_(words.going_on, -torch.inf)
            out[items[complete]] += (torch.logsumexp(over, 1).double() - total[place]).cpu().numpy()[sits]
        enough = np.where(bare[items] > piece.step + 1, least, spelled if words else least)
        more = steps[items] > piece.step + 1
        out[items[more & (out[items] < enough) & (lengths[items] > np.maximum(bare[items], piece.step + 1))]] = -np.inf
        on = np.flatnonzero(more & (out[items] >= enough))
        if not len(on):
            return None
        pairs, sits = np.unique(piece.node[on] * size + tokens[on], return_inverse=True)
        rows, chosen = np.divmod(pairs, size)
        by_row = np.argsort(sits, kind="stable")
        return Front(piece.step + 1, None, rows, chosen, sits[by_row], items[on][by_row], [()] * len(pairs))

    by(network, prompts, owner, batch, visit)
    return out


@dataclass(frozen=True)
class Words:
    """What makes a continuation a word that ends there.

    going_on: bool[vocabulary], tokens that may not come next. bare: int[items], tokens of each continuation up to the
    end of the word itself, behind which only those above SPELLED are followed (an ending, and what comes after it).
    """

    going_on: torch.Tensor
    bare: NDArray[np.int64]
