"""Short sentences and passages of the pairs' own texts for a teacher to read, from all sets alike."""

from collections.abc import Iterable
from itertools import islice

import numpy as np
import pyarrow as pa

from statim.data.documents.passages import paragraphs, passages, sentences
from statim.data.documents.plain import PlainTexts
from statim.data.pairs.pairs import Pairs, Report
from statim.errors import DataError

WORDS = range(4, 41)  # of a sentence: fewer say little, more take the teacher long
LONGEST = 260  # characters
OF_EACH = (2, 2)  # sentences of a text, and passages of more words than these
BLOCK = 4096  # pairs looked at before it is seen whether there are enough


def own_sentences(pairs: Pairs, most: int, seed: int) -> PlainTexts:
    """Draw different sentences and passages from anchors and positives, equally from each set.

    Args:
        pairs: n pairs.
        most: Of both together at most.
        seed: Decides which.

    Returns:
        Both in an order of their own, of which any beginning is a fair sample.

    Raises:
        DataError: There is no sentence of 4 to 40 words, and no passage.
    """
    rng = np.random.default_rng(seed)
    queues = [rng.permutation(np.flatnonzero(pairs.sets == number)) for number in range(len(pairs.names))]
    found: dict[str, None] = {}
    left = sorted((queue for queue in queues if len(queue)), key=len)
    while left:  # the smallest set first: what it lacks, the others give
        share, queue = (most - len(found)) // len(left), left.pop(0)
        enough = len(found) + share
        for start in range(0, len(queue), BLOCK):
            chosen = pa.array(queue[start : start + BLOCK])
            for column in pairs.columns:
                for text in column.take(chosen).to_pylist():
                    found.update(dict.fromkeys(_of_text(text)))
            if len(found) >= enough:
                break
        for extra in list(found)[max(enough, 0) :]:
            del found[extra]
    if not found:
        raise DataError(
            "the pairs' texts hold no sentence of 4 to 40 words to distil on, and no longer passage; give "
            "plain texts (--distil FILE), or the texts themselves (--distil pairs)"
        )
    drawn = list(found)
    rng.shuffle(drawn)
    return PlainTexts(pa.array(drawn, pa.large_string()), Report())


def without(drawn: PlainTexts, others: Iterable[Pairs]) -> PlainTexts:
    """Those of the sentences and passages that stand in no text of other pairs; they stay in their order."""
    known = {
        part
        for pairs in others
        for column in pairs.columns
        for text in column.to_pylist()
        for part in _of_text(text, (None, None))
    }
    kept = [place for place, text in enumerate(drawn.texts.to_pylist()) if text not in known]
    return drawn if len(kept) == len(drawn) else drawn.select(kept)


def _of_text(text: str, most: tuple[int | None, int | None] = OF_EACH) -> list[str]:
    """The first sentences of a text of medium length, and its first passages of more words than these."""
    short = (
        sentence
        for paragraph in paragraphs(text)
        for sentence in sentences(paragraph)
        if len(sentence) <= LONGEST and len(sentence.split()) in WORDS
    )
    long = (passage for passage in passages(text) if len(passage.split()) >= WORDS.stop)
    return [*islice(short, most[0]), *islice(long, most[1])]
