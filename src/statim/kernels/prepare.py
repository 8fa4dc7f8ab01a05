"""Compile the kernels beforehand, for the processors of the machines that will run them.

Each level is compiled in a process of its own, whose numba is told that level's features. The same sources
and versions give the same bytes.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numba.core.callconv import CPUCallConv
from numba.core.dispatcher import Dispatcher
from numba.core.serialize import dumps

from statim.errors import StorageError
from statim.files import atomic_file
from statim.kernels import prepared, processor, signatures


def prepare(level: processor.Level, folder: Path = prepared.CODE) -> Path:
    """Write the file of a level, by another process; returns its path.

    Raises:
        StorageError: It cannot be written, or a kernel could not be compiled.
    """
    out = prepared.file_of(level, folder)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    environment |= {"NUMBA_CPU_NAME": level.cpu, "NUMBA_CPU_FEATURES": level.flags(), "PYTHONHASHSEED": "0"}
    environment |= {"NUMBA_DISABLE_INTEL_SVML": "1"}  # a library that other machines may not have
    command = [sys.executable, "-c", f"from statim.kernels.prepare import write; write({str(out)!r})"]
    with tempfile.TemporaryDirectory() as nothing:  # in numba's cache may be parts of other sources
        environment["NUMBA_CACHE_DIR"] = nothing
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise StorageError(f"cannot compile {out.name}: {done.stderr.strip()}")
    return out


def write(out: str) -> None:
    """Compile all that is listed in this process, and write it into one file."""
    _leave_out_folders()
    places, end, made_of = {}, 0, prepared.made_of()
    with atomic_file(out) as file:
        results = {prepared.key(kernel.py_func, one.signature): one for kernel, one in _compiled()}
        blocks = [_reduced(result) for _, result in sorted(results.items())]
        for name, block in zip(sorted(results), blocks, strict=True):
            places[name] = [end, end := end + len(block)]
        head = json.dumps({"made_of": made_of, "size": end, "places": places})
        file.write(head.encode() + b"\n" + b"".join(blocks))


def _leave_out_folders() -> None:
    """Let exceptions of what is compiled name files without this machine's folders."""
    build = CPUCallConv.build_excinfo_struct

    def built(*given: Any) -> Any:
        kind, arguments, place = build(*given)
        return kind, arguments, place and (place[0], os.path.basename(place[1]), place[2])

    CPUCallConv.build_excinfo_struct = built


def _reduced(result: Any) -> bytes:
    """What numba's cache would hold of it, without the annotated source, which only numba prints."""
    library, *middle, _annotated, again, environments = result._reduce()
    block: bytes = dumps((library, *middle, "", again, environments))
    return block


def _compiled() -> Iterator[tuple[Any, Any]]:
    """Each kernel that is called from outside, with what was compiled of it: what is listed, or its own."""
    listed = signatures.listed()
    for path in prepared.sources():
        parts = path.relative_to(prepared.KERNELS.parent.parent).with_suffix("").parts
        module = importlib.import_module(".".join(parts).removesuffix(".__init__"))
        for kernel in vars(module).values():
            if isinstance(kernel, Dispatcher) and kernel.py_func.__module__ == module.__name__:
                texts = listed.get(f"{module.__name__}.{kernel.py_func.__name__}", [])
                yield from _compiled_of(kernel, texts)


def _compiled_of(kernel: Any, texts: list[str]) -> Iterator[tuple[Any, Any]]:
    for given in map(signatures.read, texts):
        kernel.compile(given)
        yield kernel, kernel.overloads[given]
    if not kernel._can_compile:  # it was defined with signatures
        yield from ((kernel, one) for one in kernel.overloads.values())
