"""Where a text may be cut without changing its tokens.

Tokenizers of the usual kinds work on words: no id depends on what lies beyond a space. Then a text's ids are
those of its pieces, one after the other, cut before each single space that stands between two plain
characters (kernels.text.pieces). Some can be cut within words too, where punctuation follows letters or
digits. This file reads a tokenizer's description and says of what kind it is; what it does not know is never
cut.
"""

import itertools
import string
from dataclasses import dataclass
from typing import Any

from statim.scripts import UNSPACED

Step = dict[str, Any]

# What normalizers do to one character at a time, or to a letter and its accents
HARMLESS = {"NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Precompiled", "BertNormalizer", "Nmt"}

# The patterns of GPT-2, cl100k (and Llama 3), Qwen 2 and o200k: no match goes on beyond a space, and a single
# space is with what follows it or by itself, whatever came before
PATTERNS = {
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",  # noqa: E501
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",  # noqa: E501
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
        r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
}


UNSPACED_RUNS = f"[{UNSPACED}]+"  # what vocabulary.unigram splits off: it looks at nothing around it


@dataclass(frozen=True)
class Boundaries:
    """Where texts are cut, beside single spaces between plain characters.

    Attributes:
        punctuation: Between ASCII letters or digits and the ASCII punctuation after them, but not before an
            apostrophe.
        whole: Tokens that such a cut would spoil: a text that holds one is cut at spaces only.
    """

    punctuation: bool
    whole: tuple[str, ...]


def boundaries(description: dict[str, Any]) -> Boundaries | None:
    """Where a tokenizer allows texts to be cut; None where it does not, or is not known to.

    Args:
        description: The contents of a ``tokenizer.json``.
    """
    normalizers = steps(description.get("normalizer"), "normalizers")
    splitters = steps(description.get("pre_tokenizer"), "pretokenizers")
    added = description.get("added_tokens") or []
    if (
        description["model"].get("dropout")
        or not all(_keeps_spaces(step, splitters) for step in normalizers)
        or not any(map(_splits, splitters))
        or not all(map(_is_known, splitters))
        or any(map(_is_cut_at_spaces, added))
    ):
        return None
    whole = [token for token in added if _is_cut_at_punctuation(token)]
    as_written = not normalizers or not any(token["normalized"] for token in whole)
    if as_written and any(map(_splits_at_punctuation, splitters)):
        return Boundaries(True, tuple(token["content"] for token in whole))
    return Boundaries(False, ())


def steps(step: Step | None, inner: str) -> list[Step]:
    """The steps of a normalizer or pre-tokenizer, sequences flattened; ``inner`` names a sequence's parts."""
    if step is None:
        return []
    return (
        [one for part in step[inner] for one in steps(part, inner)] if step["type"] == "Sequence" else [step]
    )


def _keeps_spaces(step: Step, splitters: list[Step]) -> bool:
    """Does this normalizer treat a piece that begins with a single space as it treats it inside a text?"""
    kind = step["type"]
    if kind == "Replace":
        pattern = step["pattern"]
        return pattern == {"Regex": " {2,}"} or not any(map(str.isspace, pattern.get("String") or " "))
    if kind == "Strip":  # the space that goes comes back where every word is given one
        return not step["strip_left"] or any(
            part["type"] == "Metaspace" and part.get("prepend_scheme") == "always" for part in splitters
        )
    return kind in HARMLESS


def _splits(step: Step) -> bool:
    """Does this pre-tokenizer, by itself, never let a word go on beyond a space?"""
    kind = step["type"]
    if kind == "Split":
        pattern, behavior = step["pattern"].get("Regex"), step["behavior"]
        return pattern in PATTERNS and behavior == "Isolated" and not step["invert"]
    if kind == "Metaspace":
        return bool(step.get("split", True))
    if kind == "ByteLevel":
        return bool(step.get("use_regex", True))
    return kind in ("BertPreTokenizer", "Whitespace", "WhitespaceSplit")


def _splits_at_punctuation(step: Step) -> bool:
    """Does this pre-tokenizer end words before punctuation, and add nothing to what begins there?"""
    if step["type"] == "ByteLevel":
        return _splits(step) and not step["add_prefix_space"]
    return step["type"] == "Split" and _splits(step)


def _is_known(step: Step) -> bool:
    """Does this pre-tokenizer at least treat a piece as it treats it inside a text?"""
    alone = step["type"] == "ByteLevel" and not step["add_prefix_space"]
    runs = step["type"] == "Split" and step["pattern"] == {"Regex": UNSPACED_RUNS} and not step["invert"]
    return _splits(step) or alone or runs or step["type"] in ("Digits", "Punctuation")


def _is_cut_at_spaces(token: Step) -> bool:
    """Could a cut pass through this added token or change its match?

    It may take spaces before it, but none after.
    """
    padded = f"x{token['content']}x"
    single = any(
        here == " " and not before.isspace() and not after.isspace()
        for before, here, after in zip(padded, padded[1:], padded[2:], strict=False)
    )
    return single or bool(token["rstrip"])


def _is_cut_at_punctuation(token: Step) -> bool:
    """Likewise, where punctuation follows a letter or a digit."""
    alphanumeric = string.ascii_letters + string.digits
    return bool(token["single_word"]) or any(
        before in alphanumeric and here in string.punctuation
        for before, here in itertools.pairwise(token["content"])
    )
