"""Several config repos in one daemon: each at its own interval, each with a login of its own."""

from __future__ import annotations

import base64
import signal
from contextlib import ExitStack
from pathlib import Path

from parts.canaries import secret
from parts.gitserver import BareRepo, HttpGit, git, http_git
from parts.world import EmbeddedWorld, deployment

NAMES = ("quick", "lazy")


def basic(user: str, password: str) -> str:
    """What a client says to a server that asks who is there."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_each_goes_by_its_own_interval_and_shows_its_login_to_nobody_else(tmp_path: Path) -> None:
    with EmbeddedWorld(tmp_path) as world, ExitStack() as stack:
        world.push("web", "1.0.0")
        files = {world.manifest("web"): deployment(world.image("web", "1.0.0"), "web")}
        repos: dict[str, BareRepo] = {}
        servers: dict[str, HttpGit] = {}
        tables = ""
        for name, interval in zip(NAMES, ("1s", "2h"), strict=True):
            repos[name] = BareRepo.create(tmp_path / name / "shop.git")
            repos[name].commit({**files, "policies/shop.yaml": world.policy("web")}, "Adopt")
            git(repos[name].path, "config", "http.receivepack", "true")
            servers[name] = stack.enter_context(http_git(tmp_path / name, {f"robot-{name}": secret(name)}))
            (tmp_path / f"{name}-token").write_text(secret(name) + "\n")
            login = f'{{username = "robot-{name}", password_file = "{name}-token"}}'
            url = servers[name].url(repos[name])
            tables += f'[repos.{name}]\nurl = "{url}"\ninterval = "{interval}"\ncredentials = {login}\n'
        world.config.write_text(
            f'state = "state"\n{tables}[registries."{world.host}"]\ninsecure = true\n'
            '[daemon]\nlisten = "127.0.0.1:0"\ninterval = "1h"\n'
        )
        with world.start("run") as daemon:
            daemon.until(lambda: daemon.get("/readyz").status_code == 200, "the first cycles of both")
            asked = len(servers["lazy"].requests)
            world.push("web", "1.1.0")
            daemon.until(
                lambda: repos["quick"].log()[0] == "Release web 1.1.0", "the release of the quick one"
            )
            world.push("web", "1.2.0")
            daemon.until(lambda: repos["quick"].log()[0] == "Release web 1.2.0", "the next one")
            assert len(servers["lazy"].requests) == asked, "it is not its time yet"
            daemon.send(signal.SIGUSR1)
            daemon.until(lambda: repos["lazy"].log()[0] == "Release web 1.2.0", "the one that was asked for")
            text = daemon.get("/metrics").text
            seconds = [f'automator_cycle_interval_seconds{{repo="{name}"}}' for name in NAMES]
            assert [f"{seconds[0]} 1.0" in text, f"{seconds[1]} 7200.0" in text] == [True, True]
            assert daemon.end() == 0
        for name, served in servers.items():
            assert set(served.authorizations) <= {"", basic(f"robot-{name}", secret(name))}
            assert basic(f"robot-{name}", secret(name)) in served.authorizations
