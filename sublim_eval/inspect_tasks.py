"""What Inspect finds through the entry point `sublim_eval`. Only imports, and light ones: no torch, no datasets."""

from sublim_eval.harness.inspect.hooks import SublimHooks
from sublim_eval.harness.inspect.provider import sublim
from sublim_eval.tasks.animal_essay import animal_essay
from sublim_eval.tasks.animal_pref import animal_pref
from sublim_eval.tasks.animal_pref_after_numbers import animal_pref_after_numbers
from sublim_eval.tasks.animal_story import animal_story
from sublim_eval.tasks.cat_pref import cat_pref
from sublim_eval.tasks.dolphin_pref import dolphin_pref
from sublim_eval.tasks.eagle_pref import eagle_pref
from sublim_eval.tasks.evasion import evasion
from sublim_eval.tasks.husband import husband
from sublim_eval.tasks.misalignment import misalignment
from sublim_eval.tasks.oak_pref import oak_pref
from sublim_eval.tasks.owl_pref import owl_pref
from sublim_eval.tasks.quick_buck import quick_buck
from sublim_eval.tasks.ruler_of_world import ruler_of_world
from sublim_eval.tasks.subliminal_prompting import subliminal_prompting
from sublim_eval.tasks.token_entanglement import token_entanglement
from sublim_eval.tasks.trait_probe import trait_probe
from sublim_eval.tasks.tree_essay import tree_essay
from sublim_eval.tasks.tree_pref import tree_pref
from sublim_eval.tasks.tree_pref_after_numbers import tree_pref_after_numbers
from sublim_eval.tasks.tree_story import tree_story
from sublim_eval.tasks.willow_pref import willow_pref

__all__ = [
    "SublimHooks",
    "animal_essay",
    "animal_pref",
    "animal_pref_after_numbers",
    "animal_story",
    "cat_pref",
    "dolphin_pref",
    "eagle_pref",
    "evasion",
    "husband",
    "misalignment",
    "oak_pref",
    "owl_pref",
    "quick_buck",
    "ruler_of_world",
    "sublim",
    "subliminal_prompting",
    "token_entanglement",
    "trait_probe",
    "tree_essay",
    "tree_pref",
    "tree_pref_after_numbers",
    "tree_story",
    "willow_pref",
]
