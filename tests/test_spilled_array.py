"""Arrays that grow into a file: read back as appended; a file that is never finished is closed."""

import gc

import numpy as np
import pytest

from statim import spilled_array


@pytest.mark.parametrize("memory", [10, 1 << 20])
def test_what_was_appended_is_read_back(monkeypatch, memory):
    monkeypatch.setattr(spilled_array, "IN_MEMORY", memory)
    growing = spilled_array.Growing(np.int64)
    for part in ([1, 2, 3], [], [4, 5]):
        growing.append(part)
    assert len(growing) == 5
    assert growing.finish().tolist() == [1, 2, 3, 4, 5]


def test_a_file_that_is_never_finished_is_closed(monkeypatch):
    """In a circle, too, as an error's traceback makes one; an open file would be a ResourceWarning."""
    monkeypatch.setattr(spilled_array, "IN_MEMORY", 10)
    growing = spilled_array.Growing(np.int64)
    growing.append([1, 2, 3])
    file = growing._file
    circle = [growing]
    circle.append(circle)
    del growing, circle
    gc.collect()
    assert file.closed
