"""A set's distinct vectors (vector_set.py), all pairs above a threshold (similarity_join.py), and a report to choose it by (thresholds.py)."""
