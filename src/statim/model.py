"""StaticModel: a tokenizer and a table. A text's vector is the mean of its tokens' rows."""

import dataclasses
import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import tokenizers

from statim import formats
from statim import threads as pool
from statim.digests import Verify
from statim.errors import InputError, ModelError
from statim.formats.parts import Parts
from statim.kernels.pooling.pool_numpy import int8_factors, pool_few
from statim.models import ENGLISH
from statim.progress import Progress
from statim.quantize import (
    VECTORS,
    check_dtype,
    quantize_table,
    quantize_vectors,
    storage,
    widen_table,
    width,
)
from statim.settings import Settings
from statim.texts import Texts, is_column
from statim.tokenizer.tokenizer import Tokenizer
from statim.tokenizer.tokens import Tokens

CHUNK = 2048  # texts encoded at a time by one thread: its vectors stay in cache until they are written
ABOUT = ("language", "base_model", "search")  # settings that change no vector
FEW = 256  # for up to this many texts plain numpy answers sooner than compiled code loads

Vectors = npt.NDArray[Any]


class StaticModel:
    """A static embedding model.

    Args:
        table: (V, d) float32 (other numbers are converted), one row per token id, finite; not copied where it
            fits as it is.
        tokenizer: A ``tokenizers.Tokenizer``, or a ``statim.tokenizer.Tokenizer``, that gives ids in [0, V).
        settings: How vectors are made; see Settings.

    Raises:
        InputError: ``tokenizer`` is neither kind of tokenizer.
        ModelError: The table and the tokenizer do not fit together, or the table holds NaN or infinities.

    Examples:
        >>> model = StaticModel.load("english")
        >>> vectors = model.encode(["sort a list", "open a file"])
        >>> vectors.shape == (2, model.dim), vectors.dtype
        (True, dtype('float32'))
        >>> model.save("copy")
    """

    def __init__(
        self,
        table: npt.ArrayLike,
        tokenizer: tokenizers.Tokenizer | Tokenizer,
        settings: Settings | None = None,
    ) -> None:
        self._parts = Parts(
            _as_table(table),
            tokenizer if isinstance(tokenizer, Tokenizer) else Tokenizer(tokenizer),
            settings or Settings(),
        )

    @staticmethod
    def load(source: str | Path, *, verify: Verify | None = None) -> "StaticModel":
        """Load a model.

        Args:
            source: ``"english"``, the model that comes with statim; a folder saved by statim,
                sentence-transformers (StaticEmbedding) or model2vec; a text file of GloVe, word2vec or
                fastText vectors (plain or .gz); or a name on the Hugging Face hub (looked up in its cache
                first, and only there when HF_HUB_OFFLINE is set). The table is memory-mapped where its type
                allows. A folder that is called english is ``"./english"``.
            verify: How the files of a model saved by statim are checked against their digests: ``always``
                reads every byte, ``size`` compares lengths only, ``never`` does nothing. By default they are
                read where they add up to at most 64 MiB.

        Raises:
            ModelError: There is no model there, it is not whole or damaged, or it is of a kind that is not
                static.
            InputError: There is no such level of ``verify``.
        """
        model = StaticModel.__new__(StaticModel)
        model._parts = formats.read(source, verify)
        return model

    @staticmethod
    def hold(folder: Path) -> "Held":
        """Open the files of a model that statim wrote, to be read later even if they are replaced.

        Raises:
            ModelError: As ``load``.
        """
        return Held(formats.opened(folder))

    def save(self, path: str | Path, *, card: str | None = None, overwrite: bool = False) -> None:
        """Write a folder that statim, sentence-transformers and model2vec load alike.

        Args:
            path: The folder.
            card: The text of README.md; a short one is written by default.
            overwrite: Replace a folder that has something in it.

        Raises:
            InputError: The folder is not empty and ``overwrite`` is off.
            StorageError: The disk is full, read-only, or not permitted. What stood there still stands.
        """
        formats.write(path, self._parts, card=card, overwrite=overwrite)

    @property
    def table(self) -> npt.NDArray[np.float32]:
        """The table, (V, d) float32; possibly read-only.

        Of a model in fewer bits it is a copy, made again each time.
        """
        return widen_table(self._parts.table, self._parts.scales)

    @property
    def dtype(self) -> str:
        """The type of the table: ``float32``, ``float16``, or ``int8`` with a scale for each row."""
        return str(self._parts.table.dtype.name)

    @property
    def nbytes(self) -> int:
        """The bytes of the table."""
        scales = self._parts.scales
        return int(self._parts.table.nbytes + (0 if scales is None else scales.nbytes))

    def quantize(self, dtype: str) -> "StaticModel":
        """The model with its table in fewer bits: half (``float16``) or a quarter (``int8``) of the size.

        Args:
            dtype: ``float32``, ``float16`` or ``int8``. What was lost before does not come back.

        Raises:
            InputError: ``dtype`` is none of those.
            ModelError: A number is too large for float16.
        """
        model = StaticModel.__new__(StaticModel)
        table, scales = quantize_table(self.table, dtype)
        model._parts = Parts(table, self.tokenizer, self.settings, scales)
        return model

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer."""
        return self._parts.tokenizer

    @property
    def settings(self) -> Settings:
        """How vectors are made."""
        return self._parts.settings

    @functools.cached_property
    def hash(self) -> str:
        """A hash of all that decides the vectors (table, tokenizer, settings), in hexadecimal.

        It is the same wherever the model lies, and before and after it is saved: rows that change no vector
            do not count.
        """
        return self._hash(self._parts.counting_rows())

    def matches_hash(self, value: str) -> bool:
        """Whether ``value`` is this model's hash, or the one of statim 0.1, which covers unused rows too."""
        parts = self._parts
        return value == self.hash or value == self._hash(
            array for array in (parts.table, parts.scales) if array is not None
        )

    def _hash(self, arrays: Iterable[npt.NDArray[Any]]) -> str:
        digest = hashlib.sha256()
        for array in arrays:
            digest.update(array.data)
        digest.update(self.tokenizer.hash.encode())
        ways = dataclasses.asdict(self.settings) | {"prompts": sorted(self.settings.prompts.items())}
        digest.update(repr([ways[name] for name in sorted(ways) if name not in ABOUT]).encode())
        return digest.hexdigest()

    @property
    def dim(self) -> int:
        """The number of dimensions, d."""
        return int(self._parts.table.shape[1])

    def __repr__(self) -> str:
        size = f"{len(self._parts.table):,} tokens x {self.dim} dimensions"
        return f"StaticModel({size}, {self.dtype}, {self.tokenizer.kind})"

    def tokenize(self, texts: str | Iterable[str], *, threads: int | None = None) -> Tokens:
        """The token ids of n texts, as ``encode`` uses them (cut at the model's max_tokens, if it has one).

        Raises:
            InputError: A text is not a str; the message names its position.
        """
        return self.tokenizer(
            texts,
            max_tokens=self.settings.max_tokens,
            max_characters=self.settings.max_characters,
            threads=threads,
        )

    def encode(
        self,
        texts: str | Iterable[str],
        *,
        dim: int | None = None,
        normalize: bool | None = None,
        dtype: str = "float32",
        threads: int | None = None,
        progress: bool = False,
        prompt: str | None = None,
        first: int = 0,
    ) -> Vectors:
        """Turn texts into vectors.

        Args:
            texts: One str; or a list, a numpy or Arrow string array, a pandas or Polars column, or any
                iterable of str (read as a stream).
            dim: Keep only the first ``dim`` dimensions (Matryoshka truncation; before normalisation).
            normalize: Scale vectors to length 1; None does as the model's settings say.
            dtype: ``float32``, ``float16``, ``int8`` (each vector's largest entry becomes 127) or ``binary``
                (the signs, packed).
            threads: Threads to use; None takes STATIM_NUM_THREADS, else every processor at hand.
            progress: Show a progress bar on a terminal.
            prompt: Text put before each text.
            first: The number of the first text, for error messages.

        Returns:
            (n, dim) vectors, or (dim,) for one str; of ``binary`` (n, ceil(dim / 8)) uint8, the first
            dimension in the highest bit. A text without tokens gives a zero vector.

        Raises:
            InputError: ``dim`` is larger than the model's, ``dtype`` is not one of those above, a text is not
                a str, or its vector holds a number that does not fit ``float16`` (65,504 at most); the
                message names its position.
        """
        given = Texts.of(texts)
        dim = self._check_dim(dim)
        check_dtype(dtype, VECTORS)
        normalize = self.settings.normalize if normalize is None else normalize
        workers = pool.count(threads)
        columns, kind = width(dim, dtype), storage(dtype)
        out = np.empty((given.length or 0, columns), kind)

        def encode(item: tuple[int, list[str]]) -> Vectors:
            position, chunk = item
            tokens = self._tokenize_chunk(chunk, first + position, prompt, workers)
            # straight into its place, so that fresh memory is touched once, by the thread that fills it
            rows = (
                np.empty((len(chunk), columns), kind)
                if given.length is None
                else out[position : position + len(chunk)]
            )
            wide = rows if dtype == "float32" else np.empty((len(chunk), dim), np.float32)
            self._pool_into(wide, tokens, normalize, compiled=position > 0 or len(chunk) > FEW)
            if wide is not rows:
                quantize_vectors(wide, dtype, rows, first=first + position)
            return rows

        few = given.length is not None and given.length <= FEW
        blocks = []
        with Progress("encode", total=given.length, unit="texts", show=progress) as bar:
            for rows in pool.stream(encode, given.chunks(CHUNK), 1 if few else workers):
                blocks.append(rows)
                bar.advance(len(rows))
        if given.length is None:
            return np.concatenate([out, *blocks])
        if sum(map(len, blocks)) != given.length:
            raise InputError("texts changed while it was being encoded; leave it alone meanwhile")
        return cast(Vectors, out[0]) if isinstance(texts, str) else out

    def _tokenize_chunk(self, texts: list[str], position: int, prompt: str | None, workers: int) -> Tokens:
        if prompt:
            texts = [prompt + text if isinstance(text, str) else text for text in texts]
        return self.tokenizer.chunk(
            texts,
            max_tokens=self.settings.max_tokens,
            max_characters=self.settings.max_characters,
            position=position,
            threads=workers,
        )

    def _pool_into(
        self, out: npt.NDArray[np.float32], tokens: Tokens, normalize: bool, *, compiled: bool
    ) -> None:
        """Write the vectors of ``tokens`` to ``out``, (n, dim) float32, at their first dim dimensions."""
        table, scales = self._parts.table, self._parts.scales
        tokens.check(len(table))
        if compiled:
            from statim.kernels.pooling.pool import pool as function
        else:
            function = pool_few
        dropped = -1 if self._parts.dropped is None else self._parts.dropped
        function(table, scales, tokens.ids, tokens.offsets, dropped, normalize, out)

    def pool(
        self, tokens: Tokens, *, dim: int | None = None, normalize: bool | None = None, compiled: bool = True
    ) -> npt.NDArray[np.float32]:
        """The vectors of texts already tokenized by this model's tokenizer, (n, dim) float32, on this thread.

        Args:
            tokens: n texts.
            dim: Keep only the first ``dim`` dimensions.
            normalize: Scale vectors to length 1; None does as the model's settings say.
            compiled: Use the compiled kernel; else plain numpy.

        Raises:
            InputError: ``dim`` is larger than the model's, or an id is not a row of the table.
        """
        out = np.empty((len(tokens), self._check_dim(dim)), np.float32)
        normalize = self.settings.normalize if normalize is None else normalize
        self._pool_into(out, tokens, normalize, compiled=compiled)
        return out

    def weighted_rows(self, text: str, *, dim: int | None = None) -> "WeightedRows":
        """What a text's vector is the sum of: a row for each distinct token that counts, times its count.

        The sum of the rows points where ``encode`` points, in float64.

        Args:
            text: One text.
            dim: Keep only the first ``dim`` dimensions.

        Raises:
            InputError: ``text`` is not a str, or ``dim`` is larger than the model's.
        """
        dim = self._check_dim(dim)
        tokens = self.tokenize(text).ids
        if self._parts.dropped is not None:
            tokens = tokens[tokens != self._parts.dropped]
        ids, first, counts = np.unique(tokens, return_index=True, return_counts=True)
        order = np.argsort(first)
        ids, counts = ids[order], counts[order]
        rows = self._parts.table[ids, :dim].astype(np.float64)
        if self._parts.scales is None:
            rows *= counts[:, None]
        else:
            factors, unit = int8_factors(counts.astype(np.float32) * self._parts.scales[ids])
            rows *= (factors * unit)[:, None]
        return WeightedRows(ids, counts, rows)

    def encode_query(
        self, texts: str | Iterable[str], *, prompt: str | None = None, **options: Any
    ) -> Vectors:
        """``encode`` with ``prompt``, or the model's ``query`` prompt, before each text, if there is one."""
        prompt = self.settings.prompts.get("query") if prompt is None else prompt
        return self.encode(texts, prompt=prompt, **options)

    def encode_document(
        self, texts: str | Iterable[str], *, prompt: str | None = None, **options: Any
    ) -> Vectors:
        """``encode`` with ``prompt``, or the model's ``document`` prompt, before each text, if any."""
        prompt = self.settings.prompts.get("document") if prompt is None else prompt
        return self.encode(texts, prompt=prompt, **options)

    def similarity(self, a: Any, b: Any) -> npt.NDArray[np.float32]:
        """Cosine similarities between all of ``a`` and all of ``b``.

        Args:
            a: n vectors (n, d), or n texts; one vector (d,) or one str counts as n = 1.
            b: m vectors or texts, likewise.

        Returns:
            (n, m) float32. A zero vector has similarity 0 to everything.

        Raises:
            InputError: The dimensions differ.
        """
        left, right = self._unit(a), self._unit(b)
        if left.shape[1] != right.shape[1]:
            raise InputError(
                f"a has {left.shape[1]} dimensions and b has {right.shape[1]}; they must be equal"
            )
        return left @ right.T

    def _unit(self, given: Any) -> npt.NDArray[np.float32]:
        numbers = isinstance(given, np.ndarray) and given.dtype.kind in "fiu"
        if isinstance(given, str) or (not numbers and _begins_with_text(given)):
            given = self.encode(given)
        elif isinstance(given, (list, tuple)) and len(given) == 0:
            given = np.zeros((0, self.dim), np.float32)
        try:
            vectors = np.atleast_2d(np.asarray(given))
        except ValueError:  # lists of unequal lengths
            vectors = np.array(None)
        if vectors.dtype.kind not in "fiu":
            raise InputError(
                f"cannot compare a {type(given).__name__} of this kind; give one text, a list or numpy "
                "array of texts, "
                "or vectors of shape (n, d)"
            )
        if vectors.ndim != 2:
            raise InputError(f"vectors of shape {vectors.shape} cannot be compared; give shape (n, d)")
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
        return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)

    def _check_dim(self, dim: int | None) -> int:
        if dim is None:
            return self.dim
        if isinstance(dim, bool) or not isinstance(dim, (int, np.integer)) or not 1 <= dim <= self.dim:
            raise InputError(f"dim is {dim!r}; this model has vectors of 1 to {self.dim} dimensions")
        return int(dim)


