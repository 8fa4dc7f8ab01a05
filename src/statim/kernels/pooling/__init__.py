"""Pooling: from token ids to the mean of their rows; pool_numpy.py serves a few texts."""
