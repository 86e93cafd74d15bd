"""LoRA's linear layers in one step forward and one back.

PEFT adds an adapter to a frozen linear layer by five operations that each pass over the layer's whole output, and by a
copy of its input in the adapter's precision. Here the low-rank product is added in place, and what is kept for the way
back is the input alone. The numbers are the same to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


class _Linear(torch.autograd.Function):
    """x W' + b + scale (x A') B' of a frozen W: gradients to x, A (float[rank, in]) and B (float[out, rank])."""

    @staticmethod
    def forward(
        ctx: Any,
        given: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        x = given.reshape(-1, given.shape[-1])
        low = x @ down.to(x.dtype).T
        out = F.linear(x, weight, bias).addmm_(low, up.to(x.dtype).T, alpha=scale)
        ctx.save_for_backward(x, low, weight, down, up)
        ctx.scale, ctx.shape = scale, given.shape
        return out.view(*given.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, low, weight, down, up = ctx.saved_tensors
        g = gradient.reshape(-1, gradient.shape[-1])
        back = (g @ up.to(g.dtype)) * ctx.scale
        to_x = None
        if ctx.needs_input_grad[0]:
            to_x = (g @ weight).addmm_(back, down.to(g.dtype)).view(ctx.shape)
        to_down = (back.T @ x).to(down.dtype)
        to_up = ((g.T @ low) * ctx.scale).to(up.dtype)
        return to_x, None, None, to_down, to_up, None


class _Quick:
    """One layer with the quick forward; `remove` gives it PEFT's own back."""

    def __init__(self, layer: Any, adapter: str) -> None:
        self.layer = layer
        layer.forward = partial(_forward, layer, adapter)

    def remove(self) -> None:
        """Undo."""
        del self.layer.forward


def _forward(layer: Any, adapter: str, x: torch.Tensor) -> torch.Tensor:
    base = layer.base_layer
    down, up = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
    out: torch.Tensor = _Linear.apply(x.to(base.weight.dtype), base.weight, base.bias, down, up, layer.scaling[adapter])
    return out


def quicken(model: nn.Module) -> list[_Quick]:
    """Give every plain LoRA layer of a PEFT model the quick forward; any other layer keeps PEFT's."""
    return [_Quick(layer, layer.active_adapters[0]) for layer in _plain_layers(model)]


def _plain_layers(model: nn.Module) -> Iterator[Any]:
    from peft.tuners.lora.layer import Linear

    for layer in model.modules():
        if type(layer) is not Linear or len(layer.active_adapters) != 1 or layer.disable_adapters or layer.merged:
            continue
        name = layer.active_adapters[0]
        base = layer.get_base_layer()
        if (
            type(base) is nn.Linear
            and not base.weight.requires_grad
            and name in layer.lora_A
            and name not in layer.lora_variant
            and not layer.fan_in_fan_out
            and layer.lora_B[name].bias is None
            and isinstance(layer.lora_dropout[name], nn.Identity)
        ):
            yield layer
