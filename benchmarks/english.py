"""The bundled English model: trained by the recipe, pruned to what pays, in int8. The last line is JSON.

    python benchmarks/english.py DATA --eval EVAL --out out/english
        --teacher all-MiniLM-L6-v2 --teacher paraphrase-MiniLM-L3-v2
    python benchmarks/league.py EVAL --models english=out/english/english --out out/league > out/league.txt
    python benchmarks/english.py --card out/english/english --scores out/league.txt

The first trains a table with more rows than fit (DATA, EVAL and the draw of sentences as for general.py, but
without the sets whose texts have licences of their own), and writes OUT/english. The last line of what
league.py prints fills the table of the model's card.

The first dimensions are the larger ones, as the teachers' principal axes are; they are made more even, which
retrieval gains by and STS hardly loses by (development sets: 90.7 to 92.3, 76.6 to 76.5).

A row's worth is what a text's vector would lose without it: the square of the distance between the row and
the sum of its pieces' rows, times how often it occurs. The rows of least worth are left out; no text decides
which but those of DATA.
"""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

import statim
from general import SETS, normalised, texts_of
from pages import write_between
from statim.cli.options import teachers
from statim.data.documents.own_sentences import own_sentences
from statim.data.pairs.reading import read_pairs
from statim.evaluation import table
from statim.files import write_json
from statim.model import StaticModel
from statim.training.run.load import MOST_SENTENCES
from statim.vocabulary import prune_to

LICENCES = {  # of the sets that go in; CC0, CC BY and CC BY-SA
    "arxiv": "CC0: titles and abstracts of arXiv", "gene-ontology": "CC BY 4.0: Gene Ontology",
    "medquad": "CC BY 4.0: MedQuAD", "msdocs": "CC BY 4.0: Microsoft's documentation",
    "open-trivia": "CC BY-SA 4.0: OpenTriviaQA", "openstax-ccby": "CC BY 4.0: OpenStax textbooks",
    "sgd-dialogue": "CC BY-SA 4.0: Schema-Guided Dialogue", "squad-sentences": "CC BY-SA 4.0: SQuAD",
    "wiki-simplification": "CC BY-SA 4.0: WikiSplit", "wiki-vital": "CC BY-SA 4.0: Wikipedia, vital articles",
    "wordnet-glosses": "CC BY 4.0: Open English WordNet", "wordset-examples": "CC BY-SA 4.0: Wordset",
}  # fmt: skip
LIMITS = {"wordnet-glosses": 200_000, "arxiv": 100_000, "gene-ontology": 50_000, "msdocs": 60_000}  # pairs
TEACHERS = ["all-MiniLM-L6-v2", "paraphrase-MiniLM-L3-v2"]
FIRST, SHORT, WORDS = 69_632, 61_440, 20  # texts that the teachers read; of the short ones the most words
EVEN = 0.6
ROWS = 50_000  # with them the folder comes to 16 MB
RECIPE: dict[str, Any] = {
    "dim": 256, "matryoshka": [32, 64, 128, 256], "weights": [0.3, 0.3, 0.6, 1.2], "grow_words": 20_000,
    "grow_pairs": 40_000, "distil_weight": 300.0,
}  # fmt: skip
COUNTED = 100_000  # pairs whose tokens are counted beside the sentences
PREFIX = "##"  # of a WordPiece token that goes on a word
FAMILIES = ("STS", "classification", "retrieval", "pairs", "clustering")
MARKS = ("<!-- scores -->", "<!-- end of scores -->")

Floats = npt.NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--eval", type=Path, help="whose texts are left out")
    parser.add_argument("--out", type=Path, default=Path("out/english"))
    parser.add_argument("--teacher", action="append", help="NAME or NAME:WEIGHT, repeatable")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--card", type=Path, help="a model whose card is given scores; nothing else is done")
    parser.add_argument("--scores", type=Path, help="what league.py printed")
    asked = parser.parse_args()
    if asked.card is not None:
        add_scores(asked.card, asked.scores)
        return
    files = {name: str(asked.data / name / "train.jsonl.gz") for name in SETS if name in LICENCES}
    pairs = read_pairs(files)
    texts = sentences(pairs, asked.eval)
    made = statim.train(
        pairs, recipe="general", out=asked.out / "whole", distil={"text": texts}, set_limits=LIMITS,
        teacher=teachers(asked.teacher or TEACHERS), **RECIPE,
        heldout=0, development=0, baselines=False, overwrite=True,
    )  # fmt: skip
    print(made)
    some = pairs.select(np.random.default_rng(0).permutation(len(pairs))[:COUNTED])
    small = pruned(made.model, [pa.array(texts), some.anchors, some.positives], asked.rows)
    small = evened(small).quantize("int8")
    small.save(asked.out / "english", card=card(small, len(texts), made), overwrite=True)
    sizes = {path.name: path.stat().st_size for path in (asked.out / "english").iterdir() if path.is_file()}
    write_json(asked.out / "run.json", made.to_dict())
    result = {
        "benchmark": "english", "rows": len(small.table), "before": len(made.model.table),
        "sentences": len(texts),
        "pairs": made.pairs["train"], "bytes": sum(sizes.values()), "hash": small.hash,
    }  # fmt: skip
    print(json.dumps(result))


