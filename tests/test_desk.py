"""What a running automator shows: real cycles, real Git, asked from threads other than theirs."""

import http.client
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from parts.canaries import secret
from parts.gitserver import HttpGit, http_git
from parts.stage import Stage
from parts.world import EmbeddedWorld, until

from automator.app.archive import HISTORY, UNUSED, Archive, _Shelf
from automator.app.build import scope_of
from automator.app.desk import LiveDesk
from automator.config.repos import RepoConfig
from automator.core.delivery.change import Wanted
from automator.core.delivery.summary import GROUPINGS
from automator.core.policy import InvalidWorkload
from automator.core.reference import Repository
from automator.core.view import DaemonView, Filter, Past
from automator.edges.checkout.upkeep import take_lock
from automator.edges.web import Access, Health, WebServer
from automator.edges.web.parameters import Moment
from automator.edges.web.site import Behind, make_site
from automator.reasons import Status, reason


@dataclass
class Pulse:
    """Takes what the daemon is asked for."""

    woken: list[tuple[str, frozenset[Repository]]] = field(default_factory=list)
    since: datetime | None = None

    def wake(
        self, repo: str, repositories: frozenset[Repository] = frozenset(), *, trigger: str = "request"
    ) -> None:
        self.woken.append((repo, repositories))

    def running_since(self, repo: str) -> datetime | None:
        return self.since

    def stuck(self) -> tuple[str, ...]:
        return () if self.since is None else ("shop",)


@dataclass
class Shown:
    """A stage with a desk, whose cycles are run as the daemon runs them."""

    stage: Stage
    pulse: Pulse = field(default_factory=Pulse)

    def __post_init__(self) -> None:
        app = self.stage.app
        view = DaemonView("1.2.3", self.stage.now, self.stage.now)
        self.desk = LiveDesk(
            app, self.pulse, lambda: self.stage.now, self.stage._monotonic, standing=lambda: view
        )

    def run(self, **more: Any) -> None:
        with self.desk.cycle("shop"):
            report = self.stage.run(interim=self.desk.saw, **more)
            self.desk.saw(report)
        assert report.error is None, report.error.sentence

    @contextmanager
    def running(self) -> Iterator[None]:
        """As while a cycle runs on its thread."""
        begun, end = threading.Event(), threading.Event()

        def cycle() -> None:
            with self.desk.cycle("shop"):
                begun.set()
                assert end.wait(60)

        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(cycle)
            assert begun.wait(60)
            try:
                yield
            finally:
                end.set()
            done.result()

    def past(self, wanted: Wanted = Wanted(), state: str = "ready") -> Past:  # noqa: B008 - a frozen value
        until(lambda: self.desk.past(wanted).state == state, f"a log that is {state}")
        return self.desk.past(wanted)


Ask = Callable[[str], tuple[int, Any]]


@contextmanager
def served(desk: LiveDesk) -> Iterator[Ask]:
    """The site over a desk; asks for a path, and gives the status and what JSON it was."""
    fine = Health(True, "all is well")
    site = make_site(Behind(desk, lambda: fine, lambda: fine, lambda _: (b"", ""), "1.2.3"), Access(None))
    server = WebServer(site, ("127.0.0.1", 0))
    server.start()

    def ask(path: str) -> tuple[int, Any]:
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        return answer.status, json.loads(body) if "json" in answer.headers["content-type"] else None

    try:
        yield ask
    finally:
        server.stop()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(tmp_path, stack)


@contextmanager
def behind_http(folder: Path, **settings: str) -> Iterator[tuple[Shown, HttpGit]]:
    """A desk after its first cycle, and the server of its config repo."""
    with ExitStack() as stack, http_git(folder) as served:
        stage = Stage(folder, stack)
        stage.settings = {"url": served.url(stage.repo), **settings}
        stage.push("acme/web", "1.0.0", "1.1.0")
        stage.commit(stage.workload("web", "1.0.0"))
        shown = Shown(stage)
        shown.run()
        yield shown, served


