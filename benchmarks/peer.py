"""The same training by sentence-transformers' trainer, from pairs on disk to a saved model.

Shared by other benchmarks.
"""

import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from from_disk import Clock
from statim.tokenizer.tokenizer import Tokenizer
from statim.training.recipe import Recipe

Floats = npt.NDArray[np.float32]
Curve = list[tuple[int, float, Any]]  # step, seconds since the beginning, whatever was measured


def set_up(data_workers: int = 0, context: str = "fork") -> None:
    """Before sentence-transformers is imported: how its tokenizer and its dataloader may use the processors.

    A tokenizer that has used its threads must not go on using them in a forked process, or that waits for
    ever. Left to itself it notices; told to be parallel it does not.
    """
    if data_workers == 0:
        os.environ["TOKENIZERS_PARALLELISM"] = "true"
    else:
        os.environ.pop("TOKENIZERS_PARALLELISM", None)
        multiprocessing.set_start_method(context, force=True)  # what torch's dataloader goes by


def quiet() -> None:
    import datasets
    import transformers

    transformers.logging.set_verbosity_error()
    datasets.disable_progress_bars()


def by_sentence_transformers(
    folder: Path,
    out: Path | None,
    tokenizer: Tokenizer,
    table: Floats,
    recipe: Recipe,
    *,
    data_workers: int = 0,
    points: Collection[int] = (),
    measure: Callable[[Floats], Any] | None = None,
) -> tuple[Floats, Clock, Curve]:
    """Read, train, evaluate on the test pairs, save; gives the table, the clock and the curve.

    Args:
        folder: With train.jsonl and test.jsonl.
        out: For the model; None neither evaluates nor saves.
        tokenizer: The model's.
        table: Where it starts.
        recipe: How to train, without its precision of statim's own.
        data_workers: Processes that tokenize ahead.
        points: Steps after which the table is measured, with the clock stopped.
        measure: What is measured there.
    """
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss, MultipleNegativesRankingLoss
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from transformers import PrinterCallback, TrainerCallback

    quiet()
    curve: Curve = []

    class Measure(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            if measure is not None and state.global_step in points:
                seconds = clock.now()
                with clock.stopped():
                    table = module.embedding.weight.detach().numpy().copy()
                    curve.append((state.global_step, seconds, measure(table)))

    backend = Tokenizer.from_json(tokenizer.to_json()).backend
    weights = table.copy()
    with tempfile.TemporaryDirectory() as temporary:
        clock = Clock()
        dataset = Dataset.from_json(str(folder / "train.jsonl"), cache_dir=temporary)
        clock.lap("read")
        module = StaticEmbedding(backend, embedding_weights=weights)
        model = SentenceTransformer(modules=[module], device="cpu")
        inner = MultipleNegativesRankingLoss(model, scale=recipe.scale)
        levels = list(recipe.levels)[::-1]
        loss = MatryoshkaLoss(model, inner, matryoshka_dims=levels) if len(levels) > 1 else inner
        trainer = SentenceTransformerTrainer(
            model=model,
            args=_arguments(temporary, recipe, data_workers),
            train_dataset=dataset,
            loss=loss,
            callbacks=[Measure()],
        )
        trainer.remove_callback(PrinterCallback)
        clock.lap("prepare")
        trainer.train()
        clock.lap("train")
        if out is not None:
            evaluator = _evaluator(folder / "test.jsonl")
            evaluator(model)
            clock.lap("evaluate")
            model.save_pretrained(str(out), create_model_card=False)
            clock.lap("save")
    return module.embedding.weight.detach().numpy().copy(), clock, curve


def _arguments(folder: str, recipe: Recipe, data_workers: int) -> Any:
    from sentence_transformers import SentenceTransformerTrainingArguments

    return SentenceTransformerTrainingArguments(
        output_dir=folder, num_train_epochs=recipe.epochs, per_device_train_batch_size=recipe.batch,
        learning_rate=recipe.learning_rate, warmup_steps=recipe.warmup, lr_scheduler_type="linear",
        weight_decay=0.0,
        max_grad_norm=recipe.clip, bf16=recipe.precision == "bf16", dataloader_num_workers=data_workers,
        dataloader_drop_last=True, dataloader_pin_memory=False, save_strategy="no", eval_strategy="no",
        report_to=[],
        disable_tqdm=True, logging_strategy="no", seed=recipe.seed, use_cpu=True,
    )  # fmt: skip


def _evaluator(path: Path) -> Any:
    """NDCG@10 alone; the other metrics cannot be left out, but need no more than those ten documents."""
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    queries: dict[str, str] = {}
    documents: dict[str, str] = {}
    relevant: dict[str, set[str]] = {}
    with path.open(encoding="utf-8") as file:
        for row in map(json.loads, file):
            query = queries.setdefault(row["anchor"], f"q{len(queries)}")
            document = documents.setdefault(row["positive"], f"d{len(documents)}")
            relevant.setdefault(query, set()).add(document)
    return InformationRetrievalEvaluator(
        {name: text for text, name in queries.items()}, {name: text for text, name in documents.items()},
        relevant,
        mrr_at_k=[10], ndcg_at_k=[10], accuracy_at_k=[10], precision_recall_at_k=[10], map_at_k=[10],
        batch_size=2048, write_csv=False,
    )  # fmt: skip


def finetuning(
    path: Path, teacher: Path, seconds: float, precision: str, *, batch: int = 64
) -> tuple[int, float]:
    """Fine-tune a sentence transformer for a time; return the steps after the first and their seconds.

    Multiple negatives ranking at full dimension, sentence-transformers' defaults; the first step is not
    counted.
    """
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from transformers import PrinterCallback, TrainerCallback

    quiet()
    times: list[float] = []

    class Stop(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            times.append(time.perf_counter())
            control.should_training_stop = times[-1] - times[0] >= seconds and len(times) > 1

    with tempfile.TemporaryDirectory() as temporary:
        model = SentenceTransformer(str(teacher), device="cpu", local_files_only=True)
        arguments = SentenceTransformerTrainingArguments(
            output_dir=temporary, num_train_epochs=100, per_device_train_batch_size=batch, learning_rate=2e-5,
            warmup_steps=0.1,
            bf16=precision == "bf16", dataloader_drop_last=True, dataloader_pin_memory=False,
            save_strategy="no",
            eval_strategy="no", report_to=[], disable_tqdm=True, logging_strategy="no", use_cpu=True,
        )  # fmt: skip
        dataset = Dataset.from_json(str(path), cache_dir=temporary)
        trainer = SentenceTransformerTrainer(
            model=model,
            args=arguments,
            train_dataset=dataset,
            loss=MultipleNegativesRankingLoss(model),
            callbacks=[Stop()],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return len(times) - 1, times[-1] - times[0]
