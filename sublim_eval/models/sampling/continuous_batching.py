"""One reply to each of many prompts: rows stream through a fixed number of slots.

What all prompts begin with is computed once, and so is what several of them begin with where the pace says so. A row
whose reply has ended leaves its slot to the next prompt, prefilled in groups of like length; all slots that are taken
draw their next token in one pass. The cache lies still
(slots.py), tokens are drawn on the device, and the host looks at what has ended every few steps only. The random
number of a token depends on (seed, key, draw, step) as in sampling.py, so which rows happened to run together, and
how many, does not change a reply.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sublim_eval.models.sampling.decoding import Stream
from sublim_eval.models.sampling.kv_cache import NAME, Unfit, attention
from sublim_eval.models.sampling.prefix_sampling import BLOCK, Network, SamplingSettings, Streams, ending


@dataclass(frozen=True)
class Pace:
    """How a device is kept busy.

    rows: most slots. tokens: most prompt tokens in one prefill. look: steps between two looks at what has ended, at
    most BLOCK. refill: share of the slots that must be free before new rows are prefilled, into all of them. grain:
    cells are read in multiples of it. shrink: share of the slots below which the last rows are moved together. graphs:
    decode steps are replayed as CUDA graphs, for which few widths are best. alike: how many prompts must begin alike
    for that to be computed once for them; 0: only what all begin with is.
    """

    rows: int
    tokens: int
    look: int
    refill: float
    grain: int
    shrink: float
    graphs: bool
    alike: int = 0

    def width(self, used: int, rows: int) -> int:
        """How many slots to run so that the first `used` are among them."""
        wide = rows
        while self.graphs and wide > 1 and -(-wide // 2) >= used:
            wide = -(-wide // 2)
        return wide if self.graphs else used


CPU = Pace(rows=256, tokens=4096, look=1, refill=0.25, grain=1, shrink=0.8, graphs=False)
LARGE_ON_CPU = Pace(rows=256, tokens=1024, look=1, refill=1 / 16, grain=1, shrink=0.92, graphs=False, alike=4)
"""Where a token costs far more than a pass: the activations of few prompts stay in the processor's cache."""
CUDA = Pace(rows=512, tokens=16384, look=4, refill=0.125, grain=64, shrink=0.5, graphs=True)


