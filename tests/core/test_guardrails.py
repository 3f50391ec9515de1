"""Guard rails: what a rule demands holds, what it cannot mean is named, and rules only ever tighten."""

from __future__ import annotations

import json
import re
import textwrap
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from automator.core.facts import Facts, Sighting
from automator.core.guardrails import STEPS, bind, parse_rails
from automator.core.guards import young
from automator.core.policy import InvalidWorkload, PolicySet, Workload, parse_policies
from automator.core.policykeys import RuleKeys, WorkloadKeys, key_names
from automator.core.rail import Rail
from automator.reasons import Reason

FILES = ("clusters/production/web.yaml", "clusters/staging/web.yaml")
FOUR_LINES = "image: ghcr.io/acme/web\nsemver: 1.x"


def read(rules: str, keys: str = FOUR_LINES) -> PolicySet:
    """One workload, whose keys begin in line 4, and a `_rules.yaml`, whose rules begin in line 3."""
    policy = f"version: 1\nworkloads:\n  web:\n{textwrap.indent(textwrap.dedent(keys).strip(), '    ')}\n"
    texts = {"policies/shop.yaml": policy}
    texts["policies/_rules.yaml"] = f"version: 1\nrules:\n{rules}\n"
    return parse_policies(texts)


def bound(rules: str, keys: str = FOUR_LINES, files: tuple[str, ...] = FILES) -> Workload | Reason:
    """The workload under the rules, all of which are in order."""
    policies = read(rules, keys)
    assert [str(why) for _, why in policies.problems] == []
    (workload,) = policies.workloads
    assert isinstance(workload, Workload)
    return bind(workload, files, policies.rails)


def kept(rules: str, keys: str = FOUR_LINES, files: tuple[str, ...] = FILES) -> Workload:
    found = bound(rules, keys, files)
    assert isinstance(found, Workload), str(found)
    return found


def violated(rules: str, keys: str = FOUR_LINES, files: tuple[str, ...] = FILES) -> str:
    found = bound(rules, keys, files)
    assert isinstance(found, Reason)
    assert found.code == "rule/violated"
    assert found.next_step
    return found.sentence


# -- demands ------------------------------------------------------------------------------------------

IMAGE = "image: {}\nsemver: 1.x"


@pytest.mark.parametrize(
    ("rule", "image"),
    [
        ("registries: [ghcr.io]", "ghcr.io/acme/web"),
        ("registries: [quay.io, GHCR.io]", "ghcr.io/acme/web"),
        ("registries: [docker.io]", "nginx"),
        ("registries: [index.docker.io]", "nginx"),
        ("registries: ['registry.example.com:5000']", "registry.example.com:5000/web"),
        ("images: ['ghcr.io/acme/*']", "ghcr.io/acme/web"),
        ("images: ['ghcr.io/acme/*']", "ghcr.io/acme/shop/web"),
        ("images: ['*/acme/*']", "quay.io/acme/web"),
        ("images: ['*']", "nginx"),
        ("images: ['ghcr.io/*/web-*-x']", "ghcr.io/acme/web-a-x"),
        ("images: [nginx]", "docker.io/library/nginx"),
        ("images: ['quay.io/*', ghcr.io/acme/web]", "ghcr.io/acme/web"),
    ],
)
def test_an_allowed_image_passes(rule: str, image: str) -> None:
    assert str(kept(f"- {rule}", IMAGE.format(image)).repository.path)


@pytest.mark.parametrize(
    ("rule", "image"),
    [
        ("registries: [ghcr.io]", "nginx"),
        ("registries: [ghcr.io]", "ghcr.io.evil.example/acme/web"),
        ("registries: [registry.example.com]", "registry.example.com:5000/web"),
        ("images: ['ghcr.io/acme/*']", "ghcr.io/acme"),
        ("images: ['ghcr.io/acme/*']", "ghcr.io/acme-evil/web"),
        ("images: ['ghcr.io/acme/*']", "evil.ghcr.io/acme/web"),
        ("images: ['ghcr.io/*-b*b-web']", "ghcr.io/a-b-web"),
        ("images: [ghcr.io/acme/web]", "ghcr.io/acme/web2"),
    ],
)
def test_another_image_is_a_violation(rule: str, image: str) -> None:
    assert violated(f"- {rule}", IMAGE.format(image)).startswith("policies/shop.yaml:4: `image` is ")


