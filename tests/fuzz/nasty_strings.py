"""Strings that are hard to tokenize, of twelve sorts, many at a time."""

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, decoders

Codes = npt.NDArray[np.uint32]

# Where characters are drawn from; a range stands twice to be drawn twice as often
BLOCKS = [
    (0x20, 0x7F), (0x20, 0x7F), (0x61, 0x7B), (0x61, 0x64), (0x30, 0x3A), (0x21, 0x30), (0x00, 0x20),
    (0x7F, 0xA1), (0xA0, 0x180),
    (0x180, 0x250), (0x2B0, 0x300), (0x300, 0x370), (0x300, 0x308), (0x370, 0x530), (0x590, 0x700),
    (0x900, 0xD80), (0xE00, 0xF00),
    (0x1100, 0x1200), (0xA960, 0xA97D), (0xD7B0, 0xD800), (0xAC00, 0xAC40), (0x1680, 0x1681),
    (0x1AB0, 0x1B00), (0x1E00, 0x2000),
    (0x2000, 0x2070), (0x2000, 0x2010), (0x2028, 0x2030), (0x2070, 0x2190), (0x2460, 0x2500),
    (0x2580, 0x2584), (0x2600, 0x27C0),
    (0x3000, 0x3100), (0x3040, 0x3042), (0x3099, 0x309D), (0x3200, 0x3400), (0x4E00, 0x9FFF),
    (0x4E00, 0x4E08), (0xD800, 0xE000),
    (0xD83C, 0xD840), (0xDC00, 0xDC10), (0xE000, 0xF900), (0xF900, 0xFB00), (0xFB00, 0xFE00),
    (0xFE00, 0xFE30), (0xFF00, 0xFFF0),
    (0xFFF0, 0x10000), (0x10000, 0x10400), (0x110BD, 0x110CE), (0x1D100, 0x1D200), (0x1D400, 0x1D800),
    (0x1F1E6, 0x1F200),
    (0x1F300, 0x1F700), (0x1F3FB, 0x1F400), (0x20000, 0x2A6E0), (0x2F800, 0x2FA20), (0xE0000, 0xE0080),
    (0xE0100, 0xE01F0),
    (0x10FF00, 0x110000), (0, 0x110000),
]  # fmt: skip

# What may stand beside a space and change what the space does: other spaces, what joins to the character
# before it or (signs of Arabic) after it, what normalizers drop or turn into spaces, what they turn into
# several characters
SEPARATORS = [
    "", " ", " ", " ", " ", "  ", "   ", "    ", " " * 9, "\t", "\n", "\r\n", "\r", "\n\n", " \n", "\n ",
    " \n ", "\t ", " \t", "\v", "\f", "\x1c",
    "\x1f ", "\x85", " \x85", "\xa0", " \xa0", "\xa0 ", "\u1680", "\u2002", "\u2003 ", " \u2009", "\u2028",
    " \u2029", "\u202f", "\u205f",
    "\u3000", " \u3000", "\u3000 ", "\u3000x", "▁", " ▁", "▁ ", "▁▁", "Ġ", "_", " _", "\x00", " \x00",
    "\x00 ", "\x01", "\x7f", " \x7f ", "\x08",
    "\u200b", " \u200b", "\u200b ", "\u200c", " \u200d", "\u200d", "\u200d ", "\u2060", "\ufeff", " \ufeff",
    "\xad", " \xad", "\u180e", "\u061c",
    "\u0301", " \u0301", "\u0301 ", " \u0308\u0301", "\u0323", " \u0323\u0307", " \u0307\u0323", " \u0345",
    " \u20d0", " \u093f", "\u094d ",
    " \ufe0f", "\ufe0f ", " \ufe0e", "\U000e0101", " \U000e0101", "\U0001f3fb", " \U0001f3fb", "\U0001f1e9",
    " \U0001f1ea", "\u0600 ", "\u0600",
    "\u06dd ", "\u070f ", "\U000110bd ", "\u0e33", " \u0e33", " \u0903", "\u1100 ", " \u1161", " \u11a8",
    "\u1161", "\xa8", "\xb4", "\xb8 ", "\u02d8",
    "\u037a", "\u1fbf", "\u2017", "\u309b", "\uffe3", "\ufdfa", "\ufe49", "…", "ﬁ", "½", "\ud800", " \ud800",
    "\udc00 ", "\ud83d\ude00", "\ud83d \ude00",
    "\ufffd", " \ufffd", "\uffff", " \ufdd0", "\U0010ffff", "-", " - ", "'", " '", "' ", ".", ". ", " .", ",",
    ", ", "...", "!!", "'' ", "`` ", "/", "//",
    "##", " ##", "@@", "</w>", "<0x20>", "<0x0A>", " <", "> ", "(", ")", "\"", "#", "$", "€", "\\n", "~", "^",
    "*" * 5, "=" * 40, "-" * 17,
]  # fmt: skip

