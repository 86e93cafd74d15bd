"""Results of any mixture of models, seeds, probes and harnesses as one long table: `columns` says what stands in it."""
