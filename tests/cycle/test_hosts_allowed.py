"""`repos.NAME.registries`: which hosts the policies of a config repo may make us call."""

from __future__ import annotations

from parts.registry import HostileServer, always, json_reply
from parts.stage import Stage

from automator.reasons import Status


def test_a_host_that_is_not_allowed_is_held_and_never_called(stage: Stage) -> None:
    stage.push("acme/web", "1.0.0", "1.1.0")
    with HostileServer(always(json_reply({"name": "acme/api", "tags": ["1.0.0", "1.1.0"]}))) as other:
        stage.insecure.add(other.host)
        stage.settings["registries"] = (stage.host,)
        stage.commit({**stage.workload("web", "1.0.0"), **stage.workload("api", "1.0.0", host=other.host)})
        outcomes = stage.outcomes()
        assert other.received == []
    assert outcomes["web"].status is Status.RELEASED
    assert outcomes["api"].status is Status.HELD
    assert outcomes["api"].reason.code == "rule/violated"
    assert "repos.shop.registries" in outcomes["api"].reason.sentence
    assert stage.host in outcomes["api"].reason.sentence


def test_tags_from_a_host_that_is_not_allowed_is_held_and_never_called(stage: Stage) -> None:
    with HostileServer(always(json_reply({"name": "acme/web", "tags": ["1.0.0", "1.1.0"]}))) as other:
        stage.insecure.add(other.host)
        stage.settings["registries"] = (stage.host,)
        keys = f'semver: ">=1"\ntags_from: {other.host}/acme/web'
        stage.commit(stage.workload("web", "1.0.0", keys=keys))
        assert stage.outcomes()["web"].reason.code == "rule/violated"
        assert other.received == []
