"""Files of word vectors: their layouts, what texts give, and the lines that are wrong."""

import gzip
import re
import time
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from statim import StaticModel
from statim.errors import ModelError

WORDS = ["the", ",", "naïve", ".", "list", "sort", "漢", "'s"]
RNG = np.random.default_rng(3)
VECTORS = RNG.standard_normal((len(WORDS), 5)).round(5).astype(np.float32)


def lines(words=WORDS, vectors=VECTORS, end=""):
    return [" ".join([word, *map(str, row)]) + end for word, row in zip(words, vectors, strict=True)]


def load(tmp_path, text, name="vectors.txt"):
    data = text.encode() if isinstance(text, str) else text
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return StaticModel.load(tmp_path / name)


def mean(*words):
    return VECTORS[[WORDS.index(word) for word in words]].mean(axis=0)


@pytest.mark.parametrize("name", ["glove.txt", "w.vec", "w.txt.gz", "w.vec.gz", "no_suffix"])
@pytest.mark.parametrize("header", ["", f"{len(WORDS)} 5\n"], ids=["glove", "word2vec"])
@pytest.mark.parametrize("end", ["\n", " \n", "\r\n"], ids=["plain", "space", "windows"])
@pytest.mark.parametrize("last", ["", "\n", "\n\n\n"], ids=["open", "closed", "blank"])
def test_layouts(name, header, end, last, tmp_path):
    model = load(tmp_path, header + end.join(lines()) + last, name)
    assert np.array_equal(model.table[: len(WORDS)], VECTORS)
    assert np.allclose(
        model.encode("Sort the naïve list."), mean("sort", "the", "naïve", "list", "."), atol=1e-6
    )


def test_unknown_words_do_not_count(tmp_path):
    model = load(tmp_path, "\n".join(lines()))
    assert np.allclose(model.encode("the unheard list"), mean("the", "list"), atol=1e-6)
    assert not model.encode("unheard").any()
    assert not model.encode("").any()
    assert not model.settings.normalize


def test_the_vector_of_an_unknown_word_in_the_file_does_not_count_either(tmp_path):
    model = load(tmp_path, "\n".join(lines(["the", "<unk>"], VECTORS[:2])))
    assert len(model.table) == 2
    assert np.allclose(model.encode("the unheard"), VECTORS[0], atol=1e-6)


def test_case_is_kept_where_the_file_has_it(tmp_path):
    model = load(tmp_path, "\n".join(lines(["The", "the"], VECTORS[:2])))
    assert np.allclose(model.encode("The"), VECTORS[0])
    assert np.allclose(model.encode("the"), VECTORS[1])
    assert not model.encode("THE").any()


def test_words_with_spaces_and_words_twice(tmp_path):
    words = ["the", ". . .", "at name@domain.com", "7 8", "the", "\u00a0", "list", "list"]
    model = load(tmp_path, "\n".join(lines(words)))
    expected = {word: row for row, word in reversed(list(enumerate(words)))}
    assert {
        word: model.table[row].tolist() for word, row in model.tokenizer.vocabulary.items() if word != "<unk>"
    } == {word: VECTORS[row].tolist() for word, row in expected.items()}


@pytest.mark.parametrize("word", ["", " ", "  ", "\t", " \t"])
@pytest.mark.parametrize("place", [0, 3])
def test_a_word_of_white_space_is_refused_wherever_it_stands(tmp_path, word, place):
    words = [*WORDS[:place], word, *WORDS[place + 1 :]]
    with pytest.raises(ModelError, match=f"line {place + 1} is not a word and 5 numbers"):
        load(tmp_path, "\n".join(lines(words)))


@pytest.mark.parametrize("name", ["w.txt", "w.vec.gz"])
@pytest.mark.parametrize("header", ["", f"{len(WORDS)} 5\n"], ids=["glove", "word2vec"])
def test_a_byte_order_mark_is_no_part_of_the_first_word(tmp_path, name, header):
    model = load(tmp_path, "\ufeff" + header + "\n".join(lines()), name)
    assert np.array_equal(model.table[: len(WORDS)], VECTORS)
    assert np.array_equal(model.encode("the"), VECTORS[0])


@pytest.mark.parametrize("first", [False, True])
def test_words_with_other_spaces_than_that_of_ascii(tmp_path, first):
    odd = ["\u00a0", "a\u00a0b", "\u2003", "c\u3000", "d e\u00a0", "\u0085"]
    words = [*odd, "the", "list"] if first else ["the", "list", *odd]
    model = load(tmp_path, "\n".join(lines(words)))
    found = {word: row for word, row in model.tokenizer.vocabulary.items() if word != "<unk>"}
    assert sorted(found, key=found.get) == words
    assert np.array_equal(model.table[: len(words)], VECTORS)


