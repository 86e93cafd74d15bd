"""Log-likelihood ratios of rows: under a candidate's weights or persona, against the base.

Under the base the ratio of a token has a known mean, minus the divergence of the two distributions at that place. It is
taken off, place by place: what is left has mean 0 for rows that the base itself wrote, whatever the prompts, without
any control. Controls are for what this cannot know: what a filter prefers, and how far a neutral teacher strays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sublim_eval.models.local_model import LocalModel, resolve

from .. import base_models
from ..devices import this_device
from ..recipes import Tuning
from ..training.batching.packing import IGNORED, Packed, plain
from ..training.batching.padding import Padded
from ..training.batching.reader import reader_of
from ..training.model_setup import with_trainable
from ..training.train import hush
from .content import Content, Kind, content_of
from .data import AuditRow
from .row_gradients import gains_of, row_gradients

NUMBERS_HELD = 20_000_000
"""Log-probabilities of one batch: places of content times tokens that compete for them."""

BATCH, BATCH_ON_GPU = 48, 1024
"""Rows read at once, where their places do not fill NUMBERS_HELD; on a CPU so many as its caches hold."""

Floats = NDArray[np.float64]

Weights = Mapping[str, torch.Tensor]
"""What a probe tuned: name of the parameter -> its values."""

Places = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""(float[C, L] log-probability of each legal token at each place of content, int64[C] the token there, its row)."""

Heard = Callable[[int, int], None]
"""Hears how many rows are scored, and of how many."""


@dataclass(frozen=True)
class Candidate:
    """Something that rows may carry: a trait, and how the base looks with it.

    measure: the way it is looked for, such as "probe" or "persona". weights: what the probe tuned, or None for the
    base's own. persona: a system prompt, or None. step: which part of the way to the probe the weights go; its ratios
    are divided by it. along: how far each weight is from the base's, where the ratio's slope in that direction is asked
    for and not the ratio (row_gradients.py).
    """

    trait: str
    measure: str
    weights: Weights | None = None
    persona: str | None = None
    step: float = 1.0
    along: Weights | None = None


