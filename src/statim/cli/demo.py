"""statim demo: the whole of it on this machine's own Python documentation."""

import json as json_library
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from statim.cli import options, terminal

EXAMPLES = (
    "how do I read a csv file into a table",
    "remove duplicate values while keeping the order",
    "run a command in another process and get its output",
)


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for the model and the index.")] = Path(
        "statim-demo"
    ),
    threads: options.Threads = None,
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON at the end.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Train on this machine's Python documentation, compare, index it, search it."""
    started = time.perf_counter()
    progress = options.begin(quiet)
    import pyarrow as pa
    import pyarrow.compute as pc

    from statim.cli.search import as_text, prompt
    from statim.data.pairs.reading import read_pairs
    from statim.search.index import Index
    from statim.training.train import train

    options.note(
        "1. Pairs: the docstrings of Python and every installed package (name and first paragraph -> "
        "the rest)",
        quiet,
    )
    pairs = read_pairs("python-docs")
    options.note("2. Training, from all-MiniLM-L6-v2 distilled where it can be had", quiet)
    result = train(pairs, out=out / "model", overwrite=True, threads=threads, progress=progress)
    terminal.say(str(result))
    options.note("3. An index of the documentation", quiet)
    names = [anchor.split(":", 1)[0] for anchor in pairs.anchors.to_pylist()]
    texts = pc.binary_join_element_wise(pairs.anchors, pairs.positives, pa.scalar(" ", pa.large_string()))
    documents = pa.table({"id": pa.array(map(str, range(len(pairs)))), "text": texts, "name": names})
    index = Index.build(
        result.model, documents, out / "index", threads=threads, progress=progress, overwrite=True
    )
    examples = []
    for question in EXAMPLES:
        hits = index.search(question, 3)
        terminal.say(f"\n? {question}\n{as_text(hits)}")
        examples.append({"query": question, "answers": [hit.metadata["name"] for hit in hits]})
    total = time.perf_counter() - started
    terminal.say(
        f"\n{total:.0f} s in all; the model is {out / 'model'}, the index {out / 'index'}: statim "
        f"search {out / 'index'}"
    )
    if json:
        figures = result.to_dict()
        terminal.say(
            json_library.dumps(
                {
                    "pairs": len(pairs),
                    "training_seconds": figures["seconds"]["train"],
                    "total_seconds": round(total, 1),
                    "ndcg@10": result.ndcg(),
                    "seconds": figures["seconds"],
                    "heldout": figures["heldout"],
                    "examples": examples,
                }
            )
        )
    elif sys.stdin.isatty() and sys.stdout.isatty():
        prompt(index, lambda question: terminal.say(as_text(index.search(question, 5))))
