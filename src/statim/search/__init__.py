"""Search: exact vectors, BM25, both together, and the stores that keep them.

engine.py       what an engine can do; one file per engine
engines.py      the engines by name, and which one to take
exact.py        the engine that compares with every vector; top_k for evaluation and mining
rows.py         vectors in float16 and int8, and one pass over vectors for a few queries
products.py     the products that many queries take, in float32 or bfloat16
rescored.py     an engine in two passes; the first by coarse.py (bits, int8, few dimensions), faiss_index.py, scann_index.py or
                usearch_index.py; tuning.py says how hard it must look, packages.py loads what it needs
screen.py       vectors in bytes, and which documents of each query are worth a second look
cells.py        k-means, and the cells a vector lies in or beside
approximate.py  an index for very many queries at once
arrays.py       arrays in files
bm25.py         words
words.py        words of documents that come and go
hybrid.py       one ranking from both
rerank.py       the best ones ranked again, by a slow model
where.py        conditions on the documents' columns; where_*.py say them as Arrow, LanceDB and PostgreSQL have them
encoded.py      documents and their vectors, made or given
documents.py    ids, texts and metadata
store.py        what a store can do; one file per store
folder.py       a folder of plain files
lance.py        LanceDB (lance_rows.py)
postgres.py     PostgreSQL with pgvector (postgres_server.py, postgres_rows.py, postgres_model.py, postgres_marks.py)
stores.py       which of them
results.py      answers as files
index.py        the class to use: Index
"""
