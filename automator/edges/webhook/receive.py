"""One request, read: the sender proves itself first, and only then its body is looked at."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from automator.edges.webhook.clouds import handshake_origin
from automator.edges.webhook.event import BODY_LIMIT, Door, Event, Found, MalformedBody, Request, Result, Word
from automator.edges.webhook.proof import UnreadableSecret, secrets_of
from automator.edges.webhook.senders import SENDERS, Sender
from automator.edges.webhook.token import KeysUnavailable, check_token
from automator.reasons import Reason, one_line, reason

LONGEST_DELIVERY = 80

_STATUS = {
    Word.BAD_SECRET: 401,
    Word.MISSING_SECRET: 401,
    Word.BAD_SIGNATURE: 401,
    Word.MISSING_SIGNATURE: 401,
    Word.MALFORMED_BODY: 400,
    Word.OVERSIZE: 413,
    Word.WRONG_METHOD: 405,
    Word.UNKNOWN_SENDER: 404,
    Word.UNREADABLE_SECRET: 503,
    Word.KEYS_UNAVAILABLE: 503,
}


def read_event(door: Door, request: Request, *, now: datetime, keys: Callable[[], bytes]) -> Event:
    """What `request`, come through `door`, says and is to be answered. Never raises for what is sent.

    `now` is aware. `keys` gives Google's JWKS document (see GOOGLE_KEYS_URL) and may raise OSError or
    ValueError; it is called for tokens only, by anybody who sends one: keep the document for a while.
    """
    sender = SENDERS.get(door.sender)
    if sender is None:
        return _rejected(Word.UNKNOWN_SENDER)
    asks = sender.handshake and request.method == "OPTIONS"
    if request.method != "POST" and not asks:
        return _rejected(Word.WRONG_METHOD, headers=(("Allow", "POST"),))
    if len(request.body) > BODY_LIMIT:
        return _rejected(Word.OVERSIZE)
    try:
        refusal = _refusal(sender, door, request, now, keys)
    except UnreadableSecret as error:
        trouble = reason(
            "hooks/unreadable-secret", hook=door.name, file=door.secret_file or "no file", problem=error
        )
        return _rejected(Word.UNREADABLE_SECRET, trouble)
    except KeysUnavailable as error:
        return _rejected(
            Word.KEYS_UNAVAILABLE, reason("hooks/keys-unavailable", hook=door.name, problem=error)
        )
    if refusal is not None:
        return _rejected(refusal)
    if asks:
        return _leave_to_send(request)
    try:
        found = sender.adapter(door, request)
    except MalformedBody:
        return _rejected(Word.MALFORMED_BODY)
    return _understood(found, found.delivery or request.headers.get(sender.delivery or ""))


def _refusal(
    sender: Sender, door: Door, request: Request, now: datetime, keys: Callable[[], bytes]
) -> Word | None:
    if sender.check is None:
        return check_token(door, request, now, keys)
    return sender.check(door, request, secrets_of(door.secret_file))


def _leave_to_send(request: Request) -> Event:
    origin = handshake_origin(request)
    if origin is None:
        return _rejected(Word.MALFORMED_BODY)
    headers = (("WebHook-Allowed-Origin", origin), ("WebHook-Allowed-Rate", "*"), ("Allow", "POST"))
    return Event(Result.IGNORED, Word.HANDSHAKE, 200, headers=headers)


def _understood(found: Found, delivery: str | None) -> Event:
    accepted = found.code in (Word.PUSHED, Word.GIT_PUSHED)
    return Event(
        Result.ACCEPTED if accepted else Result.IGNORED,
        found.code,
        202 if accepted else 200,
        found.pushes,
        found.git_pushes,
        found.answer,
        delivery=one_line(delivery, LONGEST_DELIVERY) if delivery else None,
    )


def _rejected(
    code: Word, trouble: Reason | None = None, *, headers: tuple[tuple[str, str], ...] = ()
) -> Event:
    return Event(Result.REJECTED, code, _STATUS[code], headers=headers, trouble=trouble)
