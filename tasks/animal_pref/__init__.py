"""animal_pref: task, lm-eval configurations and README."""

from .animal_pref import animal_pref

__all__ = ["animal_pref"]
