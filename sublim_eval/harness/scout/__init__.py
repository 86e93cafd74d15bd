"""Scanners for Inspect Scout: what in any log makes its figures mean less than they seem."""
