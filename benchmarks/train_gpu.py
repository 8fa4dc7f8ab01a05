"""Training and encoding on one GPU: checked against the processor, timed beside the peer and the floor.

    python benchmarks/train_gpu.py [--batch 2048] [--dim 1024] [--minutes 9] [--device cuda]

It needs no network and no installed statim: pairs are the Python documentation of this machine's packages
(or made up, in the same token statistics, where that cannot be read). Every part reports by itself; one
that fails does not stop the others. The last line is JSON.
"""

import argparse
import contextlib
import dataclasses
import importlib.util
import json
import os
import statistics
import sys
import tempfile
import time
import traceback
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
os.environ.setdefault("STATIM_CACHE", tempfile.mkdtemp())
warnings.filterwarnings("ignore")


def stand_in(name: str, **content: Any) -> None:
    """A bare machine may lack a small package: do without it."""
    if importlib.util.find_spec(name) is None:
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(content)
        print(f"{name} is not installed: done without it")


class Unknown:
    """A tokenizer that refuses every description, so that another is taken."""

    @staticmethod
    def from_json(_: str) -> Any:
        """Refuse."""
        raise ValueError("not installed")


stand_in("platformdirs", user_cache_dir=lambda *_, **__: tempfile.mkdtemp())
stand_in("nanotoken", WordPieceTokenizer=Unknown)

import numpy as np
import torch

from packages import PACKAGES
from statim import threads
from statim.tokenizer.tokens import Tokens
from statim.training.datasets.bags import Bags, TrainingSet
from statim.training.datasets.batches import Schedule
from statim.training.device import fit as device_fit
from statim.training.device.fused import is_fused
from statim.training.device.optimizer import DeviceAdam
from statim.training.device.plans import DeviceData
from statim.training.initial_tables import random_table
from statim.training.loop.optimizer import SparseAdam
from statim.training.loop.trainer import fit, learning_rates
from statim.training.recipe import Recipe

RESULT: dict[str, Any] = {"benchmark": "train_gpu", "failed": []}
STARTED = time.perf_counter()


@contextlib.contextmanager
def part(name: str, limit: float) -> Iterator[None]:
    """One part: its heading, its time, its failure."""
    started = time.perf_counter()
    print(f"\n== {name} (at {started - STARTED:.0f} s)", flush=True)
    try:
        if started - STARTED > limit:
            raise TimeoutError("no time left for it")
        yield
    except Exception as error:
        RESULT["failed"].append(f"{name}: {type(error).__name__}: {str(error)[:200]}")
        print(f"FAILED: {name}")
        traceback.print_exc(limit=6, file=sys.stdout)
    print(f"   ({time.perf_counter() - started:.1f} s)", flush=True)


@contextlib.contextmanager
def without_triton() -> Iterator[None]:
    os.environ["STATIM_TRITON"] = "0"
    try:
        yield
    finally:
        del os.environ["STATIM_TRITON"]


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def median_seconds(run: Callable[[], Any], device: torch.device, repeat: int = 10) -> float:
    run()
    taken = []
    for _ in range(repeat):
        synchronize(device)
        started = time.perf_counter()
        run()
        synchronize(device)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def made_up(pairs: int = 40_000, vocabulary: int = 30_000) -> tuple[TrainingSet, int]:
    """Anchors of 20 tokens and positives of 110, their words as frequent as Zipf says."""
    rng = np.random.default_rng(0)
    chances = 1 / (np.arange(vocabulary) + 2.7)
    sizes = np.tile([20, 110], pairs)
    ids = rng.choice(vocabulary, int(sizes.sum()), p=chances / chances.sum()).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    anchors = np.arange(0, 2 * pairs, 2, dtype=np.int32)
    known = np.stack([anchors, anchors + 1], 1).flatten()
    starts = np.concatenate([np.arange(0, 2 * pairs, 2), [2 * pairs]]).repeat(2)[: 2 * pairs + 1]
    bags = Bags.of(Tokens(ids, offsets), vocabulary)
    return TrainingSet(
        bags,
        anchors,
        (anchors + 1)[:, None].copy(),
        known,
        starts.astype(np.int64),
        ("pairs",),
        np.zeros(pairs, np.uint16),
    ), vocabulary


