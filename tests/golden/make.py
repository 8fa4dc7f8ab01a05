"""Write what this version of statim stores, and what it answers: python make.py FOLDER [KIND ...].

Run it with an earlier version on the path (see README.md); it uses what that version has.
"""

import contextlib
import importlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from statim.model import StaticModel
from statim.search.index import Index

VERBS, THINGS = ("sort", "open", "read", "close"), ("list", "file", "house", "street", "word")
TEXTS = [f"how to {verb} a {thing}" for verb in VERBS for thing in THINGS]
MORE = ["opening the files", "Straßen and houses, sorted", "to be or not to be"]
QUERIES = ["sort the list", "houses", "open file", "read", "zzz"]
TRAINED: dict[str, Any] = {
    "heldout": 0, "epochs": 4, "batch": 8, "threads": 1, "seed": 1, "checkpoint_every": 3,
}  # fmt: skip


def model() -> StaticModel:
    words = ["[UNK]", *VERBS, *THINGS, "how", "to", "a", "the", "files", "houses"]
    backend = tokenizers.Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    table = np.random.default_rng(0).standard_normal((len(words), 8)).astype(np.float32)
    table[0] = 0
    return StaticModel(table, backend)


def first(*names: str) -> Any:
    """The first of these modules that this version has."""
    for name in names:
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    raise ImportError(names[0])


def indexed(path: Path, **options: Any) -> None:
    """An index to which documents were added and from which some were deleted, where that can be done."""
    years = [{"year": 2000 + number % 5} for number in range(len(TEXTS))]
    index = Index.build(model(), TEXTS, path, metadata=years, **options)
    if hasattr(index, "add"):
        index.add(MORE, ids=["x", "y", "z"], metadata=[{"year": 1999}] * 3)
        index.delete(["3", "7"])


def answers(path: Path) -> dict[str, Any]:
    index = Index.load(path)
    return {
        mode: [
            [[hit.id, round(hit.score, 5)] for hit in hits] for hits in index.search(QUERIES, 4, mode=mode)
        ]
        for mode in ("vector", "bm25", "hybrid")
    }


def vectors(path: Path) -> list[list[float]]:
    return [[round(float(x), 6) for x in row] for row in StaticModel.load(path).encode([*TEXTS[:3], *MORE])]


def fit(path: Path, head: str) -> None:
    classify = first("statim.tasks.classify.classify", "statim.tasks.classify")
    labels = [text.split()[2] for text in TEXTS]
    classify.Classifier.fit(model(), TEXTS, labels, head=head, ngrams=False).save(path)


def judged(path: Path) -> list[list[float]]:
    classify = first("statim.tasks.classify.classify", "statim.tasks.classify")
    return np.round(classify.Classifier.load(path, model()).probabilities(QUERIES), 5).tolist()


def train(path: Path, *, resume: bool = False) -> None:
    from statim.training.train import train

    pairs = [{"anchor": text, "positive": text.split()[4]} for text in TEXTS]
    train(pairs, out=path / "out", start=model(), resume=resume, **({} if resume else TRAINED))


def interrupted(path: Path) -> None:
    """A training that ended before its model was saved."""
    kept = first("statim.training.run.checkpoint", "statim.training.checkpoint")
    finish, kept.finish = kept.finish, lambda out: None
    try:
        train(path)
    finally:
        kept.finish = finish


def resumed(path: Path) -> list[list[float]]:
    """The vectors of the trained model, which is there when this version has just trained it."""
    if not (path / "out").exists():
        train(path, resume=True)
    found = vectors(path / "out")
    shutil.rmtree(path / "out")
    return found


def tokens(path: Path) -> None:
    model().tokenizer(TEXTS).save(path / "t.safetensors")


def read_tokens(path: Path) -> list[list[int]]:
    found = first("statim.tokenizer.tokens", "statim.tokens").Tokens.load(path / "t.safetensors")
    return [found.ids.tolist(), found.offsets.tolist()]


KINDS: dict[str, tuple[Callable[[Path], None], Callable[[Path], Any]]] = {
    "model": (lambda path: model().save(path), vectors),
    "model-int8": (lambda path: model().quantize("int8").save(path), vectors),
    "model-float16": (lambda path: model().quantize("float16").save(path), vectors),
    "index": (indexed, answers),
    **{
        f"index-{engine}": (lambda path, engine=engine: indexed(path, engine=engine), answers)
        for engine in ("binary", "exact-int8", "faiss-flat", "usearch-f16")
    },
    "lancedb": (lambda path: indexed(path, store="lancedb"), answers),
    "head-logistic": (lambda path: fit(path, "logistic"), judged),
    "head-neighbours": (lambda path: fit(path, "neighbours"), judged),
    "training": (interrupted, resumed),
    "tokens": (tokens, read_tokens),
}


def main(folder: Path, *kinds: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    expected = {}
    for name in kinds or KINDS:
        write, read = KINDS[name]
        path = folder / name
        if name in ("training", "tokens"):
            path.mkdir()
        try:
            write(path)
            expected[name] = read(path)
        except (TypeError, ImportError) as error:  # a later version's
            sys.stderr.write(f"{name}: {error}\n")
            shutil.rmtree(path, ignore_errors=True)
    (folder / "expected.json").write_text(json.dumps(expected) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
