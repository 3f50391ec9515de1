"""What people ask for where others have a say: through pull requests, and after a workload upstream."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from parts.forgestage import ForgeStage, forge_stage
from parts.gitserver import git
from parts.stage import DEPLOYMENT, Stage

from automator.core.action import Request
from automator.core.record import ReleaseRecord, parse
from automator.cycle.acting import Acted, Terms, act
from automator.errors import ActionError
from automator.reasons import Reason, Status


def ask(stage: Stage, kind: str, version: str | None = None, **terms: bool) -> Acted:
    """What the program does when Ann asks for it."""
    workload = "" if kind in ("freeze", "thaw") else "web"
    done = act(stage.cycle, Request(kind, "Ann", "because", workload, version), Terms(**terms))
    stage.now += timedelta(minutes=1)
    return done


def refused(stage: Stage, kind: str, version: str | None = None) -> Reason:
    before = stage.repo.tip()
    with pytest.raises(ActionError) as raised:
        ask(stage, kind, version)
    assert stage.repo.tip() == before
    return raised.value.reason


def record(stage: Stage, commit: str = "main") -> ReleaseRecord:
    found = parse(git(stage.repo.path, "log", "-1", "--format=%B", commit))
    assert found is not None
    return found


# -- through a pull request ---------------------------------------------------------------------------


@pytest.fixture
def forged(tmp_path: Path) -> Iterator[ForgeStage]:
    """web was released from 1.4.2 to 1.4.3; the config takes commands by pull request."""
    with forge_stage(tmp_path, "github") as made:
        made.push("acme/web", "1.4.2", "1.4.3")
        made.commit(made.workload("web", "1.4.2"))
        made.run()
        assert made.image_of("web") == "web:1.4.3"
        yield made


@pytest.mark.parametrize("how", ["merge", "squash"])
def test_a_rollback_takes_effect_when_its_pull_request_is_merged(forged: ForgeStage, how: str) -> None:
    before = forged.repo.tip()
    done = ask(forged, "rollback", by_pull_request=True)
    pull = forged.pull
    assert (forged.repo.tip(), done.commit) == (before, None)
    assert done.url is not None
    assert done.url.endswith(f"/{pull.number}")
    assert pull.title == "Roll back web to 1.4.2"
    again = ask(forged, "rollback", by_pull_request=True)
    assert again.url == done.url
    assert len(forged.forge.pulls) == 1
    assert forged.outcomes()["web"].status is Status.CURRENT
    forged.forge.merge(pull.number, how)
    assert forged.image_of("web") == "web:1.4.2"
    forged.lose_state()
    assert forged.outcomes()["web"].reason.code == "history/turned-away"


def test_a_hold_goes_the_way_that_the_policy_demands(forged: ForgeStage) -> None:
    text = forged.repo.read("policies/web.yaml") + "\n    deliver: pull-request\n"
    forged.commit({"policies/web.yaml": text})
    done = ask(forged, "hold")
    assert done.url is not None
    assert forged.pull.title == "Hold web"
    forged.forge.merge(forged.pull.number, "squash")
    forged.push("acme/web", "1.4.4")
    assert forged.outcomes()["web"].reason.code == "guard/hold"


def test_a_rule_demands_it_too(forged: ForgeStage) -> None:
    rules = "version: 1\nrules:\n  - name: shop\n    paths: [apps/**]\n    deliver: pull-request\n"
    forged.commit({"policies/_rules.yaml": rules})
    assert ask(forged, "rollback").url is not None
    assert ask(forged, "freeze").commit is not None, "the rule is about workloads"


# -- after another workload ---------------------------------------------------------------------------


def chain(stage: Stage, keys: str = "after: {workload: web-staging, soak: 24h}") -> None:
    """Staging at 1.4.3 for a minute, by a release of ours; production, which comes after it, at 1.4.2."""
    image = f"{stage.host}/acme/web"
    policies = (
        "version: 1\nworkloads:\n"
        f'  web-staging:\n    image: {image}\n    semver: "1.x"\n    pin: digest\n'
        f'    where: {{paths: ["staging/**"]}}\n'
        f'  web:\n    image: {image}\n    semver: "1.x"\n    where: {{paths: ["prod/**"]}}\n    {keys}\n'
    )
    files = {
        f"{f}/web.yaml": DEPLOYMENT.format(name="web", image=f"{image}:1.4.2") for f in ("staging", "prod")
    }
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit({"policies/web.yaml": policies, **files})
    assert stage.outcomes()["web-staging"].status is Status.RELEASED
    assert stage.outcomes()["web"].status is not Status.RELEASED


def image_at(stage: Stage, folder: str) -> str:
    return stage.repo.read(f"{folder}/web.yaml").partition("image: ")[2].split()[0].rpartition("/")[2]


def test_a_person_promotes_what_is_upstream_without_waiting_for_its_soak(stage: Stage) -> None:
    chain(stage)
    ask(stage, "promote")
    assert image_at(stage, "prod") == image_at(stage, "staging")
    told = record(stage)
    assert (told.kind, told.actor, told.members[0].workload) == ("promote", "Ann", "web")
    assert ask(stage, "promote").nothing is not None
    assert stage.outcomes()["web"].status is Status.CURRENT


def test_what_upstream_turned_away_is_not_promoted(stage: Stage) -> None:
    chain(stage)
    stage.revert("main")
    assert refused(stage, "promote", "1.4.3").code == "action/held-back"
    why = refused(stage, "promote")
    assert why.code == "action/upstream-unclear"
    assert "no digest is known for 1.4.2" in why.sentence, "a person wrote it without one"


def test_everything_but_the_soak_still_counts(stage: Stage) -> None:
    chain(stage, "after: {workload: web-staging, soak: 24h}\n    hold: {reason: audit}")
    why = refused(stage, "promote")
    assert why.code == "action/held-back"
    assert "audit" in why.sentence


def test_a_tag_that_was_pushed_again_is_not_what_was_tried(stage: Stage) -> None:
    chain(stage)
    stage.push("acme/web", "1.4.3", age=timedelta(days=9))
    assert refused(stage, "promote").code == "action/other-digest"


def test_a_version_that_upstream_never_held_is_not_promoted(stage: Stage) -> None:
    chain(stage)
    stage.push("acme/web", "1.9.0")
    before = stage.repo.tip()
    why = refused(stage, "promote", "1.9.0")
    assert (why.code, "never held 1.9.0" in why.sentence) == ("action/upstream-unclear", True)
    assert stage.repo.tip() == before


@pytest.mark.parametrize("turned_away", [False, True], ids=["never there", "rejected"])
def test_a_group_is_not_promoted_past_the_upstream_of_another_member(stage: Stage, turned_away: bool) -> None:
    lines, files = "version: 1\nworkloads:\n", {}
    for name in ("web", "api"):
        image = f"{stage.host}/acme/{name}"
        stage.push(f"acme/{name}", "1.0.0", "1.1.0")
        hold = "    hold: {reason: not there yet}\n" if name == "api" and not turned_away else ""
        lines += (
            f"  {name}-staging:\n    image: {image}\n    semver: '1.x'\n    pin: digest\n{hold}"
            f"    where: {{paths: ['staging/**']}}\n"
            f"  {name}:\n    image: {image}\n    semver: '1.x'\n    where: {{paths: ['prod/**']}}\n"
            f"    group: shop\n    after: {{workload: {name}-staging, soak: 24h}}\n"
        )
        for folder in ("staging", "prod"):
            files[f"{folder}/{name}.yaml"] = DEPLOYMENT.format(name=name, image=f"{image}:1.0.0")
    stage.commit({"policies/p.yaml": lines, **files})
    stage.run()
    if turned_away:
        text = re.sub(r":1\.1\.0\S*", ":1.0.0", stage.repo.read("staging/api.yaml"))
        stage.commit({"staging/api.yaml": text + "\n"})
        stage.run()
    why = refused(stage, "promote")
    assert why.code == "action/member"
    assert ("was rejected in api-staging" if turned_away else "api-staging never held") in why.sentence
    assert ":1.0.0" in stage.repo.read("prod/web.yaml")