def documentation() -> tuple[TrainingSet, int, Any, Any]:
    from statim.data.pairs.python_docs import python_docs
    from statim.vocabulary import learn_wordpiece

    found = [
        name
        for name in PACKAGES
        if name == "stdlib"
        or importlib.util.find_spec(name.replace("scikit-learn", "sklearn").replace("-", "_"))
    ]
    pairs = python_docs(found)
    tokenizer = learn_wordpiece([pairs.anchors, pairs.positives])
    started = time.perf_counter()
    data = TrainingSet.of(pairs, tokenizer, threads=threads.count())
    RESULT["tokenize_seconds"] = round(time.perf_counter() - started, 2)
    return data, tokenizer.vocabulary_size, pairs, tokenizer


def begin(data: TrainingSet, vocabulary: int, **given: Any) -> tuple[Recipe, SparseAdam]:
    recipe = Recipe.make(len(data), None, **given)
    table = random_table(vocabulary, recipe.dim, 0)
    rates = learning_rates(Schedule(data, recipe).steps * recipe.epochs, recipe)
    return recipe, SparseAdam(table, rates, threads.count(), recipe.clip)


def check(data: TrainingSet, vocabulary: int, device: torch.device) -> None:
    """The same steps on the processor and on the GPU, by each path."""
    small = dataclasses.replace(
        data, anchors=data.anchors[:3000].copy(), candidates=data.candidates[:3000].copy()
    )
    RESULT["check"] = {}
    for both in (False, True):
        given = {"dim": 96, "levels": (8, 32, 96), "batch": 512, "epochs": 2, "both_directions": both}
        recipe, start = begin(small, vocabulary, precision="fp32", **given)
        expected: list[float] = []
        processor = SparseAdam(start.table.copy(), start.rates, start.threads, start.clip)
        fit(small, processor, recipe, on_step=lambda _, loss, to=expected: to.append(loss))
        moved = np.linalg.norm(processor.current() - start.table)
        for name, precision, triton in (
            ("torch fp32", "fp32", False),
            ("triton fp32", "fp32", True),
            ("torch bf16", "bf16", False),
            ("triton bf16", "bf16", True),
        ):
            if triton and not is_fused(device):
                continue
            try:
                with contextlib.nullcontext() if triton else without_triton():
                    losses: list[float] = []
                    there = DeviceAdam(start, device, half=precision == "bf16")
                    device_fit.fit(
                        small,
                        there,
                        dataclasses.replace(recipe, precision=precision),
                        on_step=lambda _, loss, to=losses: to.append(loss),
                    )
                    off = float(np.linalg.norm(there.current() - processor.current()) / moved)
                    loss_off = float(np.max(np.abs(np.array(losses) / expected - 1)))
                good = off < (2e-3 if precision == "fp32" else 0.15)
                RESULT["check"][f"{name}, both={both}"] = {
                    "table": round(off, 6),
                    "loss": round(loss_off, 6),
                    "good": good,
                }
                print(
                    f"{name:12} both={both!s:5} table differs by {off:.2e} of its way, loss by "
                    f"{loss_off:.2e}: {'good' if good else 'BAD'}"
                )
            except Exception as error:
                RESULT["failed"].append(f"check {name} both={both}: {str(error)[:200]}")
                traceback.print_exc(limit=4, file=sys.stdout)


