"""The edge to Kubernetes, against a real HTTPS server that answers as an API server does."""

from __future__ import annotations

import base64
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parts.kubeapi import ARGO, FLUX, Fault, KubeApi
from parts.looking import NOW, look
from ruamel.yaml import YAML

from automator.core.running import Running
from automator.edges.http import Outside
from automator.edges.kubernetes import Cluster, ClusterSettings
from automator.edges.kubernetes.controllers import read_running
from automator.edges.kubernetes.pods import read_pod
from automator.edges.kubernetes.synchronizers import read_argo, read_flux
from automator.errors import RuntimeTrouble

DEPLOY = Path(__file__).parents[2] / "deploy" / "kubernetes"
A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
COMMIT = "c0ffee" + "0" * 34


def refused(api: KubeApi, clusters: list[Cluster], **more: Any) -> RuntimeTrouble:
    with pytest.raises(RuntimeTrouble) as caught:
        look(api, clusters, **more)
    assert "canary" not in str(caught.value)
    return caught.value


def in_cluster(api: KubeApi) -> dict[str, Any]:
    folder, environ = api.account()
    return {"kubeconfig": None, "account": str(folder), "environ": environ}


# -- what runs ---------------------------------------------------------------------------------------------


def test_a_deployment_that_is_rolled_out(api: KubeApi, clusters: list[Cluster]) -> None:
    at = NOW - timedelta(hours=1)
    api.deploy("shop", "web", "ghcr.io/acme/web:1.4.3", digest=A, at=at)
    (web,) = look(api, clusters).running
    assert web == Running(
        "Deployment", "shop", "web", "app", "ghcr.io/acme/web:1.4.3", A,
        wanted=2, ready=2, settled=True, since=at,
    )  # fmt: skip


def test_a_rollout_under_way_shows_both_versions(api: KubeApi, clusters: list[Cluster]) -> None:
    api.deploy("shop", "web", "ghcr.io/acme/web:1.4.2", replicas=3)
    trouble = "ErrImagePull: manifest unknown"
    api.deploy("shop", "web", "ghcr.io/acme/web:1.4.3", replicas=3, ready=1, trouble=trouble)
    new, old = look(api, clusters).running
    assert (new.reference, new.wanted, new.ready, new.settled) == ("ghcr.io/acme/web:1.4.3", 3, 1, False)
    assert (new.trouble, new.failed) == (trouble, False)
    assert (old.reference, old.wanted, old.ready) == ("ghcr.io/acme/web:1.4.2", 0, 2)
    # ReplicaSets that are kept with no replicas run nothing.
    api.deploy("shop", "web", "ghcr.io/acme/web:1.4.3", replicas=3)
    assert [one.reference for one in look(api, clusters).running] == ["ghcr.io/acme/web:1.4.3"]
    api.deploy("shop", "web", "ghcr.io/acme/web:1.4.4", replicas=3, ready=0, gave_up=True)
    failed = look(api, clusters).running[0]
    assert (failed.failed, failed.trouble) == (True, "the rollout exceeded its progress deadline")


def template(image: str, **more: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "app", "image": image}], **more}}


