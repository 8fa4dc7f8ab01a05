"""Documents and plain texts: corpora, their passages and sentences, streams of texts."""
