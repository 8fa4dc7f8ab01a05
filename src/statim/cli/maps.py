"""statim map: texts or an index as a page, a picture or a table."""

from pathlib import Path
from typing import Annotated, Any

import typer

from statim.cli import from_record, model_first, options
from statim.cli.from_record import TEXT, Text

WRITTEN = {"against": TEXT, "column": TEXT, "color": Text(str | None, metavar="COLUMN")}
Arguments = Annotated[
    list[str],
    typer.Argument(
        metavar="[MODEL] DOCS... | INDEX",
        help="Files or folders of texts or documents, or - for the standard input; or an index. "
        f"{model_first.GUESSED}",
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        help="The file to write: a page (.html), a picture (.png, .svg, .pdf) or a table (.parquet, .jsonl, "
        ".csv).",
    ),
]


def map(  # noqa: A001  the verb's name
    arguments: list[str],
    out: Path,
    model: str | None,
    delimiter: str | None,
    encoding: str | None,
    overwrite: bool,
    json: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Draw a map of texts: those with similar vectors lie close together."""
    progress = options.begin(quiet or json)
    from statim.addresses import is_database
    from statim.insight.maps.make_map import make_map
    from statim.insight.maps.write_map import check_map_output, write_map

    check_map_output(out, overwrite=overwrite)
    documents: Any
    if len(arguments) == 1 and (is_database(arguments[0]) or (Path(arguments[0]) / "index.json").is_file()):
        documents = options.address(arguments[0])
    else:
        model, rest = model_first.split_arguments(arguments, model, "DOCS", more=True)
        documents = options.sources(rest, delimiter, encoding)
    found = make_map(documents, model, **from_record.values(given, WRITTEN), progress=progress)
    write_map(found, out, overwrite=overwrite)
    figures = found.to_dict() | {"out": str(out), "bytes": out.stat().st_size}
    options.result(figures, f"{found}\n\n{options.size(figures['bytes'])}, written to {out}", json)


def add_options() -> None:
    """Give the verb its options."""
    from statim.insight.maps.options import PANELS, MapOptions

    from_record.show(
        map,
        [
            from_record.parameter("arguments", Arguments, from_record.REQUIRED),
            from_record.parameter("out", Out, from_record.REQUIRED),
            from_record.parameter("model", model_first.Option),
            from_record.parameter("delimiter", options.Delimiter),
            from_record.parameter("encoding", options.Encoding),
            from_record.parameter("overwrite", options.Overwrite, False),
            *from_record.parameters(MapOptions, PANELS, WRITTEN),
        ],
    )


from_record.show(map, [])
