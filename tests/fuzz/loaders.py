"""Every loader, with a small valid thing to load: what a campaign damages, and what must be true of what
loads all the same.
"""

import contextlib
import csv
import dataclasses
import gzip
import io
import itertools
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import tokenizers
from pyarrow import feather, parquet
from tokenizers import models, normalizers, pre_tokenizers

from statim.data.documents.corpus import read_corpus
from statim.data.documents.texts import read_documents, read_texts
from statim.data.files import tables
from statim.data.files.resumable import unfinished
from statim.data.files.vectors import VectorWriter, texts_done
from statim.data.labelled.graded import read_classes, read_scored
from statim.data.labelled.labelled import read_judged_pairs, read_labelled, read_sts
from statim.data.labelled.retrieval import read_beir
from statim.data.pairs.reading import read_pairs
from statim.errors import DataError, ModelError
from statim.model import StaticModel
from statim.search.filters.where import read as read_condition
from statim.search.index import Index
from statim.tasks.classify.classify import Classifier
from statim.tasks.recommend.baskets import read_baskets
from statim.tensors import load_tensors, map_array, save_tensors
from statim.training import teaching
from statim.training.distillation import teacher_vectors
from statim.training.loop.optimizer import SparseAdam
from statim.training.options import TrainOptions
from statim.training.recipe import Recipe
from statim.training.run import checkpoint
from statim.training.run.history import History
from statim.training.run.record import Found, Run

WORDS = ["sort", "list", "open", "file", "read", "write", "how", "to", "a", "the"]
TEXTS = ["how to sort a list", "how to open a file", "read the file", "write the list to a file"]
ASKED = ["a list of words", "", "☃ unknown"]


@dataclass(frozen=True)
class Loader:
    """One way in.

    Attributes:
        name: What the figures call it.
        make: Put something whole into a folder.
        load: Load it, and check what must be true of anything that loads.
        files: The names of the files to damage; all files by default.
        quick: How many inputs `make test` tries, and
        long: the share that it has of those of `make test-long`.
        mend: Called after a file was damaged: makes sizes that a manifest says fit again, so that more
            than they is tried.
    """

    name: str
    make: Callable[[Path], None]
    load: Callable[[Path], object]
    files: tuple[str, ...] = ()
    quick: int = 100
    long: int = 10
    mend: Callable[[Path, str], None] | None = None


def tokenizer(kind: str = "WordLevel") -> tokenizers.Tokenizer:
    pieces = ["[UNK]", *WORDS, *"bcdefghijklmnopqrstuvwxyz", *(f"##{c}" for c in "einorst")]
    if kind == "WordPiece":
        found = tokenizers.Tokenizer(
            models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]")
        )
        found.normalizer = normalizers.BertNormalizer(lowercase=True)
        found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    elif kind == "Unigram":
        found = tokenizers.Tokenizer(
            models.Unigram([(p, -1.0 - i) for i, p in enumerate(["<unk>", "▁", *WORDS, *"abcdef"])], 0)
        )
        found.pre_tokenizer = pre_tokenizers.Metaspace()
    elif kind == "BPE":
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        found = tokenizers.Tokenizer(
            models.BPE({p: i for i, p in enumerate([*alphabet, "so", "rt"])}, [("s", "o"), ("r", "t")])
        )
        found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        found = tokenizers.Tokenizer(
            models.WordLevel({p: i for i, p in enumerate(["[UNK]", *WORDS])}, unk_token="[UNK]")
        )
        found.normalizer = normalizers.Lowercase()
        found.pre_tokenizer = pre_tokenizers.Whitespace()
    return found  # fmt: skip


def model(kind: str = "WordLevel") -> StaticModel:
    backend = tokenizer(kind)
    table = np.random.default_rng(0).standard_normal((backend.get_vocab_size(), 4)).astype(np.float32)
    table[0] = 0
    return StaticModel(table, backend)


def save_model(kind: str, change: Callable[[Path], None] = lambda folder: None) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        model(kind).save(folder)
        change(folder)

    return make


def as_model2vec(folder: Path) -> None:
    (folder / "config.json").write_text('{"normalize": true, "max_length": 9}')
    (folder / "modules.json").unlink()
    rows = np.arange(11, dtype=np.int64)[::-1] // 2
    arrays = {"embeddings": np.ones((6, 4), np.float16), "mapping": rows, "weights": np.ones(11, np.float32)}
    save_tensors(folder / "model.safetensors", arrays)


