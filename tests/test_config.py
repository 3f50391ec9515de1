"""The config: where it is read from, what overrides what, and how it says no."""

import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter

from automator.config import Address, Config, load, parse_address
from automator.config.load import models_in
from automator.core.duration import format_duration, parse_duration
from automator.errors import ConfigError

EXAMPLE = Path(__file__).parents[1] / "config.example.toml"
SHOP = '[repos.shop]\nurl = "https://git.example.com/shop.git"\n'


def written(folder: Path, text: str) -> Path:
    file = folder / "config.toml"
    file.write_text(text)
    return file


def refusal(file: Path | None, environ: dict[str, str] | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(file, environ or {})
    return caught.value


# -- where it comes from -----------------------------------------------------------------------


def test_a_url_is_all_it_takes(tmp_path: Path) -> None:
    config = load(written(tmp_path, SHOP), {})
    assert config.repos["shop"].url == "https://git.example.com/shop.git"
    assert (config.repos["shop"].branch, config.repos["shop"].mode) == ("main", "write")
    assert config.state == tmp_path / "state"
    assert config.interval("shop") == timedelta(minutes=1)
    assert config.daemon.listen_address == Address("127.0.0.1", 8080)
    assert config.hooks_address is None


def test_file_is_the_option_then_the_variable_then_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("option", "variable", "here"):
        (tmp_path / name).mkdir()
        written(tmp_path / name, f'[repos.{name}]\nurl = "https://x/y"\n')
    monkeypatch.chdir(tmp_path / "here")
    variable = {"AUTOMATOR_CONFIG": str(tmp_path / "variable" / "config.toml")}
    assert set(load(tmp_path / "option" / "config.toml", variable).repos) == {"option"}
    assert set(load(None, variable).repos) == {"variable"}
    assert set(load(None, {}).repos) == {"here"}


def test_environment_wins_key_by_key(tmp_path: Path) -> None:
    file = written(tmp_path, SHOP + 'branch = "trunk"\n[repos.shop.author]\nname = "Bot"\n')
    config = load(
        file,
        {
            "AUTOMATOR_DAEMON__INTERVAL": "10s",
            "AUTOMATOR_REPOS__SHOP__MODE": "observe",
            "AUTOMATOR_REPOS__SHOP__AUTHOR__EMAIL": "bot@example.com",
            "AUTOMATOR_REPOS__SHOP__WRITE": "apps/**, infra/**",
            "AUTOMATOR_REPOS__SHOP__IGNORE": '["a,b/**"]',
            "AUTOMATOR_REGISTRIES__ghcr.io__INSECURE": "true",
            "AUTOMATOR_STATE": "/var/lib/automator",
        },
    )
    shop = config.repos["shop"]
    assert (shop.branch, shop.mode, shop.author.name) == ("trunk", "observe", "Bot")
    assert shop.author.email == "bot@example.com"
    assert (shop.write, shop.ignore) == (("apps/**", "infra/**"), ("a,b/**",))
    assert config.registries["ghcr.io"].insecure is True
    assert config.daemon.interval == timedelta(seconds=10)
    assert config.state == Path("/var/lib/automator")


def test_environment_alone_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = load(None, {"AUTOMATOR_REPOS__SHOP__URL": "ssh://git@git.example.com/shop"})
    assert config.repos["shop"].url == "ssh://git@git.example.com/shop"


def test_the_processes_own_environment_is_not_read_behind_the_callers_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOMATOR_DAEMON__INTERVAL", "7s")
    assert load(written(tmp_path, SHOP), {}).daemon.interval == timedelta(minutes=1)


def test_relative_paths_begin_at_the_config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    text = (
        'docker_config = "docker.json"\n[repos.shop]\nurl = "../shop.git"\n'
        '[repos.shop.credentials]\npassword_file = "token"\nssh_key_file = "/run/key"\n'
        '[repos.other]\nurl = "git@git.example.com:acme/other.git"\n'
    )
    file = written(tmp_path / "etc", text)
    monkeypatch.chdir(tmp_path)
    config = load(Path("etc/config.toml"), {})
    assert config == load(file, {})
    assert config.docker_config == (tmp_path / "etc" / "docker.json",)
    assert config.repos["shop"].url == str(tmp_path / "etc" / "../shop.git")
    assert config.repos["shop"].credentials.password_file == tmp_path / "etc" / "token"
    assert config.repos["shop"].credentials.ssh_key_file == Path("/run/key")
    assert config.repos["other"].url == "git@git.example.com:acme/other.git"


def test_variables_that_kubernetes_makes_for_a_service_are_no_keys(tmp_path: Path) -> None:
    environ = {"AUTOMATOR_PORT": "tcp://10.0.0.1:80", "AUTOMATOR_SERVICE_HOST": "10.0.0.1"}
    assert load(written(tmp_path, SHOP), environ).repos.keys() == {"shop"}


def test_fingerprint_changes_with_the_repos_settings_only(tmp_path: Path) -> None:
    file = written(tmp_path, SHOP + '[repos.other]\nurl = "https://x/other"\n')
    before = load(file, {}).fingerprint("shop")
    assert load(file, {"AUTOMATOR_REPOS__OTHER__BRANCH": "x"}).fingerprint("shop") == before
    assert load(file, {"AUTOMATOR_REPOS__SHOP__BRANCH": "x"}).fingerprint("shop") != before


# -- how it says no ----------------------------------------------------------------------------


def test_no_config_at_all_says_which_file_it_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    error = refusal(None)
    assert error.reason.code == "config/missing"
    assert str(tmp_path / "config.toml") in error.reason.sentence
    assert load(None, {}, require_repos=False).repos == {}


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nowhere.toml").reason.code == "config/missing"
    assert refusal(None, {"AUTOMATOR_CONFIG": str(tmp_path / "no")}).reason.code == "config/missing"
    assert refusal(tmp_path).reason.code == "config/unreadable"


def test_without_a_config_repo_there_is_nothing_to_do(tmp_path: Path) -> None:
    assert refusal(written(tmp_path, '[log]\nlevel = "debug"\n')).reason.code == "config/no-repos"


@pytest.mark.parametrize(("text", "line"), [("a = 1\nb = [\nc =\n", 3), ("a = 1\na = 2\n", 2)])
def test_broken_toml_names_file_and_line(tmp_path: Path, text: str, line: int) -> None:
    file = written(tmp_path, text)
    error = refusal(file)
    assert error.reason.code == "config/toml"
    assert error.reason.sentence.startswith(f"{file}:{line}: ")


@pytest.mark.parametrize(
    ("text", "key", "expected", "found"),
    [
        ('daemon = {interval = "5 minutes"}', "daemon.interval", "5m", "5 minutes"),
        ("daemon = {interval = 60}", "daemon.interval", "5m", "60"),
        ('daemon = {interval = "0s"}', "daemon.interval", "longer than zero", "0s"),
        ('daemon = {listen = "8080"}', "daemon.listen", "127.0.0.1:8080", "8080"),
        ('daemon = {listen = "localhost:99999"}', "daemon.listen", "127.0.0.1:8080", "99999"),
        ("daemon = 5", "daemon", "a table", "a number"),
        ('log = {level = "loud"}', "log.level", "'debug'", "loud"),
        ('repos.shop.url = ""', "repos.shop.url", "Git URL", '""'),
        ('repos.shop.branch = "x"', "repos.shop.url", "Where the config repo is", "nothing"),
        ('repos.shop = {url = "u", mode = "maybe"}', "repos.shop.mode", "'observe'", "maybe"),
        ('repos.shop = {url = "u", write = 5}', "repos.shop.write", "a list", "a number"),
        ('repos.shop = {url = "u", policies = "../x"}', "repos.shop.policies", "folder", "../x"),
        ('repos.shop = {url = "u", max_releases_per_cycle = 0}', "max_releases_per_cycle", "at least 1", "0"),
        ('repos.shop = {url = "u", max_lookups = "x"}', "repos.shop.max_lookups", "a whole number", "x"),
        ('registries."ghcr.io".insecure = "perhaps"', 'registries."ghcr.io".insecure', "true or false", "p"),
        ('state = ""', "state", "a path", '""'),
    ],
)
def test_a_wrong_value_names_file_key_expected_and_found(
    tmp_path: Path, text: str, key: str, expected: str, found: str
) -> None:
    file = written(tmp_path, text)
    error = refusal(file)
    assert error.reason.code == "config/key"
    before, _, after = error.reason.sentence.partition(", found ")
    assert str(file) in before
    assert key in before
    assert expected in before
    assert found in after


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("[demon]\n", "did you mean daemon?"),
        ("[daemon]\nintervall = 1\n", "did you mean interval?"),
        ('[repos.shop]\nurl = "u"\nbrnch = "x"\n', "did you mean branch?"),
        (
            '[repos.shop]\nurl = "u"\n[repos.shop.credentials]\npassword = "hunter2"\n',
            "did you mean password_file?",
        ),
        ('[registries."ghcr.io"]\nxyz = 1\n', "known here: ca_file, client_cert_file"),
        ("_env_file = 'x'\n", "known here"),
    ],
)
def test_an_unknown_key_is_an_error_with_the_likely_one(tmp_path: Path, text: str, meant: str) -> None:
    error = refusal(written(tmp_path, text))
    assert error.reason.code == "config/unknown-key"
    assert meant in error.reason.sentence
    assert "hunter2" not in f"{error.reason} {error.reason.next_step}"


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    error = refusal(written(tmp_path, '[daemon]\nintervall = 1\nlisten = "x"\n[log]\nlevel = "x"\n'))
    told = " ".join([error.reason.sentence, *error.__notes__])
    assert all(key in told for key in ("daemon.intervall", "daemon.listen", "log.level"))


