"""Documents and plain texts: corpora (corpus.py, markup.py), their passages and sentences, streams of texts (texts.py)."""
