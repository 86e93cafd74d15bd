"""Lineage: whether two checkpoints share a base, whether a trait would pass between them, and what a run came from."""
