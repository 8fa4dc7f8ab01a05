"""Filters: conditions on the columns of documents, in the words of SQL.

    year > 2020 and (source = 'faq' or title like 'How%')
    lang in ('en', 'de') and not draft and tag is not null

Comparisons (= != <> < <= > >=), between, in, like (% for any characters, _ for one, a backslash before
either), is null, and, or, not, parentheses; numbers, 'texts' (a quote in one is doubled), true and false. A
column is named as it is, or in double quotes (one inside of them is doubled). Conditions have the three
values of SQL: one about a missing value is neither true nor false, and the document is not found. Texts
compare by their characters' numbers. A condition is read and checked against the columns here; each store
says it in its own language, with the values apart or escaped, so nothing in a condition is ever run.
"""

import datetime
import math
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from statim.errors import InputError
from statim.search.filters.conditions import Among, Compare, Condition, Every, Like, Missing, Not, Some, Value

if TYPE_CHECKING:
    import pyarrow as pa

DEPTH = 100  # parentheses and nots inside of each other
LONGEST = 10_000  # characters


_TOKEN = re.compile(
    r"""\s*(?:(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?!\w)
        |(?P<text>'(?:[^']|'')*')
        |(?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`)
        |(?P<name>[^\W\d]\w*)
        |(?P<op><=|>=|<>|!=|==|[=<>(),]))""",
    re.VERBOSE,
)
_KEYWORDS = {"and", "or", "not", "in", "like", "between", "is", "null", "true", "false"}
_OPS = {"==": "=", "<>": "!="}
HELP = "write it like year > 2020 and source = 'faq'"


def read(text: str, schema: "pa.Schema") -> Condition:
    """The condition that a text states, checked against the columns.

    Raises:
        InputError: It is no condition, names a column that is not there, or compares it with a value of
            another type.
    """
    if not isinstance(text, str):
        raise InputError(f"where is of type {type(text).__name__}; {HELP}")
    if len(text) > LONGEST:
        raise InputError(f"the filter has {len(text):,} characters; {LONGEST:,} at most are read")
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InputError(f"the filter holds bytes that are not UTF-8 (or half characters); {HELP}")
    return _Reader(text, schema).whole()


