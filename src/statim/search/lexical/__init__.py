"""Lexical search by BM25: bm25.py for fixed documents, incremental_bm25.py for changing ones."""
