"""Imported first by the ways into training, so that a missing torch is told in one sentence."""

from statim.errors import DependencyError

try:
    import torch as torch
except ImportError:
    raise DependencyError(
        'training needs torch, which is not installed; pip install "statim[train]"'
    ) from None