class _Reader:
    """Recursive descent, one method a level: or, and, not, a single comparison."""

    def __init__(self, text: str, schema: "pa.Schema") -> None:
        self._text, self._schema = text, schema
        self._tokens = list(self._cut())
        self._at = 0

    def _cut(self) -> Iterator[tuple[str, str]]:
        place, end = 0, len(self._text.rstrip())
        while place < end:
            found = _TOKEN.match(self._text, place)
            if found is None:
                raise self._wrong(f"{self._text[place:].strip()[:30]!r} cannot be read")
            kind = str(found.lastgroup)
            value = found[kind]
            if kind == "name" and value.lower() in _KEYWORDS:
                kind, value = "word", value.lower()
            yield kind, value
            place = found.end()

    def _wrong(self, why: str) -> InputError:
        return InputError(f"the filter {self._text[:100]!r} is not understood: {why}; {HELP}")

    def _take(self, *wanted: str) -> str | None:
        """The next token if it is one of these words or signs, which is then passed."""
        if self._at < len(self._tokens):
            kind, value = self._tokens[self._at]
            if kind in ("word", "op") and value in wanted:
                self._at += 1
                return value
        return None

    def _need(self, wanted: str) -> None:
        if self._take(wanted) is None:
            raise self._wrong(f"{wanted!r} is expected {self._here()}")

    def _here(self) -> str:
        return f"at {self._tokens[self._at][1][:30]!r}" if self._at < len(self._tokens) else "at the end"

    def whole(self) -> Condition:
        found = self._some(0)
        if self._at < len(self._tokens):
            raise self._wrong(f"nothing is expected {self._here()}")
        return found

    def _some(self, depth: int) -> Condition:
        parts = [self._every(depth)]
        while self._take("or"):
            parts.append(self._every(depth))
        return Some(tuple(parts)) if len(parts) > 1 else parts[0]

    def _every(self, depth: int) -> Condition:
        parts = [self._not(depth)]
        while self._take("and"):
            parts.append(self._not(depth))
        return Every(tuple(parts)) if len(parts) > 1 else parts[0]

    def _not(self, depth: int) -> Condition:
        if depth > DEPTH:
            raise self._wrong(f"more than {DEPTH} parentheses lie inside of each other")
        if self._take("not"):
            return Not(self._not(depth + 1))
        if self._take("("):
            found = self._some(depth + 1)
            self._need(")")
            return found
        return self._single()

    def _single(self) -> Condition:
        name = self._column()
        if self._take("is"):
            negated = self._take("not") is not None
            self._need("null")
            return Not(Missing(name)) if negated else Missing(name)
        family = self._family(name)
        negated = self._take("not") is not None
        made: Condition
        if self._take("in"):
            self._need("(")
            values = [self._value(name, family)]
            while self._take(","):
                values.append(self._value(name, family))
            self._need(")")
            made = self._among(name, values)
        elif self._take("like"):
            made = Like(name, self._pattern(name, family))
        elif self._take("between"):
            low = self._compare(name, ">=", self._value(name, family))
            self._need("and")
            made = Every((low, self._compare(name, "<=", self._value(name, family))))
        elif not negated and (op := self._take("=", "==", "!=", "<>", "<", "<=", ">", ">=")):
            made = self._compare(name, _OPS.get(op, op), self._value(name, family))
        elif not negated and family == "true or false":
            made = Compare(name, "=", True)
        else:
            raise self._wrong(f"a comparison is expected {self._here()}")
        return Not(made) if negated else made

    def _compare(self, name: str, op: str, value: Value) -> Condition:
        """A comparison, of whole numbers only with whole numbers."""
        if not isinstance(value, float) or not self._is_whole(name):
            return Compare(name, op, value)
        floor = math.floor(value)
        if value == floor:
            return Compare(name, op, floor)
        if op in ("=", "!="):
            never = Every((Compare(name, "=", 0), Compare(name, "=", 1)))  # or unknown, as it must be
            return never if op == "=" else Not(never)
        return Compare(name, "<=" if op[0] == "<" else ">", floor)

    def _among(self, name: str, values: list[Value]) -> Condition:
        if self._is_whole(name):
            whole = [
                int(value) for value in values if isinstance(value, (int, float)) and value == int(value)
            ]
            return Among(name, tuple(whole)) if whole else self._compare(name, "=", 0.5)
        return Among(name, tuple(values))

    def _is_whole(self, name: str) -> bool:
        import pyarrow.types as types

        return bool(types.is_integer(self._schema.field(name).type))

    def _column(self) -> str:
        kind, value = self._tokens[self._at] if self._at < len(self._tokens) else ("", "")
        if kind not in ("name", "quoted"):
            raise self._wrong(f"the name of a column is expected {self._here()}")
        name = value[1:-1].replace(2 * value[0], value[0]) if kind == "quoted" else value
        if name not in self._schema.names:
            raise InputError(
                f"the filter names the column {name!r}, which the documents do not have; they have "
                f"{', '.join(self._schema.names)}"
            )
        self._at += 1
        return name

    def _family(self, name: str) -> str:
        family = family_of(self._schema.field(name).type)
        if family is None:
            raise InputError(
                f"the filter compares the column {name!r}, which holds {self._schema.field(name).type}; "
                "numbers, texts, dates and booleans can be compared, others can be null or not"
            )
        return family

    def _literal(self) -> bool | int | float | str:
        kind, value = self._tokens[self._at] if self._at < len(self._tokens) else ("", "")
        self._at += 1
        if kind == "text":
            return value[1:-1].replace("''", "'")
        if kind == "number":
            number = float(value) if re.search(r"[.eE]", value) else int(value)
            if abs(number) >= 2**63:
                raise self._wrong(f"the number {value} is too large")
            return number
        if value in ("true", "false"):
            return value == "true"
        self._at -= 1
        raise self._wrong(f"a number, a 'text', true or false is expected {self._here()}")

    def _value(self, name: str, family: str) -> Value:
        value = self._literal()
        given = {bool: "true or false", str: "text"}.get(type(value), "numbers")
        if family == "dates" and isinstance(value, str):
            return self._moment(name, value)
        if given != family:
            said = f"'{value}'" if isinstance(value, str) else str(value).lower()
            mend = {"text": f"'{value}'", "numbers": "a number", "dates": "'2024-12-31'"}.get(
                family, "true or false"
            )
            raise InputError(
                f"the filter compares the column {name!r}, which holds {family}, with {said}; compare "
                f"it with {mend}"
            )
        if isinstance(value, str) and "\0" in value:
            raise self._wrong("a text holds the character NUL")
        return float(value) if family == "numbers" and not self._is_whole(name) else value

    def _moment(self, name: str, value: str) -> Value:
        kind = str(self._schema.field(name).type)
        try:
            if kind.startswith("date"):
                return datetime.date.fromisoformat(value)
            found = datetime.datetime.fromisoformat(value)
        except ValueError:
            raise InputError(
                f"the filter compares the column {name!r}, which holds dates, with {value!r}; "
                "write a date like '2024-12-31' or a time like '2024-12-31 18:30:00'"
            ) from None
        aware = getattr(self._schema.field(name).type, "tz", None) is not None
        if aware:
            return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)
        return found.astimezone(datetime.UTC).replace(tzinfo=None) if found.tzinfo else found

    def _pattern(self, name: str, family: str) -> str:
        if family != "text":
            raise InputError(
                f"the filter asks what {name!r} is like, which holds {family}; only texts can be"
            )
        pattern = self._value(name, family)
        assert isinstance(pattern, str)
        if re.search(r"(?<!\\)(\\\\)*\\$", pattern):
            raise self._wrong("a pattern ends with a lone backslash")
        return pattern


def family_of(kind: "pa.DataType") -> str | None:
    """What a column of this type holds, as filters tell values apart; None for what cannot be compared."""
    import pyarrow.types as types

    if types.is_dictionary(kind):
        kind = kind.value_type
    tests: dict[str, tuple[Callable[[pa.DataType], bool], ...]] = {
        "true or false": (types.is_boolean,),
        "numbers": (types.is_integer, types.is_floating),
        "text": (types.is_string, types.is_large_string, types.is_string_view),
        "dates": (types.is_date, types.is_timestamp),
    }
    return next((family for family, some in tests.items() if any(test(kind) for test in some)), None)
