"""A secret written where it does not belong, into the config itself, is refused and not repeated."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts.world import World

from automator.config import Config, load
from automator.config.load import models_in
from automator.edges.checkout.remote import Remote, open_door
from automator.errors import CheckoutError, ConfigError

BEGIN, END = "hunter2SECRET", "cana9ry-of-a-test"
SECRET = f"{BEGIN}/+{END}"
SHOP: dict[str, Any] = {"repos": {"shop": {"url": "https://git.example.com/shop.git"}}}
NAMES = {
    "repos": "shop",
    "registries": "ghcr.io",
    "forges": "git.example.com",
    "repositories": "docker-local",
}


def toml(value: object) -> str:
    """A value as TOML writes it on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(below)}" for key, below in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def written(folder: Path, tables: Mapping[str, Any]) -> Path:
    file = folder / "config.toml"
    file.write_text("".join(f"{key} = {toml(value)}\n" for key, value in tables.items()))
    return file


def told(file: Path | None, environ: Mapping[str, str] | None = None) -> str | None:
    """All that a refusal says, with what whoever logs its causes would see; None where it is none."""
    try:
        load(file, environ or {}, require_repos=False)
    except ConfigError as error:
        words = [error.reason.sentence, error.reason.next_step, *getattr(error, "__notes__", ())]
        return "\n".join([*words, repr(error.__cause__), str(error.__cause__)])
    return None


def tells(text: str | None, secret: str = SECRET) -> bool:
    """Whether a text has a part of the secret, also as names of variables are written."""
    parts = {secret, *(part for part in (BEGIN, END) if part in secret)}
    return text is not None and any(part.casefold() in text.casefold() for part in parts)


