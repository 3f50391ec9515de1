"""Chains over several config repos and branches: each asks the one before for its newest commit."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from parts.forges import ForgeServer
from parts.forgestage import forge_stage
from parts.gitserver import BareRepo, git, http_git
from parts.registry import push_many
from parts.stage import COMMAND, DEPLOYMENT, NOW

from automator.app import App
from automator.config import Config
from automator.core.report import Outcome, Report
from automator.cycle.run import Trigger
from automator.demo.registry import EmbeddedRegistry
from automator.reasons import Reason, Status

HOUR = timedelta(hours=1)
AFTER = "after: {workload: staging/web, soak: 2h}"
Said = tuple[Status, str]


class Fleet:
    """Config repos `staging` and `prod`, each with a workload web of one image."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.stack = folder, stack
        self.registry = stack.enter_context(EmbeddedRegistry(folder / "images"))
        self.now = NOW
        self.checks: dict[str, Any] = {}
        self.forges: dict[str, Any] = {}
        self.state = folder / "state"
        self.repos = {
            name: BareRepo.create(folder / f"{name}.git", {"README.md": "x\n"})
            for name in ("staging", "prod")
        }
        self.settings: dict[str, dict[str, Any]] = {
            name: {"url": str(repo.path)} for name, repo in self.repos.items()
        }
        self._app: App | None = None
        stack.callback(self.stop)

    def push(self, *tags: str) -> None:
        start = self.now - timedelta(days=1)
        times = {tag: start + timedelta(minutes=i) for i, tag in enumerate(tags)}
        push_many(self.registry.host, "acme/web", times)

    def files(
        self,
        version: str,
        keys: str,
        name: str = "web",
        file: str = "web.yaml",
        rule: str = 'semver: "1.x"',
    ) -> dict[str, str]:
        image = f"{self.registry.host}/acme/web"
        where = f"where: {{paths: [{file}]}}"
        keys = f"image: {image}\n{rule}\n{where}\n{keys}"
        lines = "".join(f"    {line}\n" for line in keys.splitlines())
        return {
            file: DEPLOYMENT.format(name=name, image=f"{image}:{version}"),
            f"policies/{name}.yaml": f"version: 1\nworkloads:\n  {name}:\n{lines}",
        }

    def adopt(
        self, staging: str = "pin: digest", prod: str = AFTER, *, prod_rule: str = 'semver: "1.x"'
    ) -> None:
        self.push("1.4.2", "1.4.3")
        self.repos["staging"].commit(self.files("1.4.2", staging), "Adopt")
        self.repos["prod"].commit(self.files("1.4.2", prod, rule=prod_rule), "Adopt")

    @property
    def app(self) -> App:
        if self._app is None:
            config = Config(
                state=self.state,
                repos=self.settings,
                checks=self.checks,
                forges=self.forges,
                registries={self.registry.host: {"insecure": True}},
            )
            self._app = App.open(config, exclusive=True, repos=self.only, clock=lambda: self.now)
        return self._app

    only: tuple[str, ...] = ()

    def stop(self) -> None:
        if self._app is not None:
            self._app.close()
            self._app = None

    def report(self, repo: str, trigger: Trigger = COMMAND) -> Report:
        report = self.app.cycles[repo].run(trigger)
        self.now += timedelta(minutes=1)
        return report

    def run(self, repo: str, trigger: Trigger = COMMAND) -> Outcome:
        report = self.report(repo, trigger)
        assert report.error is None, report.error.sentence
        return next(o for o in report.outcomes if o.workload == "web")

    def at(self, moment: timedelta, repo: str) -> Outcome:
        self.now = NOW + moment
        return self.run(repo)

    def version(self, repo: str) -> str:
        text = self.repos[repo].read("web.yaml")
        return text.partition("image: ")[2].split()[0].rpartition("/")[2]

    def revert(self, repo: str, commit: str) -> None:
        work = self.folder / f"work-{time.monotonic_ns()}"
        git(self.folder, "clone", "--quiet", str(self.repos[repo].path), str(work))
        git(work, "revert", "--no-edit", commit)
        git(work, "push", "--quiet", "origin", "HEAD:main")


