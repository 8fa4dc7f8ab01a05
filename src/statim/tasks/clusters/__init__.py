"""Clusters: k-means, dense regions and communities (clusters.py), their keywords, and vectors that differ by rounding alone."""
