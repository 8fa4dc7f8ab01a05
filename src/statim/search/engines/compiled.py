"""Whether loading compiled code (half a second) pays, decided by the work of this process alone."""

import threading

WORTH = (
    1 << 30
)  # numbers compared in plain numpy, after which loading is the smaller part: half a second of work

_lock = threading.Lock()
_done = 0
_loading = _ready = False


def worth(numbers: int) -> bool:
    """Count one more pass over ``numbers`` numbers; says whether compiled code is to make it.

    One thread loads it, while others go on in plain numpy.
    """
    global _done, _loading
    if _ready:
        return True
    with _lock:
        _done += numbers
        if _loading or _done < WORTH:
            return False
        _loading = True
    try:
        import statim.kernels.search.scan  # noqa: F401

        use()
    finally:
        _loading = False
    return True


def use() -> None:
    """Tell that compiled code is loaded because the work at hand needs it."""
    global _ready
    _ready = True


def ready() -> bool:
    """Whether it was used or loaded here."""
    return _ready
