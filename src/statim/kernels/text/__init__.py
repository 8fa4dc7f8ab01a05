"""Text: cutting it into pieces, counting and joining words, hashing it, comparing sets of its shingles."""
