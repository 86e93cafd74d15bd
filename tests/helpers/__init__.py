"""What tests share: tiny models, planted runs, a fake provider. No test stands here."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""

RECIPES = Path(__file__).with_name("recipes")
"""Recipes that take seconds."""
