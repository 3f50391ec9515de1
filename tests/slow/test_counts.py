"""Requests are counted on a real registry, by its own log: users pay for each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from parts.registry import DockerRegistry, push_many
from parts.stage import NOW, Stage

from automator.reasons import Status

pytestmark = [pytest.mark.slow, pytest.mark.needs("docker-registry")]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(tmp_path, stack)


def test_of_a_thousand_tags_only_those_that_the_filters_leave_are_looked_up(
    stage: Stage, tmp_path: Path
) -> None:
    (tmp_path / "registry").mkdir()
    with DockerRegistry(tmp_path / "registry") as registry:
        stage.insecure.add(registry.host)
        main = {f"main-{i:02}": NOW - timedelta(days=2, minutes=-i) for i in range(20)}
        push_many(registry.host, "acme/web", main)
        _tag_again(registry.host, "main-00", [f"dev-{i}" for i in range(980)])
        keys = 'glob: "main-*"\norder: newest'
        stage.commit(stage.workload("web", "main-00", keys=keys, host=registry.host))

        def asked() -> int:
            return len(registry.requests("manifests")) + len(registry.requests("blobs"))

        before = asked()
        assert stage.outcomes()["web"].status is Status.RELEASED
        assert stage.image_of("web") == "web:main-19"
        first = asked()
        assert first - before <= 2 * 20
        stage.run()
        assert asked() == first
        push_many(registry.host, "acme/web", {"main-20": NOW - timedelta(hours=1)})
        pushed = asked()
        assert stage.outcomes()["web"].status is Status.RELEASED
        assert stage.image_of("web") == "web:main-20"
        assert asked() - pushed == 2
        stage.stop()


def _tag_again(host: str, tag: str, names: list[str]) -> None:
    """Put more tags on one image: one request each."""
    base = f"http://{host}/v2/acme/web/manifests"
    with requests.Session() as session:
        manifest = session.get(
            f"{base}/{tag}", headers={"Accept": "application/vnd.oci.image.manifest.v1+json"}
        )
        headers = {"Content-Type": manifest.headers["Content-Type"]}
        for name in names:
            session.put(f"{base}/{name}", data=manifest.content, headers=headers).raise_for_status()
