"""Recipes: one YAML per experiment that people run, read strictly into frozen settings.

    recipe = recipes.load("quickstart")

What a recipe may say, with the defaults, is in settings.py; which arm is held against which in controls.py; an arm on
one seed, with its folders, in seeded_arm.py; a recipe as a whole, and how its file is read, in recipe.py.
"""

from sublim_eval.registry.experiment import Expected

from .recipe import Recipe, file_of, load, names
from .seeded_arm import SeededArm
from .settings import Arm, Hosting, Rows, Teaching, Tuning, Tweak

__all__ = [
    "Arm",
    "Expected",
    "Hosting",
    "Recipe",
    "Rows",
    "SeededArm",
    "Teaching",
    "Tuning",
    "Tweak",
    "file_of",
    "load",
    "names",
]
