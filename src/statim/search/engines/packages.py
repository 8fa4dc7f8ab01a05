"""The packages that approximate engines need, loaded when they are, each held to a number of threads.

The threads of faiss (OpenMP) and ScaNN do not survive a fork, and the child would wait for them for ever: it
does their work on one.
"""

import contextlib
import importlib
import os
import sys
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
            f'this needs {name}, which is not installed; pip install "statim[search]", or search '
            "exactly (--search exact)"
        ) from None


_forked: set[str] = set()  # packages that a process had loaded which this one was forked from


def _mark() -> None:
    _forked.update({"faiss", "scann"} & set(sys.modules))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mark)


def allowed(name: str, threads: int) -> int:
    """How many of ``threads`` a package may use: one, if its own belong to the process forked from."""
    return 1 if name in _forked else threads


@contextlib.contextmanager
def faiss_threads(threads: int) -> Iterator[Any]:
    """faiss, held to the number of threads (see ``allowed``) inside the block.

    Raises:
        DependencyError: It is not installed.
    """
    faiss = package("faiss")
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(allowed("faiss", threads))
    try:
        yield faiss
    finally:
        faiss.omp_set_num_threads(before)
