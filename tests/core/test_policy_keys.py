"""The whole policy table: every mistake is named with place, key and remedy; what files, defaults and
members of a group say must fit together."""

from __future__ import annotations

import textwrap
from datetime import timedelta

import pytest

from automator.core.policy import Group, InvalidWorkload, PolicySet, Urgent, Workload, parse_policies
from automator.core.promotion import After
from automator.core.reference import Repository

DIGEST = f"sha256:{'a1' * 32}"


def read(text: str, **files: str) -> PolicySet:
    """Policies of `policies/shop.yaml`, and of others by name."""
    texts = {"shop": text, **files}
    return parse_policies({f"policies/{name}.yaml": textwrap.dedent(t) for name, t in texts.items()})


def workload(keys: str) -> Workload:
    """A valid workload with these keys, in flow style."""
    policies = read(f"version: 1\nworkloads:\n  web: {{image: ghcr.io/acme/web, {keys}}}\n")
    assert [why.sentence for _, why in policies.problems] == []
    (found,) = policies.workloads
    assert isinstance(found, Workload)
    return found


def by_name(policies: PolicySet) -> dict[str, Workload | InvalidWorkload]:
    return {entry.name: entry for entry in policies.workloads}


def codes(policies: PolicySet) -> list[tuple[int, str]]:
    """Line and code of every problem."""
    return [(place.line, why.code) for place, why in policies.problems]


# -- what the keys mean -----------------------------------------------------------------------------------


def test_every_key_of_the_table_is_read() -> None:
    web = workload(
        "semver: '1.x', tags_from: mirror.example.com/acme/web, min_age: 1h30m, step: minor,"
        " platforms: [linux/amd64, linux/arm64, linux/amd64],"
        " windows: [{allow: '0 9 * * 1-5', for: 8h, zone: Europe/Berlin}, {deny: '0 0 24 12 *', for: 3d}],"
        " after: {workload: [stage/web, stage/api], soak: 1d, need: any}, group: {name: shop, match: any},"
        " accept: ['1.4.3'], reject: ['1.4.4'], downgrade: true, align: true,"
        " urgent: {version: '1.4.5', reason: CVE-2026-1}, owner: shop, environment: prod, description: it"
    )
    assert (web.listed, web.repository) == (
        Repository("mirror.example.com", "acme/web"),
        Repository("ghcr.io", "acme/web"),
    )
    guards = web.guards
    assert (guards.min_age, guards.step) == (timedelta(minutes=90), "minor")
    assert guards.platforms == ("linux/amd64", "linux/arm64")
    assert [(w.kind, w.duration, w.zone) for w in guards.windows] == [
        ("allow", timedelta(hours=8), "Europe/Berlin"),
        ("deny", timedelta(days=3), "UTC"),
    ]
    assert guards.after == After(("stage/web", "stage/api"), None, timedelta(days=1), "any")
    assert (web.group, web.urgent) == (Group("shop", "any"), Urgent("1.4.5", "CVE-2026-1"))
    assert (web.accept, web.rule.reject) == (("1.4.3",), ("1.4.4",))
    assert (web.downgrade, web.align, web.pin) == (True, True, "digest")
    assert (web.owner, web.environment, web.description) == ("shop", "prod", "it")


def test_what_is_not_said_lets_through_as_before() -> None:
    web = workload("semver: '1.x'")
    assert web.listed == web.repository
    assert (web.guards.min_age, web.guards.step, web.guards.platforms) == (None, None, ())
    assert (web.guards.windows, web.guards.after, web.group, web.urgent) == ((), None, None, None)
    assert (web.downgrade, web.align, web.pin, web.freezes) == (False, False, "tag", ())


@pytest.mark.parametrize(
    ("keys", "pin"),
    [
        ("semver: '1.x'", "tag"),
        ("semver: '1.x', pin: digest", "digest"),
        ("semver: '1.x', platforms: [linux/amd64]", "digest"),
        ("semver: '1.x', signed_by: release", "digest"),
        ("semver: '1.x', after: {workload: stage/web}", "digest"),
        ("follow: stable", "digest"),
        ("semver: '1.x', min_age: 1h, step: patch", "tag"),
    ],
)
def test_what_binds_a_digest_pins_it(keys: str, pin: str) -> None:
    assert workload(keys).pin == pin


