"""Kustomized: the Kustomizations of the config repo as its head moves, for who asks where things run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from automator.core.found import KUSTOMIZATIONS
from automator.core.homes import Homes
from automator.core.overlays import Kustomization, kustomization
from automator.core.yamltext import parse
from automator.cycle.source import decode
from automator.errors import ManifestError


def is_kustomization(path: str) -> bool:
    """Whether a file is a Kustomization, by its name: no policy has to be about it."""
    return path.rpartition("/")[2] in KUSTOMIZATIONS


class Kustomized:
    """Each Kustomization is parsed once; what they say together is worked out when one has changed."""

    def __init__(self) -> None:
        self._read: dict[str, Kustomization] = {}
        self._homes = Homes(())

    @property
    def homes(self) -> Homes:
        """Where they put what they include."""
        return self._homes

    def move(self, changed: Iterable[tuple[str, bytes | None]], gone: Iterable[str]) -> None:
        """Take files with their bytes, and forget those that went; others than Kustomizations are passed
        over. One that is none, or cannot be read, says nothing: whoever applies it says so."""
        news = False
        for path in gone:
            news |= self._read.pop(path, None) is not None
        for path, data in changed:
            was, found = self._read.pop(path, None), _parsed(path, data)
            if found is not None:
                self._read[path] = found
            # A new version of an image puts nothing elsewhere.
            news |= _placing(was) != _placing(found)
        if news:
            self._homes = Homes(self._read.values())


def _placing(one: Kustomization | None) -> object:
    """What of a Kustomization decides where things run."""
    if one is None:
        return None
    overrides = [(each.name, each.renamed, each.versioned) for each in one.overrides]
    return replace(one, overrides=(), line=0), overrides


def _parsed(path: str, data: bytes | None) -> Kustomization | None:
    try:
        text = decode(data)
        return kustomization(path, text, parse(text))
    except ManifestError:
        return None
