"""The kinds of values that keys of the config have: durations, paths, globs, addresses, URLs."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from automator.core.duration import parse_duration
from automator.core.reference import DEFAULT_REGISTRY, DOCKER_HUB_HOSTS
from automator.reasons import one_line

_ADDRESS = re.compile(r"(?P<host>[A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})", re.ASCII)
_HOST = re.compile(r"(?:[a-z0-9]+(?:[.-]+[a-z0-9]+)*|\[[0-9a-f:]+\])(?::[0-9]{1,5})?", re.ASCII)
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)  # RFC 9110, section 5.1


class Misspelt(ValueError):
    """What is expected, of a kind of value that no secret is near, so that what was found may be told."""


class Address(NamedTuple):
    """Where a server listens; an empty host is every interface, port 0 any free one."""

    host: str
    port: int


def parse_address(text: str) -> Address | None:
    """Read `host:port`; None for the empty text, which switches a listener off.

    Raises ValueError, with a sentence for people.
    """
    match = _ADDRESS.fullmatch(text)
    if text and (match is None or int(match["port"]) > 65_535):
        raise Misspelt('an address such as "127.0.0.1:8080", or "" for off')
    return None if match is None else Address(match["host"].strip("[]"), int(match["port"]))


def _duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    try:
        return parse_duration(value if isinstance(value, str) else "")
    except ValueError as error:
        raise Misspelt(str(error)) from None


def _positive(value: object) -> object:
    duration = _duration(value)
    if duration == timedelta(0):
        raise Misspelt("a duration longer than zero")
    return duration


def _globs(value: object) -> object:
    # An environment variable is one text: JSON, or globs between commas.
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return tuple(json.loads(value))
        except ValueError:
            raise ValueError('a list of texts such as ["apps/**"]') from None
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _some(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("at least one entry")
    return value


def tables(value: object) -> object:
    """Tables as TOML or JSON has them. Raises ValueError, with a sentence for people."""
    # An environment variable is one text: JSON.
    expected = 'tables that each begin with [[rules]], or JSON such as [{"forbid": ["urgent"]}]'
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError(expected) from None
    if not isinstance(value, list | tuple):
        raise ValueError(expected)
    return value


def _address(value: object) -> object:
    if isinstance(value, str):
        parse_address(value)
    return value


_SECRET_ITSELF = re.compile(
    r"(?:gh[pousr]_|github_pat_|gl(?:pat|dt|rt|ft)-|xox[a-z]-|whsec_|eyJ)[\w.+=-]{16}|-----BEGIN ", re.ASCII
)
"""How tokens and keys of common services begin."""


def _path(value: object) -> object:
    if value == "":
        raise ValueError("a path")
    if isinstance(value, str) and (
        _SECRET_ITSELF.match(value) or "://" in value or not value.isprintable() or re.search(r":.*@", value)
    ):
        raise ValueError("the path of a file, not what is to be in it")
    return value


def shown_name(name: str) -> str:
    """A name of the config as it may be told: of one with a login in it, only what follows that."""
    tail = name.rpartition("@")[2]
    return one_line(re.sub(r":(?!//|[0-9]{1,5}(?:/|$)).*", ":…", tail, flags=re.DOTALL), 80)


def require_host(host: str, key: str) -> None:
    """Raises ValueError for what is no host of images, or none that images are called by."""
    if not _HOST.fullmatch(host) or host in DOCKER_HUB_HOSTS - {DEFAULT_REGISTRY}:
        raise ValueError(f'a lower-case host such as "docker.io" for {key}')


def require_forge_host(host: str) -> None:
    """Raises ValueError for what is no host of a forge."""
    if not _HOST.fullmatch(host):
        raise ValueError(f'a lower-case host such as "github.com" for forges."{shown_name(host)}"')


def url_place(url: str) -> tuple[str, str]:
    """Host and path of a Git URL as forges call them: `github.com`, `acme/shop`; empty for others."""
    scp = re.fullmatch(r"(?:[^@/]+@)?(?P<host>[^:/@]+):(?!//)(?P<path>.+)", url)
    if scp is not None:
        host, path = scp["host"], scp["path"]
    else:
        found = re.fullmatch(r"(?:https?|ssh)://(?:[^@/]+@)?(?P<host>[^/]+)/(?P<path>.+)", url, re.IGNORECASE)
        if found is None:
            return "", ""
        host, path = found["host"], found["path"]
        if url.lower().startswith("ssh:"):
            host = re.sub(r":[0-9]+$", "", host)  # the API is not spoken on ssh's port
    return host.lower(), re.sub(r"(?:\.git)?/*$", "", path.strip("/"))


_LOOPBACK = re.compile(r"127(?:\.\d{1,3}){3}", re.ASCII)


def keeps_secrets(url: str) -> bool:
    """Whether nobody on the way reads what is sent to a Git URL: not by plain http, but to this machine."""
    plain = re.match(r"http://(?:[^@/]+@)?(\[[0-9a-f:.]+\]|[^/:]+)", url, re.IGNORECASE)
    return (
        plain is None
        or plain[1].lower() in ("localhost", "[::1]")
        or _LOOPBACK.fullmatch(plain[1]) is not None
    )


def _host_of_events(value: object) -> object:
    # Other than a key of [registries], this is compared with what senders write, who know these names.
    if isinstance(value, str):
        if value.partition("://")[2].partition("/")[0] in DOCKER_HUB_HOSTS or value in DOCKER_HUB_HOSTS:
            return DEFAULT_REGISTRY
        if not _HOST.fullmatch(value):
            raise ValueError('a lower-case host without a scheme, such as "registry.example.com:5000"')
    return value


def _header(value: str) -> str:
    if not _HEADER.fullmatch(value):
        raise ValueError('the name of a header such as "X-Webhook-Secret"')
    return value


def folder_in_repo(value: object) -> object:
    """A folder, without `/` at its ends. Raises ValueError where it leads out of the repository."""
    if isinstance(value, str) and (not value or value.startswith("/") or ".." in value.split("/")):
        raise Misspelt('a folder of the config repo such as "policies"')
    return value.strip("/") if isinstance(value, str) else value


_AUTHORITY = re.compile(r"(?:[\w.-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?")
_SSH_USER = re.compile(r"\A[\w.+-]+@", re.ASCII)
_NO_LOGIN = "a URL without user and password (they go to `credentials`; in a path write %40 for an @)"


def git_url(value: object) -> object:
    """A URL or path that git takes. Raises ValueError, also for one that holds, or may hold, a password.

    Wherever an `@` stands, all before it may be a login: a password may have `/`, `?`, `#` and `:` in it.
    """
    if not isinstance(value, str) or not value or not value.isprintable() or value.startswith("-"):
        raise ValueError("a Git URL or a path")
    scheme, is_url, rest = value.partition("://")
    if not is_url:
        _require_no_login(value)
    elif scheme.lower() == "file":
        if not rest.startswith("/"):
            raise ValueError("a file URL with three slashes, such as file:///srv/git/shop.git")
    else:
        _require_plain(scheme.lower(), rest)
    return value


def _require_no_login(place: str) -> None:
    """Raises ValueError for what is neither a path nor `user@host:path`."""
    host, colon, path = _SSH_USER.sub("", place, count=1).partition(":")
    if colon and ("@" in path or "@" in host):
        raise ValueError(_NO_LOGIN)
    if colon and host.lower() in ("http", "https", "ssh", "file"):
        raise ValueError(f"two slashes after {host}:")


def _require_plain(scheme: str, rest: str) -> None:
    """Raises ValueError for what is no host, port and path, with a user at most, and that for ssh."""
    if scheme not in ("http", "https", "ssh"):
        raise ValueError("a URL of https, http, ssh or file, or user@host:path, or a path")
    if scheme == "ssh":
        rest = _SSH_USER.sub("", rest, count=1)
    if "@" in rest:
        raise ValueError(_NO_LOGIN)
    if "?" in rest or "#" in rest:
        raise ValueError("a Git URL without `?` and `#`: nothing that follows them belongs into it")
    authority = _AUTHORITY.fullmatch(rest.partition("/")[0])
    if authority is None or int(authority["port"] or 0) > 65_535:
        raise ValueError("a host, and if need be a colon and the number of a port, after ://")


def prefix_of_branches(value: str) -> str:
    """The beginning of a branch's name. Raises ValueError."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*(?:/[a-z0-9][a-z0-9._-]*)*/", value) or ".." in value:
        raise ValueError('the beginning of a branch name that ends with a slash, such as "automator/"')
    return value


