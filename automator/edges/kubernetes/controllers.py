"""Controllers: what Deployments, StatefulSets, DaemonSets, Rollouts, CronJobs, Jobs and lone pods run.

What a controller is told to run is its template; what runs is its pods, each counted to the template that it
was made of where it runs that image, or a mirror of it as admission writes it. What a rollout leaves behind
runs with nothing wanted, until it is told to end; of what somebody wrote into a pod nobody knows what is
wanted. That a controller gave up is held against a container alone that is ill itself, or has had as long as
the controller gives it; and what is ill in no more pods of a template than run it well may be a node's doing,
until the controller gives up for it. What an Argo Rollout runs for a Deployment is told as that one's.
https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from automator.core.reference import parse_reference
from automator.core.running import Running
from automator.edges.kubernetes.pods import Container, Owner, Pod, owner_of
from automator.edges.kubernetes.reading import at, condition, is_current, line, number, records, text, time
from automator.errors import InvalidReference

Objects = Mapping[str, list[dict[str, Any]]]
"""By their plural: `deployments`, `replicasets`, …"""
KINDS = {
    "deployments": "Deployment",
    "statefulsets": "StatefulSet",
    "daemonsets": "DaemonSet",
    "rollouts": "Rollout",
}
JOB_FAILURES = frozenset({"BackoffLimitExceeded", "PodFailurePolicy"})
DEADLINE = 600
"""Seconds that a Deployment, or a Rollout, has for its progress where it does not say."""
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Controller:
    """One controller, as far as it matters what it runs."""

    kind: str
    namespace: str
    name: str
    images: Mapping[str, str]
    """By container, init containers too: what its template says."""
    wanted: int | None
    settled: bool | None
    failed: bool = False
    """Whether it gave up; of a job, whether that is its one container's doing."""
    trouble: str | None = None
    """Why it gave up."""
    hindrance: str | None = None
    """What is in its way that is no container's doing."""
    available: int | None = None
    """Replicas that were ready for long enough, where that is asked for."""
    since: datetime | None = None
    revision: str = ""
    """Hash of its present template; empty where that is not told."""
    deadline: int = DEADLINE
    """Seconds that a container may take to get ready."""
    is_replaced: bool = False
    """Whether a Rollout runs its template in its place: what its own pods still run, it leaves behind."""
    pods: list[Pod] = field(default_factory=list)


class _Made(NamedTuple):
    """A ReplicaSet: which controller made it, and of which template."""

    owner: Owner | None
    namespace: str
    name: str
    images: Mapping[str, str]
    wanted: int
    created: datetime | None


def read_running(objects: Objects, pods: Iterable[Pod]) -> tuple[Running, ...]:
    """Everything that runs or ought to, from lists of one moment. Never raises for what they hold."""
    sets = {_uid(one): _replica_set(one) for one in objects.get("replicasets", ())}
    found = dict(_controllers(objects, sets))
    crons = {_uid(one) for one in objects.get("cronjobs", ())}
    skipped = crons | {
        _uid(one) for one in objects.get("jobs", ()) if (owner := owner_of(one)) and owner.kind == "CronJob"
    }
    for pod in pods:
        owner = pod.owner
        made = sets.get(owner.uid) if owner is not None else None
        if owner is not None and made is not None and made.owner is not None:
            owner = made.owner
        if owner is not None and owner.uid in skipped:
            continue  # what a CronJob is told counts, not what it ran last night
        key = owner.uid if owner is not None else f"{pod.namespace}/{pod.name}"
        if key not in found:
            if pod.is_going and owner is not None and owner.kind != "Node":
                continue  # what else it was told to run is not to be read off a pod that leaves
            found[key] = _unknown(owner, pod)
        found[key].pods.append(pod)
    return tuple(one for controller in found.values() for one in _running(controller, sets))


def _unknown(owner: Owner | None, pod: Pod) -> Controller:
    """A pod of its own, or the pods of a controller that is not read."""
    images = {container.name: container.image for container in pod.containers}
    if owner is None or owner.kind == "Node":  # a static pod belongs to its node
        return Controller("Pod", pod.namespace, pod.name, images, 1, None, since=pod.created)
    return Controller(owner.kind, pod.namespace, owner.name, images, None, None)


# -- what each kind says of itself -------------------------------------------------------------------------


