"""Rewriting: the exact characters of an edit, and what is refused instead of guessed."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from automator.core.rewrite import WINDOW_ABOVE, Edit, rewrite
from automator.core.site import Site, locate
from automator.errors import ManifestError

OLD = "sha256:" + "0" * 64
NEW = "sha256:" + "f" * 64


def sites(text: str, name: str = "web.yaml", *fields: str) -> tuple[Site, ...]:
    found = locate(text, name, fields)
    assert found.trouble is None
    return found.sites


def released(text: str, tag: str, digest: str | None = None, *, pin: bool = False) -> str:
    """The text with its only site at another version."""
    (site,) = sites(text)
    return rewrite(text, [Edit(site, tag, digest, pin)], "web.yaml")


@pytest.mark.parametrize(
    ("before", "tag", "after"),
    [
        # references
        ("image: web:1.2\n", "1.3", "image: web:1.3\n"),
        ("image:   web:1.2   # v1.2\n", "1.3", "image:   web:1.3   # v1.2\n"),
        ("image: 'web:1.2'", "1.3", "image: 'web:1.3'"),
        ('image: "web:1.2"\r\nx: 1\r\n', "1.3", 'image: "web:1.3"\r\nx: 1\r\n'),
        ("\ufeffimage: web:1\n", "2", "\ufeffimage: web:2\n"),
        ("# ünï 🦊\nimage: web:1 # é\n", "2", "# ünï 🦊\nimage: web:2 # é\n"),
        ("image: &a web:1\n", "2", "image: &a web:2\n"),
        ("image: !!str web:1\n", "2", "image: !!str web:2\n"),
        ("image:\n  web:1\n", "2", "image:\n  web:2\n"),
        ("image: localhost:5000/web:5000\n", "5001", "image: localhost:5000/web:5001\n"),
        ("image: web:web\n", "1", "image: web:1\n"),
        ("{image: web:1,x: web:1}", "2", "{image: web:2,x: web:1}"),
        ("{\n\t\"image\":\"web:1\"}", "2", "{\n\t\"image\":\"web:2\"}"),
        ('{"image":"ghcr.io\\/acme\\/web:1"}', "2", '{"image":"ghcr.io\\/acme\\/web:2"}'),
        ("image: oci://ghcr.io/web:1\n", "2", "image: oci://ghcr.io/web:2\n"),
        ("image:\tweb:1\n", "2", "image:\tweb:2\n"),
        ("? image\n: web:1\n", "2", "? image\n: web:2\n"),
        ("--- {image: 'web:1'}\n...\n", "2", "--- {image: 'web:2'}\n...\n"),
        ("a: x\u2028y\nimage: web:1\n", "2", "a: x\u2028y\nimage: web:2\n"),
        # tags: quoted only where a reader would see another type, the author's style kept
        ("image: {repository: web, tag: v1}\n", "v2", "image: {repository: web, tag: v2}\n"),
        ("image:\n  repository: web\n  tag: 1.2.3\n", "1.10", 'image:\n  repository: web\n  tag: "1.10"\n'),
        ("image: {repository: web, tag: abc}\n", "1234567", 'image: {repository: web, tag: "1234567"}\n'),
        ("image: {repository: web, tag: abc}\n", "22e1758", 'image: {repository: web, tag: "22e1758"}\n'),
        ("image: {repository: web, tag: abc}\n", "0350777", 'image: {repository: web, tag: "0350777"}\n'),
        ("image: {repository: web, tag: x}\n", "2024-01-01", 'image: {repository: web, tag: "2024-01-01"}\n'),
        ("image: {repository: web, tag: abc}\n", "yes", 'image: {repository: web, tag: "yes"}\n'),
        ("image: {repository: web, tag: 'abc'}\n", "1.10", "image: {repository: web, tag: '1.10'}\n"),
        ('image: {repository: web, tag: "1.10"}\n', "v2", 'image: {repository: web, tag: "v2"}\n'),
        ("image: {repository: web, tag: 1.9}\n", "1.10", 'image: {repository: web, tag: "1.10"}\n'),
        ("image: {repository: web, tag: 1.10}\n", "1.10.1", "image: {repository: web, tag: 1.10.1}\n"),
        ("image: {repository: web, tag: 9}\n", "010", 'image: {repository: web, tag: "010"}\n'),
        ("image: {repository: web, tag: 9}\n", "20240101", 'image: {repository: web, tag: "20240101"}\n'),
        ("image: {repository: web, tag: &t 1.2.3}\n", "1.10", 'image: {repository: web, tag: &t "1.10"}\n'),
        ('{"repository":"web", "tag":9}', "9.10", '{"repository":"web", "tag":"9.10"}'),
        # a number that stays the number it looks like keeps the author's style
        ("image: {repository: web, tag: 14}\n", "15", "image: {repository: web, tag: 15}\n"),
        ("image: {repository: web, tag: 14.9}\n", "15", "image: {repository: web, tag: 15}\n"),
        # split in any order
        ("tag: v1\nregistry: x.io\nrepository: web\n", "v2", "tag: v2\nregistry: x.io\nrepository: web\n"),
        ("images: [{newTag: v1, name: web}]\n", "v2", "images: [{newTag: v2, name: web}]\n"),
    ],
)  # fmt: skip
def test_only_the_tag_changes(before: str, tag: str, after: str) -> None:
    assert released(before, tag) == after


@pytest.mark.parametrize(
    ("before", "pin", "after"),
    [
        (f"image: web:1@{OLD}\n", False, f"image: web:2@{NEW}\n"),
        (f"image: web@{OLD}\n", False, f"image: web@{NEW}\n"),
        ("image: web:1\n", False, "image: web:2\n"),
        ("image: web:1\n", True, f"image: web:2@{NEW}\n"),
        ("image: 'web:1'\n", True, f"image: 'web:2@{NEW}'\n"),
        (f"image: {{repository: web, tag: 1@{OLD}}}\n", False, f"image: {{repository: web, tag: 2@{NEW}}}\n"),
        ("image: {repository: web, tag: 1}\n", True, f'image: {{repository: web, tag: "2@{NEW}"}}\n'),
        ("repository: web\ntag: v1\n", True, f"repository: web\ntag: 2@{NEW}\n"),
        (f"repository: web\ndigest: {OLD}\ntag: v1\n", False, f"repository: web\ndigest: {NEW}\ntag: 2\n"),
        (f"repository: web\ntag: '1'\ndigest: '{OLD}'\n", True,
         f"repository: web\ntag: '2'\ndigest: '{NEW}'\n"),
        ("repository: web\ntag: '1'\ndigest: ''\n", True, f"repository: web\ntag: '2'\ndigest: '{NEW}'\n"),
        ("repository: web\ntag: '1'\ndigest: ''\n", False, "repository: web\ntag: '2'\ndigest: ''\n"),
        ("repository: web\ntag: '1'\ndigest: ~\n", True, f"repository: web\ntag: '2'\ndigest: {NEW}\n"),
        ("repository: web\ntag: '1'\ndigest:\n", True, f"repository: web\ntag: '2@{NEW}'\ndigest:\n"),
        (f"repository: web\ntag: ''\ndigest: {OLD}\n", False, f"repository: web\ntag: ''\ndigest: {NEW}\n"),
        (f"repository: web\ntag: {OLD}\n", False, f"repository: web\ntag: {NEW}\n"),
        (f"repository: web@sha256\ntag: {OLD[7:]}\n", False, f"repository: web@sha256\ntag: {NEW[7:]}\n"),
        (f"repository: web\ndigest: main@{OLD}\n", False, f"repository: web\ndigest: 2@{NEW}\n"),
        (f"images: [{{name: web, digest: '{OLD}'}}]\nkind: Component\n", False,
         f"images: [{{name: web, digest: '{NEW}'}}]\nkind: Component\n"),
    ],
)  # fmt: skip
def test_a_digest_moves_with_its_tag_and_the_form_stays(before: str, pin: bool, after: str) -> None:
    # `tag: v1` becomes a plain 2 nowhere: a string that turns into a number is quoted.
    after = after.replace("tag: 2\n", 'tag: "2"\n')
    assert released(before, "2", NEW, pin=pin) == after


def test_a_field_that_a_policy_names_is_rewritten() -> None:
    text = "server:\n  appVersion: v1\n  image: ghcr.io/acme/web\n"
    (version,) = sites(text, "x.yaml", "server.appVersion")
    assert rewrite(text, [Edit(version, "v2", None)], "x.yaml") == text.replace("v1", "v2")
    (image,) = sites(text, "x.yaml", "server.image")
    assert rewrite(text, [Edit(image, "v2", None)], "x.yaml") == text.replace("acme/web", "acme/web:v2")


@pytest.mark.parametrize("empty", ["''", '""', "~", "null"])
def test_an_empty_value_that_a_policy_names_is_filled(empty: str) -> None:
    text = f"tag: {empty} # none yet\n"
    (site,) = sites(text, "x.yaml", "tag")
    quote = empty[0] if empty[0] in "'\"" else ""
    assert rewrite(text, [Edit(site, "v1", None)], "x.yaml") == f"tag: {quote}v1{quote} # none yet\n"


def test_tags_that_move_in_a_chain_are_told_apart_by_place() -> None:
    text = "old: {image: web:1}\nnew: {image: web:2}\ncanary: {image: web:1}\n"
    old, new, _ = sites(text)
    assert rewrite(text, [Edit(new, "3", None), Edit(old, "2", None)], "web.yaml") == (
        "old: {image: web:2}\nnew: {image: web:3}\ncanary: {image: web:1}\n"
    )


def test_the_same_version_again_changes_nothing() -> None:
    for text in ("image: web:1.2\n", "image: {repository: web, tag: 1.10}\n", f"image: 'web:1.2@{OLD}'\n"):
        (site,) = sites(text)
        assert rewrite(text, [Edit(site, site.tag or "", site.digest)], "web.yaml") == text


def test_a_site_is_found_again_where_the_text_has_moved() -> None:
    (site,) = sites("image: web:1\n")
    assert (
        rewrite("# new\n\nimage: web:1\n", [Edit(site, "2", None)], "web.yaml") == "# new\n\nimage: web:2\n"
    )


# -- large files ---------------------------------------------------------------------------------


def large(documents: int) -> str:
    filler = "x" * 200
    return "".join(
        f"---\nkind: Pod\nmetadata: {{name: p{n}}}\nnote: |\n  ---- {filler}\nspec:\n"
        f"  containers: [{{name: app, image: 'web:{n}'}}]\n"
        for n in range(documents)
    )


def test_a_large_file_is_rewritten_in_the_documents_that_are_meant() -> None:
    text = "\ufeff" + large(300)
    assert len(text) > WINDOW_ABOVE
    found = sites(text)
    edits = [Edit(found[n], "new", None) for n in (0, 1, 150, 299)]
    expected = text
    for n in (0, 1, 150, 299):
        expected = expected.replace(f"'web:{n}'", "'web:new'")
    assert rewrite(text, edits, "web.yaml") == expected


def test_in_a_large_file_that_has_moved_the_site_is_found_by_document_and_field() -> None:
    text = large(300)
    edit = Edit(sites(text)[150], "new", None)
    assert rewrite("# on top\n" + text, [edit], "web.yaml") == "# on top\n" + text.replace(
        "'web:150'", "'web:new'"
    )


def test_directives_of_a_large_file_are_respected() -> None:
    text = "%TAG !y! tag:yaml.org,2002:\n---\nimage: !y!str web:a\n...\n" + large(300)
    edits = [Edit(site, "new", None) for site in sites(text)[:2]]
    expected = text.replace("web:a", "web:new").replace("'web:0'", "'web:new'")
    assert rewrite(text, edits, "web.yaml") == expected


# -- refusals ------------------------------------------------------------------------------------


def refused(text: str, edits: list[Edit]) -> str:
    with pytest.raises(ManifestError) as caught:
        rewrite(text, edits, "web.yaml")
    assert caught.value.reason.sentence
    return caught.value.reason.code


@pytest.mark.parametrize(
    "text", [f"image: web:1@{OLD}\n", f"image: web@{OLD}\n", f"repository: web\ntag: '1'\ndigest: {OLD}\n"]
)
def test_a_tag_never_leaves_its_digest_behind(text: str) -> None:
    (site,) = sites(text)
    assert refused(text, [Edit(site, "2", None)]) == "site/digest-unknown"


def test_a_pin_needs_a_digest() -> None:
    (site,) = sites("image: web:1\n")
    assert refused("image: web:1\n", [Edit(site, "2", None, pin=True)]) == "site/digest-unknown"


@pytest.mark.parametrize(
    ("tag", "digest"),
    [("", None), ("1 2", None), ("1\n", None), ("a:b", None), ("x" * 129, None), ("ü", None), ("1", ""),
     ("1", "sha256:0")],
)  # fmt: skip
def test_what_is_no_version_is_never_written(tag: str, digest: str | None) -> None:
    (site,) = sites("image: web:1\n")
    assert refused("image: web:1\n", [Edit(site, tag, digest)]) == "site/bad-value"


def test_a_held_site_is_not_edited() -> None:
    text = "image: &a web:1\nother: *a\n"
    (site,) = sites(text)
    assert refused(text, [Edit(site, "2", None)]) == "site/alias-shared"
    assert refused(text, [Edit(replace(site, held=None), "2", None)]) == "site/alias-shared"


@pytest.mark.parametrize(
    "now", ["image: web:2\n", "image: api:1\n", "other: web:1\n", "", "x: 1\n---\nimage: web:1\n"]
)
def test_a_site_that_changed_meanwhile_is_not_edited(now: str) -> None:
    (site,) = sites("image: web:1\n")
    assert refused(now, [Edit(site, "3", None)]) == "site/moved"


def test_a_file_that_no_longer_parses_is_not_edited() -> None:
    (site,) = sites("image: web:1\n")
    assert refused("image: web:1\n{{ x", [Edit(site, "3", None)]) == "yaml/unparsable"


def test_two_versions_for_one_site_are_refused() -> None:
    (site,) = sites("image: web:1\n")
    assert refused("image: web:1\n", [Edit(site, "2", None), Edit(site, "3", None)]) == "site/edited-twice"


# -- git's own count -----------------------------------------------------------------------------

DEPLOYMENT = """\
# shop
kind: Deployment
metadata: {name: web,   labels: {version: "1.4.2"}}
spec:
    template:
        spec:
            containers:
            -   name: app        # the shop
                image: ghcr.io/acme/web:1.4.2   # was ghcr.io/acme/web:1.4.2
                args: [ "--version=1.4.2" ]

            - {name: proxy, image: "proxy:1.4.2"}