def said(outcome: Outcome) -> Said:
    return outcome.status, outcome.reason.code


def soaked(fleet: Fleet) -> Reason:
    """Why production waits at first; when that is over, it releases what staging has."""
    waiting = fleet.run("prod")
    assert said(waiting) == (Status.WAITING, "guard/soak")
    assert waiting.reason.changes_at is not None
    fleet.now = waiting.reason.changes_at
    assert fleet.run("prod").status is Status.RELEASED
    assert fleet.version("prod") == fleet.version("staging")
    return waiting.reason


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with ExitStack() as stack:
        yield Fleet(tmp_path, stack)


def test_production_comes_after_another_config_repo(fleet: Fleet) -> None:
    fleet.adopt()
    assert said(fleet.run("prod")) == (Status.HELD, "guard/after-not-there")
    assert fleet.run("staging").status is Status.RELEASED
    assert "staging/web" in soaked(fleet).sentence


def test_once_for_the_one_config_repo_alone_reads_the_other(fleet: Fleet) -> None:
    fleet.adopt()
    fleet.run("staging")
    fleet.stop()
    fleet.only = ("prod",)
    before = fleet.repos["staging"].tip()
    due = fleet.run("prod").reason.changes_at
    assert due is not None
    fleet.stop()
    fleet.now = due
    assert fleet.run("prod").status is Status.RELEASED
    assert fleet.repos["staging"].tip() == before


def test_a_rollback_upstream_a_moment_ago_counts(fleet: Fleet) -> None:
    """Nothing tells the downstream cycle of it: it asks, since a release hangs on it."""
    fleet.adopt()
    release = fleet.run("staging").commit
    fleet.run("prod")
    assert release is not None
    fleet.now = NOW + 3 * HOUR
    fleet.revert("staging", release)
    assert said(fleet.run("prod")) == (Status.HELD, "guard/after-rejected")
    assert fleet.version("prod") == "web:1.4.2"


def test_what_changes_upstream_is_heard_of_by_the_next_cycle(fleet: Fleet) -> None:
    fleet.adopt(prod="after: {workload: staging/web}")
    assert said(fleet.run("prod")) == (Status.HELD, "guard/after-not-there")
    woken: list[str] = []
    fleet.app.board.wake = woken.append
    fleet.run("staging", Trigger("interval", all_due=True))
    fleet.run("staging", Trigger("interval"))
    assert set(woken) == {"prod"}
    assert fleet.run("prod", Trigger("push")).status is Status.RELEASED


def test_a_cycle_without_anything_at_stake_asks_no_other_config_repo(fleet: Fleet) -> None:
    fleet.adopt()
    fleet.run("staging")
    due = fleet.run("prod").reason.changes_at
    assert due is not None
    fleet.now = due
    fleet.run("prod")
    fleet.repos["staging"].path.rename(fleet.folder / "gone.git")
    outcome = fleet.run("prod")
    assert said(outcome) == (Status.CURRENT, "current/newest")


def test_an_upstream_repo_that_cannot_be_read_holds_back_only_what_comes_after_it(fleet: Fleet) -> None:
    fleet.adopt()
    fleet.run("staging")
    fleet.repos["prod"].commit(fleet.files("1.4.2", "", name="other", file="other.yaml"), "More")
    fleet.repos["staging"].path.rename(fleet.folder / "gone.git")
    fleet.now = NOW + 3 * HOUR
    report = fleet.report("prod")
    outcomes = {o.workload: o for o in report.outcomes}
    assert report.error is None
    assert said(outcomes["web"]) == (Status.WAITING, "guard/after-unreadable")
    assert "staging" in outcomes["web"].reason.sentence
    assert outcomes["other"].status is Status.RELEASED
    (fleet.folder / "gone.git").rename(fleet.repos["staging"].path)
    assert fleet.run("prod").status is Status.RELEASED