def test_other_controllers_and_lone_pods(api: KubeApi, clusters: list[Cluster]) -> None:
    init = {"initContainers": [{"name": "init", "image": "ghcr.io/acme/migrate:2"}]}
    db = api.put(
        {
            "kind": "StatefulSet",
            "metadata": {"name": "db", "namespace": "shop"},
            "spec": {"replicas": 2, "template": template("ghcr.io/acme/db:8", **init)},
            "status": {
                "observedGeneration": 1, "updatedReplicas": 1, "replicas": 2,
                "currentRevision": "db-old", "updateRevision": "db-new",
            },
        }
    )  # fmt: skip
    # Admission may rewrite the image of a pod: it is of the template all the same.
    rewritten = template("mirror.example/acme/db:8")["spec"]
    api.pod(
        "shop", "db-1", rewritten, owner=("StatefulSet", db), labels={"controller-revision-hash": "db-new"}
    )
    old = template("ghcr.io/acme/db:7")["spec"]
    api.pod("shop", "db-0", old, owner=("StatefulSet", db), labels={"controller-revision-hash": "db-old"})
    agent = api.put(
        {
            "kind": "DaemonSet",
            "metadata": {"name": "agent", "namespace": "kube-system"},
            "spec": {"template": template("ghcr.io/acme/agent:1")},
            "status": {"observedGeneration": 1, "desiredNumberScheduled": 1, "updatedNumberScheduled": 1},
        }
    )
    api.pod(
        "kube-system", "agent-x", template("mirror.example/acme/agent:1")["spec"], owner=("DaemonSet", agent)
    )
    nightly = api.put(
        {
            "kind": "CronJob",
            "metadata": {"name": "nightly", "namespace": "shop"},
            "spec": {"jobTemplate": {"spec": {"template": template("ghcr.io/acme/batch:2")}}},
        }
    )
    uid = nightly["metadata"]["uid"]
    owner = {"kind": "CronJob", "name": "nightly", "uid": uid, "controller": True}
    last = api.put(
        {
            "kind": "Job",
            "metadata": {"name": "nightly-1", "namespace": "shop", "ownerReferences": [owner]},
            "spec": {"template": template("ghcr.io/acme/batch:1")},
        }
    )
    api.pod("shop", "nightly-1-x", template("ghcr.io/acme/batch:1")["spec"], owner=("Job", last))
    api.put(
        {
            "kind": "Job",
            "metadata": {"name": "migrate", "namespace": "shop"},
            "spec": {"template": template("ghcr.io/acme/migrate:2")},
            "status": {
                "conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]
            },
        }
    )
    api.pod("tools", "shell", template("ghcr.io/acme/shell:1")["spec"])
    api.pod("tools", "done", template("ghcr.io/acme/old:1")["spec"], phase="Succeeded")
    found = {(one.kind, one.name, one.container, one.reference): one for one in look(api, clusters).running}
    assert sorted(found) == [
        ("CronJob", "nightly", "app", "ghcr.io/acme/batch:2"),
        ("DaemonSet", "agent", "app", "ghcr.io/acme/agent:1"),
        ("Job", "migrate", "app", "ghcr.io/acme/migrate:2"),
        ("Pod", "shell", "app", "ghcr.io/acme/shell:1"),
        ("StatefulSet", "db", "app", "ghcr.io/acme/db:7"),
        ("StatefulSet", "db", "app", "ghcr.io/acme/db:8"),
        ("StatefulSet", "db", "init", "ghcr.io/acme/migrate:2"),
    ]
    db_new = found["StatefulSet", "db", "app", "ghcr.io/acme/db:8"]
    assert (db_new.wanted, db_new.ready, db_new.settled) == (2, 1, False)
    assert found["DaemonSet", "agent", "app", "ghcr.io/acme/agent:1"].settled is True
    job = found["Job", "migrate", "app", "ghcr.io/acme/migrate:2"]
    assert (job.wanted, job.failed, job.trouble) == (0, True, "BackoffLimitExceeded")
    assert found["CronJob", "nightly", "app", "ghcr.io/acme/batch:2"].wanted is None


def test_argo_rollouts_are_controllers_even_where_they_may_not_be_read(
    api: KubeApi, clusters: list[Cluster]
) -> None:
    api.served |= ARGO
    rollout = api.put(
        {
            "kind": "Rollout",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"replicas": 1, "template": template("ghcr.io/acme/web:1.4.3")},
            "status": {"observedGeneration": "1", "phase": "Degraded", "message": "aborted by analysis"},
        }
    )
    made = api.put(
        {
            "kind": "ReplicaSet",
            "metadata": {
                "name": "web-1", "namespace": "shop",
                "ownerReferences": [
                    {"kind": "Rollout", "name": "web", "uid": rollout["metadata"]["uid"], "controller": True}
                ],
            },
            "spec": {"replicas": 1, "template": template("ghcr.io/acme/web:1.4.3")},
        }
    )  # fmt: skip
    api.pod("shop", "web-1-x", made["spec"]["template"]["spec"], owner=("ReplicaSet", made))
    (one,) = look(api, clusters).running
    assert (one.kind, one.wanted, one.ready, one.failed) == ("Rollout", 1, 1, False)
    assert one.hindrance == "Degraded: aborted by analysis", "which of its containers is to blame?"
    api.forbidden = {"rollouts"}
    seen = look(api, clusters)
    assert [(one.kind, one.name, one.settled) for one in seen.running] == [("Rollout", "web", None)]
    assert [note.code for note in seen.notes] == ["cluster/left-out"]


