"""What has misled others, as checks: checks.py runs them over a run, rows, training and answers hold them, one function a trap."""
