"""texts -> Tokens.

WordPiece goes through nanotoken, which writes flat ids without a Python object per token; every other kind
goes through Hugging Face's tokenizers, word by word where the kind allows it, and each word only once
(token_cache.py). Before either short cut is trusted with a tokenizer its ids are compared with those of
tokenizers on a fixed probe.
"""

import hashlib
import itertools
import json
import os
import warnings
from collections.abc import Iterable
from functools import cached_property
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import tokenizers

from statim import threads as pool
from statim.errors import InputError, ModelError
from statim.texts import Texts, check
from statim.tokenizer.boundaries import boundaries
from statim.tokenizer.phrases import (
    DividedPhrases,
    WordPiecePhrases,
    is_phrase,
    phrase_probe,
    without_phrases,
)
from statim.tokenizer.tokens import Tokens

PROCESS = (
    os.getpid()
)  # the threads of tokenizers do not survive a fork, and a child that waits for them waits for ever
CHUNK = 2048  # texts tokenized at a time by one thread
SPECIAL = 64  # added tokens that a vocabulary has at most that is not grown
FEW = 256  # up to this many texts at a time are tokenized without compiled code, which takes a while to load

# Accents composed and decomposed, scripts with and without spaces, emoji sequences, control and zero-width
# characters, exotic spaces, special tokens inside text, case that changes length, words over any limit,
# digits, ligatures.
PROBE = (
    "",
    " ",
    "Hello, world!",
    "The quick brown fox jumps over the lazy dog's 1,234.56 pages.",
    ("café cafe\u0301 CAFÉ naïve Ångström"),
    "İstanbul ıI ß ẞ ﬁ ﬂ Ǆ ς σ Σ ΟΔΟΣ",
    "日本語のテキスト 中文字符 한국어 テスト",
    "मनीष ไทยภาษา العربية עִבְרִית",
    "👩‍👩‍👧‍👦 🇩🇪 👍🏽 ☃︎ ✂️",
    "tab\tnew\nline\r\nnull\x00bell\x07del\x7f",
    "zero\u200bwidth\u200djoin\ufeffbom\u00adsoft",
    "a\u00a0b\u2003c\u3000d\u2028e\u1680f",
    "[CLS] [SEP] [MASK] [UNK] [PAD] <s> </s> <unk> <pad> <mask> [unused1] [CLS]x x[SEP]",
    ("snake_case camelCase kebab-case dotted.name a/b\\c C++ #hash @at $5 50%"),
    "x" * 99,
    "x" * 100,
    "x" * 101,
    "x" * 250,
    ("unaffable electroencephalographically pneumonoultramicroscopicsilicovolcanoconiosis"),
    "...!!!???---___***",
    "«quotes» “curly” ‘single’ — dash – en … ellipsis",
    ("e\u0301\u0301\u0301 \u0301alone a\u0345 \u1e9b\u0323"),
    ("\ufffd \ufffe \U0010fffd \ue000 \U000e0001"),
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ℌ ① ² ½ Ⅷ ㎏ ﷺ",
    "don't won't it's I'm they've",
    "http://example.com/path?query=1&x=y#z me@example.org",
    "  leading and trailing  ",
    "MixedCASE with ALLCAPS and 123abc abc123",
    "\u0627\u0644\u0644\u0651\u064e\u0647",
    "\u1100\u1161\u11a8 각",
    "a\u0300\u0316b",
    "##ing ##s un##x",
)


