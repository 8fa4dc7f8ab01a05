"""statim drift: has the language moved since a model was trained?"""

from typing import Annotated

import typer

from statim.cli import model_first, options

DRIFTED = 3  # the exit code of every verdict but "fine"


def drift(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODEL] OLD NEW",
            help="OLD are texts like those the model was trained on, or the folder of a trained model; NEW "
            "are the new ones: files or folders. "
            f"{model_first.COUNTED}",
        ),
    ],
    model: model_first.Option = None,
    sample: Annotated[int, typer.Option(help="Sample at most this many texts per side.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sample and the permutations.")] = 0,
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Tell whether new texts differ from old ones; exit code 0 for fine, 3 for anything else."""
    options.begin(json)
    model, (old, new) = model_first.split_arguments(arguments, model, "OLD", "NEW")
    from statim.insight.drift import FINE
    from statim.insight.drift import drift as measure

    found = measure(model, old, new, sample=sample, seed=seed, threads=threads)
    options.result(found.to_dict(), str(found), json)
    if found.verdict != FINE:
        raise typer.Exit(DRIFTED)
