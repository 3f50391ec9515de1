"""Pods: what of a pod tells which images run, how they are, and what is wrong.

What is wrong is either a container's own (its image does not exist, it falls again and again), or in its
way: no node takes the pod, the registry does not answer, a container beside it falls. Only the first says
something of an image.
https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from automator.core.reference import DIGEST
from automator.edges.kubernetes.reading import at, condition, line, number, records, text, time
from automator.edges.kubernetes.starting import NEVER_RAN, is_images_own

ILL = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerError",
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    }
)
"""Reasons for which a container waits that do not pass by themselves within seconds, and are its own where
their words do not say otherwise."""
HINDERED = frozenset(
    {
        "CreateContainerConfigError",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
"""Such reasons that are never its own: a Secret that is not there is no image's fault, nor is what a node
lacks, or wants signed."""
RECENT = timedelta(minutes=5)
"""How long a container that was started again has to run before it is believed: the kubelet waits as long at
the most before it starts one again."""
SKEW = timedelta(minutes=1)
"""By how much a node's clock may be before the API server's: a later start is none that can be dated."""
FALLS = 3
"""Starts after the first one from which on it is no accident."""
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
    """Whether it serves, with its pod, and has not just been started again."""
    trouble: str | None
    """Of its own."""
    hindrance: str | None = None
    """What is in its way that is not its own."""
    stalls: timedelta | None = None
    """How long it has run, where it alone is not ready, and nothing is in its way."""
    restarts: int | None = None
    """How often it was started again, where that is told."""


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


def read_pod(told: dict[str, Any], now: datetime) -> Pod:
    """A pod, from its JSON. `now`: as the API server has it, or whoever comes nearest to that."""
    labels = at(told, "metadata", "labels")
    named = labels if isinstance(labels, dict) else {}
    revision = next((named[key] for key in HASHES if isinstance(named.get(key), str)), "")
    return Pod(
        text(told, "metadata", "namespace"),
        text(told, "metadata", "name"),
        owner_of(told),
        revision,
        bool(text(told, "metadata", "deletionTimestamp")),
        time(told, "metadata", "creationTimestamp"),
        _containers(told, now),
    )


def owner_of(told: dict[str, Any]) -> Owner | None:
    """The controller of an object; None where it has none."""
    for one in records(told, "metadata", "ownerReferences"):
        if one.get("controller") is True:
            return Owner(text(one, "kind"), text(one, "name"), text(one, "uid"))
    return None


def _containers(told: dict[str, Any], now: datetime) -> tuple[Container, ...]:
    read: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for listed, status in (("initContainers", "initContainerStatuses"), ("containers", "containerStatuses")):
        states = {text(one, "name"): one for one in records(told, "status", status)}
        read += [(one, states.get(text(one, "name"), {})) for one in records(told, "spec", listed)]
    troubles = [_trouble(state, now) for _, state in read]
    wrong = [trouble or _waits(state) for trouble, (_, state) in zip(troubles, read, strict=True)]
    ill = [i for i, words in enumerate(wrong) if words][:2]
    unready = [i for i, (_, state) in enumerate(read) if state.get("ready") is not True][:2]
    in_the_way, gate = _unscheduled(told), _gate(told)
    found = []
    for i, (one, state) in enumerate(read):
        beside = next((f"container {line(read[j][0], 'name')}: {wrong[j]}" for j in ill if j != i), None)
        own = None if troubles[i] else wrong[i]
        hindrance = in_the_way or own or beside or (None if unready else gate)
        is_alone = unready == [i] and hindrance is None
        found.append(
            Container(
                text(one, "name"),
                text(one, "image"),
                _pulled(text(state, "imageID")),
                state.get("ready") is True and gate is None and not _fell_lately(state, now),
                troubles[i],
                hindrance,
                _runs_for(state, now) if is_alone else None,
                number(state, "restartCount"),
            )
        )
    return tuple(found)


def _pulled(identity: str) -> str | None:
    """The digest of `docker-pullable://ghcr.io/acme/web@sha256:…`. Without a repository before it, it is the
    identifier of an image, which no registry knows."""
    repository, at, digest = identity.rpartition("@")
    return digest if at and repository and DIGEST.fullmatch(digest) else None


def _trouble(state: dict[str, Any], now: datetime) -> str | None:
    """What is wrong with a container itself. One that is ready has recovered, until it falls again."""
    if _is_ill(state):
        before = line(state, "lastState", "terminated", "reason")
        return _waits(state, None if before == "Error" else before)
    restarts = number(state, "restartCount") or 0
    is_up = state.get("ready") is True and isinstance(at(state, "state", "running"), dict)
    if restarts < FALLS or is_up or not _fell_lately(state, now) or _was_kept_from_running(state):
        return None
    ended = line(state, "lastState", "terminated", "reason")
    code = number(state, "lastState", "terminated", "exitCode")
    last = ", ".join(filter(None, (ended, "" if code is None else f"exit code {code}")))
    return f"it was started again {restarts} times" + (f", the last time after {last}" if last else "")


def _fell_lately(state: dict[str, Any], now: datetime) -> bool:
    """Whether a container was started again a short while ago, or cannot be told when."""
    if not number(state, "restartCount") or number(state, "state", "terminated", "exitCode") == 0:
        return False  # an init container that is done has nothing left to show
    known = [
        when
        for path in (("state", "running", "startedAt"), ("lastState", "terminated", "finishedAt"))
        if (when := time(state, *path)) is not None
    ]
    return not known or -SKEW <= now - max(known) < RECENT


def _runs_for(state: dict[str, Any], now: datetime) -> timedelta | None:
    """How long a container has run since it was started; None where it does not run. Where that is not told,
    it is long enough for whoever watches it."""
    if not isinstance(at(state, "state", "running"), dict):
        return None
    started = time(state, "state", "running", "startedAt")
    return timedelta.max if started is None else now - started


def _is_ill(state: dict[str, Any]) -> bool:
    """Whether a container waits for a reason that is its own."""
    why = text(state, "state", "waiting", "reason")
    if why == "CrashLoopBackOff" and _was_kept_from_running(state):
        return False
    return why in ILL and is_images_own(why, text(state, "state", "waiting", "message"))


def _was_kept_from_running(state: dict[str, Any]) -> bool:
    """Whether the last start of a container came to nothing, for what is not its image's fault."""
    last = at(state, "state", "waiting")
    if text(last, "reason") != "RunContainerError":
        last = at(state, "lastState", "terminated")
    why = text(last, "reason")
    return why in NEVER_RAN and not is_images_own(why, text(last, "message"))


def _waits(state: dict[str, Any], before: str | None = None) -> str | None:
    """Why a container waits, and what it ended with `before`; None where that passes by itself."""
    why = text(state, "state", "waiting", "reason")
    if why not in ILL and why not in HINDERED:
        return None
    said, last = line(state, "state", "waiting", "message"), at(state, "lastState", "terminated")
    if why == "CrashLoopBackOff" and text(last, "reason") in NEVER_RAN:
        # The kubelet tells how long it waits, and no more.
        before, said = line(last, "reason"), line(last, "message") or said
    words = "; ".join(filter(None, (before, said)))
    return f"{why}: {words}" if words else why


def _unscheduled(told: dict[str, Any]) -> str | None:
    """Why no node takes it."""
    scheduled = condition(told, "PodScheduled")
    if text(scheduled, "status") == "False" and text(scheduled, "reason") == "Unschedulable":
        return f"Unschedulable: {line(scheduled, 'message')}"
    return None


def _gate(told: dict[str, Any]) -> str | None:
    """Why a pod serves nobody; None where it does, or does not say."""
    ready = condition(told, "Ready")
    if not ready or text(ready, "status") == "True":
        return None
    return ": ".join(filter(None, (line(ready, "reason") or "not Ready", line(ready, "message"))))
