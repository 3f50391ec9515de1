"""Deciding: stories told in values alone, and the laws that hold for any of them."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automator.core.decide import (
    Decision,
    Facts,
    Limits,
    Need,
    Release,
    Stay,
    Unavailable,
    decide,
    site_key,
)
from automator.core.explain import Question, explain
from automator.core.history import FileChange, FileVersion, SiteHistory, site_history
from automator.core.policy import Workload, parse_policies
from automator.core.reference import Image, TagList
from automator.core.site import Site, locate
from automator.reasons import Reason, Status, reason

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
SEMVER = 'semver: ">=1.4 <2"'
NEWEST = 'glob: "main-*"\n    order: newest'


def digest(tag: str) -> str:
    return "sha256:" + tag.encode().hex().rjust(64, "0")[-64:]


def workload(*lines: str) -> Workload:
    keys = "\n    ".join(lines)
    text = f"version: 1\nworkloads:\n  web:\n    image: ghcr.io/acme/web\n    {keys}\n"
    policies = parse_policies({"policies/shop.yaml": text})
    assert not policies.problems, [why.sentence for _, why in policies.problems]
    (found,) = policies.workloads
    assert isinstance(found, Workload)
    return found


def sites(*versions: str) -> tuple[Site, ...]:
    """One site for each version, each in a file of its own."""
    return tuple(
        site.at(f"apps/{i}.yaml")
        for i, version in enumerate(versions)
        for site in locate(f"image: ghcr.io/acme/web{version}\n", f"{i}.yaml").sites
    )


def listed(*tags: str) -> TagList:
    found = workload(SEMVER).repository
    return TagList(found, tags, NOW, str(tags))


def past(site: Site, *older: str, who: str = "Ann") -> SiteHistory:
    """The site's history: it held `older`, newest first, before what it holds now."""
    contents = [f"image: ghcr.io/acme/web:{v}\n" for v in (site.tag, *older)]
    versions = []
    for i, content in enumerate(contents):
        before = contents[i + 1] if i + 1 < len(contents) else None
        change = FileChange(
            commit=f"{i:040x}",
            author=who,
            time=NOW - timedelta(days=i),
            message="by hand",
            path=site.file,
            before=None if before is None else f"old{i}",
            after=f"new{i}",
        )
        sides = [None if text is None else locate(text, "x.yaml").sites for text in (before, content)]
        versions.append(FileVersion(change, *sides))
    return site_history(tuple(versions), site, True)


def facts(owned: tuple[Site, ...], *tags: str, histories: dict[str, SiteHistory] | None = None) -> Facts:
    """Everything known: every tag has an image, and no site a past unless told."""
    return Facts(
        built={},
        images={tag: Image(digest(tag)) for tag in tags},
        histories={site_key(s): (histories or {}).get(s.file, past(s)) for s in owned},
    )


def settled(policy: Workload, owned: tuple[Site, ...], tags: TagList | Unavailable, known: Facts) -> Decision:
    answer = decide(policy, owned, tags, known, NOW)
    assert not isinstance(answer, Need), answer
    return answer


def code(decision: Decision | Need) -> str:
    assert isinstance(decision, Stay), decision
    return decision.reason.code


def test_the_best_tag_in_range_is_released_and_every_lower_site_raised() -> None:
    owned = sites(":1.4.2")
    tags = listed("1.4.2", "1.4.10", "1.4.9", "2.0.0", "latest", "1.5.0-rc1")
    decision = settled(workload(SEMVER), owned, tags, facts(owned, *tags.tags))
    assert isinstance(decision, Release)
    assert decision.tag == "1.4.10"
    assert decision.target == f"1.4.10@{digest('1.4.10')}"
    assert decision.current == "1.4.2"
    assert decision.sites == owned
    assert decision.count == 6


