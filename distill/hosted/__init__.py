"""Students trained at a provider, and the journal by which nothing is paid for twice."""
