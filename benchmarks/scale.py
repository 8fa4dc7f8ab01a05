"""``encode_shards`` on a real Ray cluster on this machine, beside one process: time, Ray's cost, memory.

Texts are the documentation inside this Python installation, repeated with a number in front, in Parquet
files. The cluster is ``ray.cluster_utils.Cluster`` with nodes of one processor each. One process gets as many
threads as the cluster has nodes. Seconds of processors count what a busy machine does not change; the bytes
of all vectors must be the same. With ``--kills`` worker processes are killed at random moments meanwhile. The
last line is JSON.

    python benchmarks/scale.py [--texts 1000000] [--shards 40] [--nodes 2] [--kills 0]
"""

import argparse
import json
import os
import random
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_health_check_timeout_ms"] = "60000"  # noqa: SIM112 (a busy machine is no dead one)
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pyarrow as pa
import pyarrow.parquet as pq

from packages import PACKAGES
from statim import StaticModel
from statim.data.pairs.python_docs import python_docs
from statim.scale import encode_shards
from statim.scale.output import read_manifest
from statim.scale.storage import place

WORKERS = (b"ray::_do", b"ray::IDLE")  # a node whose agent (ray::DashboardAgent) is killed dies
TICK = os.sysconf("SC_CLK_TCK")


def write_shards(folder: Path, texts: int, shards: int) -> None:
    anchors = python_docs(PACKAGES).anchors.to_pylist()
    folder.mkdir()
    for shard in range(shards):
        rows = range(texts * shard // shards, texts * (shard + 1) // shards)
        table = {"id": [f"t{i}" for i in rows], "text": [f"{i} {anchors[i % len(anchors)]}" for i in rows]}
        pq.write_table(pa.table(table), folder / f"{shard:04}.parquet")


def processes() -> dict[int, tuple[str, float, int]]:
    """This process and those below it: what each is, its seconds of a processor, its memory (PSS)."""
    parents, used = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(path.parent.name)] = int(fields[1])
        used[int(path.parent.name)] = (int(fields[11]) + int(fields[12])) / TICK
    found = {}
    for pid in [pid for pid in used if is_below(pid, parents)]:
        try:
            said = Path(f"/proc/{pid}/cmdline").read_bytes()
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().split("Pss:")[1].split()[0]
        except (OSError, IndexError):
            continue
        kind = "driver" if pid == os.getpid() else "workers" if said.startswith(WORKERS) else "Ray itself"
        found[pid] = (kind, used[pid], int(rollup) << 10)
    return found


def is_below(pid: int, parents: dict[int, int]) -> bool:
    while pid in parents and pid != os.getpid():
        pid = parents[pid]
    return pid == os.getpid()


class Watch:
    """Looks at all processes twice a second, and kills some."""

    def __init__(self, kills: int) -> None:
        self.before = processes()
        self.last = dict(self.before)
        self.peak: dict[str, int] = {}
        self.killed, self._kills, self._chance = 0, kills, random.Random(1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._stop.wait(0.5):
            now = processes()
            self.last |= now
            for kind, _, memory in now.values():
                self.peak[kind] = max(self.peak.get(kind, 0), memory)
            workers = [pid for pid, (kind, _, _) in now.items() if kind == "workers"]
            if workers and self.killed < self._kills:
                os.kill(self._chance.choice(workers), signal.SIGKILL)
                self.killed += 1
        self._own = time.thread_time()  # of looking, which is no part of what is measured

    def end(self) -> dict[str, Any]:
        """Stop looking; what was seen."""
        self._stop.set()
        self._thread.join()
        self.last |= processes()
        seconds: dict[str, float] = {}
        for pid, (kind, used, _) in self.last.items():
            seconds[kind] = seconds.get(kind, 0) + used - self.before.get(pid, ("", 0, 0))[1]
        seconds["driver"] -= self._own
        return {"processor_seconds": seconds, "peak_bytes": self.peak, "killed": self.killed}


def measured(kills: int, **ways: Any) -> dict[str, Any]:
    watch, started = Watch(kills), time.perf_counter()
    done = encode_shards(**ways)
    found = {"seconds": time.perf_counter() - started, "texts": done.texts} | watch.end()
    used = sum(found["processor_seconds"].values())
    return found | {"texts_per_processor_second": done.texts / used}


def on_cluster(nodes: int, kills: int, **ways: Any) -> dict[str, Any]:
    import ray
    from ray.cluster_utils import Cluster

    started = time.perf_counter()
    cluster = Cluster(initialize_head=False)
    for number in range(nodes):
        head = {"include_dashboard": False} if number == 0 else {}
        cluster.add_node(num_cpus=1, object_store_memory=200 << 20, **head)
    ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
    start = time.perf_counter() - started
    try:
        return {"start_seconds": start} | measured(kills, ray="auto", **ways)
    finally:
        ray.shutdown()
        cluster.shutdown()


def say(name: str, found: dict[str, Any]) -> None:
    parts = ", ".join(f"{kind} {value:.1f} s" for kind, value in found["processor_seconds"].items())
    peak = ", ".join(f"{kind} {value / 1e6:.0f} MB" for kind, value in found["peak_bytes"].items())
    start = f"; the cluster took {found['start_seconds']:.1f} s to start" if "start_seconds" in found else ""
    killed = f"; {found['killed']} workers killed" if found["killed"] else ""
    print(
        f"{name}: {found['seconds']:.1f} s, {found['texts'] / found['seconds']:,.0f} texts/s; of processors: "
        f"{parts}; largest process of each kind: {peak}{start}{killed}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=40)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--kills", type=int, default=0)
    asked = parser.parse_args()
    pa.set_memory_pool(pa.system_memory_pool())  # as `statim encode` does
    model = StaticModel.load("english")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in"
        write_shards(source, asked.texts, asked.shards)
        model.encode(["warm"] * 1000)
        ways = {"model": model, "sources": source}
        here = measured(0, out=Path(folder) / "here", threads=asked.nodes, **ways)
        say("one process", here)
        there = on_cluster(asked.nodes, asked.kills, out=Path(folder) / "there", **ways)
        say(f"{asked.nodes} nodes", there)
        one, other = (read_manifest(place(Path(folder) / name))["shards"] for name in ("here", "there"))
        same = [shard["digest"] for shard in one] == [shard["digest"] for shard in other]
    used, own = there["processor_seconds"], sum(here["processor_seconds"].values())
    overhead = (used["workers"] + used["driver"]) / own - 1
    print(
        f"overhead of processors: {overhead:.1%} in workers and driver, {used['Ray itself'] / own:.1%} in "
        f"Ray itself; of time: {there['seconds'] / here['seconds'] - 1:.1%}; same bytes: {same}"
    )
    print(json.dumps({"one_process": here, "cluster": there, "same_bytes": same}))


if __name__ == "__main__":
    main()
