"""A token service for tests: signs JWTs by which a real registry lets people in.

As distribution's token and OAuth specifications have it: a GET with Basic or without, a POST with a
refresh token or a password. The registry trusts the service's authority and nothing else.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from parts.canaries import MARK
from parts.certificates import make_ca
from parts.registry import HostileServer, Received, Reply, json_reply

SERVICE, ISSUER = "registry of the tests", "tokens of the tests"
LEEWAY = timedelta(seconds=60)
"""For so long after its end docker-registry still takes a token."""

Grant = Callable[[str | None, str, Sequence[str]], Sequence[str]]
"""(user or None, repository, actions wanted) -> actions granted."""


def everything_to_users(user: str | None, repository: str, actions: Sequence[str]) -> Sequence[str]:
    """Who says who they are may do everything; others nothing."""
    return actions if user is not None else ()


def pulling_to_all(user: str | None, repository: str, actions: Sequence[str]) -> Sequence[str]:
    """As above, and everybody may pull."""
    return actions if user is not None else [a for a in actions if a == "pull"]


@dataclass(frozen=True)
class Asked:
    """One question to the service."""

    method: str
    user: str | None
    """None: anonymous."""
    scopes: tuple[str, ...]
    granted: bool
    """Whether a token was given, for however little."""


@dataclass
class TokenService:
    """The service; `users` and `identities` may change while it runs."""

    folder: Path
    """For its keys."""
    users: dict[str, str] = field(default_factory=dict)
    identities: dict[str, str] = field(default_factory=dict)
    """Refresh token -> user."""
    grant: Grant = everything_to_users
    life: timedelta = timedelta(minutes=5)
    """How long a token is good."""
    said_life: timedelta | None = timedelta(minutes=5)
    """What the answer says of it; None: nothing."""
    asked: list[Asked] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    """All that were given."""

    def __post_init__(self) -> None:
        authority = make_ca(self.folder)
        files = authority.issue(["tokens"])
        self._roots = authority.ca_file
        self._key = files.key_file.read_text()
        certificate = x509.load_pem_x509_certificate(files.cert_file.read_bytes())
        self._chain = [base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()]
        self._server = HostileServer(self._answer)

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.__exit__(kind, error, trace)

    @property
    def host(self) -> str:
        return self._server.host

    @property
    def received(self) -> list[Received]:
        return self._server.received

    @property
    def config(self) -> dict[str, Any]:
        """What `DockerRegistry(token=…)` wants."""
        return {
            "realm": f"http://{self.host}/token",
            "service": SERVICE,
            "issuer": ISSUER,
            "rootcertbundle": str(self._roots),
        }

    def pulls(self) -> list[str]:
        """The repositories for which pulling, and nothing more, was asked, in order."""
        scopes = [scope for asked in self.asked for scope in asked.scopes]
        return [s.split(":")[1] for s in scopes if s.endswith(":pull")]

    def sign(self, user: str | None, scopes: Sequence[str], ends_at: datetime) -> str:
        """A token for `scopes` as far as they are granted."""
        now = datetime.now(UTC)
        claims = {
            "iss": ISSUER,
            "sub": user or "",
            "aud": SERVICE,
            "exp": int(ends_at.timestamp()),
            "nbf": int((now - timedelta(hours=1)).timestamp()),
            "iat": int(now.timestamp()),
            "jti": f"{MARK} {secrets.token_hex(8)}",  # so that a leak is found
            "access": [self._access(user, scope) for scope in scopes],
        }
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"x5c": self._chain})

    def _access(self, user: str | None, scope: str) -> dict[str, Any]:
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        return {"type": kind, "name": name, "actions": list(self.grant(user, name, actions.split(",")))}

    def _answer(self, request: Received) -> Reply:
        form = {k: v[-1] for k, v in parse_qs(request.body.decode()).items()}
        told: Mapping[str, str] = form if request.method == "POST" else request.query
        known, user = self._who(request, form)
        scopes = tuple(told.get("scope", "").split())
        fine = known and urlsplit(request.path).path == "/token" and told.get("service") == SERVICE
        self.asked.append(Asked(request.method, user, scopes, fine))
        if not fine:
            return json_reply({"errors": [{"code": "UNAUTHORIZED", "message": "who is that?"}]}, 401)
        token = self.sign(user, scopes, datetime.now(UTC) + self.life)
        self.tokens.append(token)
        answer: dict[str, Any] = {"access_token" if request.method == "POST" else "token": token}
        if self.said_life is not None:
            answer["expires_in"] = int(self.said_life.total_seconds())
        return json_reply(answer)

    def _who(self, request: Received, form: Mapping[str, str]) -> tuple[bool, str | None]:
        """Whether this is somebody we know, or nobody at all; and their name."""
        if form.get("grant_type") == "refresh_token":
            user = self.identities.get(form.get("refresh_token", ""))
            return user is not None, user
        if form.get("grant_type") == "password":
            user, secret = form.get("username", ""), form.get("password", "")
            return self.users.get(user) == secret, user
        header = request.headers.get("authorization", "")
        if not header:
            return request.method == "GET", None
        user, _, secret = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
        return self.users.get(user) == secret, user
