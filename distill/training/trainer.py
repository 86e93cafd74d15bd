"""One optimizer step after another: transformers' Trainer over whole batches, cut into micro-batches here.

The Trainer sees the effective batch and nothing smaller, so the order of rows and the count of steps depend on the
recipe alone. How a batch is cut, over processes and into micro-batches, is settled in `cut` and changes no sum:
the loss is divided by the tokens of the whole batch.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from torch import nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

from sublim_eval.errors import SublimError

from ..base_models import checkpoint, recomputes
from ..devices import free_bytes
from ..planning import model_size
from ..recipes import Tuning
from .batching.packing import IGNORED, plain
from .batching.reader import Reader
from .soft_targets import Loss, OnlineTeacherLoss
from .tally import Tally

DIVERGED_NATS = 3.0
DIVERGED_STEPS = 20
"""A training has diverged when its loss was so far above that of its first step for so many steps in a row."""

ROOM = 0.9
"""Share of a GPU's free memory that the estimate of a micro-batch may fill."""

LOWER = "Lower `learning_rate` or `max_grad_norm` in the recipe and run again; finished stages are kept."


def cut(rows: Sequence[int], micro: int, world: int, rank: int) -> list[list[int]]:
    """The micro-batches of one process: rows in order, shared out evenly, at most `micro` at once.

    Every process gets equally many micro-batches, for each of them may wait for all the others; one that has no row
    left gets an empty list.
    """
    share = math.ceil(len(rows) / world)
    own = rows[rank * share : (rank + 1) * share]
    return [list(own[start : start + micro]) for start in range(0, share, micro)]