def http_url(value: str) -> str:
    """An address without user and password. Raises ValueError."""
    # A host may be filled in; an `@` further on may be the end of a password that has a `/` in it.
    found = re.fullmatch(r"https?://(?:[\w.{}-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:[/?][^\s#@]*)?", value)
    if found is None or not value.isprintable():
        raise ValueError(
            "an address such as https://example.com/health, without user and password (for an @ write %40)"
        )
    return value


def origin(value: str) -> str:
    """Scheme, host and port of a site. Raises ValueError."""
    if not re.fullmatch(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?/?", value):
        raise ValueError("an address without a path, in lower case, such as https://automator.example.com")
    return value.rstrip("/")


_JSON_PATH = re.compile(r"(?:[A-Za-z0-9_-]+|\[[0-9]{1,4}\])(?:\.[A-Za-z0-9_-]+|\[[0-9]{1,4}\])*", re.ASCII)


def json_path(value: str) -> str:
    """Names between dots and indices in brackets. Raises ValueError."""
    if not _JSON_PATH.fullmatch(value):
        raise ValueError('a path such as "status.health" or "data.result[0].value[1]"')
    return value


def _files(value: object) -> object:
    # One path may stand alone; an environment variable is one text: JSON, or paths between commas.
    paths = _globs(value)
    return tuple(_path(part) for part in paths) if isinstance(paths, list | tuple) else value


Duration = Annotated[timedelta, BeforeValidator(_positive)]
MaybeNever = Annotated[timedelta, BeforeValidator(_duration)]
"""A duration, of which 0s is said to mean never."""
Globs = Annotated[tuple[str, ...], BeforeValidator(_globs)]
EventHost = Annotated[str, BeforeValidator(_host_of_events)]
Header = Annotated[str, AfterValidator(_header)]
Listen = Annotated[str, BeforeValidator(_address)]
FilePath = Annotated[Path, BeforeValidator(_path)]
FilePaths = Annotated[tuple[Path, ...], BeforeValidator(_files)]
Texts = Annotated[tuple[str, ...], AfterValidator(_some)]


class Section(BaseModel):
    """A table of the config: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")
