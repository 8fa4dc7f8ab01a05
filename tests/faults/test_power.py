"""Power failures: of what was not flushed anything may be missing, and still the old or the new state is
there whole.
"""

import pytest

CASES = [
    "save",
    "build",
    "lance build",
    "save --overwrite",
    "build --overwrite",
    "lance build --overwrite",
    "add",
    "update",
    "delete",
    "classify fit --overwrite",
    "encode .npy",
    "encode --overwrite",
    "mine .jsonl",
    "duplicates .parquet",
]
LANCE = ["lance add", "lance update", "lance delete", "lance compact"]


def judged(losses, record_property, part):
    tried, failed = losses["ordered" if part == "failures" else "shuffled"], losses[part]
    figures = {
        "kind": f"power failures ({'names in their order' if part == 'failures' else 'names in any order'})"
    }
    record_property("figures", figures | {"tried": tried, "survived": tried - len(failed)})
    assert not failed, f"{len(failed)} of {tried}: " + "\n".join(failed[:20])


@pytest.fixture(scope="session")
def replayed(harness):
    known = {}

    def replay(name):
        if name not in known:
            known[name] = harness("power.py", name)[0]
        return known[name]

    return replay


@pytest.mark.parametrize("name", ["save", "add"])
def test_some_power_failures(name, replayed, record_property):
    judged(replayed(name), record_property, "failures")
    assert replayed(name)["durable"], "the command ended before its result was safe"


def grouped(name, *marks):
    return pytest.param(name, marks=[pytest.mark.xdist_group(f"power {name}"), *marks])


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("name", [*map(grouped, CASES), *map(grouped, LANCE)])
def test_power_failures(name, replayed, record_property):
    judged(replayed(name), record_property, "failures")
    assert replayed(name)["durable"], "the command ended before its result was safe"


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("name", [grouped(name) for name in [*CASES, *LANCE]])
def test_power_failures_in_any_order(name, replayed, record_property):
    judged(replayed(name), record_property, "disorder")
