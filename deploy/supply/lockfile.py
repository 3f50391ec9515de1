"""Reads a lock as `make lock` writes it: which version of each package, with which hashes, wanted by whom."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).parents[2]
ITSELF = "automator"

_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;\\]+)(?: ; (?P<marker>[^\\]+))? \\?"
)
_HASH = re.compile(r"    --hash=sha256:(?P<hash>[0-9a-f]{64})(?: \\)?")
_VIA = re.compile(r"    # via (?P<name>\S.*)|    #   (?P<more>\S.*)|    # via")


class Pin(NamedTuple):
    """One package of a lock."""

    name: str
    """Canonical: `ruamel-yaml`."""
    version: str
    hashes: tuple[str, ...]
    """SHA-256 of each of its files, in hexadecimal digits."""
    marker: str | None
    """Where it is installed at all, as PEP 508 says it; None is everywhere."""
    wanted_by: tuple[str, ...]
    """Canonical names; `automator` itself among them."""


class BadLock(ValueError):
    """A line of a lock that is not understood: better none than half a list."""


def read_lock(file: Path) -> tuple[Pin, ...]:
    """Every package of the lock, in its order. Raises BadLock, also where one has no hash or comes twice."""
    pins: list[Pin] = []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        if (pin := _PIN.fullmatch(line)) is not None:
            pins.append(_begun(pin, f"{file.name}:{number}"))
        elif pins and (found := _HASH.fullmatch(line)) is not None:
            pins[-1] = pins[-1]._replace(hashes=(*pins[-1].hashes, found["hash"]))
        elif pins and (via := _VIA.fullmatch(line)) is not None:
            if name := via["name"] or via["more"]:
                pins[-1] = pins[-1]._replace(wanted_by=(*pins[-1].wanted_by, _plain(name)))
        else:
            raise BadLock(f"{file.name}:{number} is not understood: {line.strip()[:80]}")
    bare = [pin.name for pin in pins if not pin.hashes]
    twice = {pin.name for pin in pins if [p.name for p in pins].count(pin.name) > 1}
    if not pins or bare or twice:
        raise BadLock(
            f"{file.name}: without hashes {bare}, more than once {sorted(twice)}, {len(pins)} packages"
        )
    return tuple(pins)


def _begun(pin: re.Match[str], place: str) -> Pin:
    try:
        Version(pin["version"])
    except InvalidVersion as error:
        raise BadLock(f"{place}: {error}") from None
    marker = pin["marker"]
    return Pin(canonicalize_name(pin["name"]), pin["version"], (), marker and marker.strip(), ())


def _plain(name: str) -> str:
    """`pydantic[email]` and `automator (pyproject.toml)` by their names alone."""
    return canonicalize_name(re.split(r"[\[( ]", name, maxsplit=1)[0])
