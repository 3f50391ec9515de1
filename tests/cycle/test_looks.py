"""Looks at registries: what is told of each host after a cycle, and kept for threads of others."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from parts.gitserver import BareRepo
from parts.stage import NOW, Stage

from automator.app import App
from automator.app.numbers import sources_of
from automator.config import Config
from automator.core.reference import Repository
from automator.cycle.looks import HostLook, Looks, merged
from automator.cycle.run import Trigger
from automator.demo.registry import EmbeddedRegistry
from automator.reasons import reason

MINUTE = timedelta(minutes=1)
WEB, API = Repository("ghcr.io", "acme/web"), Repository("ghcr.io", "acme/api")
CACHE = Repository("docker.io", "library/redis")
DOWN = reason("registry/unreachable", host="ghcr.io", problem="no route", repository="ghcr.io/acme/web")


def looks(stage: Stage) -> HostLook:
    return stage.cycle.observer.looks.hosts[stage.host]


def test_a_host_tells_when_it_last_answered_and_what_fails(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2")
    stage.push("acme/cache", "7")
    stage.commit({**stage.workload("web", "1.4.2"), **stage.workload("cache", "7", keys='follow: "7"')})
    stage.run()
    first = looks(stage)
    assert (first.succeeded_at, len(first.watched), first.trouble) == (NOW, 2, None)
    stage.registry.stop()
    stage.run()
    second = looks(stage)
    assert (second.succeeded_at, second.failures) == (NOW, 1)
    # the other one was left alone, since the host did not answer: that is no look
    assert [repository.path for repository in second.failing] == ["acme/web"]
    assert second.trouble is not None
    assert stage.host in second.trouble.sentence
    # what is not there is no success, and who is not watched any more does not fail
    stage.now += 10 * MINUTE
    stage.commit(stage.workload("api", "1.0.0"))
    stage.commit({"policies/cache.yaml": None, "apps/cache.yaml": None})
    at = stage.now
    with EmbeddedRegistry(stage.folder / "images", port=int(stage.host.rpartition(":")[2])):
        stage.run()
    third = looks(stage)
    assert third.succeeded_at == at
    assert [repository.path for repository in third.failing] == ["acme/api"]


def test_one_bad_moment_is_no_silence_until_the_next_turn(stage: Stage) -> None:
    stage.registries[stage.host] = {"interval": "12h", "max_interval": "12h"}
    stage.push("acme/web", "1.4.2")
    stage.commit(stage.workload("web", "1.4.2"))
    stage.run()
    stage.registry.stop()
    stage.now += timedelta(hours=12)
    begin = stage.now
    tried = []
    for _ in range(40):
        stage.run(trigger=Trigger("interval"))
        failing = looks(stage).failing
        tried.append(max(trouble.at for trouble in failing.values()) - begin)
        stage.now += MINUTE
    first, second, *later = sorted(set(tried))
    assert first < second <= 2 * MINUTE
    assert 2 <= len(later) <= 6, "later and later"
    with EmbeddedRegistry(stage.folder / "images", port=int(stage.host.rpartition(":")[2])):
        for _ in range(3):
            stage.now += 20 * MINUTE
            stage.run(trigger=Trigger("interval"))
    assert looks(stage).failing == {}, "hours before its turn"


def test_a_host_that_nobody_watches_any_more_is_not_told(stage: Stage, tmp_path: Path) -> None:
    """Else its breaker would stay open in the metrics for ever, since nobody asks it again."""
    stage.push("acme/web", "1.0.0")
    repo = BareRepo.create(tmp_path / "shop.git", {"README.md": "config repo\n"})
    good = stage.workload("web", "1.0.0")
    repo.commit({path: text.replace(stage.host, "127.0.0.1:9") for path, text in good.items()}, "Typo")
    insecure = {"insecure": True}
    config = Config.model_validate(
        {
            "state": tmp_path / "state",
            "repos": {"shop": {"url": str(repo.path)}},
            "registries": {stage.host: insecure, "127.0.0.1:9": insecure},
        }
    )
    with App.open(config, exclusive=True, clock=lambda: stage.now) as app:
        sources = sources_of(app, None, tuple)
        app.cycles["shop"].run(Trigger("startup"))
        assert [one.host for one in sources.hosts()] == ["127.0.0.1:9"]
        assert sources.intervals() == {"shop": 60.0}
        repo.commit(good, "Mend")
        app.cycles["shop"].run(Trigger("startup"))
        assert [one.host for one in sources.hosts()] == [stage.host]


def test_since_when_a_repository_fails_is_told_until_it_works_again() -> None:
    found = Looks()
    found.watch([WEB, API, CACHE])
    found.note({WEB: DOWN, API: None}, NOW)
    found.note({WEB: DOWN}, NOW + MINUTE)
    ghcr = found.hosts["ghcr.io"]
    assert (ghcr.succeeded_at, ghcr.failures, ghcr.failing[WEB].since) == (NOW, 2, NOW)
    found.note({WEB: None}, NOW + 2 * MINUTE)
    assert (found.hosts["ghcr.io"].failing, found.hosts["ghcr.io"].succeeded_at) == ({}, NOW + 2 * MINUTE)
    assert ghcr.failing[WEB].since == NOW, "who reads it keeps what was read"
    found.watch([CACHE])
    assert found.hosts.keys() == {"docker.io"}


def test_config_repos_that_watch_the_same_are_told_as_one() -> None:
    one, other = Looks(), Looks()
    one.watch([WEB, API])
    other.watch([WEB, CACHE])
    one.note({WEB: DOWN, API: None}, NOW)
    other.note({WEB: DOWN}, NOW + MINUTE)
    both = merged([one.hosts, other.hosts])
    assert list(both) == ["docker.io", "ghcr.io"]
    ghcr = both["ghcr.io"]
    assert (len(ghcr.watched), len(ghcr.failing), ghcr.failures, ghcr.succeeded_at) == (2, 1, 2, NOW)
    assert both["docker.io"].succeeded_at is None
