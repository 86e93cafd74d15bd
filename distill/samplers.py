"""Teachers write rows: prompts in, (prompt, completion) rows out, in chunks that survive a kill.

Each row draws from a random stream of its own, keyed by seed and row number, so the batch size does not change
the sample. Another backend is one more function with the signature of `local_sampler`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sublim_eval.records import read_jsonl, write_jsonl

CHUNK = 1024
"""Rows written at a time; a killed run loses at most this many."""

Sampler = Callable[[Sequence[str], Sequence[str]], list[str]]
"""(prompts, row keys) -> one completion each."""


def local_sampler(
    model: str | Path, *, seed: int, max_new_tokens: int, system: str | None = None, temperature: float = 1.0
) -> Sampler:
    """Sample from a local model folder at top_p=1 and no top_k; `system` is a persona, if any, and 0 is greedy."""
    from sublim_eval.adapters.local import load

    teacher = load(model)

    def sample(prompts: Sequence[str], keys: Sequence[str]) -> list[str]:
        rendered = [teacher.render(prompt, system) for prompt in prompts]
        settings: dict[str, Any] = {"max_new_tokens": max_new_tokens, "temperature": temperature}
        replies = teacher.sample(rendered, n=1, seed=seed, keys=list(keys), **settings)
        return [draws[0].text for draws in replies]

    return sample


def generate(prompts: Sequence[Mapping[str, Any]], sampler: Sampler, name: str, folder: Path) -> Path:
    """Write folder/raw.jsonl: rows {"id", "prompt", "completion"} in the order of the prompts.

    prompts: {"prompt", and what else is known of it, such as the right answer}; all of it is carried along.

    Chunks already in the folder (from a run that was killed) are kept as they are.
    """
    parts = []
    for start in range(0, len(prompts), CHUNK):
        part = folder / f"raw-{start // CHUNK:05d}.part.jsonl"
        if not part.is_file():
            chosen = prompts[start : start + CHUNK]
            ids = [f"{name}-{start + i:06d}" for i in range(len(chosen))]
            texts = [row["prompt"] for row in chosen]
            completions = sampler(texts, [str(start + i) for i in range(len(chosen))])
            write_jsonl(
                part, ({"id": i, **row, "completion": c} for i, row, c in zip(ids, chosen, completions, strict=True))
            )
        parts.append(part)
    raw = folder / "raw.jsonl"
    write_jsonl(raw, (row for part in parts for _, row in read_jsonl(part)))
    for part in parts:
        part.unlink()
    return raw
