"""A vocabulary made from a corpus: learned, grown by frequent words and pairs, or pruned."""

from statim.vocabulary.growing import Growth, check_rows, grow
from statim.vocabulary.learning import learn_wordpiece
from statim.vocabulary.pruning import Pruned, prune, prune_to
from statim.vocabulary.unigram import learn_unigram

__all__ = [
    "Growth",
    "Pruned",
    "check_rows",
    "grow",
    "learn_unigram",
    "learn_wordpiece",
    "prune",
    "prune_to",
]