def test_a_wrong_variable_is_named_itself(tmp_path: Path) -> None:
    file = written(tmp_path, SHOP)
    wrong = refusal(file, {"AUTOMATOR_DAEMON__INTERVAL": "often"}).reason
    assert "AUTOMATOR_DAEMON__INTERVAL" in wrong.sentence
    assert str(file) not in wrong.sentence
    unknown = refusal(file, {"AUTOMATOR_DEMON__INTERVAL": "1m"}).reason
    assert "AUTOMATOR_DEMON__INTERVAL" in unknown.sentence
    assert "did you mean daemon?" in unknown.sentence


def test_a_password_in_a_url_is_refused_and_not_repeated(tmp_path: Path) -> None:
    error = refusal(written(tmp_path, '[repos.shop]\nurl = "https://me:hunter2@git.example.com/x"\n'))
    assert "credentials" in error.reason.sentence
    assert "hunter2" not in error.reason.sentence


def test_half_a_credential_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, SHOP + '[repos.shop.credentials]\nusername = "me"\n')
    assert "password_file" in refusal(file).reason.sentence
    both = 'docker_config = "d"\ncredentials = {username = "u", password_file = "p"}\n'
    told = refusal(written(tmp_path, f'{SHOP}[registries."ghcr.io"]\n{both}')).reason.sentence
    assert "one of credentials, docker_config and login" in told


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ('[registries."m.example.com"]\nmirror_prefix = "hub"\n', "a mirror_of beside mirror_prefix"),
        ('[registries."m.example.com"]\nclient_key_file = "k"\n', "a client_cert_file beside"),
        ('[registries."m.example.com"]\nmirror_of = "Docker.io"\n', "a lower-case host"),
        (
            '[registries."a.example.com"]\nmirror_of = "docker.io"\n'
            '[registries."b.example.com"]\nmirror_of = "docker.io"\n',
            "one mirror of docker.io",
        ),
        (
            '[registries."docker.io"]\ninterval = "1m"\n'
            '[registries."b.example.com"]\nmirror_of = "docker.io"\n',
            'either registries."docker.io" or registries."b.example.com"',
        ),
        ('[keys.release]\ntimeout = "1s"\n', "either public_key_file or command"),
        ('[keys.release]\npublic_key_file = "k"\ncommand = ["true"]\n', "either public_key_file or command"),
        ('[keys."Re lease"]\npublic_key_file = "k"\n', "a name of lower-case letters"),
        ("[hooks.registry]\n", "a sender for hooks.registry, one of acr, "),
        ("[hooks.harbor]\n", "a secret_file for hooks.harbor"),
        ('[hooks.gar]\nsecret_file = "s"\n', "audience and email for hooks.gar"),
        ('[hooks.forge]\nsender = "svn"\n', "acr"),
        ('[hooks.github]\nsecret_file = "s"\nheader = "X-Mine"\n', "no header for hooks.github"),
        ('[hooks.acr]\nsecret_file = "s"\nheader = "X Mine:"\n', "the name of a header"),
        ('[hooks.dockerhub]\nsecret_file = "s"\nsigned = true\n', "no signed for hooks.dockerhub"),
        ('[hooks.hub]\nsender = "github"\nsecret_file = "s"\nsigned = true\n', "no signed for hooks.hub"),
        ('[hooks.nexus]\nsecret_file = "s"\n', "registry or registries for hooks.nexus"),
        ('[hooks.harbor]\nsecret_file = "s"\nregistry = "https://h.example.com"\n', "without a scheme"),
        ('[hooks.harbor]\nsecret_file = "s"\nregistry = "Harbor.example.com"\n', "a lower-case host"),
        ('[hooks.nexus]\nsecret_file = "s"\nregistries = {r = "h.example.com/x"}\n', "a lower-case host"),
        ('[hooks."a/b"]\nsender = "quay"\nsecret_file = "s"\n', "a name of lower-case letters"),
        ("[notify.team]\n", "either url_file or webhook"),
        ('[notify.team]\nurl_file = "u"\nwebhook = "https://x/y"\n', "either url_file or webhook"),
        ('[notify.team]\nwebhook = "https://x/y"\n', "a secret_file beside webhook"),
        ('[notify.team]\nwebhook = "https://u:p@x/y"\nsecret_file = "s"\n', "without user and password"),
        ('[notify.team]\nurl_file = "u"\nsecret_file = "s"\n', "a webhook beside secret_file"),
        ('[notify.team]\nurl_file = "u"\nformat = "cloudevents"\n', "a webhook beside format"),
        ('[notify.team]\nurl_file = "u"\nevents = []\n', "at least one of events"),
        ('[daemon]\npublic_url = "https://x.example.com"\n', "a token_file beside public_url"),
        ('[notify.team]\nurl_file = "u"\nevents = ["deployed"]\n', "'released'"),
        ('[notify."T eam"]\nurl_file = "u"\n', "a name of lower-case letters"),
    ],
)
def test_tables_that_cannot_work_are_refused(tmp_path: Path, tables: str, expected: str) -> None:
    error = refusal(written(tmp_path, SHOP + tables))
    assert error.reason.code in ("config/key", "config/together")
    assert expected in error.reason.sentence
    assert "found a table" not in error.reason.sentence, "of a table that is as it should be"


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ('repos.Shop.url = "u"', "the config", "repos.Shop"),
        ('registries."index.docker.io".insecure = true', "the config", "docker.io"),
        (
            'repos.shop = {url = "https://git.example.com/a/b.git", deliver = "pull-request"}',
            "the config",
            "a table of [forges] with the host of repos.shop.url, since it has deliver",
        ),
        (
            'repos.shop = {url = "u", credentials = {username = "ann"}}',
            "repos.shop.credentials",
            "a password_file beside username",
        ),
    ],
)
def test_settings_that_do_not_go_together_say_what_is_missing(
    tmp_path: Path, text: str, key: str, expected: str
) -> None:
    file = written(tmp_path, text)
    error = refusal(file)
    assert error.reason.code == "config/together"
    assert error.reason.sentence.startswith(f"{file}: {key}: expected ")
    assert expected in error.reason.sentence
    assert ", found " not in error.reason.sentence


