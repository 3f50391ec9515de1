"""Observations: sites of Git beside what a runtime says that it runs, as values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from automator.core.drift import Clock
from automator.core.running import Observation, Running, Scope, Sync
from automator.core.site import Site, locate

NOW = datetime(2026, 11, 21, 15, 0, tzinfo=UTC)
CLOCK = Clock(NOW, timedelta(minutes=15))
PROD = Scope("prod")
A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
DEPLOYMENT = """\
apiVersion: apps/v1
kind: {kind}
metadata: {{name: "{name}"{namespace}}}
spec: {{template: {{spec: {{containers: [{{name: app, image: "{image}"}}]}}}}}}
"""


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def written(
    image: str,
    name: str = "web",
    namespace: str = "shop",
    file: str = "apps/web.yaml",
    kind: str = "Deployment",
) -> Site:
    """The site of a Deployment, or of an object like it, as it is found in a file."""
    within = f', namespace: "{namespace}"' if namespace else ""
    (site,) = locate(DEPLOYMENT.format(kind=kind, name=name, namespace=within, image=image), "web.yaml").sites
    return site.at(file)


def transformed(
    tag: str, file: str = "overlays/kustomization.yaml", name: str = "ghcr.io/acme/web", space: str = ""
) -> Site:
    """A site that names no object; `space` is the namespace that its kustomization gives."""
    given = f"namespace: {space}\n" if space else ""
    (site,) = locate(f"{given}images: [{{name: {name}, newTag: '{tag}'}}]\n", "kustomization.yaml").sites
    return site.at(file)


def runs(image: str, name: str = "web", namespace: str = "shop", **more: object) -> Running:
    told: dict[str, object] = {"wanted": 2, "ready": 2, "settled": True, **more}
    kind = str(told.pop("kind", "Deployment"))
    return Running(kind, namespace, name, "app", image, **told)  # type: ignore[arg-type]


def seen(*running: Running, syncs: tuple[Sync, ...] = ()) -> Observation:
    return Observation("prod", NOW, running, syncs)
