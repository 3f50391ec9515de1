"""Receivers of messages: an SMTP server, and an HTTP server that verifies what it gets.

Both are real servers on this machine. The HTTP one believes nothing that is not signed with its secret, as
docs/notifications.md shows it to people.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from parts.canaries import secret
from parts.registry import HostileServer, Received, Reply

SECRET = secret("of-the-webhook")


def free_port() -> int:
    """A port of this machine that nobody listens to just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Mailbox:
    """An SMTP server that keeps every message."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.refuse = ""
        """What it says to a message that it does not take."""
        self.port = free_port()
        self._server = Controller(self, hostname="127.0.0.1", port=self.port)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.refuse:
            return self.refuse
        content = envelope.content
        assert isinstance(content, bytes)
        mail = message_from_bytes(content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.messages.append(mail)
        return "250 OK"

    @property
    def url(self) -> str:
        """Its address as apprise writes it."""
        return f"mailto://127.0.0.1:{self.port}?from=automator@example.com&to=team@example.com"

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    """A running SMTP server."""
    made = Mailbox()
    made.start()
    try:
        yield made
    finally:
        made.stop()


def body_of(mail: EmailMessage) -> str:
    """What a mail says, whatever its parts."""
    texts = [part for part in mail.walk() if part.get_content_maintype() == "text"]
    return "\n".join(str(part.get_content()) for part in texts)


class Inbox:
    """An HTTP server that takes signed messages, and says what `replies` has for the next ones."""

    def __init__(self, server: HostileServer) -> None:
        self.server = server
        self.taken: list[dict[str, Any]] = []
        """Bodies whose signature was right."""
        self.ids: list[str] = []
        self.replies: list[Reply] = []
        """For the next requests; after them all are taken."""
        self.down = False

    @property
    def url(self) -> str:
        return f"http://{self.server.host}/automator"

    def behave(self, received: Received) -> Reply:
        assert is_signed(received, SECRET.encode()), "the signature does not count"
        if self.down:
            return Reply(503)
        if self.replies:
            return self.replies.pop(0)
        self.ids.append(received.headers["webhook-id"])
        self.taken.append(json.loads(received.body))
        return Reply(204)

    def items(self) -> list[dict[str, Any]]:
        """Everything that was told, in its order."""
        return [item for body in self.taken for item in body["items"]]

    def kinds(self) -> list[tuple[str, str]]:
        return [(item["kind"], item["workload"] or item["subject"]) for item in self.items()]


@contextmanager
def inbox() -> Iterator[Inbox]:
    """A running HTTP receiver."""
    with HostileServer(lambda _: Reply(500)) as server:
        made = Inbox(server)
        server.behave = made.behave
        yield made


def is_signed(received: Received, key: bytes) -> bool:
    """Whether one of the signatures of a request is made with this key."""
    said = received.headers
    content = f"{said['webhook-id']}.{said['webhook-timestamp']}.".encode() + received.body
    made = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return f"v1,{made}" in said["webhook-signature"].split()


def table(name: str, folder: Path, more: str = "") -> Callable[[str], str]:
    """The config's table of a webhook receiver at an address, whose secret is put into `folder`."""
    (folder / "hook-token").write_text(SECRET + "\n")

    def at(url: str) -> str:
        return f'[notify.{name}]\nwebhook = "{url}"\nsecret_file = "hook-token"\n{more}\n'

    return at
