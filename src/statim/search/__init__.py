"""Search by vectors, by words, or by both.

index.py              Index, the class to use
hybrid.py             one ranking from vectors and words
rerank.py             the best hits ranked again by a slower model
document_encoder.py   the model or teacher that encodes documents
encoded_documents.py  documents with vectors, computed or given
results.py            answers as files
engines/              vector search
lexical/              BM25
filters/              conditions on columns
stores/               a folder, LanceDB, PostgreSQL
"""
