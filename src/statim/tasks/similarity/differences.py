"""Two texts side by side: what differs between brackets, what is the same shortened."""

from difflib import SequenceMatcher

WORDS = 500  # of a text that are compared
AROUND = 5  # words shown beside a difference
SHOWN = 300  # characters of a text


def differences(one: str, other: str) -> tuple[str, str]:
    """Both texts on one line each, the words that differ between brackets, long runs of equal ones left out.

    Examples:
        >>> differences("The printer on floor 2 is slow", "The printer on floor 3 is slow")
        ('The printer on floor [2] is slow', 'The printer on floor [3] is slow')
    """
    first, second = one.split(), other.split()
    found: tuple[list[str], list[str]] = ([], [])
    matcher = SequenceMatcher(None, first[:WORDS], second[:WORDS], autojunk=False)
    steps = matcher.get_opcodes()
    for number, (kind, a, b, c, d) in enumerate(steps):
        if kind == "equal":
            same = _shortened(first[a:b], begins=number == 0, ends=number == len(steps) - 1)
            for shown in found:
                shown += same
            continue
        for shown, words in zip(found, (first[a:b], second[c:d]), strict=True):
            if words:
                shown.append(f"[{' '.join(words)}]")
    more = ["…" if len(words) > WORDS else "" for words in (first, second)]
    one, other = (" ".join([*shown, mark]).rstrip() for shown, mark in zip(found, more, strict=True))
    return _cut(one), _cut(other)


def _shortened(words: list[str], *, begins: bool, ends: bool) -> list[str]:
    """Equal words: those beside a difference, and an ellipsis for the others."""
    before, after = (0 if begins else AROUND), (0 if ends else AROUND)
    if begins and ends:
        before = len(words)
    if len(words) <= before + after + 1:
        return words
    return [*words[:before], "…", *(words[-after:] if after else [])]


def _cut(line: str) -> str:
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"
