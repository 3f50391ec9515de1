"""Credentials: where the user name and secret for a registry come from, read when they are used.

What belongs here: a password file, and Docker's own config with its credential helpers. The docker
package is fenced here and imported late (it is slow); its surprises are taken out one by one: a
missing file, one broken entry, a helper that hangs or is not installed.
Format: Docker's config.json (`auths`, `credsStore`, `credHelpers`), and Kubernetes' dockerconfigjson,
whose keys may carry a path or `*` for a label.
"""

from __future__ import annotations

import binascii
import fnmatch
import json
import os
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from automator.errors import RegistryError
from automator.reasons import one_line, reason

HUB = "docker.io"
HUB_ALIASES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})
HUB_KEY = "https://index.docker.io/v1/"  # the name that Docker's own tools give to the Hub
HELPER_SECONDS = 20.0
HELPER_CACHE_SECONDS = 300.0
CONFIG_LIMIT = 4 * 1024 * 1024


class Secret(StrEnum):
    """What a secret is good for."""

    PASSWORD = "password"  # noqa: S105
    IDENTITY = "identity token"
    BEARER = "bearer token"


@dataclass(frozen=True, slots=True)
class Credential:
    """A user name with its secret; the secret never shows in a repr."""

    username: str
    secret: str = field(repr=False)
    kind: Secret = Secret.PASSWORD


class CredentialSource(Protocol):
    """Something that knows credentials. Thread-safe. Raises RegistryError (`credentials/…`)."""

    def find(self, host: str, path: str = "") -> Credential | None:
        """The credential for image repository `path` on `host`; None where the source has none."""

    def forget(self, host: str) -> None:
        """Drop what is remembered for `host`: the registry has just refused it."""

    def describe(self, host: str) -> str:
        """Which source was used for `host`, in words without the secret."""


@dataclass(frozen=True, slots=True)
class PasswordFile:
    """A user name, and a file that holds the password and nothing else but white space around it."""

    username: str
    path: str

    def find(self, host: str, path: str = "") -> Credential | None:
        """The same for every host: a source belongs to one host's settings."""
        try:
            with open(self.path, encoding="utf-8") as file:
                secret = file.read(CONFIG_LIMIT).strip()
        except (OSError, UnicodeError) as e:
            raise _unreadable(self.path, e) from e
        if not secret:
            raise RegistryError(
                reason("credentials/unreadable", path=self.path, problem="it is empty"), retry=False
            )
        return Credential(self.username, secret)

    def forget(self, host: str) -> None:
        """Nothing to do: the file is read each time."""

    def describe(self, host: str) -> str:
        return f"user {self.username} with the password in {self.path}"


