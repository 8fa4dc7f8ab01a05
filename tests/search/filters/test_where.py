import contextlib

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statim.errors import InputError
from statim.search.filters.conditions import Among, Compare, Every, Not, Some
from statim.search.filters.lance import to_sql
from statim.search.filters.where import read

SCHEMA = pa.schema(
    [("id", pa.string()), ("text", pa.large_string()), ("year", pa.int64()), ("score", pa.float64()),
        ("draft", pa.bool_()),
     ("day", pa.date32()), ("tags", pa.list_(pa.string())), ("in`side", pa.string())]
)  # fmt: skip


def test_precedence():
    found = read("year=1 or not year = 2 and (draft or id in ('a'))", SCHEMA)
    inner = Some((Compare("draft", "=", True), Among("id", ("a",))))
    assert found == Some((Compare("year", "=", 1), Every((Not(Compare("year", "=", 2)), inner))))


def test_values_are_escaped():
    assert to_sql(read("id = 'x'' or ''1'", SCHEMA)) == "(`id` = 'x'' or ''1')"
    assert to_sql(read("\"in`side\" = '`'", SCHEMA)) == "(`in``side` = '`')"


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("", "at the end"),
        ("year >", "at the end"),
        ("year > 2020 source", "at 'source'"),
        ("year > 'x'", "holds numbers, with 'x'; compare it with a number"),
        ("id > 3", "holds text, with 3; compare it with '3'"),
        ("draft = 1", "holds true or false"),
        ("id = true", "with true"),
        ("colour = 1", "column 'colour'.* they have id, text, year"),
        ("tags = 'x'", "holds list"),
        ("day > 'yesterday'", "2024-12-31"),
        ("year like 'x%'", "only texts can be"),
        ("id like 'x\\'", "lone backslash"),
        ("year in ()", "expected"),
        ("year in (1", "'\\)' is expected"),
        ("year between 1", "'and' is expected"),
        ("(year = 1", "'\\)' is expected"),
        ("year = 1; drop table x", "cannot be read"),
        ("year = 1 -- x", "cannot be read"),
        ("id = 'x", "cannot be read"),
        ("year = 99999999999999999999", "too large"),
        ("year = 12x", "cannot be read"),
        ("year not = 3", "a comparison is expected"),
        ("year is 3", "'null' is expected"),
        ("(" * 200 + "year = 1" + ")" * 200, "parentheses"),
        ("not " * 200 + "year = 1", "parentheses"),
        ("year = 1 or " * 2000 + "year = 1", "characters"),
        (3, "type int"),
    ],
)
def test_bad_conditions(condition, message):
    with pytest.raises(InputError, match=message) as caught:
        read(condition, SCHEMA)
    assert "\n" not in str(caught.value)


@given(
    st.lists(
        st.sampled_from(
            [
                "year",
                "id",
                "and",
                "or",
                "not",
                "(",
                ")",
                "=",
                "<",
                "in",
                "like",
                "is",
                "null",
                "between",
                "1",
                "'a'",
                "2.5",
                ",",
                "true",
                "draft",
                "\\",
                "é",
            ]
        ),
        max_size=12,
    ).map(" ".join)
)
def test_any_words(condition):
    """Whatever is given is read or refused."""
    with contextlib.suppress(InputError):
        to_sql(read(condition, SCHEMA))


@given(st.text(max_size=20).filter(lambda value: "\0" not in value))
def test_any_text_is_one_value(value):
    doubled = value.replace("'", "''")
    assert read(f"id = '{doubled}'", SCHEMA) == Compare("id", "=", value)
