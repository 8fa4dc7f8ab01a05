"""statim explain: why two texts are similar, or why an index finds a document."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from statim import addresses
from statim.cli import model_first, options, terminal
from statim.errors import InputError

if TYPE_CHECKING:
    from statim.insight.contributions import Explanation, Token
    from statim.insight.hits import HitExplanation

SHADES = (195, 159, 123, 87, 51)  # of 256 colours, from faint to strong: what adds to the score
WARM = (230, 223, 222, 215, 208)  # what subtracts from it


def explain(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODEL] A B | INDEX QUESTION",
            help="Two texts, each in quotes; or an index and a question, to explain an answer. "
            f"{model_first.COUNTED}",
        ),
    ],
    model: model_first.Option = None,
    hit: Annotated[str | None, typer.Option(help="Id of the document to explain (an index).")] = None,
    rank: Annotated[int, typer.Option(min=1, help="Rank of the answer to explain (an index).")] = 1,
    against: Annotated[
        str | None, typer.Option(metavar="ID", help="Id of another document, to see why not that one.")
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(help="hybrid, vector or bm25: the search to show the rank of (default: the index's)."),
    ] = None,
    where: Annotated[
        str | None, typer.Option(help="Search only documents that satisfy this condition.")
    ] = None,
    pairs: Annotated[int, typer.Option(min=1, help="Show this many pairs of tokens.")] = 12,
    page: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Also write an HTML page.")
    ] = None,
    table: options.Table = "documents",
    overwrite: options.Overwrite = False,
    json: options.Json = False,
) -> None:
    """Explain a similarity token by token: the parts add up to the cosine exactly."""
    options.begin(json)
    from statim.insight.explain_page import page as html

    if page is not None and page.exists() and not overwrite:
        raise InputError(f"{page} exists; choose another name, or allow overwriting (--overwrite)")
    found: Explanation | HitExplanation
    place, texts = arguments[0], arguments[1:]
    if _is_index(place):
        options.address(place)
        from statim.insight.hits import explain_hit
        from statim.search.index import Index

        if len(texts) != 1:
            raise InputError(f"{len(texts)} texts are given; for an index, give one question (in quotes)")
        index = Index.load(place, table=table)
        found = explain_hit(index, texts[0], hit=hit, rank=rank, against=against, mode=mode, where=where)
        text = _hit_text(found, pairs)
    else:
        from statim.insight.contributions import explain as compare
        from statim.model import StaticModel

        if hit is not None or against is not None:
            raise InputError(f"--hit and --against are for an index, and {place} is none; give two texts")
        if len(texts) == 1 and Path(place).exists() and model_first.names_model(place):
            raise InputError("1 text is given; give two texts, each in quotes, to compare them")
        model, (first, second) = model_first.split_arguments(arguments, model, "A", "B")
        found = compare(StaticModel.load(model), first, second)
        text = _text(found, ("first", "second"), pairs)
    if page is not None:
        from statim.files import atomic_file

        with atomic_file(page) as file:
            file.write(html(found).encode("utf-8", "backslashreplace"))
        text += f"\n\npage written to {page}"
    if json:
        options.result(found.to_dict(pairs), "", as_json=True)
    else:
        terminal.write(text)


def _is_index(place: str) -> bool:
    return addresses.is_database(place) or (Path(place) / "index.json").is_file()


def _hit_text(found: "HitExplanation", pairs: int) -> str:
    rank = f"rank {found.hit.rank} ({found.mode}, {found.hit.score:.3f})" if found.hit.rank else "not found"
    lines = [
        f"{terminal.shown(found.hit.id)}: {rank}; cosine {found.vector.score:.3f}, BM25 {found.bm25:.2f}",
        "",
        _text(found.vector, ("question", "document"), pairs),
    ]
    if found.words:
        words = ", ".join(f"{terminal.shown(w.word)} {w.contribution:+.2f}" for w in found.words)
        lines += ["", f"words of BM25: {words}"]
    if found.against is not None:
        other = terminal.shown(found.against.hit.id)
        lines += [
            "",
            f"why not {other}: cosine {found.against.vector.score:.3f}, BM25 {found.against.bm25:.2f}",
        ]
        lines += [f"  {part:+.4f}  {terminal.shown(token)}" for token, part in found.contrast()[:pairs]]
    return "\n".join(lines)


def _text(found: "Explanation", names: tuple[str, str], pairs: int) -> str:
    """Both texts, coloured on a terminal, and the strongest pairs."""
    width = max(map(len, names))
    lines = [f"cosine {found.score:.4f}"]
    for name, text, tokens in zip(names, (found.a, found.b), (found.tokens_a, found.tokens_b), strict=True):
        lines.append(f"{name:>{width}}: {_coloured(text, tokens)}")
    strongest = found.pairs(pairs)
    if not strongest:
        return "\n".join([*lines, "a text has no token that the model knows, so nothing can be compared"])
    lines += ["", f"{'adds':>8}  pair of tokens"]
    lines += [
        f"{pair.contribution:+8.4f}  {terminal.shown(pair.a)} · {terminal.shown(pair.b)}"
        for pair in strongest
    ]
    rest = found.score - sum(pair.contribution for pair in strongest)
    lines.append(f"{rest:+8.4f}  all other pairs")
    return "\n".join(lines)


def _coloured(text: str, tokens: "tuple[Token, ...]") -> str:
    """A text with the tokens' backgrounds coloured; plain where the output is no terminal."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return terminal.shown(text)
    from statim.insight.contributions import marked

    parts = []
    for part, token, share in marked(text, tokens):
        shown = terminal.shown(part)
        if token is not None:
            shade = (SHADES if share >= 0 else WARM)[min(4, int(5 * abs(share)))]
            shown = f"\x1b[38;5;16;48;5;{shade}m{shown}\x1b[0m"
        parts.append(shown)
    return "".join(parts)
