"""Which store an index is in, told by its address and what lies there."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from statim import addresses
from statim.addresses import is_database
from statim.digests import Verify
from statim.errors import InputError
from statim.files import check_output, read_errors
from statim.model import StaticModel
from statim.search.engines import registry as engines
from statim.search.stores import ordinary
from statim.search.stores.ordinary import LARGE as LARGE
from statim.search.stores.protocol import Block, Store, model_hash, read_manifest

if TYPE_CHECKING:
    import pyarrow as pa

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
        return ordinary.measured(Postgres(place, table))
    if "shards" in about:
        from statim.search.stores.shards import Shards

        Shards.create(place, blocks, model, about, store=store, overwrite=overwrite)
        return Shards(place, "never")
    return ordinary.create(place, store, schema, blocks, model, about, large=large, overwrite=overwrite)


def opened(
    path: str | Path, version: int | None, table: str, verify: Verify | None = None, *, partial: bool = False
) -> Store:
    """The index at an address; see Index.load."""
    if is_database(path):
        from statim.search.stores.postgres import Postgres

        if version is not None:
            raise InputError("a database keeps no older versions of an index; only LanceDB does")
        return Postgres(addresses.whole(path), table)
    addresses.refuse(path, "the index")
    with read_errors(path):
        if (kind := read_manifest(Path(path))["store"]) == "shards":
            from statim.search.stores.shards import Shards

            if version is not None:
                raise InputError(f"{path} is an index in shards, which keeps no older versions")
            return Shards(Path(path), verify, partial=partial)
        return ordinary.opened(Path(path), kind, version, verify)


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
