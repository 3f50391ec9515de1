"""The forges of the tests are worth testing against: they hold to the descriptions, and Git is real."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import requests
from parts.forge_field import KINDS, SHOP, Field, make_field
from parts.gitserver import git


@pytest.fixture(params=KINDS)
def field(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Field]:
    made = make_field(request.param, tmp_path)
    with made.forge:
        yield made


def only(*kinds: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("field", kinds, indirect=True)


class Raw:
    """Requests as somebody else's client would send them."""

    def __init__(self, field: Field) -> None:
        self.field = field
        self.headers = {"Authorization": f"Bearer {field.forge.token}", "User-Agent": "somebody"}

    def __call__(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            session.headers.clear()
            return session.request(
                method, f"{self.field.forge.page}{path}", json=body, timeout=10,
                headers=self.headers if headers is None else headers,
            )  # fmt: skip

    @property
    def pulls(self) -> str:
        return {
            "github": "/api/v3/repos/acme/shop/pulls",
            "gitlab": "/api/v4/projects/acme%2Fshop/merge_requests",
            "bitbucket": "/2.0/repositories/acme/shop/pullrequests",
        }.get(self.field.forge.kind, "/api/v1/repos/acme/shop/pulls")


def test_what_does_not_fit_is_refused(field: Field) -> None:
    raw = Raw(field)
    bad = 400 if field.forge.kind == "gitlab" else 422
    assert raw("GET", raw.pulls).status_code == 200
    assert raw("GET", f"{raw.pulls}?colour=red").status_code == bad
    assert raw("GET", f"{raw.pulls}?state=sideways").status_code == bad
    assert raw("POST", raw.pulls, {"title": 7}).status_code == bad
    assert raw("POST", raw.pulls, []).status_code == bad
    assert raw("GET", f"{raw.pulls}/1/nonsense/2").status_code == 404
    assert raw("GET", "/somewhere").status_code == 404
    assert field.forge.undescribed != []
    assert field.forge.pulls == {}


def test_who_shows_no_token_is_not_let_in(field: Field) -> None:
    raw = Raw(field)
    assert raw("GET", raw.pulls, headers={"User-Agent": "x"}).status_code == 401
    wrong = {"User-Agent": "x", "Authorization": "Bearer wrong"}
    assert raw("GET", raw.pulls, headers=wrong).status_code == 401


@only("github")
def test_github_wants_to_know_who_asks(field: Field) -> None:
    raw = Raw(field)
    line = HTTPConnection(field.forge.host, timeout=10)
    line.request("GET", raw.pulls, headers={"Authorization": raw.headers["Authorization"]})
    assert line.getresponse().status == 403
    line.close()
    assert raw("GET", raw.pulls).headers["x-ratelimit-remaining"] == "4999"


def test_git_is_served_to_who_has_the_token(field: Field, tmp_path: Path) -> None:
    url = field.forge.url(SHOP).replace("//", f"//anybody:{field.forge.token}@")
    work = tmp_path / "work"
    git(tmp_path, "clone", "--quiet", url, str(work))
    (work / "b").write_text("new\n")
    git(work, "add", "b")
    git(work, "commit", "--quiet", "-m", "By hand")
    git(work, "push", "--quiet", "origin", "HEAD:main")
    assert field.repo.log()[0] == "By hand"
    git(work, "remote", "set-url", "origin", "nowhere")


MESSAGES = {
    "github": (
        "Merge pull request #1 from acme/automator/web\n\nRelease web 2",
        "Release web 2 (#1)\n\n* First\n\n* Second\n\nRelease-Kind: release",
    ),
    "gitlab": (
        "Merge branch 'automator/web' into 'main'\n\nRelease web 2\n\nSee merge request acme/shop!1",
        "Merge branch 'automator/web' into 'main'\n\nRelease web 2\n\nSee merge request acme/shop!1",
    ),
    "gitea": (
        "Merge pull request 'Release web 2' (#1) from automator/web into main",
        "Release web 2 (#1)\n\nRelease-Kind: release",
    ),
    "forgejo": (
        "Merge pull request 'Release web 2' (#1) from automator/web into main",
        "Release web 2 (#1)\n\nRelease-Kind: release",
    ),
    "bitbucket": (
        "Merged in automator/web (pull request #1)\n\nRelease web 2",
        "Merged in automator/web (pull request #1)\n\nRelease web 2\n\n* First\n\n* Second",
    ),
}


@pytest.mark.parametrize("how", ["merge", "squash", "rebase"])
def test_merging_moves_the_base_with_the_message_of_that_forge(field: Field, how: str) -> None:
    field.branch("automator/web", "First", "Second\n\nRelease-Kind: release")
    field.forge.open("automator/web", title="Release web 2", body="Release-Kind: release")
    before = field.repo.commit({"a": "2\n"}, "Meanwhile")
    tip = field.forge.merge(1, how=how, by="bob", delete_branch=True)  # type: ignore[arg-type]
    assert field.repo.tip() == tip
    assert field.repo.read("apps/automator-web-1.yaml").startswith("Second")
    assert field.repo.read("a") == "2"
    message = git(field.repo.path, "log", "-1", "--format=%B", tip)
    if how == "rebase":
        assert field.repo.log()[:3] == ["Second", "First", "Meanwhile"]
    else:
        assert message.startswith(MESSAGES[field.forge.kind][how == "squash"])
        assert git(field.repo.path, "log", "-1", "--format=%an", tip) == "Bob"
    assert git(field.repo.path, "merge-base", before, tip) == before
    assert field.forge.only().tip("automator/web") is None
    assert field.repo.fsck() == ""


def test_what_conflicts_is_not_merged(field: Field) -> None:
    base = field.repo.tip()
    field.repo.branch = "automator/web"
    field.repo.commit({"a": "mine\n"}, "Mine", base=base)
    field.repo.branch = "main"
    field.forge.open("automator/web")
    theirs = field.repo.commit({"a": "theirs\n"}, "Theirs")
    with pytest.raises(Exception, match="conflicts"):
        field.forge.merge(1)
    assert field.repo.tip() == theirs
    assert field.forge.pulls[1].state == "open"


def test_pull_requests_follow_their_branches(field: Field) -> None:
    field.branch("automator/web")
    field.forge.open("automator/web")
    tip = field.branch("automator/web", "Another")
    assert field.forge.pulls[1].head_commit == tip
    field.repo.set_tip(tip)
    assert field.forge.pulls[1].state == "merged", "its commits came to the base by a push"
    field.branch("automator/api")
    field.forge.open("automator/api")
    field.forge.only().set_branch("automator/api", None)
    assert field.forge.pulls[2].state == "closed", "its branch is gone"
    field.branch("automator/api")
    field.forge.reopen(2)
    assert field.forge.pulls[2].state == "open"
