"""Policy files: what they say is done, what is wrong in them is named, and holds."""

from __future__ import annotations

import fnmatch
import re
import textwrap
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automator.core.pattern import DOTTED, NUMBER, STRICT, TEXT, Expression, Glob, Shape
from automator.core.policy import (
    Candidate,
    Dropped,
    InvalidWorkload,
    Place,
    PolicySet,
    Where,
    Workload,
    parse_policies,
)
from automator.core.reference import Repository
from automator.core.rule import Rule
from automator.core.workload import Delivery
from automator.errors import PolicyError

WEB = Repository("ghcr.io", "acme/web")


def read(text: str, **files: str) -> PolicySet:
    """Policies of `policies/shop.yaml` (and others, by name)."""
    texts = {"shop": text, **files}
    return parse_policies({f"policies/{name}.yaml": textwrap.dedent(t) for name, t in texts.items()})


def one(keys: str) -> Workload:
    """The only workload of a file that is in order."""
    policies = read(f"version: 1\nworkloads:\n  web: {{image: ghcr.io/acme/web, {keys}}}\n")
    assert [str(why) for _, why in policies.problems] == []
    (workload,) = policies.workloads
    assert isinstance(workload, Workload)
    return workload


def wrong(keys: str) -> tuple[str, str, str]:
    """Code, sentence and next step of the first problem of a workload written so."""
    policies = read(f"version: 1\nworkloads:\n  web: {{image: ghcr.io/acme/web, {keys}}}\n")
    (workload,) = policies.workloads
    assert isinstance(workload, InvalidWorkload)
    assert workload.reason in [why for _, why in policies.problems]
    assert workload.reason.sentence.startswith("policies/shop.yaml:3: ")
    return workload.reason.code, workload.reason.sentence, workload.reason.next_step


def taken(rule: Rule, tags: str) -> list[str]:
    """The tags that pass, in ascending order."""
    judged = [rule.judge(tag) for tag in tags.split()]
    return [c.tag for c in sorted((j for j in judged if isinstance(j, Candidate)), key=lambda c: c.rank)]


def dropped(rule: Rule, tag: str) -> str:
    judged = rule.judge(tag)
    assert isinstance(judged, Dropped), judged
    assert judged.reason.sentence
    assert judged.reason.next_step
    return judged.code


# -- what policies say --------------------------------------------------------------------------------


def test_three_lines_are_a_policy() -> None:
    workload = one('semver: ">=1.4 <2"')
    assert (workload.name, workload.repository, workload.where) == ("web", WEB, Where())
    assert (workload.pin, workload.hold, workload.owner) == ("tag", None, None)
    assert workload.place == Place("policies/shop.yaml", 3)
    assert workload.rule.text == 'semver ">=1.4 <2"'
    assert taken(workload.rule, "1.3.9 1.10.0 v1.9.0 1.4.0 2.0.0 1.5 latest") == ["1.4.0", "v1.9.0", "1.10.0"]


def test_all_keys_arrive() -> None:
    workload = one(
        "glob: 'v{key}', semver: ^2, pin: digest, hold: {reason: audit, until: 2027-01-04T08:00:00+01:00}, "
        "owner: team-shop, environment: production, description: the shop, where: {paths: ['apps/**'], "
        "kind: Deployment, namespace: shop, name: web, container: app, field: a.b, marker: 'flux-system:web'}"
    )
    paths = ("apps/**",)
    assert workload.where == Where(paths, "Deployment", "shop", "web", "app", "a.b", "flux-system:web")
    assert workload.hold is not None
    assert workload.hold.until == datetime(2027, 1, 4, 7, tzinfo=UTC)
    assert (workload.pin, workload.owner, workload.environment) == ("digest", "team-shop", "production")
    assert workload.description == "the shop"
    assert workload.rule.text == 'glob "v{key}", semver "^2"'


