"""Training on tensors: the same recipe as on the processor, with data, table, moments and batches all on one torch device."""
