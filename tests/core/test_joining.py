"""Sites whose image another file tells: found by name, held where files disagree, else left out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automator.core.found import Awaits
from automator.core.joining import Joiner
from automator.core.site import Part, Site
from automator.core.sources import Source, repositories
from automator.core.spelling import repository_of


def site(kind: str, name: str, namespace: str | None = None, chart: str = "", **more: object) -> Site:
    values: dict[str, object] = {
        "file": "",
        "document": 0,
        "field": "version",
        "line": 3,
        "repository": None,
        "written": "",
        "tag": "1.4.2",
        "digest": None,
        "parts": (Part("tag", 0, 5, "plain", "1.4.2"),),
        "awaits": Awaits(kind, name, namespace, chart),
        **more,
    }
    return Site(**values)  # type: ignore[arg-type]


def helm(name: str, url: str, namespace: str | None = None) -> Source:
    return Source("HelmRepository", name, namespace, url, 1)


def variable(name: str, repository: str) -> Source:
    return Source("variable", name, None, repository, 1)


def seen(sites: tuple[Site, ...]) -> list[tuple[str, str | None]]:
    """Repository and hold of each site."""
    return [(str(s.repository), None if s.held is None else s.held.code) for s in sites]


RELEASE = site("HelmRepository", "acme", "shop", "web")
ACME = helm("acme", "oci://ghcr.io/acme/charts", "shop")


# -- charts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("release_first", [True, False])
def test_a_release_gets_its_repository_from_anywhere_in_the_config_repo(release_first: bool) -> None:
    joiner = Joiner()
    puts = [("apps/web.yaml", (RELEASE,), ()), ("infra/repos.yaml", (), (ACME,))]
    for path, sites, sources in puts if release_first else reversed(puts):
        joiner.put(path, sites, sources)
    settled = joiner.settle()
    assert list(settled) == ["apps/web.yaml"]
    (found,) = settled["apps/web.yaml"]
    assert (str(found.repository), found.written, found.held) == (
        "ghcr.io/acme/charts/web",
        "oci://ghcr.io/acme/charts/web",
        None,
    )


def test_without_its_source_a_site_is_left_out() -> None:
    joiner = Joiner()
    joiner.put("web.yaml", (RELEASE,), ())
    assert joiner.settle() == {"web.yaml": ()}


def test_a_site_that_a_policy_names_by_its_field_stays() -> None:
    named = site("HelmRepository", "acme", "shop", "web", selectors=("version",))
    joiner = Joiner()
    assert joiner.join("web.yaml", (named,)) == (named,)


def test_a_source_that_is_no_oci_makes_the_site_vanish() -> None:
    joiner = Joiner()
    joiner.put("web.yaml", (RELEASE,), ())
    joiner.put("repo.yaml", (), (helm("acme", "", "shop"),))
    assert joiner.settle() == {"web.yaml": ()}


@pytest.mark.parametrize(
    ("awaited", "given_", "found"),
    [
        ("shop", ["shop"], True),
        ("shop", ["else"], False),
        ("shop", [None], True),  # a kustomization sets it
        (None, ["else"], True),
        (None, [None], True),
        ("shop", ["shop", "else"], True),
        ("shop", ["shop", None], True),
    ],
)
def test_names_count_in_their_namespace(awaited: str | None, given_: list[str | None], found: bool) -> None:
    awaits = Awaits("HelmRepository", "acme", awaited, "web")
    sources = [helm("acme", f"oci://ghcr.io/{number}", space) for number, space in enumerate(given_)]
    assert repositories(awaits, [*sources, helm("other", "oci://x.io", awaited)]) == (
        ("oci://ghcr.io/0/web",) if found else ()
    )


def test_sources_that_disagree_hold_the_site_for_each_image_that_it_may_be() -> None:
    joiner = Joiner()
    joiner.put("web.yaml", (RELEASE,), ())
    joiner.put("a.yaml", (), (ACME,))
    joiner.put("b.yaml", (), (helm("acme", "oci://quay.io/acme", "shop"),))
    joiner.put("c.yaml", (), (helm("acme", "", "shop"),))
    sites = joiner.settle()["web.yaml"]
    assert seen(sites) == [
        ("ghcr.io/acme/charts/web", "site/sources-differ"),
        ("quay.io/acme/web", "site/sources-differ"),
    ]
    assert sites[0].held is not None
    assert sites[0].held.sentence == (
        "version (line 3) depends on `acme`, which stands for several things: "
        "oci://ghcr.io/acme/charts/web, oci://quay.io/acme/web, something else"
    )


def test_sources_that_agree_are_one() -> None:
    joiner = Joiner()
    joiner.put("web.yaml", (RELEASE,), ())
    joiner.put("a.yaml", (), (ACME,))
    joiner.put("b.yaml", (), (ACME._replace(value="oci://ghcr.io/acme/charts/"),))
    assert seen(joiner.settle()["web.yaml"]) == [("ghcr.io/acme/charts/web", None)]


def test_a_site_that_its_own_file_settled_stays_so_without_others() -> None:
    settled = site("HelmRepository", "acme", "shop", "web", repository=repository_of("ghcr.io/acme/web"))
    assert Joiner().join("old.yaml", (settled,)) == (settled,)


def test_past_versions_of_a_file_are_joined_with_the_present_sources() -> None:
    joiner = Joiner()
    joiner.put("repo.yaml", (), (ACME,))
    assert seen(joiner.join("gone.yaml", (RELEASE,))) == [("ghcr.io/acme/charts/web", None)]


# -- variables ---------------------------------------------------------------------------------------

TAG = site("variable", "TAG", field="TAG")
DEFAULT = site("unset", "TAG", repository=repository_of("ghcr.io/acme/web"), written="ghcr.io/acme/web")
SET = Source("unset", "TAG", None, "site", 1)
MADE = Source("unset", "TAG", None, "", 1)


def test_variables_count_in_their_folder() -> None:
    joiner = Joiner()
    joiner.put("shop/.env", (TAG,), (SET,))
    joiner.put("shop/prod.env", (TAG,), (SET,))
    joiner.put("blog/.env", (TAG,), (SET,))
    joiner.put("shop/compose.yaml", (), (variable("TAG", "ghcr.io/acme/web"),))
    settled = joiner.settle()
    assert {path: seen(sites) for path, sites in settled.items()} == {
        "shop/.env": [("ghcr.io/acme/web", None)],
        "shop/prod.env": [("ghcr.io/acme/web", None)],
        "blog/.env": [],
    }


def test_a_variable_for_two_images_is_held() -> None:
    joiner = Joiner()
    joiner.put(".env", (TAG,), (SET,))
    uses = (variable("TAG", "ghcr.io/acme/web"), variable("TAG", "ghcr.io/acme/api"))
    joiner.put("compose.yaml", (), uses)
    assert seen(joiner.settle()[".env"]) == [
        ("ghcr.io/acme/web", "site/sources-differ"),
        ("ghcr.io/acme/api", "site/sources-differ"),
    ]


def test_a_variable_that_elsewhere_is_but_a_part_of_a_version_is_held() -> None:
    joiner = Joiner()
    joiner.put(".env", (TAG,), (SET,))
    joiner.put("compose.yaml", (), (variable("TAG", "ghcr.io/acme/web"), variable("TAG", "")))
    assert seen(joiner.settle()[".env"]) == [("ghcr.io/acme/web", "site/sources-differ")]


def test_a_default_is_a_site_until_the_env_sets_its_variable() -> None:
    joiner = Joiner()
    joiner.put("shop/compose.yaml", (DEFAULT,), (variable("TAG", "ghcr.io/acme/web"),))
    assert joiner.settle() == {"shop/compose.yaml": (DEFAULT,)}
    joiner.put("shop/prod.env", (TAG,), (SET,))
    joiner.put("blog/.env", (TAG,), (SET,))
    assert "shop/compose.yaml" not in joiner.settle()
    joiner.put("shop/.env", (TAG,), (SET,))
    assert {path: seen(sites) for path, sites in joiner.settle().items()} == {
        "shop/compose.yaml": [],
        "shop/.env": [("ghcr.io/acme/web", None)],
    }
    joiner.put("shop/.env", (), ())
    assert joiner.settle() == {"shop/compose.yaml": (DEFAULT,)}


def test_a_default_that_is_not_in_force_and_cannot_be_replaced_elsewhere_is_held() -> None:
    joiner = Joiner()
    joiner.put("compose.yaml", (DEFAULT,), ())
    joiner.put(".env", (), (MADE,))
    (held,) = joiner.settle()["compose.yaml"]
    assert held.held is not None
    assert (held.held.code, held.repository) == ("site/overridden", DEFAULT.repository)
    assert ".env" in held.held.sentence


def test_a_default_beside_a_digest_of_its_own_is_held_when_set_elsewhere() -> None:
    parts = (*DEFAULT.parts, Part("digest", 9, 12, "text", "sha256:…"))
    pinned = site("unset", "TAG", repository=DEFAULT.repository, parts=parts)
    joiner = Joiner()
    joiner.put("compose.yaml", (pinned,), ())
    joiner.put(".env", (TAG,), (SET,))
    assert seen(joiner.settle()["compose.yaml"]) == [("ghcr.io/acme/web", "site/overridden")]


# -- what it costs -----------------------------------------------------------------------------------


def test_a_changed_file_costs_itself_and_those_that_await_what_it_gives() -> None:
    joiner = Joiner()
    for number in range(50):
        release = site("HelmRepository", f"repo{number % 5}", "shop", "web")
        joiner.put(f"{number}.yaml", (release,), ())
    assert len(joiner.settle()) == 50
    joiner.put("repo3.yaml", (), (helm("repo3", "oci://ghcr.io/acme", "shop"),))
    assert sorted(joiner.settle()) == sorted(f"{n}.yaml" for n in range(3, 50, 5))
    joiner.put("7.yaml", (RELEASE,), ())
    assert list(joiner.settle()) == ["7.yaml"]
    joiner.put("repo3.yaml", (), (helm("repo3", "oci://ghcr.io/acme", "shop"),))
    assert joiner.settle() == {}


def test_files_in_which_nothing_is_awaited_need_no_joining() -> None:
    plain = site("variable", "X", awaits=None)
    joiner = Joiner()
    joiner.put("web.yaml", (plain,), ())
    assert joiner.settle() == {}
    assert joiner.join("web.yaml", (plain,)) == (plain,)


CONTENTS = st.sampled_from(
    [
        ((), ()),
        ((RELEASE,), ()),
        ((), (ACME,)),
        ((RELEASE,), (ACME,)),
        ((), (helm("acme", "", "shop"),)),
        ((), (helm("acme", "oci://quay.io/acme"),)),
        ((TAG,), (SET,)),
        ((DEFAULT,), (variable("TAG", "ghcr.io/acme/web"),)),
        ((), (variable("TAG", "ghcr.io/acme/api"),)),
        ((), (MADE,)),
    ]
)


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", "s/.env", "s/c.yaml", "s/d.yaml"]), CONTENTS), max_size=12)
)
def test_step_by_step_ends_where_starting_anew_does(
    steps: list[tuple[str, tuple[tuple[Site, ...], tuple[Source, ...]]]],
) -> None:
    joiner, held = Joiner(), dict[str, tuple[Site, ...]]()
    for path, (sites, sources) in steps:
        joiner.put(path, sites, sources)
        held.pop(path, None)
        held |= joiner.settle()
    anew = Joiner()
    for path, (sites, sources) in dict(steps).items():
        anew.put(path, sites, sources)
    assert held == anew.settle()
