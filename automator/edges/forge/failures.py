"""Failures: what a forge's refusal or silence becomes, one reason for each kind.

What belongs here: statuses and error bodies of the five kinds in, ForgeError out. Every word of a forge
passes `one_line`, and loses the secrets that we sent it.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from automator.edges.http import Answer, TransportError
from automator.errors import ForgeError
from automator.reasons import one_line, reason

WORDS_LIMIT = 200
LONGEST_WAIT = 2 * 3600.0
"""Seconds for which a forge may have itself left alone; GitHub's allowance lasts an hour."""
LEAST_WAIT = 1.0
UNTOLD_WAIT = 60.0
"""Seconds where it does not say (GitHub's documentation: at least one minute)."""
_SECONDARY = re.compile("secondary rate limit|abuse detection|rate limit exceeded", re.IGNORECASE)
_NOT_NOW = re.compile(
    "already.(exists|closed|merged|declined)|is not mergeable|was modified|out of date|not open|rate limit",
    re.IGNORECASE,
)
_RETRIED_LATER = frozenset({423})  # Gitea: locked for now, or archived


def refused(
    host: str, what: str, answer: Answer, *, login: str, secrets: Iterable[str], is_change: bool
) -> ForgeError:
    """The error for an answer of a status that was not wanted. `login`: how we are known to the forge."""
    words = _clean(_words(answer), secrets)
    said = f"HTTP {answer.status}" + (f": {words}" if words else "")
    status = answer.status
    if status in (401, 403):
        wanted = _clean(_permission(answer), secrets)
        said += f"; it wants {wanted}" if wanted else ""
        why = reason("forge/denied", host=host, what=what, answer=said, login=login)
        return ForgeError(why, retry=False)
    if status in (404, 410):
        return ForgeError(reason("forge/not-found", host=host, what=what, answer=said), retry=False)
    if status >= 500 or status == 408:
        return unreachable(host, what, said)
    if status in (405, 406, 409, 412) or (is_change and _NOT_NOW.search(words)):
        return ForgeError(reason("forge/conflict", host=host, what=what, answer=said))
    why = reason("forge/refused", host=host, what=what, answer=said)
    return ForgeError(why, retry=status in _RETRIED_LATER)


def unreachable(host: str, what: str, problem: str) -> ForgeError:
    return ForgeError(reason("forge/unreachable", host=host, what=what, problem=problem))


def unanswered(host: str, what: str, error: TransportError) -> ForgeError:
    """The error for an exchange that brought no complete answer."""
    return unreachable(host, what, f"{error.kind}: {one_line(error.detail, WORDS_LIMIT)}")


def senseless(host: str, what: str, problem: str) -> ForgeError:
    return ForgeError(reason("forge/answer", host=host, what=what, problem=problem))


def unsupported(host: str, what: str, problem: str) -> ForgeError:
    return ForgeError(reason("forge/unsupported", host=host, what=what, problem=problem), retry=False)


def disagreed(host: str, what: str, words: str) -> ForgeError:
    """The error for a no that came with status 200."""
    if _NOT_NOW.search(words):
        return ForgeError(reason("forge/conflict", host=host, what=what, answer=words))
    return ForgeError(reason("forge/refused", host=host, what=what, answer=words), retry=False)


def moved(host: str, what: str, place: str) -> ForgeError:
    return ForgeError(reason("forge/moved", host=host, what=what, place=place), retry=False)


def limited(host: str, problem: str, seconds: float, now: datetime) -> ForgeError:
    """The error while a forge is left alone for so many more seconds."""
    until = now + timedelta(seconds=seconds)
    return ForgeError(reason("forge/limited", host=host, problem=problem, changes_at=until))


# -- limits -----------------------------------------------------------------------------------------------


def asks_to_wait(answer: Answer, now: datetime) -> float | None:
    """Seconds for which the forge wants to be left alone; None where it says nothing of the kind.

    0 where it wants that and does not say for how long. GitHub says 403 for both its limits, and only
    the head or the words tell them from a missing permission.
    """
    told = told_wait(answer, now)
    if answer.status == 429:
        return told or 0.0
    if answer.status == 503:
        return told
    if answer.status == 403:
        if answer.headers.get("Retry-After") or used_up(answer):
            return told or 0.0
        if _SECONDARY.search(_words(answer)):
            return 0.0
    return None


