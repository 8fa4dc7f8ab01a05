"""What vectors are for: duplicates and clusters.

items.py        a set's rows, its distinct texts and vectors
cells.py        k-means by mini-batches, and which cells a vector lies in or beside
join.py         a sample compared with everything; all pairs above a threshold
crowded.py      representatives where pairs are too many
duplicates.py   groups of duplicates, their representatives, what stays: statim.find_duplicates
thresholds.py   a report with examples, to choose a threshold by
clusters.py     k-means, dense regions, communities: statim.cluster
described.py    what a cluster is about: typical words and central texts
"""
