"""Client: what the clients of all kinds of forges share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar
from urllib.parse import quote

from automator.core.forge import Comment, CommitStatus, PullRequest
from automator.edges.forge import failures, reading
from automator.edges.forge.caller import PAGES, Caller, Query, Told
from automator.edges.forge.settings import ForgeSettings
from automator.errors import ForgeError
from automator.reasons import reason

T = TypeVar("T")
Listed = Literal["open", "closed", "all"]
On = Literal["pull", "issue"]
LONGEST_TITLE = 250  # characters; GitHub, GitLab, Gitea and Bitbucket all take 255


class Client:
    """One forge, over its caller. Subclasses have the methods of `Forge`."""

    _files = "blob"
    """Under which the project's page has its files."""

    def __init__(self, settings: ForgeSettings, caller: Caller) -> None:
        self.host = settings.host
        self.kind: str = settings.kind
        self._page = settings.page
        self._caller = caller

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.host!r})"

    def close(self) -> None:
        """End the connections that are kept open."""
        self._caller.close()

    def page(self, project: str) -> str:
        return f"{self._page}/{quote(project)}"

    def commit_page(self, project: str, commit: str) -> str:
        return f"{self.page(project)}/commit/{quote(commit)}"

    def compare_page(self, project: str, base: str, head: str) -> str:
        return f"{self.page(project)}/compare/{quote(base)}...{quote(head)}"

    def file_page(self, project: str, commit: str, path: str, line: int | None = None) -> str:
        at = "" if line is None else f"#L{line}"
        return f"{self.page(project)}/{self._files}/{quote(commit)}/{quote(path)}{at}"

    def login(self) -> tuple[str, str]:
        return self._caller.login.for_git()

    def login_refused(self, login: tuple[str, str]) -> bool:
        return self._caller.login.refused_for_git(login)

    # -- for subclasses -----------------------------------------------------------------------------------

    @contextmanager
    def _reads(self, what: str) -> Iterator[None]:
        """Turns a wrong shape of an answer into the error for it."""
        try:
            yield
        except reading.WrongShape as problem:
            raise self._caller.wrong(what, problem) from None

    def _conflict(self, what: str, words: str) -> ForgeError:
        return ForgeError(reason("forge/conflict", host=self.host, what=what, answer=words))

    def _cannot(self, what: str, problem: str) -> ForgeError:
        return failures.unsupported(self.host, what, problem)

    def _items(
        self,
        path: str,
        query: Query,
        read: Callable[[Any], T],
        *,
        what: str,
        inside: str | None = None,
        most: int = PAGES,
    ) -> Iterator[T]:
        """What a listing lists, over its pages, by `read`; `inside`: the key under which a page has it."""
        with self._reads(what):
            for told in self._caller.pages(path, query, what=what, most=most):
                yield from map(read, reading.listing(_inside(told, inside)))

    def _matching(
        self,
        found: Iterable[PullRequest],
        *,
        head: str | None,
        base: str | None,
        state: Listed,
        limit: int,
    ) -> tuple[PullRequest, ...]:
        """The pull requests that were meant: not every forge filters by everything."""
        kept: list[PullRequest] = []
        for pull in found:
            fits = state == "all" or (state == "open") == (pull.state == "open")
            fits = fits and (base is None or pull.base == base)
            if fits and (head is None or _is_meant(pull.head, head)):
                kept.append(pull)
                if len(kept) >= limit:
                    break
        return tuple(sorted(kept, key=lambda pull: -pull.number))


def _is_meant(branch: str, head: str) -> bool:
    return branch.startswith(head) if head.endswith("/") else branch == head


def head_commit(head: str, commit: str | None) -> str:
    """The commit of a head, which only that of a stranger may lack: forks go away.

    Raises WrongShape.
    """
    if commit is None and ":" not in head:
        raise reading.WrongShape("the head's commit is missing")
    return commit or ""


def head_name(branch: str, owner: str | None, *, is_ours: bool) -> str:
    """The head of a pull request. That of a fork is told with its owner, `mallory:automator/web`: it must
    never be taken for ours, and no branch has a colon in its name."""
    return branch if is_ours else f"{owner or 'unknown'}:{branch}"


def comment_of(value: Any, author: tuple[str, ...] = ("user", "login")) -> Comment:
    """A comment of an answer; `author` leads to the login of who wrote it, who may be gone.

    Raises WrongShape.
    """
    return Comment(
        str(reading.number(value, "id")), reading.maybe(value, *author), reading.maybe(value, "body") or ""
    )


def newest_of_each(statuses: Iterable[CommitStatus]) -> tuple[CommitStatus, ...]:
    """The first of each context, of a list that begins with the newest."""
    newest: dict[str, CommitStatus] = {}
    for status in statuses:
        newest.setdefault(status.context, status)
    return tuple(newest.values())


def cut(text: str, limit: int) -> str:
    """`text` in at most `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def present(**fields: Any) -> dict[str, Any]:
    """The fields that are given."""
    return {name: value for name, value in fields.items() if value is not None}


def segment(text: str) -> str:
    """`text` as one segment of a path."""
    return quote(text, safe="")


def _inside(told: Told, key: str | None) -> Any:
    return told.value if key is None else reading.at(told.value, key)
