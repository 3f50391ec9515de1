"""Metrics for Prometheus, computed by one process: what was counted, and what is read when somebody asks.

Labels are few, and bounded whatever happens: config repos, hooks, receivers and reason codes are ours, of
registry hosts no more than MOST_HOSTS are told apart. No tag, workload or image repository is a label. What
is gone from the config is gone from here (`Metrics.config_taken`).
"""

from automator.edges.metrics.sources import Delivery, Host, Look, Sources
from automator.edges.metrics.telling import Exposition, Metrics

__all__ = ["Delivery", "Exposition", "Host", "Look", "Metrics", "Sources"]
