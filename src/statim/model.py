"""StaticModel: a tokenizer and a table. A text's vector is the mean of its tokens' rows."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import tokenizers

from statim import formats
from statim import threads as pool
from statim.errors import InputError
from statim.formats.parts import Parts
from statim.kernels.few import pool_few
from statim.progress import Progress
from statim.settings import Settings
from statim.tokenizer import Tokenizer
from statim.tokens import Tokens

CHUNK = 2048  # texts encoded at a time by one thread: its vectors stay in cache until they are written
FEW = 256  # up to so many texts plain numpy answers sooner than compiled code loads

DTYPES = ("float32", "float16")

Vectors = npt.NDArray[np.floating[Any]]


class StaticModel:
    """A static embedding model.

    Args:
        table: (V, d) float32 (other floats are converted), one row per token id, finite.
        tokenizer: A ``tokenizers.Tokenizer``, or a ``statim.tokenizer.Tokenizer``, that gives ids in [0, V).
        settings: How vectors are made; see Settings.

    Raises:
        ModelError: The table and the tokenizer do not fit together.
    """

    def __init__(
        self,
        table: npt.ArrayLike,
        tokenizer: tokenizers.Tokenizer | Tokenizer,
        settings: Settings | None = None,
    ) -> None:
        self._parts = Parts(
            np.ascontiguousarray(table, dtype=np.float32),
            tokenizer if isinstance(tokenizer, Tokenizer) else Tokenizer(tokenizer),
            settings or Settings(),
        )

    @staticmethod
    def load(source: str | Path) -> "StaticModel":
        """Load a model.

        Args:
            source: A folder saved by statim, sentence-transformers (StaticEmbedding) or model2vec; a text file of GloVe,
                word2vec or fastText vectors (plain or .gz); or a name on the Hugging Face hub (looked up in its cache
                first, and only there when HF_HUB_OFFLINE is set). The table is memory-mapped where its type allows.

        Raises:
            ModelError: There is no model there, it is not whole, or it is of a kind that is not static.
        """
        model = StaticModel.__new__(StaticModel)
        model._parts = formats.read(source)
        return model

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
        """The table, (V, d) float32; possibly read-only."""
        return self._parts.table

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer."""
        return self._parts.tokenizer

    @property
    def settings(self) -> Settings:
        """How vectors are made."""
        return self._parts.settings

    @property
    def dim(self) -> int:
        """The number of dimensions, d."""
        return int(self.table.shape[1])

    def __repr__(self) -> str:
        return f"StaticModel({len(self.table):,} tokens x {self.dim} dimensions, {self.tokenizer.kind})"

    def tokenize(self, texts: Sequence[str] | str, *, threads: int | None = None) -> Tokens:
        """The token ids of n texts, as ``encode`` uses them (cut at the model's max_tokens, if it has one).

        Raises:
            InputError: A text is not a str; the message names its position.
        """
        return self.tokenizer(
            [texts] if isinstance(texts, str) else texts,
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
    ) -> Vectors:
        """Turn texts into vectors.

        Args:
            texts: One str; or a list, a numpy or Arrow string array, a pandas or Polars column, or any iterable of str
                (read as a stream).
            dim: Keep only the first ``dim`` dimensions (Matryoshka truncation; before normalisation).
            normalize: Scale vectors to length 1; None does as the model's settings say.
            dtype: ``float32`` or ``float16``.
            threads: Threads to use; None takes STATIM_NUM_THREADS, else every processor at hand.
            progress: Show a progress bar on a terminal.

        Returns:
            (n, dim) vectors, or (dim,) for one str. A text without tokens gives a zero vector.

        Raises:
            InputError: ``dim`` is larger than the model's, ``dtype`` is not one of those above, or a text is not a str.
        """
        dim = self._check_dim(dim)
        if dtype not in DTYPES:
            raise InputError(f"dtype is {dtype!r}; it must be one of {', '.join(DTYPES)}")
        normalize = self.settings.normalize if normalize is None else normalize
        if isinstance(texts, str):
            return self._encode_chunk([texts], 0, dim, normalize, compiled=False)[0].astype(dtype, copy=False)
        if isinstance(texts, bytes) or not isinstance(texts, Iterable):
            raise InputError(f"texts is of type {type(texts).__name__}; give a str or an iterable of str")
        total = len(texts) if hasattr(texts, "__len__") else None
        workers = pool.count(threads)
        out = np.empty((total or 0, dim), dtype)
        done = 0
        blocks: list[Vectors] = []

        def encode(item: tuple[int, list[str]]) -> Vectors:
            position, chunk = item
            compiled = position > 0 or len(chunk) > FEW
            return self._encode_chunk(chunk, position, dim, normalize, compiled).astype(dtype, copy=False)

        with Progress("encode", total=total, unit="texts", show=progress) as bar:
            for block in pool.stream(encode, _chunks(texts), 1 if (total or FEW) <= FEW and total is not None else workers):
                if total is None:
                    blocks.append(block)
                else:
                    out[done : done + len(block)] = block
                done += len(block)
                bar.advance(len(block))
        return np.concatenate([out, *blocks]) if total is None else out

    def _encode_chunk(
        self, texts: list[str], position: int, dim: int, normalize: bool, compiled: bool
    ) -> npt.NDArray[np.float32]:
        settings = self.settings
        tokens = self.tokenizer.chunk(
            texts, max_tokens=settings.max_tokens, max_characters=settings.max_characters, position=position
        )
        return self.pool(tokens, dim=dim, normalize=normalize, compiled=compiled)

    def pool(
        self, tokens: Tokens, *, dim: int | None = None, normalize: bool | None = None, compiled: bool = True
    ) -> npt.NDArray[np.float32]:
        """The vectors of texts already tokenized by this model's tokenizer, (n, dim) float32, on this thread.

        Args:
            tokens: n texts.
            dim: Keep only the first ``dim`` dimensions.
            normalize: Scale vectors to length 1; None does as the model's settings say.
            compiled: Use the compiled kernel; else plain numpy.
        """
        dim = self._check_dim(dim)
        normalize = self.settings.normalize if normalize is None else normalize
        unknown = self.tokenizer.unknown_id if self.settings.drop_unknown else None
        out = np.empty((len(tokens), dim), np.float32)
        if compiled:
            from statim.kernels.pool import pool as function
        else:
            function = pool_few
        function(self.table, tokens.ids, tokens.offsets, dim, -1 if unknown is None else unknown, normalize, out)
        return out

    def encode_query(self, texts: str | Iterable[str], **options: Any) -> Vectors:
        """``encode`` with the model's ``query`` prompt before each text, where it has one."""
        return self.encode(self._prompted("query", texts), **options)

    def encode_document(self, texts: str | Iterable[str], **options: Any) -> Vectors:
        """``encode`` with the model's ``document`` prompt before each text, where it has one."""
        return self.encode(self._prompted("document", texts), **options)

    def _prompted(self, name: str, texts: str | Iterable[str]) -> str | Iterable[str]:
        prompt = self.settings.prompts.get(name)
        if not prompt:
            return texts
        return prompt + texts if isinstance(texts, str) else [prompt + text for text in texts]

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
            raise InputError(f"a has {left.shape[1]} dimensions and b has {right.shape[1]}; they must be equal")
        return left @ right.T

    def _unit(self, given: Any) -> npt.NDArray[np.float32]:
        if isinstance(given, str) or (isinstance(given, Sequence) and len(given) > 0 and isinstance(given[0], str)):
            given = self.encode(given)
        vectors = np.atleast_2d(np.asarray(given, np.float32))
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return cast(npt.NDArray[np.float32], vectors / np.where(lengths > 0, lengths, 1))

    def _check_dim(self, dim: int | None) -> int:
        if dim is None:
            return self.dim
        if isinstance(dim, bool) or not isinstance(dim, (int, np.integer)) or not 1 <= dim <= self.dim:
            raise InputError(f"dim is {dim!r}; this model has vectors of 1 to {self.dim} dimensions")
        return int(dim)


def _chunks(texts: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Cut any iterable of texts into lists of CHUNK with the position of their first."""
    position = 0
    if hasattr(texts, "to_pylist") or (hasattr(texts, "tolist") and hasattr(texts, "__getitem__")):
        # Arrow and numpy turn a slice into a list of str far faster than their items one by one
        column = cast(Any, texts)
        for position in range(0, len(column), CHUNK):
            part = column[position : position + CHUNK]
            yield position, part.to_pylist() if hasattr(part, "to_pylist") else part.tolist()
        return
    if isinstance(texts, list):
        for position in range(0, len(texts), CHUNK):
            yield position, texts[position : position + CHUNK]
        return
    iterator = iter(texts)
    while chunk := list(itertools.islice(iterator, CHUNK)):
        yield position, chunk
        position += len(chunk)
