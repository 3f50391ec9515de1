"""People of the source are told where their change is running: one comment, edited, never in the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from parts.forgestage import PR
from parts.sourcestage import SOURCE, SourceStage

from automator.core.action import Request
from automator.core.feedback import MARKER, Notice
from automator.core.sourcechanges import Place
from automator.cycle.acting import Terms, act

KINDS = ["github", "gitlab", "gitea", "forgejo", "bitbucket"]


class FeedbackStage(SourceStage):
    """Pull request 1 of the source is there, and issue 5 where the forge has issues."""

    def __init__(self, folder: Path, stack: ExitStack, kind: str) -> None:
        super().__init__(folder, stack, kind)
        self.settings["feedback"] = True
        self.source.commit({"login": "1"}, "Log in")
        self.open_source_pull("login")
        self.forge.issue(5, project=SOURCE)

    def open_source_pull(self, name: str) -> None:
        main, self.source.branch = self.source.branch, name
        self.source.commit({name: "2"}, name, base=self.forge.projects[SOURCE].tip(main))
        self.source.branch = main
        self.forge.open(name, title=name, project=SOURCE)

    @property
    def login(self) -> str:
        """The message of the merge of pull request 1."""
        return {
            "gitlab": f"Log in\n\nSee merge request {SOURCE}!1\n\nCloses #5",
            "bitbucket": "Merged in login (pull request #1)",
        }.get(self.forge.kind, "Log in (#1)\n\nFixes #5")

    def lines(self, number: int = 1) -> list[str]:
        """The lines of our only comment there."""
        (said,) = self.comments(number)
        first, empty, *lines = said.body.rstrip("\n").split("\n")
        assert (first, empty) == (MARKER, "")
        return lines

    def link(self, commit: str | None = None) -> str:
        forge = self.app.forges[self.forge.host]
        return forge.commit_page("acme/shop", commit or str(self.repo.tip()))


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[FeedbackStage]:
    with ExitStack() as stack:
        yield FeedbackStage(tmp_path, stack, "github")


@pytest.fixture(params=KINDS)
def any_stage(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[FeedbackStage]:
    with ExitStack() as stack:
        yield FeedbackStage(tmp_path, stack, request.param)


def test_pull_requests_and_issues_are_told(any_stage: FeedbackStage) -> None:
    stage = any_stage
    stage.at("1.4.2")
    stage.settle()
    stage.release("1.4.3", stage.login)
    stage.settle()
    line = f"- `web` `1.4.3` is in `shop`: {stage.link()}"
    assert stage.lines() == [line]
    if stage.forge.kind != "bitbucket":
        (said,) = stage.comments(5, issue=True)
        assert line in said.body
    made = stage.forge.projects[SOURCE].deployments
    if stage.forge.kind in ("github", "gitlab"):
        (deployment,) = made
        assert (deployment["ref"], deployment["environment"]) == (stage.revisions["1.4.3"], "shop")
    else:
        assert made == []
    stage.forge.forget()
    stage.run()
    stage.settle()
    assert stage.forge.calls == []


def test_who_finds_the_release_on_the_branch_tells_nobody(stage: FeedbackStage) -> None:
    stage.at("1.4.2")
    stage.release("1.4.3", stage.login)
    stage.settle()
    stage.lose_state()
    stage.forge.forget()
    stage.run()
    stage.settle()
    assert stage.forge.calls == []


def test_nobody_is_told_unless_it_is_wanted(stage: FeedbackStage) -> None:
    stage.settings["feedback"] = False
    stage.at("1.4.2")
    stage.release("1.4.3", stage.login)
    stage.settle()
    assert stage.asked_of_source("POST") == []


def test_the_comment_is_edited_at_the_next_environment(any_stage: FeedbackStage) -> None:
    stage = any_stage
    stage.at("1.4.2")
    stage.release("1.4.3", stage.login)
    stage.settle()
    first = stage.link()
    stage.lose_state()
    stage.commit(stage.second("1.4.2", "live", "environment: production\n"))
    assert stage.outcomes()["live"].reason.code == "released/pushed"
    stage.settle()
    assert stage.lines() == [
        f"- `web` `1.4.3` is in `shop`: {first}",
        f"- `live` `1.4.3` is in `production`: {stage.link()}",
    ]


def test_a_rollback_is_told_in_its_place(stage: FeedbackStage) -> None:
    stage.at("1.4.2")
    stage.release("1.4.3", stage.login)
    act(stage.cycle, Request("rollback", "Ann", "crashes", "web"), Terms())
    stage.settle()
    assert stage.lines() == [f"- `web` was rolled back from `1.4.3` in `shop`: {stage.link()}"]
    last = stage.forge.projects[SOURCE].deployments[-1]
    assert last["ref"] == stage.revisions["1.4.2"]


def test_a_merged_pull_request_is_told_when_it_is_merged(any_stage: FeedbackStage) -> None:
    stage = any_stage
    stage.at("1.4.2", keys=PR)
    stage.build("1.4.3", stage.login)
    stage.run()
    stage.settle()
    assert stage.asked_of_source("POST") == []
    stage.stop()
    tip = stage.forge.merge(stage.pull.number, "merge")
    stage.run()
    stage.settle()
    assert stage.lines() == [f"- `web` `1.4.3` is in `shop`: {stage.link(tip)}"]


def test_a_merge_whose_branch_the_forge_deletes_is_told(stage: FeedbackStage) -> None:
    stage.at("1.4.2", keys=PR)
    stage.build("1.4.3", stage.login)
    stage.run()
    tip = stage.forge.merge(stage.pull.number, "squash", delete_branch=True)
    stage.run()
    stage.settle()
    assert stage.lines() == [f"- `web` `1.4.3` is in `shop`: {stage.link(tip)}"]


def test_a_pull_request_that_is_closed_is_not_told_of(stage: FeedbackStage) -> None:
    stage.at("1.4.2", keys=PR)
    stage.build("1.4.3", stage.login)
    stage.run()
    stage.forge.close(stage.pull.number)
    stage.now += timedelta(hours=2)
    stage.run()
    stage.settle()
    assert stage.asked_of_source("POST") == []


# -- whom it does not concern ----------------------------------------------------------------------------


def test_other_projects_are_never_written_to(stage: FeedbackStage) -> None:
    other = stage.forge.project("acme/other", {"README.md": "another\n"})
    assert other.tip()
    stage.forge.issue(9, project="acme/other")
    stage.at("1.4.2")
    record = stage.release("1.4.3", "See acme/other#9 and SHOP-1")
    assert record.refs == ("acme/other#9", "SHOP-1")
    stage.settle()
    assert stage.forge.count("/acme/other/") == 0


def test_strangers_whose_images_we_run_are_told_nothing_unless_they_are_named(stage: FeedbackStage) -> None:
    stage.forge.project("bob/lib", {"README.md": "not ours\n"})
    stage.build("1.4.2", project="bob/lib")
    stage.commit(stage.workload("web", "1.4.2"))
    stage.run()
    stage.build("1.4.3", project="bob/lib")
    assert stage.outcomes()["web"].reason.code == "released/pushed"
    stage.settle()
    written = [call for call in stage.forge.calls if call.method != "GET" and "/bob/lib/" in call.path]
    assert written == []
    stage.settings["feedback_to"] = [f"{stage.forge.host}/bob"]
    stage.stop()
    stage.build("1.4.4", project="bob/lib")
    assert stage.outcomes()["web"].reason.code == "released/pushed"
    stage.settle()
    assert any(c.path.endswith("/bob/lib/deployments") for c in stage.forge.calls if c.method == "POST")


def test_a_number_that_is_not_there_costs_nothing_but_itself(stage: FeedbackStage) -> None:
    stage.at("1.4.2")
    stage.release("1.4.3", "Log in (#1), not #4711")
    stage.settle()
    assert len(stage.lines()) == 1
    stage.forge.forget()
    stage.now += timedelta(hours=5)
    stage.settle()
    assert stage.forge.calls == []


# -- a forge in trouble ----------------------------------------------------------------------------------


def test_what_a_forge_refuses_for_now_waits_over_a_restart(stage: FeedbackStage) -> None:
    stage.at("1.4.2")
    stage.forge.limit(120, on="/comments", times=9)
    stage.release("1.4.3", stage.login)
    link = stage.link()
    stage.settle()
    assert stage.comments(1) == []
    stage.stop()
    stage.forge.mend()
    stage.now += timedelta(minutes=10)
    assert stage.app.feedback.settle(20)
    assert stage.lines() == [f"- `web` `1.4.3` is in `shop`: {link}"]


def test_it_is_given_up_after_a_day(stage: FeedbackStage) -> None:
    stage.at("1.4.2")
    told: list[str] = []
    stage.app.feedback.warn = lambda why: told.append(why.code)
    stage.forge.fail(503, on=f"/{SOURCE}/issues", times=10_000)
    stage.release("1.4.3", stage.login)
    for _ in range(30):
        stage.settle()
        stage.now += timedelta(hours=1)
    stage.settle()
    assert "feedback/given-up" in told
    stage.forge.mend()
    stage.forge.forget()
    stage.now += timedelta(days=2)
    stage.settle()
    assert stage.forge.calls == []


def test_a_cycle_waits_for_no_comment(stage: FeedbackStage) -> None:
    stage.at("1.4.2")
    stage.forges[stage.forge.host]["timeout"] = "2s"
    stage.stop()
    stage.forge.fail(silent=True, on="/comments", times=99)
    stage.release("1.4.3", stage.login)
    assert stage.comments(1) == []
    stage.forge.over.set()
    stage.forge.mend()


def test_a_comment_like_ours_that_we_may_not_edit_is_left_alone(stage: FeedbackStage) -> None:
    line = "- `web` `1.4.1` is in `shop`: https://github.com/bob/shop/commit/1"
    stage.forge.say(1, f"{MARKER}\n\n{line}", by="bob", project=SOURCE)
    stage.at("1.4.2")
    stage.forge.fail(403, on="PATCH", times=1, body='{"message": "Forbidden"}')
    stage.release("1.4.3", stage.login)
    stage.settle()
    bobs, ours = stage.comments(1)
    assert "1.4.1" in bobs.body
    assert "`1.4.3` is in `shop`" in ours.body


def test_what_a_person_wrote_is_never_written_over(any_stage: FeedbackStage) -> None:
    stage = any_stage
    words = f"{MARKER}\n\nDear all, this is what I think"
    stage.forge.say(1, words, by="bob", project=SOURCE)
    stage.at("1.4.2")
    stage.release("1.4.3", stage.login)
    stage.settle()
    bobs, ours = stage.comments(1)
    assert bobs.body == words
    assert "`1.4.3` is in `shop`" in ours.body


def test_a_merge_that_the_forge_could_not_be_asked_of_is_told_after_a_restart(stage: FeedbackStage) -> None:
    stage.at("1.4.2", keys=PR)
    stage.build("1.4.3", stage.login)
    stage.run()
    tip = stage.forge.merge(stage.pull.number, "squash", delete_branch=True)
    stage.forge.fail(503, on="/pulls/", times=999)
    stage.run()
    stage.settle()
    stage.stop()
    stage.forge.mend()
    stage.now += timedelta(minutes=30)
    assert stage.app.feedback.settle(20)
    assert stage.lines() == [f"- `web` `1.4.3` is in `shop`: {stage.link(tip)}"]


def test_several_workloads_of_one_source_are_one_comment_and_one_call(stage: FeedbackStage) -> None:
    stage.at("1.4.2")
    stage.commit(stage.second("1.4.2"))
    stage.forge.limit(120, on="/comments", times=9)
    stage.build("1.4.3", stage.login)
    stage.run()
    stage.settle()
    stage.forge.mend()
    stage.forge.forget()
    stage.now += timedelta(minutes=10)
    stage.settle()
    assert len(stage.lines()) == 2
    written = [call for call in stage.asked_of_source("POST") if call.path.endswith("/issues/1/comments")]
    assert len(written) == 1
    assert stage.asked_of_source("PATCH") == []


def test_a_project_that_we_may_not_write_to_is_not_asked_again_for_each(stage: FeedbackStage) -> None:
    for number in range(100, 115):
        stage.forge.issue(number, project=SOURCE)
    stage.at("1.4.2")
    stage.forge.fail(403, on="POST", times=10_000, body='{"message": "Forbidden"}')
    stage.release("1.4.3", "Much\n\n" + " ".join(f"#{n}" for n in range(100, 115)))
    stage.settle()
    assert len(stage.asked_of_source("POST")) <= 2  # of 15 comments and a deployment


def test_whoever_is_dropped_is_said(stage: FeedbackStage) -> None:
    told: list[str] = []
    feedback = stage.app.feedback
    feedback.warn = lambda why: told.append(why.sentence)
    stage.forge.fail(silent=True, times=999)
    notice = Notice(
        Place(stage.forge.kind, stage.forge.host, SOURCE),
        "",
        tuple(f"{SOURCE}#{n}" for n in range(1, 600)),
        "web", "shop", "release", "1.4.2", "1.4.3", stage.link(),
    )  # fmt: skip
    feedback.tell([notice])
    feedback.tell([notice._replace(workload="api")])
    assert f"{SOURCE}#1 is not told of web 1.4.3 in shop: more than 1000 wait" in told
    stage.forge.over.set()
    stage.forge.mend()


@pytest.mark.parametrize(
    "kept", [b"junk", b"[]", b"{}", b"[[1]]", b'[[["a", "h", "p"], ["", []], "", "", "", 0]]']
)
def test_an_outbox_of_another_version_is_begun_anew(stage: FeedbackStage, kept: bytes) -> None:
    for key in ("outbox", "proposed"):
        stage.app.store.put("feedback", key, kept)
    stage.app.store.put("source-changes", "answers", kept)
    stage.stop()
    stage.at("1.4.2")
    stage.release("1.4.3", stage.login)
    stage.settle()
    assert len(stage.lines()) == 1


# -- twice, and what people ask for ----------------------------------------------------------------------


@pytest.mark.parametrize("loses_state", [False, True], ids=["one automator", "a command beside the daemon"])
def test_what_a_command_proposed_is_told_when_it_is_merged(stage: FeedbackStage, loses_state: bool) -> None:
    stage.at("1.4.2", keys=PR)
    stage.build("1.4.3", stage.login)
    act(stage.cycle, Request("release", "Ann", "now", "web", "1.4.3"), Terms())
    if loses_state:
        stage.lose_state()
    stage.run()
    tip = stage.forge.merge(stage.pull.number, "squash", delete_branch=True)
    stage.run()
    stage.settle()
    assert stage.lines() == [f"- `web` `1.4.3` is in `shop`: {stage.link(tip)}"]
    act(stage.cycle, Request("rollback", "Ann", "crashes", "web"), Terms())
    if loses_state:
        stage.lose_state()
    stage.run()
    tip = stage.forge.merge(stage.pull.number, "squash")
    stage.run()
    stage.settle()
    assert stage.lines() == [f"- `web` was rolled back from `1.4.3` in `shop`: {stage.link(tip)}"]


@pytest.mark.parametrize("kind", ["github", "gitlab"])
def test_a_deployment_whose_answer_got_lost_is_recorded_once(tmp_path: Path, kind: str) -> None:
    with ExitStack() as stack:
        stage = FeedbackStage(tmp_path, stack, kind)
        stage.at("1.4.2")
        on = "/statuses" if kind == "github" else f"POST /api/v4/projects/{SOURCE.replace('/', '%2F')}/deploy"
        stage.forge.fail(502, on=f"{on}" if kind == "gitlab" else "/deployments/", done=kind == "gitlab")
        stage.release("1.4.3", stage.login)
        stage.settle()
        stage.now += timedelta(minutes=10)
        stage.settle()
        assert stage.forge.count(" 502") == 1
        (made,) = stage.forge.projects[SOURCE].deployments
        states = made.get("states", [{"state": made.get("status")}])
        assert [one["state"] for one in states] == ["success"]
        act(stage.cycle, Request("rollback", "Ann", "crashes", "web"), Terms())
        act(stage.cycle, Request("release", "Ann", "again", "web", "1.4.3", force=True), Terms())
        stage.settle()
        assert len(stage.forge.projects[SOURCE].deployments) == 3


def test_two_comments_of_the_same_moment_become_one(any_stage: FeedbackStage) -> None:
    stage = any_stage
    stage.at("1.4.2")
    stage.release("1.4.3", stage.login)
    stage.settle()
    ours, other = stage.lines()[0], f"- `api` `2.0.0` is in `shop`: {stage.link()}"
    author = stage.comments(1)[0].author
    stage.forge.say(1, f"{MARKER}\n\n{other}", by=author, project=SOURCE)
    stage.forge.say(1, f"{MARKER}\n\n{other}", by="bob", project=SOURCE)
    stage.build("1.4.4", stage.login)
    stage.run()
    stage.settle()
    mine, bobs = stage.comments(1)
    assert bobs.body == f"{MARKER}\n\n{other}"
    assert other in mine.body
    assert (ours in mine.body, "`web` `1.4.4` is in `shop`" in mine.body) == (False, True)


def test_a_downgrade_is_told_as_one(stage: FeedbackStage) -> None:
    stage.at("1.4.2")
    stage.release("1.4.3", stage.login)
    keys = 'semver: ">=1.0 <1.4.3"\ndowngrade: true'
    stage.commit({"policies/web.yaml": stage.workload("web", "1.4.3", keys=keys)["policies/web.yaml"]})
    assert stage.outcomes()["web"].reason.code == "released/pushed"
    stage.settle()
    assert stage.lines() == [f"- `web` was moved down from `1.4.3` to `1.4.2` in `shop`: {stage.link()}"]
