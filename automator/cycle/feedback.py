"""Feedback: pull requests and issues of the source are told where their change is running.

What is to be told waits in an outbox that survives a restart, and is told by a thread of its own: no cycle
waits for it. A comment is found again by its first line, so that nothing is lost with the outbox but what
was not told yet.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol

from automator.core.feedback import Notice, comment_of, is_ours, notices
from automator.core.forge import Deployment
from automator.core.sourcechanges import Place, own_number
from automator.edges.forge.api import Forge
from automator.errors import AutomatorError, ForgeError
from automator.reasons import Reason, reason

MOST = 500
"""Errands that wait at a time: beyond that the oldest go."""
GIVEN_UP_AFTER = timedelta(days=1)
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=1)
LEAVING = 5.0
"""Seconds that the end of the program leaves for what was not tried yet."""
PROPOSED = 50
"""Pull requests of ours whose merge is waited for."""
_POINTLESS = ("forge/not-found", "forge/refused", "forge/unsupported", "forge/moved")
"""Trying again changes nothing."""
_KIND, _OUTBOX, _OPEN = "feedback", "outbox", "proposed"


class Notes(Protocol):
    """Where a few bytes are kept (`edges.store`)."""

    def get(self, kind: str, key: str) -> bytes | None: ...
    def put(self, kind: str, key: str, value: bytes | None) -> None: ...


@dataclass(frozen=True, slots=True)
class _Errand:
    """One thing to be told: a comment under `ref`, a deployment where that is empty."""

    notice: Notice
    ref: str
    since: datetime
    due: datetime
    tries: int = 0


class _Call(NamedTuple):
    """A merge to be looked at: `act` says whether that is done."""

    act: Callable[[], bool]
    due: datetime
    until: datetime


@dataclass
class Feedback:
    """The outbox of all config repos together, and the thread that empties it."""

    forges: Mapping[str, Forge]
    """By host."""
    notes: Notes | None
    """None where the outbox on disk is another process's."""
    clock: Callable[[], datetime]
    warn: Callable[[Reason], None] = lambda _: None
    _errands: list[_Errand] = field(default_factory=list)
    _proposed: dict[str, str] = field(default_factory=dict)
    """Commits on branches of ours, and their messages, until they are merged or dropped."""
    _calls: list[_Call] = field(default_factory=list)
    _told: dict[tuple[str, str], datetime] = field(default_factory=dict)
    """Host and code of what was complained about, and until when that is enough."""
    _turn: threading.Condition = field(default_factory=threading.Condition)
    _thread: threading.Thread | None = None
    _busy: bool = False
    _stopping: bool = False

    def __post_init__(self) -> None:
        if self.notes is None:
            return
        self._errands += _read_errands(self.notes.get(_KIND, _OUTBOX))
        self._proposed.update(_read_messages(self.notes.get(_KIND, _OPEN)))
        if self._errands:
            with self._turn:
                self._start()

    def tell(self, found: list[Notice]) -> None:
        """Have notices told soon."""
        now = self.clock()
        with self._turn:
            for notice in found:
                self._errands += [_Errand(notice, ref, now, now) for ref in notice.refs]
                if notice.revision:
                    self._errands.append(_Errand(notice, "", now, now))
            del self._errands[:-MOST]
            self._save()
            if found:
                self._start()

    def remember(self, commit: str, message: str) -> None:
        """A commit is proposed by a pull request: its message is wanted if it is merged."""
        with self._turn:
            self._proposed.pop(commit, None)
            self._proposed[commit] = message
            for old in list(self._proposed)[:-PROPOSED]:
                del self._proposed[old]
            self._save()

    def when_free(self, commit: str, act: Callable[[str], bool]) -> None:
        """Hand the message of a commit that we proposed to `act`, on the thread, until it says that all is
        done; nothing where it was not us who proposed it."""
        with self._turn:
            message = self._proposed.pop(commit, None)
            if message is not None:
                now = self.clock()
                self._calls.append(_Call(partial(act, message), now, now + GIVEN_UP_AFTER))
                self._save()
                self._start()

    def settle(self, seconds: float) -> bool:
        """Wait until all was tried that is due; whether it was."""
        with self._turn:
            self._turn.notify_all()
            return self._turn.wait_for(lambda: not self._busy and not self._has_work(), seconds)

    def close(self) -> None:
        """Try what was not tried yet, for a moment; the rest waits for the next start."""
        with self._turn:
            thread = self._thread
        if thread is None:
            return
        self.settle(LEAVING)
        with self._turn:
            self._stopping = True
            self._turn.notify_all()
        thread.join(0.5)

    # -- the thread ----------------------------------------------------------------------------------

    def _start(self) -> None:
        if self._thread is None and not self._stopping:
            self._thread = threading.Thread(target=self._run, name="automator-feedback", daemon=True)
            self._thread.start()
        self._turn.notify_all()

    def _has_work(self) -> bool:
        now = self.clock()
        return any(e.due <= now for e in self._errands) or any(c.due <= now for c in self._calls)

    def _run(self) -> None:
        while True:
            with self._turn:
                self._busy = False
                self._turn.notify_all()
                while not self._stopping and not self._has_work():
                    self._turn.wait(30)
                if self._stopping:
                    return
                self._busy = True
                now = self.clock()
                call = next((c for c in self._calls if c.due <= now), None)
                if call is not None:
                    self._calls.remove(call)
                errand = next((e for e in self._errands if e.due <= now), None)
            try:
                if call is not None and not call.act() and now < call.until:
                    with self._turn:
                        self._calls.append(call._replace(due=now + FIRST_PAUSE))
                if errand is not None:
                    self._carry_out(errand, now)
            except Exception as error:  # noqa: BLE001 - a bug met by one errand stays with it
                self._done(errand, None)
                self.warn(reason("feedback/bug", error=f"{type(error).__name__}: {error}"))

    def _carry_out(self, errand: _Errand, now: datetime) -> None:
        try:
            self._say(errand)
        except AutomatorError as error:
            why = error.reason
            if why.code in _POINTLESS:
                self._done(errand, None)
                if why.code == "forge/refused":
                    self._give_up(errand, why)
                return
            pause = min(FIRST_PAUSE * 2 ** min(errand.tries, 10), LONGEST_PAUSE)
            due = max(now + pause, why.changes_at or now)
            if due > errand.since + GIVEN_UP_AFTER:
                self._done(errand, None)
                self._give_up(errand, why)
                return
            self._done(errand, replace(errand, due=due, tries=errand.tries + 1))
            self._complain(errand.notice.place.host, why, now)
            if why.code in ("forge/limited", "forge/unreachable"):
                self._put_off(errand.notice.place.host, due)
            return
        self._done(errand, None)

    def _complain(self, host: str, why: Reason, now: datetime) -> None:
        """Say what is wrong with a forge, once an hour."""
        if why.code == "forge/limited" or now < self._told.get((host, why.code), now):
            return
        self._told[host, why.code] = now + LONGEST_PAUSE
        self.warn(why)

    def _give_up(self, errand: _Errand, why: Reason) -> None:
        place = errand.ref or errand.notice.place.project
        self.warn(reason("feedback/given-up", what=errand.notice.words, place=place, problem=why.sentence))

    def _put_off(self, host: str, due: datetime) -> None:
        """The forge as a whole is in trouble: nothing else is tried there before."""
        with self._turn:
            self._errands = [
                replace(e, due=max(e.due, due)) if e.notice.place.host == host else e for e in self._errands
            ]
            self._save()

    def _done(self, errand: _Errand | None, again: _Errand | None) -> None:
        with self._turn:
            if errand in self._errands:
                self._errands.remove(errand)
                if again is not None:
                    self._errands.append(again)
                self._save()

    # -- what is said --------------------------------------------------------------------------------

    def _say(self, errand: _Errand) -> None:
        """Raises ForgeError."""
        notice = errand.notice
        forge = self.forges.get(notice.place.host)
        if forge is None:
            return  # the config has it no longer
        if not errand.ref:
            url = notice.commit if notice.commit.startswith("http") else None
            deployment = Deployment(notice.revision, notice.environment, "success", notice.words, url)
            forge.record_deployment(notice.place.project, deployment)
            return
        own = own_number(errand.ref, notice.place)
        if own is not None:
            _comment(forge, notice, *own)

    # -- outbox --------------------------------------------------------------------------------------

    def _save(self) -> None:
        """Write both down; under the lock."""
        if self.notes is None:
            return
        rows = [[[*e.notice.place], [*e.notice[1:]], e.ref, e.since.isoformat(), e.due.isoformat(), e.tries]
                for e in self._errands]  # fmt: skip
        self.notes.put(_KIND, _OUTBOX, json.dumps(rows).encode() if rows else None)
        self.notes.put(_KIND, _OPEN, json.dumps(self._proposed).encode() if self._proposed else None)


