"""Maps of texts: each text a point, texts of similar vectors close together.

make_map.py      texts or an index in, a Map out (map.py)
write_map.py     a map as a file
options.py       what is asked
projections.py   vectors to two dimensions
regions.py       clusters on three scales, and their words
columns.py       what points are colored by
page.py          the map as one HTML page (page/ is what it is made of)
picture.py       the map as a picture
"""
