"""NDCG@10 of BM25 on retrieval sets: the words of earlier versions beside today's analyzers.

Earlier words had two letters or more and were not stemmed.

    python benchmarks/analyzers.py FOLDERS...

Each folder is a retrieval set in BEIR's format.
"""

import argparse
import time
from pathlib import Path

from statim.data import read_beir
from statim.evaluation.retrieval import evaluate_bm25
from statim.search.lexical.analyzer import CLASSIC, UNKNOWN, detect

NDCG = "ndcg@10"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path)
    print(
        "| set | documents | language | classic | without a language | by language | seconds, classic "
        "| by language |"
    )
    print("|---|---:|---|---:|---:|---:|---:|---:|")
    for folder in parser.parse_args().folders:
        data = read_beir(folder)
        texts = data.documents.to_pylist()
        language = detect(texts)
        scores, seconds = [], []
        for name in (CLASSIC, UNKNOWN, language):
            begun = time.process_time()
            scores.append(evaluate_bm25(data, language=name, metrics=(NDCG,)).metrics[NDCG])
            seconds.append(time.process_time() - begun)
        shown = " | ".join(f"{score:.3f}" for score in scores)
        print(
            f"| {folder.name} | {len(texts):,} | {language} | {shown} | {seconds[0]:.1f} | {seconds[2]:.1f} |"
        )


if __name__ == "__main__":
    main()
