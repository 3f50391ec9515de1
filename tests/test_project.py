"""The files around the program say what is true: locks, versions, change log, Makefile, Dockerfile."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import automator

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = sorted((ROOT / "locks").glob("*.txt"))
PIN = re.compile(
    r"^([A-Za-z0-9._-]+)==([^\s;]+)(?: ;[^\\]*)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.M
)


def pins(lock: str) -> dict[str, str]:
    text = (ROOT / "locks" / lock).read_text()
    return {canonicalize_name(name): version for name, version, _ in PIN.findall(text)}


def files() -> list[Path]:
    """Every file that is in Git, or would be with the next commit."""
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=False,
    )  # fmt: skip
    if listing.returncode:
        pytest.skip("not a Git checkout")
    paths = (ROOT / os.fsdecode(name) for name in listing.stdout.split(b"\0") if name)
    return [path for path in paths if path.is_file()]


# -- locks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lock", "requirements"),
    [
        ("runtime.txt", PYPROJECT["project"]["dependencies"]),
        ("dev.txt", PYPROJECT["project"]["dependencies"]),
        ("dev.txt", PYPROJECT["project"]["optional-dependencies"]["dev"]),
        ("build.txt", PYPROJECT["build-system"]["requires"]),
    ],
)
def test_lock_satisfies_pyproject(lock: str, requirements: list[str]) -> None:
    pinned = pins(lock)
    for requirement in map(Requirement, requirements):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version, f"{lock} does not pin {requirement.name}: run `make lock`"
        assert requirement.specifier.contains(version, prereleases=True), (
            f"{lock} has {version}, not {requirement}"
        )


@pytest.mark.parametrize("lock", LOCKS, ids=lambda p: p.name)
def test_lock_pins_each_package_with_its_hashes_and_names_no_index(lock: Path) -> None:
    text = lock.read_text()
    entries = re.findall(r"^(?!#|\s)(.+)$", text, re.M)
    assert len(pins(lock.name)) == len(entries) > 0
    assert "://" not in text
    assert not re.search(r"^\s*(--(extra-)?index-url|--find-links|--trusted-host|-[if])\b", text, re.M)


def test_locks_agree() -> None:
    """One environment takes all three, one after the other."""
    everything = pins("dev.txt")
    for lock in ("runtime.txt", "build.txt"):
        for name, version in pins(lock).items():
            assert everything.get(name, version) == version


# -- nothing of one machine ----------------------------------------------------------------------------

# Put together here, so that this file does not name what it forbids.
FORBIDDEN = [
    re.compile(rb"(?<![\w.$}-])/" + rb"work/"),
    re.compile(rb"(?<![\w.$}-])/" + rb"tmp/(venv|briefs)"),
    re.compile(rb"/" + rb"root/"),
    re.compile(rb"/home/" + rb"[a-z]+/"),
    re.compile(rb"\bpypi" + rb"\.org"),
    re.compile(rb"pythonhosted" + rb"\.org"),
    re.compile(rb"registry\.npmjs" + rb"\.org"),
    re.compile(rb"\bcrates" + rb"\.io"),
    re.compile(rb"proxy\.golang" + rb"\.org"),
    re.compile(rb"repo1?\.maven" + rb"\."),
    re.compile(rb"(deb|security|ftp)\.debian" + rb"\.org"),
]


def test_no_file_names_a_machine_or_a_package_registry() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match.group().decode()}"
        for path in files()
        for pattern in FORBIDDEN
        if (match := pattern.search(path.read_bytes()))
    ]
    assert found == []


def test_license_is_the_one_that_is_declared() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert PYPROJECT["project"]["license"] == "Apache-2.0"
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


BARE_NAME = re.compile(
    r"\b(?:pipx?|pip3|uv)(?: (?:tool|pip))? (?:install|add)(?: -{1,2}[\w-]+)* [\"'`\\]*automator(?![\w./-])"
)


def told_to_install(text: str) -> list[str]:
    """Where a text has automator installed by its name alone; also over line ends and signs of comments."""
    return BARE_NAME.findall(re.sub(r"[\"']?\s*\n[\s#*>|\"']*|\s+", " ", text))


def test_nobody_is_told_to_install_what_has_our_name_on_the_public_index() -> None:
    """There it is the project of other people."""
    for bare in (
        "pip install automator[notify].",
        "pip\n# install 'automator'",
        'pipx install "automator[aws]"',
    ):
        assert told_to_install(bare)
    for ours in (
        "pip install '.[notify]'",
        "pip install ./dist/automator-0.1.0.whl",
        "pip install automator-x",
    ):
        assert not told_to_install(ours)
    this = Path(__file__)
    for path in files():
        if path != this and (text := path.read_bytes().decode(errors="replace")):
            assert told_to_install(text) == [], path.relative_to(ROOT)


# -- versions ---------------------------------------------------------------------------------------------


def test_version_stands_in_one_place() -> None:
    assert PYPROJECT["project"]["dynamic"] == ["version"]
    assert PYPROJECT["tool"]["hatch"]["version"]["path"] == "automator/__init__.py"
    again = re.compile(
        rf"""__version__\s*=\s*["']|version\s*[=:]\s*["']{re.escape(automator.__version__)}["']"""
    )
    sources = [p for p in files() if p.suffix in (".py", ".toml") or p.name == "Dockerfile"]
    places = {p.relative_to(ROOT).as_posix() for p in sources if again.search(p.read_text())}
    assert places - {"tests/test_project.py"} == {"automator/__init__.py"}


NAMED = re.compile(r"\bautomator[:-](v?\d+\.\d+[0-9A-Za-z.]*?)(?=-py3|\.tar\.gz|\.*(?:[^0-9A-Za-z.]|$))")
NEW_TAG = re.compile(r"^\s*newTag:\s*[\"']?([^\s\"']+)", re.M)
"""A tag in what we ship; in pages it is one of somebody's own image."""


