"""What the objects of Flux and Argo CD say: what they applied, of which branch, and where they put it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from parts.kubeapi import ARGO, FLUX, KubeApi
from parts.looking import look

from automator.core.running import Sync
from automator.edges.kubernetes import Cluster
from automator.edges.kubernetes.synchronizers import commit_of, read_argo, read_flux

COMMIT = "c0ffee" + "0" * 34


def put_flux(api: KubeApi, **ready: str) -> None:
    api.served |= FLUX
    named = {"name": "apps", "namespace": "flux-system"}
    api.put(
        {
            "kind": "GitRepository",
            "metadata": {**named, "name": "config"},
            "spec": {"url": "ssh://git@example.com/acme/config"},
        }
    )
    condition = {"type": "Ready", "lastTransitionTime": "2026-11-21T14:00:00Z", **ready}
    api.put(
        {
            "kind": "Kustomization",
            "metadata": dict(named),
            "spec": {"path": "./apps", "sourceRef": {"kind": "GitRepository", "name": "config"}},
            "status": {
                "observedGeneration": 1, "conditions": [condition],
                "lastAppliedRevision": f"main@sha1:{'a' * 40}",
                "lastAttemptedRevision": f"main@sha1:{COMMIT}",
            },
        }
    )  # fmt: skip


def test_flux_says_what_it_applied(api: KubeApi, clusters: list[Cluster]) -> None:
    put_flux(api, status="False", reason="BuildFailed", message="no such\nfile")
    (sync,) = look(api, clusters).syncs
    assert sync == Sync(
        "Kustomization", "flux-system", "apps", "a" * 40, COMMIT, False, "BuildFailed: no such file",
        datetime(2026, 11, 21, 14, tzinfo=UTC), "ssh://git@example.com/acme/config", "./apps", "BuildFailed",
        recurses=True, overrides=True,
    )  # fmt: skip
    put_flux(api, status="False", reason="DependencyNotReady")
    assert look(api, clusters).syncs[0].healthy is None
    put_flux(api, status="True")
    assert look(api, clusters).syncs[0].healthy is True
    assert look(api, clusters, status=("argocd",)).syncs == ()


def test_what_may_not_be_read_of_a_synchronizer_is_left_out(api: KubeApi, clusters: list[Cluster]) -> None:
    put_flux(api, status="True")
    api.forbidden = {"gitrepositories", "kustomizations", "helmreleases"}
    api.deploy("shop", "web", "ghcr.io/acme/web:1.4.3")
    seen = look(api, clusters)
    assert (len(seen.running), seen.syncs) == (1, ())
    assert {note.code for note in seen.notes} == {"cluster/left-out"}
    assert 'resources: ["kustomizations"]' in str(seen.notes[1]) or "kustomizations" in str(seen.notes[1])


@pytest.mark.parametrize(
    ("revision", "commit"),
    [
        (f"main@sha1:{COMMIT}", COMMIT),
        (f"feature/x@sha1:{COMMIT}", COMMIT),
        (f"sha1:{COMMIT}", COMMIT),
        (f"main/{COMMIT}", COMMIT),
        (COMMIT, COMMIT),
        ("1.4.3", None),
        ("", None),
        (f"latest@sha256:{'a' * 64}", "a" * 64),
    ],
)
def test_revisions_are_read_as_they_are_spelled(revision: str, commit: str | None) -> None:
    assert commit_of(revision) == commit


def application(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "shop", "namespace": "argocd"},
        "spec": {"source": {"repoURL": "https://example.com/acme/config", "path": "apps"}},
        "status": status,
    }


@pytest.mark.parametrize(
    ("status", "revision", "attempted", "healthy", "trouble"),
    [
        (
            {"sync": {"status": "Synced", "revision": COMMIT}, "health": {"status": "Healthy"}},
            COMMIT, COMMIT, True, None,
        ),
        (
            {
                "sync": {"status": "Synced", "revision": COMMIT},
                "health": {"status": "Degraded", "message": "x"},
            },
            COMMIT, COMMIT, False, "Degraded: x",
        ),
        (
            {
                "sync": {"status": "OutOfSync", "revision": "b" * 40},
                "operationState": {"phase": "Failed", "message": "bad", "syncResult": {"revision": COMMIT}},
            },
            None, COMMIT, False, "Failed: bad",
        ),
        (
            {
                "sync": {"status": "OutOfSync", "revision": "b" * 40},
                "operationState": {"phase": "Succeeded", "syncResult": {"revision": COMMIT}},
            },
            COMMIT, COMMIT, None, None,
        ),
        ({"sync": {"status": "Synced"}, "health": {"status": "Progressing"}}, None, None, None, None),
    ],
)  # fmt: skip
def test_argo_cd_says_what_it_applied(
    status: dict[str, Any],
    revision: str | None,
    attempted: str | None,
    healthy: bool | None,
    trouble: str | None,
) -> None:
    (sync,) = read_argo([application(**status)])
    assert (sync.revision, sync.attempted, sync.healthy, sync.trouble) == (
        revision,
        attempted,
        healthy,
        trouble,
    )
    assert (sync.repo, sync.path) == ("https://example.com/acme/config", "apps")


@pytest.mark.parametrize(
    ("destination", "space", "elsewhere"),
    [
        ({"server": "https://kubernetes.default.svc", "namespace": "shop"}, "shop", ""),
        ({"server": "https://kubernetes.default.svc.cluster.local:443/", "namespace": "shop"}, "shop", ""),
        ({"name": "in-cluster", "namespace": "shop"}, "shop", ""),
        ({"namespace": "shop"}, "shop", ""),
        # Another cluster's namespace is none of ours.
        ({"server": "https://203.0.113.7", "namespace": "shop"}, None, "https://203.0.113.7"),
        ({"server": "https://kubernetes.default.example"}, None, "https://kubernetes.default.example"),
        ({"name": "eu-1", "namespace": "shop"}, None, "eu-1"),
        ({"server": "https://kubernetes.default.svc"}, None, ""),
        (None, None, ""),
        (["shop"], None, ""),
    ],
)
def test_an_application_says_into_which_cluster_and_namespace_it_puts_things(
    destination: object, space: str | None, elsewhere: str
) -> None:
    told = application()
    told["spec"]["destination"] = destination
    (sync,) = read_argo([told])
    assert (sync.space, sync.elsewhere, sync.recurses) == (space, elsewhere, False)


def test_an_application_names_the_files_of_values_that_it_takes() -> None:
    told = application()
    told["spec"] = {
        "sources": [
            {
                "repoURL": "https://charts.example.com",
                "chart": "web",
                "helm": {"valueFiles": ["$cfg/env/x.yaml"]},
            },
            {"repoURL": "https://example.com/acme/config", "ref": "cfg"},
            {
                "repoURL": "https://example.com/acme/config",
                "path": "charts/web",
                "directory": {"recurse": True},
                "helm": {"valueFiles": ["../../env/y.yaml", "/env/z.yaml", "$other/no.yaml", 7]},
            },
        ]
    }
    other, chart = read_argo([told])
    assert (other.values, other.recurses) == (("env/x.yaml",), False)
    assert (chart.values, chart.recurses) == (
        ("charts/web/values.yaml", "env/y.yaml", "env/z.yaml"),
        True,
    )
    told["spec"]["sources"].append({"repoURL": "https://example.com/acme/other", "ref": "nobody"})
    assert len(read_argo([told])) == 2, "what is taken for nothing applies nothing"
    told["spec"]["sources"][2]["helm"]["valueFiles"] = "y.yaml"
    assert read_argo([told])[1].values == ("charts/web/values.yaml",)


@pytest.mark.parametrize(
    ("ref", "branch"),
    [
        (None, None),
        ({}, None),
        ({"branch": "main"}, "main"),
        ({"branch": "main", "tag": "v1"}, "v1"),
        ({"name": "refs/heads/main"}, "main"),
        ({"name": "refs/pull/12/head", "branch": "main"}, "refs/pull/12/head"),
        (["main"], None),
    ],
)
def test_which_branch_flux_follows_is_known(ref: object, branch: str | None) -> None:
    named = {"name": "config", "namespace": "flux-system"}
    repo = {"metadata": named, "spec": {"url": "https://example.com/config", "ref": ref}}
    told = {
        "metadata": {"name": "apps", "namespace": "flux-system"},
        "spec": {
            "sourceRef": {"kind": "GitRepository", "name": "config"},
            "namePrefix": "eu-",
            "nameSuffix": "-1",
        },
    }
    (sync,) = read_flux({"gitrepositories": [repo], "kustomizations": [told]})
    assert (sync.repo, sync.branch) == ("https://example.com/config", branch)
    assert (sync.prefix, sync.suffix, sync.overrides) == ("eu-", "-1", True)


@pytest.mark.parametrize(
    ("source", "space", "overrides", "branch"),
    [
        ({}, "shop", False, None),
        ({"targetRevision": "HEAD"}, "shop", False, None),
        ({"targetRevision": "pr-12"}, "shop", False, "pr-12"),
        ({"targetRevision": "refs/heads/main"}, "shop", False, "main"),
        ({"kustomize": {"namespace": "eu", "namePrefix": "eu-"}}, "eu", True, None),
        ({"helm": {"namespace": "charts"}}, "charts", False, None),
    ],
)
def test_where_an_application_puts_things_may_stand_in_its_source(
    source: dict[str, Any], space: str, overrides: bool, branch: str | None
) -> None:
    told = application()
    told["spec"]["destination"] = {"server": "https://kubernetes.default.svc", "namespace": "shop"}
    told["spec"]["source"] |= source
    (sync,) = read_argo([told])
    assert (sync.space, sync.overrides, sync.branch) == (space, overrides, branch)
    assert sync.prefix == source.get("kustomize", {}).get("namePrefix", "")


def test_flux_says_where_it_puts_things_but_not_in_another_cluster() -> None:
    told = {"metadata": {"name": "apps"}, "spec": {"path": "./apps", "targetNamespace": "shop"}}
    (here,) = read_flux({"kustomizations": [told]})
    assert (here.space, here.elsewhere) == ("shop", "")
    away = {**told, "spec": {**told["spec"], "kubeConfig": {"secretRef": {"name": "eu"}}}}  # type: ignore[dict-item]
    assert [(sync.space, sync.elsewhere) for sync in read_flux({"kustomizations": [away]})] == [
        (None, "another cluster")
    ]
    assert [sync.elsewhere for sync in read_flux({"helmreleases": [told, away]})] == ["", "another cluster"]


def test_an_application_of_several_sources_is_told_for_each_git_one(
    api: KubeApi, clusters: list[Cluster]
) -> None:
    api.served |= ARGO
    told = application(
        sync={"status": "Synced", "revisions": ["1.2.3", COMMIT]}, health={"status": "Healthy"}
    )
    told["kind"] = "Application"
    told["spec"] = {
        "sources": [
            {"repoURL": "https://charts.example", "chart": "web"},
            {"repoURL": "https://example.com/acme/config", "path": "apps"},
        ]
    }
    api.put(told)
    (sync,) = look(api, clusters, namespaces=("shop",)).syncs  # found in its usual home
    assert (sync.revision, sync.repo) == (COMMIT, "https://example.com/acme/config")