class DockerConfig:
    """Docker's config file and the credential helpers that it names.

    `path` is the file or its folder. Without it: `$DOCKER_CONFIG`, else `~/.docker/config.json`.
    A file that somebody named must exist; the default one may be absent. Helpers are found on PATH
    as `docker-credential-NAME` and must answer within `helper_seconds`; answers are kept for five
    minutes. The host's own helper counts first, then the store for all hosts, then `auths`.
    """

    def __init__(self, path: str | None = None, *, helper_seconds: float = HELPER_SECONDS) -> None:
        self._path = path
        self._helper_seconds = helper_seconds
        self._lock = threading.RLock()
        self._config: tuple[tuple[str, int, int, int], Mapping[str, Any]] | None = None
        self._helped: dict[tuple[str, str], tuple[float, Credential | None]] = {}
        self._running: dict[str, threading.Thread] = {}
        self._used: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"DockerConfig({self._path!r})"

    def find(self, host: str, path: str = "") -> Credential | None:
        """The host's own helper, the store, then the entry whose key says most about `host/path`."""
        host = normal_host(host)
        with self._lock:
            file = self._file()
            if file is None:
                self._used[host] = "no Docker config"
                return None
            config = self._load(file)
            found, used = self._look_up(file, config, host, path)
            self._used[host] = used
            return found

    def forget(self, host: str) -> None:
        host = normal_host(host)
        with self._lock:
            for key in [k for k in self._helped if k[1] == host]:
                del self._helped[key]

    def describe(self, host: str) -> str:
        with self._lock:
            return self._used.get(normal_host(host), f"Docker config {self._path or '(default)'}")

    def _look_up(
        self, file: str, config: Mapping[str, Any], host: str, path: str
    ) -> tuple[Credential | None, str]:
        own, shared = _helpers(config, host)
        notes = []
        for helper, needed in ((own, True), (shared, False)):
            if helper is None:
                continue
            if shutil.which(f"docker-credential-{helper}") is None:
                notes.append(f"helper {helper} is not installed")
                # A laptop's config names a store that a container lacks; `auths` may still know.
                if needed and not _auths_entry(config, host, path):
                    raise _helper_failed(helper, host, "it is not installed", retry=False)
                continue
            found = self._ask(helper, host)
            if found is not None:
                return found, f"credential helper {helper} of {file}"
            notes.append(f"helper {helper} has none")
        entry = _auths_entry(config, host, path)
        found = None if entry is None else _decode(file, *entry)
        told = f"user {found.username} of {file}" if found is not None else f"none for {host} in {file}"
        return found, ", ".join([told, *notes])

    def _file(self) -> str | None:
        from docker.utils import config as docker_config

        named = self._path or docker_config.config_path_from_environment()
        file = named or os.path.join(docker_config.home_dir(), docker_config.DOCKER_CONFIG_FILENAME)
        if os.path.isdir(file):
            file = os.path.join(file, "config.json")
        if not named and not os.path.exists(file):
            return None
        return file

    def _load(self, file: str) -> Mapping[str, Any]:
        """The file as JSON, read again only when it changed (Kubernetes swaps a symbolic link)."""
        try:
            status = os.stat(file)
            version = (file, status.st_ino, status.st_mtime_ns, status.st_size)
            if self._config is not None and self._config[0] == version:
                return self._config[1]
            with open(file, encoding="utf-8") as opened:
                config = json.loads(opened.read(CONFIG_LIMIT))
        except (OSError, UnicodeError) as e:
            raise _unreadable(file, e) from e
        except (ValueError, RecursionError) as e:
            raise _no_docker_config(file, "it is not JSON") from e
        if not isinstance(config, dict):
            raise _no_docker_config(file, "it is not a JSON object")
        self._config = (version, config)
        self._helped.clear()
        return config

    def _ask(self, helper: str, host: str) -> Credential | None:
        now = time.monotonic()
        kept = self._helped.get((helper, host))
        if kept is not None and now - kept[0] < HELPER_CACHE_SECONDS:
            return kept[1]
        found = self._run(helper, host)
        self._helped[(helper, host)] = (now, found)
        return found

    def _run(self, helper: str, host: str) -> Credential | None:
        """Ask a helper through the docker package, which has no time limit of its own.

        A helper that hangs keeps one thread and one process; it is not asked again until it ended.
        """
        stuck = self._running.get(helper)
        if stuck is not None and stuck.is_alive():
            raise _helper_failed(helper, host, "an earlier call has not ended", retry=True)
        answers: list[Mapping[str, Any] | Exception] = []
        thread = threading.Thread(
            target=_get_from_helper, args=(helper, host, answers), name=f"helper-{helper}", daemon=True
        )
        thread.start()
        thread.join(self._helper_seconds)
        if not answers:
            self._running[helper] = thread
            raise _helper_failed(helper, host, f"no answer in {self._helper_seconds:g} seconds", retry=True)
        return _helper_answer(helper, host, answers[0])


def normal_host(text: str) -> str:
    """`https://Index.docker.io/v1/` and its like as the host that image references carry."""
    host = text.split("://", 1)[-1].split("/", 1)[0].lower()
    return HUB if host in HUB_ALIASES else host


# -- Docker's config ----------------------------------------------------------------------------


def _helpers(config: Mapping[str, Any], host: str) -> tuple[str | None, str | None]:
    """The helper for this very host, and the store for all of them."""
    named = config.get("credHelpers")
    own = None
    if isinstance(named, dict):
        own = next((v for k, v in named.items() if normal_host(str(k)) == host), None)
    store = config.get("credsStore")
    return _program(own), _program(store)


