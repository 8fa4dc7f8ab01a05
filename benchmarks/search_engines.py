"""Every search engine on the same real vectors: recall@10 against time, building, memory, disk. The last line is JSON.

    python benchmarks/search_engines.py DATA [--limit 1000000] [--model MODEL] [--engines exact,scann] [--out out/search-engines]

DATA is a folder (or file) of pairs; the vectors are those of its distinct texts, the queries anchors that are held out of them. They are
made once, by MODEL or by the default teacher distilled into a table of 384 dimensions, and kept in OUT/vectors.npy and OUT/queries.npy.
Truth is exact search in float32. Each engine has a process of its own; memory is what that holds besides mapped files after loading
what was saved. Engines that can look harder are also measured at a quarter to four times of the effort that they chose for themselves.

Times of single queries are best of rounds, after one to warm up, among which the read bandwidth is measured (a bitwise or of all numbers
by numpy, on as many threads): what exact engines read for a query, over the time, over that. Processor seconds stand beside, since they
suffer less where the machine is busy. Results are kept in OUT/results.json as they come; OUT/picture.html is the picture.
"""

import argparse
import html
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from statim import threads
from statim.search.engines import EXACT, NAMES, choose, load, make
from statim.search.exact import top_k

K, DIM, HELD, SINGLE, ROUNDS = 10, 384, 2000, 40, 5
DEFAULT = [name for name in NAMES if name != "faiss-flat"] + ["faiss-flat"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--limit", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--engines", default=",".join(DEFAULT))
    parser.add_argument("--out", type=Path, default=Path("out/search-engines"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure(asked.one, *vectors(asked), asked.out)))
        return
    asked.out.mkdir(parents=True, exist_ok=True)
    if not (asked.out / "vectors.npy").exists():
        encode(asked)
    documents, queries = vectors(asked)
    np.save(asked.out / f"truth-{len(documents)}.npy", top_k(queries, documents, K)[1])
    kept = asked.out / "results.json"
    results = json.loads(kept.read_text()) if kept.exists() else {}
    own = results.setdefault(str(len(documents)), {})
    for name in asked.engines.split(","):
        if name not in own:
            command = [sys.executable, __file__, *sys.argv[1:], "--one", name]
            own[name] = json.loads(
                subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
            )
            kept.write_text(json.dumps(results, indent=1))
            (asked.out / "picture.html").write_text(picture(own, len(documents), documents.shape[1]))
        tell(name, own[name])
    print(
        json.dumps(
            {
                "benchmark": "search_engines", "machine": platform.processor() or platform.machine(), "threads": threads.count(),
                "vectors": len(documents), "dimensions": documents.shape[1], "queries": len(queries),
                "default": choose(*documents.shape)._asdict(), "engines": own,
            }
        )
    )  # fmt: skip


def vectors(asked: argparse.Namespace) -> tuple[Any, Any]:
    """The vectors and the queries."""
    documents = np.load(asked.out / "vectors.npy", mmap_mode="r")[: asked.limit]
    return documents, np.load(asked.out / "queries.npy")[: asked.queries]


def encode(asked: argparse.Namespace) -> None:
    """Make them, in an order without meaning."""
    from statim.data.reading import read_pairs
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
    from statim.teacher import DEFAULT_TEACHER, Teacher
    from statim.tokenizer import Tokenizer
    from statim.training.start import distilled_table, token_vectors

    teacher = Teacher.load(DEFAULT_TEACHER)
    tokenizer, source = Tokenizer(teacher.tokenizer), token_vectors(teacher)
    counts = np.bincount(tokenizer(texts[:100_000]).ids, minlength=len(source)).astype(float)
    table = distilled_table(source, counts, DIM, 0)
    if tokenizer.unknown_id is not None:
        table[tokenizer.unknown_id] = 0
    return StaticModel(table, tokenizer)


