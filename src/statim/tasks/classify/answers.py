"""What a classifier says of texts, as an Arrow table."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from statim.data.documents.beside import behind
from statim.data.files import columns, unify
from statim.tasks.classify.classify import Classifier
from statim.tasks.classify.inputs import BLOCK


def schema(classifier: Classifier, top: int) -> pa.Schema:
    """The columns of ``answers``."""
    label = pa.list_(pa.string()) if classifier.several else pa.string()
    fields = [("text", pa.large_string()), ("label", label)]
    if not classifier.several:
        fields.append(("probability", pa.float32()))
    if top > 1:
        fields += [("labels", pa.list_(pa.string())), ("probabilities", pa.list_(pa.float32()))]
    elif classifier.several:
        fields.append(("probabilities", pa.list_(pa.float32())))
    return pa.schema(fields)


def answers(
    classifier: Classifier, texts: pa.LargeStringArray, top: int, *, threads: int | None = None
) -> pa.Table:
    """The label of each of n texts (with several labels: those likelier than not) and its probability.

    With ``top`` above 1 also the ``top`` likeliest ``labels`` and their ``probabilities``.
    """
    found = classifier.probabilities(texts, threads=threads)
    told = classifier.told(found)
    columns: dict[str, object] = {"text": texts, "label": told}
    if not classifier.several:
        columns["probability"] = found.max(axis=1)
    if top > 1:
        order = np.argsort(-found, axis=1, kind="stable")[:, :top]
        columns["labels"] = [[classifier.labels[place] for place in row] for row in order]
        columns["probabilities"] = np.take_along_axis(found, order, 1).tolist()
    elif classifier.several:
        falling = -np.sort(-found, axis=1, kind="stable")
        columns["probabilities"] = [
            row[: len(some)].tolist() for row, some in zip(falling, told, strict=True)
        ]
    return pa.table(columns, schema(classifier, top))


def described(
    classifier: Classifier,
    rows: Iterable[pa.Table],
    top: int,
    schema: pa.Schema | None = None,
    *,
    threads: int | None = None,
) -> Iterator[pa.Table]:
    """Answers with all other columns of the rows behind them, BLOCK rows at a time at most.

    Args:
        classifier: Answers.
        rows: Tables with a column ``text``, and others.
        top: As in ``answers``.
        schema: The columns of all rows; by default each table's own.
        threads: Threads to use.

    Raises:
        MisfitError: A row does not fit ``schema``.
    """
    start = 0
    for table in rows:
        whole = table if schema is None else unify.fitted(table, schema, start)
        start += len(table)
        for first in range(0, len(whole), BLOCK):
            some = whole.slice(first, BLOCK)
            texts = columns.flat(some.column("text"))
            yield behind(answers(classifier, texts, top, threads=threads), some.drop_columns(["text"]))
