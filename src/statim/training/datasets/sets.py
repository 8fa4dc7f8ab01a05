"""Scored pairs, labelled texts and plain texts as bags, ready to be trained on; pairs stand in bags.py."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from statim.data.detect_task import Supervision, Trainable
from statim.data.documents.plain import PlainTexts
from statim.data.labelled.labelled import LabelledTexts, ScoredPairs
from statim.tokenizer.tokenizer import Tokenizer
from statim.training.datasets.bags import Bags, TrainingSet

Ints = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class ScoredSet:
    """n pairs with scores over T distinct texts.

    Attributes:
        bags: The T texts.
        first: (n,) int32, the text on the left of each pair.
        second: (n,) int32, the text on its right.
        scores: (n,) float64, as given.
    """

    bags: Bags
    first: Ints
    second: Ints
    scores: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.first)

    @staticmethod
    def of(pairs: ScoredPairs, tokenizer: Tokenizer, *, threads: int = 1) -> "ScoredSet":
        """Tokenize the distinct texts of ``pairs``."""
        encoded = pa.chunked_array([pairs.text1, pairs.text2]).combine_chunks().dictionary_encode()
        first, second = np.split(np.asarray(encoded.indices, np.int32), 2)
        return ScoredSet(_bags(encoded.dictionary, tokenizer, threads), first, second, pairs.scores)


@dataclass(frozen=True, eq=False)
class ClassSet:
    """n texts in C classes.

    Attributes:
        bags: The n texts.
        classes: (n,) int32, the class of each text.
        members: (n,) int32, the texts, one class's after the other's.
        offsets: (C + 1,) int64, where each class begins among the members.
    """

    bags: Bags
    classes: Ints
    members: Ints
    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.classes)

    @staticmethod
    def of(texts: LabelledTexts, tokenizer: Tokenizer, *, threads: int = 1) -> "ClassSet":
        """Tokenize the texts."""
        bags = _bags(texts.texts, tokenizer, threads)
        classes = np.asarray(texts.labels.dictionary_encode().indices, np.int32)
        offsets = np.append(0, np.cumsum(np.bincount(classes)))
        return ClassSet(bags, classes, np.argsort(classes, kind="stable").astype(np.int32), offsets)


@dataclass(frozen=True, eq=False)
class TextSet:
    """n texts, and what a teacher makes of each.

    Attributes:
        bags: Where the texts are, perhaps with others.
        texts: (n,) int64, the number of each.
        targets: (n, d) float16, target directions of their vectors; empty before the teacher was asked.
    """

    bags: Bags
    texts: npt.NDArray[np.int64]
    targets: npt.NDArray[np.float16] = dataclasses.field(default_factory=lambda: np.zeros((0, 0), np.float16))

    def __len__(self) -> int:
        return len(self.texts)

    @staticmethod
    def of(texts: PlainTexts, tokenizer: Tokenizer, *, threads: int = 1) -> "TextSet":
        """Tokenize the texts."""
        return TextSet(_bags(texts.texts, tokenizer, threads), np.arange(len(texts)))

    def behind(self, bags: Bags) -> "TextSet":
        """The same texts numbered on behind those of ``bags``."""
        numbers = self.texts + len(bags.totals)
        return dataclasses.replace(self, bags=Bags.joined(bags, self.bags), texts=numbers)


TrainingData = TrainingSet | ScoredSet | ClassSet | TextSet


def usual_loss(given: Supervision) -> str:
    """The loss that data of this kind is trained with unless another is wanted."""
    kinds = {ScoredPairs: "cosent", LabelledTexts: "classes", PlainTexts: "distillation"}
    return kinds.get(type(given), "contrastive")


def training_data(given: Trainable, tokenizer: Tokenizer, *, threads: int = 1) -> TrainingData:
    """Tokenize pairs, scored pairs, labelled texts or plain ones."""
    if isinstance(given, ScoredPairs):
        return ScoredSet.of(given, tokenizer, threads=threads)
    if isinstance(given, LabelledTexts):
        return ClassSet.of(given, tokenizer, threads=threads)
    if isinstance(given, PlainTexts):
        return TextSet.of(given, tokenizer, threads=threads)
    return TrainingSet.of(given, tokenizer, threads=threads)


def _bags(texts: pa.LargeStringArray, tokenizer: Tokenizer, threads: int) -> Bags:
    tokens = tokenizer(texts, threads=threads)
    return Bags.of(tokens, tokenizer.vocabulary_size, frozen=tokenizer.unknown_id, threads=threads)
