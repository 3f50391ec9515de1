"""Laws of the decision, under every key of the policy table: what holds for any tags, images and pasts."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st
from parts.deciding import (
    NOW,
    World,
    Wrote,
    decide_together,
    digest,
    past,
    sites,
    told,
    workload,
    workloads,
)

from automator.core.claims import Ledger
from automator.core.decide import Release, Stay, Unavailable, excludes_current
from automator.core.explain import Question, explain
from automator.core.guardrails import bind
from automator.core.history import turned_away
from automator.core.policy import Candidate, Dropped, InvalidWorkload, Workload, parse_policies
from automator.core.rail import Rail
from automator.core.reference import Image
from automator.core.site import Site, locate
from automator.core.standing import current_of
from automator.reasons import Reason, Status

# -- policies, and the world around them ------------------------------------------------------------------

CHOICES = st.sampled_from(
    (
        'semver: ">=1.0 <2"',
        'semver: ">=1.4 <1.6"',
        'semver: ">=1.0 <2"\nprereleases: allow',
        'semver: "1.x"\nversions: lenient',
        'glob: "v{key}"\nsemver: ">=1.0"',
        "order: version",
        'glob: "1.*"\norder: newest',
        "order: alphabetical",
    )
)
CLOSED = 'windows: [{deny: "0 9 * * *", for: 2h}]'
OPEN = 'windows: [{allow: "0 9 * * *", for: 2h}]'
GUARDS = (
    "min_age: 30m",
    "platforms: [linux/arm64]",
    CLOSED,
    OPEN,
    'reject: ["1.5.0", "1.4.12"]',
    f'reject: ["{digest("1.5.0")}"]',
    'exclude: ["1.4.1*"]',
    "hold: {reason: audit}",
)
ESCAPES = (
    "downgrade: true",
    "align: true",
    'accept: ["1.5.1"]',
    'urgent: {version: "1.4.12", reason: CVE}',
    "pin: digest",
)


def _keys(lines: Sequence[str]) -> list[str]:
    """One line for each key: a key cannot stand twice."""
    return list({line.partition(":")[0]: line for line in lines}.values())


guard_lines = st.lists(st.sampled_from(GUARDS), max_size=4).map(_keys)
escape_lines = st.lists(st.sampled_from(ESCAPES), max_size=3).map(_keys)
steps = st.sampled_from(("", "step: patch", "step: minor"))


@st.composite
def policies(draw: st.DrawFn) -> list[str]:
    choice = draw(CHOICES)
    step = draw(steps) if "semver" in choice else ""
    return [choice, *filter(None, [step]), *draw(guard_lines), *draw(escape_lines)]


VERSIONS = (
    "1.3.9",
    "1.4.2",
    "1.4.3",
    "1.4.12",
    "1.5.0",
    "1.5.1",
    "1.6.0",
    "v1.4.3",
    "v1.5.0",
    "1.5",
    "2.0.0",
)
ODD = ("latest", "1.5.0-rc.1", "sha-1a2b3c", "1.4.3-alpine", "20261120", "main-7", "0.9.9")
TAGS = st.lists(st.sampled_from(VERSIONS + ODD), max_size=14)
CURRENT = st.lists(st.sampled_from((*VERSIONS, "latest", "1.5.0-rc.1")), min_size=1, max_size=2)
PAST = st.lists(st.tuples(st.sampled_from((*VERSIONS, "latest")), st.booleans()), max_size=4)
AGES = st.dictionaries(st.sampled_from(VERSIONS), st.sampled_from((1, 29, 30, 600)), max_size=6)
GONE = Unavailable(Reason("registry/not-found", (("x", "y"),)))
DOWN = Unavailable(Reason("registry/late", (("image", "x"), ("seconds", "30"))), waiting=True)


def _served(tag: str, how: str) -> Image | Unavailable:
    if how in ("gone", "down"):
        return GONE if how == "gone" else DOWN
    return Image(
        digest(tag), platforms=("linux/amd64",) if how == "amd64" else ("linux/amd64", "linux/arm64")
    )


IMAGES = st.dictionaries(st.sampled_from(VERSIONS), st.sampled_from(("amd64", "gone", "down")), max_size=4)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    lines = draw(policies())
    return draw(around(workload(*lines), tuple(lines)))


@st.composite
def around(draw: st.DrawFn, policy: Workload, lines: tuple[str, ...]) -> World:
    """What may surround a workload: tags, images, ages, sites, and what people and we did to these."""
    images = {tag: _served(tag, how) for tag, how in draw(IMAGES).items()}
    ages = {tag: age for tag, age in draw(AGES).items() if not isinstance(images.get(tag), Unavailable)}
    owned = sites(*draw(CURRENT), name=policy.name)
    return World(
        policy,
        owned,
        draw(TAGS),
        images,
        {tag: NOW - timedelta(minutes=minutes) for tag, minutes in ages.items()},
        {site.file: past(site, site.tag or "", *_steps(site.tag or "", draw(PAST))) for site in owned},
        lines=lines,
    )


def _steps(now: str, drawn: list[tuple[str, bool]]) -> list[Wrote]:
    """A past of real changes: nobody writes what is there already, and the first to write was a person."""
    found: list[Wrote] = []
    for value, ours in drawn:
        if value != (found[-1].value if found else now):
            found.append(Wrote(value, ours))
    return [step if i + 1 < len(found) else Wrote(step.value) for i, step in enumerate(found)]


# -- laws of one workload -----------------------------------------------------------------------------------


@given(worlds(), st.randoms(use_true_random=False))
def test_the_order_of_tags_and_duplicates_do_not_matter(world: World, chance: random.Random) -> None:
    shuffled = [*world.tags, *world.tags[: len(world.tags) // 2]]
    chance.shuffle(shuffled)
    other = world.again(tags=shuffled)
    assert world.decide() == other.decide()
    assert world.asked == other.asked


SIGNATURE = "sha256-" + "0" * 64 + ".sig"


@given(worlds(), st.lists(st.sampled_from((SIGNATURE, *ODD, "9.9.9", "0.0.1", "1.4.1")), min_size=1))
def test_tags_that_the_policy_refuses_change_nothing(world: World, more: list[str]) -> None:
    refused = [tag for tag in more if isinstance(world.workload.rule.judge(tag), Dropped)]
    other = world.again(tags=[*world.tags, *refused])
    assert told(world.decide()) == told(other.decide())
    assert world.asked == other.asked


@given(worlds())
def test_nothing_goes_backwards_without_downgrade(world: World) -> None:
    found = world.decide()
    if not isinstance(found, Release):
        return
    current = current_of(world.workload, world.sites, world.facts)
    may_go_down = world.workload.downgrade and excludes_current(world.workload, current)
    assert not found.down or may_go_down
    if current.rank is not None and not may_go_down:
        assert world.rank(found.tag) > current.rank
    for site in found.sites:
        here = world.rank(site.tag)
        assert here is None or found.down or world.rank(found.tag) > here


@given(worlds())
def test_what_is_released_is_listed_and_passes_alone_too(world: World) -> None:
    found = world.decide()
    if isinstance(found, Release):
        assert found.tag in world.tags
        assert isinstance(world.workload.rule.judge(found.tag), Candidate)
        alone = world.again(tags=[found.tag]).decide()
        assert isinstance(alone, Release)
        assert (alone.tag, alone.sites, alone.image) == (found.tag, found.sites, found.image)


@given(worlds())
def test_what_people_turned_away_stays_away_unless_accepted(world: World) -> None:
    found = world.decide()
    if not isinstance(found, Release) or world.workload.rule.names(world.workload.accept, found.tag):
        return
    for site in world.sites:
        rejection = turned_away(world.pasts[site.file], world.rank(site.tag), world.rank)
        assert rejection is None or not rejection.rejects(world.rank(found.tag))


@given(worlds())
def test_after_a_release_there_is_nothing_more_to_release(world: World) -> None:
    found = world.decide()
    if not isinstance(found, Release):
        return
    then = world.applied(found).decide()
    assert isinstance(then, Stay)
    candidates = [tag for tag in world.tags if isinstance(world.workload.rule.judge(tag), Candidate)]
    if all(world.rank(tag) <= world.rank(found.tag) for tag in candidates):
        assert then.status is Status.CURRENT


@given(worlds())
def test_facts_asked_for_are_few(world: World) -> None:
    """Nothing is asked about a tag that a cheaper rule drops, or twice, or for one below the chosen."""
    found = world.decide()
    assert len(world.looked_up) == len(set(world.looked_up))
    current = current_of(world.workload, world.sites, world.facts)
    may_go_down = world.workload.downgrade and excludes_current(world.workload, current)
    for tag in world.looked_up:
        if tag == current.tag:
            continue  # whether a pinned digest is still there
        assert tag in world.tags
        assert isinstance(world.workload.rule.judge(tag), Candidate)
        assert current.rank is None or may_go_down or world.rank(tag) > current.rank
        assert not isinstance(found, Release) or world.rank(tag) >= world.rank(found.tag)
    written = {value.tag for history in world.pasts.values() for value in history.held}
    for tag in (tag for need in world.asked for tag in need.built):
        assert tag in written or isinstance(world.workload.rule.judge(tag), Candidate)
    first_look = next((i for i, need in enumerate(world.asked) if need.images), len(world.asked))
    assert not any(need.histories or need.built for need in world.asked[first_look:])
    assert world.workload.hold is None or world.asked == []


@given(worlds(), st.sampled_from((*GUARDS, "step: patch", "step: minor", "min_age: 2h")))
def test_another_guard_lets_nothing_through_that_was_not_possible(world: World, guard: str) -> None:
    assume(guard.partition(":")[0] not in {line.partition(":")[0] for line in world.lines})
    assume("step" not in guard or any("semver" in line for line in world.lines))
    # A filter that excludes the current version is what `downgrade` waits for.
    assume("downgrade: true" not in world.lines or not guard.startswith(("reject", "exclude")))
    guarded = world.again(workload=workload(*world.lines, guard)).decide()
    if isinstance(guarded, Release):
        possible = world.again(tags=[guarded.tag]).decide()
        assert isinstance(possible, Release)
        assert possible.tag == guarded.tag


RULES = st.fixed_dictionaries(
    {},
    optional={
        "min_age": st.sampled_from(("29m", "30m", "2h")),
        "step": st.sampled_from(("patch", "minor", "major")),
        "platforms": st.just(["linux/arm64"]),
        "registries": st.sampled_from((["ghcr.io"], ["quay.io"])),
        "images": st.sampled_from((["ghcr.io/acme/*"], ["ghcr.io/other/*"])),
        "require": st.sampled_from((["owner"], ["min_age"])),
        "forbid": st.sampled_from((["urgent"], ["downgrade", "accept"])),
        "environments": st.just(["production"]),
    },
).filter(lambda rule: rule.keys() - {"environments"})


@given(worlds(), st.lists(RULES, max_size=2), RULES)
def test_another_rule_never_makes_a_release_possible(
    world: World, rules: list[dict[str, Any]], another: dict[str, Any]
) -> None:
    def rails(told: list[dict[str, Any]]) -> tuple[Rail, ...]:
        text = json.dumps({"version": 1, "rules": told})
        found = parse_policies({"policies/_rules.yaml": text})
        assert found.problems == ()
        return found.rails

    files = [site.file for site in world.sites]
    under = bind(world.workload, files, rails([*rules, another]))
    if not isinstance(under, Workload):
        return
    released = world.again(workload=under).decide()
    if isinstance(released, Release):
        before = bind(world.workload, files, rails(rules))
        assert isinstance(before, Workload)
        possible = world.again(workload=before, tags=[released.tag]).decide()
        assert isinstance(possible, Release)
        assert possible.tag == released.tag


@given(worlds())
def test_every_tag_is_explained_once_and_the_chosen_one_is_the_decisions(world: World) -> None:
    decision = world.decide()
    verdicts = explain(Question(world.workload, world.sites, world.facts, NOW, decision), world.listed)
    assert sorted(verdict.tag for verdict in verdicts) == sorted(set(world.tags))
    chosen = [verdict.tag for verdict in verdicts if verdict.reason.code == "tag/chosen"]
    assert chosen == ([decision.tag] if isinstance(decision, Release) else [])
    current = current_of(world.workload, world.sites, world.facts).tag
    assert {verdict.tag for verdict in verdicts if verdict.kept} <= {*chosen, current}
    for verdict in verdicts:
        judged = world.workload.rule.judge(verdict.tag)
        assert verdict.reason.sentence
        if isinstance(judged, Dropped):
            assert verdict.reason == judged.reason
    if isinstance(decision, Stay) and decision.candidate in world.tags and _of_a_tag(decision.reason):
        (verdict,) = (v for v in verdicts if v.tag == decision.candidate)
        assert verdict.reason == decision.reason


def _of_a_tag(why: Reason) -> bool:
    """Whether a reason to stay speaks of one tag."""
    return any(name == "tag" for name, _ in why.params)


# -- laws of groups -----------------------------------------------------------------------------------------

GROUPS = st.sampled_from(("group: shop", "group: {name: shop, match: any}"))
MEMBER_CHOICES = st.sampled_from(
    ('semver: ">=1.0 <2"', 'semver: ">=1.4 <1.6"', 'semver: "1.x"\nversions: lenient')
)


@st.composite
def groups(draw: st.DrawFn) -> list[World]:
    group = draw(GROUPS)
    keys: dict[str, tuple[str, ...]] = {}
    for name in ("api", "job", "web")[: draw(st.integers(2, 3))]:
        keys[name] = (
            group,
            draw(MEMBER_CHOICES),
            *filter(None, [draw(steps)]),
            *draw(guard_lines),
            *draw(escape_lines),
        )
    members = workloads({name: "\n".join(lines) for name, lines in keys.items()})
    return [draw(around(member, keys[member.name])) for member in members]


@given(groups(), st.randoms(use_true_random=False))
def test_the_order_of_members_does_not_matter(members: list[World], chance: random.Random) -> None:
    shuffled = [member.again() for member in members]
    chance.shuffle(shuffled)
    assert decide_together(members) == decide_together(shuffled)


@given(groups())
def test_all_members_move_or_none(members: list[World]) -> None:
    found = decide_together(members)
    moves = {name: move for name, move in found.items() if isinstance(move, Release)}
    if not moves:
        return
    others = [stay for stay in found.values() if isinstance(stay, Stay)]
    assert {stay.status for stay in others} <= {Status.CURRENT}
    by_name = {member.workload.name: member for member in members}
    group = members[0].workload.group
    assert group is not None
    if group.match == "version":
        assert len({by_name[name].rank(move.tag) for name, move in moves.items()}) == 1
    for name, move in moves.items():
        lines = tuple(line for line in by_name[name].lines if not line.startswith("group"))
        alone = by_name[name].again(workload=workload(*lines, name=name), tags=[move.tag]).decide()
        assert isinstance(alone, Release)
        assert (alone.tag, alone.image) == (move.tag, move.image)


@given(groups())
def test_after_a_groups_release_there_is_nothing_more_to_release(members: list[World]) -> None:
    found = decide_together(members)
    after = []
    for member in members:
        decision = found[member.workload.name]
        after.append(member.applied(decision) if isinstance(decision, Release) else member.again())
    if any(isinstance(decision, Release) for decision in found.values()):
        assert not any(isinstance(decision, Release) for decision in decide_together(after).values())


@given(groups())
def test_a_group_asks_about_no_version_that_a_member_cannot_have(members: list[World]) -> None:
    decide_together(members)
    group = members[0].workload.group
    assert group is not None
    for member in members:
        assert len(member.looked_up) == len(set(member.looked_up))
        for tag in member.looked_up:
            assert isinstance(member.workload.rule.judge(tag), Candidate) or tag in {
                s.tag for s in member.sites
            }
            if group.match == "version" and tag not in {s.tag for s in member.sites}:
                assert all(_can_have(other, member.rank(tag)) for other in members)


def _can_have(member: World, rank: Any) -> bool:
    """Whether a version is listed and accepted for a member, or is the one it has."""
    accepted = (tag for tag in member.tags if isinstance(member.workload.rule.judge(tag), Candidate))
    return rank in {member.rank(tag) for tag in (*accepted, *(site.tag for site in member.sites))}


@given(groups(), st.data())
def test_who_holds_one_member_holds_all(members: list[World], data: st.DataObject) -> None:
    held = data.draw(st.integers(0, len(members) - 1))
    stopped = [
        member.again(
            workload=workload(
                *(line for line in member.lines if not line.startswith("hold")),
                *(["hold: {reason: audit}"] if i == held else []),
                name=member.workload.name,
            )
        )
        for i, member in enumerate(members)
    ]
    assert not any(isinstance(decision, Release) for decision in decide_together(stopped).values())


# -- follow -------------------------------------------------------------------------------------------------

DIGESTS = tuple(digest(text) for text in ("one", "two", "three"))
FOLLOWED = st.lists(st.sampled_from(("7", *(f"7@{d}" for d in DIGESTS))), min_size=1, max_size=4)


@given(FOLLOWED, st.sampled_from(DIGESTS), guard_lines, st.sampled_from(("", f'accept: ["{DIGESTS[0]}"]')))
def test_a_followed_digest_never_returns_to_one_that_was_left(
    values: list[str], served: str, guards: list[str], accept: str
) -> None:
    lines = [line for line in guards if not line.startswith("exclude")]
    policy = workload('follow: "7"', *lines, *filter(None, [accept]))
    held = [value for i, value in enumerate(values) if i == 0 or value != values[i - 1]]
    owned = sites(held[0])
    world = World(
        policy,
        owned,
        (),
        {"7": Image(served, platforms=("linux/arm64",))},
        {},
        {owned[0].file: past(owned[0], *held)},
    )
    found = world.decide()
    assert world.looked_up in ([], ["7"])
    if isinstance(found, Release):
        assert found.image.digest == served
        assert f"7@{served}" not in held or served in policy.accept
        assert told(world.applied(found).decide()) == "current/followed"
    elif held[0] == f"7@{served}" and policy.hold is None:
        assert told(found) == "current/followed"


# -- invalid policies ---------------------------------------------------------------------------------------

MISTAKES = st.sampled_from(
    (
        "min_age: soon",
        "min_age: 30",
        "platforms: [linux]",
        "platforms: []",
        'windows: [{allow: "0 9 * *", for: 8h}]',
        'windows: [{allow: "0 9 * * *", deny: "0 9 * * *", for: 8h}]',
        "after: {workload: nobody}",
        "after: {soak: 1h}",
        "group: {nmae: x}",
        "follow: '7'",
        "step: huge",
        "reject: [a b]",
        "urgent: {version: '1.4.3'}",
        "downgrade: yes please",
        "hold: {}",
        "signed_by: [acme, ../x]",
        "verify: a/b",
        "unknown: key",
        "where: {paths: ['!']}",
        "tags_from: Not/A repo",
        "platforms: [linux/amd64]\n    pin: tag",
    )
)
FILES = tuple(f"{folder}/{name}.yaml" for folder in ("apps", "staging") for name in ("a", "b"))


def _owners(text: str) -> tuple[dict[str, frozenset[Site]], dict[str, bool]]:
    """Who owns which sites under a policy file, and who may release at all."""
    policies_read = parse_policies({"policies/shop.yaml": text})
    ledger = Ledger(policies_read.workloads)
    for file in FILES:
        ledger.put(file, tuple(s.at(file) for s in locate("image: ghcr.io/acme/web:1.4.2\n", "x.yaml").sites))
    claims = ledger.claims()
    valid = {w.name: not isinstance(w, InvalidWorkload) for w in policies_read.workloads}
    owners = {name: frozenset(found) for name, found in claims.sites.items() if name not in claims.problems}
    return owners, valid


@given(
    st.sampled_from(("", "    where: {paths: ['apps/**']}\n", "    where: {paths: ['staging/a.yaml']}\n")),
    st.sampled_from(("", "    where: {paths: ['staging/**']}\n", "    where: {paths: ['apps/a.yaml']}\n")),
    MISTAKES,
)
def test_an_invalid_policy_releases_nothing_and_frees_no_site_for_another(
    first: str, second: str, mistake: str
) -> None:
    entry = "  {name}:\n    image: ghcr.io/acme/web\n    semver: '1.x'\n{where}"
    head = "version: 1\nworkloads:\n"
    other = entry.format(name="other", where=second)
    good, _ = _owners(head + entry.format(name="web", where=first) + other)
    if first and mistake.startswith("where"):
        first = ""
    bad, valid = _owners(head + entry.format(name="web", where=first) + f"    {mistake}\n" + other)
    assert valid == {"web": False, "other": True}
    assert bad.get("other", frozenset()) <= good.get("other", frozenset())
