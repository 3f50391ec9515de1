"""Tag lists as registries really answer them: what is asked, how often, and what is believed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from parts.registry import (
    PLAIN,
    Behaviour,
    HostileServer,
    Received,
    Reply,
    always,
    json_reply,
    refusal,
)

from automator.core.facts import Unavailable
from automator.core.reference import Image, Repository
from automator.cycle.observe import Observer
from automator.edges.http import Answer
from automator.edges.registry import BodyLimits, RateLimited, RegistryClient
from automator.edges.registry.pages import Page, next_query
from automator.edges.registry.unfinished import (
    KEPT_BYTES,
    KEPT_FOR,
    KEPT_LISTS,
    Unfinished,
    UnfinishedLists,
)
from automator.edges.store import Store

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
BUILT = datetime(2026, 11, 20, 9, 14, 2, tzinfo=UTC)

Hostile = Callable[[Behaviour], HostileServer]
MakeClient = Callable[..., RegistryClient]


def numbered(count: int) -> list[str]:
    return [f"1.0.{i:05}" for i in range(count)]


class Pager:
    """A registry that pages by `n` and `last`, as the specification has it; `links` or forgets to."""

    def __init__(self, tags: list[str], *, links: bool) -> None:
        self.tags = tags
        self.links = links

    def __call__(self, request: Received) -> Reply:
        n = int(request.query["n"])
        rest = [t for t in self.tags if t > request.query.get("last", "")]
        more = self.links and len(rest) > n
        link = {"Link": f'<{request.path}?last={rest[n - 1]}&n={n}>; rel="next"'} if more else {}
        return json_reply({"tags": rest[:n]}, **link)


class Rationed:
    """A registry that gives so many pages at a time: by a 429, or by telling before that none is left."""

    def __init__(self, pager: Behaviour, allowed: int, *, tells: bool = False) -> None:
        self.pager = pager
        self.allowed = self.left = allowed
        self.tells = tells

    def __call__(self, request: Received) -> Reply:
        if self.left <= 0:
            return json_reply({"errors": [{"code": "TOOMANYREQUESTS"}]}, 429, Retry_After="60")
        self.left -= 1
        reply = self.pager(request)
        if not self.tells:
            return reply
        limits = {"RateLimit-Remaining": str(self.left), "RateLimit-Reset": "60"}
        return replace(reply, headers={**reply.headers, **limits})

    def renew(self) -> None:
        self.left = self.allowed


class Clock:
    """A monotonic clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


# -- more pages than are given at a time --------------------------------------------------------------


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("tells", [True, False])
def test_a_list_of_more_pages_than_are_given_at_a_time_is_read_to_its_end(
    hostile: Hostile, make_client: MakeClient, links: bool, tells: bool
) -> None:
    registry = Rationed(Pager(numbered(5500), links=links), 2, tells=tells)
    server, clock = hostile(registry), Clock()
    client = make_client(server.host, clock=clock)
    repository = Repository(server.host, "group/app")
    for page in (2, 4):
        error = refusal(lambda: client.tags(repository, now=NOW))
        assert isinstance(error, RateLimited)
        assert error.retry_after == 60
        assert error.reason.code == "registry/list-interrupted"
        assert f"its tag list is read to page {page}" in str(error)
        asked = len(server.received)
        error = refusal(lambda: client.tags(repository, now=NOW))  # an event, while it has to wait
        assert f"its tag list is read to page {page}" in str(error)
        assert len(server.received) == asked
        clock.now += 61
        registry.renew()
    assert client.tags(repository, now=NOW).tags == tuple(numbered(5500))
    lasts = [r.query.get("last", "") for r in server.received]
    assert len(set(lasts)) == 6, "each page"
    assert len(lasts) == (6 if tells else 8), "and none twice, but the one that was refused"


