"""Pictures of the dashboard for docs/images: a real daemon over the demo's registry and two config repos.

`make screenshots` runs it. Needs Chromium and its driver; two months of history are told to the config repos,
the tags are pushed, and the rest is what the daemon makes of it.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from automator.core.record import Member, ReleaseRecord
from automator.core.release import compose
from automator.demo.images import image, push_image
from automator.demo.registry import EmbeddedRegistry

IMAGES = Path(__file__).parents[1] / "docs" / "images"
LARGEST = 200_000
"""Bytes of a picture."""
OWNERS = {
    **dict.fromkeys(("web", "cart", "search"), "team-shop"),
    **dict.fromkeys(("api", "payments", "mail"), "team-checkout"),
    **dict.fromkeys(("worker", "images", "edge", "reports"), "team-platform"),
}
REPOS = {"shop": "production", "staging": "staging"}
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WEEKS = 9
SHOTS = (
    ("dashboard", "/", 1280, "light"),
    ("dashboard-dark", "/", 1280, "dark"),
    ("dashboard-phone", "/", 390, "light"),
    ("workload", "/workloads/shop/search", 1280, "light"),
    ("chains", "/chains", 1280, "light"),
    ("releases", "/releases", 1280, "dark"),
    ("report", "/report", 1280, "light"),
)
TALLEST = {390: 900}
MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
spec:
  template:
    spec:
      containers:
        - name: app
          image: ghcr.io/acme/{name}:{version}
"""


def policy(name: str, where: str) -> str:
    """A workload's policy: production comes after staging, but for what has reasons not to."""
    lines = [
        f"image: ghcr.io/acme/{name}",
        'semver: ">=1.0 <2"',
        "pin: digest",
        f"owner: {OWNERS[name]}",
        f"environment: {where}",
    ]
    if where == "production":
        if name in ("web", "api", "edge", "images"):
            lines.append(f"after: {{workload: staging/{name}, soak: 2h}}")
        if name == "cart":
            lines.append("min_age: 1d")
        if name == "payments":
            lines.append('hold: {reason: "the yearly audit, until Friday"}')
    told = "".join(f"    {line}\n" for line in lines)
    return f"version: 1\nworkloads:\n  {name}:\n{told}"


@dataclass
class Story:
    """What was released where in the last weeks; the same in each run, but for the day."""

    now: datetime
    chance: random.Random = field(default_factory=lambda: random.Random(7))
    commits: dict[str, list[tuple[datetime, str, str, dict[str, str]]]] = field(
        default_factory=lambda: {"shop": [], "staging": []}
    )
    versions: dict[tuple[str, str], str] = field(default_factory=dict)
    built: dict[tuple[str, str], datetime] = field(default_factory=dict)

    def tell(self) -> None:
        """Everything, oldest first."""
        begin = self.now - WEEKS * 7 * DAY
        for repo, where in REPOS.items():
            files = {f"policies/{name}.yaml": policy(name, where) for name in OWNERS}
            for name in OWNERS:
                self.versions[repo, name] = self._image(name, "1.0.0", begin - DAY)
                files[f"apps/{name}.yaml"] = MANIFEST.format(name=name, version=self.versions[repo, name])
            self.commits[repo].append((begin, "Ann Author", "Adopt automator", files))
        steps = dict.fromkeys(OWNERS, 0)
        for day in range(WEEKS * 7 - 3):
            for name in self.chance.sample(sorted(OWNERS), self.chance.choice((0, 0, 1, 2))):
                steps[name] += 1
                built = begin + day * DAY + self.chance.uniform(7, 15) * HOUR
                version = self._image(name, f"1.{steps[name] // 3}.{steps[name] % 3}", built)
                staged = built + self.chance.uniform(0.1, 1) * HOUR
                self._release("staging", name, version, staged)
                self._release("shop", name, version, staged + self.chance.uniform(2, 30) * HOUR)
        self._turns()

    def _turns(self) -> None:
        """What is going on right now."""
        before = self.versions["shop", "search"]
        self._next("search", 40 * HOUR, 39 * HOUR, "staging", "shop")
        why = "slow queries since the release"
        self._release("shop", "search", before, self.now - 26 * HOUR, "rollback", "Ann Author", why)
        for name in ("web", "api"):
            self._next(name, 2 * HOUR, 1.5 * HOUR, "staging")
        for name in ("payments", "mail"):
            self._next(name, 75 * HOUR, 74 * HOUR, "staging")
        self._next("cart", 3 * HOUR, 2.5 * HOUR, "staging")
        self._next("worker", 1 * HOUR, None)

    def _next(self, name: str, built: timedelta, ago: timedelta | None, *repos: str) -> None:
        minor = int(self.versions["staging", name].split(".")[1])
        version = self._image(name, f"1.{minor + 1}.0", self.now - built)
        for repo in repos:
            assert ago is not None
            self._release(repo, name, version, self.now - ago)

    def _image(self, name: str, tag: str, at: datetime) -> str:
        """The version that a tag is, with its digest."""
        built = self.built.setdefault((name, tag), at.replace(microsecond=0))
        manifest, _ = image(created=built, labels={"tag": tag})
        return f"{tag}@sha256:{sha256(manifest).hexdigest()}"

    def _release(
        self,
        repo: str,
        name: str,
        to: str,
        at: datetime,
        kind: str = "release",
        actor: str | None = None,
        why: str = "",
    ) -> None:
        before, repository = self.versions[repo, name], f"ghcr.io/acme/{name}"
        built = self.built[name, to.partition("@")[0]]
        site = f"apps/{name}.yaml#spec.template.spec.containers[app].image"
        source = f"https://git.example.com/acme/{name}/commit/{self.chance.randbytes(20).hex()}"
        member = Member(
            *(name, repository, before, to, (site,), built, source, f"policies/{name}.yaml"),
            source_time=built - timedelta(minutes=self.chance.randrange(5, 90)),
        )
        told = f'newest in semver ">=1.0 <2" of {len(self.built) // 8 + 3} tags, seen 31 minutes ago'
        record = ReleaseRecord(kind, (member,), actor=actor, reason=why or None)
        files = {f"apps/{name}.yaml": MANIFEST.format(name=name, version=to)}
        self.versions[repo, name] = to
        self.commits[repo].append((at, actor or "automator", compose(record, why=told), files))

    def stream(self, repo: str) -> Iterator[bytes]:
        """A config repo's history for `git fast-import`."""
        texts: dict[str, str] = {}
        for at, who, message, files in sorted(self.commits[repo], key=lambda one: one[0]):
            texts |= files
            words = message.encode()
            mail = who.split()[0].lower()
            yield b"commit refs/heads/main\n"
            yield f"committer {who} <{mail}@example.com> {int(at.timestamp())} +0000\n".encode()
            yield b"data %d\n%s\n" % (len(words), words)
            for path, text in files.items():
                yield b"M 100644 inline %s\ndata %d\n%s\n" % (
                    path.encode(),
                    len(text.encode()),
                    text.encode(),
                )


