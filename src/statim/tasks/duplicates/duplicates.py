"""Exact and near duplicates, inside one set or between two.

Texts are duplicates if the cosine of their vectors reaches a threshold. That is no equivalence: a is like b
and b like c, but a need not be like c, and groups of whatever is connected grow long chains whose ends have
nothing in common. So groups here are stars: texts are taken in their order; one that no earlier
representative is close to becomes a representative, every other belongs to the closest one before it. Then
every member is a duplicate of its representative, and no two representatives are duplicates: what stays is
without duplicates, and nothing goes that has none (it is a maximal independent set, and the star clustering
of Aslam, Pelekhov and Rus, 2004, by order instead of degree). ``linked`` gives connected components instead,
for a split that no pair may cross; how far their members are from one another is part of the result
(linked.py).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from statim.counted import counted
from statim.data.files.bad_rows import BadRows, skipping
from statim.errors import InputError
from statim.model import StaticModel, as_model
from statim.progress import Clock
from statim.tasks.duplicates.linked import giants
from statim.tasks.duplicates.representatives import with_representatives
from statim.tasks.similarity.differences import differences
from statim.tasks.similarity.similarity_join import CrowdedError, Pairs, Sample, large, pairs_above
from statim.tasks.similarity.thresholds import THRESHOLDS, Thresholds, example
from statim.tasks.similarity.vector_set import Floats, Ints, Items, Longs, read_items

THRESHOLD = 0.9
EXAMPLES = 5
LARGEST = 1 - 1e-6  # what float32 makes of 1


def find_duplicates(
    texts: Any = None,
    model: StaticModel | str | Path | None = None,
    *,
    against: Any = None,
    vectors: Any = None,
    against_vectors: Any = None,
    threshold: float = THRESHOLD,
    top: int | None = None,
    linked: bool = False,
    exact: bool = False,
    every_pair: bool = False,
    column: str | Sequence[str] | None = None,
    skip_bad: str | Path | BadRows | None = None,
    seed: int = 0,
    threads: int | None = None,
    progress: bool = False,
) -> "Duplicates":
    """Find exact and near duplicates.

    Args:
        texts: r texts: an iterable of str; or a path, a table or a list of ``Path``. None for vectors alone.
        model: Makes the vectors: a model, or where one is. Not where vectors are given.
        against: Another set, likewise: then duplicates of it are looked for among ``texts``, not duplicates
            inside either.
        vectors: (r, d) numbers, or the path of a .npy file of them.
        against_vectors: The other set's.
        threshold: The least cosine of duplicates, above 0, at most 1.
        top: Keep each text's N closest duplicates; a pair stays if either text keeps it. None for all.
        linked: Groups are all that pairs connect, not stars around representatives: members may be far below
            the threshold from the one that stays. How many are, and what the largest groups hang by, is part
            of the result.
        exact: Compare everything, however much there is. Otherwise large sets are compared cell by cell (see
            similarity_join.py).
        every_pair: Refuse a set whose pairs are too many to keep, more than 30 million. Otherwise groups are
            made all the same, by comparing with representatives alone (see representatives.py).
        column: The column of texts in files; guessed by default. Several are joined by line ends:
            ``("subject", "body")``, or ``"subject,body"``.
        skip_bad: A .jsonl file to write rows into that cannot be used; they are left out, and not counted as
            rows. None to refuse the first.
        seed: Of what is drawn at random: sample and cells.
        threads: Threads to use.
        progress: Show progress bars on a terminal.

    Raises:
        InputError: A value is out of range, vectors do not fit the texts or one another, or there are too
            many pairs.
        DataError: A file cannot be used as it is, or is empty.
        ModelError: There is no model there.

    Examples:
        >>> texts = ["Sort a list", "sort a list", "Open a file"]
        >>> found = find_duplicates(texts, model, threshold=0.9)
        >>> [texts[row] for row in found.stays]
        ['Sort a list', 'Open a file']
    """
    threshold = _threshold(threshold)
    if top is not None and (not isinstance(top, int) or isinstance(top, bool) or top < 1):
        raise InputError(f"top is {top!r}; it must be a whole number of at least 1, or None")
    if linked and (against is not None or against_vectors is not None):
        raise InputError("groups are of one set; leave linked out, or the other set")
    clock = Clock()
    left, right = _sets(
        texts,
        model,
        against,
        vectors,
        against_vectors,
        column=column,
        skip_bad=skip_bad,
        threads=threads,
        progress=progress,
    )
    clock("read and encode")
    sample = None
    if not exact and large(left, right):
        sample = Sample(
            left, right, min(threshold, THRESHOLDS[0]), seed=seed, threads=threads, progress=progress
        )
        clock("sample")
    least, crowded = min(threshold, LARGEST), False
    try:
        pairs = pairs_above(
            left, right, least, sample, exact=exact, seed=seed, threads=threads, progress=progress
        )
    except CrowdedError:
        if right is not None or linked or top is not None or every_pair:
            raise
        crowded, pairs = True, with_representatives(left, least, threads=threads, progress=progress)
    clock("compare")
    recall = None if sample is None or crowded else _recall(sample, pairs, threshold)
    if top is not None:
        pairs = pairs.take(_closest(pairs, top, same=right is None))
    found = Duplicates(left, right, pairs, threshold, linked=linked, recall=recall, crowded=crowded)
    clock("group")
    found.seconds = clock.seconds
    return found


def compare_thresholds(
    texts: Any = None,
    model: StaticModel | str | Path | None = None,
    *,
    against: Any = None,
    vectors: Any = None,
    against_vectors: Any = None,
    column: str | Sequence[str] | None = None,
    skip_bad: str | Path | BadRows | None = None,
    seed: int = 0,
    threads: int | None = None,
    progress: bool = False,
) -> Thresholds:
    """A report with examples at several thresholds from a sample; see ``find_duplicates``."""
    left, right = _sets(
        texts,
        model,
        against,
        vectors,
        against_vectors,
        column=column,
        skip_bad=skip_bad,
        threads=threads,
        progress=progress,
    )
    return Thresholds.of(Sample(left, right, THRESHOLDS[0], seed=seed, threads=threads, progress=progress))


class Duplicates:
    """Duplicates that were found.

    Attributes:
        items: The set, r rows with n different vectors.
        against: The other set, or None.
        pairs: Pairs of items at or above the threshold.
        threshold: That.
        linked: Groups are connected components.
        recall: The share of a sample's pairs that is among them; None where everything was compared.
        crowded: There were too many: pairs are those with representatives alone.
        representatives: (r,) int64, the row that each row is a duplicate of; of what stays, itself. Of two
            sets, of the other set and -1 for what has none.
        scores: (r,) float32, the cosine with it; 0 where there is none.
        seconds: Phase -> seconds.
    """

    def __init__(
        self, items: Items, against: Items | None, pairs: Pairs, threshold: float, *, linked: bool = False,
        recall: float | None = None, crowded: bool = False
    ) -> None:  # fmt: skip
        self.items, self.against, self.pairs, self.threshold = items, against, pairs, threshold
        self.linked, self.recall, self.crowded = linked, recall, crowded
        self.seconds: dict[str, float] = {}
        if against is None:
            self.representatives, self.scores = _grouped(items, pairs, linked)
        else:
            self.representatives, self.scores = _matched(items, against, pairs)

    @property
    def stays(self) -> Longs:
        """The rows to keep, ascending: firsts of groups, rows in none; of two sets, rows without a match."""
        if self.against is not None:
            return np.flatnonzero(self.representatives < 0)
        return np.flatnonzero(self.representatives == np.arange(self.items.rows))

    @property
    def sizes(self) -> Longs:
        """Sizes of groups of two or more rows, descending; of two sets, the matches of each other row."""
        counts = np.bincount(self.representatives[self.representatives >= 0])
        return -np.sort(-counts[counts >= (2 if self.against is None else 1)])

    def groups(self) -> pa.Table:
        """Groups of two or more rows: group, row, representative (is it kept?), score with it, text.

        Groups are numbered from 0 in the order of their representatives, whose row comes first; then the
        closest. All other columns of the rows come last.

        Raises:
            InputError: There are two sets.
        """
        if self.against is not None:
            raise InputError("groups are of one set; of two sets there are pairs, and what stays")
        counts = np.bincount(self.representatives, minlength=self.items.rows)
        rows = np.flatnonzero(counts[self.representatives] > 1)
        heads = self.representatives[rows]
        order = np.lexsort((rows, -self.scores[rows], rows != heads, heads))
        rows, heads = rows[order], heads[order]
        _, numbers = np.unique(heads, return_inverse=True)
        columns = {"group": numbers.astype(np.int64), "row": rows, "representative": rows == heads}
        return self.items.described(pa.table(columns | {"score": self.scores[rows]}))

    def pair_table(self) -> pa.Table:
        """Pairs: row, other, score and both texts; a repeated row is paired only with its first copy.

        All other columns of both rows come last, those of the second with ``other_`` before their names.

        Raises:
            InputError: There were too many to keep.
        """
        if self.crowded:
            raise InputError("there are too many pairs to keep; choose a higher threshold, or write groups")
        items, other = self.items, self.items if self.against is None else self.against
        rows, others, scores = items.first[self.pairs.left], other.first[self.pairs.right], self.pairs.scores
        again = np.flatnonzero(items.repeated)
        if self.against is None:
            rows, others = np.append(rows, items.first[items.items_of[again]]), np.append(others, again)
            scores = np.append(scores, np.ones(len(again), np.float32))
        elif len(again):  # what the first of them is like
            counts = np.bincount(self.pairs.left, minlength=len(items))
            starts = np.cumsum(counts) - counts
            number = counts[items.items_of[again]]
            places = np.repeat(
                starts[items.items_of[again]] - (np.cumsum(number) - number), number
            ) + np.arange(number.sum())
            rows = np.append(rows, np.repeat(again, number))
            others, scores = np.append(others, others[places]), np.append(scores, scores[places])
        order = np.lexsort((others, rows))
        rows, others = rows[order], others[order]
        columns: dict[str, Any] = {"row": rows, "other": others, "score": scores[order]}
        return other.described(items.described(pa.table(columns)), "other", "other_")

    def kept(self) -> pa.Table:
        """What stays: row, text and all other columns."""
        return self.items.described(pa.table({"row": self.stays}))

    def to_dict(self) -> dict[str, Any]:
        """Figures and examples: plain values for JSON."""
        items, stays = self.items, len(self.stays)
        found: dict[str, Any] = {
            "rows": items.rows,
            "different_texts": len(items.text_rows) if items.texts is not None else None,
            "different_vectors": len(items),
            "without_tokens": int(items.blank.sum()),
            "threshold": self.threshold,
            "pairs": len(self.pairs.left),
            "crowded": self.crowded,
        }
        if self.against is None:
            sizes = self.sizes
            found |= {"groups": len(sizes), "largest_group": int(sizes[0]) if len(sizes) else 0}
            found |= {"linked": self.linked} | (self._chains() if self.linked else {})
        else:
            found |= {"against_rows": self.against.rows}
        found |= {
            "kept": stays, "removed": items.rows - stays, "recall_on_sample": self.recall,
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
            "examples": self._examples(),
        }  # fmt: skip
        return found

    def _chains(self) -> dict[str, Any]:
        """How far connected groups reach: plain values for JSON."""
        return {
            "below_threshold": int((self.scores < np.float32(min(self.threshold, LARGEST))).sum()),
            "lowest_score": round(float(self.scores.min()), 4),
            "giant_groups": giants(self.items, self.pairs, self.representatives, self.scores),
        }

    def _examples(self) -> list[dict[str, Any]]:
        """Pairs from all over the scores that were found, the least first, the same every time."""
        order = np.argsort(self.pairs.scores, kind="stable")
        chosen = order[np.linspace(0, len(order) - 1, min(EXAMPLES, len(order))).astype(np.int64)]
        other = self.items if self.against is None else self.against
        pairs = self.pairs.take(chosen)
        return [
            example(self.items, int(a), other, int(b), float(score))
            for a, b, score in zip(*(array.tolist() for array in pairs), strict=True)
        ]

    def __str__(self) -> str:
        """Figures and examples for a person."""
        figures = self.to_dict()
        repeated, blank = int(self.items.repeated.sum()), figures["without_tokens"]
        how = "everything compared" if self.recall is None else f"{self.recall:.1%} of a sample's pairs found"
        if self.crowded:
            how = "with representatives alone: all are too many to keep"
        parts = [
            (
                f"{counted(figures['rows'], 'rows')}, {repeated:,} of them repeat an earlier one exactly "
                "(text or vector)"
            ),
            f"{counted(figures['pairs'], 'pairs')} of others at or above {self.threshold:g} ({how})",
        ]
        if blank:
            parts.insert(
                1,
                f"{blank:,} rows have no token that the model knows; they are duplicates of nothing, "
                "and stay",
            )
        if self.against is None:
            kind = "connected groups" if self.linked else "groups"
            parts.append(f"{figures['groups']:,} {kind}, the largest of {figures['largest_group']:,} rows")
            parts.append(f"{figures['kept']:,} rows stay, {figures['removed']:,} go")
            parts += _told(figures, self.threshold) if self.linked else []
        else:
            share = figures["removed"] / figures["rows"]
            parts.append(
                f"{figures['removed']:,} rows ({share:.1%}) have a duplicate among the other "
                f"{self.against.rows:,}"
            )
        lines = ["\n".join(parts)]
        for found in figures["examples"]:
            if "text" in found:
                first, second = differences(found["text"], found["other_text"])
                lines.append(f"{found['score']:.3f}  {first}\n       {second}")
        return "\n\n".join(lines)


def _told(figures: dict[str, Any], threshold: float) -> list[str]:
    """What a person should know of connected groups."""
    parts = []
    if figures["below_threshold"]:
        parts.append(
            f"{figures['below_threshold']:,} rows are below {threshold:g} with the row that stays of "
            "their group, "
            f"the lowest at {figures['lowest_score']:.3f}: pairs connect them, one after the other"
        )
    for group in figures["giant_groups"]:
        link = group["weakest_link"]
        between = f"rows {link['row']} and {link['other']}"
        if "text" in link:
            between += f" ({' | '.join(differences(link['text'], link['other_text']))})"
        parts.append(
            f"the group of row {group['representative']} has {counted(group['rows'], 'rows')}, "
            f"{group['rows'] / figures['rows']:.0%} of all; its weakest link is {link['score']:.3f}, "
            f"between {between}: "
            "a threshold above that divides it"
        )
    return parts


def _sets(
    texts: Any, model: Any, against: Any, vectors: Any, against_vectors: Any, *, skip_bad: Any, **options: Any
) -> tuple[Items, Items | None]:
    loaded = as_model(model) if vectors is None and against_vectors is None else model
    two = against is not None or against_vectors is not None
    if two and (vectors is None) != (against_vectors is None):
        raise InputError("give the vectors of both sets, or of none")
    with skipping(skip_bad) as bad:
        left = read_items(texts, loaded, vectors, bad=bad, **options)
        if not two:
            return left, None
        right = read_items(against, loaded, against_vectors, bad=bad, **options)
    if left.vectors.shape[1] != right.vectors.shape[1]:
        raise InputError(
            f"the vectors of {left.name} have {left.vectors.shape[1]} dimensions and those of "
            f"{right.name} {right.vectors.shape[1]}; "
            "they must agree"
        )
    return left, right


def _threshold(given: Any) -> float:
    good = isinstance(given, (int, float, np.number)) and not isinstance(given, bool)
    if not good or not 0 < given <= 1:
        raise InputError(f"threshold is {given!r}; it must be a number above 0 and at most 1 (a cosine)")
    return float(given)


def _grouped(items: Items, pairs: Pairs, linked: bool) -> tuple[Longs, Floats]:
    from statim.kernels.search import neighbors

    n = len(items)
    centres = np.arange(n, dtype=np.int32) if linked else np.full(n, -1, np.int32)
    if linked:
        neighbors.components(pairs.left, pairs.right, centres)
    else:
        offsets, places = neighbors.neighbours(pairs.left, pairs.right, n)
        neighbors.stars(
            pairs.left, pairs.right, pairs.scores, offsets, places, centres, np.full(n, -np.inf, np.float32)
        )  # fmt: skip
    scores = np.ones(n, np.float32)
    moved = np.flatnonzero(centres != np.arange(n)).astype(np.int32)
    found = np.empty(len(moved), np.float32)
    neighbors.cosines(items.vectors, items.vectors, moved, centres[moved], found)
    scores[moved] = found
    heads = items.first[centres[items.items_of]]
    alone = np.flatnonzero(items.blank)
    heads[alone] = alone  # copies too
    return heads, scores[items.items_of]


def _matched(items: Items, against: Items, pairs: Pairs) -> tuple[Longs, Floats]:
    """Each row's closest row of the other set; -1 for none."""
    rows, scores = np.full(len(items), -1, np.int64), np.zeros(len(items), np.float32)
    order = np.lexsort((-pairs.right, pairs.scores))  # the closest is written last
    rows[pairs.left[order]] = against.first[pairs.right[order]]
    scores[pairs.left[order]] = pairs.scores[order]
    return rows[items.items_of], scores[items.items_of]


