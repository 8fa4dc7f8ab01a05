"""What every store of an index can do; one file per store.

A document has a position, a number that no other document ever gets: a changed document moves to a new one.
Vectors, words and texts are found by position, so one ranking can be made from them, whatever keeps them.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from statim.digests import check_seal
from statim.errors import DataError, InputError, ModelError
from statim.files import hash_file, is_plain_name, read_json
from statim.model import Held, StaticModel
from statim.search.engines.protocol import Floats, Positions
from statim.search.filters.conditions import Condition
from statim.search.lexical.analyzer import Analyzer
from statim.search.lexical.bm25 import BM25
from statim.search.lexical.incremental_bm25 import Postings, Words
from statim.settings import MODES, SearchSettings

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = "statim-index"
FORMAT_VERSION = 2
MANIFEST = "index.json"
REMEDY = "build the index again"
HASH = re.compile("[0-9a-f]{64}")
SEARCHED = ("weight", "mode", "thresholds")  # what a manifest says of how the index is searched by default
HASHED = ("model.safetensors", "tokenizer.json")  # what decides a model's vectors

Mask = npt.NDArray[np.bool_]
Renewing = Callable[[list[str], Floats], Floats]
Block = tuple["pa.Table", Floats]  # n documents (id, text, other columns) and their vectors (n, d)


class VectorSide(Protocol):
    """Documents found by vectors; see Engine."""

    def search(
        self, queries: npt.ArrayLike, k: int, *, threads: int | None = None
    ) -> tuple[Floats, Positions]:
        """The k nearest documents of queries (m, d): scores, positions, (m, at most k); -inf, -1 for none."""

    def score(self, queries: npt.ArrayLike, positions: Positions) -> Floats:
        """The cosines of given positions (m, c) with queries (m, d); 0 where a position is -1."""


class WordSide(Protocol):
    """Documents found by words; see BM25."""

    def search(
        self, queries: Sequence[str], k: int, *, threads: int | None = None
    ) -> tuple[Floats, Positions]:
        """The k best documents of m queries: scores and positions, (m, at most k); -inf and -1 for none."""

    def score(self, queries: Sequence[str], positions: Positions) -> Floats:
        """The scores of given positions (m, c); 0 where a position is -1."""

    def full_match(self, queries: Sequence[str]) -> npt.NDArray[np.float64]:
        """The score of a document of mean length that holds each word of a query once, (m,)."""

    def asked(self, queries: Sequence[str]) -> "WordSide":
        """The same documents for these queries alone, whose words are then looked up once."""


class View(NamedTuple):
    """The documents that a search may find.

    Attributes:
        vectors: By vectors.
        words: By words.
        rows: Gives the documents at c positions, in this order. A change of the store does not change what a
            view of before gives.
    """

    vectors: VectorSide
    words: WordSide
    rows: Callable[[Positions], list[dict[str, Any]]]


class Store(Protocol):
    """The documents of an index, their vectors and words, and the model that made the vectors.

    Attributes:
        place: What messages call it.
        manifest: What it says of itself: ``documents``, ``dimensions``, ``columns``, ``weight``,
            ``model_hash`` and more.
        schema: The columns of the documents: ``id``, ``text`` and others.
    """

    place: str
    manifest: Mapping[str, Any]
    schema: "pa.Schema"

    def __len__(self) -> int:
        """How many documents there are."""

    def model(self) -> StaticModel:
        """The model that made the vectors.

        Raises:
            ModelError: It is damaged, or not the one that made them.
        """

    def view(self, where: Condition | None) -> View:
        """The documents that satisfy a condition on their columns (see filters/where.py), or all."""

    @property
    def analyzer(self) -> Analyzer:
        """How words of documents and queries are cut and stemmed."""

    def documents_of(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """The documents of these ids that are there, in any order.

        Raises:
            ModelError: They are damaged.
        """

    def scan(
        self, columns: Sequence[str] | None = None, where: Condition | None = None
    ) -> Iterable["pa.Table"]:
        """The documents that satisfy a condition, or all; a bounded number at a time, in no known order.

        Args:
            columns: Those of ``schema`` to give; all by default.
            where: The condition on their columns.
        """

    def write(self, blocks: Iterable[Block], *, replace: bool, drop: Sequence[str] = ()) -> None:
        """Add documents, all or none of them.

        Args:
            blocks: Documents with the columns of ``schema``, and their vectors; at least one.
            replace: Let them take the place of those that have the same id.
            drop: Ids of other documents to delete in the same change.

        Raises:
            DataError: An id stands twice; without ``replace``, also one that is there already.
            StorageError: The disk is full, read-only, or not permitted.
        """

    def delete(self, ids: Sequence[str], where: Condition | None = None) -> int:
        """Delete documents by id, or all that satisfy a condition; return how many were deleted.

        Raises:
            InputError: None would be left.
        """

    def check_renewal(self) -> None:
        """Refuse a store that ``renew`` cannot change.

        Raises:
            InputError: It is one.
        """

    def renew(self, model: StaticModel, vectors_of: Renewing) -> None:
        """Let another model have made the vectors; all else stays, and readers keep what they opened.

        Args:
            model: The model.
            vectors_of: Makes the vectors (n, d) of n texts from these and the present vectors.

        Raises:
            StorageError: The disk is full, read-only, or not permitted.
        """

    def describe(self, said: Mapping[str, Any]) -> None:
        """Store how the index is searched by default (``weight``, ``mode``, ``thresholds``), atomically.

        Raises:
            InputError: An older version is open, or the index was built again meanwhile.
            StorageError: The disk is full, read-only, or not permitted.
        """

    def texts(self) -> "Iterator[tuple[Positions, pa.Array, pa.Array]]":
        """The documents, in parts: their positions, ids and texts."""

    def compact(self, keep: int) -> None:
        """Tidy the files, and remove all but the last ``keep`` versions.

        Raises:
            InputError: It keeps no versions.
        """

    def info(self) -> dict[str, Any]:
        """What it holds; JSON."""


class Weighing(Protocol):
    """What weighs the words of queries; see Words."""

    def bm25(self, queries: Sequence[str], allowed: Mask | None = None) -> BM25:
        """BM25 of the queries' words, which finds only positions that are ``allowed``."""