def test_who_pushes_upstream_while_it_is_fetched_holds_nobody_back(fleet: Fleet) -> None:
    fleet.adopt()
    fleet.run("staging")
    fleet.now = NOW + 3 * HOUR
    fleet.stop()
    fleet.only = ("prod",)
    staging = fleet.repos["staging"]
    asked = 0

    def push(line: str) -> None:
        nonlocal asked
        asked += "info/refs" in line
        if asked == 2 and "info/refs" in line:  # the tip is known, and about to be fetched
            staging.commit({"README.md": "y\n"}, "Meanwhile")

    with http_git(fleet.folder) as served:
        served.meanwhile = push
        fleet.settings["staging"] = {"url": served.url(staging)}
        outcome = fleet.run("prod")
        assert asked > 2
        assert "Meanwhile" in staging.log()
        assert said(outcome) == (Status.WAITING, "guard/soak"), outcome.reason.sentence
        fleet.stop()


def test_an_upstream_repo_that_hangs_is_waited_for_once(fleet: Fleet) -> None:
    fleet.adopt()
    fleet.repos["prod"].commit(fleet.files("1.4.2", "", name="other", file="other.yaml"), "More")
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/staging.git"
        fleet.settings["staging"] = {"url": url, "timeout": "20s"}
        fleet.only = ("prod",)
        fleet.app.cycles["prod"].facts.upstreams.patience = 0.2  # type: ignore[union-attr]
        report = fleet.report("prod")
        outcomes = {o.workload: o for o in report.outcomes}
        assert said(outcomes["web"]) == (Status.WAITING, "guard/after-late")
        assert outcomes["other"].status is Status.RELEASED
        assert said(fleet.run("prod")) == (Status.WAITING, "guard/after-late")
    fleet.stop()
    fleet.settings["staging"] = {"url": str(fleet.repos["staging"].path)}
    assert said(fleet.run("prod")) == (Status.HELD, "guard/after-not-there")


def test_an_upstream_in_a_repo_that_the_config_does_not_have_is_told(fleet: Fleet) -> None:
    fleet.adopt(prod="after: {workload: elsewhere/web, soak: 1h}")
    outcome = fleet.run("prod")
    assert said(outcome) == (Status.HELD, "guard/after-no-repo")
    assert "elsewhere" in outcome.reason.sentence


def test_an_upstream_that_its_repo_does_not_have_is_told(fleet: Fleet) -> None:
    fleet.adopt(prod="after: {workload: staging/shop, soak: 1h}")
    assert said(fleet.run("prod")) == (Status.HELD, "guard/after-no-workload")
    fleet.repos["prod"].commit(fleet.files("1.4.2", "after: {group: staging/shop}"), "Group")
    assert said(fleet.run("prod")) == (Status.HELD, "guard/after-no-workload")


def test_a_workload_of_the_own_repo_may_be_named_in_full(fleet: Fleet) -> None:
    fleet.adopt()
    fleet.repos["prod"].commit(fleet.files("1.4.2", "pin: digest", name="early", file="early.yaml"), "Early")
    fleet.repos["prod"].commit(fleet.files("1.4.2", "after: {workload: prod/early}"), "After")
    fleet.run("prod")
    assert fleet.run("prod").status is Status.RELEASED


def test_two_branches_of_one_repo_are_a_chain(fleet: Fleet) -> None:
    fleet.adopt()
    shared = fleet.repos["staging"]
    git(shared.path, "branch", "production", "main")
    fleet.settings["prod"] = {"url": str(shared.path), "branch": "production"}
    fleet.repos["prod"] = BareRepo(shared.path, "production", shared.clock)
    fleet.repos["prod"].commit(fleet.files("1.4.2", AFTER), "Production comes after")
    fleet.run("staging")
    soaked(fleet)
    assert "1.4.3@sha256:" in fleet.version("prod")


