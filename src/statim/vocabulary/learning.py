"""A WordPiece vocabulary learned from the corpus itself, for a random start without a named tokenizer."""

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from statim import spilled_array
from statim.errors import DataError
from statim.tokenizer.tokenizer import Tokenizer

SIZE = 30_000
SPECIAL = ("[PAD]", "[UNK]")
LEARN_FROM = 200_000  # texts of a column; more change the vocabulary little and take long


def learn_wordpiece(columns: Sequence[pa.Array], *, size: int = SIZE) -> Tokenizer:
    """Learn a lower-casing WordPiece vocabulary (Schuster & Nakajima, 2012, cut as BERT cuts).

    Same texts, same vocabulary.

    Args:
        columns: Arrow string arrays; at most 200,000 texts of each are read, evenly spread.
        size: Tokens at most; a corpus with few words gives fewer.

    Raises:
        DataError: No word occurs twice.
    """
    backend = _lower_casing(models.WordPiece(unk_token="[UNK]"))
    # The trainer numbers pieces in the order of a randomly seeded hash table and breaks ties by number;
    # pieces that it knows beforehand keep theirs. So every letter's continuation is given first, as if it
    # were special.
    continuations = [f"##{letter}" for letter in _letters(columns, backend)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, min_frequency=2, special_tokens=[*SPECIAL, *continuations],
        continuing_subword_prefix="##",
        show_progress=False,
    )  # fmt: skip
    backend.train_from_iterator(_batches(columns), trainer)
    vocabulary = backend.get_vocab()
    if all(len(token.removeprefix("##")) < 2 for token in vocabulary.keys() - SPECIAL):
        raise DataError(
            "no word occurs twice in the texts, so no vocabulary can be learned; give more texts or a "
            "--tokenizer"
        )
    learned = _lower_casing(models.WordPiece(vocabulary, unk_token="[UNK]"))
    learned.add_special_tokens(list(SPECIAL))
    return Tokenizer(learned)


def _lower_casing(model: models.Model) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(model)
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    return backend


def _letters(columns: Sequence[pa.Array], backend: tokenizers.Tokenizer) -> list[str]:
    """Every character that a word can hold after normalising, sorted."""
    found: set[str] = set()
    for texts in _batches(columns):
        found.update(*texts)
    normalized = backend.normalizer.normalize_str("".join(sorted(found)))
    return sorted({letter for letter in normalized if not letter.isspace()})


def _batches(columns: Iterable[pa.Array]) -> Iterator[list[str]]:
    for column in columns:
        step = max(1, len(column) // LEARN_FROM)
        for start in range(0, len(column), 10_000 * step):
            chosen = pa.array(range(start, min(start + 10_000 * step, len(column)), step), pa.int64())
            yield [text for text in column.take(chosen).to_pylist() if text]
            spilled_array.release()
