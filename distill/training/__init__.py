"""Rows in, weights out: train.py tells it."""