---
kind: ConfigMap
data:
  script: |
    image: ghcr.io/acme/web:1.4.2
"""


@pytest.mark.parametrize(
    "layout",
    [
        DEPLOYMENT,
        DEPLOYMENT.replace("\n", "\r\n"),
        "\ufeff" + DEPLOYMENT,
        "\ufeff" + DEPLOYMENT.replace("\n", "\r\n"),
        DEPLOYMENT.rstrip("\n"),
        DEPLOYMENT.replace("\n", "\r\n").rstrip("\r\n"),
        DEPLOYMENT.replace("web:1.4.2   #", "web:1.4.2\t#"),
        DEPLOYMENT.replace("image: ghcr.io/acme/web:1.4.2  ", "image: 'ghcr.io/acme/web:1.4.2'  "),
        DEPLOYMENT.replace("image: ghcr.io/acme/web:1.4.2  ", 'image: &i "ghcr.io/acme/web:1.4.2"  '),
        "spec:\n containers:\n - name: a\n   image: ghcr.io/acme/web:1.4.2\n",
        "spec:\n        containers:\n        -       image: ghcr.io/acme/web:1.4.2\n",
        DEPLOYMENT.replace("# the shop", "# ünïcödé 🦊 магазин"),
        DEPLOYMENT.replace("# shop\n", "# shop   \n\n\n   \n"),
        DEPLOYMENT.replace("# shop\n", "%YAML 1.1\n# shop\n---\n"),
        "image: ghcr.io/acme/web:1.4.2",
        "\ufeffimage: ghcr.io/acme/web:1.4.2",
        '{"spec":{"containers":[{"name":"a","image":"ghcr.io/acme/web:1.4.2"}]}}',
        "repository: ghcr.io/acme/web\r\ntag:    1.4.2\r\n",
    ],
)
def test_git_counts_one_line_added_and_one_deleted(layout: str, tmp_path: Path) -> None:
    site = next(s for s in sites(layout) if str(s.repository) == "ghcr.io/acme/web")
    after = rewrite(layout, [Edit(site, "1.10", None)], "web.yaml")
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(layout.encode())
    new.write_bytes(after.encode())
    counted = subprocess.run(
        ["git", "diff", "--no-index", "--numstat", str(old), str(new)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert counted.stdout.split()[:2] == ["1", "1"]
    (again,) = (s for s in sites(after) if (s.field, s.document) == (site.field, site.document))
    assert (again.tag, again.repository) == ("1.10", site.repository)
