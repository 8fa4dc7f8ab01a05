"""Every search engine on the same real vectors: recall, time, building, memory and disk.

The last line is JSON.

    python benchmarks/search_engines.py DATA [--limit 1000000] [--model MODEL] [--engines exact,scann]
        [--out out/search-engines]
        [--only build] [--picture docs/search_engines.svg] [--page docs/search.md]

DATA is a folder (or file) of pairs; the vectors are those of its distinct texts, the queries anchors that
are held out of them. They are made once, by MODEL or by the default teacher distilled into a table of 384
dimensions, and kept in OUT/vectors.npy and OUT/queries.npy. Truth is exact search in float32. Each engine
is built, and timed, in a process of its own, and what was built and found is kept in OUT: a second call
does only what is left. Graphs take long to build, so ``--only build`` may run beside other work (seconds
of the processor stand beside); ``--only time`` wants a quiet machine, and takes one to three minutes an
engine for a million vectors.

Memory is what a process holds besides mapped files after loading what was saved. Engines that can look
harder are also measured at a quarter to four times of the effort that they chose for themselves. Files are
read once before, so that they stand in memory. Times of single queries are best of rounds; for exact
engines two reads of the same bytes are measured among them (a bitwise or of all numbers by numpy, on as
many threads): of the mapped file that the engine reads, in pages of 4 KiB, and of a copy in memory, in
large pages.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from chart import COLOURS, Line, chart
from pages import write_between
from statim import threads
from statim.evaluation import table
from statim.files import atomic_file
from statim.search.engines.exact_top_k import top_k
from statim.search.engines.registry import EXACT, NAMES, choose, load, make
from statim.search.engines.stored_vectors import Rows

K, DIM, HELD, SINGLE, ROUNDS = 10, 384, 2000, 40, 5
STAGES = ("build", "time")
WARM = 32  # queries
LOWEST = 0.9  # recall that is drawn
FAMILIES = {"faiss": "7 4", "scann": "2 3", "usearch": "10 3 2 3", "": "none"}  # and their dashes
MARKS = ("<!-- engines -->", "<!-- end of engines -->")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--limit", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--engines", default=",".join(NAMES))
    parser.add_argument("--only", choices=STAGES)
    parser.add_argument("--out", type=Path, default=Path("out/search-engines"))
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        documents, queries = vectors(asked)
        building = asked.only == "build"
        own = (
            build(asked.one, documents, asked.out)
            if building
            else measure(asked.one, documents, queries, asked.out)
        )
        print(json.dumps(own))
        return
    asked.out.mkdir(parents=True, exist_ok=True)
    if not (asked.out / "vectors.npy").exists():
        encode(asked)
    documents, queries = vectors(asked)
    n, found = len(documents), {}
    if not (asked.out / f"truth-{n}.npy").exists():
        truth = top_k(np.load(asked.out / "queries.npy"), documents, K, half=True)[1]
        np.save(asked.out / f"truth-{n}.npy", truth)
    for name in asked.engines.split(","):
        for stage in [asked.only] if asked.only else STAGES:
            kept = asked.out / f"{name}-{n}.{stage}.json"
            if not kept.exists():
                command = [sys.executable, __file__, *sys.argv[1:], "--only", stage, "--one", name]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                kept.write_text(done.splitlines()[-1])
            print(name, stage, kept.read_text(), flush=True)
    for name in NAMES:
        stages = [asked.out / f"{name}-{n}.{stage}.json" for stage in STAGES]
        if all(kept.exists() for kept in stages):
            found[name] = {
                key: value for kept in stages for key, value in json.loads(kept.read_text()).items()
            }
    if found:
        header, body = rows(found)
        print(table.plain(header, body))
        if asked.picture:
            with atomic_file(asked.picture) as file:
                file.write(picture(found, *documents.shape).encode())
        if asked.page:
            write_between(asked.page, MARKS, table.markdown(header, body))
    print(
        json.dumps(
            {
                "benchmark": "search_engines", "machine": platform.processor() or platform.machine(),
                "threads": threads.count(),
                "vectors": n, "dimensions": documents.shape[1], "queries": len(queries),
                "default": choose(*documents.shape)._asdict(),
                "engines": found,
            }
        )
    )  # fmt: skip


def vectors(asked: argparse.Namespace) -> tuple[Any, Any]:
    """The vectors and the queries."""
    documents = np.load(asked.out / "vectors.npy", mmap_mode="r")[: asked.limit]
    return documents, np.load(asked.out / "queries.npy")[: asked.queries]


def encode(asked: argparse.Namespace) -> None:
    """Make them, in an order without meaning."""
    from statim.data.pairs.reading import read_pairs
    from statim.model import StaticModel

    files = sorted(asked.data.glob("*/train.jsonl*")) if asked.data.is_dir() else [asked.data]
    random, texts, queries = np.random.default_rng(0), {}, []
    pairs = [read_pairs(file) for file in files]
    total = sum(map(len, pairs))
    for some in pairs:
        anchors = list(map(str, some.anchors))
        held = random.random(len(anchors)) < HELD / total
        queries += [anchor for anchor, out in zip(anchors, held, strict=True) if out]
        texts |= dict.fromkeys(map(str, some.positives)) | dict.fromkeys(anchors)
    for query in queries:
        texts.pop(query, None)
    chosen = list(texts)
    order = random.permutation(len(chosen))[: asked.limit]
    chosen = [chosen[i] for i in order]
    model = StaticModel.load(asked.model) if asked.model else distilled(chosen)
    np.save(
        asked.out / "queries.npy",
        model.encode([queries[i] for i in random.permutation(len(queries))], normalize=True),
    )
    np.save(asked.out / "vectors.npy", model.encode(chosen, normalize=True))


def distilled(texts: list[str]) -> Any:
    """The default teacher as a table."""
    from statim.model import StaticModel
    from statim.teacher.folder import DEFAULT_TEACHER
    from statim.teacher.teacher import Teacher
    from statim.tokenizer.tokenizer import Tokenizer
    from statim.training.initial_tables import distilled_table, token_vectors

    teacher = Teacher.load(DEFAULT_TEACHER)
    tokenizer, source = Tokenizer(teacher.tokenizer), token_vectors(teacher)
    counts = np.bincount(tokenizer(texts[:100_000]).ids, minlength=len(source)).astype(float)
    table = distilled_table(source, counts, DIM, 0)
    if tokenizer.unknown_id is not None:
        table[tokenizer.unknown_id] = 0
    return StaticModel(table, tokenizer)


def build(name: str, documents: Any, out: Path) -> dict[str, Any]:
    """Build and save, in this process."""
    n, d = documents.shape
    engine, folder = make(name, d), out / f"{name}-{n}"
    found: dict[str, Any] = {}
    with clock(found, "build"):
        for start in range(0, n, 1 << 16):
            engine.add(documents[start : start + (1 << 16)])
        engine.prepare()
    with clock(found, "save"):
        engine.save(folder)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return found | {"disk_megabytes": round(size / 1e6, 1)}


def measure(name: str, documents: Any, queries: Any, out: Path) -> dict[str, Any]:
    """Load what was built and search, in this process."""
    n, d = documents.shape
    folder, truth = out / f"{name}-{n}", np.load(out / f"truth-{n}.npy")[: len(queries)]
    for file in folder.rglob("*"):
        if file.is_file():
            np.bitwise_or.reduce(np.memmap(file, np.uint8, "r"))
    before, found = anonymous(), {}
    with clock(found, "load"):
        loaded = load(name, folder, d)
    loaded.search(queries[:1], K)
    found["memory_megabytes"] = round(anonymous() - before, 1)
    first = getattr(loaded, "_first", None)
    efforts: list[int | None] = [None]
    if first is not None and first.efforts()[0] != first.efforts()[1]:
        chosen, most = first.effort, first.efforts()[1]
        others = {min(most, max(1, round(chosen * factor))) for factor in (0.25, 0.5, 2, 4)}
        efforts = [chosen, *sorted(others - {chosen})]
    points = [point(loaded, effort, queries, truth) for effort in efforts]
    found |= points[0] | {"curve": points}
    if name in EXACT:
        found |= bandwidth(loaded, queries)
    return found


def point(engine: Any, effort: int | None, queries: Any, truth: Any) -> dict[str, Any]:
    """Recall and times at an effort."""
    if effort is not None:
        engine._first.effort = effort
    engine.search(queries[:WARM], K)
    found: dict[str, Any] = {} if effort is None else {"effort": effort}
    with clock(found, "batch"):
        _, positions = engine.search(queries, K)
    _, nearest = engine.search(queries, 1)
    hits = sum(len(np.intersect1d(a, b)) for a, b in zip(positions, truth, strict=True))
    singles, used = [], time.process_time()
    for query in queries[:SINGLE]:
        rounds = [seconds(partial(engine.search, query[None], K)) for _ in range(ROUNDS)]
        singles.append(min(rounds))
    used = (time.process_time() - used) / (SINGLE * ROUNDS)
    return {
        "recall": round(hits / truth.size, 4), "recall_at_1": round(float((nearest[:, 0] == truth[:,
            0]).mean()), 4), "milliseconds": round(1000 * float(np.median(singles)), 3),
        "cpu_milliseconds": round(1000 * used, 3),
        "batch_queries_per_second": round(len(queries) / found["batch_seconds"]),
        "batch_cpu_milliseconds": round(1000 * found["batch_cpu_seconds"] / len(queries), 3),
    } | {key: value for key, value in found.items() if key == "effort"}  # fmt: skip


def bandwidth(engine: Any, queries: Any) -> dict[str, Any]:
    """What one query reads in a second, and as a part of two reads (see above): the best of each."""
    stored = engine.vectors
    mapped = (stored.data if isinstance(stored, Rows) else stored).reshape(-1).view(np.int64)
    found: dict[str, Any] = {}
    for workers in sorted({1, threads.count()}):
        acts = [partial(engine.search, queries[:1], K, threads=workers)]
        for numbers in (mapped, np.array(mapped)):  # numpy asks for large pages
            parts = [
                partial(np.bitwise_or.reduce, numbers[a:b]) for a, b in threads.ranges(len(numbers), workers)
            ]
            acts.append(partial(threads.run, parts, workers))
        ours, file, memory = np.min([[seconds(act) for act in acts] for _ in range(20)], axis=0).tolist()
        found[f"gigabytes_per_second_{workers}"] = round(mapped.nbytes / ours / 1e9, 2)
        found[f"of_bandwidth_{workers}"] = round(file / ours, 3)
        found[f"of_memory_bandwidth_{workers}"] = round(memory / ours, 3)
    return found


def seconds(act: Callable[[], Any]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


class clock:  # noqa: N801
    """Writes down what a block takes."""

    def __init__(self, into: dict[str, Any], name: str) -> None:
        self.into, self.name = into, name

    def __enter__(self) -> None:
        self.wall, self.used = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self.into[f"{self.name}_seconds"] = round(time.perf_counter() - self.wall, 3)
        self.into[f"{self.name}_cpu_seconds"] = round(time.process_time() - self.used, 3)


def anonymous() -> float:
    """Megabytes that this process holds besides mapped files."""
    if not os.path.exists("/proc/self/status"):
        return float("nan")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1000


def rows(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The table: one row an engine."""
    header = [
        "engine", "recall@1", "recall@10", "one query, ms", "many at once, queries/s",
        "building, s of the processor", "memory, MB", "disk, MB",
        "of a read of its file, 1 and 2 threads", "of a copy in memory",
    ]  # fmt: skip
    body = []
    for name, own in found.items():
        read = [[own.get(f"of_{kind}bandwidth_{workers}") for workers in (1, 2)] for kind in ("", "memory_")]
        body.append(
            [name, f"{own['recall_at_1']:.4f}", f"{own['recall']:.4f}", f"{own['milliseconds']:.2f}",
                f"{own['batch_queries_per_second']:,}",
             f"{own['build_cpu_seconds']:.0f}", f"{own['memory_megabytes']:,.0f}",
             f"{own['disk_megabytes']:,.0f}",
             *(", ".join(f"{100 * part:.0f} %" for part in both if part) for both in read)]
        )  # fmt: skip
    return header, body


def picture(found: dict[str, Any], n: int, d: int) -> str:
    """Recall@10 over the time of a query, one line or point an engine; SVG."""
    lines, kinds = [], dict.fromkeys(FAMILIES, 0)
    for name, own in found.items():
        family = next(family for family in FAMILIES if name.startswith(family))
        points = [
            (p["milliseconds"], p["recall"], f"{name}: {p['recall']:.4f} in {p['milliseconds']:.2f} ms")
            for p in sorted(own["curve"], key=lambda p: p["milliseconds"])
            if p["recall"] >= LOWEST
        ]
        chosen = (
            [point[:2] for point in points].index((own["milliseconds"], own["recall"])) if points else None
        )
        lines.append(Line(name, COLOURS[kinds[family]], FAMILIES[family], points, chosen))
        kinds[family] += 1
    return chart(
        "Search engines",
        f"Recall@10 of {n:,} vectors of {d} dimensions",
        "milliseconds, one query at a time",
        [(10.0**power, f"{10.0**power:g}") for power in (0, 1, 2)],
        [(recall, f"{recall:.2f}") for recall in np.linspace(LOWEST, 1, 6).round(2).tolist()],
        [line for line in lines if line.points],
        right=140,
    )


if __name__ == "__main__":
    main()
