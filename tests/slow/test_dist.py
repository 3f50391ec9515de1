"""What is handed out: wheel and sdist hold what they must, are always the same, and work where nothing is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest
from parts.canaries import secret

import automator

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
STEM = f"automator-{automator.__version__}"
CACHES = {"__pycache__", "node_modules", ".venv", ".git", ".hypothesis", ".mypy_cache", ".ruff_cache", "dist"}


def tracked() -> list[PurePosixPath]:
    """Every file that is in Git, or would be with the next commit."""
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=False,
    )  # fmt: skip
    if listing.returncode:
        pytest.skip("not a Git checkout")
    paths = (PurePosixPath(os.fsdecode(name)) for name in listing.stdout.split(b"\0") if name)
    return [path for path in paths if (ROOT / path).is_file()]


def build(source: Path, into: Path, *, umask: int, seed: str) -> dict[str, bytes]:
    """What `make dist` builds, by file name."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--directory", str(into)],
        cwd=source, env={**os.environ, "PYTHONHASHSEED": seed}, umask=umask,
        capture_output=True, check=True, timeout=120,
    )  # fmt: skip
    return {file.name: file.read_bytes() for file in into.iterdir()}


SECRET = secret("misplaced")
MISPLACED = (
    *("automator/secrets/git-token", "automator/compose/secrets/git-token", "automator/core/deploy-key"),
    *("automator/.env", "automator/config/config.toml", "automator/edges/web/pages/static/key.pem"),
    *("deploy/compose/secrets/api-token", "deploy/compose/.env"),
)
"""Where the steps of an install, taken in the checkout, or a person in a hurry leave a secret."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with wheel and sdist, of a copy of the source that has what a work tree gathers, and secrets
    where somebody may have put them."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    for path in tracked():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, source / path)
    for rubbish in (
        "automator/core/__pycache__/x.cpython-311.pyc",
        "tests/browser/node_modules/a.js",
        ".venv/b",
    ):
        (source / rubbish).parent.mkdir(parents=True, exist_ok=True)
        (source / rubbish).write_bytes(b"rubbish")
    for misplaced in MISPLACED:
        (source / misplaced).parent.mkdir(parents=True, exist_ok=True)
        (source / misplaced).write_text(SECRET)
    build(source, folder / "dist", umask=0o022, seed="1")
    shutil.rmtree(source)  # it holds the secrets of the tests, for which the run is searched
    return folder / "dist"


def test_no_secret_that_was_laid_into_the_checkout_is_handed_out(built: Path) -> None:
    with zipfile.ZipFile(built / f"{STEM}-py3-none-any.whl") as wheel:
        assert [name for name in wheel.namelist() if SECRET.encode() in wheel.read(name)] == []
    with tarfile.open(built / f"{STEM}.tar.gz") as archive:
        files = [member for member in archive.getmembers() if member.isfile()]
        assert [m.name for m in files if SECRET.encode() in archive.extractfile(m).read()] == []  # type: ignore[union-attr]


@pytest.mark.needs("buildah")
@pytest.mark.skipif(os.geteuid() != 0, reason="buildah mounts what it made for root alone")
def test_the_context_of_the_image_has_the_package_and_no_secret(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for path in tracked():
        if path.parts[0] == "automator":
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, source / path)
    shutil.copy2(ROOT / ".dockerignore", source)
    for misplaced in MISPLACED:
        (source / misplaced).parent.mkdir(parents=True, exist_ok=True)
        (source / misplaced).write_text(SECRET)
    (source / "Dockerfile").write_text("FROM scratch\nCOPY automator automator\n")
    storage = tmp_path / "storage.conf"
    storage.write_text(
        f'[storage]\ndriver = "vfs"\nrunroot = "{tmp_path}/run"\ngraphroot = "{tmp_path}/storage"\n'
    )

    def buildah(*words: str) -> str:
        env = {**os.environ, "CONTAINERS_STORAGE_CONF": str(storage), "BUILDAH_ISOLATION": "chroot"}
        done = subprocess.run(["buildah", *words], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    buildah("build", "--tag", "localhost/context", str(source))
    root = Path(buildah("mount", buildah("from", "--pull-never", "localhost/context")))
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    shutil.rmtree(source)
    buildah("rm", "--all")
    assert found == {str(path) for path in tracked() if path.parts[0] == "automator"}


def test_the_wheel_is_the_package_and_nothing_else(built: Path) -> None:
    names = set(zipfile.ZipFile(built / f"{STEM}-py3-none-any.whl").namelist())
    inside = {name for name in names if not name.startswith(f"{STEM}.dist-info/")}
    assert inside == {str(path) for path in tracked() if path.parts[0] == "automator"}
    assert {"automator/py.typed", "automator/edges/web/pages/static/style.css"} <= inside
    assert "automator/edges/web/pages/templates/base.html" in inside
    assert f"{STEM}.dist-info/licenses/LICENSE" in names


def test_the_sdist_has_what_it_takes_to_build_test_and_ship_and_no_caches(built: Path) -> None:
    with tarfile.open(built / f"{STEM}.tar.gz") as archive:
        files = [PurePosixPath(m.name).relative_to(STEM) for m in archive.getmembers() if m.isfile()]
    left_out = set(tracked()) - set(files)
    assert left_out == set()
    assert [str(path) for path in files if CACHES & set(path.parts)] == []
    assert {"pyproject.toml", "Makefile", "locks/runtime.txt", "docs/schema/policy.schema.json"} <= set(
        map(str, files)
    )


def test_the_same_source_gives_the_same_bytes_anywhere(built: Path, tmp_path: Path) -> None:
    """From the sdist, in another folder, at another time, by somebody with another umask."""
    with tarfile.open(built / f"{STEM}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    source = tmp_path / STEM
    for path in source.rglob("*.py"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    again = build(source, tmp_path / "again", umask=0o077, seed="2")
    shutil.rmtree(source)
    assert again == {file.name: file.read_bytes() for file in built.iterdir()}


def clean(folder: Path) -> Path:
    """An environment without automator, whose libraries are those of this one; returns its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=120)
    site = next(folder.glob("lib/python*/site-packages"))
    # A path in a .pth file is searched, while .pth files there are not read: not that of an editable install.
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {name: text for name, text in os.environ.items() if not name.startswith(("PYTHON", "AUTOMATOR"))}
    return subprocess.run(
        list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=240
    )