def _controllers(objects: Objects, sets: Mapping[str, _Made]) -> Iterator[tuple[str, Controller]]:
    newest: dict[str, datetime] = {}
    templates: dict[str, Mapping[str, str]] = {}
    for made in sorted(sets.values(), key=lambda one: one.created or _LONG_AGO, reverse=True):
        if made.owner is None or not made.images:
            continue
        if made.created is not None and made.wanted:
            newest[made.owner.uid] = max(made.created, newest.get(made.owner.uid, made.created))
        templates.setdefault(made.owner.uid, made.images)
    deployments = {_named(one): one for one in objects.get("deployments", ())}
    rollouts = [(one, _workload(one, deployments)) for one in objects.get("rollouts", ())]
    referred = {_uid(workload) for _, workload in rollouts if workload is not None}
    for one in objects.get("deployments", ()):
        yield _uid(one), _deployment(one, newest.get(_uid(one)), is_referred=_uid(one) in referred)
    for one in objects.get("statefulsets", ()):
        yield _uid(one), _stateful_set(one)
    for one in objects.get("daemonsets", ()):
        yield _uid(one), _daemon_set(one)
    for one, workload in rollouts:
        # By workloadRef, a Rollout runs the template of something else: that of its ReplicaSets, where that
        # is not read.
        uid = _uid(one)
        yield uid, _rollout(one, newest.get(uid), templates.get(uid, {}), workload)
    for uid, made in sets.items():
        if made.owner is None:
            yield uid, Controller("ReplicaSet", made.namespace, made.name, made.images, made.wanted, None)
    for one in objects.get("cronjobs", ()):
        spec = at(one, "spec", "jobTemplate", "spec", "template", "spec")
        yield _uid(one), Controller("CronJob", *_named(one), _images(spec), None, None)
    for one in objects.get("jobs", ()):
        owner = owner_of(one)
        if owner is None or owner.kind != "CronJob":
            yield _uid(one), _job(one)


def _workload(
    told: dict[str, Any], deployments: Mapping[tuple[str, str], dict[str, Any]]
) -> dict[str, Any] | None:
    """The Deployment whose template a Rollout runs; None where it has one of its own."""
    to = at(told, "spec", "workloadRef")
    if text(to, "kind") != "Deployment" or not text(to, "apiVersion").startswith("apps/"):
        return None
    return deployments.get((text(told, "metadata", "namespace"), text(to, "name")))


def _deployment(told: dict[str, Any], newest: datetime | None, *, is_referred: bool) -> Controller:
    wanted = _replicas(told)
    updated, every = (number(told, "status", key) or 0 for key in ("updatedReplicas", "replicas"))
    progress = condition(told, "Progressing")
    current = is_current(told)
    gave_up = current and text(progress, "reason") == "ProgressDeadlineExceeded"
    is_done = text(progress, "reason") == "NewReplicaSetAvailable"
    refused = condition(told, "ReplicaFailure")
    return Controller(
        "Deployment",
        *_named(told),
        _images(at(told, "spec", "template", "spec")),
        wanted,
        current and updated >= wanted and every <= updated,
        gave_up,
        "the rollout exceeded its progress deadline" if gave_up else None,
        (line(refused, "message") or "pods are refused") if text(refused, "status") == "True" else None,
        _available(told, "availableReplicas"),
        (time(progress, "lastUpdateTime") if is_done else None) or newest or _created(told),
        deadline=_deadline(told),
        # One that has replicas runs beside the Rollout (`scaleDown: never`, or not yet).
        is_replaced=is_referred and wanted == 0,
    )


def _stateful_set(told: dict[str, Any]) -> Controller:
    wanted = _replicas(told)
    kept = number(told, "spec", "updateStrategy", "rollingUpdate", "partition") or 0
    updated = number(told, "status", "updatedReplicas") or 0
    present, new = text(told, "status", "currentRevision"), text(told, "status", "updateRevision")
    return Controller(
        "StatefulSet",
        *_named(told),
        _images(at(told, "spec", "template", "spec")),
        wanted,
        is_current(told) and (present == new or updated >= max(0, wanted - kept)),
        available=_available(told, "availableReplicas"),
        revision=new,
    )


