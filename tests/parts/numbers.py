"""Metrics as a busy daemon has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from automator.app.deliveries import Tally
from automator.core.driftview import RuntimeView
from automator.core.reference import Repository
from automator.core.report import Outcome, Report
from automator.cycle.looks import Looks
from automator.edges.metrics import Metrics, Sources
from automator.edges.registry import Breaker, Standing
from automator.reasons import Status, reason

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def busy() -> Metrics:
    """Metrics of which every family has a sample."""
    looks = Looks()
    web = Repository("ghcr.io", "acme/web")
    looks.watch([web])
    looks.note({web: None}, NOON)
    sources = Sources(
        requests=lambda: {"ghcr.io": 7},
        hosts=lambda: [Standing("ghcr.io", Breaker.CLOSED, 60, 3, 0.0, 0, "")],
        looks=lambda: looks.hosts.values(),
        intervals=lambda: {"shop": 60.0},
        deliveries=lambda: [Tally("team", 3, 2, 1, 4)],
        runtimes=lambda: [
            RuntimeView(
                "production", "docker", "shop", timedelta(minutes=1), looked_at=NOON, answered_at=NOON
            )
        ],
    )
    metrics = Metrics("1.2.3", sources, scanner="libyaml")
    late = reason("state/unusable", folder="x", problem="y")
    released = reason("released/pushed", before="1.4.2", after="1.4.3", commit="abc")
    outcomes = (
        Outcome("web", Status.WAITING, late, "ghcr.io/acme/web", candidate="2", behind=1, behind_since=NOON),
        Outcome("api", Status.RELEASED, released, "ghcr.io/acme/api", commit="abc"),
    )
    end = NOON + timedelta(seconds=1.5)
    metrics.observe(Report("shop", "interval", NOON, end, "abc", "abc", outcomes))
    metrics.observe_event("quay", "accepted", "pushed", NOON)
    metrics.observe_refusal("web/busy")
    metrics.config_taken({"shop"}, {"quay"}, NOON)
    return metrics
