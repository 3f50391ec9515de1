"""Which file and which entry counts: several configs, Kubernetes' secrets, Podman, docker's own pitfalls."""

from __future__ import annotations

import base64
import copy
import json
import os
import tempfile
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts.canaries import secret
from parts.credentials import Helper, answering, auth
from parts.registry import PLAIN, Behaviour, HostileServer, Reply, always, refusal

from automator.core.reference import Repository, parse_reference
from automator.edges.registry import Credential, DockerConfig, PasswordFile, RegistryClient
from automator.edges.registry.credentials import Secret, unusable
from automator.errors import RegistryError

Config = Callable[[Mapping[str, object]], DockerConfig]
Hostile = Callable[[Behaviour], HostileServer]
CANARY = secret("registry")


def write(file: Path, content: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


# -- the pitfalls of docker's package, by their numbers -----------------------------------------------


def test_1_a_config_that_is_not_there_does_not_fall_through_to_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / ".docker/config.json", {"auths": {"ghcr.io": auth("home", "p")}})
    error = refusal(lambda: DockerConfig(str(tmp_path / "none.json")).find("ghcr.io"))
    assert error.reason.code == "credentials/unreadable"


def test_2_a_config_that_is_no_json_is_an_error_that_quotes_nothing(tmp_path: Path) -> None:
    file = write(tmp_path / "config.json", '{"auths": {"ghcr.io": {"auth": "' + CANARY)
    error = refusal(lambda: DockerConfig(str(file)).find("ghcr.io"))
    assert error.reason.code == "credentials/docker-config"
    assert CANARY not in f"{error!r} {error.__cause__} {error.reason}"


def test_3_an_empty_config_reads_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    write(tmp_path / "home/.docker/config.json", {"auths": {"ghcr.io": auth("home", "p")}})
    source = DockerConfig(str(write(tmp_path / "config.json", {})))
    assert source.find("ghcr.io") is None


def test_4_a_config_serves_twice(config: Config) -> None:
    source = config({"auths": {"ghcr.io": auth("ann", "p"), "quay.io": auth("bob", "q")}})
    for _ in range(2):
        assert source.find("ghcr.io") == Credential("ann", "p")
        assert source.find("quay.io") == Credential("bob", "q")


def test_5_user_and_password_without_auth_count(config: Config) -> None:
    source = config({"auths": {"ghcr.io": {"username": "ann", "password": "ünï:p", "email": "a@b"}}})
    assert source.find("ghcr.io") == Credential("ann", "ünï:p")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"identitytoken": "t"}, Credential("<token>", "t", Secret.IDENTITY)),
        ({"identitytoken": "t", **auth("guid", "")}, Credential("guid", "t", Secret.IDENTITY)),
        ({"identitytoken": "t", "username": "ann"}, Credential("ann", "t", Secret.IDENTITY)),
        ({"registrytoken": "t"}, Credential("", "t", Secret.BEARER)),
        (auth("<token>", "t"), Credential("<token>", "t", Secret.IDENTITY)),
        ({"username": "ann"}, None),
        ({"auth": ""}, None),
        ({"auth": 7}, None),
        (auth("ann", "p\0\0"), Credential("ann", "p")),
        (auth("ann", "ünï:p"), Credential("ann", "ünï:p")),
    ],
)
def test_6_tokens_keep_their_kind_and_their_user(
    config: Config, entry: Mapping[str, object], expected: Credential | None
) -> None:
    assert config({"auths": {"ghcr.io": entry}}).find("ghcr.io") == expected


@pytest.mark.parametrize(
    "broken", ["%%%", "bm9jb2xvbg==", "abc", base64.b64encode(b"\xff:\xfe").decode(), "ünï"]
)
def test_7_a_broken_entry_costs_itself_alone(config: Config, broken: str) -> None:
    source = config({"auths": {"broken.test": {"auth": broken}, "ghcr.io": auth("ann", "p")}})
    assert source.find("ghcr.io") == Credential("ann", "p")
    error = refusal(lambda: source.find("broken.test"))
    assert error.reason.code == "credentials/docker-config"
    assert "broken.test" in str(error)
    assert "nocolon" not in str(error)


