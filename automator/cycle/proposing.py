"""Proposing: releases that go through pull requests, one rolling pull request for a workload or group.

A cycle without news asks nobody: the tips of our branches come with the tip of the base, and what they hold
is remembered. The forge is asked before a pull request is opened or updated, and now and then about an open
one. Only Git and the forge are believed: all that is kept can be lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from automator.core.decide import Release
from automator.core.explain import Verdict
from automator.core.forge import CommitStatus, PullDraft, PullRequest
from automator.core.pullrequest import (
    Told,
    above_current,
    body_of,
    compared,
    goal_in,
    goal_of,
    head_of_group,
    head_of_workload,
    says_automerge,
    title_of,
    unjudged,
    was_closed_by_us,
)
from automator.core.reference import Image, Repository
from automator.core.release import Draft
from automator.core.workload import Workload
from automator.cycle.closed import Closed, Learned
from automator.cycle.forgedesk import LOOK_AGAIN, Desk, is_refusal
from automator.cycle.proposalbook import UNKNOWN, Book, Kept
from automator.cycle.proposed import (
    Answer,
    Style,
    Unit,
    as_asked,
    failed,
    go_as_asked,
    go_for,
    is_asked,
    left_alone,
    mark,
    still_open,
    versions_of,
    was_merged,
    why_of,
)
from automator.cycle.publish import Publisher, Rewritten, batches
from automator.cycle.whose import judged
from automator.edges.checkout import Checkout, Landed, Lost
from automator.edges.checkout.branches import BranchLook
from automator.edges.forge.api import Forge
from automator.errors import AutomatorError, CheckoutError, ForgeError
from automator.reasons import Reason, Status, reason

_LEAVES_ALONE = "automator leaves this branch alone"


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
    handled: set[str] = field(default_factory=set)
    """Branches that this cycle proposed on."""
    desk: Desk = field(init=False)
    closed: Closed = field(init=False)
    _tips: Mapping[str, str] = field(default_factory=dict)
    """Our branches as they were when the last cycle ended."""
    _unreadable: dict[str, tuple[datetime, AutomatorError]] = field(default_factory=dict)
    """Tips that could not be looked at, until when, and why."""
    _count: int | None = None
    """Pull requests of ours that are open, once it was asked for."""

    def __post_init__(self) -> None:
        self.checkout.prefix = self.style.prefix
        self.desk = Desk(self.project, self.forge)
        others = self.style.other_bases
        self.closed = Closed(self.desk, self.base, self.checkout, self.book, other_bases=others)
        known = ((head, self.book.get(head)) for head in self.book.heads())
        self._tips = {head: kept.tip for head, kept in known if kept is not None}

    @property
    def warnings(self) -> list[Reason]:
        """What went wrong beside, in this cycle."""
        return self.desk.warnings

    # -- a cycle -----------------------------------------------------------------------------------

    def begin(self, now: datetime) -> frozenset[str]:
        """A cycle knows the tips of our branches; returns those that moved since the last one."""
        self.closed.begin(now)
        self.handled.clear()
        self._count = None
        old, new = self._tips, self.checkout.branches
        moved = {head for head in old.keys() | new.keys() if old.get(head) != new.get(head)}
        for head in moved:
            kept = self.book.get(head)
            if kept is not None:
                kept.looked_at = 0.0
        self.closed.forget(moved)
        return frozenset(moved)

    def end(self) -> None:
        """The cycle is over."""
        self._tips = dict(self.checkout.branches)
        for head in self.book.heads():
            kept = self.book.get(head)
            if head not in self._tips and kept is not None and head.startswith(self.style.prefix):
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

    def other_heads(self, workload: Workload) -> tuple[str, ...]:
        """The branches on which a workload may have been proposed before: alone, and as it was told then."""
        alone = head_of_workload(self.style.prefix, workload.name)
        others = dict.fromkeys((alone, *self.book.past(workload.name)))
        return tuple(head for head in others if head != self.head_of(workload))

    def unit(self, item: Rewritten) -> Unit:
        edits: dict[str, tuple[str, str]] = {}
        for patch in item.patches:
            before = edits.get(patch.file, (mark(patch.before), ""))[0]
            edits[patch.file] = before, mark(patch.after)
        flat = tuple(sorted((file, *marks) for file, marks in edits.items()))
        return Unit(self.head_of(item.releases[0].workload), item, goal_of(item.releases), flat)

    def learn(self, releases: Sequence[Release], now: datetime, *, anew: bool = False) -> Learned:
        """Ask what people refused by closing pull requests, before any of these is pushed or proposed; `anew`
        where a person waits for what is true now, and not a few minutes ago."""
        batch_of = {self.head_of(batch[0].workload): batch for batch in batches(releases)}

        def heads(release: Release) -> Iterator[tuple[str, bool]]:
            workload = release.workload
            is_pushed = not self.is_for(workload)
            head = self.head_of(workload)
            if is_pushed or anew or not self._has(head, batch_of.get(head, ()), now):
                yield head, is_pushed
            for other in self.other_heads(workload):
                yield other, True

        if anew:
            self.closed.forget(head for release in releases for head, _ in heads(release))
        learned = self.closed.learn(releases, lambda release: tuple(heads(release)), now)
        self.book.save()
        return learned

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
                answers.append(failed(unit, error, now))
            self.book.save()
        return tuple(answers)

    # -- one pull request --------------------------------------------------------------------------

    def _has(self, head: str, releases: Sequence[Release], now: datetime) -> bool:
        """Whether nothing happened to an open pull request that brings these, as far as is known."""
        kept = self.book.get(head)
        if kept is None or kept.tip != self.checkout.branches.get(head):
            return False
        if kept.number is None or not kept.is_fresh(now, LOOK_AGAIN.total_seconds()):
            return False
        return kept.foreign is not None or is_asked(kept, releases) or kept.goal == goal_of(releases)

    def _is_quiet(self, unit: Unit, kept: Kept, now: datetime) -> bool:
        """Whether there is nothing to do for one that is open, as far as is known."""
        if not self._has(unit.head, unit.releases, now):
            return False
        if kept.foreign is not None or is_asked(kept, unit.releases):
            return True
        return (kept.edits, kept.shown) == (unit.edits, self._sign(unit))

    def _propose(
        self, unit: Unit, base: str, now: datetime, verdicts: Callable[[str], Sequence[Verdict]]
    ) -> Answer:
        kept = self.book.get(unit.head)
        if kept is not None and self._is_quiet(unit, kept, now):
            if kept.foreign is not None:
                return left_alone(unit, kept)
            return self._stands(unit, kept, now)
        pulls = self.desk.pulls(unit.head)
        other = next((p for p in pulls if p.base != self.base and p.state == "open"), None)
        if other is not None:
            why = reason("proposal/other-base", branch=unit.head, url=other.url, base=other.base)
            return Answer(unit, Status.HELD, why, now + LOOK_AGAIN)
        mine = tuple(p for p in pulls if p.base == self.base)
        found = next((p for p in mine if p.state == "open"), None)
        if found is None and kept is not None and self._was_refused(unit.head, kept, mine, now):
            why = reason("proposal/moved", after=versions_of(unit), branch=unit.head)
            return Answer(unit, Status.WAITING, why)
        if found is None and was_merged(unit, mine) and not self.is_on_base(mine[0].merge_commit or ""):
            why = reason("proposal/merged", after=versions_of(unit), url=mine[0].url)
            return Answer(unit, Status.WAITING, why, now + LOOK_AGAIN)
        kept = self.whose(unit.head, mine, now, unit)
        if kept is not None and kept.foreign is not None:
            return self._leave_alone(unit, kept, found, now)
        if kept is not None and found is not None:
            self.adopt(kept, found, [release.workload for release in unit.releases])
            if is_asked(kept, unit.releases):
                kept.looked_at = now.timestamp()
                return self._stands(unit, kept, now)
        if found is None and self._has_too_many():
            why = reason("proposal/limit", after=versions_of(unit), count=self._count)
            return Answer(unit, Status.WAITING, why, now + LOOK_AGAIN)
        return self._bring(unit, base, kept, found, now, verdicts)

    def _stands(self, unit: Unit, kept: Kept, now: datetime) -> Answer:
        """A pull request whose branch and text are as they should be: tell the forge the rest."""
        self.book.put(unit.head, kept)
        self.complete(kept, [release.workload for release in unit.releases])
        if kept.asked is not None and is_asked(kept, unit.releases):
            self.arm(kept, False)
            self.tell(kept, go_as_asked(kept), "asked")
            return as_asked(unit, kept)
        self.arm(kept, self._automerges(unit))
        self.tell(kept, go_for(unit), "go")
        return still_open(unit, kept, now)

    def _was_refused(self, head: str, kept: Kept, mine: Sequence[PullRequest], now: datetime) -> bool:
        """Whether a person closed the one that was open when it was looked at last, and what that refuses was
        not asked since: the next cycle does, before anything is proposed."""
        closed = next((p for p in mine if p.number == kept.number and p.state == "closed"), None)
        if closed is None or was_closed_by_us(closed) or self.closed.is_known(head, now, holds=False):
            return False
        kept.number = None
        self.book.put(head, kept)
        self.closed.forget((head,))
        return True

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
        draft: Draft | None = None
        automerges = self._automerges(unit)
        is_as_wanted = kept is not None and (kept.goal, kept.edits) == (unit.goal, unit.edits)
        if kept is not None and found is not None and not (automerges and is_as_wanted):
            self.disarm(kept)  # before the branch holds, or the text says, something else
            if kept.armed and not automerges:
                armed = reason("proposal/armed", after=versions_of(unit), url=found.url)
                return Answer(unit, Status.WAITING, armed, now + LOOK_AGAIN)
        if kept is None or not is_as_wanted:
            draft = self.publisher.draft(unit.item, now)
            pushed = self._pushed(unit, draft, base, kept, now)
            if isinstance(pushed, Answer):
                return pushed
            kept = pushed
        has_text = found is not None and not was_closed_by_us(found)
        has_text = has_text and found is not None and goal_in(found.body) == unit.goal
        is_new = found is None
        if draft is not None or not has_text or kept.shown != self._sign(unit):
            draft = draft or self.publisher.draft(unit.item, now)
            told = [self._told(release, verdicts) for release in unit.releases]
            why = why_of(draft.message)
            title, body = (
                title_of(draft.message),
                body_of(told, draft.message, why=why, automerges=automerges),
            )
            if (
                not has_text
                or found is None
                or found.title != title
                or goal_in(found.body) != unit.goal
                or says_automerge(found.body) != automerges
            ):
                found = self._shown(unit, found, title, body)
        assert found is not None
        kept.shown = self._sign(unit)
        kept.number, kept.url, kept.looked_at = found.number, found.url, now.timestamp()
        if not is_new:
            return self._stands(unit, kept, now)
        kept.lacks = found.lacks_extras
        self.book.put(unit.head, kept)
        self.arm(kept, automerges)
        self.tell(kept, go_for(unit), "go")
        return still_open(unit, kept, now)

    def _pushed(self, unit: Unit, draft: Draft, base: str, old: Kept | None, now: datetime) -> Kept | Answer:
        """The branch, made anew on the base, or why it is not."""
        (commit,) = self.publisher.commit(base, [draft], now)
        tip = self.checkout.branches.get(unit.head)
        self.closed.forget((unit.head,))
        answer = self.checkout.push_branch(unit.head, commit, expected=tip)
        if isinstance(answer, Lost):
            why = reason("proposal/moved", after=versions_of(unit), branch=unit.head)
            return Answer(unit, Status.WAITING, why)
        if not isinstance(answer, Landed):
            why = reason("push/refused", after=versions_of(unit), words=answer.words)
            return Answer(unit, Status.FAILED, why, words=answer.words)
        kept = Kept(commit, unit.goal, unit.edits, now.timestamp())
        if old is not None:
            kept.number, kept.url, kept.armed, kept.lacks = old.number, old.url, old.armed, old.lacks
        self.book.put(unit.head, kept)
        if self.publisher.teller is not None:
            self.publisher.teller.proposed(draft.message, commit)
        return kept

    def _shown(self, unit: Unit, found: PullRequest | None, title: str, body: str) -> PullRequest:
        """The pull request, opened or with its new text."""
        if found is None:
            wanted = self._wanted([release.workload for release in unit.releases])
            draft = PullDraft(unit.head, self.base, title, body, *wanted)
            found = self.opened(draft)
            for why in found.warnings:
                self.desk.warn(why)
            self._count = None if self._count is None else self._count + 1
            return found
        number = found.number
        return self.desk.asked(
            lambda: self.forge.update_pull_request(self.project, number, title=title, body=body)
        )

    def opened(self, draft: PullDraft) -> PullRequest:
        """A new pull request, or the one that somebody else opened for the same branch just now."""
        self.closed.forget((draft.head,))
        try:
            return self.desk.asked(lambda: self.forge.open_pull_request(self.project, draft), kind="open")
        except ForgeError as error:
            if error.reason.code != "forge/conflict":
                raise
            self.desk.forget(draft.head)
            for pull in self.desk.pulls(draft.head):
                if pull.state == "open" and pull.base == draft.base:
                    return pull
            raise

    def adopt(self, kept: Kept, found: PullRequest, workloads: Sequence[Workload]) -> None:
        """Take in what the forge says of an open one: the rest of what we knew may be lost."""
        if kept.number is None:
            labels = self._wanted(workloads)[1]
            kept.lacks = bool(labels) and not set(labels) & set(found.labels)
        kept.number, kept.url = found.number, found.url
        if kept.armed == UNKNOWN and not says_automerge(found.body):
            kept.armed = ""  # who told the forge to merge it is a person, if anybody did

    def complete(self, kept: Kept, workloads: Sequence[Workload]) -> None:
        """Give one the labels and reviewers that a forge without an answer kept from it."""
        number = kept.number
        if number is None or not kept.lacks:
            return
        draft = PullDraft("", self.base, "", "", *self._wanted(workloads))

        def give() -> None:
            try:
                told = self.forge.complete_pull_request(self.project, number, draft)
            except ForgeError as error:
                if not is_refusal(error):
                    raise
                told = (error.reason,)
            for why in told:
                self.desk.warn(why)

        if self.desk.beside(f"extras {number}", give):
            kept.lacks = False

    def _wanted(self, workloads: Sequence[Workload]) -> tuple[bool, tuple[str, ...], tuple[str, ...]]:
        """Draft, labels and reviewers: those of all its workloads together."""
        style, own = self.style, [workload.delivery for workload in workloads]
        drafts = [style.draft if d.draft is None else d.draft for d in own]
        labels = [style.labels if d.labels is None else d.labels for d in own]
        reviewers = [style.reviewers if d.reviewers is None else d.reviewers for d in own]
        flat = [
            tuple(dict.fromkeys(name for names in each for name in names)) for each in (labels, reviewers)
        ]
        return any(drafts), flat[0], flat[1]

    def _automerges(self, unit: Unit) -> bool:
        """Whether the forge is to merge it: only where all whose releases it brings say so."""
        return all(self.automerges(release.workload) for release in unit.releases)

    def automerges(self, workload: Workload) -> bool:
        own = workload.delivery.automerge
        return self.style.automerge if own is None else own

    def arm(self, kept: Kept, wanted: bool) -> None:
        """Have the forge merge a pull request once it is ready, or not any more."""
        number, tip = kept.number, kept.tip
        if number is None or (wanted and kept.armed == tip) or (not wanted and not kept.armed):
            return
        if not wanted or kept.armed not in ("", UNKNOWN):
            self.disarm(kept)
        act = lambda: self.forge.merge_when_ready(self.project, number, tip)  # noqa: E731
        if wanted and self.desk.beside(f"automerge {number} {tip}", act):
            kept.armed = tip

    def disarm(self, kept: Kept) -> None:
        """What the forge was told to merge waits for a person again."""
        if kept.number is None or not kept.armed:
            return
        number = kept.number

        def cancel() -> None:
            try:
                self.forge.cancel_merge(self.project, number)
            except ForgeError as error:
                if error.reason.code not in ("forge/not-found", "forge/conflict", "forge/unsupported"):
                    raise

        if self.desk.beside(f"disarm {number} {kept.tip}", cancel):
            kept.armed = ""

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
            found = self.desk.asked(
                lambda: self.forge.pull_requests(
                    self.project, head=self.style.prefix, base=self.base, limit=self.style.most + 100
                ),
                kind="read",
            )
            self._count = sum(not self.is_change(pull.head) for pull in found)
        return self._count >= self.style.most

    def _sign(self, unit: Unit) -> str:
        """What stands for what a unit's title and text tell."""
        return mark("\n".join((*unit.goal, str(self._automerges(unit)))))

    def is_change(self, head: str) -> bool:
        """Whether a branch is that of a change which a person asked for."""
        return head.startswith(f"{self.style.prefix}change-")

    # -- whose a branch is -------------------------------------------------------------------------

    def whose(
        self, head: str, mine: Sequence[PullRequest], now: datetime, unit: Unit | None = None
    ) -> Kept | None:
        """What a branch holds: known, or looked at; None where it is not there. `foreign` says whose commit
        is on it that is not ours. Raises CheckoutError, and ForgeError where it must be asked."""
        tip, kept = self.checkout.branches.get(head), self.book.get(head)
        if tip is None or (kept is not None and kept.tip == tip):
            return kept if tip is not None else None
        if any(pull.state == "merged" and pull.head_commit == tip for pull in mine):
            return Kept(tip)  # the base has all of it
        known = [(each.goal, each.edits) for each in (kept, unit) if each is not None]
        look = self.look(head, tip, now)
        hands = self.checkout.hands(self.publisher.author)
        kept = judged(look, tip, hands, known, self.is_on_base, now)
        self.book.put(head, kept)
        if kept.asked is not None and self.publisher.teller is not None:
            self.publisher.teller.proposed(look.commit.message, tip)  # who asked is gone by now
        return kept

    def look(self, head: str, tip: str, now: datetime) -> BranchLook:
        """A branch as it is; one that could not be read is left for a while. Raises CheckoutError."""
        until, error = self._unreadable.get(tip, (now, None))
        if error is not None and now < until:
            raise error
        try:
            look = self.checkout.look_at_branch(head, tip)
        except CheckoutError as failure:
            self._unreadable = {tip: (now + LOOK_AGAIN, failure), **self._unreadable}
            raise
        self._unreadable.pop(tip, None)
        if look is None:
            raise CheckoutError(reason("proposal/moved", after="it", branch=head))
        return look

    def is_on_base(self, commit: str) -> bool:
        """Whether the base has a commit. The clone may not reach back to it: then the forge says. Raises
        ForgeError."""
        tip = self.checkout.known_tip
        if not commit:
            return False
        if tip is not None and self.checkout.is_ancestor(commit, tip):
            return True
        try:
            beyond, _ = self.desk.asked(
                lambda: self.forge.commits_between(self.project, self.base, commit, limit=1)
            )
        except ForgeError as error:
            if is_refusal(error):
                return False  # it has no such commit any more
            raise
        return not beyond

    def _leave_alone(self, unit: Unit, kept: Kept, found: PullRequest | None, now: datetime) -> Answer:
        """Somebody works on the branch: have the forge not merge what nobody looked at, say so once, and
        stop."""
        if found is not None:
            is_said = kept.number is not None
            self.adopt(kept, found, ())
            self.disarm(kept)
            author = "somebody else" if kept.foreign is None else kept.foreign[0]
            self.tell(kept, unjudged(f"the branch holds a commit of {author}"), "foreign")
            try:
                if not is_said:
                    self._say_once(found.number, kept)
            except ForgeError:
                kept.number = None
                raise
        kept.looked_at = now.timestamp()
        self.book.put(unit.head, kept)
        return left_alone(unit, kept)._replace(until=now + LOOK_AGAIN)

    def _say_once(self, number: int, kept: Kept) -> None:
        said = self.desk.asked(lambda: self.forge.comments(self.project, number))
        if any(comment.body.startswith(_LEAVES_ALONE) for comment in said):
            return
        commit = (kept.foreign or ("", ""))[1]
        body = (
            f"{_LEAVES_ALONE}: commit {commit} is not its own. Merge the pull request as it is, remove that "
            "commit, or close it and delete its branch; then automator goes on."
        )
        self.desk.asked(lambda: self.forge.comment(self.project, number, body, on="pull"))

    # -- what is told beside -----------------------------------------------------------------------

    def tell(self, kept: Kept, status: CommitStatus, code: str) -> None:
        """Set the status of a pull request's head, once for each change of state."""
        key = f"{kept.tip} {status.state} {code}"
        if kept.told == key:
            return
        act = lambda: self.forge.set_commit_status(self.project, kept.tip, status)  # noqa: E731
        if self.desk.beside(f"status {key}", act):
            kept.told = key
