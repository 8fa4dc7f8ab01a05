"""Pairs made of documents' own parts, for corpora that come without pairs.

Four kinds, each from the literature:

- ``titles``: a document's title and its first passage, and one more at random.
- ``sentences``: a sentence and the passage around it, mostly without it (the inverse cloze task: Lee et al.,
2019).
- ``neighbours``: a passage and the next one (Neelakantan et al., 2022).
- ``crops``: two independent random spans of a passage (Contriever: Izacard et al., 2022).

Documents are held out before pairs are made, never pairs, and what a held-out document shares with a trained
one is left out of it.
"""

import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from statim.data.dedup.near_duplicates import near_duplicates
from statim.data.documents.corpus import Corpus
from statim.data.documents.passages import passages, sentences
from statim.data.pairs.pairs import Pairs
from statim.data.split import Split
from statim.errors import DataError, InputError

log = logging.getLogger("statim")

KINDS = ("titles", "sentences", "neighbours", "crops")
USUAL = ("titles", "sentences", "crops")  # see benchmarks/without_pairs.py

SHORTEST = 20  # characters of either side
WITHIN = 0.1  # share of the sentences that stay in their passage (Lee et al., 2019)
CROP = (0.1, 0.5)  # a crop's share of its passage
ROUNDS = 2  # sentences and crops of each passage
WRITTEN = 3  # a passage of fewer words for its length has none: its crops are of characters
LETTERS = 40


@dataclass(frozen=True, eq=False)
class Parts:
    """The passages of n documents.

    Attributes:
        titles: n titles, null where there is none.
        passages: P texts, one document's after the other's; none occurs twice.
        owners: (P,) int64, the document of each, ascending.
    """

    titles: pa.LargeStringArray
    passages: pa.LargeStringArray
    owners: npt.NDArray[np.int64]

    @staticmethod
    def of(corpus: Corpus) -> "Parts":
        """Cut the documents. A passage that stands in several (a footer, a licence) stays in the first."""
        seen: set[str] = set()
        texts, owners = [], []
        for owner, body in enumerate(corpus.bodies):
            for passage in passages(body.as_py()):
                if passage not in seen:
                    seen.add(passage)
                    texts.append(passage)
                    owners.append(owner)
        return Parts(corpus.titles, pa.array(texts, pa.large_string()), np.array(owners, np.int64))

    def without(self, others: "Parts") -> "Parts":
        """Leave out passages and titles that are near-duplicates of ``others``; see near_duplicates.py."""
        kept = ~_found(self.passages, others.passages)
        known = pa.array(_found(self.titles.fill_null(""), others.titles.drop_null()))
        titles = pa.array(
            [
                None if there else title
                for title, there in zip(self.titles.to_pylist(), known.to_pylist(), strict=True)
            ],
            pa.large_string(),
        )
        return Parts(titles, self.passages.filter(pa.array(kept)), self.owners[kept])


def _found(queries: pa.LargeStringArray, texts: pa.LargeStringArray) -> npt.NDArray[np.bool_]:
    """Which of the queries have a near-duplicate among the texts."""
    found = np.zeros(len(queries), bool)
    if len(queries) and len(texts):
        found[near_duplicates(queries, texts, limit=0).queries] = True
    return found


def check_kinds(kinds: str | Sequence[str] | None) -> tuple[str, ...]:
    """Which kinds of pairs to make; the usual ones where None.

    Raises:
        InputError: A kind is unknown, or none is given.
    """
    if kinds is None:
        return USUAL
    given = kinds.split(",") if isinstance(kinds, str) else list(kinds)
    names = tuple(dict.fromkeys(name.strip() for name in given))
    if not names or any(name not in KINDS for name in names):
        raise InputError(
            f"pairs to make are {', '.join(names)!r}; choose among {', '.join(KINDS)}, several with "
            "commas between"
        )
    return names


