"""Foresight: what is in rows, before anybody trains on them. audit.py tells the story."""