def test_short_forms_mean_the_long_ones() -> None:
    assert workload("semver: '1.x', group: shop").group == Group("shop", "version")
    after = workload("semver: '1.x', after: {workload: stage/web}").guards.after
    assert after == After(("stage/web",), None, timedelta(0), "all")


# -- mistakes ---------------------------------------------------------------------------------------------

DURATION = "write a duration such as 30m, 12h or 7d"
WINDOW = 'write `{allow: "0 9 * * 1-5", for: 8h, zone: Europe/Berlin}`'
LIST = 'write a list such as ["a", "b"]'
MISTAKES = [
    ("min_age: 30", "policy/wrong-type", "min_age is the number 30", DURATION),
    ("min_age: soon", "policy/invalid-value", 'min_age: "soon"', DURATION),
    ("min_age: -1h", "policy/invalid-value", 'min_age: "-1h"', DURATION),
    ("min_age: 20y", "policy/invalid-value", 'min_age: "20y"', DURATION),
    ("min_age: 11000d", "policy/invalid-value", "at most ten years", DURATION),
    ("min_age: ''", "policy/invalid-value", 'min_age: ""', DURATION),
    ("min_age: [1h]", "policy/wrong-type", "min_age is a list", DURATION),
    ("step: huge", "policy/wrong-type", 'step is "huge"', "`patch`, `minor` or `major`"),
    ("platforms: []", "policy/wrong-type", "platforms is a list", "at least one entry"),
    ("platforms: linux/amd64", "policy/wrong-type", 'platforms is "linux/amd64"', LIST),
    ("platforms: [linux]", "policy/invalid-value", 'platforms[0]: "linux"', "write `linux/amd64`"),
    ("platforms: [linux/amd64, Linux/arm64]", "policy/invalid-value", "platforms[1]", "`linux/amd64`"),
    ("platforms: [linux/amd64], pin: tag", "policy/conflict", "`platforms` binds a digest", "remove one"),
    ("windows: []", "policy/wrong-type", "windows is a list", "at least one entry"),
    ("windows: {allow: '0 9 * * *', for: 8h}", "policy/wrong-type", "windows is a mapping", "[{allow:"),
    ("windows: ['0 9 * * *']", "policy/wrong-type", "windows[0] is", "write a mapping"),
    ("windows: [{for: 8h}]", "policy/invalid-value", "windows[0]: exactly one of", WINDOW),
    (
        "windows: [{allow: '0 9 * * *', deny: '0 9 * * *', for: 8h}]",
        "policy/invalid-value",
        "windows[0]: exactly one of `allow` and `deny`",
        WINDOW,
    ),
    ("windows: [{allow: '0 9 * * *'}]", "policy/missing-key", "windows[0].for is missing", "add the key"),
    ("windows: [{allow: '0 9 * *', for: 8h}]", "policy/invalid-value", "this one has 4", "Europe/Berlin"),
    ("windows: [{allow: '0 9 31 2 *', for: 8h}]", "policy/invalid-value", "no month", "Europe/Berlin"),
    ("windows: [{deny: '0 9 * * 9', for: 8h}]", "policy/invalid-value", '"9" is no day of week', "`deny`"),
    ("windows: [{allow: '0 9 * * *', for: 8}]", "policy/wrong-type", "windows[0].for is", DURATION),
    ("windows: [{allow: '0 9 * * *', for: 8hours}]", "policy/invalid-value", '"8hours"', DURATION),
    ("windows: [{allow: '0 9 * * *', for: 0s}]", "policy/invalid-value", "it lasts 0s", "Europe/Berlin"),
    ("windows: [{allow: '0 9 * * *', for: 40d}]", "policy/invalid-value", "to 31 days", "Europe/Berlin"),
    (
        "windows: [{allow: '0 9 * * *', for: 8h, zone: Europe/Berln}]",
        "policy/invalid-value",
        "did you mean Europe/Berlin?",
        "Europe/Berlin",
    ),
    ("windows: [{allow: '0 9 * * *', for: 8h, zome: UTC}]", "policy/unknown-key", "zome", "`zone`?"),
    ("windows: [{alow: '0 9 * * *', for: 8h}]", "policy/unknown-key", "windows[0].alow", "`allow`?"),
    ("after: staging", "policy/wrong-type", 'after is "staging"', "write a mapping"),
    ("after: {}", "policy/invalid-value", "exactly one of `workload` and `group`", "after: {workload:"),
    ("after: {workload: a/b, group: c}", "policy/invalid-value", "exactly one of", "after: {workload:"),
    ("after: {workload: web}", "policy/conflict", "cannot come after itself", "remove one"),
    ("after: {workload: nobody}", "policy/no-upstream", "workload nobody", "`repo/name`"),
    ("after: {group: nobody}", "policy/no-upstream", "group nobody", "mend the name"),
    ("after: {workload: []}", "policy/wrong-type", "after.workload is a list", "at least one"),
    ("after: {workload: a/b, soak: long}", "policy/invalid-value", 'after.soak: "long"', DURATION),
    ("after: {workload: a/b, soak: 1}", "policy/wrong-type", "after.soak is the number 1", DURATION),
    ("after: {workload: a/b, need: some}", "policy/wrong-type", 'need is "some"', "`all` or `any`"),
    ("after: {workload: a/b}, pin: tag", "policy/conflict", "`after` binds a digest", "remove one"),
    ("group: {match: any}", "policy/missing-key", "group.name is missing", "add the key"),
    ("group: {name: a, match: all}", "policy/wrong-type", 'match is "all"', "`version` or `any`"),
    ("group: [shop]", "policy/wrong-type", "group is a list", "write a mapping"),
    ("group: ''", "policy/wrong-type", "group.name", "text that is not empty"),
    ("reject: '1.4.3'", "policy/wrong-type", "reject is", LIST),
    ("reject: [1.4]", "policy/unquoted", "reject[0] is the number 1.4", '"1.4"'),
    ("reject: ['>=1.4']", "policy/invalid-value", 'reject[0]: ">=1.4" is neither', "sha256:…"),
    ("accept: ['sha256:abc']", "policy/invalid-value", 'accept[0]: "sha256:abc"', "sha256:…"),
    ("accept: ['1.4.3'], reject: ['1.4.3']", "policy/conflict", "`reject` too", "remove one"),
    ("downgrade: yes", "policy/wrong-type", "downgrade is a boolean (yes)", "write true or false"),
    ("downgrade: 'true'", "policy/wrong-type", 'downgrade is "true"', "write true or false"),
    ("align: 1", "policy/wrong-type", "align is the number 1", "write true or false"),
    ("urgent: '1.4.3'", "policy/wrong-type", "urgent is", "write a mapping"),
    ("urgent: {version: '1.4.3'}", "policy/missing-key", "urgent.reason is missing", "add the key"),
    ("urgent: {reason: CVE}", "policy/missing-key", "urgent.version is missing", "add the key"),
    ("urgent: {version: 1.4, reason: x}", "policy/unquoted", "urgent.version is the number", '"1.4"'),
    ("urgent: {version: '>1', reason: x}", "policy/invalid-value", '">1" is no tag', "write one tag"),
    (f"urgent: {{version: '{DIGEST}', reason: x}}", "policy/invalid-value", "is no tag", "write one tag"),
    ("urgent: {version: '1.4.3', reason: ''}", "policy/wrong-type", 'reason is ""', "not empty"),
    ("tags_from: Not/A", "policy/invalid-value", "tags_from", "ghcr.io/acme/web"),
    ("tags_from: ghcr.io/acme/web:1", "policy/invalid-value", "tags_from", "without `:1`"),
    ("hold: {reason: x, untill: '2027-01-01T00:00:00Z'}", "policy/unknown-key", "untill", "`until`?"),
    ("verify: a/b", "policy/invalid-value", '"a/b" is no name', "name of a check of the daemon's config"),
    ("verify: []", "policy/wrong-type", "verify", "at least one entry"),
    ("on_failure: rollback", "policy/conflict", "no effect without `verify`", "remove one"),
    ("verify: x, on_failure: retry", "policy/wrong-type", "on_failure", "`stop` or `rollback`"),
    ("deliver: pr", "policy/wrong-type", "deliver", "`push` or `pull-request`"),
    ("pull_request: {label: x}", "policy/unknown-key", "pull_request.label", "`labels`?"),
    ("pull_request: {labels: release}", "policy/wrong-type", "pull_request.labels", "a list"),
    ("pull_request: {labels: ['a,b']}", "policy/invalid-value", '"a,b" is no label', "without a comma"),
    ("pull_request: {reviewers: ['a b']}", "policy/invalid-value", '"a b" is no login', "acme/shop"),
    ("deliver: push, pull_request: {draft: true}", "policy/conflict", "`deliver: push`", "remove one"),
    ("signed_by: a/b", "policy/invalid-value", '"a/b" is no name', "name of a key of the daemon's config"),
    ("signed_by: []", "policy/wrong-type", "signed_by", "at least one entry"),
    ("signed_by: release, pin: tag", "policy/conflict", "`signed_by` binds a digest", "remove one"),
]


