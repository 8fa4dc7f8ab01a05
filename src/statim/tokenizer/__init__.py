"""From texts to token ids.

tokens.py       ids of many texts, flat, with offsets
tokenizer.py    Tokenizer: nanotoken or the token cache where proven equal, otherwise the tokenizers library
token_cache.py  words and their ids
boundaries.py   where a tokenizer's texts may be cut
phrases.py      word pairs of a grown vocabulary
"""

from statim.tokenizer.tokenizer import Tokenizer

__all__ = ["Tokenizer"]
