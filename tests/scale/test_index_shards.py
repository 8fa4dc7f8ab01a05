"""An index in shards from vectors of many files: that of the same documents, built at once."""

import pytest

from statim.errors import DataError, InputError
from statim.scale import encode_shards, index_shards
from statim.scale.index import _groups
from statim.search.index import Index


@pytest.fixture
def vectors(tmp_path, model, shards):
    encode_shards(model, shards, tmp_path / "vectors")
    return tmp_path / "vectors"


@pytest.mark.parametrize("many", [None, 3], ids=["usual", "three"])
def test_the_index_of_the_same_documents(tmp_path, model, vectors, rows, many):
    index = index_shards(model, vectors, tmp_path / "index", shards=many)
    ids = [f"more/plain.txt.parquet:{i}" for i in range(100)]
    documents = [{**row, "id": row["id"] if i < 300 else ids[i - 300]} for i, row in enumerate(rows)]
    whole = Index.build(model, documents, tmp_path / "whole")
    assert (len(index), index.info()["shards"]) == (400, many or 1)
    queries = [row["text"] for row in rows[::40]]
    for mode in ("vector", "bm25", "hybrid"):
        found, expected = (one.search(queries, 100, mode=mode) for one in (index, whole))
        assert [[(hit.id, hit.score) for hit in hits] for hits in found] == [
            [(hit.id, hit.score) for hit in hits] for hits in expected
        ]
    assert index.get("d7")[0]["year"] == "2007"  # a CSV file's are text, and so are those of all
    assert {hit.metadata["year"] for hit in index.search("sort", 9, where="year = '2007'")} == {"2007"}
    kept = {**rows[0], "year": "2000"}
    assert index.sync([kept, {**kept, "id": "x"}])[:4] == (1, 0, 399, 1)


def test_groups_are_of_nearly_equal_size():
    files = [{"name": str(i), "texts": count} for i, count in enumerate([5, 5, 0, 80, 5, 5, 5, 5])]
    assert _groups(files, 3) == [["0", "1"], ["3"], ["4", "5", "6", "7"]]
    assert _groups(files, 7) == [["0"], ["1"], ["3"], ["4"], ["5"], ["6"], ["7"]]
    assert _groups(files, None) == [["0", "1", "3", "4", "5", "6", "7"]]
    assert _groups([{"name": str(i), "texts": 700_000} for i in range(10)], None) == [
        ["0"], ["1", "2"], ["3"], ["4", "5"], ["6"], ["7", "8"], ["9"],
    ]  # fmt: skip


def test_refusals(tmp_path, model, shards, vectors):
    out = tmp_path / "index"
    with pytest.raises(InputError, match="holds vectors of another model"):
        index_shards(type(model)(model.table + 1, model.tokenizer), vectors, out)
    with pytest.raises(InputError, match="there are 4 files for 5 shards; give from 1 to that many"):
        index_shards(model, vectors, out, shards=5)
    with pytest.raises(InputError, match="there are 4 files for 0 shards"):
        index_shards(model, vectors, out, shards=0)
    encode_shards(model, shards, tmp_path / "short", dim=8)
    with pytest.raises(InputError, match="are shortened or rounded"):
        index_shards(model, tmp_path / "short", out)
    with pytest.raises(DataError, match=r"_manifest\.json cannot be read"):
        index_shards(model, shards, out)
    assert not out.exists()
