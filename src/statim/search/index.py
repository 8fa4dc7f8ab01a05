"""Index: documents, their vectors, BM25 and the model, together in one place.

    folder.py       a folder of plain files, replaced as a whole by every change; for what is not large
    lance.py        a folder with a LanceDB table: changes add to it, older versions stay
    postgres.py     tables of a PostgreSQL database with pgvector

An index is made whole or not at all, and a change takes place whole or not at all.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np

from statim.addresses import is_database
from statim.counted import counted
from statim.digests import Verify
from statim.errors import InputError
from statim.model import StaticModel, as_model
from statim.search import hybrid
from statim.search.document_encoder import Encode, encoder
from statim.search.encoded_documents import encoded, with_unknown
from statim.search.engines.protocol import Floats, Positions, check_k
from statim.search.filters import where as filters
from statim.search.filters.conditions import Among, Condition
from statim.search.lexical.analyzer import AUTO, Analyzer, Wanted, check_language
from statim.search.passages import (
    KEY,
    NUMBER,
    PARENT,
    Lengths,
    about_documents,
    best_passages,
    cut,
    document_of,
    documents_in,
    of_parents,
    outdated,
    with_own,
)
from statim.search.stores import registry
from statim.search.stores.protocol import settings_of
from statim.search.sync import Difference, Synced
from statim.settings import MODES, SHARES, SearchSettings
from statim.texts import Texts
from statim.texts import ids as read_ids

if TYPE_CHECKING:
    import pyarrow as pa

    from statim.search.reencoding import Reencoded
    from statim.search.rerank import Reranker
    from statim.search.stores.protocol import Block, Store, View
    from statim.teacher.teacher import Teacher

CHUNK = 16384  # documents encoded between two steps of the progress bar
NAMED = 256  # documents named in one condition
FUSIONS = ("scores", "rrf")


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer.

    Attributes:
        rank: 1 is the best.
        score: A cosine in mode vector; BM25's in mode bm25; in mode hybrid from 0 to 1, the same scale for
            every query (see hybrid.py); scores of reciprocal rank fusion are below 1/30.
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

    Examples:
        >>> index = Index.build(model, ["how to sort a list", "how to open a file"], "docs.index")
        >>> index.search("sort items", k=1)[0].text
        'how to sort a list'
    """

    def __init__(self, store: "Store") -> None:
        self._store = store
        self._changes = 0
        self._views: tuple[int, str | None, View] | None = None
        self._counted: tuple[int, int, int] | None = None

    @staticmethod
    def build(
        model: StaticModel | str | Path | None,
        documents: Any,
        path: str | Path,
        *,
        ids: Any = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
        vectors: Any = None,
        weight: float | None = None,
        store: str | None = None,
        table: str = registry.TABLE,
        engine: str | None = None,
        language: str = AUTO,
        documents_by: "str | Path | Teacher | None" = None,
        passages: bool = False,
        shards: int | None = None,
        threads: int | None = None,
        progress: bool = False,
        overwrite: bool = False,
    ) -> "Index":
        """Index n documents.

        Args:
            model: Makes the vectors: a model, or where one is (see ``StaticModel.load``); None takes the
                bundled ``"english"``. A copy is kept in the index.
            documents: Texts, as ``StaticModel.encode`` takes them (a list, a column of numpy, Arrow, pandas
                or Polars …); or a table (Arrow, pandas, Polars, DuckDB, a mapping of columns, a list of
                dicts) with the columns ``id``, ``text`` and any others, where those two may have other usual
                names (doc_id, body …); or a stream of record batches with ``id`` and ``text``, for more than
                memory holds.
            path: The folder to write, or the address of a PostgreSQL database with pgvector
                (postgresql://...), or ``postgresql:`` for the one that STATIM_DATABASE, or PGHOST, PGDATABASE
                and others name.
            ids: With texts: their ids, all different, str or numbers (7 and 7.0 are "7"); by default "0",
                "1", ….
            metadata: With texts: one mapping each.
            vectors: (n, d) numbers, the documents' vectors if ``model`` has made them already; some are
                compared with what it makes. May be a memory map.
            weight: The part of the vector score in hybrid search, unless a search says otherwise; by default
                the model's, which training has tuned together with the default mode, else 0.5. See
                ``statim.evaluation.tune``.
            store: ``folder`` or ``lancedb``; by default ``folder`` for up to 200,000 documents or with
                ``engine``, else ``lancedb``.
            table: In a database: the name of the index's tables.
            engine: In a folder: the search engine, of engines.NAMES; by default what ``registry.choose``
                takes for that many vectors.
            language: The documents' language, which says how BM25 cuts and stems words: an ISO 639 code such
                as ``de`` or ``ja``, ``und`` for none of them, or ``auto`` to detect it.
            documents_by: A teacher that makes the documents' vectors, for a model that is trained for queries
                alone (see ``statim.train``); by default the one that such a model remembers, else the model
                itself.
            passages: Cut documents into passages of a few sentences; a search gives each document once, with
                its best passage (see passages.py).
            shards: Cut the index into this many shards, each an index of its own, which a search asks all at
                once; scores are those of one index.
            threads: Threads to use.
            progress: Show progress bars on a terminal.
            overwrite: Replace a folder that has something in it, or an index in the database.

        Raises:
            DataError: There are no documents, ids repeat, or a column, an id or a text is missing.
            InputError: An argument is of the wrong kind or length, the vectors are another model's, one of
                them is not finite or is zero where the model's is not, the teacher is not the one that the
                model was trained against, or something is there already and ``overwrite`` is off.
            StorageError: The disk is full, read-only, or not permitted; or the database refuses. What stood
                there still stands.
            DependencyError: The store needs a package that is not installed.
        """
        from statim.search.stores import documents as tables

        model = as_model(model)
        usual = model.settings.search if weight is None else SearchSettings(float(weight))
        check_language(language)
        about: dict[str, Any] = {
            **_said(usual or SearchSettings()),
            "vectors": "model" if vectors is None else "given",
            "language": Wanted(language, accents=not model.tokenizer.strips_accents),
        }
        about |= ({} if engine is None else {"engine": engine}) | _shards(shards, path)
        encode, by = encoder(model, documents_by, threads)
        about |= by | ({KEY: True} if passages else {})
        if passages and vectors is not None:
            raise InputError("the vectors are those of whole documents; leave them or the passages out")
        place = registry.check(path, store, engine, table, overwrite=overwrite)
        large, schema, parts = tables.stream(documents, ids, metadata, CHUNK, registry.LARGE)
        lengths = Lengths()
        schema, parts = (with_own(schema), cut(parts)) if passages else (schema, lengths.seen(parts))
        parts = registry.checked(place, parts, stream=hasattr(documents, "read_next_batch"))
        unknown, parts = with_unknown(model, parts)
        about |= unknown
        made = encoded(encode, model.dim, parts, vectors, progress)
        opened = registry.create(
            place, store, table, schema, made, model, about, large=large, overwrite=overwrite
        )
        lengths.warn()
        return Index(opened)

    @staticmethod
    def load(
        path: str | Path,
        *,
        version: int | None = None,
        table: str = registry.TABLE,
        verify: Verify | None = None,
        allow_partial: bool = False,
    ) -> "Index":
        """Open an index.

        Args:
            path: A folder, or the address of a PostgreSQL database (see ``build``).
            version: An older version, of those that ``info`` lists; it can be searched, not changed. LanceDB
                alone keeps some.
            table: In a database: the name of the index's tables.
            verify: How files are checked against their digests: ``always`` reads every byte, ``size``
                compares lengths only, ``never`` does nothing. By default they are read where they add up to
                at most 64 MiB. ``statim check`` reads them all.
            allow_partial: Of an index in shards, go on without those that are missing or damaged; ``missing``
                names them.

        Raises:
            ModelError: There is no index there, it is not whole or damaged, or a newer version of statim made
                it.
            InputError: There is no such version, or no such level of ``verify``.
            StorageError: The database cannot be reached.
        """
        return Index(registry.opened(path, version, table, verify, partial=allow_partial))

    @property
    def missing(self) -> dict[str, str]:
        """Shards that searches go without, and what is wrong with each; see ``load``."""
        return dict(getattr(self._store, "missing", {}))

    @property
    def path(self) -> "Path | str":
        """The folder; of a database, its address without the password."""
        return self._store.place if is_database(self._store.place) else Path(self._store.place)

    @property
    def _has_passages(self) -> bool:
        return KEY in self._store.manifest

    @cached_property
    def model(self) -> StaticModel:
        """The model that made the vectors.

        Raises:
            ModelError: It is damaged, or not the one that made the vectors.
        """
        return self._store.model()

    def __len__(self) -> int:
        """How many documents there are; of an index of passages, whole ones."""
        if not self._has_passages:
            return len(self._store)
        now = (self._changes, len(self._store))
        held = self._counted
        if held is None or held[:2] != now:
            held = self._counted = (*now, len(documents_in(self._store.scan([PARENT]))))
        return held[2]

    def __repr__(self) -> str:
        dim = self._store.manifest["dimensions"]
        return f"Index({self._store.place!r}, {counted(len(self), 'documents')} x {dim} dimensions)"

    @property
    def schema(self) -> "pa.Schema":
        """The documents' columns: ``id``, ``text`` and others."""
        return self._store.schema

    @property
    def analyzer(self) -> Analyzer:
        """How BM25 cuts and stems words of documents and queries."""
        return self._store.analyzer

    def get(self, ids: Any) -> list[dict[str, Any]]:
        """Documents by their ids, those that are there, in the order of the ids.

        Args:
            ids: One id or several, str or numbers.

        Returns:
            A mapping for each, of ``id``, ``text`` and other columns; of an index of passages, one for each
            passage of these documents, in order.

        Raises:
            InputError: An id is neither str nor number.
            ModelError: The index is damaged.
        """
        names = list(dict.fromkeys(read_ids(ids)))
        if self._has_passages:
            return self._passages_of(names)
        found = {str(document["id"]): document for document in self._store.documents_of(names)}
        return [found[name] for name in names if name in found]

    def _passages_of(self, names: list[str]) -> list[dict[str, Any]]:
        order = {name: place for place, name in enumerate(names)}
        found = [
            row
            for start in range(0, len(names), NAMED)
            for table in self._store.scan(where=Among(PARENT, tuple(names[start : start + NAMED])))
            for row in table.to_pylist()
        ]
        return sorted(found, key=lambda row: (order[row[PARENT]], row[NUMBER]))

    def info(self) -> dict[str, Any]:
        """What the index holds: documents, dimensions, columns, weight, the model's hash, bytes, and more.

        ``unknown`` is the share of tokens that the model did not know in a sample of the documents that the
        index was built with, from 0 to 1. ``recall`` is the share of the ten nearest documents that a vector
        search finds and ``recall_at_1`` how often it finds the nearest, from 0 to 1, measured on a sample of
        the documents when the search was last tuned. Both are left out where documents are stored rounded
        (engines ``exact-float16``, ``exact-int8`` and ``exact-binary``), so that this is not known. An index
        of passages has their number as ``passages``; each of its ``versions`` counts them as ``passages``.
        """
        found = self._store.info()
        if not self._has_passages:
            return found
        told = {"documents": len(self), KEY: len(self._store)}
        return {name: told.pop(name) if name in told else value for name, value in found.items()} | told

    def add(
        self,
        documents: Any,
        *,
        ids: Any = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
        vectors: Any = None,
        model: StaticModel | None = None,
        replace: bool = False,
        new_shards: int | None = None,
        threads: int | None = None,
        progress: bool = False,
    ) -> int:
        """Add n documents, all or none of them; nothing that is there is encoded again.

        Args:
            documents: As for ``build``. Columns of the index that they lack are empty.
            ids: With texts: their ids, which must be given.
            metadata: With texts: one mapping each.
            vectors: (n, d), as for ``build``.
            model: The model that you believe to be the index's; it is refused if it is not.
            replace: Let them take the place of documents with the same ids (see ``update``).
            new_shards: Of an index in shards: put them into this many new shards, in place of the smallest.
            threads: Threads to use.
            progress: Show progress bars on a terminal.

        Returns:
            n, also where they are cut into passages.

        Raises:
            DataError: An id stands twice, or (unless ``replace``) is in the index already; a column is not in
                the index, or a value would be another one there; or as for ``build``.
            InputError: The model or the vectors are not the index's; or an older version is open.
            StorageError: As for ``build``. The index is as it was.
        """
        if model is not None:
            registry.check_model(model, self._store)
        parts, encode = self._incoming(documents, ids, metadata, threads)
        write = self._writer(replace, new_shards)
        own = self.model  # now: a database cannot be asked for it in the middle of a change
        count = 0

        def counted() -> "Iterator[Block]":
            nonlocal count
            for part in encoded(encode, own.dim, parts, vectors, progress):
                yield part
                count += len(part[0])

        try:
            if self._has_passages:
                made = list(counted())
                passages = [table for table, _ in made]
                drop = outdated(self._store.scan(["id", PARENT]), passages, replace=replace)
                write(made, drop)
                count = len(documents_in(passages))
            else:
                write(counted(), ())
        finally:
            self._changes += 1
        return count

    def _writer(
        self, replace: bool, new_shards: int | None
    ) -> "Callable[[Iterable[Block], Sequence[str]], None]":
        """What adds documents, and drops others by id in the same change."""
        store = self._store
        if new_shards is None:
            return lambda blocks, drop: store.write(blocks, replace=replace, drop=drop)
        many, extend = _shards(new_shards, self._store.place)["shards"], getattr(store, "extend", None)
        if extend is None:
            raise InputError(
                f"{store.place} is not in shards; only an index built with --shards takes new ones"
            )
        if replace:
            raise InputError(
                "documents are replaced where they are; leave the new shards out, or add new ones"
            )
        return lambda blocks, _: extend(blocks, many)

    def _incoming(
        self, documents: Any, ids: Any, metadata: Sequence[Mapping[str, Any]] | None, threads: int | None
    ) -> "tuple[Iterator[pa.Table], Encode]":
        """Documents as the rows of this index, some at a time, and what encodes them."""
        from statim.search.stores import documents as tables

        _, _, parts = tables.stream(documents, ids, metadata, CHUNK, 0, numbers=False)
        parts = cut(parts) if self._has_passages else parts
        encode, _ = encoder(
            self.model,
            self._store.manifest.get("documents_by"),
            threads,
            known=self._store.manifest.get("documents_hash"),
        )
        stream = hasattr(documents, "read_next_batch")
        return registry.checked(self._store.place, parts, stream=stream), encode

    def update(self, documents: Any, *, ids: Any = None, **options: Any) -> int:
        """Add documents, replacing those with the same ids; as ``add(..., replace=True)``."""
        return self.add(documents, ids=ids, replace=True, **options)

    def sync(self, documents: Any, *, threads: int | None = None, progress: bool = False) -> Synced:
        """Make the index hold these documents and no others; what did not change is not encoded again.

        Args:
            documents: All documents that the index is to hold, as a table or a stream (see ``build``), with
                ids. They are compared with those that are there by a hash of text and metadata.
            threads: Threads to use.
            progress: Show progress bars on a terminal.

        Returns:
            How many were added, updated, deleted, and unchanged.

        Raises:
            DataError: As for ``add``.
            InputError: There are no documents; the vectors were given rather than made; or an older version
                is open.
            StorageError: As for ``build``. The index is as it was.
        """
        if self._store.manifest.get("vectors") == "given":
            raise InputError(
                f"the vectors of {self._store.place} were given (--vectors), so it cannot be synced; use "
                "add, update and delete, with vectors"
            )
        difference = Difference(self.schema, self._store.scan(), passages=self._has_passages)
        parts, encode = self._incoming(documents, None, None, threads)
        made = list(encoded(encode, self.model.dim, difference.of(parts), None, progress))
        difference.check()
        try:
            if made:
                self._store.write(made, replace=True, drop=difference.gone)
            elif difference.gone:
                self._store.delete(difference.gone)
        finally:
            self._changes += 1
        return difference.counts

    def reencode(self, model: StaticModel, *, threads: int | None = None) -> "Reencoded":
        """Let another model have made the vectors, in place; texts, words and other columns stay.

        A text is not encoded again if its tokens are the same in both models and none of their embeddings
        differ, as after ``statim.training.update.update``. Readers keep the index as it was until they open
        it again; so does this object.

        Args:
            model: The updated model; a copy is kept in the index.
            threads: Threads to use.

        Returns:
            How many texts were encoded again, and how many kept their vectors.

        Raises:
            InputError: The index is no folder of files, an older version of statim made it, or its vectors
                are a teacher's; or the model is for queries alone.
            StorageError: The disk is full, read-only, or not permitted. The index is as it was.
        """
        from statim.search.reencoding import Reencoder

        self.check_reencoding()
        if model.settings.documents_by is not None:
            raise InputError("the model is for queries alone; build the index again with its teacher")
        reencoder = Reencoder(self.model, model, threads)
        self._store.renew(model, reencoder)
        return reencoder.counts

    def check_reencoding(self) -> None:
        """Refuse an index that ``reencode`` cannot change.

        Raises:
            InputError: It is no folder of files, an older version of statim made it, or its vectors are a
                teacher's.
        """
        if "documents_by" in self._store.manifest:
            raise InputError(f"the vectors of {self._store.place} are a teacher's; build the index again")
        self._store.check_renewal()

    def delete(self, ids: Any = None, *, where: str | None = None) -> int:
        """Delete documents by their ids, those that are there, or all that satisfy a condition.

        Args:
            ids: One id or several, str or numbers.
            where: A condition, as in ``search``; a document of which one passage satisfies it goes whole.

        Returns:
            How many documents were deleted.

        Raises:
            InputError: Neither or both are given, an id is neither str nor number, none would be left, or an
                older version is open.
        """
        if (ids is None) == (where is None):
            raise InputError("give either ids or a condition (where) of the documents to delete")
        try:
            names = read_ids(ids) if where is None else []
            condition = self._condition(where)
            if not self._has_passages:
                return self._store.delete(names, condition)
            whole = set(names) if where is None else documents_in(self._store.scan([PARENT], condition))
            gone = of_parents(self._store.scan(["id", PARENT]), whole)
            self._store.delete(gone)
            return len({document_of(name) for name in gone})
        finally:
            self._changes += 1

    def compact(self, *, keep: int = 1) -> None:
        """Merge the files of a LanceDB index, complete its vector index, remove old versions; else nothing.

        Whoever has an older version open cannot go on reading it. Files that are younger than a minute stay
        until the next time.

        Args:
            keep: How many versions to keep, the new one included.

        Raises:
            InputError: ``keep`` is no number above 0, the store keeps no versions, or an older version is
                open.
        """
        if not isinstance(keep, int) or isinstance(keep, bool) or keep < 1:
            raise InputError(f"keep is {keep!r}; it must be a whole number of at least 1")
        try:
            self._store.compact(keep)
        finally:
            self._changes += 1

    @overload
    def search(  # type: ignore[overload-overlap]
        self, query: str, k: int = 10, *, mode: str | None = None, weight: float | None = None,
        fusion: str = "scores", min_score: float | str | None = None,
        where: str | None = None, rerank: "Reranker | None" = None, threads: int | None = None,
    ) -> list[Hit]: ...  # fmt: skip

    @overload
    def search(
        self, query: Iterable[str], k: int = 10, *, mode: str | None = None, weight: float | None = None,
        fusion: str = "scores", min_score: float | str | None = None, where: str | None = None,
        rerank: "Reranker | None" = None, threads: int | None = None,
    ) -> list[list[Hit]]: ...  # fmt: skip

    def search(
        self,
        query: str | Iterable[str],
        k: int = 10,
        *,
        mode: str | None = None,
        weight: float | None = None,
        fusion: str = "scores",
        min_score: float | str | None = None,
        where: str | None = None,
        rerank: "Reranker | None" = None,
        threads: int | None = None,
    ) -> list[Hit] | list[list[Hit]]:
        """Find the best documents.

        Args:
            query: One query, or several, as ``StaticModel.encode`` takes texts.
            k: The most hits to return for each. There are fewer where fewer documents have anything to do
                with the query: in mode bm25 those without any of its words are left out, in mode vector those
                    without known tokens.
            mode: ``hybrid``, ``vector`` or ``bm25``; by default the index's, or ``hybrid`` with a ``weight``
                or the fusion rrf.
            weight: In mode hybrid with fusion scores, the part of the vector score, from 0 to 1; None takes
                the index's.
            fusion: In mode hybrid, ``scores`` (the weighted sum of both scores) or ``rrf`` (reciprocal rank
                fusion).
            min_score: Leave out hits of a lower score (those of ``rerank``, where it is given); or ``"95%"``:
                the score that this share of the right answers to development queries reached (50, 75, 90, 95
                or 99; see ``info``).
            where: Find only documents that satisfy this condition on their columns: "year > 2020 and source =
                'faq'" (see filters/where.py).
            rerank: Scores the best documents once more (see rerank.py); the hits have its scores.
            threads: Threads to use.

        Returns:
            Hits, best first: a list for one query, a list of lists for several.

        Raises:
            InputError: An argument is none of the above.
            ModelError: The index is damaged.
        """
        mode = self._mode(mode, weight, fusion)
        least = self._least(min_score, mode, weight, fusion, reranked=rerank is not None)
        queries = _queries(query)
        how = _How(mode, weight, fusion, where, least if rerank is None else -np.inf, threads)
        depth = check_k(k) if rerank is None else max(check_k(k), rerank.depth)
        if self._has_passages:
            best = best_passages(lambda depth: self._hits(queries, depth, how), depth)
            found = [[_of_passage(*one) for one in hits] for hits in best]
        else:
            found = self._hits(queries, depth, how)
        if rerank is not None:
            found = [
                _reranked(rerank, question, hits, k, least)
                for question, hits in zip(queries, found, strict=True)
            ]
        return found[0] if isinstance(query, str) else found

    def _hits(self, queries: list[str], k: int, how: "_How") -> list[list[Hit]]:
        """The rows that are found: documents, or passages."""
        view = self.view(how.where)
        scores, positions = self._ranked(view, queries, k, how.mode, how.weight, how.fusion, how.threads)
        positions = np.where(scores >= how.least, positions, -1)
        there = np.unique(positions[positions >= 0])
        documents = dict(zip(there.tolist(), view.rows(there), strict=True))
        hits = []
        for row, places in zip(scores.tolist(), positions.tolist(), strict=True):
            found = [
                (score, documents[place]) for score, place in zip(row, places, strict=True) if place >= 0
            ]
            hits.append([_hit(rank, score, document) for rank, (score, document) in enumerate(found, 1)])
        return hits

    def rank(
        self,
        query: str | Iterable[str],
        k: int = 10,
        *,
        mode: str | None = None,
        weight: float | None = None,
        fusion: str = "scores",
        where: str | None = None,
        threads: int | None = None,
    ) -> tuple[Floats, Positions]:
        """As ``search``, without documents: scores (m, at most k) and positions; -inf and -1 for none."""
        view, mode = self.view(where), self._mode(mode, weight, fusion)
        return self._ranked(view, _queries(query), k, mode, weight, fusion, threads)

    def _mode(self, mode: str | None, weight: float | None, fusion: str) -> str:
        """The mode of a search: by default the index's, or hybrid where only that has what is asked."""
        if mode is None:
            own = self.settings.mode
            return own if weight is None and fusion == "scores" else MODES[0]
        if mode not in MODES:
            raise InputError(f"mode is {mode!r}; it must be one of {', '.join(MODES)}")
        return mode

    def _least(
        self, least: float | str | None, mode: str, weight: float | None, fusion: str, *, reranked: bool
    ) -> float:
        """The lowest score that a hit may have."""
        if not isinstance(least, str):
            number = -np.inf if least is None else least
            if isinstance(number, bool) or not isinstance(number, (int, float)) or np.isnan(number):
                raise InputError(f"min_score is {least!r}; it must be a number, or a share such as '95%'")
            return number
        known = self.settings.thresholds.get(mode, {})
        other = mode == MODES[0] and (fusion != "scores" or weight not in (None, self.settings.weight))
        share = least.removesuffix("%")
        if share == least or share not in map(str, SHARES):
            allowed = ", ".join(f"{one}%" for one in SHARES)
            raise InputError(f"min_score is {least!r}; it must be a number, or one of {allowed}")
        if reranked or other or share not in known:
            raise InputError(
                f"min_score is {least!r}, but what share of the right answers reaches which score is not "
                f"known for this search (mode {mode}); tune the index with judged questions (statim index "
                "tune), use its own weight, no other fusion and no reranking, or give a number"
            )
        return known[share]

    def _ranked(
        self, view: "View", queries: list[str], k: int, mode: str, weight: float | None, fusion: str,
        threads: int | None
    ) -> tuple[Floats, Positions]:  # fmt: skip
        k = check_k(k)
        if fusion not in FUSIONS:
            raise InputError(f"fusion is {fusion!r}; it must be one of {', '.join(FUSIONS)}")
        if mode == "bm25":
            return view.words.search(queries, k, threads=threads)
        vectors = self.model.encode_query(queries, normalize=True, threads=threads)
        if mode == "vector":
            return view.vectors.search(vectors, k, threads=threads)
        found = hybrid.candidates(view.vectors, view.words, vectors, queries, k, threads=threads)
        if fusion == "rrf":
            return hybrid.fuse_ranks(found, k)
        return hybrid.fuse_scores(found, k, weight=self.settings.weight if weight is None else weight)

    @property
    def settings(self) -> SearchSettings:
        """How the index is searched unless a search says otherwise."""
        return settings_of(self._store.manifest) or SearchSettings()

    @settings.setter
    def settings(self, wanted: SearchSettings) -> None:
        self._store.describe(_said(wanted))

    def texts(self) -> "Iterator[tuple[Positions, pa.Array, pa.Array]]":
        """The documents, in parts: their positions, ids and texts."""
        return self._store.texts()

    def documents(self) -> "Iterable[pa.Table]":
        """The documents with all their columns, in parts and in no known order; of passages each one."""
        return self._store.scan()

    def word_scores(self, query: str, document: str | int) -> list[tuple[str, float]]:
        """What each word of a query adds to a document's BM25 score; they sum to the score.

        Args:
            query: The query.
            document: The id of the document; of its passages the one with the best score counts.

        Returns:
            The words of the query in order, stop words left out as in a search, each with its part; none
            where the document has no word of the query, or there is no such document.
        """
        name = read_ids(document)[0].replace("'", "''")
        words = self.view(f"id = '{name}'").words
        _, position = words.search([query], 1)
        if position.size == 0 or position[0, 0] < 0:
            return []
        parts = self.analyzer.query_words(query)
        return [(word, float(words.score([word], position)[0, 0])) for word in parts]

    def tune_weight(
        self, queries: Iterable[str], measure: Callable[[list[list[str]]], float], *, k: int = 10
    ) -> tuple[float, float]:
        """The weight of the vector score that does best on development queries (never on a test set).

        Args:
            queries: The development queries.
            measure: Gives the worth of one list of ids a query, best first, e.g. their mean NDCG@10; higher
                is better.
            k: How many ids each list has.

        Returns:
            The weight, to be given to ``search`` or ``build``, and its worth; see hybrid.best_weight.

        Raises:
            InputError: There are no queries.
        """
        queries = _queries(queries)
        if not queries:
            raise InputError("there are no development queries; give at least one")
        vectors = self.model.encode_query(queries, normalize=True)
        view = self.view()
        found = hybrid.candidates(view.vectors, view.words, vectors, queries, k)
        there = np.unique(found.positions[found.positions >= 0])
        name = PARENT if self._has_passages else "id"
        names = {p: str(row[name]) for p, row in zip(there.tolist(), view.rows(there), strict=True)}

        def worth(positions: Positions) -> float:
            rows = positions.tolist()
            return measure([list(dict.fromkeys(names[p] for p in row if p >= 0)) for row in rows])

        return hybrid.tune_weight(found, worth, k=k)

    def view(self, where: str | None = None) -> "View":
        """The documents that satisfy a condition, or all; that of the last search is kept for the next."""
        held, changes = self._views, self._changes
        if held is None or held[:2] != (changes, where):
            held = self._views = (changes, where, self._store.view(self._condition(where)))
        return held[2]

    def _condition(self, where: str | None) -> Condition | None:
        """A condition on the rows; on documents that are cut, ``id`` is the document's."""
        found = None if where is None else filters.read(where, self.schema)
        return about_documents(found, self.schema.names) if found and self._has_passages else found


