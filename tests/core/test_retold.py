"""Retelling: sites of a version that was not parsed are those that the parser would have found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automator.core.retold import Retelling
from automator.core.site import Site, locate

FILES = {
    "reference": "kind: Pod\nspec:\n  containers:\n    - name: app\n      image: ghcr.io/acme/web:{}  #\n",
    "quoted": "image: 'ghcr.io/acme/web:{}'\nother: \"x\"\n",
    "tag": 'image:\n  repository: ghcr.io/acme/web\n  tag: "{}"\n',
    "tag and digest": "image:\n  repository: ghcr.io/acme/web\n  tag: {}\n  digest: sha256:"
    + "b" * 64
    + "\n",
    "kustomize": "kind: Kustomization\nimages:\n- name: ghcr.io/acme/web\n  newTag: {}\n",
    "several": "a:\n  image: ghcr.io/acme/web:{}\nb:\n  image: ghcr.io/acme/api:1.0.0\n",
    "flow": "image: {{repository: ghcr.io/acme/web, tag: {}}}\n",
    "compose": "services:\n  web:\n    image: ghcr.io/acme/web:{}\n",
    "chart": "apiVersion: v2\ndependencies:\n- name: web\n  repository: oci://ghcr.io/acme\n  version: {}\n",
    "json": '{{"image": "ghcr.io/acme/web:{}"}}\n',
    "anchored": "x: &i ghcr.io/acme/web:{}\na: {{image: *i}}\nb: {{image: *i}}\n",
    "setting": '{{{{- $tag := "{}" }}}}\nimage: ghcr.io/acme/web:{{{{ $tag }}}}\n',
    "crlf": "image: ghcr.io/acme/web:{}\r\nb: 1\r\n",
}
NAMES = {
    "kustomize": "kustomization.yaml",
    "chart": "Chart.yaml",
    "compose": "compose.yaml",
    "json": "x.json",
}
VERSIONS = [
    "1.4.2",
    "1.10",
    "latest",
    "main-1a2b3c4",
    "1.4.2@sha256:" + "c" * 64,
    "null",
    "0123",
    "",
    "{{ x }}",
    "a b",
]


def seen(sites: tuple[Site, ...]) -> list[object]:
    """All of the sites that history looks at."""
    return [
        (s.document, s.field, s.repository, s.written, s.tag, s.digest, s.kind, s.namespace, s.name, s.line)
        for s in sites
    ]


@pytest.mark.parametrize("name", FILES)
@given(st.sampled_from(VERSIONS), st.sampled_from(VERSIONS), st.booleans())
def test_it_is_what_the_parser_finds_or_left_to_it(name: str, one: str, other: str, beside: bool) -> None:
    file = NAMES.get(name, "x.yaml")
    parsed, text = FILES[name].format(one), FILES[name].format(other) + ("more: 1\n" if beside else "")
    here, there = locate(parsed, file), locate(text, file)
    if here.trouble is None:
        told = Retelling(parsed, here.sites).sites_of(text)
        if told is not None:
            assert there.trouble is None
            assert seen(told) == seen(there.sites)


@pytest.mark.parametrize(
    "name", ["reference", "quoted", "tag", "kustomize", "several", "flow", "compose", "json"]
)
def test_another_version_alone_takes_no_parser(name: str) -> None:
    file = NAMES.get(name, "x.yaml")
    parsed = FILES[name].format("1.4.2")
    told = Retelling(parsed, locate(parsed, file).sites).sites_of(FILES[name].format("1.4.3-rc.1"))
    assert told is not None
    assert "1.4.3-rc.1" in [site.tag for site in told]


def test_another_image_on_the_line_takes_a_parser() -> None:
    parsed = FILES["reference"].format("1.4.2")
    retelling = Retelling(parsed, locate(parsed, "x.yaml").sites)
    assert retelling.sites_of(parsed.replace("acme/web", "acme/api")) is None
    assert retelling.sites_of(parsed.replace("name: app", "name: web")) is None
    assert retelling.sites_of(parsed + "---\n") is None
