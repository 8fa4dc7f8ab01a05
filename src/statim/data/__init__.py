"""Data: pairs, labelled texts, retrieval sets and plain texts, from files and from tables in memory.

>>> from statim.data import read_pairs, split
>>> pairs = read_pairs("pairs.jsonl.gz")
>>> parts = split(pairs, development=500, test=1_000)
"""

from statim.data.corpus import Corpus, read_corpus
from statim.data.graded import read_classes, read_scored
from statim.data.labelled import (
    JudgedPairs,
    LabelledTexts,
    ScoredPairs,
    read_judged_pairs,
    read_labelled,
    read_sts,
)
from statim.data.near import Matches, near_duplicates
from statim.data.pairs import Pairs, Report
from statim.data.python_docs import python_docs
from statim.data.reading import read_pairs
from statim.data.retrieval import RetrievalSet, from_pairs, read_beir
from statim.data.split import Split, split
from statim.data.supervision import read_supervision
from statim.data.tables import read_table
from statim.data.texts import read_documents, read_texts

__all__ = [
    "Corpus", "JudgedPairs", "LabelledTexts", "Matches", "Pairs", "Report", "RetrievalSet", "ScoredPairs", "Split",
    "from_pairs", "near_duplicates", "python_docs", "read_beir", "read_classes", "read_corpus", "read_documents", "read_judged_pairs",
    "read_labelled", "read_pairs", "read_scored", "read_sts", "read_supervision", "read_table", "read_texts", "split",
]  # fmt: skip
