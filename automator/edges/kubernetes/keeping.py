"""Keeping: what is kept of an API object, since most of it (managed fields, environments, histories) is of no
matter here, and a large cluster has tens of thousands of them."""

from __future__ import annotations

from typing import Any

from automator.edges.kubernetes.reading import at, number, records

LONGEST = 2000
"""Characters that are kept of a text."""
_METADATA = ("name", "namespace", "uid", "generation", "creationTimestamp")
_SPEC = ("replicas", "minReadySeconds", "parallelism", "progressDeadlineSeconds", "suspend")
_STATUS = (
    "availableReplicas", "currentNumberScheduled", "currentPodHash", "currentRevision",
    "desiredNumberScheduled", "message", "numberAvailable", "observedGeneration", "phase", "replicas",
    "startTime", "updateRevision", "updatedNumberScheduled", "updatedReplicas", "abort",
    "workloadObservedGeneration",
)  # fmt: skip
_CONDITION = ("type", "status", "reason", "message", "lastUpdateTime", "lastTransitionTime")
_REFERENCE = ("apiVersion", "kind", "name")
_OWNER = ("kind", "name", "uid", "controller")
_DROPPED = frozenset(
    {
        "managedFields", "annotations", "history", "inventory", "values", "patches", "postRenderers",
        "ignoreDifferences", "operation", "valuesObject", "parameters", "snapshot",
    }
)  # fmt: skip
"""Keys of a synchronizer's object under which there may be much, and nothing that is read."""


def controller(told: dict[str, Any]) -> dict[str, Any]:
    """What is read of an object that runs pods, or has others that do."""
    spec = {
        **_picked(at(told, "spec"), _SPEC),
        "template": _template(at(told, "spec", "template")),
        "updateStrategy": {"rollingUpdate": {"partition": _partition(told)}},
    }
    if (reference := _picked(at(told, "spec", "workloadRef"), _REFERENCE)) != {}:
        spec["workloadRef"] = reference
    nested = at(told, "spec", "jobTemplate", "spec", "template")
    if nested is not None:
        spec["jobTemplate"] = {"spec": {"template": _template(nested)}}
    conditions = [_picked(one, _CONDITION) for one in records(told, "status", "conditions")]
    status = {**_picked(at(told, "status"), _STATUS), "conditions": conditions}
    return {"metadata": _metadata(told), "spec": spec, "status": status}


def replica_set(told: dict[str, Any]) -> dict[str, Any]:
    """What is read of a ReplicaSet: of one without pods, whose it is."""
    spec: dict[str, Any] = _picked(at(told, "spec"), ("replicas",))
    if number(told, "spec", "replicas") != 0 or number(told, "status", "replicas"):
        spec["template"] = _template(at(told, "spec", "template"))
    return {"metadata": _metadata(told), "spec": spec}


def synchronizer(told: dict[str, Any]) -> dict[str, Any]:
    """What may be read of an object of Flux or Argo CD."""
    return {key: _pruned(value) for key, value in told.items() if key in ("metadata", "spec", "status")}


def _metadata(told: dict[str, Any]) -> dict[str, Any]:
    owners = [_picked(one, _OWNER) for one in records(told, "metadata", "ownerReferences")]
    return {**_picked(at(told, "metadata"), _METADATA), **({"ownerReferences": owners} if owners else {})}


def _template(told: Any) -> dict[str, Any]:
    spec = {
        key: [_picked(one, ("name", "image")) for one in records(told, "spec", key)]
        for key in ("initContainers", "containers")
        if records(told, "spec", key)
    }
    return {"spec": spec}


def _partition(told: dict[str, Any]) -> int | None:
    return number(told, "spec", "updateStrategy", "rollingUpdate", "partition")


def _picked(told: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(told, dict):
        return {}
    return {key: _short(told[key]) for key in keys if isinstance(told.get(key), str | int | bool)}


def _short(value: Any) -> Any:
    return value[:LONGEST] if isinstance(value, str) else value


def _pruned(told: Any) -> Any:
    if isinstance(told, dict):
        return {key: _pruned(value) for key, value in told.items() if key not in _DROPPED}
    if isinstance(told, list):
        return [_pruned(one) for one in told if not _is_well(one)]
    return _short(told)


def _is_well(told: Any) -> bool:
    """Whether it is a resource of an Application that is in health: there are thousands."""
    return isinstance(told, dict) and at(told, "health", "status") == "Healthy"
