"""Notices: from a cycle's report, and from what was told before, to what there is to tell.

A state machine without clock or network: `found` says what a report holds, `step` what of it is news for
one receiver, and what is remembered for the next time. A failure is told once, and its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase

from automator.core.report import Outcome, Report
from automator.reasons import Reason, Status

FLAP = timedelta(hours=1)
"""What fails again so soon after its end was told is one that comes and goes."""
CALM = timedelta(minutes=15)
"""How long one that comes and goes must be well before its end is told; twice as long each time."""
LONGEST_CALM = timedelta(hours=4)
CODES_TOLD = 8
"""Ways in which one thing fails that are told before its end."""
NAMED = 20
"""Workloads that are remembered of what concerns many."""


class Kind(StrEnum):
    """What a notice is about."""

    RELEASED = "released"
    ROLLED_BACK = "rolled-back"
    PROPOSED = "proposed"
    FAILED = "failed"
    SILENT = "silent"
    TROUBLE = "trouble"
    DIVERGED = "diverged"
    RECOVERED = "recovered"
    HELD = "held"
    WAITING = "waiting"


USUAL = frozenset(Kind) - {Kind.HELD, Kind.WAITING}
"""What is told where nobody says otherwise."""
_STILL = {Status.HELD: Kind.HELD, Status.WAITING: Kind.WAITING}
_FAILING = frozenset({"verify/failed", "verify/failed-again", "verify/stuck"})
"""Codes of outcomes that are held, and that somebody must hear of like a failure."""
_SETTLED = frozenset({Status.CURRENT, Status.RELEASED})
"""Outcomes that say that a workload is well; any other says neither that nor that it fails."""
_UNSETTLED = ("registry/", "history/", "forge/", "git/")
"""Areas of reasons that do not say so whatever the outcome."""
_PATIENT = frozenset(
    {
        "git/busy",
        "git/damaged",
        "git/ended",
        "git/failed",
        "git/moved",
        "git/no-process",
        "git/rewound",
        "git/stuck",
        "git/timeout",
        "git/unreachable",
    }
)
"""Why a config repo cannot be read for a while, as happens everywhere."""
_NO_ANSWER = frozenset(
    {
        "forge/answer",
        "forge/limited",
        "forge/unreachable",
        "registry/bad-answer",
        "registry/dns",
        "registry/late",
        "registry/list-interrupted",
        "registry/not-asked",
        "registry/not-json",
        "registry/proxy",
        "registry/rate-limited",
        "registry/resting",
        "registry/server-error",
        "registry/timeout",
        "registry/token",
        "registry/unreachable",
    }
)
"""What registries and forges have times of, too: nobody has to be called for that at once."""

CONFIG_REPO = "config repo"
"""The subject that the config repo itself is."""
DRIFT = "drift"
"""Begin of the subject that a workload at a runtime is: `drift web at production`."""


@dataclass(frozen=True, slots=True)
class About:
    """A workload that an item concerns; what is routed by."""

    workload: str
    owner: str | None = None
    environment: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to tell. Its texts may come from outside: `core.noticetext` makes them harmless."""

    kind: Kind
    subject: str
    """What it is about, for good: `workload web`, `registry ghcr.io`, `config repo`."""
    key: str
    """Tells this piece of news from any other of its kind and subject."""
    sentence: str
    code: str = ""
    next_step: str = ""
    about: tuple[About, ...] = ()
    image: str = ""
    before: str | None = None
    after: str | None = None
    commit: str | None = None
    link: str | None = None
    actor: str | None = None
    why: str | None = None
    """Of what was rolled back."""
    since: datetime | None = None
    """Of what fails: since when; of what works again: since when it failed."""
    turn: str = ""
    """Of what fails: begun, again, changed or still; of what works again: gone where it is no more."""

    @property
    def workload(self) -> str | None:
        """The workload, where it is about one."""
        is_of_one = self.subject.startswith(("workload ", f"{DRIFT} "))
        return self.about[0].workload if is_of_one and self.about else None


