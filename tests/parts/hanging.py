"""A state folder that hangs, as one on a network disk that is away: a write to it comes to no end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from automator.core.reference import TagList
from automator.edges.store import Store


@contextmanager
def hanging(store: Store, seconds: float = 45.0) -> Iterator[None]:
    """Let nobody to the database. Fails where it was waited for: then it goes on after so many seconds."""
    begun, go_on = threading.Event(), threading.Event()

    def endless() -> Iterator[TagList]:
        begun.set()
        go_on.wait(seconds)
        yield from ()

    writing = threading.Thread(target=store.save_tag_lists, args=[endless()], daemon=True)
    writing.start()
    assert begun.wait(seconds)
    try:
        yield
        assert writing.is_alive(), "somebody waited for the state folder"
    finally:
        go_on.set()
        writing.join()
