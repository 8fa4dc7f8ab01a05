"""statim neighbors: the tokens nearest to a word."""

from typing import Annotated

import typer

from statim.cli import model_first, options


def neighbors(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODEL] WORD", help=f"WORD is a word, or any text in quotes. {model_first.COUNTED}"
        ),
    ],
    model: model_first.Option = None,
    k: Annotated[int, typer.Option("--top", "-k", help="How many tokens.")] = 10,
    before: Annotated[
        str | None, typer.Option(metavar="MODEL", help="An earlier model, to see what training changed.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Show the tokens nearest to a word."""
    options.begin(json)
    model, (word,) = model_first.split_arguments(arguments, model, "WORD")
    from statim.insight.neighbors import neighbors as nearest
    from statim.model import StaticModel

    earlier = None if before is None else StaticModel.load(before)
    found = nearest(StaticModel.load(model), word, k, before=earlier)
    lines = [
        f"{one.score:.3f}"
        + ("" if earlier is None else f"  {'  new' if one.before is None else f'{one.before:.3f}'}")
        + f"  {one.token}"
        for one in found
    ]
    head = [] if earlier is None else ["  now  before"]
    rows = [{"token": one.token, "score": one.score, "before": one.before} for one in found]
    options.result({"word": word, "neighbors": rows}, "\n".join(head + lines), json)
