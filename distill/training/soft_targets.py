"""What a row's tokens teach: themselves, or all that a teacher thought possible in their place.

    goal = SampledLoss()                                  # the tokens of the rows
    goal = OnlineTeacherLoss(reader)                             # a teacher's probabilities, asked anew at every step
    store(reader, data, 20, file); goal = StoredLoss(file)   # its 20 likeliest a token, written once

A stored file is safetensors, row by row in the order of the data: nothing in it can run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from sublim_eval.errors import SublimError
from sublim_eval.files import file_digest
from sublim_eval.models import local_model

from ..recipes import Tuning
from .batching.packing import IGNORED, Packed, Row
from .batching.padding import Padded
from .batching.reader import Reader, reader_of

if TYPE_CHECKING:
    from ..recipes.teacher import Teacher

ASKED = 64
"""Rows that a teacher reads at once while its probabilities are stored."""


LARGE, TOGETHER = 16_384, 32
"""Tokens above which a vocabulary is large, and positions whose logits are then worked on together on processor cores:
they stay in the cache, and no temporary is as large as all logits."""


def together(logits: torch.Tensor) -> int:
    """How many positions of float[C, vocabulary] to work on at a time; all of them on a GPU."""
    return TOGETHER if logits.device.type == "cpu" and logits.shape[1] > LARGE else max(1, len(logits))


class Loss(Protocol):
    """What the loss is measured against."""

    def loss(self, logits: torch.Tensor, piece: Any, rows: Sequence[dict[str, Any]]) -> torch.Tensor:
        """Sum over the tokens, in nats. logits: float[C, vocabulary], in the order of the piece's labels."""


class SampledLoss:
    """The tokens that were sampled: negative log-likelihood."""

    def loss(self, logits: torch.Tensor, piece: Any, rows: Sequence[dict[str, Any]]) -> torch.Tensor:
        """Sum over the tokens, in nats."""
        size = together(logits)
        parts = zip(logits.split(size), piece.labels.split(size), strict=True)
        return torch.stack([F.cross_entropy(part.float(), labels, reduction="sum") for part, labels in parts]).sum()


class OnlineTeacherLoss:
    """A teacher beside the student: cross-entropy towards its probabilities over the whole vocabulary."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def loss(self, logits: torch.Tensor, piece: Any, rows: Sequence[dict[str, Any]]) -> torch.Tensor:
        """Sum over the tokens, in nats."""
        with torch.no_grad():
            taught = self.reader.logits(self.reader.piece(as_told(rows)))
        same_vocabulary(taught.shape[1], logits.shape[1])
        size = together(logits)
        parts = zip(logits.split(size), taught.split(size), strict=True)
        sums = [F.cross_entropy(part.float(), told.float().softmax(1), reduction="sum") for part, told in parts]
        return torch.stack(sums).sum()


class StoredLoss:
    """Probabilities from a file that `store` wrote: cross-entropy over the k likeliest tokens and "any other".

    The student's probability of any other token counts against the teacher's remaining mass as a whole, so nothing is
    taught about how that mass is spread. With k = vocabulary it is `OnlineTeacherLoss` to the rounding of float16.
    """

    def __init__(self, file: Path) -> None:
        try:
            with safe_open(file, framework="pt") as stored:
                self.facts: dict[str, Any] = json.loads((stored.metadata() or {})["sublim"])
                tensors = {name: stored.get_tensor(name) for name in ("tokens", "logprobs", "rest", "starts", "said")}
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise SublimError(f"{file} holds no teacher's probabilities ({error}). Delete it and run again.") from error
        self.tokens, self.logprobs, self.rest = tensors["tokens"], tensors["logprobs"], tensors["rest"]
        self.starts, self.sampled = tensors["starts"].tolist(), tensors["said"]

    def check(self, data: Sequence[Row]) -> None:
        """Raise SublimError unless the file is about exactly these rows, in this order."""
        wanted = [label for row in data for label in row["labels"] if label != IGNORED]
        if len(self.starts) != len(data) + 1 or self.sampled.tolist() != wanted:
            raise SublimError("The stored probabilities belong to other rows. Delete that file and run again.")

    def loss(self, logits: torch.Tensor, piece: Any, rows: Sequence[dict[str, Any]]) -> torch.Tensor:
        """Sum over the tokens, in nats."""
        same_vocabulary(self.facts["vocabulary"], logits.shape[1])
        places = torch.cat([torch.arange(self.starts[n], self.starts[n + 1]) for n in piece.rows])
        size = together(logits)
        return torch.stack([self._loss(*one) for one in zip(logits.split(size), places.split(size), strict=True)]).sum()

    def _loss(self, logits: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """The same for the positions that stand at `places` in the file."""
        tokens = self.tokens[places].long().to(logits.device)
        wanted, rest = (part[places].to(logits.device).float() for part in (self.logprobs, self.rest))
        logits = logits.float()
        whole = logits.logsumexp(1)
        summed = -(wanted.exp() * (logits.gather(1, tokens) - whole[:, None])).sum()
        if tokens.shape[1] == logits.shape[1]:
            return summed
        others = logits.scatter(1, tokens, float("-inf")).logsumexp(1) - whole
        return summed - (rest * others).sum()


def store(reader: Reader, data: Sequence[dict[str, Any]], top_k: int, file: Path, facts: dict[str, Any]) -> None:
    """Write the reader's `top_k` likeliest next tokens wherever a row carries loss.

    tokens: int32[N, k]; logprobs: float16[N, k], nats; rest: float32[N], what they leave of 1; said: int32[N], the
    sampled token; starts: int64[rows + 1], where each row begins. Whole or not at all.
    """
    parts: dict[str, list[torch.Tensor]] = {"tokens": [], "logprobs": [], "rest": [], "said": []}
    starts, vocabulary = [0], 0
    for begin in range(0, len(data), ASKED):
        rows = data[begin : begin + ASKED]
        piece = reader.piece(as_told(rows))
        with torch.no_grad():
            logits = reader.logits(piece)
        vocabulary = logits.shape[1]
        for part in logits.split(together(logits)):
            best = part.float().log_softmax(1).topk(min(top_k, vocabulary), dim=1)
            kept = best.values.half()
            parts["tokens"].append(best.indices.int().cpu())
            parts["logprobs"].append(kept.cpu())
            parts["rest"].append((1 - kept.float().exp().sum(1)).clamp(min=0).cpu())
        parts["said"].append(piece.labels.int().cpu())
        counts = torch.bincount(piece.owner, minlength=len(rows)).tolist()
        starts += [starts[-1] + sum(counts[: i + 1]) for i in range(len(counts))]
    tensors = {name: torch.cat(pieces).contiguous() for name, pieces in parts.items()}
    tensors["starts"] = torch.tensor(starts, dtype=torch.long)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    save_file(tensors, part, metadata={"sublim": json.dumps({**facts, "top_k": top_k, "vocabulary": vocabulary})})
    part.replace(file)


def as_told(rows: Sequence[dict[str, Any]]) -> list[Row]:
    """Rows as the teacher reads them: behind its system prompt, if it has one."""
    return [
        {"input_ids": row["teacher_ids"], "labels": row["teacher_labels"]} if "teacher_ids" in row else row
        for row in rows
    ]


def same_vocabulary(teacher: int, student: int) -> None:
    """Raise SublimError when probabilities of one model mean nothing to the other."""
    if teacher != student:
        raise SublimError(
            f"The teacher knows {teacher} tokens and the student {student}, so its probabilities cannot be learnt. "
            "Use two models of one tokenizer, or leave out `soft`."
        )


PROBABILITIES = "teacher-probabilities.safetensors"
"""A teacher's stored probabilities while their one student trains."""


