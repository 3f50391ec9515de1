"""Login: as whom a forge is spoken to. A token in a file, or a GitHub App.

What belongs here: reading secrets at their use, and the token of an App's installation: asked for with a
JWT that the App's key signs (RFC 7519; GitHub, "Authenticating as a GitHub App"), kept until shortly before
it ends. Threads that need one at the same time share one.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from automator.edges.forge import reading
from automator.edges.forge.tokenfile import read_secret, read_token, unusable
from automator.edges.http import Answer
from automator.errors import ForgeError
from automator.reasons import one_line, reason

CLOCKS_APART = timedelta(seconds=60)
"""By so much GitHub's clock may be behind ours."""
JWT_LIFE = timedelta(minutes=9)
"""From now; GitHub takes ten minutes at the most."""
RENEWED_BEFORE = timedelta(minutes=5)
TAKEN_BACK_AFTER = timedelta(minutes=5)
"""A token that is younger is believed to be a good one although git is refused with it."""
FAILURE_KEPT = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Shown:
    """What one request shows: a header, and the secrets that must not come back in any words."""

    headers: dict[str, str] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)


class Login(Protocol):
    """As whom a forge is spoken to. For several threads. Raises ForgeError (`forge/secret`, `forge/app`)."""

    def show(self) -> Shown: ...
    def for_git(self) -> tuple[str, str]:
        """User and password for git over https."""

    def refused(self, shown: Shown) -> bool:
        """The forge does not know what was shown: whether there is another one to show."""

    def refused_for_git(self, login: tuple[str, str]) -> bool:
        """As `refused`, for what `for_git` gave. Its server may also mean that nobody may do this."""

    def describe(self) -> str: ...


class TokenLogin:
    """A token in a file, which is read each time.

    `header` and `scheme`: how the forge wants to see it. `user`: the name beside it for git. `basic`: a
    name, with which the token goes as a password.
    """

    def __init__(
        self, host: str, path: str, *, header: str, scheme: str, user: str, basic: str | None = None
    ) -> None:
        self._host = host
        self._path = path
        self._header = header
        self._scheme = scheme
        self._user = user
        self._basic = basic

    def show(self) -> Shown:
        token = read_token(self._host, self._path)
        if self._basic is None:
            return Shown({self._header: f"{self._scheme}{token}"}, (token,))
        pair = base64.b64encode(f"{self._basic}:{token}".encode()).decode()
        return Shown({"Authorization": f"Basic {pair}"}, (token, pair))

    def for_git(self) -> tuple[str, str]:
        return self._user, read_token(self._host, self._path)

    def refused(self, shown: Shown) -> bool:
        """Whether the file has another token by now."""
        return self.show().secrets != shown.secrets

    def refused_for_git(self, login: tuple[str, str]) -> bool:
        return self.for_git() != login

    def describe(self) -> str:
        return f"the token in {self._path}"


AskForToken = Callable[[str, dict[str, str]], Answer]
"""Sends the question for an installation's token: path and headers. Raises ForgeError."""


class AppLogin:
    """A GitHub App, by its key, for one installation."""

    def __init__(
        self,
        host: str,
        *,
        app_id: str,
        key_file: str,
        installation: int,
        clock: Callable[[], datetime],
        ask: AskForToken,
    ) -> None:
        self._host = host
        self._app_id = app_id
        self._key_file = key_file
        self._installation = installation
        self._clock = clock
        self._ask = ask
        self._asking = threading.Lock()
        self._token = ""
        self._good_until: datetime | None = None
        self._asked_at = datetime.min.replace(tzinfo=UTC)
        self._failure: tuple[datetime, ForgeError] | None = None

    def show(self) -> Shown:
        token = self._current()
        return Shown({"Authorization": f"Bearer {token}"}, (token,))

    def for_git(self) -> tuple[str, str]:
        return "x-access-token", self._current()

    def refused(self, shown: Shown) -> bool:
        """Whether a new token may help: the one that was shown is dropped."""
        with self._asking:
            if (self._token,) == shown.secrets:
                self._good_until = None
        return True

    def refused_for_git(self, login: tuple[str, str]) -> bool:
        """A token that was given just now was not taken back: then git may not do what it tried."""
        with self._asking:
            if self._token == login[1]:
                if self._clock() < self._asked_at + TAKEN_BACK_AFTER:
                    return False
                self._good_until = None
        return True

    def describe(self) -> str:
        return f"App {self._app_id}, installation {self._installation}"

    def _current(self) -> str:
        with self._asking:
            now = self._clock()
            if self._good_until is None or now >= self._good_until:
                failed = self._failure
                if failed is not None and now < failed[0]:
                    raise failed[1]
                try:
                    self._renew(now)
                except ForgeError as error:
                    # One failed question is enough for all that would ask now.
                    self._failure = (now + FAILURE_KEPT, error)
                    raise
                self._failure = None
            return self._token

    def _renew(self, now: datetime) -> None:
        headers = {"Authorization": f"Bearer {self._signed(now)}"}
        answer = self._ask(f"/app/installations/{self._installation}/access_tokens", headers)
        if answer.status != 201:
            raise self._no(f"HTTP {answer.status}: {_message(answer)}", retry=answer.status >= 500)
        try:
            told = json.loads(answer.body)
            token, ends = reading.text(told, "token"), reading.time(told, "expires_at")
        except (ValueError, RecursionError, reading.WrongShape):
            token, ends = "", None  # not chained: it may quote the token
        if not token or not token.isascii() or not token.isprintable() or ends is None:
            raise self._no("its answer holds no token", retry=True)
        self._token, self._good_until, self._asked_at = token, ends - RENEWED_BEFORE, now

    def _signed(self, now: datetime) -> str:
        import jwt  # with cryptography behind it: every other command starts without

        key = read_secret(self._host, self._key_file)
        claims = {"iat": now - CLOCKS_APART, "exp": now + JWT_LIFE, "iss": self._app_id}
        try:
            return jwt.encode(claims, key, algorithm="RS256")
        except (ValueError, TypeError, jwt.PyJWTError):
            # Not chained: what OpenSSL says may quote the file.
            raise unusable(self._host, self._key_file, "it holds no RSA key in PEM") from None

    def _no(self, problem: str, *, retry: bool) -> ForgeError:
        why = reason(
            "forge/app",
            host=self._host,
            app=self._app_id,
            installation=self._installation,
            answer=one_line(problem),
        )
        return ForgeError(why, retry=retry)


def _message(answer: Answer) -> str:
    try:
        return reading.maybe(json.loads(answer.body), "message") or ""
    except (ValueError, RecursionError):
        return ""
