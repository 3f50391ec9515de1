"""The front: the daemon's listeners, which stay while the parts behind them change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

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

    def move(self, address: Address | None, app: ASGIApp | None) -> None:
        """Listen there, with `app` behind it. Raises ConfigError, and then all is as before."""
        if address is None or app is None:
            self.stop()
            return
        if address != self.address:
            self._listen(address, app)
        self.switch.app = app

    def _listen(self, address: Address, app: ASGIApp) -> None:
        old = self.address
        if old is not None and old[1] == address[1] != 0:
            # Nobody can listen to a port on all interfaces while it is listened to on one.
            self._leave()
        server = WebServer(
            self.switch,
            address,
            name=self.name,
            unserved=self.unserved,
            broken=self.broken,
            always=PROBES,
        )
        self.switch.app = self.switch.app or app
        try:
            server.start()
        except ConfigError:
            if old is not None and self.server is None:
                self._listen(old, app)
            raise
        self._leave()
        self.server, self.address = server, address

    def _leave(self) -> None:
        if self.server is not None:
            self.server.stop()
        self.server = self.address = None

    def stop(self) -> None:
        """Finish the requests under way, and stop listening."""
        self._leave()
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
        address goes on without a gap.

        Raises ConfigError (`daemon/listen`), and then what is open stays so with what was behind it.
        """
        behind = Behind(scene.desk, scene.health, scene.ready, scene.metrics, __version__)
        site = make_site(behind, self._access_of(config))
        inbox = scene.inbox
        events = None if inbox is None else make_hooks_app(inbox.doors, inbox.receive, inbox.refuse)
        before = self._hooks.address, self._hooks.switch.app
        self._hooks.move(None if events is None else config.hooks_address, events)
        try:
            self._admin.move(config.daemon.listen_address, site)
        except ConfigError:
            self._hooks.move(*before)
            raise
        self._inbox = inbox

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
