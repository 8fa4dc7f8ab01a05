"""statim search: ask an index."""

import itertools
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from statim.cli import options, terminal
from statim.counted import counted
from statim.errors import InputError

if TYPE_CHECKING:
    from statim.search.index import Hit, Index
    from statim.search.marks import Marker

BATCH = 256  # queries answered at a time


def search(
    index: Annotated[
        str,
        typer.Argument(help="An index: a folder, or the address of a database.", callback=options.address),
    ],
    query: Annotated[
        list[str] | None,
        typer.Argument(
            help="What to look for; without it, questions are asked for, or read from the standard input."
        ),
    ] = None,
    k: Annotated[int, typer.Option("--top", "-k", help="Answers per question.")] = 5,
    mode: Annotated[
        str | None,
        typer.Option(help="hybrid, vector or bm25; by default the index's (see statim index info)."),
    ] = None,
    weight: Annotated[
        float | None,
        typer.Option(help="The part of the vectors in hybrid search, 0 to 1; by default the index's."),
    ] = None,
    fusion: Annotated[str, typer.Option(help="scores or rrf, how hybrid search joins both.")] = "scores",
    min_score: Annotated[
        str | None,
        typer.Option(
            metavar="SCORE",
            help="Leave out answers of a lower score: a number, or 95% for the score that this share of the "
            "right answers reached (50%, 75%, 90%, 95% or 99%).",
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(help="Find only documents that satisfy this: \"year > 2020 and source = 'faq'\"."),
    ] = None,
    rerank: Annotated[
        str | None,
        typer.Option(help="Score the best documents again: a cross-encoder, a teacher or another model."),
    ] = None,
    rerank_top: Annotated[int, typer.Option(help="How many documents to score again.")] = 50,
    queries: Annotated[
        str | None,
        typer.Option(
            help="A file of questions: text, one on each line, or any table with a column of texts."
        ),
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="The column of questions in that file; guessed by default.")
    ] = None,
    delimiter: options.Delimiter = None,
    encoding: options.Encoding = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Write the answers to a .parquet, .jsonl, .csv, .tsv or .trec file."
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format", help="table, csv, json, parquet or trec; by default as the file's name tells."
        ),
    ] = None,
    allow_partial: Annotated[
        bool,
        typer.Option(
            "--allow-partial",
            help="Of an index in shards: answer without those that are missing or damaged, and name them.",
        ),
    ] = False,
    version: options.Version = None,
    table: options.Table = "documents",
    overwrite: options.Overwrite = False,
    threads: options.Threads = None,
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON per question.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Search an index."""
    progress = options.begin(quiet or json)
    from statim.search.index import Index
    from statim.search.marks import Marker
    from statim.search.rerank import Reranker
    from statim.search.results import as_json, format_of

    if json and form not in (None, "json"):
        raise InputError(f"both --json and --format {form} are given; give one of them")
    if query and queries is not None:
        raise InputError("both a question and --queries are given; give one of them")
    kind = format_of(out, "json" if json else form)
    opened = Index.load(index, version=version, table=table, allow_partial=allow_partial)
    how: dict[str, Any] = {
        "mode": mode,
        "weight": weight,
        "fusion": fusion,
        "min_score": _score(min_score),
        "where": where,
        "threads": threads,
    }
    if rerank is not None:
        how["rerank"] = Reranker(rerank, rerank_top)
    if queries is not None or out is not None or form is not None:
        asked = _asked(options.read_as(queries, delimiter, encoding) if queries else None, column, query)
        _batch(opened, asked, k, how, kind, out, overwrite=overwrite, progress=progress)
        return

    def answer(question: str) -> None:
        hits = opened.search(question, k, **how)
        analyzer = opened.analyzer
        if json:
            terminal.say(as_json(question, hits, analyzer=analyzer, missing=opened.missing))
        else:
            terminal.say(as_text(hits, Marker(analyzer, question)))

    if query:
        answer(" ".join(query))
    elif sys.stdin.isatty():
        prompt(opened, answer)
    else:
        for line in sys.stdin:
            if line.strip():
                answer(line.strip())


def _score(given: str | None) -> float | str | None:
    """A threshold: a number, or as it is for the library to read."""
    try:
        return None if given is None else float(given)
    except ValueError:
        return given


def _asked(queries: str | None, column: str | None, query: list[str] | None) -> tuple[list[str], list[str]]:
    """Ids and questions."""
    if query:
        return ["0"], [" ".join(query)]
    from statim.data.documents.texts import read_documents

    found = read_documents(queries if queries is not None else "-", text=column)
    return found.column("id").to_pylist(), found.column("text").to_pylist()


def _batch(
    index: "Index",
    asked: tuple[list[str], list[str]],
    k: int,
    how: dict[str, Any],
    kind: str,
    out: Path | None,
    *,
    overwrite: bool,
    progress: bool,
) -> None:
    """Answer many questions into a file, or to the standard output."""
    from statim.files import atomic_file
    from statim.progress import Progress
    from statim.search.results import Writer

    names, questions = asked

    def answers() -> "Iterator[list[tuple[str, str, list[Hit]]]]":
        with Progress("search", total=len(questions), unit="queries", show=progress) as bar:
            for start in range(0, len(questions), BATCH):
                some = questions[start : start + BATCH]
                yield list(zip(names[start : start + BATCH], some, index.search(some, k, **how), strict=True))
                bar.advance(len(some))

    def write(file: IO[bytes]) -> None:
        made = answers()
        first = next(made)  # refuses bad options before anything is written
        writer = Writer(file, kind, index.schema, index.analyzer)
        for some in itertools.chain([first], made):
            writer.write(some)
        writer.finish()

    if out is None:
        write(terminal.output())
        sys.stdout.flush()
        return
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists; choose another name, or allow overwriting (--overwrite)")
    with atomic_file(out) as file:
        write(file)
    terminal.say(f"{len(questions):,} questions answered, written to {out}")


def prompt(index: "Index", answer: Callable[[str], None]) -> None:
    """Ask for questions until an empty one or the end of input."""
    terminal.say(f"{counted(len(index), 'documents')}; ask (an empty line ends)", sys.stderr)
    while True:
        try:
            question = input("? ").strip()
        except EOFError:
            return
        if not question:
            return
        answer(question)


def as_text(hits: "list[Hit]", marker: "Marker | None" = None) -> str:
    """One question's hits for a person: two lines each; the marker is for snippets of passages."""
    from statim.search.passages import NUMBER, PAGE, SNIPPET, snippet

    if not hits:
        return "nothing found"
    lines = []
    for hit in hits:
        titles = [hit.metadata.get(name) for name in ("title", "name", "anchor")]
        title = next((str(value) for value in titles if value), "")
        head = f"{hit.rank:2}. {hit.score:.3f}  {hit.id}" + (f"  {title}" if title else "")
        text = hit.text.removeprefix(f"{title}: ") if title else hit.text
        if marker is not None and NUMBER in hit.metadata:
            text = snippet(text, marker)
            head += f"  (page {page})" if (page := hit.metadata[PAGE]) else ""
        lines += [
            textwrap.shorten(head, 110, placeholder=" …"),
            "    " + textwrap.shorten(text, 2 * SNIPPET if NUMBER in hit.metadata else 150, placeholder=" …"),
        ]
    return "\n".join(lines)