def as_sentence_transformers(folder: Path) -> None:
    (folder / "config.json").unlink()
    save_tensors(folder / "model.safetensors", {"embedding.weight": np.ones((11, 4), np.float32)})
    prompts = {"prompts": {"query": "how ", "document": ""}, "default_prompt_name": "query"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))


def load_model(path: Path) -> object:
    loaded = StaticModel.load(path)
    assert 0 < loaded.dim < 1 << 20
    vectors = loaded.encode(ASKED)
    assert vectors.shape == (3, loaded.dim)
    assert not np.isnan(vectors).any()
    return loaded


def words(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        lines = [f"{word} {i}.5 -0.25 1e-3 7\n" for i, word in enumerate([*WORDS, "ä"])]
        text = ("" if name.startswith("glove") else "11 4\n") + "".join(lines)
        (folder / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())

    return make


def only(load: Callable[[Path], object]) -> Callable[[Path], object]:
    """A loader of the one file in a folder."""
    return lambda folder: load(next(path for path in folder.iterdir() if path.is_file()))


def index(engine: str, store: str = "folder") -> Callable[[Path], None]:
    asked = {"engine": engine} if store == "folder" else {"store": store}

    def make(folder: Path) -> None:
        metadata = [{"year": 2000 + i, "tags": ["a", "b"][:i], "note": None} for i in range(4)]
        Index.build(model(), TEXTS, folder, ids=list("abcd"), metadata=metadata, overwrite=True, **asked)
        loaded = Index.load(folder)
        loaded.add(["open the list"], ids=["e"], metadata=[{"year": 1}])
        loaded.delete(["b"])

    return make


def as_earlier(make: Callable[[Path], None]) -> Callable[[Path], None]:
    """As an earlier statim has written it, which knew no digests: so damage comes as far as it can."""

    def made(folder: Path) -> None:
        make(folder)
        for path in folder.rglob("*.json"):
            said = json.loads(path.read_bytes())
            if isinstance(said, dict) and "digest" in said:
                del said["digest"]
                for stamp in said.get("stamps", {}).values():
                    del stamp["digest"]
                path.unlink()
                path.write_text(json.dumps(said))
        config = folder / "model" / "config.json"
        said = json.loads(config.read_bytes())
        said["statim"].pop("stamps")
        said["statim"].pop("digest")
        config.unlink()
        config.write_text(json.dumps(said))
        said = json.loads((folder / "index.json").read_bytes())
        for name in ("files", "stamps"):
            for file in said.get(name, {}):
                size = (folder / file).stat().st_size
                said[name][file] = size if name == "files" else {"size": size}
        (folder / "index.json").unlink()
        (folder / "index.json").write_text(json.dumps(said))

    return made


def fit_sizes(folder: Path, name: str) -> None:
    """Let the manifest of an earlier statim say the sizes that are there."""
    if name == "index.json":
        return
    said = json.loads((folder / "index.json").read_bytes())
    size = (folder / name).stat().st_size
    said["files"][name] = size
    said["stamps"][name] = {"size": size}
    (folder / "index.json").unlink()
    (folder / "index.json").write_text(json.dumps(said))


def load_index(path: Path) -> object:
    loaded = Index.load(path)
    for mode in ("vector", "bm25", "hybrid"):
        for hit in loaded.search("sort the list", 3, mode=mode):
            assert isinstance(hit.id, str)
            assert isinstance(hit.text, str)
            assert not np.isnan(hit.score)
    loaded.search("sort", 2, where="year > 1")
    loaded.info()
    return loaded


ANSWERS: dict[str, object] = {}


def same_answers(path: Path) -> object:
    """Digests leave no other answer than that of the first time, when nothing was damaged."""
    loaded = load_index(path)
    hits = [(hit.id, hit.text, hit.metadata, hit.score) for hit in loaded.search("sort the list", 5)]
    assert hits == ANSWERS.setdefault(str(path), hits)
    return loaded


# packages whose files are theirs: statim compares a hash before they read one
PACKAGES = {"faiss-flat": "faiss", "usearch-f16": "usearch", "scann": "scann"}
ENGINES = [engine for engine, package in PACKAGES.items() if find_spec(package)]
STORES = ["lancedb"] if find_spec("lancedb") else []


def head(kind: str, *, ngrams: bool) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        texts = [f"{verb} a {thing}" for verb in ("sort", "open") for thing in ("list", "file", "word")] * 4
        fitted = Classifier.fit(model(), texts, [text.split()[0] for text in texts], head=kind, ngrams=ngrams)
        fitted.save(folder, overwrite=True)

    return make


MODEL = model()


def load_head(path: Path) -> object:
    loaded = Classifier.load(path, MODEL)
    found = loaded.probabilities(ASKED)
    assert found.shape == (3, len(loaded.labels))
    assert not np.isnan(found).any()
    return loaded


ROWS = [
    {"anchor": "how to sort", "positive": "use sorted()", "negative": "use open()", "n": 1, "x": 0.5,
        "l": ["a"], "d": {"k": 1}},
    {"anchor": "häuser ☃", "positive": 'a "quoted",\ttext', "negative": None, "n": 2, "x": -1.0, "l": [],
        "d": None},
    {"anchor": "line\nbreak", "positive": "", "negative": "c", "n": None, "x": 1e9, "l": ["b", "c"],
        "d": {"k": 2}},
]  # fmt: skip
FLAT = [{name: value for name, value in row.items() if name not in "ld"} for row in ROWS]


def compressed(name: str, data: bytes) -> bytes:
    if name.endswith(".zst"):
        return pa.compress(data, "zstd", asbytes=True)
    return gzip.compress(data, mtime=0) if name.endswith(".gz") else data


def table_bytes(name: str, rows: list[dict]) -> bytes:
    """Rows as a file whose kind is its name's."""
    kind, sink, table = name.split(".")[1], io.BytesIO(), pa.Table.from_pylist(rows)
    if kind in ("csv", "tsv"):
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), delimiter="," if kind == "csv" else "\t")
        writer.writeheader()
        writer.writerows(rows)
        sink.write(text.getvalue().encode())
    elif kind == "jsonl":
        sink.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
    elif kind == "json":
        sink.write(json.dumps(rows, indent=1).encode())
    elif kind == "parquet":
        parquet.write_table(table, sink, row_group_size=2)
    elif kind == "feather":
        feather.write_feather(table, sink, compression="uncompressed")
    else:
        with (pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream)(sink, table.schema) as writer:
            writer.write_table(table)
    return compressed(name, sink.getvalue())