@pytest.fixture
def shown(stage: Stage) -> Iterator[Shown]:
    stage.push("acme/web", "1.0.0", "1.1.0", "2.0.0")
    stage.push("acme/api", "1.0.0")
    stage.commit({**stage.workload("web", "1.0.0"), **stage.workload("api", "1.0.0")})
    there = Shown(stage)
    yield there
    there.desk.close()


def test_before_the_first_cycle_what_was_known_is_shown(shown: Shown) -> None:
    desk = shown.desk
    assert (desk.workloads(), desk.policies(), desk.chains(), desk.workload("shop", "web")) == (
        (),
        (),
        (),
        None,
    )
    assert desk.verdicts("shop", "web") is None
    (repo,) = desk.repos()
    assert (repo.name, repo.head, repo.finished_at) == ("shop", None, None)
    assert desk.past(Wanted()).changes == ()
    shown.run()
    shown.stage.app.store.save_report(shown.stage.run())
    shown.desk.close()
    shown.stage.stop()
    again = Shown(shown.stage)
    assert {view.name: view.outcome.current for view in again.desk.workloads()} == {
        "api": "1.0.0",
        "web": "1.1.0",
    }
    assert again.desk.workload("shop", "web") is not None
    assert again.desk.verdicts("shop", "web") is None
    again.desk.close()


def test_after_a_cycle_all_of_it_is_shown(shown: Shown) -> None:
    shown.run()
    desk = shown.desk
    api, web = desk.workloads()
    assert (api.outcome.status, web.outcome.status) == (Status.CURRENT, Status.RELEASED)
    assert (web.outcome.target or "").startswith("1.1.0@sha256:")
    told = desk.workload("shop", "web")
    assert told is not None
    assert [site.version for site in told.sites] == ["1.0.0"]
    assert told.entry is not None
    assert desk.workload("shop", "nothing") is desk.workload("nowhere", "web") is None
    assert [(view.path, view.workloads) for view in desk.policies()] == [
        ("policies/api.yaml", ("api",)),
        ("policies/web.yaml", ("web",)),
    ]
    (host,) = desk.registries()
    assert (host.host, host.repositories, host.requests > 0) == (shown.stage.host, 2, True)
    assert (host.succeeded_at is not None, host.failing, host.trouble) == (True, 0, None)
    (repo,) = desk.repos()
    assert repo.sentence.startswith("cycle shop: 1 released, 1 current")


def test_explanations_are_those_of_the_last_cycle(shown: Shown) -> None:
    shown.run()
    shown.run()
    told = shown.desk.verdicts("shop", "web")
    assert told is not None
    assert [(v.tag, v.kept) for v in told.told] == [("2.0.0", False), ("1.1.0", True), ("1.0.0", False)]
    assert shown.desk.verdicts("shop", "nothing") is shown.desk.verdicts("nowhere", "web") is None


def test_a_cycle_that_runs_delays_no_answer(shown: Shown) -> None:
    shown.run()
    before = shown.desk.verdicts("shop", "web")
    with shown.running():
        began = time.monotonic()
        outline = shown.desk.verdicts("shop", "api")
        assert outline is not None, "though it was never asked for before"
        assert outline.is_outline
        assert shown.desk.verdicts("shop", "web") == before
        assert len(shown.desk.workloads()) == 2
        assert shown.desk.repos()[0].name == "shop"
        assert time.monotonic() - began < 30
    told = shown.desk._known(shown.desk._turns["shop"], "api")
    assert told is not None, "whoever asked in vain has the answer when the cycle has ended"
    assert not told.is_outline
    assert [verdict.tag for verdict in told.told] == ["1.0.0"]


