"""Promotion on real Git: production takes what staging has held for long enough, tag and digest."""

from __future__ import annotations

from datetime import timedelta

import pytest
from parts.stage import DEPLOYMENT, NOW, Stage

from automator.core.action import Request
from automator.core.record import parse
from automator.core.report import Outcome
from automator.cycle.acting import Terms, act
from automator.reasons import Status

HOUR = timedelta(hours=1)
SOAK = "after: {workload: web-staging, soak: 2h}"


def chain(
    stage: Stage, staging: str = "1.4.2", prod: str = "1.4.2", keys: str = SOAK, more: str = ""
) -> None:
    """Staging takes everything, production comes after it; both are one image."""
    image = f"{stage.host}/acme/web"
    policies = (
        "version: 1\nworkloads:\n"
        f'  web-staging:\n    image: {image}\n    semver: "1.x"\n    pin: digest\n'
        f'    where: {{paths: ["staging/**"]}}\n{more}'
        f'  web:\n    image: {image}\n    semver: "1.x"\n    where: {{paths: ["prod/**"]}}\n'
        + "".join(f"    {line}\n" for line in keys.splitlines())
    )
    files = {"policies/web.yaml": policies}
    for folder, version in (("staging", staging), ("prod", prod)):
        if stage.repo.tip() is None or version:
            files[f"{folder}/web.yaml"] = DEPLOYMENT.format(name="web", image=f"{image}:{version}")
    stage.commit(files)


def at(stage: Stage, moment: timedelta) -> dict[str, Outcome]:
    """The outcomes so long after the stage's beginning."""
    stage.now = NOW + moment
    return stage.outcomes()


def version(stage: Stage, folder: str) -> str:
    text = stage.repo.read(f"{folder}/web.yaml")
    return text.partition("image: ")[2].split()[0].rpartition("/")[2]


def said(outcome: Outcome) -> tuple[Status, str]:
    return outcome.status, outcome.reason.code


@pytest.fixture
def shop(stage: Stage) -> Stage:
    """Staging and production at 1.4.2, and 1.4.3 in the registry."""
    stage.push("acme/web", "1.4.2", "1.4.3")
    chain(stage)
    return stage


def test_production_takes_what_staging_has_held_and_nothing_before(shop: Stage) -> None:
    first = shop.outcomes()
    assert first["web-staging"].status is Status.RELEASED
    assert said(first["web"]) == (Status.HELD, "guard/after-not-there")
    assert first["web"].reason.sentence == "web-staging never held 1.4.3"
    second = shop.outcomes()["web"]
    assert said(second) == (Status.WAITING, "guard/soak")
    assert second.target == "1.4.3"
    begun = NOW
    assert second.reason.changes_at is not None
    assert begun <= second.reason.changes_at - 2 * HOUR <= begun + timedelta(minutes=2)
    shop.now = second.reason.changes_at - timedelta(seconds=1)
    assert shop.outcomes()["web"].status is Status.WAITING
    shop.now = second.reason.changes_at
    released = shop.outcomes()["web"]
    assert released.status is Status.RELEASED
    assert version(shop, "prod") == version(shop, "staging")
    assert "1.4.3@sha256:" in version(shop, "prod")


def test_a_promotion_that_loses_a_race_stays_the_one_that_was_seen(shop: Stage) -> None:
    shop.run()
    base = shop.repo.tip()
    shop.push("acme/web", "1.4.4")
    assert shop.outcomes()["web-staging"].status is Status.RELEASED
    newer = shop.repo.tip()
    shop.repo.set_tip(base)
    shop.lose_state()
    shop.repo.hook(
        "update",
        "test -f moved && exit 0\ntouch moved\nunset GIT_QUARANTINE_PATH\n"
        f"git update-ref refs/heads/main {newer}\n",
    )
    act(shop.cycle, Request("promote", "Ann", "tested by hand", "web"), Terms())
    assert "1.4.4@" in version(shop, "staging")
    assert "1.4.3@" in version(shop, "prod")


