"""statim search: ask an index."""

import json as json_library
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from statim.cli import options

if TYPE_CHECKING:
    from statim.search.index import Hit, Index


def search(
    index: Annotated[Path, typer.Argument(help="An index made by statim index build.")],
    query: Annotated[
        list[str] | None,
        typer.Argument(
            help="What to look for; without it, questions are asked for, or read from the standard input."
        ),
    ] = None,
    k: Annotated[int, typer.Option("--top", "-k", help="Answers per question.")] = 5,
    mode: Annotated[str, typer.Option(help="hybrid, vector or bm25.")] = "hybrid",
    weight: Annotated[
        float | None,
        typer.Option(help="The part of the vectors in hybrid search, 0 to 1; by default the index's."),
    ] = None,
    fusion: Annotated[str, typer.Option(help="scores or rrf, how hybrid search joins both.")] = "scores",
    threads: options.Threads = None,
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON per question.")] = False,
) -> None:
    """Search an index."""
    from statim.search.index import Index

    opened = Index.load(index)

    def answer(question: str) -> None:
        hits = opened.search(question, k, mode=mode, weight=weight, fusion=fusion, threads=threads)
        print(as_json(question, hits) if json else as_text(hits), flush=True)

    if query:
        answer(" ".join(query))
    elif sys.stdin.isatty():
        prompt(opened, answer)
    else:
        for line in sys.stdin:
            if line.strip():
                answer(line.strip())


def prompt(index: "Index", answer: Callable[[str], None]) -> None:
    """Ask for questions until an empty one or the end of input."""
    print(f"{len(index):,} documents; ask (an empty line ends)", file=sys.stderr)
    while True:
        try:
            question = input("? ").strip()
        except EOFError:
            return
        if not question:
            return
        answer(question)


def as_json(question: str, hits: "list[Hit]") -> str:
    """One question's hits on one line."""
    found = [
        {
            "rank": hit.rank,
            "score": round(hit.score, 6),
            "id": hit.id,
            "text": hit.text,
            "metadata": hit.metadata,
        }
        for hit in hits
    ]
    return json_library.dumps({"query": question, "hits": found}, ensure_ascii=False, default=str)


def as_text(hits: "list[Hit]") -> str:
    """One question's hits for a person: two lines each."""
    if not hits:
        return "nothing found"
    lines = []
    for hit in hits:
        title = next(
            (str(value) for name, value in hit.metadata.items() if name in ("title", "name", "anchor")), ""
        )
        head = f"{hit.rank:2}. {hit.score:.3f}  {title or hit.id}"
        text = hit.text.removeprefix(f"{title}: ") if title else hit.text
        lines += [
            textwrap.shorten(head, 110, placeholder=" …"),
            "    " + textwrap.shorten(text, 150, placeholder=" …"),
        ]
    return "\n".join(lines)