def test_a_stuck_cycle_keeps_nobody_from_an_explanation(shown: Shown) -> None:
    stage = shown.stage
    stage.push("acme/job", "1.0.0-rc.1", "1.0.0", "1.1.0", "nightly")
    stage.push("acme/new", "1", "2")
    keys = 'semver: "~1.0"\nexclude: ["*-rc*"]'
    newest = "order: newest\nglob: '*'"
    stage.commit({**stage.workload("job", "1.0.0", keys=keys), **stage.workload("new", "1", keys=newest)})
    shown.run()
    shown.run()
    first = shown.desk.verdicts("shop", "web")
    assert first is not None
    path = "/api/v1/workloads/shop/{}/explanation"
    with served(shown.desk) as ask, shown.running():
        shown.pulse.since = stage.now
        status, told = ask(path.format("job"))
        assert (status, told["is_outline"], told["status"]) == (200, True, "current")
        assert told["reason"]["sentence"], "the outcome is that of the last cycle"
        assert {tag["tag"]: tag["reason"]["code"] for tag in told["tags"]} == {
            "1.1.0": "tag/range",
            "1.0.0": "tag/current",
            "1.0.0-rc.1": "tag/excluded",
            "nightly": "tag/unreadable",
        }
        told = ask(path.format("new"))[1]
        assert [tag["reason"]["code"] for tag in told["tags"]] == ["tag/current", "tag/older"]
        page = ask("/workloads/shop/job")
        assert page[0] == 200
        status, told = ask(path.format("web"))
        assert (status, told["decided_at"]) == (200, f"{first.decided_at:%Y-%m-%dT%H:%M:%SZ}")
        assert not told["is_outline"], "what was found before is all there is to know"
        assert ask("/api/v1/workloads/shop/api")[1]["reason"]["sentence"]


def test_before_the_first_cycle_nobody_can_explain(shown: Shown) -> None:
    shown.run()
    shown.stage.app.store.save_report(shown.stage.run())
    shown.desk.close()
    shown.stage.stop()
    again = Shown(shown.stage)
    with served(again.desk) as ask, again.running():
        again.pulse.since = shown.stage.now
        status, told = ask("/api/v1/workloads/shop/api/explanation")
        assert (status, told["error"]["code"]) == (503, "web/cycle-runs")
        assert told["error"]["params"]["since"] == f"{shown.stage.now:%H:%M} UTC"
    again.desk.close()


def test_tags_of_an_older_cycle_say_so(shown: Shown) -> None:
    shown.run()
    old = shown.desk.verdicts("shop", "web")
    assert old is not None
    shown.stage.now += timedelta(minutes=5)
    shown.stage.push("acme/web", "1.2.0")
    shown.run()
    with shown.running():
        view = shown.desk.workload("shop", "web")
        assert view is not None
        assert (view.outcome.target or "").startswith("1.2.0@")
        assert shown.desk.verdicts("shop", "web") == old
    new = shown.desk.verdicts("shop", "web")
    assert new is not None
    assert new.decided_at >= old.decided_at + timedelta(minutes=5)


def test_chains_are_found_once_for_what_is_shown(shown: Shown) -> None:
    stage, desk = shown.stage, shown.desk
    stage.commit(stage.workload("web", "1.0.0", keys='semver: ">=1.0 <2"\nafter: {workload: api}'))
    shown.run()
    first = desk.chains()
    assert [(node.name, node.since) for node in first[0].nodes] == [("api", None), ("web", None)]
    assert desk.chain("shop", "web") is desk.chain("shop", "api") is first[0]
    assert desk.chain("shop", "nothing") is None
    shown.run()
    again = desk.chains()
    shown.run()
    assert desk.chains() is again, "nothing has changed"
    assert again == first
    stage.push("acme/api", "1.1.0")
    shown.run()
    assert desk.chains() != first
    shown.past()
    (since,) = [node.since for node in desk.chains()[0].nodes if node.name == "api"]
    assert since is not None, "history tells more"
    assert desk.chains() is desk.chains()


def test_many_threads_ask_while_cycles_run(shown: Shown) -> None:
    """What a thread sees is one whole picture, whatever cycles do meanwhile."""
    shown.run()
    end = threading.Event()

    def ask() -> int:
        count = 0
        while not end.is_set() or not count:
            names = [view.name for view in shown.desk.workloads()]
            assert names == ["api", "web"]
            verdicts = shown.desk.verdicts("shop", "web")
            assert verdicts is None or {v.tag for v in verdicts.told} >= {"1.0.0", "1.1.0", "2.0.0"}
            shown.desk.policies(), shown.desk.chains(), shown.desk.registries()
            count += 1
        return count

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask) for _ in range(3)]
        try:
            for number in range(2, 6):
                shown.stage.push("acme/web", f"1.{number}.0")
                shown.run()
        finally:
            end.set()
        assert all(one.result() for one in asking)
    assert shown.stage.image_of("web") == "web:1.5.0"


