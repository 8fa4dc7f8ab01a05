"""Hard negatives: texts that are close to an anchor and do not belong to it.

mine.py         the whole of it: statim.mine_hard_negatives
pool.py         distinct anchors and documents, and which belong together
nearest.py      the nearest documents of each anchor
guards.py       which of the nearest documents are taken for negatives
rescoring.py    their scores by a cross-encoder
formats.py      the negatives as a table
report.py       what the guards removed, and examples
"""
