"""Encoding by statim, model2vec and sentence-transformers' static module: the same table, the same texts, the same vectors.

Texts are the documentation inside this Python installation, short (about 30 tokens) and long (about 115). Rounds are interleaved,
each library in its fastest setting; ratios are medians of the rounds. The last line is JSON.

    python benchmarks/encode_against_peers.py [--texts 50000] [--dims 256,1024] [--rounds 5] [--teacher]
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")

import numpy as np

from packages import PACKAGES
from statim import StaticModel, threads
from statim.data.python_docs import python_docs
from statim.vocabulary import learn_wordpiece


def real_texts(count: int) -> dict[str, list[str]]:
    """``count`` short and long texts; when there are too few, they repeat with a number in front, so that all differ."""
    pairs = python_docs(PACKAGES)
    chosen = {"short": pairs.anchors.to_pylist(), "long": pairs.positives.to_pylist()}
    rng = np.random.default_rng(0)
    out = {}
    for kind, texts in chosen.items():
        order = rng.permutation(len(texts))
        out[kind] = [f"{i // len(texts)} {texts[order[i % len(texts)]]}" for i in range(count)]
    return out


def timed(function: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    started = time.perf_counter()
    vectors = function()
    return time.perf_counter() - started, vectors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--texts", type=int, default=50_000)
    parser.add_argument("--dims", default="256,1024")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--teacher", action="store_true", help="time all-MiniLM-L6-v2 too, on 500 texts")
    arguments = parser.parse_args()
    from model2vec import StaticModel as Model2Vec
    from sentence_transformers import SentenceTransformer

    texts = real_texts(arguments.texts)
    pairs = python_docs(PACKAGES)
    tokenizer = learn_wordpiece([pairs.anchors, pairs.positives])
    workers = threads.count()
    results = []
    for dim in map(int, arguments.dims.split(",")):
        table = (
            np.random.default_rng(dim).standard_normal((tokenizer.vocabulary_size, dim)).astype(np.float32)
        )
        table[tokenizer.unknown_id] = 0
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model")
            StaticModel(table, tokenizer).save(path)
            ours, model2vec = StaticModel.load(path), Model2Vec.from_pretrained(path)
            sentence_transformer = SentenceTransformer(path, device="cpu")
            for kind, some in texts.items():
                tokens = ours.tokenize(some)
                size = sum(len(text.encode()) for text in some) / 1e6
                ways: dict[str, Callable[[], np.ndarray]] = {
                    "statim": partial(ours.encode, some),
                    "statim, 1 thread": partial(ours.encode, some, threads=1),
                    "model2vec": partial(model2vec.encode, some),
                    "sentence-transformers": partial(
                        sentence_transformer.encode, some, batch_size=1024, show_progress_bar=False
                    ),
                }
                for way in ways.values():
                    way()
                seconds: dict[str, list[float]] = {name: [] for name in ways}
                for _ in range(arguments.rounds):
                    vectors = {}
                    for name, way in ways.items():
                        taken, vectors[name] = timed(way)
                        seconds[name].append(taken)
                for name in ways:
                    ratio = statistics.median(
                        theirs / mine for theirs, mine in zip(seconds[name], seconds["statim"], strict=True)
                    )
                    median = statistics.median(seconds[name])
                    row = {
                        "library": name, "dim": dim, "kind": kind, "tokens_per_text": round(float(tokens.lengths.mean()), 1),
                        "texts_per_second": round(len(some) / median), "tokens_per_second": round(len(tokens.ids) / median),
                        "mb_per_second": round(size / median, 1), "times_slower_than_statim": round(ratio, 2),
                        "largest_difference": float(np.abs(vectors[name] - vectors["statim"]).max()),
                    }  # fmt: skip
                    results.append(row)
                    print(
                        f"{dim:5} {kind:5} {name:22} {row['texts_per_second']:>9,} texts/s {row['mb_per_second']:>7} MB/s  "
                        f"statim is {ratio:6.2f} times as fast; vectors differ by {row['largest_difference']:.1e}",
                        flush=True,
                    )
    latency = single_text_latency(ours)
    result = {
        "benchmark": "encode_against_peers", "machine": platform.processor() or platform.machine(), "threads": workers,
        "texts": arguments.texts, "rows": results, "one_text_microseconds": latency,
    }  # fmt: skip
    if arguments.teacher:
        result["teacher_texts_per_second"] = teacher_rates(texts)
    print(json.dumps(result))


def single_text_latency(model: StaticModel) -> dict[str, float]:
    """Microseconds for one short text in a warm process: median and 99th percentile."""
    taken = []
    for _ in range(5000):
        started = time.perf_counter()
        model.encode("how do I read a csv file into a table?")
        taken.append((time.perf_counter() - started) * 1e6)
    return {"p50": round(statistics.median(taken), 1), "p99": round(float(np.percentile(taken, 99)), 1)}


def teacher_rates(texts: dict[str, list[str]]) -> dict[str, float]:
    """all-MiniLM-L6-v2 through sentence-transformers."""
    from sentence_transformers import SentenceTransformer

    from statim.teacher import DEFAULT_TEACHER, resolve_teacher

    model = SentenceTransformer(str(resolve_teacher(DEFAULT_TEACHER)), device="cpu")
    rates = {}
    for kind, some in texts.items():
        taken, _ = timed(partial(model.encode, some[:500], show_progress_bar=False))
        rates[kind] = round(500 / taken, 1)
    return rates


if __name__ == "__main__":
    main()