@pytest.mark.parametrize(("keys", "code", "words", "remedy"), MISTAKES, ids=[row[0] for row in MISTAKES])
def test_mistakes_are_named_with_place_key_and_remedy(keys: str, code: str, words: str, remedy: str) -> None:
    policies = read(f"version: 1\nworkloads:\n  web: {{image: ghcr.io/acme/web, semver: '1.x', {keys}}}\n")
    (web,) = policies.workloads
    assert isinstance(web, InvalidWorkload)
    assert web.repository == Repository("ghcr.io", "acme/web")
    assert codes(policies) == [(3, code)]
    ((place, why),) = policies.problems
    assert web.reason == why
    assert why.sentence.startswith(f"{place}: ")
    assert words in why.sentence
    assert remedy in why.next_step


def test_a_mistake_is_told_at_its_own_line() -> None:
    policies = read(
        """\
        version: 1
        workloads:
          web:
            image: ghcr.io/acme/web
            semver: "1.x"
            windows:
              - {allow: "0 9 * * *", for: 8h}
              - allow: "0 9 * * *"
                for: forever
            platforms:
              - linux/amd64
              - amd64
            urgent:
              version: "a b"
              reason: x
        """
    )
    assert sorted(codes(policies)) == [(n, "policy/invalid-value") for n in (9, 12, 14)]