@pytest.mark.parametrize(
    ("url", "is_fine"),
    [
        ("https://git.example.com/acme/shop.git", True),
        ("http://git.example.com/acme/shop.git", False),
        ("http://127.0.0.1.example.com/acme/shop.git", False),
        ("http://127.0.0.1:3000/acme/shop.git", True),
        ("http://localhost/acme/shop.git", True),
    ],
)
def test_a_forges_token_is_not_sent_in_the_clear(tmp_path: Path, url: str, is_fine: bool) -> None:
    host = url.partition("://")[2].partition("/")[0]
    repo = f'[repos.shop]\nurl = "{url}"\n[repos.shop.credentials]\nforge = true\n'
    file = written(tmp_path, f'{repo}[forges."{host}"]\nkind = "gitea"\ntoken_file = "t"\n')
    if is_fine:
        assert load(file, {}).repos["shop"].url == url
    else:
        assert "an https URL for repos.shop" in refusal(file).reason.sentence


@pytest.mark.parametrize(
    "owner", ["acme", "elsewhere.example.com/acme", "git.example.com", "git.example.com/"]
)
def test_who_is_told_of_releases_is_on_a_forge_of_the_config(tmp_path: Path, owner: str) -> None:
    forges = '[forges."git.example.com"]\nkind = "gitea"\ntoken_file = "t"\n'
    good = f'{SHOP}feedback = true\nfeedback_to = ["git.example.com/labs"]\n{forges}'
    assert load(written(tmp_path, good), {}).repos["shop"].feedback_to == ("git.example.com/labs",)
    wrong = good.replace("git.example.com/labs", owner)
    assert "in repos.shop.feedback_to" in refusal(written(tmp_path, wrong)).reason.sentence


