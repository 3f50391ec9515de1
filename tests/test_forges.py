"""[forges] of the config becomes clients that speak to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from parts.canaries import secret
from parts.forges import ForgeServer

from automator.app import App
from automator.config import Config


def config(folder: Path, repo: str, **forges: dict[str, Any]) -> Config:
    return Config(state=folder / "state", repos={"shop": {"url": repo}}, forges=forges)


def test_the_program_speaks_to_the_forges_of_its_config(tmp_path: Path) -> None:
    with ForgeServer("gitea", tmp_path) as forge:
        repo = forge.project("acme/shop", {"README.md": "config repo\n"})
        table = {"kind": "gitea", "api": forge.api, "token_file": forge.token_file, "timeout": "5s"}
        told = config(tmp_path, str(repo.path), **{forge.host: table})
        with App.open(told, exclusive=True) as app:
            assert list(app.forges) == [forge.host]
            client = app.forges[forge.host]
            assert client.login() == ("automator", forge.token)
            assert client.pull_requests("acme/shop") == ()
        assert [call.status for call in forge.calls] == [200]


def test_a_forge_that_nobody_asks_needs_no_secret_and_no_network(tmp_path: Path) -> None:
    told = config(
        tmp_path,
        str(tmp_path / "nowhere.git"),
        **{
            "github.com": {
                "app_id": "1",
                "app_key_file": tmp_path / "missing.pem",
                "installation_id": 2,
            },
            "forge.invalid": {"kind": "gitlab", "token_file": tmp_path / "missing-token"},
        },
    )
    with App.open(told, exclusive=True) as app:
        assert {host: client.kind for host, client in app.forges.items()} == {
            "github.com": "github",
            "forge.invalid": "gitlab",
        }
        assert app.forges["github.com"].page("acme/shop") == "https://github.com/acme/shop"
        assert secret("x") not in repr(app.forges)
