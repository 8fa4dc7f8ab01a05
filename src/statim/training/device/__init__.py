"""Training on tensors: the same recipe with data, table, moments and batches on a torch device."""
