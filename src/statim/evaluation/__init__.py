"""How good is a model? Honest figures on labelled sets, beside any other model and BM25.

>>> from statim import evaluate
>>> print(evaluate("model", ["sts_test.jsonl", "beir/scifact"], against=["bm25"]))
"""

from statim.evaluation.report import Report, Row
from statim.evaluation.retrieval import evaluate_bm25, evaluate_retrieval
from statim.evaluation.run import compare, evaluate

__all__ = ["Report", "Row", "compare", "evaluate", "evaluate_bm25", "evaluate_retrieval"]
