"""Numbers: where the metrics read what nobody counts for them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from importlib.util import find_spec
from typing import TYPE_CHECKING

from automator import __version__
from automator.app.build import App, utc_now
from automator.config import Config
from automator.cycle.looks import merged
from automator.edges.metrics import Metrics, Sources

if TYPE_CHECKING:
    from automator.app.notices import Notices


def open_metrics(config: Config) -> Metrics:
    """The metrics of this process, which has just read its config."""
    scanner = "pure" if find_spec("_ruamel_yaml") is None else "libyaml"
    metrics = Metrics(__version__, scanner=scanner)
    metrics.config_taken(config.repos, config.hooks, utc_now())
    return metrics


def sources_of(app: App, notices: Notices | None, stuck: Callable[[], Collection[str]]) -> Sources:
    """What one generation of parts tells whenever it is asked; `stuck` names the config repos in which no
    cycle has ended for long."""
    return Sources(
        requests=lambda: app.registry.requests,
        hosts=lambda: app.registry.standings,
        looks=lambda: merged(cycle.observer.looks.hosts for cycle in app.cycles.values()).values(),
        deliveries=lambda: () if notices is None else notices.tallies(),
        stuck=stuck,
    )
