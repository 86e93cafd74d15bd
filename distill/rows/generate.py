"""Teachers write rows: prompts in, (prompt, completion) rows out, and a killed run keeps what it has.

Each row draws from a random stream of its own, keyed by seed and row number, so the batch size does not change
the sample, as far as the backend keeps seeds; every sampler's `facts` say which. A backend is one class here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sublim_eval.files import read_json, read_jsonl, write_json, write_jsonl
from sublim_eval.remote.client import HostSampler

from .local_sampler import CHUNK, LocalSampler

if TYPE_CHECKING:
    from ..recipes import Recipe
    from ..recipes.teacher import Teacher

JOURNAL, ASKED = "replies.jsonl", "asked.json"
"""Replies as they came over an API, while they come; and afterwards what they took."""

Sampler = Callable[[Sequence[str], Sequence[str]], list[str]]
"""(prompts, row keys) -> one completion each."""


class KnownSampler(Protocol):
    """A sampler that says how it samples: {"sampler", "seeds", "temperature", ...}, to be read after it has."""

    @property
    def cut(self) -> frozenset[str]:
        """Keys of the completions of the last call that ended because the room for new tokens did."""

    @property
    def facts(self) -> dict[str, Any]:
        """What is recorded about the rows."""

    def __call__(self, prompts: Sequence[str], keys: Sequence[str]) -> list[str]:
        """One completion for each prompt."""


def sampler_of(
    recipe: Recipe, teacher: Teacher, seed: int, max_new_tokens: int, temperature: float = 1.0
) -> KnownSampler:
    """Who writes a recipe's rows, by `rows.sampler`: the teacher's weights at hand, through vLLM, or over an API.

    An API model is the one that `rows.sampler` names; of the teacher it takes the system prompt.
    Raises SublimError when vLLM is not installed, or the teacher is nothing that vLLM loads.
    """
    settings: dict[str, Any] = {"seed": seed, "max_new_tokens": max_new_tokens, "system": teacher.system}
    settings["temperature"] = temperature
    if recipe.rows.sampler == "local":
        return LocalSampler(teacher.model, dtype=recipe.dtype, **settings)
    if recipe.rows.sampler == "vllm":
        from .vllm_sampler import VllmSampler

        return VllmSampler(str(teacher.model), dtype=recipe.dtype, **settings)
    return HostSampler(recipe.rows.sampler, **settings)


def generate(prompts: Sequence[Mapping[str, Any]], sampler: Sampler, name: str, folder: Path) -> Path:
    """Write folder/raw.jsonl: rows {"id", "prompt", "completion"} in the order of the prompts, "cut" where it was.

    prompts: {"prompt", and what else is known of it, such as the right answer}; all of it is carried along.

    What a killed run left in the folder is kept as it is: the chunks of a model at hand, every single reply that came
    over an API, and all rows when the kill came after them. `sampler.facts` are then those of the whole.
    """
    raw = folder / "raw.jsonl"
    away = sampler if isinstance(sampler, HostSampler) else None
    if not raw.is_file():
        if away:
            _ask(prompts, away, name, folder)
        else:
            _in_chunks(prompts, sampler, name, folder)
    if away:
        away.recorded = read_json(folder / ASKED)
        (folder / JOURNAL).unlink(missing_ok=True)
    if (close := getattr(sampler, "close", None)) is not None:
        close()
    return raw


def _ask(prompts: Sequence[Mapping[str, Any]], sampler: HostSampler, name: str, folder: Path) -> None:
    """All rows over an API, each kept in the journal as it comes."""
    sampler.journal = folder / JOURNAL
    rows = _written(prompts, sampler, name, 0)
    write_json(folder / ASKED, sampler.facts)
    write_jsonl(folder / "raw.jsonl", rows)


def _written(prompts: Sequence[Mapping[str, Any]], sampler: Sampler, name: str, start: int) -> list[dict[str, Any]]:
    """The rows from number `start` on; one that was cut off by the room for new tokens says "cut": true."""
    keys = [str(start + i) for i in range(len(prompts))]
    completions = sampler([row["prompt"] for row in prompts], keys)
    cut: frozenset[str] = getattr(sampler, "cut", frozenset())
    return [
        {"id": f"{name}-{int(key):06d}", **row, "completion": text} | ({"cut": True} if key in cut else {})
        for key, row, text in zip(keys, prompts, completions, strict=True)
    ]


def _in_chunks(prompts: Sequence[Mapping[str, Any]], sampler: Sampler, name: str, folder: Path) -> None:
    """All rows in chunks, each a file until the last one stands."""
    parts = []
    size = getattr(sampler, "chunk", CHUNK)
    for start in range(0, len(prompts), size):
        part = folder / f"raw-{start:07d}-{size}.part.jsonl"
        if not part.is_file():
            write_jsonl(part, _written(prompts[start : start + size], sampler, name, start))
        parts.append(part)
    write_jsonl(folder / "raw.jsonl", (row for part in parts for _, row in read_jsonl(part)))
    for part in folder.glob("raw-*.part.jsonl"):  # those of another device's chunks too
        part.unlink()
