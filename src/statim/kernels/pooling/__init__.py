"""Pooling: from token ids to the mean of their rows. pool.py and blocks.py are compiled; pool_numpy.py serves a few texts."""
