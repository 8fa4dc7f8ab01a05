"""Analyzers: from a text to the terms that BM25 counts, by language.

A text is normalized by NFKC and lower-cased. Words keep marks that belong to them (the vowel signs of
Devanagari and Thai), and signs that tell names apart (``c++``, ``c#``, ``.net``, ``2.6``). ``file_name`` and
``camelCase`` are terms as a whole and by their parts. In scripts without spaces between words (Chinese,
Japanese, Thai …) and in Korean, terms are pairs of neighbouring characters, as in Lucene's CJKAnalyzer. Words
of the analyzer's language are stemmed by Snowball (Porter, 2001). A query's stop words are left out where it
has other words.
"""

import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, cached_property
from itertools import islice, pairwise
from typing import Any, NamedTuple

from statim.errors import InputError, ModelError
from statim.scripts import HAN, MARKS, UNSPACED

AUTO = "auto"
UNKNOWN = "und"  # ISO 639 for an undetermined language: no stemmer, no stop words
CLASSIC = "classic"  # what indexes without the name of an analyzer have
SAMPLE = 2_000  # texts that a language is detected from
MOST = 1 << 18  # different words that are remembered at a time

# ISO 639-1 code of a language -> Snowball's name of its stemmer
STEMMERS = {
    "ar": "arabic", "ca": "catalan", "cs": "czech", "da": "danish", "de": "german", "el": "greek",
    "en": "english", "es": "spanish",
    "et": "estonian", "eu": "basque", "fa": "persian", "fi": "finnish", "fr": "french", "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian", "hy": "armenian", "id": "indonesian", "it": "italian", "lt": "lithuanian",
    "ne": "nepali", "nl": "dutch",
    "no": "norwegian", "pl": "polish", "pt": "portuguese", "ro": "romanian", "ru": "russian", "sr": "serbian",
    "sv": "swedish",
    "ta": "tamil", "tr": "turkish",
}  # fmt: skip
# Languages whose stop words bm25s has
STOPPED = {
    "da": "DANISH", "de": "GERMAN", "en": "EN", "es": "SPANISH", "fr": "FRENCH", "it": "ITALIAN",
    "nl": "DUTCH", "no": "NORWEGIAN",
    "pt": "PORTUGUESE", "ru": "RUSSIAN", "sv": "SWEDISH", "tr": "TURKISH",
}  # fmt: skip
# Languages that are written without spaces between words, or whose words are found by pairs of characters
PAIRED = ("ja", "ko", "lo", "km", "my", "th", "zh")
LANGUAGES = tuple(sorted({*STEMMERS, *PAIRED, UNKNOWN}))

_ABUGIDAS = "\u0590"  # from here on scripts have marks that are letters: points, vowel signs
_FIRST = "\u0e01"  # no script without spaces has a character before it
_word = rf"(?:(?![{UNSPACED}])[\w{MARKS}])"


def _word_pattern(letter: str) -> str:
    """The pattern of words: with inner dots and apostrophes, and outer signs that tell names apart."""
    return rf"(?:(?<![\w.])\.)?{letter}+(?:[.'\u2019]{letter}+)*(?:\+\+|\#(?!\w))?"


_ASCII = (_word_pattern(r"\w"), re.ASCII)
_ANY = (rf"[{UNSPACED}]+|{_word_pattern(_word)}", re.NOFLAG)
_CAMEL = (r"[^\W_]*?[a-z0-9](?=[A-Z])|[A-Z]+(?=[A-Z][a-z])|[^\W_]+", re.NOFLAG)
_CLASSIC_WORDS = (r"\b\w\w+\b", re.NOFLAG)  # as bm25s and scikit-learn cut words


@cache
def _all(pattern: str, flags: re.RegexFlag) -> Callable[[str], list[str]]:
    """What finds all matches; compiled when it is first used, since that takes milliseconds."""
    return re.compile(pattern, flags).findall


