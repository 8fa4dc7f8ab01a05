"""The loop: steps, the optimizer, and hard negatives mined on the way."""