def test_nothing_newer_is_current_and_a_list_without_the_current_tag_never_moves_down() -> None:
    owned = sites(":1.4.2")
    for tags in (listed("1.4.2", "1.4.1"), listed("1.4.1"), listed()):
        decision = settled(workload(SEMVER), owned, tags, Facts())
        assert (decision.status, code(decision)) == (Status.CURRENT, "current/newest")  # type: ignore[union-attr]


def test_a_current_version_outside_the_range_is_held_not_moved_down() -> None:
    owned = sites(":2.1.0")
    decision = settled(workload(SEMVER), owned, listed("2.1.0", "1.9.0"), Facts())
    assert code(decision) == "current/outside"
    assert "1.9.0" in decision.reason.sentence  # type: ignore[union-attr]


def test_no_tag_that_passes_is_held_with_the_rule() -> None:
    owned = sites(":latest")
    known = facts(owned)
    decision = settled(workload(SEMVER), owned, listed("2.0.0", "edge"), known)
    assert code(decision) == "tag/none"
    assert ">=1.4 <2" in decision.reason.sentence  # type: ignore[union-attr]


def test_a_workload_without_a_site_is_held() -> None:
    assert code(settled(workload(SEMVER), (), listed("1.4.3"), Facts())) == "site/none"


@pytest.mark.parametrize(
    ("until", "shown"),
    [
        ("2199-12-31T23:59:59Z", "2199-12-31 23:59 UTC"),
        ("2200-01-01T13:59:59+14:00", "2199-12-31 23:59 UTC"),
        ("1969-12-31T14:00:00-14:00", None),
    ],
)
def test_a_hold_may_last_until_the_last_time_that_there_is(until: str, shown: str | None) -> None:
    policy = workload(SEMVER, f'hold: {{reason: audit, until: "{until}"}}', "min_age: 3650d", "pin: digest")
    stopped = decide(policy, sites(":1.4.2"), listed("1.4.3"), Facts(), NOW)
    assert (shown in stopped.reason.sentence) if shown else isinstance(stopped, Need)  # type: ignore[union-attr]


def test_a_hold_stops_until_its_end_and_says_when() -> None:
    until = NOW + timedelta(hours=2)
    policy = workload(SEMVER, f'hold: {{reason: "load test", until: "{until:%Y-%m-%dT%H:%M:%SZ}"}}')
    owned = sites(":1.4.2")
    known = facts(owned, "1.4.3")
    stopped = decide(policy, owned, listed("1.4.3"), known, NOW)
    assert code(stopped) == "guard/hold"
    assert stopped.reason.changes_at == until  # type: ignore[union-attr]
    assert "load test" in stopped.reason.sentence  # type: ignore[union-attr]
    assert isinstance(decide(policy, owned, listed("1.4.3"), known, until), Release)


@pytest.mark.parametrize(
    ("waiting", "status"), [(True, Status.WAITING), (False, Status.FAILED)], ids=["late", "failed"]
)
def test_tags_that_could_not_be_had_decide_nothing(waiting: bool, status: Status) -> None:
    why = reason("registry/not-asked", image="ghcr.io/acme/web")
    owned = sites(":1.4.2")
    decision = settled(workload(SEMVER), owned, Unavailable(why, waiting), facts(owned, "1.4.3"))
    assert isinstance(decision, Stay)
    assert (decision.status, decision.reason) == (status, why)


def test_sites_that_differ_are_held_on_adoption_with_the_sentence_that_mends_it() -> None:
    owned = sites(":1.4.2", ":1.3.0")
    decision = settled(workload(SEMVER), owned, listed("1.4.3"), facts(owned, "1.4.3"))
    assert code(decision) == "site/differ"
    assert "apps/0.yaml:1 is at 1.4.2 and apps/1.yaml:1 at 1.3.0" in decision.reason.sentence  # type: ignore[union-attr]
    assert "where" in decision.reason.next_step  # type: ignore[union-attr]


# -- what people turned away -------------------------------------------------------------------------


