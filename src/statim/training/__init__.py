"""Training: from pairs to a table. ``train.train`` is the whole; ``trainer.fit`` the loop alone."""

from statim.errors import DependencyError

try:
    import torch as torch
except ImportError:
    raise DependencyError(
        'training needs torch, which is not installed; pip install "statim[train]"'
    ) from None
