"""Phrases: the word pairs of a grown vocabulary, which stand as added tokens in ``tokenizer.json``.

tokenizers and nanotoken look for them in every text, which takes longer than all else. Here a text of plain
characters is cut as if there were none, and those found by compiled code take the place of their words. Any
other text is left to the library.
"""

import json
import os
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from statim.tokenizer.boundaries import HARMLESS, steps
from statim.tokenizer.tokens import Tokens

if TYPE_CHECKING:
    from statim.tokenizer.token_cache import Memo

NO_LIMIT = 1 << 62
ALPHANUMERIC = set(string.ascii_letters + string.digits)
JOINED = ALPHANUMERIC | {"_", " "}
TYPED = {*string.printable[:95], "\t", "\n"}

Normalize = Callable[[str], str]
Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]


def is_phrase(token: dict[str, Any]) -> bool:
    """Is this added token one that vocabulary.grow makes: words with single spaces between them?"""
    return bool(
        token["single_word"] and token["normalized"] and not token["rstrip"] and not token["special"]
    ) and is_spaced(token["content"])


def is_spaced(text: str) -> bool:
    """Two words with a space between them?"""
    words = text.split(" ")
    return len(words) == 2 and all(
        any(map(str.isalnum, word)) and not any(map(str.isspace, word)) for word in words
    )


def without_phrases(description: dict[str, Any]) -> dict[str, Any]:
    """The contents of a ``tokenizer.json`` without its phrases."""
    rest = [token for token in description["added_tokens"] if not is_phrase(token)]
    return description | {"added_tokens": rest}


