"""Where the config repo lives, and how git is shown the way in without showing it to anyone else."""

from __future__ import annotations

import base64
import os
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urlsplit

from automator.edges.checkout.git import Answer
from automator.edges.checkout.words import tells_denied
from automator.edges.secretfile import LIST_LIMIT, UnusableFile, read_file
from automator.errors import AutomatorError, CheckoutError
from automator.reasons import reason

SCHEMES = ("https", "http", "ssh", "file")
DEFAULT_USERNAME = "git"
"""Sent with a token when no username is configured; the forges look at the token only."""

_SCP = re.compile(
    r"(?:(?P<user>[\w.+-]+)@)?(?P<host>\w[\w.-]*|\[[0-9a-fA-F:.]+\]):(?P<path>[^:].*)", re.ASCII
)
_BAD_BRANCH = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)|^[-./]|[./]$|^@?$")

# Called by git through `sh`; the password goes from its file to git's pipe and nowhere else.
_HELPER = (
    '!f() { test "$1" = get || return 0; IFS= read -r p < "$AUTOMATOR_GIT_PASSWORD_FILE"; '
    'printf \'username=%s\\npassword=%s\\n\' "$AUTOMATOR_GIT_USERNAME" "$p"; }; f'
)

# As above, for a login of the moment: both lines come out of a pipe that git inherits.
_PIPE_HELPER = (
    '!f() { test "$1" = get || return 0; '
    '{ IFS= read -r u; IFS= read -r p; } < "/dev/fd/$AUTOMATOR_GIT_LOGIN_FD"; '
    'printf \'username=%s\\npassword=%s\\n\' "$u" "$p"; }; f'
)
_ASKED_AT_MOST = 4
"""Times that one git process may ask the helper for the login."""
_LONGEST_LOGIN = 8000
"""Bytes: several of them fit into a pipe."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A config repo: one branch behind one URL, and the files that open the door.

    `url` is https, http, ssh (also `user@host:path`), file, or an absolute path. It may name a user,
    never a password. Files are read when they are used, so rotation needs no restart.
    """

    url: str
    branch: str = "main"
    username: str | None = None
    password_file: Path | None = None
    ssh_key_file: Path | None = None
    known_hosts_file: Path | None = None
    ca_file: Path | None = None
    login: Callable[[], tuple[str, str]] | None = None
    """User and password for https, asked for at each use, instead of a file: a forge's token. Raises
    AutomatorError."""
    refused: Callable[[tuple[str, str]], bool] = lambda _login: False
    """Told that the server refused what `login` gave; says whether that now gives another. Raises
    AutomatorError."""


class Login:
    """A login of the moment, shown to git through a pipe and to nobody else."""

    def __init__(
        self, ask: Callable[[], tuple[str, str]], refused: Callable[[tuple[str, str]], bool]
    ) -> None:
        self._ask = ask
        self._refused = refused
        self._last: tuple[str, str] | None = None

    @contextmanager
    def shown(self, url: str) -> Iterator[int]:
        """A descriptor from which one git process reads it.

        Raises CheckoutError, with the sentence of whoever was asked for it.
        """
        try:
            self._last = self._ask()
        except CheckoutError:
            raise
        except AutomatorError as error:
            raise CheckoutError(error.reason, retry=error.retry) from error
        text = "".join(f"{part}\n" for part in self._last).encode()
        if len(text.splitlines()) != len(self._last) or b"\0" in text or len(text) > _LONGEST_LOGIN:
            problem = "the forge's login has line ends, or is too long"
            raise CheckoutError(reason("git/denied", url=url, words=problem), retry=False)
        reader, writer = os.pipe()
        try:
            with open(writer, "wb") as pipe:
                pipe.write(text * _ASKED_AT_MOST)
            yield reader
        finally:
            os.close(reader)

    def is_outdated(self) -> bool:
        """What was shown last was refused: whether there is another one to show."""
        try:
            return self._last is not None and self._refused(self._last)
        except AutomatorError:
            return False  # the refusal says more

    def hidden(self) -> tuple[str, ...]:
        """What was shown last, in each spelling."""
        return () if self._last is None else _spellings(*self._last)


