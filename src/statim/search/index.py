"""Index: documents, their vectors, BM25 and the model that made the vectors, in one folder that needs nothing else.

    index.json              written last; what the folder holds, and the size of every file
    documents.arrow         ids, texts and metadata, in the order of their positions
    vectors/                the engine's files
    bm25.safetensors        the words
    model/                  the model

The folder takes its place whole or not at all. What is large is memory-mapped: opening an index reads a few pages of it.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from statim.errors import InputError, ModelError
from statim.files import atomic_directory, hash_file, read_json, write_json
from statim.model import StaticModel
from statim.progress import Progress
from statim.search import hybrid
from statim.search.bm25 import BM25
from statim.search.engine import Engine, Floats, Positions, check_k
from statim.search.exact import Exact

if TYPE_CHECKING:
    import pyarrow as pa

    from statim.search.documents import Documents
    from statim.teacher import Teacher

FORMAT = "statim-index"
FORMAT_VERSION = 1
MANIFEST = "index.json"
CHUNK = 16384  # documents encoded between two steps of the progress bar

MODES = ("hybrid", "vector", "bm25")
FUSIONS = ("scores", "rrf")


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer.

    Attributes:
        rank: 1 is the best.
        score: A cosine in mode vector; BM25's in mode bm25; fused in mode hybrid (see hybrid.py): 1 is the best on either
            side at once, scores of reciprocal rank fusion are below 1/30.
        id: The document's id.
        text: Its text.
        metadata: Its other columns.
    """

    rank: int
    score: float
    id: str
    text: str
    metadata: dict[str, Any] = field(default_factory=dict)