def _daemon_set(told: dict[str, Any]) -> Controller:
    wanted = number(told, "status", "desiredNumberScheduled")
    updated = number(told, "status", "updatedNumberScheduled") or 0
    return Controller(
        "DaemonSet",
        *_named(told),
        _images(at(told, "spec", "template", "spec")),
        wanted,
        is_current(told) and updated >= (wanted or 0),
        available=_available(told, "numberAvailable"),
    )


def _rollout(
    told: dict[str, Any], newest: datetime | None, made: Mapping[str, str], workload: dict[str, Any] | None
) -> Controller:
    """Argo Rollouts: https://argo-rollouts.readthedocs.io/en/stable/features/specification/
    What one runs for a Deployment bears that one's name: it is what Git names."""
    images = _images(at(workload or told, "spec", "template", "spec")) or made
    phase, message = text(told, "status", "phase"), line(told, "status", "message")
    current = is_current(told) and (workload is None or _has_seen(told, workload))
    given_up = current and (at(told, "status", "abort") is True or phase == "Degraded")
    trouble = f"{phase or 'aborted'}: {message}" if given_up else None
    settled = current and phase == "Healthy" if phase else None
    return Controller(
        "Rollout" if workload is None else "Deployment", *_named(workload or told),
        images, _replicas(told), settled, given_up, trouble, None,
        _available(told, "availableReplicas"), newest or _created(told),
        text(told, "status", "currentPodHash"), _deadline(told),
    )  # fmt: skip


def _job(told: dict[str, Any]) -> Controller:
    is_done = text(condition(told, "Complete"), "status") == "True"
    failed = condition(told, "Failed")
    has_failed = text(failed, "status") == "True"
    trouble = ": ".join(filter(None, (text(failed, "reason"), line(failed, "message")))) if has_failed else ""
    wanted = 0 if is_done or has_failed else number(told, "spec", "parallelism") or 1
    images = _images(at(told, "spec", "template", "spec"))
    words = (trouble or "it failed") if has_failed else None
    # Its pods are gone: of several containers nobody knows which failed; and a deadline is no image's fault.
    is_own = len(images) == 1 and text(failed, "reason") in JOB_FAILURES
    return Controller(
        "Job",
        *_named(told),
        images,
        wanted,
        True if is_done else None,
        has_failed and is_own,
        words if is_own else None,
        None if is_own else words,
        None,
        time(told, "status", "startTime") or _created(told),
    )


def _replica_set(told: dict[str, Any]) -> _Made:
    namespace, name = _named(told)
    images = _images(at(told, "spec", "template", "spec"))
    return _Made(owner_of(told), namespace, name, images, _replicas(told), _created(told))


# -- what runs ---------------------------------------------------------------------------------------------


def _running(one: Controller, sets: Mapping[str, _Made]) -> Iterator[Running]:
    """A controller's containers, and those of its pods that run another image than its template says."""
    by_container: dict[str, list[tuple[str, Pod, Container]]] = {}
    rewritten: set[tuple[str, str]] = set()
    for pod in one.pods:
        made = sets.get(pod.owner.uid) if pod.owner is not None else None
        for container in pod.containers:
            image = _asked(one, pod, container, None if made is None else made.images)
            if not (image == container.image or _is_mirror(container.image, image, container.digest)):
                image = container.image  # whoever set it, the pod is not going to be replaced
                rewritten.add((container.name, image))
            by_container.setdefault(container.name, []).append((image, pod, container))
    for name in dict.fromkeys((*one.images, *by_container)):
        wanted_image = None if one.is_replaced else one.images.get(name)
        others: dict[str, list[tuple[Pod, Container]]] = {}
        mine: list[tuple[Pod, Container]] = []
        for image, pod, container in by_container.get(name, ()):
            if image == wanted_image:
                mine.append((pod, container))
            elif not pod.is_going:  # a node that died never says that it has ended
                others.setdefault(image, []).append((pod, container))
        if wanted_image is not None:
            yield _told(one, name, wanted_image, mine)
        for image, left in others.items():
            digest = _one_digest(container for _, container in left)
            is_left = one.images and (name, image) not in rewritten
            yield Running(
                one.kind, one.namespace, one.name, name, image, digest, wanted=0 if is_left else None,
                ready=len(left),
            )  # fmt: skip


def _asked(one: Controller, pod: Pod, container: Container, made: Mapping[str, str] | None) -> str:
    """The image that a pod was made to run, before admission or anybody wrote another one there."""
    if made is None:
        is_of_template = one.revision == pod.revision if one.revision else one.settled is True
        made = one.images if is_of_template else {}
    return made.get(container.name, container.image)


