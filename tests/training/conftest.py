"""Pairs that must be learned: what belongs together shares no words."""

import json

import pytest

from made_texts import THINGS, VERBS
from statim.data.pairs.reading import read_pairs


@pytest.fixture(scope="session")
def rows() -> list[tuple[str, str]]:
    return [
        (f"how do I {verb} a {thing}?", f"{thing[::-1]} then {verb[::-1]}")
        for verb in VERBS
        for thing in THINGS[:10]
    ]


@pytest.fixture(scope="session")
def pairs(rows):
    return read_pairs(rows)


@pytest.fixture(scope="session")
def pairs_file(rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    path.write_text("".join(json.dumps({"question": a, "answer": p}) + "\n" for a, p in rows))
    return path