def _closest(pairs: Pairs, top: int, *, same: bool) -> npt.NDArray[np.bool_]:
    """Which pairs are among the ``top`` closest of their left item, or, inside one set, of either."""
    count = len(pairs.left)
    items = np.concatenate([pairs.left, pairs.right]) if same else pairs.left
    others = np.concatenate([pairs.right, pairs.left]) if same else pairs.right
    scores = np.concatenate([pairs.scores, pairs.scores]) if same else pairs.scores
    order = np.lexsort((others, -scores, items))
    ranks = np.arange(len(order)) - np.searchsorted(items[order], items[order])
    chosen = np.zeros(count, np.bool_)
    chosen[order[ranks < top] % max(1, count)] = True
    return chosen


def _recall(sample: Sample, pairs: Pairs, threshold: float) -> float | None:
    """The share of a sample's pairs that is among the pairs found; None if there are none."""
    true = sample.pairs.take(sample.pairs.scores >= np.float32(threshold))
    if not len(true.left):
        return 1.0
    left, right = true.left, true.right
    if sample.right is None:
        left, right = np.minimum(true.left, true.right), np.maximum(true.left, true.right)
    keys, wanted = (_keys(pairs.left, pairs.right), _keys(left, right))
    places = np.minimum(np.searchsorted(keys, wanted), max(0, len(keys) - 1))
    return float((keys[places] == wanted).mean()) if len(keys) else 0.0


def _keys(left: Ints, right: Ints) -> Longs:
    return left.astype(np.int64) << 32 | right