def test_a_branch_upstream_that_was_rewound_begins_its_soaks_anew(fleet: Fleet) -> None:
    fleet.adopt()
    release = fleet.run("staging").commit
    fleet.run("prod")
    assert release is not None
    staging = fleet.repos["staging"]
    fleet.now = NOW + HOUR
    staging.set_tip(git(staging.path, "rev-parse", f"{release}^"))
    fleet.run("staging")
    fleet.now = NOW + 1.5 * HOUR
    staging.set_tip(release)
    fleet.run("staging")
    outcome = fleet.at(2.5 * HOUR, "prod")
    assert outcome.status is not Status.RELEASED
    assert fleet.version("prod") == "web:1.4.2"


# -- groups as environments ---------------------------------------------------------------------------


def group(fleet: Fleet, match: str = "version") -> None:
    """Staging runs api and web, two images of one version, as a group; production has web alone."""
    host = fleet.registry.host
    start = fleet.now - timedelta(days=1)
    for image in ("api", "web"):
        push_many(host, f"acme/{image}", {"1.4.2": start, "1.4.3": start + HOUR})
    policies, files = "version: 1\nworkloads:\n", {}
    for name in ("api", "web"):
        policies += f'  {name}:\n    image: {host}/acme/{name}\n    semver: "1.x"\n    pin: digest\n'
        policies += f"    group: {{name: shop, match: {match}}}\n"
        files[f"{name}.yaml"] = DEPLOYMENT.format(name=name, image=f"{host}/acme/{name}:1.4.2")
    fleet.repos["staging"].commit({**files, "policies/shop.yaml": policies}, "Adopt")
    fleet.repos["prod"].commit(fleet.files("1.4.2", "after: {group: staging/shop, soak: 2h}"), "Adopt")


def test_a_group_counts_while_all_of_its_members_are_at_the_version(fleet: Fleet) -> None:
    group(fleet)
    fleet.run("staging")
    assert said(fleet.run("prod")) == (Status.WAITING, "guard/soak")
    fleet.now = NOW + HOUR
    staging = fleet.repos["staging"]
    pinned = staging.read("api.yaml")
    old = DEPLOYMENT.format(name="api", image=f"{fleet.registry.host}/acme/api:1.4.2")
    staging.clock = int(fleet.now.timestamp())
    staging.commit({"api.yaml": old}, "Back with the api")
    assert said(fleet.at(3 * HOUR, "prod")) == (Status.HELD, "guard/soak-ended")
    fleet.now = NOW + 4 * HOUR
    staging.clock = int(fleet.now.timestamp())
    staging.commit({"api.yaml": pinned}, "And on again")
    fleet.run("staging")
    soaked(fleet)
    assert fleet.now >= NOW + 6 * HOUR


def test_a_group_without_the_image_is_told(fleet: Fleet) -> None:
    group(fleet)
    text = fleet.repos["prod"].read("policies/web.yaml").replace("/acme/web\n", "/acme/other\n")
    manifest = fleet.repos["prod"].read("web.yaml").replace("/acme/web:", "/acme/other:")
    start: datetime = fleet.now - timedelta(days=1)
    push_many(fleet.registry.host, "acme/other", {"1.4.2": start, "1.4.3": start + HOUR})
    fleet.repos["prod"].commit({"policies/web.yaml": text, "web.yaml": manifest}, "Another image")
    fleet.run("staging")
    assert said(fleet.run("prod")) == (Status.HELD, "guard/after-other-image")


# -- found by review ---------------------------------------------------------------------------------------


