"""Notify: how messages leave: chats and mail through apprise, webhooks and CloudEvents by ourselves.

What belongs here: sending one message once, within a time limit, and saying whether another try may help.
When and how often is not decided here.
"""

from automator.edges.notify.answers import Answer, Receiver, Result
from automator.edges.notify.chats import ChatReceiver, has_apprise
from automator.edges.notify.webhook import WebhookReceiver

__all__ = ["Answer", "ChatReceiver", "Receiver", "Result", "WebhookReceiver", "has_apprise"]
