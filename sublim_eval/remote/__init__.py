"""Models that stand elsewhere: which names mean one, how they are asked without paying twice, how keys stay secret."""
