"""statim index: build a searchable place of documents, change it, and look at it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from statim.cli import model_first, options
from statim.counted import counted
from statim.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

    from statim.data.files.bad_rows import BadRows

Result = TypeVar("Result")

app = typer.Typer(
    help="Build an index of documents, change it, or look at it.", no_args_is_help=True, rich_markup_mode=None
)

Place = Annotated[
    str,
    typer.Argument(
        metavar="INDEX",
        help="An index: a folder, or the address of a database.",
        callback=options.address,
    ),
]
Documents = Annotated[
    list[str], typer.Argument(metavar="DOCS...", help="Files or folders of documents (see statim encode).")
]
Identifier = Annotated[
    str | None, typer.Option("--id", help="The column of ids; guessed by default, else row numbers.")
]
TextColumn = options.Column
Title = Annotated[
    str | None, typer.Option("--title", help="A column to put before the text; guessed by default.")
]
Vectors = Annotated[
    Path | None,
    typer.Option(
        "--vectors", help="A .npy file of the documents' vectors, if the model has made them already."
    ),
]
Model = Annotated[
    str | None,
    typer.Option("--model", help="The model that you believe to be the index's; refused if it is not."),
]


@app.command("build")
def build(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODEL] DOCS...",
            help=f"DOCS are files of documents (see statim encode). {model_first.GUESSED}",
        ),
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The folder to write.")] = None,
    model: model_first.Option = None,
    store: Annotated[
        str | None,
        typer.Option(
            help="folder, lancedb, or the address of a PostgreSQL database (postgresql://…, or "
            "postgresql: for the "
            "one in STATIM_DATABASE); by default a folder for up to 200,000 documents, else lancedb.",
            callback=options.address,
        ),
    ] = None,
    table: options.Table = "documents",
    identifier: Identifier = None,
    text: TextColumn = None,
    title: Title = None,
    delimiter: options.Delimiter = None,
    encoding: options.Encoding = None,
    vectors: Vectors = None,
    weight: Annotated[
        float | None,
        typer.Option(
            help="The part of the vectors in hybrid search, 0 to 1; by default the model's, else 0.5."
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            help="The search engine of a folder: exact, int8, faiss-hnsw, usearch-f16 …; by default by size."
        ),
    ] = None,
    language: Annotated[
        str,
        typer.Option(
            help="The documents' language, for BM25: an ISO 639 code such as de or ja, und for none, or "
            "auto to detect it."
        ),
    ] = "auto",
    passages: Annotated[
        bool | None,
        typer.Option(
            "--passages/--whole",
            help="Cut documents into passages, and give each document with its best one; by default so for "
            "folders and files of running text, PDF and Word.",
            show_default=False,
        ),
    ] = None,
    shards: Annotated[
        int | None,
        typer.Option(help="Cut the index into N shards, which a search asks all at once.", metavar="N"),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="With a folder of vectors that statim encode wrote: build each shard on a Ray cluster.",
        ),
    ] = None,
    documents_by: Annotated[
        str | None,
        typer.Option(
            metavar="TEACHER",
            help="Let this sentence transformer make the documents' vectors, for a model of queries "
            "alone (statim train --documents-by); "
            "by default the one that such a model remembers.",
        ),
    ] = None,
    skip_bad: options.SkipBad = None,
    overwrite: options.Overwrite = False,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Index documents for vector, BM25 and hybrid search. Other columns are kept as filters."""
    progress = options.begin(quiet or json)
    model, documents = model_first.split_arguments(arguments, model, "DOCS", more=True)
    from statim.addresses import is_database
    from statim.data.documents.files import is_documents
    from statim.model import StaticModel
    from statim.search.index import Index
    from statim.search.lexical.analyzer import check_language
    from statim.search.stores import registry

    database = store is not None and is_database(store)
    if database and out is not None:
        raise InputError("both --out and a database are given; give one of them")
    place = store if database else out
    if place is None:
        raise InputError(
            "there is no place for the index; name a folder with --out, or a database with --store"
        )
    kind = None if database else store
    if _is_encoded(documents):
        given: dict[str, Any] = {"--id": identifier, "--text": text, "--title": title, "--vectors": vectors}
        given |= {"--passages": passages, "--documents-by": documents_by, "--skip-bad": skip_bad}
        given |= {"a database": database}
        _build_from_vectors(
            model, documents[0], place, given, json, shards=shards, ray=ray, store=kind, engine=engine,
            language=language, weight=weight, threads=threads, progress=progress, overwrite=overwrite,
        )  # fmt: skip
        return
    if passages is None:
        passages = vectors is None and any(map(is_documents, documents))
    if ray is not None:
        raise InputError("--ray is for a folder of vectors that statim encode wrote; name it as DOCS")
    check_language(language)
    registry.check(place, kind, engine, table, overwrite=overwrite)
    started = time.perf_counter()
    loaded = StaticModel.load(model)

    def built(read: "pa.Table | pa.RecordBatchReader") -> Index:
        return Index.build(
            loaded, read, place, vectors=_vectors(vectors), weight=weight,
            store=kind, table=table, engine=engine, language=language, documents_by=documents_by,
            passages=passages, shards=shards,
            threads=threads,
            progress=progress, overwrite=overwrite,
        )  # fmt: skip

    with options.skipping(skip_bad, overwrite=overwrite) as bad:
        index = _settled(
            built,
            options.read_as(documents, delimiter, encoding),
            quiet,
            bad,
            id=identifier,
            text=text,
            title=title,
        )
    seconds = time.perf_counter() - started
    info = index.info()
    skipped, words = options.skipped(bad, skip_bad)
    found = f"; recall@10 {info['recall']:.1%}" if info.get("recall", 1.0) < 1 else ""
    what = f"documents, {counted(info['passages'], 'passages')}" if passages else "documents"
    done = f"{len(index):,} {what} indexed in {seconds:.1f} s, written to {info['path']}{found}{words}"
    options.result(info | {"seconds": round(seconds, 3)} | skipped, done, json)


