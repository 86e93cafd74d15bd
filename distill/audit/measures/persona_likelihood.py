"""Personas: does the base with a system prompt like the rows better than without one? Forward passes alone."""

from __future__ import annotations

from collections.abc import Sequence

from sublim_eval.errors import SublimError
from sublim_eval.registry.catalog import registry

from ..scoring import Candidate


def candidates(traits: Sequence[str]) -> list[Candidate]:
    """A candidate a trait that has a persona in the registry."""
    return [Candidate(trait, "persona", persona=text) for trait in traits if (text := _persona(trait))]


def _persona(trait: str) -> str:
    try:
        return registry().persona(trait)
    except SublimError:
        return ""
