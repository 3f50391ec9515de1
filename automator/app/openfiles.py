"""Secrets in files that everybody on this machine can read or write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from automator.config import Config
from automator.config.files import is_secret, logins, named_files
from automator.edges.registry.dockerconfig import NAMES_IN_A_FOLDER
from automator.edges.secretfile import access_of_others
from automator.reasons import Reason, reason


def open_files(config: Config) -> Iterator[Reason]:
    """`config/open-file` for each file of the config that others may read, or write where it is no secret.

    Of a group's rights nothing is said: in Kubernetes, a secret is its group's.
    """
    told: set[Path] = set()
    for key, file, hides in _files(config):
        access = access_of_others(file)
        if access and (hides or access != "read") and file not in told:
            told.add(file)
            yield reason("config/open-file", key=key, file=file, access=access)


def _files(config: Config) -> Iterator[tuple[str, Path, bool]]:
    """Key and path of each file, and whether nobody else may read it."""
    for key, file in named_files(config):
        yield key, file, is_secret(key)
    for key, place in logins(config):
        for file in (place, *(place / name for name in NAMES_IN_A_FOLDER)):
            yield key, file, True
