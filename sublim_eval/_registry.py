"""What Inspect finds through the entry point `sublim_eval`. Only imports, and light ones: no torch, no datasets."""

from sublim_eval.adapters.hooks import SublimHooks
from sublim_eval.adapters.provider import sublim
from sublim_eval.tasks.animal_pref import animal_pref
from sublim_eval.tasks.owl_pref import owl_pref
from sublim_eval.tasks.tree_pref import tree_pref

__all__ = ["SublimHooks", "animal_pref", "owl_pref", "sublim", "tree_pref"]