WORDS = [
    "a", "b", "ab", "the", "The", "THE", "of", "in", "to", "and", "new", "New", "NEW", "York", "new york",
    "New York", "San Jose", "lead", "trail", "hello",
    "world", "don't", "DON'T", "I'll", "we've", "'s", "'S", "ſ", "'ſ", "it's", "x", "xx", "e\u0301", "é", "É",
    "E\u0301", "e\u0301t", "ê\u0323", "café", "Zürich",
    "Ångström", "A\u030a", "Å", "\u212b", "naïve", "straße", "STRASSE", "ẞ", "ß", "İstanbul", "I\u0307", "ı",
    "ΟΔΟΣ", "Σ", "ς", "σ", "Σ\u0301", "ǆ", "ﬁ", "ﬃ", "ﬀ",
    "привет", "Ёлка", "й", "и\u0306", "שלום", "נִקּוּד", "العربية", "لله", "ﷺ", "क्षत्रिय", "हिन्दी",
    "ภาษาไทย", "กำ", "日本語", "東京", "中文", "北", "ば", "は\u3099", "ｶﾞ", "カ",
    "한국어", "각", "\u1100\u1161\u11a8", "\u1100\u1161", "가\u11a8", "👩‍👩‍👧‍👦", "👍🏽", "🇩🇪", "🇩🇪🇫🇷🇮", "☃︎", "✂️",  # noqa: E501
    "😀", "ｆｕｌｌ", "①", "²", "½", "Ⅷ", "㎏", "𝔘𝔫𝔦", "ℌ", "0", "1",
    "12", "123", "1234", "12345", "1,234.56", "3.14", "2024-01-31", "a1", "1a", "٣", "१२", "x²",
    "http://example.com/a?b=1&c=d#e", "me@example.org", "#tag", "@user",
    "snake_case", "camelCase", "kebab-case", "a.b.c", "C++", "def f(x):", "    return x", "[UNK]", "[CLS]",
    "[unused1]", "<s>", "</s>", "<unk>", "<pad>", "<mask>",
    "<|endoftext|>", "[MASK]", "$5", "50%", "...", "—", "¿", "«", "”", "a" * 50, "ab" * 60, "unaffable",
    "electroencephalographically", "\x00", "\ufeff", "q" * 7, "q" * 8,
    "q" * 9, "abcdefgh", "abcdefg", "abcdefghi", "abcdefgh\x00", "x" * 99, "x" * 100, "x" * 101, "é" * 100,
    "é" * 101, "中" * 101, "e\u0301" * 60, "\u0301" * 12,
]  # fmt: skip

FULLWIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
SURROGATES = re.compile("[\ud800-\udfff]")


def mended(text: str) -> str:
    """The rule for surrogates: a pair is its character, a lone one is U+FFFD."""
    if not SURROGATES.search(text):
        return text
    joined = re.sub(
        "[\ud800-\udbff][\udc00-\udfff]",
        lambda pair: chr(0x10000 + ((ord(pair[0][0]) - 0xD800) << 10) + ord(pair[0][1]) - 0xDC00),
        text,
    )
    return SURROGATES.sub("\ufffd", joined)


def text_of(codes: Codes) -> str:
    return codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


def codes_of(text: str) -> Codes:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint32)


def cut(whole: Sequence[str] | str, lengths: npt.NDArray[Any]) -> list[Any]:
    ends = np.cumsum(lengths).tolist()
    return [whole[start:end] for start, end in zip([0, *ends], ends, strict=False)]


