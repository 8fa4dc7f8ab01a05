"""Documents and their vectors, made or given."""

import logging
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from statim.errors import InputError
from statim.model import StaticModel
from statim.progress import Progress
from statim.search.document_encoder import Encode
from statim.search.engines.protocol import Floats
from statim.search.lexical.analyzer import UNKNOWN, detect

if TYPE_CHECKING:
    import pyarrow as pa

    from statim.search.stores.protocol import Block

log = logging.getLogger("statim")

PROBES = 64  # given vectors that are compared with the model's own
FOREIGN = 0.1  # share of unknown tokens from which on a person is warned
TELLING = 25  # words from which on stop words tell the language of texts
ALIKE = 0.9  # the least cosine between them: vectors of 8 bits a number have 0.99


def encoded(
    encode: Encode, dim: int, parts: "Iterable[pa.Table]", vectors: Any, progress: bool
) -> "Iterator[Block]":
    """Documents and their vectors.

    Args:
        encode: Makes vectors of length 1 of texts; see document_encoder.py.
        dim: Their dimensions, d.
        parts: Documents, some at a time.
        vectors: (n, d) of all of them; None lets ``encode`` make them.
        progress: Show a progress bar on a terminal.

    Raises:
        InputError: The vectors are of another shape, or not those that the model makes; one is not finite, or
            zero where the model's is not.
    """
    given = None if vectors is None else np.asanyarray(vectors)
    if given is not None and (given.ndim != 2 or given.dtype.kind not in "fiu"):
        raise InputError(
            f"the vectors have the shape {given.shape} and type {given.dtype}; (documents, dimensions) "
            "numbers are needed"
        )
    if given is not None and given.shape[1] != dim:
        raise InputError(
            f"the vectors have {given.shape[1]} dimensions, the model {dim}; give vectors of this model"
        )
    start = blank = 0
    with Progress(
        "encode", total=None if given is None else len(given), unit="documents", show=progress
    ) as bar:
        for table in parts:
            end = start + len(table)
            if given is None:
                some = encode(table.column("text").to_pylist())
                blank += _blank(some)
                yield table, some
            elif end > len(given):
                raise InputError(
                    f"there are {len(given):,} vectors and more documents; give one for each, in their order"
                )
            else:
                with np.errstate(
                    over="ignore"
                ):  # what float32 cannot hold becomes infinite, and is refused as that
                    some = np.asarray(given[start:end], np.float32)
                _check_rows(encode, table, some, start)
                if start == 0:
                    _check_vectors(encode, table, some)
                blank += _blank(some)
                yield table, some
            bar.advance(len(table))
            start = end
    if blank:
        log.info(
            "%s of %s documents are empty, or have no token that the model knows; they are kept, and "
            "no search by vectors finds them",
            f"{blank:,}", f"{start:,}",
        )  # fmt: skip
    if given is not None and start < len(given):
        raise InputError(
            f"there are {len(given):,} vectors for {start:,} documents; give one for each, in their order"
        )


def with_unknown(
    model: StaticModel, parts: "Iterable[pa.Table]"
) -> "tuple[dict[str, float], Iterator[pa.Table]]":
    """The share of unknown tokens in the first documents, for the manifest.

    Warns where it is large, or where the documents are in another language than the model's card names.

    Returns:
        ``unknown``, from 0 to 1, and all documents; nothing where there are none.
    """
    from statim.vocabulary.coverage import unknown_share

    stream = iter(parts)
    first = next(stream, None)
    if first is None:
        return {}, iter(())
    texts = first.column("text")
    share = unknown_share(model.tokenizer, texts)
    own = model.settings.language
    language = detect(text.as_py() for text in texts) if own else UNKNOWN
    if share >= FOREIGN:
        log.warning(
            "the model does not know %.0f %% of the documents' tokens, so it was made for another language; "
            "train one on these documents", 100 * share,
        )  # fmt: skip
    elif language not in (UNKNOWN, *own) and sum(len(text.as_py().split()) for text in texts) >= TELLING:
        log.warning(
            "the documents are in the language %s and the model is for %s; train one on these documents",
            language, ", ".join(own),
        )  # fmt: skip
    return {"unknown": round(share, 4)}, chain([first], stream)


def _blank(vectors: Floats) -> int:
    """How many vectors are 0."""
    begins = np.flatnonzero(vectors[:, 0] == 0)
    return int((~vectors[begins].any(axis=1)).sum())


def _check_rows(encode: Encode, table: "pa.Table", vectors: Floats, start: int) -> None:
    """Look at every given vector; ``start`` is the row of the first.

    Raises:
        InputError: One is not finite, or is zero although the model makes another of the text, as where an
            array was not filled.
    """
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        raise InputError(
            f"row {start + int(np.argmin(finite))} of the vectors holds NaN, infinities, or numbers "
            "too large for float32; "
            "make the vectors again with this model"
        )
    empty = np.flatnonzero(~vectors.any(axis=1))
    for begin in range(0, len(empty), PROBES):
        some = empty[begin : begin + PROBES]
        own = encode([table.column("text")[int(i)].as_py() for i in some])
        missing = some[own.any(axis=1)]
        if len(missing):
            raise InputError(
                f"row {start + int(missing[0])} of the vectors is all zeros, but the model's vector of "
                "that document is not, so it would "
                "never be found; fill the array to its end, or let the model make the vectors"
            )


def _check_vectors(encode: Encode, table: "pa.Table", vectors: Floats) -> None:
    """Compare some given vectors with those that the model makes.

    Raises:
        InputError: Half of them are not alike: another model made them, or they are in another order.
    """
    probes = np.linspace(0, len(table) - 1, min(PROBES, len(table))).astype(np.int64)
    own = encode([table.column("text")[int(i)].as_py() for i in probes])
    some = vectors[probes]
    lengths = np.linalg.norm(some, axis=1) * np.linalg.norm(own, axis=1)
    cosines = (some * own).sum(axis=1)[lengths > 0] / lengths[lengths > 0]
    if len(cosines) and not np.median(cosines) >= ALIKE:
        raise InputError(
            "the vectors are not those that the model makes of the texts (cosine "
            f"{np.median(cosines):.2f}, of the same model at least {ALIKE}); "
            "give this model's vectors, in the order of the documents"
        )