def test_a_version_that_a_person_turned_away_does_not_come_back() -> None:
    owned = sites(":1.4.2")
    known = facts(owned, "1.4.3", histories={"apps/0.yaml": past(owned[0], "1.4.3", "1.4.2")})
    decision = settled(workload(SEMVER), owned, listed("1.4.2", "1.4.3"), known)
    assert code(decision) == "history/turned-away"
    assert decision.reason.sentence.startswith("was 1.4.3 until Ann set 1.4.2")  # type: ignore[union-attr]


def test_a_newer_version_than_the_one_turned_away_is_released() -> None:
    owned = sites(":1.4.2")
    known = facts(owned, "1.4.3", "1.4.4", histories={"apps/0.yaml": past(owned[0], "1.4.3", "1.4.2")})
    decision = settled(workload(SEMVER), owned, listed("1.4.3", "1.4.4"), known)
    assert isinstance(decision, Release)
    assert decision.tag == "1.4.4"


def test_a_rejection_at_one_site_binds_the_workload() -> None:
    owned = sites(":1.4.2", ":1.4.2")
    known = facts(owned, "1.4.3", histories={"apps/1.yaml": past(owned[1], "1.4.3", "1.4.2")})
    assert code(settled(workload(SEMVER), owned, listed("1.4.3"), known)) == "history/turned-away"


def test_history_that_cannot_be_read_releases_nothing() -> None:
    owned = sites(":1.4.2")
    unread = Unavailable(reason("history/unreadable", problem="no route"), waiting=True)
    known = replace(facts(owned, "1.4.3"), histories={site_key(owned[0]): unread})
    decision = settled(workload(SEMVER), owned, listed("1.4.3"), known)
    assert (decision.status, code(decision)) == (Status.WAITING, "history/unreadable")  # type: ignore[union-attr]


# -- facts are asked for late, and few ----------------------------------------------------------------


def test_without_a_newer_tag_no_fact_is_asked_for() -> None:
    owned = sites(":1.4.3")
    assert isinstance(decide(workload(SEMVER), owned, listed("1.4.2", "1.4.3"), Facts(), NOW), Stay)


def test_history_is_asked_for_before_the_registry_and_only_for_the_best_tag() -> None:
    owned = sites(":1.4.2")
    tags = listed("1.4.3", "1.4.4", "1.4.5")
    assert decide(workload(SEMVER), owned, tags, Facts(), NOW) == Need(histories=owned)
    known = replace(facts(owned), images={})
    assert decide(workload(SEMVER), owned, tags, known, NOW) == Need(images=("1.4.5",))


def test_a_tag_without_a_manifest_is_passed_over() -> None:
    owned = sites(":1.4.2")
    gone = Unavailable(Reason("registry/not-found", (("x", "y"),)))
    known = replace(facts(owned, "1.4.3"), images={"1.4.4": gone, "1.4.3": Image(digest("1.4.3"))})
    decision = settled(workload(SEMVER), owned, listed("1.4.3", "1.4.4"), known)
    assert isinstance(decision, Release)
    assert decision.tag == "1.4.3"
    alone = settled(workload(SEMVER), owned, listed("1.4.4"), known)
    assert (alone.status, code(alone)) == (Status.WAITING, "tag/gone")  # type: ignore[union-attr]


def test_a_registry_that_fails_for_the_best_tag_does_not_fall_back_to_another() -> None:
    owned = sites(":1.4.2")
    down = Unavailable(reason("registry/late", image="x", seconds="30"), waiting=True)
    known = replace(facts(owned, "1.4.3"), images={"1.4.4": down, "1.4.3": Image(digest("1.4.3"))})
    decision = settled(workload(SEMVER), owned, listed("1.4.3", "1.4.4"), known)
    assert (decision.status, code(decision)) == (Status.WAITING, "registry/late")  # type: ignore[union-attr]


# -- order: newest --------------------------------------------------------------------------------------


def built(**hours_ago: int) -> dict[str, datetime | Unavailable | None]:
    return {tag.replace("_", "-"): NOW - timedelta(hours=h) for tag, h in hours_ago.items()}