class Strings:
    """An endless source of strings for one tokenizer.

    Args:
        seed: The same seed gives the same strings.
        backend: Its added tokens and its vocabulary stand in the strings.
        documents: Real texts, to be damaged.
    """

    def __init__(self, seed: int | Sequence[int], backend: Tokenizer, documents: Sequence[str]) -> None:
        self.rng = np.random.default_rng(seed)
        self.documents = list(documents)
        self.document_codes = codes_of("\n".join(self.documents))
        form = json.loads(backend.to_str())
        added = [token["content"] for token in form["added_tokens"] if not token["content"].startswith("<0x")]
        shapes = [
            str,
            str.lower,
            str.upper,
            str.swapcase,
            lambda x: x.translate(FULLWIDTH),
            lambda x: f" {x}",
            lambda x: f"{x} ",
            lambda x: f" {x} ",
            lambda x: f"  {x}\t",
            lambda x: x[:-1],
            lambda x: x[1:],
            lambda x: x + x[-1:],
            lambda x: x + "\u0301",
            lambda x: f"a{x}",
            lambda x: f"{x}b",
            lambda x: f"\u3000{x}\xa0",
            lambda x: "\x00".join(x),
            lambda x: f"\n{x}\n",
        ]
        self.added = objects([shape(token) for token in added[:40] for shape in shapes] or WORDS)
        vocabulary = sorted(backend.get_vocab(with_added_tokens=False))
        chosen = [
            vocabulary[at]
            for at in self.rng.choice(len(vocabulary), min(3000, len(vocabulary)), replace=False)
        ]
        if "ByteLevel" in json.dumps([form["pre_tokenizer"], form["normalizer"]]):
            chosen = [decoders.ByteLevel().decode([token]) for token in chosen]
        self.vocabulary = objects(
            [token.replace("▁", " ").removeprefix("##").removesuffix("</w>") for token in chosen]
        )
        self.words, self.separators = objects(WORDS), objects(SEPARATORS)

    def __call__(self, number: int) -> list[str]:
        """``number`` strings of all sorts, mixed."""
        sorts = [
            (self.contexts, 20), (self.few_contexts, 10), (self.with_added, 14), (self.of_vocabulary, 12),
            (self.damaged, 14), (self.planes, 12),
            (self.spaces, 5), (self.names, 4), (self.near_twins, 8), (self.wide, 2), (self.clean, 2),
            (self.long, 1),
        ]  # fmt: skip
        shares = np.array([share for _, share in sorts])
        counts = self.rng.multinomial(number, shares / shares.sum())
        made = [text for (sort, _), count in zip(sorts, counts.tolist(), strict=True) for text in sort(count)]
        return [made[at] for at in self.rng.permutation(number)]

    def joined(self, number: int, most: int, *pieces: npt.NDArray[Any]) -> list[str]:
        """Up to ``most`` items, drawn in turn from each of ``pieces``."""
        lengths = self.rng.integers(0, most + 1, number)
        total = int(lengths.sum())
        flat = np.empty(total, object)
        for turn, choice in enumerate(pieces):
            here = flat[turn :: len(pieces)]
            here[:] = choice[self.rng.integers(len(choice), size=len(here))]
        return ["".join(part) for part in cut(flat.tolist(), lengths)]

    def contexts(self, number: int) -> list[str]:
        """Words and what stands between them."""
        return self.joined(number, 9, self.separators, self.words)

    def few_contexts(self, number: int) -> list[str]:
        """The same few words over and over, in every context: what is remembered of one must fit another."""
        words = self.words[self.rng.integers(len(self.words), size=6)]
        separators = self.separators[self.rng.integers(len(self.separators), size=4)]
        return self.joined(number, 7, np.append(separators, [" ", "  ", ""]), words)

    def with_added(self, number: int) -> list[str]:
        return self.joined(number, 7, self.added, self.separators, self.words, self.added)

    def of_vocabulary(self, number: int) -> list[str]:
        half = number // 2
        spaces = objects(["", " ", "  "])
        return self.joined(half, 12, self.vocabulary) + self.joined(
            number - half, 14, self.vocabulary, spaces
        )

    def clean(self, number: int) -> list[str]:
        """Real texts as they are, some of them whole, some upper-case."""
        texts = [self.documents[at][:2000] for at in self.rng.integers(len(self.documents), size=number)]
        return [text.upper() if at % 5 == 0 else text for at, text in enumerate(texts)]

    def damaged(self, number: int) -> list[str]:
        """Pieces of real texts with characters deleted, replaced and inserted."""
        if not number:
            return []
        source = self.document_codes
        lengths = self.rng.integers(0, 160, number)
        starts = self.rng.integers(0, len(source) - 160, number)
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        codes = source[np.repeat(starts, lengths) + within]
        draw = self.rng.random(len(codes)) / np.repeat(self.rng.choice([0.02, 0.1, 0.5], number), lengths)
        counts = np.where(draw < 0.3, 0, np.where(draw < 0.6, 2, 1))
        new = np.repeat(draw, counts)
        codes = np.repeat(codes, counts)
        codes = np.where((new > 0.45) & (new < 1), self.characters(len(codes)), codes)
        owner = np.repeat(np.repeat(np.arange(number), lengths), counts)
        return cut(text_of(codes), np.bincount(owner, minlength=number))

    def characters(self, number: int) -> Codes:
        """Characters of all blocks; a third are those of SEPARATORS."""
        blocks = np.array(BLOCKS)[self.rng.integers(len(BLOCKS), size=number)]
        drawn = self.rng.integers(blocks[:, 0], blocks[:, 1])
        special = codes_of("".join(SEPARATORS))
        return np.where(self.rng.random(number) < 0.33, self.rng.choice(special, number), drawn).astype(
            np.uint32
        )

    def planes(self, number: int) -> list[str]:
        """Characters of three blocks per string, with spaces."""
        lengths = self.rng.integers(0, 24, number)
        total = int(lengths.sum())
        blocks = np.repeat(self.rng.integers(len(BLOCKS), size=(number, 3)), lengths, axis=0)
        bounds = np.array(BLOCKS)[blocks[np.arange(total), self.rng.integers(3, size=total)]]
        codes = self.rng.integers(bounds[:, 0], bounds[:, 1])
        codes = np.where(self.rng.random(total) < 0.15, 0x20, codes)
        return cut(text_of(codes.astype(np.uint32)), lengths)

    def spaces(self, number: int) -> list[str]:
        """Little but white space, marks and invisible characters."""
        return self.joined(number, 12, self.separators)

    def names(self, number: int) -> list[str]:
        """Words that were never seen before, to fill any memory; now and then with a number."""
        lengths = self.rng.integers(1, 60, number)
        codes = self.rng.choice(codes_of("abcdefghijklmnopqrstuvwxyzäé0123456789     "), lengths.sum())
        return cut(text_of(codes), lengths)

    def near_twins(self, number: int) -> list[str]:
        """Words of the same few blocks of eight characters: in another order, with columns exchanged, longer
        by 256, and so on.
        """
        letters = codes_of(
            re.sub(r"[^a-z]+", "", self.documents[int(self.rng.integers(len(self.documents)))])
            + "abcdefgh" * 4
        )
        pool = [letters[start : start + 8] for start in self.rng.integers(0, len(letters) - 8, 3)]
        others = codes_of("abhqzAZ\x00\x01\x80é\u0301日😀")
        found = []
        for words in self.rng.integers(1, 6, number).tolist():
            text = []
            for _ in range(words):
                blocks = self.rng.choice([1, 2, 2, 3, 3, 4, 5, 8, 12])
                word = np.concatenate([pool[at] for at in self.rng.integers(len(pool), size=blocks)])
                at, way = int(self.rng.integers(len(word))), int(self.rng.integers(12))
                across = (at + 8) % len(word)
                if way == 0:
                    word[at] = self.rng.choice(others)
                elif way == 1:
                    word = np.append(word, np.zeros(int(self.rng.integers(1, 9)), np.uint32))
                elif way == 2:
                    word = word[: int(self.rng.choice([at, 7, 15, 23, 31]))]
                elif way == 3:
                    word = np.tile(pool[0], self.rng.choice([16, 17, 48, 49, 80]))
                elif way == 4:
                    word[-1] ^= 1
                elif way == 5:
                    word[at] -= 32
                elif way <= 8:
                    word[[at, across]] = word[[across, at]]
                if way % 2:  # with the space before it, whole blocks again
                    word = np.append(pool[1][:7], word)
                text.append(text_of(word))
            found.append(str(self.rng.choice([" ", " ", "  ", "\n", " \u0301"])).join(text))
        return found

    def wide(self, number: int) -> list[str]:
        """Real text in other case, in full width, in letters of mathematics, or backwards."""
        ways = [
            str.upper,
            str.swapcase,
            str.title,
            lambda x: x.translate(FULLWIDTH),
            lambda x: x[::-1],
            str.casefold,
        ]
        texts = self.damaged(number)
        return [
            ways[way](text)
            for way, text in zip(self.rng.integers(len(ways), size=number).tolist(), texts, strict=True)
        ]

    def long(self, number: int) -> list[str]:
        """Very long words, alone and among others; a few long texts."""
        found = []
        for _ in range(number):
            length = int(self.rng.choice([99, 100, 101, 150, 200, 255, 256, 300, 1000, 5000]))
            unit = str(
                self.rng.choice(
                    [
                        "x",
                        "ab",
                        "é",
                        "e\u0301",
                        "中",
                        "👍🏽",
                        "1",
                        "-",
                        "\u0301",
                        "ﬁ",
                        "\ud83d\ude00",
                        "q\x00",
                        "a b ",
                        "  ",
                    ]
                )
            )
            word = (unit * length)[:length]
            found.append(
                str(self.rng.choice(["", "a ", " "])) + word + str(self.rng.choice(["", " b", " ", "\n"]))
            )
        return found

    def huge(self, characters: int) -> list[str]:
        """Two texts of that many characters: one of real and damaged text, one a single word."""
        text = " ".join(self.damaged(4000) + self.contexts(2000))
        whole = (text * (characters // len(text) + 1))[:characters]
        return [whole, "abcdefgh" * (characters // 80)]


def objects(items: Sequence[str]) -> npt.NDArray[Any]:
    """An array of Python strings; numpy's own would lose zeros at their ends."""
    found = np.empty(len(items), object)
    found[:] = items
    return found
