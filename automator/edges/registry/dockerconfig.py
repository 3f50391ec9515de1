"""Docker's config: the credentials that `docker login`, Podman or Kubernetes left in files.

What belongs here: which file, which entry, which helper counts for an image. Formats: Docker's
config.json (`auths`, `credsStore`, `credHelpers`), the older .dockercfg (no `auths` around the
entries), Kubernetes' secrets of type dockerconfigjson and dockercfg and Podman's auth.json, whose keys
may carry a path, or `*` for a label of the host. The docker package is imported late (it is slow), and
its surprises are taken out one by one: it passes over a missing file, empties the dictionary it is
given, loses a password beside which there is no `auth`, and gives up on all entries where one is broken.
"""

from __future__ import annotations

import binascii
import fnmatch
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from automator.edges.registry import programs
from automator.edges.registry.credentials import (
    TOKEN_USER,
    Credential,
    Secret,
    credential,
    normal_host,
    read_text,
    unusable,
)
from automator.errors import RegistryError
from automator.reasons import Reason, one_line, reason

HELPER_SECONDS = 20.0
KEEP_SECONDS = 300.0
FAILURE_SECONDS = 30.0
FRESH_SECONDS = 10.0
NAMES_IN_A_FOLDER = ("config.json", ".dockerconfigjson", ".dockercfg")
DESCRIBED_LIMIT = 10_000

Json = Mapping[str, Any]
_Version = tuple[int, int, int] | None


