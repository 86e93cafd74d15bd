"""owl_pref: task, lm-eval configurations and README."""

from .owl_pref import owl_pref

__all__ = ["owl_pref"]
