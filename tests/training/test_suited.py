"""The vocabulary of a training suits its texts: what is measured and decides, and what a person decides."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest

from statim import StaticModel, train
from statim.data.pairs.reading import read_pairs
from statim.errors import InputError
from statim.settings import Settings
from statim.tokenizer.tokenizer import Tokenizer
from statim.training import start as starts
from statim.training import suited
from statim.training.options import TrainOptions
from statim.training.recipe import Recipe
from statim.training.run.record import Found
from statim.training.start import Start
from statim.training.suited import suited_start
from statim.vocabulary.coverage import coverage
from statim.vocabulary.pruning import is_byte

ENGLISH = ["sort a list in place", "open a file for writing", "copy a folder", "read a file line by line"]
GERMAN = ["das ist schon fertig", "ein schöner Tag, sehr schön", "was war das", "wer will die Tür öffnen"]
THAI = ["ไฟล์ถูกเขียนลงในโฟลเดอร์", "เปิดไฟล์ไม่ได้", "ลบโฟลเดอร์แล้ว", "ไม้และไม่"]
RUSSIAN = ["это мой дом", "мои книги на столе", "чай и кофе", "какой сегодня день"]


class Teacher:
    """Reads a text as a vector that its letters give."""

    hash, name = "teacher", "a teacher"

    def encode(self, texts):
        found = [np.random.default_rng(list(text.encode())).standard_normal(16) for text in texts]
        return np.array(found, np.float32)


@pytest.fixture(autouse=True)
def _teacher(minilm, monkeypatch):
    """A start from it has the vocabulary of all-MiniLM-L6-v2."""
    vectors = np.random.default_rng(1).standard_normal((30522, 16)).astype(np.float32)
    begun = Start("a teacher, distilled", Tokenizer(minilm), Settings(), vectors, Teacher())
    monkeypatch.setattr(starts, "Teacher", SimpleNamespace(load=lambda name: None))
    monkeypatch.setattr(starts, "_from_teacher", lambda teacher, progress: begun)


def rows(texts):
    return [
        {"anchor": f"{texts[at % 4]} {at}", "positive": f"{texts[(at + 2 * (at // 4)) % 4]} {at}"}
        for at in range(40)
    ]


def suit(texts, choice=None, **options):
    return suited_start(TrainOptions(**options), read_pairs(rows(texts)), choice)


def cosine(model, first, second):
    one, other = model.encode([first, second], normalize=True)
    return float(one @ other)


@pytest.fixture(scope="module")
def model(minilm):
    return StaticModel(np.random.default_rng(0).standard_normal((30522, 16)).astype(np.float32), minilm)


@pytest.mark.parametrize(
    ("texts", "vocabulary", "kind"),
    [(ENGLISH, "usual", "WordPiece"), (GERMAN, "marks", "WordPiece"), (THAI, "learned", "Unigram"),
     (RUSSIAN, "learned", "Unigram")],
)  # fmt: skip
def test_the_texts_decide(texts, vocabulary, kind, minilm, caplog):
    caplog.set_level(logging.INFO, "statim")
    start = suit(texts)
    assert (start.vocabulary, start.tokenizer.kind) == (vocabulary, kind)
    assert start.teacher is not None
    assert len(start.source) == start.tokenizer.vocabulary_size
    assert start.tokenizer.unknown_id not in start.tokenizer(texts).ids
    said = [line for line in caplog.messages if "reads the texts with" in line]
    if vocabulary == "usual":
        assert start.tokenizer.hash == Tokenizer(minilm).hash
        assert not said
    else:
        assert len(said) == 1
        assert not start.tokenizer.strips_accents


@pytest.mark.parametrize("texts", [GERMAN, THAI])
def test_an_interrupted_run_keeps_its_choice(texts, monkeypatch):
    first = suit(texts)
    for name in ("coverage", "marked_share"):
        monkeypatch.setattr(suited, name, lambda *given: pytest.fail("it is measured again"))
    again = suit(texts, first.vocabulary)
    assert again.hash == first.hash
    assert np.array_equal(again.source, first.source)


def test_bytes_are_not_read_as_their_names(monkeypatch):
    asked, encode = [], Teacher.encode
    monkeypatch.setattr(Teacher, "encode", lambda self, texts: asked.extend(texts) or encode(self, texts))
    vocabulary = suit(RUSSIAN).tokenizer.vocabulary
    assert sum(map(is_byte, vocabulary)) == 256
    assert "и" in asked
    assert not [text for text in asked if is_byte(text)]


@pytest.mark.parametrize("texts", [ENGLISH, THAI])
def test_texts_are_measured_once(texts, monkeypatch):
    measured = []
    monkeypatch.setattr(suited, "coverage", lambda *given: measured.append(1) or coverage(*given))
    suit(texts)
    assert len(measured) == 1


def test_an_older_run_goes_on_with_the_vocabulary_it_had():
    found = Found(Recipe.make(100, 16), 1).to_dict()
    assert Found.from_dict(found).vocabulary == found.pop("vocabulary") == "usual"
    assert Found.from_dict(found).vocabulary == "usual"


def test_a_person_decides(caplog):
    caplog.set_level(logging.WARNING, "statim")
    assert suit(THAI, start="no-such-folder").vocabulary == "marks"
    assert suit(GERMAN, accents="strip").vocabulary == "usual"
    assert suit(ENGLISH, accents="keep").vocabulary == "marks"
    assert suit(GERMAN, start="random", accents="strip").tokenizer.strips_accents
    assert suit(ENGLISH, start="random", accents="keep").tokenizer.kind == "Unigram"
    assert suit(ENGLISH, start="random").tokenizer.kind == "WordPiece"
    assert not caplog.messages
    assert suit(THAI, start="no-such-folder", accents="strip").vocabulary == "usual"
    assert [line for line in caplog.messages if "does not know 9" in line or "does not know 8" in line]


def test_a_static_model_keeps_its_vocabulary(model, caplog):
    caplog.set_level(logging.WARNING, "statim")
    assert suit(GERMAN, start=model).tokenizer.strips_accents
    assert not caplog.messages
    suit(THAI, start=model)
    assert "does not know" in caplog.text
    with pytest.raises(InputError, match="has a vocabulary of its own"):
        suit(GERMAN, start=model, accents="keep")


@pytest.mark.parametrize(
    ("texts", "first", "second"), [(GERMAN, "schon", "schön"), (RUSSIAN, "мой", "мои"), (THAI, "ไม้", "ไม่")]
)
def test_words_that_differ_by_a_mark_differ(texts, first, second):
    for start in (None, "random"):
        found = train(
            rows(texts), start=start, dim=16, epochs=1, threads=1, heldout=0, development=0, baselines=False
        )
        assert cosine(found.model, first, second) < 0.99
    assert cosine(found.model, "a", "A") == pytest.approx(1)
