"""Hard negatives for pairs: nearest documents, guards, a table and a report."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from statim.data.documents.texts import read_texts
from statim.data.files import tables
from statim.data.pairs.reading import read_pairs
from statim.errors import DataError, InputError
from statim.evaluation.encoders import load_encoder
from statim.mining import formats
from statim.mining.guards import Chosen, Guards
from statim.mining.nearest import Nearest, cosines, scaled
from statim.mining.pool import Pool
from statim.mining.report import Report
from statim.mining.rescoring import Rescoring
from statim.model import StaticModel
from statim.progress import Clock, Progress
from statim.search.engines.exact import matrix
from statim.search.rerank import CrossEncoder
from statim.teacher import Teacher
from statim.texts import Texts, is_column, is_table

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Mined:
    """Hard negatives.

    Attributes:
        table: The negatives, in the columns of the format asked for (see statim.mining.formats); triplets and
            n-tuples can be trained on as they are.
        report: What was looked at and what the guards removed; print it.
        seconds: How long reading, encoding, searching and the rest took.
    """

    table: pa.Table
    report: Report
    seconds: dict[str, float]

    def __len__(self) -> int:
        return len(self.table)

    def to_dict(self) -> dict[str, Any]:
        """The report, the number of rows and the seconds as plain values for JSON."""
        seconds = {name: round(value, 3) for name, value in self.seconds.items()}
        return {"rows": len(self.table)} | self.report.to_dict() | {"seconds": seconds}


def mine_hard_negatives(
    data: Any,
    model: Any = None,
    *,
    anchor: str | None = None,
    positive: str | None = None,
    corpus: Any = None,
    corpus_column: str | None = None,
    vectors: Sequence[npt.ArrayLike] | None = None,
    cross_encoder: str | CrossEncoder | None = None,
    range_min: int = 0,
    range_max: int | None = None,
    max_score: float | None = None,
    min_score: float | None = None,
    absolute_margin: float | None = None,
    relative_margin: float | None = 0.05,
    num_negatives: int = 3,
    sampling: str = "top",
    seed: int = 0,
    query_prompt: str | None = None,
    query_prompt_name: str | None = None,
    corpus_prompt: str | None = None,
    corpus_prompt_name: str | None = None,
    include_positives: bool = False,
    output_format: str = "triplet",
    output_scores: bool = False,
    search: str | None = None,
    batch_size: int = 32,
    threads: int | None = None,
    progress: bool = False,
) -> Mined:
    """Find texts that are close to anchors and do not belong to them.

    With the same vectors the negatives are those of sentence-transformers' ``mine_hard_negatives``, whose
    parameters all have their counterpart here. Different are: a text is never a negative of itself; a
    cross-encoder, where one is given, always scores; random negatives follow from a seed; the relative margin
    is on by default. What it calls ``use_faiss`` and ``faiss_batch_size`` is ``search`` here,
    ``use_multi_process`` is ``threads``, and ``cache_folder`` is not needed: teachers keep their vectors in
    the cache by themselves.

    Args:
        data: Pairs: a file, table, list of tuples, ``"python-docs"`` … (see ``statim.data.read_pairs``).
        model: Makes the vectors: a static model or sentence transformer, by path or name; or any object with
            ``encode``, and perhaps ``encode_query`` and ``encode_document``, that makes (n, d) vectors of a
            list of texts.
        anchor: The column of anchors; guessed by default.
        positive: The column of positives; guessed by default.
        corpus: Further documents that negatives may come from: a list of texts, a file, a table (see
            ``read_texts``).
        corpus_column: The column of texts in the corpus; guessed by default.
        vectors: Instead of a model the vectors themselves: of the anchors and of the positives, a row for
            each pair, and of the corpus, a row for each text in it. Pairs may not be dropped for being empty
            or repeated then.
        cross_encoder: Scores the candidates once more, and the positives: an object with ``predict(pairs)``,
            or the name or path of a CrossEncoder of sentence-transformers. Guards and order go by its scores.
        range_min: Skip the N nearest candidates.
        range_max: Candidates up to this rank are looked at; by default as many as are likely to be needed.
        max_score: Candidates that score more are removed.
        min_score: Candidates that score less are removed.
        absolute_margin: Candidates are removed that do not score lower than the anchor's worst positive by
            this.
        relative_margin: The same, as a share of the positive's score: 0.05 is the value of NV-Retriever
            (Moreira et al., 2024). None for no such margin.
        num_negatives: Negatives of each anchor.
        sampling: ``top`` takes the closest, ``random`` any in the range.
        seed: Of the random ones.
        query_prompt: Is put before each anchor, in the place of the model's own prompt, if it has one.
        query_prompt_name: The name of one of the model's prompts to put there.
        corpus_prompt: Is put before each document, likewise.
        corpus_prompt_name: The name of one of the model's prompts to put there.
        include_positives: Leave the positives among the candidates, for sets that measure rerankers; the
            format is ``n-tuple``.
        output_format: ``triplet``, ``n-tuple``, ``labelled-pair`` or ``labelled-list`` (see
            statim.mining.formats).
        output_scores: Add the scores to the table.
        search: ``exact``, ``index`` (approximate) or None, which takes the index for large data.
        batch_size: Of the cross-encoder.
        threads: Threads; see statim.threads.
        progress: Show progress bars on a terminal.

    Returns:
        The table and its report.

    Raises:
        DataError: The data cannot be read, the corpus is empty, there are fewer documents than negatives
            asked for, or the guards leave nothing.
        InputError: An option is out of range, or vectors do not fit.
        ModelError: The model is none.
        DependencyError: A cross-encoder is named and sentence-transformers is not installed.

    Examples:
        >>> pairs = [(f"{verb} a file", f"file.{verb}") for verb in ("open", "read", "copy", "close")]
        >>> mined = mine_hard_negatives(pairs, model, num_negatives=1)
        >>> mined.table.column_names
        ['anchor', 'positive', 'negative']
    """
    kind = _format(output_format, include_positives)
    if (model is None) == (vectors is None):
        raise InputError("give a model that makes the vectors, or the vectors, and not both")
    options: dict[str, Any] = {
        "absolute_margin": absolute_margin, "relative_margin": relative_margin, "max_score": max_score,
        "min_score": min_score, "sampling": sampling, "seed": seed, "with_positives": include_positives,
    }  # fmt: skip
    rescored = cross_encoder is not None
    Guards.make(num_negatives, range_min, range_max, 1, rescored=rescored, **options)  # before long work
    clock = Clock()
    pairs = read_pairs(data, anchor=anchor, positive=positive)
    texts = None if corpus is None else _corpus(corpus, corpus_column)
    pool = Pool.of(pairs, texts)
    pool.check(num_negatives)
    most = pool.most
    guards = Guards.make(num_negatives, range_min, range_max, most, rescored=rescored, **options)
    clock("read")
    scorer = None if cross_encoder is None else Rescoring(cross_encoder, pool, batch_size)
    if vectors is not None:
        asked, given = _given(vectors, pool, len(pairs), pairs.report.rows, texts)
    else:
        encoder = load_encoder(model) if isinstance(model, (str, Path)) else model
        ways: dict[str, Any] = {"threads": threads, "progress": progress}
        asked = _encoded(encoder, pool.anchors, "query", query_prompt, query_prompt_name, **ways)
        given = _encoded(encoder, pool.documents, "document", corpus_prompt, corpus_prompt_name, **ways)
    if asked.shape[1] != given.shape[1]:
        raise InputError(
            f"the anchors' vectors have {asked.shape[1]} dimensions and the documents' "
            f"{given.shape[1]}; they must agree"
        )
    clock("encode")
    find = Nearest(asked, given, guards.range_max + most, search=search, threads=threads)
    chosen, positive_scores = _choose(pool, guards, asked, given, find, scorer, progress)
    del asked, given
    how = find.how + (", rescored by a cross-encoder" if scorer is not None else "")
    clock("search")
    report = Report.of(pool, chosen, guards, positive_scores, how)
    if report.found == 0:
        removed = ", ".join(f"{name} {count:,}" for name, count in report.removed.items() if count)
        raise DataError(
            f"the guards left no negative of {report.candidates:,} candidates (removed: {removed}); "
            "widen the range or the margins"
        )
    table = formats.table(pool, chosen, positive_scores, kind, output_scores)
    clock("write")
    return Mined(table, report, clock.seconds)


def _choose(
    pool: Pool,
    guards: Guards,
    asked: Floats,
    given: Floats,
    find: Nearest,
    scorer: Rescoring | None,
    progress: bool,
) -> tuple[Chosen, Floats]:
    """The negatives of all anchors, block by block, and the scores of the positives (P,)."""
    positive_scores = (
        cosines(asked, given, pool.owners, pool.positives) if scorer is None else scorer.positives()
    )
    worst = np.minimum.reduceat(positive_scores, pool.offsets[:-1])
    chosen, step, positives = guards.empty(), find.rows, pool.numbers[pool.positives]
    with Progress("mine", total=len(asked), unit="anchors", show=progress) as bar:
        for start in range(0, len(asked), step):
            part = slice(start, min(start + step, len(asked)))
            scores, positions = find(asked[part])
            if scorer is not None:
                scores, positions = scorer.candidates(start, scores, positions)
            offsets = pool.offsets[start : part.stop + 1]
            own = pool.own[part]
            guards.choose(chosen, scores, positions, positives, offsets, own, worst[part], pool.numbers)
            bar.advance(part.stop - start)
    return chosen, positive_scores


def _format(name: str, include_positives: bool) -> str:
    kind = name.replace("labeled", "labelled")
    if kind not in formats.FORMATS:
        raise InputError(f"output_format is {name!r}; it must be one of {', '.join(formats.FORMATS)}")
    if include_positives and kind not in ("triplet", "n-tuple"):
        raise InputError(f"with include_positives the format is n-tuple, not {name}; leave the format out")
    return "n-tuple" if include_positives else kind


def _corpus(given: Any, column: str | None) -> pa.LargeStringArray:
    """The texts of a corpus.

    Raises:
        DataError: There are none.
    """
    if isinstance(given, pa.LargeStringArray) and given.null_count == 0:
        texts = given  # as files are read
    elif is_column(given) or not (
        isinstance(given, (str, Path)) or is_table(given) or tables.is_source(given)
    ):
        texts = pa.array(Texts.of(given, "the corpus").checked(), pa.large_string())
    else:
        texts = pa.concat_arrays(list(read_texts(given, column)))
    if len(texts) == 0:
        raise DataError(
            "the corpus is empty; give at least one text, or leave it out to mine among the positives"
        )
    return texts


def _given(
    vectors: Sequence[npt.ArrayLike], pool: Pool, pairs: int, rows: int, corpus: pa.LargeStringArray | None
) -> tuple[Floats, Floats]:
    """The vectors of distinct anchors and documents at length 1, from those of all rows.

    Raises:
        InputError: They are not as many as the texts.
    """
    names = ("the anchors' vectors", "the positives' vectors", "the corpus's vectors")
    wanted = [pairs, pairs] + ([] if corpus is None else [len(corpus)])
    if not isinstance(vectors, (list, tuple)) or len(vectors) != len(wanted):
        raise InputError(
            f"vectors must be {len(wanted)} arrays: of the anchors, of the positives"
            + (", of the corpus" if corpus is not None else "")
        )
    arrays = [matrix(array, name) for array, name in zip(vectors, names, strict=False)]
    for array, count, name in zip(arrays, wanted, names, strict=False):
        if len(array) != count:
            dropped = (
                f" ({rows - pairs:,} of {rows:,} rows were dropped as empty or repeated)"
                if rows > pairs
                else ""
            )
            raise InputError(f"{name} are {len(array):,} for {count:,} texts{dropped}; give one for each")
        if array.shape[1] != arrays[0].shape[1]:
            raise InputError(
                f"{name} have {array.shape[1]} dimensions and the anchors' {arrays[0].shape[1]}; they "
                "must agree"
            )
    documents = arrays[1] if corpus is None else np.concatenate([arrays[2], arrays[1]])
    return (
        scaled(arrays[0], names[0], pool.anchor_rows),
        scaled(documents, "the documents' vectors", pool.document_rows),
    )


def _encoded(
    model: Any,
    texts: pa.LargeStringArray,
    kind: str,
    prompt: str | None,
    prompt_name: str | None,
    *,
    threads: int | None,
    progress: bool,
) -> Floats:
    """The vectors of queries or documents at length 1, (n, d)."""
    if prompt is None and prompt_name is not None:
        prompt = _prompt(model, prompt_name)
    encode = getattr(model, f"encode_{kind}", None) or getattr(model, "encode", None)
    apart = prompt is not None and _takes_prompt(encode)  # else it is put before the texts here
    if prompt is not None and not apart:
        encode = getattr(model, "encode", None)
    if encode is None:
        raise InputError(
            f"the model is a {type(model).__name__} without a method encode; give a static model, a "
            "teacher, or vectors"
        )
    options: dict[str, Any] = {}
    if isinstance(model, (StaticModel, Teacher)):
        options = {"threads": threads, "progress": progress}
    listed = texts.to_pylist()
    if apart:
        options["prompt"] = prompt
    elif prompt is not None:
        listed = [prompt + text for text in listed]
    found = matrix(encode(listed, **options), f"the vectors of the {kind} texts")
    if len(found) != len(listed):
        raise InputError(
            f"the model made {len(found):,} vectors of {len(listed):,} texts; it must make one of each"
        )
    return scaled(found, f"the {'anchors' if kind == 'query' else 'documents'}' vectors")


def _takes_prompt(encode: Any) -> bool:
    """Does a method have a parameter ``prompt``, so that it adds no prompt of its own?"""
    try:
        return "prompt" in inspect.signature(encode).parameters
    except (TypeError, ValueError):  # no function, or one that does not tell
        return False


def _prompt(model: Any, name: str) -> str:
    """One of a model's own prompts.

    Raises:
        InputError: It has none of that name.
    """
    known = (
        model.settings.prompts if isinstance(model, StaticModel) else getattr(model, "prompts", None) or {}
    )
    if name not in known:
        raise InputError(f"the model has no prompt {name!r}; it has {', '.join(known) or 'none'}")
    return str(known[name] or "")
