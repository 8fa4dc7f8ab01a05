"""Hard negatives for pairs: nearest documents, guards, a table and a report."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from statim.data.documents.texts import read_texts
from statim.data.files import tables
from statim.data.files.text_file import read_as
from statim.data.pairs.reading import read_pairs
from statim.errors import DataError, InputError
from statim.evaluation.encoders import load_encoder
from statim.mining import formats
from statim.mining.guards import Chosen, Guards
from statim.mining.nearest import Nearest, cosines
from statim.mining.options import MiningKeywords, MiningOptions
from statim.mining.pool import Pool
from statim.mining.report import Report
from statim.mining.rescoring import Rescoring
from statim.mining.text_vectors import encoded, given_vectors
from statim.option import check_values, documented
from statim.progress import Clock, Progress
from statim.texts import Texts, is_column, is_table

log = logging.getLogger("statim")

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


@documented(MiningOptions, MiningKeywords)
def mine_hard_negatives(data: Any, model: Any = None, **options: Unpack[MiningKeywords]) -> Mined:
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
        delimiter: The character between the fields of CSV files; detected by default.
        encoding: The encoding of text files; by default UTF-8, or UTF-16 with a byte-order mark.
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
    asked = MiningOptions(**options)
    check_values(asked)
    kind = _format(asked.output_format, asked.include_positives)
    if (model is None) == (asked.vectors is None):
        raise InputError("give a model that makes the vectors, or the vectors, and not both")
    _guards(asked, 1)  # before long work
    clock = Clock()
    files = (asked.delimiter, asked.encoding)
    pairs = read_pairs(read_as(data, *files), anchor=asked.anchor, positive=asked.positive)
    texts = None if asked.corpus is None else _corpus(read_as(asked.corpus, *files), asked.corpus_column)
    if texts is not None and asked.vectors is None:
        texts = _without_empty(texts)
    pool = Pool.of(pairs, texts)
    pool.check(asked.num_negatives)
    guards = _guards(asked, pool.most)
    clock("read")
    scorer = None
    if asked.cross_encoder is not None:
        scorer = Rescoring(asked.cross_encoder, pool, asked.batch_size)
    if asked.vectors is not None:
        anchors, documents = given_vectors(asked.vectors, pool, len(pairs), pairs.report.rows, texts)
    else:
        anchors, documents = _encoded(model, pool, asked)
    clock("encode")
    find = Nearest(
        anchors, documents, guards.range_max + pool.most, search=asked.search, threads=asked.threads
    )
    chosen, scores = _choose(pool, guards, anchors, documents, find, scorer, asked.progress)
    del anchors, documents
    how = find.how + (", rescored by a cross-encoder" if scorer is not None else "")
    clock("search")
    report = Report.of(pool, chosen, guards, scores, how)
    report.check()
    table = formats.table(pool, chosen, scores, kind, asked.output_scores)
    clock("write")
    return Mined(table, report, clock.seconds)


def _guards(asked: MiningOptions, positives: int) -> Guards:
    """The guards that are asked for, where an anchor has at most this many positives.

    Raises:
        InputError: A value is out of range; the message names it.
    """
    return Guards.make(
        asked.num_negatives, asked.range_min, asked.range_max, positives,
        rescored=asked.cross_encoder is not None, absolute_margin=asked.absolute_margin,
        relative_margin=asked.relative_margin, max_score=asked.max_score, min_score=asked.min_score,
        sampling=asked.sampling, seed=asked.seed, with_positives=asked.include_positives,
    )  # fmt: skip


def _encoded(model: Any, pool: Pool, asked: MiningOptions) -> tuple[Floats, Floats]:
    """The vectors of anchors and documents by a model.

    Raises:
        InputError: The model cannot make them, or theirs differ in dimensions.
    """
    encoder = load_encoder(model) if isinstance(model, (str, Path)) else model
    ways: dict[str, Any] = {"threads": asked.threads, "progress": asked.progress}
    anchors = encoded(encoder, pool.anchors, "query", asked.query_prompt, asked.query_prompt_name, **ways)
    documents = encoded(
        encoder, pool.documents, "document", asked.corpus_prompt, asked.corpus_prompt_name, **ways
    )
    if anchors.shape[1] != documents.shape[1]:
        raise InputError(
            f"the anchors' vectors have {anchors.shape[1]} dimensions and the documents' "
            f"{documents.shape[1]}; they must agree"
        )
    return anchors, documents


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


def _without_empty(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    """The texts of a corpus that can be negatives; how many are empty is logged."""
    kept = texts.filter(pc.not_equal(pc.utf8_trim_whitespace(texts), ""))
    if len(kept) < len(texts):
        empty = f"{len(texts) - len(kept):,} of {len(texts):,}"
        log.info("%s texts of the corpus are empty; they are left out", empty)
    return kept