def measure(name: str, documents: Any, queries: Any, out: Path) -> dict[str, Any]:
    """Build, save, load and search, in this process."""
    n, d = documents.shape
    truth = np.load(out / f"truth-{n}.npy")
    engine, folder = make(name, d), out / f"{name}-{n}"
    found: dict[str, Any] = {"engine": name}
    with clock(found, "build"):
        for start in range(0, n, 1 << 16):
            engine.add(documents[start : start + (1 << 16)])
        engine.prepare()
    with clock(found, "save"):
        engine.save(folder)
    del engine
    found["disk_megabytes"] = round(sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6, 1)
    before = anonymous()
    with clock(found, "load"):
        loaded = load(name, folder, d)
    loaded.search(queries[:1], K)
    found["memory_megabytes"] = round(anonymous() - before, 1)
    first = getattr(loaded, "_first", None)
    efforts: list[int | None] = [None]
    if first is not None and first.efforts()[0] != first.efforts()[1]:
        chosen, most = first.effort, first.efforts()[1]
        efforts = sorted({min(most, max(1, round(chosen * factor))) for factor in (0.25, 0.5, 1, 2, 4)})
        efforts.remove(chosen)
        efforts.insert(0, chosen)
    points = [point(loaded, effort, queries, truth) for effort in efforts]
    found |= points[0] | {"curve": points}
    if name in EXACT:
        found |= bandwidth(loaded, name, queries, documents)
    return found


def point(engine: Any, effort: int | None, queries: Any, truth: Any) -> dict[str, Any]:
    """Recall and times at an effort."""
    if effort is not None:
        engine._first.effort = effort
    engine.search(queries, K)  # warms up
    found: dict[str, Any] = {} if effort is None else {"effort": effort}
    with clock(found, "batch"):
        _, positions = engine.search(queries, K)
    hits = sum(len(np.intersect1d(a, b)) for a, b in zip(positions, truth, strict=True))
    singles, used = [], time.process_time()
    for query in queries[:SINGLE]:
        rounds = [seconds(partial(engine.search, query[None], K)) for _ in range(ROUNDS)]
        singles.append(min(rounds))
    used = (time.process_time() - used) / (SINGLE * ROUNDS)
    return {
        "recall": round(hits / truth.size, 4), "milliseconds": round(1000 * float(np.median(singles)), 3),
        "cpu_milliseconds": round(1000 * used, 3), "batch_queries_per_second": round(len(queries) / found["batch_seconds"]),
        "batch_cpu_milliseconds": round(1000 * found["batch_cpu_seconds"] / len(queries), 3),
    } | {key: value for key, value in found.items() if key == "effort"}  # fmt: skip


