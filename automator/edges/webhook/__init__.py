"""The webhook edge: what registries and forges tell of themselves, proved and as values of the core.

An event is a hint to look now. It names repositories; it never brings a version into a decision.
"""

from automator.edges.webhook.ecrhosts import ecr_aliases
from automator.edges.webhook.event import (
    BODY_LIMIT,
    GOOGLE_KEYS_URL,
    Door,
    Event,
    GitPush,
    Push,
    Request,
    Result,
    Word,
)
from automator.edges.webhook.receive import read_event
from automator.edges.webhook.senders import SENDERS, Evidence, Sender
from automator.edges.webhook.token import KeysUnavailable, require_keys

__all__ = [
    "BODY_LIMIT",
    "GOOGLE_KEYS_URL",
    "SENDERS",
    "Door",
    "Event",
    "Evidence",
    "GitPush",
    "KeysUnavailable",
    "Push",
    "Request",
    "Result",
    "Sender",
    "Word",
    "ecr_aliases",
    "read_event",
    "require_keys",
]