class Analyzer:
    """Cuts texts into terms.

    Args:
        language: One of LANGUAGES, or ``classic``: words of two letters or more, none stemmed.
        stop_words: The words that are left out; None for those of the language.
        accents: Whether accents tell words apart. Without them ``é`` is ``e`` and ``й`` is ``и``; signs of
            other scripts than Latin, Greek and Cyrillic always count.

    Raises:
        InputError: There is no such language.
    """

    def __init__(
        self, language: str = UNKNOWN, stop_words: Iterable[str] | None = None, *, accents: bool = True
    ) -> None:
        if language != CLASSIC:
            check_language(language)
        self.language, self.accents = language, accents
        self.stop_words = stop_words_of(language) if stop_words is None else frozenset(stop_words)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Analyzer) and self.about() == other.about()

    def __hash__(self) -> int:
        return hash((self.language, self.stop_words, self.accents))

    def terms(self, text: str) -> list[str]:
        """The terms of a document in order; stop words too, so that a query of only these finds them."""
        if self.language == CLASSIC:
            return [word for word in _all(*_CLASSIC_WORDS)(text.lower()) if word not in self.stop_words]
        return [term for word in self._words(text, single=True) for term in word.terms]

    def query_terms(self, text: str) -> list[str]:
        """The terms of a query: without stop words, unless it has nothing else.

        A document has a Han character's pairs and the character itself, a query of several has the pairs
        alone.
        """
        if self.language == CLASSIC:
            return self.terms(text)
        words = self._words(text, single=False)
        kept = [word for word in words if not word.stops] or words
        return [term for word in kept for term in word.terms]

    def query_words(self, text: str) -> list[str]:
        """The words of a query as they are written, of which ``query_terms`` makes its terms."""
        if self.language == CLASSIC:
            return self.terms(text)
        words = self._words(text, single=False)
        stopped = all(word.stops for word in words)
        return [found for found, word in zip(_cut(text), words, strict=True) if stopped or not word.stops]

    def _words(self, text: str, *, single: bool) -> "list[_Word]":
        """What becomes of each word and run of a text; ``single`` as in ``_pairs``."""
        known = self._known
        return [
            _Word(_pairs(found, single=single), stops=False)
            if found[0] >= _FIRST and _is_unspaced(found[0])
            else known[found]
            for found in _cut(text)
        ]

    def about(self) -> dict[str, Any]:
        """What is stored of it: ``from_about`` makes the same analyzer of it."""
        plain = {} if self.accents else {"accents": False}
        return {"language": self.language, "stop_words": sorted(self.stop_words), **plain}

    @staticmethod
    def from_about(about: Mapping[str, Any], place: Any) -> "Analyzer":
        """The analyzer of an index; one without a language is of an older version and classic.

        Raises:
            ModelError: The description is damaged, or of a newer version.
        """
        language, stops = about.get("language", CLASSIC), about.get("stop_words")
        if not (isinstance(stops, list) and all(isinstance(word, str) for word in stops)):
            raise ModelError(
                f"{place} is damaged: its stop words are no list of words; build the index again"
            )
        if not isinstance(language, str) or (language != CLASSIC and language not in LANGUAGES):
            raise ModelError(
                f"{place} has words of the language {language!r}, which this version does not know; "
                "update statim, or build the index again"
            )
        return Analyzer(language, stops, accents=about.get("accents") is not False)

    @cached_property
    def _known(self) -> "_Known":
        stem: Callable[[str], str] = str
        if self.language in STEMMERS:
            import Stemmer

            stem = Stemmer.Stemmer(STEMMERS[self.language]).stemWord
        return _Known(self.language, self.stop_words, stem, self.accents)


class _Word(NamedTuple):
    terms: Sequence[str]
    stops: bool


class _Known(dict[str, _Word]):
    """Words as they are written -> what becomes of them, worked out once."""

    def __init__(
        self, language: str, stop_words: frozenset[str], stem: Callable[[str], str], accents: bool
    ) -> None:
        self._is_turkish, self._accents, self._stem = language == "tr", accents, stem
        self._stop_words = stop_words if accents else frozenset(map(without_accents, stop_words))

    def __missing__(self, written: str) -> _Word:
        if len(self) >= MOST:
            self.clear()
        found = [self._lower(word) for word in _surfaces(written)]
        self[written] = word = _Word(
            tuple(map(self._stem, found)), len(found) == 1 and found[0] in self._stop_words
        )
        return word

    def _lower(self, word: str) -> str:
        if self._is_turkish:
            word = word.replace("I", "\u0131").replace("\u0130", "i")
        return word.lower() if self._accents else without_accents(word.lower())


class Wanted(NamedTuple):
    """What an index asks for: a language, or ``auto``, and whether accents tell words apart."""

    language: str
    accents: bool


def without_accents(word: str) -> str:
    """The word without the marks on its Latin, Greek and Cyrillic letters."""
    if word.isascii():
        return word
    kept = ""
    for letter in unicodedata.normalize("NFD", word):
        if not (kept and kept[-1] < _ABUGIDAS and unicodedata.combining(letter)):
            kept += letter
    return unicodedata.normalize("NFC", kept)


def check_language(language: str) -> None:
    """Refuse what is neither ``auto`` nor a known language.

    Raises:
        InputError: There is no such language.
    """
    if language != AUTO and language not in LANGUAGES:
        raise InputError(
            f"language is {language!r}; it must be {AUTO}, or one of {', '.join(LANGUAGES)} "
            f"({UNKNOWN}: none of them)"
        )


def analyzer_of(language: Analyzer | Wanted | str, texts: Iterable[str]) -> Analyzer:
    """The analyzer of a language; ``auto`` detects it from the first texts; an analyzer is kept.

    Raises:
        InputError: There is no such language.
    """
    if isinstance(language, Analyzer):
        return language
    wanted = language if isinstance(language, Wanted) else Wanted(language, True)
    found = detect(texts) if wanted.language == AUTO else wanted.language
    return Analyzer(found, accents=wanted.accents)