def ceilings(device: torch.device) -> None:
    """What this machine's memory and arithmetic give."""
    size = 1 << (31 if device.type == "cuda" else 26)
    source = torch.empty(size, dtype=torch.uint8, device=device).random_()
    target = torch.empty_like(source)
    RESULT["copy_bytes_per_second"] = 2 * size / median_seconds(lambda: target.copy_(source), device)
    n = 8192 if device.type == "cuda" else 512
    left, right = (torch.randn(n, n, device=device).bfloat16() for _ in range(2))
    RESULT["bf16_operations_per_second"] = 2 * n**3 / median_seconds(lambda: left @ right, device)
    print(
        f"copy {RESULT['copy_bytes_per_second'] / 1e12:.2f} TB/s, bf16 "
        f"{RESULT['bf16_operations_per_second'] / 1e12:.0f} TFLOP/s"
    )


def floor(data: TrainingSet, vocabulary: int, recipe: Recipe, device: torch.device) -> None:
    """The fewest bytes and operations of a step: each thing is read and written once.

    Rows and gradients are in bfloat16 where they are read.
    """
    there = DeviceData(data, vocabulary, device)
    order = np.random.default_rng(0).permutation(len(data))[: 4 * recipe.batch]
    batches = there.plan(torch.from_numpy(order.reshape(4, -1)).to(device))
    rows = statistics.mean(len(batch.rows) for batch in batches)
    entries = statistics.mean(batch.entries.stop - batch.entries.start for batch in batches)
    texts = statistics.mean(batch.texts for batch in batches)
    columns, d, L = texts - recipe.batch, recipe.dim, len(recipe.levels)
    parts = {
        "bring rows up to date (3 reads, 1 write, 1 copy in bf16)": rows * d * (4 * 4 + 2),
        "pool (gathered from cache, vectors written)": texts * d * 4 + entries * 8,
        "coefficients (written once, read twice)": L * recipe.batch * columns * 2 * 3,
        "gradients of vectors": texts * d * 4 * 3,
        "rows' gradients (written, read)": rows * d * 8,
        "Adam (3 reads, 3 writes)": rows * d * 24,
    }
    cached = 2 * entries * d * 2
    operations = 3 * 2 * recipe.batch * columns * d
    seconds = max(
        sum(parts.values()) / RESULT["copy_bytes_per_second"],
        operations / RESULT["bf16_operations_per_second"],
    )
    RESULT["floor"] = {
        "rows": round(rows), "entries": round(entries), "texts": round(texts),
        "bytes": round(sum(parts.values())), "cached_bytes": round(cached),
        "operations": round(operations), "seconds": seconds,
        "pairs_per_second": round(recipe.batch / seconds),
    }  # fmt: skip
    for name, amount in parts.items():
        print(f"{name:60} {amount / 1e6:8.0f} MB")
    print(
        f"{rows:,.0f} rows, {entries:,.0f} entries; {cached / 1e6:,.0f} MB more from cache; "
        f"{operations / 1e9:.0f} G operations"
    )
    print(f"floor {seconds * 1e3:.3f} ms a step: {recipe.batch / seconds:,.0f} pairs/s")


def speed(data: TrainingSet, start: SparseAdam, recipe: Recipe, device: torch.device) -> float:
    """Pairs per second of the whole loop, plans and transfers included, after a few steps that compile."""
    half = recipe.precision == "bf16"
    few = SparseAdam(start.table, start.rates[:9], start.threads, start.clip)
    device_fit.fit(data, DeviceAdam(few, device, half=half), recipe)
    there, losses = DeviceAdam(start, device, half=half), []
    synchronize(device)
    started = time.perf_counter()
    device_fit.fit(data, there, recipe, on_step=lambda _, loss: losses.append(loss))
    synchronize(device)
    if not losses[-1] < losses[0]:
        raise ValueError(f"the loss went from {losses[0]} to {losses[-1]}")
    return len(losses) * recipe.batch / (time.perf_counter() - started)


