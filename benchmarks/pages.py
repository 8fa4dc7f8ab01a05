"""Tables that benchmarks write into pages."""

from pathlib import Path

from statim.files import atomic_file


def write_between(path: Path, marks: tuple[str, str], text: str) -> None:
    """Put text between two marks of a page."""
    before, found, rest = path.read_text("utf-8").partition(marks[0])
    _, ends, after = rest.partition(marks[1])
    if not found or not ends:
        raise SystemExit(f"{path} has no place for the tables; it needs the lines {marks[0]} and {marks[1]}")
    with atomic_file(path) as file:
        file.write(f"{before}{marks[0]}\n\n{text}\n\n{marks[1]}{after}".encode())