def detect(texts: Iterable[str]) -> str:
    """The language of texts, from scripts and stop words: one of LANGUAGES, ``und`` if unclear.

    At most 2,000 texts are read. Chinese, Japanese, Korean, Thai and others are told by their script, a
    language in another script by its stop words: at least an eighth of the words, and one and a half times as
    many as of any other language.
    """
    letters: Counter[str] = Counter()
    words: Counter[str] = Counter()
    for text in islice(texts, SAMPLE):
        part = unicodedata.normalize("NFKC", text[:2_000])
        letters.update(_script(letter) for letter in part if ord(letter) >= 0x0900 and letter.isalpha())
        letters["other"] += sum(letter.isalpha() for letter in part if ord(letter) < 0x0900)
        words.update(re.findall(rf"{_word}+", part.lower()))
    if paired := _by_script(letters):
        return paired
    total = sum(words.values())
    shares = sorted(
        (sum(words[word] for word in stop_words_of(code)) / max(1, total), code) for code in STOPPED
    )
    (second, _), (first, code) = shares[-2:]
    return code if first >= 1 / 8 and first >= 1.5 * second else UNKNOWN


def _by_script(letters: Mapping[str, int]) -> str | None:
    """The language that more than three in ten letters are of, by their script alone."""
    counts = dict(letters)
    kana = counts.get("ja", 0)
    if 20 * kana > counts.get("zh", 0) > 0:  # Japanese is Han and kana
        counts["ja"] = kana + counts.pop("zh")
    total = sum(counts.values())
    code = max((code for code in counts if code not in ("other", "")), key=counts.__getitem__, default=None)
    return code if code is not None and 10 * counts[code] > 3 * total else None


_SCRIPTS = (
    ("hi", 0x0900, 0x097F), ("ta", 0x0B80, 0x0BFF), ("th", 0x0E00, 0x0E7F), ("lo", 0x0E80, 0x0EFF),
    ("my", 0x1000, 0x109F),
    ("ko", 0x1100, 0x11FF), ("km", 0x1780, 0x17FF), ("ja", 0x3040, 0x30FF), ("zh", 0x3400, 0x9FFF),
    ("ko", 0xAC00, 0xD7AF),
    ("zh", 0x20000, 0x3FFFF),
)  # fmt: skip


@cache
def _script(letter: str) -> str:
    place = ord(letter)
    return next((code for code, first, last in _SCRIPTS if first <= place <= last), "other")


def _cut(text: str) -> list[str]:
    """Words as they are written, and runs of scripts without spaces."""
    return _all(*_ASCII)(text) if text.isascii() else _all(*_ANY)(unicodedata.normalize("NFKC", text))


def _pairs(run: str, *, single: bool) -> list[str]:
    """Pairs of neighbouring characters; ``single`` adds each Han character, which is a word by itself."""
    if len(run) == 1:
        return [run]
    pairs = [first + second for first, second in pairwise(run)]
    return pairs + [letter for letter in run if _is_han(letter)] if single else pairs


def _surfaces(found: str) -> list[str]:
    """The word as it is written, and its parts where it is made of several."""
    if found.isalpha() and (found.islower() or found[1:].islower()):
        return [found]
    if "'" in found or "\u2019" in found:
        # in "l'eau" and "don't", one letter beside an apostrophe is no word
        parts = re.split("['\u2019]", found)
        return [word for part in parts if len(part) > 1 for word in _surfaces(part)]
    if found[-1] in "+#":
        return [found]
    parts = [
        part
        for piece in re.split("[._]+", found)
        for part in (_all(*_CAMEL)(piece) if piece.isascii() else [piece] if piece else [])
    ]
    if (len(parts) == 1 and parts[0] == found) or all(part.isdigit() for part in parts):
        return [found]
    return [found, *parts]


@cache
def _is_han(letter: str) -> bool:
    return re.match(f"[{HAN}]", letter) is not None


@cache
def _is_unspaced(letter: str) -> bool:
    return re.match(f"[{UNSPACED}]", letter) is not None


def bm25s() -> Any:
    """The package, without what its progress bars, which are not used, complain of in notebooks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import bm25s as package
    return package


@cache
def stop_words_of(language: str) -> frozenset[str]:
    """A language's stop words, lower-cased; empty where none are known."""
    name = "EN" if language == CLASSIC else STOPPED.get(language)
    if name is None:
        return frozenset()
    words: Sequence[str] = getattr(bm25s().stopwords, f"STOPWORDS_{name}")
    return frozenset(word.lower() for word in words)


@cache
def function_words_of(language: str) -> frozenset[str]:
    """A language's stop words, and in English others, too, that do not tell what a text is about."""
    more: Sequence[str] = bm25s().stopwords.STOPWORDS_EN_PLUS if language == "en" else ()
    return stop_words_of(language) | frozenset(more)