def test_the_daemon_is_told_when_the_soak_ends(shop: Stage) -> None:
    shop.run()
    report = shop.run()
    outcome = next(o for o in report.outcomes if o.workload == "web")
    assert report.changes_at == outcome.reason.changes_at


def test_a_completed_stay_counts_although_staging_moved_on(shop: Stage) -> None:
    shop.run()
    shop.run()
    at(shop, 3 * HOUR - timedelta(minutes=30))
    assert version(shop, "prod").startswith("web:1.4.3")
    shop.push("acme/web", "1.4.4")
    at(shop, 4 * HOUR)  # staging goes to 1.4.4
    shop.push("acme/web", "1.4.5")
    at(shop, 4 * HOUR + timedelta(minutes=30))  # and on to 1.4.5, too soon for 1.4.4
    outcome = at(shop, 5 * HOUR)["web"]
    assert said(outcome) == (Status.WAITING, "guard/soak")
    assert outcome.target == "1.4.5"
    assert at(shop, 7 * HOUR)["web"].status is Status.RELEASED
    assert version(shop, "prod").startswith("web:1.4.5")


def test_an_older_version_whose_stay_was_long_enough_is_taken_while_the_newest_soaks(shop: Stage) -> None:
    chain(shop, keys=f'{SOAK}\nhold: {{reason: "a pause", until: "2026-11-21T14:00:00Z"}}')
    shop.run()
    shop.push("acme/web", "1.4.4")
    at(shop, 3 * HOUR)  # 1.4.3 was there for three hours; now staging is at 1.4.4
    assert at(shop, 4 * HOUR)["web"].status is Status.RELEASED
    assert version(shop, "prod").startswith("web:1.4.3")


def test_the_soak_is_counted_while_production_is_held(shop: Stage) -> None:
    chain(shop, keys=f'{SOAK}\nhold: {{reason: "audit"}}')
    shop.run()
    shop.run()
    shop.now = NOW + 3 * HOUR
    chain(shop, staging="", prod="")
    assert shop.outcomes()["web"].status is Status.RELEASED


def test_what_staging_turned_away_is_turned_away_here(shop: Stage) -> None:
    release = shop.outcomes()["web-staging"].commit
    assert release is not None
    shop.run()
    shop.now = NOW + 3 * HOUR
    shop.revert(release)
    outcome = shop.outcomes()["web"]
    assert said(outcome) == (Status.HELD, "guard/after-rejected")
    assert outcome.reason.sentence == "1.4.3 was rejected in web-staging"
    assert version(shop, "prod").startswith("web:1.4.2")


def test_what_staging_rejects_by_name_is_rejected_here(shop: Stage) -> None:
    shop.run()
    chain(shop, staging="", prod="", more='    reject: ["1.4.3"]\n')
    assert said(at(shop, 3 * HOUR)["web"]) == (Status.HELD, "guard/after-rejected")


def test_leaving_and_coming_back_begins_the_soak_anew(shop: Stage) -> None:
    shop.run()
    shop.run()
    text = shop.repo.read("staging/web.yaml")
    shop.now = NOW + HOUR
    shop.commit({"staging/web.yaml": text.replace(version(shop, "staging"), "web:1.4.2")})
    shop.run()
    shop.now = NOW + 1.5 * HOUR
    shop.commit({"staging/web.yaml": text})
    outcome = shop.outcomes()["web"]
    assert said(outcome) == (Status.WAITING, "guard/soak")
    assert outcome.reason.changes_at == NOW + 3.5 * HOUR


def test_a_tag_that_was_pushed_again_is_another_version(shop: Stage) -> None:
    shop.run()
    shop.run()
    shop.push("acme/web", "1.4.3", age=timedelta(minutes=5))
    outcome = at(shop, 3 * HOUR)["web"]
    assert said(outcome) == (Status.HELD, "guard/after-never")


