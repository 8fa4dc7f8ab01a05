"""Which store an index is in, told by its address and what lies there."""

import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from statim import addresses
from statim.addresses import is_database
from statim.digests import Verify
from statim.errors import InputError, ModelError
from statim.files import check_output, read_errors
from statim.model import StaticModel
from statim.search.engines import registry as engines
from statim.search.engines.tuning import AIM, DEPTH
from statim.search.stores.protocol import Block, Store, model_hash, read_manifest

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger("statim")

# Documents up to which the default is a folder. There a change writes the folder's files again, but for the
# model, and a search holds the vectors in memory; above, LanceDB adds to what it has.
LARGE = 200_000
NAMES = ("folder", "lancedb")
TABLE = "documents"


def check(
    path: str | Path, store: str | None, engine: str | None, table: str, *, overwrite: bool
) -> str | Path:
    """The place for a new index, if it is one.

    Raises:
        InputError: There is no such store or engine, or something is there already.
        StorageError: The place cannot be written.
    """
    if engine is not None:
        engines.make(engine, 1)
    if engine is not None and (store == "lancedb" or is_database(path)):
        raise InputError(
            f"engine is {engine!r}; only a folder has an engine, so leave it out, or give --store folder"
        )
    if store is not None and addresses.looks_like_one(store):
        raise InputError(
            f"the store is an address ({addresses.said(store)}); give it as the place of the index, "
            f"and whole: {addresses.HOW}"
        )
    if store is not None and store not in NAMES:
        raise InputError(f"store is {store!r}; it must be {' or '.join(NAMES)}, or the address of a database")
    if is_database(path):
        from statim.search.stores.postgres_server import check_name

        if store is not None:
            raise InputError(f"the store is both {store!r} and a database; give one of them")
        check_name(table)
        return addresses.whole(path)
    return check_output(path, overwrite=overwrite)


def checked(place: str | Path, parts: "Iterator[pa.Table]", *, stream: bool) -> "Iterator[pa.Table]":
    """Documents that the store at a place can keep; a store that can keep none refuses before the first.

    Args:
        place: Where the index is or will be.
        parts: Documents, some at a time.
        stream: They may be more than memory holds.

    Raises:
        DataError: A row cannot be kept; the message names it.
    """
    if not is_database(place):
        return parts
    from statim.search.stores.postgres_rows import checked as looked_at

    return looked_at(parts, stream=stream)


def create(
    place: str | Path,
    store: str | None,
    table: str,
    schema: "pa.Schema",
    blocks: Iterable[Block],
    model: StaticModel,
    about: Mapping[str, Any],
    *,
    large: bool,
    overwrite: bool,
) -> Store:
    """Make an index at a place that ``check`` gave, and open it."""
    if isinstance(place, str):
        from statim.search.stores.postgres import Postgres

        Postgres.create(place, table, schema, blocks, model, about, overwrite=overwrite)
        return _measured(Postgres(place, table))
    if store == "lancedb" or (store is None and large and "engine" not in about):
        from statim.search.stores.lance import Lance

        Lance.create(place, schema, blocks, model, about, overwrite=overwrite)
        return _measured(Lance(place, verify="never"))
    from statim.search.stores.folder import Folder

    Folder.create(place, blocks, model, about, overwrite=overwrite)
    return Folder(place, "never")


def _measured(store: Store) -> Store:
    """Warn where a store's index finds less than it should."""
    found = store.info().get("recall")
    if found is not None and found < AIM:
        log.warning(
            "%s finds %.1f %% of the %d nearest documents, less than %.1f %%; a folder with --engine "
            "exact finds all",
            store.place,
            100 * found,
            DEPTH,
            100 * AIM,
        )
    return store


def opened(path: str | Path, version: int | None, table: str, verify: Verify | None = None) -> Store:
    """The index at an address; see Index.load."""
    if is_database(path):
        from statim.search.stores.postgres import Postgres

        if version is not None:
            raise InputError("a database keeps no older versions of an index; only LanceDB does")
        return Postgres(addresses.whole(path), table)
    addresses.refuse(path, "the index")
    with read_errors(path):
        return _in_folder(Path(path), version, verify)


def _in_folder(place: Path, version: int | None, verify: Verify | None) -> Store:
    kind = read_manifest(place)["store"]
    if kind == "lancedb":
        from statim.search.stores.lance import Lance

        return Lance(place, version, verify)
    if kind != "folder":
        raise ModelError(f"{place} is in a store {kind!r}, which this statim does not have; update statim")
    if version is not None:
        raise InputError(
            f"{place} keeps no older versions; only LanceDB does (statim index build --store lancedb)"
        )
    from statim.search.stores.folder import Folder

    return Folder(place, verify)


def check_model(model: StaticModel, store: Store) -> None:
    """Refuse a model that is not an index's.

    Raises:
        InputError: It is another one.
    """
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model")
        found = model_hash(Path(folder) / "model")
    if found != store.manifest["model_hash"]:
        raise InputError(
            f"{store.place} was made with another model (hash {store.manifest['model_hash'][:12]}, "
            f"this one {found[:12]}); use the model that is in the index"
        )