@dataclasses.dataclass(frozen=True, eq=False)
class WeightedRows:
    """The parts of a text's vector.

    Attributes:
        ids: (m,) int32, the distinct tokens that count, in the order of their first occurrence.
        counts: (m,) int64, how often each occurs.
        rows: (m, d) float64, each token's row times its count.
    """

    ids: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int64]
    rows: npt.NDArray[np.float64]


def as_model(given: StaticModel | str | Path | None) -> StaticModel:
    """The model that is given, itself or by what ``StaticModel.load`` takes; None is the bundled one.

    Raises:
        ModelError: As ``StaticModel.load``.
    """
    return given if isinstance(given, StaticModel) else StaticModel.load(ENGLISH if given is None else given)


class Held:
    """A model whose files are open; make one with ``StaticModel.hold``."""

    def __init__(self, opened: formats.Opened) -> None:
        self._opened = opened

    def load(self) -> StaticModel:
        """Make the model; see ``StaticModel.load``."""
        model = StaticModel.__new__(StaticModel)
        model._parts = self._opened.parts()
        return model

    def file_hashes(self) -> list[str]:
        """The SHA-256 of ``model.safetensors`` and ``tokenizer.json``, in hexadecimal."""
        return self._opened.hashes()


def _begins_with_text(given: Any) -> bool:
    """Is it a list or a column of texts?"""
    if not isinstance(given, (list, tuple)) and not is_column(given):
        return False
    _, first = next(Texts.of(given).chunks(1), (0, [None]))
    return isinstance(first[0], str)


def _as_table(given: npt.ArrayLike) -> npt.NDArray[np.float32]:
    try:
        array = np.asarray(given)
        if array.dtype.kind not in "fiu":
            raise ValueError(f"it holds {array.dtype}")
        with np.errstate(over="ignore"):  # becomes infinite, which Parts refuses
            return np.ascontiguousarray(array, np.float32)
    except (TypeError, ValueError) as error:
        reason = str(error)[:100]
    raise ModelError(f"the table is no array of numbers of shape (tokens, dimensions): {reason}")
