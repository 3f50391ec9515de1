"""Numbers: where the metrics read what nobody counts for them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from automator import __version__
from automator.app.build import App, utc_now
from automator.config import Config
from automator.core.driftview import RuntimeView
from automator.cycle.looks import HostLook, merged
from automator.edges.metrics import Metrics, Sources
from automator.edges.registry import Standing

if TYPE_CHECKING:
    from automator.app.notices import Notices


def open_metrics(config: Config) -> Metrics:
    """The metrics of this process, which has just read its config."""
    scanner = "pure" if find_spec("_ruamel_yaml") is None else "libyaml"
    metrics = Metrics(__version__, scanner=scanner)
    metrics.config_taken(config.repos, config.hooks, utc_now())
    return metrics


def sources_of(
    app: App,
    notices: Notices | None,
    stuck: Callable[[], Collection[str]],
    runtimes: Callable[[], tuple[RuntimeView, ...]] = tuple,
) -> Sources:
    """What one generation of parts tells whenever it is asked; `stuck` names the config repos in which no
    cycle has ended for long, `runtimes` are as the last looks left them."""
    return Sources(
        requests=lambda: app.registry.requests,
        hosts=lambda: _watched(app),
        looks=lambda: _looks(app).values(),
        deliveries=lambda: () if notices is None else notices.tallies(),
        stuck=stuck,
        intervals=lambda: {name: app.config.interval(name).total_seconds() for name in app.config.repos},
        runtimes=runtimes,
    )


def _looks(app: App) -> Mapping[str, HostLook]:
    return merged(cycle.observer.looks.hosts for cycle in app.cycles.values())


def _watched(app: App) -> tuple[Standing, ...]:
    """How the hosts stand that are watched: one that nobody asks any more never gets up again."""
    looks = _looks(app)
    return tuple(one for one in app.registry.standings if one.host in looks)
