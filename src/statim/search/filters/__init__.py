"""Filters: conditions on the documents' columns.

conditions.py has the parts of a condition and where.py parses and checks one; arrow.py, lance.py and
postgres.py translate it for each store.
"""