def _program(name: object) -> str | None:
    # The name becomes part of a program's name, so it must not lead out of PATH.
    return name if isinstance(name, str) and name and os.sep not in name else None


def _auths_entry(config: Mapping[str, Any], host: str, path: str) -> tuple[str, Mapping[str, Any]] | None:
    """The entry of `auths` whose key says most about `host/path`: longest path, no wildcard first."""
    auths = config.get("auths")
    if not isinstance(auths, dict):  # a .dockercfg has no such level; other configs have other keys
        auths = {} if {"credsStore", "credHelpers"} & config.keys() else config
    ranked = []
    for key, entry in auths.items():
        bare = key.split("://", 1)[-1]
        prefix = bare.partition("/")[2].strip("/")
        prefix = "" if prefix in ("v1", "v2") else prefix
        if not isinstance(entry, dict) or not entry or not _host_matches(normal_host(key), host):
            continue
        if prefix and not f"{path}/".startswith(f"{prefix}/"):
            continue
        ranked.append((len(prefix), "*" not in key, key, entry))
    if not ranked:
        return None
    best = max(ranked, key=lambda r: r[:3])
    return best[2], best[3]


def _host_matches(pattern: str, host: str) -> bool:
    if pattern == host:
        return True
    wanted, labels = pattern.split("."), host.split(".")
    return len(wanted) == len(labels) and all(
        fnmatch.fnmatchcase(label, want) for label, want in zip(labels, wanted, strict=True)
    )


def _decode(file: str, key: str, entry: Mapping[str, Any]) -> Credential | None:
    from docker import auth

    username = str(entry.get("username") or "")
    if entry.get("identitytoken"):
        return Credential(username or "<token>", str(entry["identitytoken"]), Secret.IDENTITY)
    if entry.get("registrytoken"):
        return Credential(username, str(entry["registrytoken"]), Secret.BEARER)
    if username and entry.get("password"):
        return Credential(username, str(entry["password"]))
    if not entry.get("auth"):
        return None
    try:
        username, secret = auth.decode_auth(str(entry["auth"]))
    except (ValueError, binascii.Error, UnicodeError) as e:
        raise _no_docker_config(file, f"`auth` of {one_line(key, 80)} is not base64 of user:password") from e
    return Credential(username, secret.strip("\x00"))


# -- helpers ------------------------------------------------------------------------------------


def _get_from_helper(helper: str, host: str, answers: list[Mapping[str, Any] | Exception]) -> None:
    from docker import credentials

    try:
        store = credentials.Store(helper)
        answers.append(store.get(HUB_KEY if host == HUB else host))
    except Exception as e:  # noqa: BLE001 - handed to the thread that waits
        answers.append(e)


def _helper_answer(helper: str, host: str, answer: Mapping[str, Any] | Exception) -> Credential | None:
    from docker.credentials.errors import CredentialsNotFound, StoreError

    if isinstance(answer, CredentialsNotFound):
        return None
    if isinstance(answer, StoreError):
        raise _helper_failed(helper, host, one_line(answer, 120), retry=True) from answer
    if isinstance(answer, Exception) or not isinstance(answer, dict):
        # Its text may quote the answer, and the answer holds the secret.
        raise _helper_failed(helper, host, "its answer is not Docker's JSON", retry=True)
    username, secret = answer.get("Username"), answer.get("Secret")
    if not isinstance(username, str) or not isinstance(secret, str):
        raise _helper_failed(helper, host, "its answer lacks Username or Secret", retry=True)
    kind = Secret.IDENTITY if username == "<token>" else Secret.PASSWORD
    return Credential(username, secret, kind) if secret else None


def _helper_failed(helper: str, host: str, problem: str, *, retry: bool) -> RegistryError:
    return RegistryError(reason("credentials/helper", helper=helper, host=host, problem=problem), retry=retry)


def _unreadable(path: str, error: OSError | UnicodeError) -> RegistryError:
    problem = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
    return RegistryError(reason("credentials/unreadable", path=path, problem=problem), retry=False)


def _no_docker_config(path: str, problem: str) -> RegistryError:
    return RegistryError(reason("credentials/docker-config", path=path, problem=problem), retry=False)