class Index:
    """A searchable folder of documents; make one with ``Index.build``, open one with ``Index.load``.

    Safe to use from several threads at once.

    >>> index = Index.build(model, ["how to sort a list", "how to open a file"], "docs.index")
    >>> index.search("ordering items", k=1)[0].text
    'how to sort a list'
    """

    def __init__(
        self, path: Path, manifest: Mapping[str, Any], engine: Engine, documents: "Documents"
    ) -> None:
        self.path = path
        self._manifest = manifest
        self._engine = engine
        self._documents = documents

    @staticmethod
    def build(
        model: StaticModel,
        documents: "pa.Table | Iterable[str]",
        path: str | Path,
        *,
        ids: Iterable[str] | None = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
        weight: float = hybrid.WEIGHT,
        documents_by: "str | Path | Teacher | None" = None,
        threads: int | None = None,
        progress: bool = False,
        overwrite: bool = False,
    ) -> "Index":
        """Index n documents.

        Args:
            model: Makes the vectors; a copy is kept in the folder.
            documents: An Arrow table with the columns ``id``, ``text`` and any others; or texts.
            path: The folder to write.
            ids: With texts: their ids, all different; by default "0", "1", ….
            metadata: With texts: one mapping each.
            weight: The part of the vector score in hybrid search, unless a search says otherwise; see ``tune_weight``.
            documents_by: A teacher that makes the documents' vectors, for a model that is trained for queries alone (see
                ``statim.train``); by default the one that such a model remembers, else the model itself.
            threads: Threads to use.
            progress: Show progress bars on a terminal.
            overwrite: Replace a folder that has something in it.

        Raises:
            DataError: There are no documents, ids repeat, or a column, an id or a text is missing.
            InputError: An argument is of the wrong kind or length, the folder is not empty and ``overwrite`` is off, or the teacher is
                not the one that the model was trained against.
            StorageError: The disk is full, read-only, or not permitted. What stood there still stands.
        """
        from statim.search import documents as store
        from statim.search import documents_by as encoders

        if not 0 <= weight <= 1:
            raise InputError(f"weight is {weight!r}; it must be between 0 (BM25 alone) and 1 (vectors alone)")
        path = Path(path)
        encode, about = encoders.encoder(model, documents_by, threads)
        with atomic_directory(path, overwrite=overwrite) as folder:
            table = store.table(documents, ids, metadata)
            texts = table.column("text")
            engine = Exact(model.dim)
            with Progress("encode", total=len(table), unit="documents", show=progress) as bar:
                for start in range(0, len(table), CHUNK):
                    some = texts.slice(start, CHUNK).to_pylist()
                    engine.add(encode(some))
                    bar.advance(len(some))
            engine.save(folder / "vectors")
            BM25.build(texts.to_pylist(), progress=progress).save(folder / "bm25.safetensors")
            store.write(folder / "documents.arrow", table)
            model.save(folder / "model")
            files = sorted(file for file in folder.rglob("*") if file.is_file())
            manifest = {
                "format": FORMAT,
                "format_version": FORMAT_VERSION,
                "engine": "exact",
                "documents": len(table),
                "dimensions": model.dim,
                "columns": table.column_names,
                "weight": float(weight),
                "model_hash": _model_hash(folder / "model"),
                **about,
                "files": {file.relative_to(folder).as_posix(): file.stat().st_size for file in files},
            }
            write_json(folder / MANIFEST, manifest)
        return Index.load(path)

    @staticmethod
    def load(path: str | Path) -> "Index":
        """Open an index.

        Raises:
            ModelError: There is no index there, it is not whole, or a newer version of statim made it.
        """
        from statim.search.documents import Documents

        path = Path(path)
        manifest = _read_manifest(path)
        engine = Exact.load(path / "vectors")
        documents = Documents(path / "documents.arrow")
        said = (manifest["documents"], manifest["dimensions"], manifest["columns"])
        for held in (
            (len(engine), engine.dim, manifest["columns"]),
            (len(documents), engine.dim, documents.schema.names),
        ):
            if held != said:
                raise ModelError(
                    f"{path}: {MANIFEST} and the other files belong to different indexes; build it anew"
                )
        return Index(path, manifest, engine, documents)

    @cached_property
    def model(self) -> StaticModel:
        """The model that made the vectors.

        Raises:
            ModelError: It is damaged, or of other dimensions than the vectors.
        """
        model = StaticModel.load(self.path / "model")
        if model.dim != self._engine.dim:
            raise ModelError(
                f"{self.path}: the model has {model.dim} dimensions, the vectors {self._engine.dim}"
            )
        return model

    @cached_property
    def bm25(self) -> BM25:
        """The words.

        Raises:
            ModelError: They are damaged, or of other documents.
        """
        bm25 = BM25.load(self.path / "bm25.safetensors")
        if len(bm25) != len(self):
            raise ModelError(
                f"{self.path}: BM25 has {len(bm25):,} documents, the index {len(self):,}; build it anew"
            )
        return bm25

    def __len__(self) -> int:
        return len(self._engine)

    def __repr__(self) -> str:
        return f"Index({str(self.path)!r}, {len(self):,} documents x {self._engine.dim} dimensions)"

    def info(self) -> dict[str, Any]:
        """What the index holds: documents, dimensions, columns, weight, model's hash, bytes on disk, and more."""
        known = {name: value for name, value in self._manifest.items() if name != "files"}
        return {"path": str(self.path), **known, "bytes": sum(self._manifest["files"].values())}

    @overload
    def search(  # type: ignore[overload-overlap]
        self, query: str, k: int = 10, *, mode: str = "hybrid", weight: float | None = None, fusion: str = "scores",
        threads: int | None = None,
    ) -> list[Hit]: ...  # fmt: skip

    @overload
    def search(
        self, query: Iterable[str], k: int = 10, *, mode: str = "hybrid", weight: float | None = None,
        fusion: str = "scores", threads: int | None = None,
    ) -> list[list[Hit]]: ...  # fmt: skip

    def search(
        self,
        query: str | Iterable[str],
        k: int = 10,
        *,
        mode: str = "hybrid",
        weight: float | None = None,
        fusion: str = "scores",
        threads: int | None = None,
    ) -> list[Hit] | list[list[Hit]]:
        """Find the best documents.

        Args:
            query: One query, or several.
            k: The most hits to return for each. There are fewer where fewer documents have anything to do with the query:
                in mode bm25 those without any of its words are left out, in mode vector those without known tokens.
            mode: ``hybrid``, ``vector`` or ``bm25``.
            weight: In mode hybrid with fusion scores, the part of the vector score, from 0 to 1; None takes the index's.
            fusion: In mode hybrid, ``scores`` (the weighted sum of both scores) or ``rrf`` (reciprocal rank fusion).
            threads: Threads to use.

        Returns:
            Hits, best first: a list for one query, a list of lists for several.

        Raises:
            InputError: An argument is none of the above.
            ModelError: The index is damaged.
        """
        scores, positions = self.rank(query, k, mode=mode, weight=weight, fusion=fusion, threads=threads)
        hits = [
            [
                self._hit(rank, float(score), int(position))
                for rank, (score, position) in enumerate(row, 1)
                if position >= 0
            ]
            for row in (zip(*pair, strict=True) for pair in zip(scores, positions, strict=True))
        ]
        return hits[0] if isinstance(query, str) else hits

    def rank(
        self,
        query: str | Iterable[str],
        k: int = 10,
        *,
        mode: str = "hybrid",
        weight: float | None = None,
        fusion: str = "scores",
        threads: int | None = None,
    ) -> tuple[Floats, Positions]:
        """As ``search``, without the documents: scores (m, at most k) and positions; -inf and -1 where there are no more."""
        queries, k = _queries(query), check_k(k)
        if mode not in MODES:
            raise InputError(f"mode is {mode!r}; it must be one of {', '.join(MODES)}")
        if fusion not in FUSIONS:
            raise InputError(f"fusion is {fusion!r}; it must be one of {', '.join(FUSIONS)}")
        if mode == "bm25":
            return self.bm25.search(queries, k, threads=threads)
        vectors = self.model.encode_query(queries, normalize=True, threads=threads)
        if mode == "vector":
            return self._engine.search(vectors, k, threads=threads)
        found = hybrid.candidates(self._engine, self.bm25, vectors, queries, k, threads=threads)
        if fusion == "rrf":
            return hybrid.fuse_ranks(found, k)
        return hybrid.fuse_scores(found, k, weight=self._manifest["weight"] if weight is None else weight)

    def tune_weight(
        self, queries: Sequence[str], measure: Callable[[list[list[str]]], float], *, k: int = 10
    ) -> tuple[float, float]:
        """The weight of the vector score that does best on development queries (never on a test set).

        Args:
            queries: The development queries.
            measure: Gives the worth of one list of ids a query, best first, e.g. their mean NDCG@10; higher is better.
            k: How many ids each list has.

        Returns:
            The weight, to be given to ``search`` or ``build``, and its worth.

        Raises:
            InputError: There are no queries.
        """
        if not queries:
            raise InputError("there are no development queries; give at least one")
        vectors = self.model.encode_query(list(queries), normalize=True)
        found = hybrid.candidates(self._engine, self.bm25, vectors, queries, k)
        names = {int(p): str(self._documents.row(int(p))["id"]) for p in np.unique(found.positions) if p >= 0}

        def worth(positions: Positions) -> float:
            return measure([[names[p] for p in row if p >= 0] for row in positions.tolist()])

        return hybrid.tune_weight(found, worth, k=k)

    def _hit(self, rank: int, score: float, position: int) -> Hit:
        row = self._documents.row(position)
        return Hit(rank, score, row.pop("id"), row.pop("text"), row)


