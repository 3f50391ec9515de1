"""The files that a config names, with the keys that name them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel

from automator.config.sections import Config

_OTHERS = frozenset({"kubeconfig"})
"""Keys of files that are not called `…_file`."""
_PUBLIC = frozenset(
    {
        "allowed_signers_file",
        "ca_file",
        "client_cert_file",
        "gpg_keys_file",
        "known_hosts_file",
        "public_key_file",
    }
)
"""Keys of files that anybody may read, and few may write."""


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


def is_secret(key: str) -> bool:
    """Whether the file that a key of `named_files` names is one that nobody else may read."""
    return key.rpartition(".")[2] not in _PUBLIC


def logins(config: Config) -> Iterator[tuple[str, Path]]:
    """Each docker config that is named, with its key; it need not be there."""
    for path in config.docker_config:
        yield "docker_config", path
    for host, registry in config.registries.items():
        for path in registry.docker_config:
            yield f'registries."{host}".docker_config', path