# -- follow -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        *("glob: '*'", "regex: '.*'", "exclude: [a]", "semver: '1.x'", "versions: lenient"),
        *("prereleases: never", "order: newest", "step: patch", "tags_from: nginx", "downgrade: true"),
        *("align: true", "after: {workload: a/b}", "pin: tag", "group: shop"),
    ],
)
def test_follow_stands_alone(key: str) -> None:
    policies = read(f"version: 1\nworkloads:\n  web: {{image: redis, follow: '7', {key}}}\n")
    assert codes(policies) == [(3, "policy/conflict")]
    assert f"workloads.web.{key.partition(':')[0]}" in policies.problems[0][1].sentence


@pytest.mark.parametrize(
    "keys",
    [
        *("min_age: 1h", "platforms: [linux/amd64]", "reject: ['7']", "accept: ['8']", "pin: digest"),
        *("hold: {reason: x}", "windows: [{deny: '0 9 * * *', for: 1h}]", "group: {name: a, match: any}"),
        f"urgent: {{version: '{DIGEST}', reason: x}}",
    ],
)
def test_follow_goes_with_guards(keys: str) -> None:
    rule = workload(f"follow: '7', {keys}").rule
    assert (rule.followed, rule.text) == ("7", 'follow "7"')


@pytest.mark.parametrize("version", ["7", "8", "latest"])
def test_under_follow_only_a_digest_is_urgent(version: str) -> None:
    urgent = f"urgent: {{version: '{version}', reason: x}}"
    policies = read(f"version: 1\nworkloads:\n  web: {{image: redis, follow: '7', {urgent}}}\n")
    assert codes(policies) == [(3, "policy/conflict")]
    assert "workloads.web.urgent.version: " in policies.problems[0][1].sentence


