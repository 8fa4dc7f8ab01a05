"""Whatever the tokenizer and whatever the text, the ids are those of tokenizers.

By hand: ``python -m pytest tests/fuzz -q -k unigram``, with ``-m long`` for the long ones. FUZZ_SEED gives
other strings, FUZZ_STRINGS more or fewer (of all tokenizers together; a million unless given).
"""

import multiprocessing
import os
import re
import threading
import unicodedata
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import numpy as np
import pytest
import tokenizers
from duel import Duel, expected, made, shrunk
from nasty_strings import Strings, mended
from tokenizer_zoo import MEMBERS, Zoo
from tokenizers import models, pre_tokenizers

from statim.errors import InputError
from statim.tokenizer.tokenizer import Tokenizer

SEED = int(os.environ.get("FUZZ_SEED") or 1)
STRINGS = int(os.environ.get("FUZZ_STRINGS") or 1_000_000)
ONE_OF_A_KIND = ["wordpiece-minilm-added", "unigram-xlmr", "bpe-llama3", "wordlevel-whitespace"]
HUGE = [*ONE_OF_A_KIND, "unigram-always-whole", "bpe-gpt2-added", "bpe-llama2"]


@pytest.fixture(scope="session")
def zoo(docstrings, minilm):
    return Zoo(docstrings, minilm)


@pytest.fixture
def arena(zoo):
    """By name: a tokenizer that remembers nothing, its oracle, and strings for it."""

    def enter(name, stream=0):
        backend = zoo[name]
        return Duel(name, backend, SEED), Strings(
            [SEED, stream, zlib.crc32(name.encode())], backend, zoo.documents
        )

    return enter


@pytest.mark.parametrize("name", MEMBERS)
def test_any_string(name, arena):
    """In batches of several sizes, and all of them again, by then well known."""
    duel, strings = arena(name)
    batches = [strings(number) for number in (1, 60, 240)]
    oracles = [duel.check(batch) for batch in batches]
    for batch, oracle in zip(batches, oracles, strict=True):
        duel.check(batch[::-1], oracle[::-1], threads=None)
    one_by_one = [duel.backend.encode(mended(text), add_special_tokens=False).ids for text in batches[1]]
    assert one_by_one == oracles[1], "the oracle contradicts itself"


@pytest.mark.parametrize("name", [name for name in MEMBERS if name.endswith("-grown")])
def test_pairs_of_words(name, arena):
    """Enough texts for compiled code; pairs that are hardly there, and in each other's way."""
    duel, strings = arena(name, stream=10)
    duel.check(strings(1200))
    pairs = [
        token.content
        for token in duel.backend.get_added_tokens_decoder().values()
        if token.single_word and " " in token.content and token.content.strip() == token.content
    ]
    words = sorted({word for pair in pairs for word in pair.split(" ")})
    rng = np.random.default_rng([SEED, 11])
    spaces = [" "] * 20 + ["  ", "\n", "\t", " \n ", "_", "-", ",", " [SEP] ", "\u00a0", ""]
    texts = [
        "".join(map("".join, zip(rng.choice([*pairs, *words], 8), rng.choice(spaces, 8), strict=True)))
        for _ in range(2000)
    ]
    oracle = duel.check(texts)
    last = {duel.backend.token_to_id(pair) for pair in pairs}
    assert sum(identifier in last for ids in oracle for identifier in ids) > 1000
    duel.check(texts, max_tokens=5, threads=None)


@pytest.mark.parametrize("name", MEMBERS)
def test_limits(name, arena):
    duel, strings = arena(name, stream=1)
    texts = strings(60)
    for limits in ((1, None), (3, None), (None, 1), (None, 7), (2, 9), (10**6, 10**6)):
        duel.check(texts, max_tokens=limits[0], max_characters=limits[1])


@pytest.mark.parametrize("name", MEMBERS)
def test_several_threads_at_once(name, arena):
    """They all begin with a tokenizer that remembers nothing, some with the same texts."""
    contest(*arena(name, stream=2), workers=4, rounds=2, number=40)


