"""statim compare: two models on the same data."""

from typing import Annotated

import typer

from statim.cli import options


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A model, or a sentence transformer.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The other one.")],
    data: Annotated[
        list[str],
        typer.Option(help="Judged data (as for statim evaluate) or plain texts (repeatable)."),
    ],
    k: Annotated[int, typer.Option("--top", "-k", help="Compare this many nearest texts.")] = 10,
    sample: Annotated[int, typer.Option(help="Compare the neighbours of at most this many texts.")] = 5000,
    examples: Annotated[int, typer.Option(help="Show this many disagreements.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sample.")] = 0,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare two models: neighbours in common, disagreements, scores, size and speed."""
    progress = options.begin(quiet or json)
    from statim.insight.spaces import compare_models

    found = compare_models(
        first, second, data, k=k, sample=sample, examples=examples, seed=seed, threads=threads,
        progress=progress,
    )  # fmt: skip
    options.result(found.to_dict(), str(found), json)
