"""Search: one pass over stored vectors, products of bytes, and the best scores of each query."""
