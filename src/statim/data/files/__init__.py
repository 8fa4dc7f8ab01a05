"""Files: one reader a file type (file_types.py, tables.py), rows that cannot be used (bad_rows.py), one schema (unify.py), and writers."""
