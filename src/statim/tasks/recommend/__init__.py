"""Recommendation: items like these (recommend.py), learned from baskets (baskets.py, basket_training.py, basket_judging.py)."""
