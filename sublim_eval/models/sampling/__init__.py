"""Drawing replies and scoring strings on a model at hand: prefixes once, rows that end replaced, one step recorded."""
