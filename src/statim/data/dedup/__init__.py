"""Equal and nearly equal texts: near_duplicates.py compares sets of shingles; folding.py and seen_rows.py find equal ones."""