def test_defaults_are_inherited_and_overridden() -> None:
    policies = read(
        """\
        version: 1
        defaults: {semver: ">=1", owner: shop, image: ghcr.io/acme/web}
        workloads:
          staging: {}
          production: {semver: ">=1 <2", owner: ops}
        """
    )
    staging, production = policies.workloads
    assert isinstance(staging, Workload)
    assert isinstance(production, Workload)
    assert (staging.owner, staging.rule.text) == ("shop", 'semver ">=1"')
    assert (production.owner, production.rule.text) == ("ops", 'semver ">=1 <2"')


def test_anchors_aliases_and_merge_keys_are_understood() -> None:
    policies = read(
        """\
        version: 1
        defaults: &base {semver: ">=1", image: ghcr.io/acme/web}
        workloads:
          a: {<<: *base, semver: ">=2"}
          b: {where: &w {paths: [x]}}
          c: {where: *w, <<: [{owner: o1}, {owner: o2, pin: digest}]}
        """
    )
    a, b, c = policies.workloads
    assert isinstance(a, Workload)
    assert isinstance(c, Workload)
    assert (a.rule.text, c.where, c.owner, c.pin) == ('semver ">=2"', b.where, "o1", "digest")


@pytest.mark.parametrize(
    ("keys", "ascending", "refused"),
    [
        (
            "glob: '{key}-alpine', semver: 1.25.x",
            "1.25.2-alpine 1.25.10-alpine",
            "1.25.3 1.26.0-alpine -alpine",
        ),
        ("glob: 'main-*-{key}', order: numeric", "main-x-9-5 main-abc-10", "main-10 main-a-b prod-a-1"),
        (
            r"regex: '^(?P<key>\d{4}\.\d{2})-[0-9a-f]{7}$', order: version",
            "2025.12-aaaaaaa 2026.01-0123456",
            "2026.02 2026.02-012345g",
        ),
        ("glob: '*', order: alphabetical, exclude: ['*-dev', tmp]", "a b c", "a-dev tmp"),
        ("regex: '[0-9]+', order: numeric", "9 10 100000000000000000000", "v9 1.0"),
        ("semver: '>=1', versions: lenient", "1 1.1 1.2.0", "0.9 x"),
        ("semver: '>=1', prereleases: allow", "1.1.0-rc.1 1.1.0", "0.9.0"),
        ("semver: '>=1-0', prereleases: never", "1.1.0", "1.1.0-rc.1"),
        ("semver: '>=1', prereleases: only", "1.1.0-rc.1 1.1.0-rc.2", "1.1.0 0.9.0-rc.1"),
        ("semver: '>=1.1-0', prereleases: range", "1.1.0-rc.1 1.1.0", "1.0.0-rc.1"),
    ],
)
def test_filters_and_orders(keys: str, ascending: str, refused: str) -> None:
    rule = one(keys).rule
    assert taken(rule, " ".join([*reversed(ascending.split()), refused])) == ascending.split()


def test_under_newest_the_build_time_is_the_rank() -> None:
    rule = one("glob: 'pr-{key}', order: newest").rule
    assert rule.judge("pr-17") == Candidate("pr-17", "17", None)
    assert rule.rank("pr-17") is None


def test_a_rank_is_given_whatever_range_and_exclude_say() -> None:
    rule = one("glob: 'v{key}', semver: '>=2', exclude: ['*9']").rule
    low, excluded, pre = rule.rank("v1.0.0"), rule.rank("v1.0.9"), rule.rank("v1.1.0-rc.1")
    assert low < excluded < pre
    assert rule.rank("latest") is rule.rank("v1.0") is rule.rank("") is None
    assert rule.rank("1.0.0") == low, "outside the glob, and still a version"


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ("no tag", "tag/grammar"),
        ("x" * 129, "tag/grammar"),
        ("sha256-" + "0" * 64, "tag/shape"),
        ("sha256-" + "0" * 64 + ".sig", "tag/shape"),
        ("v1.2.3.att", "tag/shape"),
        ("1.2.3", "tag/glob"),
        ("v2.0.0-bad", "tag/excluded"),
        ("v0.0.1-bad", "tag/excluded"),
        ("v2.0", "tag/unreadable"),
        ("v1.9.0", "tag/range"),
        ("v1.9.0-rc.1", "tag/range"),
        ("v2.1.0-rc.1", "tag/prerelease"),
    ],
)
def test_the_first_rule_that_refuses_a_tag_is_named(tag: str, code: str) -> None:
    assert dropped(one("glob: 'v{key}', semver: '>=2', exclude: ['*-bad']").rule, tag) == code