def _comment(forge: Forge, notice: Notice, number: int, on: Literal["pull", "issue"]) -> None:
    """Edit our comment, or make it where there is none that we may edit. Raises ForgeError."""
    project = notice.place.project
    for said in forge.comments(project, number, on=on):
        if not is_ours(said.body):
            continue
        body = comment_of(notice, said.body)
        if notice.line in said.body.splitlines():
            return
        try:
            forge.edit_comment(project, number, said.id, body, on=on)
        except ForgeError as error:
            if error.reason.code in ("forge/denied", "forge/not-found", "forge/refused"):
                continue  # somebody else copied our first line
            raise
        return
    forge.comment(project, number, comment_of(notice), on=on)


def _read_errands(text: bytes | None) -> list[_Errand]:
    """What was kept; nothing of a text that another version wrote."""
    found = []
    try:
        rows: list[Any] = json.loads(text or b"[]")
        for place, rest, ref, since, due, tries in rows:
            revision, refs, *words = rest
            (kind, host, project), (workload, environment, what, before, after, commit) = place, words
            notice = Notice(
                Place(kind, host, project),
                revision, tuple(refs), workload, environment, what, before, after, commit,
            )  # fmt: skip
            times = datetime.fromisoformat(since), datetime.fromisoformat(due)
            found.append(_Errand(notice, str(ref), *times, int(tries)))
    except (ValueError, TypeError):
        return []
    return found


