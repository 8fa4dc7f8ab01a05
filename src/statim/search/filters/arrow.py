"""Conditions as Arrow has them."""

import pyarrow.compute as pc

from statim.search.filters.conditions import Among, Compare, Condition, Every, Like, Missing, Not


def expression(condition: Condition) -> pc.Expression:
    """A condition (see where.py) on the columns of a table."""
    if isinstance(condition, Not):
        return ~expression(condition.part)
    if isinstance(condition, Missing):
        return pc.field(condition.column).is_null()
    if isinstance(condition, Among):
        alike = [expression(Compare(condition.column, "=", value)) for value in condition.values]
        return _joined(alike, "or")
    if isinstance(condition, Like):
        return pc.match_like(pc.field(condition.column), condition.pattern)
    if isinstance(condition, Compare):
        left, right = pc.field(condition.column), pc.scalar(condition.value)
        if condition.op == "=":
            return left == right
        if condition.op == "!=":
            return left != right
        if condition.op == "<":
            return left < right
        if condition.op == "<=":
            return left <= right
        return left > right if condition.op == ">" else left >= right
    parts = [expression(part) for part in condition.parts]
    return _joined(parts, "and" if isinstance(condition, Every) else "or")


def _joined(parts: list[pc.Expression], word: str) -> pc.Expression:
    """Joined two and two, so that a long list is not deep."""
    while len(parts) > 1:
        pairs = zip(parts[::2], parts[1::2], strict=False)
        joined = [a & b if word == "and" else a | b for a, b in pairs]
        parts = joined + parts[len(joined) * 2 :]
    return parts[0]