def test_an_upstream_that_is_slower_than_we_are_patient_is_heard_in_the_next_cycle(fleet: Fleet) -> None:
    fleet.adopt(prod="after: {workload: staging/web}")
    fleet.run("staging")
    upstreams = fleet.app.cycles["prod"].facts.upstreams
    assert upstreams is not None
    upstreams.patience = 0.0
    answered = threading.Event()
    fleet.app.board.wake = lambda _repo: answered.set()
    assert said(fleet.run("prod")) == (Status.WAITING, "guard/after-late")
    assert answered.wait(30), "its answer wakes who asked"
    assert fleet.run("prod").status is Status.RELEASED


def test_an_answer_that_news_made_old_is_asked_for_again(fleet: Fleet) -> None:
    fleet.adopt(prod="after: {workload: staging/web}")
    release = fleet.run("staging").commit
    assert release is not None
    upstreams = fleet.app.cycles["prod"].facts.upstreams
    assert upstreams is not None
    upstreams.patience = 0.0
    answered = threading.Event()
    fleet.app.board.wake = lambda _repo: answered.set()
    fleet.run("prod")
    assert answered.wait(30)
    fleet.revert("staging", release)
    fleet.run("staging")
    upstreams.patience = 20.0
    assert said(fleet.run("prod")) == (Status.HELD, "guard/after-rejected")


def test_a_rewind_that_an_earlier_process_saw_begins_the_soak_anew(fleet: Fleet) -> None:
    fleet.adopt()
    release = fleet.run("staging").commit
    assert release is not None
    fleet.stop()
    fleet.only = ("prod",)
    fleet.run("prod")
    fleet.stop()
    staging = fleet.repos["staging"]
    fleet.now = NOW + HOUR
    staging.set_tip(git(staging.path, "rev-parse", f"{release}^"))
    assert said(fleet.run("prod")) == (Status.HELD, "guard/after-not-there")
    fleet.stop()
    staging.set_tip(release)
    fleet.now = NOW + 2.5 * HOUR
    waiting = fleet.run("prod")
    assert said(waiting) == (Status.WAITING, "guard/soak")
    assert waiting.reason.changes_at == NOW + 4.5 * HOUR


def test_checks_that_another_automator_asks_are_told_from_checks_that_did_not_pass(fleet: Fleet) -> None:
    fleet.checks = {"fine": {"command": ["/bin/true"]}}
    fleet.adopt(staging="pin: digest\nverify: fine", prod="after: {workload: staging/web}")
    for _ in range(4):
        fleet.run("staging")
    assert fleet.version("staging").startswith("web:1.4.3")
    fleet.stop()
    fleet.only, fleet.state = ("prod",), fleet.folder / "elsewhere"
    held = fleet.run("prod")
    assert said(held) == (Status.HELD, "guard/after-unasked")
    assert held.reason.next_step is not None
    assert "one automator" in held.reason.next_step


def test_what_a_closed_pull_request_refused_is_refused_downstream(tmp_path: Path) -> None:
    """Also where the other upstream has held it long enough, and the refusal is heard of in that cycle."""
    with forge_stage(tmp_path, "github") as stage:
        stage.push("acme/web", "1.4.2", "1.4.3")
        keys = f'image: {stage.host}/acme/web\n    semver: "1.x"\n    '
        policy = (
            "version: 1\nworkloads:\n"
            f"  a:\n    {keys}deliver: pull-request\n    where: {{paths: [a/*]}}\n"
            f"  b:\n    {keys}pin: digest\n    where: {{paths: [b/*]}}\n"
            f"  web:\n    {keys}where: {{paths: [apps/*]}}\n"
            "    after: {workload: [a, b], need: any, soak: 1h}\n"
        )
        manifest = stage.workload("web", "1.4.2")["apps/web.yaml"]
        files = {f"{folder}/web.yaml": manifest for folder in ("a", "b", "apps")}
        stage.commit({**files, "policies/web.yaml": policy})
        stage.outcomes()
        assert stage.outcomes()["web"].reason.code == "guard/soak"
        stage.forge.close(stage.pull.number)
        stage.now += timedelta(hours=1)
        for _ in range(3):
            outcomes = stage.outcomes()
            assert said(outcomes["a"]) == (Status.HELD, "proposal/closed")
            assert said(outcomes["web"]) == (Status.HELD, "guard/after-rejected")
            stage.now += timedelta(hours=1)
        assert stage.image_of("web") == "web:1.4.2"


