"""The same training by statim and by sentence-transformers' own trainer: time, and quality on held-out pairs.

Both start from the same table and tokenizer, take the same pairs, loss (multiple negatives ranking inside Matryoshka), batch size,
epochs, peak rate, warm-up and decay. The clock runs from texts in memory to the trained table, tokenizing included; imports and
compilation are not counted. Rounds are interleaved; medians are printed; the last line is JSON.

    python benchmarks/train_against_sentence_transformers.py [FILE ...] [--batch 1024] [--dim 512] [--epochs 5] [--rounds 3]

Without files, the pairs are the Python documentation of the packages below, so that machines agree.
"""

import argparse
import dataclasses
import json
import os
import platform
import statistics
import tempfile
import time
import warnings

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
warnings.filterwarnings("ignore")

import numpy as np

from packages import PACKAGES
from statim import cache, threads
from statim.data.pairs import Pairs
from statim.data.python_docs import python_docs
from statim.data.reading import read_pairs
from statim.data.retrieval import from_pairs
from statim.data.split import split
from statim.evaluation.retrieval import evaluate_retrieval
from statim.model import StaticModel
from statim.tokenizer import Tokenizer
from statim.training.bags import TrainingSet
from statim.training.recipe import Recipe
from statim.training.start import random_table
from statim.training.trainer import begin, fit, steps_per_epoch
from statim.vocabulary import learn_wordpiece


def by_statim(
    pairs: Pairs, tokenizer: Tokenizer, table: np.ndarray, recipe: Recipe, workers: int
) -> tuple[np.ndarray, float]:
    cache.clear("tokens")  # texts are tokenized anew in every round
    started = time.perf_counter()
    data = TrainingSet.of(pairs, tokenizer, threads=workers)
    optimizer = begin(table.copy(), len(data), recipe, workers)
    fit(data, optimizer, recipe)
    trained = optimizer.current()
    return trained, time.perf_counter() - started


def by_sentence_transformers(
    columns: dict[str, list[str]], tokenizer: Tokenizer, table: np.ndarray, recipe: Recipe, data_workers: int
) -> tuple[np.ndarray, float]:
    import transformers
    from datasets import Dataset, disable_progress_bars
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss, MultipleNegativesRankingLoss
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    transformers.logging.set_verbosity_error()
    disable_progress_bars()
    module = StaticEmbedding(Tokenizer.from_json(tokenizer.to_json()).backend, embedding_weights=table.copy())
    model = SentenceTransformer(modules=[module], device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=folder, num_train_epochs=recipe.epochs, per_device_train_batch_size=recipe.batch,
            learning_rate=recipe.learning_rate, warmup_steps=recipe.warmup, lr_scheduler_type="linear", bf16=recipe.precision == "bf16",
            dataloader_num_workers=data_workers, dataloader_drop_last=True, save_strategy="no", eval_strategy="no",
            report_to=[], disable_tqdm=True, logging_strategy="no", seed=recipe.seed, use_cpu=True,
        )  # fmt: skip
        loss = MatryoshkaLoss(
            model,
            MultipleNegativesRankingLoss(model, scale=recipe.scale),
            matryoshka_dims=list(recipe.levels)[::-1],
        )
        started = time.perf_counter()
        dataset = Dataset.from_dict(columns)
        trainer = SentenceTransformerTrainer(model=model, args=arguments, train_dataset=dataset, loss=loss)
        trainer.train()
        seconds = time.perf_counter() - started
    return module.embedding.weight.detach().numpy().copy(), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("files", nargs="*", default=None)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--learning-rate", type=float, default=0.2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=None, help="use only so many training pairs")
    parser.add_argument(
        "--data-workers", type=int, default=0, help="sentence-transformers' dataloader workers"
    )
    arguments = parser.parse_args()

    os.environ["STATIM_CACHE"] = tempfile.mkdtemp()
    pairs = read_pairs(arguments.files) if arguments.files else python_docs(PACKAGES)
    parts = split(pairs, development=500, test=2000, seed=0)
    kept = (
        parts.train
        if arguments.limit is None
        else parts.train.select(np.arange(min(arguments.limit, len(parts.train))))
    )
    levels = [level for level in (16, 32, 64, 128, 256, 512, 1024) if level < arguments.dim][-5:]
    recipe = Recipe.make(
        len(kept), None, dim=arguments.dim, levels=levels, batch=arguments.batch, epochs=arguments.epochs,
        learning_rate=arguments.learning_rate,
    )  # fmt: skip
    tokenizer = learn_wordpiece([kept.anchors, kept.positives])
    table = random_table(tokenizer.vocabulary_size, recipe.dim, 0)
    table[tokenizer.unknown_id] = 0
    columns = {"anchor": kept.anchors.to_pylist(), "positive": kept.positives.to_pylist()}
    test = from_pairs(parts.test)
    workers = threads.count()

    def quality(trained: np.ndarray) -> float:
        return float(evaluate_retrieval(StaticModel(trained, tokenizer), test).metrics["ndcg@10"])

    by_statim(kept.select(np.arange(recipe.batch * 2)), tokenizer, table, recipe, workers)  # compiles, loads
    ours, theirs = [], []
    for round_number in range(arguments.rounds):
        recipe = dataclasses.replace(recipe, seed=round_number)  # another order of the pairs
        our_table, seconds = by_statim(kept, tokenizer, table, recipe, workers)
        ours.append((seconds, quality(our_table)))
        their_table, seconds = by_sentence_transformers(
            columns, tokenizer, table, recipe, arguments.data_workers
        )
        theirs.append((seconds, quality(their_table)))
        print(
            f"round {round_number + 1}: statim {ours[-1][0]:.2f} s, NDCG@10 {ours[-1][1]:.4f}; "
            f"sentence-transformers {theirs[-1][0]:.2f} s, NDCG@10 {theirs[-1][1]:.4f}",
            flush=True,
        )
    ratio = statistics.median(their[0] / our[0] for our, their in zip(ours, theirs, strict=True))
    processed = recipe.epochs * steps_per_epoch(len(kept), recipe) * recipe.batch
    result = {
        "benchmark": "train_against_sentence_transformers", "machine": platform.processor() or platform.machine(), "threads": workers,
        "pairs": len(kept), "batch": recipe.batch, "dim": recipe.dim, "levels": list(recipe.levels), "epochs": recipe.epochs,
        "statim_seconds": round(statistics.median(our[0] for our in ours), 2),
        "sentence_transformers_seconds": round(statistics.median(their[0] for their in theirs), 2),
        "ratio": round(ratio, 2),
        "statim_pairs_per_second": round(processed / statistics.median(our[0] for our in ours)),
        "sentence_transformers_pairs_per_second": round(processed / statistics.median(their[0] for their in theirs)),
        "statim_ndcg@10": round(statistics.median(our[1] for our in ours), 4),
        "sentence_transformers_ndcg@10": round(statistics.median(their[1] for their in theirs), 4),
        "start_ndcg@10": round(quality(table), 4),
    }  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    main()