def test_tags_may_not_be_listed_elsewhere_either() -> None:
    keys = "image: ghcr.io/acme/web\nsemver: 1.x\ntags_from: evil.example.com/acme/web"
    assert violated("- registries: [ghcr.io]", keys) == (
        "policies/shop.yaml:6: `tags_from` is evil.example.com/acme/web, but a rule "
        "(policies/_rules.yaml:3) wants an image of ghcr.io"
    )


@pytest.mark.parametrize(
    ("rule", "keys", "sentence"),
    [
        (
            "images: ['ghcr.io/acme/*']",
            "semver: 1.x\nimage: nginx",
            ":5: `image` is docker.io/library/nginx, but {} wants an image like ghcr.io/acme/*",
        ),
        ("require: [owner]", FOUR_LINES, ":3: `owner` is not set, but {} wants `owner`"),
        ("require: [owner]", f"{FOUR_LINES}\nowner: ' '", ":6: `owner` is not set, but {} wants `owner`"),
        (
            "require: [min_age]",
            f"{FOUR_LINES}\nmin_age: 0s",
            ":6: `min_age` is not set, but {} wants `min_age`",
        ),
        ("forbid: [downgrade]", f"{FOUR_LINES}\ndowngrade: true", ":6: `downgrade` is set, but {} wants no "),
        (
            "forbid: [urgent]",
            f"{FOUR_LINES}\nurgent: {{version: 1.2.3, reason: CVE}}",
            ":6: `urgent` is set, but {} wants no `urgent`",
        ),
        (
            "forbid: [accept]",
            f"{FOUR_LINES}\naccept: [1.2.3]",
            ":6: `accept` is set, but {} wants no `accept`",
        ),
        (
            "min_age: 1h",
            f"{FOUR_LINES}\nmin_age: 59m",
            ":6: `min_age` is 59m, but {} wants at least 1h",
        ),
        ("min_age: 1h", f"{FOUR_LINES}\nmin_age: 0s", ":6: `min_age` is 0s, but {} wants at least 1h"),
        ("step: minor", f"{FOUR_LINES}\nstep: major", ":6: `step` is major, but {} wants minor at most"),
        (
            "step: minor",
            "image: nginx\norder: newest\nglob: 'main-*'",
            ":5: `order: newest` has no steps, but {} wants `semver`, with steps of minor at most",
        ),
        (
            "step: patch",
            "image: nginx\nfollow: '7'",
            ":5: a tag that is followed has no steps, but {} wants ",
        ),
        (
            "platforms: [linux/amd64]",
            f"{FOUR_LINES}\npin: tag",
            ":6: `pin` is tag, but {} wants platforms (linux/amd64), which bind a digest",
        ),
    ],
)
def test_a_violation_names_both_places_and_what_is_wanted(rule: str, keys: str, sentence: str) -> None:
    expected = "policies/shop.yaml" + sentence.format('rule "production" (policies/_rules.yaml:3)')
    assert violated(f"- name: production\n  {rule}", keys).startswith(expected)


def test_the_place_of_an_inherited_key_is_the_line_of_the_defaults() -> None:
    policies = parse_policies(
        {
            "policies/shop.yaml": "version: 1\ndefaults:\n  step: major\n"
            "workloads:\n  web: {image: nginx, semver: 1.x}\n",
            "policies/_rules.yaml": "version: 1\nrules: [{step: minor}]\n",
        }
    )
    (workload,) = policies.workloads
    assert isinstance(workload, Workload)
    assert str(bind(workload, FILES, policies.rails)).startswith("policies/shop.yaml:3: `step` is major")