class WordView:
    """Words of documents, of which only some are found (see WordSide)."""

    def __init__(self, words: Weighing, allowed: Mask | None) -> None:
        self._words, self._allowed = words, allowed

    def search(
        self, queries: Sequence[str], k: int, *, threads: int | None = None
    ) -> tuple[Floats, Positions]:
        """The k best documents of m queries."""
        return self._words.bm25(queries, self._allowed).search(queries, k, threads=threads)

    def score(self, queries: Sequence[str], positions: Positions) -> Floats:
        """The scores of given positions."""
        return self._words.bm25(queries).score(queries, positions)

    def full_match(self, queries: Sequence[str]) -> npt.NDArray[np.float64]:
        """The score of a document that holds each word of a query."""
        return self._words.bm25(queries).full_match(queries)

    def postings(self, queries: Sequence[str]) -> tuple[Postings, Mask | None]:
        """The words of these queries, to be weighed with those of other indexes; and which may be found.

        Raises:
            ModelError: The index is of the first format.
        """
        if not isinstance(self._words, Words):
            raise ModelError(f"the index has words of an older format; {REMEDY}")
        return self._words.postings(queries), self._allowed

    def asked(self, queries: Sequence[str]) -> WordSide:
        """The same for these queries alone."""
        whole = self._words.bm25(queries)
        return whole if self._allowed is None else _Asked(whole, whole.among(queries, self._allowed))


class _Asked:
    """The words of some queries (see WordSide): those of all documents weigh, those of some are found."""

    def __init__(self, whole: BM25, some: BM25) -> None:
        self._whole, self.search = whole, some.search
        self.score, self.full_match = whole.score, whole.full_match

    def asked(self, queries: Sequence[str]) -> "_Asked":
        del queries
        return self


def model_hash(folder: Path) -> str:
    """A hash of what decides a model's vectors, hexadecimal."""
    return _joined_hash([hash_file(folder / name) for name in HASHED])


def _joined_hash(hashes: Iterable[str]) -> str:
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def hold_model(folder: Path) -> Held:
    """The model of an index, its files open, so that it stays the one that made the vectors.

    Raises:
        ModelError: It is damaged, or a symbolic link leads elsewhere.
    """
    for file in (folder, *(folder / name for name in HASHED)):
        check_no_link(file)
    return StaticModel.hold(folder)


