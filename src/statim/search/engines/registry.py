"""The engines by name, and which one to take: the one place where a name is resolved.

    exact                       every vector, in float32; recall 1
    exact-float16, exact-int8   every vector, in fewer bytes
    exact-binary                every vector by one bit a dimension, then the best again in int8
    binary, int8, funnel        every vector in bits, int8 or few dimensions; the best again in float32
    faiss-flat, -ivf, -hnsw, -pq; scann; usearch-f32, -f16, -i8, -b1
                                an index of that package, then the best again in float32

All but the first three keep vectors beside what they look at first, in a file that is mapped.
"""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from statim.errors import InputError, ModelError
from statim.search.engines.exact import Exact
from statim.search.engines.faiss_index import FaissIndex
from statim.search.engines.first_stage import Bits, Coarse
from statim.search.engines.protocol import Engine
from statim.search.engines.scann_index import ScannIndex
from statim.search.engines.tuning import AIM
from statim.search.engines.two_stage import First, Rescored
from statim.search.engines.usearch_index import UsearchIndex

log = logging.getLogger("statim")

SCANNED = 1 << 28  # bytes that a query may read: about 10 ms
WIDE = 128  # dimensions from which a bit of each says enough


def _funnel(dim: int) -> First:
    return Coarse(min(dim, max(16, dim // 4)), "int8")


EXACT: dict[str, str] = {"exact": "float32", "exact-float16": "float16", "exact-int8": "int8"}
# the dimensions of the first stage, and how vectors are stored beside it
FIRST: dict[str, tuple[Callable[[int], First], str]] = {
    "exact-binary": (Bits, "int8"),
    "binary": (Bits, "float32"),
    "int8": (lambda dim: Coarse(dim, "int8"), "float32"),
    "funnel": (_funnel, "float32"),
    "faiss-flat": (lambda dim: FaissIndex(dim, "flat"), "float32"),
    "faiss-ivf": (lambda dim: FaissIndex(dim, "ivf"), "float32"),
    "faiss-hnsw": (lambda dim: FaissIndex(dim, "hnsw"), "float32"),
    "faiss-pq": (lambda dim: FaissIndex(dim, "pq"), "float32"),
    "scann": (ScannIndex, "float32"),
    "usearch-f32": (lambda dim: UsearchIndex(dim, "f32"), "float32"),
    "usearch-f16": (lambda dim: UsearchIndex(dim, "f16"), "float32"),
    "usearch-i8": (lambda dim: UsearchIndex(dim, "i8"), "float32"),
    "usearch-b1": (lambda dim: UsearchIndex(dim, "b1"), "float32"),
}
NAMES = (*EXACT, *FIRST)


# what an engine that may be chosen trades, and what takes its place where it finds too little
WHY = {
    "exact": "every vector is compared in float32, so nothing is missed",
    "binary": "every vector is compared by one bit a dimension and the best again in float32, which takes "
    "a sixth of the time of float32 alone",
    "int8": "every vector is compared in int8 and the best again in float32, which takes a quarter of the "
    "time and memory of float32 alone, a quarter more of the disk",
}
INSTEAD = {"binary": "int8", "int8": "exact"}


class Choice(NamedTuple):
    """An engine for some data.

    Attributes:
        name: One of NAMES.
        why: What it trades, in one sentence.
    """

    name: str
    why: str


def make(name: str, dim: int) -> Engine:
    """An empty engine for vectors of ``dim`` dimensions.

    Raises:
        InputError: There is no such engine.
    """
    if name in EXACT:
        return Exact(dim, EXACT[name])
    return _rescored(name, dim)


def load(name: str, folder: Path, dim: int) -> Engine:
    """The engine that ``make(name, dim)`` gave and that was saved in ``folder``.

    Raises:
        InputError: There is no such engine.
        ModelError: A file is missing, truncated, or holds something else.
        DependencyError: A package that the engine needs is not installed.
    """
    if name not in EXACT:
        return Rescored.load(folder, _rescored(name, dim))
    engine = Exact.load(folder)
    if (engine.dim, engine.storage) != (dim, EXACT[name]):
        raise ModelError(
            f"{folder} holds {engine.storage} vectors of {engine.dim} dimensions, which is not what "
            f"{name} has of {dim}"
        )
    return engine


def choose(n: int, d: int) -> Choice:
    """The engine to take for n vectors of d dimensions, where nobody asked for one.

    It finds at least 98 of a hundred of what is truly among the ten closest; see
    benchmarks/search_engines.py, and ``prepared``.
    """
    if n * d * 4 <= SCANNED:
        name = "exact"
    else:
        name = "binary" if d >= WIDE else "int8"
    return Choice(name, WHY[name])


def prepared(name: str, engine: Engine, *, asked: bool) -> tuple[str, Engine]:
    """An engine, prepared (see Engine).

    Where it finds less than AIM of what is closest, another takes its place, or a warning says so.

    Args:
        name: Its name.
        engine: The engine.
        asked: Somebody asked for it by name, so it stays.

    Returns:
        The name and the engine that is to be used.
    """
    before = engine.found.recall if isinstance(engine, Rescored) else 1.0
    engine.prepare()
    while isinstance(engine, Rescored) and engine.found.recall < AIM:
        found = (
            f"the engine {name} finds {engine.found.recall:.1%} of the ten documents closest to a "
            "sample of them"
        )
        if asked or name not in INSTEAD:
            if engine.found.recall < before:  # else it was said already
                log.warning("%s, less than %.1f %%; the engine int8 finds more, exact all", found, 100 * AIM)
            break
        name = INSTEAD[name]
        log.info("%s, less than %.1f %%, so %s is taken", found, 100 * AIM, name)
        engine = engine.store if name in EXACT else Rescored(name, engine.store, FIRST[name][0](engine.dim))
        engine.prepare()
    return name, engine


def _rescored(name: str, dim: int) -> Rescored:
    if name not in FIRST:
        close = [known for known in NAMES if set(re.split(r"\W", name)) & set(known.split("-"))]
        raise InputError(f"engine is {name!r}; it must be one of {', '.join(close or NAMES)}")
    first, storage = FIRST[name]
    return Rescored(name, Exact(dim, storage), first(dim))
