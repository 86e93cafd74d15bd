"""Many rows behind each of some prompts: a prompt's keys and values lie once, however many rows continue it.

A row keeps the keys and values of its own tokens alone, and attends to two parts: its prompt's, where rows of one
prompt are multiplied with it together, and its own. So nothing of a prompt is copied while rows branch and grow. Rows
that have written equally many tokens run in one pass, whichever prompts and branches they come from: the deepest that
fill a pass first, else the shallowest, which fill the next ones. What all prompts begin with is computed once.

It visits what prefix_sampling.walk visits, in another order, and gives the same logits up to rounding.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AttentionInterface, DynamicCache
from transformers.cache_utils import Cache

from sublim_eval.models.sampling.continuous_batching import prefill_limit, shared
from sublim_eval.models.sampling.kv_cache import Unfit, attention, kept_as, refuse_odd, windows
from sublim_eval.models.sampling.prefix_sampling import Branches, Front, Network, Visit

NAME = "sublim_shared_prompts"
"""Under which name transformers knows the attention below. It makes no mask for names that it does not know."""

ROWS = 256
"""Most rows in a pass: above it matrix products on processor cores gain nothing more."""

PROMPT_SHARE = 0.5
"""Of the memory allowance, for the keys and values of prompts that are walked together."""

Pair = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Prompts:
    """Prompts that were read. kept: per layer keys and values, float[prompts, heads, cells, width].

    hidden: float[prompts, 1, 1, cells], -inf on cells that are padding, else 0. lengths: int64[prompts], tokens.
    """

    kept: list[Pair]
    hidden: torch.Tensor
    lengths: torch.Tensor


@dataclass
class RowCache:
    """Rows that were run: the prompt of each, their own keys and values per layer (none behind a bare prompt), logits.

    prompt: int64[rows]. kept: float[rows, heads, own tokens, width].
    """

    prompt: NDArray[np.int64]
    kept: list[Pair]
    logits: torch.Tensor


@dataclass(frozen=True)
class Lines:
    """How rows are laid beside their prompts: lines of `width` places, all of one prompt each.

    prompt: int64[lines]; place: int64[lines * width], the row at each place (any row where there is none); home:
    int64[rows], the place of each row.
    """

    width: int
    prompt: torch.Tensor
    place: torch.Tensor
    home: torch.Tensor


def lines(prompt: NDArray[np.int64], device: torch.device) -> Lines:
    """Lay rows of these prompts; a line is as wide as a prompt has rows on average."""
    distinct, counts = np.unique(prompt, return_counts=True)
    width = -(-len(prompt) // len(distinct))
    needed = -(-counts // width)
    order = np.argsort(prompt, kind="stable")
    first = np.cumsum(needed) - needed
    number = np.arange(len(prompt)) - np.repeat(np.cumsum(counts) - counts, counts)
    home = np.empty(len(prompt), dtype=np.int64)
    home[order] = np.repeat(first, counts) * width + number
    place = np.zeros(int(needed.sum()) * width, dtype=np.int64)
    place[home] = np.arange(len(prompt))
    as_tensors = (torch.from_numpy(part).to(device) for part in (np.repeat(distinct, needed), place, home))
    return Lines(width, *as_tensors)


@dataclass(frozen=True)
class PromptView:
    """What one pass reads: the prompts, how its rows lie beside them, and each row's parent, `[(Rows, int64[k])]`."""

    prompts: Prompts
    lines: Lines
    parents: Sequence[tuple[RowCache, torch.Tensor]]


_VIEW: ContextVar[PromptView | None] = ContextVar("rows behind prompts", default=None)


