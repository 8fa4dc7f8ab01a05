"""The table of results in README.md, made of the tables of RESULTS.md.

    python benchmarks/readme_table.py

A test asserts that README.md has today's.
"""

import re
from pathlib import Path

from pages import write_between

ROOT = Path(__file__).parent.parent
MARKS = ("<!-- results -->", "<!-- end of results -->")
Row = dict[str, str]


def tables(page: str, heading: str) -> list[list[Row]]:
    """The tables of a section; each row by the names of its columns, without bold type."""
    section = re.split(r"^## ", page, flags=re.MULTILINE)
    (text,) = [part for part in section if part.split("\n", 1)[0] == heading]
    found = []
    for block in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
        names, _, *lines = [cells(line) for line in block.splitlines()]
        found.append([dict(zip(names, line, strict=True)) for line in lines])
    return found


def cells(line: str) -> list[str]:
    return [cell.strip().replace("**", "") for cell in line.strip().strip("|").split("|")]


def row(table: list[Row], **wanted: str) -> Row:
    """The only row whose first column, or whose named columns, begin so."""
    (found,) = [
        line
        for line in table
        if all(
            (next(iter(line.values())) if name == "first" else line[name]).startswith(text)
            for name, text in wanted.items()
        )
    ]
    return found


def figure(cell: str) -> str:
    """A cell's first figure, without what lies behind it in brackets."""
    return cell.split(" (")[0]


def made(page: str) -> str:
    """README's table."""
    (league,) = tables(page, "The league")
    general, share = row(league, first="general:"), row(league, first="general's share")
    peer, bm25 = row(league, first="WordLlama"), row(league, first="BM25")
    families = ("STS", "classification", "retrieval", "pairs", "clustering")
    training = tables(page, "Training against sentence-transformers")[0]
    times = sorted((line["ratio"] for line in training), key=float)
    (encoding,) = tables(page, "Encoding against model2vec and sentence-transformers")
    short = {"tokenizer": "WordPiece", "d": "256", "texts (tokens)": "short"}
    ahead = [
        row(encoding, **short, library=name)["statim is … times as fast"]
        for name in ("model2vec", "sentence-transformers")
    ]
    rate = row(encoding, **short, library="statim, 2 threads")["texts/s"]
    (starts,) = tables(page, "Cold starts")
    ours, theirs = row(starts, first="statim: import"), row(starts, first="model2vec")
    (mining,) = tables(page, "Mining hard negatives")
    exact = sorted(
        float(x) for x in row(mining, first="statim, exact")["times sentence-transformers"].split(", ")
    )
    seconds, memory = "seconds (median of 9)", "MB at its peak"
    quality = [
        ["statim, general model", *(f"**{figure(general[name])}**" for name in families)],
        ["the same and BM25", "", "", f"**{figure(general['+ BM25'])}**", "", ""],
        ["WordLlama-256", *(peer[name] for name in families)],
        ["BM25", *(bm25[name] for name in families)],
        ["share of all-MiniLM-L6-v2", *(share[name] for name in families)],
    ]
    speed = [
        ["training", f"{times[0]} to {times[-1]} times as fast as sentence-transformers"],
        ["mining hard negatives, exact", f"{exact[0]} to {exact[-1]} times as fast as sentence-transformers"],
        [
            "encoding short texts",
            f"{rate} a second, {ahead[0]} times model2vec, {ahead[1]} times sentence-transformers",
        ],
        [
            "cold start: import, load, first vector",
            f"{ours[seconds]} s and {ours[memory]} MB; model2vec {theirs[seconds]} s and {theirs[memory]} MB",
        ],
    ]
    return "\n\n".join([drawn(["", *families], quality), drawn(["speed, on two cores", ""], speed)])


def drawn(names: list[str], lines: list[list[str]]) -> str:
    """A table of Markdown, figures to the right where there are several columns."""
    rule = ["---", *(["---:"] * (len(names) - 1) if len(names) > 2 else ["---"])]
    return "\n".join(f"| {' | '.join(line)} |" for line in [names, rule, *lines])


if __name__ == "__main__":
    page = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    write_between(ROOT / "README.md", MARKS, made(page))