def test_a_config_repo_that_cannot_be_read_after_a_restart_keeps_its_workloads(tmp_path: Path) -> None:
    with behind_http(tmp_path) as (shown, served):
        stage = shown.stage
        stage.app.store.save_report(stage.run())
        served.fail_with = 500
        after = Shown(stage)
        with after.desk.cycle("shop"):
            failed = replace(stage.run(), outcomes=())
            assert failed.error is not None
            after.desk.saw(failed)
        assert [view.name for view in after.desk.workloads()] == ["web"]
        (repo,) = after.desk.repos()
        assert repo.error == failed.error
        shown.desk.close(), after.desk.close()


def test_a_report_leaves_out_what_cannot_be_read_and_says_so(tmp_path: Path) -> None:
    with behind_http(tmp_path) as (shown, _served):
        stage = shown.stage
        shown.past()
        archive = shown.desk._archive
        head = shown.desk.repos()[0].head
        lost = reason("git/unreachable", url="https://git.example.com/x", words="refused")
        archive._shelves["lab"] = _Shelf("lab main")
        heads, asked = {"shop": shown.desk._heads()["shop"] or head, "lab": None}, ("shop", "lab")
        more: dict[str, Any] = {"repos": asked, "by": "workload", "now": stage.now}
        assert archive.summary(Wanted(), heads, {}, **more) is None, "nobody has tried lab yet"
        summary = archive.summary(Wanted(), heads, {"lab": lost}, **more)
        assert summary is not None
        assert summary.overall.deployments == 1
        assert summary.notes[0] == f"lab is left out: {lost.sentence}"
        assert archive.summary(Wanted(), heads, {"lab": lost}, **{**more, "repos": ("lab",)}) is None
        shown.desk.close()


def test_a_policy_that_cannot_be_used_still_has_its_owner(shown: Shown) -> None:
    stage = shown.stage
    keys = 'semver: ">=1.0 <2"\nowner: team-shop\nenvironment: production'
    stage.commit(stage.workload("web", "1.0.0", keys=keys))
    shown.run()
    stage.commit(stage.workload("web", "1.1.0", keys=f"{keys}\nsemvr: 1"))
    for _ in range(2):
        shown.run()
        view = shown.desk.workload("shop", "web")
        assert view is not None
        assert isinstance(view.entry, InvalidWorkload)
        assert (view.outcome.owner, view.outcome.environment) == ("team-shop", "production")
        assert Filter(owners=frozenset({"team-shop"})).takes(view)


def test_looking_now_wakes_the_cycle_for_the_image(shown: Shown) -> None:
    assert not shown.desk.look("shop", "web"), "nobody knows it yet"
    shown.run()
    assert shown.desk.look("shop")
    assert shown.desk.look("shop", "web")
    assert not shown.desk.look("shop", "nothing")
    assert not shown.desk.look("nowhere")
    image = Repository(shown.stage.host, "acme/web")
    assert shown.pulse.woken == [("shop", frozenset()), ("shop", frozenset({image}))]


def test_a_stuck_cycle_is_shown(shown: Shown) -> None:
    shown.pulse.since = shown.stage.now
    (repo,) = shown.desk.repos()
    assert (repo.is_stuck, repo.running_since) == (True, shown.stage.now)


# -- history -------------------------------------------------------------------------------------------


def test_the_log_begins_to_be_read_when_somebody_asks(shown: Shown) -> None:
    shown.run()
    assert not list((shown.stage.folder / "state" / "repos").glob(".history/*")), "nobody asked"
    assert shown.desk.past(Wanted()).state == "reading"
    assert shown.desk.summary(Wanted()) is None or shown.past().state == "ready"
    past = shown.past()
    assert [(one.kind, one.workload, one.proven) for one in past.changes] == [("release", "web", True)]
    summary = shown.desk.summary(Wanted())
    assert summary is not None
    assert summary.overall.deployments == 1
    assert shown.desk.summary(Wanted()) is summary
    assert shown.desk.past(Wanted(workloads=frozenset({"api"}))).changes == ()


