"""Warnings of `check`: each fires on the smallest example, and stays silent on the near miss."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts.claiming import assign

from automator.core.lint import lint, loose_bounds, together
from automator.core.lintset import lint_set
from automator.core.policy import Workload, parse_policies
from automator.core.reference import Repository, parse_repository
from automator.core.site import locate
from automator.core.version import Constraint
from automator.errors import InvalidConstraint

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
IMAGE = "ghcr.io/acme/web"

Files = Mapping[str, str]


def policy(keys: str, name: str = "web", image: str = IMAGE) -> str:
    """A policy file of one workload; `keys` are lines of it."""
    lines = "".join(f"    {line}\n" for line in keys.splitlines())
    return f"version: 1\nworkloads:\n  {name}:\n    image: {image}\n{lines}"


def policies(**keys: str) -> str:
    """A policy file of several workloads, each of an image of its own name."""
    return "version: 1\nworkloads:\n" + "".join(
        policy(told, name, f"ghcr.io/acme/{name}").partition("workloads:\n")[2] for name, told in keys.items()
    )


def codes(
    text: str | Files,
    *held: str,
    tags: Collection[str] | None = None,
    lists: Mapping[Repository, Collection[str]] | None = None,
) -> list[str]:
    """Codes of what is told about policies, with sites of the image `web` that hold tags."""
    files = {"policies/a.yaml": text} if isinstance(text, str) else text
    read = parse_policies(files)
    assert read.problems == ()
    workloads = [w for w in read.workloads if isinstance(w, Workload)]
    assert len(workloads) == len(read.workloads)
    sites = [
        site.at(f"apps/{number}.yaml")
        for number, tag in enumerate(held)
        for site in locate(f"image: {IMAGE}:{tag}\n", "web.yaml").sites
    ]
    claims = assign(sites, read.workloads)
    if lists is None:
        lists = {} if tags is None else {workload.listed: tags for workload in workloads}
    each = [one for w in workloads for one in lint(w, claims.sites.get(w.name, ()), NOW, lists.get(w.listed))]
    told = [one.reason.code for one in together(each, workloads)]
    return [*told, *(one.reason.code for one in lint_set(read.workloads, NOW, lists))]


Row = tuple[str, str, tuple[str, ...], Collection[str] | None]
"""Code, policy keys, tags at sites, tags of the registry."""

FIRES: dict[str, Row] = {
    # upper bounds
    "bound of a major version": ("lint/upper-prerelease", 'semver: ">=1.2.0-0 <2"', (), None),
    "bound spelled out": ("lint/upper-prerelease", 'semver: ">=1.2.0-0 <2.0.0"', (), None),
    "bound of a minor version": ("lint/upper-prerelease", 'semver: ">=1.2.0-0, < v1.5"', (), None),
    "bound in one alternative": ("lint/upper-prerelease", 'semver: "^1.0 || >=2.0.0-0 <3"', (), None),
    "bound where pre-releases are allowed": (
        "lint/upper-prerelease",
        'semver: ">=1.2 <2"\nprereleases: allow',
        (),
        None,
    ),
    "bound with a star": ("lint/upper-prerelease", 'semver: ">=1.2.0-0 <2.*"', (), None),
    "bound with an x": ("lint/upper-prerelease", 'semver: ">=1.2.0-0 <2.x"', (), None),
    "bound with an x for the patch": ("lint/upper-prerelease", 'semver: ">=1.2.0-0 <2.0.x"', (), None),
    "bound with a build": ("lint/upper-prerelease", 'semver: ">=1.2.0-0 <2.0.0+b"', (), None),
    # numbers
    "open lenient range": ("lint/number-version", 'semver: ">=1.0"\nversions: lenient', (), None),
    "star": ("lint/number-version", 'semver: "*"\nversions: lenient', ("1.2",), None),
    "date in the registry": ("lint/number-version", 'semver: ">=1.0"', (), ("1.2.3", "20231005.1.0")),
    "number among dotted ones": (
        "lint/number-version",
        'regex: "[0-9.]+"\norder: version',
        ("1.2",),
        ("1.2", "1.3", "4815162"),
    ),
    # commits
    "hash at a site": ("lint/commit-order", 'glob: "*"\norder: alphabetical', ("4b1c2d3",), None),
    "hash behind a word": (
        "lint/commit-order",
        'glob: "main-*"\norder: alphabetical',
        ("main-4b1c2d3",),
        None,
    ),
    "hash in the key": (
        "lint/commit-order",
        'glob: "main-{key}"\norder: alphabetical',
        ("main-4b1c2d3",),
        None,
    ),
    "hashes in the registry": (
        "lint/commit-order",
        'glob: "*"\norder: alphabetical',
        (),
        ("4b1c2d3", "a00fe11", "latest"),
    ),
    "full hash": ("lint/commit-order", 'glob: "*"\norder: alphabetical', ("1" * 40,), None),
    "expression for hashes": (
        "lint/commit-order",
        "regex: '^main-(?P<key>[0-9a-f]{7,40})$'\norder: alphabetical",
        (),
        None,
    ),
    "expression without a key": ("lint/commit-order", "regex: '^[a-f0-9]+$'\norder: alphabetical", (), None),
    "another spelling": ("lint/commit-order", "regex: '^[a-f0-9A-F]{7}$'\norder: alphabetical", (), None),
    "a class with a name": ("lint/commit-order", "regex: '^[[:xdigit:]]+$'\norder: alphabetical", (), None),
    "glob for hashes": ("lint/commit-order", 'glob: "sha-{key}"\norder: alphabetical', (), None),
    "hashes as numbers": ("lint/commit-order", 'glob: "git-{key}"\norder: numeric', (), None),
    # variants
    "variant at a site": ("lint/variant", 'semver: "1.25.x"', ("1.25.3-alpine",), None),
    "variant with its version": ("lint/variant", 'semver: "1.25.x"', ("v1.25.3-alpine3.18",), None),
    "unknown variant": ("lint/variant", 'semver: ">=1.2.0-0"', ("1.2.3-ls45",), None),
    "variant of a distribution": ("lint/variant", 'semver: "1.28.x"', ("v1.28.3-k3s1",), None),
    "variant of two words": ("lint/variant", 'semver: ">=1.2"', ("1.2.3-eclipse-temurin-21",), None),
    "variant taken as a pre-release": (
        "lint/variant",
        'semver: ">=1.2.0-0"',
        (),
        ("1.25.3", "1.25.3-bookworm"),
    ),
    "nothing but variants": ("lint/variant", 'semver: "1.25.x"', (), ("1.25.3-alpine", "1.25.4-alpine")),
    # tags
    "no tag in the range": ("lint/no-tag", 'semver: ">=3"', (), ("1.2.3", "2.0.0")),
    "no tag at all": ("lint/no-tag", 'semver: ">=3"', (), ()),
    "followed tag is gone": ("lint/no-tag", 'follow: "7"', (), ("6", "8")),
    # exclude
    "excluded twice over": ("lint/no-effect", 'semver: "1.x"\nexclude: ["*-rc*", "1.2.3-rc*"]', (), None),
    "excluded twice": ("lint/no-effect", 'semver: "1.x"\nexclude: ["*-rc*", "*-rc*"]', (), None),
    "everything excluded": ("lint/excludes-all", 'semver: "1.x"\nexclude: ["*"]', (), None),
    "every tag of the glob excluded": (
        "lint/excludes-all",
        'semver: "1.x"\nglob: "{key}-alpine"\nexclude: ["*-al*"]',
        (),
        None,
    ),
    # exact versions
    "reject outside the range": ("lint/no-effect", 'semver: "1.x"\nreject: ["2.0.1"]', (), None),
    "reject beside the glob": (
        "lint/no-effect",
        'semver: "1.x"\nglob: "{key}-alpine"\nreject: ["2.0.1-alpine"]',
        (),
        None,
    ),
    "accept outside the range": ("lint/no-effect", 'semver: "1.x"\naccept: ["2.0.1"]', (), None),
    "urgent outside the range": (
        "lint/urgent-outside",
        'semver: "1.x"\nurgent: {version: "2.0.1", reason: CVE}',
        (),
        None,
    ),
    "urgent of long ago": (
        "lint/no-effect",
        'semver: "1.x"\nurgent: {version: "1.2.1", reason: CVE}',
        ("1.2.1",),
        None,
    ),
    "path twice": ("lint/no-effect", 'semver: "1.x"\nwhere: {paths: ["apps/**", "apps/**"]}', (), None),
    "tags from itself": ("lint/no-effect", f'semver: "1.x"\ntags_from: {IMAGE}', (), None),
    # stops and windows
    "hold that ended": (
        "lint/ended",
        'semver: "1.x"\nhold: {reason: audit, until: 2026-11-21T12:00:00Z}',
        (),
        None,
    ),
    "windows that deny all they allow": (
        "lint/window-never",
        'semver: "1.x"\nwindows: [{allow: "0 9 * * 1", for: 1h}, {deny: "0 0 * * 1", for: 24h}]',
        (),
        None,
    ),
}

SILENT: dict[str, Row] = {
    "bound below all pre-releases": ("lint/upper-prerelease", 'semver: ">=1.2.0-0 <2.0.0-0"', (), None),
    "no pre-release is named": ("lint/upper-prerelease", 'semver: ">=1.2 <2"', (), None),
    "pre-releases are never taken": (
        "lint/upper-prerelease",
        'semver: ">=1.2.0-0 <2"\nprereleases: never',
        (),
        None,
    ),
    "bound that is included": ("lint/upper-prerelease", 'semver: ">=1.2.0-0 <=2.0.0"', (), None),
    "bound that another alternative includes": (
        "lint/upper-prerelease",
        'semver: ">=1.2.0-0 <2 || ^2.0.0-0"',
        (),
        None,
    ),
    "caret": ("lint/upper-prerelease", 'semver: "^1.2.0-0"', (), None),
    "bounded lenient range": ("lint/number-version", 'semver: ">=1.0 <2"\nversions: lenient', (), None),
    "strict range": ("lint/number-version", 'semver: ">=1.0"', (), ("1.2.3", "20231005")),
    "glob against numbers": (
        "lint/number-version",
        'semver: ">=1.0"\nversions: lenient\nglob: "v{key}"',
        (),
        None,
    ),
    "dates that are meant": ("lint/number-version", 'semver: ">=20230101"\nversions: lenient', (), None),
    "dates at the site": ("lint/number-version", 'semver: "*"\nversions: lenient', ("20231005",), None),
    "years": ("lint/number-version", 'semver: ">=2023.1"', (), ("2023.10.5", "2024.1.1")),
    "only dates": ("lint/number-version", 'glob: "*"\norder: version', (), ("20231005", "20231006")),
    "build number before the hash": (
        "lint/commit-order",
        'glob: "main-*"\norder: alphabetical',
        ("main-20231005-4b1c2d3",),
        None,
    ),
    "date of eight digits": ("lint/commit-order", 'glob: "*"\norder: alphabetical', ("20231005",), None),
    "word of hexadecimal letters": (
        "lint/commit-order",
        'glob: "*"\norder: alphabetical',
        ("deadbeef",),
        None,
    ),
    "few hashes": (
        "lint/commit-order",
        'glob: "*"\norder: alphabetical',
        (),
        ("4b1c2d3", "2026-01", "2026-02", "2026-03"),
    ),
    "hash behind the key": (
        "lint/commit-order",
        "regex: '^(?P<key>[0-9]+)-[0-9a-f]{7}$'\norder: numeric",
        ("57-4b1c2d3",),
        ("57-4b1c2d3",),
    ),
    "newest needs no order": ("lint/commit-order", 'glob: "sha-*"\norder: newest', ("sha-4b1c2d3",), None),
    "variant with a glob": (
        "lint/variant",
        'semver: "1.25.x"\nglob: "{key}-alpine"',
        ("1.25.3-alpine",),
        ("1.25.3-alpine",),
    ),
    "pre-release at the site": ("lint/variant", 'semver: ">=1.2.0-0"', ("1.25.3-rc.1",), ("1.25.3-beta",)),
    "word that begins like a variant": (
        "lint/variant",
        'semver: ">=1.2.0-0"',
        (),
        ("1.2.3", "1.2.3-alpinist"),
    ),
    "pre-release that the range names": ("lint/variant", 'semver: ">=1.2.3-foo.1"', ("1.2.3-foo.4",), None),
    "unfinished": ("lint/variant", 'semver: ">=1.2.0-0"', ("1.2.3-SNAPSHOT", "1.2.3-m4", "1.2.3-2"), None),
    "built from a commit": ("lint/variant", 'semver: ">=1.2.0-0"', ("1.2.3-4b1c2d3", "1.2.3-ga1b2c3d"), None),
    "letters that are more than hexadecimal": (
        "lint/commit-order",
        "regex: '^[a-z0-9]+$'\norder: alphabetical",
        (),
        None,
    ),
    "variants beside releases": (
        "lint/variant",
        'semver: "1.25.x"',
        ("1.25.3",),
        ("1.25.3", "1.25.3-alpine"),
    ),
    "a tag in the range": ("lint/no-tag", 'semver: ">=1"', (), ("1.2.3",)),
    "followed tag is there": ("lint/no-tag", 'follow: "7"', (), ("7",)),
    "exclusions apart": ("lint/no-effect", 'semver: "1.x"\nexclude: ["*-rc*", "*-beta*"]', (), None),
    "exclusions that overlap": ("lint/no-effect", 'semver: "1.x"\nexclude: ["a*b", "a*c"]', (), None),
    "some tags excluded": (
        "lint/excludes-all",
        'semver: "1.x"\nglob: "{key}-alpine"\nexclude: ["*-rc-alpine"]',
        (),
        None,
    ),
    "reject of a tag": ("lint/no-effect", 'semver: "1.x"\nreject: ["1.2.3"]', (), None),
    "reject of a key": (
        "lint/no-effect",
        'semver: "1.x"\nglob: "{key}-alpine"\nreject: ["1.2.3", "1.2.4-alpine"]',
        (),
        None,
    ),
    "reject of a digest": ("lint/no-effect", f'semver: "1.x"\nreject: ["sha256:{"a" * 64}"]', (), None),
    "accept of a tag": ("lint/no-effect", 'semver: "1.x"\naccept: ["1.2.3"]', (), None),
    "urgent to come": (
        "lint/no-effect",
        'semver: "1.x"\nurgent: {version: "1.2.2", reason: CVE}',
        ("1.2.1",),
        None,
    ),
    "urgent in the range": (
        "lint/urgent-outside",
        'semver: "1.x"\nurgent: {version: "1.2.1", reason: CVE}',
        (),
        None,
    ),
    "other paths": ("lint/no-effect", 'semver: "1.x"\nwhere: {paths: ["apps/**", "!apps/old/**"]}', (), None),
    "tags from a mirror": ("lint/no-effect", 'semver: "1.x"\ntags_from: mirror.example/acme/web', (), None),
    "hold that goes on": (
        "lint/ended",
        'semver: "1.x"\nhold: {reason: audit, until: 2026-11-21T12:00:01Z}',
        (),
        None,
    ),
    "hold without end": ("lint/ended", 'semver: "1.x"\nhold: {reason: audit}', (), None),
    "windows with a gap": (
        "lint/window-never",
        'semver: "1.x"\nwindows: [{allow: "0 9 * * 1", for: 1h}, {deny: "0 0 * * 1", for: 9h30m}]',
        (),
        None,
    ),
}


@pytest.mark.parametrize("row", FIRES.values(), ids=FIRES)
def test_fires(row: Row) -> None:
    code, keys, held, tags = row
    assert code in codes(policy(keys), *held, tags=tags)


@pytest.mark.parametrize("row", SILENT.values(), ids=SILENT)
def test_stays_silent(row: Row) -> None:
    code, keys, held, tags = row
    assert code not in codes(policy(keys), *held, tags=tags)


def test_every_warning_fires_and_is_silent_somewhere() -> None:
    assert {row[0] for row in FIRES.values()} == {row[0] for row in SILENT.values()}


# -- several workloads --------------------------------------------------------------------------------

TOGETHER = "group: shop"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (policies(a=f'semver: "1.x"\n{TOGETHER}', b=f'semver: ">=2 <3"\n{TOGETHER}'), ["lint/group-apart"]),
        (policies(a=f'semver: "1.x"\n{TOGETHER}', b=f'semver: ">=1.4"\n{TOGETHER}'), []),
        (
            policies(
                a=f'semver: "1.x || 3.x"\n{TOGETHER}',
                b=f'semver: "2.x || 4.x"\n{TOGETHER}',
            ),
            ["lint/group-apart"],
        ),
        (policies(a=f'semver: "1.x || 3.x"\n{TOGETHER}', b=f'semver: "2.x || 3.2"\n{TOGETHER}'), []),
        (
            policies(
                a='semver: "1.x"\ngroup: {name: shop, match: any}',
                b='semver: "2.x"\ngroup: {name: shop, match: any}',
            ),
            [],
        ),
        (policies(a=f'semver: "1.x"\n{TOGETHER}', b='semver: "1.x"'), ["lint/group-alone"]),
        (
            policies(
                a=f'semver: "1.x"\n{TOGETHER}\nwindows: [{{allow: "0 9 * * 1", for: 1h}}]',
                b=f'semver: "1.x"\n{TOGETHER}\nwindows: [{{allow: "0 10 * * 1", for: 1h}}]',
            ),
            ["lint/group-apart"],
        ),
        (
            policies(
                a=f'semver: "1.x"\n{TOGETHER}\nwindows: [{{allow: "0 9 * * 1", for: 61m}}]',
                b=f'semver: "1.x"\n{TOGETHER}\nwindows: [{{allow: "0 10 * * 1", for: 1h}}]',
            ),
            [],
        ),
    ],
)
def test_groups_that_can_never_move(text: str, expected: list[str]) -> None:
    assert codes(text) == expected


def test_a_group_whose_registries_share_no_version() -> None:
    text = policies(a=f'semver: "1.x"\n{TOGETHER}', b=f'semver: "1.x"\n{TOGETHER}')
    a, b = (parse_repository(f"ghcr.io/acme/{name}") for name in "ab")
    assert codes(text, lists={a: ("1.0.0", "1.1.0"), b: ("1.2.0",)}) == ["lint/group-apart"]
    assert codes(text, lists={a: ("1.0.0", "v1.2.0"), b: ("1.2.0",)}) == []
    assert codes(text, lists={a: ("1.0.0",)}) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            policies(a='semver: "1.x"\nafter: {workload: b}', b='semver: "1.x"\nafter: {workload: a}'),
            ["lint/after-circle"],
        ),
        (
            policies(
                a='semver: "1.x"\nafter: {workload: c}',
                b='semver: "1.x"\nafter: {workload: a}',
                c='semver: "1.x"\nafter: {workload: b}',
            ),
            ["lint/after-circle"],
        ),
        (
            policies(
                a='semver: "1.x"',
                b='semver: "1.x"\nafter: {workload: a}',
                c='semver: "1.x"\nafter: {workload: [a, b]}',
            ),
            [],
        ),
        # members of a group move together, so none can come after another
        (
            policies(a=f'semver: "1.x"\n{TOGETHER}', b=f'semver: "1.x"\n{TOGETHER}\nafter: {{workload: a}}'),
            ["lint/after-circle"],
        ),
        (
            policies(
                a=f'semver: "1.x"\n{TOGETHER}',
                b=f'semver: "1.x"\n{TOGETHER}',
                c='semver: "1.x"\nafter: {group: shop}',
            ),
            [],
        ),
        (policies(a='semver: "1.x"\nafter: {workload: staging/a}'), []),
        # one that says no order of its own has that of upstream, which must be one
        (policies(a='semver: "1.x"', b="after: {workload: a}", c="after: {workload: [a, b]}"), []),
        (
            policies(a='semver: "1.x"', b='semver: "2.x"', c="after: {workload: [a, b]}"),
            ["guard/after-orders"],
        ),
        (policies(a="after: {workload: staging/a}"), []),
    ],
)
def test_promotion_in_a_circle(text: str, expected: list[str]) -> None:
    assert codes(text) == expected


def test_a_circle_is_told_from_its_first_workload_on() -> None:
    text = policies(b='semver: "1.x"\nafter: {workload: a}', a='semver: "1.x"\nafter: {workload: b}')
    read = parse_policies({"policies/a.yaml": text})
    (told,) = lint_set(read.workloads, NOW)
    assert (told.place.line, told.reason.sentence) == (6, "`after` goes in a circle: b after a after b")


def test_a_key_in_the_defaults_is_idle_only_if_it_is_for_all() -> None:
    text = (
        'version: 1\ndefaults:\n  reject: ["2.0.1"]\nworkloads:\n'
        f'  a:\n    image: {IMAGE}\n    semver: "1.x"\n  b:\n    image: {IMAGE}\n    semver: "BETA"\n'
    )
    assert codes(text.replace("BETA", "2.x")) == []
    assert codes(text.replace("BETA", "3.x")) == ["lint/no-effect"]
    assert codes(text.replace("BETA", "1.x")) == ["lint/no-effect"]


def test_a_frozen_file_that_thawed_is_told_once() -> None:
    text = policies(a='semver: "1.x"', b='semver: "1.x"')
    ended = "freeze:\n  reason: holidays\n  until: 2026-01-02T00:00:00Z\n"
    assert codes(text + ended) == ["lint/ended"]
    assert codes({"policies/a.yaml": text, "policies/_freeze.yaml": f"version: 1\n{ended}"}) == ["lint/ended"]
    assert codes(text + ended.replace("2026-01", "2027-01")) == []


# -- no false alarm, and laws -------------------------------------------------------------------------


def test_the_example_policies_make_no_warning() -> None:
    files = {f"policies/{path.name}": path.read_text() for path in (ROOT / "policies").glob("*.yaml")}
    assert len(files) > 3
    assert codes(files) == []


NUMBERS = st.integers(0, 4)
VERSIONS = st.one_of(
    st.builds("{}".format, NUMBERS),
    st.builds("{}.{}".format, NUMBERS, NUMBERS),
    st.builds("{}.{}.{}".format, NUMBERS, NUMBERS, NUMBERS),
    st.builds("{}.{}.{}-{}".format, NUMBERS, NUMBERS, NUMBERS, st.sampled_from(("0", "rc.1"))),
)
COMPARATORS = st.builds("{}{}".format, st.sampled_from(("<", "<", ">=", "<=", ">", "^", "~", "=")), VERSIONS)
RANGES = st.lists(st.lists(COMPARATORS, min_size=1, max_size=3).map(" ".join), min_size=1, max_size=2).map(
    " || ".join
)


@given(text=RANGES, prereleases=st.booleans(), tag=st.tuples(NUMBERS, NUMBERS, NUMBERS))
def test_the_proposed_range_takes_the_same_releases_without_those_pre_releases(
    text: str, prereleases: bool, tag: tuple[int, int, int]
) -> None:
    constraint = Constraint.parse(text)
    release = ".".join(map(str, tag))
    for comparator, admitted, fixed in loose_bounds(constraint, prereleases):
        mended = Constraint.parse(fixed)
        assert comparator in text
        assert constraint.allows(admitted, prereleases)
        assert not mended.allows(admitted, prereleases)
        assert mended.allows(release) == constraint.allows(release)


@given(text=RANGES)
def test_a_group_that_shares_a_version_is_never_said_to_be_apart(text: str) -> None:
    other = "1.x"
    try:
        both = [Constraint.parse(text), Constraint.parse(other)]
    except InvalidConstraint:
        return
    if both[0].empty:
        return
    told = codes(policies(a=f'semver: "{text}"\n{TOGETHER}', b=f'semver: "{other}"\n{TOGETHER}'))
    shared = any(
        all(range_.allows(f"{major}.{minor}.{patch}") for range_ in both)
        for major in range(6)
        for minor in range(6)
        for patch in range(6)
    )
    assert not (shared and "lint/group-apart" in told)