def _queries(query: str | Iterable[str]) -> list[str]:
    if isinstance(query, str):
        return [query]
    if not isinstance(query, Iterable):
        raise InputError(f"query is of type {type(query).__name__}; give a str or several")
    return list(query)


def _model_hash(folder: Path) -> str:
    """A hash of what decides a model's vectors, hexadecimal."""
    parts = [hash_file(folder / name) for name in ("model.safetensors", "tokenizer.json")]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def _read_manifest(path: Path) -> dict[str, Any]:
    """The manifest, its fields and the files' sizes checked.

    Raises:
        ModelError: There is no index at ``path``, it is not whole, or a newer version of statim made it.
    """
    if not (path / MANIFEST).is_file():
        raise ModelError(
            f"{path} is not an index (there is no {MANIFEST} in it); make one with `statim index build`"
        )
    manifest = read_json(path / MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ModelError(f"{path / MANIFEST} does not describe an index of statim")
    version = manifest.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ModelError(
            f"{path} has format version {version}, newer than the {FORMAT_VERSION} that this statim reads; update statim"
        )
    kinds = {
        "format_version": int,
        "engine": str,
        "documents": int,
        "dimensions": int,
        "columns": list,
        "weight": float,
    }
    kinds |= {"model_hash": str, "files": dict}
    wrong = [name for name, kind in kinds.items() if type(manifest.get(name)) is not kind]
    if wrong or version != FORMAT_VERSION or not 0 <= manifest["weight"] <= 1:
        raise ModelError(
            f"{path / MANIFEST} is damaged at {', '.join(wrong) or 'a number'}; build the index anew"
        )
    if manifest["engine"] != "exact":
        raise ModelError(
            f"{path} was made with the engine {manifest['engine']!r}, which this statim does not have"
        )
    for name, size in manifest["files"].items():
        file = path / name
        if not file.is_file():
            raise ModelError(f"{file} is missing; the index is not whole, build it anew")
        if file.stat().st_size != size:
            raise ModelError(
                f"{file} has {file.stat().st_size:,} bytes, not the {size:,} it was written with; build it anew"
            )
    return manifest