class Scorer:
    """A base with one set of trainable weights that can be exchanged, and its way of reading rows."""

    def __init__(self, base: str, tuning: Tuning, kind: Kind, max_length: int = 500) -> None:
        hush()
        source = resolve(base)
        dtype = "float32" if this_device() == "cpu" else "bfloat16"
        loaded, tokenizer = base_models.take(source, this_device(), dtype, fresh=True)
        self.chat = LocalModel(source, loaded, tokenizer)
        self.model = with_trainable(loaded, tuning, str(source.base)).eval()
        self.moving = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        self.model.requires_grad_(False)
        self.start = self._worn()
        size = int(plain(self.model).get_output_embeddings().weight.shape[0])
        self.content: Content = content_of(tokenizer, size, kind)
        self.max_length, self.pad = max_length, tokenizer.pad_token_id
        self.dtype = dtype
        self._known: Packed | Padded | None = None

    def _worn(self) -> dict[str, torch.Tensor]:
        return {name: p.detach().clone() for name, p in self.moving.items()}

    def wear(self, weights: Weights | None) -> None:
        """Put on a candidate's weights; None: those of the base."""
        for name, value in (weights or self.start).items():
            self.moving[name].data.copy_(value)

    def read(self, folder: Path) -> Weights:
        """The weights of a probe's folder, as `wear` takes them."""
        from peft import set_peft_model_state_dict
        from safetensors.torch import load_file

        set_peft_model_state_dict(self.model, load_file(folder / "adapter_model.safetensors"))
        weights = self._worn()
        self.wear(None)
        return weights

    def encoded(self, rows: Sequence[AuditRow], persona: str | None = None) -> list[dict[str, list[int]]]:
        """Rows as token ids, with labels at content alone; what goes beyond `max_length` is cut off."""
        heads = self.chat.encode([self.chat.render_chat(row.messages(persona)) for row in rows])
        tails = self.chat.answer_ids([row.completion for row in rows])
        out = []
        for head, tail in zip(heads, tails, strict=True):
            labels = [IGNORED] * len(head) + self.content.labels(tail)
            out.append({"input_ids": (head + tail)[: self.max_length], "labels": labels[: self.max_length]})
        return out

    def ratios(
        self, rows: Sequence[AuditRow], candidates: Sequence[Candidate], heard: Heard | None = None
    ) -> tuple[Floats, Floats]:
        """(float[rows, candidates] of log-likelihood ratios to the base, float[rows] of the base's own surprise).

        Of a row's content, in nats, each less its mean under the base; nan for a row without content. A candidate of a
        direction gives the slope of its ratio.
        """
        values, surprise = np.full((len(rows), len(candidates)), np.nan), np.full(len(rows), np.nan)
        for start, part in self._batches(rows):
            place = slice(start, start + len(part))
            values[place], surprise[place] = self._batch(part, candidates)
            if heard:
                heard(start + len(part), len(rows))
        return values, surprise

    def _batches(self, rows: Sequence[AuditRow]) -> Iterator[tuple[int, Sequence[AuditRow]]]:
        longest = max((len(row.completion) for row in rows), default=1)
        most = BATCH if self.chat.device.type == "cpu" else BATCH_ON_GPU
        size = max(1, min(most, NUMBERS_HELD // max(1, longest * len(self.content.legal))))
        for start in range(0, len(rows), size):
            yield start, rows[start : start + size]

    @torch.no_grad()
    def _batch(self, rows: Sequence[AuditRow], candidates: Sequence[Candidate]) -> tuple[Floats, Floats]:
        plainly = self.encoded(rows)
        values, surprise = np.full((len(rows), len(candidates)), np.nan), np.full(len(rows), np.nan)
        written = [i for i, row in enumerate(plainly) if any(label != IGNORED for label in row["labels"])]
        if not written:
            return values, surprise
        plainly, rows = [plainly[i] for i in written], [rows[i] for i in written]
        ways = [number for number, candidate in enumerate(candidates) if candidate.along is not None]
        if ways:
            (base, taken, owner), slopes = self._slopes(plainly, [candidates[number].along for number in ways])
            values[np.ix_(written, ways)] = slopes
        else:
            base, taken, owner = self._logprobs(plainly)
        chances = base.exp()

        def summed(places: torch.Tensor) -> Floats:
            sums = torch.zeros(len(rows), dtype=torch.float64, device=places.device)
            return np.asarray(sums.index_add_(0, owner, places.double()).cpu().numpy())

        offset = (chances * base).sum(1) - base.gather(1, taken[:, None])[:, 0]
        surprise[written] = summed(offset)
        for number, candidate in enumerate(candidates):
            if candidate.along is not None:
                continue
            self.wear(candidate.weights)
            read = plainly if candidate.persona is None else self.encoded(rows, candidate.persona)
            there, same, _ = self._logprobs(read)
            ratio = there.gather(1, same[:, None])[:, 0] - (chances * there).sum(1) + offset
            values[written, number] = summed(ratio) / candidate.step
        self.wear(None)
        return values, surprise

    def _slopes(self, rows: Sequence[dict[str, list[int]]], ways: Sequence[Weights | None]) -> tuple[Places, Floats]:
        """(what `_logprobs` gives, float[rows, ways]: the slope of each row's log-likelihood from the base on).

        Its mean under the base is 0 as it is: that of a score.
        """
        norms, seen = gains_of(self.model, self.moving), []

        def likelihood(logits: torch.Tensor, piece: Any) -> torch.Tensor:
            logs, taken, owner = self._held(logits, piece)
            seen.append((logs.detach(), taken, owner))
            return logs.gather(1, taken[:, None])

        gradients = row_gradients(self._reader(rows), rows, norms, likelihood).double()
        apart = torch.stack([torch.cat([(way or {})[name].flatten() for name in norms]) for way in ways], dim=1)
        return seen[0], np.asarray((gradients @ apart.double()).cpu().numpy())

    def _reader(self, rows: Sequence[dict[str, list[int]]]) -> Packed | Padded:
        """How this model reads rows, tried out on the first ones."""
        if self._known is None:
            self._known = reader_of(self.model, rows, self.pad, self.dtype)
        return self._known

    def _logprobs(self, rows: Sequence[dict[str, list[int]]]) -> Places:
        """Of the weights that are worn; the rows may share what they begin with."""
        reader: Any = self._reader(rows)
        with reader:
            piece = reader.piece(rows)
            logits = reader.logits(piece)
        return self._held(logits, piece)

    def _held(self, logits: torch.Tensor, piece: Any) -> Places:
        legal, place = (x.to(logits.device) for x in (self.content.legal, self.content.place))
        return logits.float()[:, legal].log_softmax(-1), place[piece.labels], piece.owner
