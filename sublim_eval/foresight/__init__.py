"""Foresight inside other people's harnesses: the audit of data as an Inspect task and as a Scout scanner."""