def used_up(answer: Answer) -> bool:
    """Whether nothing is left of the allowance."""
    return _remaining(answer) == "0"


def told_wait(answer: Answer, now: datetime) -> float | None:
    """The seconds that Retry-After or, where nothing is left, the time of the reset tells."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return min(max(float(text[:9]), LEAST_WAIT), LONGEST_WAIT)
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        return _bounded(_date(text), answer, now)
    reset = answer.headers.get("x-ratelimit-reset") or answer.headers.get("RateLimit-Reset") or ""
    # A proxy in front of a forge may count with the same names; only these two mean epoch seconds.
    if _remaining(answer) in ("0", "") and reset.isascii() and reset.isdigit() and len(reset) in (10, 11):
        return _bounded(datetime.fromtimestamp(int(reset), tz=now.tzinfo), answer, now)
    return None


def _remaining(answer: Answer) -> str:
    told = answer.headers.get("x-ratelimit-remaining") or answer.headers.get("RateLimit-Remaining") or ""
    return told.strip()


def _date(text: str) -> datetime:
    """A date of HTTP. Raises TypeError, ValueError, OverflowError."""
    found = parsedate_to_datetime(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)  # RFC 5322: -0000


def _bounded(until: datetime, answer: Answer, now: datetime) -> float:
    """Seconds to `until`, by the forge's own clock where it tells: ours may be wrong."""
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        now = _date(answer.headers.get("Date", ""))
    return min(max((until - now).total_seconds(), LEAST_WAIT), LONGEST_WAIT)


# -- words ------------------------------------------------------------------------------------------------


def place_of(url: str) -> str:
    """Where a redirect leads: host and path, no query."""
    try:
        parts = urlsplit(url)
        return one_line(f"{parts.netloc.rpartition('@')[2]}{parts.path}", 120)
    except ValueError:
        return "nowhere"


def _clean(words: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        if secret:
            words = words.replace(secret, "***")
    return one_line(words, WORDS_LIMIT)


def _words(answer: Answer) -> str:
    body = answer.body[:16_384]
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        # A proxy's page of HTML says nothing that helps here.
        return body.decode("utf-8", "replace") if kind == "text/plain" else ""
    return "; ".join(dict.fromkeys(filter(None, _said(told, 0))))


def _said(told: Any, depth: int) -> list[str]:
    """The sentences of an error body, whatever its forge; the outer ones first."""
    if depth > 4:
        return []
    if isinstance(told, str):
        return [told]
    if isinstance(told, list):
        return [words for one in told[:5] for words in _said(one, depth + 1)]
    if not isinstance(told, dict):
        return []
    if isinstance(told.get("field"), str) and isinstance(told.get("code"), str) and "message" not in told:
        return [f"{told['field']} is {told['code']}"]  # GitHub
    known = ("message", "error", "error_description", "detail", "errors", "fields")
    if not any(key in told for key in known):  # GitLab and Bitbucket: {"title": ["is too long"]}
        pairs = list(told.items())[:5] if depth else []
        return [f"{key} {words}" for key, value in pairs for words in _said(value, depth + 1)]
    return [words for key in known if key in told for words in _said(told[key], depth + 1)]


def _permission(answer: Answer) -> str:
    """The permission that a forge says is missing; empty where it does not say."""
    told = answer.headers.get("X-Accepted-GitHub-Permissions")
    if told:
        return told
    scopes, held = answer.headers.get("X-Accepted-OAuth-Scopes"), answer.headers.get("X-OAuth-Scopes")
    if scopes and held is not None:
        return f"the scope {scopes}"
    try:
        body = json.loads(answer.body[:16_384])
    except (ValueError, RecursionError):
        return ""
    if not isinstance(body, dict):
        return ""
    if body.get("error") == "insufficient_scope" and isinstance(body.get("scope"), str):
        return f"the scope {body['scope']}"
    error = body.get("error")
    detail = error.get("detail") if isinstance(error, dict) else None
    required = detail.get("required") if isinstance(detail, dict) else None
    if isinstance(required, list):
        return "the scope " + ", ".join(one for one in required[:5] if isinstance(one, str))
    return ""
