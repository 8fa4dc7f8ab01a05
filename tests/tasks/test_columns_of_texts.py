"""Everything that takes texts takes them as ``StaticModel.encode`` does, and tells tables from columns."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import statim
from statim.data import read_texts
from statim.errors import DataError, InputError
from statim.tasks.embedder import StaticEmbedder
from statim.tasks.recommend.baskets import read_baskets

TEXTS = ["sort the list", "open a file", "run a loop", "sort the list"]
LABELS = ["a", "b", "c", "a"]

COLUMNS = {
    "list": list,
    "tuple": tuple,
    "numpy": np.array,
    "numpy object": lambda texts: np.array(texts, object),
    "arrow": pa.array,
    "arrow chunked": lambda texts: pa.chunked_array([texts[:1], texts[1:]]),
    "arrow view": lambda texts: pa.array(texts, pa.string_view()),
    "arrow dictionary": lambda texts: pa.array(texts).dictionary_encode(),
    "pandas": lambda texts: pd.Series(texts, index=range(9, 9 + len(texts))),
    "pandas object": lambda texts: pd.Series(texts, dtype=object),
    "pandas arrow": lambda texts: pd.Series(texts, dtype=pd.ArrowDtype(pa.string())),
    "polars": pl.Series,
}
STREAMS = {
    "generator": lambda texts: (text for text in texts),
    "dict's values": lambda texts: dict(enumerate(texts)).values(),
}


def built(model, given, path, **options):
    index = statim.Index.build(model, given, path / "index", **options)
    return [hit.text for hit in index.search("sort open run", 9, mode="bm25")]


def added(model, given, path):
    index = statim.Index.build(model, ["zzz"], path / "index", ids=["z"])
    index.add(given, ids=range(len(TEXTS)))
    index.update(TEXTS[:1], ids=np.array([0]))
    return sorted(hit.text for hit in index.search("sort open run", 9, mode="bm25"))


def searched(model, given, path):
    index = statim.Index.build(model, TEXTS, path / "index")
    return [[hit.id for hit in hits] for hits in index.search(given, 2)]


USES = {
    "encode": lambda model, given, _: model.encode(given).tolist(),
    "similarity": lambda model, given, _: model.similarity(given, TEXTS).round(5).tolist(),
    "tokenize": lambda model, given, _: model.tokenize(given).ids.tolist(),
    "Index.build": built,
    "Index.add": added,
    "Index.search": searched,
    "find_duplicates": lambda model, given, _: statim.find_duplicates(given, model,
        threshold=0.9).stays.tolist(),
    "cluster": lambda model, given, _: statim.cluster(given, model, clusters=2).labels.tolist(),
    "classify fit": lambda model, given, _: statim.Classifier.fit(model, given, LABELS,
        head="centroid").predict(TEXTS),
    "classify predict": lambda model, given, _: statim.Classifier.fit(model, TEXTS, LABELS,
        head="centroid").predict(given),
    "embedder": lambda model, given, _: StaticEmbedder(model).fit_transform(given).tolist(),
    "read_texts": lambda model, given, _: pa.concat_arrays(list(read_texts(given))).to_pylist(),
}  # fmt: skip
OF_COLUMNS = ("read_texts",)  # a list there is one of files
OF_STREAMS = [name for name in USES if name not in ("similarity", "embedder", "read_texts")]


@pytest.mark.parametrize("use", USES)
def test_columns(model, tmp_path, use):
    kinds = [kind for kind in COLUMNS if use not in OF_COLUMNS or kind not in ("list", "tuple")]
    wanted = TEXTS if use in OF_COLUMNS else USES[use](model, TEXTS, tmp_path / "wanted")
    for kind in kinds:
        assert USES[use](model, COLUMNS[kind](TEXTS), tmp_path / kind) == wanted, kind


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("use", OF_STREAMS)
def test_streams(model, tmp_path, use, kind):
    assert USES[use](model, STREAMS[kind](TEXTS), tmp_path / "a") == USES[use](model, TEXTS, tmp_path / "b")


@pytest.mark.parametrize("use", [name for name in USES if name != "read_texts"])
def test_an_array_of_no_dimension_is_refused(model, tmp_path, use):
    with pytest.raises(InputError, match="0 dimensions"):
        USES[use](model, np.array("sort the list"), tmp_path)


FRAMES = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "arrow": pa.table,
    "record batch": lambda columns: pa.table(columns).to_batches()[0],
    "mapping": dict,
}


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize(
    "use", ["encode", "similarity", "tokenize", "Index.search", "classify fit", "classify predict"]
)
def test_a_table_is_refused_where_a_column_is_meant(model, tmp_path, use, kind):
    with pytest.raises(InputError, match=r"several columns; give one of them|cannot compare"):
        USES[use](model, FRAMES[kind]({"text": TEXTS, "other": TEXTS}), tmp_path)


@pytest.mark.parametrize("kind", FRAMES)
def test_a_table_is_documents_where_its_columns_say_so(model, tmp_path, kind):
    as_they_are = {"id": [4, 3, 2, 1], "text": TEXTS, "title": list("abcd")}
    guessed = {"doc_id": [4.0, 3.0, 2.0, 1.0], "body": TEXTS, "n": [1, 2, 3, 4]}
    for place, columns in enumerate((as_they_are, guessed)):
        index = statim.Index.build(model, FRAMES[kind](columns), tmp_path / f"{place}")
        (hit,) = index.search("open", mode="bm25")
        assert (hit.id, hit.text, hit.metadata) == (
            "3",
            "open a file",
            {"title": "b"} if place == 0 else {"n": 2},
        )
        assert index.update(FRAMES[kind](columns)) == 4
        with pytest.raises(DataError, match="which column is the text"):
            index.add(FRAMES[kind]({"id": ["x"], "one": ["a"], "two": ["b"]}))
        with pytest.raises(DataError, match="no column of ids"):
            index.add(FRAMES[kind]({"text": ["a"]}))
    assert len(statim.Index.build(model, FRAMES[kind]({"text": TEXTS}), tmp_path / "numbered")) == 4
    with pytest.raises(InputError, match="give ids and metadata as columns"):
        statim.Index.build(model, FRAMES[kind]({"text": TEXTS}), tmp_path / "both", ids=list("abcd"))


TAKEN = [
    [1],
    (1.0,),
    ["1"],
    np.array([1]),
    np.array(["1"]),
    pa.array([1.0]),
    pd.Series([1.0], index=[7]),
    pl.Series(["1"]),
]


@pytest.mark.parametrize("taken", TAKEN, ids=lambda taken: type(taken).__name__)
def test_ids_that_a_person_took(model, taken):
    frame = pd.DataFrame({"id": [1.0, 2.0, 7654321.0], "text": TEXTS[:3]})
    shop = statim.Recommender(model, frame)
    assert shop.ids.to_pylist() == ["1", "2", "7654321"]
    assert {item.id for item in shop.recommend(taken)} == {"2", "7654321"}
    assert {item.id for item in shop.recommend(taken, exclude=[7654321])} == {"2"}
    assert {item.id for item in shop.recommend({1: 2.5, 2.0: 1})} == {"7654321"}


@pytest.mark.parametrize("kind", [pa.float64(), pa.int64(), pa.string()])
def test_baskets_of_other_types_of_ids(model, kind):
    shop = statim.Recommender(model, {"id": [1.0, 2.0, 7654321.0], "text": TEXTS[:3]})
    items = pa.array([[1, 7654321], [2]], pa.list_(pa.int64())).cast(pa.list_(kind))
    found = read_baskets(pa.table({"user": [5.0, 6.0], "items": items}), shop.ids)
    assert (found.names, found.items.tolist()) == (["5", "6"], [0, 2, 1])


def test_labels_are_written_as_those_of_files(model):
    texts = [text for text in TEXTS for _ in range(3)]
    labels = [label for label in (1234567.0, 1234568.0, 0.5, 1234567.0) for _ in range(3)]
    fitted = statim.Classifier.fit(model, texts, labels, head="centroid")
    frame = pd.DataFrame({"text": texts, "label": labels})
    assert (
        fitted.labels
        == statim.Classifier.fit(model, frame, head="centroid").labels
        == ["0.5", "1234567", "1234568"]
    )
    assert fitted.evaluate(frame).unknown == 0
    truths = [label > 1 for label in labels]
    fitted = statim.Classifier.fit(model, texts, truths, head="centroid")
    assert fitted.labels == ["false", "true"]
    assert fitted.evaluate(frame.assign(label=truths)).unknown == 0