# -- the order of upstream ---------------------------------------------------------------------------------


def test_a_workload_with_after_alone_takes_the_order_of_another_config_repo(fleet: Fleet) -> None:
    fleet.adopt(prod_rule="")
    assert said(fleet.run("prod")) == (Status.HELD, "guard/after-not-there")
    fleet.run("staging")
    soaked(fleet)
    current = fleet.run("prod")
    assert said(current) == (Status.CURRENT, "current/newest")
    assert 'semver "1.x" of staging/web' in current.reason.sentence


def test_another_rule_upstream_is_another_rule_downstream(fleet: Fleet) -> None:
    fleet.adopt(prod="after: {workload: staging/web}", prod_rule="")
    fleet.push("2.0.0")
    fleet.run("staging")
    assert fleet.run("prod").status is Status.RELEASED
    assert fleet.version("prod").startswith("web:1.4.3@")
    pinned = fleet.repos["staging"].read("web.yaml")
    files = fleet.files("1.4.3", "pin: digest", rule='semver: ">=1"')
    fleet.repos["staging"].commit({**files, "web.yaml": pinned}, "Two is fine")
    fleet.run("staging")
    fleet.run("prod")
    assert fleet.version("prod").startswith("web:2.0.0@")


def test_while_the_rule_upstream_cannot_be_read_nothing_is_released(fleet: Fleet) -> None:
    fleet.adopt(prod="after: {workload: staging/web}", prod_rule="")
    fleet.run("staging")
    fleet.stop()
    fleet.repos["staging"].path.rename(fleet.folder / "gone.git")
    fleet.only = ("prod",)
    assert said(fleet.run("prod")) == (Status.WAITING, "guard/after-unreadable")
    (fleet.folder / "gone.git").rename(fleet.repos["staging"].path)
    assert fleet.run("prod").status is Status.RELEASED


def test_an_order_goes_on_over_three_config_repos(fleet: Fleet) -> None:
    """`prod` says no order, nor does `staging`: both have that of `dev`, with what people turned away."""
    dev = BareRepo.create(fleet.folder / "dev.git", {"README.md": "x\n"})
    fleet.repos["dev"], fleet.settings["dev"] = dev, {"url": str(dev.path)}
    dev.commit(fleet.files("1.4.2", "pin: digest"), "Adopt")
    fleet.push("1.4.2", "1.4.3")
    fleet.repos["staging"].commit(fleet.files("1.4.2", "after: {workload: dev/web}", rule=""), "Adopt")
    fleet.repos["prod"].commit(
        fleet.files("1.4.2", "after: {workload: staging/web, soak: 2h}", rule=""), "Adopt"
    )
    fleet.run("dev")
    release = fleet.run("staging").commit
    assert release is not None
    waiting = fleet.run("prod")
    assert said(waiting) == (Status.WAITING, "guard/soak")
    fleet.now = NOW + 3 * HOUR
    fleet.revert("staging", release)
    assert said(fleet.run("prod")) == (Status.HELD, "guard/after-rejected")
    assert fleet.version("prod") == "web:1.4.2"


def test_a_group_upstream_lends_the_rule_of_the_same_image(fleet: Fleet) -> None:
    group(fleet)
    bare = fleet.files("1.4.2", "after: {group: staging/shop, soak: 2h}", rule="")
    fleet.repos["prod"].commit(bare, "No order of its own")
    fleet.run("staging")
    soaked(fleet)


# -- circles -----------------------------------------------------------------------------------------------


