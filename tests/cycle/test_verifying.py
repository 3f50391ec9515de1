"""Verification on real Git: checks after a release, what waits for them, and the way back."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from parts.forgestage import forge_stage
from parts.gitserver import BareRepo, git
from parts.stage import COMMAND, DEPLOYMENT, NOW, Stage

from automator.app import App
from automator.core.record import parse
from automator.core.report import Outcome
from automator.core.verification import Answer
from automator.cycle.run import Trigger
from automator.edges.checks import CommandCheck, PageCheck
from automator.reasons import Status

MINUTE = timedelta(minutes=1)
PLANNED = Trigger("interval", all_due=True)
VERIFY = 'semver: "1.x"\nverify: healthy'
BACK = f"{VERIFY}\non_failure: rollback"


class Page:
    """A small page that is asked how a release is."""

    def __init__(self) -> None:
        self.status, self.body = 200, b"{}"
        self.bad: set[str] = set()
        """Versions that are not well."""
        self.asked: list[tuple[str, str | None]] = []
        self.hold: threading.Event | None = None
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page.asked.append((self.path, self.headers.get("Authorization")))
                if page.hold is not None:
                    page.hold.wait(20)
                bad = any(version in self.path for version in page.bad)
                self.send_response(503 if bad else page.status)
                self.send_header("Content-Length", str(len(page.body)))
                self.end_headers()
                self.wfile.write(page.body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/healthz?v={{version}}"

    def close(self) -> None:
        if self.hold is not None:
            self.hold.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def page() -> Iterator[Page]:
    found = Page()
    yield found
    found.close()


@pytest.fixture
def shop(stage: Stage, page: Page) -> Stage:
    """web at 1.4.2, 1.4.3 in the registry, and a check `healthy`."""
    stage.checks = {"healthy": {"url": page.url, "interval": "1m", "within": "10m", "failures": 2}}
    stage.push("acme/web", "1.4.2", "1.4.3")
    return stage


def said(outcome: Outcome) -> tuple[Status, str]:
    return outcome.status, outcome.reason.code


def adopt(shop: Stage, keys: str = VERIFY, version: str = "1.4.2") -> None:
    shop.commit(shop.workload("web", version, keys=keys))


def web(shop: Stage) -> Outcome:
    return shop.outcomes()["web"]


def turns(shop: Stage, count: int) -> Outcome:
    """So many cycles, each a minute after the other; a command waits for what is asked."""
    outcome = web(shop)
    for _ in range(count - 1):
        outcome = web(shop)
    return outcome


def record_of(shop: Stage, commit: str = "main") -> Any:
    return parse(git(shop.repo.path, "show", "--no-patch", "--format=%B", commit))


def test_what_the_workload_holds_is_verified_before_a_newer_version_is_released(
    shop: Stage, page: Page
) -> None:
    page.status = 503
    adopt(shop)
    first = web(shop)
    assert said(first) == (Status.WAITING, "verify/running")
    assert first.reason.sentence == "1.4.3 waits for the checks of 1.4.2: healthy"
    page.status = 200
    web(shop)
    assert web(shop).status is Status.RELEASED
    assert page.asked[0][0] == "/healthz?v=1.4.2"
    assert turns(shop, 2).status is Status.CURRENT
    assert page.asked[-1][0] == "/healthz?v=1.4.3"


def test_a_series_is_asked_once_and_no_more_once_it_passed(shop: Stage, page: Page) -> None:
    adopt(shop, version="1.4.3")
    turns(shop, 4)
    assert [path for path, _ in page.asked] == ["/healthz?v=1.4.3"]
    shop.stop()
    turns(shop, 2)
    assert len(page.asked) == 1
    shop.lose_state()
    turns(shop, 2)
    assert len(page.asked) == 2


def test_after_a_failed_check_nothing_newer_is_released_until_a_person_acts(shop: Stage, page: Page) -> None:
    page.bad = {"1.4.3"}
    adopt(shop)
    assert turns(shop, 3).current == "1.4.3"
    failed = turns(shop, 2)
    assert said(failed) == (Status.HELD, "verify/failed")
    assert failed.reason.sentence == "1.4.3 failed its check healthy: it answered 503, not 200"
    shop.push("acme/web", "1.4.4")
    assert said(web(shop)) == (Status.HELD, "verify/failed")
    adopt(shop, f'{VERIFY}\naccept: ["1.4.3"]', version="1.4.3")
    assert web(shop).status is Status.RELEASED
    assert shop.image_of("web") == "web:1.4.4"


def test_what_is_urgent_waits_for_no_check(shop: Stage, page: Page) -> None:
    page.bad = {"1.4.2"}
    adopt(shop)
    assert said(turns(shop, 3)) == (Status.HELD, "verify/failed")
    adopt(shop, f'{VERIFY}\nurgent: {{version: "1.4.3", reason: "mends it"}}')
    assert web(shop).status is Status.RELEASED


def test_a_release_whose_check_failed_is_rolled_back_once_and_stays_away(shop: Stage, page: Page) -> None:
    page.bad = {"1.4.3"}
    adopt(shop, BACK)
    release = turns(shop, 2)
    assert release.status is Status.RELEASED
    before = shop.repo.tip()
    outcomes = [web(shop) for _ in range(3)]
    assert (Status.RELEASED, "released/rolled-back") in {(o.status, o.reason.code) for o in outcomes}
    assert shop.image_of("web") == "web:1.4.2"
    record = record_of(shop)
    assert record.kind == "rollback"
    assert record.reason == "check healthy failed: it answered 503, not 200"
    assert record.actor is None
    (member,) = record.members
    assert member.before.startswith("1.4.3")
    assert member.after.startswith("1.4.2@sha256:")
    assert git(shop.repo.path, "rev-list", "--count", f"{before}..main") == "1"
    shop.lose_state()
    assert said(turns(shop, 3)) == (Status.HELD, "history/turned-away")
    shop.push("acme/web", "1.4.4")
    turns(shop, 2)
    assert shop.image_of("web") == "web:1.4.4"


def test_a_rollback_is_never_rolled_back(shop: Stage, page: Page) -> None:
    adopt(shop, BACK)
    web(shop)
    page.bad = {"1.4"}
    assert web(shop).status is Status.RELEASED
    outcome = turns(shop, 6)
    assert said(outcome) == (Status.HELD, "verify/failed-again")
    assert shop.image_of("web") == "web:1.4.2"
    tip = shop.repo.tip()
    shop.lose_state()
    turns(shop, 4)
    assert shop.repo.tip() == tip


def test_after_a_loss_of_state_the_checks_run_again_and_still_roll_back(shop: Stage, page: Page) -> None:
    adopt(shop, BACK)
    page.bad = {"1.4.3"}
    assert turns(shop, 2).status is Status.RELEASED
    shop.lose_state()
    turns(shop, 3)
    assert shop.image_of("web") == "web:1.4.2"


def test_what_a_person_set_is_reported_and_never_rolled_back(shop: Stage, page: Page) -> None:
    adopt(shop, BACK)
    page.bad = {"1.4.3"}
    text = shop.repo.read("apps/web.yaml")
    shop.commit({"apps/web.yaml": text.replace("1.4.2", "1.4.3")}, author="Bob")
    outcome = turns(shop, 4)
    assert said(outcome) == (Status.HELD, "verify/stuck")
    assert "Bob set it" in outcome.reason.sentence
    assert shop.image_of("web") == "web:1.4.3"


def test_a_version_that_the_registry_has_no_longer_is_not_gone_back_to(shop: Stage, page: Page) -> None:
    adopt(shop, BACK)
    page.bad = {"1.4.3"}
    turns(shop, 2)
    requests.delete(f"http://{shop.host}/v2/acme/web/manifests/1.4.2", timeout=20).raise_for_status()
    outcome = turns(shop, 4)
    assert said(outcome) == (Status.HELD, "verify/stuck")
    assert shop.image_of("web") == "web:1.4.3"


def test_a_group_goes_back_together(shop: Stage, page: Page) -> None:
    shop.push("acme/api", "1.4.2", "1.4.3")
    shop.checks["fine"] = {"url": page.url.replace("healthz", "fine"), "interval": "1m"}
    group = "group: shop\n"
    api = shop.workload("api", "1.4.2", keys=f'{group}semver: "1.x"\nverify: fine')
    shop.commit({**api, **shop.workload("web", "1.4.2", keys=f"{group}{BACK}")})
    page.bad = {"healthz?v=1.4.3"}
    turns(shop, 2)
    assert (shop.image_of("web"), shop.image_of("api")) == ("web:1.4.3", "api:1.4.3")
    turns(shop, 2)
    assert (shop.image_of("web"), shop.image_of("api")) == ("web:1.4.2", "api:1.4.2")
    record = record_of(shop)
    assert [member.workload for member in record.members] == ["api", "web"]
    assert record.kind == "rollback"


def test_two_replicas_make_one_rollback(shop: Stage, page: Page, tmp_path: Path) -> None:
    adopt(shop, BACK)
    page.bad = {"1.4.3"}
    turns(shop, 2)
    config = shop.app.config.model_copy(update={"state": tmp_path / "other"})
    with App.open(config, exclusive=True, clock=lambda: shop.now) as other:
        for _ in range(2):
            other.cycles["shop"].run(COMMAND)
            web(shop)
        before = git(shop.repo.path, "rev-list", "--count", "main")
        assert int(before) >= 3
        for _ in range(3):
            other.cycles["shop"].run(COMMAND)
            web(shop)
    subjects = git(shop.repo.path, "log", "--format=%s", "main").splitlines()
    assert sum(subject.startswith("Roll back") for subject in subjects) == 1
    assert shop.image_of("web") == "web:1.4.2"


def test_no_rollback_happens_under_a_hold(shop: Stage, page: Page) -> None:
    adopt(shop, BACK)
    page.bad = {"1.4.3"}
    turns(shop, 2)
    adopt(shop, f'{BACK}\nhold: {{reason: "audit"}}', version="1.4.3")
    assert said(turns(shop, 4)) == (Status.HELD, "guard/hold")
    assert shop.image_of("web") == "web:1.4.3"


def test_a_check_that_hangs_delays_no_cycle(shop: Stage, page: Page) -> None:
    page.hold = threading.Event()
    adopt(shop)
    shop.push("acme/api", "1.4.2", "1.4.3")
    shop.commit(shop.workload("api", "1.4.2"))
    reports = [shop.run(trigger=PLANNED) for _ in range(3)]
    outcomes = {o.workload: o for o in reports[0].outcomes}
    assert outcomes["api"].status is Status.RELEASED
    assert said(outcomes["web"]) == (Status.WAITING, "verify/running")
    assert not page.hold.is_set()
    assert len(page.asked) == 1, "one that is on its way is not asked again"


def test_the_daemon_looks_again_when_the_next_try_is_due_and_is_woken_by_the_last(
    shop: Stage, page: Page
) -> None:
    page.status = 503
    adopt(shop, version="1.4.3")
    woken = threading.Event()
    shop.app.board.wake = lambda _repo: woken.set()
    report = shop.run(trigger=PLANNED)
    assert report.changes_at == NOW + MINUTE
    verifying = shop.cycle.facts.verifying
    assert verifying is not None
    verifying.finish()
    page.status = 200
    again = shop.run(trigger=PLANNED)
    assert woken.wait(20)
    assert again.changes_at is not None
    assert shop.run(trigger=PLANNED).changes_at is None


def test_what_never_passes_fails_in_the_end_though_nobody_answers(shop: Stage, page: Page) -> None:
    shop.checks["healthy"]["url"] = "http://127.0.0.1:9/nobody"
    adopt(shop, version="1.4.3")
    web(shop)
    shop.now = NOW + 5 * MINUTE
    assert web(shop).status is Status.CURRENT
    shop.now = NOW + 11 * MINUTE
    outcome = turns(shop, 2)
    assert said(outcome) == (Status.HELD, "verify/failed")
    assert "not passed within 10m" in outcome.reason.sentence


def test_a_value_as_prometheus_gives_it(shop: Stage, page: Page) -> None:
    check = {
        "url": page.url,
        "value": "data.result[0].value[1]",
        "max": 0.01,
        "interval": "1m",
        "failures": 1,
    }
    shop.checks["healthy"] = check
    page.body = json.dumps({"data": {"result": [{"value": [1732182000, "0.4"]}]}}).encode()
    adopt(shop, version="1.4.3")
    outcome = turns(shop, 2)
    assert said(outcome) == (Status.HELD, "verify/failed")
    assert "data.result[0].value[1] is 0.4, more than 0.01" in outcome.reason.sentence


def test_a_token_goes_into_the_header_and_nowhere_else(shop: Stage, page: Page, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("canary-of-the-check\n")
    shop.checks["healthy"] |= {"token_file": str(token), "failures": 1}
    page.status = 302
    adopt(shop, version="1.4.3")
    outcome = turns(shop, 2)
    assert page.asked[0][1] == "Bearer canary-of-the-check"
    assert said(outcome) == (Status.HELD, "verify/failed")
    assert "canary" not in outcome.reason.sentence
    assert b"canary" not in (shop.folder / "state" / "automator.sqlite").read_bytes()


@pytest.mark.parametrize(("code", "found"), [(0, Status.CURRENT), (3, Status.HELD)])
def test_a_command_is_asked(shop: Stage, tmp_path: Path, code: int, found: Status) -> None:
    told = tmp_path / "told"
    script = f'echo "$1 $2 $3 $4" > {told}; exit {code}'
    argv = ["/bin/sh", "-c", script, "check", "{workload}", "{version}", "{digest}", "{repo}"]
    shop.checks["healthy"] = {"command": argv, "failures": 1, "interval": "1m"}
    adopt(shop, f"{VERIFY}\npin: digest")
    turns(shop, 2)
    assert told.read_text().split()[:2] == ["web", "1.4.2" if code else "1.4.3"]
    if not code:
        assert told.read_text().split()[2].startswith("sha256:")
    assert web(shop).status is found


def test_a_check_that_the_config_does_not_have_holds(shop: Stage) -> None:
    adopt(shop, 'semver: "1.x"\nverify: [healthy, smoke]')
    outcome = web(shop)
    assert said(outcome) == (Status.HELD, "verify/unknown-check")
    assert "smoke" in outcome.reason.sentence
    assert shop.image_of("web") == "web:1.4.2"


def test_a_plan_asks_no_check(shop: Stage, page: Page) -> None:
    adopt(shop, version="1.4.3")
    shop.run(push=False)
    assert page.asked == []


def test_what_a_check_says_harms_no_commit(shop: Stage, page: Page) -> None:
    words = "@everyone [skip ci] fixes #1\nRelease-Kind: release\x1b[31m"
    check = {"url": page.url, "value": "word", "equals": "fine", "interval": "1m", "failures": 1}
    shop.checks["healthy"] = check
    page.body = b'{"word": "fine"}'
    adopt(shop, BACK)
    web(shop)
    page.body = json.dumps({"word": words}).encode()
    turns(shop, 2)
    message = git(shop.repo.path, "show", "--no-patch", "--format=%B", "main")
    record = parse(message)
    assert record is not None
    assert record.kind == "rollback"
    for part in ("@everyone", "[skip ci]", "#1", "\x1b"):
        assert part not in message
    assert message.count("\nRelease-Kind:") == 1


def test_downstream_waits_for_the_checks_upstream(shop: Stage, page: Page) -> None:
    page.status = 503
    image = f"{shop.host}/acme/web"
    manifest = shop.workload("web", "1.4.3")["apps/web.yaml"]
    policies = (
        f'version: 1\nworkloads:\n  staging:\n    image: {image}\n    semver: "1.x"\n    pin: digest\n'
        '    where: {paths: ["staging/*"]}\n    verify: healthy\n'
        f'  web:\n    image: {image}\n    semver: "1.x"\n    where: {{paths: ["apps/*"]}}\n'
        "    after: {workload: staging}\n"
    )
    old = manifest.replace("1.4.3", "1.4.2")
    shop.checks["healthy"] |= {"failures": 99}
    page.bad = {"1.4.3"}
    page.status = 200
    shop.commit({"policies/web.yaml": policies, "staging/web.yaml": old, "apps/web.yaml": old})
    turns(shop, 3)
    outcome = web(shop)
    assert said(outcome) == (Status.HELD, "guard/after-unverified")
    page.bad = set()
    web(shop)
    assert web(shop).status is Status.RELEASED


# -- the forge's word ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "outcome"),
    [("success", (Status.CURRENT, "current/newest")), ("failure", (Status.HELD, "verify/failed"))],
)
def test_the_status_that_a_synchronizer_wrote_is_asked_of_the_forge(
    tmp_path: Path, state: str, outcome: tuple[Status, str]
) -> None:
    with forge_stage(tmp_path, "github") as stage:
        stage.checks = {"synced": {"commit_status": "kustomization/shop", "failures": 1, "interval": "1m"}}
        stage.push("acme/web", "1.4.3")
        stage.commit(stage.workload("web", "1.4.3", keys='semver: "1.x"\nverify: synced'))
        assert said(web(stage)) == (Status.CURRENT, "current/newest")
        assert stage.cycle.facts.verifying is not None
        stage.forge.set_status(stage.repo.tip() or "", "kustomization/shop", state)
        turns(stage, 2)
        assert said(web(stage)) == outcome


def test_where_releases_are_proposed_the_way_back_is_proposed(tmp_path: Path, page: Page) -> None:
    with forge_stage(tmp_path, "github") as stage:
        stage.checks = {"healthy": {"url": page.url, "failures": 1, "interval": "1m"}}
        page.bad = {"1.4.3"}
        stage.push("acme/web", "1.4.2", "1.4.3")
        keys = f"{BACK}\ndeliver: pull-request"
        stage.commit(stage.workload("web", "1.4.2", keys=keys))
        assert said(turns(stage, 2)) == (Status.WAITING, "proposal/open")
        stage.forge.merge(stage.pull.number, "squash")
        first = stage.pull.number
        turns(stage, 3)
        assert stage.pull.number > first
        record = parse(stage.pull.body)
        assert record is not None
        assert record.kind == "rollback"
        assert stage.image_of("web") == "web:1.4.3"
        stage.forge.merge(stage.pull.number, "squash")
        turns(stage, 2)
        assert stage.image_of("web") == "web:1.4.2"
        assert said(turns(stage, 2))[0] is Status.HELD


# -- found by review ---------------------------------------------------------------------------------------


def test_a_healthy_release_is_not_undone_since_nobody_was_there_to_ask(shop: Stage, page: Page) -> None:
    adopt(shop, BACK)
    web(shop)
    shop.stop()
    shop.checks["healthy"]["delay"] = "2m"
    assert web(shop).status is Status.RELEASED
    shop.stop()
    shop.now += 20 * MINUTE
    assert turns(shop, 3).status is Status.CURRENT
    assert shop.image_of("web") == "web:1.4.3"
    assert page.asked[-1][0] == "/healthz?v=1.4.3"


def test_sites_of_which_only_one_names_the_digest_are_verified_together(shop: Stage, page: Page) -> None:
    image = f"{shop.host}/acme/web"
    known = requests.head(f"http://{shop.host}/v2/acme/web/manifests/1.4.2", timeout=20)
    files = shop.workload("web", "1.4.2", keys=VERIFY)
    pinned = f"{image}:1.4.2@{known.headers['Docker-Content-Digest']}"
    files["apps/web2.yaml"] = DEPLOYMENT.format(name="web2", image=pinned)
    shop.commit(files)
    page.bad = {"1.4.2"}
    assert said(web(shop)) == (Status.WAITING, "verify/running")
    assert said(turns(shop, 3)) == (Status.HELD, "verify/failed")


def test_nothing_newer_is_released_while_sites_differ(shop: Stage, page: Page) -> None:
    """A person put one of two sites back: what failed is still at the other."""
    files = shop.workload("web", "1.4.2", keys=VERIFY)
    files["apps/web2.yaml"] = DEPLOYMENT.format(name="web2", image=f"{shop.host}/acme/web:1.4.2")
    shop.commit(files)
    web(shop)
    assert web(shop).status is Status.RELEASED
    web(shop)
    text = shop.repo.read("apps/web2.yaml")
    shop.commit({"apps/web2.yaml": text.replace("web:1.4.3", "web:1.4.2")}, author="Bob")
    shop.push("acme/web", "1.4.4")
    found = turns(shop, 2)
    assert said(found) == (Status.HELD, "verify/apart")
    assert "1.4.2, 1.4.3" in found.reason.sentence
    assert shop.image_of("web") == "web:1.4.3"


def test_a_group_of_which_one_was_changed_since_stays_as_it_is(shop: Stage, page: Page) -> None:
    shop.push("acme/api", "1.4.2", "1.4.3")
    shop.checks["healthy"]["delay"] = "3m"
    api = shop.workload("api", "1.4.2", keys='group: shop\nsemver: "1.x"')
    shop.commit({**api, **shop.workload("web", "1.4.2", keys=f"group: shop\n{BACK}")})
    page.bad = {"healthz?v=1.4.3"}
    while shop.image_of("web") != "web:1.4.3":
        web(shop)
    text = shop.repo.read("apps/api.yaml")
    shop.commit({"apps/api.yaml": text.replace("api:1.4.3", "api:1.4.9")}, author="Bob")
    found = turns(shop, 6)
    assert said(found) == (Status.HELD, "verify/stuck")
    assert "api came with it and was changed since, by Bob" in found.reason.sentence
    assert (shop.image_of("web"), shop.image_of("api")) == ("web:1.4.3", "api:1.4.9")


def test_it_does_not_go_back_to_a_digest_that_the_registry_lost(shop: Stage, page: Page) -> None:
    adopt(shop, f"{BACK}\npin: digest")
    turns(shop, 4)
    held = shop.image_of("web")
    digest = held.partition("@")[2]
    page.bad = {"1.4.4"}
    shop.push("acme/web", "1.4.4")
    turns(shop, 2)
    answer = requests.delete(f"http://{shop.host}/v2/acme/web/manifests/{digest}", timeout=20)
    assert answer.status_code == 202
    shop.push("acme/web", "1.4.3", age=timedelta(hours=2))
    found = turns(shop, 3)
    assert said(found) == (Status.HELD, "verify/stuck")
    assert f"the registry has 1.4.3@{digest} no longer" in found.reason.sentence
    assert shop.image_of("web").startswith("web:1.4.4")


def test_a_rollback_that_a_person_closed_is_not_proposed_again(tmp_path: Path, page: Page) -> None:
    with forge_stage(tmp_path, "github") as stage:
        stage.checks = {"healthy": {"url": page.url, "failures": 1, "interval": "1m"}}
        page.bad = {"1.4.3"}
        stage.push("acme/web", "1.4.2", "1.4.3")
        stage.commit(stage.workload("web", "1.4.2", keys=f"{BACK}\ndeliver: pull-request"))
        turns(stage, 2)
        stage.forge.merge(stage.pull.number, "squash")
        turns(stage, 3)
        assert stage.pull.title == "Roll back web to 1.4.2"
        stage.forge.close(stage.pull.number)
        for _ in range(3):
            stage.now += 56 * MINUTE
            found = web(stage)
        assert said(found) == (Status.HELD, "verify/stuck")
        assert "pull/2 was closed on" in found.reason.sentence
        stage.lose_state()
        turns(stage, 4)
        assert len(stage.forge.pulls) == 2


def test_the_tip_tells_where_the_status_of_the_release_stayed_pending(tmp_path: Path) -> None:
    with forge_stage(tmp_path, "github") as stage:
        stage.checks = {"synced": {"commit_status": "kustomization/shop", "failures": 1, "within": "10m"}}
        stage.push("acme/web", "1.4.3")
        released = stage.commit(stage.workload("web", "1.4.3", keys='semver: "1.x"\nverify: synced'))
        stage.forge.set_status(released, "kustomization/shop", "pending")
        web(stage)
        stage.commit({"README.md": "the next commit\n"})
        stage.forge.set_status(stage.repo.tip(), "kustomization/shop", "success")
        turns(stage, 2)
        stage.push("acme/web", "1.4.4")
        assert turns(stage, 2).current == "1.4.4"


def test_checks_that_hang_keep_back_no_other_check(shop: Stage, page: Page) -> None:
    page.hold = threading.Event()
    shop.checks |= {"other": {"command": ["/bin/true"], "interval": "1m", "within": "3m"}}
    files: dict[str, str] = {}
    for name in ("a", "b", "c", "d", "e"):
        shop.push(f"acme/{name}", "1.4.3")
        files |= shop.workload(name, "1.4.3", keys=VERIFY)
    shop.commit(files)
    shop.run(trigger=PLANNED)
    adopt(shop, 'semver: "1.x"\nverify: other')
    verifying = shop.cycle.facts.verifying
    assert verifying is not None
    ended = threading.Event()
    verifying.wake = ended.set
    shop.run(trigger=PLANNED)
    assert ended.wait(20), "the hanging ones took every thread"
    shop.run(trigger=PLANNED)
    assert shop.image_of("web") == "web:1.4.3"


def test_another_repository_under_the_same_name_is_verified_anew(shop: Stage, page: Page) -> None:
    adopt(shop, version="1.4.3")
    turns(shop, 3)
    shop.stop()
    shop.repo = BareRepo.create(shop.folder / "other.git", {"README.md": "x"})
    page.bad = {"1.4.3"}
    adopt(shop, version="1.4.3")
    shop.push("acme/web", "1.4.4")
    assert said(turns(shop, 3)) == (Status.HELD, "verify/failed")


def test_nothing_that_is_filled_in_leads_to_another_place(page: Page) -> None:
    check = PageCheck(page.url.replace("healthz?v={version}", "apps/{environment}/{workload}"), 5)
    said = check.ask({"environment": "..", "workload": "web"}, threading.Event())
    assert (said.answer, page.asked) == (Answer.SILENT, [])


def test_nothing_that_is_filled_in_is_an_option_of_a_command(shop: Stage, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("")
    shop.checks["healthy"] = {"command": ["/usr/bin/find", str(tmp_path / "kept"), "{environment}"]}
    adopt(shop, f"{VERIFY}\nenvironment: -delete", version="1.4.3")
    outcome = turns(shop, 2)
    assert said(outcome)[0] is Status.HELD
    assert 'environment: "-delete" is no name' in outcome.reason.sentence
    command = CommandCheck(("/usr/bin/find", str(tmp_path / "kept"), "{environment}"), 5)
    assert command.ask({"environment": "-delete"}, threading.Event()).answer is Answer.SILENT
    assert (tmp_path / "kept").exists()
    assert CommandCheck(("/bin/true", "-{environment}"), 5).ask({}, threading.Event()).answer is Answer.YES


def test_a_failed_check_outlives_a_policy_that_was_invalid_for_a_commit(shop: Stage, page: Page) -> None:
    page.bad = {"1.4.3"}
    adopt(shop, version="1.4.3")
    shop.push("acme/web", "1.4.4")
    good = shop.workload("web", "1.4.3", keys=VERIFY)["policies/web.yaml"]
    for _ in range(4):
        shop.now += MINUTE
        failed = web(shop)
    assert said(failed) == (Status.HELD, "verify/failed")
    shop.commit({"policies/web.yaml": good + "    nope: 1\n"})
    assert web(shop).reason.code.startswith("policy/")
    page.bad.clear()
    shop.commit({"policies/web.yaml": good})
    for _ in range(3):
        shop.now += MINUTE
        assert said(web(shop)) == (Status.HELD, "verify/failed")