def table(name: str, rows: list[dict] = ROWS) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(table_bytes(name, rows)) and None


def read_whole(path: Path) -> object:
    return [some.validate(full=True) or some.to_pylist() for some in tables.tables(path)]


def read_all_ways(path: Path) -> object:
    """As tables, pairs, texts and documents: what one of them takes another may refuse."""
    return taken_by(
        path, read_whole, read_pairs, read_documents, lambda path: list(read_texts(path, "anchor"))
    )


def taken_by(path: Path, *readers: Callable[[Path], object]) -> int:
    """How many readers take a file; refused only where none does."""
    taken, refused = 0, None
    for read in readers:
        try:
            read(path)
            taken += 1
        except DataError as error:
            check_message(error)
            refused = error
    if refused is not None and not taken:
        raise refused
    return taken


def check_message(error: Exception) -> None:
    said = str(error)
    assert said.strip(), "an error that says nothing"
    assert len(said) < 3000, said
    assert said.count("\n") == 0, f"not one line: {said!r}"


GRADED = [
    {
        "sentence1": "a list",
        "sentence2": "the list",
        "score": 4.5,
        "text": "sort a list",
        "label": "x",
        "duplicate": 1,
    },
    {
        "sentence1": "a file",
        "sentence2": "the list",
        "score": 0.5,
        "text": "open a file",
        "label": "y",
        "duplicate": 0,
    },
    {
        "sentence1": "read it",
        "sentence2": "write",
        "score": 1,
        "text": "read it",
        "label": "x",
        "duplicate": 0,
    },
]


def read_graded(path: Path) -> object:
    return taken_by(path, read_sts, read_scored, read_classes, read_labelled, read_judged_pairs)


def beir(folder: Path) -> None:
    (folder / "qrels").mkdir()
    corpus = [{"_id": str(i), "title": f"t{i}", "text": text} for i, text in enumerate(TEXTS)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in corpus))
    (folder / "queries.jsonl").write_text(
        "".join(json.dumps({"_id": f"q{i}", "text": "sort"}) + "\n" for i in range(2))
    )
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq0\t0\t1\nq1\t2\t2\n")