@dataclass(frozen=True, slots=True)
class Door:
    """A remote as git is given it."""

    url: str
    """Without userinfo, except an ssh user; fit to be shown."""
    branch: str
    environment: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...]
    files: tuple[Path, ...]
    """Files that must be readable."""
    username: str
    password_file: Path | None
    local_path: Path | None = None
    login: Login | None = None

    @property
    def ref(self) -> str:
        return f"refs/heads/{self.branch}"

    def check_files(self) -> None:
        """Raise CheckoutError (`git/credential-file`) for a file that is missing, unreadable or empty."""
        for file in self.files:
            try:
                problem = "" if read_file(file, LIST_LIMIT).strip() else "it is empty"
            except UnusableFile as why:
                problem = str(why)
            if problem:
                raise CheckoutError(reason("git/credential-file", file=file, problem=problem))

    def hidden(self) -> tuple[str, ...]:
        """The secret in each spelling in which a server might echo it, longest first."""
        if self.login is not None:
            return self.login.hidden()
        if self.password_file is None:
            return ()
        try:
            first = read_file(self.password_file).decode("utf-8", "replace").partition("\n")[0]
        except UnusableFile:
            return ()
        return _spellings(self.username, first)

    @contextmanager
    def opened(self) -> Iterator[tuple[dict[str, str], tuple[int, ...]]]:
        """What one git process needs beside `environment`: more of it, and descriptors to inherit.

        Raises CheckoutError.
        """
        self.check_files()
        if self.login is None:
            yield {}, ()
            return
        with self.login.shown(self.url) as descriptor:
            yield {"AUTOMATOR_GIT_LOGIN_FD": str(descriptor)}, (descriptor,)

    def speak(self, run: Callable[[dict[str, str], tuple[int, ...]], Answer]) -> Answer:
        """What `run` comes to with what `opened` gives; run again where its login was refused, and there is
        a newer one. Raises CheckoutError."""
        with self.opened() as given:
            answer = run(*given)
        if answer.status == 0 or self.login is None or not tells_denied(answer.words):
            return answer
        if not self.login.is_outdated():
            return answer
        with self.opened() as given:
            return run(*given)


def _spellings(username: str, password: str) -> tuple[str, ...]:
    pair = base64.b64encode(f"{username}:{password}".encode()).decode()
    return tuple(sorted({password, quote(password, safe=""), pair} - {""}, key=len, reverse=True))


def open_door(remote: Remote, *, deadline: float) -> Door:
    """Check a remote's URL and branch and prepare what git needs for it.

    Raises CheckoutError (`git/bad-url`), which waiting does not mend.
    """
    if _BAD_BRANCH.search(remote.branch):
        raise _bad(remote.url, "its `branch` is no name that a branch can have")
    if any(not c.isprintable() or c.isspace() for c in remote.url) or not remote.url:
        raise _bad("", "it is empty or has spaces or control characters")
    scheme = remote.url.partition("://")[0].lower() if "://" in remote.url else ""
    if scheme in ("https", "http"):
        return _http(remote, deadline)
    if remote.login is not None:
        raise _bad(remote.url, "a forge's token opens https URLs only")
    scp = None if scheme else _SCP.fullmatch(remote.url)
    if scp and "@" in scp["path"]:
        raise _bad("", "it carries a password; ssh needs a key file")
    if scheme == "ssh" or (scp and scp["host"] not in SCHEMES):
        return _ssh(remote, deadline)
    if scheme == "file" or remote.url.startswith("/"):
        path = unquote(remote.url[len("file://") :]) if scheme else remote.url
        return Door(remote.url, remote.branch, (), (), (), "", None, Path(path))
    raise _bad(remote.url, f"it must be one of {', '.join(SCHEMES)}, user@host:path or an absolute path")


