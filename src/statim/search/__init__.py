"""Search: exact vectors, BM25, both together, and the folder that keeps them.

engine.py       what an engine can do; one file per engine
exact.py        the engine that compares with every vector; top_k for evaluation and mining
products.py     the products it takes, in float32 or bfloat16
approximate.py  an index for very many queries at once
bm25.py         words
hybrid.py       one ranking from both
documents.py    ids, texts and metadata
index.py        the folder, and the class to use: Index
"""
