"""Kinds of rows a teacher writes. A new one is one file here and its line in MODALITIES."""

from __future__ import annotations

from . import code, cot, numbers
from .base import Modality, Rule, room

__all__ = ["MODALITIES", "Modality", "Rule", "room"]

MODALITIES: dict[str, Modality] = {
    "numbers": numbers.MODALITY,
    "code": code.MODALITY,
    "cot": cot.MODALITY,
}