def test_the_log_follows_the_branch(shown: Shown) -> None:
    shown.run()
    shown.past()
    shown.stage.push("acme/web", "1.2.0")
    shown.run()
    until(lambda: len(shown.desk.past(Wanted()).changes) == 2, "the new release")
    files = shown.stage.workload("web", "1.0.5", keys='semver: ">=1.0 <2"\nowner: team-shop')
    shown.stage.commit(files, "Back by hand", author="Ann Author")
    shown.run()
    until(lambda: len(shown.desk.past(Wanted()).changes) == 3, "the change by hand")
    changes = shown.past().changes
    assert [one.kind for one in changes] == ["manual", "release", "release"]
    assert {one.owner for one in changes} == {"team-shop"}, "as the policy says now"
    assert changes[0].member.after == "1.0.5"
    summary = shown.desk.summary(Wanted())
    assert summary is not None
    assert summary.overall.deployments == 2


def test_a_branch_that_was_rewound_is_read_anew(shown: Shown) -> None:
    tip = shown.stage.repo.tip()
    assert tip is not None
    shown.run()
    assert len(shown.past().changes) == 1
    shown.stage.repo.set_tip(tip)
    shown.stage.commit({"README.md": "rewound\n"})
    shown.run()

    def is_empty() -> bool:
        past = shown.desk.past(Wanted())
        return past.state == "ready" and not past.changes

    until(is_empty, "a log without the release")


def test_what_nobody_asks_for_is_let_go_of(shown: Shown) -> None:
    shown.run()
    shown.past()
    shelf = shown.desk._archive._shelves["shop"]
    assert shelf.read is not None
    shown.stage.now += timedelta(seconds=UNUSED + 60)
    shown.run()
    assert shelf.read is shelf.parts is None
    assert len(shown.past().changes) == 1, "and read again when somebody asks"


ODD = st.sampled_from(
    [
        *(
            "",
            "0001-01-01",
            "0001-02-01T00:00:00Z",
            "1970-01-01",
            "2026-02-30",
            "9999-12-31",
            "0s",
            "1s",
            "10y",
        ),
        *(
            "520w",
            "2026-11-01",
            "2500-01-01",
            "9997-12-31T23:59:59Z",
            "1970-01-01T00:00:00+14:00",
            "\0",
            "nan",
        ),
    ]
)


def test_whatever_period_is_asked_for_is_answered(shown: Shown) -> None:
    """By log and report and their pages, over a history that there is."""
    shown.run()
    shown.past()
    with served(shown.desk) as ask:

        @settings(max_examples=60)
        @given(
            path=st.sampled_from(["/api/v1/log", "/api/v1/report", "/releases", "/report"]),
            since=ODD,
            until=ODD,
            by=st.sampled_from(GROUPINGS),
        )
        @example("/api/v1/report", "", "0001-02-01", "workload")
        def answered(path: str, since: str, until: str, by: str) -> None:
            told = {"since": since, "until": until, "by": by if path.endswith("report") else ""}
            query = urlencode({name: value for name, value in told.items() if value})
            assert ask(f"{path}?{query}")[0] in (200, 400)

        answered()


def test_a_report_of_how_long_ago_is_made_once_in_a_minute(shown: Shown) -> None:
    shown.run()
    shown.past()
    since, made = Moment("since", ""), []
    shown.stage.now = shown.stage.now.replace(second=1)
    for _ in range(2):
        wanted = Wanted(since=since.read(["30d"], shown.desk.now()))
        made.append(shown.desk.summary(wanted))
        shown.stage.now += timedelta(seconds=20)
    assert made[0] is made[1] is not None


