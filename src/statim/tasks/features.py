"""Vectors as columns: fixed-size Arrow arrays, and through them pandas, Polars and DuckDB.

The numbers are not copied where the other side holds them as Arrow does: one buffer, one vector after the
other.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from statim.data.files import columns, tables, unify
from statim.data.files.bad_rows import BadRows, skipping
from statim.errors import InputError
from statim.model import StaticModel, as_model

NAME = "vector"
ROWS = 1 << 14  # texts encoded together

Vectors = npt.NDArray[Any]


def to_arrow(vectors: Vectors) -> pa.FixedSizeListArray:
    """Vectors (n, d) as an Arrow column of lists of d numbers, over the same memory if that is contiguous.

    Raises:
        InputError: It is no matrix of numbers.
    """
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu" or vectors.shape[1] == 0:
        raise InputError(
            f"vectors are {vectors.dtype} of shape {vectors.shape}; they must be numbers of shape (n, d)"
        )
    flat = np.ascontiguousarray(vectors).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), vectors.shape[1])


def to_numpy(column: Any) -> Vectors:
    """A column of vectors as a matrix (n, d), sharing memory if it is one fixed-size Arrow list.

    Args:
        column: An Arrow array, or a column of pandas, Polars or DuckDB: of lists of fixed size, or of lists
            of one length.

    Raises:
        InputError: A vector or a number is missing, the lengths differ, or it is no column of vectors.
    """
    array = _arrow(column)
    if pa.types.is_fixed_size_list(array.type):
        dim = array.type.list_size
    elif pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        dim = len(array[0]) if len(array) and array[0].is_valid else 0
    else:
        raise InputError(f"the column holds {array.type}; it must hold vectors, that is lists of numbers")
    if array.null_count:
        raise InputError(
            f"row {int(np.argmax(np.asarray(array.is_null())))} has no vector; every row must have one"
        )
    if not pa.types.is_fixed_size_list(array.type):
        sizes = np.diff(np.asarray(array.offsets))
        if (sizes != dim).any():
            row = int(np.argmax(sizes != dim))
            raise InputError(
                f"row {row} has {sizes[row]} numbers where the first has {dim}; all must have as many"
            )
    numbers = array.flatten()  # heeds where a slice begins
    if numbers.null_count:
        raise InputError(
            f"row {int(np.argmax(np.asarray(numbers.is_null()))) // max(1, dim)} has a missing number; "
            "none may be"
        )
    if not (pa.types.is_floating(numbers.type) or pa.types.is_integer(numbers.type)):
        raise InputError(f"the column holds lists of {numbers.type}; they must be lists of numbers")
    return np.asarray(numbers).reshape(len(array), dim)


def encode_column(
    model: StaticModel | str | Path | None, texts: Any, *, threads: int | None = None, **ways: Any
) -> pa.FixedSizeListArray:
    """A column of texts as a column of vectors; a missing text has none.

    Args:
        model: Makes the vectors: a model, or where one is; None takes the bundled ``"english"``.
        texts: An Arrow array, a column of pandas or Polars, or a list of str and None.
        threads: Threads to use.
        ways: As for ``StaticModel.encode``: dim, normalize, dtype.

    Raises:
        InputError: It is no column of texts, or an option is out of range.
    """
    array, model = _arrow(texts), as_model(model)
    if not columns.is_text(array.type):
        raise InputError(f"the column holds {array.type}; it must hold texts")
    missing = np.asarray(array.is_null()) if array.null_count else None
    whole = (
        array if missing is None else columns.flat(array).fill_null("")
    )  # not every kind of text can be filled
    vectors = model.encode(whole, threads=threads, **ways)
    found = to_arrow(vectors)
    if missing is None:
        return found
    return pa.FixedSizeListArray.from_arrays(found.values, vectors.shape[1], mask=pa.array(missing))


def add_vectors(
    frame: Any,
    model: StaticModel | str | Path | None,
    column: str | None = None,
    *,
    name: str = NAME,
    threads: int | None = None,
    **ways: Any,
) -> Any:
    """The same kind of frame with one more column, of vectors.

    Args:
        frame: A pandas or Polars data frame, an Arrow table, or a DuckDB relation (which becomes an Arrow
            table).
        model: Makes the vectors: a model, or where one is; None takes the bundled ``"english"``.
        column: The column of texts; guessed by default.
        name: What the new column is called; one of that name is replaced.
        threads: Threads to use.
        ways: As for ``StaticModel.encode``: dim, normalize, dtype.

    Returns:
        A copy with the column: ``pandas.ArrowDtype`` in pandas, ``Array`` in Polars, a list of fixed size in
            Arrow.

    Raises:
        DataError: The column is not there, or it cannot be told which it is.
        InputError: It is no frame, no column of texts, or an option is out of range.
    """
    model, kind = as_model(model), type(frame).__module__.split(".")[0]
    if kind == "pandas":
        import pandas as pd  # type: ignore[import-untyped]

        chosen = _text_of([str(label) for label in frame.columns], column)
        found = encode_column(model, frame[chosen], threads=threads, **ways)
        return frame.assign(**{name: pd.Series(pd.array(found, pd.ArrowDtype(found.type)), frame.index)})
    if kind == "polars":
        import polars as pl

        if not isinstance(frame, pl.DataFrame):
            raise InputError("a lazy frame has no rows yet; collect it first, or use polars_expression")
        chosen = _text_of(frame.columns, column)
        found = encode_column(model, frame[chosen], threads=threads, **ways)
        return frame.with_columns(pl.Series(name, pl.from_arrow(found)))
    if not hasattr(frame, "__arrow_c_stream__"):
        raise InputError(
            f"frame is of type {type(frame).__name__}; give a pandas or Polars frame, an Arrow table "
            "or a DuckDB relation"
        )
    table = pa.table(frame)
    chosen = _text_of(table.column_names, column)
    found = encode_column(model, table.column(chosen), threads=threads, **ways)
    kept = table.drop_columns([name]) if name in table.column_names else table
    return kept.append_column(name, found)


def polars_expression(model: StaticModel | str | Path | None, column: str, **ways: Any) -> Any:
    """An expression for Polars that turns a column of texts into vectors, in lazy frames too."""
    import polars as pl

    loaded = as_model(model)
    width = loaded.encode([], **ways).shape[1]
    inner = pl.Series(loaded.encode([""], **ways)[0]).dtype

    def encode(series: Any) -> Any:
        return pl.Series(
            series.name, pl.from_arrow(encode_column(loaded, series, **ways)), pl.Array(inner, width)
        )

    return pl.col(column).map_batches(encode, return_dtype=pl.Array(inner, width))


def register_duckdb(
    connection: Any, model: StaticModel | str | Path | None, name: str = "embed", *, dim: int | None = None
) -> None:
    """Register a function from texts to vectors, ``FLOAT[d]``, in DuckDB; it gets whole Arrow columns.

    >>> register_duckdb(connection, model)
    >>> connection.sql("select id from docs order by array_cosine_distance(vector, embed('sorting')) limit 3")

    Args:
        connection: A DuckDB connection.
        model: Makes the vectors: a model, or where one is; None takes the bundled ``"english"``. Without a
            text (NULL) there is none.
        name: What the function is called in SQL; one of that name, made here, is replaced.
        dim: Keep only the first dimensions.

    Raises:
        InputError: ``dim`` is larger than the model's.
    """
    import duckdb

    loaded = as_model(model)
    width = loaded.encode([], dim=dim).shape[1]

    def embed(texts: Any) -> Any:
        return encode_column(loaded, texts, dim=dim)

    with contextlib.suppress(duckdb.Error):  # there is none of that name
        connection.remove_function(name)
    connection.create_function(
        name, embed, ["VARCHAR"], f"FLOAT[{width}]", type="arrow", null_handling="special", side_effects=False
    )


def with_vectors(
    model: StaticModel | str | Path | None,
    source: Any,
    column: str | None = None,
    *,
    name: str = NAME,
    schema: pa.Schema | None = None,
    skip_bad: str | Path | BadRows | None = None,
    threads: int | None = None,
    **ways: Any,
) -> Iterator[pa.Table]:
    """The rows of a file, all columns and one of vectors, a bounded number at a time.

    Args:
        model: Makes the vectors: a model, or where one is; None takes the bundled ``"english"``.
        source: A file.
        column: The column of texts; guessed by default.
        name: What the new column is called; one of that name is replaced.
        schema: The columns of all rows; by default those of the first.
        skip_bad: A file for rows that cannot be read, which are left out (see
            ``data.files.bad_rows.skipping``); by default the first is refused.
        threads: Threads to use.
        ways: As for ``StaticModel.encode``: dim, normalize, dtype.

    Raises:
        MisfitError: A later row does not fit; ``unify.settled`` finds a schema that all fit.
        DataError: The file cannot be read, or the column is not there.
        InputError: The column holds no texts.
    """
    loaded, chosen, row = as_model(model), None, 0
    with skipping(skip_bad) as bad:
        for table in tables.tables(source, bad):
            schema = schema or table.schema
            chosen = chosen or _text_of(schema.names, column, tables.label(source))
            whole = unify.fitted(table, schema, row)
            row += len(table)
            for start in range(0, len(whole), ROWS):
                yield add_vectors(
                    whole.slice(start, ROWS), loaded, chosen, name=name, threads=threads, **ways
                )


def _arrow(column: Any) -> pa.Array:
    """A column as one Arrow array; pieces are joined, which copies, and one piece is not."""
    if isinstance(column, pa.Array):
        array = column
    elif isinstance(column, pa.ChunkedArray):
        array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    elif hasattr(column, "to_arrow") and not hasattr(column, "iloc"):  # Polars
        array = column.to_arrow()
    elif hasattr(column, "__arrow_c_array__") or hasattr(column, "__arrow_array__"):
        array = pa.array(column)
    else:
        try:
            array = (
                pa.array(column.array, from_pandas=True)
                if hasattr(column, "iloc")
                else pa.array(list(column))
            )
        except (pa.ArrowException, TypeError) as error:
            raise InputError(
                f"a {type(column).__name__} is no column of one kind ({str(error)[:80]})"
            ) from None
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks == 1 else array.combine_chunks()
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def _text_of(names: list[str], column: str | None, where: str = "the frame") -> str:
    return columns.pick(names, "text", column, columns.TEXT, where)