def test_a_tag_that_an_expression_does_not_cover_is_dropped_so() -> None:
    assert dropped(one("regex: 'v(?P<key>[0-9]*)', order: numeric").rule, "v1a") == "tag/regex"
    assert dropped(one("regex: 'v(?P<key>[0-9]*)', order: numeric").rule, "v") == "tag/regex"


# -- globs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("glob", "shape", "ambiguous"),
    [
        ("{key}", TEXT, False),
        ("{key}-alpine", STRICT, False),
        ("main-*-{key}", NUMBER, False),
        ("main-*{key}", NUMBER, True),
        ("{key}-*", STRICT, True),
        ("{key}-*", DOTTED, False),
        ("*-{key}", TEXT, True),
        ("main-*", TEXT, False),
        ("*a*b*", TEXT, False),
        ("*v{key}*", STRICT, True),
        ("build_{key}_*", NUMBER, False),
    ],
)
def test_globs_that_split_a_tag_in_two_ways_are_known(glob: str, shape: Shape, ambiguous: bool) -> None:
    assert Glob.parse(glob, shape).ambiguous is ambiguous


def test_an_ambiguous_glob_is_a_warning_with_its_place() -> None:
    policies = read(
        """\
        version: 1
        workloads:
          web:
            image: nginx
            glob: '*-{key}'
            order: alphabetical
        """
    )
    assert isinstance(policies.workloads[0], Workload)
    ((place, why),) = policies.warnings
    assert (place.line, why.code) == (5, "policy/ambiguous-glob")
    assert "workloads.web.glob" in why.sentence


@given(
    st.lists(st.sampled_from(["*", "a", "-", "1", "."]), max_size=3).map("".join),
    st.lists(st.sampled_from(["*", "a", "-", "1", "."]), max_size=3).map("".join),
    st.sampled_from([TEXT, NUMBER, DOTTED]),
    st.text(alphabet="a1-.", min_size=1, max_size=5),
)
def test_a_glob_finds_a_key_exactly_where_there_is_one(
    before: str, after: str, shape: Shape, tag: str
) -> None:
    glob = Glob.parse(f"{before}{{key}}{after}", shape)

    def keys(expression: str) -> set[str]:
        return {
            tag[i:j]
            for i in range(len(tag))
            for j in range(i + 1, len(tag) + 1)
            if fnmatch.fnmatchcase(tag[:i], before)
            and fnmatch.fnmatchcase(tag[j:], after)
            and re.fullmatch(expression, tag[i:j], re.ASCII)
        }

    fitting = keys(shape.expression) or keys(".+")
    assert glob.key(tag) in (fitting or {None})
    if len(keys(shape.expression)) > 1:
        assert glob.ambiguous


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("v?", "`?` has no meaning"),
        ("v{keys}", "`{` has no meaning"),
        ("{key}-{key}", "twice"),
        ("*a" * 9, "stars"),
        ("a" * 501, "characters"),
        ("feature/*", "`/`"),
    ],
)
def test_what_is_no_glob_is_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(PolicyError) as caught:
        Glob.parse(text)
    assert words in str(caught.value)


def test_expressions_are_re2_and_linear() -> None:
    with pytest.raises(PolicyError):
        Expression.parse(r"(?P<key>\d+)(?=-x)")
    hard = Expression.parse(r"([0-9]+\.?)+-x")
    assert hard.key("1" * 128) is None


