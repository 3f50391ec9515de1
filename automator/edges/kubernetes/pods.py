"""Pods: what of a pod tells which images run, how they are, and what is wrong.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from automator.core.reference import DIGEST
from automator.edges.kubernetes.reading import condition, line, records, text, time

ILL = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "RegistryUnavailable",
        "RunContainerError",
    }
)
"""Reasons for which a container waits that do not pass by themselves within seconds."""
HASHES = ("pod-template-hash", "controller-revision-hash", "rollouts-pod-template-hash")


class Owner(NamedTuple):
    """The controller of an object."""

    kind: str
    name: str
    uid: str


class Container(NamedTuple):
    """One container of a pod."""

    name: str
    image: str
    """As the pod asks for it."""
    digest: str | None
    """What was pulled, where the runtime of the node tells it as a digest of the repository."""
    ready: bool
    trouble: str | None


class Pod(NamedTuple):
    """What is kept of a pod."""

    namespace: str
    name: str
    owner: Owner | None
    revision: str
    """Hash by which its controller knows which template it was made of."""
    is_going: bool
    """Whether it has been told to end."""
    created: datetime | None
    containers: tuple[Container, ...]


def read_pod(told: dict[str, Any]) -> Pod:
    """A pod, from its JSON."""
    labels = told.get("metadata", {}).get("labels") if isinstance(told.get("metadata"), dict) else None
    named = labels if isinstance(labels, dict) else {}
    revision = next((named[key] for key in HASHES if isinstance(named.get(key), str)), "")
    trouble = _of_pod(told)
    containers = []
    for listed, status in (("initContainers", "initContainerStatuses"), ("containers", "containerStatuses")):
        states = {text(one, "name"): one for one in records(told, "status", status)}
        for one in records(told, "spec", listed):
            state = states.get(text(one, "name"), {})
            containers.append(
                Container(
                    text(one, "name"),
                    text(one, "image"),
                    _pulled(text(state, "imageID")),
                    state.get("ready") is True,
                    _of_container(state) or trouble,
                )
            )
    return Pod(
        text(told, "metadata", "namespace"),
        text(told, "metadata", "name"),
        owner_of(told),
        revision,
        bool(text(told, "metadata", "deletionTimestamp")),
        time(told, "metadata", "creationTimestamp"),
        tuple(containers),
    )


def owner_of(told: dict[str, Any]) -> Owner | None:
    """The controller of an object; None where it has none."""
    for one in records(told, "metadata", "ownerReferences"):
        if one.get("controller") is True:
            return Owner(text(one, "kind"), text(one, "name"), text(one, "uid"))
    return None


def _pulled(identity: str) -> str | None:
    """The digest of `docker-pullable://ghcr.io/acme/web@sha256:…`. Without a repository before it, it is the
    identifier of an image, which no registry knows."""
    repository, at, digest = identity.rpartition("@")
    return digest if at and repository and DIGEST.fullmatch(digest) else None


def _of_container(state: dict[str, Any]) -> str | None:
    why = text(state, "state", "waiting", "reason")
    if why not in ILL:
        return None
    words = line(state, "state", "waiting", "message")
    before = text(state, "lastState", "terminated", "reason")
    if before and before != "Error":
        words = f"{before}; {words}" if words else before
    return f"{why}: {words}" if words else why


def _of_pod(told: dict[str, Any]) -> str | None:
    """Why no node takes it."""
    scheduled = condition(told, "PodScheduled")
    if text(scheduled, "status") == "False" and text(scheduled, "reason") == "Unschedulable":
        return f"Unschedulable: {line(scheduled, 'message')}"
    return None