def test_a_version_that_a_person_wrote_without_a_digest_proves_nothing(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    chain(stage, staging="1.4.3")
    stage.run()
    assert said(at(stage, 9 * HOUR)["web"]) == (Status.HELD, "guard/after-never")


def test_an_unpinned_release_of_ours_proves_its_digest_by_its_commit(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    chain(stage)
    policies = stage.repo.read("policies/web.yaml").replace("    pin: digest\n", "")
    stage.commit({"policies/web.yaml": policies})
    stage.run()
    assert version(stage, "staging") == "web:1.4.3"
    stage.run()
    assert at(stage, 3 * HOUR)["web"].status is Status.RELEASED


def test_losing_the_state_restarts_the_soak_loudly(shop: Stage) -> None:
    shop.run()
    shop.run()
    shop.now = NOW + 1.9 * HOUR
    shop.lose_state()
    report = shop.run()
    outcome = next(o for o in report.outcomes if o.workload == "web")
    assert said(outcome) == (Status.WAITING, "guard/soak")
    assert outcome.reason.changes_at == NOW + 3.9 * HOUR
    (warning,) = (why for why in report.warnings if why.code == "state/soaks-began")
    assert "web" in warning.sentence


def test_a_restart_without_loss_keeps_the_soak(shop: Stage) -> None:
    shop.run()
    due = shop.outcomes()["web"].reason.changes_at
    shop.stop()
    shop.now = NOW + HOUR
    report = shop.run()
    assert next(o for o in report.outcomes if o.workload == "web").reason.changes_at == due
    assert "state/soaks-began" not in {why.code for why in report.warnings}


def test_a_commit_time_in_the_past_shortens_no_soak(stage: Stage) -> None:
    """The commits of this stage's people are a year old: what counts is when we saw them."""
    stage.push("acme/web", "1.4.2", "1.4.3")
    chain(stage)
    stage.run()
    pinned = version(stage, "staging")
    stage.lose_state()
    stage.commit({"notes.md": "x\n"})
    stage.run()
    assert pinned.startswith("web:1.4.3")
    assert stage.outcomes()["web"].status is Status.WAITING


def test_a_hotfix_goes_past_the_soak_with_its_reason_in_the_commit(shop: Stage) -> None:
    shop.run()
    urgent = 'urgent: {version: "1.4.3", reason: "the login leaks"}'
    chain(shop, staging="", prod="", keys=f"{SOAK}\n{urgent}")
    outcome = shop.outcomes()["web"]
    assert outcome.status is Status.RELEASED
    record = parse(shop.cycle.checkout.log(outcome.commit or "", limit=1).__next__().message)
    assert record is not None
    assert record.reason == "urgent: the login leaks"


def test_an_upstream_that_is_gone_or_invalid_is_told(shop: Stage) -> None:
    shop.run()
    text = shop.repo.read("policies/web.yaml")
    broken = text.replace("    pin: digest\n", "    pin: nonsense\n")
    shop.commit({"policies/web.yaml": broken})
    outcome = at(shop, 3 * HOUR)["web"]
    assert said(outcome) == (Status.HELD, "guard/after-invalid")
    assert "web-staging" in outcome.reason.sentence
    gone = text.replace("web-staging:\n", "web-other:\n")
    shop.commit({"policies/web.yaml": gone})
    assert said(at(shop, 4 * HOUR)["web"]) == (Status.HELD, "policy/no-upstream")


def test_the_explanation_tells_what_is_missing(shop: Stage) -> None:
    shop.run()
    shop.run()
    shop.now = NOW + timedelta(minutes=30)
    shop.stop()
    shop.run()
    verdicts = {v.tag: v for v in shop.cycle.verdicts("web")}
    why = verdicts["1.4.3"].reason
    assert why.code == "guard/soak"
    assert " of 2h; eligible at 2026-11-21 " in why.sentence


def test_a_chain_of_three_goes_on_step_by_step(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    image = f"{stage.host}/acme/web"
    steps = (
        ("dev", ""),
        ("staging", "after: {workload: dev, soak: 1h}"),
        ("prod", "after: {workload: staging, soak: 1h}"),
    )
    policies = "version: 1\nworkloads:\n"
    files = {}
    for name, after in steps:
        policies += f'  {name}:\n    image: {image}\n    semver: "1.x"\n    pin: digest\n'
        policies += f'    where: {{paths: ["{name}/**"]}}\n' + (f"    {after}\n" if after else "")
        files[f"{name}/web.yaml"] = DEPLOYMENT.format(name="web", image=f"{image}:1.4.2")
    stage.commit({**files, "policies/web.yaml": policies})
    seen = []
    for minutes in (0, 1, 30, 62, 64, 100, 125, 130):
        at(stage, timedelta(minutes=minutes))
        seen.append([version(stage, name).partition("@")[0].removeprefix("web:") for name, _ in steps])
    assert seen[:3] == [["1.4.3", "1.4.2", "1.4.2"]] * 3
    assert seen[3:6] == [["1.4.3", "1.4.3", "1.4.2"]] * 3
    assert seen[6:] == [["1.4.3", "1.4.3", "1.4.3"]] * 2
    stage.lose_state()
    stage.outcomes()
    assert [version(stage, name).partition("@")[0] for name, _ in steps] == ["web:1.4.3"] * 3


# -- the order of upstream ---------------------------------------------------------------------------------


def bare_chain(stage: Stage, rule: str, tag: str = "1.4.2", keys: str = SOAK) -> None:
    """A chain whose second workload says nothing but what it comes after."""
    image = f"{stage.host}/acme/web"
    policies = (
        f"version: 1\nworkloads:\n  web-staging:\n    image: {image}\n    {rule}\n    pin: digest\n"
        f'    where: {{paths: ["staging/**"]}}\n'
        f'  web:\n    image: {image}\n    where: {{paths: ["prod/**"]}}\n    {keys}\n'
    )
    manifest = DEPLOYMENT.format(name="web", image=f"{image}:{tag}")
    files = {f"{folder}/web.yaml": manifest for folder in ("staging", "prod")}
    stage.commit({**files, "policies/web.yaml": policies})


def test_a_workload_with_after_alone_has_the_order_of_upstream(stage: Stage) -> None:
    stage.push("acme/web", "build-9", "build-10", "v2.0.0")
    bare_chain(stage, 'glob: "build-{key}"\n    order: numeric', "build-9")
    stage.outcomes()
    waiting = stage.outcomes()["web"]
    assert said(waiting) == (Status.WAITING, "guard/soak")
    assert waiting.target == "build-10"
    assert at(stage, 3 * HOUR)["web"].status is Status.RELEASED
    stage.outcomes()
    verdicts = {v.tag: v.reason.code for v in stage.cycle.verdicts("web")}
    assert verdicts == {"build-10": "tag/current", "build-9": "tag/older", "v2.0.0": "tag/glob"}


def test_the_mark_holds_in_the_order_of_upstream(stage: Stage) -> None:
    stage.push("acme/web", "build-9", "build-10")
    bare_chain(stage, 'glob: "build-{key}"\n    order: numeric', "build-9", "after: {workload: web-staging}")
    stage.run()
    assert stage.outcomes()["web"].status is Status.RELEASED
    image = f"{stage.host}/acme/web"
    stage.commit({"prod/web.yaml": DEPLOYMENT.format(name="web", image=f"{image}:build-9")})
    for hours in (1, 2):
        held = at(stage, hours * HOUR)["web"]
        assert said(held) == (Status.HELD, "history/turned-away")
    assert version(stage, "prod") == "web:build-9"


def test_upstreams_of_different_rules_lend_none(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    image = f"{stage.host}/acme/web"
    policies = "version: 1\nworkloads:\n"
    files = {}
    for name, more in (
        ("a", 'semver: "1.x"'),
        ("b", 'semver: ">=1"'),
        ("web", "after: {workload: [a, b]}"),
        ("late", "after: {workload: web}"),
    ):
        policies += f"  {name}:\n    image: {image}\n    pin: digest\n    {more}\n"
        policies += f'    where: {{paths: ["{name}/**"]}}\n'
        files[f"{name}/web.yaml"] = DEPLOYMENT.format(name="web", image=f"{image}:1.4.2")
    stage.commit({**files, "policies/web.yaml": policies})
    outcomes = stage.outcomes()
    assert said(outcomes["web"]) == (Status.HELD, "guard/after-orders")
    assert said(outcomes["late"]) == (Status.HELD, "guard/after-orders")
    assert outcomes["a"].status is outcomes["b"].status is Status.RELEASED
    stage.commit({"policies/web.yaml": policies.replace('">=1"', '"1.x"')})
    assert stage.outcomes()["web"].status is Status.RELEASED
    assert stage.outcomes()["late"].status is Status.RELEASED


def test_where_upstream_follows_a_tag_its_digest_is_taken(stage: Stage) -> None:
    stage.push("acme/web", "7")
    bare_chain(stage, 'follow: "7"', "7", "after: {workload: web-staging, soak: 2h}")
    stage.run()
    first = version(stage, "staging")
    assert first.startswith("web:7@sha256:")
    assert said(stage.outcomes()["web"]) == (Status.WAITING, "guard/soak")
    assert at(stage, 3 * HOUR)["web"].status is Status.RELEASED
    assert version(stage, "prod") == first
    assert stage.outcomes()["web"].reason.code == "current/followed"


def test_a_digest_that_a_person_left_upstream_is_rejected_downstream(stage: Stage) -> None:
    stage.push("acme/web", "7")
    bare_chain(stage, 'follow: "7"', "7", "after: {workload: web-staging, soak: 2h}")
    stage.run()
    stage.run()
    at(stage, 3 * HOUR)
    before = stage.repo.read("staging/web.yaml")
    old = version(stage, "prod")
    stage.push("acme/web", "7", age=timedelta(minutes=5))
    at(stage, 4 * HOUR)
    assert version(stage, "staging") != old
    assert said(at(stage, 4.5 * HOUR)["web"]) == (Status.WAITING, "guard/soak")
    stage.commit({"staging/web.yaml": before})  # after more than the soak
    outcome = at(stage, 7 * HOUR)["web"]
    assert said(outcome) == (Status.HELD, "guard/after-rejected")
    assert version(stage, "prod") == old


def test_a_circle_is_held_and_named_and_touches_nobody_else(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    image = f"{stage.host}/acme/web"
    keys = {"a": "after: {workload: b}", "b": "after: {group: g}", "c": "group: g\n    after: {workload: a}",
            "free": "pin: digest"}  # fmt: skip
    policies = "version: 1\nworkloads:\n"
    files = {}
    for name, more in keys.items():
        policies += f'  {name}:\n    image: {image}\n    semver: "1.x"\n    where: {{paths: ["{name}/**"]}}\n'
        policies += f"    {more}\n"
        files[f"{name}/web.yaml"] = DEPLOYMENT.format(name="web", image=f"{image}:1.4.2")
    stage.commit({**files, "policies/web.yaml": policies.replace("group: g\n", "group: {name: g}\n")})
    outcomes = stage.outcomes()
    assert {name: o.reason.code for name, o in outcomes.items()} == {
        **dict.fromkeys("abc", "guard/after-circle"),
        "free": "released/pushed",
    }
    assert "a after b after group g after a" in outcomes["a"].reason.sentence
    mended = stage.repo.read("policies/web.yaml").replace("    after: {workload: a}\n", "")
    stage.commit({"policies/web.yaml": mended})
    assert {o.status for name, o in stage.outcomes().items() if name == "c"} == {Status.RELEASED}
    assert stage.outcomes()["b"].reason.code != "guard/after-circle"