def test_8_helpers_and_entries_give_the_same_value(config: Config, helper: Helper) -> None:
    helper("tests", answering("ann", "p"))
    source = config({"credHelpers": {"a.test": "tests"}, "auths": {"b.test": auth("ann", "p")}})
    assert source.find("a.test") == source.find("b.test") == Credential("ann", "p")


@pytest.mark.parametrize("host", ["docker.io", "index.docker.io", "registry-1.docker.io"])
@pytest.mark.parametrize("key", ["docker.io", "https://index.docker.io/v1/", "registry-1.docker.io"])
def test_9_the_hub_has_many_names(config: Config, key: str, host: str) -> None:
    assert config({"auths": {key: auth("ann", "p")}}).find(host, "library/x") == Credential("ann", "p")


@pytest.mark.parametrize(
    "key", ["docker.io", "https://index.docker.io/v1/", "https://quay.io", "quay.io/v2/"]
)
def test_10_a_helper_is_found_by_any_spelling_of_its_host(config: Config, helper: Helper, key: str) -> None:
    helper("tests", answering("ann", "p"))
    host = "quay.io" if "quay" in key else "docker.io"
    assert config({"credHelpers": {key: "tests"}}).find(host) == Credential("ann", "p")


def test_11_paths_tell_entries_of_one_host_apart(config: Config) -> None:
    source = config(
        {
            "auths": {
                "quay.io/org-a": auth("a", "p"),
                "https://quay.io/v1/org-b": auth("b", "p"),
                "quay.io/org-b/deep": auth("deep", "p"),
            }
        }
    )
    found = [
        source.find("quay.io", path) for path in ("org-a/x", "org-b/x", "org-b/deep/x", "org-c/x", "org-ab")
    ]
    assert [f.username if f else None for f in found] == ["a", "b", "deep", None, None]


@pytest.mark.parametrize(
    ("key", "host", "fits"),
    [
        ("*.azurecr.io", "acme.azurecr.io", True),
        ("*.azurecr.io", "azurecr.io", False),
        ("*.azurecr.io", "evil.acme.azurecr.io", False),
        ("*.*.azurecr.io", "evil.acme.azurecr.io", True),
        ("*.azurecr.io:5000", "acme.azurecr.io", False),
        ("*.azurecr.io", "acme.azurecr.io:5000", False),
        ("*.azurecr.io:5000", "acme.azurecr.io:5000", True),
        ("registry.*", "registry.io:5000", False),
        ("*", "localhost:5000", False),
        ("pre-*.test", "pre-1.test", True),
        ("https://*.test/v1/", "a.test", True),
        ("*.test/org", "a.test", False),
        ("[::1]:5000", "[::1]:5000", True),
        ("[:1]:5000", "[::1]:5000", False),
    ],
)
def test_12_a_wildcard_stands_for_a_label(config: Config, key: str, host: str, fits: bool) -> None:
    found = config({"auths": {key: auth("ann", "p")}}).find(host, "x")
    assert (found is not None) == fits


def test_13_a_laptops_store_that_a_container_lacks_leaves_its_entries(config: Config) -> None:
    source = config({"credsStore": "desktop-not-here", "auths": {"ghcr.io": auth("ann", "p")}})
    assert source.find("ghcr.io") == Credential("ann", "p")
    assert source.find("quay.io") is None
    assert "desktop-not-here is not installed" in source.describe("quay.io")


# 14 (helpers without limits) is tests/edges/test_credential_helpers.py.


def test_15_entries_come_out_decoded(config: Config) -> None:
    found = config({"auths": {"ghcr.io": auth("ann", "p")}}).find("ghcr.io")
    assert found is not None
    assert (found.username, found.secret) == ("ann", "p")


def test_16_references_are_read_by_our_own_grammar(config: Config) -> None:
    image = parse_reference("nginx:1.25@sha256:" + "0" * 64)
    source = config({"auths": {"docker.io/library": auth("ann", "p"), "docker.io": auth("all", "p")}})
    found = source.find(image.repository.registry, image.repository.path)
    assert (image.tag, found) == ("1.25", Credential("ann", "p"))