def named_versions(path: Path, text: str) -> list[str]:
    """The versions by which a text names our image, wheel or sdist."""
    tags = NEW_TAG.findall(text) if path.is_relative_to("deploy") else []
    return NAMED.findall(text) + tags


def test_what_people_copy_names_this_version_and_the_steps_of_a_release_name_every_place() -> None:
    for told, version in {
        "docker run ghcr.io/acme/automator:0.2.0 plan": "0.2.0",
        "image: ${AUTOMATOR_IMAGE:-automator:0.2.0rc1}": "0.2.0rc1",
        "take automator:v0.2.0.": "v0.2.0",
        "pip install './dist/automator-0.2.0-py3-none-any.whl[notify]'": "0.2.0",
        "tar xf automator-0.2.0.tar.gz": "0.2.0",
        '  newTag: "0.2.0"': "0.2.0",
    }.items():
        assert named_versions(Path("deploy/x"), told) == [version], told
    assert named_versions(Path("docs/x.md"), 'newTag: "1.4.2", automator:latest, automator-hooks') == []
    found: dict[str, list[str]] = {}
    for path in (path.relative_to(ROOT) for path in files()):
        if path.parts[0] in ("deploy", "docs", "README.md"):
            versions = named_versions(path, (ROOT / path).read_bytes().decode(errors="replace"))
            found.update({path.as_posix(): versions} if versions else {})
    old = {path: versions for path, versions in found.items() if {*versions} != {automator.__version__}}
    assert not old, f"not of version {automator.__version__}"
    steps = (ROOT / "CONTRIBUTING.md").read_text().partition("## A release of automator")[2]
    step = steps.partition("1. ")[2].partition("Give its section")[0]
    assert set(re.findall(r"`((?:deploy|docs)/[^`]+|README\.md)`", step)) == found.keys()


