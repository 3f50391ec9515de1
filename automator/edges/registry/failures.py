"""Failures: what a registry's refusal or silence becomes, one reason for each kind.

What belongs here: status codes, error bodies (OCI distribution spec, "Error codes") and transport
errors in, RegistryError out. Every word of a server passes `one_line`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from automator.core.reference import Repository
from automator.edges.http import Answer, Cause, Kind, TransportError
from automator.edges.registry.credentials import normal_host
from automator.errors import RegistryError
from automator.reasons import Reason, one_line, reason

WORDS_LIMIT = 160
NOT_THERE = frozenset({"NAME_UNKNOWN", "NAME_INVALID", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN", "TAG_INVALID"})
CODE_WORDS = {
    "NAME_UNKNOWN": "it knows no such repository",
    "NAME_INVALID": "it takes this for no name of a repository",
    "MANIFEST_UNKNOWN": "it knows no such tag or digest",
    "BLOB_UNKNOWN": "it knows no such blob",
    "TAG_INVALID": "it takes this for no tag",
    "DIGEST_INVALID": "it takes this for no digest",
    "UNAUTHORIZED": "it wants a login",
    "DENIED": "this login may not",
    "UNSUPPORTED": "it does not know this question",
    "TOOMANYREQUESTS": "too many requests",
    "UNAVAILABLE": "it is out of order for a while",
}
"""What an error code means, where the registry adds no words of its own (OCI spec, "Error Codes")."""
PASSING = frozenset({502, 503, 504})
"""Statuses that often are gone a moment later."""
LONGEST_RETRY_AFTER = 24 * 3600.0


class RateLimited(RegistryError):
    """Too many requests, or none for a while. `retry_after`: seconds to wait, where the registry says."""

    def __init__(self, repository: Repository, answer: str, retry_after: float | None) -> None:
        wait = "it does not say for how long" if retry_after is None else f"{retry_after:.0f} s to wait"
        super().__init__(reason("registry/rate-limited", repository=repository, answer=answer, wait=wait))
        self.retry_after = retry_after

    def reason_at(self, now: datetime) -> Reason:
        """The reason with the time at which asking again makes sense, for a caller that has the clock."""
        if self.retry_after is None:
            return self.reason
        return replace(self.reason, changes_at=now + timedelta(seconds=self.retry_after))


class Interrupted(RateLimited):
    """A tag list was read to its page `pages` when its registry wanted to be left alone: by `error`."""

    def __init__(self, repository: Repository, error: RateLimited, pages: int) -> None:
        told = dict(error.reason.params)
        RegistryError.__init__(
            self,
            reason(
                "registry/list-interrupted",
                repository=repository,
                answer=told["answer"],
                wait=told["wait"],
                page=pages,
            ),
        )
        self.retry_after = error.retry_after


def refused(repository: Repository, answer: Answer, *, what: str, credentials: str) -> RegistryError:
    """The error for an answer that is not the one wanted. `what` names the thing asked for."""
    status = _told_by(repository, answer)
    if asks_to_wait(answer) or "TOOMANYREQUESTS" in error_codes(answer.body):
        return RateLimited(repository, status, retry_after(answer))
    if answer.status in (401, 403):
        return RegistryError(
            reason("registry/denied", repository=repository, answer=status, credentials=credentials),
            retry=False,
        )
    if answer.status == 404 or (answer.status < 500 and error_codes(answer.body) & NOT_THERE):
        return RegistryError(
            reason("registry/not-found", repository=repository, what=what, answer=status), retry=False
        )
    if answer.status >= 500 or answer.status == 408:
        return RegistryError(reason("registry/server-error", repository=repository, answer=status))
    return bad_answer(repository, what, status)


def asks_to_wait(answer: Answer) -> bool:
    """Whether it is a 429, or an outage of which the server tells how long it lasts."""
    return answer.status == 429 or (answer.status in PASSING and bool(retry_after(answer)))


def retold(error: RegistryError, repository: Repository) -> RegistryError:
    """What was found out on behalf of one image repository, told to another one."""
    params = tuple((k, str(repository) if k == "repository" else v) for k, v in error.reason.params)
    if params == error.reason.params:
        return error
    twin = type(error).__new__(type(error))
    twin.__dict__.update(error.__dict__)
    twin.reason = replace(error.reason, params=params)
    twin.args = (twin.reason.sentence,)
    return twin


def bad_answer(repository: Repository, what: str, problem: str) -> RegistryError:
    return RegistryError(reason("registry/bad-answer", repository=repository, what=what, problem=problem))


def not_json(repository: Repository, what: str, answer: Answer) -> RegistryError:
    """The error for an answer that should be JSON; it tells the content type, not the content."""
    kind = answer.headers.get("Content-Type") or "no content type"
    return RegistryError(
        reason("registry/not-json", repository=repository, what=what, type=one_line(kind, 80))
    )


def foreign_login(repository: Repository, what: str, answer: Answer) -> RegistryError:
    """The error for a host that the registry redirected to, and that wants a login of its own."""
    place = one_line(urlsplit(answer.url).netloc, 80)
    problem = f"it redirects to {place}, which wants a login; credentials are not sent there"
    return bad_answer(repository, what, problem)


def says_expired(answer: Answer) -> bool:
    """Whether a refusal is about a login that was good once (ECR says so with a 403)."""
    return "expired" in told(answer).lower()


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


TRANSPORT = {
    Kind.TIMEOUT: "registry/timeout",
    Kind.TLS: "registry/tls",
    Kind.TOO_LARGE: "registry/too-large",
    Kind.ADDRESS: "registry/address-refused",
    Kind.UNREACHABLE: "registry/unreachable",
    Kind.BROKEN: "registry/unreachable",
}
CAUSES = {
    Cause.DNS: "registry/dns",
    Cause.PROXY: "registry/proxy",
    Cause.EXPIRED: "registry/tls-expired",
    Cause.OTHER_NAME: "registry/tls-name",
    Cause.NO_TLS: "registry/no-tls",
    Cause.TLS_WANTED: "registry/tls-wanted",
    Cause.CLIENT_CERTIFICATE: "registry/client-certificate",
}
"""What says more than the kind."""


def unanswered(repository: Repository, error: TransportError) -> RegistryError:
    """The error for an exchange that brought no complete answer."""
    detail, host = one_line(error.detail, WORDS_LIMIT), one_line(error.host, 100)
    code = TRANSPORT[error.kind] if error.cause is None else CAUSES[error.cause]
    why = reason(code, repository=repository, host=host, problem=detail)
    return RegistryError(why, retry=error.kind not in (Kind.TLS, Kind.ADDRESS))


def no_trust(repository: Repository, host: str, problem: str) -> RegistryError:
    """The error for files of certificates that cannot be used."""
    return RegistryError(
        reason("registry/tls-files", repository=repository, host=host, problem=problem), retry=False
    )


MISDIRECTED = (
    (b"http request to an https server", Cause.TLS_WANTED, "it speaks TLS, not plain http"),
    (b"http request was sent to https port", Cause.TLS_WANTED, "it speaks TLS, not plain http"),
    (b"no required ssl certificate", Cause.CLIENT_CERTIFICATE, "it wants a client certificate"),
    (b"ssl certificate error", Cause.CLIENT_CERTIFICATE, "it refuses our client certificate"),
)
"""Words of Go's and nginx's 400 where the connection was wrong, not the request."""


def misdirected(answer: Answer) -> TransportError | None:
    """What a 400 says of the connection, if it does."""
    if answer.status == 400:
        words = answer.body[:2000].lower()
        for part, cause, problem in MISDIRECTED:
            if part in words:
                return TransportError(Kind.TLS, problem, urlsplit(answer.url).netloc, cause)
    return None


def _told_by(repository: Repository, answer: Answer) -> str:
    """`told`, and by whom, where that is not the host in the repository's own name."""
    place = urlsplit(answer.url).netloc
    usual = place == repository.registry or repository.registry == "docker.io" == normal_host(place)
    return told(answer) + ("" if usual else f", says {one_line(place, 100)}")


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
    except (TypeError, ValueError, OverflowError):
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
        code = str(error.get("code") or "")
        return one_line(error.get("message") or CODE_WORDS.get(code) or code, WORDS_LIMIT)
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
