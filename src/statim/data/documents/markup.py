"""Documents from text files: plain text, Markdown, reStructuredText and HTML, as a title and a body.

Markup is taken away as far as it would hinder: the body is what a reader would read, its paragraphs between
empty lines. Nothing here refuses anything: what is no proper markup is taken as text.
"""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import NamedTuple

LONGEST_TITLE = 150  # characters; a longer first line is no title


class Document(NamedTuple):
    """A document's title, None where it has none, and the rest of its text."""

    title: str | None
    body: str


def plain(text: str) -> Document:
    """A short first line with an empty one below and no full stop is the title."""
    first, _, rest = text.strip().partition("\n")
    title = " ".join(first.split())
    if rest and not rest.partition("\n")[0].strip() and rest.strip() and _can_be_title(title):
        return Document(title, rest.strip())
    return Document(None, text.strip())


_FENCE = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.MULTILINE | re.DOTALL)
_FRONT = re.compile(r"\A---\n.*?\n(?:---|\.\.\.)\n", re.DOTALL)
_HEADING = re.compile(r"^[ ]{0,3}#{1,6}[ \t]+([^\n]+)$", re.MULTILINE)
_UNDERLINED = re.compile(r"^(\S[^\n]*)\n(?:=+|-+)[ \t]*$", re.MULTILINE)
_LINK = re.compile(r"!?\[([^\[\]]*)\](?:\([^()\n]*\)|\[[^\[\]\n]*\])")
_MARKS = re.compile(r"(\*{1,3}|`{1,3})(?=\S)(.{1,300}?)(?<=\S)\1")


def markdown(text: str) -> Document:
    """The first heading is the title, others are paragraphs.

    Code blocks, front matter and comments are left out.
    """
    text = _without_comments(_FENCE.sub("", _FRONT.sub("", text)))
    text = _UNDERLINED.sub(r"# \1", text)
    title = None
    if heading := _HEADING.search(text):
        title = _unmarked(heading[1].rstrip(" \t#"))
        text = text[: heading.start()] + "\n" + text[heading.end() :]
    return _document(title, _unmarked(_HEADING.sub(r"\n\1\n", text)))


def _without_comments(text: str) -> str:
    """Without ``<!-- … -->``; what is never closed stays."""
    first, *parts = text.split("<!--")
    kept = [first]
    for part in parts:
        inside, end, after = part.partition("-->")
        kept.append(after if end else inside)
    return "".join(kept)


def _unmarked(text: str) -> str:
    return _MARKS.sub(r"\2", _LINK.sub(r"\1", text)).strip()


_ADORNED = re.compile(
    r"^(?:([=\-~^\"'`#*+.:_])\1{2,}\n)?[ ]?(\S[^\n]*)\n([=\-~^\"'`#*+.:_])\3{2,}[ \t]*$", re.MULTILINE
)
_DIRECTIVE = re.compile(r"^\.\.(?=\s)[^\n]*(?:\n(?=[ \t]+\S|\n[ \t]+\S)[^\n]*)*$", re.MULTILINE)
_ROLE = re.compile(r"(?::[\w:.+-]+:)?`~?!?([^`<]*?)(?:\s*<[^`]*>)?`_{0,2}")


def restructured(text: str) -> Document:
    """The first adorned line is the title, others are paragraphs.

    Directives and comments are left out; roles are replaced by their text.
    """
    text = _DIRECTIVE.sub("", text)
    title = None
    if heading := _ADORNED.search(text):
        title = _unroled(heading[2])
        text = text[: heading.start()] + "\n" + text[heading.end() :]
    return _document(title, _unroled(_ADORNED.sub(r"\n\2\n", text)))


def _unroled(text: str) -> str:
    return _MARKS.sub(r"\2", _ROLE.sub(r"\1", text.replace("``", "`"))).strip()


_STRAY = re.compile(r"<(?![^<>]*>)")


def html(text: str) -> Document:
    """What a browser shows, without navigation; the title is ``<title>``, else the first ``<h1>``."""
    reader = _Html()
    reader.feed(
        _STRAY.sub("&lt;", _without_comments(text))
    )  # the parser would look for their ends again and again
    reader.close()
    return _document(" ".join("".join(reader.title or reader.heading).split()), "".join(reader.body))


class _Html(HTMLParser):
    """Collects text; blocks are set off by empty lines."""

    hidden = frozenset({"script", "style", "noscript", "template", "svg", "nav", "head", "pre", "footer"})
    void = frozenset({"br", "hr", "img", "input", "link", "meta"})
    inline = frozenset(
        {"a", "b", "i", "em", "strong", "span", "code", "sub", "sup", "small", "abbr", "q", "u", "font",
            "mark", "kbd", "var", "cite"}
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title: list[str] = []
        self.heading: list[str] = []
        self.body: list[str] = []
        self._inside: list[str] = []  # hidden elements that are open, and title and h1
        self._headed = False  # the first h1 is over

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        if tag in self.hidden or tag in ("title", "h1"):
            self._inside.append(tag)
        if tag in ("body", "main", "article"):
            self._inside.clear()  # a head that was never closed
        if tag not in self.inline:
            self.body.append("\n" if tag == "br" else "\n\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._inside:
            while self._inside.pop() != tag:
                pass
            self._headed = self._headed or tag == "h1"
        if tag not in self.inline and tag not in self.void:
            self.body.append("\n\n")

    def handle_data(self, data: str) -> None:
        if "title" in self._inside and "svg" not in self._inside:
            self.title.append(data)
        elif self.hidden.intersection(self._inside):
            return
        elif "h1" in self._inside and not self._headed:
            self.heading.append(data)
        else:
            self.body.append(data)


def _document(title: str | None, body: str) -> Document:
    return Document(title if title and _can_be_title(title) else None, body.strip())


def _can_be_title(line: str) -> bool:
    return 0 < len(line) <= LONGEST_TITLE and not line.endswith((".", ",", ";", ":"))


# Suffix -> how a file of that name is read
READERS: dict[str, Callable[[str], Document]] = {
    ".txt": plain, ".text": plain, ".md": markdown, ".markdown": markdown, ".rst": restructured,
    ".html": html, ".htm": html,
}  # fmt: skip
