"""Similarity: distinct vectors, all pairs above a threshold, and a report to choose it by."""