def documents(folder: Path) -> None:
    (folder / "a.md").write_text(
        "---\ntitle: x\n---\n# Sort\n\nHow to sort a list.\n\n```py\nsorted(x)\n```\n\n## Open\n\n| a "
        "| b |\n|---|---|\n"
    )
    (folder / "b.html").write_text(
        "<!doctype html><title>T</title><body><h1>A&amp;b</h1><p>text &#x26; "
        "<b>more</b><script>1</script></body>"
    )
    (folder / "c.txt").write_text("plain\n\ntext of words\n")
    (folder / "d.rst").write_text("Title\n=====\n\nText of it.\n\n.. note:: this\n")
    (folder / "e.py").write_text('"""A module.\n\nWith more text."""\n\ndef f():\n    """Do it."""\n')


def baskets(name: str) -> Callable[[Path], None]:
    rows = [{"user": u, "item": i, "weight": 1.5} for u, i in zip("aabbc", "01230", strict=True)]
    lists = [{"user": u, "items": list(i)} for u, i in zip("ab", ("01", "23"), strict=True)]
    return table(name, lists if name.startswith("lists") else rows)


def load_baskets(path: Path) -> object:
    found = read_baskets(path, pa.array(["0", "1", "2", "3"], pa.large_string()))
    assert found.items.min(initial=0) >= 0
    assert found.items.max(initial=0) < 4
    assert np.isfinite(found.weights).all()
    return found


RUN = {"the model": "0" * 64, "--column": None, "--normalize": True}


class StoppedError(Exception):
    """What ends an encoding in the middle."""


def stopped_encoding(folder: Path) -> None:
    with (
        contextlib.suppress(StoppedError),
        unfinished(folder / "v.parquet", RUN, resume=False, overwrite=False) as output,
    ):
        writer = VectorWriter(output.file, ".parquet", 4, np.float32)
        writer.write(pa.array(TEXTS, pa.large_string()), np.ones((4, 4), np.float32))
        output.save({**writer.state(), "hash": "abc"})
        raise StoppedError


def go_on_encoding(folder: Path) -> object:
    shutil.copytree(folder / "v.parquet.encoding", folder / "kept")
    try:
        with (
            contextlib.suppress(StoppedError),
            unfinished(folder / "v.parquet", RUN, resume=True, overwrite=False) as output,
        ):
            if output.progress:
                texts_done(output.progress)
            writer = VectorWriter(output.file, ".parquet", 4, np.float32, output.progress)
            writer.write(pa.array(TEXTS, pa.large_string()), np.ones((4, 4), np.float32))
            raise StoppedError
    finally:
        shutil.rmtree(folder / "v.parquet.encoding", ignore_errors=True)
        (folder / "kept").rename(folder / "v.parquet.encoding")


def training_run(folder: Path) -> None:
    checkpoint.folder(folder / "out").mkdir()
    options = TrainOptions(data=["pairs.jsonl"], seed=1, matryoshka=[4], learning_rate=0.1, out="out")
    run = Run.begun(options, 2)
    found = Found(Recipe.make(100, 4, learning_rate=0.1, levels=[4]), 10, "ab", "cd")
    checkpoint.write_run(folder / "out", dataclasses.replace(run, found=found))


def load_training_run(folder: Path) -> object:
    return checkpoint.read_run(folder / "out").resumed(TrainOptions(out="out"))


RECIPE = Recipe.make(100, 4)


def optimizer() -> SparseAdam:
    table = np.random.default_rng(0).standard_normal((11, 4)).astype(np.float32)
    return SparseAdam(table, np.linspace(0, 1, 101), step=7, precision=RECIPE.precision)


def checkpointed(folder: Path) -> None:
    checkpoint.folder(folder / "out").mkdir()
    made = checkpoint.Checkpoints(folder / "out", 1000, every=7)
    made.save(optimizer(), {"best": {"step": 4, "score": 0.5}}, {"best": np.ones((11, 4), np.float32)})
    made.close()


def earlier_checkpoint(folder: Path) -> None:
    checkpointed(folder)
    (checkpoint.steps(folder / "out")[0] / checkpoint.MANIFEST).unlink()


