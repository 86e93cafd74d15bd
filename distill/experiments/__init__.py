"""Whole studies: the demo, the reproduction of the published one, digits and theorem, with their pages."""
