"""What has misled others, as checks: checks.py runs them over a run, single_files.py over one file."""
