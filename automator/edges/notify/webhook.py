"""Our own webhook: messages and CloudEvents by HTTP, signed as Standard Webhooks describes it.

The signature is an HMAC-SHA256 over `id.timestamp.body` (standardwebhooks.com, "symmetric"): a receiver that
compares the timestamp with its clock and remembers ids can be told nothing twice.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import Literal

from automator.core.noticetext import Message, binary, structured, webhook_body
from automator.edges.http import Limits, Outside, TransportError, Trust, TrustError, new_session, send
from automator.edges.notify.answers import Answer, Result, read_lines
from automator.edges.secretfile import UnusableFile
from automator.reasons import one_line

Form = Literal["json", "cloudevents", "cloudevents-binary"]

PREFIX = "whsec_"
"""How secrets begin that are written in base64."""
LONGEST_WAIT = 3_600.0
"""Seconds that a receiver's Retry-After may ask for at most."""
SHORTEST_SECRET = 16
"""Bytes of a secret that can be guessed by nobody (Standard Webhooks asks for 24 to 64)."""
_BUSY = frozenset({408, 425, 429})
"""Refusals that another try may change; those of the server's own failing too."""


@dataclass(frozen=True, slots=True)
class WebhookReceiver:
    """One address to which messages are posted. The operator named it, so it may be anywhere; a redirect
    is not followed, so that nothing goes elsewhere."""

    url: str
    seconds: float
    form: Form = "json"
    secret_file: str | None = None
    """Each line a secret; all of them sign, so that one can be changed without a gap."""
    token_file: str | None = None
    """Its first line goes into Authorization, after `Bearer `."""
    source: str = "urn:automator"
    """Who tells, in CloudEvents: the beginning of `source`."""
    trust: Trust | None = None
    outside: Outside = field(default_factory=Outside)
    clock: Callable[[], float] = time.time

    @property
    def takes_single_items(self) -> bool:
        return self.form != "json"

    def send(self, message: Message) -> Answer:
        """Post once. 2xx is taken; 408, 425, 429 and 5xx may change; anything else will not."""
        try:
            headers, body = self._request(message)
            proxy = self.outside.proxy_for(self.url)
            with new_session(pool_size=1, trust=self.trust, proxy=proxy) as session:
                limits = Limits(self.seconds, self.seconds, time.monotonic() + self.seconds, body=0)
                # Taken is taken, whatever follows the status: else the same message would come again.
                answer = send(
                    session, "POST", self.url, headers=headers, limits=limits, data=body, status_only=True
                )
        except UnusableFile as error:
            return Answer(Result.LATER, str(error))
        except TrustError:
            return Answer(Result.LATER, "its certificates cannot be read")
        except TransportError as error:
            return Answer(Result.LATER, one_line(error))
        return judged(answer.status, answer.headers.get("Retry-After", ""), self.clock())

    def _request(self, message: Message) -> tuple[dict[str, str], bytes]:
        headers = {"Content-Type": "application/json"}
        if self.form == "json":
            body = webhook_body(message)
        elif self.form == "cloudevents":
            headers = {"Content-Type": "application/cloudevents+json; charset=utf-8"}
            body = structured(message, self.source)
        else:
            headers, body = binary(message, self.source)
        if self.secret_file is not None:
            headers |= signed(_secrets(self.secret_file), message.id, int(self.clock()), body)
        if self.token_file is not None:
            headers["Authorization"] = f"Bearer {_token(self.token_file)}"
        return headers, body


def signed(secrets: tuple[bytes, ...], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that prove a message: its id, when it was sent, and a signature with each secret."""
    content = f"{message_id}.{timestamp}.".encode() + body
    made = (base64.b64encode(hmac.new(secret, content, sha256).digest()).decode() for secret in secrets)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in made),
    }


def judged(status: int, retry_after: str, now: float) -> Answer:
    """What an answer's status says of another try; `now` in seconds since 1970."""
    words = f"it answered {status}"
    if 200 <= status < 300:
        return Answer(Result.SENT, words)
    if status in _BUSY or status >= 500:
        return Answer(Result.LATER, words, _wait(retry_after, now))
    if 300 <= status < 400:
        return Answer(Result.NEVER, f"{words}, a redirect, which is not followed")
    return Answer(Result.NEVER, words)


def _wait(text: str, now: float) -> float | None:
    """Seconds that Retry-After asks for (RFC 9110, 10.2.3), within bounds."""
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return min(float(text), LONGEST_WAIT)
    try:
        at = parsedate_to_datetime(text)
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        until = (at - datetime.fromtimestamp(now, UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError):  # a zone may be days away, and the year 9999
        return None
    return min(max(until, 0.0), LONGEST_WAIT)


def _secrets(path: str) -> tuple[bytes, ...]:
    """Raises UnusableFile."""
    try:
        lines = read_lines(path)
    except UnusableFile as error:
        raise UnusableFile(f"its secret_file cannot be used: {error}") from None
    return tuple(_secret(line) for line in lines)


def _secret(line: str) -> bytes:
    try:
        plain = line.startswith(PREFIX) and base64.b64decode(line.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise UnusableFile(f"its secret_file holds a secret after {PREFIX} that is no base64") from None
    secret = line.encode() if plain is False else plain
    if len(secret) < SHORTEST_SECRET:
        raise UnusableFile(f"its secret_file holds a secret of less than {SHORTEST_SECRET} bytes")
    return secret


def _token(path: str) -> str:
    """Raises UnusableFile."""
    try:
        token = read_lines(path)[0]
    except UnusableFile as error:
        raise UnusableFile(f"its token_file cannot be used: {error}") from None
    if not token.isascii() or not token.isprintable() or " " in token:
        raise UnusableFile("its token_file holds characters that no token has")
    return token
