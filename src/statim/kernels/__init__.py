"""The loops that must be fast: plain functions over arrays, compiled by numba, that release the interpreter lock."""
