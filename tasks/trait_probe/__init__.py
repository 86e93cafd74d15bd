"""trait_probe: task, lm-eval configurations and README."""

from sublim_eval.tasks.trait_probe.trait_probe import trait_probe

__all__ = ["trait_probe"]