def test_a_circle_over_two_config_repos_holds_its_workloads_and_no_other(fleet: Fleet) -> None:
    fleet.adopt(staging="after: {workload: prod/web}", prod="after: {workload: staging/web}")
    fleet.repos["prod"].commit(fleet.files("1.4.2", "", name="other", file="other.yaml"), "More")
    woken: list[str] = []
    fleet.app.board.wake = woken.append
    fleet.run("prod")
    held = fleet.run("staging")
    assert said(held) == (Status.HELD, "guard/after-circle")
    assert "web after prod/web after web" in held.reason.sentence
    report = fleet.report("prod")
    outcomes = {o.workload: o for o in report.outcomes}
    assert said(outcomes["web"]) == (Status.HELD, "guard/after-circle")
    assert outcomes["other"].reason.code in ("released/pushed", "current/newest")
    assert "prod" in woken or "staging" in woken
    fleet.repos["staging"].commit(fleet.files("1.4.2", "pin: digest"), "No circle any more")
    assert fleet.run("staging").status is Status.RELEASED
    assert fleet.run("prod").status is Status.RELEASED


# -- pull requests that were closed upstream ---------------------------------------------------------------


def _proposing(fleet: Fleet) -> ForgeServer:
    """`staging` goes through pull requests for a, and pushes b; `prod` takes what either has held."""
    forge = fleet.stack.enter_context(ForgeServer("github", fleet.folder))
    forge.clock = lambda: fleet.now
    forge.project("acme/staging", repo=fleet.repos["staging"])
    place = {"kind": "github", "api": forge.api, "token_file": str(forge.token_file), "timeout": "5s"}
    fleet.forges = {forge.host: place}
    fleet.settings["staging"].update(forge=forge.host, project="acme/staging")
    fleet.push("1.4.2", "1.4.3")
    files = {
        **fleet.files("1.4.2", "deliver: pull-request", name="a", file="a.yaml"),
        **fleet.files("1.4.2", "pin: digest", name="b", file="b.yaml"),
    }
    fleet.repos["staging"].commit(files, "Adopt")
    keys = "after: {workload: [staging/a, staging/b], need: any, soak: 1h}"
    fleet.repos["prod"].commit(fleet.files("1.4.2", keys), "Adopt")
    fleet.report("staging")
    assert forge.pulls
    assert said(fleet.run("prod")) == (Status.WAITING, "guard/soak")
    return forge


@pytest.mark.parametrize("alone", [True, False])
def test_a_pull_request_closed_upstream_counts_before_its_own_cycle_heard_of_it(
    fleet: Fleet, alone: bool
) -> None:
    """`once -r prod`, and `prod` running before `staging` after a restart."""
    forge = _proposing(fleet)
    fleet.stop()
    forge.close(max(forge.pulls))
    fleet.only = ("prod",) if alone else ()
    fleet.now = NOW + 2 * HOUR
    assert said(fleet.run("prod")) == (Status.HELD, "guard/after-rejected")
    asked = len(forge.calls)
    assert asked > 0
    for _ in range(3):
        assert said(fleet.run("prod")) == (Status.HELD, "guard/after-rejected")
    assert len(forge.calls) == asked, "nobody is asked again without news"
    assert fleet.version("prod") == "web:1.4.2"


def test_while_the_forge_upstream_has_no_answer_the_release_waits(fleet: Fleet) -> None:
    forge = _proposing(fleet)
    fleet.stop()
    fleet.only = ("prod",)
    fleet.now = NOW + 2 * HOUR
    token = forge.token_file.read_text()
    forge.token_file.write_text("wrong")
    waiting = fleet.run("prod")
    assert said(waiting) == (Status.WAITING, "guard/after-refusals")
    assert waiting.reason.changes_at is not None
    asked = len(forge.calls)
    assert said(fleet.run("prod")) == (Status.WAITING, "guard/after-refusals")
    assert len(forge.calls) == asked
    forge.token_file.write_text(token)
    fleet.now = waiting.reason.changes_at
    assert fleet.run("prod").status is Status.RELEASED