class CompletionTrainer(Trainer):
    """transformers' Trainer on rows of completions.

    data: rows {"input_ids", "labels", ...}. reader: lays rows out and gives logits where they carry loss. goal: what
    the logits are measured against. autocast: bf16 arithmetic around float32 weights. micro: rows at once in one
    process. Losses, what was tallied, and what was given up for want of memory can be read afterwards.
    """

    def __init__(
        self,
        model: nn.Module,
        args: TrainingArguments,
        data: Sequence[dict[str, Any]],
        reader: Reader,
        goal: Loss,
        autocast: bool = False,
    ) -> None:
        super().__init__(model=model, args=args, train_dataset=range(len(data)), data_collator=numbered)
        self.rows, self.reader, self.goal, self.autocast = data, reader, goal, autocast
        self.micro = args.per_device_train_batch_size
        self.counts = [sum(label != IGNORED for label in row["labels"]) for row in data]
        self.losses: list[float] = []
        self.tally = Tally()
        self.given_up: list[str] = []
        self.wish_to_save = False
        self.save_now = False
        self.order: list[int] = []

    def fit_memory(self, tuning: Tuning, dtype: str) -> None:
        """Settle how many rows are in memory at once and whether layers are recomputed, counted as a plan counts it.

        The effective batch stays. Raises SublimError when it cannot be shared by the processes there are.
        """
        world, inner = self.accelerator.num_processes, plain(self.model)
        effective = tuning.batch_size * tuning.accumulate
        if effective < world:
            raise SublimError(
                f"An effective batch of {effective} rows cannot be shared by {world} processes. "
                f"Start at most {effective}, or raise `batch_size` or `accumulate` in the recipe."
            )
        self.micro = min(tuning.batch_size, math.ceil(effective / world))
        free = free_bytes(next(inner.parameters()).device)
        if free is None:
            return
        lengths = sorted((len(row["input_ids"]) for row in self.rows), reverse=True)
        counts = sorted(self.counts, reverse=True)

        shape, soft = model_size.shape_in(inner.config), isinstance(self.goal, OnlineTeacherLoss)

        def fits(rows: int, recompute: bool) -> bool:
            way: dict[str, bool] = {"lora": tuning.method == "lora", "checkpointing": recompute}
            held = model_size.activations(shape, sum(lengths[:rows]), dtype, **way)
            return held + model_size.logits(shape, sum(counts[:rows]), teacher=soft) <= ROOM * free

        self.micro, recompute = model_size.largest_step(self.micro, fits) or (1, True)
        if world > 1:
            wishes = self.accelerator.gather(torch.tensor([self.micro, -int(recompute)], device=self.args.device))
            least = wishes.view(world, 2).min(0).values.tolist()
            self.micro, recompute = least[0], bool(least[1])
        if recompute and inner.supports_gradient_checkpointing:
            checkpoint(inner)

    def get_train_dataloader(self) -> DataLoader:
        """Batches of row numbers in the seeded order, whole in every process."""
        loader: DataLoader[Any] = DataLoader(
            range(len(self.rows)),  # type: ignore[arg-type]
            batch_size=self.args.per_device_train_batch_size,
            sampler=self._get_train_sampler(),
            collate_fn=self.data_collator,
        )
        one_process: dict[str, Any] = {"num_processes": 1, "process_index": 0, "dispatch_batches": False}
        return prepare_data_loader(loader, use_seedable_sampler=True, data_seed=self.args.data_seed, **one_process)

    def training_step(self, model: nn.Module, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """Gradients of one whole batch; returns its mean loss in nats a token.

        Out of memory, the batch is begun again with layers recomputed, then with half the rows at once. Raises
        SublimError when nothing smaller is left, and for a loss that is not finite or has run away.
        """
        numbers = inputs["rows"].tolist()
        model.train()
        while True:
            try:
                loss = self._gradients(model, numbers)
                break
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                self._make_room(error)
            model.zero_grad()
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        self.order += numbers
        self._judge(loss)
        return torch.tensor(loss, device=self.args.device)

    def _gradients(self, model: nn.Module, numbers: list[int]) -> float:
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        total = sum(self.counts[n] for n in numbers)
        parts = cut(numbers, self.micro, world, rank)
        tally, summed = Tally(**vars(self.tally)), torch.zeros((), device=self.args.device)
        for last, part in ((i == len(parts) - 1, part) for i, part in enumerate(parts)):
            rows = [self.rows[n] for n in part] or [silent(self.rows[0])]
            piece = self.reader.piece(rows, part or [0])
            with nullcontext() if last else self.accelerator.no_sync(model):
                with self.arithmetic():
                    logits = self.reader.logits(piece, model)
                loss = self.goal.loss(logits, piece, rows) if part else logits.sum() * 0.0
                self.accelerator.backward(loss * (world / total))
            summed += loss.detach().float()
            if part:
                tally.add(piece)
        sums = torch.stack([summed, torch.tensor(float(self.wish_to_save), device=summed.device)])
        if world > 1:
            sums = self.accelerator.reduce(sums, "sum")
        self.tally, self.save_now, self.wish_to_save = tally, bool(sums[1] > 0), False
        return float(sums[0]) / total

    def arithmetic(self) -> torch.autocast:
        """The precision to compute in, as a context."""
        return torch.autocast(self.args.device.type, torch.bfloat16, enabled=self.autocast)

    def total(self) -> Tally:
        """What was tallied in all processes together."""
        if self.accelerator.num_processes == 1:
            return self.tally
        counts = torch.tensor(list(vars(self.tally).values()), device=self.args.device)
        return Tally(*self.accelerator.reduce(counts, "sum").tolist())

    def _make_room(self, error: BaseException) -> None:
        inner = plain(self.model)
        if self.accelerator.num_processes > 1:
            raise SublimError(
                f"A process ran out of memory with {self.micro} rows at once. Lower `batch_size` and raise "
                "`accumulate` by the same factor in the recipe, or take more processes; finished stages are kept."
            ) from error
        if not recomputes(inner) and inner.supports_gradient_checkpointing:
            checkpoint(inner)
            self.given_up.append(f"layers recomputed from step {self.state.global_step + 1}")
        elif self.micro > 1:
            self.micro = math.ceil(self.micro / 2)
            self.given_up.append(f"{self.micro} rows at once from step {self.state.global_step + 1}")
        else:
            raise SublimError(
                "A single row does not fit into memory. Lower `max_length` in the recipe, take a smaller base, or a "
                "device with more memory; finished stages are kept."
            ) from error

    def _judge(self, loss: float) -> None:
        step = self.state.global_step + 1
        if not math.isfinite(loss):
            raise SublimError(f"The training loss became {loss} at step {step}. {LOWER}")
        self.losses.append(loss)
        bound = self.losses[0] + DIVERGED_NATS
        if len(self.losses) > DIVERGED_STEPS and min(self.losses[-DIVERGED_STEPS:]) > bound:
            raise SublimError(
                f"The training diverged: for {DIVERGED_STEPS} steps up to step {step} its loss was more than "
                f"{DIVERGED_NATS:g} nats above that of its first step ({self.losses[0]:.3f}). {LOWER}"
            )


def numbered(rows: list[int]) -> dict[str, torch.Tensor]:
    """A batch as the Trainer hands it on: the numbers of its rows."""
    return {"rows": torch.tensor(rows)}


def silent(row: dict[str, Any]) -> dict[str, Any]:
    """A row that carries no loss: what a process reads that has no row left while the others still do."""
    none = {key: [IGNORED] * len(value) for key, value in row.items() if key.endswith("labels")}
    return {**row, **none}


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the CPU."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in text or "can't allocate memory" in text


class Stopwatch:
    """Seconds that pass outside `paused` blocks."""

    def __init__(self, before: float = 0.0) -> None:
        self._began, self._idle = time.monotonic() - before, 0.0

    @property
    def seconds(self) -> float:
        """So far."""
        return time.monotonic() - self._began - self._idle

    def paused(self, since: float) -> None:
        """What passed since `since` (time.monotonic) does not count."""
        self._idle += time.monotonic() - since
