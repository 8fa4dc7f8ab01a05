"""Pairs of texts as a person sees them."""

import pytest

from statim.tasks.duplicates.duplicates import find_duplicates
from statim.tasks.similarity.differences import SHOWN, differences

SAME = " ".join(f"w{i}" for i in range(40))


BOTH = "w0 w1 w2 w3 w4 … w35 w36 w37 w38 w39"


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("a b c", "a x c", ("a [b] c", "a [x] c")),
        ("a b", "a b c", ("a b", "a b [c]")),
        ("a\n b", "a b", ("a b", "a b")),
        ("", "a", ("", "[a]")),
        ("a", "b", ("[a]", "[b]")),
        (
            f"{SAME} end of it",
            f"{SAME} end of that",
            ("… w38 w39 end of [it]".replace("w38", "w37 w38"), "… w37 w38 w39 end of [that]"),
        ),
        (
            f"first {SAME} last",
            f"other {SAME} one",
            (
                "[first] w0 w1 w2 w3 w4 … w35 w36 w37 w38 w39 [last]",
                "[other] w0 w1 w2 w3 w4 … w35 w36 w37 w38 w39 [one]",
            ),
        ),
    ],
)
def test_what_differs_is_between_brackets(one, other, expected):
    assert differences(one, other) == expected


def test_long_texts_are_cut():
    for shown in differences("a " * 50_000, "b " * 50_000):
        assert len(shown) == SHOWN
        assert shown.endswith("…")
    first, second = differences(SAME, SAME)
    assert first == second == SAME


def test_a_difference_far_behind_is_seen():
    import numpy as np

    texts = [f"{SAME} {SAME} the invoice of May", f"{SAME} {SAME} the invoice of June"]
    printed = str(find_duplicates(texts, vectors=np.array([[1, 0.1], [1, 0.12]], np.float32)))
    assert "invoice of [May]" in printed
    assert "invoice of [June]" in printed
