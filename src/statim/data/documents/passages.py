"""Texts cut into sentences and passages, by rules that need no model.

A passage is what fits a static vector well: a few sentences of one paragraph or of short neighbouring ones,
about 100 words, as in DPR (Karpukhin et al., 2020). Lengths are in characters, so that writing without spaces
is cut too.
"""

import re
from collections.abc import Iterator

LONGEST = 600  # characters of a passage at most
ENOUGH = 200  # a passage so long ends with its paragraph

# After . ! ? and their like in other scripts (perhaps closed quotes and brackets) and a space, unless a small
# letter follows; after the full-width ones at once. Thai, Lao and Khmer end sentences by a space alone.
_STOPS = ".!?…؟۔।॥።՝"
_WIDE, _CLOSED = "。！？｡", "」』）】"
_NO_STOPS = "\u0e00-\u0eff\u1780-\u17ff"
_END = re.compile(
    rf"(?:(?<=[{_STOPS}])|(?<=[{_STOPS}][\"'”’)\]]))\s+(?=[^a-z\s])"
    rf"|(?:(?<=[{_WIDE}])|(?<=[{_WIDE}][{_CLOSED}]))\s*(?=[^\s{_WIDE}{_CLOSED}])"
    rf"|(?<=[{_NO_STOPS}])\s+(?=[{_NO_STOPS}])"
)
_ABBREVIATED = re.compile(
    r"(?:^|[\s(])(?:[A-Z]|[A-Za-z]\.[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|St|vs|cf|etc|ca|al|approx|Fig|Figs|Eq|No|Nos|vol|pp?|ed|Inc|Ltd|Jr|Sr)\.$"
)
_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")


def paragraphs(text: str) -> list[str]:
    """What stands between empty lines, on one line each; none is empty."""
    return [joined for part in _PARAGRAPH.split(text) if (joined := " ".join(part.split()))]


def sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph in order; joined by spaces they are the paragraph.

    Except where full-width sentences end.

    Args:
        paragraph: Text on one line, as ``paragraphs`` gives.
    """
    found: list[str] = []
    for part in _END.split(paragraph):
        if found and len(found[-1]) < LONGEST and _ABBREVIATED.search(found[-1][-12:]):
            found[-1] += f" {part}"
        elif part:
            found.append(part)
    return found


def passages(text: str) -> list[str]:
    """Cut a document into passages of at most LONGEST characters.

    Paragraphs of ENOUGH characters or more are passages; shorter ones are put together, longer ones cut
    between sentences, and a sentence that is too long by itself between words or, where it has none,
    anywhere.

    Returns:
        The passages in order; none is empty. All words of the text are there, white space collapsed.
    """
    found: list[str] = []
    current = ""
    for paragraph in paragraphs(text):
        if len(current) >= ENOUGH:
            found.append(current)
            current = ""
        for piece in _pieces(paragraph):
            if current and len(current) + 1 + len(piece) > LONGEST:
                found.append(current)
                current = ""
            current = f"{current} {piece}" if current else piece
    return [*found, current] if current else found


def _pieces(paragraph: str) -> Iterator[str]:
    """A paragraph whole if it is no longer than a passage, else its sentences, none of them longer."""
    if len(paragraph) <= LONGEST:
        yield paragraph
        return
    for sentence in sentences(paragraph):
        while len(sentence) > LONGEST:
            cut = sentence.rfind(" ", 1, LONGEST + 1)
            cut = cut if cut > 0 else LONGEST
            yield sentence[:cut].rstrip()
            sentence = sentence[cut:].lstrip()
        if sentence:
            yield sentence