def test_who_requires_signatures_signs(tmp_path: Path) -> None:
    required = f'{SHOP}%s[repos.shop.require_signed]\nallowed_signers_file = "a"\n'
    assert "a key in repos.shop.signing" in refusal(written(tmp_path, required % "")).reason.sentence
    for fine in ('mode = "observe"\n', '[repos.shop.signing]\nssh_key_file = "k"\n'):
        assert load(written(tmp_path, required % fine), {}).repos["shop"].require_signed is not None


def test_events_are_listened_to_where_somebody_may_send_them(tmp_path: Path) -> None:
    hook = '[hooks.quay]\nsecret_file = "s"\n'
    assert load(written(tmp_path, SHOP), {}).hooks_address is None
    assert load(written(tmp_path, SHOP + hook), {}).hooks_address == Address("", 8081)
    off = '[daemon]\nhooks_listen = ""\n'
    assert load(written(tmp_path, SHOP + hook + off), {}).hooks_address is None


@pytest.mark.parametrize("name", ["docker.io", "index.docker.io", "https://index.docker.io/v1/"])
def test_a_hook_may_name_docker_hub_as_senders_do(tmp_path: Path, name: str) -> None:
    hook = f'[hooks.nexus]\nsecret_file = "s"\nregistry = "{name}"\nregistries = {{hub = "{name}"}}\n'
    hooks = load(written(tmp_path, SHOP + hook), {}).hooks
    assert (hooks["nexus"].registry, hooks["nexus"].registries) == ("docker.io", {"hub": "docker.io"})