def _read_messages(text: bytes | None) -> dict[str, str]:
    try:
        return {str(commit): str(message) for commit, message in json.loads(text or b"{}").items()}
    except (ValueError, AttributeError):
        return {}


@dataclass(frozen=True)
class Teller:
    """What one config repo has to tell."""

    feedback: Feedback
    environment_of: Callable[[str], str]
    """The environment of a workload."""
    home: tuple[Forge, str] | None
    """Forge and project of the config repo, where it has one."""

    def landed(self, message: str, commit: str) -> None:
        """A commit of ours is on the branch: our push brought it there, or a merge."""
        forges = self.feedback.forges
        page = commit if self.home is None else self.home[0].commit_page(self.home[1], commit)
        kinds = {host: forge.kind for host, forge in forges.items()}
        found = list(notices(message, page, self.environment_of, kinds))
        if found:
            self.feedback.tell(found)

    def proposed(self, message: str, commit: str) -> None:
        """A commit of ours is on the branch of a pull request."""
        self.feedback.remember(commit, message)

    def over(self, commit: str, number: int) -> None:
        """A pull request with this commit was merged, or closed: the forge is asked which."""

        def ask(message: str) -> bool:
            if self.home is None:
                return True
            forge, project = self.home
            try:
                pull = forge.pull_request(project, number)
            except ForgeError as error:
                return error.reason.code in _POINTLESS
            if pull.state == "merged" and pull.merge_commit:
                self.landed(message, pull.merge_commit)
            return pull.state != "open"

        self.feedback.when_free(commit, ask)
