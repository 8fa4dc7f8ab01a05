"""Addresses of PostgreSQL databases, and how to say one without its password.

Only addresses that can be read in one way are taken. In others a stray ``@`` or ``/`` may make a part of the
password look like a host or the name of a database, so nothing of them is said.
"""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from statim.errors import InputError

VARIABLE = "STATIM_DATABASE"
HOW = (
    "write it like postgresql://user@host:5432/database, with the password in PGPASSWORD or ~/.pgpass; "
    "characters such as @ / : ? # % and spaces are written %40 %2F %3A %3F %23 %25 %20 in a name or a "
    "password"
)
PIECE = 5  # characters of an address that are hidden wherever they stand in a message

# Patterns are compiled when they are first used, since every import of statim comes by here.
# What somebody may have meant as an address, whole or not; pathlib makes one slash of two.
_LIKE = r"(?is)\s*postgres(ql)?[+\w]*:|\s*[a-z][\w+.-]+:/+[^/]*@|\s*(\w+\s*=.*\s)?password\s*="
_PARTS = r"""(?ix)(?P<scheme>postgres(?:ql)?://)
    (?:(?P<user>(?:[^\s:@/?#%\[\]]|%[0-9a-f]{2})*)(?::(?P<password>(?:[^@/%]|%[0-9a-f]{2})*))?@)?
    (?P<host>(?:\[[0-9a-f:.]+\]|(?:[\w.-]|%2f)*)(?::[0-9]*)?(?:,(?:\[[0-9a-f:.]+\]|[\w.-]*)(?::[0-9]*)?)*)
    (?P<name>/(?:[^\s:@/?#%\[\]]|%[0-9a-f]{2})*)?
    (?:\?(?P<query>[^@\s]*))?"""
_AMBIGUOUS = "(?i)%(00|2f|3a|3f|40)"
_SAID = r"(host|port|dbname|service)=[\w./~,-]*"


def is_database(path: str | Path) -> bool:
    """Is this the address of a PostgreSQL database, or ``postgresql:``, which means the environment?"""
    return str(path).startswith(("postgresql://", "postgres://")) or str(path) == "postgresql:"


def is_elsewhere(given: object) -> bool:
    """Is this an address of a file or folder (``s3://bucket/folder``), and no path?"""
    return isinstance(given, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", given) is not None


def looks_like_one(given: object) -> bool:
    """Could this be meant as the address of a database, so that it may hold a password?"""
    return isinstance(given, (str, Path)) and re.match(_LIKE, str(given)) is not None


def refuse(path: object, what: str) -> None:
    """Refuse the address of a database in the place of a path; the message does not hold it.

    Raises:
        InputError: It is one.
    """
    if looks_like_one(path):
        raise InputError(
            f"{what} is an address ({said(str(path))}), not a path; only an index can be in a database "
            "(statim index build --store postgresql://...)"
        )


def whole(path: str | Path) -> str:
    """An address in libpq's form; ``postgresql:`` means STATIM_DATABASE, else PGHOST, PGDATABASE and others.

    Raises:
        InputError: It cannot be read, or not in one way only; the message does not hold it.
    """
    given = str(path)
    if given in ("postgresql:", "postgresql://"):
        given = os.environ.get(VARIABLE) or "postgresql://"
        if _parts(given) is None:
            raise InputError(f"the address in the environment variable {VARIABLE} cannot be read; {HOW}")
    if _parts(given) is None:
        raise InputError(f"the address of the database cannot be read; {HOW}")
    return given


def said(address: str) -> str:
    """An address without user and password; of one that cannot be read, its beginning."""
    found = _parts(address)
    if found is None:
        scheme = re.match(r"\s*([a-z][a-z+]*):/", address, re.IGNORECASE)
        return f"{scheme[1] if scheme else 'postgresql'}://…"
    queries = "&".join(part for part in (found["query"] or "").split("&") if re.fullmatch(_SAID, part))
    return f"{found['scheme']}{found['host']}{found['name'] or ''}{'?' if queries else ''}{queries}"


def has_password(address: object) -> bool:
    """Does the address of a database hold a password?"""
    found = _parts(str(address))
    return found is not None and bool(
        found["password"] or re.search(r"\bpassword=[^&]", found["query"] or "")
    )


def _parts(address: str) -> "re.Match[str] | None":
    found = re.fullmatch(_PARTS, address)
    if found is None or re.search(_AMBIGUOUS, found["name"] or ""):
        return None
    return (
        None if re.search(_AMBIGUOUS, (found["user"] or "").replace("%40", "", 1)) else found
    )  # user@server


def hidden(text: str, given: Iterable[str]) -> str:
    """A text without the passwords of the addresses among some arguments, also if they are cut or quoted."""
    for argument in given:
        for one in (argument, argument.partition("=")[2]):
            if looks_like_one(one) and (has_password(one) or _parts(one) is None):
                plain = {one, str(Path(one)), " ".join(one.split())}
                spellings = plain | {repr(each)[1:-1] for each in plain}
                for spelling in sorted(spellings, key=len, reverse=True):
                    text = text.replace(spelling, said(one))
                text = _without_pieces(text, spellings, said(one))
    return text


def _without_pieces(text: str, spellings: Iterable[str], kept: str) -> str:
    """A text without pieces of an address that stand in it, but for those that may be said."""
    pieces = {spelling[i : i + PIECE] for spelling in spellings for i in range(len(spelling) - PIECE + 1)}
    found = {i for piece in pieces if piece not in kept for i in _places(text, piece)}
    cut = {i + more for i in found for more in range(PIECE)}
    shown = "".join("\0" if i in cut else letter for i, letter in enumerate(text))
    return re.sub("\0+", "…", shown)


def _places(text: str, piece: str) -> Iterator[int]:
    start = text.find(piece)
    while start >= 0:
        yield start
        start = text.find(piece, start + 1)
