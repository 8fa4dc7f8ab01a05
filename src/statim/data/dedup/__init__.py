"""Near-duplicates by shingles (near_duplicates.py), equal texts (folding.py, seen_rows.py)."""
