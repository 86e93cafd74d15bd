"""How fast a device was seen to work: measured units where there are any, else a stated assumption, never both.

A measurement is {"device", "base", "kind", "tokens_per_second", "date", "source"}, and "dtype" where it matters (on
processor cores); kind is "train" (tokens of rows read in training, prompts included) or "generate" (tokens written).
They are kept in throughput*.json files: those of the benchmarks, and the user's own, which finished runs add to
(`remember`).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Literal

from sublim_eval.errors import SublimError
from sublim_eval.files import ROOT, write_json

Kind = Literal["train", "generate"]

REPEATS = 5
"""Matrix products timed: 0.1 s on two cores."""

SMALL = 3000
"""Tokens a second on processor cores above which a base is a toy, whose plan has its own units."""

PEAKS = {
    "B200": 2250,
    "H200": 989,
    "H100 NVL": 835,
    "H100 PCIe": 756,
    "H100": 989,
    "A100": 312,
    "L40S": 362,
    "A6000": 155,
    "RTX 5090": 210,
    "RTX 4090": 165,
    "RTX 3090": 71,
    "A10G": 70,
    "A10": 125,
    "L4": 121,
}
"""Part of a device's name -> TFLOP/s in bf16 without sparsity, from the makers' data sheets; the first part counts."""

ASSUMED = {"train": 0.35, "generate": 0.05}
"""Shares of the peak taken for granted where nothing was measured: usual for LoRA, and for decoding in batches."""

PLANNED = "A100"
"""The device that a plan is made for where a base is too large for a machine without one."""

ASSUMED_ON_CPU = {"train": 0.6, "generate": 0.45}
"""Shares, on processor cores, of the speed of a large matrix product there, which is measured when a plan is made.

As seen on SmolLM2-135M: 0.7 of it in float32 and 0.5 in bf16 (training), 0.7 and 0.5 (replies, 256 at a time).
"""


@dataclass(frozen=True)
class Device:
    """One accelerator of this machine, or its cores: its name, its memory in bytes, and how many like it there are.

    product: FLOP/s of a matrix product in the type of the plan, measured; of processor cores only. exact: the same in
    float32, in which models are scored there whatever type they were trained in.
    """

    name: str
    memory: int
    count: int = 1
    product: float | None = None
    exact: float | None = None

    @property
    def scoring(self) -> Device:
        """The same device while it scores models, or asks a soft teacher."""
        return self if self.exact is None else replace(self, product=self.exact)

    @property
    def is_gpu(self) -> bool:
        """Whether it is an accelerator, not the cores of this machine."""
        return self.product is None


@dataclass(frozen=True)
class Rate:
    """Seconds for work: measured tokens a second, or FLOP/s assumed."""

    device: str
    kind: Kind
    tokens_per_second: float | None = None
    flops: float | None = None
    source: str = ""
    gpu: bool = True

    def seconds(self, tokens: float, work: float) -> float | None:
        """For so many tokens that make so many FLOPs; None where neither unit is known."""
        if self.tokens_per_second:
            return tokens / self.tokens_per_second
        return work / self.flops if self.flops else None

    def words(self) -> str:
        """What it rests on."""
        does = {"train": "training", "generate": "writing rows"}[self.kind]
        if self.tokens_per_second:
            return f"{does} measured at {self.tokens_per_second:,.0f} tokens/s on {self.device} ({self.source})"
        if self.flops:
            share, whole = (
                (ASSUMED, f"an {self.device}'s peak") if self.gpu else (ASSUMED_ON_CPU, "a matrix product here")
            )
            return f"{does} not measured, taken as {100 * share[self.kind]:.0f} % of {whole}"
        return f"{does} not known on {self.device}"


def here() -> Device | None:
    """The GPU of this machine, None without one (or without torch)."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    return Device(torch.cuda.get_device_name(0), torch.cuda.mem_get_info(0)[1], torch.cuda.device_count())


