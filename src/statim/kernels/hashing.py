"""Random numbers that follow from a key and a place alone, for compiled loops."""

import numpy as np

from statim.kernels.prepared import njit

# of Wellons' hash prospector (2018), and the golden ratio
FIRST, SECOND, GOLDEN = np.uint32(0x7FEB352D), np.uint32(0x846CA68B), np.uint32(0x9E3779B9)


@njit(nogil=True, cache=True, error_model="numpy")
def mixed(x: np.uint32) -> np.uint32:
    """A hash of 32 bits: every bit depends on every one."""
    x = np.uint32(x ^ (x >> np.uint32(16)))
    x = np.uint32(x * FIRST)
    x = np.uint32(x ^ (x >> np.uint32(15)))
    x = np.uint32(x * SECOND)
    return np.uint32(x ^ (x >> np.uint32(16)))
