"""Proposing: releases that go through pull requests, one rolling pull request for a workload or group.

A cycle without news asks nobody: the tips of our branches come with the tip of the base, and what they hold
is remembered. The forge is asked before a pull request is opened or updated, and now and then about an open
one. Only Git and the forge are believed: all that is kept can be lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from automator.core.decide import Release
from automator.core.explain import Verdict
from automator.core.facts import Declined
from automator.core.forge import CommitStatus, PullDraft, PullRequest
from automator.core.pullrequest import (
    FileEdit,
    Told,
    above_current,
    body_of,
    compared,
    declined_by,
    does_as_it_says,
    go,
    goal_in,
    goal_of,
    head_of_change,
    head_of_group,
    head_of_workload,
    title_of,
    was_closed_by_us,
)
from automator.core.reference import Image, Repository
from automator.core.release import Draft
from automator.core.workload import Workload
from automator.cycle.proposalbook import Book, Kept
from automator.cycle.proposed import (
    LOOK_AGAIN,
    Answer,
    Style,
    Unit,
    failed,
    go_for,
    goal_text,
    left_alone,
    mark,
    still_open,
    text_of,
    versions_of,
    was_merged,
    why_of,
)
from automator.cycle.publish import Publisher, Rewritten
from automator.edges.checkout import Checkout, Landed, Lost
from automator.edges.forge.api import Forge
from automator.errors import AutomatorError, CheckoutError, ForgeError
from automator.reasons import Reason, Status, reason

CLOSED_AGAIN = timedelta(hours=1)
"""After which it is asked whether one that was closed was opened again."""
PULLS_READ = 30
"""Pull requests of one branch that are read, the newest."""
_LEAVES_ALONE = "automator leaves this branch alone"
T = TypeVar("T")
_STOPS_ALL = ("forge/unreachable", "forge/limited", "forge/denied")
"""Troubles of the forge as a whole: nobody else is asked in the same cycle."""


@dataclass
class Proposals:
    """The pull requests of one config repo; for one cycle at a time."""

    repo: str
    base: str
    """Branch that they go to."""
    project: str
    forge: Forge
    checkout: Checkout
    publisher: Publisher
    style: Style
    book: Book
    image_of: Callable[[Repository, str], Image | None] = lambda _repository, _tag: None
    """What a tag was when it was looked at."""
    forges: Mapping[str, Forge] = field(default_factory=dict)
    """By host, for links to sources."""
    warnings: list[Reason] = field(default_factory=list)
    """What went wrong beside, in this cycle."""
    handled: set[str] = field(default_factory=set)
    """Branches that this cycle proposed on."""
    _tips: Mapping[str, str] = field(default_factory=dict)
    """Our branches as they were when the last cycle ended."""
    _declined: dict[str, tuple[datetime, tuple[Declined, ...]]] = field(default_factory=dict)
    _pulls: dict[str, tuple[PullRequest, ...]] = field(default_factory=dict)
    _trouble: ForgeError | None = None
    _count: int | None = None
    """Pull requests of ours that are open, once it was asked for."""

    def __post_init__(self) -> None:
        self.checkout.prefix = self.style.prefix
        known = ((head, self.book.get(head)) for head in self.book.heads())
        self._tips = {head: kept.tip for head, kept in known if kept is not None}

    # -- a cycle -----------------------------------------------------------------------------------

    def begin(self) -> frozenset[str]:
        """A cycle knows the tips of our branches; returns those that moved since the last one."""
        self._pulls.clear()
        self.warnings.clear()
        self.handled.clear()
        self._trouble, self._count = None, None
        old, new = self._tips, self.checkout.branches
        moved = {head for head in old.keys() | new.keys() if old.get(head) != new.get(head)}
        for head in moved:
            kept = self.book.get(head)
            if kept is not None:
                kept.looked_at = 0.0
        return frozenset(moved)

    def end(self) -> None:
        """The cycle is over."""
        self._tips = dict(self.checkout.branches)
        for head in self.book.heads():
            kept = self.book.get(head)
            if head not in self._tips and kept is not None:
                self.is_over(kept.tip, kept.number)
                self.book.put(head, None)
        self.book.save()

    def is_over(self, tip: str, number: int | None) -> None:
        """The branch of a pull request with this commit is gone, or about to go."""
        if number is not None and self.publisher.teller is not None:
            self.publisher.teller.over(tip, number)

    def is_for(self, workload: Workload) -> bool:
        """Whether releases of a workload, under its guard rails, go through pull requests."""
        return self.style.always or workload.delivery.deliver == "pull-request"

    def head_of(self, workload: Workload) -> str:
        """The branch of a workload's pull request, or of its group's."""
        if workload.group is not None:
            return head_of_group(self.style.prefix, workload.group.name)
        return head_of_workload(self.style.prefix, workload.name)

    def unit(self, item: Rewritten) -> Unit:
        edits: dict[str, tuple[str, str]] = {}
        for patch in item.patches:
            before = edits.get(patch.file, (mark(patch.before), ""))[0]
            edits[patch.file] = before, mark(patch.after)
        flat = tuple(sorted((file, *marks) for file, marks in edits.items()))
        return Unit(self.head_of(item.releases[0].workload), item, goal_of(item.releases), flat)

    def declined(self, now: datetime) -> Mapping[str, tuple[Declined, ...]]:
        """What people refused by closing pull requests, by workload, as far as it was asked of late."""
        for name in [n for n, (at, _) in self._declined.items() if not at <= now < at + CLOSED_AGAIN]:
            del self._declined[name]
        return {name: found for name, (_, found) in self._declined.items() if found}

    def forget(self, names: Iterable[str]) -> None:
        """Something happened to the branches of these workloads: ask anew what people refused."""
        for name in names:
            self._declined.pop(name, None)

    def asks_again(self) -> Mapping[str, datetime]:
        """When it is asked anew whether what people refused still is, by workload."""
        return {name: at + CLOSED_AGAIN for name, (at, found) in self._declined.items() if found}

    def learn(self, units: Iterable[Unit], now: datetime) -> frozenset[str]:
        """Ask what people did to the pull requests of these; returns workloads of which something was
        refused that was not known, or is not any more."""
        changed: set[str] = set()
        for unit in units:
            if self._is_quiet(unit, now):
                continue
            try:
                mine = [pull for pull in self.pulls(unit.head) if pull.base == self.base]
            except ForgeError:
                continue  # told when it is proposed
            wanted = {goal for pull in mine if pull.state == "open" for goal in goal_in(pull.body)}
            refused = [(name, d) for pull in mine for name, d in declined_by(pull)]
            for name in unit.names:
                found = tuple(d for n, d in refused if n == name and goal_text(name, d) not in wanted)
                if frozenset(self._declined.get(name, (now, ()))[1]) != frozenset(found):
                    changed.add(name)
                self._declined[name] = now, found
        return frozenset(changed)

    def propose(
        self,
        units: Iterable[Unit],
        base: str,
        now: datetime,
        verdicts: Callable[[str], Sequence[Verdict]] = lambda _name: (),
    ) -> tuple[Answer, ...]:
        """Open, update or leave the pull request of each, made on the commit `base`. Trouble of one is not
        that of another, but for a forge that answers nobody."""
        answers = []
        for unit in units:
            self.handled.add(unit.head)
            try:
                answers.append(self._propose(unit, base, now, verdicts))
            except AutomatorError as error:
                answers.append(failed(unit, error))
            self.book.save()
        return tuple(answers)

    def pulls(self, head: str) -> tuple[PullRequest, ...]:
        """The pull requests of a branch, newest first, asked for once in a cycle. Raises ForgeError."""
        if head not in self._pulls:
            found = self.asked(
                lambda: self.forge.pull_requests(self.project, head=head, state="all", limit=PULLS_READ)
            )
            self._pulls[head] = tuple(sorted((p for p in found if p.head == head), key=lambda p: -p.number))
        return self._pulls[head]

    def asked(self, question: Callable[[], T]) -> T:
        """The forge's answer; after trouble of the forge as a whole nobody is asked in this cycle."""
        if self._trouble is not None:
            raise self._trouble
        try:
            return question()
        except ForgeError as error:
            if error.reason.code in _STOPS_ALL:
                self._trouble = error
            raise

    # -- one pull request --------------------------------------------------------------------------

    def _is_quiet(self, unit: Unit, now: datetime) -> bool:
        """Whether nothing happened to an open pull request that asks for what it has, as far as is known."""
        kept = self.book.get(unit.head)
        if kept is None or kept.tip != self.checkout.branches.get(unit.head):
            return False
        if kept.number is None or not kept.is_fresh(now, LOOK_AGAIN.total_seconds()):
            return False
        return kept.foreign is not None or (kept.goal, kept.edits) == (unit.goal, unit.edits)

    def _propose(
        self, unit: Unit, base: str, now: datetime, verdicts: Callable[[str], Sequence[Verdict]]
    ) -> Answer:
        kept = self.book.get(unit.head)
        if kept is not None and self._is_quiet(unit, now):
            if kept.foreign is not None:
                return left_alone(unit, kept)
            self.tell(kept, go_for(unit), "go")
            return still_open(unit, kept)
        pulls = self.pulls(unit.head)
        other = next((p for p in pulls if p.base != self.base and p.state == "open"), None)
        if other is not None:
            why = reason("proposal/other-base", branch=unit.head, url=other.url, base=other.base)
            return Answer(unit, Status.HELD, why, now + LOOK_AGAIN)
        mine = tuple(p for p in pulls if p.base == self.base)
        found = next((p for p in mine if p.state == "open"), None)
        if found is None and was_merged(unit, mine):
            why = reason("proposal/merged", after=versions_of(unit), url=mine[0].url)
            return Answer(unit, Status.WAITING, why, now + LOOK_AGAIN)
        kept = self.whose(unit.head, mine, now)
        if kept is not None and kept.foreign is not None:
            return self._leave_alone(unit, kept, found, now)
        if found is None and self._has_too_many():
            why = reason("proposal/limit", after=versions_of(unit), count=self._count)
            return Answer(unit, Status.WAITING, why, now + LOOK_AGAIN)
        return self._bring(unit, base, kept, found, now, verdicts)

    def _bring(
        self,
        unit: Unit,
        base: str,
        kept: Kept | None,
        found: PullRequest | None,
        now: datetime,
        verdicts: Callable[[str], Sequence[Verdict]],
    ) -> Answer:
        """Have the branch hold what is proposed, and the pull request say so."""
        draft = self.publisher.draft(unit.item, now)
        is_new = kept is None or (kept.goal, kept.edits) != (unit.goal, unit.edits)
        if is_new:
            (commit,) = self.publisher.commit(base, [draft], now)
            tip = self.checkout.branches.get(unit.head)
            answer = self.checkout.push_branch(unit.head, commit, expected=tip)
            if isinstance(answer, Lost):
                why = reason("proposal/moved", after=versions_of(unit), branch=unit.head)
                return Answer(unit, Status.WAITING, why)
            if not isinstance(answer, Landed):
                why = reason("push/refused", after=versions_of(unit), words=answer.words)
                return Answer(unit, Status.FAILED, why, words=answer.words)
            number, url = (kept.number, kept.url) if kept is not None else (None, "")
            kept = Kept(commit, unit.goal, unit.edits, now.timestamp(), number, url)
            self.book.put(unit.head, kept)
            if self.publisher.teller is not None:
                self.publisher.teller.proposed(draft.message, commit)
        assert kept is not None
        if found is None or is_new or was_closed_by_us(found):
            told = [self._told(release, verdicts) for release in unit.releases]
            title, body = title_of(draft.message), body_of(told, draft.message, why=why_of(draft.message))
            found = self._shown(unit, found, title, body, kept.tip)
        kept.number, kept.url, kept.looked_at = found.number, found.url, now.timestamp()
        self.book.put(unit.head, kept)
        self.tell(kept, go_for(unit), "go")
        return still_open(unit, kept)

    def _shown(
        self, unit: Unit, found: PullRequest | None, title: str, body: str, commit: str
    ) -> PullRequest:
        """The pull request, opened or with its new text."""
        wanted = self._wanted(unit)
        if found is None:
            draft = PullDraft(unit.head, self.base, title, body, *wanted)
            found = self._opened(draft)
            self.warnings += found.warnings
            self._count = None if self._count is None else self._count + 1
        else:
            number = found.number
            found = self.asked(
                lambda: self.forge.update_pull_request(self.project, number, title=title, body=body)
            )
        number = found.number
        if any(self._automerges(release.workload) for release in unit.releases):
            self.beside(lambda: self.forge.merge_when_ready(self.project, number, commit))
        return found

    def _opened(self, draft: PullDraft) -> PullRequest:
        """A new pull request, or the one that somebody else opened for the same branch just now."""
        try:
            return self.asked(lambda: self.forge.open_pull_request(self.project, draft))
        except ForgeError as error:
            if error.reason.code != "forge/conflict":
                raise
            self._pulls.pop(draft.head, None)
            for pull in self.pulls(draft.head):
                if pull.state == "open" and pull.base == draft.base:
                    return pull
            raise

    def _wanted(self, unit: Unit) -> tuple[bool, tuple[str, ...], tuple[str, ...]]:
        """Draft, labels and reviewers: those of all its workloads together."""
        style, own = self.style, [release.workload.delivery for release in unit.releases]
        drafts = [style.draft if d.draft is None else d.draft for d in own]
        labels = [style.labels if d.labels is None else d.labels for d in own]
        reviewers = [style.reviewers if d.reviewers is None else d.reviewers for d in own]
        flat = [
            tuple(dict.fromkeys(name for names in each for name in names)) for each in (labels, reviewers)
        ]
        return any(drafts), flat[0], flat[1]

    def _automerges(self, workload: Workload) -> bool:
        own = workload.delivery.automerge
        return self.style.automerge if own is None else own

    def _told(self, release: Release, verdicts: Callable[[str], Sequence[Verdict]]) -> Told:
        tag = release.current.partition("@")[0]
        before = self.image_of(release.workload.repository, tag) if tag else None
        return Told(
            release,
            above_current(verdicts(release.workload.name)),
            before,
            self._compare(before, release.image),
        )

    def _compare(self, before: Image | None, after: Image) -> str | None:
        """The page that compares two sources, where their forge is one of the config."""
        ends = compared(before, after)
        if ends is None:
            return None
        host, _, project = ends[0].removeprefix("https://").partition("/")
        forge = self.forges.get(host)
        return None if forge is None or not project else forge.compare_page(project, ends[1], ends[2])

    def _has_too_many(self) -> bool:
        """Whether as many are open as may be; asked of the forge only where there are as many branches."""
        heads = [head for head in self.checkout.branches if not self.is_change(head)]
        if self._count is None and len(heads) < self.style.most:
            return False
        if self._count is None:
            found = self.asked(
                lambda: self.forge.pull_requests(
                    self.project, head=self.style.prefix, base=self.base, limit=self.style.most + 100
                )
            )
            self._count = sum(not self.is_change(pull.head) for pull in found)
        return self._count >= self.style.most

    def is_change(self, head: str) -> bool:
        """Whether a branch is that of a change which a person asked for."""
        return head.startswith(f"{self.style.prefix}change-")

    # -- whose a branch is -------------------------------------------------------------------------

    def whose(self, head: str, mine: Sequence[PullRequest], now: datetime) -> Kept | None:
        """What a branch holds: known, or looked at; None where it is not there. `foreign` says whose commit
        is on it that is not ours. Raises CheckoutError."""
        tip, kept = self.checkout.branches.get(head), self.book.get(head)
        if tip is None or (kept is not None and kept.tip == tip):
            return kept if tip is not None else None
        if any(pull.state == "merged" and pull.head_commit == tip for pull in mine):
            return Kept(tip)  # the base has all of it
        look = self.checkout.look_at_branch(head, tip)
        if look is None:
            raise CheckoutError(reason("proposal/moved", after="it", branch=head))
        commit, author = look.commit, self.publisher.author
        edits = [FileEdit(f.path, f.before_text, f.after_text) for f in look.files]
        ours = look.is_alone and (commit.author, commit.mail) == (author.name.strip(), author.email.strip())
        if not ours or not does_as_it_says(commit.message, edits):
            kept = Kept(tip, foreign=(commit.author, commit.commit), since=now.timestamp())
        else:
            marks = tuple(sorted((e.path, mark(e.before or ""), mark(e.after or "")) for e in edits))
            kept = Kept(tip, goal_in(commit.message), marks, commit.time.timestamp())
        self.book.put(head, kept)
        return kept

    def _leave_alone(self, unit: Unit, kept: Kept, found: PullRequest | None, now: datetime) -> Answer:
        """Somebody works on the branch: say so once, and stop."""
        if found is not None:
            number = found.number
            if kept.number is None:
                self._say_once(number, kept)
            kept.number, kept.url = number, found.url
            author = "somebody else" if kept.foreign is None else kept.foreign[0]
            words = f"{versions_of(unit)} may be released; the branch holds a commit of {author}"
            self.tell(kept, go(words), "go")
        kept.looked_at = now.timestamp()
        self.book.put(unit.head, kept)
        return left_alone(unit, kept)._replace(until=now + LOOK_AGAIN)

    def _say_once(self, number: int, kept: Kept) -> None:
        said = self.asked(lambda: self.forge.comments(self.project, number))
        if any(comment.body.startswith(_LEAVES_ALONE) for comment in said):
            return
        commit = (kept.foreign or ("", ""))[1]
        body = (
            f"{_LEAVES_ALONE}: commit {commit} is not its own. Merge the pull request as it is, close it, or "
            "remove that commit; then automator goes on."
        )
        self.asked(lambda: self.forge.comment(self.project, number, body, on="pull"))

    # -- what is told beside -----------------------------------------------------------------------

    def tell(self, kept: Kept, status: CommitStatus, code: str) -> None:
        """Set the status of a pull request's head, once for each change of state."""
        key = f"{kept.tip} {status.state} {code}"
        if kept.told == key:
            return
        if self.beside(lambda: self.forge.set_commit_status(self.project, kept.tip, status)):
            kept.told = key

    def beside(self, act: Callable[[], object]) -> bool:
        """Do what nothing hangs on; trouble is a warning."""
        try:
            self.asked(act)
        except ForgeError as error:
            if error.reason not in self.warnings:
                self.warnings.append(error.reason)
            return False
        return True

    # -- changes that people ask for ---------------------------------------------------------------

    def propose_change(self, name: str, base: str, draft: Draft, *, now: datetime) -> str:
        """A pull request for a change that somebody asked for, on the commit `base`; its page. The same
        change asked for again finds its pull request.

        Raises ForgeError; CheckoutError (`proposal/moved`, `push/refused`, those of git).
        """
        head = head_of_change(self.style.prefix, name, draft.message, (path for path, _ in draft.files))
        self._trouble = None
        self._pulls.pop(head, None)
        for pull in self.pulls(head):
            if pull.state == "open" and pull.base == self.base:
                return pull.url
        (commit,) = self.publisher.commit(base, [draft], now)
        answer = self.checkout.push_branch(head, commit, expected=self.checkout.branches.get(head))
        if isinstance(answer, Lost):
            raise CheckoutError(reason("proposal/moved", after=name, branch=head))
        if not isinstance(answer, Landed):
            raise CheckoutError(reason("push/refused", after=name, words=answer.words))
        self._tips = dict(self.checkout.branches)
        style = self.style
        wanted = PullDraft(
            head,
            self.base,
            title_of(draft.message),
            text_of(draft.message),
            False,
            style.labels,
            style.reviewers,
        )
        return self._opened(wanted).url
