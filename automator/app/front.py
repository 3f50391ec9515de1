"""The front: the daemon's listeners, which stay while the parts behind them change."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import NamedTuple

from automator import __version__
from automator.app.events import Inbox
from automator.config import Config
from automator.edges.log import EventLog
from automator.edges.web import (
    Access,
    ASGIApp,
    Desk,
    Health,
    Refusal,
    Switch,
    WebServer,
    make_hooks_app,
)
from automator.edges.web.site import Behind, make_site
from automator.errors import ConfigError
from automator.reasons import Reason, reason

Address = tuple[str, int]
QUIET = frozenset({"web/no-token", "web/session-over"})
"""Refusals that are no news: everybody's first request has no token."""

UNSERVED = {
    Refusal.CROWDED: "web/busy",
    Refusal.MALFORMED: "web/malformed",
    Refusal.TOO_SLOW: "web/slow-head",
}
"""Codes of connections to the admin address that brought no request."""
PROBES = frozenset({"/healthz", "/readyz"})
"""Paths that are answered however many others ask: who asks them restarts what does not answer."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What stands behind the listeners: of one generation of parts, replaced as a whole."""

    desk: Desk
    health: Callable[[], Health]
    ready: Callable[[], Health]
    metrics: Callable[[str], tuple[bytes, str]]
    """From the header `Accept` to the metrics and their content type."""
    inbox: Inbox | None
    """Who takes events; None where the config has no hooks."""


class _Place(NamedTuple):
    """Where a listener is."""

    address: Address | None
    """As the config names it; port 0 is any."""
    port: int | None
    app: ASGIApp | None


@dataclass(slots=True)
class _Listener:
    """One address that is listened to, and the application behind it."""

    name: str
    unserved: Callable[[Refusal], None]
    broken: Callable[[Exception], None]
    address: Address | None = None
    server: WebServer | None = None
    switch: Switch = field(default_factory=Switch)

    @property
    def port(self) -> int | None:
        return None if self.server is None else self.server.port

    @property
    def place(self) -> _Place:
        """Where it is, and with what behind it."""
        return _Place(self.address, self.port, self.switch.app)

    def move(self, address: Address | None, app: ASGIApp | None) -> None:
        """Listen there, with `app` behind it. Raises ConfigError, and may then have left where it was."""
        if address is None or app is None:
            self.stop()
            return
        if address != self.address:
            if self.port == address[1]:
                # Nobody can listen to a port on all interfaces while it is listened to on one.
                self.leave()
            self._listen(address, address, app)
        self.switch.app = app

    def go_back(self, place: _Place) -> None:
        """Listen where it did, at the very port. Raises ConfigError where somebody else has it by now."""
        self.switch.app = place.app
        if place.address is not None and place.port is not None and self.address is None:
            self._listen(place.address, (place.address[0], place.port), place.app)

    def _listen(self, named: Address, address: Address, app: ASGIApp | None) -> None:
        server = WebServer(
            self.switch,
            address,
            name=self.name,
            unserved=self.unserved,
            broken=self.broken,
            always=PROBES,
        )
        self.switch.app = self.switch.app or app
        server.start()
        self.leave()
        self.server, self.address = server, named

    def leave(self) -> None:
        """Finish the requests under way, and listen nowhere; what is behind it stays."""
        if self.server is not None:
            self.server.stop()
        self.server = self.address = None

    def stop(self) -> None:
        """Finish the requests under way, and stop listening."""
        self.leave()
        self.switch.app = None


class Front:
    """Both listeners: probes, metrics, API and dashboard on one, events of others on the other."""

    def __init__(self, log: EventLog, count: Callable[[str], None] = lambda _: None) -> None:
        """`count` is told the code of each refused request, for the metrics."""
        self._log = log
        self._count = count
        self._inbox: Inbox | None = None
        self._admin = _Listener("web", lambda what: self._count(UNSERVED[what]), self._broken)
        self._hooks = _Listener("hooks", self._unserved, self._broken)
        self._access: tuple[tuple[str | None, str | None], Access] | None = None

    @property
    def port(self) -> int | None:
        """Where probes, API and dashboard answer; None where that is switched off."""
        return self._admin.port

    @property
    def hooks_port(self) -> int | None:
        """Where events are taken; None where that is switched off."""
        return self._hooks.port

    def open(self, config: Config, scene: Scene) -> None:
        """Listen where `config` says, with `scene` behind it; called again, what listens already at the same
        address goes on without a gap. A port may go from one listener to the other, and both be exchanged.

        Raises ConfigError (`daemon/listen`), and then both are where they were with what was behind them.
        """
        behind = Behind(scene.desk, scene.health, scene.ready, scene.metrics, __version__)
        site = make_site(behind, self._access_of(config))
        inbox = scene.inbox
        events = None if inbox is None else make_hooks_app(inbox.doors, inbox.receive, inbox.refuse)
        hooks_address = None if events is None else config.hooks_address
        self._move((self._hooks, hooks_address, events), (self._admin, config.daemon.listen_address, site))
        self._inbox = inbox

    @staticmethod
    def _move(*moves: tuple[_Listener, Address | None, ASGIApp | None]) -> None:
        """Move all, or none."""
        before = [(one, one.place) for one, _, _ in moves]
        wanted = {address[1] for _, address, _ in moves if address is not None}
        try:
            for one, address, _ in moves:
                if address != one.address and one.port in wanted:
                    one.leave()  # what another is to have, which may come first
            for one, address, app in moves:
                one.move(address, app)
        except ConfigError:
            for one, place in before:
                if one.address != place.address:
                    one.leave()
            with ExitStack() as stack:  # each of them, whatever becomes of the others
                for one, place in before:
                    stack.callback(one.go_back, place)
            raise

    def stop_hooks(self) -> None:
        """Take no more events: cycles end."""
        self._hooks.stop()

    def close(self) -> None:
        """Finish the requests under way, for some seconds at most, and stop listening."""
        self._hooks.stop()
        self._admin.stop()

    def _access_of(self, config: Config) -> Access:
        """Who is let in; the same as before where the config says the same, so that it goes on knowing who
        failed lately."""
        file, url = config.daemon.token_file, config.daemon.public_url
        asked = (None if file is None else str(file), url)
        if self._access is None or self._access[0] != asked:
            self._access = asked, Access(asked[0], public_url=url, refused=self._refused)
        return self._access[1]

    def _refused(self, why: Reason, client: str) -> None:
        self._count(why.code)
        if why.code not in QUIET:
            self._log.tell("refused", why, level="warning", client=client)

    def _broken(self, error: Exception) -> None:
        self._log.tell("bug", reason("web/bug"), level="error", exc_info=error)

    def _unserved(self, what: Refusal) -> None:
        if self._inbox is not None:
            self._inbox.refuse(None, what)
