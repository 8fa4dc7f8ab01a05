"""Filters: conditions on the documents' columns.

where.py parses and checks a condition; arrow.py, lance.py and postgres.py translate it for each store.
"""
