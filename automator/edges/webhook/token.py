"""Proving a Pub/Sub push by the OpenID Connect token that Google signs for it.

The rules are those of Google's "Authenticate push subscriptions": signature, audience, issuer, time,
and the e-mail address of the service account, which anybody else's token lacks.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from automator.edges.webhook.event import Door, Request, Word

if TYPE_CHECKING:
    import jwt

ISSUERS = ("https://accounts.google.com", "accounts.google.com")
ALGORITHM = "RS256"
TOKEN_LIMIT = 8 * 1024
LEEWAY = 60.0  # seconds by which the clocks of two machines may differ


class KeysUnavailable(Exception):
    """Google's keys cannot be had, or not be read."""


def check_token(door: Door, request: Request, now: datetime, keys: Callable[[], bytes]) -> Word | None:
    """Why the request's token does not prove its sender, or None where it does.

    `keys` gives Google's JWKS document, and is called only for what looks like a token.
    Raises KeysUnavailable.
    """
    header = request.headers.get("authorization")
    if header is None:
        return Word.MISSING_SECRET
    scheme, _, token = header.strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or "authorization" in request.repeated:
        return Word.BAD_SECRET
    if not token.isascii() or len(token) > TOKEN_LIMIT or token.count(".") != 2:
        return Word.BAD_SIGNATURE
    import jwt  # with cryptography behind it: only who is pushed to by Google needs them

    try:
        name = jwt.get_unverified_header(token).get("kid")
        claims = jwt.decode(
            token,
            _key(name, keys),
            algorithms=[ALGORITHM],
            audience=door.audience or "",
            issuer=ISSUERS,
            # The times are checked below, by the clock that we are given.
            options={
                "require": ["exp", "aud", "iss"],
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except (jwt.InvalidAudienceError, jwt.InvalidIssuerError, jwt.MissingRequiredClaimError):
        return Word.BAD_SECRET
    except (jwt.PyJWTError, ValueError, RecursionError):
        return Word.BAD_SIGNATURE
    valid = _in_time(claims, now.timestamp()) and _is_account(claims, door.email)
    return None if valid else Word.BAD_SECRET


def _key(name: object, keys: Callable[[], bytes]) -> jwt.PyJWK:
    """Google's key of that name. Raises KeysUnavailable; jwt.InvalidKeyError where there is none."""
    import jwt

    try:
        document = keys()
    except (OSError, ValueError) as error:
        raise KeysUnavailable(str(error)) from error
    for key in require_keys(document):
        if name is not None and key.key_id == name:
            return key
    raise jwt.InvalidKeyError("no key of that name")


def require_keys(document: bytes) -> tuple[jwt.PyJWK, ...]:
    """The keys of a JWKS document that sign tokens as Google's do. Raises KeysUnavailable for none."""
    import jwt

    try:
        known = jwt.PyJWKSet.from_dict(json.loads(document)).keys
    except (ValueError, TypeError, AttributeError, RecursionError, jwt.PyJWTError):
        known = []
    usable = tuple(key for key in known if key.algorithm_name == ALGORITHM)
    if not usable:
        # What stands there instead is not shown: it may be anything that somebody's proxy says.
        raise KeysUnavailable("what came is no list of keys")
    return usable


def _in_time(claims: dict[str, object], now: float) -> bool:
    ends = claims.get("exp")
    begins = claims.get("nbf", 0)
    # Written so that what is no number, or NaN, is never in time.
    return (
        isinstance(ends, int | float)
        and isinstance(begins, int | float)
        and now < ends + LEEWAY
        and begins - LEEWAY < now
    )


def _is_account(claims: dict[str, object], email: str | None) -> bool:
    return email is not None and claims.get("email") == email and claims.get("email_verified") is True