def test_whoever_still_reads_there_is_waited_for(shown: Shown) -> None:
    """As after a reload, while a reader of the generation before this one ends."""
    shown.run()
    folder = shown.stage.folder / "state" / "repos" / HISTORY
    folder.mkdir(parents=True, exist_ok=True)
    held = take_lock(folder / "shop.lock", 0)
    try:
        assert shown.desk.past(Wanted()).state == "reading"
        shelf = shown.desk._archive._shelves["shop"]
        until(lambda: shelf.thread is None, "the end of the attempt")
        assert shelf.again_at > 0
        assert (shown.desk.past(Wanted()).state, shown.desk.past(Wanted()).trouble) == ("reading", None)
    finally:
        os.close(held)
    shown.stage.now += timedelta(seconds=5)
    assert len(shown.past().changes) == 1


def test_a_reader_that_could_not_be_started_is_told_and_tried_again(shown: Shown) -> None:
    shown.run()
    size = threading.stack_size(1 << 48)  # more than any machine has
    try:
        past = shown.desk.past(Wanted())
    finally:
        threading.stack_size(size)
    assert past.state == "failed"
    assert past.trouble is not None
    assert "thread" in past.trouble.sentence
    shown.stage.now += timedelta(minutes=1)
    assert len(shown.past().changes) == 1


def test_readers_that_hang_are_ended_all_at_once(tmp_path: Path) -> None:
    names = [f"r{number}" for number in range(4)]
    with ExitStack() as stack, http_git(tmp_path) as there:
        stage = Stage(tmp_path, stack)
        config = stage.app.config.model_copy(
            update={"repos": {n: RepoConfig(url=there.url(stage.repo), timeout="1m") for n in names}}
        )
        archive = Archive(
            config,
            stage.app.store,
            {},
            {n: n for n in names},
            lambda n: scope_of(config.repos[n]),
            time.monotonic,
        )
        there.silent = True
        archive.past(Wanted(), dict.fromkeys(names, "a" * 40), repos=names, limit=1)
        shelves = archive._shelves.values()
        until(
            lambda: all(s.parts is not None and s.parts.checkout.processes > 1 for s in shelves),
            "all that ask",
        )
        archive.close()
        assert [(shelf.thread, shelf.parts) for shelf in shelves] == [(None, None)] * len(names)
        there.silent = False
        there.wake.set()


def test_a_git_server_that_hangs_keeps_back_its_history_and_nothing_else(tmp_path: Path) -> None:
    with behind_http(tmp_path, timeout="1m") as (shown, served):
        served.silent = True
        served.asked.clear()
        assert shown.desk.past(Wanted()).state == "reading"
        assert served.asked.wait(30), "the reader asks the server"
        began = time.monotonic()
        assert shown.desk.past(Wanted()).state == "reading"
        assert shown.desk.summary(Wanted()) is None
        assert len(shown.desk.workloads()) == 1
        assert shown.desk.verdicts("shop", "web") is not None
        shown.desk.close()
        assert time.monotonic() - began < 30
        served.silent = False
        served.wake.set()


def test_a_git_server_that_fails_is_said_to(tmp_path: Path) -> None:
    with behind_http(tmp_path) as (shown, served):
        stage = shown.stage
        served.fail_with = 500
        failed = shown.past(state="failed")
        assert failed.trouble is not None
        assert failed.trouble.code.startswith("git/")
        served.fail_with = None
        stage.now += timedelta(minutes=5)
        assert len(shown.past().changes) == 1, "it is tried again"
        shown.desk.close()


# -- all of it -----------------------------------------------------------------------------------------