def test_tabs(tmp_path):
    assert np.array_equal(load(tmp_path, "\n".join(lines()).replace(" ", "\t")).table[:-1], VECTORS)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_saved_model_gives_the_same_vectors(
    compressed, texts, apart, tmp_path, by_sentence_transformers, by_model2vec
):
    words = list(dict.fromkeys(word for text in texts for word in re.findall(r"\w+|[^\w\s]", text.lower())))[
        ::2
    ]
    vectors = RNG.standard_normal((len(words), 20)).astype(np.float32)
    model = load(tmp_path, "\n".join(lines(words, vectors)), "w.txt.gz" if compressed else "w.txt")
    assert np.array_equal(model.table[:-1], vectors)
    model.save(tmp_path / "model")
    expected = model.encode(texts)
    again = StaticModel.load(tmp_path / "model")
    assert np.array_equal(again.encode(texts), expected)
    assert again.settings == model.settings
    assert apart(expected, by_model2vec(tmp_path / "model", texts), texts) < 1e-6
    theirs = by_sentence_transformers(tmp_path / "model", texts)
    assert (
        apart(unit(expected), unit(theirs), texts) < 1e-6
    )  # it counts unknown words: the direction is the same


def unit(vectors):
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


GOOD = lines()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "it is empty"),
        ("\n\n", "it is empty"),
        ("8 5\n", "it is empty"),
        ("hello world\n", "line 1 is 'hello world', not a word"),
        ('{"a": 1}\n', "no text file of word vectors: line 1"),
        ("word 1\n", "no text file of word vectors: line 1"),
        ("3 0\n", "0 dimensions"),
        (
            "\n".join([*GOOD[:3], "word 1 2 3", *GOOD[3:]]),
            "line 4 is not a word and 5 numbers but 'word 1 2 3'",
        ),
        ("\n".join([*GOOD[:3], "word 1 2 x 4 5", *GOOD[3:]]), "line 4 is not a word"),
        ("\n".join([*GOOD[:3], "word 1 2 3_0 4 5", *GOOD[3:]]), "line 4 is not a word"),
        ("\n".join([*GOOD[:3], " 1 2 3 4 5", *GOOD[3:]]), "line 4 is not a word"),
        ("\n".join([*GOOD[:3], "", *GOOD[3:]]), "line 4 is not a word"),
        ("\n".join([*GOOD[:3], "word 1 2 nan 4 5", *GOOD[3:]]), "line 4 holds NaN"),
        ("\n".join([*GOOD[:3], "word 1 2 1e39 4 5", *GOOD[3:]]), "line 4 holds NaN or a number too large"),
        ("\n".join([*GOOD[:3], "word of 1 2 -inf 4 5", *GOOD[3:]]), "line 4 holds NaN"),
        ("\n".join(["9 5", *GOOD]), "announces 9 words in line 1 but holds 8"),
        ("\n".join(["8 4", *GOOD, "word 1 2"]), "line 10 is not a word and 4 numbers"),
        ("\n".join(["8 6", *GOOD]), "line 2 is not a word and 6 numbers"),
        (b"\x00\x01\x02" * 1000, "no text file of word vectors"),
        (b"a 1 2\n" + b"b" * (3 << 20), "a line of more than"),
        (b"\x1f\x8b" + b"nonsense" * 9, "not a whole gzip file"),
        (gzip.compress("\n".join(GOOD).encode())[:-9], "not a whole gzip file"),
    ],
    ids=range(22),
)
def test_wrong_files_are_named_with_their_line(text, match, tmp_path):
    with pytest.raises(ModelError, match=match) as caught:
        load(tmp_path, text)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_line_far_behind_is_counted_right(tmp_path):
    many = "\n".join(f"w{index} {' '.join(['0.123456'] * 60)}" for index in range(20_000))
    with pytest.raises(ModelError, match=r"line 20,001 is not a word"):
        load(tmp_path, many + "\nword 1 2\n")
    blanks = "\n" * 10
    with pytest.raises(ModelError, match=r"line 20,001 is not a word"):
        load(tmp_path, many + blanks + "word " + "1 " * 60)
    assert len(load(tmp_path, many + blanks).table) == 20_001


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "wiki.en.bin", "glove.6B.zip"])
def test_files_that_are_named_by_mistake(name, tmp_path):
    with pytest.raises(ModelError, match="not a model by itself"):
        load(tmp_path, "anything", name)


@settings(
    max_examples=150,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.text(alphabet="ab 0123456789.-e\n\t", max_size=300).map(str.encode),
        st.tuples(st.integers(0, len("\n".join(GOOD))), st.binary(max_size=4)).map(
            lambda edit: (
                "\n".join(GOOD).encode()[: edit[0]] + edit[1] + "\n".join(GOOD).encode()[edit[0] + 1 :]
            )
        ),
    )
)
def test_no_file_does_more_than_raise_a_model_error(tmp_path, data):
    try:
        model = load(tmp_path, data)
    except ModelError:
        return
    assert np.isfinite(model.encode(["the list", "a b"])).all()


def test_reading_is_quick(tmp_path):
    row = " ".join(f"{number:.5f}" for number in RNG.standard_normal(50))
    (tmp_path / "w.txt").write_text(
        "\n".join(f"word{index} {row}" for index in range(40_000)), encoding="utf-8"
    )
    start = time.perf_counter()
    assert len(StaticModel.load(tmp_path / "w.txt").table) == 40_001
    assert time.perf_counter() - start < 5  # 0.4 s on one processor core


def test_nothing_is_warned_of(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(tmp_path, "\n".join(GOOD))
