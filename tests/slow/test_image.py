"""The image, made of Debian's packages by buildah: what is in it, and one release made by it.

It runs as its own user with a root that is read-only and one folder that is not, as process 1.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from parts import registry as registries
from parts.gitserver import BareRepo, http_git, ssh_git
from parts.imageroot import Image, mounted
from parts.registry import KEY_AND_CERTIFICATE, DockerRegistry
from parts.world import deployment
from ruamel.yaml import YAML

import automator

ROOT = Path(__file__).parents[2]
ON_CI = os.environ.get("CI", "") not in ("", "0", "false")
NAME = "localhost/automator:tested"
LARGEST = 300_000_000
"""Bytes of all files in the image."""
NEEDED = {"automator", "git", "python3", "ssh", "ssh-keygen"}
UNWANTED = re.compile(
    r"(gcc|g\+\+|cc|c\+\+|c[89]9|cpp|clang|tcc|ld|as|make|cmake|pip|easy_install|wheel|curl|wget|perl|gpg-agent)(-?[\d.]+)?"
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs("buildah", "debootstrap"),
    pytest.mark.timeout(1200),
]


def _impossible(sentence: str) -> None:
    (pytest.fail if ON_CI else pytest.skip)(sentence)


def _build(folder: Path, buildah: dict[str, str], canary: str) -> None:
    # What a build is told in secret may be in no file of the image, and in nothing that is said of it.
    settings = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    told = dict(re.findall(r"^(?:global|:env:)\.([a-z-]+)='(.*)'$", settings, re.M))
    kept = {k: v for k, v in told.items() if k in ("index-url", "cert", "proxy", "trusted-host")}
    conf = folder / "pip.conf"
    conf.write_text(f"# {canary}\n[global]\n" + "".join(f"{k} = {v}\n" for k, v in kept.items()))
    done = subprocess.run(
        ["make", "--no-print-directory", "image", f"IMAGE={NAME}"],
        cwd=ROOT,
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k != "MFLAGS"},
            **buildah,
            "ENGINE": "buildah",
            "PIP_CONF": str(conf),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    (folder / "build.log").write_text(done.stdout)
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-15:])
        if re.search("Temporary failure|Could not resolve|no such host|Failed getting release", tail):
            _impossible(f"no package source can be reached to build the image of:\n{tail}")
        pytest.fail(f"the image cannot be built:\n{tail}", pytrace=False)
    (folder / "built").touch()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """Built once for all processes of a run, in a storage of its own."""
    if os.geteuid() != 0:
        _impossible("debootstrap and mounts need root")
    common = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        common = common.parent
    folder = common / "image"
    folder.mkdir(exist_ok=True)
    storage = folder / "storage.conf"
    storage.write_text(
        f'[storage]\ndriver = "vfs"\nrunroot = "{folder}/run"\ngraphroot = "{folder}/storage"\n'
    )
    buildah = {"CONTAINERS_STORAGE_CONF": str(storage), "BUILDAH_ISOLATION": "chroot"}
    users = folder / "users"
    with _locked(folder):
        canary = folder / "canary"
        if not users.exists():
            canary.write_text(f"canary-{secrets.token_hex(16)}")
            users.write_text("0")
            _build(folder, buildah, canary.read_text())
        elif not (folder / "built").exists():
            _impossible("the image could not be built")
        users.write_text(str(int(users.read_text()) + 1))
        made = mounted(NAME, buildah)
    yield made
    with _locked(folder):
        users.write_text(str(int(users.read_text()) - 1))
        if users.read_text() == "0":  # the last one removes a gigabyte
            shutil.rmtree(folder / "storage")
            users.unlink()
            (folder / "built").unlink()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="module")
def canary(image: Image) -> bytes:
    """What the build was told in secret."""
    return next(p for p in image.root.parents if p.name == "image").joinpath("canary").read_bytes()


def _size(root: Path) -> int:
    return sum(p.lstat().st_size for p in root.rglob("*") if p.is_file() and not p.is_symlink())


def test_it_says_what_it_is(image: Image) -> None:
    config = image.config
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["automator"]
    assert config["Cmd"] == ["run"]
    assert config["Volumes"].keys() == {"/var/lib/automator"}
    assert config["Healthcheck"]["Test"] == ["CMD", "automator", "health"]
    labels = {k.rpartition(".")[2]: v for k, v in config["Labels"].items() if "opencontainers" in k}
    assert labels.keys() == {"title", "description", "licenses", "version", "revision", "created"}
    assert labels["version"] == automator.__version__
    assert labels["licenses"] == "Apache-2.0"
    assert re.fullmatch(r"[0-9a-f]{40}|unknown", labels["revision"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", labels["created"])
    done = image.run("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"automator {automator.__version__} (YAML scanner: libyaml)\n"


def test_nothing_is_in_it_that_only_a_build_needs(image: Image, canary: bytes) -> None:
    root = image.root
    folders = [root / "opt/automator/bin"]
    folders += [root / "usr" / name for name in ("bin", "sbin", "local/bin", "local/sbin")]
    programs = {p.name for folder in folders if folder.exists() for p in folder.iterdir()}
    assert programs >= NEEDED
    assert {name for name in programs if UNWANTED.fullmatch(name)} == set()
    assert image.layers <= 2, "what a layer removes would still be in the one below"
    done = image.run("--", "/opt/automator/bin/python", "-c", "import apprise")
    assert done.returncode == 0, "chats and mail are what most want to be told by"
    done = image.run("--", "/usr/bin/python3", "-c", "import pip")
    assert "No module named 'pip'" in done.stderr
    done = image.run("--", "/opt/automator/bin/python", "-c", "import pip")
    assert "No module named 'pip'" in done.stderr

    left = [*(root / "var/cache").rglob("*"), *(root / "var/lib/apt/lists").rglob("*")]
    left += [*(root / "root").glob(".*"), *(root / "tmp").iterdir(), *(root / "run/secrets").rglob("*")]
    left += [*(root / "etc/apt").rglob("*.list"), *(root / "etc/apt").rglob("*.sources")]
    assert left == []
    files = [p for p in root.rglob("*") if p.is_file() and not p.is_symlink()]
    assert [p for p in files if p.stat().st_mode & 0o6000] == [], "nobody becomes somebody else"
    assert [p for p in files if canary in p.read_bytes()] == []
    assert canary.decode() not in image.said
    assert not (root / "etc/pip.conf").exists()
    # Nothing can be written where it runs, so nothing is left to compile.
    ours = next((root / "opt/automator/lib").glob("python3*/site-packages"))
    sources = list((ours / "automator").rglob("*.py"))
    assert sources
    assert [p for p in sources if not [*(p.parent / "__pycache__").glob(f"{p.stem}.*.pyc")]] == []
    assert {p.stat().st_uid for p in ours.rglob("*")} == {0}, "its user could change what it runs"

    size = _size(root)
    print(f"{image.name}: {size / 1e6:.0f} MB")
    assert size < LARGEST


def _released(repo: BareRepo, name: str) -> bool:
    return repo.log()[0] == f"Release {name} 1.1.0"


@pytest.mark.needs("docker-registry", "skopeo", "openssh-server")
def test_it_makes_releases_over_https_and_ssh(image: Image, tmp_path: Path) -> None:
    """With one folder to write in, as its own user, and it ends with 0 when it is told to."""
    tmp_path.chmod(0o755)
    state, etc = tmp_path / "state", tmp_path / "etc"
    for folder in (state, etc):
        folder.mkdir()
        os.chown(folder, 10001, 10001)
    (tmp_path / "tls.pem").write_text(KEY_AND_CERTIFICATE)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (
        DockerRegistry(tmp_path / "registry") as registry,
        ssh_git(tmp_path / "sshd") as ssh,
        http_git(tmp_path / "git", {"automator": "secret"}, tls=tmp_path / "tls.pem") as http,
    ):
        repos = {}
        for name in ("web", "api"):
            registries.push_image(registry.host, f"acme/{name}", "1.0.0")
            place = f"{registry.host}/acme/{name}"
            policy = f'version: 1\nworkloads:\n  {name}:\n    image: {place}\n    semver: ">=1.0 <2"\n'
            files = {f"apps/{name}.yaml": deployment(f"{place}:1.0.0", name), "policies/shop.yaml": policy}
            repos[name] = BareRepo.create(tmp_path / "git" / f"{name}.git", files)
        (etc / "ca.pem").write_text(KEY_AND_CERTIFICATE.partition("-----END PRIVATE KEY-----\n")[2])
        shutil.copy(ssh.key_file, etc / "deploy-key")
        shutil.copy(ssh.known_hosts_file, etc / "known_hosts")
        (etc / "git-token").write_text("secret\n")
        (etc / "config.toml").write_text(
            f'[repos.web]\nurl = "{http.url(repos["web"])}"\n'
            '[repos.web.credentials]\nusername = "automator"\npassword_file = "/etc/automator/git-token"\n'
            'ca_file = "/etc/automator/ca.pem"\n'
            f'[repos.api]\nurl = "{ssh.url(repos["api"])}"\n'
            '[repos.api.credentials]\nssh_key_file = "/etc/automator/deploy-key"\n'
            'known_hosts_file = "/etc/automator/known_hosts"\n'
            f'[registries."{registry.host}"]\ninsecure = true\n[daemon]\ninterval = "1s"\n'
        )
        for path in etc.iterdir():
            os.chown(path, 10001, 10001)
            path.chmod(0o400)
        binds = {state: "/var/lib/automator", etc: "/etc/automator"}
        # The image's own port may be taken on a machine that runs several tests.
        env = {"AUTOMATOR_DAEMON__LISTEN": f"127.0.0.1:{port}"}
        with image.start(tmp_path / "log", binds=binds, env=env) as daemon:
            daemon.until(lambda: len(daemon.cycles()) >= 2, "the first cycles")
            for name, repo in repos.items():
                registries.push_image(registry.host, f"acme/{name}", "1.1.0")
                daemon.until(partial(_released, repo, name), "the release")
            health = image.run("health", binds=binds, env=env)
            assert health.returncode == 0, health.stderr
            for page in ("/", "/metrics", "/api/v1/workloads"):
                assert daemon.get(page).status_code == 200, page
            for path in ("/usr/lib", "/etc/automator", "/opt/automator", "/tmp"):
                refused = image.run("--", "touch", f"{path}/file", binds=binds)
                assert "Read-only file system" in refused.stderr
            assert daemon.end() == 0, daemon.text
        health = image.run("health", binds=binds, env=env)
        assert health.returncode == 1
    assert (state / "automator.sqlite").stat().st_uid == 10001
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_the_loop_at_home_runs_in_it(image: Image, tmp_path: Path) -> None:
    """deploy/loop/compose.yaml has it serve Git, synchronize and push images, beside what it is for."""
    loop = ROOT / "deploy/loop"
    services = YAML(typ="safe").load((loop / "compose.yaml").read_text())["services"]
    tmp_path.chmod(0o755)
    states = {name: tmp_path / name for name in ("git", "sync", "automator")}
    for folder in states.values():
        folder.mkdir()
        os.chown(folder, 10001, 10001)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def words(name: str) -> list[str]:
        told = [*services[name]["entrypoint"], *services[name]["command"]]
        places = {"/loop": "/srv", "0.0.0.0:8418": f"127.0.0.1:{port}", "//git:8418": f"//127.0.0.1:{port}"}
        for ours, here in places.items():
            told = [word.replace(ours, here).replace("$$", "$") for word in told]
        return told

    def binds(name: str) -> dict[Path, str]:
        return {loop: "/srv", states[name]: "/var/lib/automator"}

    with image.start(tmp_path / "log", "--", *words("git"), binds=binds("git")) as server:
        server.until(lambda: "listening on" in server.text, "the Git server")
        program, *arguments = words("sync")
        done = image.run("--", program, "--once", *arguments, binds=binds("sync"))
        assert done.returncode == 0, done.stdout + done.stderr
        applied = (states["sync"] / "applied").read_text()
        assert applied.endswith("\napps/web.yaml registry:5000/acme/web:1.4.2\n")
        assert server.end() == 0
    usage = image.run("--", *words("push")[:-1])
    assert usage.stderr.startswith("usage: python -m automator.demo.images")

    token, env = states["automator"] / "api-token", services["automator"]["environment"]
    shell, option, script = words("automator")
    first = script.replace("exec automator run", "exec automator --version")
    for _ in range(2):
        done = image.run("--", shell, option, first, binds=binds("automator"), env=env)
        assert done.stdout.startswith("automator "), done.stderr
        assert (token.stat().st_mode & 0o777, len(token.read_text().strip())) == (0o600, 32)
        first = first.replace("token_urlsafe(24)", "token_urlsafe(99)")  # made once
