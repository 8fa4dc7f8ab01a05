"""The loops that must be fast: plain functions over arrays, compiled by numba without the GIL.

Numba keeps what it compiled beside these files, or in the user's cache folder where this one cannot be
written to. Where neither can, it would refuse to compile at all: then a folder of this process's own serves.
"""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _find_room() -> None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~").expanduser() / ".cache") / "numba"
    if "NUMBA_CACHE_DIR" in os.environ or any(
        map(_is_writable, (Path(__file__).parent / "__pycache__", cache))
    ):
        return
    own = tempfile.mkdtemp(prefix="statim-")
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    os.environ["NUMBA_CACHE_DIR"] = own
    if "numba" in sys.modules:  # it has read its settings already
        sys.modules["numba"].config.CACHE_DIR = own


_find_room()
