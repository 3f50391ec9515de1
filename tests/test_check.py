"""`check` on a plain folder: no Git, no network, everything wrong named by file and line."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from parts.registry import HostileServer, Received, Reply
from parts.world import Completed, EmbeddedWorld, World, deployment

from automator.demo import tour

IMAGE = "registry.example.com/acme/web"
POLICY = f'version: 1\nworkloads:\n  web:\n    image: {IMAGE}\n    semver: ">=1.0 <2"\n'


class Folder:
    """A checkout as a pipeline has it, and the command on it, with nothing but Python on PATH."""

    def __init__(self, root: Path) -> None:
        self.path = root / "checkout"
        self.path.mkdir(parents=True)
        self.world = World(root, "127.0.0.1:9")
        self.world.config.unlink()
        self.write({"policies/shop.yaml": POLICY, "apps/web.yaml": deployment(f"{IMAGE}:1.0.0")})

    def write(self, files: dict[str, str | bytes]) -> None:
        for name, content in files.items():
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode() if isinstance(content, str) else content)

    def check(self, *options: str) -> Completed:
        return self.world.run("check", *options, cwd=self.path, env={"PATH": os.defpath + ":/nowhere"})

    def findings(self, *options: str) -> list[tuple[str, str, str]]:
        """Level, place and code of each finding."""
        told = self.check("--output", "json", *options).json
        return [(f["level"], f["place"], f["reason"]["code"]) for f in told["findings"]]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_nothing_wrong(folder: Folder) -> None:
    done = folder.check()
    assert (done.code, done.out, done.err) == (0, "1 workload, 1 site: 0 errors, 0 warnings\n", "")
    assert folder.check("--strict").code == 0


def test_every_file_that_cannot_be_read_is_named_and_only_a_warning(folder: Folder) -> None:
    folder.write(
        {
            "apps/binary.yaml": b"image: \x00\x01\xff\n",
            "apps/broken.yaml": f"spec: [\nimage: {IMAGE}:1.0.0\n}}\n",
            "apps/large.yaml": f"image: {IMAGE}:1.0.0\n" + "key: value\n" * 1_900_000,
            "apps/template.yaml": "image: web\n{{- if .Values.on\nx: {{ .Values.x\n{{- end\n",
            "vendor/.git": "gitdir: ../.git/modules/vendor\n",
            "vendor/apps/web.yaml": deployment(f"{IMAGE}:1.0.0"),
        }
    )
    (folder.path / "apps/link.yaml").symlink_to("web.yaml")
    (folder.path / "apps/elsewhere.yaml").symlink_to("/etc/hostname")
    assert (folder.path / "apps/large.yaml").stat().st_size > 20_000_000
    found = {(place, code) for level, place, code in folder.findings() if level == "warning"}
    assert found == {
        ("apps/binary.yaml", "file/unreadable"),
        ("apps/broken.yaml", "file/unreadable"),
        ("apps/elsewhere.yaml", "file/symlink"),
        ("apps/large.yaml", "file/unreadable"),
        ("apps/link.yaml", "file/symlink"),
        ("apps/template.yaml", "file/unreadable"),
        ("vendor", "file/submodule"),
    }
    done = folder.check()
    assert done.code == 0
    assert done.out.endswith("1 workload, 1 site: 0 errors, 7 warnings\n")
    assert folder.check("--strict").code == 1


def test_policy_errors_name_file_line_and_key(folder: Folder) -> None:
    folder.write(
        {
            "policies/wrong.yaml": (
                "version: 1\nworkloads:\n"
                "  number:\n    image: a.example/n\n    semver: 1.10\n"
                "  unknown:\n    image: a.example/u\n    semvr: '1.x'\n"
                "  range:\n    image: a.example/r\n    semver: '>>1'\n"
                "  nothing:\n    image: a.example/x\n"
            ),
            "policies/yaml.yaml": "version: 1\nworkloads: [\n",
        }
    )
    done = folder.check()
    assert done.code == 1
    told = [line.split()[1].split(":")[:2] for line in done.out.splitlines() if line.startswith("error: ")]
    assert told == [
        ["policies/wrong.yaml", "5"],
        ["policies/wrong.yaml", "8"],
        ["policies/wrong.yaml", "11"],
        ["policies/wrong.yaml", "12"],
        ["policies/yaml.yaml", "3"],
    ]
    assert done.out.startswith(
        "error: policies/wrong.yaml:5:13: workloads.number.semver is the number 1.10 to YAML, expected text"
        "  [policy/unquoted]\n"
        "  5 |     semver: 1.10\n"
        "    |             ^^^^\n"
        '  next: put it in quotes: "1.10"\n'
    )
    assert "workloads.unknown.semvr is no key of a policy file  [policy/unknown-key]\n" in done.out
    assert "  next: did you mean `semver`?\n" in done.out


def test_two_claims_on_one_site_are_an_error_for_both(folder: Folder) -> None:
    folder.write({"policies/second.yaml": POLICY.replace("  web:", "  shadow:")})
    assert folder.findings() == [
        ("error", "policies/second.yaml:3", "claim/twice"),
        ("error", "policies/shop.yaml:3", "claim/twice"),
    ]


def test_what_will_surprise_is_a_warning(folder: Folder) -> None:
    folder.write(
        {
            "policies/more.yaml": POLICY.replace("web", "nowhere"),
            "staging/web.yaml": deployment(f"{IMAGE}:1.1.0"),
        }
    )
    assert folder.findings() == [
        ("warning", "policies/more.yaml:3", "site/none"),
        ("warning", "policies/shop.yaml:3", "site/differ"),
    ]


FLUX = '# {{"$imagepolicy": "{}"}}'
UNKNOWN = "the Flux marker on line 1 names {}, and no ImagePolicy in the config repo is called so"
IMAGE_POLICY = (
    "apiVersion: image.toolkit.fluxcd.io/v1\nkind: ImagePolicy\n"
    "metadata: {name: web, namespace: flux-system}\n"
)


def test_markers_that_cannot_work_are_warnings_with_their_line(folder: Folder) -> None:
    live, stray = FLUX.format("flux-system:web"), FLUX.format("flux-system:wbe")
    other = f"image: ghcr.io/acme/other:1 {live}\n"
    folder.write(
        {
            "flux/policy.yaml": IMAGE_POLICY,
            "apps/live.yaml": f"{live}\n{other}---\nspec:\n  sidecars:\n  - {other}",
            "apps/dead.yaml": f"values: |\n  {other}tag: 1.2 {live}\nof: {live}\n# automator: web\nx: y\n",
            "apps/stray.yaml": f"image: ghcr.io/acme/other:1 {stray}\n",
            "apps/team.yaml": other.replace("flux-system", "team"),
            "apps/broken.yaml": f"a: [\n{other}",
        }
    )
    done = folder.check("--output", "json")
    assert done.code == 0
    found = [(f["place"], f["reason"]["sentence"]) for f in done.json["findings"]]
    assert [place for place, _ in found] == sorted(place for place, _ in found)
    assert [one for one in found if one[0] != "apps/broken.yaml"] == [
        ("apps/broken.yaml:2", "the Flux marker on line 2 has no effect: the file is no YAML"),
        ("apps/dead.yaml:2", "the Flux marker on line 2 is text of a block scalar, no comment"),
        (
            "apps/dead.yaml:3",
            "the Flux marker on line 3 wants an image reference, and stands at a tag alone",
        ),
        ("apps/dead.yaml:4", "the Flux marker on line 4 stands at no value"),
        ("apps/dead.yaml:5", "the comment on line 5 gives no site to web: no image is found there"),
        ("apps/stray.yaml:1", UNKNOWN.format("flux-system:wbe")),
        ("apps/team.yaml:1", UNKNOWN.format("team:web")),
    ]
    assert folder.check("--strict").code == 1


def test_without_any_image_policy_no_marker_is_of_an_unknown_one(folder: Folder) -> None:
    folder.write({"apps/other.yaml": f"image: ghcr.io/acme/other:1 {FLUX.format('flux-system:other')}\n"})
    assert folder.findings() == []


def test_a_site_that_flux_writes_too_is_a_warning(folder: Folder) -> None:
    live = FLUX.format("flux-system:web")
    folder.write(
        {
            "apps/web.yaml": deployment(f"{IMAGE}:1.0.0").replace("# the version", live),
            "apps/chart.yaml": f"web:\n  from: {IMAGE} {FLUX.format('flux-system:web:name')}\n"
            f"  at: 1.0.0 {FLUX.format('flux-system:web:tag')}\n",
            "apps/text.yaml": f"values: |\n  image: {IMAGE}:1.0.0 {live}\n",
        }
    )
    done = folder.check("--output", "json")
    assert done.json["sites"] == 3
    assert [(f["place"], f["reason"]["code"]) for f in done.json["findings"]] == [
        ("apps/chart.yaml:3", "marker/shared"),
        ("apps/text.yaml:2", "marker/text"),
        ("apps/web.yaml:13", "marker/shared"),
    ]
    assert done.json["findings"][0]["reason"]["sentence"] == (
        "Flux also writes at apps/chart.yaml#web.at: its marker names the policy flux-system:web"
    )


def test_a_policy_that_asks_for_a_marker_nobody_wrote_is_told_so(folder: Folder) -> None:
    asks = POLICY + "    where: {marker: flux-system:web}\n"
    folder.write({"policies/shop.yaml": asks})
    done = folder.check("--output", "json")
    assert [(f["level"], f["place"], f["reason"]["sentence"]) for f in done.json["findings"]] == [
        (
            "warning",
            "policies/shop.yaml:3",
            "no file has a marker of the Flux policy flux-system:web, which `where.marker` of web names",
        )
    ]
    folder.write({"apps/at.yaml": f"at: 1.0.0 {FLUX.format('flux-system:web:tag')}\n"})
    assert folder.findings() == [("warning", "apps/at.yaml:1", "marker/shared")]


def test_the_demo_has_nothing_to_warn_of(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    host = "127.0.0.1:5000"
    folder.write(
        {
            "policies/shop.yaml": tour.POLICY.format(host=host),
            "apps/web.yaml": tour.DEPLOYMENT.format(host=host),
        }
    )
    assert folder.findings("--coverage") == []


def test_a_folder_without_policies_is_named(folder: Folder) -> None:
    assert folder.findings("--policies", "rules") == [("warning", "policies", "policy/none")]


def test_settings_of_the_config_count(folder: Folder) -> None:
    folder.write(
        {
            "../config.toml": '[repos.shop]\nurl = "/r"\npolicies = "rules"\nignore = ["apps/broken.yaml"]\n',
            "rules/shop.yaml": POLICY,
            "policies/shop.yaml": "not: a policy here\n",
            "apps/broken.yaml": f"spec: [\nimage: {IMAGE}:1.0.0\n}}\n",
        }
    )
    done = folder.check("--config", "../config.toml")
    assert (done.code, done.out) == (0, "1 workload, 1 site: 0 errors, 0 warnings\n")
    config = folder.world.config
    config.write_text(config.read_text() + '[repos.other]\nurl = "/s"\n')
    done = folder.check("--config", "../config.toml")
    assert done.code == 2
    assert "the config has several repos (other, shop)" in done.err
    assert folder.check("--config", "../config.toml", "--repo", "shop").code == 0


def test_rules_of_the_config_count(folder: Folder) -> None:
    folder.write({"../config.toml": '[[rules]]\nrequire = ["owner"]\n'})
    done = folder.check("--config", "../config.toml")
    assert done.code == 1
    assert done.out.startswith("error: policies/shop.yaml:3:")
    assert "[rule/violated]" in done.out


# -- what will surprise -------------------------------------------------------------------------------


def test_warnings_of_policies_fail_only_when_asked_to(folder: Folder) -> None:
    folder.write({"policies/shop.yaml": POLICY.replace(">=1.0 <2", ">=1.0.0-0 <2")})
    assert folder.findings() == [("warning", "policies/shop.yaml:5", "lint/upper-prerelease")]
    assert folder.check().code == 0
    done = folder.check("--strict")
    assert done.code == 1
    assert done.out.endswith("1 workload, 1 site: 0 errors, 1 warning; --strict: warnings fail\n")


def test_coverage_is_told_only_when_asked_for(folder: Folder) -> None:
    folder.write({"apps/api.yaml": deployment("registry.example.com/acme/api:1.0.0")})
    assert folder.findings() == []
    assert folder.findings("--coverage") == [("warning", "apps/api.yaml:13", "lint/unowned")]


ONLINE = "version: 1\nworkloads:\n"


def online(world: World, *options: str, **ranges: str) -> Completed:
    """`check --online` of a folder with workloads of these ranges."""
    root = world.root / "checkout"
    (root / "policies").mkdir(parents=True, exist_ok=True)
    (root / "apps").mkdir(exist_ok=True)
    told = "".join(
        f"  {name}:\n    image: {world.image(name)}\n    semver: '{wanted}'\n"
        for name, wanted in ranges.items()
    )
    (root / "policies/shop.yaml").write_text(ONLINE + told)
    for name in ranges:
        (root / f"apps/{name}.yaml").write_text(deployment(world.image(name, "1.0.0")))
    return world.run("check", "checkout", "--config", str(world.config), "--online", *options)


def test_online_judges_by_the_tags_that_there_are(tmp_path: Path) -> None:
    with EmbeddedWorld(tmp_path) as world:
        world.push("web", "1.0.0", "1.1.0")
        world.push("api", "1.0.0")
        done = online(world, web=">=1.0", api=">=2.0", gone=">=1.0").fine()
    lines = done.out.splitlines()
    image = world.image("api")
    assert (
        f"warning: policies/shop.yaml:6:3: the policy of api takes no tag of {image} (1 there): "
        'for 1.0.0, it lies outside ">=2.0"  [lint/no-tag]'
    ) in lines
    (silent,) = [line for line in lines if line.endswith("[lint/no-list]")]
    assert silent.startswith(f"warning: policies/shop.yaml:10:12: {world.image('gone')} could not be asked")
    assert lines[-1] == "3 workloads, 3 sites: 0 errors, 2 warnings"


def test_online_asks_each_repository_once(tmp_path: Path) -> None:
    def behave(asked: Received) -> Reply:
        if asked.path.endswith("/tags/list"):
            return Reply(body=b'{"name": "acme/web", "tags": ["1.0.0"]}')
        return Reply()

    with HostileServer(behave) as server:
        world = World(tmp_path, server.host)
        root = tmp_path / "checkout/policies"
        root.mkdir(parents=True)
        (root / "shop.yaml").write_text(
            "version: 1\ndefaults:\n"
            f"  image: {world.image('web')}\n  semver: '>=1.0'\nworkloads:\n"
            "  a: {where: {paths: [a]}}\n  b: {where: {paths: [b]}}\n"
        )
        done = world.run("check", "checkout", "--config", str(world.config), "--online")
        assert done.code == 0
        assert [path for path in server.paths() if "tags" in path] == ["GET /v2/acme/web/tags/list"]
    assert "lint/no" not in done.out


def test_without_online_no_registry_is_asked(tmp_path: Path) -> None:
    with HostileServer(lambda _: Reply(status=500)) as server:
        world = World(tmp_path, server.host)
        assert "--online" in online(world, "--help", web=">=1.0").out
        done = world.run("check", "checkout", "--config", str(world.config))
        assert (done.code, server.received) == (0, [])


def test_only_the_config_is_tried_as_a_reload_does(folder: Folder) -> None:
    """Several config repos need no `--repo`, no policy is looked at, and secrets are read."""
    secret, config = folder.world.root / "secret", folder.world.config
    secret.write_text("of-a-test-and-nothing-else-0123\n")
    good = (
        '[repos.shop]\nurl = "https://git.example.invalid/shop.git"\ncredentials.password_file = "secret"\n'
        '[repos.stock]\nurl = "https://git.example.invalid/stock.git"\n'
        '[notify.team]\nwebhook = "https://example.invalid/"\nsecret_file = "secret"\n'
    )
    config.write_text(good)
    folder.write({"policies/shop.yaml": "no: [policy"})

    def tried() -> Completed:
        return folder.world.run("check", "--only-config")

    done = tried()
    assert (done.code, done.err, done.out.splitlines()[0:1]) == (0, "", ["2 config repos: 0 errors"])
    assert "Only the daemon itself can find: addresses to listen at" in done.out
    assert not folder.world.state.exists(), "the daemon's state is not touched"
    secret.write_text("\n")
    told = folder.world.run("check", "--only-config", "--output", "json")
    assert told.code == 1
    assert [(e["code"], e["sentence"]) for e in told.json["errors"]] == [
        ("config/file", f"{key}: the file {secret} cannot be used: it is empty")
        for key in ("repos.shop.credentials.password_file", "notify.team.secret_file")
    ]
    secret.unlink()
    assert "repos.shop.credentials.password_file: the file" in tried().err
    for broken, words in (
        ('[commit]\nsubject = "{{ nothing }}"\n', "nothing"),
        ('[notify.mail]\nwebhook = "https://example.invalid/"\ntext = "{{ item"\n', "notify.mail"),
        ('[repos.third]\nurl = "https://user:password@git.example.invalid/x.git"\n', "password"),
    ):
        config.write_text(good + broken)
        refused = tried()
        assert refused.code == 2, broken
        assert words in refused.err


PLAIN = "http://git.example.invalid/shop.git"
HERE = "http://127.0.0.1:3000/shop.git"


def test_a_login_that_goes_in_clear_text_is_a_warning(folder: Folder) -> None:
    (folder.world.root / "secret").write_text("of-a-test-and-nothing-else-0123\n")
    login = 'credentials.password_file = "secret"\n'
    folder.world.config.write_text(
        f'[repos.shop]\nurl = "{PLAIN}"\n{login}'
        f'[repos.here]\nurl = "{HERE}"\n{login}'
        f'[repos.open]\nurl = "{PLAIN}"\n'
        f'[repos.tls]\nurl = "{PLAIN.replace("http:", "https:")}"\n{login}'
        '[forges."git.example.invalid"]\nkind = "gitea"\napi = "http://git.example.invalid/api/v1"\n'
        'token_file = "secret"\n'
        '[checks.healthy]\nurl = "http://example.invalid/"\ntoken_file = "secret"\n'
        '[checks.open]\nurl = "http://example.invalid/"\n'
        '[notify.team]\nwebhook = "http://example.invalid/"\nsecret_file = "secret"\ntoken_file = "secret"\n'
        '[notify.signed]\nwebhook = "http://example.invalid/"\nsecret_file = "secret"\n'
    )
    done = folder.world.run("check", "--only-config").fine()
    assert done.err.count("warning: ") == 4
    assert (
        f"warning: repos.shop.url: a login goes to {PLAIN} in clear text  [config/clear-text]\n" in done.err
    )
    told = folder.world.run("check", "--only-config", "--output", "json").fine().json["warnings"]
    assert {why["code"] for why in told} == {"config/clear-text"}
    assert [why["sentence"].partition(": ")[0] for why in told] == [
        "repos.shop.url", 'forges."git.example.invalid".api', "checks.healthy.url", "notify.team.webhook"
    ]  # fmt: skip


def test_once_and_the_daemon_tell_of_a_login_in_clear_text(folder: Folder) -> None:
    world = folder.world
    (world.root / "secret").write_text("of-a-test-and-nothing-else-0123\n")
    # Nobody answers there: a name below .invalid leads nowhere (RFC 2606).
    world.configure(url=PLAIN, repo='credentials.password_file = "secret"')
    told = f"repos.shop.url: a login goes to {PLAIN} in clear text"
    assert f"warning: {told}  [config/clear-text]\n" in world.run("once").err
    with world.start("run") as daemon:
        daemon.until(lambda: told in daemon.text, "the warning")
        daemon.until(daemon.cycles, "a cycle in vain")
        assert daemon.end() == 0
    assert daemon.text.count(told) == 1
    assert "warning: repos.shop.url" not in world.run("status").err


def test_a_secret_that_everybody_may_read_is_a_warning(folder: Folder) -> None:
    world = folder.world
    # Others cannot get at what is below the tests' own folder, whatever the modes of its files.
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        token, key, ca = (Path(place, name) for name in ("token", "key", "ca.pem"))
        for file, mode in ((token, 0o646), (key, 0o440), (ca, 0o644)):
            file.write_text("of-a-test-and-nothing-else-0123\n")
            file.chmod(mode)
        login = f'password_file = "{token}"\nca_file = "{ca}"'
        more = f'[forges."git.example.invalid"]\nkind = "gitea"\ntoken_file = "{key}"\n'
        world.configure(repo=f"[repos.shop.credentials]\n{login}", more=more)
        assert world.run("check", "--only-config").fine().err == ""
        Path(place).chmod(0o755)
        key_of_it = "repos.shop.credentials.password_file"
        told = f"{key_of_it}: everybody on this machine may read and write the file {token}"
        line = f"warning: {told}  [config/open-file]\n"
        assert world.run("check", "--only-config").fine().err == line
        warnings = world.run("check", "--only-config", "--output", "json").fine().json["warnings"]
        assert [why["code"] for why in warnings] == ["config/open-file"]
        assert line in world.run("once").err
        token.chmod(0o400)
        ca.chmod(0o666)
        assert f"may read and write the file {ca}" in world.run("check", "--only-config").fine().err
        docker = Path(place, "config.json")
        docker.write_text("{}")
        docker.chmod(0o644)
        world.config.write_text(f'docker_config = "{place}"\n{world.config.read_text()}')
        told = f"docker_config: everybody on this machine may read the file {docker}"
        assert told in world.run("check", "--only-config").fine().err
