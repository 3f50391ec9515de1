"""Failures: what a registry's refusal or silence becomes, one reason for each kind.

What belongs here: status codes, error bodies (OCI distribution spec, "Error codes") and transport
errors in, RegistryError out. Every word of a server passes `one_line`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

from automator.core.reference import Repository
from automator.edges.http import Answer, Kind, TransportError
from automator.errors import RegistryError
from automator.reasons import Reason, one_line, reason

WORDS_LIMIT = 160
LONGEST_RETRY_AFTER = 24 * 3600.0


class RateLimited(RegistryError):
    """Too many requests. `retry_after`: seconds to wait, where the registry says."""

    def __init__(self, repository: Repository, answer: str, retry_after: float | None) -> None:
        wait = "it does not say for how long" if retry_after is None else f"{retry_after:.0f} s to wait"
        super().__init__(reason("registry/rate-limited", repository=repository, answer=answer, wait=wait))
        self.retry_after = retry_after

    def reason_at(self, now: datetime) -> Reason:
        """The reason with the time at which asking again makes sense, for a caller that has the clock."""
        if self.retry_after is None:
            return self.reason
        return replace(self.reason, changes_at=now + timedelta(seconds=self.retry_after))


def refused(repository: Repository, answer: Answer, *, what: str, credentials: str) -> RegistryError:
    """The error for an answer that is not the one wanted. `what` names the thing asked for."""
    status = told(answer)
    if answer.status == 429 or "TOOMANYREQUESTS" in error_codes(answer.body):
        return RateLimited(repository, status, retry_after(answer))
    if answer.status in (401, 403):
        return RegistryError(
            reason("registry/denied", repository=repository, answer=status, credentials=credentials),
            retry=False,
        )
    if answer.status == 404:
        return RegistryError(
            reason("registry/not-found", repository=repository, what=what, answer=status), retry=False
        )
    if answer.status >= 500 or answer.status == 408:
        return RegistryError(reason("registry/server-error", repository=repository, answer=status))
    return bad_answer(repository, what, status)


def bad_answer(repository: Repository, what: str, problem: str) -> RegistryError:
    return RegistryError(reason("registry/bad-answer", repository=repository, what=what, problem=problem))


def not_json(repository: Repository, what: str, answer: Answer) -> RegistryError:
    """The error for an answer that should be JSON; it tells the content type, not the content."""
    kind = answer.headers.get("Content-Type") or "no content type"
    return RegistryError(
        reason("registry/not-json", repository=repository, what=what, type=one_line(kind, 80))
    )


def pages(repository: Repository, problem: str) -> RegistryError:
    return RegistryError(reason("registry/pages", repository=repository, problem=problem))


def bad_digest(repository: Repository, what: str, wanted: str, got: str) -> RegistryError:
    return RegistryError(
        reason("registry/bad-digest", repository=repository, what=what, wanted=wanted, got=got)
    )


def token_refused(repository: Repository, realm: str, problem: str, *, retry: bool) -> RegistryError:
    return RegistryError(
        reason("registry/token", repository=repository, realm=one_line(realm), problem=problem), retry=retry
    )


def unanswered(repository: Repository, error: TransportError) -> RegistryError:
    """The error for an exchange that brought no complete answer."""
    detail, host = one_line(error.detail, WORDS_LIMIT), one_line(error.host, 100)
    match error.kind:
        case Kind.TIMEOUT:
            why = reason("registry/timeout", repository=repository, host=host, problem=detail)
        case Kind.TLS:
            why = reason("registry/tls", repository=repository, host=host, problem=detail)
        case Kind.TOO_LARGE:
            why = reason("registry/too-large", repository=repository, host=host, problem=detail)
        case Kind.ADDRESS:
            why = reason("registry/address-refused", repository=repository, host=host, problem=detail)
        case Kind.UNREACHABLE | Kind.BROKEN:
            why = reason("registry/unreachable", repository=repository, host=host, problem=detail)
    return RegistryError(why, retry=error.kind not in (Kind.TLS, Kind.ADDRESS))


def told(answer: Answer) -> str:
    """`HTTP 404: repository name not known to registry`, the server's own words if there are any."""
    words = _words(answer)
    return f"HTTP {answer.status}" + (f": {words}" if words else "")


def error_codes(body: bytes) -> frozenset[str]:
    """The codes of an error body of the OCI spec; empty for any other body."""
    return frozenset(str(e.get("code")) for e in _errors(body))


def retry_after(answer: Answer) -> float | None:
    """Seconds of Retry-After (RFC 9110 section 10.2.3); a date counts from the answer's own Date."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_RETRY_AFTER)
    try:
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(answer.headers.get("Date", ""))
    except (TypeError, ValueError):
        return None
    return min(max(wait.total_seconds(), 0.0), LONGEST_RETRY_AFTER)


def _errors(body: bytes) -> list[dict[str, object]]:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return []
    errors = parsed.get("errors") if isinstance(parsed, dict) else None
    return [e for e in errors if isinstance(e, dict)] if isinstance(errors, list) else []


def _words(answer: Answer) -> str:
    for error in _errors(answer.body):
        return one_line(error.get("message") or error.get("code") or "", WORDS_LIMIT)
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind.endswith("json"):
        try:
            parsed = json.loads(answer.body)
        except (ValueError, RecursionError):
            return ""
        if isinstance(parsed, dict):  # Docker Hub and token services
            said = next((parsed[k] for k in ("message", "details", "error") if parsed.get(k)), "")
            return one_line(said, WORDS_LIMIT)
        return ""
    # A proxy's page of HTML says nothing that helps here.
    return (
        one_line(answer.body[:1000].decode("utf-8", "replace"), WORDS_LIMIT) if kind == "text/plain" else ""
    )