def test_long_lists_come_in_pages_and_expired_ones_are_begun_anew(
    api: KubeApi, clusters: list[Cluster]
) -> None:
    for i in range(1_101):
        api.pod("shop", f"pod-{i:04}", template("ghcr.io/acme/web:1")["spec"])
    api.faults.append(Fault(410, "/pods", 1, in_mid_list=True))
    assert len(look(api, clusters).running) == 1_101
    pages = [call for call in api.calls if call.path.endswith("/pods")]
    assert [call.status for call in pages] == [200, 410, 200, 200, 200]
    api.faults.append(Fault(410, "/pods", 2, in_mid_list=True))
    assert refused(api, clusters).reason.code == "cluster/answer"  # a part never passes for the whole


def test_objects_that_are_large_are_asked_for_in_smaller_pages(api: KubeApi, clusters: list[Cluster]) -> None:
    api.padding = 131_500
    for i in range(130):
        api.pod("shop", f"pod-{i:04}", template("ghcr.io/acme/web:1")["spec"])
    assert len(look(api, clusters).running) == 130
    assert [call.query["limit"] for call in api.calls if call.path.endswith("/pods")] == ["500", "125", "125"]


def test_a_look_that_is_too_large_ends_and_says_what_to_do(api: KubeApi, clusters: list[Cluster]) -> None:
    api.padding = 10_000
    for i in range(130):
        api.pod("shop", f"pod-{i:04}", template("ghcr.io/acme/web:1")["spec"])
    error = refused(api, clusters, size=1 << 20)
    assert (error.reason.code, "`namespaces` of the runtime" in str(error)) == ("cluster/answer", True)
    full = b'{"metadata": {"continue": "x"}, "items": [{"a": [' + b"{}," * 600_000 + b"{}]}]}"
    api.faults.append(Fault(200, "/deployments", 99, body=full))
    error = refused(api, clusters)
    assert (error.reason.code, "parts" in str(error)) == ("cluster/unreachable", True)
    many = b'{"metadata": {}, "items": [' + b"{}," * 100_000 + b"{}]}"
    api.faults = [Fault(200, "/deployments", 1, body=many)]
    assert "100000 objects" in str(refused(api, clusters))