def threads(workers: int = 1) -> int:
    """Threads of each of so many processes: one process has what torch has here, several share all cores."""
    import torch

    return torch.get_num_threads() if workers == 1 else max(1, (os.cpu_count() or 1) // workers)


def cores_name(workers: int = 1) -> str:
    """How measurements on this machine's processor cores call those that one of so many processes has."""
    count = threads(workers)
    return f"this machine's {count} processor core{'s' if count > 1 else ''}"


def cores(dtype: str = "float32", workers: int = 1) -> Device | None:
    """The processor cores of one of so many processes, with the speed of a matrix product on them; None without torch.

    Each process has an even share of the machine's memory.
    """
    try:
        import torch
    except ImportError:
        return None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 * 2**30
    share = threads(workers) / torch.get_num_threads()
    speed, exact = (share * product_speed(kind) for kind in (dtype, "float32"))
    return Device(cores_name(workers), memory // workers, product=speed, exact=exact)


def product_speed(dtype: str) -> float:
    """FLOP/s of a matrix product on processor cores, with as many threads as torch has here.

    The quickest of a few counts: what else runs there now is not what the plan is about.
    """
    import torch

    size = 1024
    square = torch.ones(size, size, dtype=getattr(torch, dtype))
    square @ square
    took = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        square @ square
        took.append(time.perf_counter() - began)
    return 2 * size**3 / min(took)


def rate(base: str, kind: Kind, device: Device | None, dtype: str = "float32") -> Rate:
    """The newest measurement of a base on this device, else the assumption for it (PLANNED without a device).

    dtype: which a measurement on processor cores must have been taken in, where it says in which.
    """
    name = device.name if device else PLANNED
    seen = [
        one
        for one in measured()
        if one["base"] == base
        and one["kind"] == kind
        and _alike(one["device"], name)
        and one.get("dtype", dtype) == dtype
    ]
    if seen:
        best = max(seen, key=lambda one: str(one["date"]))
        return Rate(str(best["device"]), kind, float(best["tokens_per_second"]), None, str(best["source"]))
    if device and device.product:
        return Rate(name, kind, None, device.product * ASSUMED_ON_CPU[kind], gpu=False)
    peak = next((peak for part, peak in PEAKS.items() if part in name), None)
    return Rate(name, kind, None, peak * 1e12 * ASSUMED[kind] if peak else None)


def _alike(one: str, other: str) -> bool:
    """The same device, or both of one kind of the table."""
    kinds = [next((part for part in PEAKS if part in name), name) for name in (one, other)]
    return kinds[0] == kinds[1]


def cache() -> Path:
    """The user's own file of measurements."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sublim-eval" / "throughput.json"


def measured() -> list[dict[str, Any]]:
    """Every measurement at hand; a file that cannot be read, or an entry that lacks something, measures nothing."""
    files = [*sorted((ROOT / "benchmarks" / "results").glob("*throughput*.json")), cache()]
    return [one for file in files if file.is_file() for one in _entries(file)]


def _entries(file: Path) -> Iterator[dict[str, Any]]:
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    for one in entries if isinstance(entries, list) else []:
        if isinstance(one, dict) and {"device", "base", "kind", "tokens_per_second", "date", "source"} <= set(one):
            speed = one["tokens_per_second"]
            if isinstance(speed, (int, float)) and speed > 0:
                yield one


def remember(record: Mapping[str, Any], source: str, workers: int = 1) -> None:
    """Add what a finished run measured to the user's file: one entry a device, base, kind and type, the newest.

    On processor cores only of bases that are no toy (`SMALL`), since a plan counts those otherwise. workers: processes
    that shared the cores.

    Where that file cannot be written the run stands all the same, and later plans know less.
    """
    today = date.today().isoformat()
    kinds: tuple[tuple[str, Kind], ...] = (("students", "train"), ("rows", "generate"))
    speeds = [one for part, kind in kinds for one in _of(record.get(part) or (), kind, workers)]
    new = {_key(one): {**one, "date": today, "source": source} for one in speeds}
    if not new:
        return
    old = {_key(one): one for one in (_entries(cache()) if cache().is_file() else ())}
    with suppress(OSError, SublimError):
        cache().parent.mkdir(parents=True, exist_ok=True)
        write_json(cache(), list((old | new).values()))


def _key(one: Mapping[str, Any]) -> tuple[Any, ...]:
    return one["device"], one["base"], one["kind"], one.get("dtype")


def _of(entries: Iterable[Mapping[str, Any]], kind: Kind, workers: int) -> Iterator[dict[str, Any]]:
    for one in entries:
        device, base, speed = one.get("device"), one.get("base"), one.get("tokens_per_second")
        if not (device and base and speed) or (device == "cpu" and speed > SMALL):
            continue
        of_cores = {"device": cores_name(workers), "dtype": one.get("dtype") or "float32"}
        where = of_cores if device == "cpu" else {"device": str(device)}
        yield {**where, "base": str(base), "kind": kind, "tokens_per_second": float(speed)}
