"""Series of checks as values: when they pass and fail, and the laws of the way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parts.deciding import NOW, Wrote, digest, past, sites, workload

from automator.core.decide import Facts, Need, Release, Stay, Unavailable, decide, site_key
from automator.core.facts import Declined, Signature
from automator.core.history import SiteHistory
from automator.core.policy import Workload
from automator.core.reference import Image, TagList
from automator.core.together import Member
from automator.core.verification import (
    DEPLOYED,
    Answer,
    Plan,
    Progress,
    Said,
    State,
    Verification,
    Wanted,
    arrived,
    asked,
    begin,
    decided_by,
    due,
    from_text,
    heard,
    judged,
    looks_at,
    renewed,
    to_text,
)
from automator.core.wayback import decide_all
from automator.reasons import Status, reason

MINUTE = timedelta(minutes=1)
PLAN = Plan("healthy", MINUTE, 10 * MINUTE, 3)
YES, NO, SILENT = Said(Answer.YES, "fine"), Said(Answer.NO, "503"), Said(Answer.SILENT, "nobody")


def told(*answers: Said, plan: Plan = PLAN) -> Verification:
    """A series after these answers, each an interval after the one before."""
    series = begin("1.4.3", "c" * 40, (plan,), NOW)
    for i, said in enumerate(answers):
        series = heard(series, plan, said, NOW + i * plan.interval)
    return series


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        ((), State.RUNNING),
        ((YES,), State.PASSED),
        ((NO, NO), State.RUNNING),
        ((NO, NO, NO), State.FAILED),
        ((NO, NO, YES), State.PASSED),
        ((NO, SILENT, NO, SILENT, NO), State.FAILED),
        ((SILENT,) * 9, State.RUNNING),
        ((SILENT,) * 11, State.FAILED),
        ((SILENT,) * 10 + (YES,), State.PASSED),
        ((YES, NO, NO, NO), State.PASSED),
    ],
)
def test_the_state_of_a_check(answers: tuple[Said, ...], state: State) -> None:
    assert told(*answers).state is state


def test_time_alone_fails_nothing_and_a_late_yes_is_a_yes() -> None:
    """Who was not running has not asked: a healthy release must not be undone for that."""
    series = begin("1.4.3", "c" * 40, (PLAN,), NOW)
    late = NOW + 100 * MINUTE
    assert due(series, late) == ("healthy",)
    assert heard(series, PLAN, YES, late).state is State.PASSED


def test_a_try_after_its_time_fails_it_but_only_after_as_many_as_noes_would() -> None:
    late = NOW + 100 * MINUTE
    series = told(SILENT, NO)
    assert series.state is State.RUNNING
    failed = heard(series, PLAN, SILENT, late)
    assert failed.failure is not None
    assert failed.failure.words == "not passed within 10m: nobody"
    assert failed.ended == late
    one = heard(begin("1.4.3", "c" * 40, (PLAN,), NOW), PLAN, SILENT, late)
    assert one.state is State.RUNNING, "one try that nobody answered says nothing of a release"


def test_a_try_that_began_in_time_does_not_fail_it_by_ending_late() -> None:
    series, end = told(SILENT, SILENT), NOW + 10 * MINUTE
    assert heard(series, PLAN, SILENT, end + MINUTE, end - MINUTE).state is State.RUNNING
    assert heard(series, PLAN, SILENT, end + MINUTE, end).state is State.FAILED


def test_the_last_try_is_asked_at_the_end_of_its_time() -> None:
    series = asked(begin("1.4.3", "c" * 40, (PLAN,), NOW), replace(PLAN, interval=8 * MINUTE), NOW)
    series = asked(series, replace(PLAN, interval=8 * MINUTE), NOW + 8 * MINUTE)
    assert looks_at(series) == NOW + 10 * MINUTE


def test_a_check_is_asked_after_its_delay_and_then_at_its_interval() -> None:
    late = replace(PLAN, delay=2 * MINUTE)
    series = begin("1.4.3", "c" * 40, (late,), NOW)
    assert due(series, NOW + MINUTE) == ()
    assert looks_at(series) == NOW + 2 * MINUTE
    series = asked(series, late, NOW + 2 * MINUTE)
    assert due(series, NOW + 2 * MINUTE) == ()
    assert due(series, NOW + 3 * MINUTE) == ("healthy",)
    assert decided_by(series, (late,)) == NOW + 10 * MINUTE


def test_the_other_checks_begin_once_the_version_is_deployed() -> None:
    built_in = Plan(DEPLOYED, within=None, failures=1)
    late = replace(PLAN, delay=2 * MINUTE)
    series = begin("1.4.3", "c" * 40, (built_in, late), NOW)
    later = NOW + 60 * MINUTE
    assert due(series, later) == (DEPLOYED,)
    assert looks_at(series) is None, "runtimes tell unasked"
    assert decided_by(series, (built_in, late)) is None
    silent = heard(series, built_in, SILENT, later)
    assert silent.state is State.RUNNING, "no time fails what nobody knows"
    here = arrived(heard(series, built_in, YES, later), (built_in, late), later)
    assert (due(here, later), looks_at(here)) == ((), later + 2 * MINUTE)
    assert decided_by(here, (built_in, late)) == later + late.within
    failed = heard(series, built_in, NO, later)
    assert failed.state is State.FAILED
    assert due(failed, later) == ()


def test_one_failed_check_ends_the_series_and_all_must_pass() -> None:
    other = Plan("smoke", MINUTE, 10 * MINUTE, 1)
    series = begin("1.4.3", "c" * 40, (PLAN, other), NOW)
    half = heard(series, PLAN, YES, NOW)
    assert half.state is State.RUNNING
    assert heard(half, other, YES, NOW).state is State.PASSED
    failed = heard(series, other, NO, NOW)
    assert failed.state is State.FAILED
    assert due(failed, NOW + MINUTE) == ()
    assert heard(failed, PLAN, YES, NOW) == failed


def test_a_check_that_the_policy_adds_begins_and_one_that_it_drops_is_gone() -> None:
    other = Plan("smoke")
    series = told(YES)
    wider = renewed(series, (PLAN, other), NOW + MINUTE)
    assert wider.state is State.RUNNING
    assert wider.of("healthy") == series.of("healthy")
    assert renewed(wider, (PLAN,), NOW) == series


@given(st.lists(st.sampled_from([YES, NO, SILENT]), max_size=12))
def test_a_series_is_the_same_after_it_was_kept(answers: list[Said]) -> None:
    series = told(*answers)
    assert from_text(to_text(series)) == series


@given(st.text(max_size=60))
def test_what_is_no_series_is_none(text: str) -> None:
    found = from_text(text)
    assert found is None or isinstance(found, Verification)


@given(st.lists(st.sampled_from([YES, NO, SILENT]), max_size=14))
def test_once_ended_nothing_changes_a_series(answers: list[Said]) -> None:
    states = [told(*answers[:i]) for i in range(len(answers) + 1)]
    ended = next((series for series in states if series.state is not State.RUNNING), None)
    assert ended is None or states[-1] == ended


@pytest.mark.parametrize(
    ("text", "wanted", "answer"),
    [
        ('{"a": {"b": [1, {"c": "0.4"}]}}', Wanted("a.b[1].c", most=0.5), Answer.YES),
        ('{"a": "0.4"}', Wanted("a", most=0.3), Answer.NO),
        ('{"a": "NaN"}', Wanted("a", most=0.3), Answer.NO),
        ('{"a": "+Inf"}', Wanted("a", most=0.3), Answer.NO),
        ('{"a": []}', Wanted("a[0].value[1]", most=0.3), Answer.NO),
        ('{"a": "xyz"}', Wanted("a[0]", equals="x"), Answer.NO),
        ('{"a": 3}', Wanted("a", least=3), Answer.YES),
        ('{"a": true}', Wanted("a", least=0), Answer.NO),
        ('{"a": true}', Wanted("a", equals=True), Answer.YES),
        ('{"a": 1}', Wanted("a", equals=True), Answer.NO),
        ('{"a": "1"}', Wanted("a", equals=1), Answer.YES),
        ('{"a": "Healthy"}', Wanted("a", equals="Healthy"), Answer.YES),
        ('{"a": null}', Wanted("a", equals="Healthy"), Answer.NO),
        ("<html>", Wanted("a", equals=1), Answer.SILENT),
        ("[" * 100_000, Wanted("a", equals=1), Answer.SILENT),
    ],
)
def test_a_value_of_a_document(text: str, wanted: Wanted, answer: Answer) -> None:
    assert judged(text, wanted).answer is answer


# -- the laws of the way back -------------------------------------------------------------------------

TAGS = tuple(f"1.0.{i}" for i in range(6))
POLICY = workload('semver: ">=1.0 <2"', "verify: healthy", "on_failure: rollback")


def series_of(version: str, *, good: bool) -> Verification:
    state = State.PASSED if good else State.FAILED
    return Verification(version, "c" * 40, NOW, (Progress("healthy", NOW, NOW, state, 0, "503", NOW),))


@dataclass
class Life:
    """A workload's life: releases and rollbacks of ours, each verified, told in values."""

    values: list[Wrote] = field(default_factory=lambda: [Wrote("1.0.0", who="Ann")])
    """Newest first."""
    kinds: list[str] = field(default_factory=lambda: ["person"])
    listed: tuple[str, ...] = TAGS[:1]
    results: dict[str, bool] = field(default_factory=dict)
    judged: int = 0
    """Stays that were verified: what checks said of one is never taken back."""

    def turn(self, *, good: bool) -> Release | Stay:
        """Verify what is there, where that was not done, then decide; the decision is carried out."""
        here = self.values[0].value
        if self.judged < len(self.values):
            self.results[here], self.judged = good, len(self.values)
        good = self.results[here]
        (site,) = sites(here)
        history = self._history(site)
        images = {tag: Image(digest(tag), datetime(2026, 1, 1, tzinfo=UTC)) for tag in TAGS}
        facts = Facts(
            images=images,
            histories={site_key(site): history},
            verification=series_of(here, good=good),
            verified=dict(self.results),
        )
        member = Member(POLICY, (site,), TagList(POLICY.repository, self.listed, NOW, ""), facts)
        found = decide_all(None, (member,), {}, NOW)["web"]
        assert not isinstance(found, Need)
        if isinstance(found, Release):
            kind = "release" if found.undo is None else "rollback"
            self.values.insert(0, Wrote(found.tag, ours=True))
            self.kinds.insert(0, kind)
        return found

    def _history(self, site: object) -> SiteHistory:
        history = past(site, *self.values)  # type: ignore[arg-type]
        held = tuple(
            replace(value, record=replace(value.record, kind=kind)) if value.record is not None else value
            for value, kind in zip(history.held, self.kinds, strict=True)
        )
        return replace(history, held=held)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=14))
