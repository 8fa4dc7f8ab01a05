"""Vector search engines: which stored vectors have the highest cosine with a query.

protocol.py         what an engine can do
registry.py         the engines by name, and which one to take by default
exact.py            compares with every vector; top_k for evaluation and mining
stored_vectors.py   vectors in float16 and int8, and one pass over them for a few queries
products.py         matrix products for many queries, in float32 or bfloat16 (blas.py limits BLAS)
screen.py           vectors in bytes, and which documents of each query deserve a second look
two_stage.py        a fast first stage, rescored in full; first_stage.py has bits, int8, few dimensions,
                    faiss_index.py, scann_index.py and usearch_index.py those of packages (packages.py loads
                    them)
tuning.py           how many candidates the first stage must give; recall.py measures what a search finds
kmeans.py, ivf.py   cells, and an index for very many queries at once
array_files.py      arrays in files
"""
