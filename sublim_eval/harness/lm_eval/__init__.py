"""lm-eval: the functions that the YAML files in tasks/ name with `!function`; one file for each family of probes."""
