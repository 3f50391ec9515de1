"""Registries of other makers, built from source with Go: distribution 3, and go-containerregistry's.

Each is skipped, with a sentence, where there is no Go or its modules cannot be had. This is the one
place where tests need more than this machine: the first run downloads the modules, later ones have
them in a cache beside the other temporary files.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from parts.registry import (
    PLAIN,
    DockerRegistry,
    push_image,
    push_index,
    push_many,
    unique_name,
    wait_until,
)
from parts.stage import Stage

from automator.core.reference import Repository
from automator.edges.registry import RegistryClient
from automator.reasons import Status

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
BUILT = datetime(2026, 11, 20, 9, 14, 2, tzinfo=UTC)
DISTRIBUTION = "github.com/distribution/distribution/v3/cmd/registry@v3.0.0"
OTHER = "github.com/google/go-containerregistry"
OTHER_VERSION = "v0.20.3"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
BUILD_SECONDS = 600

MAIN = f"""\
package main

import (
	"fmt"
	"net"
	"net/http"

	"{OTHER}/pkg/registry"
)

func main() {{
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {{
		panic(err)
	}}
	fmt.Printf("listening on %s\\n", listener.Addr())
	panic(http.Serve(listener, registry.New(registry.WithReferrersSupport(true))))
}}
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(2 * BUILD_SECONDS),
    pytest.mark.needs("docker-registry", "skopeo"),
]