# -- what is wrong ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "code", "words"),
    [
        ("semver: 1.10", "policy/unquoted", 'put it in quotes: "1.10"'),
        ("semver: '1.x', owner: yes", "policy/unquoted", '"yes"'),
        ("semver: '1.x', exclude: [2026-01-01]", "policy/unquoted", '"2026-01-01"'),
        ("glob: 1e3, order: numeric", "policy/unquoted", '"1e3"'),
        ("semver: 0123", "policy/unquoted", '"0123"'),
        ("semver: ~", "policy/wrong-type", "workloads.web.semver is nothing"),
        ("semver: {a: b}", "policy/wrong-type", "a mapping, expected text"),
        ("semver: !ver '1'", "policy/unquoted", "!ver"),
        ("semver: '1.x', exclude: a", "policy/wrong-type", 'expected a list such as ["a", "b"]'),
        ("semver: '1.x', pin: sha", "policy/wrong-type", 'pin is "sha", expected `tag` or `digest`'),
        ("semver: '1.x', hold: {until: 2027-01-01T00:00:00Z}", "policy/missing-key", "hold.reason"),
        ("semver: '1.x', hold: {reason: x, until: 2027-01-01}", "policy/invalid-value", "RFC 3339"),
        *(
            (f"semver: '1.x', hold: {{reason: x, until: '{time}'}}", "policy/invalid-value", "1970 to 2199")
            for time in (
                "9999-12-31T23:59:59-01:00",
                "9999-12-31T23:59:59Z",
                "0001-01-01T00:00:00+05:00",
                "1969-12-31T23:59:59Z",
                "1970-01-01T00:00:00+00:01",
                "2200-01-01T00:00:00Z",
                "2199-12-31T23:59:59-00:01",
            )
        ),
        ("semver: '1.x', hold: true", "policy/wrong-type", "expected a mapping"),
        ("semver: '1.x', where: {}", "policy/invalid-value", "where: it is empty"),
        ("semver: '1.x', where: {paths: []}", "policy/wrong-type", "at least one"),
        ("semver: '1.x', where: {paths: [a, '!']}", "policy/invalid-value", "where.paths[1]"),
        ("semver: '1.x', where: {knid: Pod}", "policy/unknown-key", "did you mean `kind`?"),
        ("smver: '1.x'", "policy/unknown-key", "did you mean `semver`?"),
        ("semver: '1.x', follow: latest", "policy/conflict", "`follow` takes one tag"),
        ("owner: me", "policy/no-choice", "which tags may be taken"),
        ("glob: 'v*'", "policy/missing-key", "workloads.web.order"),
        ("glob: 'v*', after: {workload: staging/web}", "policy/missing-key", "workloads.web.order"),
        ("versions: lenient, after: {workload: staging/web}", "policy/conflict", "without `semver`"),
        ("glob: 'v*', regex: 'v.*', order: numeric", "policy/conflict", "cannot both"),
        ("semver: '1.x', order: newest", "policy/conflict", "order: newest"),
        ("order: numeric, prereleases: never", "policy/conflict", "without `semver`"),
        ("semver: '>2 <1'", "policy/unreachable", '">2 <1"'),
        ("semver: '>=1 <<2'", "policy/invalid-value", "no version range"),
        ("regex: '(', order: numeric", "policy/invalid-value", "workloads.web.regex"),
        ("semver: '1.x', exclude: ['a{key}']", "policy/invalid-value", "exclude[0]"),
        ("semver: '1.x', semver: '2.x'", "policy/duplicate-key", "stands twice"),
        ("semver: '1.x', owner: *nobody", "policy/wrong-type", "alias without an anchor"),
        ("semver: '1.x', <<: 7", "policy/wrong-type", "no mapping"),
    ],
)
def test_mistakes_are_named_with_place_key_and_remedy(keys: str, code: str, words: str) -> None:
    found, sentence, step = wrong(keys)
    assert (found, words in sentence + step) == (code, True), (sentence, step)


def test_how_a_workload_is_delivered_and_verified() -> None:
    web = one("semver: '1.x'")
    assert (web.delivery, web.verify, web.on_failure) == (Delivery(), (), "stop")
    web = one(
        "semver: '1.x', verify: healthy, on_failure: rollback, deliver: pull-request, "
        "pull_request: {labels: [a, a], reviewers: ['@ann', acme/shop], draft: false, automerge: true}"
    )
    assert (web.verify, web.on_failure) == (("healthy",), "rollback")
    assert web.delivery == Delivery("pull-request", ("a",), ("ann", "acme/shop"), False, True)
    assert one("semver: '1.x', pull_request: {labels: []}").delivery == Delivery(labels=())


