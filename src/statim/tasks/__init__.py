"""Tasks: what vectors are put to.

duplicates.py   groups of duplicates, their representatives, what stays: statim.find_duplicates
                items.py a set's rows ── join.py all pairs above a threshold
                crowded.py representatives where pairs are too many ── linked.py connected groups
                thresholds.py a report to choose a threshold by
clusters.py     k-means, dense regions, communities: statim.cluster ── described.py what a cluster is about
                rounding.py vectors that are equal but for it
classify.py     labels of texts: statim.Classifier ── heads.py, fitting.py, choosing.py, calibration.py, judging.py, labels.py, answers.py
                inputs.py, ngrams.py what a head sees ── embedder.py for scikit-learn: statim.StaticEmbedder
recommend.py    items like these: statim.Recommender ── baskets.py, basket_training.py, basket_judging.py
features.py     vectors as columns of Arrow, pandas, Polars and DuckDB
"""
