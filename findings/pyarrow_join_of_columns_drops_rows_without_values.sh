#!/usr/bin/env bash
# pyarrow 26.0.1: `binary_join_element_wise` joins the columns of a table row by row, and null_handling="skip" leaves nulls out of a
# row. A row in which all columns are null has no value in the result at all, not an empty one and not null: four rows give three
# values, each in the place of another row. One would expect a compute function on columns to keep the number of rows, since its
# result goes back into the table; where a table has such a row, the texts of all later rows move up by one.
#
# Seen:
#   4 rows in, 3 values out: ['x-1', '2', 'y']
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pyarrow==26.0.1
"$folder/venv/bin/python" - <<'P'
import pyarrow as pa
import pyarrow.compute as pc

print("pyarrow", pa.__version__)
subject = pa.array(["x", None, None, "y"])
body = pa.array(["1", "2", None, None])
joined = pc.binary_join_element_wise(subject, body, "-", null_handling="skip")
print(len(subject), "rows in,", len(joined), "values out:", joined.to_pylist())
assert joined.to_pylist() == ["x-1", "2", "y"]
P