def load_model(held: Held, manifest: Mapping[str, Any], place: str) -> StaticModel:
    """The model of an index, if it is the one that made the vectors.

    Raises:
        ModelError: It is damaged, was changed, or is of other dimensions.
    """
    model = held.load()
    if model.dim != manifest["dimensions"]:
        raise ModelError(
            f"{place}: the model has {model.dim} dimensions, the vectors {manifest['dimensions']}"
        )
    if _joined_hash(held.file_hashes()) != manifest["model_hash"]:
        raise ModelError(
            f"{place}: the model is not the one that made the vectors (its files were changed); put it "
            "back, or build the index again"
        )
    return model


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of an index in a folder, its common fields checked.

    Raises:
        ModelError: There is no index at ``path``, or a newer version of statim made it.
    """
    if not (path / MANIFEST).is_file():
        raise ModelError(
            f"{path} is not an index (there is no {MANIFEST} in it); make one with `statim index build`"
        )
    found = read_json(path / MANIFEST)
    whole = check_manifest(found, path / MANIFEST)
    check_seal(found, path / MANIFEST, REMEDY)
    return whole


def check_manifest(manifest: Any, where: str | Path) -> dict[str, Any]:
    """A manifest with the fields that all stores have.

    Raises:
        ModelError: It is damaged, or a newer version of statim made it.
    """
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ModelError(f"{where} does not describe an index of statim")
    version = manifest.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ModelError(
            f"{where} has format version {version}, newer than the {FORMAT_VERSION} that this statim "
            "reads; update statim"
        )
    whole: dict[str, Any] = {"store": "folder", **manifest}
    kinds = {
        "format_version": int,
        "store": str,
        "documents": int,
        "dimensions": int,
        "columns": list,
        "weight": float,
    }
    kinds |= {"model_hash": str}  # fmt: skip
    wrong = [name for name, kind in kinds.items() if type(whole.get(name)) is not kind]
    if wrong or whole["format_version"] < 1 or not 0 <= whole["weight"] <= 1:
        raise ModelError(f"{where} is damaged at {', '.join(wrong) or 'a number'}; build the index again")
    if settings_of(whole) is None:
        raise ModelError(f"{where} is damaged at mode or thresholds; build the index again")
    if not HASH.fullmatch(whole["model_hash"]):
        raise ModelError(f"{where} is damaged at model_hash, which is no SHA-256; build the index again")
    return whole


def settings_of(manifest: Mapping[str, Any]) -> SearchSettings | None:
    """How an index is searched by default; None if its manifest is damaged there."""
    usual = {"mode": MODES[0], "thresholds": {}}
    return SearchSettings.read(usual | {name: manifest[name] for name in SEARCHED if name in manifest})


def check_inside(folder: Path, names: Collection[str]) -> None:
    """Refuse names of files that are not below an index's folder, and symbolic links on the way to them.

    Raises:
        ModelError: One is not; the message names it.
    """
    for name in names:
        if not is_plain_name(name):
            raise ModelError(
                f"{folder / MANIFEST} names the file {name[:80]!r}, which leads out of the folder; "
                "build the index again"
            )
    files = {folder / name for name in names}
    for path in {parent for file in files for parent in file.parents} - {folder, *folder.parents} | files:
        check_no_link(path)


def check_no_link(path: Path) -> None:
    """Refuse a symbolic link in an index, which could lead out of its folder.

    Raises:
        ModelError: It is one.
    """
    if path.is_symlink():
        raise ModelError(
            f"{path} is a symbolic link, which does not belong there; put the file itself in its place"
        )


def check_same(before: Mapping[str, Any], now: Mapping[str, Any], place: str) -> None:
    """Refuse to change an index that was rebuilt with another model since it was opened.

    Args:
        before: The manifest of what was opened.
        now: That of what is there.
        place: What messages call it.

    Raises:
        InputError: Another model or teacher made them.
    """
    if any(before.get(name) != now.get(name) for name in ("model_hash", "documents_by", "documents_hash")):
        raise InputError(f"{place} was built with another model since it was opened; open it again")


def no_renewal(place: str) -> InputError:
    """What a store says that cannot be re-encoded in place."""
    return InputError(
        f"{place} cannot be re-encoded in place, only an index in a folder of files can; build it again with "
        "the updated model (statim index build --overwrite)"
    )


class NotRenewed:
    """A store that cannot be re-encoded in place; see Store."""

    place: str

    def check_renewal(self) -> None:
        """Refuse it; see Store."""
        raise no_renewal(self.place)

    def renew(self, model: StaticModel, vectors_of: Renewing) -> None:
        """Refuse it; see Store."""
        del model, vectors_of
        self.check_renewal()


def origin(about: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest's entry about who encoded the documents (model, caller or teacher), and unknown tokens.

    See document_encoder.py.
    """
    names = ("vectors", "documents_by", "documents_hash", "unknown", "passages")
    return {"vectors": "model"} | {name: about[name] for name in names if name in about}


def searched(about: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest says of how the index is searched by default; what was never tuned is left out."""
    return {name: about[name] for name in SEARCHED if name in about}


def check_new(given: Sequence[str], there: Iterable[str]) -> None:
    """Refuse ids that are taken.

    Raises:
        DataError: One is; the message names it.
    """
    taken = set(there)
    found = next((name for name in given if name in taken), None)
    if found is not None:
        raise DataError(
            f"the id {found[:80]!r} is in the index already; leave it out, or let it be replaced "
            "(statim index update)"
        )


def check_width(vectors: Floats, dim: int, place: str) -> None:
    """Refuse vectors of other dimensions than an index has.

    Raises:
        InputError: They are.
    """
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise InputError(
            f"the vectors have the shape {vectors.shape}; {place} holds vectors of {dim} dimensions"
        )
