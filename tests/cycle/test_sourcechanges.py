"""What the changes of a release name stands in its commit, and no release hangs on it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import pytest
from parts.forgestage import PR
from parts.sourcestage import SOURCE, SourceStage

from automator.core.action import Request
from automator.core.delivery.change import Wanted
from automator.core.forge import SourceCommit
from automator.core.record import Member
from automator.core.reference import Image, Repository
from automator.core.sourcechanges import NOTHING
from automator.cycle.acting import Terms, act
from automator.cycle.reporting import read_for, summary_of
from automator.cycle.sourcechanges import SourceChanges, Step
from automator.errors import ForgeError
from automator.reasons import reason

KINDS = ["github", "gitlab", "gitea", "forgejo", "bitbucket"]
LOGIN = "Merge pull request #12 from acme/login\n\nSHOP-7: log in with passkeys, UTF-8 names"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[SourceStage]:
    with ExitStack() as stack:
        yield SourceStage(tmp_path, stack, "github")


@pytest.fixture(params=KINDS)
def any_stage(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SourceStage]:
    with ExitStack() as stack:
        yield SourceStage(tmp_path, stack, request.param)


def test_a_commit_has_the_names_of_its_changes(any_stage: SourceStage) -> None:
    stage = any_stage
    page = f"https://{stage.forge.host}/{SOURCE}"
    messages = {
        "gitlab": (f"Login\n\nSHOP-7\n\nSee merge request {SOURCE}!12", "Closes #3"),
        "bitbucket": ("Merged in login (pull request #12)\n\nSHOP-7", f"See {page}/issues/3"),
    }
    stage.at("1.4.2")
    record = stage.release("1.4.3", *messages.get(stage.forge.kind, (LOGIN, "Colour, fixes #3")))
    pull = f"{SOURCE}!12" if stage.forge.kind == "gitlab" else f"{SOURCE}#12"
    assert sorted(record.refs) == sorted((f"{SOURCE}#3", "SHOP-7", pull))
    (member,) = record.members
    assert member.source_time == datetime.fromtimestamp(stage.source.clock, UTC), "the newest commit's"
    assert len(stage.asked_of_source()) == 1, "for the names and the time together"
    assert stage.asked_of_source("POST") == []
    head = stage.message().partition("Release-Format")[0]
    assert "#" not in head
    assert "Release-Refs: " in stage.message()


def test_the_forge_is_asked_once_for_all_workloads_and_after_lost_races(stage: SourceStage) -> None:
    stage.at("1.4.2")
    stage.commit(stage.second("1.4.2"))
    hook = stage.repo.hook(
        "update",
        "#!/bin/sh\nif [ ! -e raced ]; then touch raced; "
        "git update-ref refs/heads/main $(git commit-tree -p main -m 'By hand' 'main^{tree}'); fi\n",
    )
    stage.build("1.4.3", LOGIN)
    outcomes = stage.outcomes()
    hook.unlink()
    assert {o.reason.code for o in outcomes.values()} == {"released/pushed"}
    assert (stage.repo.path / "raced").exists()
    for commit in ("main", "main^"):
        assert stage.record_of(commit).refs == (f"{SOURCE}#12", "SHOP-7")
        assert stage.record_of(commit).members[0].source_time is not None
    assert len(stage.asked_of_source()) == 1


def test_quiet_cycles_and_plans_ask_nobody(stage: SourceStage) -> None:
    stage.at("1.4.2")
    stage.build("1.4.3", LOGIN)
    stage.run(push=False)
    assert stage.asked_of_source() == []
    stage.outcomes()
    stage.forge.forget()
    for _ in range(3):
        stage.run()
    assert stage.forge.calls == []


def test_a_pull_request_has_them_too(stage: SourceStage) -> None:
    stage.at("1.4.2", keys=PR)
    stage.build("1.4.3", LOGIN)
    stage.run()
    assert f"Release-Refs: {SOURCE}#12, SHOP-7" in stage.pull.body
    made = datetime.fromtimestamp(stage.source.clock, UTC)
    assert f"Release-Source-Time: {made:%Y-%m-%dT%H:%M:%SZ}" in stage.pull.body
    stage.run()
    assert len(stage.asked_of_source()) == 1


def test_after_losing_the_state_the_registry_tells_where_it_came_from(stage: SourceStage) -> None:
    stage.at("1.4.2")
    stage.lose_state()
    assert stage.release("1.4.3", LOGIN).refs == (f"{SOURCE}#12", "SHOP-7")


def test_a_rollback_names_what_it_takes_away(stage: SourceStage) -> None:
    stage.at("1.4.2")
    stage.release("1.4.3", LOGIN)
    done = act(stage.cycle, Request("rollback", "Ann", "crashes", "web"), Terms())
    assert done.commit == stage.repo.tip()
    assert (stage.record.kind, stage.record.refs) == ("rollback", (f"{SOURCE}#12", "SHOP-7"))
    assert stage.record.members[0].source_time is None, "it was the time of what is taken away"


def test_the_report_counts_from_the_commit_of_the_source(stage: SourceStage) -> None:
    stage.at("1.4.2")
    stage.release("1.4.3", "Log in")
    begin = datetime.fromtimestamp(stage.source.clock, UTC)
    stage.forge.forget()
    read = {"shop": read_for(stage.cycle.logbook(), Wanted())}
    found = summary_of(read, {"shop": Wanted()}, stage.app.store, by="workload", now=stage.now)
    (way,) = found.journeys
    assert way.times[0] == ("source commit", begin)
    assert (found.overall.lead_from_source, found.overall.lead_from_build) == (1, 0)
    assert found.overall.lead.median == way.fate.change.landed - begin
    assert stage.forge.calls == [], "history alone tells it"


def test_a_revision_from_before_git_has_no_time(stage: SourceStage) -> None:
    stage.at("1.4.2")
    stage.source.clock = -60
    assert stage.release("1.4.3", LOGIN).refs
    assert "Source-Time" not in stage.message()


def test_times_of_several_sources_stay_with_their_members() -> None:
    at = {project: datetime(2026, 9, day, tzinfo=UTC) for day, project in ((1, "acme/web"), (2, "acme/api"))}
    sources = SourceChanges({"a.example": Told(times=at)}, Labels(), Labels(), patience=20.0)
    both = step("a.example", 7).members + step("a.example", 8, "acme/api").members
    (named,) = sources.named([Step(both)])
    assert [named.made_at(member.source) for member in both] == list(at.values())
    assert sources.named([Step(both, back=True)])[0].made_at(both[0].source) is None
    sources.close()


def test_an_answer_that_was_kept_has_its_time() -> None:
    kept = Kept()
    at = {"acme/web": datetime(2026, 9, 1, tzinfo=UTC)}
    first = SourceChanges({"a.example": Told(times=at)}, kept, kept, patience=20.0)
    (told,) = first.named([step("a.example", 7)])
    first.close()
    again = SourceChanges({"a.example": Told("unknown")}, kept, kept, patience=20.0)
    assert again.named([step("a.example", 7)]) == (told,)
    assert told.made
    again.close()


def test_many_are_cut_and_said_to_be(stage: SourceStage) -> None:
    stage.at("1.4.2")
    record = stage.release("1.4.3", "Much\n\n" + " ".join(f"#{n}" for n in range(1, 52)))
    assert len(record.refs) == 20
    assert "its changes name 51, of which 20 are below" in stage.message()


# -- without an answer ---------------------------------------------------------------------------------


def test_a_forge_that_fails_costs_the_names_and_nothing_else(any_stage: SourceStage) -> None:
    stage = any_stage
    stage.at("1.4.2")
    for name in (f"/{SOURCE}/", f"/{SOURCE.replace('/', '%2F')}/"):
        stage.forge.fail(503, on=name, times=99)
    assert stage.release("1.4.3", LOGIN).refs == ()
    stage.forge.mend()


def test_a_forge_that_is_silent_is_waited_for_once(stage: SourceStage) -> None:
    stage.at("1.4.2")
    assert stage.app.cycles
    stage.forge.fail(silent=True, on=f"/{SOURCE}/", times=99)
    sources = stage.cycle.publisher.sources
    assert sources is not None
    sources.patience = 0.3
    assert stage.release("1.4.3", LOGIN).refs == ()
    sources.patience = 60.0  # a second wait would not end within the test's time
    assert stage.release("1.4.4", "More (#13)").refs == ()


@pytest.mark.parametrize(
    "what", ["no labels before", "no labels now", "another project", "no forge", "unknown"]
)
def test_without_both_ends_nobody_is_asked(stage: SourceStage, what: str) -> None:
    if what == "no forge":
        stage.forges, stage.settings = {}, {}
    stage.build("1.4.2", labels=what != "no labels before")
    stage.commit(stage.workload("web", "1.4.2"))
    if what == "unknown":
        stage.source.set_tip(stage.source.commits()[-1])
    project = "acme/other" if what == "another project" else SOURCE
    stage.build("1.4.3", LOGIN, labels=what != "no labels now", project=project)
    assert stage.outcomes()["web"].reason.code == "released/pushed"
    if what != "unknown":
        assert stage.record.refs == ()
        assert stage.asked_of_source() == []


# -- several forges ------------------------------------------------------------------------------------


class Labels:
    """Registry and memory: an image `HOST/…` has its source on that host."""

    def image(self, repository: Repository, tag: str) -> Image:
        host, _, name = str(repository).partition("/")
        return Image(f"sha256:{'0' * 64}", source=f"https://{host}/acme/{name}", revision="a" * 40)

    def image_by_digest(self, digest: str) -> Image | None:
        return None

    def get(self, kind: str, key: str) -> bytes | None:
        return None

    def put(self, kind: str, key: str, value: bytes | None) -> None:
        return None


class Kept(Labels):
    """A memory that keeps what it is given."""

    def __init__(self) -> None:
        self._texts: dict[tuple[str, str], bytes | None] = {}

    def get(self, kind: str, key: str) -> bytes | None:
        return self._texts.get((kind, key))

    def put(self, kind: str, key: str, value: bytes | None) -> None:
        self._texts[kind, key] = value


class Told:
    """A forge as a source: it answers, says that there is no such project, or waits to be let go."""

    kind = "github"

    def __init__(self, way: str = "answers", times: Mapping[str, datetime] = MappingProxyType({})) -> None:
        self.way, self.over, self.times = way, threading.Event(), times

    def commits_between(
        self, project: str, base: str, head: str, *, limit: int = 250
    ) -> tuple[Sequence[SourceCommit], bool]:
        if self.way == "silent":
            self.over.wait(60)
        if self.way == "unknown" or project == "acme/gone":
            raise ForgeError(reason("forge/not-found", host="forge", what="compare", answer="Not Found"))
        return [SourceCommit(head, "Log in (#5)", "ann", self.times.get(project))], True


def step(host: str, number: int, project: str = "acme/web") -> Step:
    link = f"https://{host}/{project}/tree/{number:040x}"
    image = f"{host}/{project.rpartition('/')[2]}"
    return Step((Member("web", image, "1.0", f"1.1@sha256:{number:064x}", source=link),))


def test_a_silent_forge_costs_the_names_of_its_own_sources_only() -> None:
    silent = Told("silent")
    sources = SourceChanges({"a.example": silent, "b.example": Told()}, Labels(), Labels(), patience=2.0)
    try:
        told = sources.named([*(step("a.example", n) for n in range(9)), step("b.example", 1)])
        assert told[:9] == (NOTHING,) * 9
        assert told[9].refs == ("acme/web#5",)
        assert sources.named([step("b.example", 2)])[0].refs == ("acme/web#5",)
    finally:
        silent.over.set()
        sources.close()


def test_one_project_that_is_gone_costs_no_other_its_names() -> None:
    sources = SourceChanges({"a.example": Told()}, Labels(), Labels(), patience=20.0)
    for number in range(20):
        sources.named([step("a.example", number, "acme/gone")])
        assert sources.named([step("a.example", number)])[0].refs == ("acme/web#5",)
    sources.close()


def test_answers_that_fail_while_others_are_asked_for_stop_no_cycle() -> None:
    sources = SourceChanges({"a.example": Told("unknown")}, Labels(), Labels(), patience=0.0)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    end = time.monotonic() + 3
    try:
        for number in range(10_000):
            told = sources.named([step("a.example", 100 * number + n) for n in range(60)])
            assert set(told) == {NOTHING}
            if time.monotonic() > end:
                break
    finally:
        sys.setswitchinterval(interval)
        sources.close()


def test_the_end_of_the_program_waits_for_no_forge() -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import importlib.util as u\n"
        "spec = u.spec_from_file_location('here', sys.argv[2]); here = u.module_from_spec(spec)\n"
        "spec.loader.exec_module(here)\n"
        "forges = {'a.example': here.Told('silent')}\n"
        "sources = here.SourceChanges(forges, here.Labels(), here.Labels(), patience=0.1)\n"
        "print(sources.named([here.step('a.example', 1)])); sources.close()\n"
    )
    here = Path(__file__)
    words = [sys.executable, "-c", program, str(here.parents[1]), str(here)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=50, check=True)
    assert "refs=()" in done.stdout
