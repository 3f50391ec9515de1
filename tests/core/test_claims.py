"""Claims: each site has at most one owner, and every mistake names both sides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts.claiming import assign

from automator.core.claims import Claims, Entry, Ledger, paths_match
from automator.core.policy import InvalidWorkload, Place, Where
from automator.core.reference import parse_repository
from automator.core.site import Site, locate
from automator.errors import PolicyError
from automator.reasons import reason


def workload(label: str, image: str | None = "ghcr.io/acme/web", /, **where: Any) -> Entry:
    """Claims are the same for valid and invalid entries; the latter need no rule."""
    return InvalidWorkload(
        name=label,
        repository=None if image is None else parse_repository(image),
        where=Where(**where),
        reason=reason("yaml/too-large", size=1, limit=2),
        place=Place("policies/shop.yaml", 1),
    )


def sites(**files: str) -> tuple[Site, ...]:
    """The sites of some files, named by keyword with `__` for a slash."""
    return tuple(
        site.at(f"{file.replace('__', '/')}.yaml")
        for file, text in files.items()
        for site in locate(text, file.rpartition("__")[2] + ".yaml", FIELDS).sites
    )


FIELDS = ("server.version", "images[name=web].newTag")


def owned(claims: Claims) -> dict[str, list[str]]:
    return {name: [site.label for site in found] for name, found in claims.sites.items()}


def deployment(name: str, image: str = "ghcr.io/acme/web:1", comment: str = "") -> str:
    return (
        f"kind: Deployment\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  template:\n    spec:\n"
        f"      containers:\n      - name: app\n        image: {image}{comment}\n"
    )


IMAGE = "spec.template.spec.containers[app].image"


def test_without_where_every_site_of_the_image_is_owned() -> None:
    found = sites(apps__web=deployment("web"), apps__api=deployment("api", "ghcr.io/acme/api:1"))
    claims = assign(found, [workload("web")])
    assert owned(claims) == {"web": [f"apps/web.yaml#{IMAGE}"]}
    assert [site.label for site in claims.unowned] == [f"apps/api.yaml#{IMAGE}"]
    assert (claims.problems, claims.warnings) == ({}, ())


def test_an_image_is_the_same_in_every_spelling() -> None:
    found = sites(
        a="image: nginx:1\n---\nimage: docker.io/library/nginx:1\n---\nimage: index.docker.io/nginx:1\n"
    )
    assert len(assign(found, [workload("edge", "nginx")]).sites["edge"]) == 3


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ({}, 2),
        ({"paths": ("apps/web.yaml",)}, 1),
        ({"paths": ("apps/**",)}, 2),
        ({"paths": ("/apps/",)}, 2),
        ({"paths": ("web.yaml",)}, 1),
        ({"paths": ("apps/**", "!apps/api.yaml")}, 1),
        ({"paths": ("other/**",)}, 0),
        ({"paths": ("a*/web.yaml",)}, 1),
        ({"name": "web"}, 1),
        ({"name": "web", "paths": ("apps/api.yaml",)}, 0),
        ({"kind": "Deployment"}, 2),
        ({"kind": "deployment"}, 0),
        ({"namespace": "shop"}, 2),
        ({"namespace": "shop", "container": "app"}, 2),
        ({"container": "proxy"}, 0),
        ({"marker": "flux-system:web"}, 1),
        ({"marker": "web"}, 1),
        ({"marker": "api"}, 0),
        ({"kind": "Deployment", "namespace": "shop", "name": "api", "container": "app"}, 1),
    ],
)
def test_where_narrows_what_is_owned(where: dict[str, Any], count: int) -> None:
    found = sites(
        apps__web=deployment("web", comment=' # {"$imagepolicy": "flux-system:web"}'),
        apps__api=deployment("api"),
    )
    assert len(assign(found, [workload("web", **where)]).sites["web"]) == count


def test_an_absent_field_of_a_document_does_not_match() -> None:
    found = sites(a="image: ghcr.io/acme/web:1\n")
    for where in (
        {"kind": "Pod"},
        {"namespace": "shop"},
        {"name": "web"},
        {"container": "app"},
        {"marker": "x"},
    ):
        assert assign(found, [workload("web", **where)]).sites["web"] == ()


def test_a_site_claimed_twice_holds_both_and_names_both() -> None:
    found = sites(apps__web=deployment("web"))
    claims = assign(
        found, [workload("one"), workload("two", name="web"), workload("else", "ghcr.io/acme/api")]
    )
    assert claims.problems.keys() == {"one", "two"}
    for name, other in (("one", "two"), ("two", "one")):
        problem = claims.problems[name]
        assert problem.code == "claim/twice"
        assert dict(problem.params) == {"site": f"apps/web.yaml#{IMAGE}", "workload": name, "other": other}
    assert claims.unowned == ()


def test_where_takes_two_workloads_of_one_image_apart() -> None:
    found = sites(prod__web=deployment("web"), staging__web=deployment("web"))
    claims = assign(found, [workload("prod", paths=("prod/**",)), workload("staging", paths=("staging/**",))])
    assert claims.problems == {}
    assert {name: len(s) for name, s in claims.sites.items()} == {"prod": 1, "staging": 1}


def test_an_unreadable_path_pattern_keeps_the_wider_claim() -> None:
    found = sites(apps__web=deployment("web"))
    claims = assign(found, [workload("broken", paths=("!",)), workload("web")])
    assert claims.problems["broken"].code == "claim/paths"
    assert claims.problems["web"].code == "claim/twice"


def test_an_image_that_could_not_be_read_claims_nothing() -> None:
    claims = assign(sites(apps__web=deployment("web")), [workload("broken", None), workload("web")])
    assert claims.problems == {}
    assert len(claims.sites["web"]) == 1


# -- comments ------------------------------------------------------------------------------------


def test_a_comment_gives_a_site_to_a_workload() -> None:
    found = sites(apps__web=deployment("web", comment=" # automator: web"))
    claims = assign(found, [workload("web", paths=("elsewhere/**",))])
    assert owned(claims) == {"web": [f"apps/web.yaml#{IMAGE}"]}
    assert claims.problems == {}


def test_a_comment_does_not_overrule_another_claim() -> None:
    found = sites(apps__web=deployment("web", comment=" # automator: canary"))
    claims = assign(found, [workload("web"), workload("canary", paths=("elsewhere/**",))])
    assert {name: r.code for name, r in claims.problems.items()} == {
        "web": "claim/twice",
        "canary": "claim/twice",
    }


def test_a_comment_at_another_image_holds_the_workload_that_it_names() -> None:
    found = sites(apps__web=deployment("web", "ghcr.io/acme/api:1", " # automator: web"))
    claims = assign(found, [workload("web")])
    assert claims.problems["web"].code == "claim/other-image"
    assert "ghcr.io/acme/api" in claims.problems["web"].sentence


def test_a_comment_gives_a_templated_name_to_a_workload() -> None:
    found = sites(apps__web=deployment("web", "${REGISTRY}/web:1", " # automator: web"))
    claims = assign(found, [workload("web")])
    assert (len(claims.sites["web"]), claims.problems) == (1, {})


def test_a_comment_that_names_no_workload_is_a_warning() -> None:
    found = sites(apps__web=deployment("web", comment=" # automator: nobody"))
    claims = assign(found, [workload("web")])
    assert [w.code for w in claims.warnings] == ["claim/unknown-workload"]
    assert len(claims.sites["web"]) == 1


# -- fields --------------------------------------------------------------------------------------


def test_a_field_claims_a_scalar_without_a_readable_image() -> None:
    found = sites(values="server: {version: v1}\n", other="server: {version: v1}\n")
    claims = assign(found, [workload("web", field="server.version", paths=("values.yaml",))])
    assert owned(claims) == {"web": ["values.yaml#server.version"]}
    assert claims.problems == {}


def test_a_field_may_be_written_in_another_way_than_it_is_printed() -> None:
    found = sites(kustomization="images:\n- {name: web, newName: ghcr.io/acme/web, newTag: v1}\n")
    for field in ("images[name=web].newTag", "images[web].newTag"):
        claims = assign(found, [workload("web", field=field)])
        assert owned(claims) == {"web": ["kustomization.yaml#images[web].newTag"]}


def test_a_field_with_another_image_holds() -> None:
    found = sites(kustomization="images:\n- {name: web, newTag: v1}\n")
    claims = assign(found, [workload("web", field="images[name=web].newTag")])
    assert claims.problems["web"].code == "claim/other-image"


def test_a_field_that_leads_nowhere_holds() -> None:
    claims = assign(sites(apps__web=deployment("web")), [workload("web", field="server.version")])
    assert claims.problems["web"].code == "claim/field-nothing"


def test_a_field_that_leads_to_two_places_of_a_file_holds() -> None:
    twice = "server: {version: v1}\n---\nserver: {version: v2}\n"
    claims = assign(sites(values=twice), [workload("web", field="server.version")])
    assert claims.problems["web"].code == "claim/field-twice"


def test_a_field_may_lead_to_one_place_in_each_of_several_files() -> None:
    found = sites(one="server: {version: v1}\n", two="server: {version: v1}\n")
    claims = assign(found, [workload("web", field="server.version")])
    assert (len(claims.sites["web"]), claims.problems) == (2, {})


# -- paths and size ------------------------------------------------------------------------------


def test_paths_are_gitignore_globs() -> None:
    match = paths_match(("apps/**", "!apps/legacy/**", "*.tmpl.yaml"))
    assert match("apps/shop/web.yaml")
    assert not match("apps/legacy/web.yaml")
    assert match("anywhere/x.tmpl.yaml")
    assert not match("other/web.yaml")
    assert paths_match(())("anything")


def test_a_pattern_that_is_none_is_named() -> None:
    with pytest.raises(PolicyError) as caught:
        paths_match(("apps/**", "!"))
    assert caught.value.reason.code == "claim/paths"


@pytest.mark.parametrize("by", ["paths", "name", "image"])
def test_many_sites_and_workloads_of_one_image_meet_only_their_own(by: str) -> None:
    many = 3000
    (template,) = locate("image: ghcr.io/acme/web:1\n", "x.yaml").sites
    found = [
        replace(
            template,
            file=f"apps/a{n}/web.yaml",
            name=f"w{n}",
            repository=parse_repository(f"ghcr.io/acme/w{n}" if by == "image" else "ghcr.io/acme/web"),
        )
        for n in range(many)
    ]
    workloads = []
    for n in range(many):
        where: dict[str, Any] = {
            "paths": {"paths": (f"apps/a{n}/**",)},
            "name": {"name": f"w{n}"},
            "image": {},
        }[by]
        image = f"ghcr.io/acme/w{n}" if by == "image" else "ghcr.io/acme/web"
        workloads.append(workload(f"w{n}", image, **where))
    claims = assign(found, workloads)
    assert claims.problems == {}
    assert all(claims.sites[f"w{n}"] == (found[n],) for n in range(many))


# -- kept up to date file by file ------------------------------------------------------------------

_TEXTS = (
    "",
    deployment("web"),
    deployment("web", comment="  # automator: canary"),
    deployment("web", comment="  # automator: nobody"),
    deployment("api", "ghcr.io/acme/api:1"),
    "server: {image: ghcr.io/acme/web, version: '1'}\n",
    "server: {image: ghcr.io/acme/api, version: '1'}\n",
    deployment("web") + "---\n" + deployment("api", "ghcr.io/acme/api:1"),
)
_WORKLOADS = (
    workload("web", paths=("a/**",)),
    workload("api", "ghcr.io/acme/api"),
    workload("canary", name="web"),
    workload("server", field="server.version"),
    workload("twice", "ghcr.io/acme/api", paths=("b/**",)),
    workload("twice", "ghcr.io/acme/web", paths=("c.yaml",)),
)
_CHANGES = st.lists(st.tuples(st.sampled_from(("a__x", "a__y", "b__x", "c")), st.sampled_from(_TEXTS)))


@given(_CHANGES, st.integers(1, 3))
def test_claims_after_any_changes_are_those_of_a_fresh_look(
    changes: list[tuple[str, str]], every: int
) -> None:
    ledger, files = Ledger(_WORKLOADS), dict[str, str]()
    for number, (file, text) in enumerate(changes):
        files[file] = text
        ledger.put(f"{file.replace('__', '/')}.yaml", sites(**{file: text}))
        if number % every == 0:
            assert ledger.claims() == assign(sites(**files), _WORKLOADS)
    assert ledger.claims() == assign(sites(**files), _WORKLOADS)
