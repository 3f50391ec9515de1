"""A cluster to look at: lists of API objects as a large one has them, served by a process of its own."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

Object = dict[str, Any]
HOST, SPACE, TAG = "registry.example.com", "shop", "1.0.0"
REPOSITORY = "https://git.example.com/shop.git"
FILLER = "x" * 5_000
"""Of each object: what managed fields, environments and annotations take of one."""
GROUPS = (
    ("apps", "v1"),
    ("batch", "v1"),
    ("source.toolkit.fluxcd.io", "v1"),
    ("kustomize.toolkit.fluxcd.io", "v1"),
)


class Size(NamedTuple):
    """How much there is."""

    workloads: int
    pods: int
    """Of each workload."""
    syncs: int
    """Kustomizations of Flux."""


def name_of(number: int) -> str:
    return f"web{number:05}"


def image_of(number: int) -> str:
    return f"{HOST}/acme/{name_of(number)}"


def objects(size: Size, revision: str) -> dict[str, list[Object]]:
    """Everything that is there, by plural: Deployments rolled out a day ago, applied by Flux."""
    found: dict[str, list[Object]] = {
        plural: [] for plural in ("deployments", "replicasets", "pods", "statefulsets", "daemonsets")
    } | {"cronjobs": [], "jobs": [], "gitrepositories": [], "kustomizations": []}
    for number in range(size.workloads):
        name = name_of(number)
        spec = {"containers": [{"name": "app", "image": f"{image_of(number)}:{TAG}"}]}
        found["deployments"].append(_deployment(name, spec, size.pods))
        found["replicasets"].append(
            {
                "metadata": {**_metadata(f"{name}-1"), "ownerReferences": [_owner("Deployment", name)]},
                "spec": {"replicas": size.pods, "template": {"spec": spec}},
                "status": {"replicas": size.pods},
            }
        )
        found["pods"] += [_pod(f"{name}-1", each, spec) for each in range(size.pods)]
    found["gitrepositories"].append(
        {
            "metadata": _metadata("shop"),
            "spec": {"url": REPOSITORY, "ref": {"branch": "main"}},
            "status": {"artifact": {"revision": f"main@sha1:{revision}"}},
        }
    )
    found["kustomizations"] = [_kustomization(number, revision) for number in range(size.syncs)]
    return found


def _metadata(name: str) -> Object:
    return {
        "name": name,
        "namespace": SPACE,
        "uid": f"uid-{name}",
        "generation": 1,
        "creationTimestamp": _written(),
        "annotations": {"example.com/filler": FILLER},
    }


def _written() -> str:
    return (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _owner(kind: str, name: str) -> Object:
    return {"kind": kind, "name": name, "uid": f"uid-{name}", "controller": True}


def _deployment(name: str, spec: Object, pods: int) -> Object:
    condition = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), pods)
    return {
        "metadata": _metadata(name),
        "spec": {"replicas": pods, "template": {"spec": spec}},
        "status": {"observedGeneration": 1, **counts, "conditions": [condition]},
    }


def _pod(owner: str, number: int, spec: Object) -> Object:
    state = {
        "name": "app",
        "image": spec["containers"][0]["image"],
        "imageID": f"{HOST}/acme/web@sha256:{'0' * 64}",
        "ready": True,
        "restartCount": 0,
        "state": {"running": {"startedAt": _written()}},
    }
    return {
        "metadata": {**_metadata(f"{owner}-{number}"), "ownerReferences": [_owner("ReplicaSet", owner)]},
        "spec": spec,
        "status": {"phase": "Running", "containerStatuses": [state]},
    }


def _kustomization(number: int, revision: str) -> Object:
    ready = {"type": "Ready", "status": "True", "reason": "ReconciliationSucceeded"}
    return {
        "metadata": _metadata(f"sync{number:05}"),
        "spec": {
            "path": f"./overlays/{number:05}",
            "targetNamespace": SPACE,
            "sourceRef": {"kind": "GitRepository", "name": "shop"},
        },
        "status": {
            "observedGeneration": 1,
            "lastAppliedRevision": f"main@sha1:{revision}",
            "conditions": [ready],
        },
    }


@contextmanager
def serve(held: dict[str, list[Object]]) -> Iterator[str]:
    """An API server for these objects, in a process of its own; gives its address."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_serve, args=(held, theirs), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.kill()
        process.join()


def _serve(held: dict[str, list[Object]], told: Connection) -> None:
    pages: dict[tuple[str, int, int], bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            plural, query = parts.path.rpartition("/")[2], dict(parse_qsl(parts.query))
            if plural == "apis":
                self._answer(200, json.dumps(_groups()).encode())
            elif plural not in held:
                self._answer(404, b'{"kind": "Status", "message": "no such kind"}')
            else:
                key = (plural, int(query.get("continue", "0")), int(query.get("limit", "500")))
                if key not in pages:
                    pages[key] = _page(held[plural], *key[1:])
                self._answer(200, pages[key])

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Requests are not told."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.send(server.server_address[1])
    server.serve_forever()


def _groups() -> Object:
    versions = [
        (group, {"groupVersion": f"{group}/{version}", "version": version}) for group, version in GROUPS
    ]
    return {"groups": [{"name": group, "preferredVersion": version} for group, version in versions]}


def _page(held: list[Object], start: int, count: int) -> bytes:
    rest = len(held) - start - count
    metadata = {"continue": str(start + count)} if rest > 0 else {}
    return json.dumps({"metadata": metadata, "items": held[start : start + count]}).encode()
