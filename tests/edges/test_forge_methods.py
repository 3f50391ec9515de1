"""What is asked of every forge, asked of each kind: the answers say what is there, whoever is asked.

Each kind is held to its published description by its server, which refuses what does not fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from parts.forge_field import KINDS, NOON, SHOP, Field, code, make_field, refusal
from parts.gitserver import git
from parts.registry import HostileServer, always, json_reply

from automator.core.forge import CommitStatus, Deployment, PullDraft
from automator.edges.forge import ForgeSettings
from automator.edges.forge.opening import open_forge
from automator.edges.http import Outside

pytestmark = pytest.mark.slow  # much of it waits: together they take minutes

NOWHERE = "0" * 40
WITH_LABELS = [kind for kind in KINDS if kind != "bitbucket"]


@pytest.fixture(params=KINDS)
def field(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Field]:
    made = make_field(request.param, tmp_path)
    with made.forge:
        yield made
        made.client.close()
        assert made.forge.undescribed == [], "every request is one that the description knows"


def only(*kinds: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("field", kinds, indirect=True)


# -- pull requests ------------------------------------------------------------------------------------------


def test_what_is_opened_can_be_read_again_by_another_replica(field: Field) -> None:
    tip = field.branch("automator/web")
    draft = PullDraft("automator/web", "main", "Release web 2", "It is newer.\n\nRelease-Kind: release")
    opened = field.client.open_pull_request(SHOP, draft)
    assert (opened.head, opened.base, opened.title) == ("automator/web", "main", "Release web 2")
    assert (opened.head_commit, opened.state, opened.draft) == (tip, "open", False)
    assert opened.body == "It is newer.\n\nRelease-Kind: release"
    assert opened.warnings == ()
    assert opened.author == "automator"
    again = field.another_client()
    assert again.pull_request(SHOP, opened.number) == opened
    assert again.pull_requests(SHOP, head="automator/web", base="main") == (opened,)


def test_a_pull_request_has_a_page_on_the_forge(field: Field) -> None:
    url = field.client.pull_request(SHOP, field.open()).url
    assert url.startswith(f"http://{field.forge.host}/{SHOP}/")
    assert url.endswith("/1")


def test_pages_of_commits_and_comparisons_have_the_ids_in_them(field: Field) -> None:
    a, b = "a" * 40, "b" * 40
    assert field.client.page(SHOP) == f"http://{field.forge.host}/{SHOP}"
    assert field.client.commit_page(SHOP, a).startswith(field.client.page(SHOP))
    assert field.client.commit_page(SHOP, a).endswith(a)
    assert field.client.commit_page(SHOP, a) == field.client.commit_page(SHOP, "") + a, "pages add ids to it"
    compared = field.client.compare_page(SHOP, a, b)
    assert a in compared
    assert b in compared


def test_the_page_of_a_file_has_commit_path_and_line(field: Field) -> None:
    commit = "a" * 40
    page = field.client.file_page(SHOP, commit, "apps/web #1.yaml", 12)
    assert page.startswith(field.client.page(SHOP))
    assert f"{commit}/apps/web%20%231.yaml#" in page
    assert page.endswith("12")


def test_a_second_pull_request_for_a_branch_is_a_conflict(field: Field) -> None:
    field.open()
    draft = PullDraft("automator/web", "main", "Again", "")
    error = refusal(lambda: field.client.open_pull_request(SHOP, draft))
    assert error.reason.code == "forge/conflict"
    assert error.retry
    assert len(field.forge.pulls) == 1


def test_a_branch_that_is_not_there_is_refused_in_the_forges_words(field: Field) -> None:
    draft = PullDraft("automator/nothing", "main", "T", "B")
    error = refusal(lambda: field.client.open_pull_request(SHOP, draft))
    assert error.reason.code in ("forge/refused", "forge/not-found")
    assert "HTTP 4" in error.reason.sentence
    assert not error.retry


def test_pull_requests_are_found_by_branch_prefix_base_and_state(field: Field) -> None:
    field.forge.only().set_branch("stable", field.repo.tip())
    for head in ("automator/web", "automator/api", "ann/fix"):
        field.branch(head)
        field.client.open_pull_request(SHOP, PullDraft(head, "main", head, ""))
    field.client.close_pull_request(SHOP, 2)
    field.forge.merge(3)

    def heads(**asked: object) -> list[str]:
        return [pull.head for pull in field.client.pull_requests(SHOP, **asked)]  # type: ignore[arg-type]

    assert heads() == ["automator/web"]
    assert heads(state="all") == ["ann/fix", "automator/api", "automator/web"]
    assert heads(state="closed") == ["ann/fix", "automator/api"]
    assert heads(head="automator/", state="all") == ["automator/api", "automator/web"]
    assert heads(head="automator/api", state="all") == ["automator/api"]
    assert heads(head="automator/a", state="all") == [], "a name is a name, not a beginning of one"
    assert heads(base="main") == ["automator/web"]
    assert heads(base="stable") == []
    assert heads(state="all", limit=2) == ["ann/fix", "automator/api"]


def test_what_is_merged_says_when_by_whom_and_as_what(field: Field) -> None:
    number = field.open()
    field.wait(3600)
    tip = field.forge.merge(number, by="ann")
    merged = field.client.pull_request(SHOP, number)
    assert (merged.state, merged.merged_by, merged.merge_commit) == ("merged", "ann", tip)
    assert merged.merged_at == NOON + timedelta(hours=1)


@pytest.mark.parametrize("how", ["merge", "squash", "rebase"])
def test_the_merge_commit_is_on_the_base_whatever_the_way(field: Field, how: str) -> None:
    number = field.open()
    field.repo.commit({"a": "2\n"}, "Meanwhile")
    field.forge.merge(number, how=how)  # type: ignore[arg-type]
    merged = field.client.pull_request(SHOP, number)
    assert merged.merge_commit == field.repo.tip()


def test_an_open_one_has_no_merge_commit_even_where_the_forge_tried_one(field: Field) -> None:
    number = field.open()
    assert field.client.pull_request(SHOP, number).merge_commit is None
    assert field.client.pull_requests(SHOP)[0].merge_commit is None
    field.client.close_pull_request(SHOP, number)
    closed = field.client.pull_request(SHOP, number)
    assert (closed.state, closed.merge_commit, closed.merged_at) == ("closed", None, None)


def test_new_commits_on_the_branch_show_in_the_pull_request(field: Field) -> None:
    number = field.open()
    before = field.client.pull_request(SHOP, number).head_commit
    tip = field.branch("automator/web", "Another")
    after = field.client.pull_request(SHOP, number).head_commit
    assert before != after == tip


def test_title_and_body_are_changed_and_nothing_else(field: Field) -> None:
    number = field.open(labels=("release",) if field.forge.kind != "bitbucket" else ())
    before = field.client.pull_request(SHOP, number)
    changed = field.client.update_pull_request(SHOP, number, title="Release web 3", body="Newer still.")
    assert changed == replace(before, title="Release web 3", body="Newer still.")
    only_title = field.client.update_pull_request(SHOP, number, title="Release web 4")
    assert only_title.body == "Newer still."
    only_body = field.client.update_pull_request(SHOP, number, body="B")
    assert (only_body.title, only_body.body) == ("Release web 4", "B")
    assert field.client.pull_request(SHOP, number) == only_body


def test_reviewers_stay_when_the_words_change(field: Field) -> None:
    number = field.open(reviewers=("ann",))
    field.client.update_pull_request(SHOP, number, title="Other", body="Words")
    assert field.forge.pulls[number].reviewers == ["ann"]


def test_the_base_is_changed_to_a_branch_that_is_there(field: Field) -> None:
    number = field.open()
    field.forge.only().set_branch("stable", field.repo.commits()[-1])
    assert field.client.update_pull_request(SHOP, number, base="stable").base == "stable"
    error = refusal(lambda: field.client.update_pull_request(SHOP, number, base="nowhere"))
    assert error.reason.code in ("forge/refused", "forge/not-found")


def test_a_long_title_is_cut_rather_than_refused(field: Field) -> None:
    number = field.open(title="x" * 400)
    assert 200 < len(field.forge.pulls[number].title) <= 255


def test_a_draft_is_a_draft_and_its_title_is_its_title(field: Field) -> None:
    number = field.open(draft=True)
    pull = field.client.pull_request(SHOP, number)
    assert pull.draft
    assert pull.title == "Release web 2"
    assert field.forge.pulls[number].draft
    changed = field.client.update_pull_request(SHOP, number, title="Release web 3")
    assert (changed.draft, changed.title) == (True, "Release web 3")
    assert field.forge.pulls[number].draft, "a new title makes nothing ready that a person has not"


@only("github")
def test_where_there_are_no_drafts_it_is_opened_without_and_said_so(field: Field) -> None:
    field.branch("automator/web")
    body = '{"message": "Draft pull requests are not supported in this repository."}'
    field.forge.fail(422, on="POST /api/v3/repos/acme/shop/pulls", body=body)
    draft = PullDraft("automator/web", "main", "T", "B", draft=True)
    opened = field.client.open_pull_request(SHOP, draft)
    assert not opened.draft
    assert [one.code for one in opened.warnings] == ["forge/draft"]


def test_a_strangers_fork_with_a_branch_of_our_name_is_never_taken_for_ours(field: Field) -> None:
    tip = field.branch("automator/web")
    field.forge.only().set_branch("automator/web", None)
    git(field.repo.path, "update-ref", "refs/forks/mallory/automator/web", tip)
    field.forge.open("automator/web", title="Release web 2", by="mallory", fork="mallory")
    assert field.client.pull_requests(SHOP, head="automator/web", state="all") == ()
    assert field.client.pull_requests(SHOP, head="automator/", state="all") == ()
    (stranger,) = field.client.pull_requests(SHOP)
    assert stranger.head.endswith(":automator/web")
    assert field.client.pull_request(SHOP, 1).head == stranger.head


def test_a_strangers_fork_that_is_gone_costs_only_itself(tmp_path: Path) -> None:
    def pull(number: int, **source: object) -> dict[str, object]:
        branch = {"name": "automator/web"}
        base = {"repository": {"full_name": SHOP}, "branch": {"name": "main"}}
        told = {"branch": branch, **source}
        return {"id": number, "title": "T", "state": "OPEN", "source": told, "destination": base}

    ours = {"repository": {"full_name": SHOP}, "commit": {"hash": "a" * 40}}
    listed = [pull(9, repository=None, commit=None), pull(8, **ours)]
    with HostileServer(always(json_reply({"values": listed}))) as server:
        (tmp_path / "token").write_text("token-of-ours")
        settings = ForgeSettings(
            server.host, "bitbucket", f"http://{server.host}/2.0", token_file=str(tmp_path / "token")
        )
        client = open_forge(settings, outside=Outside(), clock=lambda: NOON)
        (found,) = client.pull_requests(SHOP, head="automator/web")
        assert (found.number, found.head_commit) == (8, "a" * 40)
        client.close()


def test_what_was_merged_is_found_by_its_branch_after_the_branch_is_deleted(field: Field) -> None:
    number = field.open()
    field.forge.merge(number, delete_branch=True)
    found = field.client.pull_requests(SHOP, head="automator/web", state="all")
    assert [(pull.number, pull.head, pull.state) for pull in found] == [(number, "automator/web", "merged")]


def test_closing_closes_and_a_closed_one_stays_closed(field: Field) -> None:
    number = field.open()
    field.client.close_pull_request(SHOP, number)
    assert field.forge.pulls[number].state == "closed"
    assert field.client.pull_request(SHOP, number).closed_at == NOON
    assert field.client.pull_requests(SHOP) == ()


# -- labels and reviewers -----------------------------------------------------------------------------------


@only(*WITH_LABELS)
def test_labels_are_set_and_made_where_they_are_missing(field: Field) -> None:
    field.forge.only().labels["known"] = 7
    number = field.open(labels=("known", "new one"))
    assert field.forge.pulls[number].labels == ["known", "new one"]
    assert field.client.pull_request(SHOP, number).labels == ("known", "new one")


@only("bitbucket")
def test_a_label_where_there_are_none_costs_only_itself(field: Field) -> None:
    field.branch("automator/web")
    draft = PullDraft("automator/web", "main", "T", "B", labels=("release",))
    opened = field.client.open_pull_request(SHOP, draft)
    assert [one.code for one in opened.warnings] == ["forge/label"]


@only(*WITH_LABELS)
def test_a_refused_label_costs_only_itself(field: Field) -> None:
    field.branch("automator/web")
    path = {"gitlab": "PUT /api/v4", "github": "/labels"}.get(field.forge.kind, "/labels")
    field.forge.fail(403, on=path, times=9)
    draft = PullDraft("automator/web", "main", "T", "B", labels=("release",), reviewers=())
    opened = field.client.open_pull_request(SHOP, draft)
    assert opened.number == 1
    assert opened.labels == ()
    assert [one.code for one in opened.warnings] == ["forge/label"]


def test_reviewers_are_asked_and_an_unknown_one_costs_only_itself(field: Field) -> None:
    field.branch("automator/web")
    draft = PullDraft("automator/web", "main", "T", "B", reviewers=("ann", "nobody", "bob"))
    opened = field.client.open_pull_request(SHOP, draft)
    assert sorted(field.forge.pulls[1].reviewers) == ["ann", "bob"]
    assert [one.code for one in opened.warnings] == ["forge/reviewer"]
    assert "nobody" in opened.warnings[0].sentence


def test_a_reviewer_without_access_is_told(field: Field) -> None:
    field.forge.only().reviewers = {"bob"}
    field.branch("automator/web")
    draft = PullDraft("automator/web", "main", "T", "B", reviewers=("ann", "bob"))
    opened = field.client.open_pull_request(SHOP, draft)
    assert field.forge.pulls[1].reviewers == ["bob"]
    assert ["ann" in one.sentence for one in opened.warnings] == [True]


@only("github", "gitea", "forgejo")
def test_a_team_is_asked_by_its_own_name(field: Field) -> None:
    field.forge.user("reviewers")
    number = field.open(reviewers=("acme/reviewers",))
    assert field.forge.pulls[number].reviewers == ["reviewers"]
    call = next(call for call in field.forge.calls if "requested_reviewers" in call.path)
    assert call.body == {"team_reviewers": ["reviewers"]}


# -- merging, approvals -------------------------------------------------------------------------------------


@only("github", "gitlab", "gitea", "forgejo")
def test_the_forge_is_told_to_merge_that_commit_once_its_checks_pass(field: Field) -> None:
    number = field.open()
    tip = field.client.pull_request(SHOP, number).head_commit
    assert code(lambda: field.client.merge_when_ready(SHOP, number, NOWHERE)) == "forge/conflict"
    assert not field.forge.pulls[number].merge_when_ready
    field.client.merge_when_ready(SHOP, number, tip)
    assert field.forge.pulls[number].merge_when_ready


@only("github")
def test_where_auto_merge_is_not_allowed_it_is_unsupported(field: Field) -> None:
    field.forge.dialect.automerge_allowed = False  # type: ignore[attr-defined]
    number = field.open()
    tip = field.client.pull_request(SHOP, number).head_commit
    error = refusal(lambda: field.client.merge_when_ready(SHOP, number, tip))
    assert error.reason.code == "forge/unsupported"
    assert "Auto merge is not allowed" in error.reason.sentence


@only("github")
def test_where_nothing_is_left_to_wait_for_it_is_merged_at_once(field: Field) -> None:
    number = field.open()
    tip = field.client.pull_request(SHOP, number).head_commit
    words = '{"data": null, "errors": [{"message": "Pull request Pull request is in clean status"}]}'
    field.forge.fail(200, on="/graphql", body=words)
    field.client.merge_when_ready(SHOP, number, tip)
    assert field.forge.pulls[number].state == "merged"


@only("bitbucket")
def test_a_forge_without_auto_merge_says_so(field: Field) -> None:
    error = refusal(lambda: field.client.merge_when_ready(SHOP, field.open(), NOWHERE))
    assert error.reason.code == "forge/unsupported"
    assert not error.retry


def test_approvals_name_who_approved(field: Field) -> None:
    number = field.open()
    assert field.client.approvals(SHOP, number) == ()
    field.forge.approve(number, by="ann")
    field.forge.approve(number, by="bob")
    assert sorted(field.client.approvals(SHOP, number)) == ["ann", "bob"]


def test_pull_requests_of_a_commit_are_those_that_brought_it(field: Field) -> None:
    number = field.open()
    tip = field.client.pull_request(SHOP, number).head_commit
    assert field.client.pull_requests_of(SHOP, tip) == (), "an open one has brought nothing yet"
    merged = field.forge.merge(number, how="squash")
    assert [pull.number for pull in field.client.pull_requests_of(SHOP, merged)] == [number]
    first = field.repo.commits()[-1]
    assert field.client.pull_requests_of(SHOP, first) == ()


# -- comments -----------------------------------------------------------------------------------------------


def test_comments_are_written_read_in_order_and_edited(field: Field) -> None:
    number = field.open()
    field.forge.say(number, "why?", by="ann")
    made = field.client.comment(SHOP, number, "web 2 is in staging", on="pull")
    assert [(one.author, one.body) for one in field.client.comments(SHOP, number)] == [
        ("ann", "why?"),
        ("automator", "web 2 is in staging"),
    ]
    field.client.edit_comment(SHOP, number, made.id, "web 2 is in production", on="pull")
    assert field.client.comments(SHOP, number)[-1] == replace(made, body="web 2 is in production")
    assert [said.body for said in field.forge.said(number)] == ["why?", "web 2 is in production"]


@only("github", "gitlab", "gitea", "forgejo")
def test_issues_have_comments_of_their_own(field: Field) -> None:
    field.forge.issue(42)
    made = field.client.comment(SHOP, 42, "in staging", on="issue")
    field.client.edit_comment(SHOP, 42, made.id, "in production", on="issue")
    assert [one.body for one in field.client.comments(SHOP, 42, on="issue")] == ["in production"]
    assert code(lambda: field.client.comment(SHOP, 43, "?", on="issue")) == "forge/not-found"


@only("bitbucket")
def test_issues_that_the_api_lacks_are_unsupported(field: Field) -> None:
    assert code(lambda: field.client.comment(SHOP, 1, "hm", on="issue")) == "forge/unsupported"


# -- commits ------------------------------------------------------------------------------------------------


def test_the_newest_status_of_each_context_counts(field: Field) -> None:
    tip = field.branch("automator/web")
    assert field.client.commit_statuses(SHOP, tip) == ()
    page = f"{field.client.page(SHOP)}/x"
    for state, words in (("pending", "reading"), ("success", "go: newest in range")):
        status = CommitStatus("automator", state, words, page)  # type: ignore[arg-type]
        field.client.set_commit_status(SHOP, tip, status)
    field.forge.set_status(tip, "kustomization/shop", "failure", "not ready")
    found = {status.context: status for status in field.client.commit_statuses(SHOP, tip)}
    assert found["automator"] == CommitStatus("automator", "success", "go: newest in range", page)
    assert found["kustomization/shop"].state == "failure"
    assert field.forge.statuses(tip)["automator"]["by"] == "automator"


def test_a_status_that_is_that_already_may_be_set_again(field: Field) -> None:
    tip = field.branch("automator/web")
    for _ in range(2):
        field.client.set_commit_status(SHOP, tip, CommitStatus("automator", "pending", "still reading"))
    assert [status.state for status in field.client.commit_statuses(SHOP, tip)] == ["pending"]


def test_a_long_description_is_cut_to_what_the_forge_takes(field: Field) -> None:
    tip = field.branch("automator/web")
    field.client.set_commit_status(SHOP, tip, CommitStatus("automator", "failure", "no: " + "x" * 500))
    told = field.forge.statuses(tip)["automator"]["description"]
    assert told.startswith("no: xx")
    assert len(told) <= 255


def test_commits_between_two_are_those_that_the_second_has_alone_newest_first(field: Field) -> None:
    base = field.repo.tip() or ""
    head = field.branch("feature", "First (#12)", "Second\n\nFixes ABC-123", "Third")
    commits, complete = field.client.commits_between(SHOP, base, head)
    assert [one.message for one in commits] == ["Third", "Second\n\nFixes ABC-123", "First (#12)"]
    assert complete
    assert commits[0].commit == head
    assert commits[0].time is not None
    assert commits[0].author in ("ann", "Ann Author")
    few, complete = field.client.commits_between(SHOP, base, head, limit=2)
    assert [one.message for one in few] == ["Third", "Second\n\nFixes ABC-123"]
    assert not complete
    assert field.client.commits_between(SHOP, head, head)[0] in ([], ())


def test_a_commit_that_the_forge_does_not_know_is_told(field: Field) -> None:
    head = field.branch("feature")
    assert code(lambda: field.client.commits_between(SHOP, NOWHERE, head)) == "forge/not-found"
    status = CommitStatus("automator", "success")
    assert code(lambda: field.client.set_commit_status(SHOP, NOWHERE, status)) in (
        "forge/not-found",
        "forge/refused",
    )


@only("github", "gitlab")
def test_deployments_are_recorded_with_state_and_environment(field: Field) -> None:
    tip = field.branch("feature")
    field.forge.set_status(tip, "ci", "failure")  # holds no record back
    field.client.record_deployment(SHOP, Deployment(tip, "production", "success", "web 2"))
    (made,) = field.forge.only().deployments
    assert made["sha"] == tip
    assert made["environment"] == "production"
    states = made.get("states", [{"state": made.get("status")}])
    assert [one["state"] for one in states] == ["success"]


@only("gitea", "forgejo", "bitbucket")
def test_deployments_that_a_forge_lacks_are_unsupported(field: Field) -> None:
    record = Deployment(NOWHERE, "production", "success")
    assert code(lambda: field.client.record_deployment(SHOP, record)) == "forge/unsupported"
    assert field.forge.calls == []


# -- long lists ---------------------------------------------------------------------------------------------


def test_lists_of_several_pages_are_read_to_their_end(field: Field) -> None:
    field.forge.longest_page = 3
    for i in range(8):
        field.open(f"automator/w{i}")
        field.forge.say(1, f"comment {i}", by="ann")
    found = field.client.pull_requests(SHOP)
    assert [pull.number for pull in found] == [8, 7, 6, 5, 4, 3, 2, 1]
    assert [one.body for one in field.client.comments(SHOP, 1)] == [f"comment {i}" for i in range(8)]
    field.forge.forget()
    assert [pull.number for pull in field.client.pull_requests(SHOP, limit=2)] == [8, 7]
    assert field.forge.count("/commit/") <= 2
    assert field.forge.count(f"/{'merge_requests' if field.forge.kind == 'gitlab' else 'pull'}") == 1


@only("gitlab", "gitea", "forgejo", "bitbucket")
def test_commits_of_several_pages_are_the_newest_ones(field: Field) -> None:
    field.forge.longest_page = 3
    base = field.repo.tip() or ""
    head = field.branch("feature", *[f"Commit {i}" for i in range(8)])
    commits, complete = field.client.commits_between(SHOP, base, head)
    assert [one.message for one in commits] == [f"Commit {i}" for i in reversed(range(8))]
    assert complete


@only("github")
def test_of_a_long_comparison_the_newest_commits_are_read_from_its_end(field: Field) -> None:
    base = field.repo.tip() or ""
    head = field.branch("feature", *[f"Commit {i}" for i in range(230)])
    field.forge.forget()
    commits, complete = field.client.commits_between(SHOP, base, head)
    assert [one.message for one in commits] == [f"Commit {i}" for i in reversed(range(230))]
    assert complete
    commits, complete = field.client.commits_between(SHOP, base, head, limit=120)
    assert [one.message for one in commits] == [f"Commit {i}" for i in reversed(range(110, 230))]
    assert not complete
    assert field.forge.count("/compare/") <= 6


@only("gitea")
def test_closed_ones_of_a_branch_are_found_among_many_and_by_their_changes_alone(field: Field) -> None:
    field.forge.longest_page = 5
    first = field.open()
    field.forge.close(first)
    for i in range(30):
        field.branch(f"people/{i}")
        field.forge.close(field.forge.open(f"people/{i}").number)
    field.wait(60)

    def states() -> list[tuple[int, str]]:
        found = field.client.pull_requests(SHOP, head="automator/web", state="all")
        return [(pull.number, pull.state) for pull in found]

    assert states() == [(first, "closed")]
    field.forge.forget()
    assert states() == [(first, "closed")]
    field.forge.reopen(first)
    field.wait(60)
    assert states() == [(first, "open")]
    field.forge.merge(first)
    field.wait(60)
    assert states() == [(first, "merged")]
    second = field.open()
    assert states() == [(second, "open"), (first, "merged")]
    field.forge.close(second)
    field.wait(60)
    assert states() == [(second, "closed"), (first, "merged")]
    assert field.client.pull_requests(SHOP, head="automator/web", state="closed", limit=1)[0].number == second


# -- projects in groups -------------------------------------------------------------------------------------


def test_a_project_in_sub_groups_is_one_name_on_gitlab(tmp_path: Path) -> None:
    field = make_field("gitlab", tmp_path, "acme/team/shop config")
    with field.forge:
        number = field.open()
        pull = field.client.pull_request(field.project, number)
        assert "/acme/team/shop%20config/-/merge_requests/1" in pull.url
        assert field.forge.undescribed == []


def test_times_are_told_in_utc(field: Field) -> None:
    number = field.open()
    field.forge.merge(number)
    merged_at = field.client.pull_request(SHOP, number).merged_at
    assert merged_at == datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
    assert merged_at is not None
    assert merged_at.utcoffset() == timedelta(0)