@dataclass(frozen=True, slots=True)
class Found:
    """What a report holds that somebody may want to hear of."""

    repo: str
    moves: tuple[Item, ...] = ()
    proposals: tuple[Item, ...] = ()
    ailing: tuple[Item, ...] = ()
    """What fails or does not answer, one for each subject."""
    stills: tuple[Item, ...] = ()
    """What is held or waits."""
    settled: frozenset[str] = frozenset()
    """Workloads that are well now; of a look at a runtime, as `web at production`."""
    unsettled: frozenset[str] = frozenset()
    """Those of which neither is known now."""
    ails: frozenset[str] = frozenset()
    """Subjects of `ailing`."""
    is_read: bool = True
    """Whether the config repo could be read."""
    is_whole: bool = True
    """Whether it is about every workload that there is."""

    def is_well(self, subject: str) -> bool | None:
        """Whether a subject is well; None where this report does not tell."""
        if subject in self.ails:
            return False
        if not self.is_read:
            return None
        area, _, name = subject.partition(" ")
        if area in ("workload", DRIFT):
            if name in self.unsettled:
                return None
            return True if name in self.settled or self.is_whole else None
        return True if subject == CONFIG_REPO or self.is_whole else None

    def is_gone(self, subject: str) -> bool:
        """Whether a workload that failed is not there any more."""
        area, _, name = subject.partition(" ")
        return area == "workload" and self.is_well(subject) is True and name not in self.settled


def found(
    report: Report,
    *,
    page: Callable[[str], str | None] = lambda _: None,
    actor: str | None = None,
    is_whole: bool = True,
) -> Found:
    """What there may be to tell of a cycle.

    `page` gives the address of a commit on the forge, `actor` is who makes our commits; not `is_whole` where
    the cycle was about some workloads only.
    """
    moves = tuple(_move(o, page, actor) for o in report.outcomes if o.status is Status.RELEASED and o.commit)
    if report.error is not None:
        unread = _unread(report.error)
        return Found(report.repo, moves, ailing=(unread,), ails=frozenset({unread.subject}), is_read=False)
    failed = tuple(_failed(o) for o in report.outcomes if _fails(o))
    unsettled = frozenset(o.workload for o in report.outcomes if not _is_settled(o) and not _fails(o))
    failing = {o.workload for o in report.outcomes if _fails(o)}
    ailing = (*failed, *_silences(report))
    return Found(
        report.repo,
        moves,
        tuple(_proposal(o, page) for o in report.outcomes if o.reason.code == "proposal/open"),
        ailing,
        tuple(_still(o) for o in report.outcomes if o.status in _STILL and not _fails(o)),
        frozenset(o.workload for o in report.outcomes) - unsettled - failing,
        unsettled,
        frozenset(item.subject for item in ailing),
        is_whole=is_whole,
    )


def _fails(outcome: Outcome) -> bool:
    code = outcome.reason.code
    return (outcome.status is Status.FAILED and code not in _NO_ANSWER) or code in _FAILING


def _is_settled(outcome: Outcome) -> bool:
    return outcome.status in _SETTLED and not outcome.reason.code.startswith(_UNSETTLED)


def _about(outcome: Outcome) -> tuple[About, ...]:
    return (About(outcome.workload, outcome.owner, outcome.environment),)


def _move(outcome: Outcome, page: Callable[[str], str | None], actor: str | None) -> Item:
    commit = outcome.commit or ""
    told = dict(outcome.reason.params)
    is_back = outcome.reason.code == "released/rolled-back"
    return Item(
        Kind.ROLLED_BACK if is_back else Kind.RELEASED,
        f"workload {outcome.workload}",
        f"{outcome.workload} {commit}",
        outcome.reason.sentence,
        outcome.reason.code,
        about=_about(outcome),
        image=outcome.image,
        before=told.get("before"),
        after=told.get("after"),
        commit=commit,
        link=page(commit),
        actor=actor,
        why=told.get("why"),
    )


def _proposal(outcome: Outcome, _page: Callable[[str], str | None]) -> Item:
    told = dict(outcome.reason.params)
    return Item(
        Kind.PROPOSED,
        f"workload {outcome.workload}",
        f"{told['url']} {told['after']}",
        outcome.reason.sentence,
        outcome.reason.code,
        outcome.reason.next_step,
        _about(outcome),
        outcome.image,
        outcome.current,
        told["after"],
        link=told["url"],
    )


