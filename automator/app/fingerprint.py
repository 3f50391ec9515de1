"""The version of the code that locates sites: what an older one found must not be used by a newer one."""

from __future__ import annotations

import hashlib
import pkgutil
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from itertools import chain

_PACKAGES = ("automator.core", "automator.cycle")
"""What finds sites, and what screens files before. That is more than they need: better once too often."""
_BESIDE = ("automator.errors", "automator.reasons")
"""What words their troubles."""
_LIBRARIES = ("ruamel.yaml", "ruamel.yaml.clib")


@cache
def locator_version() -> str:
    """A hash of the code that decides which sites a text holds, so that nobody has to remember to raise a
    number; empty where the code cannot be read, and then nothing is kept."""
    told = hashlib.sha256()
    try:
        names = sorted(chain.from_iterable(map(_modules, _PACKAGES)))
        for library in _LIBRARIES:
            told.update(f"{library} {version(library)}\n".encode())
        for name in (*names, *_BESIDE):
            told.update(f"{name}\n".encode() + _code(name))
    except (ImportError, OSError):
        return ""
    return told.hexdigest()


def _modules(package: str) -> list[str]:
    spec = find_spec(package)
    folders = None if spec is None else spec.submodule_search_locations
    return [f"{package}.{module.name}" for module in pkgutil.iter_modules(folders or ())]


def _code(name: str) -> bytes:
    spec = find_spec(name)
    loader = None if spec is None else spec.loader
    read = getattr(loader, "get_data", None)
    if spec is None or spec.origin is None or read is None:
        raise ImportError(name)
    data: bytes = read(spec.origin)
    return data