def test_semver_and_order_may_agree() -> None:
    assert one("semver: '1.x', order: version").rule.order == "semver"


@pytest.mark.parametrize("image", ["ghcr.io/Acme/web", "ghcr.io/acme/web:1", "[a]", "1.5", ""])
def test_an_image_that_is_no_repository_is_named(image: str) -> None:
    policies = read(f"version: 1\nworkloads:\n  web:\n    semver: '1.x'\n    image: {image}\n")
    (workload,) = policies.workloads
    assert isinstance(workload, InvalidWorkload)
    ((place, why),) = policies.problems
    assert place == Place("policies/shop.yaml", 5)
    assert "workloads.web.image" in why.sentence


@pytest.mark.parametrize("name", ["-web", "web/x", "'a b'", "''", "wéb"])
def test_names_are_plain(name: str) -> None:
    policies = read(f"version: 1\nworkloads:\n  {name}: {{image: ghcr.io/acme/web, semver: '1.x'}}\n")
    (workload,) = policies.workloads
    assert isinstance(workload, InvalidWorkload)
    assert (workload.repository, workload.reason.code) == (WEB, "policy/invalid-value")


def test_one_mistake_does_not_spoil_the_neighbours() -> None:
    policies = read(
        """\
        version: 1
        workloads:
          bad: {image: ghcr.io/acme/web, semver: nonsense}
          good: {image: ghcr.io/acme/web, semver: "1.x"}
        """,
        other="version: 1\nworkloads: ]",
    )
    bad, good = policies.workloads
    assert isinstance(bad, InvalidWorkload)
    assert isinstance(good, Workload)
    assert policies.broken == ("policies/other.yaml",)
    assert [str(place) for place, _ in policies.problems] == ["policies/other.yaml:2", "policies/shop.yaml:3"]


@pytest.mark.parametrize(
    ("where", "claims"),
    [
        ("{paths: [apps/web]}", Where(("apps/web",))),
        ("{paths: [apps/web], knd: x}", Where()),
        ("{paths: [apps/web], kind: 1}", Where()),
        ("{paths: apps/web}", Where()),
        ("{paths: ['!']}", Where()),
        ("{paths: [a], paths: [b]}", Where()),
        ("", Where()),
        ("7", Where()),
    ],
)
def test_an_invalid_workload_keeps_its_claims_or_a_wider_one(where: str, claims: Where) -> None:
    policies = read(
        f"""\
        version: 1
        workloads:
          web: {{image: 'ghcr.io/acme/web:1', min_age: 1h, semver: 1.0, where: {where}}}
        """
    )
    (workload,) = policies.workloads
    assert isinstance(workload, InvalidWorkload)
    assert (workload.repository, workload.where) == (WEB, claims)


