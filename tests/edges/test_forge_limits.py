"""How much a forge is asked: limits are kept to, what is known costs nothing, nothing is done twice."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from parts.forge_field import KINDS, NOON, SHOP, Field, code, make_field, refusal

from automator.core.forge import PullDraft
from automator.errors import ForgeError

pytestmark = pytest.mark.slow  # much of it waits: together they take minutes


@pytest.fixture(params=KINDS)
def field(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Field]:
    made = make_field(request.param, tmp_path)
    with made.forge:
        yield made
        made.client.close()


def only(*kinds: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("field", kinds, indirect=True)


DRAFT = PullDraft("automator/web", "main", "T", "B")


# -- being limited ------------------------------------------------------------------------------------------


def test_who_asks_too_much_waits_as_long_as_the_forge_says_and_asks_nothing_meanwhile(field: Field) -> None:
    field.forge.limit(90)
    error = refusal(lambda: field.client.pull_requests(SHOP))
    assert error.reason.code == "forge/limited"
    assert error.reason.changes_at == NOON + timedelta(seconds=90)
    assert error.retry
    field.wait(60)
    later = refusal(lambda: field.client.open_pull_request(SHOP, DRAFT))
    assert later.reason.code == "forge/limited"
    assert later.reason.changes_at is not None
    assert abs(later.reason.changes_at - NOON - timedelta(seconds=90)) < timedelta(seconds=5)
    assert len(field.forge.calls) == 1
    field.wait(31)
    assert field.client.pull_requests(SHOP) == ()
    assert len(field.forge.calls) == 2


@only("github")
def test_a_used_up_allowance_ends_at_its_reset_by_the_forges_clock(field: Field) -> None:
    field.forge.allowance = 0
    field.forge.reset_at = NOON + timedelta(minutes=40)
    error = refusal(lambda: field.client.pull_requests(SHOP))
    assert error.reason.code == "forge/limited"
    assert error.reason.changes_at == NOON + timedelta(minutes=40)


@only("github")
def test_the_last_request_of_an_allowance_is_the_last_that_is_sent(field: Field) -> None:
    field.forge.allowance = 2
    field.forge.reset_at = NOON + timedelta(minutes=40)
    field.client.pull_requests(SHOP)
    assert field.client.pull_requests(SHOP, base="main") == (), "its answer is as good as any"
    assert code(lambda: field.client.pull_requests(SHOP, state="all")) == "forge/limited"
    assert len(field.forge.calls) == 2


@only("github")
def test_a_wrong_clock_of_ours_makes_no_long_wait(field: Field) -> None:
    forge_time = NOON + timedelta(hours=3)
    field.forge.clock = lambda: forge_time
    field.forge.allowance = 0
    field.forge.reset_at = forge_time + timedelta(minutes=5)
    error = refusal(lambda: field.client.pull_requests(SHOP))
    assert error.reason.changes_at == NOON + timedelta(minutes=5)


@only("github")
def test_a_secondary_limit_without_a_time_is_a_minute_and_longer_each_time(field: Field) -> None:
    words = json.dumps({"message": "You have exceeded a secondary rate limit."})
    waits = []
    for _ in range(3):
        field.forge.fail(403, body=words)
        error = refusal(lambda: field.client.pull_requests(SHOP))
        assert error.reason.code == "forge/limited"
        assert error.reason.changes_at is not None
        waits.append((error.reason.changes_at - field.now).total_seconds())
        field.wait(waits[-1] + 1)
    assert waits == [60, 120, 240]
    field.client.pull_requests(SHOP)
    field.forge.fail(429)
    error = refusal(lambda: field.client.pull_requests(SHOP))
    assert error.reason.changes_at == field.now + timedelta(seconds=60), "it begins anew once it was let in"


@only("github")
def test_a_missing_permission_is_no_limit(field: Field) -> None:
    field.forge.fail(403, body='{"message": "Resource not accessible by integration"}')
    assert code(lambda: field.client.pull_requests(SHOP)) == "forge/denied"
    assert field.client.pull_requests(SHOP) == ()


def test_an_outage_whose_end_is_told_is_waited_for(field: Field) -> None:
    field.forge.fail(503, headers={"Retry-After": "120"})
    error = refusal(lambda: field.client.pull_requests(SHOP))
    assert error.reason.code == "forge/limited"
    assert error.reason.changes_at == NOON + timedelta(minutes=2)


def test_nobody_has_us_wait_for_days(field: Field) -> None:
    field.forge.limit(10**8)
    error = refusal(lambda: field.client.pull_requests(SHOP))
    assert error.reason.changes_at is not None
    assert error.reason.changes_at <= NOON + timedelta(hours=2)


def test_a_limit_in_the_midst_of_opening_leaves_the_pull_request_open_and_says_what_is_missing(
    field: Field,
) -> None:
    field.branch("automator/web")
    path = "reviewers" if field.forge.kind == "bitbucket" else "labels"
    path = "PUT" if field.forge.kind == "gitlab" else path
    field.forge.limit(30, on=path)
    draft = PullDraft("automator/web", "main", "T", "B", labels=("release",), reviewers=("ann",))
    opened = field.client.open_pull_request(SHOP, draft)
    assert field.forge.pulls[opened.number].state == "open"
    assert sorted(one.code for one in opened.warnings) == ["forge/label", "forge/reviewer"]
    assert opened.lacks_extras


def test_what_a_limit_kept_from_a_pull_request_is_set_later_and_nothing_is_asked_twice(field: Field) -> None:
    field.branch("automator/web")
    reviewers = ("ann",)
    labels = () if field.forge.kind == "bitbucket" else ("release",)
    draft = PullDraft("automator/web", "main", "T", "B", labels=labels, reviewers=reviewers)
    path = {"bitbucket": "PUT", "gitlab": "PUT"}.get(field.forge.kind, "labels")
    field.forge.limit(30, on=path)
    number = field.client.open_pull_request(SHOP, draft).number
    pull = field.forge.pulls[number]
    assert (list(pull.labels), list(pull.reviewers)) == ([], [])
    assert code(lambda: field.client.complete_pull_request(SHOP, number, draft)) == "forge/limited"
    field.wait(31)
    assert field.client.complete_pull_request(SHOP, number, draft) == ()
    assert (tuple(pull.labels), tuple(pull.reviewers)) == (labels, reviewers)
    assert (pull.title, pull.body) == ("T", "B")
    field.forge.forget()
    assert field.client.complete_pull_request(SHOP, number, draft) == ()
    assert field.forge.count("POST") + field.forge.count("PUT") == 0


def test_what_a_person_gave_a_pull_request_stays_when_ours_is_added(field: Field) -> None:
    is_bitbucket = field.forge.kind == "bitbucket"
    number = field.open(reviewers=("ann",), labels=() if is_bitbucket else ("theirs",))
    labels = () if is_bitbucket else ("ours",)
    draft = PullDraft("automator/web", "main", "T", "B", labels=labels, reviewers=("bob",))
    assert field.client.complete_pull_request(SHOP, number, draft) == ()
    pull = field.forge.pulls[number]
    assert sorted(pull.reviewers) == ["ann", "bob"]
    assert sorted(pull.labels) == ([] if is_bitbucket else ["ours", "theirs"])


def test_what_the_forge_refuses_for_good_is_told_when_it_is_completed(field: Field) -> None:
    number = field.open()
    draft = PullDraft("automator/web", "main", "T", "B", reviewers=("nobody-here",))
    (told,) = field.client.complete_pull_request(SHOP, number, draft)
    assert told.code == "forge/reviewer"


@only("github")
def test_pacing_opens_a_pull_request_with_all_that_belongs_to_it_or_not_at_all(field: Field) -> None:
    for i in range(12):
        field.branch(f"automator/w{i}")

    def open_it(i: int) -> str:
        draft = PullDraft(f"automator/w{i}", "main", "T", "B", labels=("release",), reviewers=("ann",))
        try:
            return "whole" if not field.client.open_pull_request(SHOP, draft).warnings else "half"
        except ForgeError as error:
            return error.reason.code

    with ThreadPoolExecutor(6) as threads:
        ended = list(threads.map(open_it, range(12)))
    assert set(ended) == {"whole", "forge/limited"}
    assert len(field.forge.pulls) == ended.count("whole") >= 3


@only("github")
def test_a_burst_of_changes_is_slowed_and_nobody_is_held_for_long(field: Field) -> None:
    number = field.open()

    def change(i: int) -> tuple[float, str]:
        begun = time.monotonic()
        ended = "done"
        try:
            field.client.update_pull_request(SHOP, number, title=f"T{i}")
        except ForgeError as error:
            ended = error.reason.code
        return time.monotonic() - begun, ended

    with ThreadPoolExecutor(20) as threads:
        ended = list(threads.map(change, range(20)))
    done = [seconds for seconds, how in ended if how == "done"]
    assert 9 <= len(done) < 20, "ten at once, and a few that waited their turn"
    assert {how for _, how in ended} == {"done", "forge/limited"}
    assert field.forge.count("PATCH") == len(done)
    assert field.client.pull_request(SHOP, number), "questions go on"


# -- what is known already ----------------------------------------------------------------------------------


@only("github", "gitlab")
def test_what_has_not_changed_is_asked_for_by_its_tag_and_costs_nothing(field: Field) -> None:
    number = field.open()
    field.client.pull_requests(SHOP)
    first = field.client.pull_request(SHOP, number)
    field.forge.forget()
    assert field.client.pull_request(SHOP, number) == first
    assert [pull.number for pull in field.client.pull_requests(SHOP)] == [number]
    assert [call.status for call in field.forge.calls] == [304, 304]
    assert not any(call.counts for call in field.forge.calls)
    field.forge.close(number)
    assert field.client.pull_request(SHOP, number).state == "closed"


@only("github", "gitlab")
def test_pages_that_have_not_changed_still_lead_to_the_next_ones(field: Field) -> None:
    field.forge.longest_page = 2
    for i in range(5):
        field.open(f"automator/w{i}")
    first = field.client.pull_requests(SHOP)
    field.forge.forget()
    assert field.client.pull_requests(SHOP) == first
    assert [call.status for call in field.forge.calls] == [304, 304, 304]


# -- what is sent, and how often ----------------------------------------------------------------------------


def test_a_question_is_asked_once_more_where_the_connection_broke(field: Field) -> None:
    field.forge.fail(hang_up=True)
    assert field.client.pull_requests(SHOP) == ()
    assert len(field.forge.calls) == 2
    field.forge.fail(hang_up=True, times=2)
    error = refusal(lambda: field.client.pull_requests(SHOP))
    assert error.reason.code == "forge/unreachable"
    assert error.retry
    assert len(field.forge.calls) == 4


def test_a_change_whose_answer_is_lost_is_not_sent_again_and_can_be_found(field: Field) -> None:
    field.branch("automator/web")
    field.forge.fail(hang_up=True, done=True, on="POST")
    error = refusal(lambda: field.client.open_pull_request(SHOP, DRAFT))
    assert error.reason.code == "forge/unreachable"
    assert error.retry
    assert field.forge.count("POST") == 1
    assert [pull.number for pull in field.client.pull_requests(SHOP, head="automator/web")] == [1]


@pytest.mark.parametrize("status", [500, 502])
def test_a_failure_of_the_forge_is_told_in_a_sentence(field: Field, status: int) -> None:
    page = "<html><body>Bad Gateway</body></html>"
    field.forge.fail(status, body=page, headers={"Content-Type": "text/html"})
    error = refusal(lambda: field.client.pull_requests(SHOP))
    assert error.reason.code == "forge/unreachable"
    assert f"HTTP {status}" in error.reason.sentence
    assert "<html>" not in error.reason.sentence


def test_a_forge_that_does_not_answer_in_time_is_given_up(field: Field) -> None:
    hasty = field.another_client(timeout=0.5)
    field.forge.fail(silent=True)
    error = refusal(lambda: hasty.pull_requests(SHOP))
    assert error.reason.code == "forge/unreachable"
    assert "timeout" in error.reason.sentence
    assert len(field.forge.calls) == 1, "what is slow is not asked at once again"
    hasty.close()


def test_many_threads_share_a_client(field: Field) -> None:
    number = field.open()
    start = threading.Barrier(6)

    def ask(_: int) -> int:
        start.wait()
        return field.client.pull_request(SHOP, number).number

    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(ask, range(6))) == [number] * 6
