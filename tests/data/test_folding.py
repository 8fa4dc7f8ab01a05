"""Texts that are equal but for case and white space have one number."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from statim.data.dedup import folding
from statim.data.dedup.folding import numbered


def column(texts):
    return pa.array(texts, pa.large_string())


def test_case_and_space_do_not_count():
    same = [
        "Use sorted",
        "use  SORTED",
        " use\tsorted\n",
        "use\u00a0sorted",
        "USE\u3000\u2009sorted",
        "use \x85sorted\u2028",
    ]
    other = ["usesorted", "use sorted.", "", "ÜSE sorted", "use sorted 漢", "use\u200bsorted"]
    first, second = numbered(column([*same, *other, " "]), column(["üse SORTED", "new", *same[:2]]))
    assert first.tolist() == [0] * len(same) + [1, 2, 3, 4, 5, 6, 3]
    assert second.tolist() == [4, 7, 0, 0]


@given(st.lists(st.text("aAbB \t\u00a0\u3000éÉ漢\u2028", max_size=8), max_size=40), st.integers(1, 9))
def test_as_python_folds(texts, block):
    before, folding.BLOCK = folding.BLOCK, block
    try:
        (found,) = numbered(column(texts))
    finally:
        folding.BLOCK = before
    known = {}
    expected = [known.setdefault(" ".join(text.lower().split()), len(known)) for text in texts]
    assert np.array_equal(found, expected)
