"""Ways to look at rows, one a file."""