def test_what_a_workload_does_not_say_the_rule_says() -> None:
    rule = "- {min_age: 2h, step: minor, platforms: [linux/arm64, linux/amd64]}"
    workload = kept(rule)
    assert workload.guards.min_age == timedelta(hours=2)
    assert workload.guards.step == "minor"
    assert workload.guards.platforms == ("linux/amd64", "linux/arm64")
    assert workload.pin == "digest"


def test_a_workload_may_be_stricter_than_the_rule() -> None:
    rule = "- {min_age: 2h, step: minor, platforms: [linux/amd64]}"
    keys = f"{FOUR_LINES}\nmin_age: 3h\nstep: patch\nplatforms: [linux/riscv64]"
    guards = kept(rule, keys).guards
    assert (guards.min_age, guards.step) == (timedelta(hours=3), "patch")
    assert guards.platforms == ("linux/riscv64", "linux/amd64")


def test_a_workload_may_be_exactly_as_strict_as_the_rule() -> None:
    guards = kept("- {min_age: 2h, step: minor}", f"{FOUR_LINES}\nmin_age: 120m\nstep: minor").guards
    assert (guards.min_age, guards.step) == (timedelta(hours=2), "minor")


def test_the_strictest_of_several_rules_holds() -> None:
    guards = kept("- {min_age: 2h, step: patch}\n- {min_age: 1d, step: major}\n- {min_age: 3h}").guards
    assert (guards.min_age, guards.step) == (timedelta(days=1), "patch")


def test_where_pull_requests_are_demanded_nothing_is_pushed() -> None:
    rule = "- deliver: pull-request"
    assert kept(rule).delivery.deliver == "pull-request"
    labelled = kept(rule, f"{FOUR_LINES}\npull_request: {{labels: [a]}}").delivery
    assert (labelled.deliver, labelled.labels) == ("pull-request", ("a",))
    policies = read(rule, f"{FOUR_LINES}\ndeliver: push")
    (workload,) = policies.workloads
    assert isinstance(workload, Workload)
    assert "`deliver` is push" in str(bind(workload, FILES, policies.rails))


def test_of_several_violations_the_first_by_place_is_told() -> None:
    rules = "\n".join(["- {name: first, forbid: [owner]}", *["- {require: [group]}"] * 9])
    policies = read(rules, f"{FOUR_LINES}\nowner: shop")
    (workload,) = policies.workloads
    assert isinstance(workload, Workload)
    for rails in (policies.rails, policies.rails[::-1]):
        assert "(policies/_rules.yaml:3)" in str(bind(workload, FILES, rails))
        assert "(policies/_rules.yaml:4)" in str(bind(workload, FILES, [r for r in rails if not r.name]))


def test_without_rules_nothing_changes() -> None:
    (workload,) = read(" []").workloads
    assert isinstance(workload, Workload)
    assert bind(workload, FILES, ()) is workload


# -- which workloads ----------------------------------------------------------------------------------

SAID = f"{FOUR_LINES}\nowner: shop\nenvironment: production"


@pytest.mark.parametrize(
    ("selectors", "keys", "files", "about"),
    [
        ("", FOUR_LINES, (), True),
        ("paths: [clusters/production/]", FOUR_LINES, FILES, True),
        ("paths: [clusters/production/]", FOUR_LINES, FILES[1:], False),
        ("paths: ['**/web.yaml', '!clusters/staging/**']", FOUR_LINES, FILES[1:], False),
        ("paths: ['*.json', '*.yaml']", FOUR_LINES, FILES, True),
        ("paths: ['**']", FOUR_LINES, (), False),
        ("owners: [pay, shop]", SAID, FILES, True),
        ("owners: [pay]", SAID, FILES, False),
        ("owners: [shop]", FOUR_LINES, FILES, False),
        ("environments: [production]", SAID, FILES, True),
        ("environments: [production]", FOUR_LINES, FILES, False),
        ("owners: [shop], environments: [production]", SAID, FILES, True),
        ("owners: [shop], environments: [staging]", SAID, FILES, False),
        ("owners: [shop], paths: [clusters/production/]", SAID, FILES[1:], False),
    ],
)
def test_a_rule_is_about_the_workloads_that_fit_all_its_selectors(
    selectors: str, keys: str, files: tuple[str, ...], about: bool
) -> None:
    workload = kept(f"- {{{selectors}{', ' if selectors else ''}min_age: 1h}}", keys, files)
    assert (workload.guards.min_age == timedelta(hours=1)) is about


