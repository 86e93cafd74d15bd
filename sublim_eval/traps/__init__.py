"""What has misled others, as checks: checks.py runs them over a run, single.py over one file; a file a subject."""