def test_newest_asks_for_the_build_times_of_what_the_filters_leave_and_of_the_current_tag() -> None:
    owned = sites(":main-1")
    tags = listed("main-1", "main-2", "dev-3", "main-4")
    need = decide(workload(NEWEST), owned, tags, Facts(), NOW)
    assert need == Need(built=("main-1", "main-2", "main-4"))


def test_newest_takes_the_latest_build_whatever_the_tags_say() -> None:
    owned = sites(":main-9")
    tags = listed("main-9", "main-2", "main-1")
    known = replace(facts(owned, *tags.tags), built=built(main_9=5, main_2=1, main_1=3))
    decision = settled(workload(NEWEST), owned, tags, known)
    assert isinstance(decision, Release)
    assert decision.tag == "main-2"


def test_newest_drops_an_undated_tag_and_holds_on_an_undated_current_one() -> None:
    owned = sites(":main-1")
    tags = listed("main-1", "main-2")
    undated_tag = replace(facts(owned, *tags.tags), built={**built(main_1=3), "main-2": None})
    assert code(settled(workload(NEWEST), owned, tags, undated_tag)) == "current/newest"
    undated_current = replace(facts(owned, *tags.tags), built={**built(main_2=3), "main-1": None})
    assert code(settled(workload(NEWEST), owned, tags, undated_current)) == "current/undated"


def test_newest_decides_nothing_while_a_build_time_is_late() -> None:
    owned = sites(":main-1")
    late = Unavailable(reason("registry/late", image="x", seconds="30"), waiting=True)
    known = replace(facts(owned), built={**built(main_1=3, main_2=1), "main-3": late})
    decision = settled(workload(NEWEST), owned, listed("main-1", "main-2", "main-3"), known)
    assert (decision.status, code(decision)) == (Status.WAITING, "registry/late")  # type: ignore[union-attr]


def test_more_lookups_than_allowed_are_held_with_the_count() -> None:
    owned = sites(":main-0")
    tags = listed(*(f"main-{i}" for i in range(12)))
    decision = decide(workload(NEWEST), owned, tags, Facts(), NOW, Limits(lookups=10))
    assert code(decision) == "facts/too-many"
    assert decision.reason.sentence.startswith("12 build times")  # type: ignore[union-attr]


# -- current values that the policy cannot order ----------------------------------------------------------


def test_latest_is_replaced_where_nobody_has_released_yet() -> None:
    owned = sites(":latest")
    decision = settled(workload(SEMVER), owned, listed("1.4.3"), facts(owned, "1.4.3"))
    assert isinstance(decision, Release)
    assert decision.current == "latest"


# -- explain ---------------------------------------------------------------------------------------------


def test_explain_tells_of_every_tag_newest_first_what_became_of_it() -> None:
    owned = sites(":1.4.2")
    policy = workload(SEMVER, 'exclude: ["1.4.4"]')
    tags = listed("1.4.1", "1.4.2", "1.4.3", "1.4.4", "1.4.5", "2.0.0", "edge")
    known = facts(owned, *tags.tags)
    decision = settled(policy, owned, tags, known)
    verdicts = explain(Question(policy, owned, known, NOW, decision), tags)
    assert [(v.tag, v.reason.code, v.kept) for v in verdicts] == [
        ("2.0.0", "tag/range", False),
        ("1.4.5", "tag/chosen", True),
        ("1.4.4", "tag/excluded", False),
        ("1.4.3", "tag/lower", False),
        ("1.4.2", "tag/current", True),
        ("1.4.1", "tag/older", False),
        ("edge", "tag/unreadable", False),
    ]
    assert all(v.reason.sentence for v in verdicts)


# -- laws --------------------------------------------------------------------------------------------------

