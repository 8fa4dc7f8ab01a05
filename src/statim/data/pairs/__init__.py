"""Pairs of texts: from files, tables and tuples (reading.py), several sets (sets.py), and Python's documentation (python_docs.py)."""
