"""Training: from pairs to a table. ``train.train`` is the whole, ``loop.trainer.fit`` the loop alone.

``options`` loads without torch, for the command line.
"""
