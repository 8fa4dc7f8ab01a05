"""Whether what is stored is as it was written: models, indexes, heads and the checkpoints of a training."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from statim import addresses
from statim.digests import verify
from statim.errors import InputError
from statim.files import read_errors

COUNTED = ("files", "bytes", "undigested")


@dataclass(frozen=True)
class Checked:
    """A place that is whole.

    Attributes:
        path: The folder.
        kind: ``model``, ``index``, ``head``, ``checkpoint`` or ``run``.
        files: How many were compared with their digests.
        bytes: Their bytes.
        seconds: How long that took.
        undigested: Files of which only the size is known, or nothing: an earlier version of statim, or
            another library, wrote them.
    """

    path: str
    kind: str
    files: int
    bytes: int
    seconds: float
    undigested: int


def check(path: str | Path) -> list[Checked]:
    """Compare every byte of a place with the digests in its manifest, and open it.

    Args:
        path: The folder of a model, an index, a head or a checkpoint, or of a training's checkpoints
            (``OUT.training``).

    Returns:
        One entry for the place; for a training one more for each checkpoint.

    Raises:
        InputError: There is nothing at ``path`` that statim has stored.
        ModelError: A file is damaged or missing; the message names it and says how to get it back.
    """
    addresses.refuse(path, "what is to be checked")
    path = Path(path)
    if not path.is_dir():
        raise InputError(
            f"{path} is not a folder; name the folder of a model, an index, a head or a training"
        )
    with read_errors(path):
        return _checked(path)


def _checked(path: Path) -> list[Checked]:
    from statim.training.run import checkpoint

    if (path / "index.json").exists():
        return [_index(path)]
    if (path / "head.json").exists():
        from statim.tasks.classify.classify import ARRAYS, read_head

        started = time.perf_counter()
        return [_told(path, "head", read_head(path).get("stamps", {ARRAYS: {}}), started)]
    if (path / checkpoint.RUN).exists() and path.name.endswith(checkpoint.SUFFIX):
        started = time.perf_counter()
        out = path.with_name(path.name.removesuffix(checkpoint.SUFFIX))
        checkpoint.read_run(out)
        run = Checked(
            str(path), "run", 1, (path / checkpoint.RUN).stat().st_size, time.perf_counter() - started, 0
        )
        return [run, *(_checkpoint(step) for step in checkpoint.steps(out))]
    if (path / checkpoint.TABLE).exists():
        return [_checkpoint(path)]
    return [_model(path)]


def _index(path: Path) -> Checked:
    from statim.search.index import Index
    from statim.search.stores.protocol import REMEDY, read_manifest

    started, manifest = time.perf_counter(), read_manifest(path)
    if manifest["store"] == "shards":
        return _shards(path, started)
    if manifest["store"] == "folder":
        from statim.search.stores.folder import stamps_of

        stamps = stamps_of(path, manifest)
    else:
        from statim.search.stores.lance_files import kept

        stamps = kept(path, manifest)
    verify(path, stamps, "always", REMEDY)
    found = _told(path, "index", stamps, started)
    assert Index.load(path, verify="never").model
    return found


def _shards(path: Path, started: float) -> Checked:
    """An index in shards: each shard, and that they are the index's."""
    from statim.search.index import Index

    names = sorted(file.parent for file in path.glob("*/index.json"))
    found = [_index(name) for name in names]
    assert Index.load(path, verify="never").model
    files, size, undigested = (sum(getattr(one, name) for one in found) for name in COUNTED)
    return Checked(str(path), "index", files, size, time.perf_counter() - started, undigested)


def _checkpoint(step: Path) -> Checked:
    from statim.training.run.checkpoint import TABLE, check

    started = time.perf_counter()
    return _told(step, "checkpoint", check(step) or {TABLE: {"size": (step / TABLE).stat().st_size}}, started)


def _model(path: Path) -> Checked:
    from statim.formats.huggingface import REMEDY, stamps_of
    from statim.model import StaticModel

    started, stamps = time.perf_counter(), stamps_of(path)
    verify(path, stamps, "always", REMEDY)
    files = (path / name for name in ("model.safetensors", "tokenizer.json"))
    sizes = {file.name: {"size": file.stat().st_size} for file in files if file.is_file()}
    found = _told(path, "model", stamps or sizes, started)
    StaticModel.load(path, verify="size")
    return found


def _told(path: Path, kind: str, stamps: Mapping[str, Mapping[str, Any]], started: float) -> Checked:
    seconds = time.perf_counter() - started
    sizes = [stamp["size"] for stamp in stamps.values() if "digest" in stamp]
    return Checked(str(path), kind, len(sizes), sum(sizes), seconds, len(stamps) - len(sizes))
