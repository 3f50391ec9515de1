"""Versions in Compose variables: at the default in place, or on a line of the `.env`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automator.core.compose import env_sources, find, find_env, sources
from automator.core.dotenv import is_dotenv, read_dotenv
from automator.core.found import Found
from automator.core.rewrite import Edit, rewrite
from automator.core.site import locate
from automator.core.spelling import TEMPLATE
from automator.core.yamltext import Mapping, Scalar, parse

DIGEST = "sha256:" + "0123456789abcdef" * 4


def compose(image: str) -> str:
    return f"services:\n  web:\n    image: {image}\n"


def places(text: str) -> list[Found]:
    (document,) = parse(text)
    return find(document, text)


def only(image: str) -> tuple[Found, list[tuple[str, str]]]:
    """The one place of an image, and its pieces with the characters of the file that they are."""
    text = compose(image)
    (place,) = places(text)
    return place, [(p.piece, text[p.node.start : p.node.end]) for p in place.pieces]


# -- defaults ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("quote", ["", "'", '"'])
@pytest.mark.parametrize("operator", [":-", "-"])
def test_a_default_is_edited_in_place(quote: str, operator: str) -> None:
    place, pieces = only(f"{quote}ghcr.io/acme/web:${{TAG{operator}1.4.2}}{quote} # comment")
    assert pieces == [("tag", "1.4.2")]
    assert (str(place.spelled.repository), place.spelled.written) == ("ghcr.io/acme/web",) * 2
    assert (place.spelled.tag, place.spelled.digest, place.spelled.doubt) == ("1.4.2", None, None)
    assert (place.awaits, place.container) == (("unset", "TAG", None, ""), "web")


@pytest.mark.parametrize(
    ("image", "written", "version", "pieces"),
    [
        (
            f"ghcr.io/acme/web:${{TAG:-1.4.2@{DIGEST}}}",
            "ghcr.io/acme/web",
            ("1.4.2", DIGEST),
            [("tag", f"1.4.2@{DIGEST}")],
        ),
        (
            f"ghcr.io/acme/web@${{DIGEST:-{DIGEST}}}",
            "ghcr.io/acme/web",
            (None, DIGEST),
            [("digest", DIGEST)],
        ),
        (
            f"ghcr.io/acme/web:${{TAG:-1.4.2}}@{DIGEST}",
            "ghcr.io/acme/web",
            ("1.4.2", DIGEST),
            [("tag", "1.4.2"), ("digest", DIGEST)],
        ),
        (
            "${IMAGE:-ghcr.io/acme/web:1.4.2}",
            "ghcr.io/acme/web",
            ("1.4.2", None),
            [("reference", "ghcr.io/acme/web:1.4.2")],
        ),
        ("localhost:5000/web:${TAG-1}", "localhost:5000/web", ("1", None), [("tag", "1")]),
        ("web:${TAG:-1.4.2}", "web", ("1.4.2", None), [("tag", "1.4.2")]),
    ],
)
def test_every_form_of_a_default(
    image: str, written: str, version: tuple[str | None, str | None], pieces: list[tuple[str, str]]
) -> None:
    place, found = only(image)
    assert found == pieces
    assert place.spelled.written == written
    assert place.spelled.repository is not None
    assert (place.spelled.tag, place.spelled.digest, place.spelled.doubt) == (*version, None)


def test_a_templated_name_keeps_its_text_and_has_no_repository() -> None:
    place, pieces = only("${REGISTRY:-ghcr.io}/acme/web:${TAG:-1.4.2}")
    assert pieces == [("tag", "1.4.2")]
    assert (place.spelled.written, place.spelled.repository) == ("${REGISTRY:-ghcr.io}/acme/web", None)


@pytest.mark.parametrize(
    "variable",
    [
        "$TAG",
        "${TAG}",
        "${TAG:?say which}",
        "${TAG?}",
        "${TAG:-}",
        "${TAG:-a b}",
        "${TAG:-${DEF:-1.4.2}}",
        "${TAG-1.4.2-$DEF}",
    ],
)
def test_without_a_default_the_place_is_held_until_an_env_says_more(variable: str) -> None:
    place, pieces = only(f'"ghcr.io/acme/web:{variable}"')
    assert [piece for piece, _ in pieces] == ["reference"]
    assert (place.spelled.doubt, place.awaits) == ("site/templated", ("unset", "TAG", None, ""))


@pytest.mark.parametrize(
    "image",
    [
        "ghcr.io/acme/web:${TAG:-1.4.2}-alpine",
        "ghcr.io/acme/web:v${TAG:-1.4.2}",
        "ghcr.io/acme/web:${MAJOR:-1}.${MINOR:-4}",
        "ghcr.io/acme/web:${TAG:+1.4.2}",
        "ghcr.io/acme/web:$$TAG",
        "ghcr.io/acme/web:$${TAG:-1.4.2}",
        "${IMAGE:-ghcr.io/acme/web}:1.4.2",
        "ghcr.io/acme/web:1.4.2",
        "&image ghcr.io/acme/web:${TAG:-1.4.2}",
    ],
)
def test_a_version_that_is_not_wholly_in_one_variable_is_none_of_these(image: str) -> None:
    assert places(compose(image)) == []


@pytest.mark.parametrize(
    "image", ["ghcr.io/acme/web:${TAG:-${DEF:-1.4.2}}", "${IMAGE:-ghcr.io/acme/web:${TAG:-1.4.2}}"]
)
@pytest.mark.parametrize("name", ["compose.yaml", "values.yaml"])
def test_defaults_within_defaults_are_seen_and_held(image: str, name: str) -> None:
    text = compose(image)
    for where in (text, text.replace("services", "others")) if image.startswith("ghcr") else (text,):
        (site,) = locate(where, name).sites
        assert (str(site.repository), site.held and site.held.code) == ("ghcr.io/acme/web", "site/templated")


@pytest.mark.parametrize("part", ["${A:-", "${A:-${b}", "${A:-${b", "${", "$$", "$a", "${A:-a$", "{{${"])
def test_hostile_templates_are_read_in_time(part: str) -> None:
    many = part * (300_000 // len(part))
    TEMPLATE.sub("", many)
    assert locate(compose(f"'web:{many}'"), "compose.yaml").trouble is None


def test_extensions_count_as_services() -> None:
    text = (
        "x-web: &web\n  image: ghcr.io/acme/web:${TAG:-1.4.2}\nservices:\n  one: {<<: *web}\n"
        "  two: {<<: *web, ports: [80]}\n"
    )
    assert [text[p.pieces[0].node.start :][:5] for p in places(text)] == ["1.4.2"]


@pytest.mark.parametrize(
    "text",
    [
        "kind: Deployment\nservices:\n  web:\n    image: web:${TAG:-1.4.2}\n",
        "web:\n  image: web:${TAG:-1.4.2}\n",
        "services: [web]\nx-web: {image: 'web:${TAG:-1}'}\n",
        "services:\n  - image: web:${TAG:-1.4.2}\n",
        "",
        "[]",
    ],
)
def test_only_compose_files_are_read_so(text: str) -> None:
    assert [place for document in parse(text) for place in find(document, text)] == []


def test_a_compose_file_says_what_its_variables_are_for() -> None:
    text = (
        "services:\n"
        "  a: {image: 'ghcr.io/acme/web:${WEB:-1}'}\n"
        "  b: {image: 'ghcr.io/acme/api:$API'}\n"
        "  c: {image: '${REGISTRY}/acme/c:${C}'}\n"
        "  d: {image: 'ghcr.io/acme/d:${D}-alpine'}\n"
        "  e: {image: '${WHOLE}'}\n"
        "  f: {image: 'ghcr.io/acme/f@${F}'}\n"
        "  g: {image: 'ghcr.io/acme/g:${G}@${H}'}\n"
    )
    (document,) = parse(text)
    assert [(s.kind, s.name, s.value, s.line) for s in sources(document)] == [
        ("variable", "WEB", "ghcr.io/acme/web", 2),
        ("variable", "API", "ghcr.io/acme/api", 3),
        ("variable", "C", "${REGISTRY}/acme/c", 4),
        ("variable", "D", "", 5),
        ("variable", "F", "ghcr.io/acme/f", 7),
        ("variable", "G", "", 8),
        ("variable", "H", "", 8),
    ]


@pytest.mark.parametrize(
    ("text", "given"),
    [
        (  # an anchor, and its alias
            "services: {a: {image: &j 'a/jobs:${TAG}'}, b: {image: *j}}\n",
            {("TAG", "a/jobs")},
        ),
        ("x-img: &i a/jobs:${TAG}\nservices:\n  a:\n    image: *i\n", {("TAG", "a/jobs")}),
        ("x-all:\n  a: &a {image: 'a/jobs:${TAG}'}\nservices:\n  a: *a\n", {("TAG", "a/jobs")}),
        ("x-all:\n  - &a {image: 'a/jobs:${TAG}'}\nservices:\n  a: {<<: *a}\n", {("TAG", "a/jobs")}),
        (compose("a/web:${TAG:-${DEF:-1.4.2}}"), {("TAG", "a/web"), ("DEF", "")}),
        (compose("a/web:${A:-${B:-${C:-1}}}"), {("A", ""), ("B", ""), ("C", "")}),
        (compose("${IMAGE:-a/web:${TAG}}"), {("TAG", "")}),
        (compose("${REGISTRY:-${HOST}}/a/web:${TAG}"), {("TAG", "${REGISTRY:-${HOST}}/a/web")}),
        (compose("a/web:$$x-${TAG}"), {("TAG", "")}),
        (compose("a/web:$$TAG"), set()),
        (compose("a/web:" + "x" * 2000 + "${TAG}"), {("TAG", "")}),
    ],
)
def test_no_use_of_a_variable_is_passed_over(text: str, given: set[tuple[str, str]]) -> None:
    assert {(s.name, s.value) for s in locate(text, "compose.yaml").sources} == given


# -- the .env ----------------------------------------------------------------------------------------


def settings(text: str) -> list[tuple[str, str, int]]:
    """Name, characters and line of every variable."""
    (document,) = read_dotenv(text)
    if document.root is None:
        return []
    assert isinstance(document.root, Mapping)
    return [
        (key.value, text[value.start : value.end], value.line)
        for key, value in document.root.pairs
        if isinstance(key, Scalar) and isinstance(value, Scalar) and value.value
    ]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("TAG=1.4.2", "1.4.2"),
        ("TAG=1.4.2  # comment", "1.4.2"),
        ("TAG=1.4.2#no-comment", "1.4.2#no-comment"),
        ("TAG='1.4.2' # comment", "1.4.2"),
        ('TAG="1.4.2"', "1.4.2"),
        ("export TAG=1.4.2", "1.4.2"),
        ("\texport  TAG =  1.4.2\t", "1.4.2"),
        ("TAG: 1.4.2", "1.4.2"),
        ("TAG='$literal'", "$literal"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
@pytest.mark.parametrize("start", ["", "\ufeff", "# comment\n\nOTHER=x\n"])
def test_values_have_their_exact_characters(start: str, line: str, value: str, end: str) -> None:
    assert settings(start + line + end)[-1:] == [("TAG", value, 1 + start.count("\n"))]


@pytest.mark.parametrize(
    "line",
    [
        "TAG=${OTHER}-1",
        'TAG="$OTHER"',
        "TAG='it\\'s'",
        'TAG="a\nb"',
        'TAG="1.4.2" trailing',
        "TAG=",
        "TAG",
        "#TAG=1.4.2",
        "1TAG=1.4.2",
    ],
)
def test_values_that_are_made_or_missing_read_as_none(line: str) -> None:
    assert settings(f"{line}\n") == []


def test_lines_inside_quotes_are_no_variables() -> None:
    assert settings("TEXT='\nTAG=1.4.2\n'\nREAL=2\n") == [("REAL", "2", 4)]
    assert settings("FIRST=1\nTEXT='\nTAG=1.4.2\n") == [("FIRST", "1", 1)]


def variables(text: str) -> list[tuple[str, str, str | None, str | None]]:
    """Name, written repository, tag and what is awaited of every site."""
    (document,) = read_dotenv(text)
    return [
        (
            str(p.pieces[0].link.step),
            p.spelled.written,
            p.spelled.tag or p.spelled.digest,
            p.awaits and p.awaits.name,
        )
        for p in find_env(document)
    ]


def test_versions_await_their_image_and_references_do_not() -> None:
    text = (
        f"TAG=main-42\nWEB=1.4.2\nPINNED_VERSION=1.4.2@{DIGEST}\nDIGEST={DIGEST}\n"
        "IMAGE=redis:7\nwebImg=ghcr.io/acme/web:1.4.2\nAUTH_IMAGE=ghcr.io/acme/auth:2\nAUTH_TAG=2.1\n"
        f"FULL=ghcr.io/acme/web@{DIGEST}\n"
    )
    assert variables(text) == [
        ("TAG", "", "main-42", "TAG"),
        ("WEB", "", "1.4.2", "WEB"),
        ("PINNED_VERSION", "", "1.4.2", "PINNED_VERSION"),
        ("DIGEST", "", DIGEST, "DIGEST"),
        ("IMAGE", "redis", "7", None),
        ("webImg", "ghcr.io/acme/web", "1.4.2", None),
        ("AUTH_IMAGE", "ghcr.io/acme/auth", "2", None),
        ("AUTH_TAG", "", "2.1", "AUTH_TAG"),
        ("FULL", "ghcr.io/acme/web", DIGEST, None),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "PORT=8080",
        "REDIS=redis:6379",
        "URL=https://ghcr.io/acme/web:1.4.2",
        "DATABASE=postgres://user:secret@db:5432/shop",
        "ADDRESS=10.0.0.1",
        "USER=admin",
        "DEBUG=true",
        "POSTGRES_PASSWORD=1.4.2",
        "TOKEN_VERSION=1.4.2",
        "API_KEY=1.4.2",
        "DB_PASS=hunter2",
        "BASIC_AUTH=acme.corp/admin:hunter2",
        "REGISTRY_LOGIN=ghcr.io/bot:ghp_abc",
        "ACCOUNT=ghcr.io/bot:ghp_abc",
        "BASICAUTH=1.4.2",
        "DOCKER_LOGIN=1.4.2",
        "REGISTRY_CRED=1.4.2",
        "PRIVATE_IMAGE=acme.corp/admin:hunter2",
        "SSHKEY=1.4.2",
        "DBPASS=1.4.2",
        "TAG=not a tag",
    ],
)
def test_settings_of_other_kinds_are_neither_sites_nor_kept(line: str) -> None:
    assert variables(f"{line}\n") == []
    (document,) = read_dotenv(f"{line}\n")
    assert [(s.kind, s.name, s.value) for s in env_sources(document)] == [
        ("unset", line.partition("=")[0], "")
    ]


def test_the_last_setting_of_a_variable_counts() -> None:
    (document,) = read_dotenv("TAG=1.4.1\nTAG=1.4.2\n")
    (place,) = find_env(document)
    assert (place.spelled.tag, place.pieces[0].node.line) == ("1.4.2", 2)
    assert [(s.name, s.value) for s in env_sources(document)] == [("TAG", "site")]


def test_which_files_hold_variables() -> None:
    assert [is_dotenv(n) for n in (".env", "prod.env", "env", ".env.example", "x.yaml")] == [
        True, True, False, False, False,
    ]  # fmt: skip


@given(st.text(alphabet="AB=:'\"#$\\ \t\r\n\ufeffé{}.-1", max_size=60))
def test_any_text_is_read_with_places_inside_it_and_in_order(text: str) -> None:
    (document,) = read_dotenv(text)
    at = 0
    for key, value in document.root.pairs if isinstance(document.root, Mapping) else ():
        assert isinstance(key, Scalar)
        assert isinstance(value, Scalar)
        assert at <= key.start < key.end <= value.start <= value.end <= len(text)
        assert text[key.start : key.end] == key.value
        assert value.value in ("", text[value.start : value.end])
        at = value.end
    find_env(document)


# -- which bytes change ------------------------------------------------------------------------------

OTHER = "sha256:" + "fedcba9876543210" * 4


@pytest.mark.parametrize(
    ("name", "before", "old", "new"),
    [
        ("compose.yaml", compose('"ghcr.io/acme/web:${TAG:-1.4.2}" # 1.4.2'), "-1.4.2", "-1.4.3"),
        ("compose.yaml", compose("ghcr.io/acme/web:${TAG-1}").replace("\n", "\r\n"), "-1}", "-1.4.3}"),
        (
            "compose.yaml",
            compose(f"ghcr.io/acme/web:${{TAG:-1.4.2@{DIGEST}}}"),
            f"1.4.2@{DIGEST}",
            f"1.4.3@{OTHER}",
        ),
        (
            "compose.yaml",
            compose(f"'ghcr.io/acme/web:${{TAG:-1.4.2}}@{DIGEST}'"),
            f"1.4.2}}@{DIGEST}",
            f"1.4.3}}@{OTHER}",
        ),
        ("compose.yaml", compose(">-\n      ghcr.io/acme/web:${TAG:-1.4.2}"), "-1.4.2", "-1.4.3"),
        ("compose.yaml", compose("${IMAGE:-ghcr.io/acme/web:1.4.2}"), "web:1.4.2", "web:1.4.3"),
        (".env", "\ufeff# c\r\nTAG=1.4.2 # 1.4.2\r\nTEXT='1.4.2 '\r\n", "TAG=1.4.2", "TAG=1.4.3"),
        ("prod.env", "export TAG = '1.4.2'#", "'1.4.2'", "'1.4.3'"),
        (".env", f'TAG="1.4.2@{DIGEST}"\n', f"1.4.2@{DIGEST}", f"1.4.3@{OTHER}"),
        (".env", "IMAGE=ghcr.io/acme/web:1.4.2", "web:1.4.2", "web:1.4.3"),
    ],
)
def test_only_the_version_changes(name: str, before: str, old: str, new: str) -> None:
    assert before.count(old) == 1
    (site,) = locate(before, name).sites
    assert site.held is None
    edit = Edit(site, "1.4.3", OTHER if site.digest else None)
    assert rewrite(before, [edit], name) == before.replace(old, new)


def test_a_policy_may_name_a_variable_of_an_env_by_its_field() -> None:
    text = "WEB=main # which\nOTHER=main\n"
    (site,) = locate(text, ".env", ("WEB",)).sites
    assert (site.field, site.tag, site.selectors, site.held) == ("WEB", "main", ("WEB",), None)
    assert rewrite(text, [Edit(site, "1.4.3", None)], ".env") == text.replace("WEB=main", "WEB=1.4.3")


def test_a_comment_at_a_variable_claims_it() -> None:
    (site,) = locate("TAG=1.4.2 # automator: web\n", ".env").sites
    assert site.claim == "web"
