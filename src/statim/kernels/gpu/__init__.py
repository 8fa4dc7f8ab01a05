"""Training on a GPU, in Triton."""