def test_never_two_rollbacks_in_a_row_and_never_to_what_failed(steps: list[tuple[bool, bool]]) -> None:
    life, failed = Life(), set[str]()
    for good, news in steps:
        if news and len(life.listed) < len(TAGS):
            life.listed = TAGS[: len(life.listed) + 1]
        found = life.turn(good=good)
        failed |= {version for version, well in life.results.items() if not well}
        if isinstance(found, Release):
            assert found.tag not in failed
    pairs = zip(life.kinds, life.kinds[1:], strict=False)
    assert ("rollback", "rollback") not in set(pairs)


def test_a_failed_release_goes_back_and_then_holds_where_that_fails_too() -> None:
    life = Life()
    life.listed = TAGS[:2]
    assert isinstance(life.turn(good=True), Release)
    back = life.turn(good=False)
    assert isinstance(back, Release)
    assert (back.tag, back.undo) == ("1.0.0", "check healthy failed: 503")
    again = life.turn(good=False)
    assert isinstance(again, Stay)
    assert (again.status, again.reason.code) == (Status.HELD, "verify/failed-again")


def test_without_a_word_of_the_policy_nothing_goes_back() -> None:
    (site,) = sites("1.0.1")
    history = past(site, Wrote("1.0.1", ours=True), "1.0.0")
    facts: Mapping[str, object] = {"histories": {site_key(site): history}}
    stop = workload('semver: ">=1.0 <2"', "verify: healthy")
    found = decide(
        stop,
        (site,),
        TagList(stop.repository, TAGS[:2], NOW, ""),
        Facts(verification=series_of("1.0.1", good=False), **facts),  # type: ignore[arg-type]
        NOW,
    )
    assert isinstance(found, Stay)
    assert (found.status, found.reason.code) == (Status.HELD, "verify/failed")


