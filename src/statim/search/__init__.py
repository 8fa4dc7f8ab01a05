"""Search: exact vectors, BM25, both together, and the folder that keeps them.

engine.py       what an engine can do; one file per engine
engines.py      the engines by name, and which one to take
exact.py        the engine that compares with every vector; top_k for evaluation and mining
rows.py         vectors in float16 and int8, and one pass over vectors for a few queries
products.py     the products that many queries take, in float32 or bfloat16
rescored.py     an engine in two passes; the first by coarse.py (bits, int8, few dimensions), faiss_index.py, scann_index.py or
                usearch_index.py; tuning.py says how hard it must look, packages.py loads what it needs
approximate.py  an index for very many queries at once
arrays.py       arrays in files
bm25.py         words
hybrid.py       one ranking from both
documents.py    ids, texts and metadata
index.py        the folder, and the class to use: Index
"""
