"""How many of what, in words."""

import pytest

from statim.counted import counted


@pytest.mark.parametrize(
    ("number", "things", "words"),
    [
        (0, "documents", "0 documents"), (1, "documents", "1 document"), (2_000, "rows", "2,000 rows"),
        (1, "queries", "1 query"), (1, "bad rows", "1 bad row"), (3, "queries", "3 queries"),
    ],
)  # fmt: skip
def test_one_is_singular(number, things, words):
    assert counted(number, things) == words
