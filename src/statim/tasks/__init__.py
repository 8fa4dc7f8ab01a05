"""Tasks: what vectors are put to. Each verb of the command line has a file of its name.

classify.py     labels of texts ── heads.py, fitting.py, choosing.py, calibration.py, judging.py, labels.py, answers.py

Nothing here is needed to encode or to search.
"""
