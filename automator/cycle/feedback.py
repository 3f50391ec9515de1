"""Feedback: pull requests and issues of the source are told where their change is running.

What is to be told waits in an outbox that survives a restart, and is told by a thread of its own: no cycle
waits for it. A comment is found again by its first line, so that nothing is lost with the outbox but what
was not told yet.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, Protocol

from automator.core.feedback import Notice, comment_of, is_ours, lines_of, notices
from automator.core.forge import Deployment
from automator.core.sourcechanges import Place, own_number
from automator.edges.forge.api import Forge
from automator.errors import AutomatorError, ConfigError, ForgeError
from automator.reasons import Reason, reason

MOST = 1_000
"""Errands that wait at a time: beyond that the oldest are given up. A cycle makes half of them at most."""
GIVEN_UP_AFTER = timedelta(days=1)
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=1)
LEAVING = 5.0
"""Seconds that the end of the program leaves for what was not tried yet."""
PROPOSED = 500
"""Commits of pull requests of ours whose merge is waited for, with those that a newer one replaced."""
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


class _Proposed(NamedTuple):
    """A commit on a branch of ours, until it is merged or dropped."""

    repo: str
    """Name of the config repo."""
    message: str
    number: int = 0
    """Its pull request, once that is over: the forge has to be asked whether it was merged."""
    since: datetime | None = None
    due: datetime | None = None


Ask = Callable[[str, int], bool]
"""Message and number of a pull request that is over -> whether it was told of, if that was to be."""


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
    _proposed: dict[str, _Proposed] = field(default_factory=dict)
    """By commit."""
    _asks: dict[str, Ask] = field(default_factory=dict)
    """By name of a config repo."""
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
        self._proposed.update(_read_proposed(self.notes.get(_KIND, _OPEN)))
        if self._errands:
            with self._turn:
                self._start()

    def join(self, repo: str, ask: Ask) -> None:
        """Who asks what became of the pull requests of a config repo."""
        with self._turn:
            self._asks[repo] = ask
            if any(kept.number and kept.repo == repo for kept in self._proposed.values()):
                self._start()

    def tell(self, found: list[Notice]) -> None:
        """Have notices told soon."""
        now = self.clock()
        with self._turn:
            for notice in found:
                alone = notice._replace(refs=())
                self._errands += [_Errand(alone, ref, now, now) for ref in notice.refs]
                if notice.revision:
                    self._errands.append(_Errand(alone, "", now, now))
            for errand in self._errands[:-MOST]:
                self._give_up(errand, f"more than {MOST} wait")
            del self._errands[:-MOST]
            self._save()
            if found:
                self._start()

    def remember(self, repo: str, commit: str, message: str) -> None:
        """A commit is proposed by a pull request: its message is wanted if it is merged."""
        with self._turn:
            if commit in self._proposed:
                return
            self._proposed[commit] = _Proposed(repo, message)
            for old in list(self._proposed)[:-PROPOSED]:
                del self._proposed[old]
            self._save_proposed()

    def over(self, commit: str, number: int) -> None:
        """The pull request of a commit that we proposed was merged or closed: it is asked which, on the
        thread, until there is an answer; nothing where it was not us who proposed it."""
        with self._turn:
            kept = self._proposed.get(commit)
            if kept is not None and not kept.number:
                now = self.clock()
                self._proposed[commit] = kept._replace(number=number, since=now, due=now)
                self._save_proposed()
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
        return any(e.due <= now for e in self._errands) or self._merge_due(now) is not None

    def _merge_due(self, now: datetime) -> str | None:
        """A commit whose merge is to be asked for."""
        for commit, kept in self._proposed.items():
            if kept.due is not None and kept.due <= now and kept.repo in self._asks:
                return commit
        return None

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
                merged = self._merge_due(now)
                errands = [] if merged is not None else self._errands_due(now)
            try:
                if merged is not None:
                    self._look_at(merged, now)
                else:
                    self._carry_out(errands, now)
            except Exception as error:  # noqa: BLE001 - a bug met by one errand stays with it
                self._done(errands)
                self._drop(merged)
                self.warn(reason("feedback/bug", error=f"{type(error).__name__}: {error}"))

    def _errands_due(self, now: datetime) -> list[_Errand]:
        """The next one, with all others that change the same comment."""
        due = [errand for errand in self._errands if errand.due <= now]
        first = due[0]
        if not first.ref:
            return [first]
        return [e for e in due if (e.notice.place, e.ref) == (first.notice.place, first.ref)]

    def _look_at(self, commit: str, now: datetime) -> None:
        """Ask what became of the pull request of a commit."""
        with self._turn:
            kept = self._proposed.get(commit)
        if kept is None:
            return  # too many others came
        since = kept.since or now
        if self._asks[kept.repo](kept.message, kept.number) or now - since > GIVEN_UP_AFTER:
            self._drop(commit)
            return
        pause = min(max(now - since, FIRST_PAUSE), LONGEST_PAUSE)
        with self._turn:
            if commit in self._proposed:
                self._proposed[commit] = kept._replace(due=now + pause)
                self._save_proposed()

    def _drop(self, commit: str | None) -> None:
        with self._turn:
            if commit is not None and self._proposed.pop(commit, None) is not None:
                self._save_proposed()

    def _carry_out(self, errands: list[_Errand], now: datetime) -> None:
        try:
            self._say(errands)
        except AutomatorError as error:
            why = error.reason
            if why.code not in _POINTLESS:
                self._try_again(errands, why, now)
                return
            for errand in errands if why.code == "forge/refused" else ():
                self._give_up(errand, why.sentence)
        self._done(errands)

    def _try_again(self, errands: list[_Errand], why: Reason, now: datetime) -> None:
        """Later, within a day; and before that nothing else that would have the same answer."""
        tries = max(errand.tries for errand in errands)
        pause = min(FIRST_PAUSE * 2 ** min(tries, 10), LONGEST_PAUSE)
        due = max(now + pause, why.changes_at or now)
        late = [errand for errand in errands if due > errand.since + GIVEN_UP_AFTER]
        for errand in late:
            self._give_up(errand, why.sentence)
        again = [replace(e, due=due, tries=e.tries + 1) for e in errands if e not in late]
        self._done(errands, again)
        place = errands[0].notice.place
        if again:
            self._complain(place.host, why, now)
        if why.code in ("forge/limited", "forge/unreachable"):
            self._put_off(due, lambda other: other.host == place.host)
        elif why.code == "forge/denied":  # the token may not do it in this project, most likely
            self._put_off(due, lambda other: other == place)

    def _complain(self, host: str, why: Reason, now: datetime) -> None:
        """Say what is wrong with a forge, once an hour."""
        if why.code == "forge/limited" or now < self._told.get((host, why.code), now):
            return
        self._told[host, why.code] = now + LONGEST_PAUSE
        self.warn(why)

    def _give_up(self, errand: _Errand, problem: str) -> None:
        place = errand.ref or errand.notice.place.project
        self.warn(reason("feedback/given-up", what=errand.notice.words, place=place, problem=problem))

    def _put_off(self, due: datetime, concerns: Callable[[Place], bool]) -> None:
        """Nothing is tried there before."""
        with self._turn:
            self._errands = [
                replace(e, due=max(e.due, due)) if concerns(e.notice.place) else e for e in self._errands
            ]
            self._save()

    def _done(self, errands: list[_Errand], again: Sequence[_Errand] = ()) -> None:
        with self._turn:
            self._errands = [*(e for e in self._errands if e not in errands), *again]
            self._save()

    # -- what is said --------------------------------------------------------------------------------

    def _say(self, errands: list[_Errand]) -> None:
        """One deployment, or what changes one comment. Raises ForgeError."""
        errand = errands[0]
        notice = errand.notice
        forge = self.forges.get(notice.place.host)
        if forge is None:
            return  # the config has it no longer
        if not errand.ref:
            told = notice.revision, notice.environment
            deployment = Deployment(*told, "success", notice.words, notice.commit)
            forge.record_deployment(notice.place.project, deployment)
            return
        own = own_number(errand.ref, notice.place)
        if own is not None:
            _comment(forge, [errand.notice for errand in errands], *own)

    # -- outbox --------------------------------------------------------------------------------------

    def _save(self) -> None:
        """Write the errands down; under the lock."""
        rows = [[[*e.notice.place], [*e.notice[1:]], e.ref, e.since.isoformat(), e.due.isoformat(), e.tries]
                for e in self._errands]  # fmt: skip
        self._put(_OUTBOX, rows)

    def _save_proposed(self) -> None:
        """Write down what is proposed; under the lock."""
        found = {commit: [kept.repo, kept.message, kept.number, *map(_text, (kept.since, kept.due))]
                 for commit, kept in self._proposed.items()}  # fmt: skip
        self._put(_OPEN, found)

    def _put(self, key: str, value: Any) -> None:
        """Whoever is late at the end finds the state folder closed."""
        if self.notes is None or self._stopping:
            return
        try:
            self.notes.put(_KIND, key, json.dumps(value).encode() if value else None)
        except ConfigError as error:  # a full disk stops no release that is pushed already
            self.warn(error.reason)


def _comment(forge: Forge, told: list[Notice], number: int, on: Literal["pull", "issue"]) -> None:
    """Edit our comment, or make it where there is none that we may edit; of several, which automators made at
    the same moment, the oldest stays. Raises ForgeError."""
    project, lines = told[0].place.project, {notice.line for notice in told}
    theirs: set[str] = set()
    is_made = False
    while True:
        said = forge.comments(project, number, on=on)
        ours = [one for one in said if one.id not in theirs and is_ours(one.body)]
        if not ours and is_made:
            return
        if not ours:
            forge.comment(project, number, comment_of(told), on=on)
            is_made = True  # somebody else may have done so just now: look again
            continue
        first, *doubles = [one for one in ours if one.author == ours[0].author]
        wanted = lines.union(*(lines_of(one.body) for one in doubles))
        try:
            if not wanted <= lines_of(first.body):
                body = comment_of(told, "\n".join(one.body for one in (first, *doubles)))
                forge.edit_comment(project, number, first.id, body, on=on)
            for double in doubles:
                forge.delete_comment(project, number, double.id, on=on)
        except ForgeError as error:
            if error.reason.code not in ("forge/denied", "forge/not-found", "forge/refused"):
                raise
            if not is_made:
                theirs |= {one.id for one in ours if one.author == first.author}
                continue  # somebody else copied our first line
        return


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


def _read_proposed(text: bytes | None) -> dict[str, _Proposed]:
    found = {}
    try:
        for commit, (repo, message, number, since, due) in json.loads(text or b"{}").items():
            times = (None if told is None else datetime.fromisoformat(told) for told in (since, due))
            found[str(commit)] = _Proposed(str(repo), str(message), int(number), *times)
    except (ValueError, TypeError, AttributeError):
        return {}
    return found


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


@dataclass(frozen=True)
class Teller:
    """What one config repo has to tell."""

    feedback: Feedback
    repo: str
    """Name of the config repo."""
    environment_of: Callable[[str], str]
    """The environment of a workload."""
    forge: Forge
    """The config repo's."""
    project: str
    owners: tuple[str, ...]
    """Whose sources are told, as `core.feedback.notices` takes them."""

    def __post_init__(self) -> None:
        self.feedback.join(self.repo, self._ask)

    def landed(self, message: str, commit: str) -> None:
        """A commit of ours is on the branch: our push brought it there, or a merge."""
        forges = self.feedback.forges
        page = self.forge.commit_page(self.project, commit)
        kinds = {host: forge.kind for host, forge in forges.items()}
        found = list(notices(message, page, self.environment_of, kinds, self.owners))
        if found:
            self.feedback.tell(found)

    def proposed(self, message: str, commit: str) -> None:
        """A commit of ours is on the branch of a pull request."""
        self.feedback.remember(self.repo, commit, message)

    def over(self, commit: str, number: int) -> None:
        """A pull request with this commit was merged, or closed: the forge is asked which."""

        self.feedback.over(commit, number)

    def _ask(self, message: str, number: int) -> bool:
        try:
            pull = self.forge.pull_request(self.project, number)
        except ForgeError as error:
            return error.reason.code in _POINTLESS
        if pull.state == "merged" and pull.merge_commit:
            self.landed(message, pull.merge_commit)
        return pull.state != "open"
