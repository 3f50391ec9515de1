"""`automator.set_image`: the exact text that comes out, or the reason for which none does."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import automator
from automator import Setting, set_image
from automator.errors import AutomatorError, InvalidReference, UsageError

OLD = "sha256:" + "0" * 64
NEW = "sha256:" + "f" * 64
OTHER = "sha256:" + "7" * 64


def held(done: Setting, text: str) -> list[str]:
    """The codes for which nothing was done, after making sure that nothing was."""
    assert done.text == text
    assert not done.changed
    return [why.code for why in done.held]


# -- what is found ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "before", "after"),
    [
        ("ghcr.io/acme/web", "image: ghcr.io/acme/web:1.2\n", "image: ghcr.io/acme/web:1.3\n"),
        ("nginx", "image: docker.io/library/nginx:1.2\n", "image: docker.io/library/nginx:1.3\n"),
        ("index.docker.io/library/nginx", "image: nginx:1.2\n", "image: nginx:1.3\n"),
        ("oci://ghcr.io/acme/web", "image: oci://ghcr.io/acme/web:1.2\n", "image: oci://ghcr.io/acme/web:1.3\n"),
        ("ghcr.io/acme/web", "image: docker://ghcr.io/acme/web:1.2\n", "image: docker://ghcr.io/acme/web:1.3\n"),
        ("oci://ghcr.io/acme/web", "image: ghcr.io/acme/web:1.2\n", "image: ghcr.io/acme/web:1.3\n"),
        ("${REGISTRY}/web", "image: '${REGISTRY}/web:1.2'\n", "image: '${REGISTRY}/web:1.3'\n"),
        (
            "{{ .Values.registry }}/web",
            'image: "{{ .Values.registry }}/web:1.2"\n',
            'image: "{{ .Values.registry }}/web:1.3"\n',
        ),
        (
            "ghcr.io/acme/web",
            "image: {registry: ghcr.io, repository: acme/web, tag: 1.2-a}\n",
            "image: {registry: ghcr.io, repository: acme/web, tag: \"1.3\"}\n",
        ),
        ("web", "image: web:1.2\nother: {image: 'api:1.2'}\n", "image: web:1.3\nother: {image: 'api:1.2'}\n"),
    ],
)  # fmt: skip
def test_an_image_is_found_as_it_is_written_or_meant(image: str, before: str, after: str) -> None:
    done = set_image(before, image=image, to="1.3")
    assert (done.text, done.changed, done.held) == (after, True, ())


@pytest.mark.parametrize("image", ["acme/web", "ghcr.io/acme", "ghcr.io/acme/web2", "${OTHER}/web", "WEB"])
def test_another_image_is_left_alone_without_a_word(image: str) -> None:
    text = "a: {image: 'ghcr.io/acme/web:1.2'}\nb: {image: '${REGISTRY}/web:1.2'}\n"
    assert held(set_image(text, image=image, to="1.3"), text) == []


def test_the_name_of_the_file_tells_its_shape() -> None:
    text = "images:\n  - name: web\n    newName: ghcr.io/acme/web\n    newTag: v1\n"
    done = set_image(text, image="ghcr.io/acme/web", to="v2", path="apps/kustomization.yaml")
    assert done.text == text.replace("v1", "v2")


def test_byte_order_mark_and_line_ends_stay() -> None:
    text = "\ufeff# é\r\nimage: web:1.2 # pinned\r\nlast: line"
    assert set_image(text, image="web", to="1.3").text == text.replace("1.2", "1.3")


# -- versions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "to", "after"),
    [
        ("web:1.2", "1.3", "web:1.3"),
        ("web:1.2", f"1.3@{NEW}", f"web:1.3@{NEW}"),
        ("web:1.2", f"@{NEW}", f"web:1.2@{NEW}"),
        (f"web:1.2@{OLD}", f"1.3@{NEW}", f"web:1.3@{NEW}"),
        (f"web:1.2@{OLD}", f"@{NEW}", f"web:1.2@{NEW}"),
        (f"web:1.2@{OLD}", NEW, f"web:1.2@{NEW}"),
        (f"web@{OLD}", f"@{NEW}", f"web@{NEW}"),
        (f"web@{OLD}", f"1.3@{NEW}", f"web@{NEW}"),
        ("web:1.3", "1.3", "web:1.3"),
        (f"web:1.3@{NEW}", f"1.3@{NEW}", f"web:1.3@{NEW}"),
        (f"web:1.3@{NEW}", f"@{NEW}", f"web:1.3@{NEW}"),
        (f"web@{NEW}", f"1.3@{NEW}", f"web@{NEW}"),
    ],
)
def test_a_reference_keeps_its_form(before: str, to: str, after: str) -> None:
    text = f"image: {before} # why\n"
    done = set_image(text, image="web", to=to)
    assert done.text == f"image: {after} # why\n"
    assert (done.changed, done.held) == (before != after, ())


def test_a_digest_key_moves_with_its_tag() -> None:
    text = f"image:\n  repository: web\n  tag: v1\n  digest: {OLD}\n"
    after = f"image:\n  repository: web\n  tag: v2\n  digest: {NEW}\n"
    assert set_image(text, image="web", to=f"v2@{NEW}").text == after


def test_the_bare_hash_of_a_digest_is_taken_as_the_file_writes_it() -> None:
    text = f"image:\n  repository: web@sha256\n  tag: {'0' * 64}\n"
    after = text.replace("0" * 64, "f" * 64)
    assert set_image(text, image="web@sha256", to="f" * 64).text == after
    assert set_image(text, image="web@sha256", to="f" * 64, old="0" * 64).text == after
    assert set_image(text, image="web", to=f"@{NEW}").text == after
    assert held(set_image(text, image="web", to="1.3"), text) == ["set/pinned"]


@pytest.mark.parametrize("old", [None, "1.2"])
def test_a_pin_never_grows_stale(old: str | None) -> None:
    text = f"image: web:1.2@{OLD}\n"
    assert held(set_image(text, image="web", to="1.3", old=old), text) == ["set/pinned"]


def test_a_bare_tag_does_not_confirm_a_pin() -> None:
    text = f"image: web:1.3@{OLD}\n"
    assert held(set_image(text, image="web", to="1.3"), text) == ["set/pinned"]


@pytest.mark.parametrize("old", [f"1.2@{OLD}", OLD, f"@{OLD}"])
def test_a_pin_that_is_named_may_be_dropped(old: str) -> None:
    text = f"image: web:1.2@{OLD} # pinned\n"
    assert set_image(text, image="web", to="1.3", old=old).text == "image: web:1.3 # pinned\n"


def test_a_digest_in_a_key_of_its_own_is_never_dropped() -> None:
    text = f"image:\n  repository: web\n  tag: v1\n  digest: {OLD}\n"
    assert held(set_image(text, image="web", to="v2", old=f"v1@{OLD}"), text) == ["set/digest-key"]


@pytest.mark.parametrize(
    "to",
    ["", "@", "1.3@", "1.3@sha256:12", "a b", ":1.3", "web:1.3", "-1", "@1.3", "x" * 129, "1.3\n", "ü",
     f"1.3@{NEW}@{NEW}"],
)  # fmt: skip
def test_a_target_that_no_registry_may_have_is_refused(to: str) -> None:
    with pytest.raises(InvalidReference) as refused:
        set_image("image: web:1.2\n", image="web", to=to)
    assert refused.value.reason.code == "set/target"


@pytest.mark.parametrize("image", ["web:1.2", f"web@{OLD}", f"ghcr.io/acme/web:1@{OLD}", ""])
def test_an_image_with_a_version_or_none_is_refused(image: str) -> None:
    with pytest.raises(UsageError) as refused:
        set_image("image: web:1.2\n", image=image, to="1.3")
    assert refused.value.reason.code == "set/image"


# -- which of several -----------------------------------------------------------------------------------

TWO = "image: web:1.1\n---\nimage: web:1.2 # staging\n"


def test_every_site_of_the_image_moves() -> None:
    text = "a: {image: 'web:1.2'}\n---\nb:\n  image: docker.io/library/web:1.2\n"
    assert set_image(text, image="web", to="1.3").text == text.replace("1.2", "1.3")


def test_sites_at_different_versions_need_the_old_one() -> None:
    done = set_image(TWO, image="web", to="1.3")
    assert held(done, TWO) == ["set/ambiguous"]
    assert "1.1 (line 1), 1.2 (line 3)" in done.held[0].sentence
    assert set_image(TWO, image="web", to="1.3", old="1.2").text == TWO.replace("1.2", "1.3")


def test_what_is_at_the_target_is_no_other_version() -> None:
    assert set_image(TWO, image="web", to="1.1").text == TWO.replace("1.2", "1.1")


@pytest.mark.parametrize(
    ("old", "lines"),
    [
        ("1", [1, 2]),
        (f"1@{OLD}", [2]),
        (OLD, [2, 3]),
        ("2", [4]),
        (f"1@{OTHER}", []),
        ("", []),
        ("web:1", []),
    ],
)
def test_old_is_a_tag_a_digest_or_both(old: str, lines: list[int]) -> None:
    text = f"- image: web:1\n- image: web:1@{OLD}\n- image: web@{OLD}\n- image: web:2\n"
    done = set_image(text, image="web", to=f"3@{NEW}", old=old)
    rows = zip(text.splitlines(), done.text.splitlines(), strict=True)
    assert [number for number, (one, other) in enumerate(rows, 1) if one != other] == lines
    assert done.held == ()


def test_all_or_nothing() -> None:
    text = f"a: {{image: 'web:1.2'}}\nb: {{image: 'web:1.2@{OLD}'}}\n"
    assert held(set_image(text, image="web", to="1.3", old="1.2"), text) == ["set/pinned"]


def test_a_templated_version_is_told_only_where_nothing_else_is_meant() -> None:
    only = 'image: "ghcr.io/acme/web:{{ .Values.tag }}"\n'
    assert held(set_image(only, image="ghcr.io/acme/web", to="1.3"), only) == ["site/templated"]
    beside = f"{only}other: {{image: 'ghcr.io/acme/web:1.2'}}\n"
    assert set_image(beside, image="ghcr.io/acme/web", to="1.3").text == beside.replace("1.2", "1.3")
    done = beside.replace("1.2", "1.3")
    assert held(set_image(done, image="ghcr.io/acme/web", to="1.3", old="1.2"), done) == []


def test_a_value_that_stands_for_another_image_too_is_held() -> None:
    text = "a: {repository: web, tag: &v v1}\nb: {repository: api, tag: *v}\n"
    assert held(set_image(text, image="web", to="v2"), text) == ["site/alias-shared"]
    text = "a: {repository: web, tag: &v v1}\nb: {repository: web, tag: *v}\n"
    assert set_image(text, image="web", to="v2").text == text.replace("v1", "v2")


# -- fields ---------------------------------------------------------------------------------------------

CONTAINERS = (
    "spec:\n  containers:\n    - name: app\n      image: web:1.2\n    - name: log\n      image: web:1.2\n"
)


def test_a_field_says_the_place() -> None:
    field = "spec.containers[name=log].image"
    after = CONTAINERS[:-2] + "3\n"
    assert set_image(CONTAINERS, image="web", to="1.3", field=field).text == after
    assert set_image(CONTAINERS, image="", to="1.3", field="spec.containers[1].image").text == after


def test_a_field_needs_no_image_beside_it() -> None:
    assert set_image("web:\n  tag: v1\n", image="", to="v2", field="web.tag").text == "web:\n  tag: v2\n"
    assert set_image("web:\n  tag: v1\n", image="ghcr.io/acme/web", to="v2", field="web.tag").changed


@pytest.mark.parametrize(
    ("text", "field", "old", "code"),
    [
        (CONTAINERS, "spec.containers[2].image", None, "set/field-nothing"),
        ("image: web:1.2\n", "image.tag", None, "set/field-nothing"),
        ("", "image", None, "set/field-nothing"),
        (TWO, "image", None, "set/field-several"),
        ("image: api:1.2\n", "image", None, "set/other-image"),
        ("image: web:1.2\n", "image", "1.1", None),
        ("image: web:1.3\n", "image", "1.2", None),
        ('image: "web:{{ .tag }}"\n', "image", None, "site/templated"),
        ('image: "web:{{ .tag }}"\n', "image", "1.2", "site/templated"),
        ("image: web 1 2\n", "image", None, "site/unreadable"),
    ],
)
def test_a_field_that_leads_to_no_one_place_is_held(
    text: str, field: str, old: str | None, code: str | None
) -> None:
    done = set_image(text, image="web", to="1.3", field=field, old=old)
    assert held(done, text) == ([code] if code else [])


def test_old_narrows_a_field_to_one_document() -> None:
    done = set_image(TWO, image="", to="1.3", field="image", old="1.1")
    assert done.text == TWO.replace("1.1", "1.3")
    assert set_image(done.text, image="", to="1.3", field="image", old="1.1").text == done.text


def test_an_image_without_a_version_gets_one_only_by_its_field() -> None:
    text = "image: web\n"
    assert held(set_image(text, image="web", to="1.3"), text) == []
    assert set_image(text, image="web", to="1.3", field="image").text == "image: web:1.3\n"
    assert held(set_image(text, image="web", to=f"@{NEW}", field="image"), text) == ["set/no-tag"]


@pytest.mark.parametrize("field", ["", "a..b", "a[", "a b", "|", ".", "[=]"])
def test_what_is_no_field_path_is_refused(field: str) -> None:
    with pytest.raises(UsageError) as refused:
        set_image("image: web:1.2\n", image="web", to="1.3", field=field)
    assert refused.value.reason.code == "set/field"


# -- whatever the text ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("image: [web:1.2\n", "yaml/unparsable"),
        ("[" * 20_000, "yaml/too-deep"),
        ("image: web:1.2\nsops: {mac: x}\n", "site/sops"),
    ],
)
def test_a_text_that_cannot_be_edited_comes_back_with_the_reason(text: str, code: str) -> None:
    assert held(set_image(text, image="web", to="1.3"), text) == [code]


PIECES = st.sampled_from(
    ["image: web:1.2\n", "image: web:1.2", f"image: web:1.2@{OLD}\n", "- ", "  ", "\n", "---\n", "&a ", "*a",
     "{{ x }}", "${X}", "repository: web\n", "tag: 1.2\n", "digest: ''\n", "|\n", "{", "}", "[", "]", "'",
     '"', "\t", "\r\n", "\ufeff", "\0", "é", "\u2028", "\ud800", "<<: ", "? ", ": ", "#", "!!int ",
     "%YAML 1.2\n", "sops:\n"]
)  # fmt: skip
TEXTS = st.one_of(st.text(), st.lists(PIECES, max_size=12).map("".join))
TARGETS = st.sampled_from(["1.3", "v2", "1.10", "0123", f"1.3@{NEW}", f"@{NEW}"])
OLDS = st.sampled_from([None, "1.2", OLD, f"1.2@{OLD}"])


@given(TEXTS, TARGETS, OLDS, st.sampled_from([None, "image", "tag", "[0].image", "a|b"]))
@example("image: web:1.2\ud800", "1.3", None, None)
def test_no_text_raises_and_setting_twice_changes_nothing(
    text: str, to: str, old: str | None, field: str | None
) -> None:
    done = set_image(text, image="web", to=to, old=old, field=field)
    assert done.changed == (done.text != text)
    assert not (done.changed and done.held)
    if done.changed:
        again = set_image(done.text, image="web", to=to, old=old, field=field)
        assert again.text == done.text


@given(st.text(), st.text(), st.text(), st.text())
def test_no_argument_raises_anything_but_our_own_error(image: str, to: str, old: str, field: str) -> None:
    for chosen in (None, field):
        with suppress(AutomatorError):
            set_image("image: web:1.2\n", image=image, to=to, old=old, field=chosen)


@given(st.lists(st.sampled_from(["image: web:1.2 # a\n", "'image' : \"web:1.2\"\r\n", "x: 1\n"]), min_size=1))
def test_there_and_back_restores_every_character(lines: list[str]) -> None:
    text = "---\n".join(lines)
    there = set_image(text, image="web", to="7.7", old="1.2")
    assert set_image(there.text, image="web", to="1.2", old="7.7").text == text


# -- the export -----------------------------------------------------------------------------------------


def test_the_package_exports_it_and_loads_it_late() -> None:
    assert set(automator.__all__) == {"Setting", "__version__", "set_image"}
    assert automator.Setting is Setting
    late = "import sys, automator; assert not any('ruamel' in m for m in sys.modules); automator.set_image"
    subprocess.run([sys.executable, "-c", late], check=True)
    with pytest.raises(AttributeError):
        _ = automator.no_such_thing


def test_a_setting_is_frozen() -> None:
    done = set_image("", image="web", to="1.3")
    with pytest.raises(dataclasses.FrozenInstanceError):
        done.text = "x"  # type: ignore[misc]
