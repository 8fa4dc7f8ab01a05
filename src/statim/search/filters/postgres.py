"""Conditions in PostgreSQL's SQL, with the values apart."""

from typing import Any

from statim.search.filters.conditions import Among, Compare, Condition, Every, Like, Missing, Not


def composed(condition: Condition | None, sql: Any, values: list[Any]) -> Any:
    """A condition (see where.py), or that of all documents.

    Args:
        condition: The condition.
        sql: The module psycopg.sql.
        values: Its values are appended to these.
    """
    if condition is None:
        return sql.SQL("true")
    if isinstance(condition, Not):
        return sql.SQL("(NOT {})").format(composed(condition.part, sql, values))
    if not isinstance(condition, (Compare, Among, Like, Missing)):
        word = " AND " if isinstance(condition, Every) else " OR "
        return sql.SQL("({})").format(sql.SQL(word).join([composed(p, sql, values) for p in condition.parts]))
    column = sql.Identifier(condition.column)
    if isinstance(condition, Missing):
        return sql.SQL("({} IS NULL)").format(column)
    if isinstance(condition, Like):
        values.append(condition.pattern)
        return sql.SQL("({} LIKE %s)").format(column)
    if isinstance(condition, Among):
        parts = [composed(Compare(condition.column, "=", value), sql, values) for value in condition.values]
        return sql.SQL("({})").format(sql.SQL(" OR ").join(parts))
    values.append(condition.value)
    order = ' COLLATE "C"' if isinstance(condition.value, str) else ""
    return sql.SQL(f"({{}} {condition.op} %s{order})").format(column)