def test_a_daemon_answers_its_api_and_looks_when_asked(tmp_path: Path) -> None:
    with EmbeddedWorld(tmp_path) as world:
        world.push("web", "1.0.0", "1.1.0")
        world.adopt("web")
        world.configure(daemon='listen = "127.0.0.1:0"\ninterval = "1h"')
        with world.start("run") as daemon:
            daemon.until(daemon.cycles, "the first cycle")
            api = "/api/v1"
            (web,) = daemon.get(f"{api}/workloads").json()["items"]
            assert (web["status"], web["target"][:6]) == ("released", "1.1.0@")
            told = daemon.get(f"{api}/workloads/shop/web/explanation").json()
            assert [tag["tag"] for tag in told["tags"]] == ["1.1.0", "1.0.0"]
            log = f"{api}/log"
            daemon.until(lambda: daemon.get(log).json()["state"] == "ready", "the log")
            by_command = world.run("log", "--output", "json").fine().json
            without = {"policy_changed", "approved_by", "signature", "signer"}
            assert daemon.get(log).json()["items"] == [
                {k: v for k, v in one.items() if k not in without} for one in by_command
            ], "and nothing that is null because nobody asked"
            world.push("web", "1.2.0")
            url = f"http://127.0.0.1:{daemon.port}{api}/look"
            answer = daemon.session.post(url, json={"repo": "shop", "workload": "web"}, timeout=20)
            assert (answer.status_code, answer.json()) == (202, {"looking": ["shop"]})
            daemon.until(lambda: world.version("web") == "1.2.0", "the release")
            assert daemon.get("/nowhere").status_code == 404
            daemon.session.close()
            assert daemon.end() == 0


def test_a_daemon_with_a_token_tells_of_refusals_and_never_the_token(tmp_path: Path) -> None:
    with EmbeddedWorld(tmp_path) as world:
        token, wrong = secret("of-the-api"), secret("that-is-wrong")
        (tmp_path / "api-token").write_text(token)
        world.push("web", "1.0.0")
        world.adopt("web")
        world.configure(daemon='listen = "127.0.0.1:0"\ninterval = "1h"\ntoken_file = "api-token"')
        with world.start("run") as daemon:
            base = f"http://127.0.0.1:{daemon.port}"
            statuses = []
            for told in (None, wrong, token):
                headers = {} if told is None else {"Authorization": f"Bearer {told}"}
                statuses.append(
                    daemon.session.get(f"{base}/api/v1/repos", headers=headers, timeout=20).status_code
                )
            form = {"token": wrong, "next": "/"}
            statuses.append(daemon.session.post(f"{base}/sign-in", data=form, timeout=20).status_code)
            assert statuses == [401, 401, 200, 401]
            later = secret("of-the-api-later")

            def status(told: str) -> int:
                bearer = {"Authorization": f"Bearer {told}"}
                return daemon.session.get(f"{base}/api/v1/repos", headers=bearer, timeout=20).status_code

            (tmp_path / "api-token").write_text(f"{token}\n{later}\n")
            assert (status(token), status(later)) == (200, 200), "both, for as long as the file has both"
            form = {"token": token, "next": "/repos"}
            assert "Config repos" in daemon.session.post(f"{base}/sign-in", data=form, timeout=20).text
            (tmp_path / "api-token").write_text(later)
            assert (status(token), status(later)) == (401, 200), "without a restart, nor a signal"
            page = daemon.session.get(f"{base}/repos", timeout=20)
            assert page.status_code == 401, "the session that it began is over"
            (tmp_path / "api-token").unlink()
            assert status(later) == 503, "nobody is let in by a file that is gone"
            (tmp_path / "api-token").write_text(later)
            assert status(later) == 200
            daemon.session.cookies.clear()
            daemon.session.close()
            metrics = daemon.get("/metrics").text
            assert 'automator_web_refusals_total{code="web/bad-token"} 3.0' in metrics
            assert daemon.end() == 0
            told_of = [line for line in daemon.lines if line.get("code") == "web/bad-token"]
            assert [line["client"] for line in told_of] == ["127.0.0.1"] * 3
            assert token not in daemon.text
            assert later not in daemon.text
            assert wrong not in daemon.text


def test_the_log_of_a_config_repo_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with ExitStack() as stack:
        stage = Stage(tmp_path, stack)
        stage.settings = {"url": str(tmp_path / "nowhere.git")}
        shown = Shown(stage)
        with shown.desk.cycle("shop"):
            shown.desk.saw(stage.run())
        past = shown.desk.past(Wanted())
        assert (past.state, past.changes) == ("failed", ())
        assert past.trouble is not None
        assert past.trouble == shown.desk.repos()[0].error
        shown.desk.close()
