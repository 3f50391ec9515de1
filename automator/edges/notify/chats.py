"""Chats and mail: everything that apprise reaches, by the address in a file.

apprise is an extra and takes half a second to import: it is, when the first message is sent. What it says
of failures may quote the address, which holds the secrets, so every part of that is masked.
"""

from __future__ import annotations

import importlib.util
import logging
import re
import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, unquote_plus

from automator.core.noticetext import Message
from automator.edges.notify.answers import Answer, Result, read_lines
from automator.edges.secretfile import UnusableFile
from automator.reasons import one_line

MASK = "***"
_SHORTEST = 4
"""Characters from which on a part of an address is taken for a secret."""
_PARTS = re.compile(r"[:/?&=@,;#|\s]+")
_MORE = "… and more"
_OPEN = 24
"""Characters that a service may put between title and text."""
_KEYS = frozenset({"user", "pass", "password", "token", "key", "secret", "apikey"})
"""Parameters of an address that are secret however short they are."""
_PROSE = frozenset({"from", "name", "mode", "smtp", "format", "text", "html", "markdown", "https", "http"})


def has_apprise() -> bool:
    """Whether the extra is installed."""
    return importlib.util.find_spec("apprise") is not None


_WARNINGS: ContextVar[list[str] | None] = ContextVar("warnings of apprise", default=None)
"""Of the message that is being sent: apprise takes the context along to threads of its own."""


class _Listening(logging.Handler):
    """Keeps what apprise warns of with the message that it is about; nothing of it reaches our own log."""

    def emit(self, record: logging.LogRecord) -> None:
        heard = _WARNINGS.get()
        if heard is not None:
            heard.append(record.getMessage())


_LISTENING = _Listening(logging.WARNING)


@dataclass
class ChatReceiver:
    """One address of apprise, read from its file at each use."""

    url_file: str
    seconds: float
    """How long a message may take; one that hangs is left to itself, and the next waits for its end."""
    _busy: threading.Thread | None = field(default=None, repr=False)

    @property
    def takes_single_items(self) -> bool:
        return False

    def send(self, message: Message) -> Answer:
        """Send once. What apprise could not send may be taken later; what is no address never is."""
        if self._busy is not None and self._busy.is_alive():
            return Answer(Result.LATER, "it still hangs in the message before")
        try:
            lines = read_lines(self.url_file)
        except UnusableFile as error:
            return Answer(Result.LATER, f"its url_file cannot be used: {error}")
        if len(lines) > 1:
            return Answer(Result.LATER, "its url_file has more than one line: one address is one receiver")
        answers: list[Answer] = []
        self._busy = threading.Thread(
            target=lambda: answers.append(_sent(lines[0], message)), name="notify-chat", daemon=True
        )
        self._busy.start()
        self._busy.join(self.seconds)
        if answers:
            return answers[0]
        return Answer(Result.LATER, f"it took no message within {self.seconds:g} seconds")


def _sent(url: str, message: Message) -> Answer:
    """Send by apprise, on this thread."""
    log = logging.getLogger("apprise")
    log.propagate = False  # it quotes addresses
    log.addHandler(_LISTENING)
    heard: list[str] = []
    _WARNINGS.set(heard)
    try:
        problem = _by_apprise(url, message)
    except UnusableFile as error:
        return Answer(Result.LATER, str(error))
    except Exception as error:  # noqa: BLE001 - a plugin of apprise may raise anything
        problem = f"{type(error).__name__}: {error}"
    if problem is None:
        return Answer(Result.SENT, "it was taken")
    words = heard[-1] if heard else problem
    return Answer(Result.LATER, masked(words, url))


def _by_apprise(url: str, message: Message) -> str | None:
    """Why the message was not taken; None where it was. Raises UnusableFile for what is no address."""
    if not has_apprise():
        return "the package apprise is not installed (automator's extra `notify`: docs/install.md)"
    import apprise

    asset = apprise.AppriseAsset(
        app_id="automator",
        app_desc="automator",
        app_url="",
        async_mode=False,  # on this thread
        http_redirects=False,
        storage_mode=apprise.PersistentStoreMode.MEMORY,
    )
    all_of_them = apprise.Apprise(asset=asset)
    if not all_of_them.add(url):
        raise UnusableFile("its url_file holds no address that apprise knows")
    service: Any = all_of_them[0]
    # Services that know both are given the markdown; mail becomes HTML from plain text, all of it escaped.
    formats = service.notify_format
    several = formats if isinstance(formats, tuple) else (formats,)
    is_markdown = apprise.NotifyFormat.MARKDOWN in several and apprise.NotifyFormat.HTML not in several
    kind = apprise.NotifyType.FAILURE if message.is_bad else apprise.NotifyType.INFO
    send: Callable[..., Any] = all_of_them.notify
    title = message.title[: service.title_maxlen] if service.title_maxlen > 0 else message.title
    # Most services count the title as a part of the text; one that is too long is refused for good.
    room = max(service.body_maxlen - len(title) - _OPEN, _OPEN)
    taken = send(
        body=shortened(message.markdown if is_markdown else message.text, room),
        title=title,
        notify_type=kind,
        body_format=apprise.NotifyFormat.MARKDOWN if is_markdown else apprise.NotifyFormat.TEXT,
    )
    return None if taken else "it did not take the message"


def shortened(text: str, limit: int) -> str:
    """The first lines of a text that fit into so many characters, and that there is more.

    A character that HTML writes longer counts as long as that, since some services are sent HTML.
    """
    if _size(text) <= limit:
        return text
    room = limit - len(_MORE)
    kept: list[str] = []
    for line in text.split("\n"):
        room -= _size(line) + 1
        if room < 0:
            break
        kept.append(line)
    if kept:
        return "\n".join([*kept, _MORE])
    cut = text[: limit - 1]
    while _size(cut) >= limit:
        cut = cut[:-1]
    return cut + "…"


def _size(text: str) -> int:
    return len(text) + 5 * sum(map(text.count, "&\"'"))


def masked(words: str, url: str) -> str:
    """`words` on one line, without any part of an address but its scheme."""
    scheme, _, rest = url.partition("://")
    # Split as it is written, and only then decoded: what is encoded is inside a part, and divides none.
    written = {*_PARTS.split(rest), *_PARTS.split(unquote(rest))}
    parts = {form for part in written for form in (part, unquote(part), unquote_plus(part))}
    secret = {part for part in parts if len(part) >= _SHORTEST and part.lower() not in _PROSE}
    secret |= {form for part in _logins(url) for form in (part, unquote(part), unquote_plus(part)) if form}
    flat = words.replace(url, f"{scheme}://{MASK}")
    for part in sorted(secret, key=len, reverse=True):
        flat = flat.replace(part, MASK)
    return one_line(flat, 200)


def _logins(url: str) -> set[str]:
    """User and password of an address as they are written there, however short they are."""
    rest = url.partition("://")[2]
    place, _, query = rest.partition("?")
    login = place.partition("/")[0].rpartition("@")[0] or place.rpartition("@")[0]
    found = {login, *login.split(":")}
    for pair in query.split("&"):
        key, _, value = pair.partition("=")
        if key.lower() in _KEYS:
            found.add(value)
    return found - {""}