def test_nothing_can_be_changed_later(tmp_path: Path) -> None:
    config = load(written(tmp_path, SHOP), {})
    with pytest.raises(ValueError, match="frozen"):
        config.repos["shop"].branch = "other"


# -- the example -------------------------------------------------------------------------------


def keys(model: type[BaseModel], at: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """Every key of the config with its field; `*` stands for a name of the user's choice."""
    found: list[tuple[tuple[str, ...], Any]] = []
    for name, field in model.model_fields.items():
        named = str(field.annotation).startswith("dict[")
        found.append(((*at, name), field))
        for below in models_in(field.annotation):
            found += keys(below, (*at, name, "*") if named else (*at, name))
    return found


NAMED = {
    (table,) for table in ("repos", "registries", "forges", "checks", "keys", "hooks", "notify", "runtimes")
}
"""Tables of tables with names of the user's choice."""


def example() -> dict[tuple[str, ...], tuple[str, Any]]:
    """Every key of the example, set or commented out: the sentence above it and its value."""
    lines: dict[tuple[str, ...], tuple[str, Any]] = {}
    section: tuple[str, ...] = ()
    sentence = ""
    for line in EXAMPLE.read_text().splitlines():
        live = line.removeprefix("#")
        if line.startswith("# "):
            sentence += (" " if sentence else "") + line[2:]
        elif not line.strip() or line == "#":
            sentence = ""
        else:
            table = tomllib.loads(live)
            path: tuple[str, ...] = ()
            while live.startswith("[") and table not in ({}, [{}]):
                (name, table), *_ = table.items()
                path += ("*",) if path in NAMED else (name,)
            if live.startswith("["):
                section = path
                lines.setdefault(path[:-1] if path[-1] == "*" else path, (sentence, None))
            else:
                ((name, value),) = table.items()
                lines.setdefault((*section, name), (sentence, value))
    return lines


SHOWN = example()


@pytest.mark.parametrize(("path", "field"), [pytest.param(p, f, id=".".join(p)) for p, f in keys(Config)])
def test_every_key_is_in_the_example_with_its_sentence_and_default(path: tuple[str, ...], field: Any) -> None:
    assert path in SHOWN, "config.example.toml lacks this key"
    sentence, value = SHOWN[path]
    assert sentence == field.description
    if list(models_in(field.annotation)):
        return  # a table: its keys are checked one by one
    reader = TypeAdapter(annotated(field))
    default = field.examples[0] if field.is_required() or field.default is None else field.default
    assert reader.validate_python(value) == reader.validate_python(default)


def annotated(field: Any) -> Any:
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def test_the_example_has_no_key_that_does_not_exist() -> None:
    assert set(SHOWN) - {path for path, _ in keys(Config)} == set()


def test_the_example_works_as_it_stands_and_with_every_line_on(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    as_it_stands = load(written(tmp_path, text), {})
    assert as_it_stands.repos["shop"].branch == "main"
    everything = re.sub(r"^#(?=[^\s#])", "", text, flags=re.MULTILINE)
    assert load(written(tmp_path, everything), {}).registries["ghcr.io"].credentials is not None


# -- durations and addresses -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("5m", 300), ("1h30m", 5400), ("2d", 172_800), ("1w", 604_800), ("0s", 0)],
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "5 m", "-5m", "m", "1m1h", "1m1m", "1.5h", "5M", "٣s", "4000d", "1h\n"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="a duration"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10 * 365 * 86_400))
def test_a_duration_reads_back_as_written(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        (":8080", Address("", 8080)),
        ("[::1]:0", Address("::1", 0)),
        ("", None),
    ],
)
def test_addresses(text: str, address: Address | None) -> None:
    assert parse_address(text) == address