LOCKED = """\
#!/bin/sh
while read -r before after branch; do
  if [ -n "$(git diff --name-only "$before" "$after" -- apps/mail.yaml)" ]; then
    echo "apps/mail.yaml is locked until Monday: the mail provider moves" >&2
    exit 1
  fi
done
"""
"""A hook of the Git server, whose words are shown."""
CONFIG = """\
state = "state"

[repos.shop]
url = "{root}/shop.git"

[repos.staging]
url = "{root}/staging.git"

[registries."{host}"]
mirror_of = "ghcr.io"
insecure = true

[daemon]
interval = "1h"
listen = "127.0.0.1:{port}"
"""


@contextmanager
def running(root: Path) -> Iterator[str]:
    """The daemon over a story, once it has looked at everything; its address."""
    story = Story(datetime.now(UTC).replace(microsecond=0))
    story.tell()
    for repo in REPOS:
        bare = root / f"{repo}.git"
        subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(bare)], check=True)
        feed = b"".join(story.stream(repo))
        subprocess.run(["git", "fast-import", "--quiet"], cwd=bare, input=feed, check=True)
        (bare / "hooks").mkdir(exist_ok=True)
        hook = bare / "hooks" / "pre-receive"
        hook.write_text(LOCKED)
        hook.chmod(0o755)
    with EmbeddedRegistry(root / "images") as registry:
        for (name, version), built in story.built.items():
            push_image(registry.url, f"acme/{name}", version, created=built)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        (root / "config.toml").write_text(CONFIG.format(root=root, host=registry.host, port=port))
        command = [sys.executable, "-m", "automator", "--config", str(root / "config.toml"), "run"]
        with (root / "daemon.log").open("wb") as log:
            daemon = subprocess.Popen(command, cwd=root, stdout=log, stderr=log)
        try:
            address = f"http://127.0.0.1:{port}"
            wait(lambda: all(one["finished_at"] for one in ask(address, "repos")["items"]))
            wait(lambda: ask(address, "log?limit=1")["state"] == "ready")
            yield address
        finally:
            daemon.terminate()
            daemon.wait(30)


TRIES = 5
"""How often the story is told anew where its two config repos came in each other's way."""


def ask(address: str, path: str) -> Any:
    """An answer of the API."""
    with urllib.request.urlopen(f"{address}/api/v1/{path}", timeout=20) as answer:
        return json.load(answer)


def wait(true: Callable[[], bool], seconds: float = 120) -> None:
    """Until it is true, also after it could not be told."""
    end = time.monotonic() + seconds
    while True:
        try:
            if true():
                return
        except (OSError, LookupError):
            pass
        if time.monotonic() > end:
            raise SystemExit("the daemon did not come so far")
        time.sleep(0.2)


def shoot(address: str, into: Path) -> None:
    """All pictures, each by a browser of its own width and scheme."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for one in ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-sync"):
        options.add_argument(one)
    browser = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    try:
        for name, path, width, scheme in SHOTS:
            screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
            media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
            browser.get(address + path)
            while "reading history" in browser.page_source:  # the page itself says when to ask again
                time.sleep(1)
                browser.get(address + path)
            whole = int(browser.execute_script("return document.documentElement.scrollHeight"))
            screen["height"] = min(whole, TALLEST.get(width, 900))
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
            file = into / f"{name}.png"
            file.write_bytes(browser.get_screenshot_as_png())
            print(f"{file}: {file.stat().st_size // 1000} kB")
            assert file.stat().st_size < LARGEST
    finally:
        browser.quit()


def main() -> None:
    """Write all pictures."""
    parser = argparse.ArgumentParser(prog="python -m bench.pictures", description=__doc__)
    parser.add_argument("--into", type=Path, default=IMAGES, metavar="FOLDER", help="default: docs/images")
    into: Path = parser.parse_args().into
    into.mkdir(parents=True, exist_ok=True)
    for _ in range(TRIES):
        with (
            tempfile.TemporaryDirectory(prefix="automator-pictures-") as folder,
            running(Path(folder)) as address,
        ):
            if not is_raced(address):
                shoot(address, into)
                return
    raise SystemExit("one config repo was always read while the other one's releases were pushed")


def is_raced(address: str) -> bool:
    """Whether a config repo could not be read since it moved meanwhile, which is over with the next cycle."""
    found = ask(address, "workloads?limit=100")["items"]
    return any(one["reason"]["code"] == "guard/after-unreadable" for one in found)


if __name__ == "__main__":
    main()
