"""Docstrings out of Python source, by parsing it; nothing is imported or run.

This file needs the standard library alone, so that it can run as a script of its own: python_docs.py starts
several, which needs neither fork nor a guarded main module. In: one JSON array [file, module] a line. Out:
one JSON array of [name, docstring] a file.
"""

import ast
import gc
import json
import os
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

MOST_BYTES = 2 << 20  # a larger file was written by a program

# A docstring of two paragraphs cannot be where no triple-quoted string has an empty line
PARAGRAPHS = re.compile(rb'("""|\'\'\').*?\n[ \t\r]*\n.*?\1', re.DOTALL)

DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def read(path: str, module: str) -> list[tuple[str, str]]:
    """The (dotted name, docstring) of a module, its classes and methods, and its functions, in order.

    Files that cannot be read or parsed, or are larger than MOST_BYTES, have none.
    """
    try:
        with Path(path).open("rb") as file:
            source = file.read(MOST_BYTES + 1)
        if len(source) > MOST_BYTES or not PARAGRAPHS.search(source):
            return []
        return list(_documented(_parse(source), module))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return []


_parsing = threading.Lock()


def _begin_again() -> None:
    """In a forked child, where nobody else could give back the lock."""
    global _parsing
    _parsing = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)


def _parse(source: bytes) -> ast.Module:
    """``ast.parse`` without warnings and garbage collection: one thread at a time.

    CPython 3.11 loses count of its recursion when a collection in between parses something itself (its issue
    106905).
    """
    with _parsing, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collecting = gc.isenabled()
        gc.disable()
        try:
            return ast.parse(source)
        finally:
            if collecting:
                gc.enable()


def _documented(node: ast.Module | ast.ClassDef, name: str) -> Iterator[tuple[str, str]]:
    if text := ast.get_docstring(node):
        yield name, text
    for child in _definitions(node):
        inner = f"{name}.{child.name}"
        if isinstance(child, ast.ClassDef):
            yield from _documented(child, inner)
        elif text := ast.get_docstring(child):
            yield inner, text


def _definitions(node: ast.AST) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """What is defined in a body, also under its ifs, trys and withs; not what functions define inside."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, DEFINITIONS):
            yield child
        elif isinstance(child, (ast.If, ast.Try, ast.With, ast.ExceptHandler)):
            yield from _definitions(child)


def main() -> None:
    """Answer each line of the standard input with one line."""
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(json.dumps(read(*json.loads(line))).encode() + b"\n")


if __name__ == "__main__":
    main()
