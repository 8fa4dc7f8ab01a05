"""Encoding by statim, model2vec and sentence-transformers: the same table, texts and vectors.

Texts are the documentation inside this Python installation, short (about 30 tokens) and long (about 115).
Rounds are interleaved, each library in its fastest setting; ratios are medians of the rounds. "first time"
is a model that has just been loaded: no word was seen before. Tables in fewer bits are compared by the
cosine to float32. The last line is JSON.

    python benchmarks/encode_against_peers.py [--texts 50000] [--dims 256,1024]
        [--kinds WordPiece,Unigram,BPE] [--rounds 5] [--teacher]
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
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

from packages import PACKAGES
from statim import StaticModel, threads
from statim.data.pairs.python_docs import python_docs
from statim.tokenizer.tokenizer import Tokenizer
from statim.vocabulary import learn_wordpiece


def real_texts(count: int) -> dict[str, list[str]]:
    """``count`` short and long texts; too few repeat with a number in front, so that all differ."""
    pairs = python_docs(PACKAGES)
    chosen = {"short": pairs.anchors.to_pylist(), "long": pairs.positives.to_pylist()}
    rng = np.random.default_rng(0)
    out = {}
    for kind, texts in chosen.items():
        order = rng.permutation(len(texts))
        out[kind] = [f"{i // len(texts)} {texts[order[i % len(texts)]]}" for i in range(count)]
    return out


def learn(kind: str, corpus: list[str]) -> tokenizers.Tokenizer:
    """A tokenizer of 20,000 tokens: Unigram as XLM-R has it, BPE as GPT-2 has it."""
    if kind == "Unigram":
        backend = tokenizers.Tokenizer(models.Unigram())
        backend.normalizer = normalizers.NFKC()
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
        )
        trainer = trainers.UnigramTrainer(
            vocab_size=20_000, unk_token="<unk>", special_tokens=["<s>", "<unk>"], show_progress=False
        )
    else:
        backend = tokenizers.Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        letters = sorted(pre_tokenizers.ByteLevel.alphabet())
        trainer = trainers.BpeTrainer(vocab_size=20_000, initial_alphabet=letters, show_progress=False)
    backend.train_from_iterator(corpus[:10_000], trainer)
    return backend


def timed(function: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    started = time.perf_counter()
    vectors = function()
    return time.perf_counter() - started, vectors


def agreement(vectors: np.ndarray, expected: np.ndarray, table: str) -> dict[str, float]:
    """The largest difference of an entry; of tables in fewer bits the least cosine."""
    if table == "float32":
        return {"largest_difference": float(np.abs(vectors - expected).max())}
    return {"least_cosine": float((vectors * expected).sum(axis=1)[expected.any(axis=1)].min())}


def race(path: str, texts: list[str], rounds: int, *, tables: bool) -> list[dict[str, object]]:
    """All libraries and settings on some texts, interleaved; a row for each."""
    from model2vec import StaticModel as Model2Vec
    from sentence_transformers import SentenceTransformer

    model, most = StaticModel.load(path), threads.count()
    ways: dict[str, tuple[str, int, Callable[[], np.ndarray]]] = {
        f"statim, {count} thread{'s' * (count > 1)}": (
            "float32",
            count,
            partial(model.encode, texts, threads=count),
        )
        for count in sorted({1, 2, most} & set(range(1, most + 1)), reverse=True)
    }
    for table in ("float16", "int8") if tables else ():
        ways[f"statim, {table} table"] = (table, most, partial(model.quantize(table).encode, texts))
    ways["statim, first time"] = ("float32", most, lambda: fresh.encode(texts))
    ways["model2vec"] = ("float32", most, partial(Model2Vec.from_pretrained(path).encode, texts))
    peer = SentenceTransformer(path, device="cpu")
    ways["sentence-transformers"] = (
        "float32", most, partial(peer.encode, texts, batch_size=1024, show_progress_bar=False),
    )  # fmt: skip
    fresh = StaticModel.load(path)
    for _, _, way in ways.values():
        way()
    first = next(iter(ways))
    expected = ways[first][2]()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    agreements = {}
    for _ in range(rounds):
        for name, (table, _, way) in ways.items():
            fresh = StaticModel.load(path)
            taken, vectors = timed(way)
            seconds[name].append(taken)
            agreements[name] = agreement(vectors, expected, table)
            del vectors
    tokens, size = len(model.tokenize(texts).ids), sum(len(text.encode()) for text in texts) / 1e6
    rows = []
    for name, (table, count, _) in ways.items():
        median = statistics.median(seconds[name])
        ratio = statistics.median(
            theirs / ours for theirs, ours in zip(seconds[name], seconds[first], strict=True)
        )
        rows.append({
            "library": name, "table": table, "threads": count, "texts_per_second": round(len(texts) / median),
            "tokens_per_second": round(tokens / median), "mb_per_second": round(size / median, 1),
            "tokens_per_text": round(tokens / len(texts), 1), "statim_is_times_as_fast": round(ratio, 2),
            **agreements[name],
        })  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--texts", type=int, default=50_000)
    parser.add_argument("--dims", default="256,1024")
    parser.add_argument(
        "--kinds", default="WordPiece", help="tokenizers; others than WordPiece at 256 dimensions only"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--teacher", action="store_true", help="time all-MiniLM-L6-v2 too, on 500 texts")
    arguments = parser.parse_args()
    texts = real_texts(arguments.texts)
    pairs = python_docs(PACKAGES)
    results, latency = [], None
    for kind in arguments.kinds.split(","):
        if kind == "WordPiece":
            tokenizer = learn_wordpiece([pairs.anchors, pairs.positives])
        else:
            tokenizer = Tokenizer(learn(kind, pairs.positives.to_pylist()))
        for dim in map(int, arguments.dims.split(",") if kind == "WordPiece" else ["256"]):
            table = (
                np.random.default_rng(dim)
                .standard_normal((tokenizer.vocabulary_size, dim))
                .astype(np.float32)
            )
            if tokenizer.unknown_id is not None:
                table[tokenizer.unknown_id] = (
                    0  # model2vec drops it, the others count it: so the direction is the same
                )
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "model")
                StaticModel(table, tokenizer).save(path)
                latency = latency or single_text_latency(StaticModel.load(path))
                for length, some in texts.items():
                    for row in race(path, some, arguments.rounds, tables=kind == "WordPiece"):
                        results.append({"tokenizer": kind, "dim": dim, "texts": length, **row})
                        last = list(row.items())[-1]
                        print(
                            f"{kind:9} {dim:5} {length:5} {row['library']:22} "
                            f"{row['texts_per_second']:>9,} texts/s {row['tokens_per_second']:>11,} "
                            f"tokens/s {row['mb_per_second']:>6} MB/s  "
                            f"{row['statim_is_times_as_fast']:6.2f}  {last[0]} {last[1]:.7g}",
                            flush=True,
                        )
    result = {
        "benchmark": "encode_against_peers", "machine": platform.processor() or platform.machine(),
        "threads": threads.count(),
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

    from statim.teacher.folder import DEFAULT_TEACHER, resolve_teacher

    model = SentenceTransformer(str(resolve_teacher(DEFAULT_TEACHER)), device="cpu")
    rates = {}
    for kind, some in texts.items():
        taken, _ = timed(partial(model.encode, some[:500], show_progress_bar=False))
        rates[kind] = round(500 / taken, 1)
    return rates


if __name__ == "__main__":
    main()
