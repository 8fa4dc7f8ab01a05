"""statim teach: a sentence transformer fine-tuned on pairs, to be a better teacher."""

from pathlib import Path
from typing import Annotated, Any

import typer

from statim.cli import options


def teach(
    sources: options.Pairs,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The folder to save the sentence transformer into.")
    ],
    teacher: Annotated[
        str, typer.Option(help="The sentence transformer to begin with (path or hub name).")
    ] = "all-MiniLM-L6-v2",
    anchor: options.Anchor = None,
    positive: options.Positive = None,
    negative: options.Negative = None,
    hard_negatives: Annotated[
        int | None,
        typer.Option(
            help="Mine N negatives for each pair; by default 1, or 0 where there are explicit ones."
        ),
    ] = None,
    batch: Annotated[int, typer.Option(help="Pairs per step.")] = 64,
    epochs: Annotated[int, typer.Option(help="Passes over the pairs.")] = 1,
    learning_rate: Annotated[float, typer.Option(help="AdamW's peak rate.")] = 2e-5,
    scale: Annotated[float, typer.Option(help="Cosines are multiplied by it in the loss.")] = 20.0,
    precision: Annotated[
        str | None,
        typer.Option(help="bf16, fp16 (on a GPU) or fp32; by default what the device is quick at."),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Decides what is held out, the order and what is mined.")
    ] = 0,
    heldout: Annotated[
        str | None,
        typer.Option(help="How many pairs are held out for the table, 0 for none; or a file of pairs."),
    ] = None,
    distil: Annotated[
        Path | None,
        typer.Option(
            help="Also save the static model distilled from the result into this folder, and put it "
            "into the table."
        ),
    ] = None,
    checkpoint_every: Annotated[
        int | None, typer.Option(help="Steps between checkpoints; by default ten in all, at most 100 apart.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the same command after a kill.")
    ] = False,
    overwrite: options.Overwrite = False,
    threads: options.Threads = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, or auto (default): a GPU if torch sees one.")
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Fine-tune a sentence transformer on pairs with mined negatives, to start a static model from."""
    progress = options.begin(quiet or json)
    from statim.training.teach import teach as run

    data: Any = sources[0] if len(sources) == 1 else sources
    result = run(
        data, teacher, out=out, anchor=anchor, positive=positive, negative=negative,
        hard_negatives=hard_negatives, batch=batch,
        epochs=epochs, learning_rate=learning_rate, scale=scale, precision=precision, seed=seed,
        heldout=options.count_or_file(heldout), distil=distil, checkpoint_every=checkpoint_every,
        resume=resume,
        overwrite=overwrite, threads=threads, device=device, progress=progress,
    )  # fmt: skip
    options.result(result.to_dict(), f"{result}\nsaved to {out}", json)