def test_an_urgent_version_in_the_defaults_is_none_of_a_follower_s() -> None:
    policies = read(
        """\
        version: 1
        defaults: {urgent: {version: "1.4.3", reason: CVE}}
        workloads:
          web: {image: acme/web, semver: "1.x"}
          cache: {image: redis, follow: "7"}
        """
    )
    assert codes(policies) == []


def test_of_all_tags_only_the_followed_one_passes() -> None:
    rule = workload("follow: '7'").rule
    assert [rule.judge(tag).__class__.__name__ for tag in ("7", "7.0", "8")] == [
        "Candidate",
        "Dropped",
        "Dropped",
    ]


# -- defaults ---------------------------------------------------------------------------------------------


def test_defaults_are_inherited_and_replaced_as_a_whole() -> None:
    policies = read(
        """\
        version: 1
        defaults:
          min_age: 30m
          semver: "1.x"
          group: {name: shop, match: any}
          platforms: [linux/amd64]
        workloads:
          web: {image: acme/web}
          api: {image: acme/api, min_age: 0s, platforms: [linux/arm64], group: {name: other}}
        """
    )
    assert not policies.problems
    web, api = by_name(policies)["web"], by_name(policies)["api"]
    assert isinstance(web, Workload)
    assert isinstance(api, Workload)
    assert (web.guards.min_age, web.guards.platforms) == (timedelta(minutes=30), ("linux/amd64",))
    assert (api.guards.min_age, api.guards.platforms) == (None, ("linux/arm64",))
    assert (web.group, api.group) == (Group("shop", "any"), Group("other", "version"))


@pytest.mark.parametrize(
    ("defaults", "own", "text"),
    [
        ("semver: '1.x'", "follow: '7'", 'follow "7"'),
        ("semver: '1.x', step: patch, exclude: [a], prereleases: allow", "follow: '7'", 'follow "7"'),
        ("glob: 'v{key}', order: numeric", "follow: '7'", 'follow "7"'),
        ("semver: '1.x', downgrade: true, align: true", "follow: '7'", 'follow "7"'),
        ("follow: '7'", "semver: '1.x'", 'semver "1.x"'),
        ("follow: '7'", "order: numeric", "order numeric"),
        ("semver: '1.x', step: patch", "order: numeric, semver: '2.x'", None),
    ],
)
def test_follow_and_a_choice_of_versions_replace_each_other(
    defaults: str, own: str, text: str | None
) -> None:
    policies = read(f"version: 1\ndefaults: {{{defaults}}}\nworkloads:\n  web: {{image: redis, {own}}}\n")
    (web,) = policies.workloads
    if text is None:
        assert isinstance(web, InvalidWorkload)
    else:
        assert not policies.problems
        assert isinstance(web, Workload)
        assert web.rule.text == text


@pytest.mark.parametrize("key", ["after: {workload: a/b}", "pin: tag", "group: shop"])
def test_what_a_followed_tag_cannot_keep_to_is_no_default_for_it(key: str) -> None:
    policies = read(f"version: 1\ndefaults: {{{key}}}\nworkloads:\n  web: {{image: redis, follow: '7'}}\n")
    assert codes(policies) == [(2, "policy/conflict")]


def test_a_mistake_in_a_default_is_told_once_where_it_stands_and_holds_all() -> None:
    policies = read(
        """\
        version: 1
        defaults:
          semver: "1.x"
          min_age: often
        workloads:
          web: {image: acme/web}
          api: {image: acme/api}
        """
    )
    assert codes(policies) == [(4, "policy/invalid-value")]
    assert "defaults.min_age" in policies.problems[0][1].sentence
    assert all(isinstance(entry, InvalidWorkload) for entry in policies.workloads)


def test_a_step_that_is_inherited_has_no_effect_without_semver() -> None:
    policies = read(
        "version: 1\ndefaults: {step: patch}\nworkloads:\n  web: {image: acme/web, order: numeric}\n"
    )
    (web,) = policies.workloads
    assert isinstance(web, Workload)
    assert web.guards.step is None