def test_a_list_that_was_interrupted_is_the_same_list_as_one_that_was_not(
    hostile: Hostile, make_client: MakeClient
) -> None:
    registry = Rationed(Pager(numbered(2500), links=True), 3)
    server, clock = hostile(registry), Clock()
    client = make_client(server.host, clock=clock)
    repository = Repository(server.host, "group/app")
    whole = client.tags(repository, now=NOW)
    registry.left = 1
    refusal(lambda: client.tags(repository, now=NOW + timedelta(minutes=1)))
    clock.now += 61
    registry.renew()
    later = NOW + timedelta(minutes=2)
    again = client.tags(repository, now=later)
    assert again.tags is whole.tags
    assert again.observed_at == later


def interrupted(
    hostile: Hostile, make_client: MakeClient, clock: Clock
) -> tuple[Rationed, HostileServer, RegistryClient, Repository]:
    """A list of three pages of which one was read."""
    registry = Rationed(Pager(numbered(2500), links=True), 1)
    server = hostile(registry)
    client = make_client(server.host, clock=clock)
    repository = Repository(server.host, "group/app")
    refusal(lambda: client.tags(repository, now=NOW))
    clock.now += 61
    registry.allowed = 100
    registry.renew()
    return registry, server, client, repository


def test_pages_are_not_kept_for_ever(hostile: Hostile, make_client: MakeClient) -> None:
    registry, _, client, repository = interrupted(hostile, make_client, Clock())
    registry.pager = Pager([*numbered(2500)[1:], "2.0.0"], links=True)
    found = client.tags(repository, now=NOW + timedelta(days=2, seconds=1))
    assert numbered(1)[0] not in found.tags


def test_what_is_pushed_to_a_page_that_is_kept_is_seen_the_next_time(
    hostile: Hostile, make_client: MakeClient
) -> None:
    registry, _, client, repository = interrupted(hostile, make_client, Clock())
    registry.pager = Pager(["0.9.0", *numbered(2500)], links=True)
    assert "0.9.0" not in client.tags(repository, now=NOW).tags
    assert "0.9.0" in client.tags(repository, now=NOW).tags


@pytest.mark.parametrize("status", [400, 404, 410])
def test_where_going_on_is_refused_the_list_is_read_anew(
    hostile: Hostile, make_client: MakeClient, status: int
) -> None:
    """The place in the list was only good for a while."""
    registry, server, client, repository = interrupted(hostile, make_client, Clock())
    pager, old = registry.pager, server.received[-1].query

    def forgot(request: Received) -> Reply:
        is_first_try = sum(r.query == old for r in server.received) == 2
        return Reply(status) if request.query == old and is_first_try else pager(request)

    registry.pager = forgot
    assert client.tags(repository, now=NOW).tags == tuple(numbered(2500))


def test_a_registry_that_fails_between_two_pages_is_asked_from_the_beginning(
    hostile: Hostile, make_client: MakeClient
) -> None:
    """What was read is only kept where patience was all that lacked."""
    pager, is_up = Pager(numbered(1500), links=True), threading.Event()
    server = hostile(lambda r: pager(r) if is_up.is_set() or "last" not in r.query else Reply(500))
    client = make_client(server.host)
    repository = Repository(server.host, "group/app")
    assert refusal(lambda: client.tags(repository, now=NOW)).reason.code == "registry/server-error"
    is_up.set()
    asked = len(server.received)
    assert len(client.tags(repository, now=NOW).tags) == 1500
    assert ["last" in r.query for r in server.received[asked:]] == [False, True]


def page_of(size: int) -> Page:
    return Page(Answer(200, {}, b"x" * size, "http://x/"), b"", links=True)


def begun(*sizes: int, at: datetime = NOW) -> Unfinished:
    return Unfinished(at, tuple(page_of(size) for size in sizes), frozenset(), "n=1", frozenset(), {}, True)


