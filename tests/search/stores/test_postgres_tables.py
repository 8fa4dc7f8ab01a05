"""What is in the database beside an index: no build, change or failure drops or replaces what statim did not
make.
"""

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from store_places import model_of, texts_of

from statim.errors import InputError, StatimError
from statim.search.index import Index
from statim.search.stores import postgres_index
from statim.search.stores.postgres import Postgres

THEIRS = ["manual_new", "manual_new_statim", "statim_new", "faq_new", "other_statim", "hnsw"]


@pytest.fixture
def database(address):
    """A database of its own, with tables of a user."""
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("CREATE DATABASE theirs")
        try:
            own = address.replace("/postgres?", "/theirs?")
            with psycopg.connect(own, autocommit=True) as inside:
                for name in THEIRS:
                    inside.execute(f"CREATE TABLE {name} (id text)")
                    inside.execute(f"INSERT INTO {name} VALUES ('precious')")
                yield own, inside
        finally:
            connection.execute("DROP DATABASE theirs WITH (FORCE)")


def relations(inside):
    """All tables and views, and what those of the user hold."""
    found = inside.execute(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'v') AND relnamespace = 'public'::regnamespace"
    )
    names = {name for (name,) in found}
    held = {name: inside.execute(f"SELECT id FROM {name}").fetchall() for name in THEIRS}
    assert all(rows == [("precious",)] for rows in held.values())
    return names - set(THEIRS)


def build(address, table, count=30, **options):
    return Index.build(model_of(1), texts_of(count), address, table=table, **options)


def failing(address, table, **options):
    """A build that fails after some documents."""
    model = model_of(1)
    vectors = model.encode(texts_of(30), normalize=True)
    vectors[29] = float("nan")
    with pytest.raises(StatimError):
        Index.build(model, texts_of(30), address, table=table, vectors=vectors, **options)


def test_tables_of_a_user_survive(database):
    address, inside = database
    failing(address, "manual")
    assert relations(inside) == set()
    build(address, "manual")
    build(address, "faq")
    four = {"manual", "manual_statim", "faq", "faq_statim"}
    assert relations(inside) == four
    failing(address, "manual", overwrite=True)
    index = build(address, "manual", 40, overwrite=True)
    index.add(["w01 w02"], ids=["new"])
    index.update(["w03"], ids=["new"])
    assert index.delete(["new"]) == 1
    assert relations(inside) == four
    assert len(Index.load(address, table="manual")) == 40


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("table", "named", "make"),
    [
        ("faq_new", "faq_new", None),
        ("other", "other_statim", None),
        ("pair", "pair",
            ("CREATE TABLE pair AS SELECT 1; CREATE TABLE pair_statim (name text, part int, content "
"bytea)")),
        ("part", "part_statim", "CREATE TABLE part_statim (name text, part int, content bytea)"),
        ("odd", "odd_statim", "CREATE TABLE odd_statim (name text, part text, content text)"),
        ("view", "view", "CREATE VIEW view AS SELECT 1 AS id; COMMENT ON VIEW view IS 'statim index'"),
        ("Large A", '"Large A"', 'CREATE TABLE "Large A" (id text)'),
    ],
)  # fmt: skip
def test_a_name_that_is_taken(database, table, named, make, overwrite):
    address, inside = database
    if make:
        inside.execute(make)
    before = relations(inside)
    with pytest.raises(InputError, match="did not make") as caught:
        build(address, table, overwrite=overwrite)
    assert f"there is {named} already" in str(caught.value)
    assert relations(inside) == before


def test_a_table_that_comes_during_a_build(database):
    address, inside = database
    documents = pa.table({"id": ["a", "b"], "text": ["w01", "w02"]})

    def blocks():
        inside.execute("CREATE TABLE late (id text)")
        yield documents, np.eye(2, 8, dtype=np.float32)

    about = {"weight": 0.5, "vectors": "model", "language": "en"}
    with pytest.raises(InputError, match="late already, which statim did not make"):
        Postgres.create(address, "late", documents.schema, blocks(), model_of(1), about, overwrite=True)
    assert relations(inside) == {"late"}


def test_an_index_of_an_earlier_version_can_be_replaced(database):
    address, inside = database
    build(address, "manual")
    for name in ("manual", "manual_statim"):
        inside.execute(f"COMMENT ON TABLE {name} IS NULL")
    with pytest.raises(InputError, match="exists; choose another name"):
        build(address, "manual")
    assert len(build(address, "manual", 40, overwrite=True)) == 40
    assert relations(inside) == {"manual", "manual_statim"}


def test_half_of_an_index_can_be_replaced(database):
    address, inside = database
    build(address, "manual")
    inside.execute("DROP TABLE manual_statim")
    with pytest.raises(InputError, match="exists; choose another name"):
        build(address, "manual")
    assert len(build(address, "manual", overwrite=True)) == 30


def test_what_depends_on_an_index_stays(database):
    address, inside = database
    build(address, "manual")
    inside.execute("CREATE VIEW mine AS SELECT id FROM manual")
    with pytest.raises(StatimError, match="depend"):
        build(address, "manual", overwrite=True)
    assert inside.execute("SELECT count(*) FROM mine").fetchone() == (30,)


def test_an_index_of_the_user_on_our_table_stays(database, monkeypatch):
    address, inside = database
    monkeypatch.setattr(postgres_index, "EXACT", 20)
    index = build(address, "manual")
    inside.execute("CREATE INDEX mine ON manual USING hnsw (statim_vector vector_l2_ops)")
    indexes = (
        "SELECT indexname FROM pg_indexes WHERE tablename = 'manual' AND indexdef LIKE '%USING hnsw%' "
        "ORDER BY 1"
    )
    before = [name for (name,) in inside.execute(indexes)]
    index.add(texts_of(20, seed=2), ids=[f"n{i}" for i in range(20)])
    after = [name for (name,) in inside.execute(indexes)]
    assert before[0] == after[0] == "mine"
    assert len(before) == len(after) == 2
    assert before[1] != after[1]
