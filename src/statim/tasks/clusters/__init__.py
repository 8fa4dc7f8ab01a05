"""Clusters: k-means, dense regions and communities, their keywords, and rounding of vectors."""
