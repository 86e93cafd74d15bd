"""Models at hand: from a name to weights, to the prompt as they read it, to replies and exact probabilities."""