def _shards(many: int | None, place: str | Path) -> dict[str, int]:
    """How many shards an index gets, for ``registry.create``; nothing for one that is not cut.

    Raises:
        InputError: It is no number of shards, or the index is in a database.
    """
    if many is None:
        return {}
    if not isinstance(many, int) or isinstance(many, bool) or not 1 <= many <= 1000:
        raise InputError(f"shards is {many!r}; it must be a whole number from 1 to 1,000")
    if is_database(place):
        raise InputError("an index in a database is not cut into shards; leave them out, or name a folder")
    return {"shards": many}


class _How(NamedTuple):
    """What a search is asked for beside the queries; see ``Index.search``."""

    mode: str
    weight: float | None
    fusion: str
    where: str | None
    least: float
    threads: int | None


def _reranked(rerank: "Reranker", question: str, hits: list[Hit], k: int, least: float) -> list[Hit]:
    """The best hits by the scores of a reranker, which sees each document once."""
    found = rerank(question, [(hit.score, {"text": hit.text, "hit": hit}) for hit in hits])[:k]
    kept = [(score, document["hit"]) for score, document in found if score >= least]
    return [replace(hit, rank=rank, score=score) for rank, (score, hit) in enumerate(kept, 1)]


def _hit(rank: int, score: float, document: dict[str, Any]) -> Hit:
    rest = {name: value for name, value in document.items() if name not in ("id", "text")}
    return Hit(rank, score, document["id"], document["text"], rest)


def _of_passage(rank: int, hit: Hit) -> Hit:
    """The hit of a document, of its best passage."""
    rest = {name: value for name, value in hit.metadata.items() if name != PARENT}
    return Hit(rank, hit.score, hit.metadata[PARENT], hit.text, rest)


def _said(settings: SearchSettings) -> dict[str, Any]:
    """The settings for a manifest; what was never tuned is left out."""
    thresholds = {mode: dict(scores) for mode, scores in settings.thresholds.items()}
    return {"weight": settings.weight, "mode": settings.mode} | (
        {"thresholds": thresholds} if thresholds else {}
    )


def _queries(query: str | Iterable[str]) -> list[str]:
    return [query] if isinstance(query, str) else Texts.of(query, "query").checked()
