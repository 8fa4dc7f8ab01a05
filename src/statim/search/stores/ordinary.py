"""An index in one folder: plain files, or LanceDB."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from statim.digests import Verify
from statim.errors import InputError, ModelError
from statim.model import StaticModel
from statim.search.engines.tuning import AIM, DEPTH
from statim.search.stores.protocol import Block, Store

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger("statim")

# Documents up to which the default is a folder. There a change writes the folder's files again, but for the
# model, and a search holds the vectors in memory; above, LanceDB adds to what it has.
LARGE = 200_000


def create(
    place: Path,
    store: str | None,
    schema: "pa.Schema",
    blocks: Iterable[Block],
    model: StaticModel,
    about: Mapping[str, Any],
    *,
    large: bool,
    overwrite: bool,
) -> Store:
    """Make an index, and open it; see registry.create."""
    if store == "lancedb" or (store is None and large and "engine" not in about):
        from statim.search.stores.lance import Lance

        Lance.create(place, schema, blocks, model, about, overwrite=overwrite)
        return measured(Lance(place, verify="never"))
    from statim.search.stores.folder import Folder

    Folder.create(place, blocks, model, about, overwrite=overwrite)
    return Folder(place, "never")


def opened(place: Path, kind: str, version: int | None, verify: Verify | None) -> Store:
    """The index in a folder whose manifest says that its store is ``kind``.

    Raises:
        ModelError: It is damaged, or a newer version of statim made it.
        InputError: It keeps no older versions.
    """
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


def measured(store: Store) -> Store:
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
