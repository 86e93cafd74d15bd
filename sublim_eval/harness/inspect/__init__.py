"""Inspect: tasks, solvers, scorers and metrics; one file for each family of probes. Public Inspect API only."""