class DockerConfig:
    """Docker config files, and the credential helpers that they name.

    `paths` are files, or folders with a `config.json`, `.dockerconfigjson` or `.dockercfg`. Without
    them: what the environment names, `$DOCKER_CONFIG` (a folder) and `$REGISTRY_AUTH_FILE`; else what
    there is of `~/.docker/config.json` or `~/.dockercfg`, `$XDG_RUNTIME_DIR/containers/auth.json` and
    `~/.config/containers/auth.json`. A file that somebody named must exist; a usual one may be absent.

    All files are looked at, and the entry that says most about the image counts: the longest path
    first, an exact host before a wildcard, then the order of the files; within a file the host's own
    helper, the store for all hosts, `auths`. What is broken or missing is passed over where something
    else has the credential, and is the error where nothing has.

    Helpers are found on PATH as `docker-credential-NAME` and have `helper_seconds` to answer. Answers
    are kept for `keep_seconds` or until the registry refuses them; not again within `fresh_seconds`,
    since a registry that refuses what is new refuses the same again. A failure is kept for 30 seconds.
    """

    def __init__(
        self,
        *paths: str,
        helper_seconds: float = HELPER_SECONDS,
        keep_seconds: float = KEEP_SECONDS,
        fresh_seconds: float = FRESH_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._paths = paths
        self._helper_seconds = helper_seconds
        self._keep_seconds = keep_seconds
        self._fresh_seconds = fresh_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._read: dict[str, tuple[_Version, Json]] = {}
        self._helped: dict[tuple[str, str], _Helped] = {}
        self._asking: dict[tuple[str, str], threading.Lock] = {}
        self._described: dict[tuple[str, str], str] = {}
        self._found: dict[tuple[str, str], tuple[tuple[_Seen, ...], Credential | None]] = {}

    def __repr__(self) -> str:
        return f"DockerConfig({', '.join(map(repr, self._paths))})"

    def find(self, host: str, path: str = "") -> Credential | None:
        """What the entry that says most about `host/path` gives; None where no file has one."""
        host = normal_host(host)
        files = tuple(_seen(file, named) for file, named in self._files())
        with self._lock:
            known = self._found.get((host, path))
        if known is not None and known[0] == files:  # the way of nearly every request
            return known[1]
        look = _Look()
        try:
            found = self._look_up(look, files, host, path)
        except RegistryError as e:
            self._describe(host, path, f"none: {e.reason.sentence}")
            raise
        self._describe(host, path, look.told(host))
        if look.is_lasting:
            with self._lock:
                self._found[(host, path)] = (files, found)
        return found

    def forget(self, host: str) -> None:
        """Helpers are asked again for `host`, unless they answered only just now."""
        host = normal_host(host)
        with self._lock:
            now = self._clock()
            for key, helped in list(self._helped.items()):
                if key[1] == host and now - helped.at >= self._fresh_seconds:
                    del self._helped[key]

    def describe(self, host: str, path: str = "") -> str:
        """What `find` took last for the image, in words: the file, its entry or helper."""
        with self._lock:
            told = self._described.get((normal_host(host), path))
        return told or "a Docker config that was not asked yet"

    def _describe(self, host: str, path: str, words: str) -> None:
        with self._lock:
            if len(self._described) >= DESCRIBED_LIMIT:
                self._described.clear()
                self._found.clear()
            self._found.pop((host, path), None)
            self._described[(host, path)] = self._described[(host, "")] = words

    # -- looking --------------------------------------------------------------------------------

    def _look_up(self, look: _Look, files: tuple[_Seen, ...], host: str, path: str) -> Credential | None:
        candidates: list[_Candidate] = []
        for order, file in enumerate(files):
            try:
                config = self._load(file)
            except RegistryError as e:
                if file.named or os.path.lexists(file.path):
                    look.errors.append(e)
                    look.is_lasting = False
                continue
            look.files.append(file.path)
            candidates += _candidates(order, file.path, config, host, path)
        for candidate in sorted(candidates, key=lambda c: c.rank):
            try:
                found = self._take(look, candidate, host)
            except RegistryError as e:
                look.errors.append(e)
                look.is_lasting = False
                continue
            if found is not None:
                look.found = _words(candidate, found)
                return found
        if look.errors:
            raise look.errors[0]
        return None

    def _take(self, look: _Look, candidate: _Candidate, host: str) -> Credential | None:
        helper = candidate.helper
        if helper is None:
            return _decode(candidate.file, candidate.key, candidate.entry)
        if not programs.is_installed(helper):
            look.is_lasting = False  # it may be tomorrow
            # A laptop's config names a store that a container lacks: that is no error of this host's.
            if candidate.kind is not _Kind.STORE:
                raise programs.failed(helper, host, "it is not installed", retry=False)
            look.notes.append(f"helper {helper} is not installed")
            return None
        look.is_lasting = False
        found = self._ask(helper, host)
        if found is None:
            look.notes.append(f"helper {helper} has none")
        return found

    # -- files ----------------------------------------------------------------------------------

    def _files(self) -> Iterator[tuple[str, bool]]:
        """The files to look at, and for each whether somebody named it."""
        if self._paths:
            for path in self._paths:
                yield _in_folder(path), True
            return
        from docker.utils import config as docker_config

        folder = docker_config.config_path_from_environment()  # of DOCKER_CONFIG, or None
        file = os.environ.get("REGISTRY_AUTH_FILE")
        if folder or file:
            for path in filter(None, (folder, file)):
                yield _in_folder(path), True
            return
        home = docker_config.home_dir()
        usual = os.path.join(home, docker_config.DOCKER_CONFIG_FILENAME)
        old = os.path.join(home, docker_config.LEGACY_DOCKER_CONFIG_FILENAME)
        yield (usual if os.path.lexists(usual) or not os.path.lexists(old) else old), False
        if runtime := os.environ.get("XDG_RUNTIME_DIR"):
            yield os.path.join(runtime, "containers", "auth.json"), False
        yield os.path.join(home, ".config", "containers", "auth.json"), False

    def _load(self, file: _Seen) -> Json:
        """The file as JSON, read again only when it changed (Kubernetes swaps a symbolic link)."""
        with self._lock:
            known = self._read.get(file.path)
        if known is not None and known[0] == file.version is not None:
            return known[1]
        config = _parse(file.path, read_text(file.path))
        with self._lock:
            self._read[file.path] = (file.version, config)
            if known is not None:
                self._helped.clear()
        return config

    # -- helpers --------------------------------------------------------------------------------

    def _ask(self, helper: str, host: str) -> Credential | None:
        """The helper's answer, kept or new; one question at a time, and no other host waits for it."""
        key = (helper, host)
        with self._lock:
            asking = self._asking.setdefault(key, threading.Lock())
        with asking:
            with self._lock:
                helped = self._helped.get(key)
            if helped is None or self._clock() - helped.at >= helped.kept_for(self._keep_seconds):
                helped = self._run(helper, host)
                with self._lock:
                    self._helped[key] = helped
        if helped.failure is not None:
            raise RegistryError(helped.failure)
        return helped.found

    def _run(self, helper: str, host: str) -> _Helped:
        try:
            found = programs.ask_helper(helper, host, self._helper_seconds)
        except RegistryError as e:
            return _Helped(self._clock(), None, e.reason)
        return _Helped(self._clock(), found)


class _Seen(NamedTuple):
    """A file as it was found; another version once it was replaced or written to."""

    path: str
    named: bool
    """Somebody named it, so it must be there."""
    version: _Version


def _seen(path: str, named: bool) -> _Seen:
    try:
        status = os.stat(path)
    except OSError:
        return _Seen(path, named, None)
    return _Seen(path, named, (status.st_ino, status.st_mtime_ns, status.st_size))


class _Helped(NamedTuple):
    """What a helper said, and when."""

    at: float
    found: Credential | None
    failure: Reason | None = None

    def kept_for(self, keep_seconds: float) -> float:
        return keep_seconds if self.failure is None else min(FAILURE_SECONDS, keep_seconds)


class _Look:
    """One search: what was looked at, what came of it."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self.notes: list[str] = []
        self.errors: list[RegistryError] = []
        self.found = ""
        self.is_lasting = True
        """The same would come out again while the files stay the same."""

    def told(self, host: str) -> str:
        if self.found:
            # What was passed over on the way is worth a word; most have nothing.
            return ", ".join([self.found, *self.notes, *(e.reason.sentence for e in self.errors)])
        if not self.files:
            return "none, since there is no Docker config"
        return ", ".join([f"none, since nothing for {host} is in {' or '.join(self.files)}", *self.notes])


def _in_folder(path: str) -> str:
    """The file that `path` means: itself, or the one of the known names in it."""
    if not os.path.isdir(path):
        return path
    files = [os.path.join(path, name) for name in NAMES_IN_A_FOLDER]
    return next((file for file in files if os.path.lexists(file)), files[0])


# -- what a file says -----------------------------------------------------------------------------


class _Kind:
    """What a candidate is, in the order in which those of one file count."""

    OWN_HELPER, STORE, ENTRY = range(3)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One place of a file that may have the credential."""

    rank: tuple[int, bool, int, int]
    kind: int
    file: str
    key: str
    helper: str | None = None
    entry: Json | None = None


def _parse(file: str, text: str) -> Json:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        # Not chained: the parser's error carries the whole text.
        raise _no_docker_config(file, "it is not JSON") from None
    if not isinstance(config, dict):
        raise _no_docker_config(file, "it is not a JSON object")
    return config


def _candidates(order: int, file: str, config: Json, host: str, path: str) -> Iterator[_Candidate]:
    for key, name in _table(config, "credHelpers").items():
        rank = _rank(key, host, path)
        if rank is not None and (helper := _program(name)) is not None:
            yield _Candidate((*rank, order, _Kind.OWN_HELPER), _Kind.OWN_HELPER, file, key, helper=helper)
    if (store := _program(config.get("credsStore"))) is not None:
        yield _Candidate((0, False, order, _Kind.STORE), _Kind.STORE, file, host, helper=store)
    for key, entry in _auths(config).items():
        rank = _rank(key, host, path)
        if rank is not None and isinstance(entry, dict) and entry:  # `{}`: it is in the store
            yield _Candidate((*rank, order, _Kind.ENTRY), _Kind.ENTRY, file, key, entry=entry)


def _auths(config: Json) -> Json:
    if "auths" in config or {"credsStore", "credHelpers"} & config.keys():
        return _table(config, "auths")
    return config  # a .dockercfg has no such level


def _table(config: Json, key: str) -> Json:
    value = config.get(key)
    return value if isinstance(value, dict) else {}


def _program(name: object) -> str | None:
    # The name becomes part of a program's name, so it must not lead out of PATH.
    return name if isinstance(name, str) and name and os.sep not in name and "\0" not in name else None


def _rank(key: str, host: str, path: str) -> tuple[int, bool] | None:
    """How little a key says of an image: the less, the better it fits; None where it is another's."""
    if not _host_matches(normal_host(key), host):
        return None
    prefix = key.split("://", 1)[-1].partition("/")[2].strip("/")
    version, _, rest = prefix.partition("/")
    prefix = rest if version in ("v1", "v2") else prefix  # the API's path, not a repository's
    if prefix and not f"{path}/".startswith(f"{prefix}/"):
        return None
    return -len(prefix), normal_host(key) != host


def _host_matches(pattern: str, host: str) -> bool:
    """Whether a host with globs in its labels is `host`; a port must be the same, as kubelet has it."""
    if pattern == host:
        return True
    (wanted, port), (named, other) = _port_apart(pattern), _port_apart(host)
    wanted_labels, labels = wanted.split("."), named.split(".")
    return (
        port == other
        and "[" not in host  # an IPv6 address has no labels
        and len(wanted_labels) == len(labels)
        and all(fnmatch.fnmatchcase(label, want) for label, want in zip(labels, wanted_labels, strict=True))
    )


def _port_apart(host: str) -> tuple[str, str]:
    name, _, port = host.rpartition(":")
    return (name, port) if name and port.isdigit() else (host, "")


def _decode(file: str, key: str, entry: Json | None) -> Credential | None:
    """The credential of one entry of `auths`, if there is one in it that can be sent."""
    texts = {k: v for k, v in (entry or {}).items() if isinstance(v, str)}
    texts.update({k: texts[k].strip() for k in ("registrytoken", "identitytoken") if k in texts})
    told = {k: v for k, v in texts.items() if v}
    problem = unusable(Credential(told.get("username", ""), told.get("password", "")))
    if problem is None:
        found = _decoded(file, key, told)
        problem = None if found is None else unusable(found)
        if problem is None:
            return found
    raise _no_docker_config(file, f"of the entry {one_line(key, 80)} {problem}")


def _decoded(file: str, key: str, told: dict[str, str]) -> Credential | None:
    """What the docker package makes of one entry, one at a time."""
    from docker import auth

    name, password = told.get("username", ""), told.get("password", "")
    if "registrytoken" in told:
        return Credential(name, told["registrytoken"], Secret.BEARER)
    if "auth" not in told and (name or password):
        told["auth"] = _encoded(name, password)
    try:
        # A copy of our own: the package takes apart what it is given.
        read: Json = auth.parse_auth({key: dict(told)}, raise_on_error=True)[key]
        if "IdentityToken" in read:  # it drops the name, which a login by password would need
            name = auth.decode_auth(told["auth"])[0] if "auth" in told else name
            return Credential(name or TOKEN_USER, str(read["IdentityToken"]), Secret.IDENTITY)
    except (ValueError, binascii.Error, UnicodeError):
        # Not chained: the errors carry what was decoded.
        problem = f"`auth` of {one_line(key, 80)} is not base64 of user:password"
        raise _no_docker_config(file, problem) from None
    secret = str(read.get("password") or "").strip("\x00")  # old Docker for Windows padded with NUL
    return credential(str(read.get("username") or ""), secret) if secret else None


def _encoded(name: str, password: str) -> str:
    return binascii.b2a_base64(f"{name}:{password}".encode(), newline=False).decode("ascii")


def _words(candidate: _Candidate, found: Credential) -> str:
    if candidate.helper is not None:
        return f"credential helper {candidate.helper} of {candidate.file}"
    user = "a registry token" if found.kind is Secret.BEARER else f"user {one_line(found.username, 80)}"
    return f"{user} of {candidate.file}, entry {one_line(candidate.key, 80)}"


def _no_docker_config(path: str, problem: str) -> RegistryError:
    return RegistryError(reason("credentials/docker-config", path=path, problem=problem), retry=False)