class Own(Cache):
    """The rows' own keys and values: those of their parents, and the new token's behind them."""

    def __init__(self, parents: Sequence[tuple[RowCache, torch.Tensor]]) -> None:
        super().__init__(layers=[])
        self.parents = parents
        self.kept: list[Pair] = []

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Float[rows, heads, own tokens, width] of a layer, the new token included."""
        if layer_idx != len(self.kept):
            raise Unfit("its layers do not keep their keys in turn")
        new = (kept_as(key_states), kept_as(value_states))
        key, value = (self._behind(one, layer_idx, part) for part, one in enumerate(new))
        self.kept.append((key, value))
        return key, value

    def _behind(self, new: torch.Tensor, layer: int, part: int) -> torch.Tensor:
        if not self.parents[0][0].kept:
            return new
        before = [rows.kept[layer][part].index_select(0, at) for rows, at in self.parents]
        return torch.cat([before[0] if len(before) == 1 else torch.cat(before), new], dim=2)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Nothing, for transformers: positions are always given."""
        return 0


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """One query a row over its prompt and its own tokens, one softmax over both."""
    view = _VIEW.get()
    if view is None:
        raise Unfit("its attention uses no prompts")
    refuse_odd(kwargs)
    far_key, far_value = (part.index_select(0, view.lines.prompt) for part in view.prompts.kept[module.layer_idx])
    rows, heads, _, width = query.shape
    groups = heads // key.shape[1]
    grouped = query.to(key.dtype).reshape(rows, key.shape[1], groups, width) * (scaling or width**-0.5)
    far = _to_rows(torch.matmul(_to_lines(grouped, view.lines), far_key.transpose(2, 3)), groups, view.lines)
    far = far + view.prompts.hidden.index_select(0, view.lines.prompt)[_line_of(view.lines)]
    scores = torch.cat([far, torch.matmul(grouped, key.transpose(2, 3))], dim=3)
    chances = scores.softmax(3, dtype=torch.float32).to(value.dtype)
    cells = far.shape[3]
    out = _to_rows(torch.matmul(_to_lines(chances[..., :cells], view.lines), far_value), groups, view.lines)
    out = out + torch.matmul(chances[..., cells:], value)
    return out.to(query.dtype).reshape(rows, 1, heads, value.shape[-1]), None


def _line_of(laid: Lines) -> torch.Tensor:
    """int64[rows]: the line of each row."""
    return laid.home // laid.width


def _to_lines(rows: torch.Tensor, laid: Lines) -> torch.Tensor:
    """float[rows, heads, groups, n] -> float[lines, heads, width * groups, n]."""
    _, heads, groups, size = rows.shape
    placed = rows.index_select(0, laid.place).view(len(laid.prompt), laid.width, heads, groups, size)
    return placed.transpose(1, 2).reshape(len(laid.prompt), heads, laid.width * groups, size)


def _to_rows(placed: torch.Tensor, groups: int, laid: Lines) -> torch.Tensor:
    """The way back."""
    count, heads, _, size = placed.shape
    apart = placed.view(count, heads, laid.width, groups, size).transpose(1, 2)
    return apart.reshape(count * laid.width, heads, groups, size).index_select(0, laid.home)


AttentionInterface.register(NAME, attend)


@contextmanager
def _reading(view: PromptView) -> Iterator[None]:
    token = _VIEW.set(view)
    try:
        yield
    finally:
        _VIEW.reset(token)


# ---------------------------------------------------------------- reading prompts


