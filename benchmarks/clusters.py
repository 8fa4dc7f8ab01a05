"""Clusters of a million real texts by each method, beside scikit-learn's mini-batch k-means.

Both read the same vectors. The last line is JSON.

python benchmarks/clusters.py FOLDERS... --model MODEL [--texts 1000000] [--clusters 100]
    [--threshold 0.75] [--labelled FILES...]

Each method is a process of its own, from vectors in a .npy file to labels; loading of libraries and
compiled code is left out by a first run on few vectors. Of k-means the mean cosine with the closest centre
is given, for both. With files of texts and labels also the V-measure of k-means with as many clusters as
labels, and the adjusted mutual information of each method with as many clusters as it takes by default:
over all texts (those in none are one cluster) and over those that it puts into some.
"""

import argparse
import json
import platform
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from duplicates import Clock, alone
from texts import write_texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folders", nargs="*")
    parser.add_argument("--model", required=True)
    parser.add_argument("--texts", type=int, default=1_000_000)
    parser.add_argument("--clusters", type=int, default=100)
    parser.add_argument("--threshold", type=float, default=0.75)
    parser.add_argument("--methods", default="kmeans,communities,density,scikit-learn")
    parser.add_argument("--labelled", type=Path, nargs="*", default=[])
    asked = parser.parse_args()
    found: dict[str, Any] = {
        "benchmark": "clusters", "machine": platform.processor() or platform.machine(),
        "clusters": asked.clusters,
        "threshold": asked.threshold,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as temporary:
        path, vectors = Path(temporary) / "texts.parquet", Path(temporary) / "vectors.npy"
        if asked.folders:
            found["texts"] = write_texts(asked.folders, asked.texts, path)
            alone(encode, path, asked.model, vectors)
        for method in asked.methods.split(",") if asked.folders else []:
            function = scikit_learn if method == "scikit-learn" else statim
            found[method] = alone(function, vectors, method, asked.clusters, asked.threshold)
            print(f"{method}: {found[method]}", flush=True)
    for file in asked.labelled:
        found[str(file)] = alone(labelled, file, asked.model)
    print(json.dumps(found), flush=True)


def encode(path: Path, model: str, out: Path) -> None:
    import pyarrow.parquet as pq

    from statim import StaticModel

    vectors = StaticModel.load(model).encode(pq.read_table(path).column("text"), normalize=True)
    np.save(out, vectors[vectors.any(axis=1)])


def statim(path: Path, method: str, clusters: int, threshold: float) -> dict[str, Any]:
    from statim import cluster

    options: dict[str, Any] = {"method": method, "threshold": threshold}
    if method == "kmeans":
        options["clusters"] = clusters
    few = np.random.default_rng(0).standard_normal((500, 16)).astype(np.float32)
    cluster(vectors=few, **(options | ({"clusters": 5} if method == "kmeans" else {})))
    clock = Clock()
    result = cluster(vectors=path, **options)
    found = clock.read(len(result.labels))
    there = result.labels >= 0
    return found | {
        "clusters": len(result.described),
        "in_none": round(float((~there).mean()), 4),
        "mean_cosine": round(float(result.scores[there].mean()), 4),
    }


def scikit_learn(path: Path, _: str, clusters: int, __: float) -> dict[str, Any]:
    from sklearn.cluster import MiniBatchKMeans

    vectors = np.load(path)
    clock = Clock()
    model = MiniBatchKMeans(clusters, batch_size=1 << 13, n_init=1, random_state=0).fit(vectors)
    found = clock.read(len(vectors))
    centres = model.cluster_centers_ / np.linalg.norm(model.cluster_centers_, axis=1, keepdims=True)
    best = [
        (vectors[s : s + 8192] @ centres.T).max(axis=1).mean()
        for s in range(0, len(vectors) // 8192 * 8192, 8192)
    ]
    return found | {"mean_cosine": round(float(np.mean(best)), 4)}


def labelled(path: Path, model: str) -> dict[str, Any]:
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.metrics import v_measure_score

    from statim import StaticModel, cluster
    from statim.data.files.tables import read_table

    table = read_table(path)
    texts = table.column("text" if "text" in table.column_names else "positive").to_pylist()
    labels = np.unique(table.column("label").to_pylist(), return_inverse=True)[1]
    count = labels.max() + 1
    vectors = StaticModel.load(model).encode(texts, normalize=True)
    ours = [
        v_measure_score(labels, cluster(vectors=vectors, clusters=count, seed=seed).labels)
        for seed in range(3)
    ]
    theirs = [
        v_measure_score(labels, MiniBatchKMeans(count, n_init=1, random_state=seed).fit_predict(vectors))
        for seed in range(3)
    ]
    found = {
        "labels": int(count),
        "v_measure": round(float(np.mean(ours)), 4),
        "scikit_learn_v_measure": round(float(np.mean(theirs)), 4),
    }
    for method in ("kmeans", "density", "communities"):
        found[method] = agreement(labels, cluster(vectors=vectors, method=method).labels)
    return found


def agreement(labels: Any, clusters: Any) -> dict[str, Any]:
    """Adjusted mutual information with the labels."""
    from sklearn.metrics import adjusted_mutual_info_score

    some = clusters >= 0
    return {
        "clusters": len(np.unique(clusters[some])),
        "in_none": round(float((~some).mean()), 3),
        "ami": round(float(adjusted_mutual_info_score(labels, clusters)), 4),
        "ami_of_those_in_some": round(float(adjusted_mutual_info_score(labels[some], clusters[some])), 4),
    }


if __name__ == "__main__":
    main()
