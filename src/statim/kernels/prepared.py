"""Code that was compiled beforehand, and the decorator of all kernels, which looks for it there first.

A file of ``code/`` holds the kernels that usual runs call, compiled by one version of numba for one version
of Python and one level of processors: a line of JSON that says so and where each kernel is, then what numba's
own cache would hold of each. ``prepare`` makes these files, for a wheel or an installation. What is not found
there is read from numba's cache beside the source or in the user's folder, else compiled and kept there.
"""

import contextlib
import functools
import hashlib
import json
import mmap
import pickle
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import sigutils
from numba.core.caching import FunctionCache, NullCache
from numba.core.compiler import CompileResult

from statim.kernels import processor

KERNELS = Path(__file__).parent
CODE = KERNELS / "code"


def sources() -> Iterator[Path]:
    """The files that say what is compiled, in order."""
    return (
        path
        for path in sorted(KERNELS.rglob("*.py"))
        if path.parent.name != "gpu" and path.name not in ("prepare.py", "prepared.py", "signatures.py")
    )


def made_of() -> dict[str, str]:
    """What prepared code depends on beside the level: if any of it differs, the code is not used."""
    digest = hashlib.sha256()
    for path in sources():
        digest.update(f"{path.relative_to(KERNELS).as_posix()}\n".encode() + path.read_bytes())
    return {
        "python": f"{sys.implementation.cache_tag}{sys.abiflags}", "platform": sysconfig.get_platform(),
        "numba": numba.__version__, "llvmlite": llvmlite.__version__, "sources": digest.hexdigest(),
    }  # fmt: skip


def file_of(level: processor.Level, folder: Path = CODE) -> Path:
    """The file of a level's code, for this Python and this numba."""
    python = f"{sys.implementation.cache_tag}{sys.abiflags}"
    return folder / f"{python}-numba-{numba.__version__}-{sysconfig.get_platform()}-{level.name}.kernels"


def key(function: Callable[..., Any], signature: Any) -> str:
    """What a compiled kernel is called in a file."""
    return f"{function.__module__}.{function.__qualname__}{sigutils.normalize_signature(signature)[0]}"


class _Prepared:
    """The file that fits this process; if there is none, it holds nothing."""

    def __init__(self) -> None:
        self._places: dict[str, list[int]] = {}
        level = processor.level()
        if level is None:
            return
        with contextlib.suppress(OSError, ValueError, KeyError), file_of(level).open("rb") as file:
            about = json.loads(file.readline())
            self._begin = file.tell()
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            if about["made_of"] == made_of() and len(self._bytes) == self._begin + about["size"]:
                self._places = about["places"]

    def holds(self) -> int:
        """How many compiled kernels there are."""
        return len(self._places)

    def get(self, name: str) -> Any:
        """What was kept of a compiled kernel, or None."""
        if name not in self._places:
            return None
        start, stop = (self._begin + place for place in self._places[name])
        return pickle.loads(self._bytes[start:stop])


@functools.cache
def prepared() -> _Prepared:
    """The prepared code, read when the first kernel asks for it."""
    return _Prepared()


class Cache:
    """A kernel's compiled code: prepared, or in numba's cache, which is made when it is needed.

    Numba refuses to compile a function whose cache has no folder that can be written to, and fails where a
    file cannot be written. Here both cost only time.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    @functools.cached_property
    def _own(self) -> Any:
        try:
            return FunctionCache(self.function)
        except RuntimeError:  # no folder can be written to
            return NullCache()

    @property
    def cache_path(self) -> Any:
        """The folder of numba's cache."""
        return self._own.cache_path

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled kernel, or None."""
        found = prepared().get(key(self.function, sig))
        if found is None:
            return self._own.load_overload(sig, target_context)
        target_context.refresh()
        return CompileResult._rebuild(target_context, *found)

    def save_overload(self, sig: Any, cres: Any) -> None:
        """Keep what has been compiled, in numba's cache."""
        with contextlib.suppress(OSError):
            self._own.save_overload(sig, cres)

    def flush(self) -> None:
        """Empty numba's cache of the kernel."""
        self._own.flush()


def njit(*signatures: Any, cache: bool = False, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Numba's decorator, with ``cache=True`` for a kernel that is looked for among prepared code.

    Args:
        signatures: What to compile when it is defined; without any, whatever it is called with.
        cache: Whether compiled code is kept.
        options: numba's.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        kernel = numba.njit(**options)(function)
        if cache and kernel is not function:  # numba may be told not to compile
            kernel._cache = Cache(function)
        if signatures and kernel is not function:
            for signature in signatures[0] if isinstance(signatures[0], list) else signatures:
                kernel.compile(signature)
            kernel.disable_compile()
        return kernel

    return decorate