# -- what is wrong with a rule ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "place", "sentence"),
    [
        ("- {registries: ['https://ghcr.io']}", 3, "registries[0]: expected a registry host"),
        ("- {registries: [ghcr.io/acme]}", 3, "registries[0]: expected a registry host"),
        ("- {registries: [acme]}", 3, "registries[0]: expected a registry host"),
        ("- {registries: ['*.example.com']}", 3, "registries[0]: expected a registry host"),
        ("- {registries: ['']}", 3, "registries[0]: expected a registry host such as ghcr.io"),
        ("- {images: ['acme/*']}", 3, "images[0]: expected an image repository"),
        ("- {images: ['ghcr.io/Acme/*']}", 3, "images[0]: expected an image repository"),
        ("- {images: ['ghcr.io/acme/*:1.0']}", 3, "images[0]: expected an image repository"),
        ("- {images: ['ghcr.io/acme/?']}", 3, "images[0]: expected an image repository"),
        ("- {images: ['nginx:1.0']}", 3, "images[0]: expected an image repository"),
        ("- forbid:\n  - urgent\n  - ugrent", 5, "forbid[1]: expected the key `urgent`, found"),
        ("- require: [xyzzy]", 3, "require[0]: expected a key of a workload"),
        ("- {require: [owner], forbid: [owner]}", 3, "forbid[0]: expected another key, found `owner`"),
        ("- platforms: [amd64]", 3, "platforms[0]: expected a platform such as linux/amd64 or"),
        ("- forbid: [urgent]\n- min_age: 5 minutes", 4, "min_age: expected a duration longer than"),
        ("- min_age: 0s", 3, "min_age: expected a duration longer than"),
        ("- {paths: ['#a'], min_age: 1h}", 3, "paths[0]: expected a gitignore-style glob such as"),
        ("- name: nothing", 3, "expected a demand such as `registries` or `min_age`, found a rule that"),
        ("- signed_by: [release, '../key']", 3, "signed_by[1]: expected the name of a key of the daemon's"),
        ("- signed_by: []", 3, "rules[0].signed_by is"),
        ("- {deliver: push}", 3, "rules[0].deliver is"),
        ("- {regstries: [ghcr.io]}", 3, "rules[0].regstries is no key"),
        ("- {step: huge}", 3, "rules[0].step is"),
        ("- {min_age: 30}", 3, "rules[0].min_age is the number 30, expected a duration"),
        ("- {owners: [1]}", 3, "rules[0].owners[0] is the number 1 to YAML"),
        ("- [", 4, "this policy file"),
    ],
)
def test_a_rule_that_cannot_be_kept_to_is_named_and_stops_everything(
    rules: str, place: int, sentence: str
) -> None:
    policies = read(rules)
    told = [why.sentence for _, why in policies.problems]
    assert any(t.startswith(f"policies/_rules.yaml:{place}: ") and sentence in t for t in told), told
    (workload,) = policies.workloads
    assert isinstance(workload, InvalidWorkload)
    assert workload.reason.sentence in told


def test_a_mistake_comes_with_the_key_that_was_meant() -> None:
    ((_, why),) = read("- {registreis: [ghcr.io]}").problems
    assert why.next_step == "did you mean `registries`?"


@pytest.mark.parametrize("key", key_names(WorkloadKeys))
def test_every_key_of_a_workload_can_be_required_and_forbidden(key: str) -> None:
    keys = read(f"- require: [{key}]\n- forbid: [{key}]")
    assert keys.problems == ()
    assert [(rail.require, rail.forbid) for rail in keys.rails] == [((key,), ()), ((), (key,))]


