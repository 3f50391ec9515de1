"""What runtimes say of versions: soaks that begin there, the check `deployed`, and the report."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from parts.gitserver import BareRepo, git
from parts.registry import push_many
from parts.stage import DEPLOYMENT, NOW, Stage

from automator.app import App
from automator.config import Config
from automator.core.arrival import deployments
from automator.core.delivery.change import Wanted
from automator.core.delivery.words import FIGURES
from automator.core.record import parse
from automator.core.report import Outcome
from automator.core.running import Observation, Running, Unobserved
from automator.cycle.gate import check
from automator.cycle.reporting import read_for, summary_of
from automator.cycle.run import Trigger
from automator.cycle.source import Scope
from automator.demo.registry import EmbeddedRegistry
from automator.reasons import Status, reason

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
SOAK = "after: {workload: web-staging, soak: 2h}"
VERIFY = 'semver: "1.x"\nverify: deployed'
BACK = f"{VERIFY}\non_failure: rollback"
ENGINE = {"type": "docker"}
GIVEN_UP = "the rollout exceeded its progress deadline"


def runs(
    image: str, *, failed: bool = False, trouble: str | None = None, ready: int = 1, wanted: int = 1,
    restarts: int | None = None,
) -> Running:  # fmt: skip
    """The Deployment shop/web, as a cluster tells of it."""
    complete = ready == wanted and not failed
    return Running(
        "Deployment", "shop", "web", "app", image, None, wanted, ready, complete, trouble, failed=failed,
        restarts=restarts,
    )  # fmt: skip


def look(app: App, runtime: str, *running: Running, repo: str = "shop") -> None:
    """A look at a runtime, of what the config repo says now; what is well is believed at the second one."""
    deploying = app.deployments[repo]
    at = app.cycles[repo].clock()
    scope = next(scope for scope in deploying.scopes if scope.runtime == runtime)
    snapshot = app.cycles[repo].index.snapshot
    assert snapshot is not None
    told = deployments(snapshot.claims.sites, scope, Observation(runtime, at, running))
    for _ in range(1 if any(one.trouble for one in running) else 2):
        deploying.take(runtime, told, at)


def miss(app: App, runtime: str, repo: str = "shop", looks: int = 3) -> None:
    """Looks at a runtime that does not answer."""
    why = reason("drift/broke-off", runtime=runtime, problem="no route to host")
    for _ in range(looks):
        app.deployments[repo].missed(Unobserved(runtime, app.cycles[repo].clock(), why))


def said(outcome: Outcome) -> tuple[Status, str]:
    return outcome.status, outcome.reason.code


def image(stage: Stage, file: str) -> str:
    """The image that a file of the config repo names."""
    return stage.repo.read(file).partition("image: ")[2].split()[0]


# -- soaks ----------------------------------------------------------------------------------------------

STAGING, PROD = "staging/web.yaml", "prod/web.yaml"


def adopt_chain(stage: Stage, *, more: str = "") -> None:
    """web-staging, and web that comes after it, at 1.4.2; 1.4.3 is in the registry."""
    image = f"{stage.host}/acme/web"
    stage.push("acme/web", "1.4.2", "1.4.3")
    policies = (
        f'version: 1\nworkloads:\n  web-staging:\n    image: {image}\n    semver: "1.x"\n    pin: digest\n'
        f'    where: {{paths: ["staging/**"]}}\n{more}'
        f'  web:\n    image: {image}\n    semver: "1.x"\n    where: {{paths: ["prod/**"]}}\n    {SOAK}\n'
    )
    sites = {path: DEPLOYMENT.format(name="web", image=f"{image}:1.4.2") for path in (STAGING, PROD)}
    stage.commit({"policies/web.yaml": policies, **sites})


@pytest.fixture
def chain(stage: Stage) -> Stage:
    """Staging has 1.4.3 in Git; a cluster that the config knows runs staging."""
    stage.runtimes = {"stage": {**ENGINE, "paths": ["staging/**"]}}
    adopt_chain(stage)
    assert stage.outcomes()["web-staging"].status is Status.RELEASED
    return stage


def web(stage: Stage) -> Outcome:
    return stage.outcomes()["web"]


def test_production_soaks_from_when_staging_runs_it(chain: Stage) -> None:
    waiting = web(chain)
    assert said(waiting) == (Status.WAITING, "guard/soak-undeployed")
    assert waiting.reason.sentence == (
        "1.4.3 is in web-staging, and soaks once it is deployed there: stage has not been seen with it yet"
    )
    look(chain.app, "stage", runs(f"{chain.host}/acme/web:1.4.2"))
    chain.now += 24 * HOUR
    assert web(chain).reason.sentence.endswith(
        "there: stage does not run it: Deployment shop/web [app] runs 1.4.2"
    )
    deployed = chain.now
    look(chain.app, "stage", runs(image(chain, STAGING)))
    soaking = web(chain)
    assert (said(soaking), soaking.reason.changes_at) == (
        (Status.WAITING, "guard/soak"),
        deployed + 2 * HOUR,
    )
    chain.now = deployed + 2 * HOUR - timedelta(seconds=1)
    assert web(chain).status is Status.WAITING
    chain.now = deployed + 2 * HOUR
    assert web(chain).status is Status.RELEASED
    assert image(chain, PROD) == image(chain, STAGING)


@pytest.mark.parametrize("what", ["undone", "down", "falls"])
def test_a_version_that_is_gone_again_or_falls_again_and_again_soaks_anew_and_has_not_failed(
    chain: Stage, what: str
) -> None:
    look(chain.app, "stage", runs(image(chain, STAGING), restarts=0))
    assert said(web(chain)) == (Status.WAITING, "guard/soak")
    for restarts in range(1, 6):
        chain.now += 25 * MINUTE
        there = {
            "undone": runs(f"{chain.host}/acme/web:1.4.2"),
            "down": runs(image(chain, STAGING), wanted=2, ready=0),
            "falls": runs(image(chain, STAGING), restarts=restarts),
        }[what]
        look(chain.app, "stage", there)
        waiting = web(chain)
        assert waiting.status is Status.WAITING, "that it soaked for two hours in Git is not enough"
    assert said(waiting) == (Status.WAITING, "guard/soak-undeployed")
    words = {
        "undone": "does not run it: ",
        "down": "has not completed it",
        "falls": "starts it again and again",
    }
    assert f"there: stage {words[what]}" in waiting.reason.sentence
    assert chain.outcomes()["web-staging"].status is Status.CURRENT
    chain.now += HOUR
    deployed = chain.now
    look(chain.app, "stage", runs(image(chain, STAGING), restarts=5))
    assert web(chain).reason.changes_at == deployed + 2 * HOUR


def test_days_add_up_of_what_has_no_replicas_at_night(chain: Stage) -> None:
    look(chain.app, "stage", runs(image(chain, STAGING)))
    for expected in (Status.WAITING, Status.WAITING, Status.RELEASED):
        chain.now += 45 * MINUTE
        look(chain.app, "stage", runs(image(chain, STAGING), wanted=0, ready=0))
        asleep = web(chain)
        assert said(asleep) == (Status.WAITING, "guard/soak-undeployed")
        assert "there: stage does not run it: " in asleep.reason.sentence
        chain.now += 12 * HOUR
        assert web(chain).status is Status.WAITING, "it sleeps"
        look(chain.app, "stage", runs(image(chain, STAGING)))
        assert web(chain).status is expected, "two hours are over on the third day"


def test_no_version_goes_on_at_a_look_that_shows_it_gone(chain: Stage) -> None:
    look(chain.app, "stage", runs(image(chain, STAGING)))
    deployed = chain.now
    chain.now += 2 * HOUR
    look(chain.app, "stage", runs(f"{chain.host}/acme/web:1.4.2"))
    assert said(web(chain)) == (Status.WAITING, "guard/soak-undeployed")
    chain.now += MINUTE
    look(chain.app, "stage", runs(image(chain, STAGING)))
    assert web(chain).status is Status.RELEASED, f"a glimpse is none: it runs since {deployed}"


@pytest.mark.parametrize("what", ["ill", "short"])
def test_no_version_goes_on_at_a_look_that_shows_it_ill_and_it_ends_no_soak(chain: Stage, what: str) -> None:
    """It soaked for its whole time, and falls just when that ends."""
    there = image(chain, STAGING)
    look(chain.app, "stage", runs(there))
    chain.now += 2 * HOUR
    bad = {
        "ill": runs(there, wanted=2, ready=1, trouble="CrashLoopBackOff: exit 1"),
        "short": runs(there, wanted=5, ready=2),
    }[what]
    look(chain.app, "stage", bad)
    assert said(web(chain)) == (Status.WAITING, "guard/soak-undeployed")
    chain.now += MINUTE
    look(chain.app, "stage", runs(there))
    assert web(chain).status is Status.RELEASED


def test_a_runtime_that_is_down_is_waited_for_and_harms_nobody_else(chain: Stage) -> None:
    look(chain.app, "stage", runs(f"{chain.host}/acme/web:1.4.2"))
    answered = chain.now
    chain.now += HOUR
    miss(chain.app, "stage")
    chain.push("acme/api", "2.0.0", "2.0.1")
    chain.commit(chain.workload("api", "2.0.0", keys='semver: "2.x"'))
    outcomes = chain.outcomes()
    assert outcomes["api"].status is Status.RELEASED
    assert said(outcomes["web"]) == (Status.WAITING, "guard/soak-undeployed")
    assert f"stage has not answered since {answered:%Y-%m-%d %H:%M} UTC: " in outcomes["web"].reason.sentence
    look(chain.app, "stage", runs(image(chain, STAGING)))
    assert said(web(chain)) == (Status.WAITING, "guard/soak")
    miss(chain.app, "stage")
    chain.now += 3 * HOUR
    assert web(chain).status is Status.RELEASED, "what was seen deployed stays so while nobody can be asked"


def test_a_version_that_failed_at_the_runtime_soaks_anew_once_it_runs(chain: Stage) -> None:
    look(chain.app, "stage", runs(image(chain, STAGING)))
    chain.run()
    for _ in range(3):
        look(chain.app, "stage", runs(image(chain, STAGING), failed=True, trouble=GIVEN_UP))
        chain.run()
    chain.now += 24 * HOUR
    failed = web(chain)
    assert said(failed) == (Status.WAITING, "guard/soak-undeployed")
    assert failed.reason.sentence.endswith(f"stage Deployment shop/web [app]: {GIVEN_UP}")
    look(chain.app, "stage", runs(image(chain, STAGING)))
    again = web(chain)
    assert again.reason.changes_at == chain.now - MINUTE + 2 * HOUR


def test_who_lost_the_state_folder_or_configured_the_runtime_later_soaks_anew_and_never_skips(
    chain: Stage,
) -> None:
    look(chain.app, "stage", runs(image(chain, STAGING)))
    chain.now += 90 * MINUTE
    chain.stop()
    look_again = web(chain)
    assert said(look_again) == (Status.WAITING, "guard/soak"), "a restart forgets nothing"
    chain.lose_state()
    assert said(web(chain)) == (Status.WAITING, "guard/soak-undeployed")
    deployed = chain.now
    look(chain.app, "stage", runs(image(chain, STAGING)))
    assert web(chain).reason.changes_at == deployed + 2 * HOUR


def test_of_several_runtimes_the_last_counts_and_one_that_is_elsewhere_does_not(stage: Stage) -> None:
    stage.runtimes = {name: {**ENGINE, "paths": ["staging/**"]} for name in ("eu", "us")}
    stage.runtimes["live"] = {**ENGINE, "paths": ["prod/**"]}
    adopt_chain(stage)
    stage.run()
    look(stage.app, "eu", runs(image(stage, STAGING)))
    waiting = web(stage)
    assert waiting.reason.sentence.endswith("there: us has not been seen with it yet")
    stage.now += HOUR
    deployed = stage.now
    look(stage.app, "us", runs(image(stage, STAGING)))
    assert web(stage).reason.changes_at == deployed + 2 * HOUR


def test_news_of_a_runtime_asks_for_a_cycle_and_what_is_no_news_does_not(chain: Stage) -> None:
    woken: list[str] = []
    chain.app.board.wake = woken.append
    look(chain.app, "stage", runs(image(chain, STAGING)))
    assert woken == ["shop", "shop"]
    chain.run()
    for _ in range(3):
        look(chain.app, "stage", runs(image(chain, STAGING)))
    assert woken == ["shop", "shop"]
    miss(chain.app, "stage")
    miss(chain.app, "stage")
    assert woken == ["shop"] * 3
    look(chain.app, "stage", runs(image(chain, STAGING)))
    assert woken == ["shop"] * 5, "that it answers again"
    chain.run()
    for _ in range(9):
        miss(chain.app, "stage", looks=2)
        look(chain.app, "stage", runs(image(chain, STAGING)))
    assert woken == ["shop"] * 5, "what answers now and then does so all the time"


def test_what_waits_for_a_runtime_is_not_decided_again_without_news(chain: Stage) -> None:
    chain.run()
    assert "web" not in chain.cycle.decider._open
    look(chain.app, "stage", runs(image(chain, STAGING)))
    assert said(web(chain)) == (Status.WAITING, "guard/soak")


# -- the check `deployed` --------------------------------------------------------------------------------


@pytest.fixture
def shop(stage: Stage) -> Stage:
    """web at 1.4.2, and 1.4.3 in the registry; a cluster runs all of it."""
    stage.runtimes = {"prod": ENGINE}
    stage.push("acme/web", "1.4.2", "1.4.3")
    return stage


def adopt(shop: Stage, keys: str = VERIFY, version: str = "1.4.2") -> None:
    """The workload, at a version that was seen to run."""
    shop.commit(shop.workload("web", version, keys=keys))
    shop.run()
    look(shop.app, "prod", runs(image(shop, "apps/web.yaml")))


def fail(shop: Stage, **how: Any) -> Outcome:
    """The cluster gives up on what the config repo says, and three looks say so."""
    for _ in range(3):
        look(shop.app, "prod", runs(image(shop, "apps/web.yaml"), failed=True, trouble=GIVEN_UP, **how))
        outcome = web(shop)
    return outcome


def test_nothing_newer_is_released_before_what_is_there_is_deployed(shop: Stage) -> None:
    shop.commit(shop.workload("web", "1.4.2", keys=VERIFY))
    first = web(shop)
    assert said(first) == (Status.WAITING, "verify/running")
    assert first.reason.sentence == (
        "1.4.3 waits for the checks of 1.4.2: deployed (prod has not been seen with it yet)"
    )
    shop.now += 24 * HOUR
    miss(shop.app, "prod")
    assert "prod has not answered since" in web(shop).reason.sentence
    assert web(shop).status is Status.WAITING, "that nobody knows fails nothing"
    look(shop.app, "prod", runs(image(shop, "apps/web.yaml")))
    assert web(shop).status is Status.RELEASED


def test_what_the_runtime_gave_up_on_stops_the_workload(shop: Stage) -> None:
    adopt(shop)
    assert web(shop).status is Status.RELEASED
    shop.push("acme/web", "1.4.4")
    failed = fail(shop)
    assert said(failed) == (Status.HELD, "verify/failed")
    assert failed.reason.sentence == (
        f"1.4.3 failed its check deployed: prod: Deployment shop/web [app]: {GIVEN_UP}"
    )
    look(shop.app, "prod", runs(image(shop, "apps/web.yaml")))
    assert said(web(shop)) == (Status.HELD, "verify/failed"), "a person acts"


def test_what_the_runtime_gave_up_on_is_rolled_back_where_the_policy_says_so(shop: Stage) -> None:
    adopt(shop, BACK)
    web(shop)
    fail(shop)
    shop.run()
    assert image(shop, "apps/web.yaml").endswith(":1.4.2")
    record = parse(git(shop.repo.path, "show", "--no-patch", "--format=%B", "main"))
    assert record is not None
    assert record.kind == "rollback"
    assert "deployed" in (record.reason or "")
    look(shop.app, "prod", runs(image(shop, "apps/web.yaml")))
    assert web(shop).current == "1.4.2"


def test_trouble_that_passes_fails_nothing(shop: Stage) -> None:
    adopt(shop)
    web(shop)
    for _ in range(5):
        look(shop.app, "prod", runs(image(shop, "apps/web.yaml"), ready=0, trouble="ImagePullBackOff"))
        assert web(shop).status is Status.CURRENT
    look(shop.app, "prod", runs(image(shop, "apps/web.yaml")))
    shop.push("acme/web", "1.4.4")
    assert web(shop).status is Status.RELEASED


def test_a_look_from_before_the_release_proves_nothing_of_it(shop: Stage) -> None:
    adopt(shop, version="1.4.3")
    shop.run()
    shop.commit(shop.workload("web", "1.4.2", keys=VERIFY))
    shop.run()
    shop.commit(shop.workload("web", "1.4.3", keys=VERIFY))
    shop.run()
    series = shop.app.store.series(shop.app.deployments["shop"].branch, "web")
    assert [version for _, version, _ in series] == ["1.4.3", "1.4.2"]
    shop.push("acme/web", "1.4.4")
    assert said(web(shop)) == (Status.WAITING, "verify/running")
    look(shop.app, "prod", runs(image(shop, "apps/web.yaml")))
    assert web(shop).status is Status.RELEASED


def test_what_failed_before_a_release_of_the_same_version_does_not_count_for_it(shop: Stage) -> None:
    adopt(shop)
    web(shop)
    fail(shop)
    for version in ("1.4.2", "1.4.3"):  # while nobody looks
        shop.commit(shop.workload("web", version, keys=VERIFY))
        shop.run()
    shop.push("acme/web", "1.4.4")
    ill = runs(image(shop, "apps/web.yaml"), failed=True, trouble=GIVEN_UP)
    for _ in range(2):
        look(shop.app, "prod", ill)
        assert said(web(shop)) == (Status.WAITING, "verify/running")
    look(shop.app, "prod", ill)
    assert said(web(shop)) == (Status.HELD, "verify/failed")


def test_other_checks_are_asked_once_the_version_is_deployed(shop: Stage, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    shop.checks = {"smoke": {"command": ["/bin/sh", "-c", f"echo {{version}} >> {asked}"], "interval": "1m"}}
    shop.commit(shop.workload("web", "1.4.2", keys='semver: "1.x"\nverify: [smoke, deployed]'))
    shop.run()
    shop.run()
    assert not asked.exists()
    look(shop.app, "prod", runs(image(shop, "apps/web.yaml")))
    shop.run()
    assert asked.read_text() == "1.4.2\n"


def test_a_workload_that_no_runtime_covers_is_held_and_check_says_so(shop: Stage, tmp_path: Path) -> None:
    shop.runtimes = {"prod": {**ENGINE, "paths": ["clusters/**"]}}
    shop.commit(shop.workload("web", "1.4.2", keys=VERIFY))
    held = web(shop)
    assert said(held) == (Status.HELD, "verify/no-runtime")
    assert held.reason.sentence == (
        "policies/web.yaml:6: `verify: deployed`, but no runtime of the config covers web"
    )
    git(tmp_path, "clone", "--quiet", str(shop.repo.path), "plain")
    scopes = shop.app.deployments["shop"].scopes
    found = check(tmp_path / "plain", Scope(), checks=(), runtimes=scopes).findings
    assert [finding.reason for finding in found if finding.error] == [held.reason]
    assert not check(tmp_path / "plain", Scope()).errors, "without a config nobody knows"
    shop.stop()
    shop.runtimes = {}
    assert said(web(shop)) == (Status.HELD, "verify/no-runtime")


# -- the report -------------------------------------------------------------------------------------------


def test_the_report_tells_when_it_was_deployed(shop: Stage) -> None:
    shop.commit(shop.workload("web", "1.4.2", keys='semver: "1.x"'))
    shop.run()
    assert image(shop, "apps/web.yaml").endswith(":1.4.3")
    shop.now += 9 * MINUTE
    deployed = shop.now
    look(shop.app, "prod", runs(image(shop, "apps/web.yaml")))
    for _ in range(2):
        shop.now += 9 * MINUTE
        look(shop.app, "prod", runs(f"{shop.host}/acme/web:1.4.2"))  # somebody goes back: it was there
    read = {"shop": read_for(shop.cycle.logbook(), Wanted())}
    summary = summary_of(read, {"shop": Wanted()}, shop.app.store, by="workload", now=shop.now)
    (journey,) = summary.journeys
    assert dict(journey.times)["deployed"] == deployed
    legs = {leg.name: leg.took for leg in journey.legs}
    assert legs["merged → deployed"] == deployed - journey.fate.change.landed
    assert (summary.overall.lead_until_deployed, summary.overall.lead.n) == (1, 1)
    assert any("1 until deployed" in words(summary.overall) for *_, words in FIGURES)


# -- over config repos -----------------------------------------------------------------------------------


def test_upstream_in_another_config_repo_has_its_runtime_in_this_config(tmp_path: Path) -> None:
    with ExitStack() as stack:
        registry = stack.enter_context(EmbeddedRegistry(tmp_path / "images"))
        repos = {
            name: BareRepo.create(tmp_path / f"{name}.git", {"README.md": "x\n"})
            for name in ("staging", "prod")
        }
        place = f"{registry.host}/acme/web"
        push_many(registry.host, "acme/web", dict.fromkeys(("1.4.2", "1.4.3"), NOW - HOUR))
        for name, keys in (("staging", "pin: digest"), ("prod", "after: {workload: staging/web, soak: 2h}")):
            policy = f'version: 1\nworkloads:\n  web:\n    image: {place}\n    semver: "1.x"\n    {keys}\n'
            manifest = DEPLOYMENT.format(name="web", image=f"{place}:1.4.2")
            repos[name].commit({"policies/web.yaml": policy, "web.yaml": manifest}, "Adopt")
        config = Config(
            state=tmp_path / "state",
            repos={name: {"url": str(repo.path)} for name, repo in repos.items()},
            registries={registry.host: {"insecure": True}},
            runtimes={"stage": {**ENGINE, "repo": "staging"}},
        )
        now = [NOW]
        app = stack.enter_context(App.open(config, exclusive=True, clock=lambda: now[0]))
        woken: list[str] = []
        app.board.wake = woken.append

        def turn(repo: str) -> Outcome:
            (outcome,) = app.cycles[repo].run(Trigger("command", all_due=True)).outcomes
            now[0] += MINUTE
            return outcome

        assert turn("staging").status is Status.RELEASED
        assert said(turn("prod")) == (Status.WAITING, "guard/soak-undeployed")
        woken.clear()
        deployed = now[0]
        shown = repos["staging"].read("web.yaml").partition("image: ")[2].split()[0]
        look(app, "stage", runs(shown), repo="staging")
        turn("staging")
        news, then = woken[:2], woken[2:]
        assert (news, then) == (["staging"] * 2, ["prod"]), "news wakes the cycle, that who comes after it"
        soaking = turn("prod")
        assert said(soaking) == (Status.WAITING, "guard/soak")
        assert soaking.reason.changes_at == deployed + 2 * HOUR
        now[0] = deployed + 2 * HOUR
        assert turn("prod").status is Status.RELEASED
