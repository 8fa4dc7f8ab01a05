"""Every error statim raises on purpose.

    StatimError
    ├── InputError (ValueError)         an argument: of the wrong kind, size or value
    │   ├── DataError                   a file or table of data: missing, empty, malformed, wrong column
    │   └── BusyError                   an output that another process or thread is writing at this moment
    ├── ModelError (ValueError)         a directory that should be a model or an index and is not whole
    ├── DependencyError (ImportError)   an optional package is not installed
    └── StorageError (OSError)          the disk: full, read-only, not permitted, failing

A message says what was given, where, what is allowed and how to mend it, in one sentence. The command
line prints it and exits with 2.
"""


def on_one_line(text: str) -> str:
    """A text with escapes for invisible characters: line breaks and controls in names and contents."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class StatimError(Exception):
    """The base of all errors raised on purpose."""

    def __str__(self) -> str:
        """The message alone, on one line (OSError and ImportError would dress it up)."""
        return on_one_line(str(self.args[0])) if self.args else ""


class InputError(StatimError, ValueError):
    """An argument of the wrong kind, size or value."""


class DataError(InputError):
    """A file or table of data that cannot be used as it is."""


class BusyError(InputError):
    """An output that another process or thread is writing; trying again later may do."""


class ModelError(StatimError, ValueError):
    """A directory that should hold a model, index or checkpoint, and does not, or not a whole one."""


class DependencyError(StatimError, ImportError):
    """An optional package is not installed; the message names the command that installs it."""


class StorageError(StatimError, OSError):
    """The disk refused: full, read-only, not permitted, or failing."""