def phrase_probe(description: dict[str, Any]) -> list[str]:
    """Texts in which some of the phrases stand, hardly stand, and stand in each other's way."""
    phrases = [token["content"] for token in description["added_tokens"] if is_phrase(token)]
    some = [*phrases[:20], *phrases[20 :: len(phrases) // 20 + 1]]
    chains = [
        f"{one} {other.split(' ', 1)[1]}"
        for one in some
        for other in phrases[:2000]
        if one.split(" ")[-1].endswith(other.split(" ")[0])
    ]
    changed = [
        f"{one} {one.upper()} x{one} {one}x {one}_ _{one} ({one}), {one}{one} {one.replace(' ', '  ')}\n{one}"
        for one in some
    ]
    return [*some, *chains[:50], *changed, " ".join(some), "\n".join(some)]


@dataclass(frozen=True, eq=False)
class Trie:
    """Phrases of ASCII letters and digits, and their ids; see kernels.text.phrases."""

    codes: Bytes
    branches: npt.NDArray[np.uint64]
    first: npt.NDArray[np.int32]
    values: npt.NDArray[np.int32]

    @staticmethod
    def of(phrases: dict[str, int], letters: Bytes) -> "Trie":
        """Build it level by level.

        Args:
            phrases: Phrase -> id.
            letters: Theirs, ascending, 64 at most.
        """
        words = sorted((phrase.encode(), number) for phrase, number in phrases.items())
        code_of = np.full(256, 255, np.uint8)
        code_of[letters] = np.arange(len(letters))
        lengths = np.array([len(word) for word, _ in words])
        spelled = np.zeros((len(words), lengths.max()), np.uint8)
        spelled[np.arange(lengths.max()) < lengths[:, None]] = code_of[
            np.frombuffer(b"".join(word for word, _ in words), np.uint8)
        ]
        nodes = int(lengths.sum()) + 1
        branches, first = np.zeros(nodes, np.uint64), np.zeros(nodes, np.int32)
        place, used = np.zeros(len(words), np.int64), 1
        for depth in range(lengths.max()):
            going = np.flatnonzero(lengths > depth)
            parent, code = place[going], spelled[going, depth].astype(np.uint64)
            new = np.ones(len(going), np.bool_)  # words are sorted, so those that begin alike are neighbours
            new[1:] = (parent[1:] != parent[:-1]) | (code[1:] != code[:-1])
            child = used + np.cumsum(new) - 1
            np.bitwise_or.at(branches, parent[new], np.uint64(1) << code[new])
            first[parent[::-1]] = child[::-1]
            place[going], used = child, int(child[-1]) + 1
        values = np.full(used, -1, np.int32)
        values[place] = [number for _, number in words]
        return Trie(code_of, branches[:used].copy(), first[:used].copy(), values)

    def node(self, text: str) -> int:
        """The node that ``text``, the beginning of a phrase, ends at."""
        node = 0
        for code in self.codes[np.frombuffer(text.encode(), np.uint8)].tolist():
            node = int(self.first[node]) + (int(self.branches[node]) & ((1 << code) - 1)).bit_count()
        return node


class Finder:
    """What compiled code needs to find pairs of words in ASCII texts.

    Args:
        description: The contents of a ``tokenizer.json`` with phrases.
        normalize: Its normalizer.
    """

    def __init__(self, description: dict[str, Any], normalize: Normalize) -> None:
        normal, self.kinds = np.zeros(256, np.uint8), np.zeros(256, np.uint8)
        self.word, self.blank = np.zeros((2, 256), np.bool_)
        for character in TYPED:
            found, at = normalize(f"a{character}a"), ord(character)
            if len(found) == 3 and found.isascii():
                normal[at] = ord(found[1])
                self.kinds[at] = 1 if found[1] == " " else 3 if found[1] in ALPHANUMERIC else 2
                self.word[at] = found[1] in ALPHANUMERIC | {"_"}
                self.blank[at] = found[1].isspace()
        added = description["added_tokens"]
        phrases = {token["content"]: token["id"] for token in added if is_plain_phrase(token)}
        letters = np.unique(np.frombuffer("".join(phrases).encode(), np.uint8))
        pairs = Trie.of(phrases, letters)
        first = {text.split(" ")[0] for text in phrases}
        back = Trie.of({word[::-1]: pairs.node(f"{word} ") for word in first}, letters)
        self.codes = pairs.codes[normal]
        self.tries = (pairs.branches, pairs.first, pairs.values, back.branches, back.first, back.values)


def is_plain_phrase(token: dict[str, Any]) -> bool:
    """Is it a phrase of ASCII letters and digits?"""
    return is_phrase(token) and set(token["content"]) <= ALPHANUMERIC | {" "}


def can_be_found(description: dict[str, Any], normalize: Normalize) -> bool:
    """Are there phrases that ``Finder`` finds, spelled as normalized, sharing no letter with other tokens?"""
    added = description["added_tokens"]
    phrases = [token["content"] for token in added if is_phrase(token)]
    others = [token["content"] for token in added if not is_phrase(token)]
    return (
        any(map(is_plain_phrase, added))
        and all(normalize(phrase) == phrase for phrase in phrases)
        and all(token.isascii() and not {token[0], token[-1]} & JOINED for token in others)
    )


class DividedPhrases:
    """Divide texts into word pairs and what is between them, as tokenizers does.

    What is between them is cut by itself.

    Args:
        description: The contents of a ``tokenizer.json`` with phrases, one that ``fits``.
        normalize: Its normalizer.
        memo: Cuts texts without looking for phrases.
    """

    def __init__(self, description: dict[str, Any], normalize: Normalize, memo: "Memo") -> None:
        self._finder, self._memo = Finder(description, normalize), memo
        # a normalizer that takes spaces away might make a pair of words that are further apart
        self._strict = not all(
            step["type"] in HARMLESS for step in steps(description["normalizer"], "normalizers")
        )

    @staticmethod
    def fits(description: dict[str, Any], normalize: Normalize) -> bool:
        """Can phrases be found this way?

        They take the spaces before them, and nothing depends on a part's place in the text.
        """
        splitters = steps(description["pre_tokenizer"], "pretokenizers")
        normalizers = steps(description["normalizer"], "normalizers")
        return (
            can_be_found(description, normalize)
            and all(token["lstrip"] for token in description["added_tokens"] if is_phrase(token))
            and all(step.get("prepend_scheme") != "first" for step in splitters)
            and all(step["type"] in {*HARMLESS, "Strip"} or _leaves_words(step) for step in normalizers)
        )

    def __call__(
        self, texts: list[str], data: Bytes, offsets: Offsets, max_tokens: int | None, threads: int
    ) -> tuple[Tokens, npt.NDArray[np.bool_]]:
        """As WordPiecePhrases."""
        from statim.kernels.text.phrase_ids import divide, join

        count, most, finder = len(texts), int(offsets[-1] - offsets[0]) + len(texts), self._finder
        cuts, pairs = np.empty(most + 1, np.int64), np.empty(most, np.int32)
        ends, hard = np.empty(count + 1, np.int64), np.empty(count, np.bool_)
        parts = divide(
            data, offsets, finder.codes, finder.kinds, finder.word, finder.blank, self._strict, *finder.tries,
            cuts, pairs, ends, hard,
        )  # fmt: skip
        cuts = cuts[: parts + 1]
        if hard.any():  # what is cut in another way need not be cut here
            gone = np.zeros(parts, np.bool_)
            gone[ends[:-1][hard]] = True
            lengths = np.diff(cuts)
            data = data[cuts[0] : cuts[-1]][np.repeat(~gone, lengths)]
            cuts = np.concatenate([[0], np.cumsum(np.where(gone, 0, lengths))])
        tokens = self._memo(data, cuts, None, threads, count)
        out, out_offsets = np.empty(len(tokens.ids) + parts, np.int32), np.empty(count + 1, np.int64)
        limit = NO_LIMIT if max_tokens is None else max_tokens
        written = join(tokens.ids, tokens.offsets, pairs, ends, hard, limit, out, out_offsets)
        return Tokens(out[:written], out_offsets), hard

    def passes_over(self, texts: list[str]) -> bool:
        """Are these texts better tokenized as a whole?"""
        return self._memo.payoff.passes_over(texts)

    def forget(self) -> None:
        """What is remembered belongs to the memo."""


def _leaves_words(step: dict[str, Any]) -> bool:
    """Does this replacement change neither letters nor digits, and spaces only where there are several?"""
    if step["type"] != "Replace":
        return False
    pattern, content = step["pattern"], step["content"]
    if pattern == {"Regex": " {2,}"}:
        return bool(content == " ")
    return not (set(pattern.get("String") or " ") | set(content)) & (JOINED | {"\t", "\n"})


class WordPiecePhrases:
    """Cuts texts as BERT does, and puts the ids of phrases in the place of their words'.

    Args:
        description: The contents of a ``tokenizer.json`` with phrases, one that ``fits``.
        normalize: Its normalizer.
    """

    def __init__(self, description: dict[str, Any], normalize: Normalize) -> None:
        self._json = json.dumps(without_phrases(description))
        self._plain, self._process = self._nanotoken(), os.getpid()
        self._finder, added = Finder(description, normalize), description["added_tokens"]
        self._own = np.full(256, -1, np.int32)
        for code in np.flatnonzero(self._finder.kinds == 2).tolist():
            [self._own[code]] = self._encode([chr(code)]).ids
        model = description["model"]
        self._unknown = model["vocab"][model["unk_token"]]
        numbers = [*model["vocab"].values(), *(token["id"] for token in added)]
        self._lengths = np.zeros(1 + max(numbers), np.int32)
        for token, number in model["vocab"].items():
            self._lengths[number] = len(token.removeprefix(model["continuing_subword_prefix"]).encode())
        self._lengths[[token["id"] for token in added]] = 0

    @staticmethod
    def fits(description: dict[str, Any], normalize: Normalize) -> bool:
        """Are phrases found so? The tokenizer has some, and cuts as BERT does."""
        model, normalizer = description["model"], description["normalizer"] or {}
        return (
            normalizer.get("type") == "BertNormalizer"
            and normalizer["clean_text"]
            and (description["pre_tokenizer"] or {}).get("type") == "BertPreTokenizer"
            and model["unk_token"] in model["vocab"]
            and bool(model["continuing_subword_prefix"])
            and can_be_found(description, normalize)
        )

    def __call__(
        self, texts: list[str], data: Bytes, offsets: Offsets, max_tokens: int | None, _threads: int
    ) -> tuple[Tokens, npt.NDArray[np.bool_]]:
        """The ids of n texts.

        Args:
            texts: The texts.
            data: Their UTF-8 bytes.
            offsets: (n + 1,) between them.
            max_tokens: Cut each text after this many.
            _threads: For the other kind.

        Returns:
            The ids, and (n,) which texts have none because they hold characters that are not plain, or
            special tokens.
        """
        from statim.kernels.text.phrase_ids import merge

        if self._process != os.getpid():  # a fork; see Tokenizer
            self._plain, self._process = self._nanotoken(), os.getpid()
        tokens, count, finder = self._encode(texts), len(texts), self._finder
        out, ends, hard = (
            np.empty(len(tokens.ids), np.int32),
            np.empty(count + 1, np.int64),
            np.empty(count, np.bool_),
        )
        written = merge(
            data, offsets, tokens.ids, tokens.offsets, NO_LIMIT if max_tokens is None else max_tokens,
            finder.codes, finder.kinds, finder.word, self._own, self._lengths, self._unknown, *finder.tries,
            out, ends, hard,
        )  # fmt: skip
        return Tokens(out[:written], ends), hard

    def passes_over(self, texts: list[str]) -> bool:  # noqa: ARG002
        """Never: nanotoken is sooner, whatever the texts."""
        return False

    def forget(self) -> None:
        """Give back the memory in which words are remembered."""
        self._plain.clear_cache()

    def _nanotoken(self) -> Any:
        import nanotoken

        return nanotoken.WordPieceTokenizer.from_json(self._json)

    def _encode(self, texts: list[str]) -> Tokens:
        ids, offsets = self._plain.encode_batch(texts, add_special_tokens=False, parallel=False)
        return Tokens(ids.view(np.int32), offsets)
