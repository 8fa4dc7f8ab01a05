"""Maps of texts: each text a point, texts of similar vectors close together.

make_map.py      texts or an index in, a Map out
options.py       what is asked
projections.py   vectors to two dimensions
regions.py       clusters on three scales, and their words
page.py          the map as one HTML page (page/ is what it is made of)
picture.py       the map as a picture
"""
