"""The files that a config names, with the keys that name them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel

_OTHERS = frozenset({"kubeconfig"})
"""Keys of files that are not called `…_file`."""


def named_files(section: BaseModel, place: str = "") -> Iterator[tuple[str, Path]]:
    """Each file that must be there once it is used: its key, as people write it, and its path.

    `docker_config` is none of them: where there is no such file, nobody has logged in.
    """
    for name in type(section).model_fields:
        value, key = getattr(section, name), f"{place}{name}"
        if isinstance(value, Path) and (name.endswith("_file") or name in _OTHERS):
            yield key, value
        elif isinstance(value, BaseModel):
            yield from named_files(value, f"{key}.")
        elif isinstance(value, Mapping):
            for of, one in value.items():
                if isinstance(one, BaseModel):
                    yield from named_files(one, f"{key}.{of}.")
