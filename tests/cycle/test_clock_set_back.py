"""A clock that was ahead and is set right again: what was written down meanwhile is not waited for."""

from __future__ import annotations

from datetime import timedelta

import requests
from parts.stage import Stage

from automator.cycle.run import Trigger

AHEAD = timedelta(days=30)
FAILS = {"smoke": {"command": ["/bin/false"], "interval": "1m", "failures": 2, "delay": "2m"}}
ANY = {"Accept": "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"}


def test_checks_go_on_from_the_time_that_it_is_now(stage: Stage) -> None:
    """In the process that saw both times, and in one that was started between them."""
    stage.checks = FAILS
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.now += AHEAD
    stage.commit(stage.workload("web", "1.4.2", keys='semver: "1.x"\nverify: smoke'))
    assert stage.outcomes()["web"].reason.code == "verify/running"
    stage.now -= AHEAD / 2
    stage.outcomes()
    stage.stop()
    stage.now -= AHEAD / 2
    codes = []
    for _ in range(6):
        codes.append(stage.outcomes()["web"].reason.code)
        stage.now += timedelta(minutes=1)
    assert codes[0] == "verify/running"
    assert codes[-1] == "verify/failed"


def test_a_soak_begins_with_the_time_that_it_is_now(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.now += AHEAD
    manifest = requests.head(f"http://{stage.host}/v2/acme/web/manifests/1.4.3", headers=ANY, timeout=10)
    at = {"up": f"1.4.3@{manifest.headers['Docker-Content-Digest']}", "down": "1.4.2"}
    after = {"up": 'semver: "1.x"', "down": 'semver: "1.x"\nafter: {workload: up, soak: 1h}'}
    for name in at:
        keys = f'{after[name]}\nwhere: {{paths: ["apps/{name}.yaml"]}}'
        files = stage.workload("web", at[name], keys=keys)
        policy = files["policies/web.yaml"].replace("  web:", f"  {name}:")
        stage.commit({f"policies/{name}.yaml": policy, f"apps/{name}.yaml": files["apps/web.yaml"]})
    assert stage.outcomes()["down"].reason.code == "guard/soak"
    stage.now -= AHEAD / 2
    stage.outcomes()
    stage.stop()
    stage.now -= AHEAD / 2
    codes = []
    for _ in range(4):
        codes.append(stage.outcomes()["down"].reason.code)
        stage.now += timedelta(minutes=25)
    assert codes == [*["guard/soak"] * 3, "released/pushed"]


def test_tags_are_listed_at_the_interval_of_the_time_that_it_is_now(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2")
    stage.commit(stage.workload("web", "1.4.2"))
    stage.outcomes()
    stage.now += timedelta(minutes=20)
    assert stage.outcomes(trigger=Trigger("interval"))["web"].status == "current"
    stage.now -= timedelta(hours=5)
    stage.push("acme/web", "1.4.3")
    codes = []
    for _ in range(4):
        codes.append(stage.outcomes(trigger=Trigger("interval"))["web"].reason.code)
        stage.now += timedelta(minutes=5)
    assert "released/pushed" in codes
