"""Config repos behind a forge's own token: git logs in with what [forges] has."""

from __future__ import annotations

from parts.canaries import secret
from parts.forges import BOT, ForgeServer
from parts.forgestage import PROJECT
from parts.gitserver import http_git
from parts.stage import Stage

from automator.reasons import Status

TOKEN = secret("forge-login")


def test_git_reads_and_pushes_with_the_token_of_the_forge_as_it_is_now(stage: Stage) -> None:
    stage.push("acme/web", "1.0.0", "1.1.0")
    stage.commit(stage.workload("web", "1.0.0"))
    token_file = stage.folder / "forge-token"
    token_file.write_text(f"{TOKEN}\n")
    with http_git(stage.folder, {"oauth2": TOKEN}) as server, ForgeServer("gitlab", stage.folder) as forge:
        forge.project(PROJECT, repo=stage.repo)
        forge.tokens = dict.fromkeys((TOKEN, f"{TOKEN}-rotated"), BOT)
        place = server.address.partition("://")[2]
        stage.settings = {
            "url": server.url(stage.repo),
            "project": PROJECT,
            "credentials": {"forge": True},
        }
        stage.forges = {place: {"kind": "gitlab", "api": forge.api, "token_file": str(token_file)}}
        assert stage.outcomes()["web"].status is Status.RELEASED
        assert stage.image_of("web") == "web:1.1.0"

        server.users = {"oauth2": f"{TOKEN}-rotated"}
        refused = stage.run().error
        assert refused is not None
        assert refused.code == "git/denied"
        assert TOKEN not in f"{refused.sentence} {refused!r}"
        token_file.write_text(f"{TOKEN}-rotated\n")
        assert stage.outcomes()["web"].status is Status.CURRENT

        token_file.unlink()
        missing = stage.run().error
        assert missing is not None
        assert missing.code.startswith("forge/")
        assert str(token_file) in missing.sentence
        stage.stop()


def test_without_a_forge_the_server_lets_nobody_in(stage: Stage) -> None:
    stage.commit(stage.workload("web", "1.0.0"))
    with http_git(stage.folder, {"oauth2": TOKEN}) as server:
        stage.settings = {"url": server.url(stage.repo)}
        report = stage.run()
        assert report.error is not None
        assert report.error.code == "git/denied"
        stage.stop()