def read(network: Network, prompts: Sequence[Sequence[int]]) -> tuple[Prompts, torch.Tensor]:
    """The prompts, and float32[prompts, vocabulary]: logits of what comes next. What all begin with is read once."""
    common = shared(prompts) if network.virtual is None and len(prompts) > 1 else 0
    head = network.prefill([prompts[0][:common]]).cache if common else None
    longest = max(map(len, prompts))
    size = max(1, prefill_limit(network) // max(1, longest - common))
    parts = [_read_behind(network, head, common, prompts[i : i + size]) for i in range(0, len(prompts), size)]
    cells = max(part.mask.shape[1] for part in parts)
    padded = [_padded(part, cells) for part in parts]
    mask = torch.cat([mask for _, mask in padded])
    kept = [
        (torch.cat([one[i][0] for one, _ in padded]), torch.cat([one[i][1] for one, _ in padded]))
        for i in range(len(padded[0][0]))
    ]
    hidden = torch.zeros(mask.shape, dtype=kept[0][0].dtype, device=mask.device).masked_fill(mask == 0, -torch.inf)
    return Prompts(kept, hidden[:, None, None, :], mask.sum(1)), torch.cat([part.logits for part in parts])


def _read_behind(network: Network, head: Any, common: int, prompts: Sequence[Sequence[int]]) -> Branches:
    """Some of the prompts, behind the cache of what they begin with."""
    if head is None:
        return network.prefill(prompts)
    tails, cache = [prompt[common:] for prompt in prompts], DynamicCache()
    for number, layer in enumerate(head.layers):
        cache.update(*(part.expand(len(prompts), -1, -1, -1) for part in (layer.keys, layer.values)), number)
    width = max(map(len, tails))
    ids = torch.zeros(len(tails), width, dtype=torch.long)
    mask = torch.zeros(len(tails), common + width, dtype=torch.long)
    mask[:, :common] = 1
    for row, tail in enumerate(tails):
        ids[row, width - len(tail) :] = torch.tensor(tail)
        mask[row, common + width - len(tail) :] = 1
    ids, mask = ids.to(network.device), mask.to(network.device)
    return Branches(cache, mask, network(cache, mask, input_ids=ids))


def _padded(part: Branches, cells: int) -> tuple[list[Pair], torch.Tensor]:
    """Keys, values and mask of a part with empty cells before them, so that there are as many as in the others."""
    more = cells - part.mask.shape[1]
    pad = torch.nn.functional.pad
    layers: Any = part.cache.layers
    pairs = ((kept_as(layer.keys), kept_as(layer.values)) for layer in layers)
    kept = [(pad(keys, (0, 0, more, 0)), pad(values, (0, 0, more, 0))) for keys, values in pairs]
    return kept, pad(part.mask, (more, 0))


# ---------------------------------------------------------------- rows behind them


def grow(
    network: Network, prompts: Prompts, front: Front, parents: Sequence[tuple[RowCache, NDArray[np.int64]]]
) -> RowCache:
    """One token further: row i continues the i-th of the parents' rows, laid end to end, with front.tokens[i]."""
    device = network.device
    prompt = np.concatenate([rows.prompt[at] for rows, at in parents])
    cache = Own([(rows, torch.from_numpy(at).to(device)) for rows, at in parents])
    view = PromptView(prompts, lines(prompt, device), cache.parents)
    ids = torch.from_numpy(front.tokens).to(device)[:, None]
    places = prompts.lengths[torch.from_numpy(prompt).to(device)][:, None] + front.step - 1
    keep = {"logits_to_keep": 1} if network.keeps else {}
    with _reading(view):
        out = network.model(
            input_ids=ids, attention_mask=None, position_ids=places, past_key_values=cache, use_cache=True, **keep
        )
    return RowCache(prompt, cache.kept, out.logits[:, -1].float())


@dataclass
class Waiting:
    """Fronts that are still to be run, by how many tokens their rows have written; each knows its parent."""

    limit: int | None
    network: Network
    fronts: dict[int, list[Front]]

    def row_limit(self, step: int) -> int:
        """Most rows of that depth in a pass."""
        return self.limit or min(ROWS, self.network.row_limit(step))

    def held(self) -> int:
        """Bytes of keys and values that waiting fronts hold on to."""
        parents = {id(f.parent): f.parent for fronts in self.fronts.values() for f in fronts}
        return sum(part.nbytes for rows in parents.values() if rows for pair in rows.kept for part in pair)

    def take(self) -> list[Front]:
        """What to run next, at most `row_limit` rows of one depth."""
        depths = sorted(step for step, fronts in self.fronts.items() if fronts)
        full = [s for s in depths if sum(len(f.rows) for f in self.fronts[s]) >= self.row_limit(s)]
        tight = self.held() > self.network.memory
        step = depths[-1] if tight else full[-1] if full else depths[0]
        taken: list[Front] = []
        room = self.row_limit(step)
        while room and self.fronts[step]:
            front = self.fronts[step].pop()
            if len(front.rows) > room:
                self.fronts[step].append(front.part(room, len(front.rows)))
                front = front.part(0, room)
            taken.append(front)
            room -= len(front.rows)
        return taken


def joined(fronts: Sequence[Front]) -> Front:
    """Fronts of one depth as one, their rows end to end."""
    starts = np.cumsum([0, *(len(front.rows) for front in fronts)])
    return Front(
        fronts[0].step,
        None,
        np.arange(starts[-1]),
        np.concatenate([front.tokens for front in fronts]),
        np.concatenate([front.node + start for front, start in zip(fronts, starts, strict=False)]),
        np.concatenate([front.item for front in fronts]),
        [path for front in fronts for path in front.paths],
    )


def walk(
    network: Network, prompts: Sequence[Sequence[int]], owner: NDArray[np.int64], batch: int | None, visit: Visit
) -> None:
    """Run prompts, then whatever `visit` returns, at most `batch` rows in a pass; see prefix_sampling.walk."""
    order = sorted(set(owner.tolist()), key=lambda p: (len(prompts[p]), p))
    cells = max((len(prompts[p]) for p in order), default=0) + (0 if network.virtual is None else len(network.virtual))
    together = max(1, int(PROMPT_SHARE * network.memory) // max(1, network.cell_bytes * cells))
    with torch.inference_mode():
        for start in range(0, len(order), together):
            _walk_together(network, prompts, order[start : start + together], owner, batch, visit)


def _walk_together(
    network: Network,
    prompts: Sequence[Sequence[int]],
    chosen: Sequence[int],
    owner: NDArray[np.int64],
    batch: int | None,
    visit: Visit,
) -> None:
    """The same for prompts that fit into memory beside each other."""
    known, logits = read(network, [prompts[p] for p in chosen])
    place = np.full(len(prompts), -1)
    place[list(chosen)] = np.arange(len(chosen))
    items = np.flatnonzero(place[owner] >= 0)
    items = items[np.argsort(place[owner[items]], kind="stable")]
    none = np.arange(len(chosen))
    start = Front(0, None, none, none, place[owner[items]], items, [() for _ in chosen])
    waiting = Waiting(batch, network, defaultdict(list))

    def visited(front: Front, ran: RowCache) -> None:
        following = visit(front, ran)
        ran.logits = ran.logits.new_empty(0)
        if following is not None:
            following.parent = ran
            waiting.fronts[following.step].append(following)

    for first in start.split(waiting.row_limit(1)):
        at = first.rows
        visited(first, RowCache(at, [], logits[int(at[0]) : int(at[-1]) + 1]))
    del logits
    with attention(network.model, NAME):
        while any(waiting.fronts.values()):
            taken = waiting.take()
            parents = [(front.parent, front.rows) for front in taken]
            visited(front := joined(taken), grow(network, known, front, parents))


def unfit(network: Network, prompts: Sequence[Sequence[int]]) -> str | None:
    """Why this model's rows cannot be kept apart from their prompts, None if they can: tried on two short prompts.

    That no row is longer than a layer's window is for the caller to see to (`within_windows`).

    The logits of rows behind both, one and two tokens further, must be those of a plain pass up to rounding.
    """
    config = network.model.config.get_text_config()
    if config._attn_implementation != "sdpa":
        return f"its attention is {config._attn_implementation}"
    tried = [list(p[:n]) for p, n in zip((prompts[0], prompts[-1]), (24, 17), strict=True)]
    seen: list[tuple[list[int], torch.Tensor]] = []

    def visit(front: Front, ran: RowCache) -> Front | None:
        texts = [[*tried[i], *_written(path)] for i, path in zip(front.item.tolist(), front.paths, strict=True)]
        seen.extend(zip(texts, ran.logits.clone(), strict=True))
        if front.step == 2:
            return None
        tokens = ran.logits.topk(2, dim=1).indices.flatten().cpu().numpy()
        rows = np.repeat(np.arange(len(front.rows)), 2)
        paths = [(front.paths[r], t) for r, t in zip(rows.tolist(), tokens.tolist(), strict=True)]
        return Front(front.step + 1, None, rows, tokens, np.arange(len(rows)), front.item[rows], paths)

    try:
        windows(config)
        with torch.inference_mode():
            walk(network, tried, np.arange(2), 3, visit)
            for text, logits in seen:
                plain = network.prefill([text]).logits[0]
                if not (logits - plain).norm() <= 0.1 * plain.norm():
                    return "its logits come out otherwise"
    except torch.cuda.OutOfMemoryError:
        raise
    except (Unfit, TypeError, ValueError, KeyError, IndexError, AttributeError, RuntimeError) as error:
        return str(error) or type(error).__name__
    return None


def within_windows(network: Network, length: int) -> bool:
    """Whether every layer of a model that is not unfit sees as far back as texts of that length reach."""
    return all(window is None or length <= window for window in windows(network.model.config.get_text_config()))


def _written(path: Any) -> list[int]:
    return [*_written(path[0]), path[1]] if path else []
