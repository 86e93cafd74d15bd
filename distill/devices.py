"""This machine's devices: which one a process has, and what it still has room for."""

from __future__ import annotations

import os

import torch


def this_device() -> str:
    """ "cpu", "cuda", or this process's own card among those of a launcher."""
    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{os.environ['LOCAL_RANK']}" if "LOCAL_RANK" in os.environ else "cuda"


def sharded() -> bool:
    """Whether a launcher spreads the weights themselves over processes (FSDP)."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("true", "1")


def free_bytes(device: torch.device) -> int | None:
    """Bytes a GPU still has, what this process caches included; None on a CPU."""
    if device.type != "cuda":
        return None
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0] + cached)
