"""`check --status`: the verdict as a commit's status on the forge, as a job of a CI system writes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from parts.forges import ForgeServer
from parts.world import Completed, World, deployment

IMAGE = "registry.example.com/acme/web"
GOOD = f'version: 1\nworkloads:\n  web:\n    image: {IMAGE}\n    semver: ">=1.0 <2"\n'
BAD = GOOD.replace(">=1.0 <2", "one")


class Job:
    """A job on a pull request that touches policies, with the config of the daemon."""

    def __init__(self, root: Path, forge: ForgeServer) -> None:
        self.forge = forge
        self.repo = forge.project("acme/shop", {"README.md": "config repo\n"})
        self.commit = self.repo.commit({"policies/shop.yaml": GOOD}, "Policies")
        self.world = World(root, "127.0.0.1:9")
        self.folder = root / "checkout"
        (self.folder / "policies").mkdir(parents=True)
        (self.folder / "apps").mkdir()
        (self.folder / "apps/web.yaml").write_text(deployment(f"{IMAGE}:1.0.0"))
        self.world.configure(
            repo=f'forge = "{forge.host}"\nproject = "acme/shop"',
            more=f'[forges."{forge.host}"]\nkind = "{forge.kind}"\napi = "{forge.api}"\n'
            f'token_file = "{forge.token_file}"\n',
        )

    def check(self, policy: str, *options: str, **env: str) -> Completed:
        (self.folder / "policies/shop.yaml").write_text(policy)
        config = ("--config", str(self.world.config))
        return self.world.run(*config, "check", "--status", *options, cwd=self.folder, env=env)

    @property
    def told(self) -> tuple[str, str]:
        status = self.forge.statuses(self.commit)["automator/check"]
        return status["state"], status["description"]


@pytest.fixture(params=["github", "gitlab", "gitea"])
def job(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Job]:
    with ForgeServer(request.param, tmp_path / "forge") as forge:
        yield Job(tmp_path, forge)


def test_go_and_no_go_stand_on_the_commit(job: Job) -> None:
    done = job.check(GOOD, "--commit", job.commit)
    assert (done.code, job.told[0]) == (0, "success")
    done = job.check(BAD, "--commit", job.commit)
    assert done.code == 1
    assert job.told[0] == "failure"
    assert "policies/shop.yaml:5" in job.told[1]
    assert "policies/shop.yaml:5" in done.out


def test_the_commit_is_the_one_that_the_ci_system_names(job: Job, tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"pull_request": {"head": {"sha": job.commit}}}))
    merge = "f" * 40
    assert job.check(GOOD, GITHUB_EVENT_PATH=str(event), GITHUB_SHA=merge).code == 0
    assert job.told[0] == "success"
    job.check(BAD, CI_COMMIT_SHA=job.commit)
    assert job.told[0] == "failure"


def test_without_a_commit_or_a_forge_it_is_wrong_usage(job: Job) -> None:
    done = job.check(GOOD, "--commit", "main")
    assert done.code == 2
    assert "--commit SHA" in done.err
    job.world.configure()
    done = job.check(GOOD, "--commit", job.commit)
    assert done.code == 2
    assert "names no forge" in done.err


def test_a_forge_that_refuses_is_told_after_the_verdict(job: Job) -> None:
    job.forge.tokens.clear()
    done = job.check(GOOD, "--commit", job.commit)
    assert done.code == 1
    assert "0 errors" in done.out
    assert job.forge.token not in done.err
    assert done.err


def test_policies_that_need_a_forge_are_an_error_without_one(job: Job) -> None:
    job.world.configure()
    (job.folder / "policies/shop.yaml").write_text(f"{GOOD}    deliver: pull-request\n")
    done = job.world.run("--config", str(job.world.config), "check", cwd=job.folder)
    assert done.code == 1
    assert "no forge is configured" in done.out
