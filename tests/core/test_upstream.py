"""What workloads held, as proof for others: stays of sites, of workloads, of groups as environments."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from parts.deciding import NOW, Wrote, digest, past, sites, workload

from automator.core.facts import Declined, Facts, site_key
from automator.core.history import HeldValue, SiteHistory
from automator.core.rollout import Rollout, Told
from automator.core.running import DeployState
from automator.core.upstream import (
    NEVER,
    Held,
    Sights,
    Span,
    both,
    deployed_by,
    digests_left,
    held_by,
    in_group,
    turned_away_there,
    upstream_of,
)

DAY = timedelta(days=1)
NEW, OLD = digest("new"), digest("old")
ALONE = workload('semver: "1.x"')
GROUPED = workload('semver: "1.x"', "group: shop")


def history(*values: tuple[str, str | None, float, float | None]) -> SiteHistory:
    """A site's values, newest first: tag, digest, days ago begun and ended."""
    held = tuple(
        HeldValue(
            tag,
            of,
            commit=f"{i:040x}",
            time=NOW - begun * DAY,
            until=None if ended is None else NOW - ended * DAY,
        )
        for i, (tag, of, begun, ended) in enumerate(values)
    )
    return SiteHistory(held, True)


def seen(**days: float) -> Sights:
    """Commits by their number, first seen so many days ago; all others long ago."""
    times = {f"{int(number[1:]):040x}": NOW - ago * DAY for number, ago in days.items()}
    return Sights(times, NOW - 99 * DAY)


def told(spans: tuple[Span, ...]) -> list[tuple[str, float, float]]:
    """Tag, and days ago of begin and end; an end that never came is 0."""

    def ago(at: datetime) -> float:
        return 0.0 if at == NEVER else (NOW - at) / DAY

    return [(span.tag, ago(span.since), ago(span.until)) for span in spans]


def test_a_stay_begins_when_it_was_seen_if_the_commit_says_earlier() -> None:
    site = history(("1.1", NEW, 9, None), ("1.0", OLD, 20, 9))
    assert told(held_by(ALONE, [site], seen(c0=2)).spans) == [("1.1", 2, 0), ("1.0", 20, 9)]


def test_a_commit_from_the_future_begins_in_the_future() -> None:
    site = history(("1.1", NEW, -1, None))
    assert told(held_by(ALONE, [site], seen(c0=2)).spans) == [("1.1", -1, 0)]


def test_a_workload_held_what_all_of_its_sites_did() -> None:
    one = history(("1.1", NEW, 5, None), ("1.0", OLD, 20, 5))
    other = history(("1.1", NEW, 3, None), ("1.0", OLD, 10, 3))
    assert told(held_by(ALONE, [one, other], seen()).spans) == [("1.1", 3, 0), ("1.0", 10, 5)]


def test_sites_with_different_digests_held_nothing_together() -> None:
    one, other = history(("1.1", NEW, 5, None)), history(("1.1", OLD, 5, None))
    assert held_by(ALONE, [one, other], seen()).spans == ()


def test_a_digest_that_is_written_later_goes_on_with_the_stay() -> None:
    (site,) = sites(f"1.1@{NEW}")
    ours = past(site, Wrote(f"1.1@{NEW}"), Wrote("1.1", ours=True), "1.0")
    member = ours.held[1].member
    assert member is not None
    released = replace(ours.held[1], member=replace(member, after=f"1.1@{NEW}"))
    whole = replace(ours, held=(ours.held[0], released, *ours.held[2:]))
    spans = held_by(ALONE, [whole], Sights({}, NOW - 99 * DAY)).spans
    assert [(span.tag, span.digest) for span in spans] == [("1.1", NEW), ("1.0", None)]
    assert spans[0].since == whole.held[1].time


def test_what_may_have_been_either_proves_no_digest() -> None:
    site = history(("1.1", NEW, 5, None), ("1.0", OLD, 9, 5))
    same = replace(site, held=(site.held[0], replace(site.held[1], commit=site.held[0].commit)))
    assert [span.digest for span in held_by(ALONE, [same], seen()).spans] == [None, None]


def test_a_group_held_a_version_while_all_members_did() -> None:
    web = held_by(GROUPED, [history(("1.1", NEW, 5, None), ("1.0", OLD, 20, 5))], seen())
    api = held_by(GROUPED, [history(("1.1", OLD, 2, None), ("1.0", NEW, 20, 2))], seen())
    group = {"web": web, "api": api}
    assert told(in_group(group, "web").spans) == [("1.1", 2, 0), ("1.0", 20, 5)]
    assert in_group(group, "web").spans[0].digest == NEW
    assert in_group(group, "api").spans[0].digest == OLD


def test_a_group_was_deployed_when_the_last_of_its_members_was() -> None:
    def ran(days: float) -> Told:
        at = NOW - days * DAY
        return Told((Rollout("1.1", at, DeployState.DEPLOYED, at, at),), NOW)

    held = {
        name: held_by(GROUPED, [history(("1.1", digest, 5, None))], seen())
        for name, digest in (("web", NEW), ("api", OLD))
    }
    group = {"web": deployed_by(held["web"], {"eu": ran(4)}), "api": deployed_by(held["api"], {"eu": ran(3)})}
    assert told(in_group(group, "web").spans) == [("1.1", 3, 0)]
    group["api"] = deployed_by(held["api"], {"eu": ran(3), "us": Told()})
    (span,) = in_group(group, "web").spans
    assert span.awaits == ("us has not been seen with it yet",)
    assert deployed_by(held["web"], {}) == held["web"]