def _failed(outcome: Outcome) -> Item:
    return _of_outcome(Kind.FAILED, outcome)


def _still(outcome: Outcome) -> Item:
    return _of_outcome(_STILL[outcome.status], outcome)


def _of_outcome(kind: Kind, outcome: Outcome) -> Item:
    why = outcome.reason
    return Item(
        kind,
        f"workload {outcome.workload}",
        why.code,
        why.sentence,
        why.code,
        why.next_step,
        _about(outcome),
        outcome.image,
        outcome.current,
        outcome.target,
    )


def _unread(error: Reason) -> Item:
    kind = Kind.SILENT if error.code in _PATIENT else Kind.FAILED
    return Item(kind, CONFIG_REPO, error.code, error.sentence, error.code, error.next_step)


def _silences(report: Report) -> Iterator[Item]:
    """Registries and forges that did not answer, each once, with the workloads that wait for it."""
    waiting: dict[str, list[Outcome]] = {}
    why: dict[str, Reason] = {}
    for outcome in report.outcomes:
        subject = _host(outcome.reason, outcome.image) if outcome.reason.code in _NO_ANSWER else None
        if subject is not None:
            waiting.setdefault(subject, []).append(outcome)
            why.setdefault(subject, outcome.reason)
    for warning in report.warnings:
        subject = _host(warning, "") if warning.code.startswith("forge/") else None
        if subject is not None:
            why.setdefault(subject, warning)
    for subject, reason in sorted(why.items()):
        about = tuple(each for outcome in waiting.get(subject, ()) for each in _about(outcome))
        code, step = reason.code, reason.next_step
        yield Item(Kind.SILENT, subject, code, reason.sentence, code, step, about)


def _host(why: Reason, image: str) -> str | None:
    """The registry or forge that a reason is about: `registry ghcr.io`."""
    area, told = why.code.partition("/")[0], dict(why.params)
    if area not in ("registry", "forge"):
        return None
    named = told.get("host") or next((told[k] for k in ("repository", "image") if told.get(k)), image)
    host = named.partition("/")[0]
    return f"{area} {host}" if host else None


# -- receivers ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Taste:
    """What one receiver wants to hear. The filters are globs; an empty one asks for all."""

    events: frozenset[Kind] = USUAL
    repos: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    workloads: tuple[str, ...] = ()
    """Of names, or of `repo/name`."""
    stale_after: timedelta = timedelta(hours=1)
    """How long something may give no answer before that is told."""
    remind_after: timedelta | None = None
    """How long until a failure that goes on is told again."""

    def takes(self, repo: str, item: Item) -> bool:
        """Whether an item is for this receiver, whatever its kind; one that concerns no workload is for
        those who do not ask for some workloads only."""
        if not _fits(repo, self.repos):
            return False
        if not (self.owners or self.environments or self.workloads):
            return True
        return any(self._asks_for(repo, about) for about in item.about)

    def _asks_for(self, repo: str, about: About) -> bool:
        names = (about.workload, f"{repo}/{about.workload}")
        return (
            _fits(about.owner or "", self.owners)
            and _fits(about.environment or "", self.environments)
            and any(_fits(name, self.workloads) for name in names)
        )


def _fits(text: str, globs: tuple[str, ...]) -> bool:
    return not globs or any(fnmatchcase(text, glob) for glob in globs)


