"""Tasks: what vectors are used for.

similarity/  what duplicates and clusters share: distinct vectors, all pairs above a threshold
duplicates/  groups of duplicates: statim.find_duplicates
clusters/    clusters and their keywords: statim.cluster
classify/    labels of texts: statim.Classifier
recommend/   items like these: statim.Recommender
embedder.py  vectors inside scikit-learn: statim.StaticEmbedder
features.py  vectors as columns of Arrow, pandas, Polars and DuckDB
"""
