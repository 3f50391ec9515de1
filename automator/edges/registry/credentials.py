"""Credentials: what opens a registry, and the simplest source of it, a file with a password.

What belongs here: the value that every source gives, and the shape that every source has. Other
sources stand beside: `dockerconfig` and `clouds`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from automator.edges import secretfile
from automator.errors import RegistryError
from automator.reasons import reason

HUB = "docker.io"
HUB_ALIASES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})
TOKEN_LIMIT = 64 * 1024  # characters; more fits into no header
TOKEN_USER = "<token>"  # noqa: S105 - the name by which Docker marks an identity token


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

    def describe(self, host: str, path: str = "") -> str:
        """What `find` took last for these arguments, in words without the secret."""


@dataclass(frozen=True, slots=True)
class PasswordFile:
    """A user name, and a file that holds the password and nothing else but white space around it.

    The file is read at each use, so that a new password needs no restart. The user `<token>` says, as
    Docker has it, that the file holds an identity token.
    """

    username: str
    path: str

    def find(self, host: str, path: str = "") -> Credential | None:
        """The same for every host: a source belongs to one host's settings."""
        secret = read_text(self.path).strip()
        if not secret:
            raise unreadable(self.path, "it is empty")
        found = credential(self.username, secret)
        if (problem := unusable(found)) is not None:
            raise unreadable(self.path, problem)
        return found

    def forget(self, host: str) -> None:
        """Nothing to do: the file is read each time."""

    def describe(self, host: str, path: str = "") -> str:
        return f"user {self.username} with the password in {self.path}"


def credential(username: str, secret: str) -> Credential:
    """The credential of a user name that may be Docker's mark for an identity token."""
    if username == TOKEN_USER:
        return Credential(username, secret.strip(), Secret.IDENTITY)
    return Credential(username, secret)


def unusable(found: Credential) -> str | None:
    """Why `found` cannot be sent, in words that quote nothing of it; None where it can.

    A token stands in a header or a form as it is (RFC 6750 2.1); a password goes encoded.
    """
    try:
        found.username.encode()
        found.secret.encode()
    except UnicodeError:
        return "its user name or secret is no Unicode text"
    if found.kind is Secret.PASSWORD:
        return None
    if len(found.secret) > TOKEN_LIMIT:
        return f"its {found.kind} is longer than {TOKEN_LIMIT} characters"
    if not found.secret.isascii() or not found.secret.isprintable() or " " in found.secret:
        return f"its {found.kind} holds characters that no token has"
    return None


def normal_host(text: str) -> str:
    """`https://Index.docker.io/v1/` and its like as the host that image references carry."""
    host = text.split("://", 1)[-1].split("/", 1)[0].lower()
    return HUB if host in HUB_ALIASES else host


# -- files that hold secrets ----------------------------------------------------------------------


def read_text(path: str) -> str:
    """The UTF-8 text of a regular file, without a byte-order mark. Raises RegistryError."""
    try:
        return secretfile.read_text(path, secretfile.LIST_LIMIT)
    except secretfile.UnusableFile as why:
        raise unreadable(path, str(why)) from None


def unreadable(path: str, problem: str) -> RegistryError:
    return RegistryError(reason("credentials/unreadable", path=path, problem=problem), retry=False)
