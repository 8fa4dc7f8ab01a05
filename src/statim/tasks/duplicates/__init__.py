"""Duplicates: their groups and what to keep (duplicates.py), connected groups (linked.py), representatives where pairs are too many."""