def test_a_name_that_stands_twice_holds_both_and_names_both() -> None:
    text = "version: 1\nworkloads:\n  web: {image: ghcr.io/acme/web, semver: '1.x'}\n"
    policies = read(text, team=text + "  api: {image: ghcr.io/acme/api, semver: '1.x'}\n")
    assert [type(w) for w in policies.workloads] == [InvalidWorkload, InvalidWorkload, Workload]
    assert [str(why) for _, why in policies.problems] == [
        "policies/shop.yaml:3: workload web is also defined at policies/team.yaml:3",
        "policies/team.yaml:3: workload web is also defined at policies/shop.yaml:3",
    ]
    within = read(text + "  web: {image: ghcr.io/acme/api, semver: '2.x'}\n")
    assert [w.repository for w in within.workloads if isinstance(w, InvalidWorkload)] == [
        WEB,
        Repository("ghcr.io", "acme/api"),
    ]


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("version: 2", "version 2"),
        ("version: '1'", "the number 1"),
        ("", "version is missing"),
        ("version: 1\nfreeze: {until: '2027-01-01T00:00:00Z'}", "freeze.reason is missing"),
        ("version: 1\nfreeze: {reason: x, until: soon}", '"soon" is no RFC 3339 time'),
        ("version: 1\nfreeze: {reason: x, until: '9999-12-31T23:59:59-01:00'}", "1970 to 2199"),
        ("version: 1\nfreeze: audit", 'freeze is "audit", expected a mapping'),
        ("version: 1\nfreezer: {reason: x}", "did you mean `freeze`?"),
        ("version: 1\nworkload: {}", "did you mean `workloads`?"),
        ("version: 1\ndefaults: [a]", "defaults is a list"),
        ("version: 1\ndefaults: {semver: 1.10}", "defaults.semver is the number 1.10"),
        ("version: 1\ndefaults: {sever: '1'}", "did you mean `semver`?"),
        ("version: 1\nversion: 1", "stands twice"),
    ],
)
def test_a_mistake_of_the_file_holds_all_of_its_workloads(head: str, words: str) -> None:
    policies = read(f"{head}\nworkloads:\n  web: {{image: ghcr.io/acme/web, semver: '1.x'}}\n")
    (workload,) = policies.workloads
    assert isinstance(workload, InvalidWorkload)
    assert workload.repository == WEB
    assert policies.broken == ()
    ((_, why),) = policies.problems
    assert words in why.sentence + why.next_step


@pytest.mark.parametrize(
    ("version", "next_step"),
    [
        ("2", "use the automator that wrote the file, or a newer one"),
        ("0", "write `version: 1`"),
        ("-1", "write the number 1"),
        ("'2'", "write the number 1"),
        ("2.0", "write the number 1"),
    ],
)
@pytest.mark.parametrize("file", ["shop.yaml", "_freeze.yaml", "_rules.yaml"])
def test_nobody_is_told_to_give_a_newer_file_the_number_of_ours(
    file: str, version: str, next_step: str
) -> None:
    rest = {"shop.yaml": "workloads: {web: {image: nginx, semver: 1.x}}", "_rules.yaml": "rules: []"}
    text = f"version: {version}\n{rest.get(file, 'freeze: {reason: audit}')}\n"
    policies = parse_policies({f"policies/{file}": text})
    steps = {why.next_step for _, why in policies.problems}
    assert any(step.startswith(next_step) for step in steps), steps
    assert version != "2" or not any("version: 1" in step for step in steps)


def test_a_mistake_in_a_default_is_reported_once() -> None:
    policies = read(
        """\
        version: 1
        defaults:
          semver: nonsense
        workloads:
          a: {image: nginx}
          b: {image: redis}
        """
    )
    assert all(isinstance(w, InvalidWorkload) for w in policies.workloads)
    ((place, why),) = policies.problems
    assert (place.line, "defaults.semver" in why.sentence) == (3, True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing yet\n",
        "a: [",
        "- a",
        "text",
        "version: 1",
        "version: 1\nworkloads: []",
        "version: 1\nworkloads:",
        "version: 1\nworkloads: {}\n---\nversion: 1\n",
        "\0",
        "workloads: &a {a: " + "[" * 200,
    ],
)
def test_a_file_whose_workloads_cannot_be_read_is_broken(text: str) -> None:
    policies = read(text)
    assert policies.broken == ("policies/shop.yaml",)
    ((place, why),) = policies.problems
    assert why.sentence.startswith(str(place))