def go(*arguments: str, cwd: Path) -> None:
    """Run Go with caches that outlive the run; skips the test where that cannot be."""
    program = shutil.which("go")
    if program is None:
        pytest.skip("no Go on this machine to build a second registry with")
    cache = Path(tempfile.gettempdir(), f"automator-go-{getpass.getuser()}")
    places = {"GOPATH": cache, "GOCACHE": cache / "build", "GOBIN": cwd, "GOFLAGS": "-mod=mod -modcacherw"}
    done = subprocess.run(
        [program, *arguments],
        cwd=cwd,
        env={**os.environ, **{name: str(value) for name, value in places.items()}},
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"the second registry cannot be built: {done.stderr.strip()[-300:]}")


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    folder = tmp_path_factory.mktemp("distribution")
    go("install", DISTRIBUTION, cwd=folder)
    with DockerRegistry(folder / "run", program=folder / "registry") as registry:
        yield registry


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The host of a registry that knows the referrers API."""
    folder = tmp_path_factory.mktemp("other")
    (folder / "main.go").write_text(MAIN)
    (folder / "go.mod").write_text(f"module other\n\ngo 1.23\n\nrequire {OTHER} {OTHER_VERSION}\n")
    go("build", "-o", "other", ".", cwd=folder)
    log = folder / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen([folder / "other"], stdout=stream, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: "listening on" in log.read_text(), "the registry listening")
        yield log.read_text().split("listening on ")[1].split()[0]
    finally:
        process.terminate()
        process.wait(20)


def calling(host: str, stack: ExitStack) -> RegistryClient:
    made = RegistryClient({host: PLAIN})
    stack.callback(made.close)
    return made


def requested(registry: DockerRegistry, name: str, number: int) -> list[str]:
    """The requests for a repository but its pushes, of which there must be `number`."""

    def found() -> list[str]:
        return [line for line in registry.requests(name) if re.match("GET|HEAD", line)]

    wait_until(lambda: len(found()) >= number, f"{number} requests")
    assert len(found()) == number, found()
    return found()


# -- distribution 3 -----------------------------------------------------------------------------------


def test_distribution_3_lists_in_pages_and_all_tags_arrive(distribution: DockerRegistry) -> None:
    name = unique_name()
    push_many(distribution.host, name, {"v0": BUILT})
    _tag_again(distribution.host, name, "v0", [f"v{i}" for i in range(1, 1205)])
    before = len(distribution.requests(f"{name}/tags"))
    with ExitStack() as stack:
        client = calling(distribution.host, stack)
        tags = client.tags(Repository(distribution.host, name), now=NOW).tags
        assert set(tags) == {f"v{i}" for i in range(1205)}
        wait_until(lambda: len(distribution.requests(f"{name}/tags")) > before, "the last line")
        pages = distribution.requests(f"{name}/tags")[before:]
        assert len(pages) <= 3, pages
        again = client.tags(Repository(distribution.host, name), now=NOW)
        assert again.tags is tags, "the same pages are not read again"


def _tag_again(host: str, name: str, tag: str, more: list[str]) -> None:
    base = f"http://{host}/v2/{name}/manifests"
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    with requests.Session() as session:
        got = session.get(f"{base}/{tag}", headers=accept)
        headers = {"Content-Type": got.headers["Content-Type"]}
        for other_tag in more:
            session.put(f"{base}/{other_tag}", data=got.content, headers=headers).raise_for_status()


def test_distribution_3_tells_images_and_indexes_at_the_same_cost(distribution: DockerRegistry) -> None:
    plain, index = unique_name(), unique_name()
    digest = push_image(distribution.host, plain, "1.0.0", created=BUILT)
    index_digest = push_index(
        distribution.host, index, "1.0.0", platforms=[("linux/amd64", BUILT), ("linux/arm64", BUILT)]
    )
    pushed = {
        n: len([r for r in distribution.requests(n) if r[:3] in ("GET", "HEA")]) for n in (plain, index)
    }
    with ExitStack() as stack:
        client = calling(distribution.host, stack)
        repository = Repository(distribution.host, plain)
        assert client.digest(repository, "1.0.0") == digest
        found = client.image(repository, "1.0.0")
        assert (found.digest, found.built) == (digest, BUILT)
        requested(distribution, plain, pushed[plain] + 3)
        found = client.image(Repository(distribution.host, index), "1.0.0")
        assert (found.digest, found.built) == (index_digest, BUILT)
        assert {str(p) for p in found.platforms or ()} == {"linux/amd64", "linux/arm64"}
        requested(distribution, index, pushed[index] + 3)


def test_distribution_3_has_no_referrers_and_that_is_learnt_once(distribution: DockerRegistry) -> None:
    name = unique_name()
    digest = push_image(distribution.host, name, "1.0.0")
    with ExitStack() as stack:
        client = calling(distribution.host, stack)
        repository = Repository(distribution.host, name)
        for _ in range(2):
            assert client.referrers(repository, digest) == ()
    wait_until(lambda: len(distribution.requests("manifests/sha256-")) >= 2, "the fallback tag, twice")
    assert len(distribution.requests("/referrers/")) <= 1


def test_a_release_from_distribution_3(distribution: DockerRegistry, tmp_path: Path) -> None:
    with ExitStack() as stack:
        stage = Stage(tmp_path, stack)
        stage.insecure.add(distribution.host)
        push_image(distribution.host, "acme/web", "1.4.2", created=BUILT)
        push_image(distribution.host, "acme/web", "1.4.3", created=BUILT)
        stage.commit(stage.workload("web", "1.4.2", host=distribution.host))
        before = len(distribution.requests("acme/web/tags"))
        assert stage.outcomes()["web"].status is Status.RELEASED
        assert stage.image_of("web") == "web:1.4.3"
        wait_until(lambda: len(distribution.requests("acme/web/tags")) > before, "the list")
        assert len(distribution.requests("acme/web/tags")) == before + 1


# -- go-containerregistry -----------------------------------------------------------------------------


def test_the_other_registry_is_polled_and_lists_what_refers_to_an_image(other: str) -> None:
    name = unique_name()
    digest = push_image(other, name, "1.0.0", created=BUILT)
    referring = _refer(other, name, digest)
    with ExitStack() as stack:
        client = calling(other, stack)
        repository = Repository(other, name)
        assert "1.0.0" in client.tags(repository, now=NOW).tags
        assert client.image(repository, "1.0.0").built == BUILT
        assert client.digest(repository, "1.0.0") == digest
        sent = client.requests[other]
        found = client.referrers(repository, digest, BUNDLE)
        assert [(r.digest, r.artifact_type) for r in found] == [(referring, BUNDLE)]
        assert client.requests[other] == sent + 1, "the API, and no fallback tag"


def _refer(host: str, name: str, subject: str) -> str:
    """Push an artifact that refers to `subject`; its digest."""
    base = f"http://{host}/v2/{name}"
    empty = b"{}"
    blob = f"sha256:{hashlib.sha256(empty).hexdigest()}"
    begun = requests.post(f"{base}/blobs/uploads/", timeout=10)
    place = requests.compat.urljoin(f"http://{host}", begun.headers["Location"])
    requests.put(place, params={"digest": blob}, data=empty, timeout=10).raise_for_status()
    image = requests.get(
        f"{base}/manifests/{subject}",
        headers={"Accept": "application/vnd.oci.image.manifest.v1+json"},
        timeout=10,
    )
    kind = "application/vnd.oci.image.manifest.v1+json"
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": blob, "size": len(empty)}
    manifest = {
        "schemaVersion": 2,
        "mediaType": kind,
        "artifactType": BUNDLE,
        "config": {**config, "mediaType": BUNDLE},
        "layers": [config],
        "subject": {"mediaType": kind, "digest": subject, "size": len(image.content)},
    }
    body = json.dumps(manifest).encode()
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    url = f"{base}/manifests/{digest}"
    requests.put(url, data=body, headers={"Content-Type": kind}, timeout=10).raise_for_status()
    return digest
