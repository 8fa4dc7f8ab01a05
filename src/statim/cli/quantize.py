"""statim quantize: a model's table in fewer bits."""

from pathlib import Path
from typing import Annotated

import typer

from statim.cli import model_first, options


def quantize(
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL]", help=model_first.COUNTED)
    ] = None,
    model: model_first.Option = None,
    dtype: Annotated[str, typer.Option(help="int8, float16 or float32.")] = "int8",
    overwrite: options.Overwrite = False,
    json: options.Json = False,
) -> None:
    """Write a model with its table in fewer bits: smaller, and faster at many dimensions."""
    model, _ = model_first.split_arguments(arguments or [], model)
    from statim.model import StaticModel

    loaded = StaticModel.load(model)
    small = loaded.quantize(dtype)
    small.save(out, overwrite=overwrite)
    figures = {
        "out": str(out),
        "table": small.dtype,
        "table_bytes": small.nbytes,
        "before_bytes": loaded.nbytes,
    }
    sizes = (
        f"{options.size(loaded.nbytes)} of {loaded.dtype} became {options.size(small.nbytes)} of "
        f"{small.dtype}"
    )
    options.result(figures, f"{sizes}, written to {out}", json)
