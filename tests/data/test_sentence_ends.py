"""Where sentences end, in several scripts."""

import pytest

from statim.data.documents.passages import sentences


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("One. Two? three 3.5 x. Four", ["One.", "Two? three 3.5 x.", "Four"]),
        (
            "これは本です。彼は「行く。」と言った！次",
            ["これは本です。", "彼は「行く。」", "と言った！", "次"],
        ),
        ("这是书。那是什么？！好", ["这是书。", "那是什么？！", "好"]),
        ("यह घर है। वह आया॥ हाँ", ["यह घर है।", "वह आया॥", "हाँ"]),
        ("هل جاء؟ نعم. ہاں۔ اچھا", ["هل جاء؟", "نعم.", "ہاں۔", "اچھا"]),
        ("ฉันไปแล้ว เขามา Linux ดี", ["ฉันไปแล้ว", "เขามา Linux ดี"]),
        ("Он ушёл. Она пришла", ["Он ушёл.", "Она пришла"]),
    ],
)
def test_sentences(text, found):
    assert sentences(text) == found
