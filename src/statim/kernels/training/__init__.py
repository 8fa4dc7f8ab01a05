"""Training: batches, losses, gradients and updates of rows."""
