"""Texts with labels, pairs with scores or labels, and retrieval sets."""
