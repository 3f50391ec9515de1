"""Kubernetes: what a cluster says of what runs in it, asked read-only.

What belongs here: where the API server is and who we are (kubeconfig, service account), lists of objects by
GET and nothing else, and what the objects mean: controllers and pods, and the status of Flux and Argo CD.
"""

from automator.edges.kubernetes.cluster import Cluster
from automator.edges.kubernetes.settings import ClusterSettings

__all__ = ["Cluster", "ClusterSettings"]
