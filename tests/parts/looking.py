"""Looks at a cluster, by the edge that the program uses."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from parts.kubeapi import KubeApi

from automator.core.running import Observation
from automator.edges.kubernetes import Cluster, ClusterSettings

NOW = datetime(2026, 11, 21, 15, 0, tzinfo=UTC)


def look(api: KubeApi, clusters: list[Cluster], *, now: datetime = NOW, **more: Any) -> Observation:
    """What runs there; the cluster is put down in `clusters`, for whoever closes it."""
    if "kubeconfig" not in more:
        more["kubeconfig"] = str(api.kubeconfig())
    settings = ClusterSettings("prod", **more)
    clusters.append(Cluster(settings))
    return clusters[-1].observe(now)
