"""statim recommend: learn from baskets, recommend to one person or many, judge."""

from pathlib import Path
from typing import Annotated, Any

import typer

from statim.cli import model_first, options
from statim.counted import counted
from statim.errors import InputError

app = typer.Typer(help="Items like these: train, like, users, evaluate.", no_args_is_help=True)

CATALOGUE = "ITEMS is the catalogue, a file of ids and texts."
WithBaskets = Annotated[
    list[str],
    typer.Argument(
        metavar="[MODEL] ITEMS BASKETS",
        help=f"{CATALOGUE} BASKETS is a file with a row for each basket, with a list of ids (items), or a "
        f"row for each of its items (user, item, perhaps weight). {model_first.COUNTED}",
    ),
]
Id = Annotated[str | None, typer.Option(help="The catalogue's column of ids; guessed by default.")]
Text = Annotated[str | None, typer.Option(help="The catalogue's column of texts; guessed by default.")]
Title = Annotated[
    str | None, typer.Option(help="The column whose text stands before it; guessed by default.")
]
Item = Annotated[str | None, typer.Option(help="The baskets' column of ids; guessed by default.")]
Owner = Annotated[str | None, typer.Option(help="The baskets' column of owners; guessed by default.")]
Weight = Annotated[str | None, typer.Option(help="The baskets' column of weights; guessed by default.")]
Count = Annotated[int, typer.Option("-k", help="How many.")]
Exclude = Annotated[list[str] | None, typer.Option(help="An id never to recommend (repeatable).")]
Diversity = Annotated[
    float,
    typer.Option(
        help="From 0 to below 1: how much likeness to what is chosen already counts against an item."
    ),
]

Popularity = Annotated[
    float, typer.Option(help="What popularity in --learned adds to the cosine; `train` says what was best.")
]
LearnedFile = Annotated[
    str | None, typer.Option(help="A file of the baskets that were learned from: says what is popular.")
]


def _catalogue(model: str, items: str, names: list[str | None], threads: int | None, progress: bool) -> Any:
    from statim.model import StaticModel
    from statim.tasks.recommend.recommend import Recommender

    named = dict(zip(("id", "text", "title"), names, strict=True))
    return Recommender(StaticModel.load(model), items, **named, threads=threads, progress=progress)


def _count(catalogue: Any, learned: str | None) -> None:
    """Count what is popular, if baskets to count in are named."""
    from statim.tasks.recommend.baskets import read_baskets

    if learned is not None:
        catalogue.learn_popularity(read_baskets(learned, catalogue.ids))


