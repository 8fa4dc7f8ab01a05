"""Classifier: a static model and a classifier head, kept in a folder of its own beside the model.

    head.json           written last: the kind, the labels, the calibration, the hash of the model
    head.safetensors    the head's arrays

A head is applied in plain numpy; nothing that fitted it is needed again.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from statim import __version__
from statim.consistent import read_whole
from statim.counted import counted
from statim.digests import check_seal, seal, stamps, verify
from statim.errors import InputError, ModelError
from statim.files import atomic_directory, read_json, write_json
from statim.model import StaticModel, as_model
from statim.progress import Progress
from statim.tasks.classify.calibration import LEAST, MOST, Calibration
from statim.tasks.classify.fitting import KINDS
from statim.tasks.classify.heads import LARGEST, Floats, restore
from statim.tasks.classify.inputs import blocks, joined
from statim.tasks.classify.judging import Judged, judge
from statim.tasks.classify.labels import Examples, check_names, of_lists, read_examples
from statim.tasks.classify.model_selection import Fitted, fit_head
from statim.tasks.classify.ngrams import Ngrams
from statim.tensors import load_tensors, save_tensors
from statim.texts import Texts

FORMAT, FORMAT_VERSION = "statim-head", 1
MANIFEST, ARRAYS = "head.json", "head.safetensors"
REMEDY = "fit the head again (statim classify fit)"


class Classifier:
    """Tells the labels of texts; make one with ``Classifier.fit``, open one with ``Classifier.load``.

    Attributes:
        model: Makes the vectors.
        kind: The head, one of ``logistic``, ``ridge``, ``centroid`` and ``neighbours``.
        labels: The c labels, in the order of the columns of ``probabilities``.
        several: Whether a text can have any number of labels.
        fitted: The head, its calibration, and how they were found.
        ngrams: What the head sees beside the vectors, if anything.

    Examples:
        >>> texts, labels = ["open a file", "open a socket"], ["files", "network"]
        >>> classifier = Classifier.fit(model, texts, labels, head="centroid")
        >>> classifier.predict(["read the file"])
        ['files']
    """

    def __init__(
        self,
        model: StaticModel,
        kind: str,
        labels: Sequence[str],
        several: bool,
        fitted: Fitted,
        ngrams: Ngrams | None = None,
    ) -> None:
        self.model, self.kind, self.labels, self.several = model, kind, list(labels), several
        self.fitted, self.ngrams = fitted, ngrams

    @staticmethod
    def fit(
        model: StaticModel | str | Path | None,
        texts: Any,
        labels: Iterable[Any] | None = None,
        *,
        head: str = "logistic",
        several: bool = False,
        strength: float | None = None,
        ngrams: bool = True,
        development: Any = None,
        text: str | Sequence[str] | None = None,
        label: str | None = None,
        separator: str | None = None,
        seed: int = 0,
        threads: int | None = None,
        progress: bool = False,
    ) -> "Classifier":
        """Fit a head to texts with labels.

        Args:
            model: Makes the vectors: a model, or where one is; None takes the bundled ``"english"``. It stays
                as it is.
            texts: n texts; or, without ``labels``, a file or table of both (see
                ``tasks.classify.labels.read_examples``).
            labels: n labels; with ``several`` n lists of labels.
            head: ``logistic`` (regression, multinomial), ``ridge`` (least squares), ``centroid`` (the mean of
                each label's
                vectors: for a handful of examples), or ``neighbours``.
            several: Texts can have any number of labels (multi-label); the head is then a yes or no for each.
            strength: Logistic regression's C or ridge's alpha, as scikit-learn means them, or how many
                neighbours vote. By default chosen on examples that are held out; see
                ``tasks.classify.model_selection.fit_head``.
            ngrams: Let logistic regression see tokens and pairs of neighbouring tokens beside the vectors
                (TF-IDF): vectors know no order. See ``tasks.classify.ngrams``.
            development: Examples to choose and to calibrate probabilities on, of the kind of ``texts``
                without ``labels``; or a pair of texts and labels. By default folds of the examples.
            text: Of files, the column of texts; guessed by default. Several are joined by line ends:
                ``("subject", "body")``, or ``"subject,body"``.
            label: The column of labels; likewise.
            separator: With ``several``, what is between labels in columns that hold no lists; ``|`` by
                default.
            seed: Decides the folds.
            threads: Threads to use.
            progress: Show a progress bar on a terminal.

        Raises:
            DataError: A file cannot be read, a label is missing, or there are fewer than two labels.
            InputError: An argument is none of the above.
            DependencyError: Logistic regression needs SciPy, which is not installed.
        """
        names = {"text": text, "label": label, "separator": separator}
        model = as_model(model)
        examples = _examples(texts, labels, several, names)
        known = examples.names()
        check_names(known)
        counted = None
        if ngrams and head == "logistic":
            counted = Ngrams.learn(model.tokenize(examples.texts, threads=threads))
        pair = None
        if development is not None:
            others = (
                of_lists(*development, several=several)
                if isinstance(development, tuple)
                else _examples(development, None, several, names)
            )
            unknown = sorted(set(others.names()) - set(known))
            if unknown:
                raise InputError(
                    f"the development examples have the label {unknown[0]!r}, which no example to fit "
                    "to has; give one of it"
                )
            seen = joined(blocks(model, others.texts, counted, threads=threads), model.dim)
            pair = seen, others.targets(known)
        inputs = joined(blocks(model, examples.texts, counted, threads=threads), model.dim)
        fitted = fit_head(
            head, inputs, examples.targets(known), several=several, strength=strength, development=pair,
            seed=seed, threads=threads, progress=progress,
        )  # fmt: skip
        return Classifier(model, head, known, several, fitted, counted)

    def probabilities(
        self, texts: str | Iterable[str], *, threads: int | None = None, progress: bool = False
    ) -> Floats:
        """Label probabilities, (n, c) float32: rows sum to 1; with ``several`` labels are independent.

        Raises:
            InputError: A text is not a str; the message names its position.
        """
        found = [np.zeros((0, len(self.labels)), np.float32)]
        with Progress("classify", total=Texts.of(texts).length, unit="texts", show=progress) as bar:
            for inputs in blocks(self.model, texts, self.ngrams, threads=threads):
                scores = self.fitted.head.scores(inputs, threads=threads)
                found.append(self.fitted.calibration(scores, self.several))
                bar.advance(len(inputs))
        return np.concatenate(found)

    def predict(self, texts: str | Iterable[str], *, threads: int | None = None) -> list[Any]:
        """The most probable label of each text; with ``several``, a list of those above one half, best first.

        Raises:
            InputError: A text is not a str; the message names its position.
        """
        return self.told(self.probabilities(texts, threads=threads))

    def told(self, probabilities: Floats) -> list[Any]:
        """The labels that probabilities (n, c) say, as ``predict`` gives them."""
        if not self.several:
            return [self.labels[place] for place in probabilities.argmax(axis=1)]
        order = np.argsort(-probabilities, axis=1, kind="stable")
        return [
            [self.labels[place] for place in places if row[place] >= 0.5]
            for places, row in zip(order, probabilities, strict=True)
        ]

    def evaluate(
        self,
        texts: Any,
        labels: Iterable[Any] | None = None,
        *,
        text: str | Sequence[str] | None = None,
        label: str | None = None,
        separator: str | None = None,
        threads: int | None = None,
        progress: bool = False,
    ) -> Judged:
        """How good is it on examples it was not fitted to? Arguments as in ``fit``.

        Raises:
            DataError: A file cannot be read, or a label is missing.
            InputError: Texts and labels differ in number, or there are none.
        """
        examples = _examples(
            texts, labels, self.several, {"text": text, "label": label, "separator": separator}
        )
        if len(examples) == 0:
            raise InputError("there are no examples to judge by; give at least one")
        found = self.probabilities(examples.texts, threads=threads, progress=progress)
        return judge(found, examples, self.labels)

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the head into a folder; the model is not copied, but remembered by its hash.

        Raises:
            InputError: The folder is not empty and ``overwrite`` is off.
            StorageError: The disk is full, read-only, or not permitted. What stood there still stands.
        """
        fitted = self.fitted
        with atomic_directory(path, overwrite=overwrite) as folder:
            arrays = fitted.head.arrays()
            if self.ngrams is not None:
                arrays |= {"ngram_keys": self.ngrams.keys, "ngram_weights": self.ngrams.weights}
            save_tensors(folder / ARRAYS, arrays)
            write_json(folder / MANIFEST, seal({
                "format": FORMAT,
                "format_version": FORMAT_VERSION,
                "statim_version": __version__,
                "head": self.kind,
                "labels": self.labels,
                "several": self.several,
                "ngrams": 0 if self.ngrams is None else len(self.ngrams),
                "dimensions": self.model.dim,
                "model_hash": self.model.hash,
                "slope": fitted.calibration.slope,
                "offset": fitted.calibration.offset,
                "calibrated": fitted.calibration.fitted,
                "strength": fitted.strength,
                "tried": [[value, loss] for value, loss in fitted.tried.items()],
                "heldout": fitted.heldout,
                "stamps": stamps(folder),
            }))  # fmt: skip

    @staticmethod
    def load(path: str | Path, model: StaticModel | str | Path | None = None) -> "Classifier":
        """Open a head that was fitted to the vectors of this model, by default the bundled ``"english"``.

        Raises:
            ModelError: There is no head there, it is damaged, of another model, or of a newer version of
                statim.
        """
        path, model = Path(path), as_model(model)
        said, arrays = read_whole(path, lambda: (read_head(path), load_tensors(path / ARRAYS)[0]))
        if not model.matches_hash(said["model_hash"]):
            raise ModelError(
                f"{path} was fitted to the vectors of another model, or of this one before it changed; "
                "name the model that it was fitted with, or fit it again (statim classify fit)"
            )
        strength = said["strength"]
        try:
            k = int(strength) if said["head"] == "neighbours" else 0
            ngrams = _ngrams(arrays, said["ngrams"])
            head = restore(said["head"], arrays, k, model.dim + said["ngrams"], len(said["labels"]))
        except (KeyError, ValueError, OverflowError):
            raise ModelError(
                f"{path / ARRAYS} does not fit {path / MANIFEST}; fit the head again (statim classify fit)"
            ) from None
        calibration = Calibration(said["slope"], said["offset"], said["calibrated"])
        tried = {float(value): float(loss) for value, loss in said["tried"]}
        fitted = Fitted(head, calibration, strength, tried, said["heldout"])
        return Classifier(model, said["head"], said["labels"], said["several"], fitted, ngrams)

    def __repr__(self) -> str:
        return f"Classifier({self.kind}, {counted(len(self.labels), 'labels')}, {self.model!r})"


