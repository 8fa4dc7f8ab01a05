"""Duplicates: groups and what to keep, linked groups, and representatives for crowded regions."""