@app.command("train")
def train(
    arguments: WithBaskets,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to save the model into.")],
    model: model_first.Option = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the pairs of baskets.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak rate.")] = None,
    batch: Annotated[int | None, typer.Option(help="Pairs per step.")] = None,
    heldout: Annotated[
        int | None, typer.Option(help="Baskets kept for the table; by default a tenth, at most 1,000.")
    ] = None,
    id: Id = None,  # noqa: A002
    text: Text = None,
    title: Title = None,
    item: Item = None,
    owner: Owner = None,
    weight: Weight = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides what is held out, and the training.")] = 0,
    overwrite: options.Overwrite = False,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a model on what people took together."""
    progress = options.begin(quiet or json)
    model, (items, baskets) = model_first.split_arguments(arguments, model, "ITEMS", "BASKETS")
    from statim.files import check_output
    from statim.tasks.recommend.basket_training import train_on_baskets
    from statim.tasks.recommend.baskets import read_baskets

    check_output(out, overwrite=overwrite)
    catalogue = _catalogue(model, items, [id, text, title], threads, progress)
    read = read_baskets(baskets, catalogue.ids, items=item, owner=owner, weight=weight)
    given = {"epochs": epochs, "learning_rate": learning_rate, "batch": batch}
    learned = train_on_baskets(
        catalogue, read, out=out, heldout=heldout, seed=seed, overwrite=overwrite, threads=threads,
        progress=progress, **given,
    )  # fmt: skip
    table = learned.table
    figures = {
        "out": str(out),
        "pairs": learned.pairs,
        "popularity": learned.popularity,
        "table": None if table is None else table.to_dict(),
    }
    told = "" if table is None else f"{table}\nbest weight of popularity: {learned.popularity:g}\n"
    options.result(figures, f"{told}{counted(learned.pairs, 'pairs')}; the model is written to {out}", json)


@app.command("like")
def like(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODEL] ITEMS IDS...",
            help=f"{CATALOGUE} IDS are of items; ID=2 counts double. {model_first.GUESSED}",
        ),
    ],
    model: model_first.Option = None,
    k: Count = 10,
    exclude: Exclude = None,
    diversity: Diversity = 0.0,
    popularity: Popularity = 0.0,
    learned: LearnedFile = None,
    id: Id = None,  # noqa: A002
    text: Text = None,
    title: Title = None,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Recommend items like these."""
    progress = options.begin(quiet or json)
    model, (items, *liked) = model_first.split_arguments(arguments, model, "ITEMS", "IDS", more=True)
    catalogue = _catalogue(model, items, [id, text, title], threads, progress)
    _count(catalogue, learned)
    known = set(catalogue.ids.to_pylist())
    weights: dict[str, float] = {}
    for given in liked:
        name, found, number = given.rpartition("=")
        if given in known or not found:
            weights[given] = weights.get(given, 0.0) + 1.0
            continue
        try:
            weights[name] = weights.get(name, 0.0) + float(number)
        except ValueError:
            raise InputError(f"{given!r} is neither an id nor an id with a weight, like {name}=2") from None
    hits = catalogue.recommend(
        weights, k, exclude=exclude or (), diversity=diversity, popularity=popularity, threads=threads
    )
    rows = [{"rank": hit.rank, "score": round(hit.score, 4), "id": hit.id, "text": hit.text} for hit in hits]
    lines = [f"{hit.rank:>3}  {hit.score:.3f}  {hit.id}  {' '.join(hit.text.split())[:90]}" for hit in hits]
    options.result(rows, "\n".join(lines) or "nothing else is in the catalogue", json)


@app.command("users")
def users(
    arguments: WithBaskets,
    out: options.Rows,
    model: model_first.Option = None,
    k: Count = 10,
    exclude: Exclude = None,
    diversity: Diversity = 0.0,
    popularity: Popularity = 0.0,
    learned: LearnedFile = None,
    id: Id = None,  # noqa: A002
    text: Text = None,
    title: Title = None,
    item: Item = None,
    owner: Owner = None,
    weight: Weight = None,
    overwrite: options.Overwrite = False,
    threads: options.Threads = None,
    quiet: options.Quiet = False,
) -> None:
    """Recommend to the owners of baskets, without what is in them."""
    progress = options.begin(quiet)
    model, (items, baskets) = model_first.split_arguments(arguments, model, "ITEMS", "BASKETS")
    import pyarrow as pa

    from statim.data.files.writing import check_table_output, table_writer
    from statim.progress import Progress
    from statim.tasks.recommend.baskets import read_baskets

    check_table_output(out, overwrite=overwrite)
    catalogue = _catalogue(model, items, [id, text, title], threads, progress)
    read = read_baskets(baskets, catalogue.ids, items=item, owner=owner, weight=weight)
    schema = pa.schema(
        [("user", pa.string()), ("items", pa.list_(pa.string())), ("scores", pa.list_(pa.float32()))]
    )
    _count(catalogue, learned)
    done = 0
    many = catalogue.recommend_many(
        read, k, exclude=exclude or (), diversity=diversity, popularity=popularity, threads=threads
    )
    with (
        Progress("recommend", total=len(read), unit="baskets", show=progress) as bar,
        table_writer(out, schema) as write,
    ):
        for scores, places in many:
            found = [[catalogue.ids[place].as_py() for place in row if place >= 0] for row in places.tolist()]
            numbers = [row[row > float("-inf")].tolist() for row in scores]
            names = read.names[done : done + len(found)]
            write(pa.table({"user": names, "items": found, "scores": numbers}, schema))
            done += len(found)
            bar.advance(len(found))
    options.note(f"{done:,} baskets, written to {out}", quiet)


@app.command("evaluate")
def evaluate(
    arguments: WithBaskets,
    model: model_first.Option = None,
    learned: LearnedFile = None,
    against: Annotated[list[str] | None, typer.Option(help="Another model (repeatable).")] = None,
    k: Count = 10,
    id: Id = None,  # noqa: A002
    text: Text = None,
    title: Title = None,
    item: Item = None,
    owner: Owner = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides which half of a basket is shown.")] = 0,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show half of each basket, and see who finds the rest; the baskets must be ones not learned from."""
    progress = options.begin(quiet or json)
    model, (items, baskets) = model_first.split_arguments(arguments, model, "ITEMS", "BASKETS")
    from statim.model import StaticModel
    from statim.tasks.recommend.basket_judging import judge_baskets
    from statim.tasks.recommend.baskets import read_baskets

    catalogue = _catalogue(model, items, [id, text, title], threads, progress)
    read = read_baskets(baskets, catalogue.ids, items=item, owner=owner)
    known = None if learned is None else read_baskets(learned, catalogue.ids, items=item, owner=owner)
    compared = {model: catalogue}
    for other in against or []:
        compared[other] = catalogue.with_model(StaticModel.load(other), threads=threads)
    table = judge_baskets(compared, read, known, k=k, seed=seed, threads=threads)
    options.result(table.to_dict(), str(table), json)