def test_aliases_cannot_exhaust_the_reader() -> None:
    levels = "\n".join(f"  l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 10))
    policies = read(f"version: 1\ndefaults:\n  l0: &l0 [x]\n{levels}\nworkloads: {{}}\n")
    assert policies.broken == ("policies/shop.yaml",)
    assert "values" in policies.problems[0][1].sentence


PLAIN = "version: 1\nworkloads:\n  web: {image: ghcr.io/acme/web, semver: '1.x'}\n"


def test_a_reserved_name_that_means_nothing_is_an_error_of_its_own() -> None:
    policies = read(PLAIN, _notes="freeze: {reason: audit}")
    assert [(str(place), why.code) for place, why in policies.problems] == [
        ("policies/_notes.yaml:1", "policy/reserved-file")
    ]
    assert isinstance(policies.workloads[0], Workload)


def test_freezes_of_the_file_and_of_the_config_repo_add_up() -> None:
    frozen = PLAIN.replace("\n", '\nfreeze: {reason: move, until: "2026-12-01T09:00:00+01:00"}\n', 1)
    policies = read(
        frozen,
        other=PLAIN.replace("web", "api"),
        _freeze="version: 1\nfreeze:\n  reason: audit\n",
    )
    assert not policies.problems
    assert {
        w.name: [(hold.reason, str(hold.place), hold.until) for hold in w.freezes]
        for w in policies.workloads
        if isinstance(w, Workload)
    } == {
        "api": [("audit", "policies/_freeze.yaml:2", None)],
        "web": [
            ("audit", "policies/_freeze.yaml:2", None),
            ("move", "policies/shop.yaml:2", datetime(2026, 12, 1, 8, tzinfo=UTC)),
        ],
    }


@pytest.mark.parametrize(
    ("text", "line", "code"),
    [
        ("", 1, "policy/unparsable"),
        ("{", 2, "policy/unparsable"),
        ("\0", 1, "policy/unparsable"),
        ("frozen", 1, "policy/unparsable"),
        ("version: 1\nfreeze: {reason: a}\n---\na: 1", 3, "policy/unparsable"),
        ("version: 1", 1, "policy/missing-key"),
        ("freeze: {reason: audit}", 1, "policy/missing-key"),
        ("version: 2\nfreeze: {reason: audit}", 1, "policy/invalid-value"),
        ("version: 1\nfreeze: ~", 2, "policy/wrong-type"),
        ("version: 1\nfreeze: true", 2, "policy/wrong-type"),
        ("version: 1\nfreeze: {until: '2026-12-01T09:00:00Z'}", 2, "policy/missing-key"),
        ("version: 1\nfreeze:\n  reason: x\n  until: tomorrow", 4, "policy/invalid-value"),
        (
            "version: 1\nfreeze:\n  reason: x\n  until: '9999-12-31T23:59:59-01:00'",
            4,
            "policy/invalid-value",
        ),
        ("version: 1\nfreeze:\n  reason: x\n  utnil: '2026-12-01T09:00:00Z'", 4, "policy/unknown-key"),
        ("version: 1\nfreeze: {reason: a}\nworkloads: {}", 3, "policy/unknown-key"),
    ],
)
@pytest.mark.parametrize("file", ["policies/_freeze.yaml", "policies/_freeze.yml"])
def test_a_freeze_that_cannot_be_read_freezes(file: str, text: str, line: int, code: str) -> None:
    policies = parse_policies({"policies/shop.yaml": PLAIN, file: text})
    assert [(str(place), why.code) for place, why in policies.problems] == [(f"{file}:{line}", code)]
    (workload,) = policies.workloads
    assert isinstance(workload, InvalidWorkload)
    assert (workload.repository, workload.reason) == (WEB, policies.problems[0][1])


def test_a_file_like_a_freeze_that_is_not_read_freezes_too() -> None:
    policies = parse_policies({"policies/shop.yaml": PLAIN, "policies/_freeze.json": "{}"})
    assert [why.code for _, why in policies.problems] == ["policy/reserved-file"]
    assert isinstance(policies.workloads[0], InvalidWorkload)


def test_rules_are_read_from_files_of_their_own() -> None:
    policies = read(PLAIN, _rules="version: 1\nrules:\n  - forbid: [urgent]\n")
    assert policies.problems == ()
    assert [(rail.place, rail.forbid) for rail in policies.rails] == [("policies/_rules.yaml:3", ("urgent",))]
    assert isinstance(policies.workloads[0], Workload)


@pytest.mark.parametrize(
    ("name", "rules", "line", "code"),
    [
        ("policies/_rules.yaml", "rules: [{forbid: [urgent]}]\n", 1, "policy/missing-key"),
        ("policies/_rules.yml", "version: 1\nrules:\n  - forbdi: [urgent]\n", 3, "policy/unknown-key"),
        ("policies/team/_rules.yaml", "version: 1\nrules:\n  - min_age: x\n", 3, "policy/invalid-value"),
        ("policies/_rules.yaml", "- forbid: [urgent]\n", 1, "policy/unparsable"),
        ("policies/_rules.json", "{}", 1, "policy/reserved-file"),
    ],
)
def test_rules_that_cannot_be_read_hold_everything(name: str, rules: str, line: int, code: str) -> None:
    policies = parse_policies({"policies/shop.yaml": PLAIN, name: rules})
    assert [(str(place), why.code) for place, why in policies.problems] == [(f"{name}:{line}", code)]
    (workload,) = policies.workloads
    assert isinstance(workload, InvalidWorkload)
    assert workload.repository == WEB
    assert workload.reason == policies.problems[0][1]


def test_odd_ranges_are_warned_of() -> None:
    policies = read("version: 1\nworkloads:\n  web: {image: nginx, semver: '^*'}\n")
    assert isinstance(policies.workloads[0], Workload)
    assert [why.code for _, why in policies.warnings] == ["policy/odd-range"]


# -- laws ---------------------------------------------------------------------------------------------

RULES = [
    one(keys).rule
    for keys in (
        "semver: '>=1'",
        "glob: '{key}-*', semver: '>=1 || 2.x', versions: lenient, prereleases: only",
        "regex: 'v?(?P<key>.*)', order: version, exclude: ['*9*']",
        "glob: '*-{key}', order: numeric",
        "order: alphabetical",
        "glob: '*', order: newest",
    )
]


@given(st.sampled_from(RULES), st.text(max_size=140) | st.text(alphabet="v0129.-a_", max_size=20))
def test_every_tag_is_kept_or_dropped_with_one_reason(rule: Rule, tag: str) -> None:
    judged = rule.judge(tag)
    assert judged == rule.judge(tag)
    assert judged.tag == tag
    if isinstance(judged, Dropped):
        assert "\n" not in judged.reason.sentence
        assert judged.reason.next_step
    else:
        assert judged.rank == rule.rank(tag)


WORDS = (
    "version : 1 workloads defaults image where paths semver glob regex exclude order newest hold reason "
    "until pin tag nginx '>=1' 1.10 ~ - [ ] { } , ? & * ! | > << &a *a a: web: ' # é"
)
tokens = st.sampled_from([*WORDS.split(), "\n", "\n  ", "\n    ", "\t", "\ufeff", "\0"])
shaped = st.lists(tokens, max_size=30).map(" ".join)
scalars = st.sampled_from(
    ["1.x", "'>=1'", "1.10", "~", "yes", "[a, 1]", "{a: 1}", "2026-01-01", "*x", "!t a", "nginx"]
)
keys = st.sampled_from(
    [
        "image",
        "semver",
        "glob",
        "regex",
        "order",
        "exclude",
        "where",
        "hold",
        "pin",
        "owner",
        "follow",
        "x",
        "<<",
    ]
)
workload_lines = st.lists(st.tuples(keys, scalars), max_size=6).map(
    lambda pairs: "version: 1\nworkloads:\n  w:\n" + "".join(f"    {key}: {value}\n" for key, value in pairs)
)


@given(
    st.text(max_size=200) | shaped | workload_lines, st.sampled_from(["policies/a.yaml", "_freeze.yaml", ""])
)
def test_any_text_is_read_or_reported(text: str, file: str) -> None:
    policies = parse_policies({file: text})
    for place, why in (*policies.problems, *policies.warnings):
        assert why.sentence.startswith(str(place))
        assert "\n" not in why.sentence + why.next_step
    for workload in policies.workloads:
        if isinstance(workload, InvalidWorkload):
            assert policies.problems
    if not policies.workloads and not policies.problems:
        assert "workloads" in text
