"""A map as a file: a page, a picture or a table, whole or not at all."""

from importlib.util import find_spec
from pathlib import Path

from statim.data.files.writing import SUFFIXES, write_table
from statim.errors import DependencyError, InputError
from statim.files import atomic_file
from statim.insight.maps.map import Map
from statim.insight.maps.page import page
from statim.insight.maps.picture import picture

PAGES = (".html", ".htm")
PICTURES = (".png", ".svg", ".pdf")


def write_map(found: Map, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a map, atomically.

    Args:
        found: The map.
        path: Its suffix says what is written: .html a page that needs no network; .png, .svg or .pdf a
            picture; .parquet, .jsonl or .csv a table (see ``Map.table``).
        overwrite: Replace a file.

    Raises:
        InputError: The suffix is none of these, or the file exists.
        StorageError: The disk is full, read-only, or not permitted. What stood there still stands.
        DependencyError: pydeck, which holds deck.gl, or matplotlib is not installed.
    """
    path = check_map_output(path, overwrite=overwrite)
    if path.suffix in SUFFIXES:
        write_table(path, found.table())
        return
    written = page(found).encode() if path.suffix in PAGES else picture(found, path.suffix)
    with atomic_file(path) as file:
        file.write(written)


def check_map_output(path: str | Path, *, overwrite: bool) -> Path:
    """Refuse a file of an unknown kind, that exists, or that needs a missing package, before any work.

    Raises:
        InputError: The suffix is unknown, or the file exists and ``overwrite`` is off.
        DependencyError: pydeck or matplotlib is needed and not installed.
    """
    path = Path(path)
    if path.suffix not in (*PAGES, *PICTURES, *SUFFIXES):
        raise InputError(
            f"{path} ends with {path.suffix or 'nothing'}; name a page (.html), a picture "
            f"({', '.join(PICTURES)}) or a table ({', '.join(SUFFIXES)})"
        )
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; choose another name, or allow overwriting (--overwrite)")
    package = "pydeck" if path.suffix in PAGES else "matplotlib" if path.suffix in PICTURES else None
    if package is not None and find_spec(package) is None:
        raise DependencyError(
            f'{path} needs the package {package}; pip install "statim[map]", or write a table (.parquet)'
        )
    return path