def sentences(pairs: Any, judged: Path) -> list[str]:
    """Sentences and passages of pairs, the first and then short ones, without those that judge models."""
    drawn = own_sentences(pairs, MOST_SENTENCES, seed=0).texts.to_pylist()
    known = set(map(normalised, texts_of(judged)))
    kept = [text for text in drawn if normalised(text) not in known]
    return kept[:FIRST] + [text for text in kept[FIRST:] if len(text.split()) <= WORDS][:SHORT]


def pruned(model: StaticModel, columns: Sequence[pa.Array], rows: int) -> StaticModel:
    """The model with the rows that are worth most, and those that spell other words; ``rows`` in all."""
    order = np.argsort(-worth(model, columns), kind="stable")
    found = prune_to(model.tokenizer, order[:rows])
    found = prune_to(model.tokenizer, order[: 2 * rows - len(found.kept)])  # some are kept whatever they are
    return StaticModel(model.table[found.kept], found.tokenizer, model.settings)


def evened(model: StaticModel) -> StaticModel:
    """The model with dimensions whose sizes differ less: each is divided by its own to the power of EVEN."""
    sizes = np.sqrt(np.square(model.table).mean(axis=0))
    table = model.table / (sizes / sizes.mean()) ** EVEN
    named = dataclasses.replace(model.settings, language=("en",))
    return StaticModel(table.astype(np.float32), model.tokenizer, named)


def worth(model: StaticModel, columns: Sequence[pa.Array]) -> Floats:
    """What texts' vectors would lose without each row, (V,)."""
    rows, description = model.table, json.loads(model.tokenizer.to_json())
    counts = sum(np.bincount(model.tokenizer(column).ids, minlength=len(rows)) for column in columns)
    vocabulary = description["model"]["vocab"]
    lost = np.square(rows).sum(axis=1, dtype=np.float64)
    for word, number in vocabulary.items():
        if not word.startswith(PREFIX):
            lost[number] = _distance(rows, number, _pieces(word, vocabulary, whole=False))
    for token in description["added_tokens"]:
        if not token["special"]:
            pieces = [part for word in token["content"].split() for part in _pieces(word, vocabulary)]
            lost[token["id"]] = _distance(rows, token["id"], pieces)
    return np.asarray(counts * lost)


def _distance(rows: npt.NDArray[np.float32], number: int, pieces: list[int]) -> float:
    """The square of how far a row is from the sum of its pieces'."""
    gap = rows[number] - rows[pieces].sum(axis=0)
    return float(gap @ gap)


def _pieces(word: str, vocabulary: dict[str, int], *, whole: bool = True) -> list[int]:
    """What WordPiece cuts a word into, the longest piece first; with ``whole`` perhaps the word itself."""
    found, start = [], 0
    while start < len(word):
        longest = len(word) if whole or start else len(word) - 1
        prefix = PREFIX if start else ""
        end = next((end for end in range(longest, start, -1) if prefix + word[start:end] in vocabulary), None)
        if end is None:
            return []
        found.append(vocabulary[prefix + word[start:end]])
        start = end
    return found


def card(model: StaticModel, sentences: int, made: Any) -> str:
    """The model's card, with room for its scores."""
    sets = "".join(f"- {name} ({LICENCES[name]})\n" for name in LICENCES)
    return f"""---
library_name: statim
language: en
pipeline_tag: sentence-similarity
tags:
- static-embeddings
- statim
- model2vec
- sentence-transformers
---

# english: the model that comes with statim

{len(model.table):,} tokens, {model.dim} dimensions of int8 with a scale for each row; the first 128, 64
and 32 dimensions are good by themselves. {model.tokenizer.phrases:,} of the tokens are pairs of words.

```python
import statim
vectors = statim.StaticModel.load("english").encode(["a text"])
```

## What it is made from

Two teachers, both of the Apache License 2.0: all-MiniLM-L6-v2, whose token vectors the table started from,
and paraphrase-MiniLM-L3-v2. They read {sentences:,} sentences and passages of the sets below; then the table
was trained on {made.pairs["train"]:,} pairs of them:

{sets}
Texts that the evaluation sets have too were left out of what the teachers read. No text can be read back from
the table. `make english DATA=...` makes it again.

## Scores

{MARKS[0]}
{MARKS[1]}

Averages of the test sets of docs/league.md, times 100.

## What it cannot do

- It knows English alone. Words of other languages are cut into pieces that say little.
- A vector is a mean of tokens: word order, negation and who did what to whom are lost, but for frequent
  pairs of words.
- Words of a field that its texts do not have (names, product codes) mean little to it: hybrid search finds
  these by BM25, and `statim train --start english` teaches it the field.
- It has learned what its texts say, prejudices included.
"""


def add_scores(folder: Path, scores: Path) -> None:
    """Put a table of what league.py printed between the marks of a card."""
    averages = json.loads(scores.read_text(encoding="utf-8").splitlines()[-1])["averages"]
    body = [
        [name, *(f"{row[f]:.1f}" if f in row else "" for f in FAMILIES)] for name, row in averages.items()
    ]
    write_between(folder / "README.md", MARKS, table.markdown(["", *FAMILIES], body))


if __name__ == "__main__":
    main()