def breakdown(
    data: TrainingSet, vocabulary: int, start: SparseAdam, recipe: Recipe, device: torch.device
) -> None:
    """Where a step's time goes: parts by themselves, what the host needs to ask for them, and the kernels."""
    there, on_device = (
        DeviceAdam(start, device, half=recipe.precision == "bf16"),
        DeviceData(data, vocabulary, device),
    )
    count = max(1, min(16, len(data) // recipe.batch))
    pairs = torch.from_numpy(
        np.random.default_rng(0).permutation(len(data))[: count * recipe.batch].reshape(count, -1)
    ).to(device)
    seconds = {"plan (of one step)": median_seconds(lambda: on_device.plan(pairs), device, 5) / count}
    batches = on_device.plan(pairs)
    batch = batches[0]
    vectors = there.read(batch)
    B = batch.anchors

    def loss() -> Any:
        return device_fit.contrastive(
            vectors[:B], vectors[B:], batch.columns, (batch.masked_rows, batch.masked_columns),
            levels=recipe.levels,
            scale=recipe.scale, half=recipe.precision == "bf16", both_directions=recipe.both_directions,
        )  # fmt: skip

    gradients = torch.cat(loss()[1:])
    seconds["read: bring, pool"] = median_seconds(lambda: there.read(batch), device)
    seconds["loss and gradient"] = median_seconds(loss, device)

    def update() -> None:
        there._taken = 0
        there.update(batch, gradients)

    seconds["update: gather, Adam"] = median_seconds(update, device)
    there._taken = there.step = 0
    synchronize(device)
    started = time.perf_counter()
    for one in batches:
        device_fit._step(one, there, recipe, B, device_fit.ALONE)
    asked = time.perf_counter() - started
    synchronize(device)
    seconds["a step, asked for"] = asked / count
    seconds["a step, done"] = (time.perf_counter() - started) / count
    for name, value in seconds.items():
        print(f"{name:30} {value * 1e3:8.3f} ms")
    RESULT["milliseconds"] = {name: round(value * 1e3, 3) for name, value in seconds.items()}
    if device.type == "cuda":
        from torch.profiler import ProfilerActivity, profile

        with profile(activities=[ProfilerActivity.CUDA]) as seen:
            for one in batches[:8]:
                device_fit._step(one, there, recipe, B, device_fit.ALONE)
            torch.cuda.synchronize()
        print(seen.key_averages().table(sort_by="cuda_time_total", row_limit=18, max_name_column_width=60))


def variants(data: TrainingSet, start: SparseAdam, recipe: Recipe, device: torch.device) -> None:
    """Other sizes of the kernels' parts."""
    from statim.kernels.gpu import contrast
    from statim.kernels.gpu import rows as gpu_rows

    found = RESULT["variants"] = {}
    for module, name, values in (
        (gpu_rows, "TOGETHER", (4, 16)), (gpu_rows, "WIDTH", (512,)), (contrast, "ROWS", (128,)),
        (contrast, "WARPS", (4,)),
    ):  # fmt: skip
        usual = getattr(module, name)
        for value in values:
            setattr(module, name, value)
            try:
                found[f"{name}={value}"] = round(speed(data, start, recipe, device))
                print(f"{name}={value} (usually {usual}): {found[f'{name}={value}']:,} pairs/s", flush=True)
            except Exception as error:
                print(f"{name}={value}: {str(error)[:150]}")
            finally:
                setattr(module, name, usual)


def sentence_transformers(
    pairs: Any, tokenizer: Any, recipe: Recipe, device: torch.device, vocabulary: int
) -> None:
    """The peer's model and losses in a plain loop: its trainer's step without the trainer's own cost.

    Tokens are made beforehand or on the way.
    """
    from sentence_transformers import SentenceTransformer

    try:
        from sentence_transformers.sentence_transformer.losses import (
            MatryoshkaLoss,
            MultipleNegativesRankingLoss,
        )
        from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    except ImportError:
        from sentence_transformers.losses import MatryoshkaLoss, MultipleNegativesRankingLoss
        from sentence_transformers.models import StaticEmbedding

    module = StaticEmbedding(tokenizer.backend, embedding_weights=random_table(vocabulary, recipe.dim, 0))
    model = SentenceTransformer(modules=[module], device=str(device))
    loss = MatryoshkaLoss(
        model,
        MultipleNegativesRankingLoss(model, scale=recipe.scale),
        matryoshka_dims=list(recipe.levels)[::-1],
    )
    adam = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=device.type == "cuda")
    steps = min(12, len(pairs) // recipe.batch)
    columns = [pairs.anchors.to_pylist(), pairs.positives.to_pylist()]
    prepare = getattr(model, "preprocess", None) or model.tokenize

    def features(step: int) -> list[Any]:
        span = slice(step * recipe.batch, (step + 1) * recipe.batch)
        return [
            {
                name: value.to(device) if hasattr(value, "to") else value
                for name, value in prepare(column[span]).items()
            }
            for column in columns
        ]

    def run(given: list[Any]) -> None:
        with torch.autocast(device.type, torch.bfloat16):
            value = loss(given, None)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        adam.zero_grad()

    ready = [features(step) for step in range(steps)]
    run(ready[0])
    found = {}
    for name, batches in (
        ("tokens ready", lambda: ready),
        ("from texts", lambda: map(features, range(steps))),
    ):
        synchronize(device)
        started = time.perf_counter()
        for given in batches():
            run(given)
        synchronize(device)
        found[name] = round(steps * recipe.batch / (time.perf_counter() - started))
        print(f"sentence-transformers, {name}: {found[name]:,} pairs/s")
    RESULT["sentence_transformers_pairs_per_second"] = found


def quality(pairs: Any, tokenizer: Any, vocabulary: int, device: torch.device) -> None:
    """The same training on both, to held-out pairs: the share whose positive is the nearest of 2,000."""
    keep = np.random.default_rng(1).permutation(len(pairs))
    test, train = keep[:2000], keep[2000:]
    data = TrainingSet.of(pairs.select(train), tokenizer, threads=threads.count())
    recipe, start = begin(data, vocabulary, dim=256, levels=(32, 64, 128, 256), batch=1024, epochs=3)
    started = time.perf_counter()
    there = DeviceAdam(start, device, half=True)
    device_fit.fit(data, there, recipe)
    tables = {"gpu": there.current()}
    seconds = {"gpu": round(time.perf_counter() - started, 2)}
    fit(data, SparseAdam(start.table.copy(), start.rates[:3], start.threads, start.clip), recipe)  # compiles
    processor = SparseAdam(start.table.copy(), start.rates, start.threads, start.clip)
    started = time.perf_counter()
    fit(data, processor, recipe)
    tables["cpu"], seconds["cpu"] = processor.current(), round(time.perf_counter() - started, 2)
    from statim.model import StaticModel

    texts = pairs.select(test)
    for name, table in tables.items():
        model = StaticModel(table, tokenizer)
        a, p = (
            torch.from_numpy(model.encode(column.to_pylist(), normalize=True))
            for column in (texts.anchors, texts.positives)
        )
        hit = float(((a @ p.T).argmax(1) == torch.arange(len(test))).float().mean())
        RESULT[f"accuracy@1_{name}"] = round(hit, 4)
        print(
            f"{name}: accuracy@1 {hit:.4f}, {seconds[name]} s for {recipe.epochs} epochs of "
            f"{len(data):,} pairs"
        )
    RESULT["training_seconds"] = seconds


def encoding(pairs: Any, tokenizer: Any, vocabulary: int, device: torch.device, dim: int) -> None:
    from statim.model import StaticModel
    from statim.on_device import OnDevice

    model = StaticModel(random_table(vocabulary, dim, 0), tokenizer)
    there = OnDevice(model, str(device))
    texts = pairs.positives.to_pylist()
    found, expected = there.encode(texts[:3000]), model.encode(texts[:3000])
    print(f"vectors differ by {np.abs(found - expected).max():.1e}")
    RESULT["encode_texts_per_second"] = {}
    for name, run in (
        ("gpu", lambda: there.encode(texts)),
        ("cpu", lambda: model.encode(texts)),
        ("tokenizing alone", lambda: model.tokenize(texts)),
    ):
        rate = round(len(texts) / median_seconds(run, device, 3))
        RESULT["encode_texts_per_second"][name] = rate
        print(f"encode, {name}: {rate:,} texts/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument(
        "--minutes", type=float, default=9.0, help="parts that would begin later are left out"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--made-up", action="store_true", help="do not read documentation")
    arguments = parser.parse_args()
    limit, device = arguments.minutes * 60, torch.device(arguments.device)
    RESULT["machine"] = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    RESULT["torch"], RESULT["triton"] = torch.__version__, is_fused(device)
    print(
        RESULT["machine"],
        "torch",
        torch.__version__,
        "triton" if is_fused(device) else "no triton",
        threads.count(),
        "threads",
    )
    pairs = tokenizer = None
    data, vocabulary = made_up(4000)
    with part("data", limit):
        if arguments.made_up:
            data, vocabulary = made_up()
        else:
            try:
                data, vocabulary, pairs, tokenizer = documentation()
            except Exception:
                traceback.print_exc(limit=4, file=sys.stdout)
                data, vocabulary = made_up()
        sizes = np.diff(data.bags.offsets)
        print(f"{len(data):,} pairs, {vocabulary:,} rows; " + "; ".join(
            f"{name} {data.bags.totals[own].mean():.0f} tokens, {sizes[own].mean():.0f} distinct"
            for name, own in (("anchors", data.anchors), ("positives", data.candidates[:, 0]))
        ))  # fmt: skip
    levels = sorted({level for level in (32, 64, 128, 256, 512) if level < arguments.dim} | {arguments.dim})
    given = {"dim": arguments.dim, "levels": levels, "batch": arguments.batch, "epochs": arguments.epochs}
    recipe, start = begin(data, vocabulary, **given)
    RESULT.update(
        {"pairs": len(data), "batch": recipe.batch, "dim": recipe.dim, "levels": list(recipe.levels)}
    )
    with part("check against the processor", limit):
        check(data, vocabulary, device)
    with part("ceilings", limit):
        ceilings(device)
    with part("floor", limit):
        floor(data, vocabulary, recipe, device)
    with part("speed", limit):
        RESULT["pairs_per_second"] = round(max(speed(data, start, recipe, device) for _ in range(2)))
        print(f"{RESULT['pairs_per_second']:,} pairs/s")
        if "floor" in RESULT:
            RESULT["of_the_floor"] = round(
                RESULT["pairs_per_second"] / RESULT["floor"]["pairs_per_second"], 3
            )
            print(f"{RESULT['of_the_floor']:.1%} of the floor")
    with part("where the time goes", limit):
        breakdown(data, vocabulary, start, recipe, device)
    with part("without triton", limit), without_triton():
        RESULT["pairs_per_second_without_triton"] = round(speed(data, start, recipe, device))
        print(f"{RESULT['pairs_per_second_without_triton']:,} pairs/s")
    with part("both directions; float32", limit):
        for name, change in (("both_directions", {"both_directions": True}), ("fp32", {"precision": "fp32"})):
            RESULT[f"pairs_per_second_{name}"] = round(
                speed(data, start, dataclasses.replace(recipe, **change), device)
            )
            print(f"{name}: {RESULT[f'pairs_per_second_{name}']:,} pairs/s", flush=True)
    if pairs is not None:
        with part("sentence-transformers", limit):
            if importlib.util.find_spec("sentence_transformers") is None:
                print("sentence-transformers is not installed: left out")
            else:
                sentence_transformers(pairs, tokenizer, recipe, device, vocabulary)
        with part("encoding", limit):
            encoding(pairs, tokenizer, vocabulary, device, arguments.dim)
        with part("quality", limit):
            quality(pairs, tokenizer, vocabulary, device)
    if is_fused(device) and device.type == "cuda":
        with part("variants", limit):
            variants(data, start, recipe, device)
    print(json.dumps(RESULT))


if __name__ == "__main__":
    main()