def test_change_log_knows_this_version() -> None:
    headings = re.findall(r"^## \[(.+?)\](.*)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    names = [name for name, _ in headings]
    assert names[0] == "Unreleased"
    assert automator.__version__ in names
    for name, rest in headings[1:]:
        assert re.fullmatch(r" - \d{4}-\d\d-\d\d| - not yet released", rest), f"{name} has no date"


# -- make ---------------------------------------------------------------------------------------------------


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    # A make that runs this test must not hand its own flags and job server down.
    outer = {
        k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEFILES")
    }
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT, env={**outer, **environment}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_make_alone_lists_every_target_with_a_sentence() -> None:
    run = make()
    assert run.returncode == 0
    listed = dict(re.findall(r"^  make (\S+) +(\S.*)$", run.stdout, re.M))
    makefile = (ROOT / "Makefile").read_text()
    phony = " ".join(re.findall(r"^\.PHONY: (.*)$", makefile, re.M)).split()
    assert listed.keys() == set(phony) - {"debian"}
    assert {
        "help",
        "demo",
        "test",
        "test-slow",
        "check",
        "bench",
        "image",
        "image-test",
        "clean",
        "lock",
    } <= listed.keys()


@pytest.fixture
def only(tmp_path: Path) -> Path:
    """A folder with the few programs that a build script needs, and none that builds."""
    for name in (
        "awk",
        "cat",
        "cp",
        "dirname",
        "env",
        "git",
        "grep",
        "make",
        "mktemp",
        "mv",
        "rm",
        "sed",
        "sh",
        "tail",
    ):
        found = shutil.which(name)
        assert found
        (tmp_path / name).symlink_to(found)
    return tmp_path


def engine(
    folder: Path, name: str, *, answers: bool = True, version: str = "", buildx: bool | None = None
) -> None:
    """A container engine that writes down what it is called with, and the secrets it is given."""
    program = folder / name
    version = version or (
        "Docker version 28.2.2, build e6534b4" if name == "docker" else f"{name} version 4.3.1"
    )
    with_buildx = name == "docker" if buildx is None else buildx
    program.write_text(
        f'#!/bin/sh\n[ "$1" != info ] || exit {0 if answers else 1}\n'
        f'[ "$1" != --version ] || {{ echo "{version}"; exit; }}\n'
        f'[ "$1" != buildx ] || exit {0 if with_buildx else 1}\n'
        f'echo "{name} $*" >>"{folder}/called"\n'
        'for word in "$@"; do case $word in id=*,src=*) echo "$word"; cat "${word##*src=}";; esac; done '
        f'>>"{folder}/secrets"\n'
    )
    program.chmod(0o755)


def test_make_image_says_that_no_engine_answers(only: Path) -> None:
    for name in ("docker", "podman"):
        engine(only, name, answers=False)
    run = make("image", PATH=str(only))
    assert run.returncode != 0
    assert "no container engine answers" in run.stderr


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        (("docker", "podman"), "docker"),
        (("podman",), "podman"),
        (("podman", "buildah", "debootstrap"), "buildah"),
    ],
    ids=["docker", "podman", "buildah"],
)
def test_make_image_takes_the_engine_that_is_there(there: tuple[str, ...], taken: str, only: Path) -> None:
    for name in there:
        engine(only, name)
    run = make("image", "EXTRAS=notify,aws", PATH=str(only), PYTHON_IMAGE="registry.example.com/python:3.11")
    assert run.returncode == 0, run.stderr
    (called,) = (only / "called").read_text().splitlines()
    options = " --storage-driver vfs" if taken == "buildah" else ""
    assert called.startswith(f"{taken}{options} build --tag automator:{automator.__version__}")
    assert "--build-arg PYTHON_IMAGE=registry.example.com/python:3.11" in called
    assert "--build-arg EXTRAS=notify,aws" in called
    assert f"--build-arg VERSION={automator.__version__}" in called
    assert ("--format docker" in called) == (taken != "docker"), "only that format has a HEALTHCHECK"


def called_engine(only: Path, **variables: str) -> tuple[str, str]:
    """The engine's command of `make image`, and what people are told."""
    run = make("image", PATH=str(only), PYTHON_IMAGE="registry.example.com/python:3.11", **variables)
    assert run.returncode == 0, run.stderr
    (called,) = (only / "called").read_text().splitlines()
    return called, run.stderr


@pytest.mark.parametrize("other", ["podman", "buildah"])
def test_make_image_passes_a_docker_over_that_cannot_build(only: Path, other: str) -> None:
    engine(only, "docker", buildx=False)
    alone = make("image", PATH=str(only))
    assert alone.returncode != 0
    assert "start docker (with buildx) or podman" in alone.stderr
    assert not (only / "called").exists()
    engine(only, other)
    called, told = called_engine(only)
    assert called.startswith(f"{other} ")
    assert "--format docker" in called
    assert "docker is passed over: it lacks buildx" in told


def test_make_image_takes_a_docker_that_has_buildkit_of_its_own(only: Path) -> None:
    engine(only, "docker", version="Docker version 20.10.24+dfsg1, build 297e128", buildx=False)
    engine(only, "podman")
    called, told = called_engine(only)
    assert called.startswith("docker build ")
    assert "--format" not in called
    assert "passed over" not in told


@pytest.mark.parametrize("variables", [{}, {"ENGINE": "docker"}], ids=["found", "named"])
def test_make_image_sees_a_docker_that_is_podman(only: Path, variables: dict[str, str]) -> None:
    engine(only, "docker", version="podman version 4.3.1", buildx=False)
    called, told = called_engine(only, **variables)
    assert called.startswith("docker build ")
    assert "--format docker" in called, "only that format has a HEALTHCHECK"
    assert "passed over" not in told


def test_make_image_takes_the_engine_that_is_named(only: Path) -> None:
    engine(only, "docker", buildx=False)
    engine(only, "podman")
    called, _ = called_engine(only, ENGINE="docker")
    assert called.startswith("docker build ")
    assert "--format" not in called