def test_rules_of_several_files_hold_together() -> None:
    rule = "version: 1\nrules: [{forbid: [urgent]}]\n"
    policies = parse_policies({"policies/_rules.yaml": rule, "policies/team/_rules.yml": rule})
    assert [rail.place for rail in policies.rails] == ["policies/_rules.yaml:2", "policies/team/_rules.yml:2"]


# -- laws ---------------------------------------------------------------------------------------------


def some(values: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True)


PLATFORMS = some(["linux/amd64", "linux/arm64", "linux/arm/v7"])
AGES = st.sampled_from(["0s", "10m", "1h", "2d"])
OWNERS = ["shop", "pay"]
DEMANDABLE = ["owner", "environment", "downgrade", "urgent", "accept", "min_age", "step", "pin", "semver"]

CHOICES = st.sampled_from(
    [{"semver": "1.x"}, {"order": "newest", "glob": "main-*"}, {"follow": "7"}, {"order": "version"}]
)
KEYS = st.fixed_dictionaries(
    {"image": st.sampled_from(["nginx", "ghcr.io/acme/web", "quay.io/acme/web"])},
    optional={
        "min_age": AGES,
        "step": st.sampled_from(STEPS),
        "platforms": PLATFORMS,
        "pin": st.sampled_from(["tag", "digest"]),
        "owner": st.sampled_from([*OWNERS, ""]),
        "environment": st.sampled_from(["production", "staging"]),
        "downgrade": st.booleans(),
        "accept": st.just(["1.0.0"]),
        "urgent": st.just({"version": "1.2.3", "reason": "CVE"}),
        "deliver": st.sampled_from(["push", "pull-request"]),
    },
)
RULE: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "paths": some(["clusters/production/", "*.json", "**/web.yaml"]),
        "owners": some(OWNERS),
        "environments": some(["production", "staging"]),
        "registries": some(["docker.io", "ghcr.io", "quay.io"]),
        "images": some(["*/acme/*", "nginx", "*", "quay.io/*"]),
        "require": some(DEMANDABLE),
        "forbid": some(DEMANDABLE),
        "platforms": PLATFORMS,
        "min_age": AGES,
        "step": st.sampled_from(STEPS),
        "deliver": st.just("pull-request"),
    },
)
FILE_SETS = st.lists(st.sampled_from([*FILES, "a.json"]), unique=True).map(tuple)


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    keys = {**draw(KEYS), **draw(CHOICES)}
    text = json.dumps({"version": 1, "workloads": {"web": keys}})
    (workload,) = parse_policies({"policies/shop.yaml": text}).workloads
    assume(isinstance(workload, Workload))
    assert isinstance(workload, Workload)
    return workload


@st.composite
def rail_lists(draw: st.DrawFn, least: int = 0) -> list[Rail]:
    rules = [RuleKeys(**keys) for keys in draw(st.lists(RULE, max_size=4))]
    rails = parse_rails(rules, "policies/_rules.yaml", lambda i: f"policies/_rules.yaml:{i}")[0]
    assume(len(rails) >= least)
    return list(rails)


def stricter(tight: Workload | Reason, loose: Workload | Reason) -> bool:
    """Whether whatever the tight one lets through, the loose one does."""
    if isinstance(tight, Reason):
        return True
    if isinstance(loose, Reason):
        return False
    left, right = tight.guards, loose.guards
    return (
        (left.min_age or timedelta(0)) >= (right.min_age or timedelta(0))
        and (
            right.step is None
            or (left.step is not None and STEPS.index(left.step) <= STEPS.index(right.step))
        )
        and set(left.platforms) >= set(right.platforms)
        and (left.windows, left.after) == (right.windows, right.after)
        and (tight.pin == loose.pin or tight.pin == "digest")
        and (tight.delivery == loose.delivery or tight.delivery.deliver == "pull-request")
    )


