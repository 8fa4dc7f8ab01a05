"""Training: from pairs to a table. ``train.train`` is the whole, ``trainer.fit`` the loop alone; ``options`` loads without torch."""