def _examples(texts: Any, labels: Iterable[Any] | None, several: bool, names: dict[str, Any]) -> Examples:
    if labels is None:
        return read_examples(texts, several=several, **names)
    return of_lists(texts, labels, several=several)


def _ngrams(arrays: Mapping[str, Any], count: int) -> Ngrams | None:
    """The n-grams of a head.

    Raises:
        ValueError: They are not of the right kind or number, or not in order.
    """
    if count == 0:
        return None
    keys, weights = arrays["ngram_keys"], arrays["ngram_weights"]
    good = keys.dtype == np.int64 and weights.dtype == np.float32 and keys.shape == weights.shape == (count,)
    if not good or not (np.abs(weights) < LARGEST).all() or (np.diff(keys) <= 0).any():
        raise ValueError("n-grams of other shapes")
    return Ngrams(keys, weights)


def read_head(path: Path) -> dict[str, Any]:
    """The manifest of a head, its fields and the files that it names checked.

    Raises:
        ModelError: There is no head at ``path``, it is damaged, or a newer version of statim made it.
    """
    if not (path / MANIFEST).is_file():
        raise ModelError(
            f"{path} is not a head (there is no {MANIFEST} in it); make one with `statim classify fit`"
        )
    said = read_json(path / MANIFEST)
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise ModelError(f"{path / MANIFEST} does not describe a head of statim")
    version = said.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ModelError(
            f"{path} has format version {version}, newer than the {FORMAT_VERSION} that this statim "
            "reads; update statim"
        )
    kinds: dict[str, type | tuple[type, ...]] = {
        "head": str, "labels": list, "several": bool, "ngrams": int, "dimensions": int, "model_hash": str,
        "slope": (int, float),
        "offset": (int, float), "calibrated": bool, "strength": (int, float), "tried": list, "heldout": str,
    }  # fmt: skip
    wrong = [name for name, kind in kinds.items() if not isinstance(said.get(name), kind)]
    if not wrong:
        tests = {
            "head": said["head"] in KINDS,
            "labels": len(said["labels"]) > 1 and all(isinstance(label, str) for label in said["labels"]),
            "slope": _is_number(said["slope"]) and LEAST <= said["slope"] <= MOST,
            "offset": _is_number(said["offset"]),
            "strength": _is_number(said["strength"]),
            "ngrams": said["ngrams"] >= 0,
            "tried": all(
                isinstance(pair, list) and len(pair) == 2 and all(map(_is_number, pair))
                for pair in said["tried"]
            ),
        }
        wrong = [name for name, good in tests.items() if not good]
    if not isinstance(said.get("stamps", {}), dict):
        wrong.append("stamps")
    if wrong or version != FORMAT_VERSION:
        raise ModelError(f"{path / MANIFEST} is damaged at {', '.join(wrong) or 'a number'}; {REMEDY}")
    check_seal(said, path / MANIFEST, REMEDY)
    verify(path, said.get("stamps", {}), "always", REMEDY)
    return said


def _is_number(value: Any) -> bool:
    """Whether JSON holds a number that is finite, as a float too."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max
