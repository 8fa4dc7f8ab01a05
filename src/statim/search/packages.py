"""The packages that approximate engines need, loaded when they are, each held to a number of threads."""

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

from statim.errors import DependencyError


def package(module: str) -> Any:
    """A module of one of them.

    Raises:
        DependencyError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        name = module.split(".")[0]
        raise DependencyError(
            f'this needs {name}, which is not installed; pip install "statim[search]", or search exactly (--search exact)'
        ) from None


@contextlib.contextmanager
def faiss_threads(threads: int) -> Iterator[Any]:
    """faiss, held to the number of threads inside the block.

    Raises:
        DependencyError: It is not installed.
    """
    faiss = package("faiss")
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    try:
        yield faiss
    finally:
        faiss.omp_set_num_threads(before)