@lru_cache(maxsize=4096)
def _is_mirror(image: str, asked: str, pulled: str | None) -> bool:
    """Whether an image is another one's by another name: by an equal digest, or an equal tag and path, before
    which a mirror may put its own."""
    try:
        its, wanted = parse_reference(image), parse_reference(asked)
    except InvalidReference:
        return False
    if wanted.digest is not None:
        return wanted.digest in (its.digest, pulled)
    path = wanted.repository.path.removeprefix("library/")
    is_path = f"/{its.repository.path}".endswith(f"/{path}")
    return is_path and (its.tag or "latest") == (wanted.tag or "latest") and bool(its.tag or not its.digest)


def _told(one: Controller, name: str, image: str, pods: list[tuple[Pod, Container]]) -> Running:
    stays = [container for pod, container in pods if not pod.is_going]
    ill = [container.trouble for container in stays if container.trouble]
    trouble = ill[0] if ill else None
    hindrance = one.hindrance or next((each.hindrance for each in stays if each.hindrance), None)
    stalls = (container.stalls for container in stays if container.stalls is not None)
    # One that came late, as its node or its image did, has not had its time yet.
    is_stalled = hindrance is None and any(ran.total_seconds() >= one.deadline for ran in stalls)
    has_failed = one.failed and (trouble is not None or is_stalled or one.kind == "Job")
    if one.trouble and has_failed:
        trouble = f"{one.trouble}; {trouble}" if trouble else one.trouble
    elif one.trouble:
        hindrance = f"{one.trouble}; {hindrance}" if hindrance else one.trouble
    elif len(ill) <= sum(container.ready for container in stays):
        hindrance = f"{len(ill)} of {len(stays)} pods: {trouble}" if trouble else hindrance
        trouble = None
    counts = one.kind != "CronJob"
    ready = 0 if one.kind == "Job" else sum(container.ready for container in stays)
    if one.available is not None:
        ready = min(ready, one.available)
    return Running(
        one.kind,
        one.namespace,
        one.name,
        name,
        image,
        _one_digest(stays),
        wanted=(len(stays) if one.wanted is None else one.wanted) if counts else None,
        ready=ready if counts else None,
        settled=one.settled,
        trouble=trouble,
        since=one.since,
        failed=has_failed,
        hindrance=hindrance,
        restarts=_restarts(stays),
    )


def _restarts(containers: Iterable[Container]) -> int | None:
    told = [one.restarts for one in containers if one.restarts is not None]
    return sum(told) if told else None


def _one_digest(containers: Iterable[Container]) -> str | None:
    """The digest that all of them were pulled as; None where one does not tell, or they differ."""
    digests = {container.digest for container in containers}
    return digests.pop() if len(digests) == 1 else None


# -- parts -------------------------------------------------------------------------------------------------


def _named(told: dict[str, Any]) -> tuple[str, str]:
    return text(told, "metadata", "namespace"), text(told, "metadata", "name")


def _uid(told: dict[str, Any]) -> str:
    return text(told, "metadata", "uid")


def _created(told: dict[str, Any]) -> datetime | None:
    return time(told, "metadata", "creationTimestamp")


def _available(told: dict[str, Any], key: str) -> int | None:
    """Replicas that are available, where that takes longer than to be ready; 0 is not told."""
    asked = (number(told, "spec", "minReadySeconds") or 0) > 0
    return (number(told, "status", key) or 0) if asked else None


def _deadline(told: dict[str, Any]) -> int:
    seconds = number(told, "spec", "progressDeadlineSeconds")
    return DEADLINE if seconds is None else seconds


def _has_seen(rollout: dict[str, Any], workload: dict[str, Any]) -> bool:
    """Whether a Rollout's status speaks of the present spec of what it refers to, where it says."""
    seen = text(rollout, "status", "workloadObservedGeneration")
    return seen in ("", str(number(workload, "metadata", "generation")))


def _replicas(told: dict[str, Any]) -> int:
    wanted = number(told, "spec", "replicas")
    return 1 if wanted is None else wanted


def _images(spec: Any) -> dict[str, str]:
    every = (*records(spec, "initContainers"), *records(spec, "containers"))
    return {text(one, "name"): text(one, "image") for one in every}
