"""Who does the jobs of a run, and where: processes here, nodes elsewhere, a shared storage."""