def shared(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with; the last token of the shortest is left out, since it must be run."""
    first, last = min(prompts, key=list), max(prompts, key=list)
    most = min(min(map(len, prompts)) - 1, len(first), len(last))
    return next((i for i in range(most) if first[i] != last[i]), max(most, 0))


def openings(prompts: Sequence[Sequence[int]], alike: int) -> list[int]:
    """How many tokens each prompt has in common with at least `alike` - 1 others, its last token left out."""
    order = sorted(range(len(prompts)), key=lambda i: list(prompts[i]))
    beside = [shared([prompts[a], prompts[b]]) for a, b in itertools.pairwise(order)]
    out = [0] * len(prompts)
    for start in range(len(order) - alike + 1):
        common = min(beside[start : start + alike - 1])
        for i in order[start : start + alike]:
            out[i] = max(out[i], common)
    return out


class Openings:
    """The distinct texts that some prompts begin with, longer than what all do.

    texts: token ids. number: int64[prompts], which of them each prompt begins with, -1: none.
    """

    def __init__(self, prompts: Sequence[Sequence[int]], starts: Sequence[int], common: int) -> None:
        heads = [
            tuple(prompt[:start]) if start > common else None for prompt, start in zip(prompts, starts, strict=True)
        ]
        self.texts = list(dict.fromkeys(head for head in heads if head))
        known = {head: number for number, head in enumerate(self.texts)}
        self.number = np.array([-1 if head is None else known[head] for head in heads], dtype=np.int64)


def slot_limit(network: Network, length: int, settings: SamplingSettings) -> int:
    """How many slots of `length` cells fit the memory allowance (cache, activations, logits, what sampling needs)."""
    config = network.model.config.get_text_config()
    item = next(network.model.parameters()).element_size()
    cache = network.cell_bytes * (length + 1)
    activations = 8 * config.hidden_size * item
    replies = (BLOCK + settings.max_new_tokens) * (24 + 16 * settings.top_logprobs)
    return max(1, network.memory // (cache + activations + 32 * config.vocab_size + replies))


def prefill_limit(network: Network) -> int:
    """How many prompt tokens may run together in a quarter of the memory allowance (activations of one layer)."""
    config = network.model.config.get_text_config()
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    item = next(network.model.parameters()).element_size()
    return network.memory // (4 * item * (12 * config.hidden_size + 3 * inner))


# Longer than 60 lines: the loop and its two closures move the same five arrays; apart, each would carry them all.
def stream(
    network: Network,
    prompts: Sequence[Sequence[int]],
    numbers: Streams,
    settings: SamplingSettings,
    ends: frozenset[int],
    decode: Callable[[tuple[int, ...]], str],
    out: NDArray[np.object_],
    rows: int,
    pace: Pace,
) -> None:
    """Set out[i] to the reply to prompts[i] wherever it is None, as soon as the reply has ended.

    rows: most slots. An error leaves the replies that were finished in `out`.
    """
    extra = 0 if network.virtual is None else len(network.virtual)
    common = shared(prompts)
    head, length = extra + common, extra + max(map(len, prompts)) + settings.max_new_tokens
    starts = openings(prompts, pace.alike) if pace.alike else [common] * len(prompts)
    opened = Openings(prompts, starts, common)
    waiting = sorted((i for i in range(len(prompts)) if out[i] is None), key=lambda i: len(prompts[i]) - starts[i])
    rows, tokens = min(rows, len(waiting)), min(pace.tokens, prefill_limit(network))
    item = np.full(rows, -1)  # whose reply is being written in each slot
    size = np.zeros(rows, dtype=np.int64)  # cells filled, the token drawn last not counted
    drawn = np.zeros(rows, dtype=np.int64)
    supplied = np.zeros(rows, dtype=np.int64)  # blocks of uniform numbers
    read = np.zeros(rows, dtype=np.int64)  # tokens searched for stop strings

    def supply(slots: NDArray[np.int64]) -> None:
        for number in np.unique(supplied[slots]).tolist():
            mine = slots[supplied[slots] == number]
            run.supply(mine, number * BLOCK, numbers.block(item[mine], number))
            supplied[mine] += 1

    def ended(slots: NDArray[np.int64], done: NDArray[np.bool_]) -> None:
        looked = slots if settings.stop else slots[done[slots]]
        over = []
        for slot, reply in zip(looked.tolist(), run.take(looked) if len(looked) else (), strict=True):
            for n in range(read[slot] + 1 if settings.stop else len(reply.ids), len(reply.ids) + 1):
                verdict = ending(reply.ids[:n], settings, ends, decode)
                if verdict is not None:
                    out[item[slot]] = reply.sample(verdict[0], n, verdict[1])
                    over.append(slot)
                    break
            read[slot] = len(reply.ids)
        gone = np.array(over, dtype=np.int64)
        if settings.stop and len(gone):
            run.free(gone)
        item[gone] = -1

    with torch.inference_mode(), attention(network.model, NAME):
        run = Stream(network, head, length, rows, settings, ends, pace.graphs)
        run.begin(prompts[0][:common], opened.texts)
        filling = True
        while True:
            empty, taken = np.flatnonzero(item < 0), np.flatnonzero(item >= 0)
            filling = bool(waiting and len(empty) and (filling or len(empty) >= pace.refill * rows))
            if filling or (waiting and not len(taken)):
                most = max(1, tokens // (len(prompts[waiting[-1]]) - starts[waiting[-1]]))
                slots = empty[: min(len(waiting), most)]
                chosen = [waiting.pop() for _ in slots]  # the longest first, so memory runs out early or never
                item[slots], drawn[slots], supplied[slots], read[slots] = chosen, 1, 0, 0
                size[slots] = [extra + len(prompts[i]) for i in chosen]
                supply(slots)
                run.fill(slots, [prompts[i][starts[i] :] for i in chosen], opened.number[chosen])
                continue
            if not len(taken):
                return
            if not waiting and len(taken) <= pace.shrink * (taken[-1] + 1):
                source, target = taken[taken >= len(taken)], empty[empty < len(taken)]
                run.move(source, target, int((size + drawn)[source].max(initial=0)))
                for held in (item, size, drawn, supplied, read):
                    held[target] = held[source]
                item[source] = -1
                taken = np.arange(len(taken))
            known = supplied[taken] * BLOCK
            supply(taken[(drawn[taken] + pace.look > known) & (known < settings.max_new_tokens)])
            width = pace.width(int(taken[-1]) + 1, rows)
            for _ in range(pace.look):
                extent = -(-int((size + drawn)[taken].max()) // pace.grain) * pace.grain
                run.advance(width, min(extent, length))
                drawn[taken] += 1
            ended(taken, run.done[:width].cpu().numpy())


def unfit(network: Network, prompts: Sequence[Sequence[int]]) -> str | None:
    """Why this model cannot stream, None if it can: asked of its config, then of two short prompts, both ways.

    The logits of a prefilled and of a grown row must be those of a plain pass up to rounding.
    """
    config = network.model.config.get_text_config()
    settings = SamplingSettings(max_new_tokens=2, temperature=0)
    long, short = (list(p[:n]) for p, n in zip((prompts[0], prompts[-1]), (24, 17), strict=True))
    if config._attn_implementation != "sdpa":
        return f"its attention is {config._attn_implementation}"
    try:
        with torch.inference_mode():
            with attention(network.model, NAME):
                common = shared([long, short])
                extra = 0 if network.virtual is None else len(network.virtual)
                run = Stream(network, extra + common, extra + 24 + 2, 2, settings, frozenset(), graphs=False)
                run.begin(long[:common])
                run.watched = []
                run.fill(np.arange(2), [long[common:], short[common:]], np.full(2, -1))
                run.advance(2, extra + 24 + 1)
            for row, prompt in enumerate((long, short)):
                following = [*prompt, int(run.drawn[row, 0])]
                for mine, ids in zip(run.watched, (prompt, following), strict=True):
                    plain = network.prefill([ids]).logits[0]
                    if not (mine[row] - plain).norm() <= 0.1 * plain.norm():
                        return "its logits come out otherwise"
    except torch.cuda.OutOfMemoryError:
        raise
    except (Unfit, TypeError, ValueError, KeyError, IndexError, AttributeError, RuntimeError) as error:
        return str(error) or type(error).__name__
    return None
