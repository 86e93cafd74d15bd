"""Traps in weights: files of zeros or of no numbers, and an adapter that changes no logit however it looks on disk."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sublim_eval.errors import SublimError
from sublim_eval.traps.finding import Finding

WORDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
"""How numpy reads a tensor's bytes; BF16 is the upper half of an F32."""

STILL = 1e-6
"""Nats a token by which no log-probability moved: below it an adapter has changed nothing."""

LARGEST = 4 * 2**30
"""Bytes of a base above which a check does not load it."""

DULLED = 0.5
"""Nats a token by which a student predicts the base's own rows worse than its control does."""

ASKED = 8
"""Rows that are read to a model."""

Read = Callable[[str, Sequence[tuple[str, str]]], NDArray[np.float64]]
"""(model, (prompt, completion) pairs) -> float64[tokens of all completions], log-probability of each token, nats."""


# ---------------------------------------------------------------- files


def tensors(file: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    """(name, numbers) of a safetensors file, one tensor in memory at a time; of integer kinds the raw bytes.

    Raises SublimError for a file that is torn or none.
    """
    try:
        with file.open("rb") as opened:
            size = struct.unpack("<Q", opened.read(8))[0]
            head: dict[str, Any] = json.loads(opened.read(min(size, 2**28)))
            for name, entry in head.items():
                if name != "__metadata__":
                    start, stop = entry["data_offsets"]
                    opened.seek(8 + size + start)
                    yield name, _numbers(opened.read(stop - start), entry["dtype"], stop - start)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise SublimError(f"{file} is torn or no safetensors file ({error}). Train the student again.") from None


def _numbers(data: bytes, kind: str, size: int) -> NDArray[Any]:
    if len(data) < size:
        raise ValueError("it ends early")
    if kind == "BF16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(data, WORDS.get(kind, "u1"))


@dataclass(frozen=True)
class Contents:
    """What a weight file holds: names of its tensors, of those that are zero all over, and of those with a number
    that is none (NaN, infinite)."""

    names: tuple[str, ...]
    zero: tuple[str, ...]
    broken: tuple[str, ...]


def contents(file: Path) -> Contents:
    """Look through a safetensors file."""
    names, zero, broken = [], [], []
    for name, numbers in tensors(file):
        names.append(name)
        if numbers.size and not numbers.any():
            zero.append(name)
        if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
            broken.append(name)
    return Contents(tuple(names), tuple(zero), tuple(broken))


def idle(seen: Contents) -> list[str]:
    """The zero tensors by which a file changes nothing: LoRA's A or B in every place, or all there is."""
    zero = set(seen.zero)
    halves = [n for n in seen.names if "lora_A" in n or "lora_B" in n or "lora_embedding_" in n]
    if not halves:
        return sorted(zero) if zero == set(seen.names) else []
    places = {_place(n) for n in halves}
    dead = {_place(n) for n in halves if n in zero}
    return sorted(zero) if dead == places and all(n in zero for n in seen.names if n not in halves) else []


def _place(name: str) -> str:
    for half in ("lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B"):
        name = name.replace(half, "lora")
    return name


def usable(files: Mapping[str, Contents], where: str = "") -> Finding | None:
    """A fault where a weight file holds no numbers or changes nothing, else None. files: name -> what it holds."""
    trap = "adapter not applied"
    for name, seen in files.items():
        if seen.broken:
            words = f"{name} holds numbers that are none (NaN or infinite) in {seen.broken[0]}"
            return Finding(trap, "fault", f"{words}: no answer means anything. Train the student again.", where)
        if dead := idle(seen):
            words = f"{dead[0]} holds zeros only, so the adapter changes nothing. Train the student again."
            return Finding(trap, "fault", words, where)
    return None


# ---------------------------------------------------------------- logits


def moves_logits(with_it: NDArray[np.float64], without: NDArray[np.float64], where: str = "") -> Finding:
    """Whether a student gives other log-probabilities than its base; both float64[tokens], of the same words, nats."""
    trap = "adapter silently not applied"
    if with_it.shape != without.shape or not with_it.size:
        return Finding(trap, "not checked", "student and base do not read the same tokens; compare them by hand", where)
    if not np.isfinite(with_it).all():
        words = "the student's logits are no numbers (NaN or infinite). Train the student again."
        return Finding(trap, "fault", words, where)
    most = float(np.abs(with_it - without).max())
    if most < STILL:
        words = f"no log-probability of {with_it.size} tokens moved by {STILL:g} nats: the weights are not applied"
        return Finding(
            trap, "fault", f"{words}. Look at the adapter's type and target modules, then train again.", where
        )
    return Finding(trap, "ok", f"log-probabilities of {with_it.size} tokens move by up to {most:.2g} nats", where)


def still_able(student: float, control: float, base: float, where: str = "") -> Finding:
    """Whether a student predicts plain rows as well as its control; all in nats a token, smaller is better."""
    trap = "organism damaged"
    words = f"nats a token on the base's own rows: student {student:.2f}, control {control:.2f}, base {base:.2f}"
    if student - control > DULLED:
        step = "Quote it beside the verdict, and train more gently."
        return Finding(trap, "warning", f"{words}: the student can do less. {step}", where)
    return Finding(trap, "ok", words, where)


def read_aloud(model: str, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float64]:
    """Log-probability, nats, of every token of the completions, as this model reads them after their prompts.

    Raises SublimError when the model is not at hand, too large for a look (LARGEST), or does not fit its files.
    """
    from sublim_eval.models.model_ref import resolve

    source = resolve(model)
    if not source.size:
        raise SublimError(f"{source.base} is not on this disk. Download it, then check again.")
    if source.size > LARGEST:
        raise SublimError(f"{source.base} has {source.size / 2**30:.0f} GiB, too much to load for a check.")
    import torch

    from sublim_eval.models.local_model import load

    network = load(model, idle=True)
    logs = []
    with torch.inference_mode():
        for prompt, completion in pairs:
            before = network.encode([network.render(prompt)])[0]
            after = network.tokenizer(completion, add_special_tokens=False)["input_ids"]
            if before and after:
                logs.append(_token_logs(network, before, after))
    return np.concatenate(logs) if logs else np.zeros(0)


def _token_logs(network: Any, before: Sequence[int], after: Sequence[int]) -> NDArray[np.float64]:
    import torch

    ids = torch.tensor([[*before, *after]], device=network.device)
    words = network.model.get_input_embeddings()(ids)
    if network.virtual is not None:
        words = torch.cat([network.virtual[None].to(words), words], dim=1)
    logits = network.model(inputs_embeds=words, use_cache=False).logits[0, -len(after) - 1 : -1]
    logs = logits.double().log_softmax(-1).gather(1, ids[0, -len(after) :, None])[:, 0]
    return np.asarray(logs.cpu().numpy(), dtype=np.float64)
