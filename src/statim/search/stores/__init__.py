"""Stores of an index: what keeps its documents, vectors and words.

protocol.py     what a store can do
registry.py     which store an address means
documents.py    ids, texts and metadata in Arrow; columns.py fits columns of any name and type into a database
folder.py       a folder of plain files
lance.py        LanceDB (lance_connection: errors, versions; lance_files: the disk; lance_rows: tables,
                lance_index.py its vector index)
postgres.py     PostgreSQL, pgvector (postgres_server connects; postgres_rows, postgres_index, postgres_model
                and postgres_marks.py are its tables, its HNSW index, its copy of the model, and how it knows
                its own tables)
"""
