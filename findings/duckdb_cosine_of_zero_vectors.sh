#!/usr/bin/env bash
# DuckDB 2.0.1: the cosine similarity of a zero vector is NaN, and NaN sorts as the greatest number. A text without tokens, whose
# vector is zero, is therefore the first row of `ORDER BY similarity DESC`, passes `similarity > 0.9` and makes `max()` NaN.
# By ascending distance it is the last row. One would expect NULL, 0, or the last place in both orders.
#
# Seen:
#   by similarity, descending: [2, 1, 3]     (2 is the zero vector, 1 equals the query)
#   similarity above 0.9: [1, 2]
#   by distance, ascending: [1, 3, 2]
#   the greatest similarity: nan
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check duckdb==2.0.1
"$folder/venv/bin/python" - <<'P'
import math

import duckdb

print("duckdb", duckdb.__version__)
db = duckdb.connect()
db.execute("CREATE TABLE t AS SELECT * FROM (VALUES (1, [1, 0]::FLOAT[2]), (2, [0, 0]::FLOAT[2]), (3, [-1, 0]::FLOAT[2])) AS v(id, v)")
query = "[1, 0]::FLOAT[2]"


def ids(statement):
    return [row[0] for row in db.execute(statement).fetchall()]


similar = ids(f"SELECT id FROM t ORDER BY array_cosine_similarity(v, {query}) DESC")
above = ids(f"SELECT id FROM t WHERE array_cosine_similarity(v, {query}) > 0.9 ORDER BY id")
near = ids(f"SELECT id FROM t ORDER BY array_cosine_distance(v, {query})")
(greatest,) = ids(f"SELECT max(array_cosine_similarity(v, {query})) FROM t")
print("by similarity, descending:", similar)
print("similarity above 0.9:", above)
print("by distance, ascending:", near)
print("the greatest similarity:", greatest)
assert (similar, above, near) == ([2, 1, 3], [1, 2], [1, 3, 2]) and math.isnan(greatest)
P