class Tokenizer:
    """Cuts texts into token ids, without special tokens, padding or hidden truncation.

    Args:
        backend: A Hugging Face tokenizer; a copy of it is freed of padding and truncation.
        copied: Whether a copy is made; turned off by callers who have no other use for ``backend``.
    """

    def __init__(self, backend: tokenizers.Tokenizer, *, copied: bool = True) -> None:
        if not isinstance(backend, tokenizers.Tokenizer):
            raise InputError(
                f"the tokenizer is a {type(backend).__name__}; give a tokenizers.Tokenizer "
                "(of a transformers tokenizer: its .backend_tokenizer)"
            )
        self._backend = tokenizers.Tokenizer.from_str(backend.to_str()) if copied else backend
        self._backend.no_truncation()
        self._backend.no_padding()
        self._process = os.getpid()
        if not self._is_grown:  # of others this takes a while, and a few texts do not need it
            self._fast  # noqa: B018

    @staticmethod
    def from_json(text: str | bytes) -> "Tokenizer":
        """Read the contents of a ``tokenizer.json``.

        Raises:
            ModelError: The text does not describe a tokenizer.
        """
        try:
            text = text if isinstance(text, str) else text.decode()
            return Tokenizer(tokenizers.Tokenizer.from_str(text), copied=False)
        except InputError:
            raise
        except Exception as error:  # the library raises bare Exception
            raise ModelError(f"tokenizer.json does not describe a tokenizer: {str(error)[:200]}") from None

    def to_json(self) -> str:
        """The contents of a ``tokenizer.json`` that cuts the same way."""
        return self._json

    @cached_property
    def _json(self) -> str:
        return str(self._backend.to_str(pretty=False))

    @property
    def backend(self) -> tokenizers.Tokenizer:
        """The Hugging Face tokenizer behind this one; do not change it."""
        return self._backend

    @cached_property
    def kind(self) -> str:
        """``WordPiece``, ``Unigram``, ``BPE`` or ``WordLevel``."""
        return str(type(self._backend.model).__name__)

    @property
    def is_fast(self) -> bool:
        """Whether nanotoken does the work."""
        return self._fast is not None or self._has_phrases

    @cached_property
    def _fast(self) -> Any:
        self._process = os.getpid()
        return self._proven_fast()

    @cached_property
    def _is_grown(self) -> bool:
        """Has it more added tokens than special ones come to, as a grown vocabulary has?"""
        sizes = (self._backend.get_vocab_size(with_added_tokens=added) for added in (True, False))
        return next(sizes) - next(sizes) > SPECIAL

    @cached_property
    def is_remembering(self) -> bool:
        """Whether many texts are tokenized word by word, each word once."""
        return self._memo is not None or self._phrases is not None

    @cached_property
    def vocabulary_size(self) -> int:
        """One more than the largest id: the rows that a table needs."""
        return max(self._backend.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """Token -> id, added tokens included."""
        return dict(self._backend.get_vocab(with_added_tokens=True))

    @cached_property
    def phrases(self) -> int:
        """How many of its tokens are pairs of words; see vocabulary.grow."""
        return sum(map(is_phrase, json.loads(self._json)["added_tokens"]))

    @cached_property
    def unknown_id(self) -> int | None:
        """The id that stands for what the vocabulary does not hold, if there is one."""
        if self.kind == "Unigram":
            identifier: int | None = json.loads(self._json)["model"].get("unk_id")
            return identifier
        token: str | None = self._backend.model.unk_token
        return None if token is None else self._backend.token_to_id(token)

    @cached_property
    def strips_accents(self) -> bool:
        """Whether it takes the marks off letters, so that words that differ by them are one."""
        return self._normalize("\u00e9") == "e"

    @cached_property
    def hash(self) -> str:
        """A hash of everything that decides the ids, hexadecimal."""
        return hashlib.sha256(self._json.encode()).hexdigest()

    def __call__(
        self,
        texts: str | Iterable[str],
        *,
        max_tokens: int | None = None,
        max_characters: int | None = None,
        threads: int | None = None,
    ) -> Tokens:
        """Tokenize n texts.

        Args:
            texts: One str; or a list, a numpy or Arrow string array, a pandas or Polars column, or any
                iterable of str.
            max_tokens: Cut each text after this many tokens.
            max_characters: Cut each text after this many characters, before tokenizing.
            threads: See statim.threads. Kinds whose texts cannot be cut into words know only 1 and all.

        Raises:
            InputError: A text is not a str; the message names its position.
        """
        workers = pool.count(threads)

        def cut(item: tuple[int, list[str]]) -> Tokens:
            position, chunk = item
            return self.chunk(
                chunk,
                max_tokens=max_tokens,
                max_characters=max_characters,
                position=position,
                threads=workers,
            )

        given = Texts.of(texts)
        few = given.length is not None and given.length <= FEW
        workers_here = 1 if few else self.workers(workers)
        return Tokens.concatenate(list(pool.stream(cut, given.chunks(CHUNK), workers_here)))

    def workers(self, threads: int) -> int:
        """How many of the threads should each call ``chunk``; where it uses all processors by itself, 1."""
        return threads if self.is_fast or self.is_remembering else 1

    def forget(self) -> None:
        """Free the memory of cached words, tens of megabytes a thread; for after many texts."""
        if self.__dict__.get("_fast") is not None:
            self._fast.clear_cache()
        if "_phrases" in self.__dict__ and self._phrases is not None:
            self._phrases.forget()

    def chunk(
        self,
        texts: list[str],
        *,
        max_tokens: int | None = None,
        max_characters: int | None = None,
        position: int = 0,
        threads: int = 1,
    ) -> Tokens:
        """Tokenize a few thousand texts: WordPiece on this thread, others on all unless ``threads`` is 1.

        ``position`` is that of the first text, for messages.
        """
        check(texts, position)
        for name, limit in (("max_tokens", max_tokens), ("max_characters", max_characters)):
            if limit is not None and limit < 1:
                raise InputError(f"{name} is {limit}; it must be at least 1, or None for no limit")
        if max_characters is not None:
            texts = [text[:max_characters] for text in texts]
        try:
            return self._cut(texts, max_tokens, threads)
        except (UnicodeEncodeError, TypeError):  # a lone surrogate: no Unicode text
            return self._cut([mend(text) for text in texts], max_tokens, threads)

    def _cut(self, texts: list[str], max_tokens: int | None, threads: int) -> Tokens:
        if len(texts) <= FEW and self._is_grown:
            return self._flat(texts, max_tokens, threads)
        if self._fast is not None:
            if (
                self._process != os.getpid()
            ):  # a fork: its locks may be held by threads that are not here to let go
                import nanotoken

                twin = nanotoken.WordPieceTokenizer.from_json(self._json)
                self._fast, self._process = twin, os.getpid()
            ids, offsets = self._fast.encode_batch(
                texts, add_special_tokens=False, max_length=max_tokens, parallel=False
            )
            return Tokens(ids.view(np.int32), offsets)
        if len(texts) <= FEW:
            return self._flat(texts, max_tokens, threads)
        if self._phrases is not None and not self._phrases.passes_over(texts):
            return self._with_phrases(texts, max_tokens, threads)
        if self._memo is not None and not self._memo.payoff.passes_over(texts):
            tokens: Tokens = self._memo(*_packed(texts), max_tokens, threads)
            return tokens
        return self._flat(texts, max_tokens, threads)

    def _with_phrases(self, texts: list[str], max_tokens: int | None, threads: int) -> Tokens:
        found, hard = self._phrases(texts, *_packed(texts), max_tokens, threads)
        if not hard.any():
            return cast(Tokens, found)
        others = list(itertools.compress(texts, hard))
        places = np.arange(len(texts))
        places[hard] = len(texts) + np.arange(len(others))
        return Tokens.concatenate([found, self._flat(others, max_tokens, threads)]).select(places)

    def _flat(self, texts: list[str], max_tokens: int | None, threads: int) -> Tokens:
        encoded = [encoding.ids[:max_tokens] for encoding in self._encode(texts, threads)]
        offsets = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(ids) for ids in encoded], out=offsets[1:])
        return Tokens(
            np.fromiter(itertools.chain.from_iterable(encoded), np.int32, int(offsets[-1])), offsets
        )

    def _encode(self, texts: list[str], threads: int) -> list[Any]:
        try:
            if threads == 1 or os.getpid() != PROCESS:
                return [self._backend.encode(text, add_special_tokens=False) for text in texts]
            return list(self._backend.encode_batch_fast(texts, add_special_tokens=False))
        except TypeError:
            raise
        except Exception as error:  # the library raises bare Exception
            raise InputError(
                f"the tokenizer cannot cut every text ({str(error)[:100]}); give its vocabulary an "
                "unknown token"
            ) from None

    def _proven_fast(self) -> Any:
        """The nanotoken twin of a WordPiece tokenizer, or None: another kind, or one whose ids differ."""
        if type(self._backend.model).__name__ != "WordPiece" or self._has_phrases:
            return None
        import nanotoken

        try:
            fast = nanotoken.WordPieceTokenizer.from_json(self._json)
        except ValueError:  # it says so of what it does not know
            return None
        ids, offsets = fast.encode_batch(list(PROBE), add_special_tokens=False, parallel=False)
        slow = [encoding.ids for encoding in self._encode(list(PROBE), 1)]
        for index, expected in enumerate(slow):
            if ids[offsets[index] : offsets[index + 1]].tolist() != expected:
                warnings.warn(
                    f"nanotoken cuts {PROBE[index][:40]!r} differently from tokenizers with this tokenizer; "
                    "tokenizers is used instead, exact but slower",
                    stacklevel=3,
                )
                return None
        return fast

    def _normalize(self, text: str) -> str:
        normalizer = self._backend.normalizer
        return text if normalizer is None else str(normalizer.normalize_str(text))

    @cached_property
    def _has_phrases(self) -> bool:
        """Is it WordPiece with a grown vocabulary's phrases, found faster here than by nanotoken?"""
        return self.kind == "WordPiece" and WordPiecePhrases.fits(json.loads(self._json), self._normalize)

    @cached_property
    def _phrases(self) -> Any:
        """What finds phrases, or None: there are none, or they are found in another way."""
        description = json.loads(self._json)
        phrases: Any
        if self._has_phrases:
            phrases = WordPiecePhrases(description, self._normalize)
        elif self.kind != "WordPiece" and DividedPhrases.fits(description, self._normalize):
            base = Tokenizer.from_json(json.dumps(without_phrases(description)))
            if base._memo is None:
                return None
            phrases = DividedPhrases(description, self._normalize, base._memo)
        else:
            return None
        probe = [*PROBE, *phrase_probe(description)]
        found, hard = phrases(probe, *_packed(probe), None, 1)
        right = self._flat(probe, None, 1)
        if found.select(np.flatnonzero(~hard)) == right.select(np.flatnonzero(~hard)):
            return phrases
        warnings.warn(
            "this tokenizer finds phrases in another way than is known here; tokenizers is used "
            "instead, exact but slower",
            stacklevel=5,
        )
        return None

    @cached_property
    def _memo(self) -> Any:
        """The cache of words, or None: the kind is fast, cannot be cut into words, or fails the probe."""
        cut = None if self.is_fast else boundaries(json.loads(self._json))
        if cut is None:
            return None
        from statim.tokenizer.token_cache import Memo

        memo = Memo(cut, lambda pieces, threads: self._flat(pieces, None, threads))
        probe = [*PROBE, " ".join(PROBE), *PROBE]
        if memo(*_packed(probe), None, 1) == self._flat(probe, None, 1):
            return memo
        warnings.warn(
            "this tokenizer cuts words differently when they stand alone; whole texts are tokenized "
            "instead, exact but slower",
            stacklevel=4,
        )
        return None

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        """Tokenizers travel to other processes as their JSON."""
        return Tokenizer.from_json, (self.to_json(),)


def _packed(texts: list[str]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The UTF-8 bytes of texts, and the offsets between them."""
    import pyarrow as pa

    _, places, letters = pa.array(texts, pa.large_string()).buffers()
    offsets = np.frombuffer(places, np.int64)[: len(texts) + 1]
    return np.frombuffer(letters or b"", np.uint8), offsets


def mend(text: str) -> str:
    """The text with surrogate pairs joined and lone surrogates replaced by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