TAGS = st.lists(
    st.one_of(
        st.builds("1.{}.{}".format, st.integers(3, 6), st.integers(0, 12)),
        st.sampled_from(
            ["2.0.0", "latest", "v1.4.3", "1.5.0-rc1", "1.4", "0.9.9", "sha-1a2b3c", "1.4.3-alpine"]
        ),
        st.from_regex(r"[a-z0-9][a-z0-9.-]{0,12}", fullmatch=True),
    ),
    max_size=25,
)
CURRENT = st.sampled_from(["1.3.9", "1.4.2", "1.4.12", "1.6.0", "latest", "1.5.0-rc1"])
PAST = st.lists(st.sampled_from(["1.3.0", "1.4.1", "1.4.2", "1.4.3", "1.5.0", "1.6.1", "latest"]), max_size=4)


def _decided(tags: list[str], current: str, before: list[str]) -> tuple[Workload, tuple[Site, ...], Decision]:
    policy = workload(SEMVER)
    owned = sites(f":{current}")
    known = facts(owned, *tags, histories={"apps/0.yaml": past(owned[0], *before)})
    return policy, owned, settled(policy, owned, listed(*tags), known)


@given(TAGS, CURRENT, PAST, st.randoms(use_true_random=False))
def test_law_the_order_of_tags_and_duplicates_do_not_matter(
    tags: list[str], current: str, before: list[str], chance: random.Random
) -> None:
    shuffled = [*tags, *tags[: len(tags) // 2]]
    chance.shuffle(shuffled)
    _, _, one = _decided(tags, current, before)
    _, _, other = _decided(shuffled, current, before)
    assert one == other


@given(TAGS, CURRENT, PAST)
def test_law_never_backwards_and_only_what_the_policy_allows(
    tags: list[str], current: str, before: list[str]
) -> None:
    policy, _, decision = _decided(tags, current, before)
    if isinstance(decision, Release):
        assert decision.tag in tags
        assert decision.sites
        here = policy.rule.rank(current)
        assert here is None or policy.rule.rank(decision.tag) > here
        marks = [r for tag in before if (r := policy.rule.rank(tag)) is not None]
        if here is not None and any(mark > here for mark in marks):
            assert policy.rule.rank(decision.tag) > max(marks)


@given(TAGS, CURRENT, PAST)
def test_law_deciding_again_after_the_release_finds_it_current(
    tags: list[str], current: str, before: list[str]
) -> None:
    policy, owned, decision = _decided(tags, current, before)
    if isinstance(decision, Release):
        moved = tuple(replace(site, tag=decision.tag) for site in owned)
        again = settled(policy, moved, listed(*tags), facts(moved, *tags))
        assert code(again) == "current/newest"


@given(TAGS, CURRENT, PAST, st.sampled_from(["2.3.4", "edge", "9.9.9-rc1", "sha256-" + "0" * 64 + ".sig"]))
def test_law_a_tag_that_the_policy_refuses_changes_nothing(
    tags: list[str], current: str, before: list[str], refused: str
) -> None:
    _, _, without = _decided([t for t in tags if t != refused], current, before)
    _, _, with_it = _decided([*tags, refused], current, before)
    if isinstance(without, Release) and isinstance(with_it, Release):
        assert (without.tag, without.sites) == (with_it.tag, with_it.sites)
    else:
        assert type(without) is type(with_it)
        assert code(without) == code(with_it)


@given(TAGS, CURRENT, PAST)
def test_law_explain_agrees_with_the_decision(tags: list[str], current: str, before: list[str]) -> None:
    policy, owned, decision = _decided(tags, current, before)
    known = facts(owned, *tags, histories={"apps/0.yaml": past(owned[0], *before)})
    verdicts = explain(Question(policy, owned, known, NOW, decision), listed(*tags))
    assert sorted(v.tag for v in verdicts) == sorted(set(tags))
    chosen = [v.tag for v in verdicts if v.reason.code == "tag/chosen"]
    assert chosen == ([decision.tag] if isinstance(decision, Release) else [])
    kept = {v.tag for v in verdicts if v.kept}
    assert kept <= {*chosen, current}