def test_members_with_versions_of_their_own_do_not_wait_for_each_other() -> None:
    any_of = workload('semver: "1.x"', "group: {name: shop, match: any}")
    web = held_by(any_of, [history(("1.1", NEW, 5, None))], seen())
    api = held_by(any_of, [history(("1.7", OLD, 2, None))], seen())
    assert told(in_group({"web": web, "api": api}, "web").spans) == [("1.1", 5, 0)]


def test_a_group_is_known_only_where_all_of_it_is() -> None:
    web = held_by(GROUPED, [history(("1.1", NEW, 5, None))], seen())
    api = held_by(GROUPED, [replace(history(("1.1", OLD, 2, None)), complete=False)], seen())
    assert in_group({"web": web, "api": api}, "web").complete is False


def test_an_unverified_stay_is_told_so() -> None:
    verified = replace(ALONE, verify=("healthy",))
    held = Held(verified, held_by(verified, [history(("1.1", NEW, 5, None))], seen()).spans, True)
    assert [stay.verified for stay in upstream_of("web", held, (), frozenset()).stays] == [False]
    assert [
        stay.verified for stay in upstream_of("web", held._replace(workload=ALONE), (), frozenset()).stays
    ] == [True]


def test_what_people_turned_away_there_and_what_they_accept_again() -> None:
    (site,) = sites("1.0.2")
    went_back = past(site, "1.0.2", Wrote("1.0.4", ours=True), "1.0.1")
    facts = Facts(histories={site_key(site): went_back})
    tags = ("1.0.1", "1.0.2", "1.0.3", "1.0.4", "1.0.5", "other")
    assert turned_away_there(ALONE, (site,), facts, tags) == {("1.0.3", None), ("1.0.4", None)}
    accepting = replace(ALONE, accept=("1.0.4",))
    assert turned_away_there(accepting, (site,), facts, tags) == {("1.0.3", None)}
    gone = replace(facts, histories={}, withdrawn=frozenset({"1.0.2"}))
    assert turned_away_there(ALONE, (site,), gone, tags) == {("1.0.1", None), ("1.0.2", None)}


def test_what_was_refused_there_by_closing_its_pull_request() -> None:
    """Nothing else was turned away there."""
    closed = Declined("ghcr.io/acme/web", "1.0.4", NEW, None, 1, "https://git.example.com/1", NOW)
    (site,) = sites("1.0.2")
    facts = Facts(histories={site_key(site): past(site, "1.0.2")}, declined=(closed,))
    assert ("1.0.4", None) in turned_away_there(ALONE, (site,), facts, ("1.0.4", "1.0.5"))
    assert ("1.0.5", None) not in turned_away_there(ALONE, (site,), facts, ("1.0.4", "1.0.5"))
    there = turned_away_there(ALONE, (site,), facts, ("1.0.1", "1.0.2", "1.0.3"))
    assert there == {("1.0.3", None)}, "what upstream is at was not refused with it"
    followed = workload("follow: stable")
    assert turned_away_there(followed, (site,), facts, ("stable",)) == {("", NEW)}
    accepting = replace(followed, accept=(NEW,))
    assert turned_away_there(accepting, (site,), facts, ("stable",)) == frozenset()


def test_digests_that_were_left_under_one_tag() -> None:
    def past(*values: tuple[str, str | None]) -> SiteHistory:
        """Written by people, oldest first."""
        held = [HeldValue(tag, digest, f"c{i}", time=NOW) for i, (tag, digest) in enumerate(values)]
        return SiteHistory(tuple(reversed(held)), complete=True)

    a, b, c = (f"sha256:{letter * 64}" for letter in "abc")
    back = past(("7", a), ("7", b), ("7", c), ("7", a))
    assert digests_left(back, follows=False) == {b, c}
    assert digests_left(past(("7", a), ("7", b)), follows=False) == frozenset()
    assert digests_left(past(("7", a), ("7", b)), follows=True) == {a}
    assert digests_left(past(("7", a), ("7", b), ("7", a), ("7", b)), follows=True) == {a}
    assert digests_left(past(("7", a), ("7", None)), follows=True) == {a}
    assert digests_left(past(("1.1", a), ("1.2", b), ("1.1", a)), follows=False) == frozenset()


_TIMES = st.integers(0, 30).map(lambda hours: NOW - timedelta(hours=hours))
_SPANS = st.lists(
    st.builds(
        lambda tag, one, two: Span(tag, NEW, min(one, two), max(one, two)),
        st.sampled_from(["1.0", "1.1"]),
        _TIMES,
        _TIMES,
    ),
    max_size=4,
)


@given(_SPANS, _SPANS, _TIMES)
def test_together_is_when_both_were(ones: list[Span], others: list[Span], at: datetime) -> None:
    def holds(spans: object, tag: str) -> bool:
        return any(s.tag == tag and s.since <= at < s.until for s in spans)  # type: ignore[attr-defined]

    joined = both(ones, others, lambda one, other: one.version == other.version)
    for tag in ("1.0", "1.1"):
        assert holds(joined, tag) == (holds(ones, tag) and holds(others, tag))
