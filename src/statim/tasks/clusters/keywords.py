"""What a cluster is about: its typical words, and the texts closest to its centre.

Words are weighted by class TF-IDF (Grootendorst, "BERTopic: Neural topic modeling with a class-based TF-IDF
procedure", 2022): all texts of a cluster count as one document, and a word t of cluster c has the weight
tf(t, c) log(1 + A / f(t)), where tf is its share of the cluster's words, f how often it occurs in all
clusters, and A the mean number of words of a cluster.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from statim.scripts import MARKS, UNSPACED
from statim.search.lexical.analyzer import UNKNOWN, detect, function_words_of
from statim.tasks.similarity.vector_set import Floats, Items, Longs

TEXTS = 500  # of a cluster whose words are counted
WORDS = 8
CENTRAL = 3

_split = re.compile(
    rf"\b[^\W\d_][\w{MARKS}]+"
).findall  # two or more letters, digits or marks, of which the first is a letter
_runs = re.compile(f"[\u30a1-\u30ff]{{2,}}|[{UNSPACED}]+").findall
_has_runs = re.compile(f"[{UNSPACED}]").search
_is_name = re.compile("[\u30a1-\u30ff]+").fullmatch  # in katakana
_is_grammar = re.compile(".*[\u3041-\u309f]").match  # hiragana


def typical_words(groups: Sequence[Sequence[str]], count: int = WORDS) -> list[list[str]]:
    """The ``count`` words of highest class TF-IDF of each group of texts; fewer where there are fewer.

    Equal ones by alphabet.

    Words are lower-cased; stop words of each group's language (see search.lexical.analyzer.detect) and other
    function words are left out, the English ones where it is not clear. In scripts without spaces words are
    pairs of characters, and in Japanese whole words in katakana.
    """
    counts = [Counter(_words(texts)) for texts in groups]
    every: Counter[str] = Counter()
    for some in counts:
        every.update(some)
    mean = every.total() / max(1, len(counts))
    found = []
    for some in counts:
        total = max(1, some.total())
        weights = {word: number / total * math.log(1 + mean / every[word]) for word, number in some.items()}
        found.append(sorted(weights, key=lambda word: (-weights[word], word))[:count])
    return found


def _words(texts: Sequence[str]) -> Iterator[str]:
    """The words of a group, without its stop words."""
    language = detect(texts)
    stop = function_words_of("en" if language == UNKNOWN else language)
    for word in (word for text in texts for word in _split(text.lower())):
        if word.isascii() or not _has_runs(word):
            if word not in stop:
                yield word
        else:
            yield from _parts(word)


def _parts(word: str) -> Iterator[str]:
    """Pairs of characters of a script without spaces, without hiragana, which is mostly grammar."""
    for run in _runs(word):
        if _is_name(run):
            yield run
        else:
            yield from (pair for pair in map("".join, pairwise(run)) if not _is_grammar(pair))


def described(items: Items, labels: Longs, scores: Floats) -> list[dict[str, Any]]:
    """Each cluster's number, size, mean score, keywords and central texts (or rows without texts).

    Args:
        items: A set of r rows.
        labels: (r,) int64, from 0; -1 for rows in no cluster.
        scores: (r,) float32, the rows' cosines with the centres.
    """
    order = np.lexsort((np.arange(len(labels)), -scores, labels))
    order = order[np.searchsorted(labels[order], 0) :]
    sizes = np.bincount(labels[order])
    groups = np.split(order, np.cumsum(sizes)[:-1]) if len(sizes) else []
    words: list[list[str]] = [[] for _ in groups]
    if items.texts is not None:
        words = typical_words([items.text(_some(rows)).to_pylist() for rows in groups])
    found = []
    for number, (rows, typical) in enumerate(zip(groups, words, strict=True)):
        central = _different(items, rows)
        entry: dict[str, Any] = {
            "cluster": number,
            "size": len(rows),
            "score": round(float(scores[rows].mean()), 4),
        }
        if items.texts is not None:
            entry |= {"words": typical, "central": items.text(central).to_pylist()}
        found.append(entry | {"central_rows": central.tolist()})
    return found


def _some(rows: Longs) -> Longs:
    """At most TEXTS rows from all over them."""
    return rows[np.linspace(0, len(rows) - 1, min(TEXTS, len(rows))).astype(np.int64)]


def _different(items: Items, rows: Longs) -> npt.NDArray[np.int64]:
    """The first CENTRAL rows of different vectors."""
    first = rows[: 64 * CENTRAL]
    _, places = np.unique(items.items_of[first], return_index=True)
    return first[np.sort(places)[:CENTRAL]]
