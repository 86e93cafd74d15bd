"""From run folders to verdicts: who is held against whom, row by row. Draws nothing and asks no model."""
