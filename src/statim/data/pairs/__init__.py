"""Pairs of texts: from files, tables and tuples, several sets, and Python's documentation."""