def test_ports_belong_to_the_host(config: Config) -> None:
    source = config({"auths": {"r.test:5000": auth("a", "p"), "r.test": auth("b", "p")}})
    found = [source.find(host, "x") for host in ("r.test:5000", "r.test", "r.test:5001")]
    assert [f.username if f else None for f in found] == ["a", "b", None]


# -- several files ------------------------------------------------------------------------------------


def test_the_entry_that_says_most_counts_over_all_files(tmp_path: Path) -> None:
    files = [
        write(tmp_path / "1.json", {"auths": {"*.test": auth("wild", "p"), "b.test": auth("b1", "p")}}),
        write(tmp_path / "2.json", {"auths": {"a.test": auth("exact", "p"), "b.test": auth("b2", "p")}}),
        write(tmp_path / "3.json", {"auths": {"*.test/org": auth("path", "p")}}),
    ]
    source = DockerConfig(*map(str, files))
    cases = {"a.test x": "exact", "a.test org/x": "path", "b.test x": "b1", "c.test x": "wild"}
    for image, user in cases.items():
        host, path = image.split()
        found = source.find(host, path)
        assert found is not None
        assert found.username == user
    assert source.describe("a.test", "org/x") == f"user path of {files[2]}, entry *.test/org"
    assert source.describe("a.test", "x") == f"user exact of {files[1]}, entry a.test"


@pytest.mark.parametrize("broken", ["{", "[]", None])
def test_a_broken_file_costs_nothing_where_another_has_the_credential(
    tmp_path: Path, broken: str | None
) -> None:
    first = tmp_path / "first.json"
    if broken is not None:
        first.write_text(broken)
    good = write(tmp_path / "good.json", {"auths": {"ghcr.io": auth("ann", "p")}})
    source = DockerConfig(str(first), str(good))
    assert source.find("ghcr.io") == Credential("ann", "p")
    assert str(first) in source.describe("ghcr.io")
    error = refusal(lambda: source.find("quay.io"))
    assert str(first) in str(error)
    assert str(first) in source.describe("quay.io")


@pytest.mark.parametrize("name", ["config.json", ".dockerconfigjson", ".dockercfg"])
def test_a_folder_stands_for_the_file_that_kubernetes_puts_there(tmp_path: Path, name: str) -> None:
    entries = {"https://ghcr.io": auth("ann", "p")}
    write(tmp_path / "secret" / name, entries if name == ".dockercfg" else {"auths": entries})
    source = DockerConfig(str(tmp_path / "secret"))
    assert source.find("ghcr.io", "acme/web") == Credential("ann", "p")


def test_a_secret_that_kubernetes_swaps_counts_at_once(tmp_path: Path) -> None:
    for version in ("one", "two"):
        write(tmp_path / f"..{version}/.dockerconfigjson", {"auths": {"ghcr.io": auth("ann", version)}})
    (tmp_path / "..data").symlink_to("..one")
    (tmp_path / ".dockerconfigjson").symlink_to("..data/.dockerconfigjson")
    source = DockerConfig(str(tmp_path))
    assert source.find("ghcr.io") == Credential("ann", "one")
    (tmp_path / "..data_tmp").symlink_to("..two")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    assert source.find("ghcr.io") == Credential("ann", "two")


def test_what_the_environment_names_counts_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    homes = {
        "run/containers/auth.json": "runtime",
        "home/.config/containers/auth.json": "podman",
        "home/.docker/config.json": "docker",
    }
    for number, (file, user) in enumerate(homes.items()):
        write(tmp_path / file, {"auths": {f"{number}.test": auth(user, "p")}})
    source = DockerConfig()
    found = [source.find(f"{number}.test") for number in range(3)]
    assert [f.username if f else None for f in found] == list(homes.values())

    monkeypatch.setenv(
        "REGISTRY_AUTH_FILE", str(write(tmp_path / "own.json", {"auths": {"a.test": auth("a", "p")}}))
    )
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    write(tmp_path / "docker/config.json", {"auths": {"b.test": auth("b", "p")}})
    named = [source.find(host) for host in ("a.test", "b.test", "0.test", "2.test")]
    assert [f.username if f else None for f in named] == ["a", "b", None, None]


