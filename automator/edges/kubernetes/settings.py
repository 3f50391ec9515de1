"""Settings of one cluster: where its API is told, what is asked, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from automator.edges.http import Outside

ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """A cluster as the config has it. Paths of secrets, never secrets."""

    name: str
    """The runtime's, as the config calls it."""
    kubeconfig: str | None = None
    """None: the service account of the pod that automator runs in."""
    context: str | None = None
    """None: the kubeconfig's current one."""
    namespaces: tuple[str, ...] = ()
    """Each is asked for alone; empty: the whole cluster at once."""
    status: tuple[str, ...] = ("argocd", "flux")
    """Synchronizers whose own status is read, where it is there."""
    seconds: float = 20.0
    """For one look as a whole."""
    size: int = 256 << 20
    """Bytes that one look may read."""
    outside: Outside = field(default_factory=Outside)
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Where the API is, in a pod: KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT."""
    account: str = ACCOUNT_FOLDER
    """Folder of the pod's service account."""
