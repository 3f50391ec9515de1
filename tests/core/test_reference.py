"""Image references: every usual spelling is understood, everything else is refused with its reason."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automator.core.reference import Reference, Repository, parse_reference, parse_repository
from automator.errors import InvalidReference

CONFORMANCE = Path(
    os.environ.get("AUTOMATOR_CONFORMANCE") or Path(__file__).parents[3] / "shared" / "conformance"
)

DIGEST = "sha256:" + "0123456789abcdef" * 4

GOOD = [
    ("postgres", "docker.io", "library/postgres", None, None),
    ("postgres:16.2-bookworm", "docker.io", "library/postgres", "16.2-bookworm", None),
    ("index.docker.io/grafana/grafana", "docker.io", "grafana/grafana", None, None),
    ("Docker.io/postgres:16", "docker.io", "library/postgres", "16", None),
    (f"quay.io/acme/api:v2@{DIGEST}", "quay.io", "acme/api", "v2", DIGEST),
    (f"quay.io/acme/api@{DIGEST}", "quay.io", "acme/api", None, DIGEST),
    ("localhost:5001/web:dev", "localhost:5001", "web", "dev", None),
    ("localhost:5001", "docker.io", "library/localhost", "5001", None),
    ("Registry.Example.com/web:1", "registry.example.com", "web", "1", None),
    ("[fd00::7]:5000/a/b:1", "[fd00::7]:5000", "a/b", "1", None),
    ("ghcr.io/a__b/c.d-e--f:X_1", "ghcr.io", "a__b/c.d-e--f", "X_1", None),
]

BAD = [
    ("ghcr.io/Acme/web:1", 'lower case: "acme/web"'),
    ("oci://ghcr.io/acme/web", "leave out `oci://`"),
    ("ghcr.io/acme/web:", "tag after the colon is missing"),
    ("ghcr.io/acme/web:1.0+git5", '"1.0+git5" is no tag'),
    ("ghcr.io/acme/web:" + "t" * 129, "129 characters"),
    ("ghcr.io/acme/web@sha256:12ab", "64 digits"),
    (f"ghcr.io/acme/web@{DIGEST.upper()}", "no digest algorithm"),
    (f"ghcr.io/acme/web@{DIGEST}\n", "64 digits"),
    ("web:1\n", "is no tag"),
    ("web ", "white space"),
    ("", "a name is missing"),
    ("acme//web", "no repository path"),
    ("bad_host.example.com/web", '"bad_host.example.com" is no registry host'),
    ("{{ .Values.image }}", "template"),
    ("ghcr.io/" + "a/" * 127 + "ab", "256 characters"),
    ("0123456789abcdef" * 4, "identifier"),
]


@pytest.mark.parametrize(("text", "registry", "path", "tag", "digest"), GOOD)
def test_usual_spellings(text: str, registry: str, path: str, tag: str | None, digest: str | None) -> None:
    found = parse_reference(text)
    assert (found.repository, found.tag, found.digest) == (Repository(registry, path), tag, digest)


@pytest.mark.parametrize(("text", "words"), BAD)
def test_what_is_no_reference_is_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        parse_reference(text)
    assert words in str(caught.value)
    assert caught.value.reason.code == "reference/invalid"


def test_the_author_s_spelling_is_kept() -> None:
    assert parse_reference("nginx:1.25").written == "nginx"
    assert parse_reference(f"Localhost:5000/web@{DIGEST}").written == "Localhost:5000/web"


def test_a_repository_carries_neither_tag_nor_digest() -> None:
    assert str(parse_repository("nginx")) == "docker.io/library/nginx"
    with pytest.raises(InvalidReference) as caught:
        parse_repository("nginx:1.25")
    assert caught.value.reason.code == "reference/not-a-repository"
    assert "`:1.25`" in caught.value.reason.next_step


def rows() -> list[dict[str, Any]]:
    file = CONFORMANCE / "reference_cases.json"
    return json.loads(file.read_text()) if file.exists() else []


@pytest.mark.skipif(not rows(), reason=f"no conformance data in {CONFORMANCE}")
def test_agrees_with_the_recorded_cases() -> None:
    wrong = []
    for row in rows():
        # Hosts are compared without case, so ours are kept in lower case.
        wanted = (
            (row["domain"].lower(), row["path"], row.get("tag"), row.get("digest"))
            if row["ok"]
            else "refused"
        )
        try:
            found = parse_reference(row["input"])
            got: object = (found.repository.registry, found.repository.path, found.tag, found.digest)
        except InvalidReference:
            got = "refused"
        if got != wanted:
            wrong.append((row["input"], wanted, got))
    assert not wrong


component = st.from_regex(r"[a-z0-9]{1,8}((\.|_|__|-{1,3})[a-z0-9]{1,5}){0,2}", fullmatch=True)
references = st.builds(
    lambda host, path, tag, digest: Reference(Repository(host, "/".join(path)), tag, digest, ""),
    st.from_regex(r"[a-z0-9]{1,9}\.[a-z]{2,4}(:[0-9]{2,5})?", fullmatch=True).filter(
        lambda host: host not in ("docker.io", "index.docker.io")
    ),
    st.lists(component, min_size=1, max_size=4),
    st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True),
    st.none() | st.just(DIGEST),
)


@given(references)
def test_what_is_printed_is_read_back(reference: Reference) -> None:
    found = parse_reference(str(reference))
    assert (found.repository, found.tag, found.digest) == (
        reference.repository,
        reference.tag,
        reference.digest,
    )
    assert str(found) == str(reference)


@given(st.text(max_size=60) | st.text(alphabet="aB0./:@-_[]{}$ \n", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse_reference(text)
    except InvalidReference as error:
        sentence = error.reason.sentence
    else:
        sentence = str(found)
        assert parse_reference(sentence) == Reference(
            found.repository, found.tag, found.digest, str(found.repository)
        )
    assert "\n" not in sentence
