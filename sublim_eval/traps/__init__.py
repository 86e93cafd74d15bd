"""What has misled others, as checks: checks.py runs them; rows, training and answers hold a function a trap."""
