"""Calibration: statim's classifier heads beside scikit-learn's methods, on the same vectors.

The last line is JSON.

python benchmarks/calibration.py DATA --model MODEL [--sets banking77,clinc150,trec,sst2] [--shots 5,20,0]
    [--several FILE]

DATA is as for classification.py. Of each set so many examples of each label are taken (0: all), for statim
and its peers alike; statim holds out folds of them by itself. The peers are logistic regression of
scikit-learn on statim's vectors, with the strength that statim has chosen on its folds, as it is and
inside ``CalibratedClassifierCV`` with each of its methods (as many folds, one model fitted to all examples
at the end). Given are accuracy, log loss and expected calibration error (15 bins) on the test set. With
--several FILE, texts with ``label`` and ``group`` count as texts with both labels, of which two thirds are
fitted to; the peer is one logistic
regression a label, and Platt's.
"""

import argparse
import json
import platform
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from classification import SETS, read
from statim import Classifier, StaticModel
from statim.tasks.classify.calibration import calibration_error, log_loss
from statim.tasks.classify.labels import of_lists


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--sets", default=SETS)
    parser.add_argument("--shots", default="5,20,0")
    parser.add_argument("--several", type=Path)
    arguments = parser.parse_args()
    model = StaticModel.load(arguments.model)
    rows: list[dict[str, Any]] = []
    for name in arguments.sets.split(",") if arguments.sets else []:
        parts = read(arguments.data, name)
        texts, labels = (
            np.array(column.to_pylist(), object) for column in (parts["train"].texts, parts["train"].labels)
        )
        test = parts["test"].texts.to_pylist(), parts["test"].labels.to_pylist()
        for shots in map(int, arguments.shots.split(",")):
            some = few(labels, shots)
            for row in one_label(model, (texts[some].tolist(), labels[some].tolist()), test):
                rows.append({"set": name, "shots": shots, **row})
                print(rows[-1], flush=True)
    if arguments.several:
        for row in several_labels(model, arguments.several):
            rows.append({"set": arguments.several.name, **row})
            print(rows[-1], flush=True)
    machine = platform.processor() or platform.machine()
    print(json.dumps({"benchmark": "calibration", "machine": machine, "rows": rows}))


def few(labels: Any, shots: int) -> Any:
    """Positions of so many examples of each label, drawn by a seed."""
    order = np.random.default_rng(0).permutation(len(labels))
    if not shots:
        return np.sort(order)
    return np.sort(np.concatenate([order[labels[order] == label][:shots] for label in sorted(set(labels))]))


def one_label(model: StaticModel, train: Any, test: Any) -> Any:
    """Rows of statim's heads and of scikit-learn's."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.linear_model import LogisticRegression

    strength = 1.0
    for head, ngrams in (
        ("logistic", True),
        ("logistic", False),
        ("ridge", False),
        ("centroid", False),
        ("neighbours", False),
    ):
        classifier = Classifier.fit(model, *train, head=head, ngrams=ngrams)
        strength = classifier.fitted.strength if head == "logistic" else strength
        yield {"system": f"statim, {head}{', n-grams' if ngrams else ''}"} | figures(
            classifier.probabilities(test[0]), classifier.labels, test[1]
        )
    vectors, asked = (model.encode(texts, normalize=True) for texts in (train[0], test[0]))
    for method in ("none", "temperature", "sigmoid", "isotonic"):
        probe = LogisticRegression(C=strength, max_iter=300)
        if method != "none":
            probe = CalibratedClassifierCV(probe, method=method, cv=5, ensemble=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            probe.fit(vectors, train[1])
            found = probe.predict_proba(asked)
        yield {"system": f"scikit-learn, {method}"} | figures(found, list(probe.classes_), test[1])


def figures(probabilities: Any, names: list[str], labels: list[str]) -> dict[str, float]:
    truth = of_lists([""] * len(labels), labels, several=False).targets(names)
    right = truth[np.arange(len(truth)), probabilities.argmax(axis=1)]
    return {
        "accuracy": round(float(right.mean()), 4),
        "log_loss": round(log_loss(probabilities, truth, False), 4),
        "calibration_error": round(calibration_error(probabilities.max(axis=1), right), 4),
    }


def several_labels(model: StaticModel, path: Path) -> Any:
    """Rows of texts with two labels each."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    from statim.data.files.tables import read_table

    table = read_table(path).select(["text", "label", "group"]).to_pylist()
    order = np.random.default_rng(0).permutation(len(table))
    texts = [table[i]["text"] for i in order]
    labels = [sorted({table[i]["label"], table[i]["group"]}) for i in order]
    cut = len(texts) * 2 // 3
    names = sorted({name for row in labels[:cut] for name in row})
    truth = of_lists(texts, labels, several=True).targets(names)
    test = texts[cut:], truth[cut:]
    for ngrams in (True, False):
        classifier = Classifier.fit(model, texts[:cut], labels[:cut], several=True, ngrams=ngrams)
        yield {"system": f"statim, logistic{', n-grams' * ngrams}"} | several(
            classifier.probabilities(test[0]), test[1]
        )
    strength = classifier.fitted.strength
    vectors, asked = (model.encode(some, normalize=True) for some in (texts[:cut], test[0]))
    for method in ("none", "sigmoid"):
        probe = LogisticRegression(C=strength, max_iter=300)
        if method != "none":
            probe = CalibratedClassifierCV(probe, method=method, cv=5, ensemble=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            every = OneVsRestClassifier(probe).fit(vectors, truth[:cut].astype(int))
            yield {"system": f"scikit-learn, {method}"} | several(every.predict_proba(asked), test[1])


def several(probabilities: Any, truth: Any) -> dict[str, float]:
    told = probabilities >= 0.5
    sure = np.maximum(probabilities, 1 - probabilities)
    likely = probabilities > 0.05  # most labels are surely absent, which hides the others
    return {
        "micro_f1": round(float(2 * (told & truth).sum() / (told.sum() + truth.sum())), 4),
        "log_loss": round(log_loss(probabilities, truth, True), 5),
        "calibration_error": round(calibration_error(sure.ravel(), (told == truth).ravel()), 5),
        "of_likely_labels": round(calibration_error(probabilities[likely], truth[likely]), 4),
    }


if __name__ == "__main__":
    main()
