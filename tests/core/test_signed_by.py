"""`signed_by`: what is decided of versions that are signed, are not, or of which nobody knows."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from parts.deciding import LONG_AGO, NOW, SEMVER, World, code, decide_together, digest, sites, told, workload

from automator.core.decide import Need, Release, Stay, decide
from automator.core.explain import Question, explain
from automator.core.facts import Signature, Unavailable
from automator.core.guardrails import bind
from automator.core.guards import unknown_key
from automator.core.rail import Rail
from automator.core.testbench import read_tags_file, try_policy
from automator.core.workload import Workload
from automator.reasons import Status, reason

MINUTE = timedelta(minutes=1)
NONE = Signature(NOW, False, ("release",))
WRONG = Signature(NOW, False, ("release",), "it is by another key, or was altered")
DOWN = Unavailable(reason("registry/server-error", repository="ghcr.io/acme/web", answer="HTTP 500"))


def world(*lines: str, tags: str, **more: object) -> World:
    """One workload under `semver: >=1.0 <2` that must be signed."""
    keys = lines or (SEMVER, "signed_by: release")
    return World(workload(*keys), sites("1.4.2"), tags.split(), **more)  # type: ignore[arg-type]


def stays(found: object) -> Stay:
    assert isinstance(found, Stay), found
    return found


def test_a_signed_version_is_released_with_the_digest_that_is_signed() -> None:
    signed = world(tags="1.4.2 1.4.3")
    assert told(signed.decide()) == "to 1.4.3"
    assert signed.workload.pin == "digest"
    asked = [need.signatures for need in signed.asked if need.signatures]
    assert asked == [((digest("1.4.3"), (("release",),)),)]


def test_without_the_key_nothing_is_asked() -> None:
    plain = world(SEMVER, "platforms: [linux/amd64]", tags="1.4.2 1.4.3")
    assert told(plain.decide()) == "to 1.4.3"
    assert not any(need.signatures for need in plain.asked)


@pytest.mark.parametrize(("found", "name"), [(NONE, "guard/unsigned"), (WRONG, "guard/bad-signature")])
def test_it_is_awaited_for_an_hour_and_then_holds(found: Signature, name: str) -> None:
    for age, status in ((0, Status.WAITING), (59, Status.WAITING), (60, Status.HELD)):
        made = world(tags="1.4.3", unsigned={digest("1.4.3"): found}, since={"1.4.3": NOW - age * MINUTE})
        stay = stays(made.decide())
        assert (stay.status, stay.reason.code) == (status, name)
        assert (stay.polled, stay.hourly) == (status is Status.WAITING, status is Status.HELD)


def test_what_lacks_and_what_is_wrong_are_told_differently() -> None:
    unsigned = stays(world(tags="1.4.3", unsigned={digest("1.4.3"): NONE}).decide()).reason
    assert unsigned.sentence == f"1.4.3 of ghcr.io/acme/web has no signature by release ({digest('1.4.3')})"
    wrong = stays(world(tags="1.4.3", unsigned={digest("1.4.3"): WRONG}).decide()).reason
    assert wrong.sentence.endswith(f"({digest('1.4.3')}): it is by another key, or was altered")


def test_the_next_best_version_that_is_signed_is_taken() -> None:
    made = world(tags="1.4.3 1.4.4 1.4.5", unsigned={digest("1.4.5"): NONE, digest("1.4.4"): WRONG})
    assert told(made.decide()) == "to 1.4.3"


def test_without_an_answer_no_other_version_is_taken() -> None:
    stay = stays(world(tags="1.4.3 1.4.4", unsigned={digest("1.4.4"): DOWN}).decide())
    assert (stay.status, stay.reason.code, stay.candidate) == (
        Status.FAILED,
        "registry/server-error",
        "1.4.4",
    )


def test_urgency_does_not_go_past_it() -> None:
    lines = (SEMVER, "signed_by: release", "urgent: {version: 1.4.3, reason: CVE}")
    made = world(*lines, tags="1.4.3", unsigned={digest("1.4.3"): NONE})
    assert code(made.decide()) == "guard/unsigned"


def test_what_was_looked_at_within_the_hour_costs_nothing_below_the_best() -> None:
    tags = " ".join(f"1.5.{i}" for i in range(5))
    old = {f"1.5.{i}": LONG_AGO for i in range(5)}
    made = world(tags=tags, since=old)
    key = made.workload.guards.signed_by
    earlier = replace(NONE, at=NOW - 59 * MINUTE)
    looked = dict.fromkeys(old, NOW - 59 * MINUTE)
    made.facts = replace(made.facts, unsigned={(digest(tag), key): earlier for tag in old}, looked=looked)
    assert code(made.decide()) == "guard/unsigned"
    assert made.looked_up == ["1.5.4"]
    assert not any(need.signatures for need in made.asked)
    late = made.again(now=NOW + MINUTE, unsigned={digest(tag): NONE for tag in old})
    late.facts = replace(made.facts, seen=made.facts.seen, images={}, signatures={}, looked=looked)
    assert code(late.decide()) == "guard/unsigned"
    assert len(late.looked_up) == 5


def test_lookups_are_bounded() -> None:
    tags = [f"1.5.{i}" for i in range(20)]
    made = world(tags=" ".join(tags), unsigned={digest(tag): NONE for tag in tags})
    assert code(made.decide(lookups=7)) == "facts/too-many-candidates"
    assert sum(len(need.signatures) for need in made.asked) == 7


def test_a_followed_tag_moves_to_signed_digests_only() -> None:
    for found, outcome in ((NONE, "guard/unsigned"), (None, "to 7")):
        unsigned = {} if found is None else {digest("7"): found}
        made = World(workload("follow: '7'", "signed_by: release"), sites("7"), ["7"], unsigned=unsigned)
        assert told(made.decide()) == outcome


def test_a_group_waits_for_the_signature_of_each_member() -> None:
    def member(name: str, unsigned: bool) -> World:
        lines = (SEMVER, "group: shop", "signed_by: release")
        missing = {digest("1.4.3"): NONE} if unsigned else {}
        return World(workload(*lines, name=name), sites("1.4.2", name=name), ["1.4.3"], unsigned=missing)

    held = decide_together([member("web", False), member("worker", True)])
    assert {name: code(found) for name, found in held.items()} == {
        "web": "group/member-stops",
        "worker": "guard/unsigned",
    }
    moved = decide_together([member("web", False), member("worker", False)])
    assert all(isinstance(found, Release) for found in moved.values())


def test_each_tag_is_explained() -> None:
    made = world(tags="1.4.3 1.4.4", unsigned={digest("1.4.4"): WRONG})
    decision = made.decide()
    found = explain(Question(made.workload, made.sites, made.facts, NOW, decision), made.listed)
    assert [(verdict.tag, verdict.reason.code) for verdict in found] == [
        ("1.4.4", "guard/bad-signature"),
        ("1.4.3", "tag/chosen"),
    ]


def test_the_test_bench_takes_who_signed_each_tag() -> None:
    lines = read_tags_file("tags", "1.4.3\n1.4.4 signed=dev,other\n1.4.5 signed=\n1.4.6 signed=dev # no\n")
    trial = try_policy(workload(SEMVER, "signed_by: [release, other]"), lines, "1.4.2", NOW)
    assert told(trial.decision) == "to 1.4.4"
    assert {v.tag: v.reason.code for v in trial.verdicts} == {
        "1.4.6": "guard/unsigned",
        "1.4.5": "guard/unsigned",
        "1.4.4": "tag/chosen",
        "1.4.3": "tag/lower",
    }


# -- rules ----------------------------------------------------------------------------------------------


def rail(*keys: str, number: int = 0) -> Rail:
    return Rail(("_rules.yaml", number), "policies/_rules.yaml:3", signed_by=keys)


def bound(*lines: str, rails: tuple[Rail, ...]) -> Workload:
    found = bind(workload(SEMVER, *lines), ["apps/web.yaml"], rails)
    assert isinstance(found, Workload), found
    return found


def test_a_rule_adds_its_signature_to_that_of_the_policy() -> None:
    assert bound(rails=(rail("release"),)).guards.signed_by == (("release",),)
    assert bound(rails=(rail("release"),)).pin == "digest"
    both = bound("signed_by: [dev, ci]", rails=(rail("release"), rail("release", number=1)))
    assert both.guards.signed_by == (("dev", "ci"), ("release",))
    assert bind(both, ["apps/web.yaml"], (rail("release"),)) == both


def test_a_policy_that_does_not_pin_a_digest_is_against_a_rule_that_wants_a_signature() -> None:
    found = bind(workload(SEMVER, "pin: tag"), ["apps/web.yaml"], (rail("release", "ci"),))
    assert not isinstance(found, Workload)
    assert "wants a signature (release or ci), which binds a digest" in found.sentence


def test_a_rule_may_require_that_policies_name_a_key() -> None:
    wants = Rail(("_rules.yaml", 0), "policies/_rules.yaml:3", require=("signed_by",))
    assert not isinstance(bind(workload(SEMVER), ["apps/web.yaml"], (wants,)), Workload)
    assert isinstance(bind(workload(SEMVER, "signed_by: dev"), ["apps/web.yaml"], (wants,)), Workload)


def test_a_name_that_the_config_lacks_is_told_with_those_that_it_has() -> None:
    web = workload(SEMVER, "signed_by: [release, relaese]")
    why = unknown_key(web, {"release", "ci"})
    assert why is not None
    assert "relaese, which the daemon's config does not have (it has: ci, release)" in why.sentence
    assert unknown_key(web, {"release", "relaese"}) is None


def test_signatures_are_asked_after_what_is_cheaper() -> None:
    lines = (SEMVER, "signed_by: release", "platforms: [linux/s390x]")
    made = world(*lines, tags="1.4.3")
    assert code(made.decide()) == "guard/platforms"
    first = decide(made.workload, made.sites, made.listed, made.facts, NOW)
    assert not isinstance(first, Need)
    assert not any(need.signatures for need in made.asked)
