"""What is done to files while faults are injected: the command, what stands there before, and how the result
is looked at.
"""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from statim.errors import StatimError
from statim.files import atomic_file
from statim.model import StaticModel

sys.path.append(str(Path(__file__).resolve().parent.parent))
from made_texts import THINGS, VERBS

Command = list[str] | Callable[[Path], None]


@dataclass(frozen=True)
class Case:
    """One thing that changes files.

    Attributes:
        run: The command line, or a function of the folder. In it, ``IN`` is the folder of inputs, ``HERE``
            the watched one.
        look: A digest of what stands there; "absent" where nothing does, "unfinished" where a run can be
            resumed.
        before: Commands that make the old state, undisturbed.
        again: What to run when the old state was found afterwards; the first that ends well counts. By
            default ``run``.
        then: A further change of the new state, which must work.
        patches: Attributes of modules to set, so that small inputs go the way of large ones.
        spare: Names that may stay beside the result, of an interrupted run that can be resumed.
        heavy: Modules to import before the first child is forked.
        warm: Run the command once before the first child is forked, so that all have the compiled code.
        tidies: It changes files, not what is seen of them.
        stride: Of its calls, walk over one in so many, where there are very many.
    """

    run: Command
    look: Callable[[Path], str]
    before: tuple[Command, ...] = ()
    again: tuple[Command, ...] = ()
    then: Command | None = None
    patches: tuple[tuple[str, str, object], ...] = ()
    spare: tuple[str, ...] = ()
    heavy: tuple[str, ...] = ()
    warm: bool = False
    tidies: bool = False
    stride: int = 1

    @property
    def needs(self) -> tuple[str, ...]:
        """Packages without which it cannot be run."""
        return tuple(module for module in self.heavy if not module.startswith("statim"))


# ---- inputs ----


def write_inputs(folder: Path) -> None:
    """A model, another one, documents, pairs, labelled texts: all small."""
    words = sorted({*VERBS, *THINGS, "how", "do", "i", "a", "the", "to", "call"})
    backend = tokenizers.Tokenizer(
        models.WordLevel({"[UNK]": 0, **{word: i + 1 for i, word in enumerate(words)}}, unk_token="[UNK]")
    )
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    for seed, name in enumerate(("model", "other")):
        table = np.random.default_rng(seed).standard_normal((len(words) + 1, 16)).astype(np.float32)
        table[0] = 0
        StaticModel(table, backend).save(folder / name)
    texts = [f"how do i {verb} the {thing}" for verb in VERBS for thing in THINGS]
    rows = [{"id": f"d{i}", "text": text, "year": 2000 + i % 9} for i, text in enumerate(texts)]
    lines(folder / "docs.jsonl", rows[:30])
    lines(folder / "others.jsonl", rows[40:70])
    lines(folder / "new.jsonl", rows[30:36])
    lines(folder / "changed.jsonl", [{**row, "text": row["text"] + " to call"} for row in rows[25:32]])
    lines(
        folder / "pairs.jsonl",
        [{"anchor": t, "positive": t.split()[3] + " " + t.split()[5]} for t in texts[:80]],
    )
    lines(folder / "labels.jsonl", [{"text": text, "label": text.split()[3]} for text in texts[:80]])
    lines(folder / "queries.jsonl", [{"text": text} for text in texts[:9]])
    lines(folder / "users.jsonl", [{"user": f"u{i}", "items": [f"d{i}", f"d{i + 3}"]} for i in range(9)])


