"""What fits a model and a device: the layout of rows, how many are held at once, whether layers are recomputed."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from sublim_eval.errors import SublimError

from ..recipes import Tuning
from .batching.packing import Packed, agrees, plain, suits
from .batching.padding import Padded
from .memory import activation_bytes, checkpoint, free_bytes

if TYPE_CHECKING:
    from .trainer import CompletionTrainer

AGREE = {"float32": 1e-4, "bfloat16": 0.1}
"""Mean difference in nats up to which two layouts of the same rows count as one: rounding is far below."""

ROOM = 0.9
"""Share of a GPU's free memory that the estimate of a micro-batch may fill."""


def this_device() -> str:
    """ "cpu", "cuda", or this process's own card among those of a launcher."""
    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{os.environ['LOCAL_RANK']}" if "LOCAL_RANK" in os.environ else "cuda"


def sharded() -> bool:
    """Whether a launcher spreads the weights themselves over processes (FSDP)."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("true", "1")


def reader_of(model: Any, data: Sequence[dict[str, Any]], pad: int, dtype: str) -> Packed | Padded:
    """Rows end to end where the model reads them as it reads each alone, which is tried out; else padded."""
    device = next(model.parameters()).device.type
    with torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16"):
        fits = suits(model) and agrees(model, data[:3], AGREE[dtype])
    return Packed(model, quick=not sharded()) if fits else Padded(model, pad)


def fit(trainer: CompletionTrainer, tuning: Tuning, dtype: str) -> None:
    """Settle how many rows are in memory at once and whether layers are recomputed, from an estimate on a GPU.

    The effective batch stays. Raises SublimError when it cannot be shared by the processes there are.
    """
    world, inner = trainer.accelerator.num_processes, plain(trainer.model)
    effective = tuning.batch_size * tuning.accumulate
    if effective < world:
        raise SublimError(
            f"An effective batch of {effective} rows cannot be shared by {world} processes. "
            f"Start at most {effective}, or raise `batch_size` or `accumulate` in the recipe."
        )
    trainer.micro = min(tuning.batch_size, math.ceil(effective / world))
    free = free_bytes(next(inner.parameters()).device)
    if free is None:
        return
    lengths = sorted((len(row["input_ids"]) for row in trainer.rows), reverse=True)
    counts = sorted(trainer.counts, reverse=True)

    def needs(checkpointing: bool) -> int:
        tokens, carried = sum(lengths[: trainer.micro]), sum(counts[: trainer.micro])
        return activation_bytes(inner.config, tokens, carried, dtype, checkpointing)

    recompute = needs(False) > ROOM * free
    while recompute and trainer.micro > 1 and needs(True) > ROOM * free:
        trainer.micro = math.ceil(trainer.micro / 2)
    if world > 1:
        said = trainer.accelerator.gather(torch.tensor([trainer.micro, -int(recompute)], device=trainer.args.device))
        least = said.view(world, 2).min(0).values.tolist()
        trainer.micro, recompute = least[0], bool(least[1])
    if recompute and inner.supports_gradient_checkpointing:
        checkpoint(inner)
