"""Data: pairs, labelled texts, retrieval sets and plain texts, from files and from tables in memory.

>>> from statim.data import read_pairs, split
>>> pairs = read_pairs("pairs.jsonl.gz")
>>> parts = split(pairs, development=500, test=1_000)
"""

from statim.data.dedup.near_duplicates import Matches, near_duplicates
from statim.data.detect_task import read_supervision
from statim.data.documents.corpus import Corpus, read_corpus
from statim.data.documents.texts import read_documents, read_texts
from statim.data.files.tables import read_table
from statim.data.files.text_file import TextFile
from statim.data.labelled.graded import read_classes, read_scored
from statim.data.labelled.labelled import (
    JudgedPairs,
    LabelledTexts,
    ScoredPairs,
    read_judged_pairs,
    read_labelled,
    read_sts,
)
from statim.data.labelled.retrieval import RetrievalSet, from_pairs, read_beir
from statim.data.pairs.pairs import Pairs, Report
from statim.data.pairs.python_docs import python_docs
from statim.data.pairs.reading import read_pairs
from statim.data.split import Split, split

__all__ = [
    "Corpus", "JudgedPairs", "LabelledTexts", "Matches", "Pairs", "Report", "RetrievalSet", "ScoredPairs",
    "Split", "TextFile",
    "from_pairs", "near_duplicates", "python_docs", "read_beir", "read_classes", "read_corpus",
    "read_documents", "read_judged_pairs",
    "read_labelled", "read_pairs", "read_scored", "read_sts", "read_supervision", "read_table", "read_texts",
    "split",
]  # fmt: skip
