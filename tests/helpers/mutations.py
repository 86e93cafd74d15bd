"""Hostile edits of good results: what people, editors and broken disks do to a file, drawn from a seeded generator."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

HOSTILE: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 3, 1e308, -1e308, float("nan"), float("inf"), 2**70, 0.5, 1e-300),
    *("", " ", "x", "nan", "\x00", "\x1b[2J", "\ufeff", "\u202eowl", "=1+1", "{foo}", "owl", "../..", "-", "a" * 3000),
    *([], [[]], [None], [[["x", "False"]]], {}, {"a": 1}, {"": None}, [1, 2, 3], "0.5", b"x".hex()),
)
"""Values that stand where something else belongs."""

BYTES = (b"", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"[" * 20_000, b"{", b"}", b"9" * 5000, b"\n", b"\r", b",", b'"')


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in plain data, every level of it."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, part in below for path in paths(part, (*at, key)))]


def edited(value: Any, rng: Random, times: int = 1) -> Any:
    """The same plain data with some places replaced, taken out, doubled or swapped."""
    value = copy.deepcopy(value)
    for _ in range(times):
        places = [path for path in paths(value) if path]
        if not places:
            return rng.choice(HOSTILE)
        path = rng.choice(places)
        holder = value
        for key in path[:-1]:
            holder = holder[key]
        what = rng.random()
        if what < 0.2:
            del holder[path[-1]]
        elif what < 0.3 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[path[-1]]))
        elif what < 0.4:
            other = rng.choice(places)
            at = value
            for key in other:
                at = at[key] if (isinstance(at, dict) and key in at) or (isinstance(at, list) and key < len(at)) else at
            holder[path[-1]] = copy.deepcopy(at)
        else:
            holder[path[-1]] = copy.deepcopy(rng.choice(HOSTILE))
    return value


def torn(data: bytes, rng: Random) -> bytes:
    """The same bytes cut off, with some overwritten, or with others put in."""
    at = rng.randrange(len(data) + 1)
    what = rng.random()
    if what < 0.4:
        return data[:at]
    if what < 0.7:
        return data[:at] + rng.choice(BYTES) + data[at:]
    return data[:at] + rng.randbytes(rng.randrange(1, 40)) + data[at + rng.randrange(40) :]


def as_json(value: Any) -> bytes:
    """Plain data as JSON, what is no JSON too."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