def test_an_old_dockercfg_of_the_home_counts_where_there_is_no_newer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / ".dockercfg", {"https://index.docker.io/v1/": auth("old", "p")})
    assert DockerConfig().find("docker.io") == Credential("old", "p")
    write(tmp_path / ".docker/config.json", {"auths": {"docker.io": auth("new", "p")}})
    assert DockerConfig().find("docker.io") == Credential("new", "p")


def test_a_path_comes_before_a_helper_for_the_whole_host(config: Config, helper: Helper) -> None:
    calls = helper("tests", answering("all", "p"))
    source = config({"credHelpers": {"quay.io": "tests"}, "auths": {"quay.io/org": auth("org", "p")}})
    assert source.find("quay.io", "org/x") == Credential("org", "p")
    assert not calls.exists()
    assert source.find("quay.io", "other/x") == Credential("all", "p")


def test_strange_shapes_are_no_credentials(config: Config) -> None:
    shapes: list[Mapping[str, object]] = [
        {"auths": []},
        {"auths": {"ghcr.io": None}},
        {"auths": {"ghcr.io": "x"}},
        {"auths": None, "credHelpers": []},
        {"HttpHeaders": {"User-Agent": "x"}},
        {"credHelpers": {"ghcr.io": {}}},
    ]
    for shape in shapes:
        assert config(copy.deepcopy(shape)).find("ghcr.io") is None, shape


TEXT = st.text(max_size=20) | st.text(st.characters(), max_size=4)  # the second: halves of characters too
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["ghcr.io", "https://ghcr.io/v1/", "ghcr.io/acme", "*.io", "docker.io", ""]) | st.text(
    max_size=12
)
FIELDS = st.sampled_from(["auth", "username", "password", "identitytoken", "registrytoken", "email"])
ENTRY = st.dictionaries(FIELDS, ANYTHING | st.sampled_from(["YTpi", "YTo=", "OmI=", "YQ=="]), max_size=4)