def contest(duel, strings, workers, rounds, number):
    batches = [strings(number) for _ in range(rounds * workers // 2)] * 2
    oracles = [expected(duel.backend, batch, None, None) for batch in batches]
    start = threading.Barrier(workers)

    def work(worker):
        start.wait(30)
        for at in range(worker, len(batches), workers):
            duel.check(batches[at], oracles[at], threads=1 + at % 2)

    with ThreadPoolExecutor(workers) as pool:
        for done in [pool.submit(work, worker) for worker in range(workers)]:
            done.result()


def tell(pipe, tokenizer, texts):
    pipe.send([ids.tolist() for ids in tokenizer(texts)])
    pipe.close()


def fork(tokenizer, texts):
    """The ids that a forked process finds."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=tell, args=(there, tokenizer, texts))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks of a process with threads
        process.start()
    there.close()
    try:
        assert here.poll(60), "the forked process does not answer"
        return here.recv()
    finally:
        process.kill()
        process.join()


forks = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork"
)


@forks
@pytest.mark.parametrize("name", ONE_OF_A_KIND)
def test_after_a_fork(name, arena):
    """The child knows what the parent knew, and both learn on by themselves."""
    duel, strings = arena(name, stream=3)
    known, new = strings(100), strings(100)
    duel.check(known, threads=None)
    assert fork(duel.tokenizer, [*known, *new]) == expected(duel.backend, [*known, *new], None, None)
    duel.check([*new, *known])


@pytest.mark.parametrize(
    "model",
    [
        models.WordPiece({"a": 0, "##b": 1, "c": 2}, unk_token="[UNK]"),
        models.WordLevel({"a": 0, "ab": 1, "c": 2}, unk_token="[UNK]"),
        models.Unigram([("a", -1.0), ("b", -2.0), ("c", -1.5)]),
        models.BPE({"a": 0, "b": 1, "ab": 2, "c": 3}, [("a", "b")], unk_token="[UNK]"),
    ],
    ids=["wordpiece", "wordlevel", "unigram", "bpe"],
)
def test_what_tokenizers_cannot_cut(model):
    """Without an unknown token some texts have no ids, however often and beside whatever they are given."""
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = Tokenizer(backend)
    for text in ["a", "ab", "x", "c ab", "c x", "a x a", "", " ", "ab c a", "x", "a"] * 2:
        try:
            right = backend.encode(text, add_special_tokens=False).ids
        except Exception:  # the library raises bare Exception
            with pytest.raises(InputError, match="cannot cut every text"):
                tokenizer(["a", text, "c"])
        else:
            assert tokenizer([text]).ids.tolist() == right


def test_scores_that_were_never_in_a_file(zoo):
    """tokenizers reads some numbers of a tokenizer.json one bit off, which decides between ways of the same
    score.

    A model's ids are those of its file, before it is saved too.
    """
    backend = MEMBERS["unigram-never"](zoo)
    read = tokenizers.Tokenizer.from_str(backend.to_str())
    texts = ["x" * length for length in range(2, 60)]
    assert [ids.tolist() for ids in Tokenizer(backend)(texts)] == expected(
        read, texts, max_tokens=None, max_characters=None
    )


def blocks(text):
    return sorted(text[at : at + 8] for at in range(0, len(text), 8))


WRONG_KEYS = {
    "the beginning": lambda piece: piece[:32],
    "both ends": lambda piece: (len(piece), piece[:8], piece[-8:]),
    "the end": lambda piece: piece[-64:],
    "without zeros at the end": lambda piece: piece.rstrip("\x00"),
    "without spaces": str.strip,
    "in lower case": str.lower,
    "composed": lambda piece: unicodedata.normalize("NFC", piece),
    "blocks in any order": lambda piece: (len(piece), str(blocks(piece))),
    "length and sum of blocks": lambda piece: (
        len(piece),
        sum(int.from_bytes(b.encode()) for b in blocks(piece)) % 2**64,
    ),
    "length as one byte": lambda piece: (len(piece) % 256, piece[:128]),
    "16 bits of a hash": lambda piece: zlib.crc32(piece.encode()) & 0xFFFF,
}


@pytest.mark.parametrize("key", WRONG_KEYS.values(), ids=WRONG_KEYS)
def test_the_strings_tell_a_wrong_memory(key, arena):
    """A tokenizer that remembers the pieces between spaces by ``key`` is found out."""
    duel, strings = arena("bpe-gpt2", stream=8)
    remembered = {}

    def cut(piece):
        wanted = key(piece)
        if wanted not in remembered:
            remembered[wanted] = duel.backend.encode(piece, add_special_tokens=False).ids
        return remembered[wanted]

    texts = [mended(text) for text in strings(1500)]
    pieces = [re.split("(?<=[^ ])(?= [^ ])", text) for text in texts]
    honest = [[duel.backend.encode(piece, add_special_tokens=False).ids for piece in part] for part in pieces]
    assert [[cut(piece) for piece in part] for part in pieces] != honest


@pytest.mark.parametrize(
    "name",
    [
        "wordpiece-whole-texts",
        "wordpiece-minilm-added",
        "unigram-always-whole",
        "bpe-llama2",
        "wordlevel-lines",
    ],
)
def test_the_strings_tell_a_wrong_place_to_split(name, arena):
    """Between ASCII letters is not a safe place everywhere."""
    duel, strings = arena(name, stream=9)
    texts = [mended(text) for text in strings(300)]
    pieces = [re.split("(?<=[A-Za-z])(?= [A-Za-z])", text) for text in texts]
    found = [[duel.backend.encode(piece, add_special_tokens=False).ids for piece in part] for part in pieces]
    ids = [list(chain(*part)) for part in found]
    assert ids != expected(duel.backend, texts, None, None)


def test_shrinking():
    """A report shows no more than what fails."""
    assert shrunk("some text with a\u0301 in it, and more", lambda text: "a\u0301" in text) == "a\u0301"
    assert shrunk(["x", "y", "z", "y"], lambda texts: texts.count("y") == 2) == ["y", "y"]


@pytest.mark.long
@pytest.mark.parametrize("name", MEMBERS)
def test_a_million_strings(name, arena):
    """Of all tokenizers together. Every third batch comes again later, in other company."""
    duel, strings = arena(name, stream=4)
    left = -(-STRINGS // len(MEMBERS))
    kept = []
    for round_ in range(10**9):
        size = min(left, (1, 2500, 37, 4000, 300)[round_ % 5])
        batch = strings(size)
        oracle = duel.check(batch, threads=(1, None)[round_ % 2])
        if round_ % 3 == 0:
            kept.append((batch, oracle))
        elif len(kept) > 2:
            (old, known), (other, known_too) = kept.pop(0), kept[-1]
            duel.check(old[::-1] + other, known[::-1] + known_too)
        left -= size
        if not left:
            break


@pytest.mark.long
@pytest.mark.parametrize("name", MEMBERS)
def test_several_threads_at_length(name, arena):
    contest(*arena(name, stream=5), workers=8, rounds=4, number=150)


@forks
@pytest.mark.long
@pytest.mark.parametrize("name", MEMBERS)
def test_forks_while_threads_work(name, arena):
    """No lock that a thread holds at that moment may stop the child."""
    duel, strings = arena(name, stream=6)
    batches = [strings(200) for _ in range(4)]
    oracles = [expected(duel.backend, batch, None, None) for batch in batches]
    stop = threading.Event()

    def work():
        while not stop.is_set():
            for batch in batches:
                duel.tokenizer(batch, threads=1)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for batch, oracle in zip(batches, oracles, strict=True):
            assert fork(duel.tokenizer, batch) == oracle
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.long
@pytest.mark.parametrize("name", HUGE)
def test_texts_of_ten_million_characters(name, arena):
    duel, strings = arena(name, stream=7)
    for text in strings.huge(10_000_000):
        duel.check(["a b", text, "a b"])


def test_every_kind_has_its_turn(zoo):
    kinds = {made(zoo[name]).kind for name in ONE_OF_A_KIND}
    assert kinds == {"WordPiece", "Unigram", "BPE", "WordLevel"}
