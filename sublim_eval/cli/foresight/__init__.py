"""Verbs that look ahead: audit, lineage, diff."""
