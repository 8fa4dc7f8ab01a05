"""Conditions in the SQL that LanceDB reads."""

import datetime

from statim.search.filters.conditions import Among, Compare, Condition, Every, Like, Missing, Not, Value


def to_sql(condition: Condition) -> str:
    """A condition in LanceDB's SQL; quotes in values and names are doubled."""
    if isinstance(condition, Not):
        return f"(NOT {to_sql(condition.part)})"
    if isinstance(condition, Missing):
        return f"({_name(condition.column)} IS NULL)"
    if isinstance(condition, Among):
        return f"({_name(condition.column)} IN ({', '.join(map(_literal, condition.values))}))"
    if isinstance(condition, Like):
        return f"({_name(condition.column)} LIKE {_literal(condition.pattern)})"
    if isinstance(condition, Compare):
        return f"({_name(condition.column)} {condition.op} {_literal(condition.value)})"
    word = " AND " if isinstance(condition, Every) else " OR "
    return f"({word.join(map(to_sql, condition.parts))})"


def _name(column: str) -> str:
    return "`" + column.replace("`", "``") + "`"


def _literal(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, datetime.datetime):
        return f"timestamp '{value.isoformat(sep=' ')}'"
    return f"date '{value.isoformat()}'" if isinstance(value, datetime.date) else repr(value)
