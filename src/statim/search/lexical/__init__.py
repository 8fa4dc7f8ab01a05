"""Lexical search by BM25: bm25.py for a fixed set of documents, incremental_bm25.py for documents that are added and deleted."""
