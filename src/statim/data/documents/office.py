"""Documents out of PDF and Word files, by pypdf and python-docx."""

import io
import logging
from typing import Any

from statim.data.documents.markup import LONGEST_TITLE, Document
from statim.data.files.bad_rows import UnusableError
from statim.errors import DependencyError

BETWEEN_PAGES = "\n\f\n"  # ends a paragraph, as an empty line does


def pdf(data: bytes) -> Document:
    """The text of all pages, with BETWEEN_PAGES between them; the title is that of the file's properties.

    Raises:
        UnusableError: It is damaged or encrypted, or has no text.
        DependencyError: pypdf is not installed.
    """
    try:
        import pypdf
    except ImportError:
        raise _missing("pypdf", "PDF") from None
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # what is wrong is said once, below
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        pages = [page.extract_text() for page in reader.pages]
        title = reader.metadata.title if reader.metadata else None
    except Exception as error:  # of many kinds, where a file is damaged
        raise _unreadable("PDF", error) from None
    if not any(page.strip() for page in pages):
        raise UnusableError("has no text (are its pages scanned?); recognize its text first, by OCR")
    return Document(_title(title), BETWEEN_PAGES.join(page.strip() for page in pages))


def docx(data: bytes) -> Document:
    """The paragraphs and cells of tables; the title is the first paragraph styled Title or Heading 1.

    Raises:
        UnusableError: It is damaged.
        DependencyError: python-docx is not installed.
    """
    try:
        import docx as library
    except ImportError:
        raise _missing("python-docx", "Word") from None
    try:
        document = library.Document(io.BytesIO(data))
        title, parts = None, []
        for part in document.iter_inner_content():
            style = getattr(getattr(part, "style", None), "name", None)
            if title is None and style in ("Title", "Heading 1") and hasattr(part, "text"):
                title = _title(part.text)
                if title:
                    continue
            parts.append(_text(part))
    except Exception as error:
        raise _unreadable("Word", error) from None
    return Document(title, "\n\n".join(filter(None, parts)))


def _text(part: Any) -> str:
    """A paragraph, or the rows of a table."""
    if hasattr(part, "rows"):
        rows = ("\t".join(cell.text.strip() for cell in row.cells).strip() for row in part.rows)
        return "\n".join(filter(None, rows))
    return str(part.text).strip()


def _title(given: str | None) -> str | None:
    line = " ".join(str(given or "").split())
    return line if 0 < len(line) <= LONGEST_TITLE else None


def _unreadable(kind: str, error: Exception) -> UnusableError:
    reason = " ".join(str(error).split())[:100] or type(error).__name__
    return UnusableError(f"cannot be read as a {kind} file ({reason}); it is damaged or protected")


def _missing(package: str, kind: str) -> DependencyError:
    return DependencyError(
        f"{kind} files are read by {package}, which is not installed: pip install 'statim[documents]'"
    )
