"""A dozen columns that change on their way through careless readers: two documents, what they say, and what
must come back.
"""

TEXTS = ("river boat", "storm night")

# name: the first document's value, the last one's, and both as every reader, store and verb must give them.
# MISSING: the row does not have the column at all.
MISSING = object()
BIG = 2**60 + 1
COLUMNS = {
    "leading_zeros": (7, "007", "7", "007"),
    "only_text": ("007", "8", "007", "8"),
    "hex": (31, "0x1F", "31", "0x1F"),
    "exponent": (7, "1e3", "7", "1e3"),
    "nan": (1.5, "nan", "1.5", "nan"),
    "big": (1.5, BIG, "1.5", str(BIG)),
    "big_alone": (BIG, 7, BIG, 7),
    "beyond": (1, 2**64, "1", str(2**64)),
    "truth": (True, 5, "true", "5"),
    "truth_late": (1.5, True, "1.5", "true"),
    "late": (MISSING, "x", None, "x"),
    "nested": ({"a": 1}, {"a": 1, "b": "x"}, {"a": 1, "b": None}, {"a": 1, "b": "x"}),
    "nested_differs": ({"a": 1}, {"a": "x"}, '{"a": 1}', '{"a": "x"}'),
    "empty_first": (None, 7, None, 7),
    "dates": ("2020-01-01", "x", "2020-01-01", "x"),
    "tags": ([], ["x"], [], ["x"]),
    "tags_differ": ([1], ["x"], "[1]", '["x"]'),
    "year": (1990, 1990.5, 1990.0, 1990.5),
    "whole": (7654321.0, "x", "7654321", "x"),
    "digits": (0.1, 1e-7, 0.1, 1e-7),
}
ROWS = [
    {"id": name, "text": text} | {
        column: values[place] for column, values in COLUMNS.items() if values[place] is not MISSING
    }
    for place, (name, text) in enumerate(zip(("first", "last"), TEXTS, strict=True))
]  # fmt: skip
EXPECTED = [{name: values[2 + place] for name, values in COLUMNS.items()} for place in range(2)]
