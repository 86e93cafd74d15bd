"""The device's side of streaming: slots that are filled, advanced by one token, and read when they are done.

Everything that a step needs lies on the device at a fixed place, so that a step can be recorded once as a CUDA graph
and replayed; nothing in it asks the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sublim_eval.models.sampling.kv_cache import Slots, View, reading, windows
from sublim_eval.models.sampling.prefix_sampling import BLOCK, Network, Sample, SamplingSettings, one_each


@dataclass(frozen=True)
class Drawn:
    """Tokens of one slot, with their log-probabilities and the likeliest ones where they are wanted."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...] | None
    top: tuple[tuple[tuple[int, float], ...], ...] | None

    def sample(self, text: str, size: int, reason: str) -> Sample:
        """The reply of the first `size` tokens."""
        scores = None if self.logprobs is None else self.logprobs[:size]
        return Sample(text, size, reason, self.ids[:size], scores, None if self.top is None else self.top[:size])


class Stream:
    """The slots and what is in them. Slots [0, width) are run; those of them that are done draw into nobody's cell."""

    def __init__(
        self,
        network: Network,
        head: int,
        length: int,
        rows: int,
        settings: SamplingSettings,
        ends: frozenset[int],
        graphs: bool,
    ) -> None:
        self.network, self.head, self.length, self.settings, self.graphed = network, head, length, settings, graphs
        self.windows = windows(network.model.config.get_text_config())
        self.slots = Slots(rows, length)
        self.opened: Slots | None = None
        self.starts = np.array([head])  # cells filled by each opening; the last one's is the head of all
        device, most = network.device, settings.max_new_tokens
        self.ends = torch.tensor(sorted(ends), dtype=torch.long, device=device)
        self.every = torch.arange(rows, device=device)
        self.last = torch.zeros(rows, dtype=torch.long, device=device)  # token that each row continues with
        self.place = torch.full((rows,), length, device=device)  # and its cell
        self.step = torch.full((rows,), most, device=device)  # number of the next draw; `most` when done
        self.done = torch.ones(rows, dtype=torch.bool, device=device)
        self.count = torch.zeros(rows, dtype=torch.long, device=device)
        self.drawn = torch.zeros(rows, most + 1, dtype=torch.long, device=device)
        self.uniform = torch.zeros(rows, (most // BLOCK + 1) * BLOCK, dtype=torch.float64, device=device)
        self.scores = self.best = self.likely = None
        if settings.logprobs:
            self.scores = torch.zeros(rows, most + 1, dtype=torch.float64, device=device)
            vocabulary = network.model.config.get_text_config().vocab_size
            top = min(settings.top_logprobs, vocabulary)
            self.best = torch.zeros(rows, most + 1, top, dtype=torch.float64, device=device)
            self.likely = torch.zeros(rows, most + 1, top, dtype=torch.long, device=device)
        self.graphs: dict[tuple[int, int], torch.cuda.CUDAGraph] = {}
        self.pool: Any = None
        self.watched: list[torch.Tensor] | None = None

    @property
    def state(self) -> list[torch.Tensor]:
        """Everything that belongs to a row, its cells apart."""
        held = [self.last, self.place, self.step, self.done, self.count, self.drawn, self.uniform]
        return held + [t for t in (self.scores, self.best, self.likely) if t is not None]

    def _forward(self, view: View, cache: Slots | None = None, **inputs: torch.Tensor) -> torch.Tensor:
        """float[n, vocabulary]: logits of the last position. cache: the slots, if no other is given."""
        keep = {"logits_to_keep": 1} if self.network.keeps else {}
        with reading(view):
            out = self.network.model(
                **inputs,
                position_ids=view.seen,
                past_key_values=self.slots if cache is None else cache,
                use_cache=True,
                attention_mask=None,
                **keep,
            )
        logits: torch.Tensor = out.logits[:, -1]
        if self.watched is not None:
            self.watched.append(logits.float())
        return logits

    def begin(self, head: Sequence[int], openings: Sequence[Sequence[int]] = ()) -> None:
        """Compute what every row begins with (virtual tokens, then `head`), once, and give it to all slots.

        openings: longer texts that some rows begin with; they are computed beside the slots, for `fill`.
        """
        if self.head:
            self._begin_all(head)
        if openings:
            self._open([text[len(head) :] for text in openings])

    def _begin_all(self, head: Sequence[int]) -> None:
        ids = torch.tensor([list(head)], dtype=torch.long, device=self.network.device)
        places = torch.arange(self.head, device=self.network.device)[None]
        view = View(self.windows, self.every[:1], places, places, self.head, True)
        if self.network.virtual is None:
            self._forward(view, input_ids=ids)
        else:
            words = self.network.model.get_input_embeddings()(ids)
            self._forward(view, inputs_embeds=torch.cat([self.network.virtual[None].to(words), words], dim=1))
        self.slots.spread(self.head)

    def _open(self, tails: Sequence[Sequence[int]]) -> None:
        """Compute what follows the head in each opening."""
        sizes = np.array([self.head + len(tail) for tail in tails])
        self.opened = Slots(len(tails), int(sizes.max()))
        self.starts = np.array([*sizes, self.head])
        every = torch.arange(len(tails), device=self.network.device)
        self.opened.take(self.slots, torch.zeros_like(every), every, 0, self.head)
        ids, view = self._laid(every, tails, np.full(len(tails), self.head), self.opened.length, True)
        self._forward(view, self.opened, input_ids=ids)

    def _laid(
        self, rows: torch.Tensor, tails: Sequence[Sequence[int]], starts: NDArray[np.int64], nobody: int, front: bool
    ) -> tuple[torch.Tensor, View]:
        """(int64[rows, longest] token ids, where they go) of texts behind cells that are filled, padded on the left."""
        width = max(map(len, tails))
        ids, places = np.zeros((len(tails), width), dtype=np.int64), np.full((len(tails), width), nobody)
        for i, (tail, start) in enumerate(zip(tails, starts.tolist(), strict=True)):
            ids[i, width - len(tail) :] = tail
            places[i, width - len(tail) :] = np.arange(start, start + len(tail))
        seen = np.where(places == nobody, 0, places)
        to = [torch.from_numpy(a).to(self.network.device) for a in (ids, places, seen)]
        return to[0], View(self.windows, rows, to[1], to[2], int(seen.max()) + 1, front)

    def fill(self, rows: NDArray[np.int64], tails: Sequence[Sequence[int]], opened: NDArray[np.int64]) -> None:
        """Put new prompts into free slots, and draw their first token.

        tails: what follows each one's opening, whose number `opened` says (-1: the head that all begin with).
        """
        at = torch.from_numpy(rows).to(self.network.device)
        self._take_openings(at, opened)
        front = bool(rows[0] == 0 and rows[-1] == len(rows) - 1)
        ids, view = self._laid(at, tails, self.starts[opened], self.length, front)
        self.place[at] = view.places[:, -1]
        self.step[at] = 0
        self.done[at] = False
        self._draw(at, self._forward(view, input_ids=ids))

    def _take_openings(self, rows: torch.Tensor, opened: NDArray[np.int64]) -> None:
        """Cells behind the head, of rows that begin with an opening; those past its end are written by what follows."""
        if self.opened is None or not (known := np.flatnonzero(opened >= 0)).size:
            return
        to, fro = (torch.from_numpy(a).to(rows.device) for a in (known, opened[known]))
        self.slots.take(self.opened, fro, rows[to], self.head, int(self.starts[opened[known]].max()))

    def advance(self, width: int, extent: int) -> None:
        """One token for slots [0, width)."""
        if self.graphed:
            try:
                self._graph(width, extent).replay()
                return
            except torch.cuda.OutOfMemoryError:
                raise
            except RuntimeError:  # a model whose pass cannot be recorded (it asks the host) is run as it is
                self.graphed = False
        self._advance(width, extent)

    def _advance(self, width: int, extent: int) -> None:
        rows, place = self.every[:width], self.place[:width, None]
        view = View(self.windows, rows, place, place.clamp(max=self.length - 1), extent, True)
        self._draw(rows, self._forward(view, input_ids=self.last[:width, None]))

    def _graph(self, width: int, extent: int) -> torch.cuda.CUDAGraph:
        """The recorded step. Recording runs nothing; the warm-up before it does, on a copy of the rows' state."""
        if (width, extent) not in self.graphs:
            before = [t.clone() for t in self.state]
            side = torch.cuda.Stream(self.network.device)
            side.wait_stream(torch.cuda.current_stream(self.network.device))
            with torch.cuda.stream(side):
                for _ in range(2):
                    self._advance(width, extent)
                    for mine, was in zip(self.state, before, strict=True):
                        mine.copy_(was)
            torch.cuda.current_stream(self.network.device).wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self.pool):
                self._advance(width, extent)
            self.pool = self.pool or graph.pool()
            self.graphs[width, extent] = graph
        return self.graphs[width, extent]

    def _draw(self, rows: torch.Tensor, logits: torch.Tensor) -> None:
        """The next token of each row from its logits; rows that are done stay as they are."""
        step, was = self.step[rows], self.done[rows]
        if self.settings.temperature == 0:
            token = logits.argmax(1)
        else:
            token = one_each(logits, self.settings, self.uniform[rows, step])
        self.drawn[rows, step] = token
        if self.scores is not None and self.best is not None and self.likely is not None:
            scores = logits.double().log_softmax(1)
            self.scores[rows, step] = scores.gather(1, token[:, None])[:, 0]
            if self.best.shape[2]:
                self.best[rows, step], self.likely[rows, step] = scores.topk(self.best.shape[2], dim=1)
        following = step + 1
        ended = (token[:, None] == self.ends).any(1) | (following >= self.settings.max_new_tokens)
        done = was | ended
        self.count[rows] = torch.where(was, self.count[rows], following)
        self.step[rows] = torch.where(done, self.settings.max_new_tokens, following)
        self.place[rows] = torch.where(done, self.length, self.place[rows] + 1)
        self.last[rows] = token
        self.done[rows] = done

    def move(self, source: NDArray[np.int64], target: NDArray[np.int64], extent: int) -> None:
        """Slots `source` go over slots `target`."""
        fro, to = (torch.from_numpy(a).to(self.network.device) for a in (source, target))
        self.slots.move(fro, to, extent)
        for held in self.state:
            held[to] = held[fro]

    def supply(self, rows: NDArray[np.int64], column: int, numbers: NDArray[np.float64]) -> None:
        """numbers: float64[rows, BLOCK], the uniform numbers of the rows' steps from `column` on."""
        at = torch.from_numpy(rows).to(self.network.device)
        self.uniform[at, column : column + BLOCK] = torch.from_numpy(numbers).to(self.network.device)

    def free(self, rows: NDArray[np.int64]) -> None:
        """Rows whose reply has ended for a reason that only the host knows: they draw no more."""
        at = torch.from_numpy(rows).to(self.network.device)
        self.done[at], self.step[at], self.place[at] = True, self.settings.max_new_tokens, self.length

    def take(self, rows: NDArray[np.int64]) -> list[Drawn]:
        """What was drawn in these slots so far."""
        at = torch.from_numpy(rows).to(self.network.device)
        counts = self.count[at].tolist()
        tokens = self.drawn[at].tolist()
        columns: list[Any] = [None, None, None]
        if self.settings.logprobs:
            columns = [None if t is None else t[at].tolist() for t in (self.scores, self.likely, self.best)]
        out = []
        for i, n in enumerate(counts):
            scores, likely, best = (c[i][:n] if c else None for c in columns)
            top = None
            if self.settings.top_logprobs and likely is not None and best is not None:
                top = tuple(tuple(zip(a, b, strict=True)) for a, b in zip(likely, best, strict=True))
            out.append(Drawn(tuple(tokens[i][:n]), None if scores is None else tuple(scores), top))
        return out
