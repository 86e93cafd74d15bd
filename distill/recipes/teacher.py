"""A teacher as a value: a model that can be asked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Teacher:
    """A model that can be asked: a folder or name, and the system prompt that comes with it, if any."""

    model: str
    system: str | None = None
