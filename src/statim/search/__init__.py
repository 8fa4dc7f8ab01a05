"""Search: exact vectors, BM25, both together, and the stores that keep them.

engine.py       what an engine can do; one file per engine
exact.py        the engine that compares with every vector; top_k for evaluation and mining
products.py     the products it takes, in float32 or bfloat16
approximate.py  an index for very many queries at once
bm25.py         words
words.py        words of documents that come and go
hybrid.py       one ranking from both
rerank.py       the best ones ranked again, by a slow model
where.py        conditions on the documents' columns
documents.py    ids, texts and metadata
store.py        what a store can do; one file per store
folder.py       a folder of plain files
lance.py        LanceDB
postgres.py     PostgreSQL with pgvector
stores.py       which of them
results.py      answers as files
index.py        the class to use: Index
"""