def bandwidth(engine: Any, name: str, queries: Any, documents: Any) -> dict[str, Any]:
    """What one query reads in a second, as a part of what can be read: in rounds of both, the best of each."""
    size = documents.size * np.dtype(EXACT[name]).itemsize
    space = np.ones(size // 8, np.int64)  # as much memory as the engine reads
    found: dict[str, Any] = {}
    for workers in sorted({1, threads.count()}):
        ranges = threads.ranges(len(space), workers)
        read = partial(threads.run, [partial(np.bitwise_or.reduce, space[a:b]) for a, b in ranges], workers)
        ask = partial(engine.search, queries[:1], K, threads=workers)
        both = [(seconds(ask), seconds(read)) for _ in range(30)]
        ours, theirs = min(a for a, _ in both), min(b for _, b in both)
        found[f"gigabytes_per_second_{workers}"] = round(size / ours / 1e9, 2)
        found[f"of_bandwidth_{workers}"] = round(theirs / ours, 3)
        if workers == 1:  # of the processor's time, which others do not take
            ours, theirs = (min(processor_seconds(act) for _ in range(20)) for act in (ask, read))
            found["of_bandwidth_1_processor_time"] = round(theirs / ours, 3)
    return found


def seconds(act: Callable[[], Any]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def processor_seconds(act: Callable[[], Any]) -> float:
    started = time.thread_time()
    act()
    return time.thread_time() - started


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


def tell(name: str, found: dict[str, Any]) -> None:
    print(
        f"{name:14} recall {found['recall']:.4f}  one query {found['milliseconds']:8.3f} ms ({found['cpu_milliseconds']:.3f} cpu)  "
        f"batch {found['batch_queries_per_second']:7,}/s ({found['batch_cpu_milliseconds']:.3f} ms cpu)  "
        f"build {found['build_seconds']:.1f} s ({found['build_cpu_seconds']:.1f} cpu)  memory {found['memory_megabytes']:.0f} MB  "
        f"disk {found['disk_megabytes']:.0f} MB  "
        + " ".join(f"{key} {value}" for key, value in found.items() if key.startswith("of_bandwidth")),
        flush=True,
    )


COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#777777")  # Okabe and Ito, 2008


def picture(results: dict[str, Any], n: int, d: int) -> str:
    """Recall@10 over processor time of a query, one line or point an engine, as one HTML file."""
    width, height, left, top, right, bottom = 860, 460, 60, 20, 170, 46
    points = {name: curve(found["curve"]) for name, found in results.items()}
    times = [t for line in points.values() for t, _ in line]
    low, high = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))
    floor = min(0.95, *(recall for line in points.values() for _, recall in line))

    def place(t: float, recall: float) -> tuple[float, float]:
        x = left + (math.log10(t) - low) / max(1, high - low) * (width - left - right)
        return round(x, 1), round(top + (1 - recall) / (1 - floor) * (height - top - bottom), 1)

    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="recall over time">']
    for power in range(low, high + 1):
        x, _ = place(10.0**power, 1)
        parts.append(
            f'<line x1="{x}" x2="{x}" y1="{top}" y2="{height - bottom}" class="grid"/>'
            f'<text x="{x}" y="{height - bottom + 16}" text-anchor="middle">{10.0**power:g}</text>'
        )
    for recall in np.linspace(floor, 1, 6):
        _, y = place(10.0**low, recall)
        parts.append(
            f'<line x1="{left}" x2="{width - right}" y1="{y}" y2="{y}" class="grid"/>'
            f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{recall:.3f}</text>'
        )
    for number, (name, line) in enumerate(points.items()):
        colour = COLOURS[number % len(COLOURS)]
        dashes = ("none", "6 3", "2 3")[number // len(COLOURS) % 3]
        at = " ".join(f"{x},{y}" for x, y in (place(*each) for each in line))
        parts.append(
            f'<polyline points="{at}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>'
        )
        parts += [
            f'<circle cx="{x}" cy="{y}" r="3.5" fill="{colour}"><title>{html.escape(name)}: {recall:.4f}, {t:.3f} ms</title></circle>'
            for t, recall in line
            for x, y in [place(t, recall)]
        ]
        y = top + 12 + 22 * number
        parts.append(
            f'<line x1="{width - right + 12}" x2="{width - right + 40}" y1="{y - 4}" y2="{y - 4}" stroke="{colour}" '
            f'stroke-width="2" stroke-dasharray="{dashes}"/><text x="{width - right + 46}" y="{y}">{html.escape(name)}</text>'
        )
    parts.append(
        f'<text x="{(left + width - right) / 2}" y="{height - 8}" text-anchor="middle">milliseconds of the processor, a query</text>'
        f'<text x="{left}" y="{top - 6}">recall@10</text></svg>'
    )
    style = (
        ":root{color-scheme:light dark}body{font:15px system-ui,sans-serif;max-width:900px;margin:2rem auto;padding:0 1rem}"
        "svg{width:100%;height:auto}svg text{fill:currentColor;font-size:12px}.grid{stroke:#8884}"
    )
    title = f"Search engines on {n:,} vectors of {d} dimensions"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{style}</style><h1>{title}</h1>'
        + "\n".join(parts)
        + "</html>\n"
    )


def curve(points: Sequence[dict[str, Any]]) -> list[tuple[float, float]]:
    """(milliseconds, recall), by time."""
    return sorted((max(1e-3, p["cpu_milliseconds"]), p["recall"]) for p in points)


if __name__ == "__main__":
    main()
