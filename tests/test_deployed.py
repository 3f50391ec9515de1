"""The whole loop: a tag is pushed, staging takes it, the cluster runs it, it soaks, production takes it.

Everything is real but the cluster, which is a small server that answers as an API server does: the registry
is Debian's, Git is Git, and looks at the cluster go over TLS with a token.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from parts.gitserver import BareRepo, git
from parts.kubeapi import KubeApi
from parts.registry import DockerRegistry, push_many

from automator.app import App
from automator.app.runtimes import look_once
from automator.config import Config
from automator.core.record import parse
from automator.core.report import Outcome
from automator.cycle.run import Trigger
from automator.reasons import Status

pytestmark = pytest.mark.needs("docker-registry")

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  template:
    spec:
      containers:
        - name: app
          image: {image}
"""
POLICIES = """\
version: 1
defaults: {{semver: "1.x", pin: digest}}
workloads:
  web-staging:
    image: {image}
    where: {{paths: ["staging/**"]}}
  web:
    image: {image}
    where: {{paths: ["production/**"]}}
    after: {{workload: web-staging, soak: 4h}}
    verify: deployed
    on_failure: {on_failure}
  api:
    image: {other}
    where: {{paths: ["production/**"]}}
"""


class Loop:
    """A registry, a config repo, one cluster with the namespaces staging and production, and automator, which
    sees all of it: only the files say which namespace is whose."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.registry = stack.enter_context(DockerRegistry(folder / "registry"))
        self.cluster = stack.enter_context(KubeApi(folder))
        self.repo = BareRepo.create(folder / "config.git", {"README.md": "config repo\n"})
        self.now = NOW
        self.image, self.other = (f"{self.registry.host}/acme/{name}" for name in ("web", "api"))
        kubeconfig = str(self.cluster.kubeconfig())
        runtime = {"type": "kubernetes", "kubeconfig": kubeconfig, "status": []}
        config = Config.model_validate(
            {
                "state": folder / "state",
                "repos": {"shop": {"url": str(self.repo.path)}},
                "registries": {self.registry.host: {"insecure": True}},
                "runtimes": {
                    name: {**runtime, "paths": [f"{name}/**"]} for name in ("staging", "production")
                },
            }
        )
        self.app = stack.enter_context(App.open(config, exclusive=True, clock=lambda: self.now))

    def adopt(self, on_failure: str) -> None:
        """Everything at 1.4.2, in Git and in the cluster."""
        self.push("web", "1.4.2")
        self.push("api", "1.0.0")
        policies = POLICIES.format(image=self.image, other=self.other, on_failure=on_failure)
        sites = {
            f"{name}/web.yaml": MANIFEST.format(name="web", namespace=name, image=f"{self.image}:1.4.2")
            for name in ("staging", "production")
        }
        sites["production/api.yaml"] = MANIFEST.format(
            name="api", namespace="production", image=f"{self.other}:1.0.0"
        )
        self.repo.commit({"policies/web.yaml": policies, **sites})
        for name in ("staging", "production"):
            self.synchronize(name)
        self.turn()
        self.look()

    def push(self, name: str, *tags: str) -> None:
        """CI pushes tags."""
        push_many(self.registry.host, f"acme/{name}", dict.fromkeys(tags, self.now - HOUR))

    def in_git(self, name: str) -> str:
        """The image that Git says."""
        return self.repo.read(f"{name}/web.yaml").partition("image: ")[2].split()[0]

    def synchronize(self, name: str, **how: object) -> None:
        """What a synchronizer does: the cluster gets what Git says, and comes to be as is told."""
        self.cluster.deploy(name, "web", self.in_git(name), **how)  # type: ignore[arg-type]

    def look(self) -> None:
        """A look at each runtime, beside the cycles."""
        look_once(self.app.config, self.app, lambda: self.now)

    def turn(self) -> dict[str, Outcome]:
        """A cycle, and a minute."""
        report = self.app.cycles["shop"].run(Trigger("command", all_due=True))
        assert report.error is None, report.error.sentence
        self.now += MINUTE
        return {outcome.workload: outcome for outcome in report.outcomes}

    def tell(self) -> dict[str, Outcome]:
        """A look, and the cycle that it wakes."""
        self.look()
        return self.turn()

    def promote(self) -> None:
        """1.4.3 comes to production."""
        self.push("web", "1.4.3")
        assert self.turn()["web-staging"].status is Status.RELEASED
        assert "1.4.3@sha256:" in self.in_git("staging")
        waiting = self.tell()["web"]
        assert waiting.reason.code == "guard/soak-undeployed", waiting.reason.sentence
        runs = "Deployment staging/web [app] runs 1.4.2"
        assert waiting.reason.sentence.endswith(f"deployed there: staging does not run it: {runs}")
        self.synchronize("staging", ready=1)
        self.now += 24 * HOUR  # however long it stands in Git
        assert self.tell()["web"].reason.code == "guard/soak-undeployed"
        self.synchronize("staging")
        deployed = self.now
        assert self.tell()["web"].reason.code == "guard/soak-undeployed", "one look proves nothing"
        soaking = self.tell()["web"]
        assert (soaking.status, soaking.reason.code) == (Status.WAITING, "guard/soak")
        assert soaking.reason.changes_at == deployed + 4 * HOUR
        self.cluster.deploy("staging", "web", f"{self.image}:1.4.2")  # somebody goes back, and past Git
        for _ in range(2):
            self.now += 4 * HOUR
            assert self.tell()["web"].reason.sentence.endswith(f"staging does not run it: {runs}")
        self.synchronize("staging")
        deployed = self.now
        self.tell()
        assert self.tell()["web"].reason.changes_at == deployed + 4 * HOUR, "it soaks anew"
        self.now = deployed + 4 * HOUR
        assert self.tell()["web"].status is Status.RELEASED
        assert self.in_git("production") == self.in_git("staging")


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    with ExitStack() as stack:
        yield Loop(tmp_path, stack)


def test_from_the_push_of_a_tag_to_production_and_back_when_the_cluster_says_that_it_fails(
    loop: Loop,
) -> None:
    loop.adopt("rollback")
    loop.promote()
    released = loop.repo.tip()
    loop.synchronize("production", ready=0, trouble="CrashLoopBackOff: exit 1")
    assert loop.tell()["web"].status is Status.CURRENT, "one bad look fails nothing"
    loop.synchronize("production", ready=0, trouble="CrashLoopBackOff: exit 1", gave_up=True)
    for _ in range(3):
        outcomes = loop.tell()
    assert loop.repo.tip() != released
    assert loop.in_git("production").startswith(f"{loop.image}:1.4.2")
    record = parse(git(loop.repo.path, "show", "--no-patch", "--format=%B", "main"))
    assert record is not None
    assert record.kind == "rollback"
    assert (record.reason or "").startswith("check deployed failed: production: Deployment production/web")
    loop.synchronize("production")
    outcomes = loop.tell()
    assert outcomes["web"].reason.code != "verify/running", "what it went back to runs"
    assert "web:1.4.3@" in loop.in_git("staging"), "staging is not touched"
    assert {call.method for call in loop.cluster.calls} == {"GET"}


def test_a_cluster_that_says_that_it_fails_stops_the_workload_and_one_that_is_down_nobody(
    loop: Loop,
) -> None:
    loop.adopt("stop")
    loop.promote()
    loop.cluster.tokens.clear()  # nobody is let in any more
    loop.push("web", "1.4.4")
    loop.push("api", "1.1.0")
    for _ in range(3):
        outcomes = loop.tell()
    assert "api:1.1.0@" in loop.repo.read("production/api.yaml"), "the others go on"
    assert "web:1.4.4@" in loop.in_git("staging")
    waiting = outcomes["web"]
    assert (waiting.status, waiting.reason.code) == (Status.WAITING, "verify/running")
    assert "deployed (production has not answered since 2026-11-22 " in waiting.reason.sentence
    loop.cluster.tokens.add(loop.cluster.token)
    loop.synchronize("staging")
    loop.synchronize("production", ready=0, gave_up=True)
    for _ in range(3):
        outcomes = loop.tell()
    stopped = outcomes["web"]
    assert (stopped.status, stopped.reason.code) == (Status.HELD, "verify/failed")
    assert "1.4.3@" in loop.in_git("production")
