"""Words are remembered where they repeat; texts whose words never do are tokenized as a whole. The ids are
the same either way.
"""

import numpy as np
import pytest

from statim.tokenizer.token_cache import PAUSES, WINDOW, Payoff
from statim.tokenizer.tokenizer import FEW, Tokenizer
from statim.vocabulary import grow

CHUNK = 2048


def unrepeated(count, seed=0):
    """Lines of hexadecimal digits, none of which comes twice, of about 100 bytes."""
    random = np.random.default_rng(seed)
    return [f"{random.bytes(20).hex()} from {random.bytes(20).hex()} {i}" for i in range(count)]


def ways(tokenizer, memo, texts):
    """For each chunk of texts, was it passed over? The ids are checked."""
    found = []
    for start in range(0, len(texts), CHUNK):
        chunk = texts[start : start + CHUNK]
        before = memo.payoff._left
        assert tokenizer.chunk(chunk, threads=1) == tokenizer._flat(chunk, None, 1)
        found.append(before > 0)
    return found


@pytest.mark.parametrize("kind", ["Unigram", "BPE", "WordLevel"])
def test_texts_that_never_repeat_are_passed_over_until_others_come(kind, backends, docstrings):
    tokenizer = Tokenizer(backends[kind])
    memo = tokenizer._memo
    english = [line for text in docstrings for line in text.splitlines() if len(line) > 20][: 4 * CHUNK]
    assert len(english) == 4 * CHUNK
    assert not any(ways(tokenizer, memo, english))
    other = ways(tokenizer, memo, unrepeated(12 * CHUNK))
    assert sum(other) >= 7
    assert not all(other[other.index(True) :])  # it looks again
    while memo.payoff._left > 0:
        ways(tokenizer, memo, english)
    assert not any(ways(tokenizer, memo, english))


def test_with_phrases(backends, docstrings):
    import pyarrow as pa

    grown = grow(
        Tokenizer(backends["BPE"]), [pa.array(docstrings[:500], pa.large_string())], words=20, pairs=40
    )
    tokenizer = Tokenizer.from_json(grown.tokenizer.to_json())
    phrases = tokenizer._phrases
    texts = [f"{text} of the same name" for text in unrepeated(12 * CHUNK)]
    assert any(ways(tokenizer, phrases._memo, texts))
    cut = tokenizer.chunk(texts[: FEW + 1], max_tokens=7, threads=1)
    assert cut == tokenizer._flat(texts[: FEW + 1], 7, 1)


def test_pauses_grow_to_a_limit_and_start_again():
    payoff = Payoff()
    dear = {"texts": 0, "size": WINDOW, "pieces": 0, "new": WINDOW}
    payoff.count(**dear)  # the first window, in which all words are new
    assert not payoff.passes_over(["x"])
    for expected in (4, 16, 64, 64):
        payoff.count(**dear)
        for _ in range(expected):
            assert payoff.passes_over(["x" * WINDOW])
        assert not payoff.passes_over(["x"])
    payoff.count(**{**dear, "new": WINDOW // 2})
    assert not payoff.passes_over(["x"])
    payoff.count(**dear)
    assert payoff._left == PAUSES[0] * WINDOW


def test_what_is_remembered_has_a_bound(backends):
    tokenizer = Tokenizer(backends["WordLevel"])
    memo = tokenizer._memo
    size = sum(array.nbytes for array in memo._table)
    for seed in range(3):
        ways(tokenizer, memo, unrepeated(2 * CHUNK, seed))
    assert sum(array.nbytes for array in memo._table) == size < 20 << 20
