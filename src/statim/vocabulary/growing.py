"""A vocabulary grown by a corpus's frequent words and word pairs, each with a row of its own.

A word becomes an entry of the model's vocabulary. A pair becomes an *added token* of ``tokenizer.json``, which every library that
reads such files finds in the normalized text before anything is cut: at the leftmost place, the longest first, only between
other characters than letters and digits. So the libraries agree, and nothing but ``tokenizer.json`` is needed.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import tokenizers

from statim import threads as pool
from statim.errors import DataError, InputError
from statim.tokenizer import Tokenizer
from statim.tokens import Tokens
from statim.vocabulary.counts import LEAST, Candidate, Counts
from statim.vocabulary.pruning import rebuilt
from statim.vocabulary.spelling import Spelling, is_word

MOST = 1_000_000  # rows that may be asked for
ABOVE = 1e-3  # by how much the log-probability of a new word is above that of its pieces, so that it is preferred to them


@dataclass(frozen=True, eq=False)
class Growth:
    """A grown tokenizer, whose ids from ``first`` on are new.

    Attributes:
        tokenizer: The tokenizer; its old ids mean what they meant.
        first: The first new id.
        texts: The n new words and pairs, in the order of their ids, those of one word first.
        counts: (n,) int64, how often each occurs in the texts counted.
        pieces: The old ids that each is cut into without its row, n texts.
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

    def rows(self, table: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The sum of its pieces' rows for each new id, (n, d), from the old table.

        A text's vector then points where it did: its tokens' rows have the same sum as before, of which it is the mean.
        """
        return np.add.reduceat(table[self.pieces.ids], self.pieces.offsets[:-1], axis=0)

    def as_before(self, frequencies: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """How often each old id would occur without the growth, (first,), from how often each id of the grown one does."""
        owners = np.repeat(frequencies[self.first :], self.pieces.lengths)
        found: npt.NDArray[np.float64] = frequencies[: self.first] + np.bincount(
            self.pieces.ids, owners, self.first
        )
        return found


def grow(
    tokenizer: Tokenizer,
    columns: Sequence[pa.Array],
    rows: int,
    *,
    words: bool = True,
    pairs: bool = True,
    threads: int | None = None,
) -> Growth:
    """Give the most frequent words that are cut into pieces, and the most frequent pairs of words, ids of their own.

    Same texts, same vocabulary, whatever the number of threads.

    Args:
        tokenizer: WordPiece, Unigram or BPE.
        columns: Arrow string arrays; at most a million texts of each are counted, evenly spread.
        rows: New ids at most; a small corpus gives fewer. At least 1.
        words: Whether single words are taken.
        pairs: Whether pairs are.
        threads: Threads to tokenize on.

    Raises:
        InputError: ``rows`` is out of range, or the tokenizer is of a kind that cannot be grown.
        DataError: No word or pair occurs five times.
    """
    if isinstance(rows, bool) or not isinstance(rows, (int, np.integer)) or not 1 <= rows <= MOST:
        raise InputError(f"{rows!r} new rows are asked for; give a whole number from 1 to {MOST:,}")
    spelling = Spelling(tokenizer)
    counts = Counts.of(spelling, tokenizer, columns, pool.count(threads))
    candidates = [*(counts.words() if words else []), *(counts.pairs() if pairs else [])]
    candidates.sort(key=lambda candidate: (-candidate.count, candidate.pieces))
    lost: set[Candidate] = set()
    while chosen := _chosen(tokenizer, spelling, [one for one in candidates if one not in lost], rows):
        grown = _grown(tokenizer, spelling, chosen)
        missed = _missed(grown, tokenizer.vocabulary_size, [_text(spelling, one) for one in chosen])
        if not missed:
            return _growth(tokenizer, grown, spelling, chosen)
        lost.update(chosen[at] for at in missed)
    raise DataError(
        f"no word or pair that needs a row occurs {LEAST} times in the texts; give more texts, or grow by nothing"
    )


def _chosen(
    tokenizer: Tokenizer, spelling: Spelling, candidates: Sequence[Candidate], rows: int
) -> list[Candidate]:
    """The first so many candidates that will be found in texts: spelled as normalized text is, and not there yet."""
    normalizer, known = tokenizer.backend.normalizer, set(tokenizer.vocabulary)
    normalize: Callable[[str], str] = normalizer.normalize_str if normalizer else lambda text: text
    # of two added tokens that normalize to the same either might be found
    known.update(normalize(token["content"]) for token in spelling.description["added_tokens"])
    longest = spelling.description["model"].get("max_input_chars_per_word") or np.inf
    chosen = []
    for candidate in candidates:
        text, entry = _text(spelling, candidate), _entry(spelling, candidate)
        if entry in known or normalize(text) != text or not all(map(is_word, text.split(" "))):
            continue
        if candidate.split == 0 and len(text) > longest:
            continue
        known.add(entry)
        chosen.append(candidate)
        if len(chosen) == rows:
            break
    return sorted(chosen, key=lambda candidate: candidate.split > 0)


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
    """The positions of new rows that are not found where they should be: the tokenizer cuts words before it looks them up."""
    encoded = grown.encode_batch_fast([f" {text}" for text in texts], add_special_tokens=False)
    return [at for at, encoding in enumerate(encoded) if first + at not in encoding.ids]


def _growth(
    tokenizer: Tokenizer, grown: tokenizers.Tokenizer, spelling: Spelling, chosen: Sequence[Candidate]
) -> Growth:
    pieces = [np.array(candidate.pieces, np.int32) for candidate in chosen]
    return Growth(
        Tokenizer(grown, copied=False),
        tokenizer.vocabulary_size,
        [_text(spelling, candidate) for candidate in chosen],
        np.array([candidate.count for candidate in chosen], np.int64),
        Tokens(np.concatenate(pieces), np.cumsum([0, *map(len, pieces)])),
        sum(candidate.split == 0 for candidate in chosen),
    )
