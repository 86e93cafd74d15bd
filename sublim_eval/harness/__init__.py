"""Frameworks: the only library files that know Inspect, lm-eval or transformers."""
