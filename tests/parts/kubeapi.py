"""A Kubernetes API server for tests: a small real HTTPS server that serves objects as a real one does.

    with KubeApi(tmp_path) as api:
        api.deploy("shop", "web", "ghcr.io/acme/web:1.4.3")     # Deployment, ReplicaSet, pods: rolled out
        api.deploy("shop", "web", "ghcr.io/acme/web:1.4.4", ready=1, trouble="ErrImagePull: manifest unknown")
        api.put({"kind": "CronJob", ...})                       # any object, as `kubectl apply` would
        api.kubeconfig(), api.token_file, api.calls, api.served

Lists come in pages of `limit` with `metadata.continue`; without a known token (or client certificate, where
it wants one) the answer is 401, for what `forbidden` names 403, for kinds that are not `served` 404: all as a
`Status`. Whatever is no GET is 405, and recorded like the rest.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from parts.canaries import secret
from parts.certificates import Authority, make_ca

Object = dict[str, Any]
KINDS = {
    ("", "v1", "pods"): "Pod",
    ("apps", "v1", "deployments"): "Deployment",
    ("apps", "v1", "replicasets"): "ReplicaSet",
    ("apps", "v1", "statefulsets"): "StatefulSet",
    ("apps", "v1", "daemonsets"): "DaemonSet",
    ("batch", "v1", "cronjobs"): "CronJob",
    ("batch", "v1", "jobs"): "Job",
}
FLUX = {
    ("source.toolkit.fluxcd.io", "v1", "gitrepositories"): "GitRepository",
    ("kustomize.toolkit.fluxcd.io", "v1", "kustomizations"): "Kustomization",
    ("helm.toolkit.fluxcd.io", "v2", "helmreleases"): "HelmRelease",
}
ARGO = {
    ("argoproj.io", "v1alpha1", "applications"): "Application",
    ("argoproj.io", "v1alpha1", "rollouts"): "Rollout",
}


@dataclass(frozen=True)
class Call:
    """One request, and how it ended."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    status: int

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.status}"


@dataclass
class Fault:
    """What goes wrong for the next `times` requests whose path ends with `on`."""

    status: int
    on: str
    times: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    silent: bool = False
    """No answer until the server ends."""
    in_mid_list: bool = False
    """Only for a request that goes on with a list."""


