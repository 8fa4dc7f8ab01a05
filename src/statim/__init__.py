"""statim: train, freeze and use static sentence embeddings in seconds, on the machine you have.

>>> import statim
>>> model = statim.StaticModel.load("model")
>>> vectors = model.encode(["how do I sort a list?", "sort items in place"])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from statim.evaluation import evaluate
    from statim.mining.mine import mine_hard_negatives
    from statim.model import StaticModel
    from statim.search.index import Hit, Index
    from statim.settings import Settings
    from statim.tasks.classify.classify import Classifier
    from statim.tasks.clusters.clusters import cluster
    from statim.tasks.duplicates.duplicates import find_duplicates
    from statim.tasks.embedder import StaticEmbedder
    from statim.tasks.recommend.recommend import Recommender
    from statim.tokenizer.tokens import Tokens
    from statim.training.result import TrainingResult
    from statim.training.sentence_transformer import fit_sentence_transformer
    from statim.training.teach import teach
    from statim.training.train import train

__version__ = "0.1.0"

__all__ = [
    "Classifier", "Hit", "Index", "Recommender", "Settings", "StaticEmbedder", "StaticModel", "Tokens",
    "TrainingResult", "cluster",
    "evaluate", "find_duplicates", "fit_sentence_transformer", "mine_hard_negatives", "teach", "train",
]  # fmt: skip

_HOMES = {
    "Classifier": "statim.tasks.classify.classify",
    "Hit": "statim.search.index",
    "Index": "statim.search.index",
    "Recommender": "statim.tasks.recommend.recommend",
    "Settings": "statim.settings",
    "StaticEmbedder": "statim.tasks.embedder",
    "StaticModel": "statim.model",
    "Tokens": "statim.tokenizer.tokens",
    "TrainingResult": "statim.training.result",
    "cluster": "statim.tasks.clusters.clusters",
    "evaluate": "statim.evaluation",
    "find_duplicates": "statim.tasks.duplicates.duplicates",
    "fit_sentence_transformer": "statim.training.sentence_transformer",
    "mine_hard_negatives": "statim.mining.mine",
    "teach": "statim.training.teach",
    "train": "statim.training.train",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import statim`` is quick."""
    if name not in _HOMES:
        raise AttributeError(f"module 'statim' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
