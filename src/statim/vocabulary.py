"""A WordPiece vocabulary learned from the corpus itself, for a random start without a named tokenizer."""

from collections.abc import Iterable, Iterator

import pyarrow as pa
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from statim.errors import DataError
from statim.tokenizer import Tokenizer

SIZE = 30_000
SPECIAL = ("[PAD]", "[UNK]")
LEARN_FROM = 200_000  # texts; more change the vocabulary little and take long


def learn_wordpiece(columns: Iterable[pa.Array], *, size: int = SIZE) -> Tokenizer:
    """Learn a lower-casing WordPiece vocabulary (Schuster & Nakajima, 2012, as BERT cuts it).

    Args:
        columns: Arrow string arrays; at most 200,000 texts of each are read, evenly spread.
        size: Tokens at most; a corpus with few words gives fewer.

    Raises:
        DataError: The texts hold no word at all.
    """
    backend = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, min_frequency=2, special_tokens=list(SPECIAL), continuing_subword_prefix="##", show_progress=False
    )
    backend.train_from_iterator(_batches(columns), trainer)
    if backend.get_vocab_size() <= len(SPECIAL):
        raise DataError("no word occurs twice in the texts, so no vocabulary can be learned; give more texts or a --tokenizer")
    return Tokenizer(backend)


def _batches(columns: Iterable[pa.Array]) -> Iterator[list[str]]:
    for column in columns:
        step = max(1, len(column) // LEARN_FROM)
        for start in range(0, len(column), 10_000 * step):
            yield [text for text in column[start : start + 10_000 * step].to_pylist()[::step] if text]