@pytest.mark.parametrize("ours", [timedelta(hours=-1), timedelta(hours=1)])
def test_how_long_a_container_runs_is_counted_by_the_clusters_clock(
    api: KubeApi, clusters: list[Cluster], ours: timedelta
) -> None:
    api.deploy("shop", "web", "ghcr.io/acme/web:1.4.3", replicas=1)
    now = datetime.now(UTC)
    (told,) = api.held("Pod")
    (state,) = told["status"]["containerStatuses"]
    started = (now - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    state |= {"restartCount": 1, "state": {"running": {"startedAt": started}}}
    (web,) = look(api, clusters, now=now + ours).running
    assert (web.ready, web.trouble, web.restarts) == (0, None, 1)


# -- read-only ---------------------------------------------------------------------------------------------


def test_nothing_but_get_is_ever_sent(api: KubeApi, clusters: list[Cluster]) -> None:
    api.served |= {**FLUX, **ARGO}
    api.deploy("shop", "web", "ghcr.io/acme/web:1.4.3")
    look(api, clusters)
    look(api, clusters, namespaces=("shop", "jobs"), **in_cluster(api))
    assert {call.method for call in api.calls} == {"GET"}
    assert {"watch", "pretty"} & {key for call in api.calls for key in call.query} == set()
    assert all(call.path == "/apis" or call.query["limit"] == "500" for call in api.calls)
    spaces = {
        call.path.split("/namespaces/")[1].split("/")[0] for call in api.calls if "/namespaces/" in call.path
    }
    assert spaces == {"shop", "jobs", "flux-system", "argocd"}


def test_the_roles_that_are_shipped_let_us_do_this_and_no_more(api: KubeApi, clusters: list[Cluster]) -> None:
    api.served |= {**FLUX, **ARGO}
    look(api, clusters)
    asked = {_kind(call.path) for call in api.calls if call.path != "/apis"}
    together: set[tuple[str, str]] = set()
    roles = [
        (path, told)
        for path in sorted(DEPLOY.rglob("*.yaml"))
        for told in YAML(typ="safe").load_all(path)
        if isinstance(told, dict) and told.get("kind") in ("Role", "ClusterRole")
    ]
    assert len(roles) >= 3
    for path, role in roles:
        for rule in role["rules"]:
            assert set(rule["verbs"]) <= {"get", "list", "watch"}, path
            together |= {(group, plural) for group in rule["apiGroups"] for plural in rule["resources"]}
    assert together == asked


def _kind(path: str) -> tuple[str, str]:
    steps = path.strip("/").split("/")
    return "" if steps[0] == "api" else steps[1], steps[-1]


def test_only_the_namespaces_that_are_named_are_asked(api: KubeApi, clusters: list[Cluster]) -> None:
    api.deploy("shop", "web", "ghcr.io/acme/web:1.4.3")
    api.deploy("other", "web", "ghcr.io/acme/web:1.4.2")
    api.forbidden = {"pods/", "deployments/", "pods/other"}
    assert [one.namespace for one in look(api, clusters, namespaces=("shop",)).running] == ["shop"]
    error = refused(api, clusters)
    assert "list deployments.apps in the whole cluster" in str(error)


# -- who we are --------------------------------------------------------------------------------------------


def test_a_service_accounts_token_is_read_at_each_look(api: KubeApi, clusters: list[Cluster]) -> None:
    cluster = Cluster(ClusterSettings("prod", **in_cluster(api)))
    clusters.append(cluster)
    cluster.observe(NOW)
    api.tokens = {"canary-s3cret-second-token"}
    with pytest.raises(RuntimeTrouble) as caught:
        cluster.observe(NOW)
    assert caught.value.reason.code == "cluster/denied"
    assert "serviceaccount/token" in str(caught.value)
    Path(in_cluster(api)["account"], "token").write_text("canary-s3cret-second-token")
    cluster.observe(NOW)


def test_without_kubeconfig_and_account_it_says_so(
    api: KubeApi, clusters: list[Cluster], tmp_path: Path
) -> None:
    error = refused(api, clusters, kubeconfig=None, account=str(tmp_path))
    assert (error.reason.code, error.retry) == ("cluster/no-account", False)


def test_a_client_certificate_is_shown(tmp_path: Path, clusters: list[Cluster]) -> None:
    with KubeApi(tmp_path, client_certificates=True) as api:
        files = api.authority.issue(["automator"], client=True)
        named = {"client-certificate": files.cert_file.name, "client-key": str(files.key_file)}
        inside = {
            f"{key}-data": base64.b64encode(path.read_bytes()).decode()
            for key, path in (("client-certificate", files.cert_file), ("client-key", files.key_file))
        }
        for user in ({**named, "client-certificate": str(files.cert_file)}, inside):
            look(api, clusters, kubeconfig=str(api.kubeconfig(user=user)))
        assert all("authorization" not in call.headers for call in api.calls)
        other = api.authority.issue(["somebody"], client=True)
        mixed = {**inside, "client-key": str(other.key_file)}
        mixed.pop("client-key-data")
        error = refused(api, clusters, kubeconfig=str(api.kubeconfig(user=mixed)))
        assert "certificate and key" in str(error)


def test_only_the_clusters_own_authority_is_trusted(
    api: KubeApi, clusters: list[Cluster], tmp_path: Path
) -> None:
    cluster = {"server": api.url}
    error = refused(api, clusters, kubeconfig=str(api.kubeconfig(cluster=cluster)))
    assert (error.reason.code, "tls" in str(error)) == ("cluster/unreachable", True)
    assert api.calls == []  # the token was shown to nobody
    look(api, clusters, kubeconfig=str(api.kubeconfig(cluster={**cluster, "insecure-skip-tls-verify": True})))
    by_file = {**cluster, "certificate-authority": os.path.relpath(api.authority.ca_file, tmp_path)}
    look(api, clusters, kubeconfig=str(api.kubeconfig(cluster=by_file)))
    # The environment's bundle may trust it: the cluster's own authority alone counts.
    with KubeApi(tmp_path / "other") as other:
        foreign = base64.b64encode(other.authority.ca_file.read_bytes()).decode()
        strict = api.kubeconfig(cluster={**cluster, "certificate-authority-data": foreign})
        bundle = Outside(bundle=str(api.authority.ca_file))
        assert "tls" in str(refused(api, clusters, kubeconfig=str(strict), outside=bundle))


@pytest.mark.parametrize(
    ("user", "cluster", "code", "words"),
    [
        ({"exec": {"command": "aws"}}, {}, "cluster/login-program", "by a program (aws)"),
        ({"auth-provider": {"name": "gcp"}}, {}, "cluster/kubeconfig", "auth-provider"),
        ({"username": "ann", "password": "canary-s3cret-x"}, {}, "cluster/kubeconfig", "user and password"),
        ({"token": "canary-s3cret-x", "as": "root"}, {}, "cluster/kubeconfig", "impersonation"),
        ({"tokenFile": "gone"}, {}, "cluster/file", "gone cannot be used: No such file"),
        ({"token": "canary-s3cret-x y"}, {}, "cluster/file", "characters that no token has"),
        ({"client-certificate-data": "AA=="}, {}, "cluster/kubeconfig", "needs its key"),
        ({"token": "canary-s3cret-x"}, {"server": "http://127.0.0.1:1"}, "cluster/kubeconfig", "not https"),
        ({}, {"server": "127.0.0.1"}, "cluster/kubeconfig", "no `server`"),
        ({}, {"server": "https://h", "tls-server-name": "x"}, "cluster/kubeconfig", "tls-server-name"),
        ({}, {"server": "https://h", "certificate-authority-data": "!"}, "cluster/kubeconfig", "no base64"),
        ({}, {"server": "https://h", "certificate-authority-data": "AAAA"}, "cluster/file", "no certificate"),
        ({}, {"server": "https://127.0.0.1:1"}, "cluster/unreachable", "Connection refused"),
        ({}, {"server": "https://h", "proxy-url": "socks5://h:1"}, "cluster/unreachable", "only http"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_says_why(
    api: KubeApi,
    clusters: list[Cluster],
    user: dict[str, Any],
    cluster: dict[str, Any],
    code: str,
    words: str,
) -> None:
    error = refused(api, clusters, kubeconfig=str(api.kubeconfig(user=user, cluster=cluster or None)))
    assert error.reason.code == code
    assert words in str(error)
    assert api.calls == []


def test_a_kubeconfig_in_yaml_and_its_contexts(api: KubeApi, clusters: list[Cluster], tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig.yaml"
    path.write_text(f"""\
apiVersion: v1
kind: Config
current-context: ""
clusters:
- name: c
  cluster: &c
    certificate-authority: {api.authority.ca_file}
    server: "{api.url}/"
contexts:
- {{name: here, context: {{cluster: c, user: u}}}}
- {{name: gone, context: {{cluster: c, user: nobody}}}}
users:
- name: u
  user: {{tokenFile: {api.token_file.name}}}
""")
    look(api, clusters, kubeconfig=str(path), context="here")
    assert "no current-context" in str(refused(api, clusters, kubeconfig=str(path)))
    assert 'no context "there"' in str(refused(api, clusters, kubeconfig=str(path), context="there"))
    assert 'no user "nobody"' in str(refused(api, clusters, kubeconfig=str(path), context="gone"))
    for text in ("[", "a: b", "- a", ""):
        path.write_text(text)
        assert refused(api, clusters, kubeconfig=str(path)).reason.code == "cluster/kubeconfig"
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in str(refused(api, clusters, kubeconfig=str(tmp_path / "pipe")))


# -- refusals and silence ----------------------------------------------------------------------------------


def test_a_missing_right_names_the_rule_to_add(api: KubeApi, clusters: list[Cluster]) -> None:
    api.forbidden = {"pods"}
    error = refused(api, clusters)
    assert (error.reason.code, error.retry) == ("cluster/forbidden", False)
    rule = 'apiGroups: [""], resources: ["pods"], verbs: ["get", "list", "watch"]'
    assert rule in error.reason.next_step
    api.forbidden = {"cronjobs"}
    assert 'apiGroups: ["batch"], resources: ["cronjobs"]' in refused(api, clusters).reason.next_step


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault(500, "/pods", 9), "cluster/unreachable"),
        (Fault(503, "/pods", 9, {"Retry-After": "0"}), "cluster/unreachable"),
        (Fault(429, "/pods", 9, {"Retry-After": "3600"}), "cluster/unreachable"),
        (Fault(404, "/deployments", 9), "cluster/answer"),
        (Fault(200, "/pods", 9, body=b"<html>log in"), "cluster/answer"),
        (Fault(200, "/pods", 9, body=b"[]"), "cluster/answer"),
        (Fault(200, "/pods", 9, body=b"{}"), "cluster/answer"),
        (Fault(200, "/apis", 9, body=b"null"), "cluster/answer"),
        (Fault(302, "/apis", 9, {"Location": "https://login.example/"}), "cluster/unreachable"),
        (Fault(200, "/pods", 9, {"Content-Length": "999999999"}), "cluster/unreachable"),
    ],
)
def test_an_answer_that_is_none_makes_trouble(
    api: KubeApi, clusters: list[Cluster], fault: Fault, code: str
) -> None:
    api.faults.append(fault)
    assert refused(api, clusters).reason.code == code


def test_a_server_that_repeats_our_token_does_not_get_it_into_a_message(
    api: KubeApi, clusters: list[Cluster]
) -> None:
    words = json.dumps({"message": f"no such token: {api.token}"}).encode()
    for status in (401, 403, 500):
        api.faults.append(Fault(status, "/pods", 1, body=words))
        assert "no such token: ***" in str(refused(api, clusters))


def test_a_busy_server_is_asked_once_more(api: KubeApi, clusters: list[Cluster]) -> None:
    api.faults.append(Fault(429, "/pods", 1, {"Retry-After": "0"}))
    look(api, clusters)
    assert [call.status for call in api.calls if call.path.endswith("/pods")] == [429, 200]


def test_a_server_that_hangs_ends_the_look_in_its_time(api: KubeApi, clusters: list[Cluster]) -> None:
    api.faults.append(Fault(200, "/pods", 1, silent=True))
    error = refused(api, clusters, seconds=1.0)
    assert (error.reason.code, error.retry) == ("cluster/unreachable", True)
    assert "timeout" in str(error)


def test_a_connection_that_was_dropped_is_made_anew(api: KubeApi, clusters: list[Cluster]) -> None:
    cluster = Cluster(ClusterSettings("prod", kubeconfig=str(api.kubeconfig())))
    clusters.append(cluster)
    cluster.observe(NOW)
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(3):
        cluster.observe(NOW)
    assert len(set(os.listdir("/proc/self/fd")) - before) <= 1
    cluster.close()
    cluster.observe(NOW)


# -- synchronizers that cannot be read ---------------------------------------------------------------------


def put_flux(api: KubeApi, space: str) -> None:
    """A Kustomization of Flux that puts what is in ./apps into a namespace, and has failed."""
    api.served.update(FLUX)
    home = {"namespace": "flux-system", "name": "config"}
    ref = {"kind": "GitRepository", "name": "config"}
    failed = {"type": "Ready", "status": "False", "reason": "HealthCheckFailed", "message": "not ready"}
    api.put({"kind": "GitRepository", "metadata": dict(home), "spec": {"url": "https://git.example.com/a"}})
    api.put(
        {
            "kind": "Kustomization",
            "metadata": dict(home),
            "spec": {"path": "./apps", "sourceRef": ref, "targetNamespace": space},
            "status": {"observedGeneration": 1, "conditions": [failed]},
        }
    )


@pytest.mark.parametrize("plural", ["kustomizations", "gitrepositories"])
@pytest.mark.parametrize("status", [403, 500])
def test_where_a_synchronizer_puts_things_is_known_while_it_cannot_be_read_and_how_it_is_is_not(
    api: KubeApi, clusters: list[Cluster], plural: str, status: int
) -> None:
    put_flux(api, "shop-prod")
    cluster = Cluster(ClusterSettings("prod", kubeconfig=str(api.kubeconfig())))
    clusters.append(cluster)
    (read,) = cluster.observe(NOW).syncs
    assert (read.space, read.healthy) == ("shop-prod", False)
    for _ in range(2):
        api.faults.append(Fault(status, f"/{plural}", 1))
        seen = cluster.observe(NOW)
        (known,) = seen.syncs
        assert (known.repo, known.path, known.space) == (read.repo, "./apps", "shop-prod")
        assert (known.healthy, known.trouble, known.cause, known.ill) == (None, None, "", ())
        assert [note.code for note in seen.notes] == ["cluster/left-out"]
        assert seen.unread == ()
    put_flux(api, "other")
    assert [(one.space, one.healthy) for one in cluster.observe(NOW).syncs] == [("other", False)]


def test_what_a_tenant_may_read_counts_where_the_synchronizers_home_is_closed(
    api: KubeApi, clusters: list[Cluster]
) -> None:
    put_flux(api, "shop-prod")
    for kind in ("GitRepository", "Kustomization"):
        (one,) = api.held(kind)
        api.put({**one, "metadata": {"namespace": "shop", "name": "config"}})
    api.forbidden = {
        f"{plural}/flux-system" for plural in ("gitrepositories", "kustomizations", "helmreleases")
    }
    cluster = Cluster(ClusterSettings("prod", kubeconfig=str(api.kubeconfig()), namespaces=("shop",)))
    clusters.append(cluster)
    for _ in range(2):
        seen = cluster.observe(NOW)
        assert [(one.namespace, one.space, one.healthy) for one in seen.syncs] == [
            ("shop", "shop-prod", False)
        ]
        assert (seen.unread, {note.code for note in seen.notes}) == ((), {"cluster/left-out"})
    api.faults.append(Fault(500, "/shop/kustomizations", 1))
    seen = cluster.observe(NOW)
    assert [(one.space, one.healthy) for one in seen.syncs] == [("shop-prod", None)]


def test_of_another_cluster_at_the_same_kubeconfig_nothing_is_known(
    api: KubeApi, clusters: list[Cluster], tmp_path: Path
) -> None:
    put_flux(api, "shop-prod")
    path = api.kubeconfig()
    cluster = Cluster(ClusterSettings("prod", kubeconfig=str(path)))
    clusters.append(cluster)
    assert len(cluster.observe(NOW).syncs) == 1
    (tmp_path / "other").mkdir()
    with KubeApi(tmp_path / "other") as other:
        other.served.update(FLUX)
        other.forbidden = {"kustomizations"}
        path.write_text(other.kubeconfig().read_text())
        seen = cluster.observe(NOW)
    assert (seen.syncs, seen.unread) == ((), ("flux",))


@pytest.mark.parametrize(
    ("more", "unread"),
    [({}, ("flux",)), ({"namespaces": ("shop",)}, ()), ({"status": ("argocd",)}, ()), ({"status": ()}, ())],
)
def test_which_synchronizers_were_never_read_is_told_where_all_of_a_cluster_is_looked_at(
    api: KubeApi, clusters: list[Cluster], more: dict[str, Any], unread: tuple[str, ...]
) -> None:
    put_flux(api, "shop-prod")
    api.forbidden = {"kustomizations", "helmreleases"}
    assert look(api, clusters, **more).unread == unread
    api.forbidden = {"helmreleases"}
    assert look(api, clusters, **more).unread == ()


# -- hostile objects ---------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            [
                "metadata", "spec", "status", "template", "containers", "name", "image", "conditions", "type",
                "ownerReferences", "uid", "controller", "replicas", "labels", "containerStatuses", "state",
                "sources", "source", "sync", "revisions", "sourceRef", "creationTimestamp", "phase",
                "destination", "namespace", "helm", "valueFiles", "directory", "path", "ref", "kubeConfig",
            ]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip
objects = st.dictionaries(st.sampled_from(["metadata", "spec", "status", "kind"]), json_values)


@settings(max_examples=50)
@given(st.lists(objects, max_size=3), st.lists(objects, max_size=2))
def test_no_object_breaks_the_reading(told: list[dict[str, Any]], pods: list[dict[str, Any]]) -> None:
    every = ("deployments", "statefulsets", "daemonsets", "replicasets", "rollouts", "jobs", "cronjobs")
    for one in read_running(dict.fromkeys(every, told), [read_pod(pod, NOW) for pod in pods]):
        assert isinstance(one.reference, str)
    read_flux(dict.fromkeys(("gitrepositories", "kustomizations", "helmreleases"), told))
    read_argo(told)
    json.dumps(told)