class KubeApi:
    """An API server on a free port of the loopback, behind TLS with an authority of its own."""

    def __init__(self, folder: Path, *, client_certificates: bool = False) -> None:
        self.folder = folder
        self.authority: Authority = make_ca(folder / "kube-ca")
        self.token = secret("kube-token")
        self.token_file = folder / "kube-token"
        self.token_file.write_text(self.token + "\n")
        self.tokens = {self.token}
        """Those that are known; one that is taken out is refused."""
        self.served: dict[tuple[str, str, str], str] = {**KINDS}
        self.forbidden: set[str] = set()
        """Plurals that may not be listed; `pods/kube-system` in one namespace, `pods/` in all at once."""
        self.faults: list[Fault] = []
        self.calls: list[Call] = []
        self.padding = 0
        """Characters by which each object is longer than it need be, as managed fields make them."""
        self._objects: dict[tuple[str, str, str], Object] = {}
        self._wants_certificates = client_certificates
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self._count = 0

    # -- the server ----------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        files = self.authority.issue(["127.0.0.1", "localhost"])
        context.load_cert_chain(files.cert_file, files.key_file)
        if self._wants_certificates:
            context.load_verify_locations(self.authority.ca_file)
            context.verify_mode = ssl.CERT_OPTIONAL
        api = self

        class Handler(_Handler):
            kube = api

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def finish_request(self, request: Any, client_address: Any) -> None:
                # The handshake belongs to the request's own thread: who hangs in it holds nobody up.
                try:
                    request = context.wrap_socket(request, server_side=True)
                except OSError:
                    return
                with request:
                    super().finish_request(request, client_address)

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that hangs up is no error of a test."""

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def kubeconfig(
        self, *, user: Object | None = None, cluster: Object | None = None, name: str = "kubeconfig"
    ) -> Path:
        """A kubeconfig (JSON is YAML); by default with the authority inside and the token in its file."""
        authority = base64.b64encode(self.authority.ca_file.read_bytes()).decode()
        told = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [
                {
                    "name": "c",
                    "cluster": cluster or {"server": self.url, "certificate-authority-data": authority},
                }
            ],
            "users": [{"name": "u", "user": {"tokenFile": str(self.token_file)} if user is None else user}],
        }
        path = self.folder / name
        path.write_text(json.dumps(told, indent=1))
        return path

    def account(self) -> tuple[Path, dict[str, str]]:
        """A pod's service account: its folder, and the variables that name the server."""
        folder = self.folder / "serviceaccount"
        folder.mkdir(exist_ok=True)
        (folder / "token").write_text(self.token)
        (folder / "ca.crt").write_bytes(self.authority.ca_file.read_bytes())
        return folder, {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.port)}

    # -- what it holds -------------------------------------------------------------------------------------

    def put(self, told: Object) -> Object:
        """Keep an object, with the parts of its metadata that a server adds."""
        with self._lock:
            self._count += 1
            metadata = told.setdefault("metadata", {})
            key = (told["kind"], metadata.setdefault("namespace", "default"), metadata["name"])
            old = self._objects.get(key)
            metadata.setdefault("uid", old["metadata"]["uid"] if old else f"uid-{self._count:06}")
            metadata.setdefault("creationTimestamp", _written(datetime.now(UTC)))
            metadata.setdefault("generation", 1)
            metadata["resourceVersion"] = str(self._count)
            self._objects[key] = told
        return told

    def take(self, kind: str, namespace: str, name: str) -> None:
        """Remove an object, and what it owns."""
        with self._lock:
            gone = self._objects.pop((kind, namespace, name))["metadata"]["uid"]
            own = [key for key, one in self._objects.items() if _owner(one) == gone]
        for key in own:
            self.take(*key)

    def held(self, kind: str, namespace: str | None = None) -> list[Object]:
        with self._lock:
            return [
                one for key, one in sorted(self._objects.items())
                if key[0] == kind and namespace in (None, key[1])
            ]  # fmt: skip

    def deploy(
        self,
        namespace: str,
        name: str,
        image: str,
        *,
        container: str = "app",
        replicas: int = 2,
        ready: int | None = None,
        trouble: str | None = None,
        gave_up: bool = False,
        digest: str | None = None,
        at: datetime | None = None,
    ) -> None:
        """A Deployment as its controller leaves it when `ready` of the replicas (all, where not told) run the
        image and the others, where there were any, still run what they ran. `trouble`: `REASON: message` for
        which the containers that are not ready wait. `gave_up`: the progress deadline is over, while the
        containers that are not ready run and do not get ready, or wait for `trouble`."""
        at = at or datetime.now(UTC)
        ready = replicas if ready is None else ready
        old = next(
            (one for one in self.held("Deployment", namespace) if one["metadata"]["name"] == name), None
        )
        generation = 1 if old is None else old["metadata"]["generation"] + 1
        spec = {"containers": [{"name": container, "image": image}]}
        uid = old["metadata"]["uid"] if old else f"uid-{namespace}-{name}"
        sets = [one for one in self.held("ReplicaSet", namespace) if _owner(one) == uid]
        left = 0 if ready >= replicas or not sets else replicas - ready
        for one in sets:
            self._scale(one, left)
            left = 0
        mine = next((one for one in sets if one["spec"]["template"]["spec"] == spec), None)
        if mine is None:
            mine = self.put(
                {
                    "kind": "ReplicaSet",
                    "metadata": {
                        "name": f"{name}-{self._count:x}", "namespace": namespace,
                        "creationTimestamp": _written(at),
                        "ownerReferences": [_reference("Deployment", name, uid)],
                    },
                    "spec": {"template": {"spec": spec}, "replicas": 0},
                }
            )  # fmt: skip
        asked = replicas if trouble or gave_up or ready >= replicas else ready
        self._scale(mine, asked, ready, trouble, digest, stalls=gave_up and trouble is None)
        done = ready >= replicas
        progress = {
            "type": "Progressing",
            "status": "False" if gave_up else "True",
            "reason": "ProgressDeadlineExceeded"
            if gave_up
            else "NewReplicaSetAvailable"
            if done
            else "ReplicaSetUpdated",
            "lastUpdateTime": _written(at),
        }
        every = sum(
            one["spec"]["replicas"] for one in self.held("ReplicaSet", namespace) if _owner(one) == uid
        )
        self.put(
            {
                "kind": "Deployment",
                "metadata": {"name": name, "namespace": namespace, "uid": uid, "generation": generation},
                "spec": {"replicas": replicas, "template": {"spec": spec}},
                "status": {
                    "observedGeneration": generation, "replicas": every, "updatedReplicas": asked,
                    "readyReplicas": ready, "conditions": [progress],
                },
            }
        )  # fmt: skip

    def _scale(
        self,
        made: Object,
        replicas: int,
        ready: int | None = None,
        trouble: str | None = None,
        digest: str | None = None,
        stalls: bool = False,
    ) -> None:
        """Give a ReplicaSet so many pods."""
        namespace, name = made["metadata"]["namespace"], made["metadata"]["name"]
        for pod in [one for one in self.held("Pod", namespace) if _owner(one) == made["metadata"]["uid"]]:
            self.take("Pod", namespace, pod["metadata"]["name"])
        made["spec"]["replicas"] = replicas
        for i in range(replicas):
            is_ready = ready is None or i < ready
            self.pod(
                namespace, f"{name}-{i}", made["spec"]["template"]["spec"], owner=("ReplicaSet", made),
                trouble=None if is_ready else trouble, is_ready=is_ready, digest=digest, stalls=stalls,
            )  # fmt: skip

    def pod(
        self,
        namespace: str,
        name: str,
        spec: Object,
        *,
        owner: tuple[str, Object] | None = None,
        is_ready: bool = True,
        trouble: str | None = None,
        digest: str | None = None,
        phase: str = "Running",
        labels: Mapping[str, str] | None = None,
        is_going: bool = False,
        stalls: bool = False,
    ) -> Object:
        """A pod with the status of its containers."""
        reason, _, message = (trouble or "ContainerCreating").partition(": ")
        waiting = {"waiting": {"reason": reason, "message": message}}
        states = [
            {
                "name": one["name"],
                "image": one["image"],
                "imageID": f"{one['image'].split('@')[0].rpartition(':')[0]}@{digest}" if digest else "",
                "ready": is_ready,
                "state": {"running": {}} if is_ready or stalls else waiting,
            }
            for one in spec["containers"]
        ]
        metadata: Object = {"name": name, "namespace": namespace, "labels": dict(labels or {})}
        if owner is not None:
            kind, controller = owner
            metadata["ownerReferences"] = [
                _reference(kind, controller["metadata"]["name"], controller["metadata"]["uid"])
            ]
        if is_going:
            metadata["deletionTimestamp"] = _written(datetime.now(UTC))
        return self.put(
            {
                "kind": "Pod",
                "metadata": metadata,
                "spec": spec,
                "status": {"phase": phase, "containerStatuses": states},
            }
        )

    # -- answers -------------------------------------------------------------------------------------------

    def answer(
        self, method: str, target: str, headers: Mapping[str, str], peer: bool
    ) -> tuple[int, Any, Mapping[str, str]]:
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query))
        status, told, more = self._answer(method, parts.path, query, headers, peer)
        with self._lock:
            self.calls.append(Call(method, parts.path, query, headers, status))
        return status, told, more

    def _answer(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], peer: bool
    ) -> tuple[int, Any, Mapping[str, str]]:
        if method != "GET":
            return *_status(405, "MethodNotAllowed", "the server does not allow this method"), {}
        if headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens and not peer:
            return *_status(401, "Unauthorized", "Unauthorized"), {}
        fault = next(
            (f for f in self.faults if path.endswith(f.on) and ("continue" in query or not f.in_mid_list)),
            None,
        )
        if fault is not None:
            fault.times -= 1
            if fault.times <= 0:
                self.faults.remove(fault)
            if fault.silent:
                self._ended.wait(60)
            body: Any = (
                fault.body if fault.body is not None else _status(fault.status, "Oops", "it went wrong")[1]
            )
            return fault.status, body, fault.headers
        if path == "/apis":
            return 200, self._groups(), {}
        return self._listed(path.strip("/").split("/"), query)

    def _groups(self) -> Object:
        groups = {group: version for group, version, _ in self.served if group}
        return {
            "kind": "APIGroupList",
            "groups": [
                {
                    "name": group,
                    "preferredVersion": {"groupVersion": f"{group}/{version}", "version": version},
                }
                for group, version in groups.items()
            ],
        }

    def _listed(self, steps: list[str], query: Mapping[str, str]) -> tuple[int, Any, Mapping[str, str]]:
        group = "" if steps[0] == "api" else steps.pop(1)
        version, *rest = steps[1:]
        namespace = rest[1] if rest[:1] == ["namespaces"] else None
        plural = rest[-1]
        kind = self.served.get((group, version, plural))
        if kind is None:
            return *_status(404, "NotFound", "the server could not find the requested resource"), {}
        if self.forbidden & {plural, f"{plural}/{namespace or ''}"}:
            where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
            words = f'{plural} is forbidden: User "system:serviceaccount:a:automator" cannot list resource'
            words += f' "{plural}" in API group "{group}" {where}'
            return *_status(403, "Forbidden", words), {}
        found = [one for one in self.held(kind, namespace) if _selected(one, query.get("fieldSelector", ""))]
        start = int(base64.b64decode(query["continue"])) if "continue" in query else 0
        end = start + int(query.get("limit", "0") or len(found) + 1)
        metadata: Object = {"resourceVersion": str(self._count)}
        if end < len(found):
            metadata |= {
                "continue": base64.b64encode(str(end).encode()).decode(),
                "remainingItemCount": len(found) - end,
            }
        items = found[start:end]
        if self.padding:
            items = [
                {**one, "metadata": {**one["metadata"], "managedFields": "x" * self.padding}} for one in items
            ]
        group_version = f"{group}/{version}" if group else version
        return (
            200,
            {"kind": f"{kind}List", "apiVersion": group_version, "metadata": metadata, "items": items},
            {},
        )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one piece: the acknowledgement of a half would be waited for
    kube: KubeApi

    def respond(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        peer = bool(self.connection.getpeercert()) if isinstance(self.connection, ssl.SSLSocket) else False
        headers = {name.lower(): value for name, value in self.headers.items()}
        status, told, more = self.kube.answer(self.command, self.path, headers, peer)
        body = told if isinstance(told, bytes) else json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in more.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests read `calls`."""


for verb in ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"):
    setattr(_Handler, f"do_{verb}", _Handler.respond)


def _status(code: int, reason: str, message: str) -> tuple[int, Object]:
    return code, {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code}


def _owner(told: Object) -> str:
    return next((one["uid"] for one in told["metadata"].get("ownerReferences", ())), "")


def _reference(kind: str, name: str, uid: str) -> Object:
    return {"kind": kind, "name": name, "uid": uid, "controller": True}


def _selected(told: Object, selector: str) -> bool:
    phase = told.get("status", {}).get("phase", "")
    return all(phase != one.partition("!=")[2] for one in selector.split(",") if one)


def _written(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
