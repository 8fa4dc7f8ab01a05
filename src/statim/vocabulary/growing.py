"""A vocabulary grown by a corpus's frequent words and word pairs, each with a row of its own.

A word becomes an entry of the model's vocabulary. A pair becomes an *added token* of ``tokenizer.json``,
which every library that reads such files finds in the normalized text before anything is cut: at the leftmost
place, the longest first, only between other characters than letters and digits. So the libraries agree, and
nothing but ``tokenizer.json`` is needed.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import tokenizers

from statim import threads as pool
from statim.errors import DataError, InputError
from statim.tokenizer.tokenizer import Tokenizer
from statim.tokenizer.tokens import Tokens
from statim.vocabulary.counts import LEAST, Candidate, Counts
from statim.vocabulary.pruning import rebuilt
from statim.vocabulary.spelling import Spelling, is_word

MOST = 1_000_000  # rows that may be asked for
Floats = npt.NDArray[np.float32]

# by how much the log-probability of a new word is above that of its pieces, so that it is preferred to them
ABOVE = 1e-3


@dataclass(frozen=True, eq=False)
class Growth:
    """A grown tokenizer, whose ids from ``first`` on are new.

    Attributes:
        tokenizer: The tokenizer; its old ids mean what they meant.
        first: The first new id.
        texts: The n new words and pairs, in the order of their ids, those of one word first.
        counts: (n,) int64, how often each occurs in the texts counted.
        pieces: The ids that each is cut into without its row, n texts: old ones of words, of pairs also those
            of new words.
        words: How many of them are single words.
    """

    tokenizer: Tokenizer
    first: int
    texts: list[str]
    counts: npt.NDArray[np.int64]
    pieces: Tokens
    words: int

    def __len__(self) -> int:
        return len(self.texts)

    def extended(self, table: Floats) -> Floats:
        """A table with rows for the new ids, (V, d): each is the sum of its pieces' rows.

        A text's vector then points where it did: its tokens' rows have the sum that they had, and the vector
        is their mean.

        Args:
            table: (first, d), or (first + words, d) where the words have rows already.
        """
        for start, stop in self._parts(len(table)):
            pieces = self.pieces.select(np.arange(start, stop))
            table = np.concatenate([table, np.add.reduceat(table[pieces.ids], pieces.offsets[:-1], axis=0)])
        return table

    def as_before(self, frequencies: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.float64]:
        """How often each of the first ids would occur without the others, (size,), from all counts, (V,).

        ``size`` is first, or first + words.
        """
        for start, stop in reversed(self._parts(size)):
            pieces = self.pieces.select(np.arange(start, stop))
            owners = np.repeat(frequencies[self.first + start :], pieces.lengths)
            frequencies = frequencies[: self.first + start] + np.bincount(
                pieces.ids, owners, self.first + start
            )
        return frequencies

    def _parts(self, size: int) -> list[tuple[int, int]]:
        """Words and pairs, as far as they are beyond the first ids; pairs are made of words."""
        parts = [(size - self.first, self.words), (self.words, len(self))]
        return [(start, stop) for start, stop in parts if start < stop]


def grow(
    tokenizer: Tokenizer,
    columns: Sequence[pa.Array],
    *,
    words: int = 0,
    pairs: int = 0,
    threads: int | None = None,
) -> Growth:
    """Add the most frequent multi-token words and word pairs to the vocabulary.

    Same texts, same vocabulary, whatever the number of threads.

    Args:
        tokenizer: WordPiece, Unigram or BPE.
        columns: Arrow string arrays; at most a million texts and 32 MB of each are counted, evenly spread.
        words: So many words at most; a small corpus gives fewer.
        pairs: So many pairs at most.
        threads: Threads to tokenize on.

    Raises:
        InputError: A number is out of range, both are 0, or the tokenizer is of a kind that cannot be grown.
        DataError: No word or pair occurs five times.
    """
    check_rows(words, pairs)
    if not words and not pairs:
        raise InputError(
            "neither words nor pairs of words are asked for; ask for some, or do not grow the vocabulary"
        )
    spelling = Spelling(tokenizer)
    counts = Counts.of(spelling, tokenizer, columns, pool.count(threads), pairs=pairs > 0)
    candidates = [
        sorted(found, key=lambda candidate: (-candidate.count, candidate.pieces))
        for found in (counts.words() if words else [], counts.pairs() if pairs else [])
    ]
    lost: set[Candidate] = set()
    while True:
        known = _known(spelling)
        chosen = [
            one
            for found, most in zip(candidates, (words, pairs), strict=True)
            for one in _chosen(spelling, known, (one for one in found if one not in lost), most)
        ]
        if not chosen:
            break
        grown = _grown(tokenizer, spelling, chosen)
        missed = _missed(grown, tokenizer.vocabulary_size, [_text(spelling, one) for one in chosen])
        if not missed:
            return _growth(tokenizer, grown, spelling, chosen)
        lost.update(chosen[at] for at in missed)
    raise DataError(
        f"no word or pair that needs a row occurs {LEAST} times in the texts; give more texts, or grow "
        "by nothing"
    )


def check_rows(words: object, pairs: object) -> None:
    """Refuse what is no number of new rows.

    Raises:
        InputError: It is not a whole number from 0 to MOST.
    """
    for name, rows in (("words", words), ("pairs of words", pairs)):
        if isinstance(rows, bool) or not isinstance(rows, (int, np.integer)) or not 0 <= rows <= MOST:
            raise InputError(f"the new {name} are {rows!r}; give a whole number from 0 to {MOST:,}")


def _normalizer(spelling: Spelling) -> Callable[[str], str]:
    normalizer = spelling.tokenizer.backend.normalizer
    return normalizer.normalize_str if normalizer else lambda text: text


def _known(spelling: Spelling) -> set[str]:
    """The tokens there are; of two added tokens that normalize to the same either might be found."""
    added = spelling.description["added_tokens"]
    return set(spelling.tokens) | set(map(_normalizer(spelling), (token["content"] for token in added)))


def _chosen(
    spelling: Spelling, known: set[str], candidates: Iterable[Candidate], most: int
) -> Iterator[Candidate]:
    """The first N candidates that are spelled as normalized text and not ``known`` yet; then they are."""
    normalize = _normalizer(spelling)
    longest = spelling.description["model"].get("max_input_chars_per_word") or np.inf
    for candidate in candidates:
        if most == 0:
            return
        text, entry = _text(spelling, candidate), _entry(spelling, candidate)
        if (
            entry not in known
            and normalize(text) == text
            and all(map(is_word, text.split(" ")))
            and (candidate.split or len(text) <= longest)
        ):
            known.add(entry)
            most -= 1
            yield candidate


def _text(spelling: Spelling, candidate: Candidate) -> str:
    if candidate.split == 0:
        return spelling.text(candidate.pieces)
    first, second = candidate.pieces[: candidate.split], candidate.pieces[candidate.split :]
    return f"{spelling.text(first)} {spelling.text(second)}"


def _entry(spelling: Spelling, candidate: Candidate) -> str:
    return _text(spelling, candidate) if candidate.split else spelling.entry(candidate.pieces)


def _grown(tokenizer: Tokenizer, spelling: Spelling, chosen: Sequence[Candidate]) -> tokenizers.Tokenizer:
    """The tokenizer with ids for what was chosen, after its own."""
    description: dict[str, Any] = json.loads(tokenizer.to_json())
    model, size = description["model"], tokenizer.vocabulary_size
    words = [candidate for candidate in chosen if candidate.split == 0]
    # ids of added tokens are counted from the size of the vocabulary, so those beyond it must belong to it
    beyond = {
        token["id"]: token["content"]
        for token in description["added_tokens"]
        if words and tokenizer.backend.model.token_to_id(token["content"]) is None
    }
    if isinstance(model["vocab"], list):
        scores = [score for _, score in model["vocab"]]
        model["vocab"] += [[beyond[number], min(scores)] for number in sorted(beyond)]
        model["vocab"] += [
            [spelling.entry(word.pieces), sum(scores[piece] for piece in word.pieces) + ABOVE]
            for word in words
        ]
    else:
        model["vocab"] |= {content: number for number, content in beyond.items()}
        model["vocab"] |= {spelling.entry(word.pieces): size + at for at, word in enumerate(words)}
        if model["type"] == "BPE" and words:
            model["ignore_merges"] = True  # a word that the vocabulary holds is taken whole
    description["added_tokens"] += [
        {
            "id": size + at,
            "content": _text(spelling, candidate),
            "single_word": True,
            "lstrip": model["type"] != "WordPiece",  # the space before it would be a token of its own
            "rstrip": False,
            "normalized": True,
            "special": False,
        }
        for at, candidate in enumerate(chosen)
        if candidate.split
    ]
    return rebuilt(description)


def _missed(grown: tokenizers.Tokenizer, first: int, texts: Sequence[str]) -> list[int]:
    """The positions of new rows that are not found, because the tokenizer cuts words before lookup."""
    encoded = grown.encode_batch_fast([f" {text}" for text in texts], add_special_tokens=False)
    return [at for at, encoding in enumerate(encoded) if first + at not in encoding.ids]


def _growth(
    tokenizer: Tokenizer, grown: tokenizers.Tokenizer, spelling: Spelling, chosen: Sequence[Candidate]
) -> Growth:
    first = tokenizer.vocabulary_size
    new = {candidate.pieces: (first + at,) for at, candidate in enumerate(chosen) if not candidate.split}
    pieces = [
        np.array(
            new.get(one.pieces[: one.split], one.pieces[: one.split])
            + new.get(one.pieces[one.split :], one.pieces[one.split :])
            if one.split
            else one.pieces,
            np.int32,
        )
        for one in chosen
    ]
    return Growth(
        Tokenizer(grown, copied=False),
        first,
        [_text(spelling, candidate) for candidate in chosen],
        np.array([candidate.count for candidate in chosen], np.int64),
        Tokens(np.concatenate(pieces), np.cumsum([0, *map(len, pieces)])),
        sum(candidate.split == 0 for candidate in chosen),
    )