@pytest.mark.parametrize("archive", [f"{STEM}-py3-none-any.whl", f"{STEM}.tar.gz"], ids=["wheel", "sdist"])
def test_installed_where_nothing_is_it_does_the_whole_job(built: Path, tmp_path: Path, archive: str) -> None:
    python = clean(tmp_path / "venv")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python, "install"]
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--ignore-installed"]
    done = run(*pip, *options, built / archive, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    program = python.with_name("automator")

    where = run(python, "-c", "import automator; print(automator.__file__)", cwd=tmp_path)
    assert where.stdout.startswith(str(tmp_path / "venv"))
    version = run(program, "--version", cwd=tmp_path)
    assert version.stdout == f"automator {automator.__version__} (YAML scanner: libyaml)\n"
    schema = run(program, "schema", cwd=tmp_path)
    assert schema.stdout == (ROOT / "docs/schema/policy.schema.json").read_text()
    setter = run(python, "-c", "from automator import set_image; print(set_image.__module__)", cwd=tmp_path)
    assert setter.stdout == "automator.core.setting\n"
    demo = run(program, "demo", cwd=tmp_path)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "Release" in demo.stdout


def test_the_version_is_asked_of_the_source_and_nowhere_written_twice(built: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(built / f"{STEM}-py3-none-any.whl") as wheel:
        told = wheel.read(f"{STEM}.dist-info/METADATA").decode()
    assert f"\nVersion: {automator.__version__}\n" in told
    assert "\nLicense-Expression: Apache-2.0\n" in told
