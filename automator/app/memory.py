"""Memory: what a large piece of work took is given back to the machine."""

from __future__ import annotations


def give_back() -> None:
    """Have glibc return the memory that is free (malloc_trim(3)); nothing with another C library."""
    import ctypes  # after the start: it takes its time

    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return
    trim(0)