def self_pairs(parts: Parts, kinds: Sequence[str], *, seed: int, rounds: int = ROUNDS) -> Pairs:
    """Make pairs of documents' parts; the same for the same parts and seed.

    Args:
        parts: The documents' passages and titles.
        kinds: Some of KINDS.
        seed: Decides what is drawn.
        rounds: So many sentences and crops are drawn of each passage.

    Returns:
        The pairs in the order of the documents, each once. There may be none.
    """
    random = np.random.Generator(np.random.Philox(seed))
    found: dict[tuple[str, str], None] = {}
    texts = parts.passages.to_pylist()
    bounds = np.searchsorted(parts.owners, np.arange(len(parts.titles) + 1)).tolist()
    for title, start, stop in zip(parts.titles.to_pylist(), bounds[:-1], bounds[1:], strict=True):
        own = texts[start:stop]
        for kind in kinds:
            if kind == "titles" and title is not None:
                found.update(dict.fromkeys(_titles(title, own, random)))
            elif kind == "neighbours":
                found.update(dict.fromkeys(itertools.pairwise(own)))
            elif kind == "sentences":
                for passage in own:
                    found.update(dict.fromkeys(_sentences(passage, rounds, random)))
            elif kind == "crops":
                for passage in own:
                    found.update(dict.fromkeys(_crops(passage, rounds, random)))
    usable = [pair for pair in found if pair[0] != pair[1] and len(pair[1]) >= SHORTEST and pair[0].strip()]
    anchors, positives = zip(*usable, strict=True) if usable else ((), ())
    return Pairs(
        pa.array(anchors, pa.large_string()), pa.array(positives, pa.large_string()), names=("documents",)
    )


def _titles(title: str, own: list[str], random: np.random.Generator) -> Iterator[tuple[str, str]]:
    if own:
        yield title, own[0]
    if len(own) > 1:
        yield title, own[int(random.integers(1, len(own)))]


def _sentences(passage: str, rounds: int, random: np.random.Generator) -> Iterator[tuple[str, str]]:
    found = sentences(passage)
    if len(found) < 2:
        return
    for place in random.permutation(len(found))[:rounds].tolist():
        stays = random.random() < WITHIN
        if len(found[place]) >= SHORTEST:
            rest = found if stays else found[:place] + found[place + 1 :]
            yield found[place], " ".join(rest)


def _crops(passage: str, rounds: int, random: np.random.Generator) -> Iterator[tuple[str, str]]:
    words, between = passage.split(), " "
    if len(words) < max(WRITTEN, len(passage) // LETTERS):
        words, between = list(passage), ""
    least = max(1, -(-SHORTEST * len(words) // max(len(passage), 1)))  # words of a crop that is long enough
    if len(words) < 2 * least:
        return
    for _ in range(rounds):
        sizes = np.maximum(least, random.uniform(*CROP, 2) * len(words)).astype(int).tolist()
        starts = [int(random.integers(0, len(words) - size + 1)) for size in sizes]
        first, second = (
            between.join(words[start : start + size]) for start, size in zip(starts, sizes, strict=True)
        )
        yield first, second


def split_into_pairs(split: Split[Any], kinds: Sequence[str], *, seed: int) -> Split[Pairs]:
    """A corpus's parts as pairs, each of its own documents; parts that are pairs already stay.

    Raises:
        DataError: The documents to train on give fewer than 2 pairs.
    """
    train = Parts.of(split.train)
    pairs = self_pairs(train, kinds, seed=seed)
    if len(pairs) < 2:
        raise DataError(
            f"the {len(split.train):,} documents give {len(pairs)} pairs ({', '.join(kinds)}), too few to "
            "train on; give longer documents (passages of several sentences), or more of them"
        )
    held: dict[str, Pairs] = {}
    documents = 0
    for name in ("development", "test"):
        part = getattr(split, name)
        held[name] = part
        if isinstance(part, Corpus):
            documents += len(part)
            held[name] = self_pairs(Parts.of(part).without(train), kinds, seed=seed)
    log.info(
        "made %s pairs (%s) of %s documents; %s of the %s held out",
        f"{len(pairs):,}", ", ".join(kinds), f"{len(split.train):,}", f"{sum(map(len, held.values())):,}",
        f"{documents:,}",
    )  # fmt: skip
    return Split(
        replace(pairs, report=split.train.report), held["development"], held["test"],
        split.moved, split.joined, split.returned, split.asked,
    )  # fmt: skip
