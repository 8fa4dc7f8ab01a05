"""The packages whose documentation the benchmarks read, so that machines agree."""

PACKAGES = [
    "stdlib", "datasets", "networkx", "numpy", "pandas", "polars", "scikit-learn", "scipy",
    "sentence-transformers", "sympy", "torch",
    "transformers",
]  # fmt: skip