def load_earlier_checkpoint(folder: Path) -> object:
    found = checkpoint.load(folder / "out", optimizer().rates, 1, RECIPE)
    assert found is not None
    state, about, _ = found
    assert state.table.ndim == 2
    assert state.first.shape == state.table.shape
    assert isinstance(about, dict)
    return found


def load_checkpoint(folder: Path) -> object:
    state, about, extra = load_earlier_checkpoint(folder)
    np.testing.assert_array_equal(state.table, optimizer().table)
    assert (state.step, about["best"], extra["best"].sum()) == (7, {"step": 4, "score": 0.5}, 44)
    return state


ABOUT = {"options": {"epochs": 1, "learning_rate": 0.1}, "teacher": "a" * 64, "pairs": "b" * 64}


def teaching_run(folder: Path) -> None:
    with teaching.opened(folder / "out", ABOUT, resume=False) as run:
        shutil.copytree(teaching.folder(folder / "out"), folder / "kept")
        run.done = True
    (folder / "kept").rename(teaching.folder(folder / "out"))


def load_teaching_run(folder: Path) -> object:
    with contextlib.suppress(StoppedError), teaching.opened(folder / "out", ABOUT, resume=True) as run:
        run.checkpoints()
        raise StoppedError


def history(folder: Path) -> None:
    log = History(folder / "training.jsonl")
    for step in range(1, 5):
        log.add(step=step, epoch=1, loss=1.0 / step, rate=0.1, pairs=step * 4)
    log.add(step=4, **{"ndcg@10": 0.5, "best": True})
    log.flush()
    log.close()


def load_history(path: Path) -> object:
    log = History(path, step=3)
    log.close()
    return log


def vectors_npy(path: Path) -> None:
    np.save(path / "v.npy", np.ones((4, 4), np.float32))


def tensors(folder: Path) -> None:
    arrays = {"a": np.ones((2, 3), np.float32), "b": np.arange(4), "c": np.zeros(3, bool)}
    save_tensors(folder / "a.safetensors", arrays, {"about": "x"})


def load_arrays(path: Path) -> object:
    arrays, about = load_tensors(path)
    assert all(isinstance(value, str) for value in about.values())
    return {name: np.array(array) for name, array in arrays.items()}


def cached_vectors(folder: Path) -> None:
    save_tensors(folder / "b.safetensors", {"vectors": np.ones((4, 4), np.float16)}, {"teacher": "x"})


def load_cached_vectors(path: Path) -> object:
    block = teacher_vectors._cached(path, (4, 4))
    if block is None:
        raise ModelError("computed again")
    assert block.shape == (4, 4)
    return block


def saved_dataset(folder: Path) -> None:
    (folder / "data.arrow").write_bytes(table_bytes("data.ipc", ROWS))
    (folder / "state.json").write_text(
        json.dumps({"_data_files": [{"filename": "data.arrow"}], "_split": None})
    )


SCHEMA = pa.schema([("year", pa.int64()), ("x", pa.float64()), ("source", pa.string()), ("ok", pa.bool_()),
    ("day", pa.date32()),
                    ("tags", pa.list_(pa.string()))])  # fmt: skip
CONDITIONS = [
    "year > 2020 and source = 'faq'", "not (x <= -1.5e3 or ok = true)", ("source in ('a', "
"'b''c') and year != 3"),
    "source like 'a%_' or source is null", "day >= '2020-01-01' and tags is not null", '"year" = 1',
]  # fmt: skip


def conditions(folder: Path) -> None:
    for number, text in enumerate(CONDITIONS):
        (folder / f"{number}.txt").write_text(text)


def parse_condition(folder: Path) -> object:
    from statim.search.filters.arrow import expression

    found = None
    for text in _damaged_text(folder):
        found = expression(read_condition(text, SCHEMA))
    return found


def _damaged_text(folder: Path) -> list[str]:
    """The text that was damaged, as a shell would give it: what is not UTF-8 in lone surrogates."""
    newest = max(folder.iterdir(), key=lambda path: (path.stat().st_ctime_ns, path.name))
    return [newest.read_bytes().decode("utf-8", "surrogateescape")]


_ASKED: dict[str, Index] = {}


