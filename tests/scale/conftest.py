"""A model and shards of texts; and one Ray cluster for all tests."""

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers

from made_texts import THINGS, VERBS
from statim.model import StaticModel

WORDS = ["[UNK]", "how", "to", "a", *VERBS, *THINGS]


@pytest.fixture(scope="session")
def model():
    backend = tokenizers.Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return StaticModel(np.random.default_rng(1).normal(size=(len(WORDS), 16)), backend)


@pytest.fixture(scope="session")
def rows():
    """400 documents, each pair of a verb and a thing once."""
    return [
        {"id": f"d{i}", "text": f"how to {verb} a {thing}", "year": 2000 + i % 20}
        for i, (verb, thing) in enumerate((verb, thing) for verb in VERBS for thing in THINGS)
    ]


@pytest.fixture
def shards(tmp_path, rows):
    """The documents in a folder of four kinds of files, one of them further down and compressed."""
    folder = tmp_path / "docs"
    (folder / "more").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows[:100]), folder / "a.parquet")
    (folder / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[100:250]))
    lines = [f"{row['id']},{row['text']},{row['year']}" for row in rows[250:300]]
    (folder / "c.csv").write_text("id,text,year\n" + "\n".join(lines) + "\n")
    (folder / "more" / "plain.txt").write_text("".join(row["text"] + "\n" for row in rows[300:]))
    (folder / "_ignored.jsonl").write_text("no")
    (folder / "notes.md").write_text("no")
    return folder


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """A cluster of two nodes of one processor, which this process is connected to."""
    pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_health_check_timeout_ms"] = "60000"  # noqa: SIM112 (a busy machine is no dead one)
    os.environ["STATIM_CACHE"] = str(tmp_path_factory.mktemp("cluster-cache"))  # of the workers
    import ray
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "object_store_memory": 100 << 20}
    made = Cluster(initialize_head=False)
    for head in (True, False):
        for attempt in range(5):  # Ray waits 30 seconds for a node, which a busy machine may need longer for
            try:
                made.add_node(**small, **({"include_dashboard": False} if head else {}))
                break
            except Exception:
                if attempt == 4:
                    raise
    ray.init(address=made.address, log_to_driver=False, configure_logging=False)
    yield made
    ray.shutdown()
    made.shutdown()