def positions(model: Any = Config, at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The way to each key of the config, tables of a user's names with one of these."""
    for name, field in model.model_fields.items():
        here = (*at, name)
        yield here
        annotation = field.annotation
        options = (
            get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
        )
        if any(get_origin(option) is dict for option in options):
            here = (*here, NAMES.get(name, "team"))
            yield here
        if any(get_origin(option) is tuple for option in options):
            here = (*here, "[0]")
        for below in models_in(annotation):
            yield from positions(below, here)


def placed(way: tuple[str, ...], value: object) -> dict[str, Any]:
    """The config with a value at one place, and nothing else but a config repo."""
    for part in reversed(way):
        value = [value] if part == "[0]" else {part: value}
    assert isinstance(value, dict)
    return {**SHOP, **value} if way[0] != "repos" or len(way) < 3 else {"repos": {"shop": merged(value)}}


def merged(value: dict[str, Any]) -> dict[str, Any]:
    return {**SHOP["repos"]["shop"], **value["repos"]["shop"]}


WAYS = tuple(dict.fromkeys(positions()))
SHAPES = (
    SECRET,
    ["bot", SECRET],
    {"password": SECRET},
    {f"bot:{SECRET}@ghcr.io": SECRET},
    [{"token": SECRET}],
    f"https://bot:{SECRET}@git.example.com/a.git",
    f'{{"bot": "{SECRET}"',
)
"""What people write where a table, a list, a file's path or something else is wanted."""


def test_every_key_is_tried() -> None:
    assert len(WAYS) > 150
    assert ("repos", "shop", "credentials", "password_file") in WAYS
    assert ("rules", "[0]", "registries") in WAYS


@pytest.mark.parametrize("table", sorted(Config.model_fields))
def test_no_value_in_a_wrong_place_is_told(tmp_path: Path, table: str) -> None:
    ways = [way for way in WAYS if way[0] == table]
    wrong = [(way, shape) for way in ways for shape in SHAPES]
    answers = {(way, str(shape)): told(written(tmp_path, placed(way, shape))) for way, shape in wrong}
    assert {case: answer for case, answer in answers.items() if tells(answer)} == {}
    assert any(answers.values()), "something of it is refused"


def test_no_variable_in_a_wrong_place_is_told(tmp_path: Path) -> None:
    file = written(tmp_path, SHOP)
    texts = (SECRET, json.dumps(["bot", SECRET]), f'{{"ghcr.io": "{SECRET}"}}', f'{{"ghcr.io": "{SECRET}"')
    for way in WAYS:
        if "[0]" not in way:
            for text in texts:
                answer = told(file, {f"AUTOMATOR_{'__'.join(way).upper()}": text})
                assert not tells(answer), (way, text)
    for name in (f"REGISTRIES__BOT:{SECRET}@GHCR.IO__XYZ", f"DEMON__BOT:{SECRET}@X", f"RULES__{SECRET}@X"):
        answer = told(file, {f"AUTOMATOR_{name}": "x"})
        assert answer is not None
        assert not tells(answer), name


@pytest.mark.parametrize("secret", ["hunter2", "12345678", SECRET])
@pytest.mark.parametrize(
    "tables",
    [
        '[repos.shop]\nurl = "u"\ncredentials = "{}"\n',
        '[repos.shop]\nurl = "u"\ncredentials = ["bot", "{}"]\n',
        '[repos.shop]\nurl = "u"\n[repos.shop.credentials]\npassword = "{}"\n',
        '[repos.shop]\nurl = "u"\n[repos.shop.credentials]\nusername = ["{}"]\n',
        '[repos.shop]\nurl = "u"\nfeedback_to = ["bot:{}@github.com/acme"]\n',
        '[repos.shop]\nurl = "u"\nforge = "{}"\n',
        '[repos.shop]\nurl = "u"\nregistries = ["bot:{}@ghcr.io"]\n',
        '[repos."bot:{}@git.example.com"]\nurl = "u"\n',
        '[registries."bot:{}@ghcr.io"]\n',
        '[registries."bot:{}@ghcr.io"]\ninsecur = true\n',
        '[registries."https://bot:{}@ghcr.io/v2/"]\n',
        '[forges."bot:{}@git.example.com"]\nkind = "gitea"\ntoken_file = "t"\n',
        '[hooks.harbor]\nsecret_file = "s"\nregistry = "bot:{}@harbor.example.com"\n',
        '[checks.page]\nurl = "https://x/"\nheader = "X-Api-Key: {}"\n',
        '[runtimes.prod]\ntype = "docker"\nhost = "tcp://bot:{}@engine:2376"\n',
        '[notify.team]\nurl_file = "slack://{}@acme/channel"\n',
        '[[rules]]\nregistries = ["bot:{}@ghcr.io"]\n',
        '[registries]\n"bot:{0}@ghcr.io" = {{}}\n"bot:{0}@ghcr.io" = {{}}\n',
        '[registries."bot:{0}@ghcr.io"]\n[registries."bot:{0}@ghcr.io"]\n',
        'registries = {{}}\n[registries."bot:{0}@ghcr.io"]\n',
        'registries = {{"bot:{0}@ghcr.io" = 1, "bot:{0}@ghcr.io" = 1}}\n',
        'registries."bot:{0}@ghcr.io" = 1\n[registries."bot:{0}@ghcr.io".x]\n',
        "daemon.token_file = {}\n",
        'daemon.token_file = "{}\n',
        "docker_config = {0}{0}\n",
    ],
)
def test_where_people_write_secrets_they_are_not_repeated(tmp_path: Path, tables: str, secret: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(tables.format(secret))
    answer = told(file)
    assert answer is not None
    assert not tells(answer, secret)


@pytest.mark.parametrize(
    "secret",
    [
        "ghp_0123456789abcdefghijABCDEFGHIJ012345",
        "glpat-abcdefghijklmnopqrst",
        "xoxb-1234567890-abcdefghijklmnop",
        "slack://xoxb-1234567890/acme",
        "-----BEGIN PRIVATE KEY-----\\nMC4CAQ\\n-----END PRIVATE KEY-----\\n",
    ],
)
@pytest.mark.parametrize(
    "key", ["repos.shop.credentials.password_file", "daemon.token_file", "docker_config"]
)
def test_the_secret_itself_in_place_of_its_file_is_refused(tmp_path: Path, key: str, secret: str) -> None:
    file = tmp_path / "config.toml"
    for value in (f'"{secret}"', f'["{secret}"]')[: 2 if key == "docker_config" else 1]:
        file.write_text(f'repos.shop.url = "u"\n{key} = {value}\n')
        answer = told(file)
        assert answer is not None
        assert "the path of a file, not what is to be in it" in answer
        assert secret[:12] not in answer


@pytest.mark.parametrize(
    "text", ["interval = " + "9" * 5000, "interval = " + "[" * 5000, "interval = '\\", "[x\n", "a = \x00"]
)
def test_text_that_breaks_the_reader_is_refused_with_a_sentence(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    assert "not valid TOML" in (told(file) or "")


# -- addresses -----------------------------------------------------------------------------------------

AWKWARD = st.text(alphabet="/@:?#%&=[]\\ ~.!$+ab7\u00e9\u2028\n", max_size=6)
SECRETS = st.builds(lambda a, b, c: f"{a}{BEGIN}{b}{END}{c}", AWKWARD, AWKWARD, AWKWARD)
WITH_A_LOGIN = (
    "https://bot:{}@git.example.com/a.git",
    "https://:{}@git.example.com/a.git",
    "HTTPS://bot:{}@git.example.com:3000/a.git",
    "http://bot:{}@[::1]:3000/a.git",
    "ssh://bot:{}@git.example.com:22/a.git",
    "https:/bot:{}@git.example.com/a.git",
    "https:bot:{}@git.example.com/a.git",
    "//bot:{}@git.example.com/a.git",
    "bot:{}@git.example.com:a.git",
    "bot:{}@git.example.com/a.git",
    "git://bot:{}@git.example.com/a.git",
    "file://bot:{}@git.example.com/a.git",
)
"""Addresses of Git with a password in them, well written and not."""


@given(st.sampled_from(WITH_A_LOGIN), SECRETS)
def test_no_password_in_an_address_is_told(
    tmp_path_factory: pytest.TempPathFactory, form: str, secret: str
) -> None:
    url = form.format(secret)
    folder = tmp_path_factory.getbasetemp()
    places: list[dict[str, Any]] = [{"repos": {"shop": {"url": url}}}]
    if form.startswith("http") and "//" in form:
        places += [
            {"forges": {"git.example.com": {"kind": "gitea", "token_file": "t", "api": url}}},
            {"checks": {"page": {"url": url}}},
            {"notify": {"team": {"webhook": url, "secret_file": "s"}}},
            {"runtimes": {"prod": {"type": "docker", "host": url.replace("https", "tcp")}}},
            {"daemon": {"public_url": url, "token_file": "t"}},
        ]
    for place in places:
        try:
            Config(**place)
        except ValueError:  # as pydantic says it, with all values
            answer = told(written(folder, place))
            assert answer is not None
            assert not tells(answer), place
        else:
            raise AssertionError(f"accepted: {place}")
    if not url.startswith(("//", "file:")):  # paths, of which the config lets none pass
        with pytest.raises(CheckoutError) as caught:
            open_door(Remote(url), deadline=1)
        assert not tells(f"{caught.value} {caught.value.__cause__}"), url


@pytest.mark.parametrize("scheme", ["https://", "ssh://git@"])
@pytest.mark.parametrize("more", [f"?private_token={SECRET}", f"#{SECRET}", "?", f"/x?{SECRET}#x"])
def test_nothing_follows_the_path_of_a_git_url(tmp_path: Path, scheme: str, more: str) -> None:
    url = f"{scheme}git.example.com/shop.git{more}"
    answer = told(written(tmp_path, {"repos": {"shop": {"url": url}}})) or ""
    assert "a Git URL without `?` and `#`" in answer
    assert not tells(answer)
    with pytest.raises(CheckoutError, match="which no Git URL does") as caught:
        open_door(Remote(url), deadline=1)
    assert "git.example.com" in str(caught.value)
    assert not tells(str(caught.value))


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example.com/acme/shop.git",
        "https://git.example.com:8443/acme/%40team/shop",
        "http://[::1]:3000/shop.git",
        "ssh://git@git.example.com:2222/acme/shop.git",
        "ssh://git.example.com/~ann/shop.git",
        "git@git.example.com:acme/shop.git",
        "host.example.com:shop.git",
        "file:///srv/a b/shop.git",
        "/srv/ann@home/shop.git",
        "../shop#1.git",
    ],
)
def test_addresses_without_a_login_are_taken_as_they_are(url: str) -> None:
    table: dict[str, Any] = {"shop": {"url": url}}
    assert Config(repos=table).repos["shop"].url == url


# -- as people see it ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "broken"),
    [
        ("check --only-config", {"repos": {"shop": {"url": f"https://bot:{SECRET}@git.example.com/a.git"}}}),
        ("plan --log-level debug", {"repos": {"shop": {"url": "u", "credentials": SECRET}}}),
        ("run", {**SHOP, "registries": {f"bot:{SECRET}@ghcr.io": {}}}),
    ],
)
def test_no_command_tells_it(tmp_path: Path, command: str, broken: dict[str, Any]) -> None:
    world = World(tmp_path, "127.0.0.1:9")
    written(tmp_path, broken)
    done = world.run(*command.split())
    assert done.code == 2
    assert done.told_code in ("config/key", "config/together")
    assert not tells(done.out + done.err)


def test_an_address_is_told_without_what_follows_its_path(tmp_path: Path) -> None:
    world = World(tmp_path, "127.0.0.1:9")
    (tmp_path / "token").write_text("of-a-test-and-nothing-else-0123\n")
    hook = {
        "webhook": f"http://example.invalid/hook?key={SECRET}",
        "secret_file": "token",
        "token_file": "token",
    }
    written(tmp_path, {**SHOP, "notify": {"team": hook}})
    done = world.run("check", "--only-config").fine()
    assert "a login goes to http://example.invalid/hook in clear text" in done.err
    assert not tells(done.out + done.err)