# -- what was told -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that fails, or did until lately, as one receiver knows it."""

    item: Item
    """As it was told last, or would be."""
    since: datetime
    told_at: datetime | None = None
    """When it was told last; None where it may yet pass by itself."""
    codes: tuple[str, ...] = ()
    """Of the reasons that were told."""
    fine_since: datetime | None = None
    """Since when it is well, where its end is not told yet."""
    ended_at: datetime | None = None
    """When its end was told."""
    returns: int = 0
    """How often it came back soon after its end."""

    def by(self, now: datetime) -> Trouble:
        """Itself where the clock was set back: nothing of it is later than now."""
        times = {"since": self.since, "told_at": self.told_at, "fine_since": self.fine_since}
        late = {name: now for name, at in times.items() if at is not None and at > now}
        if self.ended_at is not None and self.ended_at > now:
            late["ended_at"] = now
        return replace(self, **late) if late else self  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Told:
    """What one receiver was told of one config repo; lost, it is told once more."""

    moved: frozenset[str] = frozenset()
    """Keys of moves that are in the last report."""
    proposed: tuple[tuple[str, str], ...] = ()
    """Of each subject the key of its last proposal."""
    stills: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Of each subject that is held or waits: the keys that were told since it was neither."""
    troubles: tuple[Trouble, ...] = ()


def step(told: Told, found: Found, taste: Taste, now: datetime) -> tuple[Told, tuple[Item, ...]]:
    """What is news for a receiver, in the order in which it is told, and what it knows then."""
    troubles, failures = _watch(told.troubles, found, taste, now)
    moved, moves = _moves(told, found, taste)
    proposed, proposals = _proposals(told, found, taste)
    stills, still = _stills(told, found, taste)
    # They come and go under the same key: each time that they come is news of its own.
    begun = (replace(i, key=f"{i.key} {now.isoformat(timespec='seconds')}") for i in (*proposals, *still))
    news = (*failures, *moves, *begun)
    return Told(moved, proposed, stills, troubles), news


def _moves(told: Told, found: Found, taste: Taste) -> tuple[frozenset[str], list[Item]]:
    wanted = [item for item in found.moves if item.kind in taste.events and taste.takes(found.repo, item)]
    news = [item for item in wanted if item.key not in told.moved]
    return frozenset(item.key for item in wanted), news


def _proposals(told: Told, found: Found, taste: Taste) -> tuple[tuple[tuple[str, str], ...], list[Item]]:
    known = dict(told.proposed)
    if Kind.PROPOSED not in taste.events:
        return (), []
    wanted = [item for item in found.proposals if taste.takes(found.repo, item)]
    news = [item for item in wanted if known.get(item.subject) != item.key]
    present = {item.subject: item.key for item in wanted}
    # A forge that does not answer for a while makes no pull request new.
    kept = {s: key for s, key in known.items() if s in present or not _has_ended(found, s)}
    return tuple(sorted({**kept, **present}.items())), news


def _has_ended(found: Found, subject: str) -> bool:
    """Whether a workload without an open pull request is known to have none."""
    return found.is_well(subject) is True


def _stills(
    told: Told, found: Found, taste: Taste
) -> tuple[tuple[tuple[str, tuple[str, ...]], ...], list[Item]]:
    known = dict(told.stills)
    news: list[Item] = []
    after: dict[str, tuple[str, ...]] = {}
    for item in found.stills:
        if item.kind not in taste.events or not taste.takes(found.repo, item):
            continue
        keys = known.get(item.subject, ())
        if item.key not in keys:
            news.append(item)
            keys = (*keys, item.key)[-CODES_TOLD:]
        after[item.subject] = keys
    if not (found.is_read and found.is_whole):
        after = {**known, **after}
    return tuple(sorted(after.items())), news


# -- failures and their ends -------------------------------------------------------------------------------


def _watch(
    troubles: tuple[Trouble, ...], found: Found, taste: Taste, now: datetime
) -> tuple[tuple[Trouble, ...], list[Item]]:
    known = {trouble.item.subject: trouble.by(now) for trouble in troubles}
    ailing = {
        item.subject: item
        for item in found.ailing
        if item.kind in taste.events and taste.takes(found.repo, item)
    }
    # It fails in a way that nobody here wants to hear of: it is neither well, nor is anything news.
    unasked = {
        item.subject
        for item in found.ailing
        if item.subject in known
        and item.kind not in taste.events
        and known[item.subject].item.kind in taste.events
        and taste.takes(found.repo, item)
    }
    left_out = found.ails - ailing.keys() - unasked
    after: list[Trouble] = []
    news: list[Item] = []
    # What a new filter leaves out fails as before, and nobody here is to hear of it any more.
    known = {s: trouble for s, trouble in known.items() if s not in left_out}
    for subject in sorted({*known, *ailing}):
        if subject in unasked:
            after.append(replace(known[subject], fine_since=None))
            continue
        trouble, item = follow(known.get(subject), ailing.get(subject), found.is_well(subject), taste, now)
        if item is not None:
            if item.kind is Kind.RECOVERED and found.is_gone(subject):
                item = replace(item, turn="gone")
            news.append(item)
        if trouble is not None:
            after.append(trouble)
    return tuple(after), [item for item in news if item.kind in taste.events]


def follow(
    trouble: Trouble | None, ailing: Item | None, is_well: bool | None, taste: Taste, now: datetime
) -> tuple[Trouble | None, Item | None]:
    """One subject's next state, and what is told of it: that it fails (again, otherwise, still), or is well.

    `ailing` is what is wrong with it now; where nothing is, `is_well` says whether that is known.
    """
    if ailing is not None:
        return _fail(trouble, ailing, taste, now)
    if trouble is None or is_well is None:
        return trouble, None
    if trouble.ended_at is not None:
        return (None if now - trouble.ended_at >= FLAP else trouble), None
    if trouble.told_at is None:
        return None, None
    fine_since = trouble.fine_since or now
    if now - fine_since < _calm(trouble.returns):
        return replace(trouble, fine_since=fine_since), None
    ended = replace(trouble, fine_since=fine_since, ended_at=now)
    began = trouble.since.isoformat(timespec="seconds")
    item = replace(
        trouble.item,
        kind=Kind.RECOVERED,
        key=f"{trouble.item.key} {began}",
        since=trouble.since,
        turn="",
    )
    return ended, item


def _calm(returns: int) -> timedelta:
    return min(CALM * 2 ** min(returns - 1, 8), LONGEST_CALM) if returns else timedelta(0)


def _fail(trouble: Trouble | None, ailing: Item, taste: Taste, now: datetime) -> tuple[Trouble, Item | None]:
    turn = ""
    if trouble is None or (trouble.ended_at is not None and now - trouble.ended_at >= FLAP):
        trouble = Trouble(ailing, now)
    elif trouble.ended_at is not None:
        trouble = Trouble(ailing, now, returns=trouble.returns + 1)
    trouble = replace(trouble, fine_since=None)
    patience = taste.stale_after if ailing.kind is Kind.SILENT else timedelta(0)
    remind = taste.remind_after
    if trouble.told_at is None:
        if now - trouble.since >= patience:
            turn = "again" if trouble.returns else "begun"
    elif (
        ailing.kind is not Kind.SILENT
        and ailing.code not in trouble.codes
        and len(trouble.codes) < CODES_TOLD
    ):
        turn = "changed"
    elif remind is not None and now - trouble.told_at >= remind:
        turn = "still"
    if not turn:
        return trouble, None
    began = trouble.since.isoformat(timespec="seconds")
    key = f"{ailing.code} {began}" + (f" {now.isoformat(timespec='seconds')}" if turn == "still" else "")
    item = replace(ailing, since=trouble.since, turn=turn, key=key)
    codes = trouble.codes if ailing.code in trouble.codes else (*trouble.codes, ailing.code)
    # Its end is told under the key of its begin, so that who opened something for it can close it.
    kept = item if trouble.told_at is None else replace(item, key=trouble.item.key)
    kept = replace(kept, turn="", about=kept.about[:NAMED])
    return replace(trouble, item=kept, told_at=now, codes=codes), item


def due(told: Told, taste: Taste) -> datetime | None:
    """When the next `step` may differ from this one although the same is found; None for never."""
    times: list[datetime] = []
    for trouble in told.troubles:
        if trouble.ended_at is not None:
            times.append(trouble.ended_at + FLAP)
        elif trouble.told_at is None:
            times.append(trouble.since + taste.stale_after)
        elif trouble.fine_since is not None:
            times.append(trouble.fine_since + _calm(trouble.returns))
        elif taste.remind_after is not None:
            times.append(trouble.told_at + taste.remind_after)
    return min(times, default=None)


def counted(items: Iterable[Item]) -> Mapping[Kind, int]:
    """How many of each kind."""
    counts: dict[Kind, int] = {}
    for item in items:
        counts[item.kind] = counts.get(item.kind, 0) + 1
    return counts
