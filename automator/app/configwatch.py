"""The config while automator runs: when it is read again, what a new one changes, whether it works, and how
that is told."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from automator import __version__
from automator.app.build import App
from automator.config import Config
from automator.core.view import DaemonView
from automator.errors import ConfigError
from automator.reasons import Reason, reason

_Mark = tuple[int, int, int, int]

AGAIN = 30.0
"""Seconds after which a config that is right in itself is tried again, where something around it is not: a
full disk, an address that is taken."""
REHEARSAL = "rehearsal"
"""Folder in the state folder where a new config is tried: no other place need be writable."""


@dataclass
class ConfigSource:
    """Where a config comes from, and how it is read again."""

    read: Callable[[], Config]
    """Raises ConfigError."""
    file: Path | None = None
    """Looked at for changes; None where there is none, and only SIGHUP has it read."""
    log_level: str | None = None
    """What the command line says, whatever the config does."""


class ConfigWatch:
    """Tells that a file changed: cheap enough to be asked every few seconds."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._known = self._seen = self._mark()

    def has_changed(self) -> bool:
        """Whether the file is another one than when this was last said, and has been so for two calls: who
        writes it may not be done."""
        mark = self._mark()
        is_still, self._seen = mark == self._seen, mark
        if mark == self._known or not is_still:
            return False
        self._known = mark
        return True

    def take(self) -> None:
        """The file is read now, as it is."""
        self._known = self._seen = self._mark()

    def _mark(self) -> _Mark | None:
        """What changes with the file's content, also where it is a link to another one now, as in a volume
        that Kubernetes keeps up to date; None where there is none."""
        if self._file is None:
            return None
        try:
            found = os.stat(self._file)
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


class Standing:
    """How the process stands with its config. Written by one thread, for any thread to read."""

    def __init__(self, now: datetime) -> None:
        self.view = DaemonView(__version__, now, now)

    def taken(self, now: datetime) -> None:
        """The config that was read last is used."""
        self.view = replace(self.view, config_taken_at=now, config_refused=None, config_refused_at=None)

    def kept(self) -> None:
        """The config is what it was before it was refused."""
        self.view = replace(self.view, config_refused=None, config_refused_at=None)

    def refused(self, why: Reason, now: datetime) -> None:
        """It is not, and why."""
        since = self.view.config_refused_at or now
        self.view = replace(self.view, config_refused=why, config_refused_at=since)

    def fallen(self, why: Reason | None) -> None:
        """No cycle runs, and why; None where they do again."""
        self.view = replace(self.view, no_cycles=why)


def may_mend_itself(why: Reason) -> bool:
    """Whether a config that could be read, and not used for this, is worth trying again as it is."""
    return why.code != "reload/fixed"


def changed_tables(old: Config, new: Config) -> tuple[str, ...]:
    """The tables of the config that differ, each config repo for itself; empty where nothing does."""
    names: list[str] = []
    for table in type(old).model_fields:
        before, after = getattr(old, table), getattr(new, table)
        if before == after:
            continue
        if table == "repos":
            every = sorted(before.keys() | after.keys())
            names += [f"repos.{name}" for name in every if before.get(name) != after.get(name)]
        else:
            names.append(table)
    return tuple(names)


def has_other_cycles(old: Config, new: Config) -> bool:
    """Whether what cycles work with has to be built anew; else only what is around them changed."""
    return _of_cycles(old) != _of_cycles(new)


def _of_cycles(config: Config) -> dict[str, Any]:
    """What the config says that cycles were built from."""
    around = {"daemon", "log", "hooks", "notify", "repos"}
    told = {table: getattr(config, table) for table in type(config).model_fields if table not in around}
    repos = {name: repo.model_copy(update={"interval": None}) for name, repo in config.repos.items()}
    return {**told, "repos": repos, "observe_timeout": config.daemon.observe_timeout}


def try_out(config: Config) -> None:
    """Open everything that a config names, aside, and close it again: for whoever has no daemon at hand.

    Raises the AutomatorError that a start or a reload would meet, but for those of its state folder.
    """
    _try_receivers(config)
    with tempfile.TemporaryDirectory(prefix="automator-") as folder:
        App.open(config.model_copy(update={"state": Path(folder)}), exclusive=True).close()


def _try_receivers(config: Config) -> None:
    if config.notify:
        from automator.app.notices import subscriptions_of  # loaded only where somebody is told

        subscriptions_of(config)


def rehearse(old: Config, new: Config) -> None:
    """Open everything that a new config names, beside what runs, and close it again: nobody outside is asked,
    and nothing is kept.

    Raises the AutomatorError that opening it for good would meet, and `reload/fixed`.
    """
    if old.state != new.state:
        raise ConfigError(reason("reload/fixed", key="state"))
    _try_receivers(new)
    folder = old.state / REHEARSAL
    try:
        shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
        folder.mkdir(mode=0o700)
        App.open(new.model_copy(update={"state": folder}), exclusive=True).close()
    except OSError as error:
        raise ConfigError(reason("state/unusable", folder=folder, problem=error.strerror or error)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