# -- where it does not go -----------------------------------------------------------------------------


def back(member: Member) -> Release | Stay | Need:
    return decide_all(None, (member,), {}, NOW)["web"]


def failing(*held: Wrote | str, policy: Workload = POLICY, **known: Any) -> Member:
    """A workload whose present version failed its check."""
    values = [value if isinstance(value, Wrote) else Wrote(value) for value in held]
    (site,) = sites(values[0].value)
    facts = Facts(
        images={tag: Image(digest(tag), platforms=("linux/amd64",)) for tag in TAGS},
        histories={site_key(site): past(site, *values)},
        verification=series_of(values[0].value, good=False),
        **{"verified": {values[0].value: False}, **known},
    )
    return Member(policy, (site,), TagList(policy.repository, TAGS, NOW, ""), facts)


def test_it_does_not_go_back_to_what_an_urgent_release_left_once_nobody_knows_whether_that_failed() -> None:
    """1.0.1 failed, 1.0.2 was released as urgent, and the state folder is lost."""
    urgent = Wrote("1.0.2", ours=True, reason="urgent: mends it")
    held = (urgent, Wrote("1.0.1", ours=True), Wrote("1.0.0"))
    found = back(failing(*held))
    assert isinstance(found, Release)
    assert found.tag == "1.0.0"
    known = back(failing(*held, verified={"1.0.1": True, "1.0.2": False}))
    assert isinstance(known, Release)
    assert known.tag == "1.0.1"