def queries(folder: Path) -> None:
    for number, text in enumerate(
        ["how to sort a list", "ファイル open", "read AND write OR (list)", "a" * 50]
    ):
        (folder / f"{number}.txt").write_text(text)
    place = folder.with_name(folder.name + "-index")
    index("exact")(place)
    _ASKED["it"] = Index.load(place)


def ask(folder: Path) -> object:
    for text in _damaged_text(folder):
        for mode in ("vector", "bm25", "hybrid"):
            hits = _ASKED["it"].search(text, 3, mode=mode)
            assert len(hits) <= 3
            assert not any(np.isnan(hit.score) for hit in hits)
    return hits


NAMES = itertools.chain(
    ("t.csv", "t.tsv", "t.jsonl", "t.json", "t.parquet", "t.arrow", "t.ipc", "t.feather"),
    ("t.csv.gz", "t.csv.zst", "t.jsonl.gz", "t.jsonl.zst", "t.json.gz"),
)
LOADERS = [
    *(Loader(f"model of {kind}", save_model(kind), load_model, quick=150) for kind in ("WordLevel",
        "WordPiece", "Unigram", "BPE")),
    Loader("model2vec", save_model("WordLevel", as_model2vec), load_model, quick=150),
    Loader("sentence-transformers", save_model("WordLevel", as_sentence_transformers), load_model, quick=150),
    *(Loader(name, words(name), only(load_model)) for name in ("glove.txt", "w.vec", "w.vec.gz")),
    Loader("index", index("exact"), same_answers, quick=100),
    Loader("earlier index", as_earlier(index("exact")), load_index, quick=150, mend=fit_sizes),
    *(Loader(f"earlier index, {engine}", as_earlier(index(engine)), load_index, quick=50, mend=fit_sizes)
        for engine in ("binary", "exact-int8", *ENGINES)),
    *(Loader("lancedb", index("exact", store="lancedb"), load_index, quick=15) for _ in STORES),
    Loader("head", head("logistic", ngrams=True), load_head, quick=150),
    Loader("head of neighbours", head("neighbours", ngrams=False), load_head),
    *(Loader(f"table {name}", table(name, FLAT if "sv" in name else ROWS), only(read_all_ways),
        quick=120) for name in NAMES),
    *(Loader(f"graded {name}", table(name, GRADED), only(read_graded)) for name in ("t.csv", "t.jsonl",
        "t.parquet")),
    Loader("retrieval set", beir, read_beir),
    Loader("documents", documents, read_corpus),
    Loader("saved dataset", saved_dataset, read_all_ways),
    *(Loader(f"baskets {name}", baskets(name), only(load_baskets)) for name in ("rows.csv", "rows.jsonl",
        "lists.jsonl", "lists.parquet")),
    Loader("unfinished encoding", stopped_encoding, go_on_encoding,
           ("v.parquet.encoding/run.json", "v.parquet.encoding/progress.json"), quick=60),
    Loader("unfinished training", training_run, load_training_run),
    Loader("checkpoint", checkpointed, load_checkpoint),
    Loader("earlier checkpoint", earlier_checkpoint, load_earlier_checkpoint),
    Loader("unfinished teaching", teaching_run, load_teaching_run, quick=60),
    Loader("log of a training", history, only(load_history)),
    Loader("vectors .npy", vectors_npy, only(map_array)),
    Loader("safetensors", tensors, only(load_arrays), quick=200),
    Loader("cached vectors", cached_vectors, only(load_cached_vectors)),
    Loader("conditions", conditions, parse_condition, quick=500),
    Loader("queries", queries, ask, quick=100),
]  # fmt: skip
# what is quick to try is tried more often
QUICK = {
    "unfinished training": 60,
    "unfinished teaching": 30,
    "log of a training": 60,
    "checkpoint": 40,
    "earlier checkpoint": 40,
    "vectors .npy": 60,
    "safetensors": 150,
    "cached vectors": 60,
    "conditions": 150,
    "glove.txt": 40,
    "w.vec": 40,
    "w.vec.gz": 40,
    "head": 20,
    "index": 4,
    "earlier index": 6,
    "earlier index, binary": 2,
    "earlier index, exact-int8": 3,
    "earlier index, faiss-flat": 3,
    "earlier index, usearch-f16": 3,
    "earlier index, scann": 3,
    "lancedb": 1,
    "retrieval set": 20,
}
LOADERS = [replace(loader, long=QUICK.get(loader.name, loader.long)) for loader in LOADERS]