@given(workloads(), FILE_SETS, rail_lists(least=1))
def test_adding_a_rule_never_makes_a_release_possible_that_was_not(
    workload: Workload, files: tuple[str, ...], rails: list[Rail]
) -> None:
    before = bind(workload, files, rails[1:])
    assert stricter(before, workload)
    assert stricter(bind(workload, files, rails), before)


@given(workloads(), FILE_SETS, rail_lists(least=1))
def test_only_guards_pin_and_delivery_ever_change(
    workload: Workload, files: tuple[str, ...], rails: list[Rail]
) -> None:
    after = bind(workload, files, rails)
    if isinstance(after, Workload):
        for field in set(Workload.__slots__) - {"guards", "pin", "delivery"}:
            assert getattr(after, field) == getattr(workload, field)


@given(workloads(), FILE_SETS, rail_lists(), st.randoms(use_true_random=False))
def test_the_order_of_rules_does_not_matter(
    workload: Workload, files: tuple[str, ...], rails: list[Rail], chance: Any
) -> None:
    shuffled = list(rails)
    chance.shuffle(shuffled)
    assert bind(workload, files, shuffled) == bind(workload, files, rails)


@given(workloads(), FILE_SETS, rail_lists())
def test_binding_again_changes_nothing(workload: Workload, files: tuple[str, ...], rails: list[Rail]) -> None:
    once = bind(workload, files, rails)
    if isinstance(once, Workload):
        assert bind(once, files, rails) == once


@given(workloads(), FILE_SETS, rail_lists(), st.integers(0, 4))
def test_rules_of_two_places_hold_as_if_they_stood_in_one(
    workload: Workload, files: tuple[str, ...], rails: list[Rail], cut: int
) -> None:
    together = bind(workload, files, rails)
    first = bind(workload, files, rails[:cut])
    apart = bind(first, files, rails[cut:]) if isinstance(first, Workload) else first
    assert isinstance(apart, Reason) == isinstance(together, Reason)
    assert stricter(apart, together)
    assert stricter(together, apart)


PATHS = st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=3).map("/".join)


@given(st.text("ab/*", max_size=8) | PATHS, PATHS)
def test_a_star_of_a_glob_is_any_text(glob: str, path: str) -> None:
    rails, _ = parse_rails([RuleKeys(images=[f"*.io/x/{glob}"])], "rules", str)
    assume(rails)
    entry = {"image": f"a.io/x/{path}", "semver": "1.x"}
    (workload,) = parse_policies({"p.yaml": json.dumps({"version": 1, "workloads": {"w": entry}})}).workloads
    assert isinstance(workload, Workload)
    meant = ".*".join(map(re.escape, f"*.io/x/{glob}".split("*")))
    covered = re.fullmatch(meant, str(workload.repository)) is not None
    assert isinstance(bind(workload, (), rails), Workload) is covered


def test_the_age_that_a_rule_demands_is_waited_for_by_what_is_urgent_too() -> None:
    text = "semver: '1.x', min_age: 2h, urgent: {version: 1.5.0, reason: CVE}"
    policies = parse_policies(
        {
            "policies/shop.yaml": f"version: 1\nworkloads:\n  web: {{image: ghcr.io/acme/web, {text}}}\n",
            "policies/_rules.yaml": "version: 1\nrules: [{min_age: 1h}]\n",
        }
    )
    (web,) = policies.workloads
    assert isinstance(web, Workload)
    bound = bind(web, (), policies.rails)
    assert isinstance(bound, Workload)
    now = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
    seen = {tag: Sighting("sha256:" + "1" * 64, now - timedelta(minutes=50)) for tag in ("1.5.0", "1.5.1")}
    ends = {}
    for tag in seen:
        stop = young(bound, tag, Facts(seen=seen), now)
        assert stop is not None
        ends[tag] = stop.reason.changes_at
    assert ends == {"1.5.0": now + timedelta(minutes=10), "1.5.1": now + timedelta(minutes=70)}
    assert young(web, "1.5.0", Facts(seen=seen), now) is None