# -- groups -----------------------------------------------------------------------------------------------


def group_of(**members: str) -> PolicySet:
    lines = "".join(f"  {name}: {{image: acme/{name}, {keys}}}\n" for name, keys in members.items())
    return read(f"version: 1\nworkloads:\n{lines}")


@pytest.mark.parametrize(
    ("web", "api", "words"),
    [
        ("group: shop, semver: '1.x'", "group: {name: shop, match: any}, semver: '1.x'", "`match` differs"),
        ("group: shop, semver: '1.x'", "group: shop, order: numeric", "ordered otherwise"),
        ("group: shop, order: version", "group: shop, order: newest", "ordered otherwise"),
    ],
)
def test_members_that_do_not_speak_of_one_thing_are_all_held(web: str, api: str, words: str) -> None:
    policies = group_of(web=web, api=api, job="group: other, order: numeric")
    assert codes(policies) == [(3, "policy/group-differs"), (4, "policy/group-differs")]
    for (_, why), other in zip(policies.problems, ("api", "web"), strict=True):
        assert words in why.sentence
        assert f"for {other} (policies/shop.yaml:" in why.sentence
    entries = by_name(policies)
    assert isinstance(entries["job"], Workload)
    for name in ("web", "api"):
        entry = entries[name]
        assert isinstance(entry, InvalidWorkload)
        assert (entry.group, entry.repository) == ("shop", Repository("docker.io", f"acme/{name}"))


@pytest.mark.parametrize(
    ("web", "api"),
    [
        ("group: shop, semver: '1.x'", "group: {name: shop}, semver: '>=1.4', versions: lenient"),
        ("group: {name: a, match: any}, semver: '1.x'", "group: {name: a, match: any}, order: newest"),
        ("group: {name: a, match: any}, semver: '1.x'", "group: {name: a, match: any}, follow: '7'"),
    ],
)
def test_members_may_differ_in_all_else(web: str, api: str) -> None:
    assert not group_of(web=web, api=api).problems


def test_an_invalid_member_still_belongs_to_its_group() -> None:
    for group in ("group: shop", "group: {name: shop, match: any}"):
        (web,) = group_of(web=f"{group}, semver: nonsense").workloads
        assert isinstance(web, InvalidWorkload)
        assert web.group == "shop"


def test_members_may_stand_in_different_files() -> None:
    text = "version: 1\nworkloads:\n  {name}: {{image: acme/{name}, group: shop, {keys}}}\n"
    policies = read(
        text.format(name="web", keys="semver: '1.x'"), b=text.format(name="api", keys="order: numeric")
    )
    assert [str(place) for place, _ in policies.problems] == ["policies/b.yaml:3", "policies/shop.yaml:3"]


# -- upstream ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "missing"),
    [
        ("{workload: api}", None),
        ("{workload: [api, other/api]}", None),
        ("{workload: broken}", None),
        ("{workload: [api, nobody]}", "workload nobody"),
        ("{group: backend}", None),
        ("{group: held}", None),
        ("{group: other/backend}", None),
        ("{group: frontend}", "group frontend"),
        ("{group: api}", "group api"),
    ],
)
def test_what_is_upstream_must_be_somewhere(after: str, missing: str | None) -> None:
    policies = group_of(
        api="semver: '1.x', group: backend",
        broken="semver: nonsense, group: held",
        web=f"semver: '1.x', after: {after}",
    )
    web = by_name(policies)["web"]
    assert isinstance(web, Workload) is (missing is None)
    problems = [why for place, why in policies.problems if place.line == 5]
    if missing is None:
        assert problems == []
    else:
        (why,) = problems
        assert (why.code, missing in why.sentence) == ("policy/no-upstream", True)


def test_upstream_may_stand_in_another_file() -> None:
    text = "version: 1\nworkloads:\n  web: {image: acme/web, semver: '1.x', after: {workload: api}}\n"
    api = "version: 1\nworkloads:\n  api: {image: acme/web, semver: '1.x', where: {paths: [staging/**]}}\n"
    assert not read(text, stage=api).problems