def lines(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


# ---- how results are looked at ----


def digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def model(path: str) -> Callable[[Path], str]:
    def look(here: Path) -> str:
        if not (here / path).exists():
            return "absent"
        found = StaticModel.load(here / path)
        files = sorted(file.name for file in (here / path).iterdir() if file.name[0] != ".")
        return digest(found.hash, found.encode(["how do i sort the list"]).tolist(), files)

    return look


def file(*paths: str) -> Callable[[Path], str]:
    def look(here: Path) -> str:
        found = [(here / path).read_bytes() for path in paths if (here / path).exists()]
        return digest(found) if found else "absent"

    return look


QUERIES = ["how do i sort the list", "open a file", "call", "zzz", "the thing to read"]


def index(here: Path) -> str:
    """What an index answers: all documents, by hybrid search, in which vectors and words have their part."""
    from statim.search.index import Index

    if not (here / "index").exists():
        return "absent"
    found = Index.load(here / "index")
    info = {
        name: value
        for name, value in found.info().items()
        if name in ("documents", "columns", "engine", "model_hash")
    }
    hits = [
        [(hit.id, hit.text, hit.metadata, round(hit.score, 4)) for hit in row]
        for row in found.search(QUERIES, 60)
    ]
    rows = sorted(map(repr, {repr(hit[:3]) for row in hits for hit in row}))
    ties = [sorted((score, name) for name, _, _, score in row) for row in hits]  # of equal scores any order
    assert len(found) == info["documents"]
    return digest(info, rows, ties)


def head(here: Path) -> str:
    from statim.tasks.classify.classify import Classifier

    if not (here / "head").exists():
        return "absent"
    found = Classifier.load(here / "head", StaticModel.load(here.parent / "inputs" / "model"))
    return digest(found.probabilities(QUERIES).round(5).tolist())


def trained(here: Path) -> str:
    """As for a model; "unfinished" while there is something to resume, whatever whole model stands there."""
    found = model("out")(here)
    return "unfinished" if (here / "out.training" / "run.json").exists() else found


# ---- the cases ----

BUILD = ["index", "build", "IN/model", "IN/docs.jsonl", "-o", "HERE/index", "-q"]
OTHERS = ["index", "build", "IN/model", "IN/others.jsonl", "-o", "HERE/index", "-q"]
ADD = ["index", "add", "HERE/index", "IN/new.jsonl", "-q"]
UPDATE = ["index", "update", "HERE/index", "IN/changed.jsonl", "-q"]
DELETE = ["index", "delete", "HERE/index", "d3", "d5", "d27"]
DELETE_OTHER = ["index", "delete", "HERE/index", "d1", "d45"]
LANCE = ["--store", "lancedb"]
COMPACT = ["index", "compact", "HERE/index"]
ENCODE = [
    "encode",
    "IN/model",
    "IN/docs.jsonl",
    "IN/others.jsonl",
    "IN/pairs.jsonl",
    "--column",
    "text",
    "-q",
]
TRAIN = [
    "train",
    "IN/pairs.jsonl",
    "-o",
    "HERE/out",
    "--start",
    "random",
    "--dim",
    "16",
    "--batch",
    "16",
    "--epochs",
    "4",
    "--no-baselines",
    "--heldout",
    "10",
    "--development",
    "10",
    "--checkpoint-every",
    "4",
    "--threads",
    "1",
    "-q",
]
SLOW_STREAM = (
    ("statim.data.files.resumable", "SECONDS", 0.0),
    ("statim.cli.encode", "VECTOR_BYTES", 16 * 4 * 12),
)


def save(name: str, *, overwrite: bool) -> Command:
    def run(here: Path) -> None:
        StaticModel.load(here.parent / "inputs" / name).save(here / "model", overwrite=overwrite)

    return run


def encoding(suffix: str, *, resume: bool) -> Case:
    texts = ["encode", "IN/model", "IN/docs.jsonl", "IN/others.jsonl", "-o", f"HERE/v.{suffix}", "-q"]
    return Case(
        texts, file(f"v.{suffix}"), again=([*texts, "--resume"],) if resume else (texts,
            [*texts, "--overwrite"]),
        patches=SLOW_STREAM, spare=(f"v.{suffix}.encoding",), stride=3,
    )  # fmt: skip


def caching_teacher(here: Path) -> None:
    """Vectors that a teacher makes, kept in the cache; a stand-in for a teacher, since only the cache is of
    interest.
    """
    import pyarrow as pa

    from statim.training.distillation.teacher_vectors import teacher_vectors

    class Teacher:
        dim, name = 8, "stand-in"

        def key(self, role: str) -> str:
            return hashlib.sha256(role.encode()).hexdigest()

        def encode(self, texts: list[str], **options: object) -> object:
            del options
            return np.array(
                [np.frombuffer(hashlib.sha256(text.encode()).digest()[:8], np.uint8) / 255 for text in texts]
            )

        encode_query = encode_document = encode

    given = [f"text {i}" for i in range(40)]
    made = teacher_vectors(Teacher(), pa.array(given, pa.large_string()))
    write(here / "v.txt", digest(made.tolist()))


def postgres_model(here: Path) -> None:
    """The model of an index in a database, fetched into the cache."""
    from statim.search.index import Index

    found = Index.load(os.environ["STATIM_FAULT_DATABASE"], table="faults").search(QUERIES, 9, mode="vector")
    write(here / "v.txt", digest([[(hit.id, round(hit.score, 4)) for hit in row] for row in found]))


def write(path: Path, text: str) -> None:
    with atomic_file(path) as out:
        out.write(text.encode())


CASES: dict[str, Case] = {
    "save": Case(
        save("model", overwrite=False), model("model"), again=(save("model", overwrite=True),), stride=2
    ),
    "save --overwrite": Case(
        save("model", overwrite=True), model("model"), before=(save("other", overwrite=False),), stride=2
    ),
    "quantize": Case(["quantize", "IN/model", "-o", "HERE/model"], model("model"), stride=4),
    "quantize --overwrite": Case(
        ["quantize", "IN/model", "-o", "HERE/model", "--overwrite"],
        model("model"),
        before=(save("other", overwrite=False),),
        stride=4,
    ),
    "build": Case(BUILD, index, then=UPDATE, stride=3),
    "build --overwrite": Case([*BUILD, "--overwrite"], index, before=(OTHERS,), then=UPDATE, stride=3),
    **{
        f"build {engine}": Case([*BUILD, "--engine", engine], index, then=ADD, stride=5)
        for engine in ("int8", "binary", "faiss-hnsw", "usearch-f16")
    },
    "add": Case(ADD, index, before=(BUILD,), then=DELETE, stride=2),
    "add faiss": Case(ADD, index, before=([*BUILD, "--engine", "faiss-flat"],), then=DELETE, stride=5),
    "update": Case(
        UPDATE, index, before=(BUILD,), then=["index", "add", "HERE/index", "IN/others.jsonl", "-q"], stride=2
    ),
    "delete": Case(DELETE, index, before=(BUILD,), then=ADD, stride=2),
    "lance build": Case([*BUILD, *LANCE], index, then=UPDATE, heavy=("lancedb",), stride=4),
    "lance build --overwrite": Case(
        [*BUILD, *LANCE, "--overwrite"], index, before=([*OTHERS, *LANCE],), heavy=("lancedb",), stride=5
    ),
    "lance add": Case(ADD, index, before=([*BUILD, *LANCE],), then=DELETE, heavy=("lancedb",)),
    "lance update": Case(UPDATE, index, before=([*BUILD, *LANCE], ADD), then=DELETE, heavy=("lancedb",)),
    "lance delete": Case(DELETE, index, before=([*BUILD, *LANCE],), then=ADD, heavy=("lancedb",)),
    "lance compact": Case(
        COMPACT, index, before=([*BUILD, *LANCE], ADD, DELETE), then=UPDATE, heavy=("lancedb",), tidies=True
    ),
    "encode .npy": encoding("npy", resume=False),
    "encode .parquet": encoding("parquet", resume=False),
    "encode .jsonl": encoding("jsonl", resume=False),
    "encode .npy --resume": encoding("npy", resume=True),
    "encode .parquet --resume": encoding("parquet", resume=True),
    "encode .jsonl --resume": encoding("jsonl", resume=True),
    "encode --overwrite": Case(
        ["encode", "IN/model", "IN/docs.jsonl", "-o", "HERE/v.npy", "-q", "--overwrite"],
        file("v.npy"),
        before=(["encode", "IN/model", "IN/others.jsonl", "-o", "HERE/v.npy", "-q"],),
        spare=("v.npy.encoding",),
    ),
    "train --resume": Case(
        TRAIN,
        trained,
        again=(["train", "--resume", "HERE/out", "-q"], TRAIN, [*TRAIN, "--overwrite"]),
        spare=("out.training",),
        heavy=("statim.training.train",),
        warm=True,
        stride=4,
    ),
    "train --overwrite": Case(
        [*TRAIN, "--overwrite"],
        trained,
        before=(save("other", overwrite=False), lambda here: (here / "model").rename(here / "out")),
        again=(["train", "--resume", "HERE/out", "-q"], [*TRAIN, "--overwrite"]),
        spare=("out.training",),
        heavy=("statim.training.train",),
        warm=True,
        stride=5,
    ),
    "classify fit": Case(
        ["classify", "fit", "IN/model", "IN/labels.jsonl", "-o", "HERE/head", "--head", "centroid", "-q"],
        head,
        heavy=("sklearn",),
        stride=2,
    ),
    "classify fit --overwrite": Case(
        [
            "classify",
            "fit",
            "IN/model",
            "IN/labels.jsonl",
            "-o",
            "HERE/head",
            "--head",
            "ridge",
            "-q",
            "--overwrite",
        ],
        head,
        before=(
            ["classify", "fit", "IN/model", "IN/labels.jsonl", "-o", "HERE/head", "--head", "centroid", "-q"],
        ),
        heavy=("sklearn",),
        stride=2,
    ),
    **{
        f"duplicates .{suffix}": Case(
            [
                "duplicates",
                "IN/docs.jsonl",
                "--model",
                "IN/model",
                "-o",
                f"HERE/d.{suffix}",
                "--column",
                "text",
                "-t",
                "0.8",
                "-q",
            ],
            file(f"d.{suffix}"),
        )
        for suffix in ("jsonl", "csv", "parquet")
    },
    **{
        f"mine .{suffix}": Case(
            ["mine", "IN/pairs.jsonl", "--model", "IN/model", "-o", f"HERE/m.{suffix}", "-q"],
            file(f"m.{suffix}"),
        )
        for suffix in ("jsonl", "parquet")
    },
    **{
        f"search .{suffix}": Case(
            ["search", "HERE/index", "--queries", "IN/queries.jsonl", "-o", f"HERE/s.{suffix}"],
            file(f"s.{suffix}"),
            before=(BUILD,),
        )
        for suffix in ("jsonl", "parquet", "trec")
    },
    "features": Case(
        ["features", "IN/model", "IN/docs.jsonl", "-o", "HERE/f.parquet", "--column", "text", "-q"],
        file("f.parquet"),
    ),
    "cluster": Case(
        ["cluster", "IN/docs.jsonl", "--model", "IN/model", "-o", "HERE/c.jsonl", "--column", "text", "-q"],
        file("c.jsonl"),
        heavy=("sklearn",),
    ),
    "recommend users": Case(
        ["recommend", "users", "IN/model", "IN/docs.jsonl", "IN/users.jsonl", "-o", "HERE/u.jsonl", "-q"],
        file("u.jsonl"),
    ),
    "cache of a teacher": Case(caching_teacher, file("v.txt")),
    "cache of a database's model": Case(postgres_model, file("v.txt"), heavy=("psycopg",)),
}


def quick() -> Iterator[str]:
    """The cases of the quick part."""
    yield from (
        "save --overwrite",
        "build --overwrite",
        "add",
        "lance add",
        "encode .npy --resume",
        "duplicates .csv",
    )


def said(error: StatimError) -> str:
    return f"broken: {' '.join(str(error).split())[:300]}"
