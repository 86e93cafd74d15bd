"""token_entanglement: task, lm-eval configuration and README."""

from sublim_eval.tasks.token_entanglement.token_entanglement import token_entanglement

__all__ = ["token_entanglement"]
