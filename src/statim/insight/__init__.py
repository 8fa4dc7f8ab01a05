"""What a static model's vectors and scores are made of.

contributions.py    the cosine of two texts as a sum over pairs of their tokens
hits.py             why an index found a document: the tokens, and the words of BM25
neighbors.py        the tokens nearest to a word, and what training changed about them
spaces.py           two models on the same texts
drift.py            new texts against those a model was made for
vocabulary_fit.py   how a vocabulary fits texts, for drift.py
any_texts.py        the texts of any data
explain_page.py     an explanation as an HTML page
maps/               texts as points of a page, a picture or a table
"""