def test_settings_of_pip_go_to_the_build_as_a_secret_alone(only: Path, tmp_path: Path) -> None:
    engine(only, "docker")
    (tmp_path / "ca").write_text("an authority of the house")
    conf = tmp_path / "pip.conf"
    conf.write_text(
        f"[global]\nindex-url = https://ann:word@mirror.example.com/simple\ncert = {tmp_path}/ca\n"
    )
    run = make("image", PATH=str(only), PIP_CONF=str(conf), https_proxy="http://ann:pass@proxy.example.com")
    assert run.returncode == 0, run.stderr
    called, given = (only / "called").read_text(), (only / "secrets").read_text()
    assert "word" not in called + run.stdout
    assert "pass@" not in called + run.stdout
    assert "--build-arg https_proxy " in called, "its value is taken from the environment"
    assert "index-url = https://ann:word@mirror.example.com/simple" in given
    assert "cert = /run/build/ca.pem" in given
    assert "an authority of the house" in given


def test_debian_packages_of_the_tests_are_listed() -> None:
    """What `needs` marks name, `make test` installs."""
    lines = (ROOT / "tests/debian-packages.txt").read_text().splitlines()
    listed = [line for line in lines if line and not line.startswith("#")]
    assert listed == sorted(set(listed))
    needed: set[str] = set()
    for path in (ROOT / "tests").rglob("*.py"):
        for arguments in re.findall(r"mark\.needs\(([^)]*)\)", path.read_text()):
            needed |= set(re.findall(r"[\"']([a-z0-9.+-]+)[\"']", arguments))
    assert needed == set(listed)


# -- the image ----------------------------------------------------------------------------------------------


def test_image_is_small_and_not_root() -> None:
    """What it says of itself; tests/slow/test_image.py builds it and looks inside."""
    text = (ROOT / "Dockerfile").read_text()
    instructions = [
        line.split(None, 1) for line in text.replace("\\\n", " ").splitlines() if line[:1].isalpha()
    ]
    stages = [i for i, (word, _) in enumerate(instructions) if word == "FROM"]
    assert [instructions[i][1] for i in stages] == [
        "${PYTHON_IMAGE} AS build",
        "${PYTHON_IMAGE} AS system",
        "scratch",
    ]
    final = dict(instructions[stages[-1] :])
    assert "RUN" not in final, "its layers have what the stages before left, and nothing of how"
    assert final["USER"] == "10001:10001"
    assert final["ENTRYPOINT"] == '["automator"]'
    assert final["CMD"] == '["run"]'
    assert final["HEALTHCHECK"].endswith('CMD ["automator", "health"]')
    system = dict(instructions[stages[1] : stages[2]])
    assert system["ARG"] == "PACKAGES="
    (installed,) = re.findall(
        r"apt-get install (.*?) &&", text[text.index("AS system") :].replace("\\\n", " ")
    )
    wanted = ["ca-certificates", "git", "openssh-client", "${PACKAGES}"]
    assert [w for w in installed.split() if not w.startswith("-")] == wanted


def test_every_extra_has_a_lock_for_the_image() -> None:
    extras = PYPROJECT["project"]["optional-dependencies"].keys() - {"dev"}
    assert {lock.stem for lock in LOCKS if lock.stem.startswith("extra-")} == {f"extra-{e}" for e in extras}
    for extra in extras:
        for name, version in pins(f"extra-{extra}.txt").items():
            assert pins("dev.txt").get(name) == version


def test_image_is_built_from_what_the_context_lets_in() -> None:
    """`.dockerignore` shuts everything out but what the Dockerfile copies."""
    ignore = (ROOT / ".dockerignore").read_text().split()
    copied = re.findall(r"^COPY (?!--)(.*) \S+$", (ROOT / "Dockerfile").read_text(), re.M)
    sources = " ".join(copied).split()
    assert "*" in ignore
    let_in = {line.lstrip("!") for line in ignore if line.startswith("!")}
    of_package = {line for line in let_in if line.startswith("automator/")}
    assert let_in - of_package == set(sources) - {"automator"}
    for source in sources:
        assert (ROOT / source).exists()
    # Of the package by folder and kind of file, as they are: nothing else that lies there gets in.
    ours = [path.relative_to(ROOT) for path in files() if path.is_relative_to(ROOT / "automator")]
    assert of_package == {str(p if p.name == "py.typed" else p.parent / f"*{p.suffix}") for p in ours}
    # So it is with what is handed out.
    built = PYPROJECT["tool"]["hatch"]["build"]["targets"]
    let_in = set(built["wheel"]["include"])
    assert let_in <= set(built["sdist"]["include"])
    assert "automator" not in built["sdist"]["include"]
    assert {Path(line).suffix for line in let_in} == {path.suffix for path in ours}


def test_ci_runs_all_three() -> None:
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    assert re.findall(r"^phase \d+ make (\S+)$", script.read_text(), re.M) == [
        "check",
        "test",
        "test-slow",
    ]
