"""Stores of an index: what keeps its documents, vectors and words.

protocol.py     what a store can do
registry.py     which store an address means
documents.py    ids, texts and metadata as Arrow tables; columns.py fits columns of any name and type into a database
folder.py       a folder of plain files
lance.py        LanceDB (lance_connection.py its errors and versions, lance_files.py what is on the disk, lance_rows.py its tables,
                lance_index.py its vector index)
postgres.py     PostgreSQL with pgvector (postgres_server.py connects; postgres_rows.py, postgres_index.py, postgres_model.py
                and postgres_marks.py are its tables, its HNSW index, its copy of the model, and how it knows
                its own tables)
"""