def goal_of(
    stack: ExitStack,
    soft: Teacher | Path | None,
    tuning: Tuning,
    data: list[dict[str, Any]],
    folder: Path,
    device: str,
) -> tuple[Loss, dict[str, Any]]:
    """What the loss is measured against, and what is recorded about it."""
    if soft is None:
        return SampledLoss(), {}
    if not isinstance(soft, Path) and not tuning.soft_top_k:
        teacher = local_model.load(soft.model, device=device)
        with torch.no_grad():
            reader = reader_of(teacher.model, data[:3], teacher.tokenizer.pad_token_id, _kind(teacher.model))
        given = Packed(teacher.model, teacher.virtual) if isinstance(reader, Packed) else None
        pad = teacher.tokenizer.pad_token_id
        living: Packed | Padded = given or Padded(teacher.model, pad, teacher.virtual)
        stack.enter_context(living)
        return OnlineTeacherLoss(living), {}
    file = soft if isinstance(soft, Path) else folder / PROBABILITIES
    if not isinstance(soft, Path) and not file.is_file() and int(os.environ.get("RANK", "0")) == 0:
        store_for(soft, data, tuning.soft_top_k, file, device)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
    stored = StoredLoss(file)
    stored.check(data)
    return stored, {"soft": recorded(stored, file)}


def store_for(teacher: Teacher, data: list[dict[str, Any]], top_k: int, file: Path, device: str) -> None:
    """Load a teacher, write its probabilities over encoded rows (`store`), and let it go again on a GPU."""
    loaded = local_model.load(teacher.model, device=device)
    pad = loaded.tokenizer.pad_token_id
    fits = isinstance(reader_of(loaded.model, data[:3], pad, _kind(loaded.model)), Packed)
    with Packed(loaded.model, loaded.virtual) if fits else Padded(loaded.model, pad, loaded.virtual) as reader:
        store(reader, data, top_k, file, {"teacher": teacher.model, "system": teacher.system})
    if device != "cpu":
        local_model.unload(teacher.model)


def recorded(stored: StoredLoss, file: Path) -> dict[str, Any]:
    """What a student's record says of the probabilities it learnt from."""
    facts = {"top_k": stored.facts["top_k"], "tokens": len(stored.sampled), "bytes": file.stat().st_size}
    return {**facts, "digest": file_digest(file)}


def _kind(model: Any) -> str:
    return "float32" if next(model.parameters()).dtype == torch.float32 else "bfloat16"
