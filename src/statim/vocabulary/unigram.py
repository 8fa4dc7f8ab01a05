"""A Unigram vocabulary learned from the corpus, for texts that other vocabularies cannot read.

Unigram (Kudo, 2018) takes of all ways to cut a word the most probable one. Pieces are frequent words, their
beginnings and ends, and in scripts without spaces runs of two or three characters. Their probabilities are
counted in turns: cut the corpus, count the pieces, drop the rare ones. Each character has a piece of its own,
and what the corpus lacks is spelled in bytes, so nothing is unknown. Marks are kept, and texts are normalized
by NFKC and lower-cased.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import tokenizers
from tokenizers import Regex, models, normalizers, pre_tokenizers

from statim.errors import DataError
from statim.scripts import UNSPACED
from statim.tokenizer.boundaries import UNSPACED_RUNS
from statim.tokenizer.tokenizer import Tokenizer
from statim.vocabulary.counts import blocks

SIZE = 30_000
BYTES = 8 << 20  # of a column that are read at most; more change the vocabulary little
WORD = 20  # characters of a piece of a word at most
RUN = 3  # of a run in a script without spaces
OFTEN = 20  # times that a piece must occur: fewer teach its row too little
TURNS = 3
UNKNOWN = "[UNK]"
SPELLED = tuple(f"<0x{byte:02X}>" for byte in range(256))

_is_run = re.compile(f"[{UNSPACED}]").match


def learn_unigram(columns: Sequence[pa.Array], *, size: int = SIZE) -> Tokenizer:
    """Learn a lower-casing Unigram vocabulary with byte fallback.

    Same texts, same vocabulary.

    Args:
        columns: Arrow string arrays; at most 8 MiB of each are read, evenly spread.
        size: Tokens at most, unless the texts have more different characters.

    Raises:
        DataError: The texts have no characters but white space.
    """
    words = _words(columns)
    if not words:
        raise DataError("the texts have no words, so no vocabulary can be learned; give texts")
    letters: Counter[str] = Counter()
    pieces: Counter[str] = Counter()
    for word, count in words.items():
        for letter in word:
            letters[letter] += count
        for piece in _parts(word):
            pieces[piece] += count
    room = max(0, size - len(letters) - len(SPELLED) - 1)
    chosen = _frequent(pieces, 4 * room)
    for _ in range(TURNS - 1):
        used = _used(_backend(letters, chosen), words)
        chosen = _frequent({piece: used[piece] for piece in chosen if used[piece]}, room)
        letters = Counter({letter: used[letter] for letter in letters})
    return Tokenizer(_backend(letters, chosen), copied=False)


def _words(columns: Sequence[pa.Array]) -> Counter[str]:
    """Words and runs of scripts without spaces, as the tokenizer's first steps give them."""
    steps = _backend({"a": 1}, {})
    words: Counter[str] = Counter()
    for texts in blocks(columns, most=BYTES):
        for text in texts.to_pylist():
            cut = steps.pre_tokenizer.pre_tokenize_str(steps.normalizer.normalize_str(text))
            words.update(word for word, _ in cut)
    return words


def _parts(word: str) -> Iterable[str]:
    """What may become a piece: parts of a run, or a word's beginnings and ends."""
    if _is_run(word):
        for length in range(2, RUN + 1):
            yield from (word[at : at + length] for at in range(len(word) - length + 1))
        return
    for length in range(2, min(len(word), WORD) + 1):
        yield word[:length]
        if length < len(word):
            yield word[-length:]


def _frequent(counts: Mapping[str, int], most: int) -> dict[str, int]:
    """Pieces that occur often enough; those that make most characters where there are more than ``most``."""
    enough = [piece for piece, count in counts.items() if count >= OFTEN]
    enough.sort(key=lambda piece: (-counts[piece] * len(piece), piece))
    return {piece: counts[piece] for piece in enough[:most]}


def _used(backend: tokenizers.Tokenizer, words: Mapping[str, int]) -> Counter[str]:
    """How often each piece occurs in the words."""
    found: Counter[int] = Counter()
    cut = backend.encode_batch_fast(list(words), add_special_tokens=False)
    for count, encoding in zip(words.values(), cut, strict=True):
        for number in encoding.ids:
            found[number] += count
    tokens = {number: token for token, number in backend.get_vocab().items()}
    return Counter({tokens[number]: count for number, count in found.items()})


def _backend(letters: Mapping[str, int], pieces: Mapping[str, int]) -> tokenizers.Tokenizer:
    """The tokenizer of pieces with these counts; a letter that always is in longer ones counts half."""
    counts = {**letters, **pieces}
    total = sum(counts.values())
    scores = [(piece, math.log(max(count, 0.5) / total)) for piece, count in sorted(counts.items())]
    least = math.log(0.5 / total) - 1
    vocabulary = [(UNKNOWN, 0.0), *((byte, least) for byte in SPELLED), *scores]
    backend = tokenizers.Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Split(Regex(UNSPACED_RUNS), "isolated")]
    )
    return backend