@pytest.mark.parametrize(
    ("key", "known"),
    [
        ('exclude: ["1.0.1"]', {}),
        ('reject: ["1.0.1"]', {}),
        ("pin: tag", {"withdrawn": frozenset({"1.0.1"})}),
    ],
)
def test_it_does_not_go_back_to_what_the_policy_leaves_out(key: str, known: dict[str, Any]) -> None:
    policy = workload('semver: ">=1.0 <2"', "verify: healthy", "on_failure: rollback", key)
    held = (Wrote("1.0.2", ours=True), Wrote("1.0.1", ours=True), Wrote("1.0.0"))
    found = back(failing(*held, policy=policy, **known))
    assert isinstance(found, Release)
    assert found.tag == "1.0.0"


def test_it_does_not_go_back_to_what_lacks_a_platform_or_a_signature() -> None:
    held = (Wrote("1.0.2", ours=True), Wrote("1.0.1"))
    keys = ('semver: ">=1.0 <2"', "verify: healthy", "on_failure: rollback")
    armed = back(failing(*held, policy=workload(*keys, "platforms: [linux/arm64]")))
    assert isinstance(armed, Stay)
    assert armed.reason.code == "verify/stuck"
    assert "linux/arm64" in armed.reason.sentence
    signed = workload(*keys, "signed_by: [release]")
    asked_for = back(failing(*held, policy=signed))
    assert isinstance(asked_for, Need)
    (question,) = asked_for.signatures
    lacking = Signature(NOW, False, ("release",))
    unsigned = back(failing(*held, policy=signed, signatures={question: lacking}))
    assert isinstance(unsigned, Stay)
    assert unsigned.reason.code == "verify/stuck"


def test_it_does_not_open_a_pull_request_again_that_a_person_closed() -> None:
    closed = Declined("ghcr.io/acme/web", "1.0.1", None, None, 7, "https://git.example.com/7", NOW)
    held = (Wrote("1.0.2", ours=True), Wrote("1.0.1"))
    found = back(failing(*held, declined=(closed,)))
    assert isinstance(found, Stay)
    assert found.reason.code == "verify/stuck"
    assert "https://git.example.com/7 was closed on 2026-11-21" in found.reason.sentence


def test_the_digest_that_was_held_is_asked_for_where_the_tag_was_pushed_again() -> None:
    pinned = workload('semver: ">=1.0 <2"', "verify: healthy", "on_failure: rollback", "pin: digest")
    old = digest("old")
    held = (Wrote(f"1.0.2@{digest('1.0.2')}", ours=True), Wrote(f"1.0.1@{old}"))
    member = failing(*held, policy=pinned)
    need = back(member)
    assert isinstance(need, Need)
    assert need.images == (old,)
    gone = Unavailable(reason("registry/not-found", answer="404", repository="ghcr.io/acme/web", what=old))
    stuck = back(member._replace(facts=replace(member.facts, images={**member.facts.images, old: gone})))
    assert isinstance(stuck, Stay)
    assert stuck.reason.code == "verify/stuck"
    there = {**member.facts.images, old: Image(old)}
    found = back(member._replace(facts=replace(member.facts, images=there)))
    assert isinstance(found, Release)
    assert found.image.digest == old
