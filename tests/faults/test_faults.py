"""Faults at every change that commands make to files: what stood there, or what was asked for, is there
whole.
"""

import pytest
from cases import CASES, quick
from harness import KINDS

TIRELESS = 20  # of the calls of a case, the quick part walks over one in so many


def judged(figures, record_property):
    """Write down what became of the faults, and fail if one did harm."""
    tried, failed = figures["tried"], figures["failures"]
    harmed = len({failure.split(":")[0] for failure in failed})
    record_property("figures", {
        "kind": f"faults ({figures['kind']})", "tried": tried, "survived": tried - harmed,
        "said in one sentence": figures["refused"],
        "finished all the same": figures["finished"], "old state": figures["old"],
        "new state": figures["new"],
        "files left behind": figures["leftovers"],
    })  # fmt: skip
    assert not failed, f"{harmed} of {tried}: " + "\n".join(failed[:20])


@pytest.fixture(scope="session")
def walked(harness):
    """The figures of a case by kind; each case is walked once."""
    known = {}

    def walk(name, stride, names=None, **variables):
        if (name, stride) not in known:
            for figures in harness("harness.py", stride, ",".join(KINDS), *(names or [name]), **variables):
                known.setdefault((figures["case"], stride), {})[figures["kind"]] = figures
        return known[name, stride]

    return walk


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in quick() for kind in KINDS])
def test_some_faults(name, kind, walked, record_property):
    judged(walked(name, TIRELESS, list(quick()))[kind], record_property)


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(name, kind, marks=pytest.mark.xdist_group(name))
        for name in CASES
        if name != "cache of a database's model"
        for kind in KINDS
    ],
)
def test_every_fault(name, kind, walked, record_property):
    for module in CASES[name].needs:
        pytest.importorskip(module)
    judged(walked(name, 1)[kind], record_property)


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("kind", KINDS)
def test_faults_beside_a_database(kind, walked, database, record_property):
    judged(walked("cache of a database's model", 1, STATIM_FAULT_DATABASE=database)[kind], record_property)


@pytest.fixture(scope="session")
def database(tmp_path_factory):
    """The address of a PostgreSQL with an index in the table ``faults``."""
    pytest.importorskip("pgserver")
    pytest.importorskip("psycopg")
    from cases import write_inputs
    from real_postgres import server

    from statim.model import StaticModel
    from statim.search.index import Index

    folder = tmp_path_factory.mktemp("database")
    write_inputs(folder)
    with server() as address:
        texts = [
            f"how do i {verb} the {thing}" for verb in ("sort", "open", "read") for thing in ("list", "file")
        ]
        Index.build(StaticModel.load(folder / "model"), texts, address, table="faults")
        yield address
