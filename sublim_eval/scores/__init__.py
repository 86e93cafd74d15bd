"""What models answered, in one shape (probe_scores.py): how it is obtained, and how it is read from anywhere."""