@given(
    st.fixed_dictionaries({}, optional={"auths": st.dictionaries(KEYS, ENTRY | ANYTHING), "x": ANYTHING})
    | st.dictionaries(KEYS, ENTRY | ANYTHING)
    | ANYTHING
)
def test_no_config_whatever_ends_in_anything_but_a_credential_none_or_a_sentence(content: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = DockerConfig(str(write(Path(folder) / "config.json", content)))
        for host in ("ghcr.io", "docker.io"):
            first, second = (outcome(source, host) for _ in range(2))
            assert first == second
            assert first in (None, "credentials/docker-config") or (
                isinstance(first, Credential) and first.secret and unusable(first) is None
            )


def outcome(source: DockerConfig, host: str) -> Credential | str | None:
    try:
        return source.find(host, "acme/web")
    except RegistryError as error:
        return error.reason.code


# -- secrets that no header can carry -----------------------------------------------------------------

UNSENDABLE = ["{}\nX-Other: 1", "{}\r", "{}\x00", "{} b", "{}\x7f", "{}ü", "{}\u2028", "{}\ud800"]


@pytest.mark.parametrize("kind", ["registrytoken", "identitytoken"])
def test_a_token_has_its_white_space_taken_off(config: Config, kind: str) -> None:
    found = config({"auths": {"ghcr.io": {kind: f" {CANARY}\r\n"}}}).find("ghcr.io")
    assert found is not None
    assert found.secret == CANARY
    assert config({"auths": {"ghcr.io": {kind: "\n"}}}).find("ghcr.io") is None


@pytest.mark.parametrize("form", UNSENDABLE)
@pytest.mark.parametrize("kind", ["registrytoken", "identitytoken", "auth"])
def test_a_token_that_no_header_can_carry_is_refused_unquoted(config: Config, kind: str, form: str) -> None:
    if kind != "auth":
        entry = {kind: form.format(CANARY) + "x"}
    elif form.isascii() or "ü" in form:
        entry = auth("<token>", form.format(CANARY) + "x")
    else:
        entry = {"username": "<token>", "password": form.format(CANARY) + "x"}
    source = config({"auths": {"ghcr.io": entry}})
    error = refusal(lambda: source.find("ghcr.io"))
    assert error.reason.code == "credentials/docker-config"
    assert "entry ghcr.io" in str(error)
    assert (
        CANARY not in f"{error!r} {''.join(traceback.format_exception(error))} {source.describe('ghcr.io')}"
    )


@pytest.mark.parametrize("form", UNSENDABLE)
def test_a_token_of_a_file_that_no_header_can_carry_is_refused_unquoted(tmp_path: Path, form: str) -> None:
    if "\ud800" in form:
        return  # no text in UTF-8
    file = write(tmp_path / "password", form.format(CANARY) + "x")
    error = refusal(lambda: PasswordFile("<token>", str(file)).find("ghcr.io"))
    assert error.reason.code == "credentials/unreadable"
    assert str(file) in str(error)
    assert CANARY not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("entry", [{"username": "a\ud800"}, {"username": "a", "password": "b\ud800"}])
def test_a_password_that_is_no_text_is_a_sentence(config: Config, entry: Mapping[str, object]) -> None:
    error = refusal(lambda: config({"auths": {"ghcr.io": {"password": "p", **entry}}}).find("ghcr.io"))
    assert error.reason.code == "credentials/docker-config"
    assert "no Unicode text" in str(error)


@pytest.mark.parametrize("form", [form for form in UNSENDABLE if "\ud800" not in form])
def test_a_password_may_hold_anything_and_shows_nowhere(
    config: Config, make_client: Callable[..., RegistryClient], hostile: Hostile, form: str
) -> None:
    server = hostile(always(Reply(401, b"", {"WWW-Authenticate": "Basic"})))
    password = form.format(CANARY) + "x"
    source = config({"auths": {server.host: {"username": "ann", "password": password}}})
    client = make_client(server.host, settings=replace(PLAIN, credentials=source))
    now = datetime(2026, 11, 21, tzinfo=UTC)
    error = refusal(lambda: client.tags(Repository(server.host, "a/b"), now=now))
    sent = server.received[-1].headers["authorization"].removeprefix("Basic ")
    assert base64.b64decode(sent).decode() == f"ann:{password}"
    assert error.reason.code == "registry/denied"
    assert CANARY not in f"{''.join(traceback.format_exception(error))} {source.describe(server.host)}"


# -- password files -----------------------------------------------------------------------------------


def test_a_password_file_is_read_at_each_use(tmp_path: Path) -> None:
    file = write(tmp_path / "password", "old\n")
    source = PasswordFile("ann", str(file))
    assert source.find("ghcr.io") == Credential("ann", "old")
    write(tmp_path / "next", "\ufeff new one \r\n").rename(file)
    assert source.find("ghcr.io") == Credential("ann", "new one")


def test_a_key_of_several_lines_is_a_password_too(tmp_path: Path) -> None:
    key = json.dumps({"type": "service_account", "private_key": "-----BEGIN-----"}, indent=2)
    source = PasswordFile("_json_key", str(write(tmp_path / "key.json", key + "\n")))
    assert source.find("europe-docker.pkg.dev") == Credential("_json_key", key)


def test_a_password_file_of_an_identity_token(tmp_path: Path) -> None:
    source = PasswordFile("<token>", str(write(tmp_path / "token", "t")))
    assert source.find("ghcr.io") == Credential("<token>", "t", Secret.IDENTITY)


def test_files_that_would_hold_us_or_fill_us_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    write(tmp_path / "huge", "x" * (4 * 1024 * 1024 + 1))
    for path, words in ((tmp_path / "pipe", "no regular file"), (tmp_path / "huge", "longer than")):
        for source in (PasswordFile("ann", str(path)), DockerConfig(str(path))):
            error = refusal(lambda source=source: source.find("ghcr.io"))  # type: ignore[misc]
            assert error.reason.code == "credentials/unreadable"
            assert words in str(error)
    for source in (PasswordFile("ann", "/dev/zero"), PasswordFile("ann", str(tmp_path))):
        assert refusal(lambda source=source: source.find("ghcr.io")).reason.code == "credentials/unreadable"  # type: ignore[misc]


def test_bytes_that_are_no_text_show_in_no_error(tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(b"\xff" + CANARY.encode())
    error = refusal(lambda: PasswordFile("ann", str(tmp_path / "password")).find("ghcr.io"))
    assert error.__cause__ is None
    assert error.__suppress_context__
    assert CANARY not in f"{error!r} {error.reason}"
