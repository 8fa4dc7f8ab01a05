#!/usr/bin/env bash
# LanceDB 0.40.0: under cosine distance a row whose vector is zero is never returned, even where the limit has room for every row
# and no index exists, and a query of zeros returns nothing. Under L2 all rows come back. A limit is therefore no promise of as
# many rows, and a count of answers does not count documents.
#
# Seen:
#   cosine, limit 3 of 3 rows: [0, 2]        (1 is the zero vector)
#   l2, limit 3 of 3 rows: [0, 1, 2]
#   cosine, a query of zeros: []
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check lancedb==0.40.0
"$folder/venv/bin/python" - "$folder/db" <<'P'
import sys

import lancedb

print("lancedb", lancedb.__version__)
rows = [{"id": i, "vector": vector} for i, vector in enumerate([[1.0, 0.0], [0.0, 0.0], [-1.0, 0.0]])]
table = lancedb.connect(sys.argv[1]).create_table("t", rows)


def ids(query, distance):
    return [row["id"] for row in table.search(query).distance_type(distance).limit(3).to_list()]


cosine, l2, nothing = ids([1.0, 0.0], "cosine"), ids([1.0, 0.0], "l2"), ids([0.0, 0.0], "cosine")
print("cosine, limit 3 of 3 rows:", cosine)
print("l2, limit 3 of 3 rows:", l2)
print("cosine, a query of zeros:", nothing)
assert (cosine, l2, nothing) == ([0, 2], [0, 1, 2], [])
P
