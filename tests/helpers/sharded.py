"""Run by test_launch under torchrun: a model whose weights are spread over two processes reads rows end to end.

Prints the largest relative difference of any gradient to that of the whole model reading every row alone.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from test_packing import ROWS, alone, built, gradients
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from sublim_eval.distill.recipes import Tuning
from sublim_eval.distill.training.batching.packing import Packed, plain
from sublim_eval.distill.training.model_setup import with_trainable


def adapted() -> torch.nn.Module:
    model = with_trainable(built("qwen2"), Tuning("lora", learning_rate=0.1, steps=1), "")
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.1)
    return model.train()


def main() -> None:
    dist.init_process_group("gloo")
    rank, mesh = dist.get_rank(), init_device_mesh("cpu", (2,))
    whole, model = adapted(), adapted()
    wanted = gradients(whole, alone(whole))
    with Packed(model, quick=False) as packed:
        for layer in plain(model).model.layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
        piece = packed.piece(ROWS[2 * rank : 2 * rank + 2])
        F.cross_entropy(packed.logits(piece, model), piece.labels, reduction="sum").backward()
    apart = 0.0
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            found = 2 * parameter.grad.full_tensor()  # the processes' mean, and the loss is their sum
            apart = max(apart, float((found - wanted[name]).norm() / wanted[name].norm().clamp(min=1e-9)))
    if rank == 0:
        print(f"{type(next(model.parameters())).__name__} {apart:.2e}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
