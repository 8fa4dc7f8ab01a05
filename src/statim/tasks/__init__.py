"""Tasks: what vectors are put to.

classify.py     labels of texts: statim.Classifier ── heads.py, fitting.py, choosing.py, calibration.py, judging.py, labels.py, answers.py
                inputs.py, ngrams.py what a head sees ── embedder.py for scikit-learn: statim.StaticEmbedder
recommend.py    items like these: statim.Recommender ── baskets.py, basket_training.py, basket_judging.py
features.py     vectors as columns of Arrow, pandas, Polars and DuckDB
"""