def _is_encoded(documents: list[str]) -> bool:
    """Is this a folder of vectors that statim encode wrote?"""
    return len(documents) == 1 and (Path(documents[0]) / "_manifest.json").is_file()


def _build_from_vectors(
    model: str, vectors: str, out: Any, given: dict[str, Any], json: bool, **ways: Any
) -> None:
    """Build an index from a folder of vectors; ``given`` are options that say nothing of those."""
    from statim.scale import index_shards

    for name, value in given.items():
        if value:
            raise InputError(
                f"{name} is for documents, and {vectors} holds vectors of statim encode; leave it out"
            )
    started = time.perf_counter()
    index = index_shards(model, vectors, out, **ways)
    seconds, info = time.perf_counter() - started, index.info()
    told = f"{len(index):,} documents in {info['shards']:,} shards indexed in {seconds:.1f} s"
    options.result(info | {"seconds": round(seconds, 3)}, f"{told}, written to {info['path']}", json)


@app.command("add")
def add(
    place: Place,
    documents: Documents,
    identifier: Identifier = None,
    text: TextColumn = None,
    title: Title = None,
    delimiter: options.Delimiter = None,
    encoding: options.Encoding = None,
    vectors: Vectors = None,
    model: Model = None,
    table: options.Table = "documents",
    new_shards: Annotated[
        int | None,
        typer.Option(
            "--shards", metavar="N", help="Of an index in shards: put the documents into N new ones."
        ),
    ] = None,
    skip_bad: options.SkipBad = None,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Add documents; one whose id is in the index already is refused, and then none is added."""
    roles = {"id": identifier, "text": text, "title": title}
    given = options.read_as(documents, delimiter, encoding)
    ways = {"replace": False, "new_shards": new_shards}
    _change(place, table, given, roles, vectors, model, threads, json, quiet, skip_bad, **ways)


@app.command("update")
def update(
    place: Place,
    documents: Documents,
    identifier: Identifier = None,
    text: TextColumn = None,
    title: Title = None,
    delimiter: options.Delimiter = None,
    encoding: options.Encoding = None,
    vectors: Vectors = None,
    model: Model = None,
    table: options.Table = "documents",
    skip_bad: options.SkipBad = None,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Put documents in the place of those with the same ids; those with new ids are added."""
    roles = {"id": identifier, "text": text, "title": title}
    given = options.read_as(documents, delimiter, encoding)
    ways = {"replace": True}
    _change(place, table, given, roles, vectors, model, threads, json, quiet, skip_bad, **ways)


@app.command("sync")
def sync(
    place: Place,
    documents: Documents,
    identifier: Identifier = None,
    text: TextColumn = None,
    title: Title = None,
    delimiter: options.Delimiter = None,
    encoding: options.Encoding = None,
    table: options.Table = "documents",
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Make an index hold these documents and no others; what did not change is not encoded again."""
    progress = options.begin(quiet or json)
    from statim.search.index import Index

    started = time.perf_counter()
    index = Index.load(place, table=table)
    ways = {"id": identifier, "text": text, "title": title}
    given = options.read_as(documents, delimiter, encoding)
    with options.skipping(None, overwrite=False) as bad:
        found = _settled(
            lambda read: index.sync(read, threads=threads, progress=progress),
            given, quiet, bad, numbers=False, **ways,
        )  # fmt: skip
    seconds = time.perf_counter() - started
    figures = {
        "path": index.info()["path"],
        **found._asdict(),
        "documents": len(index),
        "seconds": round(seconds, 3),
    }
    told = ", ".join(f"{count:,} {name}" for name, count in found._asdict().items())
    options.result(figures, f"{told}; {counted(len(index), 'documents')} in all, in {seconds:.1f} s", json)


@app.command("delete")
def delete(
    place: Place,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[IDS...]", help="Ids of documents.")] = None,
    file: Annotated[Path | None, typer.Option("--ids", help="A text file with an id on each line.")] = None,
    where: Annotated[
        str | None, typer.Option(help='Delete all documents that satisfy this: "year < 2020".')
    ] = None,
    table: options.Table = "documents",
    json: options.Json = False,
) -> None:
    """Delete documents, by ids or by a condition; ids that are not there are passed over."""
    from statim.search.index import Index

    listed = options.lines(file, "--ids")
    named = [*(ids or ()), *(listed or ())] if ids or listed is not None else None
    index = Index.load(place, table=table)
    count = index.delete(named, where=where)
    figures = {"path": index.info()["path"], "deleted": count, "documents": len(index)}
    options.result(figures, f"{counted(count, 'documents')} deleted, {len(index):,} left", json)


@app.command("compact")
def compact(
    place: Place,
    keep: Annotated[int, typer.Option(help="How many versions to keep, the new one included.")] = 1,
    json: options.Json = False,
) -> None:
    """Join the files of a LanceDB index and remove its old versions, to free the disk."""
    from statim.search.index import Index

    index = Index.load(place)
    before = index.info()["bytes"]
    index.compact(keep=keep)
    after = index.info()
    figures = {"path": after["path"], "bytes_before": before, "bytes": after["bytes"]}
    options.result(figures, f"{before:,} bytes before, {after['bytes']:,} now", json)


@app.command("info")
def info(
    place: Place,
    version: options.Version = None,
    table: options.Table = "documents",
    json: options.Json = False,
) -> None:
    """What an index holds, and its versions."""
    from statim.search.index import Index

    found = Index.load(place, version=version, table=table).info()
    lines = [f"{name:14} {_told(name, value)}" for name, value in found.items() if name != "versions"]
    what = "passages" if "passages" in found else "documents"
    for one in found.get("versions", ()):
        lines.append(f"version {one['version']:<6} {one['time']}  {one['documents']:,} {what}  {one['what']}")
    options.result(found, "\n".join(lines), json)


def _told(name: str, value: Any) -> Any:
    """A value for a person."""
    if name == "unknown":
        return f"{value:.1%} of the tokens, measured on a sample when the index was built"
    if name == "thresholds":
        return options.thresholds(value)
    what = {"recall": "of the ten nearest documents are found", "recall_at_1": "of the nearest are found"}
    return f"{value:.1%} {what[name]}, measured on a sample" if name in what and value < 1 else value


def _settled(
    use: "Callable[[pa.Table | pa.RecordBatchReader], Result]",
    documents: list[str],
    quiet: bool,
    bad: "BadRows",
    **ways: Any,
) -> "Result":
    """Read documents and use them; if later ones do not fit the first, read again with a schema of all."""
    from statim.data.documents.texts import STDIN, stream_documents
    from statim.data.files.unify import MisfitError
    from statim.search.stores.registry import LARGE

    given = documents if len(documents) > 1 else documents[0]
    try:
        return use(stream_documents(given, many=LARGE, bad=bad, **ways))
    except MisfitError as error:
        if STDIN in documents:
            raise
        options.note(f"{error}; reading the documents once more, with columns that all of them fit", quiet)
    return use(stream_documents(given, many=LARGE, settle=True, bad=bad, **ways))


def _vectors(path: Path | None) -> Any:
    """The vectors in a .npy file, mapped.

    Raises:
        InputError: It cannot be read, or is no such file.
    """
    from statim.tensors import map_array

    return None if path is None else map_array(path)


def _change(
    place: str,
    table: str,
    documents: list[str],
    roles: dict[str, str | None],
    vectors: Path | None,
    model: str | None,
    threads: int | None,
    json: bool,
    quiet: bool,
    skip_bad: Path | None,
    **ways: Any,
) -> None:
    progress = options.begin(quiet or json)
    from statim.model import StaticModel
    from statim.search.index import Index

    started = time.perf_counter()
    index = Index.load(place, table=table)
    believed = None if model is None else StaticModel.load(model)

    def added(read: "pa.Table | pa.RecordBatchReader") -> int:
        return index.add(
            read,
            vectors=_vectors(vectors),
            model=believed,
            **ways,
            threads=threads,
            progress=progress,
        )

    with options.skipping(skip_bad, overwrite=False) as bad:
        count = _settled(added, documents, quiet, bad, numbers=False, **roles)
    seconds = time.perf_counter() - started
    done = "updated" if ways["replace"] else "added"
    skipped, words = options.skipped(bad, skip_bad)
    figures = {
        "path": index.info()["path"],
        done: count,
        "documents": len(index),
        "seconds": round(seconds, 3),
        **skipped,
    }
    text = f"{counted(count, 'documents')} {done} in {seconds:.1f} s, {len(index):,} in all{words}"
    options.result(figures, text, json)