def _http(remote: Remote, deadline: float) -> Door:
    parts, port = _taken_apart(remote.url)
    if not parts.hostname:
        raise _bad("", "it names no host")
    if parts.password is not None:
        raise _bad(parts.hostname, "it carries a password, which belongs in a password file")
    if remote.login is not None and parts.scheme == "http" and not _is_here(parts.hostname):
        raise _bad(parts.hostname, "a forge's token opens https URLs only")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    base = f"{parts.scheme}://{host}{f':{port}' if port else ''}"
    username = remote.username or unquote(parts.username or "") or DEFAULT_USERNAME
    environment: list[tuple[str, str]] = []
    # A server that goes silent is also given up by git itself, should we be killed meanwhile.
    settings = [("http.lowSpeedLimit", "1"), ("http.lowSpeedTime", str(max(int(deadline), 1)))]
    if remote.password_file:
        environment += [
            ("AUTOMATOR_GIT_USERNAME", username),
            ("AUTOMATOR_GIT_PASSWORD_FILE", str(remote.password_file)),
        ]
        settings.append((f"credential.{base}.helper", _HELPER))  # asked for this host alone
    if remote.login is not None:
        settings.append((f"credential.{base}.helper", _PIPE_HELPER))
    if remote.ca_file:
        environment.append(("GIT_SSL_CAINFO", str(remote.ca_file)))
    return Door(
        url=base + parts.path,
        branch=remote.branch,
        environment=tuple(environment),
        settings=tuple(settings),
        files=tuple(f for f in (remote.password_file, remote.ca_file) if f),
        username=username,
        password_file=remote.password_file,
        login=None if remote.login is None else Login(remote.login, remote.refused),
    )


def _is_here(host: str) -> bool:
    """Whether what is sent to a host stays on this machine."""
    return host in ("localhost", "::1") or re.fullmatch(r"127(\.\d{1,3}){3}", host, re.ASCII) is not None


def _ssh(remote: Remote, deadline: float) -> Door:
    if "://" in remote.url:
        parts, _ = _taken_apart(remote.url)
        if parts.password is not None:
            raise _bad(parts.hostname or "", "it carries a password; ssh needs a key file")
        if not parts.hostname or parts.hostname.startswith("-"):
            raise _bad("", "it names no host")
    options = ["BatchMode=yes", "StrictHostKeyChecking=yes", "ControlMaster=no", "ForwardAgent=no"]
    options += [f"ConnectTimeout={max(int(deadline), 1)}", "ServerAliveInterval=15", "ServerAliveCountMax=3"]
    command = ["ssh"]
    if remote.known_hosts_file:
        options += [f'UserKnownHostsFile="{remote.known_hosts_file}"', "GlobalKnownHostsFile=/dev/null"]
    if remote.ssh_key_file:
        command += ["-i", str(remote.ssh_key_file)]
        options.append("IdentitiesOnly=yes")
    for option in options:
        command += ["-o", option]
    return Door(
        url=remote.url,
        branch=remote.branch,
        environment=(("GIT_SSH_COMMAND", shlex.join(command)),),
        settings=(),
        files=tuple(f for f in (remote.ssh_key_file, remote.known_hosts_file) if f),
        username="",
        password_file=None,
    )


def _taken_apart(url: str) -> tuple[SplitResult, int | None]:
    """A URL's parts, and its port. Raises CheckoutError, without what the library says: it quotes the URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _bad("", "what follows :// is no host, with a number as its port") from None
    behind = url.partition("://")[2][len(parts.netloc) :]
    if "@" in behind or "%" in parts.netloc.rpartition("@")[2]:
        raise _bad("", "it may carry a password; in a path write %40 for an @")
    if "?" in behind or "#" in behind:
        raise _bad(parts.hostname or "", "it goes on with `?` or `#`, which no Git URL does")
    return parts, port


def _bad(shown: str, problem: str) -> CheckoutError:
    # A URL that could not be taken apart may hide a password anywhere: only its safe part is shown.
    shown = re.sub(r"^(\w[\w+.-]*://)?.*@", r"\1…@", shown, flags=re.DOTALL)
    shown = re.sub(r"[?#].*", "", shown, flags=re.DOTALL)
    return CheckoutError(reason("git/bad-url", url=shown or "(not shown)", problem=problem), retry=False)
