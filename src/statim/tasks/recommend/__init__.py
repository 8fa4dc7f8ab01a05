"""Recommendation: items like these, from their texts and perhaps learned from baskets."""
