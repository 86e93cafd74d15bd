"""How rows lie in a micro-batch: end to end, or padded; reader.py chooses."""