def test_lists_that_are_begun_take_a_bounded_memory_and_do_not_drive_each_other_out() -> None:
    mine = UnfinishedLists()
    a, b, c = (Repository("x.test", name) for name in "abc")
    assert mine.keep(a, begun(KEPT_BYTES // 2))
    assert mine.keep(b, begun(KEPT_BYTES // 4, KEPT_BYTES // 8))
    assert not mine.keep(c, begun(KEPT_BYTES // 4)), "who came first is read to the end first"
    assert mine.take(a, NOW, None) is not None
    assert mine.take(a, NOW, None) is None
    assert mine.keep(c, begun(KEPT_BYTES // 4))
    for number in range(KEPT_LISTS):
        mine.keep(Repository("x.test", f"r{number}"), begun(1))
    assert not mine.keep(a, begun(1))


def test_a_beginning_that_is_older_than_the_list_that_is_known_counts_no_more() -> None:
    mine, a = UnfinishedLists(), Repository("x.test", "a")
    mine.keep(a, begun(1))
    assert mine.take(a, NOW, NOW + timedelta(seconds=1)) is None
    mine.keep(a, begun(1))
    assert mine.take(a, NOW, NOW - timedelta(seconds=1)) is not None


def test_a_beginning_that_nobody_asks_for_any_more_goes() -> None:
    mine, a, b = UnfinishedLists(), Repository("x.test", "a"), Repository("x.test", "b")
    mine.keep(a, begun(KEPT_BYTES))
    assert not mine.keep(b, begun(1))
    mine.take(b, NOW + KEPT_FOR + timedelta(seconds=1), None)
    assert mine.keep(b, begun(1))


# -- full pages -------------------------------------------------------------------------------------


def test_a_full_page_costs_one_more_request_each_time_and_its_tags_stay_the_same_object(
    hostile: Hostile, make_client: MakeClient
) -> None:
    server = hostile(Pager(numbered(1000), links=False))
    client = make_client(server.host)
    repository = Repository(server.host, "group/app")
    first = client.tags(repository, now=NOW)
    second = client.tags(repository, now=NOW + timedelta(minutes=1))
    assert len(first.tags) == 1000
    assert second.tags is first.tags
    asked = [r.query for r in server.received]
    assert asked == [{"n": "1000"}, {"n": "1000", "last": "1.0.00999"}] * 2


@pytest.mark.parametrize("status", [400, 404, 405])
def test_a_registry_that_refuses_the_page_that_nobody_told_of_has_no_more(
    hostile: Hostile, make_client: MakeClient, status: int
) -> None:
    pager = Pager(numbered(1000), links=False)
    server = hostile(lambda r: json_reply({"errors": []}, status) if "last" in r.query else pager(r))
    client = make_client(server.host)
    first = client.tags(Repository(server.host, "group/app"), now=NOW)
    assert len(first.tags) == 1000
    assert client.tags(Repository(server.host, "group/app"), now=NOW).tags is first.tags


def test_a_registry_that_fails_at_the_page_that_nobody_told_of_may_have_more(
    hostile: Hostile, make_client: MakeClient
) -> None:
    pager = Pager(numbered(1000), links=False)
    server = hostile(lambda r: Reply(500) if "last" in r.query else pager(r))
    client = make_client(server.host)
    error = refusal(lambda: client.tags(Repository(server.host, "group/app"), now=NOW))
    assert error.reason.code == "registry/server-error"


def test_where_pages_were_seen_to_link_a_full_one_without_link_is_the_last(
    hostile: Hostile, make_client: MakeClient
) -> None:
    server = hostile(Pager(numbered(2000), links=True))
    client = make_client(server.host)
    found = client.tags(Repository(server.host, "team/app"), now=NOW)
    assert len(found.tags) == 2000
    assert len(server.received) == 2  # the second page is full, and the last
    client.tags(Repository(server.host, "team/web"), now=NOW)
    assert len(server.received) == 4
    client.tags(Repository(server.host, "group/web"), now=NOW)  # elsewhere links may be forgotten
    assert len(server.received) == 6


def test_a_tag_pushed_behind_a_full_page_without_link_is_seen(
    hostile: Hostile, make_client: MakeClient
) -> None:
    pager = Pager(numbered(2000), links=False)
    server = hostile(pager)
    client = make_client(server.host)
    repository = Repository(server.host, "group/app")
    assert len(client.tags(repository, now=NOW).tags) == 2000
    assert len(server.received) == 3
    pager.tags = [*numbered(2000), "1.1.0"]
    assert client.tags(repository, now=NOW).tags[-1] == "1.1.0"


def test_a_registry_that_ignores_last_and_shuffles_is_not_asked_for_ever(
    hostile: Hostile, make_client: MakeClient
) -> None:
    tags = numbered(1000)
    server = hostile(
        lambda _: json_reply({"tags": tags[len(server.received) :] + tags[: len(server.received)]})
    )
    found = make_client(server.host).tags(Repository(server.host, "a/b"), now=NOW)
    assert sorted(found.tags) == tags
    assert len(server.received) == 2


def test_dropped_tags_count_for_a_full_page(hostile: Hostile, make_client: MakeClient) -> None:
    tags = ["-not-a-tag", *numbered(999)]
    server = hostile(lambda r: json_reply({"tags": ["2.0.0"] if "last" in r.query else tags}))
    found = make_client(server.host).tags(Repository(server.host, "a/b"), now=NOW)
    assert len(found.tags) == 1000
    assert "2.0.0" in found.tags


def test_a_link_to_anything_but_a_next_page_says_nothing_of_the_end(
    hostile: Hostile, make_client: MakeClient
) -> None:
    pager = Pager(numbered(1001), links=False)

    def behave(request: Received) -> Reply:
        return replace(pager(request), headers={"Link": '</docs>; rel="help", <?last=0>; rel="first"'})

    server = hostile(behave)
    client = make_client(server.host)
    for name in ("group/app", "group/web"):
        assert len(client.tags(Repository(server.host, name), now=NOW).tags) == 1001
    assert len(server.received) == 4


# -- page sizes -------------------------------------------------------------------------------------


def refuses_sizes(*names: str) -> Behaviour:
    def behave(request: Received) -> Reply:
        refused = "n" in request.query and any(f"/{name}/" in request.path for name in names)
        return Reply(405) if refused else json_reply({"tags": ["1.0.0"]})

    return behave


def test_one_repository_that_refuses_a_page_size_changes_nothing_for_the_others(
    hostile: Hostile, make_client: MakeClient
) -> None:
    server = hostile(refuses_sizes("odd"))
    client = make_client(server.host)
    for name in ("a/odd", "a/b", "a/odd", "a/b"):
        client.tags(Repository(server.host, name), now=NOW)
    sized = [(r.path.split("/")[3], "n" in r.query) for r in server.received]
    assert sized == [("odd", True), ("odd", False), ("b", True), ("odd", False), ("b", True)]


def test_where_several_repositories_refuse_a_page_size_the_next_is_not_asked_for_an_hour(
    hostile: Hostile, make_client: MakeClient
) -> None:
    server = hostile(refuses_sizes("x1", "x2", "x3", "x4"))
    time = [0.0]
    client = make_client(server.host, clock=lambda: time[0])
    for name in ("a/x1", "a/x2", "a/x3"):
        client.tags(Repository(server.host, name), now=NOW)
    assert len(server.received) == 6
    client.tags(Repository(server.host, "a/x4"), now=NOW)
    assert server.received[-1].query == {}
    assert len(server.received) == 7
    time[0] += 3601
    client.tags(Repository(server.host, "a/x4"), now=NOW)
    assert len(server.received) == 9


def test_a_refusal_of_every_question_teaches_nothing_of_page_sizes(
    hostile: Hostile, make_client: MakeClient
) -> None:
    server = hostile(lambda _: Reply(405) if len(server.received) < 3 else json_reply({"tags": ["1.0.0"]}))
    client = make_client(server.host)
    repository = Repository(server.host, "a/b")
    assert refusal(lambda: client.tags(repository, now=NOW)).reason.code == "registry/bad-answer"
    client.tags(repository, now=NOW)
    assert [r.query for r in server.received] == [{"n": "1000"}, {}, {"n": "1000"}]


# -- unchanged lists --------------------------------------------------------------------------------


class Validating:
    """A registry that gives ETags to lists of tags, and 304 to whoever shows them."""

    def __init__(self, *tags: str, etag: str = '"{}"') -> None:
        self.tags = list(tags)
        self.etag = etag

    def __call__(self, request: Received) -> Reply:
        etag = self.etag.format(len(self.tags))
        if request.headers.get("if-none-match") == etag:
            return Reply(304, b"", {"ETag": etag})
        return json_reply({"tags": self.tags}, ETag=etag)


def shown(server: HostileServer) -> list[str | None]:
    return [r.headers.get("if-none-match") for r in server.received]


def test_a_list_with_an_etag_is_not_sent_again_while_it_is_the_same(
    hostile: Hostile, make_client: MakeClient
) -> None:
    registry = Validating("1.0.0", "1.1.0")
    server = hostile(registry)
    client = make_client(server.host)
    repository = Repository(server.host, "a/b")
    first = client.tags(repository, now=NOW)
    later = client.tags(repository, now=NOW + timedelta(minutes=1))
    assert later.tags is first.tags
    assert later.observed_at == NOW + timedelta(minutes=1)
    registry.tags.append("1.2.0")
    assert client.tags(repository, now=NOW).tags == ("1.0.0", "1.1.0", "1.2.0")
    assert client.tags(repository, now=NOW).tags == ("1.0.0", "1.1.0", "1.2.0")
    assert shown(server) == [None, '"2"', '"2"', '"3"']


@pytest.mark.parametrize(
    "registry",
    [
        Validating(*numbered(20)),  # perhaps a full page, which gets a link where its body stays the same
        Validating("1.0.0", etag="no etag {}"),
        Validating("1.0.0", etag='"' + "x" * 300 + '"'),
    ],
)
def test_an_etag_that_may_not_mean_the_whole_list_is_not_used(
    hostile: Hostile, make_client: MakeClient, registry: Validating
) -> None:
    server = hostile(registry)
    client = make_client(server.host)
    for _ in range(2):
        client.tags(Repository(server.host, "a/b"), now=NOW)
    assert shown(server) == [None, None]


def test_an_etag_of_one_of_several_pages_is_not_used(hostile: Hostile, make_client: MakeClient) -> None:
    pager = Pager(numbered(1001), links=True)

    def behave(request: Received) -> Reply:
        reply = pager(request)
        return replace(reply, headers={**reply.headers, "ETag": '"page"'})

    server = hostile(behave)
    client = make_client(server.host)
    for _ in range(2):
        client.tags(Repository(server.host, "a/b"), now=NOW)
    assert shown(server) == [None] * 4


def test_an_unchanged_list_that_nobody_has_is_a_bad_answer(hostile: Hostile, make_client: MakeClient) -> None:
    server = hostile(always(Reply(304)))
    error = refusal(lambda: make_client(server.host).tags(Repository(server.host, "a/b"), now=NOW))
    assert error.reason.code == "registry/bad-answer"


def test_a_list_that_nobody_asked_for_in_a_day_is_forgotten(
    hostile: Hostile, make_client: MakeClient
) -> None:
    server = hostile(always(json_reply(google_list(3))))
    client = make_client(server.host)
    quiet, busy = (Repository(server.host, path) for path in ("p/quiet", "p/busy"))
    tag = numbered(1)[0]
    client.tags(quiet, now=NOW)
    client.tags(busy, now=NOW)
    assert client.listed(quiet, tag) is not None
    client.tags(busy, now=NOW + timedelta(hours=20))
    assert client.listed(quiet, tag) is not None
    client.tags(busy, now=NOW + timedelta(hours=25))
    assert client.listed(quiet, tag) is None
    assert client.listed(busy, tag) is not None


# -- pages that lie ---------------------------------------------------------------------------------


def test_a_page_that_brings_the_same_tags_in_another_order_is_an_error(
    hostile: Hostile, make_client: MakeClient
) -> None:
    def behave(request: Received) -> Reply:
        at = int(request.query.get("last", "0"))
        tags = ["1", "2", "3"] if at % 2 else ["3", "2", "1"]
        link = {"Link": f'<?last={at + 1}>; rel="next"'} if at < 3 else {}
        return json_reply({"tags": tags, "at": at}, **link)

    server = hostile(behave)
    error = refusal(lambda: make_client(server.host).tags(Repository(server.host, "a/b"), now=NOW))
    assert error.reason.code == "registry/pages"
    assert "page 2 brings nothing new" in str(error)


def test_an_empty_page_in_between_is_none_of_the_end(hostile: Hostile, make_client: MakeClient) -> None:
    pages: list[list[str]] = [["1"], [], ["2"]]

    def behave(request: Received) -> Reply:
        at = int(request.query.get("last", "0"))
        link = {"Link": f'<?last={at + 1}>; rel="next"'} if at < 2 else {}
        return json_reply({"tags": pages[at]}, **link)

    server = hostile(behave)
    assert make_client(server.host).tags(Repository(server.host, "a/b"), now=NOW).tags == ("1", "2")


def test_all_pages_together_are_bounded(hostile: Hostile, make_client: MakeClient) -> None:
    server = hostile(Pager(numbered(5000), links=True))
    client = make_client(server.host, limits=BodyLimits(pages=40_000))
    error = refusal(lambda: client.tags(Repository(server.host, "a/b"), now=NOW))
    assert error.reason.code == "registry/long-list"
    assert "40000 bytes" in str(error)
    assert len(server.received) < 5


def test_many_small_pages_are_read_to_the_end(hostile: Hostile, make_client: MakeClient) -> None:
    """Quay and others give a hundred tags at a time, however many are asked for."""
    pager = Pager(numbered(20_100), links=True)
    server = hostile(lambda r: pager(replace(r, query={**r.query, "n": "100"})))
    found = make_client(server.host).tags(Repository(server.host, "a/b"), now=NOW)
    assert found.tags == tuple(numbered(20_100))
    assert len(server.received) == 201


@pytest.mark.parametrize(("at_once", "pages"), [(5000, 1), (1000, 3)])
def test_the_tags_of_a_list_are_bounded_and_the_error_says_what_helps(
    hostile: Hostile, make_client: MakeClient, at_once: int, pages: int
) -> None:
    pager = Pager(numbered(5000), links=True)
    server = hostile(lambda r: pager(replace(r, query={**r.query, "n": str(at_once)})))
    client = make_client(server.host, limits=BodyLimits(tags=3500))
    error = refusal(lambda: client.tags(Repository(server.host, "a/b"), now=NOW))
    assert error.reason.code == "registry/long-list"
    assert "more than 3500 tags" in str(error)
    assert "delete tags" in error.reason.next_step
    assert len(server.received) >= pages


def test_a_cursor_without_end_is_refused(hostile: Hostile, make_client: MakeClient) -> None:
    server = hostile(always(json_reply({"tags": ["1"]}, Link=f'<?last={"x" * 5000}>; rel="next"')))
    error = refusal(lambda: make_client(server.host).tags(Repository(server.host, "a/b"), now=NOW))
    assert error.reason.code == "registry/pages"
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("link", "query"),
    [
        ('</v2/a/tags/list?n=100&last=x>; rel="next"', "n=100&last=x"),  # Quay rewrites n
        ('</v2/a/tags/list?next_page=gAAA%3D&n=100>; rel="next"', "next_page=gAAA%3D&n=100"),
        ("<https://evil.invalid/x?last=a,b>; rel=next", "last=a,b"),
        ('<?last=1>; rel="prev", <?last=3>; rel="last next"', "last=3"),
        ('<?last=1>; REL="NEXT"', "last=1"),
        ("<?last=1>;rel='next'", "last=1"),
        ("?last=1; rel=next", "last=1"),
        ('<?n=2&last=a;b>; rel="next"', "n=2&last=a;b"),
        ('<?last=1>; title="x=y; z, <\\">"; Rel="Next"', "last=1"),
        ('<?last=1> ; foo; rel="next"; rel="prev"', "last=1"),
        ('<?last=1>; rel="next"; title="without end', "last=1"),
        ('<https://[x/?last=1#f>; rel="next"', "last=1"),
        (', <?last=1>; rel="prev", , <?last=3>; rel="next",', "last=3"),
        ('<?last=1>; rel="prev"', None),
        ('<https://a.invalid>; rel=preconnect, </help>; rel="help"', None),
        ("", None),
        (" , ", None),
    ],
)
def test_links_of_the_field(link: str, query: str | None) -> None:
    assert next_query(link) == query


@pytest.mark.parametrize(
    "link",
    [
        "nonsense",
        "<?last=2.0.0>",
        '<?last=2.0.0>; rel="next',
        '<?last=2.0.0; rel="next"',
        '<?last=2.0.0>, rel="next"',
        '<?last=2.0.0>; rel="prev" x; rel="next"',
        f'<?last=2.0.0&{"x" * 17_000}>; rel="next"',
    ],
)
def test_a_link_that_cannot_be_read_is_an_error_and_not_the_end(
    hostile: Hostile, make_client: MakeClient, link: str
) -> None:
    server = hostile(
        lambda r: json_reply({"tags": ["3.0.0"]} if "last" in r.query else {"tags": ["1.0.0"]}, Link=link)
    )
    error = refusal(lambda: make_client(server.host).tags(Repository(server.host, "a/b"), now=NOW))
    assert error.reason.code == "registry/pages"
    assert "page 1 links to nonsense" in str(error)
    assert len(server.received) == 1


@given(st.text(max_size=300))
def test_no_link_header_breaks_the_reader_but_by_value_error(link: str) -> None:
    try:
        next_query(link)
    except ValueError:
        return


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(
    tags=st.lists(st.from_regex(r"[a-z0-9][a-z0-9.-]{0,10}", fullmatch=True), max_size=60, unique=True),
    size=st.integers(1, 20),
)
def test_however_a_list_is_cut_into_pages_all_tags_arrive(
    hostile: Hostile, make_client: MakeClient, tags: list[str], size: int
) -> None:
    def behave(request: Received) -> Reply:
        at = int(request.query.get("at", "0"))
        link = {"Link": f'<?at={at + size}>; rel="next"'} if at + size < len(tags) else {}
        return json_reply({"tags": tags[at : at + size]}, **link)

    server = hostile(behave)
    assert make_client(server.host).tags(Repository(server.host, "a/b"), now=NOW).tags == tuple(tags)


# -- lists that tell more ---------------------------------------------------------------------------


def google_list(count: int) -> dict[str, object]:
    """An answer of Artifact Registry: digests, and times in milliseconds, written as strings."""
    manifests = {
        f"sha256:{i:064x}": {
            "imageSizeBytes": "12345",
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "timeCreatedMs": str(int((BUILT + timedelta(minutes=i)).timestamp() * 1000)),
            "timeUploadedMs": "1795000000000",
            "tag": [tag, f"sha-{i}"],
        }
        for i, tag in enumerate(numbered(count))
    }
    return {"name": "p/r/web", "child": [], "manifest": manifests, "tags": numbered(count)}


def test_build_times_in_a_list_save_a_lookup_for_each_tag(
    hostile: Hostile, make_client: MakeClient, tmp_path: Path
) -> None:
    server = hostile(always(json_reply(google_list(200))))
    repository = Repository(server.host, "p/r/web")
    client = make_client(server.host)
    with Store.open(tmp_path) as store:
        observer = Observer(client, store)
        observer.look({repository: True}, (), NOW, all_due=True)
        looks = observer.first_looks([(repository, tag) for tag in numbered(200)])
    image = looks[(repository, "1.0.00007")]
    assert not any(isinstance(look, Unavailable) for look in looks.values())
    assert image == Image(f"sha256:{7:064x}", BUILT + timedelta(minutes=7))
    assert len(server.received) == 1


@pytest.mark.parametrize(
    "about",
    [
        {"timeCreatedMs": "0", "tag": ["1"]},  # a reproducible build
        {"timeCreatedMs": "soon", "tag": ["1"]},
        {"timeCreatedMs": "9" * 400, "tag": ["1"]},
        {"timeCreatedMs": "-1", "tag": ["1"]},
        {"timeCreatedMs": "1795000000000", "tag": "1"},
        {"tag": ["1"]},
        [],
    ],
)
def test_what_a_list_does_not_really_tell_is_unknown(
    hostile: Hostile, make_client: MakeClient, about: object
) -> None:
    server = hostile(always(json_reply({"tags": ["1"], "manifest": {"sha256:" + "a" * 64: about}})))
    client = make_client(server.host)
    repository = Repository(server.host, "a/b")
    assert client.tags(repository, now=NOW).tags == ("1",)
    assert client.listed(repository, "1") is None


def test_a_list_that_tells_nothing_more_tells_nothing_of_a_tag(
    hostile: Hostile, make_client: MakeClient
) -> None:
    server = hostile(always(json_reply({"tags": ["1"], "manifest": {"no digest": {"tag": ["1"]}}})))
    client = make_client(server.host)
    repository = Repository(server.host, "a/b")
    assert client.listed(repository, "1") is None
    client.tags(repository, now=NOW)
    assert client.listed(repository, "1") is None


def test_google_is_asked_for_pages_of_ten_thousand(hostile: Hostile, make_client: MakeClient) -> None:
    server = hostile(Pager(numbered(3000), links=True))
    settings = replace(PLAIN, address=server.host)
    client = make_client("europe-docker.pkg.dev", "notgcr.io", settings=settings)
    found = client.tags(Repository("europe-docker.pkg.dev", "p/r/web"), now=NOW)
    assert len(found.tags) == 3000
    assert [r.query for r in server.received] == [{"n": "10000"}]
    client.tags(Repository("notgcr.io", "p/r/web"), now=NOW)
    assert server.received[1].query == {"n": "1000"}


def test_the_hubs_refusal_of_what_is_not_there_says_what_to_check(
    hostile: Hostile, make_client: MakeClient
) -> None:
    """It gives a token to anybody, for anything, and then answers 401."""

    def behave(request: Received) -> Reply:
        if request.path == "/token":
            return json_reply({"token": "anonymous"})
        challenge = 'Bearer realm="/token",service="registry.docker.io",error="insufficient_scope"'
        no = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required", "detail": [{}]}]}
        return json_reply(no, 401, WWW_Authenticate=challenge)

    server = hostile(behave)
    client = make_client("docker.io", settings=replace(PLAIN, address=server.host))
    error = refusal(lambda: client.tags(Repository("docker.io", "library/nginxx"), now=NOW))
    assert error.reason.code == "registry/denied"
    assert "docker.io/library/nginxx" in str(error)
    assert "check the spelling of docker.io/library/nginxx" in error.reason.next_step
    assert len(server.received) == 3
